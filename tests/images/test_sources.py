"""Pictures are loaded from paths, bytes, file objects, PIL images and arrays, with the transparency asked for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import ConfigError, ImageError
from tfs_client.images import load_image

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def palette(transparency: int | bytes) -> bytes:
    """A picture with a palette of 16 colours of which some are transparent."""
    image = Image.new("P", (4, 4))
    image.putdata(list(range(16)))
    image.putpalette(RNG.integers(0, 256, 48, np.uint8).tolist())
    return encoded(image, transparency=transparency)


def test_a_picture_is_the_same_from_every_kind_of_source(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(PIXELS))
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        sources = [path, str(path), data, bytearray(data), memoryview(data), file, io.BytesIO(data)]
        sources += [Image.open(path), Image.fromarray(PIXELS), PIXELS]
        for source in sources:
            image = load_image(source)
            assert image.mode == "RGB"
            assert np.array_equal(np.asarray(image), PIXELS)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_arrays_without_colour_are_grey(shape: tuple[int, ...]) -> None:
    image = load_image(PIXELS[..., 0].reshape(shape))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), PIXELS[..., 0])


def test_the_fourth_channel_of_an_array_is_alpha() -> None:
    array = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    assert np.asarray(load_image(array)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "the picture cannot be converted: expected an array of uint8, got float32; "),
        (np.zeros((4, 4), np.int64), "expected an array of uint8, got int64"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"with 1, 3 or 4 channels, got \(1, 4, 4, 3\)"),
        (np.zeros((3, 4, 4)[::-1], np.uint8).transpose(2, 0, 1)[:, :, :2], r"got \(3, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), "has 4 x 0 pixels"),
        (np.broadcast_to(np.uint8(0), (1 << 20, 1 << 20)), "has 1048576 x 1048576 = "),
    ],
)
def test_other_arrays_are_refused(array: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(array)


def test_other_sources_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("text")
    with text.open() as file, pytest.raises(ImageError, match=r"expected a file opened in binary mode, got str from "):
        load_image(file)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"cannot read '.*a.txt': .* closed file"):
        load_image(file)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"expected a picture as a path, .*, got list"):
        load_image([[1]])  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="has 0 x 3 pixels"):
        load_image(Image.new("L", (0, 3)))


def test_a_truncated_picture_that_pillow_opened_is_an_image_error(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)))
    with pytest.raises(ImageError, match="the picture cannot be decoded"):
        load_image(Image.open(io.BytesIO(data[:2000])))
    path = tmp_path / "half.png"
    path.write_bytes(data[:2000])
    with Image.open(path) as image, pytest.raises(ImageError, match=r"'.*half.png' cannot be decoded"):
        load_image(image)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_loaded_picture_shares_no_memory_with_its_source(mode: str) -> None:
    image = Image.new(mode, (2, 2))
    array = np.asarray(image).copy()
    from_image, from_array = load_image(image), load_image(array)
    image.paste("white", (0, 0, 2, 2))
    array[:] = 255
    assert np.asarray(from_image).max() == np.asarray(from_array).max() == 0


def test_the_orientation_can_be_left_as_stored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(PIXELS), exif=exif)
    assert load_image(data).size == load_image(Image.open(io.BytesIO(data))).size == (5, 7)
    for source in (data, Image.open(io.BytesIO(data))):
        assert np.array_equal(np.asarray(load_image(source, exif=False)), PIXELS)


TRANSPARENT = {
    "RGBA": encoded(Image.fromarray(RNG.integers(0, 256, (5, 7, 4), np.uint8))),
    "LA": encoded(Image.merge("LA", [Image.fromarray(PIXELS[..., k]) for k in (0, 1)])),
    "one colour of a palette": palette(3),
    "a palette with levels": palette(bytes(range(0, 256, 16))),
    "one colour of RGB": encoded(Image.fromarray(PIXELS), transparency=tuple(PIXELS[0, 0].tolist())),
    "one level of grey": encoded(Image.fromarray(PIXELS[..., 0]), transparency=int(PIXELS[0, 0, 0])),
    "black of black and white": encoded(Image.fromarray(PIXELS[..., 0]).convert("1"), transparency=0),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("kind", TRANSPARENT)
def test_dropped_alpha_shows_the_colours_that_pillow_converts_to(kind: str) -> None:
    data = TRANSPARENT[kind]
    want = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(np.asarray(load_image(data, alpha="drop").convert("RGB")), want)


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparent_parts_take_the_colour_of_the_ground(kind: str) -> None:
    rgba = np.asarray(Image.open(io.BytesIO(TRANSPARENT[kind])).convert("RGBA"), float)
    opaque = rgba[..., 3:] / 255
    for alpha, level in (("white", 255), ("black", 0)):
        got = np.asarray(load_image(TRANSPARENT[kind], alpha=alpha).convert("RGB"), float)
        assert np.abs(got - (rgba[..., :3] * opaque + level * (1 - opaque))).max() <= 1


def test_premultiplied_pictures_of_pillow_are_read() -> None:
    for mode, clear in (("RGBa", "RGB"), ("La", "L")):
        image = Image.new(mode, (2, 2))
        assert load_image(image).mode == clear
        assert np.asarray(load_image(image)).min() == 255


def test_an_unknown_alpha_is_named() -> None:
    with pytest.raises(ConfigError, match="expected alpha to be one of white, black, drop, got 'pink'"):
        load_image(PIXELS, alpha="pink")
