"""tfs-admin replay: recorded calls, sent to a server and compared."""
