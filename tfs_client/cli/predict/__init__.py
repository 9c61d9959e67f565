"""tfs-predict: run a model on pictures or tensors and print its predictions."""
