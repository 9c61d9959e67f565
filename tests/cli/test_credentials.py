"""The commands replace phrases of the library's error texts, so the library must still use them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import tfs_client
from tfs_client.cli.credentials import WORDS

COMPOSED = {"token= and"}  # from parts; tests/flows/test_contradictions.py shows that the library says it

ROOT = Path(tfs_client.__file__).parent


@cache
def library_texts() -> str:
    """Return all string constants of the library, without those of the commands."""
    paths = [path for path in ROOT.rglob("*.py") if (ROOT / "cli") not in path.parents]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.mark.parametrize("phrase", sorted({phrase.strip() for phrase, _ in WORDS} - COMPOSED))
def test_the_library_still_uses_a_phrase_that_commands_replace(phrase: str) -> None:
    assert phrase in library_texts()
