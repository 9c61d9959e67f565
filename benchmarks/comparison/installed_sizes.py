"""Print the bytes of installed packages and of all that they require, as JSON: ``installed_sizes.py NAME...``.

Compiled modules (.pyc) do not count, nor requirements of extras. A requirement that is not installed is not for this
Python or system.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def sizes(names: list[str]) -> dict[str, int]:
    """Bytes by package name."""
    found: dict[str, int] = {}
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            if name in names:
                raise
            continue
        paths = [Path(path.locate()) for path in package.files or () if path.suffix != ".pyc"]
        found[name] = sum(path.stat().st_size for path in paths if path.is_file())
        for requirement in package.requires or ():
            if "extra ==" not in requirement:
                todo.append(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])
    return found


if __name__ == "__main__":
    print(json.dumps(sizes(sys.argv[1:])))
