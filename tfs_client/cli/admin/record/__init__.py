"""tfs-admin record: a proxy that records the calls of a server's callers."""
