"""Write tfs_client/images/imagenet.txt: the synsets of ImageNet's 1,000 classes, and WordNet's first word for each.

    python scripts/imagenet_names.py /usr/share/wordnet/data.noun           # from WordNet 3.0 (Debian: wordnet-base)
    python scripts/imagenet_names.py data.noun synsets.txt                  # the synsets from another list

The classes are those of ILSVRC 2012, in the order of their synsets, as in every published network. A synset is the
position of its line in data.noun. The words are WordNet's, and its licence asks that its notice is on all copies: the
file begins with it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "tfs_client" / "images" / "imagenet.txt"
CLASSES = 1000

HEAD = """\
# The classes of ImageNet (ILSVRC 2012): synset of WordNet 3.0, and its first word.
# Written by scripts/imagenet_names.py.
#
# The words are from WordNet, with spaces for underscores, under this licence:
#
"""


def notice(database: bytes) -> str:
    """Return the licence at the beginning of WordNet's files as comments; its lines are numbered there."""
    lines = re.findall(rb"^ +\d+ (.*)$", database[:3000], re.MULTILINE)
    if not lines or not lines[-1].startswith(b"Princeton University and LICENSEE"):
        raise SystemExit("expected WordNet's licence at the beginning of data.noun")
    return "".join(f"# {line.decode().rstrip()}".rstrip() + "\n" for line in lines)


def word(database: bytes, synset: str) -> str:
    """Return the first word of a synset."""
    at = int(synset[1:])
    found = re.match(rb"(\d{8}) \d\d n [0-9a-f]{2} (\S+) ", database[at : at + 200])
    if found is None or int(found[1]) != at:
        raise SystemExit(f"expected the synset {synset} at its position: is this data.noun of WordNet 3.0?")
    return found[2].decode().replace("_", " ")


def main(database_path: str, synsets_path: str = str(TARGET)) -> None:
    database = Path(database_path).read_bytes()
    synsets = re.findall(r"^n\d{8}", Path(synsets_path).read_text(), re.MULTILINE)
    if len(synsets) != CLASSES or synsets != sorted(set(synsets)):
        raise SystemExit(f"expected {CLASSES} synsets in order, got {len(synsets)}")
    rows = "".join(f"{synset} {word(database, synset)}\n" for synset in synsets)
    TARGET.write_text(HEAD + notice(database) + rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
