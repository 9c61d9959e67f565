"""Conversion from sRGB to CIE Lab, where the distance of two colours is roughly how different they look."""

from __future__ import annotations

import numpy as np

from tfs_client._codec.dtypes import Array

# IEC 61966-2-1: linear sRGB to XYZ, rows scaled to the white point D65, so that white is (1, 1, 1).
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
TO_XYZ /= TO_XYZ.sum(axis=1, keepdims=True)

# CIE 15: L* = 116 f(Y) - 16, a* = 500 (f(X) - f(Y)), b* = 200 (f(Y) - f(Z)).
TO_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float32)

_LEVELS = np.arange(256, dtype=np.float32) / 255
LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


def lab(rgb: Array) -> Array:
    """Convert uint8 sRGB (..., 3) to float32 L*, a*, b* (..., 3)."""
    xyz = LINEAR[rgb] @ TO_XYZ.T
    cubic = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * np.float32(841 / 108) + np.float32(4 / 29))
    return np.asarray(cubic @ TO_LAB.T - np.array([16, 0, 0], np.float32), np.float32)
