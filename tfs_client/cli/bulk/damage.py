"""Damaged outputs: the error of a run that cannot continue one."""

from __future__ import annotations

from tfs_client.errors import ConfigError
from tfs_client.shown import bounded


def damaged(path: str, kind: str, what: object) -> ConfigError:
    """The error for a damaged output or journal, which stays unchanged.

    Args:
        kind: what it should be: a table, an archive, a journal.
        what: what is wrong, as a text or as what a reader raised.
    """
    told = bounded(str(what) or type(what).__name__, 500)
    article = "an" if kind[0] in "aeiou" else "a"
    return ConfigError(
        f"{path!r} is not {article} {kind} of tfs-predict, or is damaged: {told}. It is left unchanged: repair it, "
        "move it away, or give another --output; --overwrite replaces it"
    )
