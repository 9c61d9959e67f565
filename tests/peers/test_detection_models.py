"""SavedModels in the layouts of real detectors, served by tfs-serve: things are found where they were drawn."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from peers.exported import quiet
from PIL import Image, ImageDraw
from served_program import Program

from tfs_client import PredictClient
from tfs_client.images import Labels, detections, plan, segmentation, to_array
from tfs_client.images.boxes import non_maximum_suppression, overlaps

pytestmark = pytest.mark.peer

SCRIPT = Path(__file__).parents[2] / "scripts" / "export_detectors.py"
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
NAMES = {"yolov8": Labels(dict(enumerate(COLOURS))), "api": Labels(dict(enumerate(COLOURS)), -1)}
SIZES = [(640, 480), (641, 479), (333, 1000), (1201, 407), (320, 320)]
LARGE = (1280, 1280)  # of tensors; an outline is as exact as its pixels
FITS = ["stretch", "pad", "crop"]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    base = tmp_path_factory.mktemp("detectors")
    spec = spec_from_file_location("export_detectors", SCRIPT)
    module = module_from_spec(spec)
    with quiet():
        spec.loader.exec_module(module)
        module.export(base)
    config = base / "models.config"
    config.write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "{name}" base_path: "{base / name}" model_platform: "tensorflow" }}'
            for name in ("api", "yolov8", "deeplab")
        )
        + "}"
    )
    program = Program(base, f"--model_config_file={config}")
    with PredictClient(program.target, timeout=60) as client:
        yield client
    program.close()


def scene(size, *, ellipses=False):
    """A grey picture with a red, a green and a blue thing in its middle, and their boxes."""
    width, height = size
    middle, side = (width / 2, height / 2), min(size)
    image = Image.new("RGB", size, (90, 90, 90))
    drawing = ImageDraw.Draw(image)
    boxes = {}
    for name, (left, top, right, bottom) in zip(
        COLOURS, [(-0.45, -0.4, -0.02, 0.1), (0.05, -0.3, 0.45, 0.42), (-0.4, 0.13, 0.0, 0.45)], strict=True
    ):
        edges = [round(middle[axis % 2] + part * side) for axis, part in enumerate((left, top, right, bottom))]
        shape = drawing.ellipse if ellipses else drawing.rectangle
        shape((edges[0], edges[1], edges[2] - 1, edges[3] - 1), fill=COLOURS[name])
        boxes[name] = edges
    return image, boxes


def painted(image, name):
    return (np.asarray(image) == COLOURS[name]).all(axis=2)


def iou(left, right):
    return float(overlaps(np.array(left, float), np.array([right], float))[0])


def mask_iou(left, right):
    return (left & right).sum() / (left | right).sum()


def found_by(client, model, image, preparation, *, signature="serving_default", **options):
    alias = next(iter(client.signatures(model=model)[signature].inputs))
    prediction = client.predict({alias: to_array(image, preparation)}, model=model, signature=signature)
    return detections(prediction, image, preparation=preparation, labels=NAMES[model], **options)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", [*FITS, None])
def test_the_object_detection_api(client, size, fit):
    image, boxes = scene(size)
    spec = client.signatures(model="api")["serving_default"].inputs["input_tensor"]
    preparation = plan(spec) if fit is None else plan(spec, size=(640, 640), fit=fit)
    found = found_by(client, "api", image, preparation)
    assert found.layout == "object-detection-api"
    assert [item.label for item in found] == list(COLOURS)
    assert [item.score for item in found] == pytest.approx([0.9, 0.8, 0.7])
    assert [item.number for item in found] == [1, 2, 3]
    for item in found:
        assert iou(item.box, boxes[item.label]) >= 0.99


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("signature", ["serving_default", "reframed"])
def test_masks_of_the_object_detection_api(client, size, fit, signature):
    image, boxes = scene(size, ellipses=True)
    spec = client.signatures(model="api")["serving_default"].inputs["input_tensor"]
    found = found_by(client, "api", image, plan(spec, size=LARGE, fit=fit), signature=signature)
    assert len(found) == 3
    for item in found:
        assert iou(item.box, boxes[item.label]) >= 0.98  # an ellipse touches its box in a few pixels
        assert mask_iou(item.mask.full(size), painted(image, item.label)) >= 0.99


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("signature", ["serving_default", "parts"])
def test_yolov8(client, size, fit, signature):
    image, boxes = scene(size)
    spec = client.signatures(model="yolov8")["serving_default"].inputs["images"]
    preparation = plan(spec, scale="unit", fit=fit, pad_value=114 if fit == "pad" else None)
    found = found_by(client, "yolov8", image, preparation, signature=signature)
    assert found.layout == "yolov8"
    assert [item.label for item in found] == list(COLOURS)
    for item in found:
        assert iou(item.box, boxes[item.label]) >= 0.99
    everything = found_by(client, "yolov8", image, preparation, signature=signature, iou=1.0)
    assert len(everything) > 20  # what suppression removes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("signature", ["serving_default", "scores"])
def test_deeplab(client, size, fit, signature):
    image, _ = scene(size, ellipses=True)
    spec = client.signatures(model="deeplab")["serving_default"].inputs["image"]
    preparation = plan(spec, size=LARGE, fit=fit)
    prediction = client.predict({"image": to_array(image, preparation)}, model="deeplab", signature=signature)
    labels = Labels(dict(enumerate(["background", *COLOURS, "x", "y"])))
    found = segmentation(prediction, image, preparation=preparation, labels=labels)
    drawn = {name: painted(image, name) for name in COLOURS}
    seen = found.picture_map >= 0
    assert seen.all() == (fit != "crop" or size[0] == size[1])
    for number, name in enumerate(COLOURS, start=1):
        assert mask_iou(found.picture_map == number, drawn[name] & seen) >= 0.99
        share = next(share for share in found.shares if share.label == name)
        assert share.share == pytest.approx(drawn[name].sum() / seen.sum(), rel=0.01)


def test_suppression_equals_tensorflows(tf):
    random = np.random.default_rng(0)
    for count in (1, 10, 300):
        corners = random.uniform(0, 100, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)
        scores = random.permutation(count).astype(np.float32) / count
        for limit in (0.1, 0.45, 0.9):
            want = tf.image.non_max_suppression(boxes[:, [1, 0, 3, 2]], scores, 50, limit).numpy().tolist()
            found = non_maximum_suppression(boxes.astype(float), scores, np.zeros(count), iou=limit, most=50)
            assert found == want
