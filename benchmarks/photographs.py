"""Drawn photographs for the benchmarks."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw


def photograph(width: int = 640, height: int = 480, seed: int = 0) -> bytes:
    """A JPEG of a smooth background, some shapes and a little noise, which decodes about as slowly as a photograph."""
    rng = np.random.default_rng(seed)
    ground = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 100, width))[..., None] + rng.normal(
        0, 6, (height, width, 3)
    )
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    scale = width / 640
    for x, y, size, red, green, blue in rng.integers(0, 255, (60, 6)):
        box = [round(scale * edge) for edge in (2 * x, y, 2 * x + size, y + size)]
        draw.ellipse(box, fill=(int(red), int(green), int(blue)))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
