"""A label for each pixel: recognised, in pixels of the picture, as shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import ConfigError, DecodeError, TensorSpec
from tfs_client.images import AnswerReader, Geometry, Labels, plan, segmentation

SQUARE = TensorSpec("uint8", (None, 64, 64, 3))
NAMES = Labels({0: "background", 1: "cat", 2: "dog"})


def halves(height: int = 64, width: int = 64, dtype: Any = np.int64) -> np.ndarray[Any, Any]:
    """Label 0 on the left, 2 on the right."""
    labels = np.zeros((height, width), dtype)
    labels[:, width // 2 :] = 2
    return labels


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int8, np.uint64, np.int32])
@pytest.mark.parametrize("axes", [(), (-1,)])
@pytest.mark.parametrize("batch", [True, False])
def test_integers_are_labels(dtype: Any, axes: Any, batch: bool) -> None:
    labels = np.expand_dims(halves(dtype=dtype), axes)
    found = segmentation({"map": labels[None] if batch else labels}, (128, 32), labels=NAMES)
    assert np.array_equal(found.map, halves())
    assert [(share.label, share.share, share.number) for share in found.shares] == [
        ("background", 0.5, 0),
        ("dog", 0.5, 2),
    ]
    assert np.array_equal(found.picture_map, halves(32, 128))
    assert (found.size, found.output) == ((128, 32), "map")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("batch", [True, False])
def test_the_best_score_is_the_label(dtype: Any, batch: bool) -> None:
    scores = np.eye(3, dtype=dtype)[halves()]
    found = segmentation({"scores": scores[None] if batch else scores}, (64, 64), labels=NAMES, top=1)
    assert np.array_equal(found.map, halves())
    assert [share.label for share in found.shares] == ["background"]


def test_labels_are_preferred_to_scores() -> None:
    outputs = {"scores": np.zeros((1, 64, 64, 21), np.float32), "labels": halves()[None]}
    specs = {alias: TensorSpec(array.dtype, array.shape) for alias, array in outputs.items()}
    assert segmentation(outputs, (64, 64)).output == "labels"
    assert getattr(AnswerReader(specs, size=(64, 64)).decoder, "name", "") == "label-map"
    assert segmentation(outputs, (64, 64), output="scores").output == "scores"


@pytest.mark.parametrize(
    ("dtype", "shape", "recognised"),
    [
        ("int64", (64, 64), True),
        ("int64", (64, 64, 1), True),
        ("float32", (64, 64, 21), True),
        ("float32", (64, 64, 3), False),  # may be a picture
        ("float32", (64, 64), False),
        ("int64", (32, 32), False),  # of another size
        ("int64", (64, 64, 2), False),
        ("int64", (64,), False),
    ],
)
def test_a_map_is_recognised_by_its_size(dtype: str, shape: Any, recognised: bool) -> None:
    reader = AnswerReader({"y": TensorSpec(dtype, (None, *shape))}, size=(64, 64), required=False)
    assert (getattr(reader.decoder, "task", "") == "segment") == recognised


def test_other_sizes_and_few_scores_need_the_task() -> None:
    for dtype, shape in (("int64", (16, 17)), ("float32", (64, 64, 2))):
        reader = AnswerReader({"y": TensorSpec(dtype, (None, *shape))}, size=(64, 64), task="segment")
        assert getattr(reader.decoder, "name", "") == "label-map"
    for dtype, shape in (("int64", (16, 64)), ("float32", (21, 64, 64)), ("float32", (64, 64, 1)), ("int64", (64, 1))):
        with pytest.raises(ConfigError, match="do not show a label map"):
            AnswerReader({"y": TensorSpec(dtype, (None, *shape))}, size=(64, 64), task="segment")


def test_the_border_of_a_padded_picture_does_not_count() -> None:
    labels = np.full((64, 64), 1)  # 200x100 is 64x32 of them, with 16 rows above
    labels[16:48] = halves(32)
    found = segmentation({"map": labels[None]}, (200, 100), preparation=plan(SQUARE, fit="pad"), labels=NAMES)
    assert [(share.number, share.share) for share in found.shares] == [(0, 0.5), (2, 0.5)]
    assert np.array_equal(found.picture_map, halves(100, 200))
    assert np.array_equal(found.map, labels)


@pytest.mark.parametrize(("size", "share"), [((6400, 20), 1), ((20, 6400), 0)])
def test_a_picture_without_the_centre_of_a_cell_has_those_of_its_middle(size: tuple[int, int], share: int) -> None:
    labels = np.zeros((8, 8), np.int64)
    labels[3] = 1  # the row in which the flat picture lies
    found = segmentation({"map": labels}, size, preparation=plan(SQUARE, fit="pad"))
    assert sum(part.share for part in found.shares) == 1
    counted = {part.number: part.share for part in found.shares}
    assert counted.get(1) == (1 if share else 0.125)
    assert set(np.unique(found.picture_map)) == set(counted)


def test_what_was_cropped_away_has_no_label() -> None:
    found = segmentation({"map": halves()[None]}, (200, 100), preparation=plan(SQUARE, fit="crop"))
    want = np.full((100, 200), -1)
    want[:, 50:100], want[:, 100:150] = 0, 2
    assert np.array_equal(found.picture_map, want)
    assert [(share.label, share.share) for share in found.shares] == [("label 0", 0.5), ("label 2", 0.5)]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 40)] * 2),
    st.tuples(*[st.integers(1, 40)] * 2),
    st.sampled_from(["stretch", "crop", "pad"]),
    st.tuples(*[st.integers(1, 20)] * 2),
)
def test_cells_lie_at_the_centres_of_pixels(source: Any, target: Any, fit: str, shape: Any) -> None:
    geometry = Geometry.of(source, target, fit)
    for axis, found, count, seen in zip((1, 0), geometry.cells(shape), shape, geometry.visible(shape), strict=True):
        scale = geometry.resized[axis] / source[axis]
        centres = (np.arange(source[axis]) + 0.5) * scale + geometry.offset[axis]
        exact = centres * count / target[axis]
        inside = (exact > 1e-9) & (exact < count - 1e-9)
        apart = np.abs(exact - np.rint(exact)) > 1e-9  # on an edge, either cell is right
        assert (found[inside & apart] == np.floor(exact[inside & apart])).all()
        assert (found[(exact < -1e-9) | (exact > count + 1e-9)] == -1).all()
        cells = (np.arange(count) + 0.5) * target[axis] / count - geometry.offset[axis]
        within = (cells >= 0) & (cells < geometry.resized[axis])
        if not within.any():
            middle = geometry.offset[axis] + geometry.resized[axis] / 2
            within[int(middle * count / target[axis])] = True
        assert np.array_equal(np.flatnonzero(within), np.arange(count)[seen])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((64, 64), -1), "expected labels from 0 in output 'y', got -1"),
        (np.full((64, 64), 1 << 63, np.uint64), "expected labels from 0 in output 'y', got 9223372036854775808"),
        (np.full((64, 64, 3), np.nan, np.float32), "expected numbers as scores in output 'y', got NaN"),
        (np.broadcast_to(np.int64(1), (1 << 16, 1 << 16)), "output 'y' declares int64"),
    ],
)
def test_hostile_maps_are_refused(array: Any, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        segmentation({"y": array[None]}, (64, 64))


def test_labels_without_a_name_are_an_error() -> None:
    with pytest.raises(ConfigError, match="a name for class 5"):
        segmentation({"y": halves()[None] + 5}, (64, 64), labels=NAMES)
    with pytest.raises(ConfigError, match="21"):
        segmentation({"y": np.zeros((1, 64, 64, 21), np.float32)}, (64, 64), labels=NAMES)


def test_large_labels_keep_their_values() -> None:
    for label, dtype in ((7, "int16"), (40_000, "int32"), (1 << 40, "int64")):
        found = segmentation({"y": np.full((1, 8, 8), label)}, (8, 8))
        assert found.map.dtype == dtype
        assert (found.picture_map == label).all()
