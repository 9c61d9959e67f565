"""Model roots: the directories from which reloads may load models.

A model is a program: a Python folder obviously, but a SavedModel reads and writes files too, with the permissions of
the server. So the choice of a model's directory is a choice of code to run. The server's own configuration may name any
directory. A reload may name the same directories, and others only inside the roots.

The base path and the version directories are resolved, through ``..`` and symbolic links, when a reload arrives and
again at every attempt to load; the resolved directory is loaded. Replacing a directory inside a root between that check
and the load requires permission to write there, which is enough to place a model there anyway. For the same reason,
links within a version directory are not checked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Protocol, TypeVar

from tfs_client._printable import bounded, shown
from tfs_client.server.files.file_errors import ForbiddenPathError
from tfs_client.server.files.file_uris import local_path

log: logging.Logger = logging.getLogger("tfs_client.server")

_FLAG = "Allow more with --model_roots=DIR,... or ServerConfig(model_roots=[...])"


class Model(Protocol):
    """A model that a reload names."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def base_path(self) -> str:
        """The directory, or the ``file`` URI of the directory, that contains its versions."""


M = TypeVar("M", bound=Model)


class ModelRoots:
    """The directories from which reloads may load models.

    Args:
        given: the directories (``ServerConfig.model_roots``). If None, every path is allowed unless the server is
            exposed; then the roots are the parents of the base paths in the server's own configuration.
        exposed: whether other machines can reach the gRPC port without a token or a client certificate.
    """

    def __init__(self, given: Sequence[str | os.PathLike[str]] | None, *, exposed: bool) -> None:
        self._given = given
        self.exposed: bool = exposed
        for root in self._given or ():
            if not os.path.isdir(root):
                log.warning("model_roots: %s is not a directory; reloads can load nothing from it", _quoted(str(root)))

    def check(self, models: Iterable[M], own: Collection[str], versions_of: Callable[[M], Iterable[str]]) -> None:
        """Refuse a reload that names a directory outside the roots.

        Args:
            models: the models of the reload; their base paths must be readable, see ``check_readable``.
            own: the base paths in the server's own configuration.
            versions_of: lists the version directories that would be loaded for a model.

        Raises ForbiddenPathError.
        """
        roots = self.roots(own)
        if roots is None:
            return
        for model in models:
            if not is_own(local_path(model.base_path), own):
                for path in (local_path(model.base_path), *versions_of(model)):
                    self._resolved(path, roots, f"Model {shown(model.name)}: ")

    def allowed(self, path: str, own: Collection[str]) -> str:
        """Return the directory to load: the version directory, or the directory inside the roots that it resolves to.

        Raises ForbiddenPathError if it is neither below one of ``own`` nor inside the roots.
        """
        roots = self.roots(own)
        if roots is None or is_own(os.path.dirname(path), own):
            return path
        return self._resolved(path, roots)

    def roots(self, own: Collection[str]) -> tuple[str, ...] | None:
        """Return the current roots; None: any path."""
        if self._given is not None:
            return tuple(os.fspath(root) for root in self._given)
        return _parents(own) if self.exposed else None

    def _resolved(self, path: str, roots: Collection[str], who: str = "") -> str:
        real = _real(path)
        if any(_is_inside(real, _real(root)) for root in roots):
            return real
        leads = ", a link that leads out of them" if any(_is_inside(_clean(path), root) for root in roots) else ""
        why = "" if self._given is not None else "on an unprotected port "
        raise ForbiddenPathError(
            f"{who}{why}a reload may load models only from base paths of the server's own configuration, or "
            f"from below {', '.join(map(_quoted, roots)) or 'no other directory'}; got {_quoted(path)}{leads}. {_FLAG}"
        )


def is_own(directory: str, own: Collection[str]) -> bool:
    """Whether a directory is one of these base paths, which may be ``file`` URIs."""
    # Without removing "..", because behind a symbolic link it leads elsewhere.
    return PurePosixPath(directory) in (PurePosixPath(local_path(base_path)) for base_path in own)


def _parents(own: Collection[str]) -> tuple[str, ...]:
    """Return the parents of configured base paths. "/" is left out, because it would allow any path."""
    parents = dict.fromkeys(os.path.dirname(_clean(local_path(base_path))) for base_path in own)
    return tuple(parent for parent in parents if parent != "/")


def _clean(path: str) -> str:
    """Return the path without ``.``, ``..`` and doubled slashes; ``normpath`` alone keeps two leading ones."""
    return "/" + os.path.normpath(path).lstrip("/")


def _real(path: str) -> str:
    return _clean(os.path.realpath(path))


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _quoted(path: str) -> str:
    return "'" + bounded(path, 500).replace("\n", "\\n") + "'"
