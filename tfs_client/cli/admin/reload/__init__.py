"""tfs-admin reload: a new configuration for a running server."""
