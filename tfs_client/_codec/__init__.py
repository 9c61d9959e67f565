"""Pure functions between numpy arrays and bytes. Nothing in here knows a network."""
