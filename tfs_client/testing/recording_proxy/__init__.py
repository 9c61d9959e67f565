"""A proxy in front of a server that forwards every call unchanged and records it. ``tfs-admin record`` runs it."""
