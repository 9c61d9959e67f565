"""The detector of drawn shapes finds them wherever and however they are drawn, and hardly anything else."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw

from tfs_client import InvalidArgumentError, PredictClient
from tfs_client.images import detections, read_labels
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS
from tfs_client.server.embedded.components import labelled
from tfs_client.server.embedded.ideal_shapes import NAMES
from tfs_client.server.embedded.shapes import LEAST_SCORE, MASK, MAX_PICTURES, MOST, Shape, shapes

EXAMPLES = Path(__file__).parents[3] / "examples"
SMOOTH = 3  # times larger than the finished picture; shrinking smooths the edges

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # top, left, bottom, right


def outline(name: str, centre: Point, radius: float, turn: float, form: float) -> list[Point]:
    """The corners of a shape about a centre, turned by radians; ``form`` from 0 to 1 varies it."""
    if name == "rectangle":
        half = 0.3 + 0.3 * form
        angles = [half, math.pi - half, math.pi + half, -half]
        radii = [radius] * 4
    elif name == "triangle":
        angles = [0, 1.9 + 0.4 * form, 4.4 - 0.4 * form]
        radii = [radius] * 3
    elif name == "star":
        angles = [step * math.pi / 5 for step in range(10)]
        radii = [radius, radius * (0.38 + 0.17 * form)] * 5
    else:
        count = {"circle": 120, "square": 4, "pentagon": 5, "hexagon": 6}[name]
        angles = [math.tau * step / count for step in range(count)]
        radii = [radius] * count
    return [
        (centre[0] + r * math.cos(turn + angle), centre[1] + r * math.sin(turn + angle))
        for r, angle in zip(radii, angles, strict=True)
    ]


def box_of(points: list[Point]) -> Box:
    x, y = zip(*points, strict=True)
    return min(y), min(x), max(y), max(x)


def ground(size: tuple[int, int], above: np.ndarray, below: np.ndarray) -> Image.Image:
    """A ground that changes softly from one colour to another."""
    part = np.linspace(0, 1, size[1] * SMOOTH)[:, None, None]
    column = np.uint8(above * (1 - part) + below * part)
    return Image.fromarray(np.tile(column, (1, size[0] * SMOOTH, 1)))


def drawn(image: Image.Image, points: list[Point], colour: tuple[int, ...]) -> None:
    ImageDraw.Draw(image).polygon([(x * SMOOTH, y * SMOOTH) for x, y in points], fill=colour)


def finished(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((image.width // SMOOTH, image.height // SMOOTH), Image.Resampling.LANCZOS))


def scene(seed: int, size: tuple[int, int] = (400, 300)) -> tuple[np.ndarray, list[tuple[str, Box]]]:
    """A picture of shapes at random, and their names and boxes."""
    rng = random.Random(seed)
    above = np.array([rng.randrange(256) for _ in range(3)])
    below = np.clip(above + [rng.randrange(-50, 51) for _ in range(3)], 0, 255)
    image, places, truth = ground(size, above, below), [], []
    while len(truth) < 8:
        radius = rng.uniform(15, 45)
        x, y = (rng.uniform(radius + 3, side - radius - 3) for side in size)
        colour = tuple(rng.randrange(256) for _ in range(3))
        apart = all(math.dist((x, y), place) > radius + other + 5 for place, other in places)
        contrast = min(np.abs(colour - ground).max() for ground in (above, (above + below) / 2, below))
        if not apart or contrast < 40:
            continue
        name = rng.choice(NAMES)
        points = outline(name, (x, y), radius, rng.uniform(0, math.tau), rng.random())
        drawn(image, points, colour)
        places.append(((x, y), radius))
        truth.append((name, box_of(points)))
    return finished(image), truth


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, height) * max(0.0, width)
    return common / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - common)


def found_in(found: list[Shape], name: str, box: Box) -> bool:
    return any(shape.name == name and overlap(shape.box, box) >= 0.9 for shape in found)


def test_shapes_in_drawn_scenes_are_found() -> None:
    hits = total = surplus = 0
    for seed in range(4):
        picture, truth = scene(seed)
        found = shapes(picture)
        hits += sum(found_in(found, name, box) for name, box in truth)
        total += len(truth)
        surplus += max(0, len(found) - len(truth))
    assert hits >= 0.95 * total
    assert surplus == 0


@given(
    name=st.sampled_from(NAMES),
    radius=st.floats(24, 45),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    turn=st.floats(0, math.tau),
    form=st.floats(0, 1),
    dark=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_a_shape_is_found_at_any_place_and_angle(
    name: str, radius: float, place: Point, turn: float, form: float, dark: bool
) -> None:
    width, height = 160, 120
    x, y = (radius + 3 + part * (side - 2 * radius - 6) for part, side in zip(place, (width, height), strict=True))
    points = outline(name, (x, y), radius, turn, form)
    image = ground((width, height), np.full(3, 200), np.full(3, 230))
    drawn(image, points, (30, 60, 120) if dark else (255, 120, 60))
    found = shapes(finished(image))
    assert [shape.name for shape in found] == [name]
    assert overlap(found[0].box, box_of(points)) >= 0.9
    assert LEAST_SCORE <= found[0].score <= 1


@pytest.fixture(scope="module")
def client() -> Iterator[PredictClient]:
    with Server() as server:
        server.add_model("shapes", MODELS["shapes"]())
        with PredictClient(server.target, model="shapes", timeout=20) as client:
            yield client


SCENE = [
    ("circle", (68, 64, 292, 288)),
    ("circle", (442, 648, 558, 764)),
    ("circle", (42, 356, 114, 428)),
    ("triangle", (328, 308, 540, 528)),
    ("square", (156, 366, 272, 482)),
    ("rectangle", (288, 655, 376, 777)),
    ("pentagon", (320, 542, 426, 646)),
    ("hexagon", (392, 70, 552, 226)),
    ("star", (59, 525, 263, 731)),
    ("star", (313, 224, 400, 307)),
]


def test_the_example_scene_has_ten_shapes(client: PredictClient) -> None:
    picture = np.asarray(Image.open(EXAMPLES / "scene.png"))
    prediction = client.predict(picture[np.newaxis])
    assert prediction["num_detections"].tolist() == [10]
    assert (np.diff(prediction["detection_scores"][0, :10]) <= 0).all()
    assert not prediction["detection_scores"][0, 10:].any()
    assert not prediction["detection_boxes"][0, 10:].any()
    left = list(SCENE)
    for detection in detections(prediction, picture, labels=read_labels(EXAMPLES / "shape-labels.json")):
        x1, y1, x2, y2 = detection.box
        match = next(shape for shape in left if overlap((y1, x1, y2, x2), shape[1]) > 0.97)
        assert detection.label == match[0]
        left.remove(match)
    assert left == []


def test_masks_cover_their_shapes(client: PredictClient) -> None:
    picture = np.asarray(Image.open(EXAMPLES / "scene.png"))
    prediction = client.predict(picture[np.newaxis])
    assert prediction["detection_masks"].shape == (1, MOST, MASK, MASK)
    star = prediction["detection_classes"][0].tolist().index(1 + NAMES.index("star"))  # the large yellow one
    top, left, bottom, right = np.rint(prediction["detection_boxes"][0, star] * [600, 800, 600, 800]).astype(int)
    mask = Image.fromarray(np.uint8(prediction["detection_masks"][0, star] * 255))
    covered = np.asarray(mask.resize((right - left, bottom - top), Image.Resampling.BILINEAR)) > 127
    yellow = picture[top:bottom, left:right, 2] < 128
    assert (covered & yellow).sum() / (covered | yellow).sum() > 0.9


def test_a_batch_gives_the_answers_of_its_pictures(client: PredictClient) -> None:
    batch = np.stack([scene(1)[0], np.full((300, 400, 3), 90, np.uint8), scene(2)[0]])
    together = client.predict(batch)
    assert together["num_detections"].tolist() == [8, 0, 8]
    for row, picture in enumerate(batch):
        alone = client.predict(picture[np.newaxis])
        for alias, array in alone.items():
            np.testing.assert_array_equal(together[alias][row], array[0], alias)


def test_a_large_picture_gives_the_same_parts_of_the_picture(client: PredictClient) -> None:
    small, truth = scene(3, (320, 240))
    large = np.asarray(Image.fromarray(small).resize((1601, 1203), Image.Resampling.NEAREST))
    prediction = client.predict(large[np.newaxis])
    boxes = prediction["detection_boxes"][0] * [240, 320, 240, 320]
    assert prediction["num_detections"].tolist() == [8]
    for _, box in truth:
        assert max(overlap(tuple(other), box) for other in boxes) >= 0.9


def test_a_shape_within_a_shape_is_found_and_an_outline_is_not_a_second_one() -> None:
    image = ground((200, 200), np.full(3, 240), np.full(3, 240))
    for radius, colour in ((80, (20, 20, 20)), (72, (200, 60, 60)), (25, (40, 60, 200))):
        drawn(image, outline("circle", (100, 100), radius, 0, 0), colour)
    found = shapes(finished(image))
    assert sorted((shape.name, shape.box[2] - shape.box[0]) for shape in found) == [("circle", 50), ("circle", 160)]


def test_a_shape_that_the_border_cuts_off_is_left_out() -> None:
    image = ground((200, 120), np.full(3, 240), np.full(3, 240))
    drawn(image, outline("circle", (10, 60), 40, 0, 0), (200, 60, 60))
    drawn(image, outline("circle", (130, 60), 40, 0, 0), (200, 60, 60))
    assert [(shape.name, shape.box[1]) for shape in shapes(finished(image))] == [("circle", 90)]


def test_noise_has_no_shapes() -> None:
    rng = np.random.default_rng(1)
    assert shapes(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)) == []


def test_a_picture_of_something_else_has_few_shapes() -> None:
    assert len(shapes(np.asarray(Image.open(EXAMPLES / "pupper.jpg")))) < 10


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6).map(lambda shape: (*shape, 3))))
@settings(max_examples=10, deadline=None)
def test_boxes_lie_within_any_picture(cells: np.ndarray) -> None:
    picture = cells.repeat(12, axis=0).repeat(12, axis=1)
    for shape in shapes(picture):
        top, left, bottom, right = shape.box
        assert 0 <= top < bottom <= picture.shape[0]
        assert 0 <= left < right <= picture.shape[1]
        assert shape.mask.shape == (bottom - top, right - left)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2)])
def test_pictures_of_odd_sizes_have_no_shapes(client: PredictClient, size: tuple[int, int]) -> None:
    prediction = client.predict(np.zeros((2, *size, 3), np.uint8))
    assert prediction["num_detections"].tolist() == [0, 0]
    assert prediction["detection_boxes"].shape == (2, MOST, 4)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 0, 5, 3), "has no pixels"),
        ((MAX_PICTURES + 1, 1, 1, 3), "is too large: at most 64 pictures"),
    ],
)
def test_impossible_requests_are_refused(client: PredictClient, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        client.predict(np.zeros(shape, np.uint8))


def flooded(mask: np.ndarray) -> np.ndarray:
    """Patches of a mask by a flood fill, numbered in reading order."""
    labels, count = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        count += 1
        stack = [start]
        while stack:
            y, x = stack.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not labels[y, x]:
                labels[y, x] = count
                stack += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return labels


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
@settings(max_examples=20, deadline=None)
def test_patches_are_those_of_a_flood_fill(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(labelled(mask), flooded(mask))


def test_teeth_of_a_comb_are_one_patch() -> None:
    mask = np.zeros((50, 401), bool)
    mask[:, ::2] = True
    assert labelled(mask).max() == 201
    mask[-1] = True
    assert labelled(mask).max() == 1
