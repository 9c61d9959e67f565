"""JSON as the commands print it: ASCII, and without characters that a terminal would obey."""

from __future__ import annotations

import json
from typing import Any


def dumps(value: Any) -> str:
    """A value in one line. Control characters are escaped, DEL too, so what is read again is exactly what it was."""
    return json.dumps(value).replace("\x7f", "\\u007f")
