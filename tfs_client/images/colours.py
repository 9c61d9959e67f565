"""Colours of classes and labels."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array

Colour = tuple[int, int, int]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue light


def label_colours(count: int) -> Array:
    """Return a colour for each label, (count, 3) uint8: black for 0, red for 1, then hues a golden angle apart."""
    return colours_of(np.arange(count))


def colours_of(labels: Array) -> Array:
    """Return the colours of labels, which may be any numbers from 0, as (count, 3) uint8."""
    hues = (labels.astype(np.float64) - 1) * 0.618034 % 1.0
    distance = np.abs((hues[:, None] * 6 - np.array([0, 2, 4]) + 3) % 6 - 3)
    colours: Array = (np.clip(2 - distance, 0, 1) * 255).astype(np.uint8)
    colours[labels == 0] = 0
    return colours


def class_colour(number: int) -> Colour:
    """Return the colour of a class: that of the next label, because class 0 may be an object, as label 0 is not."""
    red, green, blue = colours_of(np.array([abs(number) + 1]))[0].tolist()
    return red, green, blue


def ink_on(ground: Colour) -> Colour:
    """Return black or white, whichever is easier to read on a colour."""
    light = float(((np.array(ground) / 255) ** 2.2 * _LUMINANCE).sum())
    return (0, 0, 0) if (light + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)
