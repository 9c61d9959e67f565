"""AxisNames: the names that a model gives to its open sizes, such as "batch": sizes of the same name are equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class AxisNames(NamedTuple):
    """The names of the axes of inputs and outputs, by alias; "" for an axis without a name.

    Tensors without any named axis are left out.
    """

    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
