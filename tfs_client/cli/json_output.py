"""JSON as the commands print it: ASCII, without control characters that a terminal would interpret."""

from __future__ import annotations

import json


def dumps(value: object) -> str:
    """Return a value as JSON in one line. Control characters, DEL included, are escaped, so no value changes."""
    return json.dumps(value).replace("\x7f", "\\u007f")
