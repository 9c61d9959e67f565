"""Pictures become the tensor that an input wants, whatever file they come from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import ImageError, TensorSpec
from tfs_client.images import label_colours, load_image, overlay, plan, save_picture, scaled, to_array


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


RED = Image.new("RGB", (40, 30), (200, 30, 20))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_common_formats_are_read(kind: str) -> None:
    image = load_image(encoded(RED, kind))
    assert image.mode == "RGB"
    assert image.size == (40, 30)
    assert np.abs(np.asarray(image, int).mean((0, 1)) - (200, 30, 20)).max() < 4


def test_exif_orientation_is_obeyed() -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn right to see it
    turned = load_image(encoded(image, "PNG", exif=exif))
    assert turned.size == (20, 40)
    assert np.asarray(turned)[0, 0, 0] == 255
    assert np.asarray(turned)[-1, 0, 0] == 0


def test_transparent_parts_show_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (10, 20, 30, 255))
    assert np.asarray(load_image(encoded(image, "PNG"))).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_palette_transparency_shows_white() -> None:
    image = Image.new("P", (1, 1), 0)
    image.putpalette([9, 9, 9] * 256)
    assert np.asarray(load_image(encoded(image, "PNG", transparency=0))).tolist() == [[[255, 255, 255]]]


def test_grey_stays_grey_and_becomes_colour_when_the_model_wants_it() -> None:
    grey = load_image(encoded(Image.new("L", (4, 4), 77), "PNG"))
    assert grey.mode == "L"
    array = to_array(grey, plan(TensorSpec("uint8", (None, 4, 4, 3))))
    assert array.shape == (1, 4, 4, 3)
    assert (array == 77).all()


def test_sixteen_bit_grey_is_scaled_to_eight() -> None:
    deep = Image.fromarray(np.full((2, 2), 65535 // 2, np.uint16))
    assert np.asarray(load_image(encoded(deep, "PNG"))).tolist() == [[127, 127], [127, 127]]


@pytest.mark.parametrize("mode", ["CMYK", "1", "LA"])
def test_other_modes_are_read(mode: str) -> None:
    data = encoded(Image.new(mode, (3, 2)), "TIFF" if mode != "LA" else "PNG")
    assert load_image(data).mode in ("RGB", "L")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ImageError, match=r"no/such\.jpg.*No such file"):
        load_image("no/such.jpg")


def test_text_is_no_picture() -> None:
    with pytest.raises(ImageError, match="not a picture that Pillow knows"):
        load_image(b"hello, I am text")


def test_a_cut_off_picture_is_an_error() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = encoded(noise, "JPEG")
    with pytest.raises(ImageError, match="cannot be decoded"):
        load_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("dtype", "shape", "want"),
    [
        ("uint8", (None, None, None, 3), (1, 30, 40, 3)),
        ("float32", (None, 8, 6, 3), (1, 8, 6, 3)),
        ("float32", (None, 3, 8, 6), (1, 3, 8, 6)),
        ("float32", (None, 8, 6, 1), (1, 8, 6, 1)),
        ("float32", (8, 6, 3), (8, 6, 3)),
        ("float32", (None, 8, 6), (1, 8, 6)),
        ("int32", (1, 8, 6, None), (1, 8, 6, 3)),
        ("float32", None, (1, 30, 40, 3)),
    ],
)
def test_the_signature_says_size_layout_and_axes(dtype: str, shape: Any, want: tuple[int, ...]) -> None:
    array = to_array(RED, plan(TensorSpec(dtype, shape)))
    assert array.shape == want
    assert array.dtype == dtype
    assert array.flags.c_contiguous


def test_flat_inputs_take_a_picture_of_a_given_size() -> None:
    spec = TensorSpec("float32", (None, 784))
    assert to_array(RED, plan(spec, size=(28, 28))).shape == (1, 784)
    with pytest.raises(ImageError, match="a size makes flat pictures"):
        plan(spec)
    with pytest.raises(ImageError, match="do not fit"):
        plan(spec, size=(10, 10))


def test_options_win_over_the_signature() -> None:
    spec = TensorSpec("float32", (None, None, None, 3))
    array = to_array(RED, plan(spec, size=(5, 4), layout="nchw", dtype="float64", scale="raw"))
    assert array.shape == (1, 3, 4, 5)
    assert array.dtype == np.float64
    assert array[0, :, 0, 0].tolist() == [200, 30, 20]


@pytest.mark.parametrize(
    ("scale", "want"),
    [
        ("raw", [255, 0, 51]),
        ("unit", [1.0, 0.0, 0.2]),
        ("tf", [1.0, -1.0, -0.6]),
        ("torch", [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]),
        ("caffe", [51 - 103.939, -116.779, 255 - 123.68]),
    ],
)
def test_scales(scale: str, want: list[float]) -> None:
    pixels = np.array([[[255, 0, 51]]], np.uint8)
    np.testing.assert_allclose(scaled(pixels, scale)[0, 0], want, rtol=1e-5)


def test_floats_default_to_unit_and_integers_to_raw() -> None:
    assert plan(TensorSpec("float32", (None, 8, 8, 3))).scale == "unit"
    assert plan(TensorSpec("uint8", (None, 8, 8, 3))).scale == "raw"


@pytest.mark.parametrize("spec", [TensorSpec("float32", (None,)), TensorSpec("float32", (1, 2, 3, 4, 5))])
def test_inputs_that_are_no_pictures_are_refused(spec: TensorSpec) -> None:
    with pytest.raises(ImageError, match="takes no picture"):
        plan(spec)


def test_a_dtype_without_numbers_is_refused() -> None:
    with pytest.raises(ImageError, match="a picture cannot become"):
        plan(TensorSpec("string", (None,)))


def test_unknown_scales_and_layouts_are_named() -> None:
    with pytest.raises(ImageError, match="expected scale to be one of raw, unit, tf, torch, caffe, got 'zoom'"):
        plan(TensorSpec("uint8", (None, 8, 8, 3)), scale="zoom")


def test_an_overlay_colours_what_is_not_background(tmp_path: Path) -> None:
    labels = np.array([[0, 1]])
    shown = np.asarray(overlay(RED, labels, opacity=1.0))
    assert shown.shape == (30, 40, 3)
    assert shown[0, 0].tolist() == [200, 30, 20]
    assert shown[0, -1].tolist() == label_colours(2)[1].tolist() == [255, 0, 0]
    save_picture(overlay(RED, labels), tmp_path / "mask.png")
    assert load_image(tmp_path / "mask.png").size == (40, 30)


def test_label_colours_differ() -> None:
    colours = {tuple(colour) for colour in label_colours(21).tolist()}
    assert len(colours) == 21


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot write"):
        save_picture(RED, tmp_path / "nowhere" / "x.png")
    with pytest.raises(ImageError, match="cannot write"):
        save_picture(RED, tmp_path / "x.unknown")
