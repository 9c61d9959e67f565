"""Checks, before a run, of the files that it would create, continue or replace. Other files stay unchanged."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.cli.predict.bulk import drawings, run_record
from tfs_client.cli.predict.bulk.outputs import files_of, suffix_of
from tfs_client.cli.predict.bulk.safe_files import check_regular, open_existing
from tfs_client.cli.predict.contradictions import first_given
from tfs_client.errors import ConfigError

FAILURE_KEYS = {"image", "error", "text"}
FAILURE_START = b'{"image": '  # of a line; an incomplete last line has at least a part of it

_ANSWERS = ("labels", "top", "softmax", "min_score", "max_detections")


def failures_path(options: PredictOptions) -> str | None:
    """Return the path of the list of failures; None for standard error."""
    return options.failures or (f"{options.output}.failed.jsonl" if options.output else None)


def check(options: PredictOptions) -> None:
    """Raise ConfigError if options contradict each other, or if the run must not write one of its files."""
    _check_flags(options)
    own = [*files_of(options.output), *run_record.files_of(options.output)] if options.output else []
    read = [path for path in (*options.input_list, options.labels) if path is not None and path != "-"]
    read += [path[1:] for _, _, path in (given.partition("=") for given in options.input) if path.startswith("@")]
    failures = failures_path(options)
    if failures and any(_same(failures, path) for path in own):
        raise ConfigError(f"--failures and --output: expected different files, got {failures!r} for both")
    if options.html is not None:
        from tfs_client.cli.predict import html_report  # with Pillow's encoders, which few runs need

        html_report.check(options.html, overwrite=options.overwrite)
        for flag, path in (("--failures", failures), ("--draw", options.draw)):
            if path and _same(options.html, path):
                raise ConfigError(f"{flag} and --html: expected different files, got {path!r} for both")
    written = [path for path in (failures, options.html) if path]
    for path in (*own, *written):
        for other in read:
            if _same(path, other):
                raise ConfigError(f"{path!r} is both an input and an output of the run: write to another file")
    derived = [path for path in own if path != options.output]
    for path in (*derived, *([failures] if failures else [])):
        check_regular(path)
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
    if options.draw is not None:
        for path in (*own, *([failures] if failures else [])):
            if _same(options.draw, path):
                raise ConfigError(f"--draw: expected a folder for drawings, got {path!r}, a file of the run")
        drawings.check_folder(options.draw, may_hold=options.resume or options.overwrite)
    if failures and not _lists_failures(failures):
        raise ConfigError(
            f"--failures: {failures!r} was not written by tfs-predict and is left unchanged: use another file"
        )


def _check_flags(options: PredictOptions) -> None:
    if options.resume and not options.output:
        raise ConfigError("--resume continues a file: use --output too")
    if options.overwrite and not (options.output or options.failures or options.draw or options.html):
        raise ConfigError("--overwrite replaces a file: use --output too")
    if options.resume and options.overwrite:
        raise ConfigError("--resume continues a file, and --overwrite replaces it: use one of them")
    if options.json:
        raise ConfigError("--json is for a single prediction, and rows are JSON lines without it: leave it out")
    if not options.output and sys.stdout is None:
        raise ConfigError("standard output, where the rows go, is closed: use --output FILE")
    has_answers = not options.output or suffix_of(options.output) != ".npz"
    if not (has_answers or options.draw or options.html) and (flag := first_given(options, _ANSWERS)):
        raise ConfigError(
            f"{flag} says what answers contain, and .npz has the outputs of the model only: leave it out, or write "
            "another format"
        )


def has_rows(output: str) -> bool:
    """Whether an earlier run left rows for an output."""
    return any(_has_content(path) for path in files_of(output))


def _has_content(path: str) -> bool:
    return os.path.exists(path) and not (os.path.isfile(path) and not os.path.getsize(path))


def _same(path: str, other: str) -> bool:
    """Whether two paths name the same file; it need not exist."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def _check_place(flag: str, path: str) -> None:
    """Raise ConfigError if a file cannot be written at the path."""
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.exists(path):
        if not os.path.isfile(path):
            raise ConfigError(f"{flag}: {path!r} is not a regular file")
        if not os.access(path, os.R_OK | os.W_OK):
            raise ConfigError(f"{flag}: {path!r} cannot be written: no permission")
    elif not os.path.isdir(folder):
        raise ConfigError(
            f"{flag}: cannot write {path!r}: the folder {os.path.dirname(path) or folder!r} does not exist"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{flag}: cannot write to the folder {folder!r}: no permission")


def _lists_failures(path: str) -> bool:
    """Whether a file only contains failures, or does not exist. Its last line may be incomplete."""
    if not os.path.exists(path):
        return True
    try:
        with open_existing(path) as file:
            return all(_is_failure(line) for line in file)
    except OSError as error:
        raise ConfigError(f"--failures: cannot read {path!r}: {error.strerror or error}") from None


def _is_failure(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return line[: len(FAILURE_START)] == FAILURE_START[: len(line)] or not line.strip(b"\0")
    try:
        return set(json.loads(line)) == FAILURE_KEYS
    except Exception:  # also for JSON that is nested too deeply, and numbers that are too long
        return False


def remove(paths: Iterable[str]) -> None:
    """Remove those of the files that exist."""
    for path in paths:
        if os.path.lexists(path):
            os.unlink(path)
