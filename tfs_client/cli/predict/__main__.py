"""``python -m tfs_client.cli.predict`` runs tfs-predict."""

from tfs_client.cli.predict.command import script

script()
