"""Pictures from any source to the tensor of an input, one or a batch."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import numpy as np
from PIL import Image

from tfs_client._codec.dtypes import Array
from tfs_client.errors import ImageError
from tfs_client.images.arrays import shape_of_one, write_array
from tfs_client.images.formats import FORMATS
from tfs_client.images.geometry import Size
from tfs_client.images.inputs import files_shape, spec_of
from tfs_client.images.loading import MAX_PIXELS, Limits, Source, contents, limits_of, load_within, name_of
from tfs_client.images.preparation import Preparation, check_pixels, plan
from tfs_client.signatures import Signature, TensorSpec, shape_text

THREADS = min(8, os.cpu_count() or 1)  # Pillow releases the GIL while it decodes and resizes


class AssumedScaleWarning(UserWarning):
    """Warns that the range of a picture's values was assumed: neither an option nor a preset decides it."""


class AssumedLayoutWarning(UserWarning):
    """Warns that the order of a tensor's axes was assumed: no shape, option or preset shows it."""


def prepare(
    images: Source | Iterable[Source],
    signature_or_spec: Signature | TensorSpec,
    *,
    out: Array | None = None,
    image_input: str | None = None,
    preparation: Preparation | None = None,
    formats: Iterable[str] = FORMATS,
    max_pixels: int | None = MAX_PIXELS,
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
) -> Array:
    """Load pictures and convert them to the tensor that an input expects.

    Several pictures are decoded in threads, one for each core and at most 8, straight into one array.

    Args:
        images: one picture, in any of the forms that ``load_image`` takes, or an iterable of several.
        signature_or_spec: the model's signature, or the spec of the input for the picture.
        out: the array to write into, of the tensor's dtype and shape. After an error it may be partly written.
        image_input: the alias of the input, where a signature has several that could take a picture.
        preparation: a preparation that ``plan`` made, instead of options.
        formats: the formats to decode, as in ``load_image``.
        max_pixels: the largest number of pixels of a picture, and of its part of the tensor.

    The options ``preset``, ``size``, ``scale``, ``layout``, ``dtype``, ``resize``, ``fit``, ``pad_value``, ``exif``,
    ``alpha``, ``bgr``, ``mean`` and ``std`` are those of ``plan``.

    Returns:
        The tensor: one picture has a batch axis of size 1 if the input has one, N pictures always have one of size N.
        An input of strings gets the bytes of the files, unchanged.

    Raises ImageError for sources that are not pictures (``images[3]: ...`` names the one of several), for pictures of
    different sizes if the input's size is unknown, and for options or ``out`` that contradict the input;
    SignatureError if the signature does not show which input takes the picture; ConfigError as ``load_image`` does.
    Issues an AssumedScaleWarning if the input takes floats and neither ``scale`` nor ``preset`` says which range, and
    an AssumedLayoutWarning if the input's shape, ``layout`` and ``preset`` leave open where the channels are.
    """
    limits = limits_of(formats, max_pixels)
    several = not _is_source(images)
    sources: list[Source] = list(images) if several else [images]  # type: ignore[arg-type, list-item]
    if not sources:
        raise ImageError("expected at least one picture, got none")
    spec = spec_of(signature_or_spec, image_input)
    options = {
        "preset": preset,
        "size": size,
        "scale": scale,
        "layout": layout,
        "dtype": dtype,
        "resize": resize,
        "fit": fit,
        "pad_value": pad_value,
        "exif": exif,
        "alpha": alpha,
        "bgr": bgr,
        "mean": mean,
        "std": std,
    }
    if spec.row.name == "string":
        others = {"preparation": preparation, "formats": formats, "max_pixels": max_pixels}
        _check_unused(options | others, f"the input is {spec}, which gets the bytes of the file")
        return _files(sources, spec, out, named=several)
    if preparation is not None:
        if not isinstance(preparation, Preparation):
            raise ImageError(f"expected preparation as plan makes it, got {type(preparation).__name__}")
        _check_unused(options, "preparation= decides that already")
    else:
        preparation = plan(spec, **options)  # type: ignore[arg-type]
    check_pixels(preparation, max_pixels)
    if "scale" in preparation.assumed:
        warnings.warn(
            f"the scale of pixels is assumed to be {preparation.scale!r}, as the input is {spec}: a model that expects "
            "another one gives wrong answers; pass scale= or preset=",
            AssumedScaleWarning,
            stacklevel=2,
        )
    if "layout" in preparation.assumed:
        warnings.warn(
            f"the layout is assumed to be {preparation.layout!r}, as the input is {spec}: a model that expects another "
            "one gives wrong answers; pass layout=",
            AssumedLayoutWarning,
            stacklevel=2,
        )
    return _Pictures(sources, spec, preparation, limits, named=several).tensor(out)


def _check_unused(options: Mapping[str, object], why: str) -> None:
    """Raise ImageError for an option that would have no effect."""
    defaults = {"exif": True, "alpha": "white", "bgr": False, "formats": FORMATS, "max_pixels": MAX_PIXELS}
    for name, value in options.items():
        default = defaults.get(name)
        if value is not default and (default is None or value != default):
            raise ImageError(f"{name}= has no effect: {why}")


def _is_source(images: object) -> bool:
    """Whether this is one picture, as opposed to an iterable of several."""
    one = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    return isinstance(images, one) or hasattr(images, "read") or not isinstance(images, Iterable)


def _files(sources: Sequence[Source], spec: TensorSpec, out: Array | None, *, named: bool) -> Array:
    """Return the bytes of files as a string tensor."""
    shape = files_shape(spec, len(sources))
    _check_batch(spec, len(sources), batch=bool(shape))
    tensor = _allocated(spec, len(sources), shape, np.dtype(object), out)
    places = tensor.reshape(len(sources))
    for index, source in enumerate(sources):
        with _errors_of(index, source, named=named):
            data = contents(source)
            if not isinstance(data, bytes):
                raise ImageError(
                    f"expected a path, bytes or a binary file object, as the input is {spec}, which gets the bytes of "
                    f"the file, got {type(data).__name__}"
                )
            places[index] = data
    return tensor


class _Pictures:
    """Pictures on their way into one tensor.

    Args:
        named: whether error texts have the index of the picture.
    """

    def __init__(
        self, sources: Sequence[Source], spec: TensorSpec, preparation: Preparation, limits: Limits, *, named: bool
    ) -> None:
        self._sources = sources
        self._spec = spec
        self._preparation = preparation
        self._limits = limits
        self._named = named
        self._turn = threading.Lock()  # held while a picture is processed that must be the only one

    def tensor(self, out: Array | None) -> Array:
        """Return the tensor of all pictures, which is ``out`` if that is given."""
        count, preparation = len(self._sources), self._preparation
        _check_batch(self._spec, count, batch=preparation.batch)
        with ExitStack() as turn:
            with self._errors_of(0):
                first = self._loaded(0, turn)
            size = preparation.size or first.size
            one = shape_of_one(preparation, size)
            shape = (count, *one) if preparation.batch else one
            tensor = _allocated(self._spec, count, shape, preparation.dtype, out)
            rows = tensor if preparation.batch else tensor[np.newaxis]
            with self._errors_of(0):
                write_array(first, preparation, rows[0])
            del first  # release its memory before others are decoded
        if count > 1:
            self._write_others(rows, size)
        return tensor

    def _errors_of(self, index: int) -> AbstractContextManager[None]:
        return _errors_of(index, self._sources[index], named=self._named)

    def _write_others(self, rows: Array, size: Size) -> None:
        def write(index: int) -> None:
            with ExitStack() as turn, self._errors_of(index):
                image = self._loaded(index, turn)
                if self._preparation.size is None and image.size != size:
                    raise ImageError(
                        f"{name_of(self._sources[index])} has {image.width}x{image.height} pixels, and the first "
                        f"picture has {size[0]}x{size[1]}: a tensor holds pictures of one size, so pass size="
                    )
                write_array(image, self._preparation, rows[index])

        from concurrent.futures import ThreadPoolExecutor  # slow to import

        others = range(1, len(self._sources))
        with ThreadPoolExecutor(min(THREADS, len(others)), thread_name_prefix="tfs-prepare") as pool:
            for _ in pool.map(write, others):  # raises the first error, and cancels what has not started
                pass

    def _loaded(self, index: int, turn: ExitStack) -> Image.Image:
        def wait(_: int = 0) -> None:
            turn.enter_context(self._turn)

        source, preparation = self._sources[index], self._preparation
        if isinstance(source, Image.Image):
            wait()  # Pillow may decode it only now, and the same image may be in the list twice
        return load_within(self._limits, source, exif=preparation.exif, alpha=preparation.alpha, before_large=wait)


@contextmanager
def _errors_of(index: int, source: Source, *, named: bool) -> Iterator[None]:
    """Put the index of a picture into its errors. Running out of memory is an ImageError, too."""
    where = f"images[{index}]: " if named else ""
    try:
        yield
    except MemoryError as error:
        raise ImageError(f"{where}{name_of(source)} cannot be prepared: not enough memory") from error
    except ImageError as error:
        if not named:
            raise
        raise ImageError(f"{where}{error}") from error.__cause__


def _check_batch(spec: TensorSpec, count: int, *, batch: bool) -> None:
    if count > 1 and not batch:
        raise ImageError(f"the input is {spec}, which takes one picture at a time, got {count}")


def _allocated(
    spec: TensorSpec, count: int, shape: tuple[int, ...], dtype: np.dtype[np.generic], out: Array | None
) -> Array:
    """Return an array for the tensor, which is ``out`` if that is given. Raises ImageError unless it fits the input."""
    if not spec.accepts(shape) or (spec.row.name != "string" and spec.row.number and dtype != spec.dtype):
        raise ImageError(
            f"the input is {spec}, and {count} picture{'s' if count > 1 else ''} prepared like this make {dtype} "
            f"{shape_text(shape)}"
        )
    if out is None:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:  # ValueError: more than any memory holds
            raise ImageError(f"not enough memory for a tensor of {dtype} {shape_text(shape)}") from error
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != shape or not out.flags.writeable:
        got = f"{out.dtype} {shape_text(out.shape)}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ImageError(f"expected out as a writeable array of {dtype} {shape_text(shape)}, got {got}")
    return out
