"""tfs-bench: a load generator for TensorFlow Serving."""
