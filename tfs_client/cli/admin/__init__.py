"""tfs-admin: the status, signatures, health and configuration of a server."""
