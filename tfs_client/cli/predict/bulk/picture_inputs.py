"""The inputs for a picture, and the inputs that all requests share."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._codec.values import as_array
from tfs_client.cli.predict.arguments import InputOptions
from tfs_client.cli.predict.inputs import (
    ALONE,
    DECODED,
    Size,
    check_decoded,
    check_memory,
    decoded,
    file_tensor,
    given_inputs,
    limits_of,
    sent_bytes,
    size_inputs,
)
from tfs_client.cli.predict.sent_picture import header_of, picture_input
from tfs_client.errors import ImageError
from tfs_client.signatures import Signature, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from tfs_client.images import Preparation

PARTS = 4  # large pictures that memory must hold at once, prepared or in flight


class Prepared(NamedTuple):
    """What is sent for a picture.

    Attributes:
        inputs: arrays by alias: without the batch axis if pictures share requests, else a whole request.
        size: width and height of the picture that the model sees, before it is resized; None if they are unknown.
    """

    inputs: Mapping[str, Array]
    size: Size | None


class PictureInputs:
    """Converts pictures to inputs.

    Args:
        options: the command's options.
        given: values of other inputs by alias, sent with every picture.
        signature: the model's signature.

    Raises SignatureError, ImageError and ConfigError for options that do not suit any picture.

    Attributes:
        signature: the model's signature.
        batch: whether the first axis of inputs and outputs is the batch.
        plan: the preparation of pictures; None if their files are sent.
        line: what happens to pictures, in one line.
        warning: what was assumed about them and can make every answer wrong; "" if nothing was.
        together: whether pictures can share a request. They cannot if the model takes one at a time, or if it takes
            each picture's size in an input without a batch axis.
        shared: inputs that are sent unchanged with every request.
    """

    def __init__(self, options: InputOptions, given: Mapping[str, object], signature: Signature) -> None:
        self._limits = limits_of(options)
        self._large = threading.Lock()  # large pictures are decoded one at a time
        self.signature: Signature = signature
        self._constants = given_inputs(given, signature)
        into = picture_input(options, signature, self._constants)
        self._alias, self._spec = into.alias, into.spec
        self.plan: Preparation | None = into.preparation
        self.line: str = "pictures sent as their files" if into.preparation is None else into.preparation.describe()
        self.warning: str = into.warning
        if self.plan is None:
            check_decoded(options, into.alias, into.spec)
        batch = into.batch
        size = None if self.plan is None else self.plan.size
        self._bytes_per_pixel = DECODED + (0 if self.plan is None else sent_bytes(self.plan))
        self._sizes = [name for name in ("width", "height") if name in signature.inputs and name not in self._constants]
        apart = [name for name in self._sizes if not _has_rows(signature.inputs[name])]
        any_number = not into.spec.shape or into.spec.shape[0] is None
        self.batch: bool = batch
        self._sized = size is not None
        self.together: bool = batch and any_number and (size is not None or not apart)
        self.shared: dict[str, Array] = {}
        if self.together:
            whole = {name for name, array in self._constants.items() if not _is_row(array, signature.inputs[name])}
            self.shared = {name: self._constants.pop(name) for name in whole}
            if size is not None and apart:
                self.shared |= {name: size_inputs(signature, [name], size)[name] for name in apart}
                self._sizes = [name for name in self._sizes if name not in apart]

    def __call__(self, name: str) -> Prepared:
        """Return the inputs for a picture, and its size.

        Raises ImageError, which names the file.
        """
        try:
            return self._prepared(name)
        except MemoryError as error:
            raise ImageError(f"{name!r}: not enough memory to prepare it") from error

    def _prepared(self, name: str) -> Prepared:
        if self.plan is None:
            data = _read(name)
            tensor, source = file_tensor(data, self._spec), header_of(data, self._limits)[1]
            sent = source
        else:
            tensor, source = self._pixels(name, self.plan)
            sent = self.plan.size or source
        inputs = {**self._constants, self._alias: tensor}
        if sent is not None:
            inputs |= size_inputs(self.signature, self._sizes, sent)
        if self.together:
            inputs = {alias: array[0] for alias, array in inputs.items()}
        return Prepared(inputs, source)

    def _pixels(self, name: str, plan: Preparation) -> tuple[Array, Size]:
        """Return the tensor of a picture and the picture's size."""
        from tfs_client import images

        with ExitStack() as turn:
            image = decoded(_read(name), name, self._limits, plan, partial(self._take_turn, turn))
            check_memory(image.width * image.height, sent_bytes(plan), ALONE, f"{name!r} ")
            return images.to_array(image, plan), image.size

    def _take_turn(self, turn: ExitStack, pixels: int) -> None:
        """Wait until no other large picture is being prepared. Raises ImageError if memory does not suffice."""
        self._check_memory(pixels)
        turn.enter_context(self._large)

    def _check_memory(self, pixels: int) -> None:
        check_memory(pixels, self._bytes_per_pixel, PARTS)

    def mismatch(self, name: str) -> str:
        """Describe how the inputs for a picture differ from the signature; empty if they match.

        A mismatch that other pictures may not have, in a shape that depends on the picture's size, is left to the
        server. Raises ImageError.
        """
        inputs: Mapping[str, Array] = self(name).inputs
        if self.together:
            inputs = {alias: as_array(array)[np.newaxis] for alias, array in inputs.items()} | self.shared
        specs = dict(self.signature.inputs)
        if not self._sized:
            specs[self._alias] = replace(specs[self._alias], shape=None)
        differs = replace(self.signature, inputs=specs).mismatch(inputs)
        return differs and self.signature.mismatch(inputs)

    def outputs(self, prediction: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of a request for one picture, without the batch axis if all have one."""
        rows = self.batch and all(array.ndim and len(array) == 1 for array in prediction.values())
        return {alias: array.reshape(array.shape[1:]) if rows else array for alias, array in prediction.items()}

    def original(self, name: str) -> Image:
        """Return a picture with the pixels that answers refer to: upright, or as stored if its file was sent.

        Raises ImageError.
        """
        return decoded(_read(name), name, self._limits, self.plan, self._check_memory)

    def row_specs(self) -> dict[str, TensorSpec]:
        """Return the outputs for one picture as ``Row`` has them."""
        found = dict(self.signature.outputs)
        if self.together or (self.batch and all(_is_single(spec) for spec in found.values())):
            return {alias: replace(spec, shape=spec.shape and spec.shape[1:]) for alias, spec in found.items()}
        return found


def _read(name: str) -> bytes:
    from tfs_client import images

    if os.path.exists(name) and not (os.path.isfile(name) or os.path.isdir(name)):
        raise ImageError(f"cannot read {name!r}: it is a pipe or a device, which could block the run forever")
    return images.read_file(name)


def _is_single(spec: TensorSpec) -> bool:
    """Whether an output has a batch axis for a request of one picture."""
    return spec.shape is None or (len(spec.shape) > 0 and spec.shape[0] in (None, 1))


def _has_rows(spec: TensorSpec) -> bool:
    """Whether an input has one row per picture, with any number of rows."""
    return bool(spec.shape) and spec.shape[0] is None  # type: ignore[index]


def _is_row(array: Array, spec: TensorSpec) -> bool:
    """Whether a given value is the row for one picture, to be repeated for every picture."""
    return _has_rows(spec) and array.ndim == len(spec.shape or ()) and array.shape[0] == 1
