"""What scripts/export_half_plus_two.py exports, and TensorFlow without its warnings."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
SCRIPT = Path(__file__).parents[2] / "scripts" / "export_half_plus_two.py"


@contextmanager
def quiet():
    """TensorFlow warns of what it deprecates itself, at import and while it exports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def script():
    """The script as a module."""
    spec = spec_from_file_location("export_half_plus_two", SCRIPT)
    module = module_from_spec(spec)
    with quiet():
        spec.loader.exec_module(module)
    return module
