"""What is given to tfs-predict beside pictures: values as JSON or in .npy files, and the names of classes.

Whatever a file holds, reading it returns values or raises ConfigError. A file of arrays is believed only as far as it
goes: what its header declares must be there before memory is taken for it.
"""

from __future__ import annotations

import math
import os
from typing import IO, Any

import numpy as np

from tfs_client.errors import ConfigError, TFServingError
from tfs_client.shown import bounded, shown

MAX_LABELS = 1 << 26  # bytes of a file with names of classes

_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")


def read_input(argument: str) -> tuple[str, Any]:
    """NAME=JSON or NAME=@file.npy as a name and its values. Raises ConfigError."""
    name, equals, value = argument.partition("=")
    if not name or not equals:
        raise ConfigError(f"expected --input NAME=JSON or NAME=@file.npy, got {shown(argument)}")
    if value.startswith("@"):
        return name, _read_array(name, value[1:])
    import json

    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"--input {name}: {shown(value[:40])} is not JSON ({error}); quote text as '\"text\"'"
        ) from None
    except RecursionError as error:
        raise ConfigError(f"--input {name}: its lists are nested deeper than any tensor: {shown(value)}") from error
    except Exception as error:  # a number of too many digits; no memory
        raise ConfigError(f"--input {name}: {shown(value)} cannot be read: {bounded(str(error), 200)}") from error


def _read_array(name: str, path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return read_npy(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ConfigError(f"--input {name}: cannot read {path!r}: {error.strerror or error}") from None
    except TFServingError as error:
        raise ConfigError(f"--input {name}: {path!r} {error}") from None
    except Exception as error:  # numpy's own advice, to load pickles, is not ours
        raise ConfigError(f"--input {name}: {path!r} is not a .npy file of numbers or text") from error


def read_npy(file: IO[bytes], size: int) -> np.ndarray[Any, Any]:
    """The array in a .npy file of so many bytes. No Python objects are read.

    Raises ConfigError, whose text goes on after the file's name; anything for a header that is none.
    """
    begin = file.read(8)
    if begin.startswith(_ARCHIVES):
        raise ConfigError("is an archive of arrays; save the one to send with numpy.save")
    file.seek(0)
    shape, dtype = read_header(file)
    if dtype.hasobject:
        raise ConfigError("is not a .npy file of numbers or text: it holds Python objects, which are not read")
    check_declared(shape, dtype, size - file.tell())
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype in the header of a .npy file. Raises ConfigError, or ValueError and almost anything else."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except MemoryError:  # what Python's parser says of too many brackets; there is no lack of memory
        raise ConfigError("is not a .npy file: its header is nested too deeply") from None
    if any(axis < 0 for axis in shape):
        raise ConfigError(f"declares an impossible shape: {shown(shape)}")
    return shape, dtype


def check_declared(shape: tuple[int, ...], dtype: np.dtype[Any], there: int) -> None:
    """Raise ConfigError unless the values that a header declares are there."""
    count = math.prod(shape)
    declared = count * dtype.itemsize
    # Values may take no bytes at all, and in old numpy, whose sizes have 32 bits, fewer than none.
    if declared > there or count > max(there, 1 << 20) or dtype.itemsize < 0:
        raise ConfigError(
            f"is damaged: it declares {dtype} {shown(shape)}, which takes {shown(declared)} bytes, and has {there}"
        )


def read_labels(path: str) -> list[str]:
    """The names of the classes. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_LABELS + 1)
        if len(data) > MAX_LABELS:
            raise ConfigError(f"--labels: expected at most {MAX_LABELS} bytes of names in {path!r}, got more")
        if b"\0" in data:
            raise ConfigError(f"--labels: expected text in {path!r}, got zero bytes")
        return data.decode("utf-8-sig").splitlines()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"--labels: cannot read {path!r}: {error}") from error
