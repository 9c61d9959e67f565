"""Signatures that a user states with ``signatures=``: objects, the JSON of /metadata, or a SavedModel's directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tfs_client._calls.metadata import signatures_of
from tfs_client._codec import model_folders, regular_files
from tfs_client._codec.model_folders import SAVED_MODEL, ModelFile
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, DecodeError, InvalidArgumentError
from tfs_client.signatures import GivenSignatures, Signature, Signatures

MAX_JSON = 1 << 26  # bytes of a file

_EXPECTED = (
    "expected signatures= as Signatures, the JSON of /metadata or of tfs-admin signatures (text, bytes, parsed), "
    "or a SavedModel's directory"
)


def stated(given: GivenSignatures, model: str) -> Signatures:
    """Read the signatures that a user stated.

    Args:
        given: Signatures, or a mapping from name to Signature; the reply of GET /v1/models/NAME/metadata, or the
            output of ``tfs-admin signatures --json``, as text, bytes or parsed, or the path of a file that holds it; or
            the path of a SavedModel, or of a directory with versions of it, of which the highest is used.
        model: the client's model, to which they belong.

    Raises ConfigError for signatures that cannot be read.
    """
    if not model:
        raise ConfigError("expected model= together with signatures=, got no model; add model=")
    found = _read(given, model)
    return Signatures(found, model=found.model, version=found.version, stated=True)


def _read(given: GivenSignatures, model: str) -> Signatures:
    if isinstance(given, Signatures):
        return given
    if isinstance(given, Mapping):
        if given and all(isinstance(value, Signature) for value in given.values()):
            return Signatures(given, model=model, version=None)
        return _of_json(given, model)
    if isinstance(given, (bytes, bytearray, memoryview)) or (isinstance(given, str) and given.lstrip()[:1] == "{"):
        return _of_text(given, model)
    if isinstance(given, (str, os.PathLike)):
        return _of_path(given, model)
    raise ConfigError(f"{_EXPECTED}, got {type(given).__name__}")


def _of_text(text: str | bytes | bytearray | memoryview, model: str) -> Signatures:
    from tfs_client._codec import json_text

    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    try:
        return _of_json(json_text.loads(data), model)
    except DecodeError as error:
        raise ConfigError(f"{_EXPECTED}; {error}") from None


def _of_json(reply: object, model: str) -> Signatures:
    from tfs_client._codec import signature_json

    try:
        spec, found = signature_json.read(reply, shown(reply))
        return _some(spec, found, model, "the JSON")
    except DecodeError as error:
        raise ConfigError(f"{_EXPECTED}; {error}") from None


def _of_path(path: str | os.PathLike[str], model: str) -> Signatures:
    try:
        file = model_folders.find(path, (SAVED_MODEL,))
        if file.path.name == SAVED_MODEL:
            return _of_saved_model(file, model)
        data = regular_files.read(file.path, MAX_JSON)
    except ConfigError as error:
        raise ConfigError(f"signatures=: {error}") from error.__cause__
    except InvalidArgumentError as error:
        raise ConfigError(f"signatures=: {error.details}") from error
    except Exception as error:  # e.g. a name with a zero byte
        raise ConfigError(f"signatures=: {error}") from error
    return _of_text(data, model)


def _of_saved_model(file: ModelFile, model: str) -> Signatures:
    from tfs_client._codec import saved_model_file

    try:
        with regular_files.opened(file.path, buffered=False) as opened:
            found = saved_model_file.read(opened)
    except Exception as error:
        raise ConfigError(f"{file.path} cannot be read as a SavedModel: {error}") from error
    if found is None:
        raise ConfigError(f"expected a graph with the tag 'serve' in {file.path}, got none")
    named = {name: each.info for name, each in found.items() if not name.startswith("__saved_model_")}
    return _some(ModelSpec(model, file.version), named, model, str(file.path))


def _some(spec: ModelSpec, found: dict[str, Any], model: str, what: str) -> Signatures:
    if not found:
        raise DecodeError(f"expected at least one signature, got none in {what}")
    return signatures_of(spec, found, model)
