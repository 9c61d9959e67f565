"""Libraries that register further TensorFlow ops.

The model server links the ops of TensorFlow Text and TensorFlow Decision Forests. Here the Python package
tensorflow_text registers the former, imported when a graph has an op that is not registered: its import takes time and
memory that other models do not need. ``--op_library`` names other libraries, which are loaded before any model.
Ops stay registered until the process ends.

Source: model_servers/BUILD (SUPPORTED_TENSORFLOW_OPS).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TypeVar

from tfs_client._codec import regular_files
from tfs_client._printable import shown
from tfs_client.errors import InvalidArgumentError, NotFoundError, call_error
from tfs_client.server.files.file_errors import MissingPackageError, file_error
from tfs_client.server.files.file_uris import local_path
from tfs_client.server.model_failures import text_of

T = TypeVar("T")

TEXT = "tensorflow_text"

# The Python packages that register ops, with the prefixes of the ops' names.
PACKAGES: dict[str, tuple[str, ...]] = {
    TEXT: (
        "TFText>",
        "CaseFoldUTF8",
        "ConstrainedSequence",
        "FastBertNormalize",
        "FastWordpieceTokenize",
        "FindSourceOffsets",
        "MaxSpanningTree",
        "NormalizeUTF8",
        "PhraseTokenize",
        "RegexSplitWithOffsets",
        "RougeL",
        "SentenceFragments",
        "SentencepieceDetokenizeOp",
        "SentencepieceIdToStringOp",
        "SentencepieceOp",
        "SentencepieceStringToIdOp",
        "SentencepieceTokenize",
        "SentencepieceVocabSizeOp",
        "SplitMergeTokenize",
        "TokenizerFromLogits",
        "UnicodeScriptTokenize",
        "WhitespaceTokenize",
        "WordpieceTokenize",
    ),
    "tensorflow_decision_forests": ("SimpleML",),
    "tensorflow_addons": ("Addons>",),
    "tensorflow_io": ("IO>",),
    "tensorflow_recommenders_addons": ("TFRA>",),
    "tensorflow_quantum": ("Tfq",),
    "horovod.tensorflow": ("Horovod",),
}

_UNREGISTERED = re.compile(r"Op type not registered '([^']*)'")
_SHARED_OBJECTS = (".so", ".dylib", ".dll", ".pyd")


def load(library: str, tensorflow: Callable[[], ModuleType]) -> None:
    """Register the ops of a shared object, given by its path, or of a Python module.

    Args:
        tensorflow: imports TensorFlow; called once the file of a shared object is known to exist.

    Raises CallError if it cannot be loaded.
    """
    what = f"op library {shown(library)} (--op_library)"
    path = _shared_object(library, what)
    try:
        tf = tensorflow()
    except MissingPackageError as error:
        raise MissingPackageError(f"{what} needs TensorFlow: pip install 'tfs-client[tensorflow]'") from error
    try:
        if path is None:
            import_module(library)
        else:
            tf.load_op_library(path)
    except (Exception, SystemExit) as error:  # from TensorFlow, the dynamic linker, or the module's code
        expected = "a Python module" if path is None else f"a shared object built for TensorFlow {tf.__version__}"
        raise InvalidArgumentError(f"{what}: expected {expected}, which cannot be loaded: {text_of(error)}") from error


def _shared_object(library: str, what: str) -> str | None:
    """Return the path of a shared object; None for a Python module. Raises CallError if the file does not exist."""
    if os.sep not in library and not library.endswith(_SHARED_OBJECTS):
        return None
    path = local_path(library)
    try:
        regular_files.opened(path).close()
    except (OSError, InvalidArgumentError) as error:
        failure = file_error(error, library) if isinstance(error, OSError) else error
        raise call_error(failure.code, f"{what}: {failure.details}") from error
    return os.path.abspath(path)


def with_text_ops(tf: ModuleType, make: Callable[[], T]) -> T:
    """Return the result of ``make``, which imports a graph, if necessary with the ops of TensorFlow Text registered.

    Raises NotFoundError with TensorFlow's text, and advice, if an op is not registered.
    """
    try:
        return make()
    except NotFoundError as error:
        if not _UNREGISTERED.search(error.details):
            raise
    failure = _import_text()
    try:
        return make()
    except NotFoundError as error:
        if op := _UNREGISTERED.search(error.details):
            raise NotFoundError(f"{error.details} {_advice(op[1], failure, tf.__version__)}") from error
        raise


def _import_text() -> str:
    """Register the ops of TensorFlow Text. Returns the reason if that fails, else ""."""
    try:
        import_module(TEXT)
    except (Exception, SystemExit) as error:  # ImportError; NotFoundError for a release that does not fit TensorFlow
        return "" if isinstance(error, ModuleNotFoundError) and error.name == TEXT else text_of(error)
    return ""


def _advice(op: str, failure: str, version: str) -> str:
    """Name the library that has an op; ``failure`` is why TensorFlow Text cannot be imported."""
    package = next((package for package, prefixes in PACKAGES.items() if op.startswith(prefixes)), None)
    if failure and package in (TEXT, None):
        return (
            f"The Python package {TEXT} is installed, but cannot be imported ({failure}): install the release that "
            f"fits TensorFlow {version}"
        )
    if package == TEXT:
        return f"It is an op of the Python package {TEXT}: install the release that fits TensorFlow {version}"
    if package is not None:
        return (
            f"It is an op of the Python package {package}: install a release that fits TensorFlow {version}, and name "
            f"it with --op_library={package}"
        )
    return "If a Python module or a shared object registers it, name that with --op_library"
