"""tfs-admin warmup: where the requests come from, and whether a server would run them."""
