"""The error for a damaged output, which a run cannot continue."""

from __future__ import annotations

from tfs_client._printable import bounded
from tfs_client.errors import ConfigError


def damaged(path: str, kind: str, damage: object) -> ConfigError:
    """Return the error for a damaged output or journal, which is left unchanged.

    Args:
        kind: what the file should be: a table, an archive, a journal.
        damage: a description, or the exception of a reader.
    """
    text = bounded(str(damage) or type(damage).__name__, 500)
    article = "an" if kind[0] in "aeiou" else "a"
    return ConfigError(
        f"{path!r} is not {article} {kind} of tfs-predict, or is damaged: {text}. It is left unchanged: repair it, "
        "move it away, or use another --output; --overwrite replaces it"
    )
