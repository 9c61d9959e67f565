"""Access: addresses, TLS and tokens, limits on connections and calls, directories of reloads, the access log."""
