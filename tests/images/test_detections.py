"""Outputs of detectors become boxes, masks and names in pixels of the picture."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfs_client import ConfigError, DecodeError, ImageError, TensorSpec
from tfs_client.images import (
    AnswerOptions,
    AnswerReader,
    AssumedLabelsWarning,
    Detections,
    Geometry,
    Labels,
    Mask,
    classify,
    detections,
    plan,
    segmentation,
)
from tfs_client.images.boxes import non_maximum_suppression, overlaps
from tfs_client.images.decoders import specs_of

Outputs = Mapping[str, np.ndarray[Any, Any]]
IMAGE = TensorSpec("uint8", (None, 64, 64, 3))
PADDED, CROPPED = plan(IMAGE, fit="pad"), plan(IMAGE, fit="crop")
SQUARE = plan(TensorSpec("float32", (None, 320, 320, 3)), scale="unit")
NAMES = Labels({0: "cat", 1: "dog", 2: "cow"})


def api(
    boxes: Any = ((0.25, 0.5, 0.75, 1.0),), scores: Any = None, classes: Any = None, batch: bool = True, **more: Any
) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs as the Object Detection API has them."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    outputs = {
        "detection_boxes": boxes,
        "detection_scores": np.array(np.full(len(boxes), 0.9) if scores is None else scores, np.float32),
        "detection_classes": np.array(np.ones(len(boxes)) if classes is None else classes, np.float32),
        **{alias: np.asarray(array) for alias, array in more.items()},
    }
    return {alias: array[None] for alias, array in outputs.items()} if batch else outputs


def yolo(boxes: Any, size: int = 320, classes: int = 3, parts: bool = False) -> np.ndarray[Any, Any]:
    """An output of YOLOv8: rows of (centre x, centre y, width, height, class, score) at the first anchors."""
    anchors = 21 * (size // 32) ** 2
    values = np.zeros((4 + classes, anchors), np.float32)
    values[:2] = np.linspace(4, size - 4, anchors)
    values[2:4] = 8
    for place, (*box, number, score) in enumerate(boxes):
        values[:4, place] = box
        values[4 + number, place] = score
    if parts:
        values[:4] /= size
    return values


def overlap(left: Any, right: Any) -> float:
    return float(overlaps(np.array(left, float), np.array([right], float))[0])


# Object Detection API


@pytest.mark.parametrize("batch", [True, False])
def test_boxes_are_edges_in_pixels_of_the_picture(batch: bool) -> None:
    found = detections(api(batch=batch), (200, 100))
    assert found.layout == "object-detection-api"
    assert found.size == (200, 100)
    [item] = found
    assert item.box == (100, 25, 200, 75)
    assert (item.label, item.number, item.score) == ("class 1", 1, pytest.approx(0.9))
    assert item.mask is None


def test_the_border_of_a_padded_picture_is_undone() -> None:
    # 200x100 in 64x64 is 64x32, with 16 rows above it.
    [item] = detections(api([[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.2, 1.0]]), (200, 100), preparation=PADDED)
    assert item.box == (100, 0, 200, 100)  # the other box is in the border alone


def test_a_crop_is_undone() -> None:
    # 200x100 covers 64x64 as 128x64, of which the middle half is sent.
    [item] = detections(api([[0.0, 0.0, 0.5, 1.0]]), (200, 100), preparation=CROPPED)
    assert item.box == (50, 0, 150, 50)


def test_scores_sort_and_limit_the_detections() -> None:
    outputs = api([[0, 0, 1, 1]] * 5, [0.3, 0.9, 0.2, 0.9, 0.5], [1, 2, 3, 4, 5])
    assert [item.number for item in detections(outputs, (10, 10))] == [2, 4, 5, 1]
    assert [item.number for item in detections(outputs, (10, 10), min_score=0.6)] == [2, 4]
    assert [item.number for item in detections(outputs, (10, 10), max_detections=1)] == [2]
    assert not detections(api(np.zeros((0, 4))), (10, 10)).items


@pytest.mark.parametrize("count", [np.float32([2]), np.int32([2]), np.float32([[2]])])
def test_rows_beyond_num_detections_do_not_count(count: Any) -> None:
    outputs = api([[0, 0, 1, 1]] * 2 + [[np.nan] * 4], [0.9, 0.8, np.nan], [1, 2, -7])
    assert len(detections({**outputs, "num_detections": count}, (10, 10))) == 2


def test_a_picture_of_a_batch_is_chosen() -> None:
    whole = {alias: np.concatenate([array, array]) for alias, array in api().items()}
    whole["detection_boxes"][1] /= 2
    whole["num_detections"] = np.float32([0, 1])
    assert not detections(whole, (100, 100))
    for output in ("", "detection_boxes"):
        assert detections(whole, (100, 100), index=1, output=output).items[0].box == (25, 12.5, 50, 37.5)
    with pytest.raises(ConfigError, match="expected an index below 2"):
        detections(whole, (100, 100), index=2)
    with pytest.raises(ConfigError, match="have no batch axis, got 1"):
        detections(api(batch=False), (100, 100), index=1)


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        (api([[np.nan, 0, 1, 1]]), "expected numbers as boxes in output 'detection_boxes', got NaN"),
        (api([[0.5, 0, 0.25, 1]]), "expected boxes with edges in order"),
        (api([[0, 0, 480, 640]]), "from 0 to 1, got 0 to 640: its layout is another one"),
        (api(scores=[np.inf]), "expected scores from 0 to 1 in output 'detection_scores', got NaN or infinity"),
        (api(scores=[7]), "expected scores from 0 to 1 in output 'detection_scores', got 7 to 7"),
        (api(classes=[-1]), "expected class numbers from 0 in output 'detection_classes', got -1"),
        (api(classes=[1.5]), "expected class numbers from 0 in output 'detection_classes', got 1.5"),
        (api(classes=[np.nan]), "expected class numbers from 0"),
        (api(scores=[0.9, 0.8]), r"'detection_scores' of shape \(1,\), as 'detection_boxes' has 1 boxes"),
        (api(num_detections=9.0), "expected output 'num_detections' from 0 to 1, the number of boxes, got 9"),
        (api(num_detections=-1.0), "expected output 'num_detections' from 0 to 1"),
        (api(num_detections=np.nan), "expected output 'num_detections' from 0 to 1"),
        (api(detection_masks=np.zeros((2, 3, 3), "f")), r"'detection_masks' of shape \(1, height, width\)"),
        (api(detection_masks=np.full((1, 3, 3), 7, "f")), "expected scores from 0 to 1 in output 'detection_masks'"),
        (api(detection_masks=np.zeros((1, 3, 3), "u1")), "as floats over each box, or of the tensor's size"),
        (api(detection_masks=np.zeros((1, 300, 300), "f")), "preparation= says which size was sent"),
        (api(detection_masks=np.full((1, 50, 100), 255, "u1")), "expected 0 and 1 in output 'detection_masks'"),
    ],
)
def test_outputs_that_contradict_the_layout_are_refused(outputs: Outputs, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        detections(outputs, (100, 50))


@pytest.mark.parametrize("alias", ["detection_boxes", "detection_masks"])
def test_hollow_outputs_take_no_memory(alias: str) -> None:
    shape = (1 << 24, 4) if alias == "detection_boxes" else (1, 1 << 16, 1 << 16)
    hollow = np.broadcast_to(np.float32(0), shape)
    outputs = {**api(batch=False), alias: hollow}
    if alias == "detection_boxes":
        for other in ("detection_scores", "detection_classes"):
            outputs[other] = np.broadcast_to(np.float32(1), shape[:1])
    with pytest.raises(DecodeError, match=f"output '{alias}' declares"):
        detections(outputs, (10, 10))


def test_masks_lie_in_their_boxes() -> None:
    grid = np.float32([[[0, 1], [0, 1]]])  # the right half of the box
    [item] = detections(api(detection_masks=grid), (200, 100))
    assert item.mask is not None
    painted = item.mask.full((200, 100))
    assert painted.shape == (100, 200)
    want = np.zeros((100, 200), bool)
    want[25:75, 150:200] = True
    assert np.array_equal(painted, want)
    assert np.array_equal(item.mask.part((140, 20, 160, 30)), want[20:30, 140:160])


@pytest.mark.parametrize(
    ("preparation", "size", "want"),
    [
        (plan(IMAGE), (200, 100), (slice(25, 50), slice(100, 150))),
        (PADDED, (200, 100), (slice(0, 50), slice(100, 150))),
        (CROPPED, (200, 100), (slice(25, 50), slice(100, 125))),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.bool_])
def test_masks_of_the_tensor_lie_where_the_picture_was(
    preparation: Any, size: tuple[int, int], want: Any, dtype: Any
) -> None:
    masks = np.zeros((1, 64, 64), dtype)
    masks[0, 16:32, 32:48] = 1
    [item] = detections(api([[0.25, 0.5, 0.5, 0.75]], detection_masks=masks), size, preparation=preparation)
    expected = np.zeros(size[::-1], bool)
    expected[want] = True
    assert item.mask is not None
    assert np.array_equal(item.mask.full(size), expected)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(-20, 60)] * 2, *[st.floats(0.1, 60)] * 2), st.integers(1, 5), st.integers(1, 5), st.booleans()
)
def test_a_mask_is_its_grid_at_the_centre_of_each_pixel(box: Any, height: int, width: int, binary: bool) -> None:
    grid = np.random.default_rng(height * 7 + width).random((height, width)).astype(np.float32)
    left, top, across, down = box
    mask = Mask(grid > 0.5 if binary else grid, (left, top, left + across, top + down))
    found = mask.full((32, 24))
    for y, x in np.ndindex(24, 32):
        u, v = (x + 0.5 - left) / across * width, (y + 0.5 - top) / down * height
        if not (0 <= u < width and 0 <= v < height):
            assert not found[y, x]
        elif binary:
            assert found[y, x] == (grid[int(v), int(u)] > 0.5)
        else:
            u, v = min(max(u - 0.5, 0), width - 1), min(max(v - 0.5, 0), height - 1)
            i, j = min(int(v), max(height - 2, 0)), min(int(u), max(width - 2, 0))
            below, behind = min(i + 1, height - 1), min(j + 1, width - 1)
            value = (grid[i, j] * (1 - (u - j)) + grid[i, behind] * (u - j)) * (1 - (v - i)) + (
                grid[below, j] * (1 - (u - j)) + grid[below, behind] * (u - j)
            ) * (v - i)
            assert abs(value - 0.5) < 1e-5 or found[y, x] == (value > 0.5)


SHAPES = st.lists(st.sampled_from([0, 1, 2, 4, 5, 21, 64]), max_size=4).map(tuple)
DTYPES = st.sampled_from(["f4", "f2", "f8", "i4", "u1", "i8", "?", "O", "c8", "u8"])


@st.composite
def arrays(draw: Any) -> np.ndarray[Any, Any]:
    """Small arrays of any dtype, with all kinds of values."""
    shape, dtype = draw(SHAPES), draw(DTYPES)
    values = draw(
        st.lists(st.sampled_from([0, 1, 0.5, 2, -1, 1e30, float("nan"), float("inf")]), min_size=1, max_size=5)
    )
    with np.errstate(all="ignore"):
        flat = np.resize(np.array(values), shape)
        return flat.astype(object) if dtype == "O" else flat.astype(dtype)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["detection_boxes", "detection_scores", "detection_classes", "num_detections", "detection_masks", "y"]
        ),
        arrays(),
        max_size=6,
    ),
    st.sampled_from([None, PADDED]),
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the cast that makes the arrays
def test_any_outputs_are_read_or_refused(outputs: Outputs, preparation: Any) -> None:
    for read in (detections, segmentation):
        try:
            answer = read(outputs, (64, 48), preparation=preparation)
        except (ConfigError, DecodeError):
            continue
        assert answer.size == (64, 48)
        if isinstance(answer, Detections):
            for item in answer:
                left, top, right, bottom = item.box
                assert 0 <= left < right <= 64
                assert 0 <= top < bottom <= 48
                assert 0.25 <= item.score <= 1


# Names


def test_a_list_of_names_starts_at_class_1() -> None:
    outputs = api([[0, 0, 1, 1]] * 3, classes=[1, 2, 3])
    said = r"start with that of class 1, 'cat', .* offset=-1 \(--labels-offset -1\) confirms it; .*, use offset=0"
    with pytest.warns(AssumedLabelsWarning, match=said) as warned:
        found = detections(outputs, (9, 9), labels=NAMES)
    assert [warning.filename for warning in warned] == [__file__]
    assert [item.label for item in found] == ["cat", "dog", "cow"]
    one = {alias: array[0] for alias, array in outputs.items()}
    for labels, assumed in ((NAMES, 1), (None, 0), (Labels(NAMES.names, -1), 0)):
        reader = AnswerReader(specs_of(one), batch=False, options=AnswerOptions(labels=labels))
        assert len(reader.assumed) == assumed


def test_an_offset_settles_where_a_list_of_names_starts() -> None:
    for offset, want in ((-1, "cat"), (0, "dog"), (1, "cow")):
        [item] = detections(api(), (9, 9), labels=Labels(NAMES.names, offset))
        assert item.label == want


def test_a_list_that_starts_with_the_background_starts_at_class_0() -> None:
    labels = Labels({0: "Background", 1: "cat", 2: "dog"})
    assert [item.label for item in detections(api(classes=[2]), (9, 9), labels=labels)] == ["dog"]
    with pytest.raises(ConfigError, match=r"class 0, which is the background in this layout .*, use offset=1"):
        detections(api(classes=[0]), (9, 9), labels=labels)
    [item] = detections(api(classes=[0]), (9, 9), labels=Labels(labels.names, 1))
    assert item.label == "cat"


def test_numbers_in_the_file_and_offsets_are_obeyed() -> None:
    numbered = Labels({1: "person", 90: "toothbrush"}, numbered=True)
    outputs = api([[0, 0, 1, 1]] * 2, classes=[90, 1])
    assert [item.label for item in detections(outputs, (9, 9), labels=numbered)] == ["toothbrush", "person"]
    shifted = Labels(NAMES.names, offset=1)
    assert [item.label for item in detections(api(classes=[1]), (9, 9), labels=shifted)] == ["cow"]


def test_files_that_count_from_0_need_an_offset() -> None:
    numbered = Labels({0: "cat", 1: "dog"}, numbered=True, source="names.json")
    outputs = api([[0, 0, 1, 1]] * 2, classes=[1, 2])
    for more in ({}, {"detection_multiclass_scores": np.zeros((1, 2, 3), np.float32)}):
        with pytest.raises(ConfigError, match=r"got 0 for 'cat' in 'names\.json': use offset=-1"):
            detections({**outputs, **more}, (9, 9), labels=numbered)
    shifted = Labels(numbered.names, offset=-1, numbered=True)
    assert [item.label for item in detections(outputs, (9, 9), labels=shifted)] == ["cat", "dog"]
    with_background = Labels({0: "background", 1: "cat", 2: "dog"}, numbered=True)
    assert [item.label for item in detections(outputs, (9, 9), labels=with_background)] == ["cat", "dog"]
    from_0 = Labels(numbered.names, offset=0, numbered=True)
    assert [item.label for item in detections(api(classes=[0]), (9, 9), labels=from_0)] == ["cat"]


def test_classes_without_a_name_are_an_error() -> None:
    with pytest.raises(ConfigError, match="class 4"):
        detections(api(classes=[4]), (9, 9), labels=Labels(NAMES.names, -1))
    with pytest.raises(
        ConfigError, match="class 0, but in this layout the first name is that of class 1; if the model counts from 0"
    ):
        detections(api(classes=[0]), (9, 9), labels=NAMES)


@pytest.mark.parametrize(
    ("labels", "columns", "fits"),
    [
        (NAMES, 4, True),
        (NAMES, 3, False),
        (Labels({0: "background", 1: "cat", 2: "dog"}), 3, True),
        (Labels({0: "background", 1: "cat", 2: "dog"}), 4, False),
        (Labels({1: "cat", 90: "dog"}, numbered=True), 91, True),
        (Labels(NAMES.names, offset=-1), 4, True),
        (Labels(NAMES.names, offset=-1), 3, False),
    ],
)
def test_the_number_of_names_is_checked_where_outputs_show_the_classes(labels: Any, columns: int, fits: bool) -> None:
    outputs = api(detection_multiclass_scores=np.zeros((1, columns), np.float32))
    if fits:
        assert len(detections(outputs, (9, 9), labels=labels)) == 1
    else:
        with pytest.raises(ConfigError, match=r"\d"):
            detections(outputs, (9, 9), labels=labels)


# YOLOv8


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_yolo_boxes_are_centres_in_pixels_or_parts(parts: bool, transposed: bool, dtype: Any) -> None:
    values = yolo([(160, 80, 64, 32, 2, 0.75), (32, 240, 32, 32, 0, 0.5)], parts=parts).astype(dtype)
    outputs = {"output0": (values.T if transposed else values)[None]}
    found = detections(outputs, (640, 320), preparation=plan(TensorSpec("float32", (None, 320, 320, 3))), labels=NAMES)
    assert found.layout == "yolov8"
    assert [(item.label, item.score, item.number) for item in found] == [("cow", 0.75, 2), ("cat", 0.5, 0)]
    for item, want in zip(found, [(256, 64, 384, 96), (32, 224, 96, 256)], strict=True):
        assert overlap(item.box, want) > 0.99


def test_yolo_boxes_of_a_padded_picture() -> None:
    values = yolo([(160, 160, 320, 160, 1, 0.9), (160, 40, 300, 60, 1, 0.8)])
    padded = plan(TensorSpec("float32", (None, 320, 320, 3)), preset="yolov8")
    [item] = detections({"output0": values[None]}, (640, 320), preparation=padded)
    assert item.box == (0, 0, 640, 320)


def test_overlapping_boxes_of_one_class_are_one_object() -> None:
    rows = [(100, 100, 50, 50, 0, 0.9), (103, 100, 50, 50, 0, 0.95), (101, 100, 50, 50, 1, 0.8)]
    outputs = {"output0": yolo(rows, parts=True)[None]}
    assert [(item.number, round(item.score, 2)) for item in detections(outputs, (320, 320))] == [(0, 0.95), (1, 0.8)]
    assert len(detections(outputs, (320, 320), iou=0.95)) == 3
    assert len(detections(outputs, (320, 320), max_detections=1)) == 1


@pytest.mark.parametrize(("size", "shape"), [((640, 640), (84, 8400)), ((320, 640), (4200, 9))])
def test_yolo_is_recognised_by_the_number_of_anchors(size: tuple[int, int], shape: tuple[int, int]) -> None:
    specs = {"output0": TensorSpec("float32", (None, *shape))}
    reader = AnswerReader(specs, size=size)
    assert reader.decoder is not None
    assert reader.decoder.name == "yolov8"
    for other in ((size[0] + 32, size[1]), None):
        assert getattr(AnswerReader(specs, size=other, required=False).decoder, "name", "") != "yolov8"
    explicit = AnswerReader(specs, size=(size[0] + 32, size[1]), task="detect")
    assert getattr(explicit.decoder, "name", "") == "yolov8"


def test_the_number_of_names_is_that_of_yolos_classes() -> None:
    specs = {"output0": TensorSpec("float32", (None, 84, 8400))}
    with pytest.raises(ConfigError, match="80"):
        AnswerReader(specs, size=(640, 640), options=AnswerOptions(labels=NAMES))


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize(
    ("side", "classes", "preparation"),
    [(224, 1203, True), (224, 1203, False), (64, 365, True), (64, 31, True), (640, 80, False), (100, 3, False)],
)
def test_anchors_are_counted_not_compared_with_classes(side: int, classes: int, preparation: bool, parts: bool) -> None:
    sent = plan(TensorSpec("float32", (None, side, side, 3)), scale="unit") if preparation else None
    anchors = sum(math.ceil(side / stride) ** 2 for stride in (8, 16, 32))
    values = np.zeros((4 + classes, anchors), np.float32)
    values[0], values[1], values[2:4] = np.linspace(0.01, 0.99, anchors), 0.5, 0.1
    values[:4, 3], values[4 + classes - 1, 3] = (0.5, 0.5, 0.25, 0.5), 0.9
    values[:4] *= 1 if parts else side
    for array in (values, values.T):
        if parts or preparation:
            [item] = detections({"y": array[None]}, (200, 100), preparation=sent)
            assert item.number == classes - 1
            assert item.box == pytest.approx((75, 25, 125, 75), abs=0.01)
        else:  # no boxes rather than boxes in pixels of another tensor
            with pytest.raises(ConfigError, match="in pixels of the tensor, whose size is not known: preparation="):
                detections({"y": array[None]}, (side, side))


@pytest.mark.parametrize(
    ("shape", "side", "error", "text"),
    [
        ((84, 340), 64, DecodeError, "does not show which axis is that of the anchors of a tensor of 64x64 pixels"),
        ((700, 800), 640, DecodeError, "does not show which axis is that of the anchors"),
        ((1029, 2100), None, ConfigError, "which axis is that of the anchors: preparation= says how"),
    ],
)
def test_an_axis_that_the_shape_does_not_show_is_an_error(shape: Any, side: Any, error: Any, text: str) -> None:
    sent = None if side is None else plan(TensorSpec("float32", (None, side, side, 3)), scale="unit")
    with pytest.raises(error, match=text):
        detections({"y": np.full((1, *shape), 0.5, np.float32)}, (224, 224), preparation=sent)


def test_models_with_masks_are_not_read_as_boxes() -> None:
    specs = {
        "output0": TensorSpec("float32", (None, 116, 8400)),
        "output1": TensorSpec("float32", (None, 160, 160, 32)),
    }
    with pytest.raises(ConfigError, match="the outputs do not show"):
        AnswerReader(specs, size=(640, 640), task="detect")
    outputs = {"output0": yolo([], classes=35), "output1": np.zeros((80, 80, 32), np.float32)}
    with pytest.raises(DecodeError, match="YOLO model with masks"):
        detections(outputs, (320, 320), output="output0")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.zeros((25200, 85), np.float32), "25200 anchors, as YOLOv5 has them"),
        (np.zeros((6300, 85), np.float32), "6300 anchors, as YOLOv5 has them"),
        (yolo([(160, 80, 64, 32, 2, 7.5)]), "expected scores from 0 to 1 in output 'y', got 0 to 7.5"),
        (yolo([(160, 80, 64, 32, 2, -0.5)]), "expected scores from 0 to 1 in output 'y', got -0.5 to 0"),
        (yolo([(160, 80, 64, 32, 2, np.nan)]), "expected scores from 0 to 1 in output 'y', got NaN"),
        (yolo([(np.nan, 80, 64, 32, 2, 0.5)]), "expected numbers as boxes in output 'y'"),
        (yolo([(160, 80, 64, np.inf, 2, 0.5)]), "expected numbers as boxes in output 'y'"),
        (yolo([(160, 80, -64, 32, 2, 0.5)]), "expected boxes with edges in order"),
        (yolo([(160, 80, 64, 32, 2, 0.5)], size=640), "8400 anchors, which do not fit a tensor of 320x320 pixels"),
    ],
)
def test_what_is_not_yolov8_is_refused(values: Any, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        detections({"y": values[None]}, (320, 320), preparation=SQUARE)


def plain_suppression(boxes: Any, scores: Any, classes: Any, iou: float, most: int) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: (-scores[index], index)):
        rivals = [other for other in kept if classes[other] == classes[index]]
        if all(overlap(boxes[other], boxes[index]) <= iou for other in rivals) and len(kept) < most:
            kept.append(index)
    return kept


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(0, 12)] * 2, st.integers(0, 2), st.integers(0, 4)),
        max_size=25,
    ),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(1, 30),
)
def test_suppression_equals_the_plain_definition(rows: Any, iou: float, most: int) -> None:
    table = np.array(rows, np.float64).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    scores, classes = table[:, 5], table[:, 4]
    found = non_maximum_suppression(boxes, scores, classes, iou=iou, most=most)
    assert found == plain_suppression(boxes, scores, classes, iou, most)


# The call


def test_a_picture_is_a_file_or_a_pil_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # upright it is 20x40
    image.save(tmp_path / "turned.png", exif=exif)
    data = (tmp_path / "turned.png").read_bytes()
    opened = Image.open(io.BytesIO(data))
    for source in (tmp_path / "turned.png", data, opened, Image.new("L", (20, 40)), np.zeros((40, 20), "u1"), (20, 40)):
        assert detections(api(), source).items[0].box == (10, 10, 20, 30)
    sideways = plan(IMAGE, exif=False)
    assert detections(api(), opened, preparation=sideways).items[0].box == (20, 5, 40, 15)
    with pytest.raises(ImageError, match=r"size as \(width, height\), got \(0, 4\)"):
        detections(api(), (0, 4))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_score": 2}, "min_score from 0 to 1, got 2"),
        ({"iou": -1}, "iou from 0 to 1, got -1"),
        ({"max_detections": 0}, "max_detections as a whole number above 0, got 0"),
        ({"output": "nothing"}, "unknown output 'nothing'"),
        ({"min_score": "x"}, "min_score from 0 to 1, got 'x'"),
        ({"output": 1}, "output as the alias of an output, got 1"),
        ({"index": "0"}, "index below 1, .* got '0'"),
        ({"index": 0.5}, "index below 1, .* got 0.5"),
        ({"preparation": "crop"}, "preparation as images.plan returns it, got 'crop'"),
        *(
            ({"labels": labels}, r"labels as images\.read_labels\(path\) or images\.Labels\(")
            for labels in (["cat"], {0: "cat"}, "file.txt")
        ),
    ],
)
def test_options_out_of_range_are_named(options: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        detections(api(), (9, 9), **options)


@pytest.mark.parametrize(
    ("prediction", "text"),
    [
        (None, "expected a prediction, or arrays by the aliases of outputs, got None"),
        (np.zeros(3), "expected a prediction, or arrays by the aliases of outputs, got array"),
        ({"p": [0.25, 0.75]}, r"expected numpy arrays as outputs, got \[0.25, 0.75\] as 'p'"),
    ],
)
def test_what_is_not_a_prediction_is_refused(prediction: Any, text: str) -> None:
    calls: list[Any] = [lambda: detections(prediction, (9, 9)), lambda: segmentation(prediction, (9, 9))]
    for call in [
        *calls,
        lambda: classify(prediction),
        lambda: AnswerReader({}, required=False)(prediction, Geometry.unknown((9, 9))),
    ]:
        with pytest.raises(ConfigError, match=text):
            call()


def test_outputs_in_no_known_layout_are_listed() -> None:
    with pytest.raises(ConfigError, match="do not show detections: y: float32"):
        detections({"y": np.zeros((1, 3), np.float32)}, (9, 9))


def test_a_layout_of_the_users_own_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfs_client.images import Detection, register, registry

    class Corners:
        """One box as left, top, right, bottom in pixels of the tensor."""

        name = "corners"
        task = "detect"

        def candidates(self, specs: Any, size: Any, *, explicit: bool) -> list[str]:
            return ["corners"] if "corners" in specs and specs["corners"].shape == (4,) else []

        def classes(self, specs: Any, size: Any, options: AnswerOptions) -> int | None:
            return 1

        def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Detections:
            left, top, right, bottom = geometry.to_source(outputs["corners"][None])[0].tolist()
            return Detections([Detection("thing", 1.0, 0, (left, top, right, bottom))], geometry.source, self.name)

    monkeypatch.setattr(registry, "_registered", [])
    register(Corners())
    outputs = {"corners": np.float32([[0, 16, 64, 48]])}
    assert detections(outputs, (200, 100), preparation=PADDED).items[0].box == (0, 0, 200, 100)
    reader = AnswerReader({"corners": TensorSpec("float32", (None, 4))}, size=(64, 64))
    answer = reader({"corners": outputs["corners"][0]}, PADDED.geometry((200, 100)))
    assert isinstance(answer, Detections)
    assert answer.layout == "corners"
    with pytest.raises(ConfigError, match="expected 1 class names"):
        AnswerReader({"corners": TensorSpec("float32", (None, 4))}, options=AnswerOptions(labels=NAMES))


def test_the_registry_names_the_built_in_decoders() -> None:
    from tfs_client.images import registry

    for name, task, module, cls, _ in registry._BUILT_IN:
        decoder = getattr(import_module(f"tfs_client.images.{module}"), cls)
        assert (decoder.name, decoder.task) == (name, task)
