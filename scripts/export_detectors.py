"""Writes models that find coloured things, in the output layouts of real detectors. Needs TensorFlow.

They are not neural networks: they look for red, green and blue, so that tests know what they should find.

Usage: python scripts/export_detectors.py models. It writes

    models/api/1        the layout of the TensorFlow Object Detection API; pictures of any size.
                        The signature "reframed" has its masks in the size of the tensor.
    models/yolov8/1     the layout of YOLOv8 for 320x320, before non-maximum suppression.
                        The signature "parts" has boxes from 0 to 1, and is transposed.
    models/deeplab/1    a map of labels; the signature "scores" has scores for each pixel and label
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import tensorflow as tf

CLASSES = ("red", "green", "blue")
SCORES = (0.9, 0.8, 0.7)
PADDING = 2  # rows beyond num_detections, as the API has them
GRID = 56  # cells a side of a mask
FINER = 4  # samples a side of a cell
SIDE = 320  # pixels a side of the tensor of YOLOv8
LABELS = 6  # of the map: the background, three colours and two that never occur


def colours(pixels: Any) -> Any:
    """How red, green and blue each pixel is, (batch, 3, height, width), from pixels of 0 to 1."""
    red, green, blue = tf.unstack(pixels, axis=3)
    pure = [red - tf.maximum(green, blue), green - tf.maximum(red, blue), blue - tf.maximum(red, green)]
    return tf.clip_by_value(tf.stack(pure, axis=1), 0.0, 1.0)


def extents(found: Any, axis: int) -> tuple[Any, Any]:
    """First and last edge of each colour along an axis, to a fraction of a pixel, (batch, 3).

    A pixel that the thing covers by half is half as coloured, so the sum of a row is the thing's width.
    """
    profile = tf.reduce_max(found, axis=axis)
    width = tf.reduce_sum(profile, axis=2)
    places = tf.range(tf.shape(profile)[2])
    centre = tf.reduce_sum(profile * (tf.cast(places, tf.float32) + 0.5), axis=2) / tf.maximum(width, 1e-6)
    return centre - width / 2, centre + width / 2


def things(pixels: Any) -> tuple[Any, Any, Any, Any]:
    """Boxes (batch, 3, 4) as left, top, right, bottom in pixels, whether there is a thing, and the colours."""
    found = colours(pixels)
    left, right = extents(found, 2)
    top, bottom = extents(found, 3)
    boxes = tf.stack([left, top, right, bottom], axis=2)
    present = (right - left > 1) & (bottom - top > 1)
    return boxes, present, found, tf.cast(tf.shape(pixels)[1:3], tf.float32)


class Api(tf.Module):
    """The TensorFlow Object Detection API, with masks."""

    def outputs(self, pixels: Any, reframed: bool) -> dict[str, Any]:
        boxes, present, found, size = things(tf.cast(pixels, tf.float32) / 255)
        parts = tf.stack([boxes[:, :, 1], boxes[:, :, 0], boxes[:, :, 3], boxes[:, :, 2]], axis=2)
        parts /= tf.concat([size, size], 0)
        order = tf.argsort(tf.cast(present, tf.int32), axis=1, direction="DESCENDING", stable=True)
        parts, present = (tf.gather(values, order, batch_dims=1) for values in (parts, present))
        found = tf.gather(found, order, batch_dims=1)
        scores = tf.gather(tf.constant(SCORES), order) * tf.cast(present, tf.float32)
        masks = tf.cast(found > 0.5, tf.uint8) if reframed else self.grids(found, parts, size)
        return {
            "detection_boxes": tf.pad(parts, [[0, 0], [0, PADDING], [0, 0]]),
            "detection_scores": tf.pad(scores, [[0, 0], [0, PADDING]]),
            "detection_classes": tf.pad(tf.cast(order + 1, tf.float32), [[0, 0], [0, PADDING]], constant_values=1.0),
            "num_detections": tf.reduce_sum(tf.cast(present, tf.float32), axis=1),
            "detection_masks": tf.pad(masks, [[0, 0], [0, PADDING], [0, 0], [0, 0]]),
            "raw_detection_boxes": parts,
        }

    def grids(self, found: Any, parts: Any, size: Any) -> Any:
        """The mean colours of the cells of a grid over each box, (batch, 3, GRID, GRID)."""
        batch = tf.shape(found)[0]
        half = (parts[:, :, 2:] - parts[:, :, :2]) / (2 * GRID * FINER)
        inner = tf.concat([parts[:, :, :2] + half, parts[:, :, 2:] - half], axis=2)
        inner = (inner * tf.concat([size, size], 0) - 0.5) / (tf.concat([size, size], 0) - 1)
        planes = tf.reshape(found, [batch * 3, tf.shape(found)[2], tf.shape(found)[3], 1])
        cut = tf.image.crop_and_resize(planes, tf.reshape(inner, [-1, 4]), tf.range(batch * 3), [GRID * FINER] * 2)
        return tf.reshape(tf.nn.avg_pool2d(cut, FINER, FINER, "VALID"), [batch, 3, GRID, GRID])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")])
    def default(self, input_tensor: Any) -> dict[str, Any]:
        return self.outputs(input_tensor, reframed=False)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")])
    def reframed(self, input_tensor: Any) -> dict[str, Any]:
        return self.outputs(input_tensor, reframed=True)


class YoloV8(tf.Module):
    """YOLOv8: anchors near a thing have its box, the nearer the better, and a little too large the farther."""

    def values(self, images: Any) -> Any:
        boxes, present, _, _ = things(images)
        anchors, strides = [], []
        for stride in (8, 16, 32):
            places = (tf.range(SIDE // stride, dtype=tf.float32) + 0.5) * stride
            across, down = tf.meshgrid(places, places)
            anchors.append(tf.stack([tf.reshape(across, [-1]), tf.reshape(down, [-1])], axis=1))
            strides.append(tf.fill([(SIDE // stride) ** 2], float(stride)))
        anchor, stride = tf.concat(anchors, 0), tf.concat(strides, 0)
        centres = (boxes[:, :, :2] + boxes[:, :, 2:]) / 2
        distance = tf.norm(anchor[None, :, None] - centres[:, None], axis=3)  # (batch, anchors, 3)
        nearest = tf.reduce_min(distance, axis=1, keepdims=True)
        scores = tf.constant(SCORES) * tf.exp((nearest - distance) / 20) * tf.cast(present, tf.float32)[:, None]
        mine = tf.argmax(scores, axis=2)
        near = tf.reduce_max(scores, axis=2)[:, :, None] > 0.05
        sides = tf.gather(boxes[:, :, 2:] - boxes[:, :, :2], mine, batch_dims=1)
        middle = tf.gather(centres, mine, batch_dims=1)
        apart = tf.gather(distance - nearest, mine, batch_dims=2)[:, :, None]
        own = tf.broadcast_to(tf.stack([stride, stride], axis=1), tf.shape(sides))
        box = tf.where(
            near,
            tf.concat([middle, sides + apart / 10], axis=2),
            tf.concat([tf.broadcast_to(anchor, tf.shape(sides)), own], axis=2),
        )
        return tf.concat([box, scores], axis=2)

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, "images")])
    def default(self, images: Any) -> dict[str, Any]:
        return {"output0": tf.transpose(self.values(images), [0, 2, 1])}

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, "images")])
    def parts(self, images: Any) -> dict[str, Any]:
        values = self.values(images)
        return {"output0": tf.concat([values[:, :, :4] / SIDE, values[:, :, 4:]], axis=2)}


class DeepLab(tf.Module):
    """A map of labels: 0 for the ground, 1 to 3 for colours."""

    def scores_of(self, image: Any) -> Any:
        found = tf.transpose(colours(tf.cast(image, tf.float32) / 255), [0, 2, 3, 1])
        ground = tf.fill(tf.concat([tf.shape(found)[:3], [1]], 0), 0.5)
        return tf.pad(tf.concat([ground, found], axis=3), [[0, 0], [0, 0], [0, 0], [0, LABELS - 4]])

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, "image")])
    def default(self, image: Any) -> dict[str, Any]:
        return {"semantic": tf.argmax(self.scores_of(image), axis=3)}

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, "image")])
    def scores(self, image: Any) -> dict[str, Any]:
        return {"scores": self.scores_of(image)}


def export(folder: Path) -> None:
    """Write all models."""
    api, yolo, deeplab = Api(), YoloV8(), DeepLab()
    for name, module, signatures in (
        ("api", api, {"serving_default": api.default, "reframed": api.reframed}),
        ("yolov8", yolo, {"serving_default": yolo.default, "parts": yolo.parts}),
        ("deeplab", deeplab, {"serving_default": deeplab.default, "scores": deeplab.scores}),
    ):
        tf.saved_model.save(module, str(folder / name / "1"), signatures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    export(parser.parse_args().folder)
