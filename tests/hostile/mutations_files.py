"""Files that are almost right: .npy and .npz, TFRecord, pictures, protobuf text, PEM; checksums are mended."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
from PIL import Image

from .mutations_bytes import EDGES, TEXTS, changed, number, some_bytes

Make = Callable[[Random], bytes]

# --- .npy and .npz

ARRAYS = [
    np.arange(6, dtype="<f4").reshape(2, 3),
    np.array([1, 2, 3]),
    np.array(1.5),
    np.array(["a", "bc"]),
    np.array([b"a"]),
    np.zeros((0, 2), bool),
    np.arange(4, dtype=">i2"),
]
DESCR = [
    "'<f4'",
    "'<i8'",
    "'|b1'",
    "'|O'",
    "'<U3'",
    "'|S0'",
    "'|V4'",
    "'>f8'",
    "'<M8[s]'",
    "[('a', '<f4')]",
    "'x'",
    "1",
]
DESCR += ["[('a', '<f4', (2147483647, 2147483647))]", "'<c16'", "'<f16'", "''", "()", "'<U999999999'", "b'<f4'"]
SHAPES = ["(2, 3)", "()", "(0,)", "(1099511627776,)", "(-1,)", "(1.5,)", "(True,)", "3", "(2147483647,) * 3", "[2, 3]"]
SHAPES += ["(" + "1," * 70 + ")", "(9223372036854775807, 9223372036854775807)", "(18446744073709551616,)", "(None,)"]


def npy(array: np.ndarray) -> bytes:
    """A file of an array."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npy_files() -> Make:
    """Files of arrays with another header, or other bytes."""
    valid = [npy(array) for array in ARRAYS]

    def make(rng: Random) -> bytes:
        data = rng.choice(valid)
        if rng.random() < 0.45:
            return changed(data, rng)
        return _npy(data, rng)

    return make


def _npy(data: bytes, rng: Random) -> bytes:
    size = int.from_bytes(data[8:10], "little")
    header, payload = data[10 : 10 + size].decode("latin-1"), data[10 + size :]
    fields = {
        "'descr': ": rng.choice(DESCR) if rng.random() < 0.4 else None,
        "'fortran_order': ": rng.choice(("True", "1", "None")) if rng.random() < 0.2 else None,
        "'shape': ": rng.choice(SHAPES) if rng.random() < 0.5 else None,
    }
    known = dict(
        zip(
            fields,
            (header.split("'descr': ")[1].split(", 'fortran")[0], "False", header.split("'shape': ")[1]),
            strict=True,
        )
    )
    known["'shape': "] = known["'shape': "].split("), }")[0] + ")"
    parts = [name + (value or known[name]) for name, value in fields.items()]
    pick = rng.random()
    if pick < 0.1:
        rng.shuffle(parts)
    elif pick < 0.15:
        parts.pop()
    elif pick < 0.2:
        parts.append(rng.choice(("'more': 1", "'x': " + "(" * 200 + ")" * 200, "__import__('os')", "'a'*9**9: 1")))
    text = ("{" + ", ".join(parts) + ", }\n").encode("latin-1", "replace")
    if rng.random() < 0.1:
        text = changed(text, rng)
    version = rng.choice((1, 1, 1, 2, 3, 4, 0))
    said = len(text) if rng.random() < 0.9 else number(rng) & 0xFFFF
    length = struct.pack("<H", said & 0xFFFF) if version == 1 else struct.pack("<I", said & 0xFFFFFFFF)
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + payload[: len(payload) if rng.random() < 0.8 else 3]


def npz_files(valid: Sequence[dict[str, np.ndarray]]) -> Make:
    """Archives of arrays: other members, other headers of members, other bytes."""
    archives = []
    for arrays in valid:
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy has an option of another type
        archives.append((file.getvalue(), {f"{name}.npy": npy(array) for name, array in arrays.items()}))

    def make(rng: Random) -> bytes:
        data, members = rng.choice(archives)
        if rng.random() < 0.5:
            return changed(data, rng)
        members = dict(members)
        name = rng.choice(list(members))
        pick = rng.random()
        if pick < 0.6:
            members[name] = _npy(members[name], rng)
        elif pick < 0.75:
            del members[name]
        elif pick < 0.9:
            members[rng.choice(("x.npy", "../x.npy", "names", ""))] = members.pop(name)
        else:
            members[name] = changed(members[name], rng)
        file = io.BytesIO()
        kind = zipfile.ZIP_DEFLATED if rng.random() < 0.3 else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", kind) as archive:
            for each, content in members.items():
                archive.writestr(zipfile.ZipInfo(each), content)
        return file.getvalue()

    return make


# --- TFRecord


def _crc(data: bytes) -> int:
    """The masked CRC-32C of a record, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register = _TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    crc = register ^ 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> list[int]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return found


_TABLE = _table()


def record(data: bytes, size: int | None = None) -> bytes:
    """A record with right checksums, whose length may lie."""
    length = struct.pack("<Q", len(data) if size is None else size & 0xFFFFFFFFFFFFFFFF)
    return length + struct.pack("<I", _crc(length)) + data + struct.pack("<I", _crc(data))


def record_files(make: Make) -> Make:
    """Files of records that ``make`` makes."""

    def made(rng: Random) -> bytes:
        records = [record(make(rng)) for _ in range(1 + int(rng.random() * 3))]
        pick = rng.random()
        if pick < 0.1:
            records.append(record(some_bytes(rng), rng.choice(EDGES)))
        data = b"".join(records)
        return changed(data, rng) if pick > 0.7 else data

    return made


def records_of(data: bytes) -> list[bytes] | None:
    """The records of a file; None where a checksum or a length is wrong. The reference for the reader."""
    found, at = [], 0
    while len(data) - at >= 12:
        length, check = data[at : at + 8], struct.unpack("<I", data[at + 8 : at + 12])[0]
        size = struct.unpack("<Q", length)[0]
        body = data[at + 12 : at + 12 + size]
        end = data[at + 12 + size : at + 16 + size]
        if check != _crc(length) or len(end) < 4 or struct.unpack("<I", end)[0] != _crc(body):
            return None
        found.append(body)
        at += 16 + size
    return found


# --- pictures

ALLOWED: dict[str, bytes | tuple[bytes, ...]] = {
    "PNG": b"\x89PNG",
    "JPEG": b"\xff\xd8\xff",
    "GIF": b"GIF8",
    "BMP": b"BM",
    "WEBP": b"RIFF",
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "PPM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF", b"Py", b"P0CMYK", b"PyCMYK", b"PyP", b"PyRGBA"),
    "AVIF": b"\0\0\0",
}
OTHERS = ["EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "DDS", "ICNS", "IM", "JPEG2000", "SPIDER", "XBM", "MSP"]


def pictures() -> Make:
    """Pictures of all formats: chunks with right checksums, segments, and other bytes; others that no program opens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some formats are deprecated
        return _pictures()


def _pictures() -> Make:
    valid: list[tuple[str, bytes]] = []
    for name in (*ALLOWED, *OTHERS):
        for mode in ("RGB", "L", "RGBA", "P", "1", "I;16") if name in ALLOWED and name != "AVIF" else ("RGB", "1"):
            file = io.BytesIO()
            try:
                Image.effect_mandelbrot((9, 7), (-2, -1, 1, 1), 9).convert(mode).save(file, name)
            except (OSError, KeyError, ValueError, ImportError):
                continue
            valid.append((name, file.getvalue()))
    valid.append(("EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"))

    def make(rng: Random) -> bytes:
        name, data = rng.choice(valid)
        pick = rng.random()
        if name == "PNG" and pick < 0.6:
            return _png(data, rng)
        if name == "JPEG" and pick < 0.6:
            return _jpeg(data, rng)
        if pick < 0.9:
            return changed(changed(data, rng), rng) if pick < 0.2 else changed(data, rng)
        return rng.choice(valid)[1][:8] + data[8:]

    return make


def _png(data: bytes, rng: Random) -> bytes:
    """Chunks: another header, dropped, twice, grown, of another kind; checksums are right."""
    chunks, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    for _ in range(1 + int(rng.random() * 2)):
        index = int(rng.random() * len(chunks))
        kind, body = chunks[index]
        pick = rng.random()
        if kind == b"IHDR" and pick < 0.6:
            where = rng.choice((0, 4, 8, 9, 10, 11, 12))
            value = struct.pack(">I", number(rng) & 0xFFFFFFFF) if where < 8 else bytes((int(rng.random() * 256),))
            chunks[index] = (kind, body[:where] + value + body[where + len(value) :])
        elif pick < 0.3:
            chunks[index] = (kind, changed(body, rng))
        elif pick < 0.4:
            del chunks[index]
        elif pick < 0.6:
            chunks.insert(index, (kind, body))
        elif pick < 0.8:
            name = rng.choice(
                (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"acTL", b"fcTL", b"gAMA")
            )
            bomb = zlib.compress(b"\0" * 3_000_000) if rng.random() < 0.1 else some_bytes(rng, 60)
            chunks.insert(index, (name, b"k\0\0" + bomb if name != b"PLTE" else bomb))
        else:
            chunks[index] = (kind, zlib.compress(some_bytes(rng, 200)))
        if not chunks:
            break
    body = b"".join(
        struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))
        for kind, inner in chunks
    )
    return data[:8] + body


def _jpeg(data: bytes, rng: Random) -> bytes:
    """Segments before the scan: another size, twice, dropped, with EXIF that lies."""
    segments, at = [], 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at : at + 2 + size])
        at += 2 + size
    index = int(rng.random() * len(segments))
    pick = rng.random()
    if pick < 0.3:
        segments[index] = changed(segments[index], rng)
    elif pick < 0.4:
        segments[index] = b""
    elif pick < 0.5:
        segments[index] *= 2
    elif pick < 0.7:
        for place, segment in enumerate(segments):
            if segment[1] in (0xC0, 0xC2):
                extent = struct.pack(">HH", number(rng) & 0xFFFF, number(rng) & 0xFFFF)
                segments[place] = segment[:5] + extent + segment[9:]
    else:
        exif = b"Exif\0\0" + rng.choice((b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08")) + some_bytes(rng, 60)
        kind = rng.choice((0xE1, 0xE2, 0xED, 0xFE, 0xDD))
        segments.insert(index, bytes((0xFF, kind)) + struct.pack(">H", len(exif) + 2) + exif)
    return data[:2] + b"".join(segments) + data[at:]


# --- texts


def texts(valid: Sequence[str], words: Sequence[str]) -> Make:
    """Protobuf text and its like: lines and words dropped, twice, swapped for others, and other bytes."""

    def make(rng: Random) -> bytes:
        text = rng.choice(valid)
        for _ in range(1 if rng.random() < 0.7 else 1 + int(rng.random() * 3)):
            parts = text.split(" ")
            at = int(rng.random() * len(parts))
            pick = rng.random()
            if pick < 0.1:
                parts[at] = parts[at].swapcase() if rng.random() < 0.3 else f"{parts[at]}\n#x\n"
            elif pick < 0.25:
                del parts[at]
            elif pick < 0.4:
                parts.insert(at, parts[at])
            elif pick < 0.7:
                parts[at] = rng.choice(words)
            elif pick < 0.8:
                parts.insert(at, rng.choice(words) * rng.choice((1, 1, 1, 2000)))
            elif pick < 0.9:
                rng.shuffle(parts)
            else:
                parts.append(rng.choice(valid))
            text = " ".join(parts)
        data = text.encode("utf-8", "surrogateescape")
        return changed(data, rng) if rng.random() < 0.2 else data

    return make


WORDS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    ";",
    "<",
    ">",
    '""',
    '"',
    "'a'",
    '"\\xff"',
    '"\\u12"',
    "#x\n",
    "\n",
    "-",
    "-1",
    "1e400",
]
WORDS += [
    "99999999999999999999999",
    "0x7fffffffffffffff",
    "1.5",
    "nan",
    "true",
    "config",
    "name:",
    "unknown_field:",
    "\0",
]
WORDS += [
    "[type.googleapis.com/x]",
    "[a.b.c]:",
    "extra {",
    "é",
    *(text.decode(errors="surrogateescape") for text in TEXTS),
]
