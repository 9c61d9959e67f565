"""``python -m tfs_client.cli.serve`` runs tfs-serve."""

from tfs_client.cli.serve.command import script

script()
