"""A TCP relay in front of the ports of a fake server: it knows the client of each call, and makes connection faults."""
