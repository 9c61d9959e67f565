"""Bytes out, bytes in. A transport knows targets, deadlines and status codes, but no tensor."""
