"""npz: the outputs of all pictures stacked, an array for each alias, beside the names of the pictures.

The archive is written when the run has come to its end; until then rows wait in a journal. Neither way are all rows in
memory: arrays are written, and read from an archive that gets more rows, row by row.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from tfs_client.cli.bulk.damage import damaged
from tfs_client.cli.bulk.journal import Journal, Kinds, journal_of, kinds_of, replacing
from tfs_client.cli.bulk.outcomes import Array, Row
from tfs_client.cli.given import check_declared, read_header
from tfs_client.errors import EncodeError
from tfs_client.results import ModelVersion
from tfs_client.shown import shown

NAMES, VERSIONS = "names", "versions"
NO_VERSION = -1  # of a server that does not say
VALUES, SHAPES = ".values", ".shapes"  # of an output whose rows are of several shapes


class NpzArchive:
    """Rows in an archive; see ``outputs.Output``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._old = _Archive(path) if os.path.exists(path) else None
        there = set(self._old.names) if self._old else set()
        self._journal = Journal(journal_of(path), elsewhere=there, kinds=self._old.kinds() if self._old else None)
        self.held = there | self._journal.held

    def add(self, row: Row) -> None:
        """Add it to the journal. Raises EncodeError for strings that would come back shorter."""
        for alias, array in row.outputs.items():
            if array.dtype.kind == "O" and any(value[-1:] in (b"\0", "\0") for value in array.reshape(-1)):
                raise EncodeError(
                    f"output {alias!r} has a string that ends in a zero byte, which strings of a fixed width do not "
                    "keep; use .jsonl"
                )
        self._journal.add(row)

    def finish(self) -> None:
        """Write the archive, in place of the old one."""
        if self._old is None or any(True for _ in self._journal.rows()):
            with replacing(self._path) as beside:
                _write(beside, self._rows)
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
    """What is known of an output once all rows were seen.

    Attributes:
        dtype: of the array to write; bytes of a fixed width for strings.
        shapes: of the rows.
        width: the longest string.
    """

    dtype: Any
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    width: int = 1

    def see(self, array: Array) -> None:
        self.shapes.append(array.shape)
        if array.dtype.kind == "O":
            self.width = max(self.width, max(map(len, array.reshape(-1)), default=0))

    @property
    def stored(self) -> np.dtype[Any]:
        return np.dtype(f"S{self.width}") if self.dtype.kind == "O" else np.dtype(self.dtype)


def _write(file: BinaryIO, rows: Callable[[], Iterable[Row]]) -> None:
    names: list[str] = []
    versions: list[int] = []
    columns: dict[str, _Column] = {}
    for row in rows():
        names.append(row.image)
        versions.append(NO_VERSION if row.model.version is None else row.model.version)
        for alias, array in row.outputs.items():
            columns.setdefault(alias, _Column(array.dtype)).see(array)
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


def _stream(
    archive: zipfile.ZipFile, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], arrays: Iterable[Array]
) -> None:
    """An array as ``numpy.savez`` writes it, from its parts."""
    with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(member, header)
        for array in arrays:
            member.write(np.ascontiguousarray(array, dtype).tobytes())


# --- reading -----------------------------------------------------------------------------------------------------


class _Archive:
    """An archive that an earlier run has written. Raises ConfigError for any other, and for one that is damaged.

    All of it is read once, for its checksums: rows that could not be kept must be known before others join them.
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
        except Exception as error:  # zipfile and numpy raise almost anything for damaged files
            raise damaged(path, "archive", error) from error

    def kinds(self) -> Kinds | None:
        """What the outputs are; None when there are no rows."""
        return next((kinds_of(row.outputs) for row in self.rows()), None)

    def rows(self) -> Iterator[Row]:
        with zipfile.ZipFile(self._path) as archive:
            outputs = {_alias(key): _rows(archive, key) for key in self._keys if not key.endswith(SHAPES)}
            for name, version in zip(self.names, self._versions, strict=True):
                model = ModelVersion("", None if version == NO_VERSION else version, "")
                yield Row(name, model, {alias: next(arrays) for alias, arrays in outputs.items()})


def _checked(archive: zipfile.ZipFile, size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in it, by name. Raises for what is not as ``_write`` writes it.

    Arrays are stored as they are. So what they take is there, and none can grow when it is read.
    """
    arrays: dict[str, tuple[int, ...]] = {}
    for info in archive.infolist():
        key, npy, rest = info.filename.rpartition(".npy")
        if not npy or rest or key in arrays or info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"expected arrays that are not compressed, got {shown(info.filename)}")
        size -= info.file_size
        if size < 0 or info.compress_size != info.file_size:
            raise ValueError(f"{shown(info.filename)} declares more data than it holds")
        with archive.open(info) as member:
            shape, dtype = read_header(member)
            check_declared(shape, dtype, info.file_size - member.tell())
            if dtype.hasobject:
                raise ValueError(f"{shown(info.filename)} holds Python objects")
            while member.read(1 << 20):  # to the end, where the checksum is compared
                pass
        arrays[key] = shape
    return arrays


def _check_rows(names: list[str], versions: list[int], keys: list[str], arrays: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless every array has as many rows as there are names."""
    if not all(isinstance(name, str) for name in names) or not all(isinstance(version, int) for version in versions):
        raise ValueError("expected names and versions, got something else")
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
    """The rows of an output, one after the other."""
    with archive.open(f"{key}.npy") as member:
        shape, dtype = read_header(member)
        if key.endswith(VALUES):
            wanted = [tuple(row) for row in _array(archive, f"{key.removesuffix(VALUES)}{SHAPES}").tolist()]
        else:
            wanted = [shape[1:]] * shape[0]
        for one in wanted:
            array = np.frombuffer(member.read(math.prod(one) * dtype.itemsize), dtype).reshape(one)
            yield array.astype(object) if dtype.kind == "S" else array
