"""``python -m tfs_client.cli.bench`` runs tfs-bench."""

from tfs_client.cli.bench.command import script

script()
