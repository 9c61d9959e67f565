"""prepare: pictures become the tensor of an input, one or a batch, and nothing is assumed silently."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from tfs_client import ImageError, Signature, SignatureError, TensorSpec
from tfs_client.images import (
    AssumedLayoutWarning,
    AssumedScaleWarning,
    load_image,
    loading,
    picture_input,
    plan,
    prepare,
    to_array,
)

RNG = np.random.default_rng(0)
SPEC = TensorSpec("float32", (None, 8, 6, 3))
BYTES = TensorSpec("uint8", (None, 8, 6, 3))
STRINGS = TensorSpec("string", (None,))
SCORES = {"scores": TensorSpec("float32", (None, 10))}


def noise(width: int = 40, height: int = 30) -> Any:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def encoded(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind, **options)
    return data.getvalue()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path in paths:
        path.write_bytes(encoded(noise()))
    return paths


def test_one_picture_becomes_a_batch_of_one(files: list[Path]) -> None:
    got = prepare(files[0], SPEC, scale="tf")
    assert got.shape == (1, 8, 6, 3)
    assert np.array_equal(got, to_array(load_image(files[0]), plan(SPEC, scale="tf")))


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (SPEC, {"scale": "torch"}),
        (SPEC, {"preset": "resnet50", "size": (6, 8)}),
        (TensorSpec("float32", (None, 3, 8, 6)), {"scale": "caffe", "fit": "pad", "pad_value": 9}),
        (TensorSpec("float16", (None, 8, 6, 1)), {"scale": "unit", "resize": "tf-bilinear"}),
        (TensorSpec("uint8", (None, 8, 6)), {"fit": "crop"}),
        (
            TensorSpec("float64", (None, 144)),
            {"size": (6, 8), "layout": "nhwc", "scale": "raw", "mean": (1, 2, 3), "std": 2},
        ),
        (TensorSpec("int32", (None, None, None, 3)), {"bgr": True}),
    ],
)
def test_several_pictures_are_the_rows_of_one_array(files: list[Path], spec: TensorSpec, options: Any) -> None:
    got = prepare(files, spec, **options)
    rows = [to_array(load_image(path), plan(spec, **options)) for path in files]
    assert got.dtype == spec.dtype
    assert np.array_equal(got, np.concatenate(rows))
    assert np.array_equal(prepare(iter(files), spec, **options), got)
    assert np.array_equal(prepare(tuple(files), spec, preparation=plan(spec, **options)), got)


def test_pictures_are_written_into_the_callers_array(files: list[Path]) -> None:
    memory = np.zeros((9, 8, 6, 3), np.float32)
    for out in (memory[2:7], memory[::2], np.zeros((5, 3, 6, 8), np.float32).transpose(0, 3, 2, 1)):
        assert prepare(files, SPEC, scale="unit", out=out) is out
        assert np.array_equal(out, prepare(files, SPEC, scale="unit"))


@pytest.mark.parametrize(
    "out", [np.zeros((4, 8, 6, 3), np.float32), np.zeros((5, 8, 6, 3)), np.broadcast_to(np.float32(0), (5, 8, 6, 3)), 3]
)
def test_arrays_that_do_not_fit_are_refused(files: list[Path], out: Any) -> None:
    with pytest.raises(ImageError, match=r"^expected out as a writeable array of float32 \(5, 8, 6, 3\), got"):
        prepare(files, SPEC, scale="unit", out=out)


def test_every_kind_of_source_can_be_in_a_batch(files: list[Path]) -> None:
    data = files[0].read_bytes()
    image = Image.open(files[0])  # decoded when it is needed, by one thread
    sources = [files[0], str(files[0]), data, io.BytesIO(data), image, image, image, np.asarray(load_image(data))]
    got = prepare(sources, BYTES)
    assert got.shape == (8, 8, 6, 3)
    assert (got == got[0]).all()


def test_an_assumed_scale_is_said_once_for_a_batch(files: list[Path]) -> None:
    with pytest.warns(AssumedScaleWarning, match=r"assumed to be 'unit'.*pass scale= or preset=") as caught:
        prepare(files, SPEC)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(files, SPEC, scale="unit")
        prepare(files, SPEC, preset="xception", size=(6, 8))
        prepare(files, BYTES)


def test_an_assumed_layout_is_said() -> None:
    spec = TensorSpec("uint8", (None, None, None, None))
    with pytest.warns(AssumedLayoutWarning, match=r"assumed to be 'nhwc'.*pass layout=") as caught:
        assert prepare(noise(), spec).shape == (1, 30, 40, 3)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepare(noise(), spec, layout="nchw").shape == (1, 3, 30, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preparation": "x"}, "expected preparation as plan makes it, got str"),
        ({"preset": 1}, "expected preset as a name, such as 'resnet50', got 1"),
        ({"exif": "off"}, "expected exif as True or False, got 'off'"),
        ({"alpha": 3}, "expected alpha to be one of white, black, drop, got 3"),
        ({"size": "6x8"}, r"such as \(224, 224\), got '6x8'"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        prepare(noise(), BYTES, **options)


def test_the_broken_picture_of_a_batch_is_named(files: list[Path]) -> None:
    files[3].write_bytes(files[3].read_bytes()[:60])
    with pytest.raises(ImageError, match=r"^images\[3\]: '.*3\.png' cannot be decoded"):
        prepare(files, BYTES)
    with pytest.raises(ImageError, match=r"^images\[1\]: cannot read '.*none\.png'"):
        prepare([files[0], files[0].with_name("none.png")], BYTES)
    with pytest.raises(ImageError, match=r"^images\[0\]: the picture cannot be converted: .* got float32"):
        prepare([np.zeros((4, 4), np.float32)], BYTES)
    with pytest.raises(ImageError, match=r"^'.*3\.png' cannot be decoded"):
        prepare(files[3], BYTES)


def test_pictures_of_different_sizes_need_a_size(files: list[Path]) -> None:
    files[2].write_bytes(encoded(noise(41)))
    spec = TensorSpec("uint8", (None, None, None, 3))
    with pytest.raises(ImageError, match=r"images\[2\]: '.*' has 41x30 pixels, and the first .* 40x30: .*size="):
        prepare(files, spec)
    assert prepare(files, spec, size=(4, 5)).shape == (5, 5, 4, 3)


def test_the_batch_must_suit_the_input() -> None:
    pictures = [noise(6, 8)] * 2
    for count in (2, 8):
        with pytest.raises(ImageError, match=rf"is uint8 \(8, 6, 3\), which takes one picture at a time, got {count}"):
            prepare(pictures[:1] * count, TensorSpec("uint8", (8, 6, 3)))
    with pytest.raises(ImageError, match=r"is uint8 \(1, 8, 6, 3\), and 2 pictures .* make uint8 \(2, 8, 6, 3\)"):
        prepare(pictures, TensorSpec("uint8", (1, 8, 6, 3)))
    with pytest.raises(ImageError, match=r"is float32 \(\?, 8, 6, 3\), and 1 picture .* make uint8 \(1, 8, 6, 3\)"):
        prepare(pictures[0], SPEC, preparation=plan(BYTES))
    with pytest.raises(ImageError, match="expected at least one picture, got none"):
        prepare([], SPEC)
    assert prepare(pictures[0], TensorSpec("uint8", (8, 6, 3))).shape == (8, 6, 3)


@pytest.mark.parametrize("option", [{"scale": "unit"}, {"alpha": "drop"}, {"exif": False}, {"bgr": True}, {"mean": 0}])
def test_options_next_to_a_preparation_are_refused(option: Any) -> None:
    with pytest.raises(ImageError, match=f"{next(iter(option))}= has no effect: preparation= decides"):
        prepare(noise(), SPEC, preparation=plan(SPEC, scale="unit"), **option)


def test_a_hostile_size_in_a_signature_is_refused_before_memory_is_allocated() -> None:
    with pytest.raises(ImageError, match=r"takes 200000 x 200000 pixels, expected at most 120000000; .*max_pixels="):
        prepare(noise(), TensorSpec("uint8", (None, 200000, 200000, 3)))


def test_limits_apply_to_every_picture(files: list[Path]) -> None:
    with pytest.raises(ImageError, match=r"images\[0\]: .* has 40 x 30 = 1200 pixels, expected at most 1199"):
        prepare(files, BYTES, max_pixels=1199)
    with pytest.raises(ImageError, match="is in the format PNG, expected one of JPEG"):
        prepare(files, BYTES, formats=["JPEG"])


def test_string_inputs_get_the_bytes_of_the_files(files: list[Path]) -> None:
    data = [path.read_bytes() for path in files]
    assert prepare(files, STRINGS).tolist() == data
    assert prepare(files[0], STRINGS).tolist() == data[:1]
    assert prepare(io.BytesIO(b"not a picture that Pillow knows"), TensorSpec("string", ())).shape == ()
    assert prepare(files, TensorSpec("string", (None, 1))).shape == (5, 1)
    with pytest.raises(ImageError, match=r"images\[1\]: expected a path, bytes .* string \(\?,\).*, got ndarray"):
        prepare([files[0], noise()], STRINGS)
    with pytest.raises(ImageError, match=r"scale= has no effect: the input is string \(\?,\), which gets the bytes"):
        prepare(files, STRINGS, scale="raw")
    for limit in ({"formats": ["JPEG"]}, {"max_pixels": 10}):
        with pytest.raises(ImageError, match="= has no effect: the input is string"):
            prepare(files, STRINGS, **limit)
    with pytest.raises(ImageError, match="one picture at a time, got 5"):
        prepare(files, TensorSpec("string", ()))


def test_a_signature_shows_its_input_for_pictures() -> None:
    threshold = TensorSpec("float32", ())
    assert prepare(noise(), Signature({"x": BYTES, "threshold": threshold}, SCORES)).shape == (1, 8, 6, 3)
    several = Signature({"image": BYTES, "mask": TensorSpec("uint8", (None, 4, 4, 1))}, SCORES)
    assert picture_input(several) == "image"
    assert picture_input(several, taken=["image"]) == "mask"
    assert prepare(noise(), several, image_input="mask").shape == (1, 4, 4, 1)
    unclear = Signature({"a": BYTES, "b": BYTES}, SCORES)
    with pytest.raises(SignatureError, match=r"use image_input= \(--image-input NAME\); the inputs are: a: uint8"):
        prepare(noise(), unclear)
    with pytest.raises(SignatureError, match="unknown input 'c'; the inputs are: a: uint8"):
        prepare(noise(), unclear, image_input="c")
    with pytest.raises(ImageError, match="image_input='a' chooses an input of a signature, got one spec"):
        prepare(noise(), BYTES, image_input="a")


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a batch of large pictures takes the memory of one, whatever the number of threads."""
    running: list[int] = []
    most = [0]
    start, end = PngImageFile.load_prepare, PngImageFile.load_end

    def started(self: PngImageFile) -> None:
        running.append(1)
        most[0] = max(most[0], len(running))
        start(self)

    def ended(self: PngImageFile) -> None:
        end(self)
        running.pop()

    monkeypatch.setattr(PngImageFile, "load_prepare", started)
    monkeypatch.setattr(PngImageFile, "load_end", ended)
    monkeypatch.setattr(loading, "LARGE", 1000)
    assert prepare([encoded(noise(600, 500))] * 6, BYTES).shape == (6, 8, 6, 3)
    assert most == [1]


def test_scales_for_three_channels_are_refused_for_one() -> None:
    from dataclasses import replace

    grey = plan(TensorSpec("float32", (None, 4, 4, 1)), scale="unit")
    for changed in ({"scale": "torch"}, {"scale": "caffe"}, {"bgr": True}):
        with pytest.raises(ImageError, match=r"three channels, (got 1 channel|the input has one)"):
            replace(grey, **changed)
