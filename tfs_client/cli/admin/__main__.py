"""``python -m tfs_client.cli.admin`` runs tfs-admin."""

from tfs_client.cli.admin.command import script

script()
