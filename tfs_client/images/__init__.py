"""Pictures to arrays for a model's input, and a model's outputs to classes, boxes, masks and drawings.

Each name is imported from its module on first use: a command that sends one picture does not wait for drawing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfs_client.images.answers import Answer as Answer
    from tfs_client.images.answers import Embedding as Embedding
    from tfs_client.images.arrays import to_array as to_array
    from tfs_client.images.batches import AssumedLayoutWarning as AssumedLayoutWarning
    from tfs_client.images.batches import AssumedScaleWarning as AssumedScaleWarning
    from tfs_client.images.batches import prepare as prepare
    from tfs_client.images.classes import Class as Class
    from tfs_client.images.classes import Classification as Classification
    from tfs_client.images.classifying import classify as classify
    from tfs_client.images.colours import label_colours as label_colours
    from tfs_client.images.decoders import TASKS as TASKS
    from tfs_client.images.decoders import AnswerOptions as AnswerOptions
    from tfs_client.images.decoders import Decoder as Decoder
    from tfs_client.images.detecting import AssumedLabelsWarning as AssumedLabelsWarning
    from tfs_client.images.detecting import detections as detections
    from tfs_client.images.detecting import segmentation as segmentation
    from tfs_client.images.drawing import draw as draw
    from tfs_client.images.drawing import overlay as overlay
    from tfs_client.images.drawing import save_picture as save_picture
    from tfs_client.images.formats import FORMATS as FORMATS
    from tfs_client.images.geometry import FITS as FITS
    from tfs_client.images.geometry import Geometry as Geometry
    from tfs_client.images.inputs import picture_input as picture_input
    from tfs_client.images.labels import Labels as Labels
    from tfs_client.images.labels import read_labels as read_labels
    from tfs_client.images.loading import ALPHAS as ALPHAS
    from tfs_client.images.loading import MAX_PIXELS as MAX_PIXELS
    from tfs_client.images.loading import Limits as Limits
    from tfs_client.images.loading import Source as Source
    from tfs_client.images.loading import decode as decode
    from tfs_client.images.loading import load_image as load_image
    from tfs_client.images.loading import read_file as read_file
    from tfs_client.images.masks import Mask as Mask
    from tfs_client.images.objects import Detection as Detection
    from tfs_client.images.objects import Detections as Detections
    from tfs_client.images.preparation import LAYOUTS as LAYOUTS
    from tfs_client.images.preparation import SCALES as SCALES
    from tfs_client.images.preparation import Preparation as Preparation
    from tfs_client.images.preparation import plan as plan
    from tfs_client.images.presets import PRESETS as PRESETS
    from tfs_client.images.presets import Preset as Preset
    from tfs_client.images.reading import AnswerReader as AnswerReader
    from tfs_client.images.registry import decoder_for as decoder_for
    from tfs_client.images.registry import register as register
    from tfs_client.images.resizing import RESIZES as RESIZES
    from tfs_client.images.segments import Segmentation as Segmentation
    from tfs_client.images.segments import Share as Share

_HOMES = {
    "answers": (
        "Answer",
        "Embedding",
    ),
    "arrays": ("to_array",),
    "batches": (
        "AssumedLayoutWarning",
        "AssumedScaleWarning",
        "prepare",
    ),
    "classes": (
        "Class",
        "Classification",
    ),
    "classifying": ("classify",),
    "colours": ("label_colours",),
    "decoders": (
        "AnswerOptions",
        "Decoder",
        "TASKS",
    ),
    "detecting": (
        "AssumedLabelsWarning",
        "detections",
        "segmentation",
    ),
    "drawing": (
        "draw",
        "overlay",
        "save_picture",
    ),
    "formats": ("FORMATS",),
    "geometry": (
        "FITS",
        "Geometry",
    ),
    "inputs": ("picture_input",),
    "labels": (
        "Labels",
        "read_labels",
    ),
    "loading": (
        "ALPHAS",
        "Limits",
        "MAX_PIXELS",
        "Source",
        "decode",
        "load_image",
        "read_file",
    ),
    "masks": ("Mask",),
    "objects": (
        "Detection",
        "Detections",
    ),
    "preparation": (
        "LAYOUTS",
        "Preparation",
        "SCALES",
        "plan",
    ),
    "presets": (
        "PRESETS",
        "Preset",
    ),
    "reading": ("AnswerReader",),
    "registry": (
        "decoder_for",
        "register",
    ),
    "resizing": ("RESIZES",),
    "segments": (
        "Segmentation",
        "Share",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tfs_client.images' has no attribute {name!r}")
    value = getattr(import_module(f"tfs_client.images.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
