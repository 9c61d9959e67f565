"""JSON: lists of names, and objects of numbers and names."""

from __future__ import annotations

import re

from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.images.label_files.names import MAX_NUMBER, MAX_PARTS, Names, is_number, numbered, too_many

FORMS = (
    '["cat", …], {"0": "cat", …}, {"0": ["n02123045", "tabby"], …}, [["n02123045", "tabby"], …], {"cat": 0, …} or '
    '[{"id": 0, "name": "cat"}, …]'
)


def read(text: str) -> tuple[Names, bool]:
    """Return the names, and whether the file has their numbers. Raises ConfigError."""
    import json

    if text.count(",") + text.count("[") + text.count("{") > MAX_PARTS:
        raise too_many()
    try:
        found = json.loads(text, object_pairs_hook=_members, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"expected JSON, as the suffix or the first character shows: {error.msg} in line {error.lineno}, column "
            f"{error.colno}"
        ) from None
    except RecursionError:
        raise ConfigError("expected JSON with names, got lists or objects that are nested too deeply") from None
    if isinstance(found, list) and found:
        if all(isinstance(item, str) for item in found):
            return dict(enumerate(item.strip() for item in found)), False
        if all(_is_synset(item) for item in found):
            return dict(enumerate(name.strip() for _, name in found)), False
        if all(isinstance(item, dict) and {"id", "name"} <= item.keys() for item in found):
            return numbered((item["id"], item["name"]) for item in found), True
    if isinstance(found, dict) and found:
        if all(type(value) is int for value in found.values()):
            return numbered((value, name) for name, value in found.items()), True
        if all(isinstance(value, str) or _is_synset(value) for value in found.values()):
            return numbered((key, value if isinstance(value, str) else value[1]) for key, value in found.items()), True
    raise ConfigError(f"expected JSON of one of the forms {FORMS}, got {shown(found)}")


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object with these members. Of members with the same name, the json module silently keeps the last."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigError(f"expected each name in a JSON object once, got {shown(name)} twice")
        found[name] = value
    return found


def _whole(text: str) -> int:
    if not is_number(text):  # also numbers of so many digits that Python refuses them, or is slow
        raise ConfigError(f"expected the number of a class, from 0 to {MAX_NUMBER}, got {shown(text)}")
    return int(text)


def _is_synset(value: object) -> bool:
    """Return whether a value is a pair of a synset of WordNet and a name, as Keras lists the classes of ImageNet."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(part, str) for part in value)
        and re.fullmatch("n[0-9]{8}", value[0]) is not None
    )
