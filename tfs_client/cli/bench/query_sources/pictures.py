"""Inputs with pictures, prepared before the load begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfs_client._codec.dtypes import Array
from tfs_client._printable import counted
from tfs_client.cli.bench.query_sources.predictions import check_bytes
from tfs_client.cli.predict.arguments import InputOptions
from tfs_client.cli.predict.bulk.picture_inputs import PictureInputs
from tfs_client.cli.predict.bulk.picture_sources import listed
from tfs_client.errors import ConfigError, SignatureError
from tfs_client.signatures import Signature


class PictureRequests:
    """Requests of one or several pictures each.

    Args:
        options: which pictures, and their preparation.
        given: values of other inputs by alias.
        signature: the model's signature.
        rows: pictures in a request.
        distinct: how many requests differ; None for as many as it takes to send every picture.

    Raises ConfigError, SignatureError and ImageError for options and pictures that do not fit the model.

    Attributes:
        requests: the inputs of each request.
        line: what happens to pictures, in one line.
        warning: what was assumed about them; "" if nothing was.
    """

    def __init__(
        self, options: InputOptions, given: Mapping[str, object], signature: Signature, rows: int, distinct: int | None
    ) -> None:
        names, unreadable = listed(options.image or (), ())
        if unreadable:
            raise ConfigError(f"--image: {unreadable[0].image!r}: {unreadable[0].error}")
        inputs = PictureInputs(options, given, signature)
        if rows > 1 and not inputs.together:
            raise ConfigError(f"--rows {rows}: the model takes one picture in a request: leave --rows out")
        count = -(-len(names) // rows) if distinct is None else distinct
        self.requests: list[dict[str, Array]] = []
        self.line: str = inputs.line
        if count * rows > len(names):
            repeated = f"{counted(len(names), 'pictures')} repeated to fill {counted(count * rows, 'rows')}"
            self.line = f"{repeated}, {self.line}"
        self.warning: str = inputs.warning
        prepared: dict[str, Mapping[str, Array]] = {}
        total = 0
        for number in range(count):
            chosen = [names[(number * rows + place) % len(names)] for place in range(rows)]
            for name in chosen:
                if name not in prepared:
                    prepared[name] = inputs(name).inputs
            request = _joined([prepared[name] for name in chosen], inputs)
            if mismatch := signature.mismatch(request):
                raise SignatureError(f"{counted(rows, 'pictures')} do not fit the model: {mismatch}")
            total += sum(map(_bytes, request.values()))
            check_bytes(total)
            self.requests.append(request)


def _joined(rows: Sequence[Mapping[str, Array]], inputs: PictureInputs) -> dict[str, Array]:
    """Return the request for several pictures, with the inputs that they share."""
    if not inputs.together:
        return dict(rows[0])
    try:
        joined = {alias: np.stack([row[alias] for row in rows]) for alias in rows[0]}
    except ValueError:
        raise ConfigError(
            "pictures of several sizes cannot share a request: --size WxH resizes them, or leave --rows out"
        ) from None
    return {**joined, **inputs.shared}


def _bytes(array: Array) -> int:
    if array.dtype != object:
        return array.nbytes
    return sum(len(value) for value in array.flat)
