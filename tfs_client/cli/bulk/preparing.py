"""Preparation: what is sent for a picture, and what goes along with all of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tfs_client.cli.inputs import (
    Picture,
    given_inputs,
    limits_of,
    open_picture,
    picture_alias,
    picture_tensor,
    size_inputs,
)
from tfs_client.codec.values import as_array
from tfs_client.errors import ImageError
from tfs_client.signatures import Signature, TensorSpec

Array = np.ndarray[Any, Any]

DECODED = 8  # bytes for a pixel while it is decoded
COPIES = 8  # of a tensor on its way to the model: array, batch, request, and what gRPC and an embedded server hold
PARTS = 4  # pictures of this size that are held in all, prepared or under way


class Preparation:
    """Makes inputs of pictures.

    Args:
        options: the options of the command line that say how.
        given: values of other inputs by alias, which go with every picture.
        signature: what the model takes.

    Raises SignatureError, ImageError and ConfigError for options that fit no picture.

    Attributes:
        together: whether pictures can share a request. Those of a model that takes one at a time cannot, nor those
            with a size of their own beside them that has no batch axis.
        shared: inputs that go whole with every request.
    """

    def __init__(self, options: Any, given: Mapping[str, Any], signature: Signature) -> None:
        from tfs_client import images

        self._options = options
        self._limits = limits_of(options)
        self._large = threading.Lock()  # of pictures that take much memory one at a time is decoded
        self._signature = signature
        self._constants: dict[str, Any] = given_inputs(given, signature)
        self._alias = picture_alias(options, signature, self._constants)
        spec = signature.inputs[self._alias]
        self._encoded = options.encoded or spec.row.name == "string"
        if self._encoded:
            batch, size = spec.shape is None or len(spec.shape) > 0, None
            self._bytes_per_pixel = DECODED
        else:
            plan = images.plan(spec, size=options.size, scale=options.scale, layout=options.layout, dtype=options.dtype)
            batch, size = plan.batch, plan.size
            sent = 0 if size is not None else COPIES * plan.channels * plan.dtype.itemsize
            self._bytes_per_pixel = DECODED + sent
        self._sizes = [name for name in ("width", "height") if name in signature.inputs and name not in self._constants]
        apart = [name for name in self._sizes if not _has_rows(signature.inputs[name])]
        any_number = spec.shape is None or not spec.shape or spec.shape[0] is None
        self._batch, self._sized = batch, size is not None
        self.together = batch and any_number and (size is not None or not apart)
        self.shared: dict[str, Any] = {}
        if self.together:
            whole = {name for name, array in self._constants.items() if not _is_row(array, signature.inputs[name])}
            self.shared = {name: self._constants.pop(name) for name in whole}
            if size is not None and apart:
                self.shared |= {name: size_inputs(signature, [name], size)[name] for name in apart}
                self._sizes = [name for name in self._sizes if name not in apart]

    def __call__(self, name: str) -> dict[str, Array]:
        """The inputs for a picture file: without the batch axis where pictures go together, else a whole request.

        Raises ImageError, which names the file.
        """
        with ExitStack() as turn:
            picture = self._picture(name, partial(self._take_turn, turn))
            tensor, size = picture_tensor(self._options, picture, self._signature.inputs[self._alias])
            del picture  # before the next one
        inputs = {**self._constants, self._alias: tensor}
        if size is not None:
            inputs |= size_inputs(self._signature, self._sizes, size)
        return {alias: array[0] for alias, array in inputs.items()} if self.together else inputs

    def _take_turn(self, turn: ExitStack, pixels: int) -> None:
        """Wait until no other large picture is being prepared. Raises ImageError for one that memory is too small for.

        gRPC ends the process when it gets no memory, so it must not come to that where the address space is limited.
        """
        need, most = pixels * self._bytes_per_pixel, _address_space()
        if most is not None and need > most // PARTS:
            raise ImageError(
                f"has {pixels} pixels, which take {need >> 20} MiB on their way to the model, expected at most "
                f"1/{PARTS} of the {most >> 20} MiB that the process is limited to; --size WxH sends less"
            )
        turn.enter_context(self._large)

    def mismatch(self, name: str) -> str:
        """How what is sent for a picture differs from what the model takes; empty when it does not.

        What may be the picture's own fault, its size where that decides, is left to the server. Raises ImageError.
        """
        inputs = self(name)
        if self.together:
            inputs = {alias: as_array(array)[np.newaxis] for alias, array in inputs.items()} | self.shared
        wanted = dict(self._signature.inputs)
        if not self._sized:
            wanted[self._alias] = replace(wanted[self._alias], shape=None)
        differs = replace(self._signature, inputs=wanted).mismatch(inputs)
        return differs and self._signature.mismatch(inputs)

    def outputs(self, prediction: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for the picture of a whole request, without the batch axis where they have one."""
        rows = self._batch and all(array.ndim and len(array) == 1 for array in prediction.values())
        return {alias: array.reshape(array.shape[1:]) if rows else array for alias, array in prediction.items()}

    def _picture(self, name: str, before_large: Callable[[int], object]) -> Picture:
        if os.path.exists(name) and not (os.path.isfile(name) or os.path.isdir(name)):
            raise ImageError(f"cannot read {name!r}: it is a pipe or a device, which may keep a run waiting for ever")
        if self._encoded and not self._sizes:
            from tfs_client import images

            return Picture(name, images.read_file(name), None)
        return open_picture(name, self._limits, needed=not self._encoded, before_large=before_large)


def _address_space() -> int | None:
    """The bytes of address space that the process may have; None for as many as there are."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if most == resource.RLIM_INFINITY else most


def _has_rows(spec: TensorSpec) -> bool:
    """Whether an input has a row for each picture of a request, however many there are."""
    return bool(spec.shape) and spec.shape[0] is None  # type: ignore[index]


def _is_row(array: Any, spec: TensorSpec) -> bool:
    """Whether what was given for an input is the row of one picture, to be repeated for each."""
    return _has_rows(spec) and array.ndim == len(spec.shape or ()) and array.shape[0] == 1
