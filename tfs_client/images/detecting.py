"""``detections`` and ``segmentation``: from a prediction to what is where in a picture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from PIL import Image

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, DecodeError, ImageError
from tfs_client.images.answers import Answer
from tfs_client.images.argument_checks import is_whole
from tfs_client.images.decoders import AnswerOptions, specs_of, without_batch
from tfs_client.images.geometry import Geometry, Size
from tfs_client.images.labels import Labels
from tfs_client.images.loading import ORIENTATION, Source, load_image
from tfs_client.images.objects import Detections
from tfs_client.images.prediction_checks import check_index, check_outputs
from tfs_client.images.preparation import Preparation
from tfs_client.images.reading import AnswerReader
from tfs_client.images.registry import candidates_of, decoder_for
from tfs_client.images.segments import Segmentation


class AssumedLabelsWarning(UserWarning):
    """Warns that the names of classes may be shifted: neither the model nor an offset decides where they start."""


def detections(
    prediction: Mapping[str, Array],
    image: Source | Size,
    *,
    preparation: Preparation | None = None,
    labels: Labels | None = None,
    min_score: float = 0.25,
    max_detections: int = 100,
    iou: float = 0.45,
    output: str = "",
    index: int = 0,
) -> Detections:
    """Return the objects that a model found in a picture, with boxes in pixels of the picture.

    Args:
        prediction: the model's outputs, with or without the batch axis, in a layout that a decoder knows: that of the
            TensorFlow Object Detection API, that of YOLOv8, or one added by ``register``.
        image: the picture: any source of ``load_image``, or only its width and height, turned upright.
        preparation: how the picture was sent. Boxes in pixels of the tensor (YOLO) need it, and so do cropped and
            padded pictures. Without it, the picture is taken to be stretched to the tensor, or sent as it is.
        labels: class names, from ``read_labels``.
        min_score: the least score.
        max_detections: the largest number of detections; the best remain.
        iou: boxes of one class that overlap more than this are one object. Only for layouts that leave this to callers.
        output: the alias of the output that is meant, if several have the layout.
        index: the picture's place in the batch.

    Raises ConfigError if no decoder knows the outputs, for labels and options that do not fit or have another type, and
    without a preparation that is needed; DecodeError for outputs that contradict their layout, e.g. with NaN;
    ImageError if the picture cannot be read. Issues an AssumedLabelsWarning if labels without an offset may be shifted.
    """
    options = AnswerOptions(labels=labels, min_score=min_score, max_detections=max_detections, iou=iou, output=output)
    found = _answer(prediction, image, preparation, "detect", options, index)
    if not isinstance(found, Detections):
        raise DecodeError(f"expected detections from the decoder, got {type(found).__name__}")
    return found


def segmentation(
    prediction: Mapping[str, Array],
    image: Source | Size,
    *,
    preparation: Preparation | None = None,
    labels: Labels | None = None,
    top: int = 5,
    output: str = "",
    index: int = 0,
) -> Segmentation:
    """Return the label that a model gave to each pixel of a picture.

    Args:
        prediction: the model's outputs, with or without the batch axis: integers (height, width), or floats (height,
            width, labels).
        image: the picture: any source of ``load_image``, or only its width and height, turned upright.
        preparation: how the picture was sent, if it was cropped or padded. By default it was stretched to the tensor,
            or sent as it is.
        labels: the names of the labels, from ``read_labels``.
        top: the largest number of shares.
        output: the alias of the output that is meant, if several are maps.
        index: the picture's place in the batch.

    Raises ConfigError if no output is a map, and for labels that do not fit; DecodeError for outputs that contradict
    their layout, e.g. with NaN; ImageError if the picture cannot be read.
    """
    options = AnswerOptions(labels=labels, top=top, output=output)
    found = _answer(prediction, image, preparation, "segment", options, index)
    if not isinstance(found, Segmentation):
        raise DecodeError(f"expected a segmentation from the decoder, got {type(found).__name__}")
    return found


def _answer(
    prediction: Mapping[str, Array],
    image: Source | Size,
    preparation: Preparation | None,
    task: str,
    options: AnswerOptions,
    index: int,
) -> Answer | None:
    check_outputs(prediction)
    if preparation is not None and not isinstance(preparation, Preparation):
        raise ConfigError(f"expected preparation as images.plan returns it, got {shown(preparation)}")
    size = _size(image, exif=preparation is None or preparation.exif)
    geometry = Geometry.unknown(size) if preparation is None else preparation.geometry(size)
    sent = None if preparation is None else geometry.target
    outputs = _of_one(prediction, sent, task, options.output, index)
    reader = AnswerReader(specs_of(outputs), batch=False, size=sent, task=task, options=options)
    answer = reader(outputs, geometry)
    for sentence in reader.assumed:
        warnings.warn(sentence, AssumedLabelsWarning, stacklevel=3)
    return answer


def _size(image: Source | Size, *, exif: bool) -> Size:
    """Return width and height of a picture as ``load_image`` returns it."""
    if isinstance(image, tuple):
        if len(image) != 2 or not all(isinstance(side, int) and side > 0 for side in image):
            raise ImageError(f"expected a picture's size as (width, height), got {shown(image)}")
        return image
    if not isinstance(image, Image.Image):
        return load_image(image, exif=exif).size
    sideways = exif and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if sideways else image.size


def _of_one(
    prediction: Mapping[str, Array], size: Size | None, task: str, output: str, index: int
) -> Mapping[str, Array]:
    """Return the outputs for one picture: without the batch axis, if the layout shows that they have one."""
    specs = specs_of(prediction)
    rows = without_batch(specs)
    decoder = decoder_for(rows, size=size, task=task, output=output)
    if decoder is None or decoder_for(specs, size=size, task=task, output=output) is not None:
        if not is_whole(index) or index != 0:
            raise ConfigError(f"expected index 0, as the outputs have no batch axis, got {shown(index)}")
        return prediction
    count = len(prediction[candidates_of(decoder, rows, size, explicit=True, output=output)[0]])
    check_index(index, count)
    return {alias: array[index] if array.ndim and len(array) == count else array for alias, array in prediction.items()}
