"""What flows report: records for hooks, the log, and texts without secrets."""
