"""The gRPC server: converts bytes to calls, and errors to status codes."""
