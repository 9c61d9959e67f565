"""tfs-admin config: the options of a client, and where each comes from."""
