"""The inputs of tfs-predict: as given on the command line, or made of the picture as the signature wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_client.codec.values import as_array
from tfs_client.errors import ImageError, SignatureError
from tfs_client.signatures import Signature, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from tfs_client.images import Limits, Preparation

Size = tuple[int, int]  # width, height

DECODED = 8  # bytes for a pixel while it is decoded
COPIES = 8  # of a tensor on its way to the model: array, batch, request, and what gRPC and an embedded server hold
ALONE = 2  # half of the address space is for what a single picture takes


@dataclass(frozen=True)
class Picture:
    """A picture file.

    Attributes:
        name: its path, for error texts.
        data: its bytes.
        image: the decoded picture; None when it could not be decoded and did not need to be.
    """

    name: str
    data: bytes
    image: Image | None

    def decoded(self) -> Image:
        """The picture. Raises ImageError."""
        if self.image is None:
            raise ImageError(f"{self.name!r} is not a picture that Pillow knows; JPEG, PNG and WebP work")
        return self.image


def limits_of(options: Any) -> Limits:
    """Which pictures are decoded, as the options say. Raises ConfigError."""
    from tfs_client import images

    most = images.MAX_PIXELS if options.max_pixels is None else options.max_pixels
    if options.formats is None:
        return images.Limits(max_pixels=most)
    names = [name.strip() for name in options.formats.removeprefix("+").split(",")]
    more = images.FORMATS if options.formats.startswith("+") else ()
    return images.Limits((*more, *(name.removeprefix("+") for name in names)), most)


def open_picture(
    path: str, limits: Limits, *, needed: bool, before_large: Callable[[int], object] | None = None
) -> Picture:
    """Read a picture file. Unless it is ``needed`` decoded, the model may know formats that Pillow does not."""
    from tfs_client import images

    data = images.read_file(path)
    try:
        return Picture(path, data, images.decode(data, limits, before_large=before_large))
    except ImageError as error:
        if needed:
            raise ImageError(f"{path!r} {error}") from error.__cause__
        return Picture(path, data, None)


def make_inputs(
    options: Any, given: dict[str, Any], picture: Picture | None, signature: Signature
) -> tuple[dict[str, Any], Size | None]:
    """Every input in the dtype of the signature, and the size of the picture as it is sent."""
    inputs = given_inputs(given, signature)
    if picture is None:
        return inputs, None
    alias = picture_alias(options, signature, inputs)
    inputs[alias], size = picture_tensor(options, picture, signature.inputs[alias])
    if size is not None:
        wanted = [name for name in ("width", "height") if name in signature.inputs and name not in inputs]
        inputs |= size_inputs(signature, wanted, size)
    return inputs, size


def given_inputs(given: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """What was given on the command line, in the dtypes of the signature."""
    return {alias: _given(values, alias, signature) for alias, values in given.items()}


def picture_alias(options: Any, signature: Signature, taken: Mapping[str, Any]) -> str:
    """The input that takes the picture."""
    alias: str = options.image_input or _picture_input(signature, taken)
    if alias not in signature.inputs:
        raise SignatureError(f"no input {alias!r}; the inputs are: {_listed(signature)}")
    return alias


def size_inputs(signature: Signature, names: Iterable[str], size: Size) -> dict[str, Any]:
    """The inputs ``width`` and ``height``, which DeepLab and its kin ask for beside the picture."""
    pixels = dict(zip(("width", "height"), size, strict=True))
    specs = {name: signature.inputs[name] for name in names}
    return {
        name: spec.cast([pixels[name]] * len(spec.shape) if spec.shape else pixels[name], name)
        for name, spec in specs.items()
    }


def _given(values: Any, alias: str, signature: Signature) -> Any:
    if alias not in signature.inputs:
        raise SignatureError(f"no input {alias!r}; the inputs are: {_listed(signature)}")
    spec = signature.inputs[alias]
    # A file holds float64 because numpy computes in it: nobody can say astype on a command line.
    from_file = isinstance(values, np.ndarray) and values.dtype.kind in "iuf"
    return spec.cast(values, alias, lossless=from_file)


def _listed(signature: Signature) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in sorted(signature.inputs.items())) or "none"


def _picture_input(signature: Signature, taken: Mapping[str, Any]) -> str:
    """The input that takes the picture: the only one that could, or the one that is named after it."""
    able = [
        alias
        for alias, spec in signature.inputs.items()
        if alias not in taken and (spec.row.name == "string" or spec.shape is None or len(spec.shape) >= 2)
    ]
    named = [alias for alias in able if "image" in alias.lower() or "picture" in alias.lower()]
    if len(able) != 1 and len(named) != 1:
        raise SignatureError(
            f"which input takes the picture? Say --image-input NAME; the inputs are: {_listed(signature)}"
        )
    return able[0] if len(able) == 1 else named[0]


def picture_tensor(options: Any, picture: Picture, spec: TensorSpec) -> tuple[Any, Size | None]:
    """The tensor, and the size of the picture in it. Raises ImageError, also when memory runs out."""
    from tfs_client import images

    try:
        if options.encoded or spec.row.name == "string":
            tensor = as_array([picture.data] if spec.shape is None or len(spec.shape) else picture.data)
            return tensor, picture.image.size if picture.image else None
        wanted = images.plan(spec, size=options.size, scale=options.scale, layout=options.layout, dtype=options.dtype)
        image = picture.decoded()
        check_memory(image.width * image.height, sent_bytes(wanted), ALONE, f"{picture.name!r} ")
        return images.to_array(image, wanted), wanted.size or image.size
    except MemoryError as error:
        raise ImageError(f"{picture.name!r}: there is not enough memory for its pixels") from error


def sent_bytes(plan: Preparation) -> int:
    """What a pixel takes on its way to the model; nothing that counts where the picture is made smaller before."""
    return 0 if plan.size is not None else COPIES * plan.channels * plan.dtype.itemsize


def check_memory(pixels: int, bytes_per_pixel: int, parts: int, picture: str = "") -> None:
    """Raise ImageError for a picture that takes more than its part of a limited address space (``ulimit -v``).

    gRPC ends the process when an allocation fails, so this is checked before. Without a limit nothing is checked.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    need, most = pixels * bytes_per_pixel, resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY and need > most // parts:
        raise ImageError(
            f"{picture}has {pixels} pixels, which take {need >> 20} MiB on their way to the model; expected at most "
            f"1/{parts} of the {most >> 20} MiB that the process is limited to; --size WxH sends less"
        )
