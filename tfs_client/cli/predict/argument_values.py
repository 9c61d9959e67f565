"""Values of the inputs that tfs-predict's arguments give, as JSON or .npy files.

Reading returns values or raises ConfigError, whatever a file contains. Before memory is allocated for an array, the
file must hold the data that its header declares.
"""

from __future__ import annotations

import math
import os
from typing import IO

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import bounded, shown
from tfs_client.errors import ConfigError, TFServingError

Dtype = np.dtype[np.generic]

_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")


def read_input(argument: str) -> tuple[str, object]:
    """Read NAME=JSON or NAME=@file.npy; returns the name and its values. Raises ConfigError."""
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
        raise ConfigError(f"--input {name}: its lists are nested too deeply for a tensor: {shown(value)}") from error
    except Exception as error:  # a number of too many digits; no memory
        raise ConfigError(f"--input {name}: {shown(value)} cannot be parsed: {bounded(str(error), 200)}") from error


def _read_array(name: str, path: str) -> Array:
    try:
        with open(path, "rb") as file:
            return read_npy(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise ConfigError(f"--input {name}: cannot read {path!r}: {error.strerror or error}") from None
    except TFServingError as error:
        raise ConfigError(f"--input {name}: {path!r} {error}") from None
    except Exception as error:  # numpy's message advises loading pickles
        raise ConfigError(f"--input {name}: {path!r} is not a .npy file of numbers or text") from error


def read_npy(file: IO[bytes], size: int) -> Array:
    """Read the array in a .npy file of ``size`` bytes. Python objects are refused.

    Raises ConfigError with a text that continues after the file's name; for an invalid header, any exception.
    """
    begin = file.read(8)
    if begin.startswith(_ARCHIVES):
        raise ConfigError("is an archive of arrays; save one array with numpy.save")
    file.seek(0)
    shape, dtype = read_header(file)
    if dtype.hasobject:
        raise ConfigError("is not a .npy file of numbers or text: it holds Python objects, which are not read")
    check_declared(shape, dtype, size - file.tell())
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], Dtype]:
    """Read shape and dtype from the header of a .npy file. Raises ConfigError; for damaged headers, any exception."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except MemoryError:  # Python's parser raises it for too many brackets
        raise ConfigError("is not a .npy file: its header is nested too deeply") from None
    if any(axis < 0 for axis in shape):
        raise ConfigError(f"declares an impossible shape: {shown(shape)}")
    return shape, dtype


def check_declared(shape: tuple[int, ...], dtype: Dtype, size: int) -> None:
    """Raise ConfigError unless ``size`` bytes can hold the values that a header declares."""
    count = math.prod(shape)
    declared = count * dtype.itemsize
    # A value may take no bytes, and in old numpy, whose sizes have 32 bits, a negative number.
    if declared > size or count > max(size, 1 << 20) or dtype.itemsize < 0:
        raise ConfigError(
            f"is damaged: it declares {dtype} {shown(shape)}, which takes {shown(declared)} bytes, but has {size}"
        )
