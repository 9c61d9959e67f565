"""Preparation: how a picture becomes the tensor that a model's input expects.

``plan`` combines three sources: the input's signature, a preset, and single options. What contradicts is refused; what
none of them decides has a default, and ``Preparation.assumed`` names the defaults that a signature cannot confirm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tfs_client._codec.dtypes import find
from tfs_client._printable import shown
from tfs_client.errors import EncodeError, ImageError
from tfs_client.images.argument_checks import check_choice, check_flag, check_level, checked_size, is_number
from tfs_client.images.geometry import FITS, Geometry, Size, covered
from tfs_client.images.loading import ALPHAS
from tfs_client.images.resizing import RESIZES
from tfs_client.images.scaling import check_scaling
from tfs_client.signatures import TensorSpec, shape_text

if TYPE_CHECKING:
    from tfs_client.images.presets import Preset

SCALES = ("raw", "unit", "tf", "torch", "caffe")
"""The ranges of values; see ``Preparation``."""

LAYOUTS = ("nhwc", "nchw")
"""The orders of axes: height, width, channels; or channels, height, width."""

_NO_ANTIALIAS = ("nearest", "tf-bilinear")
_FITTED = {"stretch": "stretched", "crop": "cropped", "pad": "padded"}
_CHOICES = {"scale": SCALES, "layout": LAYOUTS, "resize": RESIZES, "fit": FITS, "alpha": ALPHAS}


@dataclass(frozen=True)
class Preparation:
    """The conversion of a picture to a tensor. ``plan`` makes one for an input.

    Attributes:
        size: width and height in pixels; None keeps the picture's size.
        channels: 1 or 3.
        layout: "nhwc" or "nchw".
        axes: the rank of the tensor: 4 with batch and channels, 3 for a batch of grey pictures or one picture with
            channels, 2 for a batch of flat vectors.
        batch: whether the first axis is the batch.
        scale: "raw" for 0..255, "unit" for 0..1, "tf" for -1..1, "torch" for 0..1 less the channel means of ImageNet,
            divided by its deviations, "caffe" for 0..255 less its means, as BGR.
        dtype: the tensor's numpy dtype.
        resize: the method, one of ``RESIZES``. All but "nearest" and "tf-bilinear" average over the pixels that a
            smaller picture merges (antialias), as Pillow does; "tf-bilinear" is ``tf.image.resize``.
        fit: "stretch", "crop" or "pad".
        crop_fraction: with "crop", the part of the covered size that is kept.
        pad_value: with "pad", the value of the border before scaling, 0 to 255.
        exif: whether pictures are turned upright by their EXIF orientation.
        alpha: "white" or "black" behind transparent parts; "drop" ignores transparency.
        bgr: whether the channels are sent as blue, green, red.
        mean: subtracted from each channel, as sent, after scaling; None for nothing.
        std: divides each channel after that; None for nothing.
        preset: the name of the preset; "" without one.
        assumed: the fields that neither the signature nor an argument decided and that change what a model sees.

    Raises ImageError for values out of range, and for a scale, mean or std that dtype and channels contradict.
    """

    size: Size | None
    channels: int
    layout: str
    axes: int
    batch: bool
    scale: str
    dtype: np.dtype[np.generic]
    resize: str = "bilinear"
    fit: str = "stretch"
    crop_fraction: float = 1.0
    pad_value: int = 0
    exif: bool = True
    alpha: str = "white"
    bgr: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preset: str = ""
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            check_choice(name, getattr(self, name), known)
        for name in ("batch", "exif", "bgr"):
            check_flag(name, getattr(self, name))
        if self.size is not None:
            object.__setattr__(self, "size", checked_size(self.size))
        if self.channels not in (1, 3) or self.axes not in (2, 3, 4):
            raise ImageError(
                f"expected 1 or 3 channels and 2 to 4 axes, got {shown(self.channels)} and {shown(self.axes)}"
            )
        if not is_number(self.crop_fraction) or not 0 < self.crop_fraction <= 1:
            raise ImageError(f"expected crop_fraction above 0, at most 1, got {shown(self.crop_fraction)}")
        check_level("pad_value", self.pad_value)
        object.__setattr__(self, "dtype", _number_dtype(self.dtype))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_channel(name, getattr(self, name), self.channels))
        check_scaling(self)

    def geometry(self, source: Size) -> Geometry:
        """Return where a picture of this width and height lies in the tensor."""
        return Geometry.of(source, self.size, self.fit, self.crop_fraction)

    def describe(self, source: Size | None = None) -> str:
        """Return what happens to a picture of this width and height, in one line; None for pictures of any size."""
        picture = "pictures" if source is None else f"picture {source[0]}x{source[1]}"
        parts = [f"{picture} → {self._resized()}", self._channels(), self._values(), f"{self.dtype} {self.layout}"]
        if "layout" in self.assumed:
            parts[-1] += " (assumed: give --layout)"
        if self.preset:
            parts.append(f"preset {self.preset}{self._other_size()}")
        return ", ".join(parts)

    def _other_size(self) -> str:
        from tfs_client.images.presets import PRESETS  # makes many objects; whoever has a preset has it already

        preset = PRESETS.get(str(self.preset))
        if preset is None or preset.size in (None, self.size):
            return ""
        return f" (made for {preset.size[0]}x{preset.size[1]})"

    def _resized(self) -> str:
        if self.size is None:
            return "same size"
        fitted = _FITTED[self.fit]
        if self.fit == "crop" and self.crop_fraction != 1:
            width, height = covered(self.size, self.crop_fraction)
            fitted += f" from {width}x{height}"
        elif self.fit == "pad" and self.pad_value != 0:
            fitted += f" with {self.pad_value}"
        how = [self.resize, *([] if self.resize in _NO_ANTIALIAS else ["antialiased"]), fitted]
        return f"{self.size[0]}x{self.size[1]} ({', '.join(how)})"

    def _channels(self) -> str:
        order = "grey" if self.channels == 1 else "BGR" if self.bgr else "RGB"
        extras = ([] if self.exif else ["EXIF ignored"]) + ([] if self.alpha == "white" else [f"alpha {self.alpha}"])
        return f"{order} ({', '.join(extras)})" if extras else order

    def _values(self) -> str:
        text = f"scale {self.scale}"
        if "scale" in self.assumed:
            text += " (assumed: give --scale or --preset)"
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None:
                text += f", {name} {'/'.join(repr(value).removesuffix('.0') for value in values)}"
        return text


def plan(
    spec: TensorSpec,
    *,
    preset: str | None = None,
    size: Size | None = None,
    scale: str | None = None,
    layout: str | None = None,
    dtype: object = None,
    resize: str | None = None,
    fit: str | None = None,
    pad_value: int | None = None,
    exif: bool = True,
    alpha: str = "white",
    bgr: bool = False,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
) -> Preparation:
    """Choose the preparation for an input. Arguments that are not given follow from the preset, dtype and shape.

    Args:
        spec: the input.
        preset: a name of ``PRESETS``, such as "resnet50".
        size: width and height. By default those of the input, else those of the preset; without either, pictures keep
            their size.
        scale: one of ``SCALES``. Floats default to "unit", which ``assumed`` then names; integers to "raw".
        layout: one of ``LAYOUTS``, where the input's shape leaves it open.
        dtype: the dtype of the tensor, where the input leaves it open.
        resize: one of ``RESIZES``; by default "bilinear".
        fit: one of ``FITS``; by default "stretch".
        pad_value: the border of the fit "pad", 0 to 255; by default 0.
        exif: whether pictures are turned upright by their EXIF orientation.
        alpha: one of ``ALPHAS``.
        bgr: whether the channels are sent as blue, green, red.
        mean: subtracted from each channel as it is sent, one for all or one for each; in the units of ``scale``.
        std: divides each channel after that.

    Raises ImageError for inputs that do not take pictures, for values out of range, and for arguments that contradict
    the preset, the signature or each other.
    """
    if not isinstance(spec, TensorSpec):
        raise ImageError(f"expected a TensorSpec, got {type(spec).__name__}")
    for name, word in (("scale", scale), ("layout", layout), ("resize", resize), ("fit", fit), ("alpha", alpha)):
        if word is not None or name == "alpha":
            check_choice(name, word, _CHOICES[name])
    check_flag("bgr", bgr)
    size = None if size is None else checked_size(size)
    if pad_value is not None:
        check_level("pad_value", pad_value)
    chosen = None if preset is None else _preset_of(preset)
    if chosen is not None:
        _check_against(chosen, scale=scale, bgr=bgr, mean=mean, std=std)
        scale = chosen.scale
        resize, fit = chosen.resize if resize is None else resize, chosen.fit if fit is None else fit
    if pad_value is not None and fit != "pad":
        got = "fit='stretch' (the default)" if fit is None else f"fit={fit!r}"
        raise ImageError(f"pad_value needs fit='pad', got {got}")
    wanted = _number_dtype(spec.row if dtype is None else dtype)
    given = scale is not None
    scale = scale or ("unit" if wanted.kind == "f" else "raw")
    if dtype is not None and spec.row.number and wanted != spec.dtype:
        raise ImageError(f"expected dtype {spec.dtype_name}, as the input is {spec}, got {wanted}")
    axes, batch, height, width, channels, found_layout, sure = _read_shape(spec, size, layout, chosen)
    if size is None:
        if height is not None and width is not None:
            size = (width, height)
        elif chosen is not None and chosen.size is not None:
            size = (width or chosen.size[0], height or chosen.size[1])
    elif height not in (None, size[1]) or width not in (None, size[0]):
        raise ImageError(
            f"expected size {width or '?'}x{height or '?'}, as the input is {spec}, got {size[0]}x{size[1]}"
        )
    if size is None and chosen is not None:
        raise ImageError(
            f"neither the preset {chosen.name!r} nor the input, which is {spec}, sets a size: give size (--size WxH)"
        )
    if chosen is not None:
        _check_suits(chosen, wanted, channels)
    means, deviations = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if not given and wanted.kind == "f":
        _check_assumed_range(means, deviations)
    if size is None and (fit not in (None, "stretch") or resize is not None):
        raise ImageError(f"the input is {spec}, so pictures keep their size: fit and resize need a size")
    return Preparation(
        size=size,
        channels=channels,
        layout=found_layout,
        axes=axes,
        batch=batch,
        scale=scale,
        dtype=wanted,
        resize=resize or "bilinear",
        fit=fit or "stretch",
        crop_fraction=1.0 if chosen is None or fit != "crop" else chosen.crop_fraction,
        pad_value=(0 if chosen is None else chosen.pad_value) if pad_value is None else pad_value,
        exif=exif,
        alpha=alpha,
        bgr=bgr or scale == "caffe",
        mean=means,
        std=deviations,
        preset="" if chosen is None else chosen.name,
        assumed=(*(("scale",) if not given and wanted.kind == "f" else ()), *(() if sure else ("layout",))),
    )


def check_pixels(preparation: Preparation, max_pixels: int | None) -> None:
    """Raise ImageError for a tensor of too many pixels: a server's signature, or an option, may declare any size."""
    if max_pixels is not None and preparation.size is not None:
        width, height = preparation.size
        if width * height > max_pixels:
            raise ImageError(
                f"the input takes {width} x {height} pixels, expected at most {max_pixels}; for a model that you "
                f"trust, raise the limit with max_pixels= (--max-pixels {width * height})"
            )


def _preset_of(name: str) -> Preset:
    if not isinstance(name, str):
        raise ImageError(f"expected preset as a name, such as 'resnet50', got {shown(name)}")
    from tfs_client.images.presets import preset_of  # makes many objects, which most processes do not need

    return preset_of(name)


def _check_against(preset: Preset, *, scale: str | None, bgr: bool, mean: object, std: object) -> None:
    """Raise ImageError for an argument that contradicts the preset."""
    contradicting = {
        "scale": scale if scale != preset.scale else None,
        "bgr": True if bgr and preset.scale != "caffe" else None,
        "mean": mean,
        "std": std,
    }
    for name, value in contradicting.items():
        if value is not None:
            raise ImageError(
                f"{name}={shown(value)} contradicts preset={preset.name!r} (scale {preset.scale}): leave out one of "
                "them"
            )


def _check_suits(preset: Preset, dtype: np.dtype[np.generic], channels: int) -> None:
    """Raise ImageError for a preset whose values an input cannot take."""
    what = f"preset={preset.name!r} (scale {preset.scale})"
    if channels == 1 and preset.scale in ("torch", "caffe"):
        raise ImageError(f"{what} needs three channels, the input has one: leave it out")
    if preset.scale != "raw" and dtype.kind != "f":
        raise ImageError(
            f"{what} makes fractions of pixels, which {dtype} cannot hold: leave it out, and pixels are sent as 0..255"
        )


def _read_shape(
    spec: TensorSpec, size: Size | None, layout: str | None, preset: Preset | None
) -> tuple[int, bool, int | None, int | None, int, str, bool]:
    """Return axes, batch, height, width, channels and layout of an input, and whether the layout is certain."""
    shape = (None, None, None, None) if spec.shape is None else spec.shape
    if 0 in shape:
        raise ImageError(f"an input of shape {shape_text(spec.shape)} does not take pictures: it has no elements")
    axes = len(shape)
    if axes == 2 and size is not None:
        return _read_flat(spec, size, layout or (preset.layout if preset is not None else None))
    if axes == 4:
        batch, rest = True, shape[1:]
    elif axes == 3:
        batch = shape[2] not in (1, 3) and shape[0] not in (1, 3)
        rest = (*shape[1:], 1) if batch else shape
    else:
        hint = "; for flat vectors of pixels, give a size" if axes == 2 else ""
        raise ImageError(f"an input of shape {shape_text(spec.shape)} does not take pictures{hint}")
    last, first = rest[2] in (1, 3), rest[0] in (1, 3)
    shown_layout = "nhwc" if last and not first else "nchw" if first and not last else None
    if layout is None:
        layout = shown_layout or (preset.layout if preset is not None else None)
    elif shown_layout not in (None, layout):
        raise ImageError(f"layout {layout!r} contradicts the input, which is {spec}: use {shown_layout!r}")
    sure = layout is not None
    layout = layout or "nhwc"
    height, width, channels = rest if layout == "nhwc" else (rest[1], rest[2], rest[0])
    if channels not in (None, 1, 3):
        raise ImageError(f"expected an input with 1 or 3 channels, got shape {shape_text(spec.shape)}")
    return axes, batch, height, width, 3 if channels is None else channels, layout, sure


def _read_flat(
    spec: TensorSpec, size: Size, layout: str | None
) -> tuple[int, bool, int | None, int | None, int, str, bool]:
    """Return what ``_read_shape`` does for a batch of flat vectors, which do not show the order of colours."""
    channels = _flat_channels(spec, size)
    return 2, True, size[1], size[0], channels, layout or "nhwc", channels == 1 or layout is not None


def _number_dtype(dtype: object) -> np.dtype[np.generic]:
    try:
        row = find(dtype)
    except EncodeError as error:
        raise ImageError(str(error)) from None
    if row.spec is None and "float" in row.name:
        raise ImageError(f"pictures as {row.name} are not supported: numpy does not have this dtype")
    wanted = np.dtype(row.spec if row.spec is not None else object)
    if wanted.kind not in "uif" or (wanted.kind != "f" and np.iinfo(wanted).max < 255):
        raise ImageError(f"{row.name} cannot hold a picture: its pixels are 0 to 255, or fractions")
    return wanted


def _flat_channels(spec: TensorSpec, size: Size) -> int:
    length = spec.shape[1] if spec.shape else None
    for channels in (1, 3):
        if length in (None, size[0] * size[1] * channels):
            return channels
    raise ImageError(f"{size[0]} x {size[1]} pixels do not fit an input of shape {shape_text(spec.shape)}")


def _per_channel(name: str, values: Sequence[float] | float | None, channels: int) -> tuple[float, ...] | None:
    if values is None:
        return None
    try:
        numbers = np.atleast_1d(np.asarray(values))
        found = tuple(map(float, numbers.tolist())) if numbers.dtype.kind in "iuf" else ()
    except (TypeError, ValueError, OverflowError):  # not numbers, not in one row, or beyond floats
        found = ()
    if len(found) not in (1, channels) or not all(map(math.isfinite, found)):
        raise ImageError(f"expected {name} as one number, or one for each of {channels} channels, got {shown(values)}")
    if name == "std" and 0.0 in found:
        raise ImageError("expected std without zeros: pixels are divided by it")
    return found * channels if len(found) == 1 else found


def _check_assumed_range(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    """Raise ImageError for numbers that show that pixels of 0..255 are meant."""
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and max(map(abs, values)) > 1:
            raise ImageError(
                f"{name} {shown(list(values))} is beyond 0..1, the range that is assumed for floats: "
                "give scale 'raw' (--scale raw) for values of 0..255"
            )
