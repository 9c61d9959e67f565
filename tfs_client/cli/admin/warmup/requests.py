"""Warmup requests from a recording, from files with inputs, or from a signature, as episodes without replies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import listed, shown
from tfs_client.cli.example_inputs import examples_input
from tfs_client.cli.input_files import requests_in
from tfs_client.errors import ConfigError, EncodeError, StatusCode
from tfs_client.recordings.episodes import LOGGED, Episode
from tfs_client.recordings.recording_file import RecordingFile
from tfs_client.server.fakes.answers import SignatureAnswer
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, Signatures, TensorSpec, shape_text


def of_recording(path: str, model: str | None, signature: str | None) -> tuple[list[Episode], dict[str, int]]:
    """Return the requests of a recording that can warm up a model, and the numbers of other calls by reason.

    Args:
        model: the calls of this model only; needed if there are calls of several.
        signature: the calls of this signature only.

    Raises RecordingError for a recording that cannot be opened; DecodeError for a damaged one; ConfigError for one with
    calls of several models.
    """
    episodes = RecordingFile.read(path).episodes
    found: list[Episode] = []
    left: dict[str, int] = {}
    for episode in episodes:
        reason = ""
        if episode.method not in LOGGED:
            reason = f"calls of {episode.method}"
        elif episode.code is not StatusCode.OK:
            reason = "failed calls"
        elif model is not None and episode.spec.name != model:
            reason = "calls of other models"
        elif signature is not None and (episode.spec.signature or DEFAULT_SIGNATURE) != signature:
            reason = "calls of other signatures"
        if reason:
            left[reason] = left.get(reason, 0) + 1
        else:
            found.append(replace(episode, reply=None))
    if len(models := sorted({episode.spec.name for episode in found})) > 1:
        raise ConfigError(f"{path!r} has calls of several models: {listed(models)}; choose one with --model NAME")
    return found, left


def of_files(paths: Sequence[str], model: Signatures, name: str) -> list[Episode]:
    """Return the requests that files with inputs stand for. Raises ConfigError, which names the file."""
    signature = model.named(name)
    found: list[Episode] = []
    for path in paths:
        try:
            for inputs in requests_in(path, signature):
                request = predict_messages.write_request(_spec(model, name), inputs)
                found.append(Episode("Predict", _spec(model, name), request, None))
        except EncodeError as error:
            raise ConfigError(f"{path!r}: {error}") from error
    return found


def of_signature(model: Signatures, name: str, batch_size: int | None, fill: str, seed: int) -> tuple[Episode, str]:
    """Return one request with made-up values for the required inputs, and a note about sizes that were assumed.

    Raises ConfigError for a signature whose inputs leave too much open, or contradict the batch size; and for one on
    tf.Examples, in which an op looks for features that the signature does not name.
    """
    signature = model.named(name)
    if examples := examples_input(model, name):
        raise ConfigError(
            f"input {shown(examples)} of signature {shown(name)} takes tf.Examples, which cannot be made from a "
            "signature: use --from or --inputs"
        )
    specs, notes = {}, []
    for alias in signature.required:
        spec = signature.inputs[alias]
        shape = _shape(alias, spec, batch_size)
        if None in (spec.shape or ())[1:]:
            notes.append(f"{shown(alias)} expects {shape_text(spec.shape)}, and gets {shape_text(shape)}")
        specs[alias] = TensorSpec(spec.row, shape)
    answer: Literal["zeros", "random"] = "random" if fill == "random" else "zeros"
    # Numbers of rows and classes: 0 and 1 are valid for most ops, larger ones only for some.
    made = SignatureAnswer(name, Signature({}, specs), answer, seed, integers=2)()
    assert isinstance(made, Mapping)
    request = predict_messages.write_request(_spec(model, name), made)
    return Episode("Predict", _spec(model, name), request, None), "; ".join(notes)


def _shape(alias: str, spec: TensorSpec, batch_size: int | None) -> tuple[int, ...]:
    if not spec.tensor_name:
        raise ConfigError(f"input {shown(alias)} is a sparse or composite tensor, and a server cannot feed it")
    if spec.shape is None:
        raise ConfigError(f"input {shown(alias)} may have any shape: give its values with --inputs")
    sizes = [1 if size is None else size for size in spec.shape]
    if spec.shape and spec.shape[0] is None:
        sizes[0] = 1 if batch_size is None else batch_size
    elif batch_size is not None and spec.shape and spec.shape[0] != batch_size:
        raise ConfigError(f"input {shown(alias)} expects {spec}, got --batch-size {batch_size}")
    if not isinstance(spec.dtype, np.dtype):
        raise ConfigError(
            f"input {shown(alias)} expects {spec}, for which random values cannot be generated: use --inputs"
        )
    if math.prod(sizes) * spec.dtype.itemsize > predict_messages.MAX_MESSAGE:
        raise ConfigError(f"input {shown(alias)} of shape {shape_text(tuple(sizes))} does not fit in one message")
    return tuple(sizes)


def _spec(model: Signatures, name: str) -> ModelSpec:
    return ModelSpec(model.model, signature="" if name == DEFAULT_SIGNATURE else name)
