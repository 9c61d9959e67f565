"""The journal: rows of an output whose file can only be written as a whole.

A record has the length of its content and the content's checksum (CRC-32), both as 4 little-endian bytes, and the
content: the length of the picture's name, the name, the picture's width and height (0 if they are unknown), and the
outputs as a PredictResponse.

After a crash or a power failure, the journal may end with an incomplete record, or with zeros, and is truncated there.
A damaged record in the middle looks the same, and truncating the file there would delete good rows. So before it is
truncated, the rest is searched for another whole record; if there is one, the run ends with an error.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import read_response, write_response
from tfs_client.cli.predict.bulk.append_files import AppendFile
from tfs_client.cli.predict.bulk.damaged_outputs import damaged
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.results import ModelVersion

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_SIZE = struct.Struct("<II")

SEARCHED = 1 << 20  # bytes in which a whole record is searched for after an incomplete one
CHECKED = 1 << 26  # bytes of candidate records that are checked for that

Kinds = dict[str, tuple[str, int]]  # dtype and number of axes of each output, by alias


class Journal:
    """Rows in an append-only file. All have the same outputs, with the same dtypes and numbers of axes.

    Args:
        path: the file.
        written: names of pictures whose rows the output already contains; their rows in the journal are skipped.
        kinds: the kinds of the outputs that are already written; None takes them from the first row.

    Attributes:
        held: the names of the pictures whose rows are only in the journal.
    """

    def __init__(self, path: str, *, written: set[str], kinds: Kinds | None = None) -> None:
        self._written = written
        self._kinds = kinds
        self._file = AppendFile(path)
        self.held: set[str] = self._file.resume(self._read) - written

    def _read(self) -> tuple[set[str], int]:
        """Read the names of the pictures, and the end of the last whole record."""
        held: set[str] = set()
        end = 0
        path = self._file.path
        with self._file.content() as content:
            for row, size in _records(content):
                if self._kinds not in (None, kinds_of(row.outputs)):
                    raise damaged(path, "journal", f"the outputs of {row.image!r} do not match the rows before")
                self._kinds = self._kinds or kinds_of(row.outputs)
                end += size
                held.add(row.image)
            content.seek(end)
            _check_rest(path, content)
        return held, end

    def add(self, row: Row) -> None:
        """Append a row. Raises EncodeError if its outputs differ in kind from those of the other rows."""
        outputs = {alias: _native(array) for alias, array in row.outputs.items()}
        kinds = kinds_of(outputs)
        if self._kinds is not None and kinds != self._kinds:
            raise EncodeError(
                f"expected outputs as in the rows before, {_described(self._kinds)}, got {_described(kinds)}"
            )
        name = os.fsencode(row.image)
        model = row.model
        spec = ModelSpec(model.name, model.version, None, model.signature)
        content = (
            _LENGTH.pack(len(name))
            + name
            + _SIZE.pack(*row.size or (0, 0))
            + write_response(spec, outputs, typed=False)
        )
        self._file.add(_HEAD.pack(len(content), zlib.crc32(content)) + content)
        self._kinds = kinds

    def rows(self) -> Iterator[Row]:
        """Yield all rows, in order, each picture once."""
        given: set[str] = set()
        with self._file.content() as content:
            for row, _ in _records(content):
                if row.image not in self._written and row.image not in given:
                    given.add(row.image)
                    yield row

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Close and remove the file, once the output contains its rows."""
        self._file.close()
        os.unlink(self._file.path)


def journal_of(path: str) -> str:
    """Return the path of an output's journal."""
    return f"{path}.rows"


def _native(array: Array) -> Array:
    """Convert dtypes that numpy lacks, such as bfloat16, to float32, so that other libraries can read them."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def kinds_of(outputs: Mapping[str, Array]) -> Kinds:
    """Return the kinds of a row's outputs."""
    return {
        alias: ("string" if array.dtype.kind == "O" else str(array.dtype), array.ndim)
        for alias, array in outputs.items()
    }


def _described(kinds: Kinds) -> str:
    return ", ".join(f"{alias}: {dtype} of {axes} axes" for alias, (dtype, axes) in kinds.items()) or "none"


def _records(content: BinaryIO) -> Iterator[tuple[Row, int]]:
    """Yield rows with the sizes of their records, up to the first incomplete record."""
    left = os.fstat(content.fileno()).st_size - content.tell()
    while (record := _record(content, left)) is not None:
        left -= record[1]
        yield record


def _record(content: BinaryIO, left: int) -> tuple[Row, int] | None:
    """Read a row and the size of its record; None if the record is incomplete."""
    head = content.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack(head)
    if not _LENGTH.size <= length <= left - _HEAD.size:
        return None
    data = content.read(length)
    if zlib.crc32(data) != checksum:
        return None
    after = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    try:
        width, height = _SIZE.unpack_from(data, after)
        spec, outputs = read_response(data[after + _SIZE.size :])
    except (DecodeError, struct.error):
        return None
    name = os.fsdecode(data[_LENGTH.size : after])
    size = (width, height) if width and height else None
    return Row(name, ModelVersion(spec.name, spec.version, spec.signature), outputs, size), _HEAD.size + length


def _check_rest(path: str, content: BinaryIO) -> None:
    """Raise ConfigError unless the rest of the file can be the start of a single record, or zeros."""
    begin = content.tell()
    size = os.fstat(content.fileno()).st_size
    head = content.read(_HEAD.size)
    if len(head) == _HEAD.size and 0 < _HEAD.unpack(head)[0] < size - begin - _HEAD.size:
        raise damaged(path, "journal", f"the row at byte {begin} is damaged")
    content.seek(begin)
    rest = content.read(SEARCHED)
    checked = 0
    for at in range(1, len(rest) - _HEAD.size - _LENGTH.size):
        length, _ = _HEAD.unpack_from(rest, at)
        if not _LENGTH.size < length <= size - begin - at - _HEAD.size:
            continue
        if _LENGTH.unpack_from(rest, at + _HEAD.size)[0] > length - _LENGTH.size:
            continue
        content.seek(begin + at)
        if _record(content, size - begin - at) is not None:
            raise damaged(path, "journal", f"the row at byte {begin} is damaged, and others follow")
        checked += length
        if checked > CHECKED:
            return
