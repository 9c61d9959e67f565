"""npz: the stacked outputs of all pictures, as the model returned them, and the names of the pictures.

The archive is written when the run has finished; until then, rows are in a journal. Memory never holds all rows: arrays
are written, and read from an archive that is extended, row by row.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.cli.predict.argument_values import Dtype, check_declared, read_header
from tfs_client.cli.predict.bulk.damaged_outputs import damaged
from tfs_client.cli.predict.bulk.journal import Journal, Kinds, journal_of, kinds_of
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.safe_files import replacing
from tfs_client.errors import EncodeError
from tfs_client.images import Answer
from tfs_client.results import ModelVersion

NAMES, VERSIONS = "names", "versions"
NO_VERSION = -1  # the server did not report one
VALUES, SHAPES = ".values", ".shapes"  # of an output whose rows have different shapes


class NpzArchive:
    """Rows in an archive; see ``outputs.Output``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._old = _Archive(path) if os.path.exists(path) else None
        written: set[str] = set(self._old.names) if self._old else set()
        self._journal = Journal(journal_of(path), written=written, kinds=self._old.kinds() if self._old else None)
        self.held: set[str] = written | self._journal.held
        self.has_answers: bool = False

    def add(self, row: Row, answer: Answer | None) -> None:
        """Add a row to the journal; the answer is left out, as it follows from the outputs.

        Raises EncodeError for strings that would lose their last bytes.
        """
        for alias, array in row.outputs.items():
            if array.dtype.kind == "O" and any(value[-1:] in (b"\0", "\0") for value in array.reshape(-1)):
                raise EncodeError(
                    f"output {alias!r} has a string that ends in a zero byte, which numpy's fixed-width strings drop; "
                    "use .jsonl"
                )
        self._journal.add(row)

    def finish(self) -> None:
        """Write the archive; it replaces the old one."""
        if self._old is None or any(True for _ in self._journal.rows()):
            with replacing(self._path) as file:
                _write(file, self._rows)
        self._journal.remove()

    def _rows(self) -> Iterator[Row]:
        if self._old is not None:
            yield from self._old.rows()
        yield from self._journal.rows()

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


# --- writing -----------------------------------------------------------------------------------------------------


@dataclass
class _Column:
    """Facts about an output, collected from all rows.

    Attributes:
        dtype: dtype of the rows.
        shapes: shapes of the rows.
        width: length of the longest string.
    """

    dtype: Dtype
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    width: int = 1

    def include(self, array: Array) -> None:
        self.shapes.append(array.shape)
        if array.dtype.kind == "O":
            self.width = max(self.width, max(map(len, array.reshape(-1)), default=0))

    @property
    def stored(self) -> Dtype:
        return np.dtype(f"S{self.width}") if self.dtype.kind == "O" else np.dtype(self.dtype)


def _write(file: BinaryIO, rows: Callable[[], Iterable[Row]]) -> None:
    names: list[str] = []
    versions: list[int] = []
    columns: dict[str, _Column] = {}
    for row in rows():
        names.append(row.image)
        versions.append(NO_VERSION if row.model.version is None else row.model.version)
        for alias, array in row.outputs.items():
            columns.setdefault(alias, _Column(array.dtype)).include(array)
    with zipfile.ZipFile(file, "w") as archive:
        _put(archive, NAMES, np.array(names, str))
        _put(archive, VERSIONS, np.array(versions, np.int64))
        for alias, column in columns.items():
            key, stored, arrays = _key(alias), column.stored, (row.outputs[alias] for row in rows())
            if len(set(column.shapes)) == 1:
                _stream(archive, key, (len(names), *column.shapes[0]), stored, arrays)
            else:
                _put(archive, key + SHAPES, np.array(column.shapes, np.int64))
                _stream(archive, key + VALUES, (sum(map(math.prod, column.shapes)),), stored, arrays)


def _key(alias: str) -> str:
    return f"output.{alias}" if alias in (NAMES, VERSIONS) or alias.startswith("output.") else alias


def _put(archive: zipfile.ZipFile, key: str, array: Array) -> None:
    _stream(archive, key, array.shape, array.dtype, [array])


def _stream(archive: zipfile.ZipFile, key: str, shape: tuple[int, ...], dtype: Dtype, arrays: Iterable[Array]) -> None:
    """Write an array as ``numpy.savez`` does, from its parts."""
    with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(member, header)
        for array in arrays:
            member.write(np.ascontiguousarray(array, dtype).tobytes())


# --- reading -----------------------------------------------------------------------------------------------------


class _Archive:
    """An archive that an earlier run wrote. Raises ConfigError for any other file, and for a damaged archive.

    All of it is read once to verify the checksums: damage must be known before rows are added.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                arrays = _checked(archive, os.path.getsize(path))
                self.names: list[str] = _array(archive, NAMES).tolist()
                self._versions: list[int] = _array(archive, VERSIONS).tolist()
            self._keys = [key for key in arrays if key not in (NAMES, VERSIONS)]
            _check_rows(self.names, self._versions, self._keys, arrays)
            for _ in self.rows():
                pass
        except Exception as error:  # zipfile and numpy raise exceptions of many types for damaged files
            raise damaged(path, "archive", error) from error

    def kinds(self) -> Kinds | None:
        """Return the kinds of the outputs; None without rows."""
        return next((kinds_of(row.outputs) for row in self.rows()), None)

    def rows(self) -> Iterator[Row]:
        with zipfile.ZipFile(self._path) as archive:
            outputs = {_alias(key): _rows(archive, key) for key in self._keys if not key.endswith(SHAPES)}
            for name, version in zip(self.names, self._versions, strict=True):
                model = ModelVersion("", None if version == NO_VERSION else version, "")
                yield Row(name, model, {alias: next(arrays) for alias, arrays in outputs.items()})


def _checked(archive: zipfile.ZipFile, size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays, by name. Raises for an archive that ``_write`` cannot have written.

    Arrays are stored uncompressed, so none can take more memory than the file has bytes.
    """
    arrays: dict[str, tuple[int, ...]] = {}
    for info in archive.infolist():
        key, npy, rest = info.filename.rpartition(".npy")
        if not npy or rest or key in arrays or info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"expected uncompressed arrays, got {shown(info.filename)}")
        size -= info.file_size
        if size < 0 or info.compress_size != info.file_size:
            raise ValueError(f"{shown(info.filename)} declares more data than it holds")
        with archive.open(info) as member:
            shape, dtype = read_header(member)
            check_declared(shape, dtype, info.file_size - member.tell())
            if dtype.hasobject:
                raise ValueError(f"{shown(info.filename)} holds Python objects")
            while member.read(1 << 20):  # zipfile compares the checksum at the end
                pass
        arrays[key] = shape
    return arrays


def _check_rows(names: list[str], versions: list[int], keys: list[str], arrays: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless every array has as many rows as there are names."""
    if not all(isinstance(name, str) for name in names) or not all(isinstance(version, int) for version in versions):
        raise ValueError("expected names as text and versions as integers")
    for key in (VERSIONS, *keys):
        if key.endswith(VALUES):
            if f"{key.removesuffix(VALUES)}{SHAPES}" not in arrays:
                raise ValueError(f"{shown(key)} has values but no shapes")
        elif not arrays[key] or arrays[key][0] != len(names):
            raise ValueError(f"expected {len(names)} rows in {shown(key)}, got {shown(arrays[key])}")


def _array(archive: zipfile.ZipFile, key: str) -> Array:
    with archive.open(f"{key}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _alias(key: str) -> str:
    return key.removesuffix(VALUES).removeprefix("output.")


def _rows(archive: zipfile.ZipFile, key: str) -> Iterator[Array]:
    """Yield the rows of an output."""
    with archive.open(f"{key}.npy") as member:
        shape, dtype = read_header(member)
        if key.endswith(VALUES):
            shapes = [tuple(axes) for axes in _array(archive, f"{key.removesuffix(VALUES)}{SHAPES}").tolist()]
        else:
            shapes = [shape[1:]] * shape[0]
        for row in shapes:
            array = np.frombuffer(member.read(math.prod(row) * dtype.itemsize), dtype).reshape(row)
            yield array.astype(object) if dtype.kind == "S" else array
