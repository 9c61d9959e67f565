"""Progress of batch calls: counted by flows, and shown on terminals, in notebooks, or by a function."""
