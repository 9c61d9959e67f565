"""Recordings that answer the calls of a fake server."""
