"""``python benchmarks/comparison``: the clients of TensorFlow Serving side by side. ``command.py`` says how."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The checkout of this file is what is measured, whatever is installed; the programs that it starts inherit this.
BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = str(BENCHMARKS.parent)
sys.path[:1] = [str(BENCHMARKS), ROOT]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))

from comparison.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
