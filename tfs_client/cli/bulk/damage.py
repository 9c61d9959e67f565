"""Damaged outputs: what a run says that shall go on with one."""

from __future__ import annotations

from tfs_client.errors import ConfigError
from tfs_client.shown import bounded


def damaged(path: str, kind: str, what: object) -> ConfigError:
    """The error for an output, or the journal of one, that cannot be gone on with. Nothing of it is changed.

    Args:
        kind: what it should be: a table, an archive, a journal.
        what: what is wrong, as a text or as what a reader raised.
    """
    told = bounded(str(what) or type(what).__name__, 500)
    return ConfigError(
        f"{path!r} is no {kind} of tfs-predict, or is damaged: {told}. It is left as it is: repair it or move it away, "
        "or give another --output; --overwrite begins it anew"
    )
