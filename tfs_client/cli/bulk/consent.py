"""Consent: which files a run may begin, go on with or take away. Whatever else is there stays as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from tfs_client.cli.bulk import asked
from tfs_client.cli.bulk.outputs import files_of
from tfs_client.cli.bulk.own_files import check_own, read_own
from tfs_client.errors import ConfigError

FAILURE = {"image", "error", "text"}  # what a line of failures has
BEGIN = b'{"image": '


def failures_path(options: Any) -> str | None:
    """Where failures are listed; None for standard error."""
    path: str | None = options.failures or (f"{options.output}.failed.jsonl" if options.output else None)
    return path


def check(options: Any) -> None:
    """Raise ConfigError unless the options agree, and let the run have every file that it would write."""
    _check_flags(options)
    own = [*files_of(options.output), *asked.files_of(options.output)] if options.output else []
    read = [path for path in (*options.input_list, options.labels) if path not in (None, "-")]
    read += [path[1:] for _, _, path in (given.partition("=") for given in options.input) if path.startswith("@")]
    failures = failures_path(options)
    if failures and any(_same(failures, path) for path in own):
        raise ConfigError(f"--failures and --output: expected two files, got one, {failures!r}")
    for path in (*own, *([failures] if failures else [])):
        for other in read:
            if _same(path, other):
                raise ConfigError(f"{path!r}: this file is read by the run, and cannot be written by it")
    made_up = [path for path in own if path != options.output]
    for path in (*made_up, *([failures] if failures else [])):
        check_own(path)
    if options.output:
        _check_place("--output", options.output)
    if failures:
        _check_place("--failures", failures)
    if not (options.resume or options.overwrite):
        for path in own[: len(files_of(options.output))] if options.output else ():
            if _has_content(path):
                raise ConfigError(f"{path!r} already exists: --resume continues it, --overwrite replaces it")
        if options.failures and _has_content(options.failures):
            raise ConfigError(f"{options.failures!r} already exists: --overwrite replaces it")
    if failures and not _lists_failures(failures):
        raise ConfigError(f"--failures: {failures!r} is not a list of failures by tfs-predict, and is left unchanged")


def _check_flags(options: Any) -> None:
    if options.save_mask:
        raise ConfigError("--save-mask draws on one picture: give a single --image FILE")
    if options.resume and not options.output:
        raise ConfigError("--resume continues a file: give --output too")
    if options.overwrite and not (options.output or options.failures):
        raise ConfigError("--overwrite is about a file: give --output too")
    if options.resume and options.overwrite:
        raise ConfigError("--resume continues a file, --overwrite replaces it: give one")


def is_begun(output: str) -> bool:
    """Whether a run has left rows for an output."""
    return any(_has_content(path) for path in files_of(output))


def _has_content(path: str) -> bool:
    return os.path.exists(path) and not (os.path.isfile(path) and not os.path.getsize(path))


def _same(path: str, other: str) -> bool:
    """Whether two paths are of one file, be it there or not."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def _check_place(flag: str, path: str) -> None:
    """Raise ConfigError where no file can be written."""
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.exists(path):
        if not os.path.isfile(path):
            raise ConfigError(f"{flag}: {path!r} is not a regular file")
        if not os.access(path, os.R_OK | os.W_OK):
            raise ConfigError(f"{flag}: {path!r} cannot be written: no permission")
    elif not os.path.isdir(folder):
        raise ConfigError(f"{flag}: there is no folder {os.path.dirname(path) or folder!r} for {path!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{flag}: no permission to write into the folder {folder!r}")


def _lists_failures(path: str) -> bool:
    """Whether a file is not there, or has failures only. The last line may have been cut off."""
    if not os.path.exists(path):
        return True
    try:
        with read_own(path) as file:
            return all(_is_failure(line) for line in file)
    except OSError as error:
        raise ConfigError(f"--failures: cannot read {path!r}: {error.strerror or error}") from None


def _is_failure(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return line[: len(BEGIN)] == BEGIN[: len(line)] or not line.strip(b"\0")
    try:
        return set(json.loads(line)) == FAILURE
    except Exception:  # lists that are too deep, numbers that are too long
        return False


def take_away(paths: Iterable[str]) -> None:
    """Remove files that may be there."""
    for path in paths:
        if os.path.lexists(path):
            os.unlink(path)
