"""Model roots: where the models of a reload may come from.

A model is a program: a Python folder obviously, but a SavedModel reads and writes files too, with the rights of the
server. So whoever chooses the directory that a model is loaded from chooses what the server runs. The server's own
configuration may name any directory. A reload may name those that it names, and others only inside the roots.

The base path and the version directories are resolved, through ``..`` and symbolic links, when a reload arrives and
again at every attempt to load; the resolved directory is what is loaded. To replace a directory inside a root between
that check and the load takes the right to write there, and whoever has it can put a model there anyway. For the same
reason, links within a version directory are not checked.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from tfs_client.server.access.exposure import is_exposed
from tfs_client.server.config import ServerConfig
from tfs_client.server.file_errors import ForbiddenPathError
from tfs_client.server.model_list import ListedModel
from tfs_client.server.source import Watched, directory_of, wanted_now
from tfs_client.shown import bounded, shown

_FLAG = "Allow more with --model_roots=DIR,... or ServerConfig(model_roots=[...])"


class ModelRoots:
    """The directories from which reloads may load models.

    Args:
        config: ``model_roots`` names them. Without it every path is allowed, unless the server is exposed: then the
            roots are the parents of the base paths that the server's own configuration has.

    Attributes:
        exposed: whether the gRPC port is open to other machines without a token or client certificates.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._given = config.model_roots
        self.exposed = is_exposed(config)

    def check(self, models: Iterable[ListedModel], own: Collection[str]) -> None:
        """Refuse a reload that names a directory outside the roots; ``own`` are the configured base paths.

        Raises ForbiddenPathError. Base paths must be readable ones, see ``check_readable``.
        """
        roots = self.roots(own)
        if roots is None:
            return
        for model in models:
            if not _is_own(directory_of(model.base_path), own):
                found = wanted_now(Watched(model.name, model.base_path, model.versions))
                for path in (directory_of(model.base_path), *(path for _, path in found)):
                    self._resolved(path, roots, f"Model {shown(model.name)}: ")

    def allowed(self, path: str, own: Collection[str]) -> str:
        """The directory to load a version directory from: itself, or the one that it leads to, inside the roots.

        Raises ForbiddenPathError if it is neither below one of ``own`` nor inside the roots.
        """
        roots = self.roots(own)
        if roots is None or _is_own(os.path.dirname(path), own):
            return path
        return self._resolved(path, roots)

    def roots(self, own: Collection[str]) -> tuple[str, ...] | None:
        """The roots now in force; None: any path."""
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


def _is_own(directory: str, own: Collection[str]) -> bool:
    # Without taking ".." out: behind a symbolic link it does not lead back.
    return PurePosixPath(directory) in (PurePosixPath(directory_of(base_path)) for base_path in own)


def _parents(own: Collection[str]) -> tuple[str, ...]:
    """The directories next to configured base paths; not the root of the file system, which would be every path."""
    parents = dict.fromkeys(os.path.dirname(_clean(directory_of(base_path))) for base_path in own)
    return tuple(parent for parent in parents if parent != "/")


def _clean(path: str) -> str:
    """The path without ``.``, ``..`` and doubled slashes, of which ``normpath`` keeps two in front."""
    return "/" + os.path.normpath(path).lstrip("/")


def _real(path: str) -> str:
    return _clean(os.path.realpath(path))


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _quoted(path: str) -> str:
    return "'" + bounded(path, 500).replace("\n", "\\n") + "'"
