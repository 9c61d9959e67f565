"""tfs-admin signatures: the inputs and outputs of a model."""
