"""The commands replace phrases of the library's error texts, so the library must still use them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import pytest

import tfs_client
from tfs_client.cli.credentials import WORDS

COMPOSED = {"token= and"}  # from parts; tests/flows/test_contradictions.py shows that the library says it

ROOT = Path(tfs_client.__file__).parent


def texts(constant: object) -> Iterator[str]:
    """The strings in a constant of compiled code."""
    if isinstance(constant, str):
        yield constant
    elif isinstance(constant, (CodeType, tuple, frozenset)):
        for inner in constant.co_consts if isinstance(constant, CodeType) else constant:
            yield from texts(inner)


@cache
def library_texts() -> str:
    """Return all string constants of the library, without those of the commands."""
    paths = [path for path in ROOT.rglob("*.py") if (ROOT / "cli") not in path.parents]
    # As compiled, not parsed: mostly Python has done it before, and kept it.
    codes = [SourceFileLoader(path.stem, str(path)).get_code(path.stem) for path in paths]
    return "\n".join(text for code in codes for text in texts(code))


@pytest.mark.parametrize("phrase", sorted({phrase.strip() for phrase, _ in WORDS} - COMPOSED))
def test_the_library_still_uses_a_phrase_that_commands_replace(phrase: str) -> None:
    assert phrase in library_texts()
