"""Classifications: scores for all classes, or the names of some classes with their scores.

| layout | one picture's outputs |
|---|---|
| classes and scores | strings and floats of the same shape, such as (5,): the model itself has the names |
| scores | floats (classes,), for two classes or more; axes of size 1 may surround them, as in (1, 1, classes) |

A single float per picture is not a classification: the output does not show whether 0.8 means "dog" or "not a dog".
With the task "classify", quantised scores (uint8, int8) are read too, if no output has floats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client.errors import ConfigError, DecodeError
from tfs_client.images.classes import Class, Classification
from tfs_client.images.decoders import AnswerOptions, Outputs, Specs, specs_of
from tfs_client.images.geometry import Geometry
from tfs_client.images.vectors import FLOATS, floats, is_vector, length, vector
from tfs_client.signatures import TensorSpec

_QUANTISED = ("uint8", "int8")

# How far the sum of probabilities may be from 1: rounding of each, and of the model's own sum.
_TOLERANCES = {"float": 1e-3, "double": 1e-3, "half": 1e-2, "bfloat16": 5e-2}


class NamedScores:
    """Reads "classes and scores"; see the module."""

    name = "classes and scores"
    task = "classify"

    def candidates(self, specs: Specs, size: tuple[int, int] | None, *, explicit: bool) -> list[str]:
        """Return the aliases of the scores; where several outputs could be the names of these, those of the names."""
        pairs = _pairs(specs)
        scores = dict.fromkeys(scores for _, scores in pairs)
        return list(scores if len(scores) == len(pairs) else dict.fromkeys(names for names, _ in pairs))

    def classes(self, specs: Specs, size: tuple[int, int] | None, options: AnswerOptions) -> int | None:
        """Return None: there may be further classes."""
        names, scores = _pair(specs, options.output)
        if options.labels is not None:
            raise ConfigError(
                f"labels (--labels) contradict the model, which returns names in output {names!r}: leave them out, or "
                "name another output with output= (--output-name)"
            )
        if options.softmax:
            raise ConfigError(
                f"softmax (--softmax) needs the scores of all classes, and output {scores!r} has those of the names in "
                f"{names!r}: leave it out"
            )
        return None

    def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Classification:
        """Return the best classes. Raises DecodeError for outputs of another layout, or with NaN as every score."""
        names_alias, scores_alias = _pair(specs_of(outputs), options.output)
        names, scores = vector(outputs, names_alias), vector(outputs, scores_alias)
        best = _best(floats(scores), options.top, scores_alias)
        found = [Class(_text(names[index]), float(scores[index])) for index in best]
        return Classification(found, _are_probabilities(scores), scores_alias)


class Scores:
    """Reads "scores"; see the module."""

    name = "scores"
    task = "classify"

    def candidates(self, specs: Specs, size: tuple[int, int] | None, *, explicit: bool) -> list[str]:
        """Return the aliases of vectors of floats or, if the task is given, of quantised ones."""
        found = [alias for alias, spec in specs.items() if _is_scores(spec, FLOATS)]
        if not found and explicit:
            found = [alias for alias, spec in specs.items() if _is_scores(spec, _QUANTISED)]
        return found

    def classes(self, specs: Specs, size: tuple[int, int] | None, options: AnswerOptions) -> int | None:
        """Return the length of the vector."""
        spec = specs[options.output]
        if options.softmax and spec.row.name in _QUANTISED:
            raise ConfigError(
                f"softmax (--softmax) needs logits, and output {options.output!r} has quantised scores, whose scale is "
                "unknown: leave it out"
            )
        return length(spec)

    def decode(self, outputs: Outputs, geometry: Geometry, options: AnswerOptions) -> Classification:
        """Return the best classes; of equal scores, the lower class is first and NaN is last.

        Raises DecodeError for outputs of another layout, with NaN as every score, or that softmax is not defined for;
        ConfigError for another number of classes than the labels have, and if softmax would be applied to
        probabilities.
        """
        alias = options.output
        scores = vector(outputs, alias)
        row = row_of(scores.dtype)
        if row.name not in FLOATS + _QUANTISED:
            raise DecodeError(f"expected scores in output {alias!r}, got {row.readable}")
        if options.labels is not None:
            options.labels.check(len(scores))
        probabilities = _are_probabilities(scores)
        values = floats(scores)
        if options.softmax:
            if probabilities:
                raise ConfigError(
                    f"output {alias!r} has probabilities already: softmax (--softmax) is for logits; leave it out"
                )
            values, probabilities = _softmax(values, alias), True
        found = []
        for index in _best(values, options.top, alias):
            name = None if options.labels is None else options.labels.name(index)
            found.append(Class(f"class {index}" if name is None else name, float(values[index]), index))
        return Classification(found, probabilities, alias)


def _is_scores(spec: TensorSpec, dtypes: Sequence[str]) -> bool:
    return spec.row.name in dtypes and is_vector(spec.shape) and length(spec) != 1


def _pairs(specs: Specs) -> list[tuple[str, str]]:
    """Return the aliases of strings and floats of the same shape."""
    return [
        (names, scores)
        for names, texts in specs.items()
        if texts.row is STRING and is_vector(texts.shape)
        for scores, numbers in specs.items()
        if numbers.row.name in FLOATS and numbers.shape == texts.shape
    ]


def _pair(specs: Specs, output: str) -> tuple[str, str]:
    """Return the only pair that has an output, as names or as scores."""
    pairs = [pair for pair in _pairs(specs) if output in pair]
    if len(pairs) != 1:
        raise DecodeError(
            f"expected one output of names and one of scores with the same shape, one of them {output!r}, got "
            f"{len(pairs) or 'none'}"
        )
    return pairs[0]


def _best(scores: Array, count: int, alias: str) -> list[int]:
    """Return the places of the best scores, best first."""
    if np.isnan(scores).all():
        raise DecodeError(f"output {alias!r} has only NaN as scores")
    order: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return order


def _are_probabilities(scores: Array) -> bool:
    """Return whether scores are from 0 to 1 with the sum 1, as precisely as their dtype allows."""
    tolerance = _TOLERANCES.get(row_of(scores.dtype).name)
    if tolerance is None:
        return False
    values = floats(scores)
    inside = bool(((values >= 0) & (values <= 1)).all())
    return inside and abs(float(values.sum(dtype=np.float64)) - 1) <= tolerance


def _softmax(logits: Array, alias: str) -> Array:
    largest = logits.max()
    if not np.isfinite(largest):
        raise DecodeError(f"expected logits in output {alias!r} for softmax, got {largest} among them")
    powers = np.exp(logits.astype(np.float64) - float(largest))
    return np.asarray(powers / powers.sum())


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
