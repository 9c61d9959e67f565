"""tfs-admin wait: until models are ready."""
