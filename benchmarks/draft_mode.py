"""Compare JPEGs that Pillow decodes at a reduced size (draft mode) with fully decoded ones, after the same resizing.

tfs_client always decodes JPEGs in full. This shows what draft mode would save, and what it would change: the largest
difference of a pixel, in levels of 255, by the reduction that is left to do afterwards.

    python benchmarks/draft_mode.py
"""

from __future__ import annotations

import io
from time import perf_counter

import numpy as np
from measure import duration, machine
from photographs import photograph
from PIL import Image, ImageDraw

SIDE = 2048
LEFT = (2, 4, 8, 16, 32)  # reductions after draft mode has halved the picture


def text() -> bytes:
    """A page of black letters on white, as a JPEG."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for top in range(0, SIDE, 12):
        draw.text((0, top), "the quick brown fox jumps over the lazy dog 0123456789 " * 7, "black")
    return encoded(image)


def noise() -> bytes:
    """Black and white noise, as a JPEG."""
    levels = np.random.default_rng(0).integers(0, 2, (SIDE, SIDE, 1), np.uint8) * np.uint8(255)
    return encoded(Image.fromarray(levels.repeat(3, axis=2)))


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    return file.getvalue()


def decoded(data: bytes, *, draft: bool) -> tuple[Image.Image, float]:
    """Decode a JPEG; returns the picture, and the seconds that it took."""
    began = perf_counter()
    image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", (SIDE // 2, SIDE // 2))
    image.load()
    return image, perf_counter() - began


def main() -> None:
    print(machine("numpy", "pillow"))
    print(f"JPEGs of {SIDE} x {SIDE}, bilinear; the largest difference, of 255\n")
    header = "".join(f"{f'{left} left':>9}" for left in LEFT)
    print(f"{'picture':>10} {'full':>9} {'draft':>9} {header}")
    for name, data in (("photograph", photograph(SIDE, SIDE)), ("text", text()), ("noise", noise())):
        (full, slow), (reduced, fast) = decoded(data, draft=False), decoded(data, draft=True)
        row = ""
        for left in LEFT:
            size = (SIDE // 2 // left, SIDE // 2 // left)
            pixels = [np.asarray(image.resize(size, Image.Resampling.BILINEAR), int) for image in (full, reduced)]
            row += f"{np.abs(pixels[0] - pixels[1]).max():>9}"
        print(f"{name:>10} {duration(slow):>9} {duration(fast):>9} {row}")


if __name__ == "__main__":
    main()
