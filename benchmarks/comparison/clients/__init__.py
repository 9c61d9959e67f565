"""One program for each client library, which runs in that library's environment and imports nothing of the others."""
