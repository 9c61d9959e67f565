"""Requests in files: the inputs of a call as .npy, .npz or JSON.

Before memory is allocated for an array, the file must hold the data that its header declares.
"""

from __future__ import annotations

import base64
import binascii
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tfs_client._codec import json_text, predict_messages, regular_files
from tfs_client._codec.dtypes import Array
from tfs_client._printable import listed, shown
from tfs_client.cli.predict.argument_values import read_npy
from tfs_client.errors import ConfigError, TFServingError
from tfs_client.signatures import Signature

MAX_JSON = 1 << 28  # bytes
MOST_INFLATED = 1100  # bytes for each compressed byte; deflate reaches 1032


def requests_in(path: str, signature: Signature) -> list[dict[str, Array]]:
    """Return the inputs of each request in a file, in the dtypes of the signature.

    A .npy file is one request of a signature with one required input, a .npz file one with arrays by alias. A .json
    file is one request, an object from alias to values, or a list of requests.

    Raises ConfigError, which names the file.
    """
    try:
        found = [signature.cast_inputs(inputs) for inputs in _requests(path, signature)]
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error.strerror or error}") from None
    except (TFServingError, ValueError, MemoryError) as error:
        raise ConfigError(f"{path!r}: {error}") from error
    if not found:
        raise ConfigError(f"{path!r}: expected at least one request, got an empty list")
    return found


def arrays_in(path: str) -> dict[str, Array]:
    """Return the arrays of a .npz file by name. Raises ConfigError, which names the file."""
    try:
        return _archive(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path!r}: {error.strerror or error}") from None
    except (TFServingError, MemoryError) as error:
        raise ConfigError(f"{path!r}: {error}") from error


def _requests(path: str, signature: Signature) -> Iterator[Mapping[str, object]]:
    kind = Path(path).suffix
    if kind == ".npy":
        yield {_only_input(signature): _array(path)}
    elif kind == ".npz":
        yield _archive(path)
    elif kind == ".json":
        values = json_text.loads(regular_files.read(path, MAX_JSON))
        for request in values if isinstance(values, list) else [values]:
            if not isinstance(request, dict):
                raise ConfigError(f"expected an object from input to values, or a list of them, got {shown(request)}")
            yield {alias: _values(value) for alias, value in request.items()}
    else:
        raise ConfigError("expected a .npy, .npz or .json file")


def _only_input(signature: Signature) -> str:
    if len(signature.required) != 1:
        raise ConfigError(
            f"expected a signature with one required input for a .npy file, got {listed(signature.required)}: "
            "use a .json file"
        )
    return signature.required[0]


def _array(path: str) -> Array:
    with regular_files.opened(path) as file:
        try:
            return read_npy(file, os.fstat(file.fileno()).st_size)
        except TFServingError:
            raise
        except Exception as error:  # numpy's message advises loading pickles
            raise ConfigError("is not a .npy file of numbers or text") from error


def _archive(path: str) -> dict[str, Array]:
    with regular_files.opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return {each.filename.removesuffix(".npy"): _member(archive, each) for each in archive.infolist()}
        except (TFServingError, MemoryError):
            raise
        except Exception as error:  # zipfile and numpy raise many kinds for a damaged file
            raise ConfigError("is not a .npz file of numbers or text") from error


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    if entry.file_size > MOST_INFLATED * entry.compress_size + MOST_INFLATED:
        raise ConfigError(f"is damaged: {shown(entry.filename)} declares {entry.file_size} bytes, which it cannot hold")
    if entry.file_size > predict_messages.MAX_MESSAGE:
        raise ConfigError(f"{shown(entry.filename)} has {entry.file_size} bytes, which do not fit in one message")
    with archive.open(entry) as file:
        return read_npy(file, entry.file_size)


def _values(value: object) -> object:
    """Return values of JSON with the strings that are given in base64, as over REST."""
    if isinstance(value, list):
        return [_values(each) for each in value]
    if isinstance(value, dict):
        if value.keys() != {"b64"} or not isinstance(value["b64"], str):
            raise ConfigError(f'expected values, or {{"b64": "..."}} for a string, got {shown(value)}')
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"expected base64, got {shown(value['b64'])}") from None
    return value
