"""The class names of ImageNet (ILSVRC 2012), from the words of WordNet. The file has WordNet's licence."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).with_name("imagenet.txt")
_SYNSET = len("n01440764 ")


def names() -> list[str]:
    """Return the 1,000 names in the order of the classes. Two names occur twice: crane and maillot."""
    lines = _FILE.read_text(encoding="ascii").splitlines()
    return [line[_SYNSET:] for line in lines if not line.startswith("#")]
