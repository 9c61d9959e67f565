"""Answers as HTML: what is drawn over a thumbnail, and the rows below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple
from unicodedata import east_asian_width

import numpy as np
from PIL import Image

from tfs_client._codec.dtypes import Array
from tfs_client._printable import printable
from tfs_client.cli.html_document import text
from tfs_client.cli.predict.thumbnails import Thumbnail, png
from tfs_client.images import Answer, Class, Classification, Detection, Detections, Embedding, Segmentation, Share
from tfs_client.images.colours import class_colour, colours_of
from tfs_client.images.drawing import OPACITY
from tfs_client.signatures import TensorSpec

TAG = 22  # characters of a name that is drawn
LISTED = 8  # objects listed at once; a click shows the others
NAMED = 20  # of more objects, numbers are drawn, not names
LETTER = 7.5  # pixels; an estimate of a letter's width in wide fonts. Chinese letters, for example, take two
ASCENT, DESCENT = 11, 3  # pixels of a name above and below its base line
VALUES = 8  # of a vector, or of an output that is not an answer


def drawn(answer: Answer | None, thumbnail: Thumbnail, *, numbered: bool) -> str:
    """Return what lies over the thumbnail: boxes, with names or numbers, and masks; empty for other answers."""
    if isinstance(answer, Segmentation):
        return _mask(_label_map(answer, thumbnail), thumbnail)
    if isinstance(answer, Detections):
        masks = any(item.mask is not None for item in answer)
        return (_mask(_object_map(answer, thumbnail), thumbnail) if masks else "") + _boxes(answer, thumbnail, numbered)
    return ""


def is_numbered(answer: Answer | None, thumbnail: Thumbnail) -> bool:
    """Whether boxes have numbers: their names would cover each other, or reach beyond the thumbnail."""
    if not isinstance(answer, Detections):
        return False
    if len(answer) > NAMED:
        return True
    scale, (width, height) = _scale(answer, thumbnail), thumbnail.shown
    places = [_Tag.of(_short(item), item, scale, width).place for item in answer]
    beyond = any(left < 0 or top < 0 or right > width or bottom > height for left, top, right, bottom in places)
    return beyond or any(_overlap(one, other) for one, other in combinations(places, 2))


def _label_map(answer: Segmentation, thumbnail: Thumbnail) -> Array:
    """Return the labels in pixels of the thumbnail: the picture may be too large for a label per pixel."""
    return replace(answer, geometry=replace(answer.geometry, source=thumbnail.size)).picture_map


def _object_map(answer: Detections, thumbnail: Thumbnail) -> Array:
    labels = np.zeros(thumbnail.size[::-1], np.int64)
    scale = (thumbnail.size[0] / answer.size[0], thumbnail.size[1] / answer.size[1])
    for item in list(answer)[::-1]:  # the best one on top
        if item.mask is not None:
            labels[replace(item.mask, box=_scaled(item.mask.box, scale)).full(thumbnail.size)] = _shade(item)
    return labels


def listed(answer: Answer | None, outputs: Mapping[str, Array], *, numbered: bool = False) -> str:
    """Return an answer as rows, with the numbers of boxes if they have any; without an answer, what the outputs are."""
    if isinstance(answer, Classification):
        return _classes(answer)
    if isinstance(answer, Detections):
        return _objects(answer, numbered)
    if isinstance(answer, Segmentation):
        return _shares(answer)
    if isinstance(answer, Embedding):
        return _vector(answer)
    rows = "".join(
        _row(alias, text(str(TensorSpec(array.dtype, array.shape))), _place(_first(array)))
        for alias, array in outputs.items()
    )
    return f'{_kind("Outputs")}<ul class="rows">\n{rows}</ul>\n' if rows else ""


def _vector(answer: Embedding) -> str:
    what = _kind(f"Vector of {answer.vector.size} numbers, output {_code(answer.output)}")
    norm = _row("Norm", f"{answer.norm:.4g}")
    return f'{what}<ul class="rows">\n{norm}{_row("First values", "", _place(_first(answer.vector)))}</ul>\n'


def _first(array: Array) -> str:
    """Return the first values, however many the array has."""
    values = [
        value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
        for value in array.flat[:VALUES].tolist()
    ]
    shown = ", ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
    return shown + (", …" if array.size > VALUES else "")


def _classes(answer: Classification) -> str:
    count = len(answer.classes)
    what = "probability" if answer.probabilities else "score, which is not a probability"
    best = "Best class" if count == 1 else f"Best {count} classes"
    most = max((abs(item.score) for item in answer.classes if math.isfinite(item.score)), default=0.0)
    rows = "".join(_class(item, answer.probabilities, most) for item in answer.classes)
    return f'{_kind(f"{best} by {what}, output {_code(answer.output)}")}<ol class="rows">\n{rows}</ol>\n'


def _class(item: Class, probabilities: bool, most: float) -> str:
    part = item.score if probabilities else abs(item.score) / most if most else 0.0
    value = _percent(item.score) if probabilities else f"{item.score:.4g}"
    return _row(item.label, value, _bar(part, kind="bar minus" if item.score < 0 else "bar"))


def _shares(answer: Segmentation) -> str:
    height, width = answer.map.shape
    what = f"Label map {width}x{height}, output {_code(answer.output)}; label 0 is not coloured"
    rows = "".join(_share(item) for item in answer.shares)
    return f'{_kind(what)}<ol class="rows">\n{rows}</ol>\n'


def _share(item: Share) -> str:
    colour = _colour(item.number) if item.number > 0 else ""
    return _row(item.label, _percent(item.share), _bar(item.share, colour), colour or "none")


def _objects(answer: Detections, numbered: bool) -> str:
    if not answer.items:
        return _kind(f"No objects found, layout {_code(answer.layout)}")
    count = len(answer)
    rows = [_object(item, str(number) if numbered else "") for number, item in enumerate(answer, 1)]
    what = f"{count} object{'s' * (count > 1)}, layout {_code(answer.layout)}"
    what = _kind(f"{what}; boxes are left, top to right, bottom in pixels")
    first = f'<ol class="rows">\n{"".join(rows[:LISTED])}</ol>\n'
    if count <= LISTED:
        return what + first
    return (
        f"{what}{first}<details><summary>{count - LISTED} more</summary>\n"
        f'<ol class="rows" start="{LISTED + 1}">\n{"".join(rows[LISTED:])}</ol>\n</details>\n'
    )


def _object(item: Detection, number: str) -> str:
    left, top, right, bottom = item.box
    place = f"{left:.0f}, {top:.0f} to {right:.0f}, {bottom:.0f}"
    label = f"{number} {item.label}" if number else item.label
    return _row(label, f"{item.score:.2f}", _place(place), _hex(class_colour(item.number)))


def _row(label: str, value: str, below: str = "", colour: str = "") -> str:
    swatch = f'<svg class="swatch" aria-hidden="true">{_filled(colour)}</svg>' if colour else ""
    name = f'<span class="name">{swatch}<bdi>{text(label)}</bdi></span>'
    return f'<li>{name}<span class="value">{value}</span>{below}</li>\n'


def _place(value: str) -> str:
    return f'<span class="place">{text(value)}</span>'


def _filled(colour: str) -> str:
    return f'<rect width="100%" height="100%" fill="{colour}"/>'


def _bar(part: float, colour: str = "", kind: str = "bar") -> str:
    width = 100 * min(max(part, 0.0), 1.0) if math.isfinite(part) else 0.0
    fill = f' fill="{colour}"' if colour else ""
    return (
        f'<svg class="{kind}" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.2f}" height="1"{fill}/></svg>'
    )


def _percent(part: float) -> str:
    if not math.isfinite(part):
        return f"{part}"
    if 0 < part < 0.001:
        return "&lt;0.1%"
    return "&gt;99.9%" if 0.9995 <= part < 1 else f"{part:.1%}"


def _kind(markup: str) -> str:
    return f'<p class="kind">{markup}</p>\n'


def _code(alias: str) -> str:
    return f"<code>{text(alias)}</code>"


def _mask(labels: Array, thumbnail: Thumbnail) -> str:
    """Return a picture that colours every pixel with a label above 0."""
    pixels = np.zeros((*labels.shape, 4), np.uint8)
    found, places = np.unique(np.clip(labels, 0, None), return_inverse=True)
    pixels[..., :3] = colours_of(found)[places.reshape(labels.shape)]
    pixels[..., 3] = (labels > 0) * round(255 * OPACITY)
    return f'<img class="over{_tiny(thumbnail)}" src="{png(Image.fromarray(pixels))}" alt="">\n'


def _tiny(thumbnail: Thumbnail) -> str:
    return " tiny" if thumbnail.shown != thumbnail.size else ""


def _boxes(answer: Detections, thumbnail: Thumbnail, numbered: bool) -> str:
    width, height = thumbnail.shown
    scale = _scale(answer, thumbnail)
    items = list(enumerate(answer, 1))[::-1]  # the best one on top
    rects = "".join(_box(item, scale) for _, item in items)
    names = (str(number) if numbered else _short(item) for number, item in items)
    tags = "".join(_Tag.of(name, item, scale, width).markup for name, (_, item) in zip(names, items, strict=True))
    return f'<svg class="over" viewBox="0 0 {width} {height}" aria-hidden="true">\n{rects}{tags}</svg>\n'


def _box(item: Detection, scale: tuple[float, float]) -> str:
    left, top, right, bottom = _scaled(item.box, scale)
    place = f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0):.1f}" height="{max(bottom - top, 0):.1f}"'
    title = f"<title>{text(item.label)} {item.score:.2f}</title>"
    return f'<rect class="edge" {place}/><rect {place} stroke="{_hex(class_colour(item.number))}">{title}</rect>\n'


def _short(item: Detection) -> str:
    label = printable(item.label)
    label = label if len(label) <= TAG else f"{label[: TAG - 1]}…"
    return f"{label} {item.score:.2f}"


class _Tag(NamedTuple):
    """A name or number at a box, from ``x`` to the right, or up to ``x``; ``y`` is the base line."""

    name: str
    x: float
    y: float
    ends: bool

    @classmethod
    def of(cls, name: str, item: Detection, scale: tuple[float, float], width: int) -> _Tag:
        left, top, right, _ = _scaled(item.box, scale)
        ends = left > width * 0.6
        return cls(name, min(right, width) - 4 if ends else left + 4, top - 5 if top > 16 else top + 14, ends)

    @property
    def place(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, in pixels of the page."""
        length = LETTER * sum(1 + (east_asian_width(letter) in "WF") for letter in self.name)
        left = self.x - length if self.ends else self.x
        return left, self.y - ASCENT, left + length, self.y + DESCENT

    @property
    def markup(self) -> str:
        anchor = ' text-anchor="end"' if self.ends else ""
        return f'<text x="{self.x:.1f}" y="{self.y:.1f}"{anchor}>{text(self.name)}</text>\n'


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _scale(answer: Detections, thumbnail: Thumbnail) -> tuple[float, float]:
    return thumbnail.shown[0] / answer.size[0], thumbnail.shown[1] / answer.size[1]


def _scaled(box: Sequence[float], scale: tuple[float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]


def _shade(item: Detection) -> int:
    """Return the label whose colour is that of an object's class."""
    return abs(item.number) + 1


def _colour(number: int) -> str:
    """Return the colour of a label."""
    return _hex(colours_of(np.array([number]))[0].tolist())


def _hex(colour: Sequence[int]) -> str:
    return "#" + bytes(colour).hex()
