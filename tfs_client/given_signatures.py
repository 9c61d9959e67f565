"""Signatures as a user states them with ``signatures=``: objects, the JSON of /metadata, or a SavedModel's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfs_client.calls.metadata import signatures_of
from tfs_client.codec import signature_defs
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import ConfigError, DecodeError, TFServingError
from tfs_client.shown import shown
from tfs_client.signatures import GivenSignatures, Signature, Signatures

SAVED_MODEL = "saved_model.pb"
_EXPECTED = "expected signatures= as Signatures, the JSON of /metadata (text, bytes, parsed), or a SavedModel's folder"


def stated(given: GivenSignatures, model: str) -> Signatures:
    """The signatures that were stated for a model.

    Args:
        given: Signatures, or a mapping from name to Signature; what GET /v1/models/NAME/metadata answers, as text,
            bytes or parsed, or the path of a file that holds it; or the path of a SavedModel, or of a folder with
            versions of it, of which the highest counts.
        model: the client's model, which they are for.

    Raises ConfigError for what cannot be read.
    """
    if not model:
        raise ConfigError("expected model= together with signatures=, got no model; add model=")
    if isinstance(given, Signatures):
        return given
    if isinstance(given, Mapping):
        if given and all(isinstance(value, Signature) for value in given.values()):
            return Signatures(given, model=model, version=None)
        return _of_json(given, model)
    if isinstance(given, (bytes, bytearray, memoryview)) or (isinstance(given, str) and given.lstrip()[:1] == "{"):
        return _of_text(given, model)
    if isinstance(given, (str, os.PathLike)):
        return _of_path(Path(given), model)
    raise ConfigError(f"{_EXPECTED}, got {type(given).__name__}")


def _of_text(text: str | bytes | bytearray | memoryview, model: str) -> Signatures:
    from tfs_client.codec import json_text

    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    try:
        return _of_json(json_text.loads(data), model)
    except DecodeError as error:
        raise ConfigError(f"{_EXPECTED}; {error}") from None


def _of_json(reply: Any, model: str) -> Signatures:
    from tfs_client.codec import rest_messages

    try:
        spec, found = rest_messages.metadata_of(reply, shown(reply))
    except DecodeError as error:
        raise ConfigError(f"{_EXPECTED}; {error}") from None
    return _some(spec, found, model, "the JSON")


def _of_path(path: Path, model: str) -> Signatures:
    try:
        if path.is_dir():
            return _of_saved_model(_version_folder(path), model)
        data = path.read_bytes()
    except TFServingError:
        raise
    except Exception as error:  # a name with a zero byte; a file that is larger than the memory
        raise ConfigError(f"signatures=: {str(error) or 'the file does not fit into memory'}") from error
    if path.name == SAVED_MODEL:
        return _of_saved_model(path.parent, model)
    return _of_text(data, model)


def _version_folder(path: Path) -> Path:
    """The folder with the file: the path itself, or its subfolder with the highest number."""
    if (path / SAVED_MODEL).is_file():
        return path
    versions = sorted((number, entry) for entry in path.iterdir() if (number := _version(entry.name)) is not None)
    for _, entry in reversed(versions):
        if (entry / SAVED_MODEL).is_file():
            return entry
    raise ConfigError(
        f"signatures=: expected {SAVED_MODEL} in {path} or in a folder with a number below it, got neither"
    )


def _version(name: str) -> int | None:
    """The version that a folder's name stands for; None for other names."""
    return int(name) if name.isdecimal() and len(name) <= 19 else None


def _of_saved_model(folder: Path, model: str) -> Signatures:
    file = folder / SAVED_MODEL
    try:
        found = signature_defs.read_saved_model(file.read_bytes())
    except Exception as error:
        raise ConfigError(f"signatures=: {file} cannot be read as a SavedModel: {error}") from error
    if found is None:
        raise ConfigError(f"signatures=: expected a graph with the tag 'serve' in {file}, got none")
    found = {name: signature for name, signature in found.items() if not name.startswith("__saved_model_")}
    return _some(ModelSpec(model, _version(folder.name)), found, model, str(file))


def _some(spec: ModelSpec, found: dict[str, Any], model: str, what: str) -> Signatures:
    if not found:
        raise ConfigError(f"signatures=: expected at least one signature, got none in {what}")
    return signatures_of(spec, found, model)
