"""Where queries come from: the signature, pictures, files and recordings."""
