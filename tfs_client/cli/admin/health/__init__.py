"""tfs-admin health: what gRPC's health service reports."""
