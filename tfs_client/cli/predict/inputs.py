"""The inputs of tfs-predict: values of the command line, and the picture as the signature expects it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client.cli.predict.arguments import InputOptions
from tfs_client.cli.predict.contradictions import PREPARATION_OPTIONS, first_given
from tfs_client.cli.predict.option_words import preparation_as_options
from tfs_client.errors import ImageError, SignatureError
from tfs_client.signatures import Signature, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from tfs_client.images import Limits, Preparation

Size = tuple[int, int]  # width, height

DECODED = 8  # bytes per pixel while decoding
COPIES = 8  # of a tensor on its way to the model: array, batch, request, those of gRPC and of an embedded server
ALONE = 2  # a single picture may take half of the address space


def limits_of(options: InputOptions) -> Limits:
    """Return the limits on decoding that the options set. Raises ConfigError."""
    from tfs_client import images

    most = images.MAX_PIXELS if options.max_pixels is None else options.max_pixels
    if options.formats is None:
        return images.Limits(max_pixels=most)
    names = [name.strip() for name in options.formats.removeprefix("+").split(",")]
    more = images.FORMATS if options.formats.startswith("+") else ()
    return images.Limits((*more, *(name.removeprefix("+") for name in names)), most)


def given_inputs(given: Mapping[str, object], signature: Signature) -> dict[str, Array]:
    """Return the inputs of the command line in the signature's dtypes."""
    return {alias: _given(values, alias, signature) for alias, values in given.items()}


def picture_alias(options: InputOptions, signature: Signature, taken: Mapping[str, object]) -> str:
    """Return the alias of the input for the picture. Raises SignatureError."""
    from tfs_client import images

    alias = options.image_input or images.picture_input(signature, taken)
    if alias not in signature.inputs:
        raise SignatureError(f"unknown input {alias!r}; the inputs are: {_listed(signature)}")
    return alias


def sent_as_file(options: InputOptions, spec: TensorSpec) -> bool:
    """Whether an input receives the file's bytes. Raises SignatureError for options that contradict the signature."""
    if spec.row.name == "string":
        if found := first_given(options, PREPARATION_OPTIONS):
            raise SignatureError(
                f"{found} prepares pixels, and the input is {spec}, which gets the file's bytes unchanged: leave it out"
            )
        return True
    if options.encoded and spec.row.number:
        raise SignatureError(f"--encoded sends the file's bytes, for which it expects an input of strings, got {spec}")
    return options.encoded


def check_decoded(options: InputOptions, alias: str, spec: TensorSpec) -> None:
    """Raise SignatureError for an option that limits decoding, where an input gets the file and nothing is decoded."""
    if not options.drawn and (found := first_given(options, ("formats", "max_pixels"))):
        raise SignatureError(
            f"{found} limits how pictures are decoded, and the input {alias!r} is {spec}, which gets the file's bytes: "
            "leave it out"
        )


def decoded(
    data: bytes,
    name: str,
    limits: Limits,
    preparation: Preparation | None,
    before_large: Callable[[int], object] | None = None,
) -> Image:
    """Decode a picture as its preparation says; without one, as its file stores it, which is what the model gets.

    Raises ImageError, which names the picture.
    """
    from tfs_client import images

    exif, alpha = (False, "white") if preparation is None else (preparation.exif, preparation.alpha)
    try:
        return images.decode(data, limits, exif=exif, alpha=alpha, before_large=before_large)
    except ImageError as error:
        raise ImageError(f"{name!r} {error}") from error.__cause__


def size_inputs(signature: Signature, names: Iterable[str], size: Size) -> dict[str, Array]:
    """Return the inputs ``width`` and ``height``, which models such as DeepLab take in addition to the picture."""
    pixels = dict(zip(("width", "height"), size, strict=True))
    specs = {name: signature.inputs[name] for name in names}
    return {name: spec.cast(_alone(pixels[name], spec), name) for name, spec in specs.items()}


def _alone(value: int, spec: TensorSpec) -> object:
    """Return a value as the only element of an input."""
    alone: object = value
    for _ in spec.shape or ():
        alone = [alone]
    return alone


def _given(values: object, alias: str, signature: Signature) -> Array:
    if alias not in signature.inputs:
        raise SignatureError(f"unknown input {alias!r}; the inputs are: {_listed(signature)}")
    spec = signature.inputs[alias]
    # Files often hold float64, numpy's default, and a command line cannot call astype.
    from_file = isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
    return spec.cast(values, alias, lossless=from_file)


def _listed(signature: Signature) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in sorted(signature.inputs.items())) or "none"


def file_tensor(data: bytes, spec: TensorSpec) -> Array:
    """Return the bytes of a file as the value of an input of strings."""
    from tfs_client.images.inputs import files_shape

    tensor = np.empty(files_shape(spec, 1), object)
    tensor[...] = data
    return tensor


def plan_for(options: InputOptions, spec: TensorSpec) -> Preparation:
    """Return the preparation of pictures for an input.

    Raises ImageError for options that contradict it, and for a tensor of more pixels than --max-pixels.
    """
    try:
        return _planned(options, spec)
    except ImageError as error:
        raise ImageError(preparation_as_options(str(error))) from error.__cause__


def _planned(options: InputOptions, spec: TensorSpec) -> Preparation:
    from tfs_client import images
    from tfs_client.images.preparation import check_pixels

    found = images.plan(
        spec,
        preset=options.preset,
        size=options.size,
        scale=options.scale,
        layout=options.layout,
        dtype=options.dtype,
        resize=options.resize,
        fit=options.fit,
        pad_value=options.pad_value,
        exif=options.exif is not False,
        alpha=options.alpha or "white",
        bgr=options.bgr,
        mean=options.mean,
        std=options.std,
    )
    check_pixels(found, limits_of(options).max_pixels)
    return found


def sent_bytes(plan: Preparation) -> int:
    """Return the bytes per pixel on the way to the model; 0 where the picture is resized first."""
    return 0 if plan.size is not None else COPIES * plan.channels * plan.dtype.itemsize


def check_memory(pixels: int, bytes_per_pixel: int, parts: int, picture: str = "") -> None:
    """Raise ImageError for a picture that needs more than its part of a limited address space (``ulimit -v``).

    gRPC aborts the process when an allocation fails, so this check comes first. Without a limit, it passes.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    need, most = pixels * bytes_per_pixel, resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY and need > most // parts:
        raise ImageError(
            f"{picture}has {pixels} pixels, which need {need >> 20} MiB of memory to process, but may use at most "
            f"1/{parts} of the process's limit of {most >> 20} MiB; --size WxH sends fewer pixels"
        )
