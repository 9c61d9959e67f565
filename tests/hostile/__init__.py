"""Bytes from hostile peers and files, made by the million: see docs/reliability.md."""
