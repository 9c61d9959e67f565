"""How bytes are sent and received. Transports know targets, deadlines and status codes, but no tensors."""
