"""One picture as it is sent: the input that receives it, its tensor, and the line that says what happened to it.

The classes are plain ones: every prediction from the shell waits until they are made, and dataclasses take longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfs_client._codec.dtypes import Array
from tfs_client.cli.predict.arguments import InputOptions
from tfs_client.cli.predict.inputs import (
    ALONE,
    Size,
    check_decoded,
    check_memory,
    decoded,
    file_tensor,
    limits_of,
    picture_alias,
    plan_for,
    sent_as_file,
    sent_bytes,
    size_inputs,
)
from tfs_client.errors import ImageError
from tfs_client.signatures import Signature, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from tfs_client.images import Geometry, Limits, Preparation


def header_of(data: bytes, limits: Limits) -> tuple[str, Size | None, int]:
    """Read the header of a picture file: Pillow's name of its format, its width and height, its EXIF orientation.

    The size is that of the pixels as they are stored. Never raises: the model may know formats that Pillow does not,
    for which the format is "" and the size None.
    """
    from tfs_client.images.formats import open_as
    from tfs_client.images.loading import ORIENTATION

    try:
        with open_as(data, limits.formats, limits.max_pixels) as opened:
            found = opened.getexif().get(ORIENTATION, 1)
            return opened.format or "", opened.size, found if found in range(2, 9) else 1
    except Exception:  # Pillow's decoders raise almost anything
        return "", None, 1


class PictureInput:
    """The input for the picture, and how it gets it.

    Attributes:
        alias: the input.
        spec: its dtype and shape.
        preparation: how the pixels become the tensor; None where the file's bytes are sent.
    """

    def __init__(self, alias: str, spec: TensorSpec, preparation: Preparation | None) -> None:
        self.alias = alias
        self.spec = spec
        self.preparation = preparation

    @property
    def batch(self) -> bool:
        """Whether the input takes a batch of pictures."""
        if self.preparation is not None:
            return self.preparation.batch
        return self.spec.shape is None or len(self.spec.shape) > 0

    @property
    def warning(self) -> str:
        """What was assumed about the picture and can make every answer wrong; "" if nothing was."""
        if self.preparation is None or not self.preparation.assumed:
            return ""
        what, flags = [], []
        if "scale" in self.preparation.assumed:
            what.append(f"scale {self.preparation.scale} (0..1)")
            flags.append("--scale or --preset")
        if "layout" in self.preparation.assumed:
            what.append(f"layout {self.preparation.layout}")
            flags.append("--layout")
        example = ", such as --preset mobilenet_v2 or --scale tf" if "scale" in self.preparation.assumed else ""
        kind = "float input" if self.preparation.dtype.kind == "f" else "input"
        return (
            f"{' and '.join(what)} {'was' if len(what) == 1 else 'were'} assumed for the {kind} {self.alias!r}: "
            f"give {', and '.join(flags)}{example}; docs/images.md says how to find out"
        )


def picture_input(options: InputOptions, signature: Signature, taken: Mapping[str, object]) -> PictureInput:
    """Choose the input for the picture, and its preparation.

    Raises SignatureError and ImageError for options that contradict the signature.
    """
    alias = picture_alias(options, signature, taken)
    spec = signature.inputs[alias]
    return PictureInput(alias, spec, None if sent_as_file(options, spec) else plan_for(options, spec))


class SentPicture:
    """A picture as it is sent.

    Attributes:
        into: the input for it.
        inputs: its tensor by alias, with the picture's size where the signature has inputs for it.
        image: the decoded picture, which answers are drawn on; None where it need not be decoded.
        geometry: where it lies in the tensor, or in the pixels of its file; None for a file of unknown format.
        line: what happened to it, in one line.
    """

    def __init__(
        self,
        into: PictureInput,
        inputs: dict[str, Array],
        image: Image | None,
        geometry: Geometry | None,
        line: str,
    ) -> None:
        self.into = into
        self.inputs = inputs
        self.image = image
        self.geometry = geometry
        self.line = line


def sent_picture(
    options: InputOptions,
    name: str,
    data: bytes,
    into: PictureInput,
    signature: Signature,
    taken: Mapping[str, object],
) -> SentPicture:
    """Convert a picture file to inputs.

    Args:
        name: the path, for error texts.
        data: the file's bytes.
        into: the input for it.
        taken: the inputs that the command line gives.

    Raises ImageError, also when memory runs out; SignatureError for options that would have no effect.
    """
    from tfs_client.images import Geometry

    try:
        if into.preparation is None:
            image, size, line = _as_file(options, name, data, into)
            tensor = file_tensor(data, into.spec)
            geometry = None if size is None else Geometry.unknown(size)
        else:
            image, tensor = _as_pixels(options, name, data, into.preparation)
            geometry, line = into.preparation.geometry(image.size), into.preparation.describe(image.size)
    except MemoryError as error:
        raise ImageError(f"{name!r}: not enough memory for its pixels") from error
    inputs = {into.alias: tensor}
    if geometry is not None:
        sizes = [alias for alias in ("width", "height") if alias in signature.inputs and alias not in taken]
        inputs |= size_inputs(signature, sizes, geometry.target)
    return SentPicture(into, inputs, image, geometry, line)


def _as_pixels(options: InputOptions, name: str, data: bytes, preparation: Preparation) -> tuple[Image, Array]:
    from tfs_client import images

    image = decoded(data, name, limits_of(options), preparation)
    check_memory(image.width * image.height, sent_bytes(preparation), ALONE, f"{name!r} ")
    return image, images.to_array(image, preparation)


def _as_file(
    options: InputOptions, name: str, data: bytes, into: PictureInput
) -> tuple[Image | None, Size | None, str]:
    """Return the picture if it is drawn on, its size if that is known, and the line.

    The picture is not turned by its EXIF orientation: the model gets its pixels as they are stored, and what it finds
    has its place there.
    """
    check_decoded(options, into.alias, into.spec)
    image = None
    if options.drawn:
        image = decoded(data, name, limits_of(options), None)
    form, stored, orientation = header_of(data, limits_of(options))
    size = stored if image is None else image.size
    picture = "picture" if size is None else f"picture {size[0]}x{size[1]}"
    parts = [f"{len(data)} bytes", form or "unknown format"]
    if orientation != 1:
        parts.append(f"EXIF orientation {orientation} is left to the model")
    return image, size, f"{picture} sent as its file ({', '.join(parts)})"
