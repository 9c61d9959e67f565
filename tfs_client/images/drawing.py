"""Drawing of answers on pictures: boxes, masks and label maps."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import ImageError
from tfs_client.images.answers import Answer
from tfs_client.images.argument_checks import is_number
from tfs_client.images.box_drawing import draw_detections
from tfs_client.images.colours import colours_of
from tfs_client.images.geometry import Geometry
from tfs_client.images.loading import MAX_PIXELS, STRIP, Path, load_image
from tfs_client.images.objects import Detections
from tfs_client.images.replacing import replacing
from tfs_client.images.segments import Segmentation

OPACITY = 0.55  # of label maps and masks
_READABLE = 240  # pixels a side; on smaller pictures names have no place


def draw(
    image: Image.Image,
    answer: Answer,
    *,
    opacity: float = OPACITY,
    enlarge: bool = True,
    font: str | os.PathLike[str] | None = None,
) -> Image.Image:
    """Return a copy of a picture, as RGB, with what a model found in it.

    Detections are boxes with names and scores, in a colour for each class; their masks are half transparent. The 300
    best have names. Of a segmentation every label but 0 is coloured.

    Args:
        image: the picture that was sent to the model, turned upright.
        answer: detections or a segmentation.
        opacity: of masks and labels, from 0 to 1.
        enlarge: whether a picture for detections that is too small for names, under 240 pixels on its longer side, is
            drawn on a copy enlarged by a whole factor. Otherwise names are cut or left out where they do not fit.
        font: the path of a TrueType or OpenType font for names. By default it is Pillow's, or one of the system for
            names that need it. For characters that it lacks their numbers are drawn, such as "u+732b".

    Raises ImageError for other answers, for boxes whose edges are not finite numbers, for a picture of another size
    than that of the answer, for a font that cannot be read, and when memory runs out.
    """
    if not isinstance(answer, (Detections, Segmentation)):
        raise ImageError(f"nothing to draw: expected detections or a segmentation, got {type(answer).__name__.lower()}")
    _check_image(image)
    _check_opacity(opacity)
    if font is not None and not isinstance(font, str | os.PathLike):
        raise ImageError(f"expected font as the path of a font file, got {type(font).__name__}")
    if image.size != answer.size:
        raise ImageError(
            f"the answer is about a picture of {answer.size[0]}x{answer.size[1]} pixels, "
            f"got one of {image.size[0]}x{image.size[1]}: expected the picture that was sent, turned upright"
        )
    try:
        if isinstance(answer, Segmentation):
            drawn = _as_rgb(image)
            _paint(drawn, answer.map, answer.geometry, opacity)
            return drawn
        scale = -(-_READABLE // max(image.size)) if enlarge else 1
        drawn = _as_rgb(image)
        if scale > 1:
            drawn = drawn.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        draw_detections(drawn, answer.items, opacity=opacity, scale=scale, font=font)
        return drawn
    except MemoryError as error:
        raise ImageError("not enough memory to draw on the picture") from error


def overlay(
    image: Image.Image, labels: Array, *, opacity: float = OPACITY, max_pixels: int | None = MAX_PIXELS
) -> Image.Image:
    """Colour every pixel of the picture whose label is not 0.

    Args:
        labels: integers (height, width); scaled to the picture by nearest neighbour, so that labels do not mix.
        max_pixels: the largest number of labels; None for no limit.

    Raises ImageError for labels of another dtype or shape, for more than ``max_pixels`` labels, and when memory runs
    out; DecodeError for an array that declares a huge shape but holds hardly any data.
    """
    _check_image(image)
    _check_opacity(opacity)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "uib":
        got = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        raise ImageError(f"expected labels as an array of integers, got {got}")
    if labels.ndim != 2 or not labels.size:
        raise ImageError(f"expected labels of shape (height, width), got {shown(labels.shape)}")
    expansion.check_copy(labels, "the map of labels")
    if max_pixels is not None and labels.size > max_pixels:
        raise ImageError(f"expected a map of at most {max_pixels} labels (max_pixels=), got {shown(labels.shape)}")
    try:
        drawn = _as_rgb(image)
        _paint(drawn, labels, Geometry.of(image.size, (labels.shape[1], labels.shape[0])), opacity)
        return drawn
    except MemoryError as error:
        raise ImageError("not enough memory to draw on the picture") from error


def _paint(image: Image.Image, labels: Array, geometry: Geometry, opacity: float) -> None:
    """Colour an RGB picture by a map of the tensor, strip by strip."""
    rows, columns = geometry.cells((labels.shape[0], labels.shape[1]))
    colours = _painted(labels)
    covered = np.multiply(labels > 0, round(255 * opacity), dtype=np.uint8)
    across, outside = np.maximum(columns, 0), columns < 0
    step = max(1, STRIP // image.width)
    for top in range(0, image.height, step):
        down = np.maximum(rows[top : top + step], 0)
        mask = covered[down][:, across]
        mask[rows[top : top + step] < 0] = 0
        mask[:, outside] = 0
        image.paste(Image.fromarray(colours[down][:, across]), (0, top), Image.fromarray(mask))


def _painted(labels: Array) -> Array:
    """Colour the labels, strip by strip: the indices of ``np.unique`` take 8 bytes a label."""
    colours = np.empty((*labels.shape, 3), np.uint8)
    for rows, painted in zip(_strips(labels), _strips(colours), strict=True):
        found, places = np.unique(np.clip(rows, 0, None), return_inverse=True)  # a label may be any number
        painted[...] = colours_of(found)[places.reshape(rows.shape)]
    return colours


def _strips(array: Array) -> list[Array]:
    height = max(1, STRIP // max(1, array.shape[1]))
    return [array[top : top + height] for top in range(0, len(array), height)]


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture in the format that the file's extension names.

    A file that exists is replaced once the new one is whole. Raises ImageError if that fails; the old file is then
    unchanged.
    """
    _check_image(image)
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ImageError(f"expected a path of a picture file to write, got {type(path).__name__}")
    try:
        form = Image.registered_extensions()[os.path.splitext(path)[1].lower()]
    except KeyError:
        raise ImageError(
            f"cannot write {str(path)!r}: expected a file whose suffix names a picture format, such as .png"
        ) from None
    try:
        place = os.path.realpath(path)  # a link stays, and the file that it leads to is replaced
        if os.path.lexists(place) and not os.path.isfile(place):  # such as a pipe, which nothing may replace
            image.save(place, form)
            return
        with replacing(place) as file:
            image.save(file, form)
    except Exception as error:  # Pillow's encoders raise almost anything, also for sizes that they do not support
        text = getattr(error, "strerror", None) or str(error) or "not enough memory"
        raise ImageError(f"cannot write {str(path)!r}: {text}") from error


def _check_image(image: object) -> None:
    if not isinstance(image, Image.Image):
        raise ImageError(f"expected a PIL image, got {type(image).__name__}: load_image loads one")


def _check_opacity(opacity: object) -> None:
    if not (is_number(opacity) and 0 <= opacity <= 1):  # type: ignore[operator]
        raise ImageError(f"expected opacity from 0 to 1, got {shown(opacity)}")


def _as_rgb(image: Image.Image) -> Image.Image:
    """Return a copy as RGB. Pillow itself would cut off 16-bit values, and show what transparency hides."""
    loaded = image if image.mode in ("RGB", "L") else load_image(image, max_pixels=None, exif=False)
    return loaded.convert("RGB")
