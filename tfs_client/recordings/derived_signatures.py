"""Signatures derived from recorded predictions, for recordings without a look-up of the model's metadata."""

from __future__ import annotations

from collections.abc import Iterable

from tfs_client._codec.dtypes import Array, row_of
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, StatusCode
from tfs_client.recordings.contents import inputs_of, outputs_of
from tfs_client.recordings.episodes import Episode
from tfs_client.signatures import DEFAULT_SIGNATURE, Shape, Signature, Signatures, TensorSpec

_Specs = dict[str, TensorSpec]


def derived(episodes: Iterable[Episode], spec: ModelSpec) -> Signatures | None:
    """Return the signatures that the successful predictions of a model show; None without any.

    Dtypes are those of the recorded tensors. Axis 0 is the batch axis, of any size; another axis has a size if it has
    the same in all calls. Predictions of another version or label than the requested one do not count.
    """
    found: dict[str, tuple[_Specs, _Specs]] = {}
    for episode in episodes:
        own = episode.spec
        if (own.name, own.version, own.label) != (spec.name, spec.version, spec.label):
            continue
        if episode.method != "Predict" or episode.code is not StatusCode.OK or episode.reply is None:
            continue
        try:
            inputs, outputs = inputs_of(episode), outputs_of(episode)
        except DecodeError:
            continue
        known = found.setdefault(own.signature or DEFAULT_SIGNATURE, ({}, {}))
        for specs, arrays in zip(known, (inputs, outputs), strict=True):
            for alias, array in arrays.items():
                specs[alias] = _merged(specs.get(alias), array)
    if not found:
        return None
    signatures = {name: Signature(inputs, outputs) for name, (inputs, outputs) in found.items()}
    return Signatures(signatures, model=spec.name, version=spec.version)


def _merged(known: TensorSpec | None, array: Array) -> TensorSpec:
    shape: Shape | None = (None, *array.shape[1:]) if array.ndim else ()
    if known is None:
        return TensorSpec(row_of(array.dtype), shape)
    if known.shape is None or shape is None or len(known.shape) != len(shape):
        return TensorSpec(known.row, None)
    sizes = tuple(one if one == other else None for one, other in zip(known.shape, shape, strict=True))
    return TensorSpec(known.row, sizes)
