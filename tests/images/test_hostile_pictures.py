"""Untrusted pictures do not start programs, and do not exceed the memory limit."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import ConfigError, ImageError, TensorSpec
from tfs_client.images import FORMATS, load_image, overlay, plan, to_array

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG that declares this many pixels of one bit, without any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_postscript_starts_no_program_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gs = tmp_path / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(POSTSCRIPT)
    for source in (photo, POSTSCRIPT, b"\xc5\xd0\xd3\xc6" + bytes(26) + POSTSCRIPT):
        with pytest.raises(ImageError, match=r"is in the format EPS, expected one of JPEG, .*\(--formats \+eps\)"):
            load_image(source)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("data", "name"),
    [(encoded(Image.new("RGB", (16, 16)), "ICO"), "ICO"), (b"8BPS\0\1" + bytes(40), "PSD"), (b"%PDF-1.7\n", "PDF")],
)
def test_formats_that_are_not_allowed_are_named(data: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=f"is in the format {name}"):
        load_image(data)


def test_formats_can_be_allowed_and_forbidden() -> None:
    icon = encoded(Image.new("RGB", (16, 16), "red"), "ICO")
    assert load_image(icon, formats=(*FORMATS, "ico")).size == (16, 16)
    assert load_image(encoded(Image.new("L", (3, 2)), "PNG"), formats=["PNG"]).size == (3, 2)
    with pytest.raises(ImageError, match=r"is in the format JPEG, expected one of PNG; .*formats="):
        load_image(encoded(Image.new("L", (3, 2)), "JPEG"), formats=["png"])
    for formats in (["nonsense"], [], "PNG", [5], [["PNG"]], 7):
        with pytest.raises(ConfigError, match="format"):
            load_image(icon, formats=formats)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_every_common_format_is_read(kind: str) -> None:
    assert load_image(encoded(Image.new("RGB", (5, 4), "red"), kind)).size == (5, 4)


@pytest.mark.parametrize(
    "data",
    [
        png(13000, 13000),
        png(0x7FFFFFFF, 0x7FFFFFFF),
        b"GIF89a\xff\xff\xff\xff" + bytes(9),
        b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\0\0\0\0" + b"\xff" * 6 + bytes(9),
        b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9),
        b"P6 60000 60000 255\n",
    ],
)
def test_a_picture_of_too_many_pixels_is_refused_before_it_takes_memory(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"has \d+ x \d+ = \d+ pixels, expected at most 120000000; .*--max-pixels \d+"):
        load_image(data)


def test_the_pixel_limit_is_independent_of_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (1050, 1050)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert to_array(load_image(data), plan(TensorSpec("uint8", None))).shape == (1, 1050, 1050, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    assert load_image(data).size == (1050, 1050)  # Pillow would warn, and warnings are errors here
    with pytest.raises(ImageError, match="has 1050 x 1050 = 1102500 pixels, expected at most 1102499;"):
        load_image(data, max_pixels=1050 * 1050 - 1)
    with pytest.raises(ConfigError, match="expected max_pixels as a whole number above 0, or None for no limit, got 0"):
        load_image(data, max_pixels=0)


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "F"])
def test_large_pictures_are_loaded_like_small_ones(mode: str) -> None:
    """Pictures are processed in strips; 1.1 million pixels are more than one strip."""
    noise = np.random.default_rng(0).integers(0, 255, (21, 21, 4), np.uint8)
    values = {"RGBA": noise, "I;16": noise[..., 0].astype(np.uint16) * 257, "F": noise[..., 0].astype(np.float32)}[mode]
    whole = np.tile(values, (50, 50, *([1] * (values.ndim - 2))))
    small, large = (load_image(encoded(Image.fromarray(array), "TIFF")) for array in (values, whole))
    tiled = np.tile(np.asarray(small), (50, 50, *([1] * (np.asarray(small).ndim - 2))))
    assert np.array_equal(np.asarray(large), tiled)


def test_nan_values_are_black() -> None:
    values = np.array([[np.nan, 0.5, 1.0, np.inf]], np.float32)
    assert np.asarray(load_image(encoded(Image.fromarray(values), "TIFF"))).tolist() == [[0, 127, 255, 255]]


def test_too_little_memory_for_a_picture_is_an_error_of_that_picture(tmp_path: Path) -> None:
    missing = tmp_path / "huge.png"
    with missing.open("wb") as file:
        file.truncate(1 << 50 if os.name == "nt" else 1 << 43)  # sparse, and more than can be read
    with pytest.raises(ImageError, match=r"cannot read .*huge\.png") as caught:
        load_image(missing)
    assert isinstance(caught.value.__cause__, MemoryError)


def test_labels_may_be_any_numbers_and_not_too_many() -> None:
    labels = np.array([[0, 1 << 40], [-5, 3]])
    assert overlay(Image.new("RGB", (2, 2)), labels).size == (2, 2)
    with pytest.raises(ImageError, match="expected a map of at most 3 labels"):
        overlay(Image.new("RGB", (2, 2)), labels, max_pixels=3)
