"""Boxes return from the tensor to the picture, whatever the two sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfs_client.images import FITS, Geometry

SIZES = st.tuples(st.integers(1, 6000), st.integers(1, 6000))
SHARES = st.floats(0, 1)


@settings(max_examples=30, deadline=None)
@example((5000, 2), (224, 224), "crop", 0.875, (0.1, 0.2, 0.3, 0.4))
@example((2, 5000), (224, 224), "pad", 1.0, (0.1, 0.2, 0.3, 0.4))
@example((1, 1), (1, 1), "crop", 0.875, (0.0, 0.0, 1.0, 1.0))
@example((6000, 1), (1, 6000), "pad", 1.0, (0.0, 0.0, 1.0, 1.0))
@given(SIZES, SIZES, st.sampled_from(FITS), st.sampled_from([1.0, 0.875]), st.tuples(*[SHARES] * 4))
def test_boxes_return_to_the_picture(
    source: tuple[int, int],
    target: tuple[int, int],
    fit: str,
    crop_fraction: float,
    shares: tuple[float, float, float, float],
) -> None:
    geometry = Geometry.of(source, target, fit, crop_fraction)
    assert geometry.target == target
    assert min(geometry.resized) >= 1
    box = np.array(shares).reshape(2, 2) * source
    moved = box * geometry.resized / source + geometry.offset
    back = geometry.to_source(moved.reshape(1, 4))
    np.testing.assert_allclose(back.reshape(2, 2), box, atol=1e-6 * max(source))


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.sampled_from(FITS), st.lists(st.floats(-1e9, 1e9), min_size=4, max_size=4))
def test_boxes_outside_are_clipped_to_the_picture(
    source: tuple[int, int], target: tuple[int, int], fit: str, box: list[float]
) -> None:
    found = Geometry.of(source, target, fit).to_source(np.array([box]))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= [*source, *source]).all()


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES)
def test_a_cropped_picture_covers_the_tensor_and_a_padded_one_fits_into_it(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    crop, pad = (Geometry.of(source, target, fit) for fit in ("crop", "pad"))
    for axis in (0, 1):
        assert crop.offset[axis] <= 0 <= crop.offset[axis] + crop.resized[axis] - target[axis]
        assert 0 <= pad.offset[axis] <= pad.offset[axis] + pad.resized[axis] <= target[axis]
    assert any(crop.resized[axis] == target[axis] for axis in (0, 1))
    assert any(pad.resized[axis] == target[axis] for axis in (0, 1))


def test_the_corners_of_the_tensor_are_those_of_the_picture_when_it_is_stretched() -> None:
    geometry = Geometry.of((640, 480), (224, 224))
    assert geometry.to_source(np.array([[0, 0, 224, 224]])).tolist() == [[0, 0, 640, 480]]


def test_a_border_is_not_part_of_the_picture() -> None:
    geometry = Geometry.of((640, 320), (64, 64), "pad")
    assert geometry.offset == (0, 16)
    assert geometry.to_source(np.array([[0, 0, 64, 64], [32, 32, 64, 48]])).tolist() == [
        [0, 0, 640, 320],
        [320, 160, 640, 320],
    ]
