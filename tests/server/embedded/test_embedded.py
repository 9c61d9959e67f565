"""The demo models work as documented, over the wire, and refuse invalid inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfs_client.server.embedded.digits as digits_module
from tfs_client import InvalidArgumentError, PredictClient
from tfs_client.images import load_image, plan, to_array
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS
from tfs_client.signatures import CLASSIFY, PREDICT, REGRESS

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def client() -> Iterator[PredictClient]:
    with Server() as server:
        for name, signatures in MODELS.items():
            server.add_model(name, signatures())
        with PredictClient(server.target, timeout=20) as client:
            yield client


def serialized(**features: list[float]) -> bytes:
    example = Example()
    for name, values in features.items():
        example.features.feature[name].float_list.value.extend(values)
    return example.SerializeToString()


def test_every_model_has_a_default_signature_for_predict() -> None:
    assert sorted(MODELS) == ["colors", "digits", "half_plus_two", "segment", "shapes"]
    for signatures in MODELS.values():
        assert signatures()["serving_default"].method_name == PREDICT
    assert MODELS["digits"]()["classify"].method_name == CLASSIFY
    assert MODELS["half_plus_two"]()["regress_x_to_y"].method_name == REGRESS


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 2)])
def test_half_plus_two_takes_any_shape(client: PredictClient, shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    y = client.predict(x, model="half_plus_two").array
    np.testing.assert_array_equal(y, x / 2 + 2)
    assert y.shape == shape


@pytest.mark.parametrize(("signature", "output"), [("regress_x_to_y", "outputs"), ("classify_x_to_y", "scores")])
def test_half_plus_two_reads_examples(client: PredictClient, signature: str, output: str) -> None:
    examples = [serialized(x=[2.0]), serialized(x=[10.0], other=[1.0])]
    prediction = client.predict({"inputs": examples}, model="half_plus_two", signature=signature)
    assert prediction[output].tolist() == [[3.0], [7.0]]


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (serialized(y=[1.0]), r"Example 1: Feature: x \(data type: float\) is required but could not be found"),
        (serialized(x=[1.0, 2.0]), "expected 1 values, got 2"),
        (b"\xff no example", "expected a serialized Example, got"),
    ],
)
def test_bad_examples_are_named_by_their_index(client: PredictClient, example: bytes, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        client.predict({"inputs": [serialized(x=[1.0]), example]}, model="half_plus_two", signature="regress_x_to_y")


def test_an_example_with_another_type_is_refused(client: PredictClient) -> None:
    example = Example()
    example.features.feature["x"].int64_list.value.append(1)
    with pytest.raises(InvalidArgumentError, match="wrong type: expected float_list, got int64_list"):
        client.predict({"inputs": [example.SerializeToString()]}, model="half_plus_two", signature="regress_x_to_y")


def drawn_digit(resample: Image.Resampling) -> np.ndarray:
    image = Image.open(EXAMPLES / "digit.png").convert("L").resize((8, 8), resample)
    return np.asarray(image, np.float32).reshape(1, 8, 8, 1) / 255


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BOX, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("polarity", ["bright on dark", "dark on bright"])
def test_the_drawn_digit_is_a_three(client: PredictClient, resample: Image.Resampling, polarity: str) -> None:
    image = drawn_digit(resample)
    prediction = client.predict({"image": image if polarity == "bright on dark" else 1 - image}, model="digits")
    assert prediction["digit"].tolist() == [3]
    assert prediction["probabilities"].shape == (1, 10)
    assert prediction["probabilities"].sum() == pytest.approx(1)


ZERO = """
..####..
.##..##.
##....##
##....##
##....##
##....##
.##..##.
..####..
"""
ONE = """
...##...
..###...
.####...
...##...
...##...
...##...
...##...
...##...
"""


def test_plain_digits_are_distinguished(client: PredictClient) -> None:
    rows = [[float(c == "#") for c in picture if c in ".#"] for picture in (ZERO, ONE)]
    images = np.array(rows, np.float32).reshape(2, 8, 8, 1)
    assert client.predict({"image": images}, model="digits")["digit"].tolist() == [0, 1]


def test_digits_classifies_examples_best_first(client: PredictClient) -> None:
    pixels = drawn_digit(Image.Resampling.BILINEAR).reshape(-1).tolist()
    prediction = client.predict({"inputs": [serialized(image=pixels)]}, model="digits", signature="classify")
    assert prediction["classes"][0, 0] == b"3"
    assert sorted(prediction["classes"][0].tolist()) == [b"%d" % digit for digit in range(10)]
    assert (np.diff(prediction["scores"][0]) <= 0).all()


def test_digits_refuses_other_sizes(client: PredictClient) -> None:
    with pytest.raises(InvalidArgumentError, match=r"image must have shape \(\?, 8, 8, 1\), got \(1, 28, 28, 1\)"):
        client.predict({"image": np.zeros((1, 28, 28, 1), np.float32)}, model="digits")


def test_the_weights_are_small() -> None:
    assert (Path(digits_module.__file__).parent / digits_module.WEIGHTS).stat().st_size < 200_000


def disc(height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on a green ground, and which pixels it covers."""
    rows, columns = np.ogrid[:height, :width]
    inside = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2
    return np.where(inside[..., None], np.uint8([200, 30, 30]), np.uint8([60, 160, 70])), inside


def segmented(client: PredictClient, image: np.ndarray, height: int, width: int) -> np.ndarray:
    inputs = {"image": image[np.newaxis], "height": np.int64(height), "width": np.int64(width)}
    return client.predict(inputs, model="segment").array


def test_segment_finds_a_disc(client: PredictClient) -> None:
    image, inside = disc()
    found = segmented(client, image, 90, 120)
    assert found.shape == (1, 90, 120)
    assert found.dtype == np.int64
    overlap = (found[0] == 1) & inside
    assert overlap.sum() / ((found[0] == 1) | inside).sum() > 0.9


def test_segment_returns_a_map_of_the_requested_size(client: PredictClient) -> None:
    image, _ = disc()
    assert segmented(client, image, 45, 33).shape == (1, 45, 33)
    assert (segmented(client, image, 180, 240)[0, ::2, ::2] == segmented(client, image, 90, 120)[0]).mean() > 0.98


def test_segment_finds_the_puppy_in_the_foreground(client: PredictClient) -> None:
    image = np.asarray(load_image(EXAMPLES / "pupper.jpg"))
    found = segmented(client, image, *image.shape[:2])[0]
    assert found[300, 320] == found[150, 220] == 1  # chest, and an ear
    assert found[30, 30] == found[460, 30] == 0  # sky and grass
    assert 0.15 < found.mean() < 0.5


def test_segment_is_deterministic_and_takes_the_smallest_pictures(client: PredictClient) -> None:
    image, _ = disc()
    np.testing.assert_array_equal(segmented(client, image, 90, 120), segmented(client, image, 90, 120))
    assert segmented(client, np.zeros((1, 1, 3), np.uint8), 1, 1).tolist() == [[[0]]]


@pytest.mark.parametrize(
    ("height", "width", "text"), [(0, 5, "height must be positive, got 0"), (1 << 20, 1 << 20, "is too large")]
)
def test_segment_refuses_impossible_sizes(client: PredictClient, height: int, width: int, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        segmented(client, disc()[0], height, width)


@pytest.mark.parametrize(
    ("colour", "name"), [((220, 20, 30), b"red"), ((20, 60, 210), b"blue"), ((255, 255, 255), b"white")]
)
def test_colors_names_a_plain_picture(client: PredictClient, colour: tuple[int, int, int], name: bytes) -> None:
    image = np.full((1, 20, 30, 3), colour, np.uint8)
    prediction = client.predict(image, model="colors")
    assert prediction["classes"][0, 0] == name
    assert prediction["scores"][0, 0] == 1


def test_colors_gives_shares_largest_first(client: PredictClient) -> None:
    image = np.zeros((1, 10, 10, 3), np.uint8)
    image[:, :3] = (220, 20, 30)
    prediction = client.predict(image, model="colors")
    assert prediction["classes"][0, :2].tolist() == [b"black", b"red"]
    np.testing.assert_allclose(prediction["scores"][0, :2], [0.7, 0.3], atol=1e-6)
    assert prediction["scores"].sum() == pytest.approx(1)


def test_models_accept_loaded_pictures(client: PredictClient) -> None:
    """As in tfs-predict, the signature determines how the file becomes a tensor."""
    spec = client.signatures(model="digits")["serving_default"].inputs["image"]
    image = to_array(load_image(EXAMPLES / "digit.png"), plan(spec))
    assert client.predict(image, model="digits")["digit"].tolist() == [3]
