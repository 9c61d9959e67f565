"""tfs-admin typed-client: a module with a typed client, made from the signatures of a model."""
