"""The journal: rows that wait for a file which can only be written as a whole.

A record is the length of its content and its checksum (CRC-32), both as 4 little-endian bytes, and the content: the
length of the picture's name, the name, and the outputs as a PredictResponse.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO

import numpy as np

from tfs_client.cli.bulk.damage import damaged
from tfs_client.cli.bulk.growing import GrowingFile
from tfs_client.cli.bulk.outcomes import Array, Row
from tfs_client.cli.bulk.own_files import new_file
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.predict import read_response, write_response
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.results import ModelVersion

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")

SEARCHED = 1 << 20  # bytes that are searched for a whole record after an incomplete one
CHECKED = 1 << 26  # bytes that are read for that

Kinds = dict[str, tuple[str, int]]  # by alias, the dtype and the number of axes of an output


class Journal:
    """Rows in a file that grows. All have the same outputs, of the same dtypes and numbers of axes.

    Args:
        path: the file.
        elsewhere: names of pictures whose rows are somewhere else already; what the journal has of them is not given.
        kinds: what the outputs are there; None takes them from the first row.

    Attributes:
        held: the names of the pictures whose rows it has, and which are not elsewhere.
    """

    def __init__(self, path: str, *, elsewhere: set[str], kinds: Kinds | None = None) -> None:
        self.held: set[str] = set()
        self._elsewhere = elsewhere
        self._kinds = kinds
        self._file = GrowingFile(path)
        try:
            end = 0
            with self._file.content() as content:
                for row, size in _records(content):
                    if self._kinds not in (None, kinds_of(row.outputs)):
                        raise damaged(path, "journal", f"the outputs of {row.image!r} do not match the rows before")
                    self._kinds = self._kinds or kinds_of(row.outputs)
                    end += size
                    self.held.add(row.image)
                content.seek(end)
                _check_rest(path, content)
            self._file.keep(end)
        except BaseException:
            self._file.close()
            raise
        self.held -= elsewhere

    def add(self, row: Row) -> None:
        """Add a row. Raises EncodeError for one whose outputs are not like those of the others."""
        outputs = {alias: _native(array) for alias, array in row.outputs.items()}
        kinds = kinds_of(outputs)
        if self._kinds is not None and kinds != self._kinds:
            raise EncodeError(f"expected outputs as in the rows before, {_told(self._kinds)}, got {_told(kinds)}")
        name = os.fsencode(row.image)
        model = row.model
        spec = ModelSpec(model.name, model.version, None, model.signature)
        content = _LENGTH.pack(len(name)) + name + write_response(spec, outputs, typed=False)
        self._file.add(_HEAD.pack(len(content), zlib.crc32(content)) + content)
        self._kinds = kinds

    def rows(self) -> Iterator[Row]:
        """All rows, in the order in which they came."""
        given: set[str] = set()
        with self._file.content() as content:
            for row, _ in _records(content):
                if row.image not in self._elsewhere and row.image not in given:
                    given.add(row.image)
                    yield row

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Close the file and remove it, for its rows are elsewhere."""
        self._file.close()
        os.unlink(self._file.path)


def journal_of(path: str) -> str:
    """Where rows wait for a file that cannot grow."""
    return f"{path}.rows"


def beside(path: str) -> str:
    """Where a file that cannot grow is written, before it takes the place of the old one."""
    return f"{path}.new"


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A new file to write; it then takes the place of this one. Without it when that fails."""
    new = beside(path)
    file = new_file(new)
    try:
        with file:
            yield file
        os.replace(new, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise


def _native(array: Array) -> Array:
    """The array, in a dtype that files of arrays know: bfloat16 and its kin, which numpy has not, become float32."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def kinds_of(outputs: Mapping[str, Array]) -> Kinds:
    """What the outputs of a row are."""
    return {
        alias: ("string" if array.dtype.kind == "O" else str(array.dtype), array.ndim)
        for alias, array in outputs.items()
    }


def _told(kinds: Kinds) -> str:
    return ", ".join(f"{alias}: {dtype} of {axes} axes" for alias, (dtype, axes) in kinds.items()) or "none"


def _records(content: BinaryIO) -> Iterator[tuple[Row, int]]:
    """Rows and the sizes of their records, up to the first record that is not whole."""
    left = os.fstat(content.fileno()).st_size - content.tell()
    while (record := _record(content, left)) is not None:
        left -= record[1]
        yield record


def _record(content: BinaryIO, left: int) -> tuple[Row, int] | None:
    """The row that begins here, and the size of its record; None for one that is not whole."""
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
        spec, outputs = read_response(data[after:])
    except DecodeError:
        return None
    name = os.fsdecode(data[_LENGTH.size : after])
    return Row(name, ModelVersion(spec.name, spec.version, spec.signature), outputs), _HEAD.size + length


def _check_rest(path: str, content: BinaryIO) -> None:
    """Raise ConfigError if more than one incomplete record follows the last whole one.

    What the end of a process or of the power leaves is the beginning of a record, or zeros. A whole record further on
    means that one before it is damaged; truncating the file there would delete whole records too.
    """
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
