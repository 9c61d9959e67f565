"""Presets: the preparation that published models were trained with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tfs_client._printable import shown
from tfs_client.errors import ImageError
from tfs_client.images.geometry import Size

LONGEST_NAME = 80  # characters that are compared with known names for a hint


@dataclass(frozen=True)
class Preset:
    """How pictures are prepared for a family of models. Options that a preset leaves None follow from the signature.

    Attributes:
        name: the name, as it is printed.
        size: width and height, unless the signature has them; None if the signature or an argument must set them.
        scale: the range of values; see ``SCALES``.
        layout: the order of axes, where the signature allows both.
        resize: the method; see ``RESIZES``.
        fit: "stretch", "crop" or "pad".
        crop_fraction: with "crop", the part of the covered size that is kept.
        pad_value: with "pad", the value of the border before scaling, 0 to 255.
    """

    name: str
    size: Size | None
    scale: str
    layout: str | None = None
    resize: str = "bilinear"
    fit: str = "stretch"
    crop_fraction: float = 1.0
    pad_value: int = 0


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name.lower())


def _keras(scale: str, side: int | None, names: str) -> list[Preset]:
    return [Preset(name, None if side is None else (side, side), scale) for name in names.split()]


def _torchvision(name: str, side: int, covered: int, scale: str = "torch", resize: str = "bilinear") -> Preset:
    """Return the preset of weights that resize the shorter side to ``covered`` and keep the middle ``side`` pixels."""
    name = f"torchvision_{name}" if name else "torchvision"
    return Preset(name, (side, side), scale, "nchw", resize, fit="crop", crop_fraction=side / covered)


_KERAS = (  # load_img(interpolation="bilinear"), then preprocess_input; families whose members differ have no size
    *_keras("caffe", 224, "resnet resnet50 resnet101 resnet152 vgg16 vgg19"),
    *_keras("tf", 224, "mobilenet mobilenet_v2 resnet_v2 resnet50_v2 resnet101_v2 resnet152_v2 nasnet_mobile"),
    *_keras("tf", 299, "inception_v3 inception_resnet_v2 xception"),
    *_keras("tf", 331, "nasnet_large"),
    *_keras("tf", None, "nasnet"),
    *_keras("torch", 224, "densenet densenet121 densenet169 densenet201"),
    # The following models scale pixels inside, and their preprocess_input does nothing.
    *_keras("raw", 224, "mobilenet_v3 mobilenet_v3_small mobilenet_v3_large"),
    *_keras("raw", 224, "convnext convnext_tiny convnext_small convnext_base convnext_large convnext_xlarge"),
    *_keras("raw", 224, "efficientnet_b0 efficientnet_v2_b0"),
    *_keras("raw", 240, "efficientnet_b1 efficientnet_v2_b1"),
    *_keras("raw", 260, "efficientnet_b2 efficientnet_v2_b2"),
    *_keras("raw", 300, "efficientnet_b3 efficientnet_v2_b3"),
    *_keras("raw", 380, "efficientnet_b4"),
    *_keras("raw", 384, "efficientnet_v2_s"),
    *_keras("raw", 456, "efficientnet_b5"),
    *_keras("raw", 480, "efficientnet_v2_m efficientnet_v2_l"),
    *_keras("raw", 528, "efficientnet_b6"),
    *_keras("raw", 600, "efficientnet_b7"),
    *_keras("raw", None, "efficientnet efficientnet_v2"),
    *_keras("raw", 224, "regnet resnet_rs"),  # of Keras 2
)
_TORCHVISION = (
    _torchvision("", 224, 256),  # most weights named IMAGENET1K_V1
    _torchvision("v2", 224, 232),  # most weights named IMAGENET1K_V2
    _torchvision("inception_v3", 299, 342),
    _torchvision("convnext_tiny", 224, 236),
    _torchvision("convnext_small", 224, 230),
    _torchvision("convnext_base", 224, 232),
    _torchvision("convnext_large", 224, 232),
    _torchvision("efficientnet_b0", 224, 256, resize="bicubic"),
    _torchvision("efficientnet_b1", 240, 256, resize="bicubic"),
    _torchvision("efficientnet_b2", 288, 288, resize="bicubic"),
    _torchvision("efficientnet_b3", 300, 320, resize="bicubic"),
    _torchvision("efficientnet_b4", 380, 384, resize="bicubic"),
    _torchvision("efficientnet_b5", 456, 456, resize="bicubic"),
    _torchvision("efficientnet_b6", 528, 528, resize="bicubic"),
    _torchvision("efficientnet_b7", 600, 600, resize="bicubic"),
    _torchvision("efficientnet_v2_s", 384, 384),
    _torchvision("efficientnet_v2_m", 480, 480),
    _torchvision("efficientnet_v2_l", 480, 480, scale="tf", resize="bicubic"),
    _torchvision("swin_t", 224, 232, resize="bicubic"),
    _torchvision("swin_s", 224, 246, resize="bicubic"),
    _torchvision("swin_b", 224, 238, resize="bicubic"),
    _torchvision("vit_b_16", 224, 256),
    _torchvision("vit_b_32", 224, 256),
    _torchvision("vit_l_16", 224, 242),
    _torchvision("vit_l_32", 224, 256),
)
_OTHERS = (
    Preset("tfhub", None, "unit", "nhwc", resize="tf-bilinear"),
    Preset("yolov8", (640, 640), "unit", resize="tf-bilinear", fit="pad", pad_value=114),
)
_ALL = (*_KERAS, *_TORCHVISION, *_OTHERS)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""The presets by name:

- the models of keras.applications, and its modules, in Keras' spelling: ``resnet50``, ``mobilenet_v2``,
  ``densenet121``. They do what ``load_img(interpolation="bilinear")`` and the module's ``preprocess_input`` do. Models
  that scale pixels inside (EfficientNet, ConvNeXt, MobileNetV3) have scale "raw"; if they were made with
  ``include_preprocessing=False``, use a scale instead of the preset.
- torchvision's weights: ``torchvision`` resizes the shorter side to 256 and crops to 224, as for IMAGENET1K_V1;
  ``torchvision_v2`` resizes to 232, as for IMAGENET1K_V2; ``torchvision_inception_v3`` and others have their own sizes.
- ``tfhub``: 0..1, resized by ``tf.image.resize``, as TensorFlow Hub's image models expect; the signature or
  an argument sets the size.
- ``yolov8``: 0..1, fitted into 640x640 with a grey border, as Ultralytics' letterbox does.
"""

_BY_PLAIN_NAME = {_plain(preset.name): preset for preset in _ALL}


def preset_of(name: str) -> Preset:
    """Return the preset of a name; case, "-" and "_" are ignored, so "ResNet50V2" is "resnet50_v2".

    Raises ImageError for an unknown name.
    """
    plain = _plain(name)
    if plain in _BY_PLAIN_NAME:
        return _BY_PLAIN_NAME[plain]
    from difflib import get_close_matches  # slow to import, and only needed for an error

    near = get_close_matches(plain[:LONGEST_NAME], _BY_PLAIN_NAME, n=3, cutoff=0.7)
    examples = "expected a model of keras.applications, such as resnet50, or torchvision, tfhub or yolov8"
    names = " or ".join(repr(_BY_PLAIN_NAME[one].name) for one in near)
    hint = f"did you mean {names}?" if near else f"{examples}; images.PRESETS and docs/images.md list all"
    raise ImageError(f"unknown preset {shown(name)}: {hint}")
