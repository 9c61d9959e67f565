"""Pictures: the bodies of jobs as inputs of the model."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

MAX_BODY = 64 << 10  # bytes


def read_picture(body: bytes) -> npt.NDArray[np.float32]:
    """Read a grey picture: ``{"pixels": rows of brightness}``, from 0 to 1. Raises ValueError for anything else."""
    if len(body) > MAX_BODY:
        raise ValueError(f"expected at most {MAX_BODY} bytes, got {len(body)}")
    try:
        document = json.loads(body)
        pixels = np.asarray(document["pixels"] if isinstance(document, dict) else None)
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"expected JSON with rows of pixels: {type(error).__name__}") from error
    if pixels.ndim != 2 or pixels.dtype.kind not in "fi":
        raise ValueError("pixels: expected a list of rows, and each row a list of numbers")
    if not ((pixels >= 0) & (pixels <= 1)).all():  # NaN is not, either
        raise ValueError("pixels: expected numbers from 0 to 1")
    return pixels.astype(np.float32)[..., np.newaxis]
