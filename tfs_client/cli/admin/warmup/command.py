"""tfs-admin warmup: write the requests that a server runs when it loads a version, or check those that are there."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tfs_client._codec import model_folders, regular_files, tfrecord
from tfs_client._codec.model_folders import SAVED_MODEL
from tfs_client._printable import counted
from tfs_client.cli import exits
from tfs_client.cli.admin.warmup import checks, requests
from tfs_client.cli.admin.warmup.arguments import WarmupOptions
from tfs_client.cli.replaced_files import replace
from tfs_client.errors import ConfigError, TFServingError
from tfs_client.recordings import records
from tfs_client.recordings.episodes import Episode
from tfs_client.server.fakes import ExportedModel, read_path
from tfs_client.server.lifecycle.warmup import FILE, MAX_RECORDS
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures

MOST_SHOWN = 20  # problems
MADE_UP = "the values are made up; if an op of the model refuses them, a server does not load the version"


def warmup(options: WarmupOptions) -> int:
    """Write or check the file."""
    _check_options(options)
    folder, model = (None, None) if options.model_dir is None else _model(options.model_dir)
    path = options.output or (os.path.join(folder, FILE) if folder else "")
    if options.check:
        return _check(path, model)
    if not options.overwrite and os.path.lexists(path):
        raise ConfigError(f"{path!r} exists: use --overwrite to replace it, or --check to check it")
    episodes = _limited(_requests(options, model), options.limit)
    logs = [records.write(episode) for episode in episodes]
    found = checks.check_records(logs, model)
    if found.problems:
        _show(options.recording or "the requests", found.problems)
        exits.show_note("tfs-admin: a server would refuse these requests; nothing is written")
        return exits.DIFFERENT
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        frames = [tfrecord.framed(log) for log in logs]
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {path!r}: {error}") from None
    replace(path, frames)
    unchecked = "; not checked, because no model is given" if model is None else ""
    exits.show(f"{path}: {found.summary}{unchecked}")
    return exits.OK


def _check(path: str, model: ExportedModel | None) -> int:
    try:
        with regular_files.opened(path) as file:
            found = checks.check_file(file, model)
    except (OSError, TFServingError) as error:
        raise ConfigError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from None
    unchecked = "; signatures are not checked, because no model is given" if model is None else ""
    exits.show(f"{path}: {found.summary}{unchecked}")
    _show(path, found.problems)
    return exits.DIFFERENT if found.problems else exits.OK


def _show(what: str, problems: Sequence[checks.Problem]) -> None:
    for problem in problems[:MOST_SHOWN]:
        exits.show(f"{what}: {problem}")
    if len(problems) > MOST_SHOWN:
        exits.show(f"{what}: and {len(problems) - MOST_SHOWN} more errors")


def _check_options(options: WarmupOptions) -> None:
    """Raise ConfigError for options that the source of the requests does not have."""
    if options.model_dir is None and options.output is None:
        raise ConfigError("expected MODEL_DIR, or -o FILE, got neither")
    if options.model_dir is None and (options.from_signature or options.inputs):
        raise ConfigError("requests are made with the signatures of a model: give its MODEL_DIR")
    source = "recording" if options.recording else "inputs" if options.inputs else "signature"
    flag = {"recording": "--from", "inputs": "--inputs", "signature": "--from-signature"}[source]
    if options.check:
        source, flag = "check", "--check"
    given: dict[str, tuple[object, tuple[str, ...]]] = {
        "--model": (options.model, ("recording",)),
        "--signature": (options.signature, ("recording", "inputs", "signature")),
        "--batch-size": (options.batch_size, ("signature",)),
        "--fill random": (options.fill != "zeros" or None, ("signature",)),
        "--seed": (options.seed or None, ("signature",)),
        "--limit": (options.limit, ("recording", "inputs")),
        "--overwrite": (options.overwrite or None, ("recording", "inputs", "signature")),
    }
    for name, (value, sources) in given.items():
        if value is not None and source not in sources:
            raise ConfigError(f"{name} does not apply to {flag}: leave it out")
    if options.batch_size is not None and options.batch_size < 1:
        raise ConfigError(f"expected --batch-size of 1 or more, got {options.batch_size}")
    if options.limit is not None and not 1 <= options.limit <= MAX_RECORDS:
        raise ConfigError(f"expected --limit from 1 to {MAX_RECORDS}, got {options.limit}")


def _model(path: str) -> tuple[str, ExportedModel]:
    """Return the version's directory, and the signatures there."""
    try:
        found = model_folders.find(path, (SAVED_MODEL,))
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error.strerror or error}") from None
    if found.path.name != SAVED_MODEL:
        raise ConfigError(f"expected the directory of a SavedModel, got {path!r}")
    inside = os.path.relpath(found.path.parent, os.path.abspath(path))  # a relative path stays relative
    return os.path.normpath(os.path.join(path, inside)), read_path(found.path)


def _requests(options: WarmupOptions, model: ExportedModel | None) -> list[Episode]:
    if options.recording is not None:
        found, left = requests.of_recording(options.recording, options.model, options.signature)
        for reason, count in left.items():
            exits.show_note(f"tfs-admin: left out: {counted(count, reason)}")
        if not found:
            raise ConfigError(f"expected calls of a model in {options.recording!r}, got none that can be used")
        return found
    assert model is not None
    signatures = Signatures(model.signatures, model=model.name, version=model.version)
    name = options.signature or DEFAULT_SIGNATURE
    if options.inputs:
        return requests.of_files(options.inputs, signatures, name)
    made, note = requests.of_signature(signatures, name, options.batch_size, options.fill, options.seed)
    if note:
        exits.show_note(f"tfs-admin: {note}; use --inputs for other sizes")
    exits.show_note(f"tfs-admin: {MADE_UP}")
    return [made]


def _limited(episodes: list[Episode], limit: int | None) -> list[Episode]:
    if limit is None and len(episodes) > MAX_RECORDS:
        raise ConfigError(
            f"expected at most {MAX_RECORDS} requests, which is what a server accepts, got {len(episodes)}; "
            f"--limit {MAX_RECORDS} takes the first {MAX_RECORDS}"
        )
    if limit is not None and limit < len(episodes):
        exits.show_note(f"tfs-admin: --limit {limit}: the first {limit} of {len(episodes)} requests")
        return episodes[:limit]
    return episodes
