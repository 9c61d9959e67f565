"""Resizing gives Pillow's pixels for its methods, wherever the picture lies in the tensor, in bounded memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfs_client import TensorSpec
from tfs_client.images import FITS, RESIZES, Geometry, plan, to_array
from tfs_client.images import resizing as module
from tfs_client.images.resizing import placed

PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
SIDES = st.integers(1, 40)
SIZES = st.tuples(SIDES, SIDES)


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    shape = (size[1], size[0], 3) if mode == "RGB" else size[::-1]
    return Image.fromarray(np.random.default_rng(size[0] * 5003 + size[1]).integers(0, 256, shape, np.uint8))


def whole(image: Image.Image, geometry: Geometry, method: str, pad_value: int) -> Any:
    """The straightforward way: resize everything, then cut off or add a border."""
    resized = np.asarray(image.resize(geometry.resized, PILLOW[method])).reshape(*geometry.resized[::-1], -1)
    (left, top), (width, height) = geometry.offset, geometry.target
    padded = np.full((height + 2 * abs(top) + 1, width + 2 * abs(left) + 1, resized.shape[2]), pad_value, np.uint8)
    if left < 0 or top < 0:
        return resized[-top : -top + height, -left : -left + width]
    padded[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    return padded[:height, :width]


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.sampled_from(FITS), st.sampled_from(sorted(PILLOW)), st.sampled_from(["RGB", "L"]))
def test_the_pixels_are_pillows(
    source: tuple[int, int], target: tuple[int, int], fit: str, method: str, mode: str
) -> None:
    image, geometry = noise(source, mode), Geometry.of(source, target, fit)
    got = placed(image, geometry, method, 99)
    assert got.dtype == np.uint8
    assert np.array_equal(got, whole(image, geometry, method, 99))


def cropped_first(image: Image.Image, geometry: Geometry, method: str) -> Any:
    """The tensor as it is computed where the whole resized picture would be large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WHOLE", 0)
        columns, rows = (
            module._visible(*along) for along in zip(geometry.offset, geometry.resized, geometry.target, strict=True)
        )
        return np.asarray(module._resampled(image, geometry, method, columns, rows), int)


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.sampled_from(["bilinear", "bicubic", "lanczos"]))
def test_cropping_before_resizing_only_rounds_differently(
    source: tuple[int, int], target: tuple[int, int], method: str
) -> None:
    """Pillow may resample the two axes in another order, and rounds after each. These values exceed no limit then."""
    image, geometry = noise(source).point(lambda level: 64 + level // 2), Geometry.of(source, target, "crop", 0.875)
    want = whole(image, geometry, method, 0).astype(int)
    assert np.abs(cropped_first(image, geometry, method) - want).max() <= (2 if method == "bilinear" else 3)


@pytest.mark.parametrize("method", ["nearest", "area", "bilinear"])
@pytest.mark.parametrize("source", [(3, 37), (37, 3), (211, 991)])
def test_cropping_before_resizing_takes_the_same_pixels(method: str, source: tuple[int, int]) -> None:
    """In these sizes no centre lies on the border of two pixels, where "nearest" and "area" may take either."""
    image, geometry = noise(source), Geometry.of(source, (31, 29), "crop")
    got, want = cropped_first(image, geometry, method), whole(image, geometry, method, 0).astype(int)
    assert np.abs(got - want).max() <= (0 if method == "nearest" else 2)


@pytest.mark.parametrize("method", RESIZES)
@pytest.mark.parametrize("source", [(5000, 2), (2, 5000), (1, 1), (65000, 1)])
def test_a_narrow_picture_covers_a_tensor_in_memory_of_the_tensors_size(method: str, source: tuple[int, int]) -> None:
    image = noise(source)
    tracemalloc.start()
    got = placed(image, Geometry.of(source, (224, 224), "crop", 0.875), method)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.shape == (224, 224, 3)
    assert peak < 16 << 20
    level = np.asarray(image)[source[1] // 2, source[0] // 2].astype(float)
    if source == (1, 1):
        assert np.abs(got - level).max() == 0


def test_torchvision_crops_like_this() -> None:
    """Resize(256), then CenterCrop(224): the long side is cut down to a whole number, half a pixel rounds to even."""
    for source in [(640, 480), (481, 333), (100, 300), (257, 256)]:
        short = min(source)
        resized = tuple(256 if side == short else int(256 * side / short) for side in source)
        left, top = (round((side - 224) / 2.0) for side in resized)
        image = noise(source)
        want = np.asarray(image.resize(resized, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224)))
        got = to_array(image, plan(TensorSpec("uint8", (None, None, None, 3)), size=(224, 224), fit="crop"))
        assert got.shape == (1, 224, 224, 3)
        assert np.array_equal(placed(image, Geometry.of(source, (224, 224), "crop", 224 / 256)), want)


def interpolated(pixels: Any, height: int, width: int) -> Any:
    """Bilinear interpolation between pixel centres, in 64-bit floats, one axis after the other."""
    for axis, size in ((0, height), (1, width)):
        centres = (np.arange(size) + 0.5) * pixels.shape[axis] / size - 0.5
        places = np.arange(pixels.shape[axis])
        pixels = np.apply_along_axis(lambda line: np.interp(centres, places, line), axis, pixels.astype(float))  # noqa: B023
    return pixels


@settings(max_examples=30, deadline=None)
@given(SIZES, SIZES, st.sampled_from([1, 60, 1 << 20]))
def test_tf_bilinear_interpolates_between_centres(source: tuple[int, int], target: tuple[int, int], strip: int) -> None:
    image = noise(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STRIP", strip)
        got = placed(image, Geometry.of(source, target), "tf-bilinear") * np.float32(1)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, interpolated(np.asarray(image), *target[::-1]), atol=0.01)


def test_tf_bilinear_crops_and_pads_like_the_other_methods() -> None:
    image = noise((30, 20))
    for fit in ("crop", "pad"):
        geometry = Geometry.of((30, 20), (16, 16), fit)
        got = placed(image, geometry, "tf-bilinear", 7)
        resized = interpolated(np.asarray(image), *geometry.resized[::-1])
        left, top = geometry.offset
        if fit == "crop":
            want = resized[-top : 16 - top, -left : 16 - left]
        else:
            want = np.full((16, 16, 3), 7.0)
            want[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
        np.testing.assert_allclose(got, want, atol=0.01)


def test_integers_get_the_nearest_whole_value() -> None:
    image = Image.fromarray(np.array([[0, 255]], np.uint8))
    spec = TensorSpec("uint8", (None, 1, 4, 1))
    assert to_array(image, plan(spec, resize="tf-bilinear")).ravel().tolist() == [0, 64, 191, 255]


def test_the_border_is_set_before_scaling() -> None:
    preparation = plan(TensorSpec("float32", (None, 4, 8, 3)), scale="unit", fit="pad", pad_value=51)
    array = to_array(Image.new("RGB", (4, 4), "white"), preparation)
    assert array[0, 0, :, 0].tolist() == pytest.approx([0.2, 0.2, 1, 1, 1, 1, 0.2, 0.2])
