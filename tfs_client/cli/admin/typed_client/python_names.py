"""Names of a model as names of Python code: valid identifiers, without collisions, the same every time.

Signatures and aliases may be any text, and come from a server. They become code only as identifiers made here, and as
string literals.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable

LONGEST = 40  # characters of an identifier
LONGEST_SHOWN = 60  # characters of a name in a docstring


def identifiers(texts: Iterable[str], kind: str, reserved: Collection[str]) -> dict[str, str]:
    """Return an identifier for each text, all different.

    Texts that are valid as they are keep their name, whatever other texts look like.

    Args:
        texts: names of signatures or tensors.
        kind: what they name, such as "input"; in front of names that cannot begin an identifier.
        reserved: identifiers that the code around them uses.
    """
    texts = sorted(set(texts))
    found = {text: text for text in texts if _identifier(text, kind) == text and text not in reserved}
    taken = {*found, *reserved}
    for text in texts:
        if text not in found:
            found[text] = _free(_identifier(text, kind), taken)
            taken.add(found[text])
    return {text: found[text] for text in texts}


def class_name(text: str) -> str:
    """Return a name in the style of classes: "serving_default" becomes "ServingDefault"."""
    words = [word for word in re.split(r"[\W_]+", _plain(text)) if word]
    name = "".join(word[:1].upper() + word[1:] for word in words)[:LONGEST]
    return _identifier(name, "Model").replace("_", "")


def literal(text: str) -> str:
    """Return a string literal as formatters write it: in double quotes, unless others need fewer escapes."""
    written = "".join(_written(character) for character in text)
    quote = "'" if written.count('"') > written.count("'") else '"'
    return quote + written.replace(quote, f"\\{quote}") + quote


def in_docs(text: str) -> str:
    """Return a name for a docstring: in one line, short, without characters that could end the docstring."""
    short = text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
    written = "".join(_written(character) for character in short)
    return written.replace("\\", "\\\\").replace('"', "'")


def _free(name: str, taken: Collection[str]) -> str:
    if name not in taken:
        return name
    if name + "_" not in taken:
        return name + "_"
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _identifier(text: str, kind: str) -> str:
    """Return the text as an identifier.

    It does not begin with an underscore: two of them would be mangled in a class, and one marks private names.
    """
    name = re.sub(r"\W", "_", _plain(text))[:LONGEST].lstrip("_")
    if not name.isidentifier():
        name = f"{kind}_{name}" if name else kind
    if not name.isidentifier():  # characters of words that no identifier has
        name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"{name}_" if keyword.iskeyword(name) else name


def _plain(text: str) -> str:
    """Return the text in the form to which Python brings identifiers, so that different ones stay different."""
    return unicodedata.normalize("NFKC", text)


def _written(character: str) -> str:
    if character == "\\" or not character.isprintable():
        return character.encode("unicode_escape").decode()
    return character
