"""tfs-admin cassette: recordings, listed, compared and scrubbed."""
