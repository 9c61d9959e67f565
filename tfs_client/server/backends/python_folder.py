"""Servables written in Python: a version folder with a ``servable.py`` instead of a SavedModel.

``servable.py`` defines a function ``signatures(path)``, which takes the version folder's path and returns the
signatures by name::

    # models/scale/1/servable.py
    import numpy as np

    from tfs_client import TensorSpec
    from tfs_client.server import FunctionSignature

    from .shapes import VECTOR  # other modules of the folder


    def signatures(path):
        factor = np.load(f"{path}/factor.npy")
        return {"serving_default": FunctionSignature(lambda x: {"y": factor * x}, {"x": VECTOR}, {"y": VECTOR})}

Every load imports the folder as a package with a new name. So versions can be loaded side by side, each with its own
modules, and a reload executes changed files. Nothing is written into the folder, and ``close`` removes its modules.

The code of the folder runs with all rights of the server: only models whose configuration has the platform ``python``
are loaded this way.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from types import CodeType, ModuleType

from tfs_client._printable import bounded, shown
from tfs_client.errors import CallError, InvalidArgumentError, NotFoundError
from tfs_client.server.backends.functions import CODES, FunctionServable, FunctionSignature
from tfs_client.server.model_failures import text_of

log: logging.Logger = logging.getLogger(__name__)

FILE = "servable.py"
FUNCTION = "signatures"

_numbers = itertools.count(1)


class PythonServable(FunctionServable):
    """The signatures of a version folder. They run in several threads concurrently."""

    def __init__(self, package: _Package, signatures: Mapping[str, FunctionSignature]) -> None:
        super().__init__(signatures)
        self._package = package

    def close(self) -> None:
        """Remove the folder's modules from the import system. Running calls are not affected."""
        self._package.forget()


def load(path: str) -> PythonServable:
    """Import the folder's ``servable.py`` and get its signatures.

    An exception of that code becomes the error of the load. A CallError is raised unchanged; other exceptions have the
    codes that they have in a call, with the last line of the traceback as the text.
    """
    path = os.path.abspath(path)
    if not os.path.isfile(os.path.join(path, FILE)):
        raise NotFoundError(f"expected a file {FILE} in the version folder of a model of the platform python: {path}")
    package = _Package(path)
    try:
        return PythonServable(package, _signatures(package, path))
    except (CallError, KeyboardInterrupt):
        package.forget()
        raise
    except BaseException as error:
        package.forget()
        log.exception("%s cannot be loaded", os.path.join(path, FILE))
        code = next(code for kind, code in CODES if isinstance(error, kind))
        raise code(f"{path}: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    """Return the last line of a traceback. A SyntaxError's text names the file and the line, its last line does not."""
    if isinstance(error, SyntaxError):
        return text_of(error)
    return bounded(traceback.format_exception_only(error)[-1].strip())


def _signatures(package: _Package, path: str) -> Mapping[str, FunctionSignature]:
    function = getattr(package.module(), FUNCTION, None)
    if not callable(function):
        raise InvalidArgumentError(f"{path}: {FILE} has no function {FUNCTION}(path)")
    found = function(path)
    if not isinstance(found, Mapping) or not all(isinstance(each, FunctionSignature) for each in found.values()):
        raise InvalidArgumentError(
            f"{path}: expected {FUNCTION}(path) of {FILE} to return a mapping from signature names to "
            f"FunctionSignature, got {shown(found)}"
        )
    return found


class _Loader(SourceFileLoader):
    """Compiles the source at every load: bytecode is neither written nor read."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(source), source)
        return code


class _Package:
    """A folder as a package with a unique name."""

    def __init__(self, path: str) -> None:
        self._name = f"_tfs_servable_{next(_numbers)}"
        self._path = path
        # The import system uses this finder instead of its default one, which would write bytecode.
        self._finder = FileFinder(path, (_Loader, SOURCE_SUFFIXES))
        sys.path_importer_cache[path] = self._finder
        package = ModuleType(self._name)
        package.__path__ = [path]
        sys.modules[self._name] = package

    def module(self) -> ModuleType:
        """Import the folder's ``servable.py``."""
        return importlib.import_module(f"{self._name}.{FILE.removesuffix('.py')}")

    def forget(self) -> None:
        """Take the modules out of ``sys.modules``."""
        for name in [name for name in sys.modules if name == self._name or name.startswith(f"{self._name}.")]:
            del sys.modules[name]
        if sys.path_importer_cache.get(self._path) is self._finder:  # the folder may have been loaded again
            del sys.path_importer_cache[self._path]
