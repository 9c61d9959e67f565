"""Pictures of any format become the tensor that an input expects."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfs_client import ImageError, TensorSpec
from tfs_client.images import label_colours, load_image, overlay, plan, save_picture, to_array
from tfs_client.images.scaling import scaled


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


def test_white_is_the_largest_value_of_float_grey_and_at_least_1() -> None:
    for values, expected in (([[0.0, 0.5]], [[0, 127]]), ([[0.0, 128.0]], [[0, 255]])):
        grey = Image.fromarray(np.array(values, np.float32))
        assert np.asarray(load_image(encoded(grey, "TIFF"))).tolist() == expected


@pytest.mark.parametrize("mode", ["CMYK", "1", "LA"])
def test_other_modes_are_read(mode: str) -> None:
    data = encoded(Image.new(mode, (3, 2)), "TIFF" if mode != "LA" else "PNG")
    assert load_image(data).mode in ("RGB", "L")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ImageError, match=r"no/such\.jpg.*No such file"):
        load_image("no/such.jpg")


def test_a_text_file_is_refused() -> None:
    with pytest.raises(ImageError, match="not a picture in an allowed format"):
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
    with pytest.raises(ImageError, match="for flat vectors of pixels, give a size"):
        plan(spec)
    with pytest.raises(ImageError, match="do not fit"):
        plan(spec, size=(10, 10))


def test_flat_inputs_of_colours_say_that_their_order_is_assumed() -> None:
    spec = TensorSpec("uint8", (None, 3 * 2 * 3))
    image = Image.new("RGB", (3, 2), (1, 2, 3))
    interleaved, planar = plan(spec, size=(3, 2)), plan(spec, size=(3, 2), layout="nchw")
    assert interleaved.assumed == ("layout",)
    assert planar.assumed == plan(TensorSpec("uint8", (None, 6)), size=(3, 2)).assumed == ()
    assert to_array(image, interleaved).tolist() == [[1, 2, 3] * 6]
    assert to_array(image, planar).tolist() == [[1] * 6 + [2] * 6 + [3] * 6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 224}, r"expected size as \(width, height\) in pixels, such as \(224, 224\), got 224"),
        ({"size": (8, 0)}, r"expected size as \(width, height\)"),
        ({"size": (True, True)}, r"expected size as \(width, height\)"),
        ({"size": (1 << 31, 8)}, r"expected width and height of at most 2147483647 pixels, got \(2147483648, 8\)"),
        ({"bgr": "no"}, "expected bgr as True or False, got 'no'"),
        ({"exif": 0}, "expected exif as True or False, got 0"),
        ({"scale": 1}, "expected scale to be one of raw, unit, tf, torch, caffe, got 1"),
        ({"mean": True}, "expected mean as one number"),
        ({"mean": "1"}, "expected mean as one number"),
        ({"mean": 10**400}, "expected mean as one number"),
        ({"mean": "grey"}, "expected mean as one number, or one for each of 3 channels, got 'grey'"),
        ({"std": [[1, 2, 3]]}, "expected std as one number"),
        ({"fit": "pad", "pad_value": 1.5}, "expected pad_value as a whole number from 0 to 255, got 1.5"),
    ],
)
def test_options_of_the_wrong_kind_are_named(options: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        plan(TensorSpec("float32", (None, 8, 8, 3)), **options)


def test_a_size_may_be_a_list() -> None:
    wanted: Any = [8, 8]
    assert plan(TensorSpec("float32", (None, 8, 8, 3)), size=wanted).size == (8, 8)


@pytest.mark.parametrize(
    ("dtype", "options", "message"),
    [
        ("float32", {"scale": "unit", "std": 1e-50}, "this std, pixels have values that float32 cannot hold"),
        ("float64", {"scale": "raw", "mean": 1e300}, "this mean, pixels have values that float64 cannot hold"),
        ("float16", {"scale": "raw", "std": [1, 1e-4, 1]}, "this std, pixels have values that float16 cannot hold"),
        ("float16", {"scale": "raw", "mean": -1e5, "std": 0.1}, "this mean and std, pixels have values that float16"),
        ("float32", {"scale": "unit", "std": 1e300}, "this std, black and white have the same value in float32"),
        ("float32", {"scale": "raw", "mean": 1e10}, "this mean, black and white have the same value"),
    ],
)
def test_values_that_the_dtype_cannot_hold_are_refused(dtype: str, options: Any, message: str) -> None:
    with pytest.raises(ImageError, match=f"with {message}"):
        plan(TensorSpec(dtype, (None, 8, 8, 3)), **options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": "nope"}, "expected scale to be one of"),
        ({"dtype": "uint8"}, "pixels of scale 'unit' are fractions, which uint8 cannot hold"),
        ({"size": (0, 8)}, r"expected size as \(width, height\)"),
        ({"channels": 4}, "expected 1 or 3 channels"),
        ({"crop_fraction": 0}, "expected crop_fraction above 0"),
        ({"std": (1e-50,)}, "pixels have values that float32 cannot hold"),
    ],
)
def test_a_preparation_made_by_hand_is_checked(changed: Any, message: str) -> None:
    good = plan(TensorSpec("float32", (None, 8, 8, 3)), scale="unit")
    with pytest.raises(ImageError, match=message):
        replace(good, **changed)


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16", "CMYK", "1", "LA"])
def test_pictures_that_load_image_would_convert_are_refused(mode: str) -> None:
    preparation = plan(TensorSpec("uint8", (None, 8, 8, 3)))
    with pytest.raises(ImageError, match=f"in mode RGB or L, got '{mode}': load_image converts it"):
        to_array(Image.new(mode, (8, 8)), preparation)
    wrong: Any = "a.png"
    with pytest.raises(ImageError, match="expected a picture that load_image has loaded, got str"):
        to_array(wrong, preparation)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "4x4 (bilinear, antialiased, stretched)"),
        ({"fit": "pad"}, "4x4 (bilinear, antialiased, padded)"),
        ({"fit": "pad", "pad_value": 9}, "4x4 (bilinear, antialiased, padded with 9)"),
        ({"fit": "crop"}, "4x4 (bilinear, antialiased, cropped)"),
        ({"preset": "torchvision"}, "4x4 (bilinear, antialiased, cropped from 5x5)"),
    ],
)
def test_the_line_has_what_decides_about_the_border(options: Any, line: str) -> None:
    assert plan(TensorSpec("float32", (None, 4, 4, 3)), **options).describe().startswith(f"pictures → {line}, RGB")


def test_the_line_has_every_digit_of_the_mean() -> None:
    preparation = plan(TensorSpec("float32", (None, 4, 4, 3)), scale="raw", mean=(0.48500001, 100, 1))
    assert ", scale raw, mean 0.48500001/100/1, " in preparation.describe()


@pytest.mark.parametrize("options", [{}, {"fit": "crop"}, {"preset": "torchvision"}])
def test_a_border_without_padding_is_refused(options: Any) -> None:
    with pytest.raises(ImageError, match="pad_value needs fit='pad', got fit="):
        plan(TensorSpec("float32", (None, 3, 8, 8)), pad_value=9, **options)


def test_options_decide_what_the_signature_leaves_open() -> None:
    array = to_array(RED, plan(TensorSpec("float32", (None,) * 4), size=(5, 4), layout="nchw", scale="raw"))
    assert array.shape == (1, 3, 4, 5)
    assert array[0, :, 0, 0].tolist() == [200, 30, 20]


@pytest.mark.parametrize(
    ("contradicting", "message"),
    [
        ({"size": (5, 5)}, r"expected size 6x8, as the input is float32 \(\?, 8, 6, 3\), got 5x5"),
        ({"dtype": "uint8"}, "expected dtype float32"),
        ({"layout": "nchw"}, "layout 'nchw' contradicts the input"),
        ({"scale": "raw", "preset": "resnet50"}, "scale='raw' contradicts preset='resnet50'"),
    ],
)
def test_options_that_contradict_the_signature_are_refused(contradicting: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        plan(TensorSpec("float32", (None, 8, 6, 3)), **contradicting)


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
    preparation = plan(TensorSpec("float32", (None, 1, 1, 3)), scale=scale)
    np.testing.assert_allclose(scaled(pixels, preparation)[0, 0], want, rtol=1e-5)


def test_floats_default_to_unit_and_integers_to_raw() -> None:
    assert plan(TensorSpec("float32", (None, 8, 8, 3))).scale == "unit"
    assert plan(TensorSpec("uint8", (None, 8, 8, 3))).scale == "raw"


@pytest.mark.parametrize("shape", [(None,), (1, 2, 3, 4, 5), (None, 0, 8, 3), (0, 8, 8, 3)])
def test_inputs_that_do_not_take_pictures_are_refused(shape: Any) -> None:
    with pytest.raises(ImageError, match="does not take pictures"):
        plan(TensorSpec("float32", shape))


def test_a_dtype_without_numbers_is_refused() -> None:
    with pytest.raises(ImageError, match="cannot hold a picture"):
        plan(TensorSpec("string", (None,)))
    with pytest.raises(ImageError, match="pictures as bfloat16 are not supported"):
        plan(TensorSpec("bfloat16", (None, 8, 8, 3)))


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
    with pytest.raises(ImageError, match="cannot write"):
        save_picture(RED, "nul\0byte.png")
    for wrong, path in ((tmp_path / "a.png", tmp_path / "b.png"), (RED, 1)):
        with pytest.raises(ImageError, match="expected a "):
            save_picture(wrong, path)  # type: ignore[arg-type]


def test_a_drawing_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    old, link = tmp_path / "a.webp", tmp_path / "b.webp"
    save_picture(RED, old)
    link.symlink_to(old)
    before = old.read_bytes()
    with pytest.raises(ImageError, match=r"cannot write '.*b\.webp'"):
        save_picture(Image.new("RGB", (20000, 1)), link)  # more than the format can have
    assert old.read_bytes() == before
    save_picture(RED.rotate(90), link)
    assert link.is_symlink()
    assert old.read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webp", "b.webp"]


@pytest.mark.parametrize("labels", [[[0, 1]], np.array([[0.5]]), np.array([["a"]])])
def test_labels_of_an_overlay_are_whole_numbers(labels: Any) -> None:
    with pytest.raises(ImageError, match="expected labels as an array of integers, got"):
        overlay(RED, labels)
