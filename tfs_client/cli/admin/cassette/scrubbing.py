"""Removing metadata, values of inputs, and parts of error texts from recorded calls."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfs_client._codec import expansion, predict_messages, protobuf_messages
from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client._printable import shown
from tfs_client.recordings.contents import ON_EXAMPLES, examples_of, with_examples
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.secrets import Secrets, is_secret

REMOVED = "[removed]"


@dataclass
class Scrubber:
    """What to remove from calls, and what has been removed.

    Args:
        metadata: keys of the pairs to remove.
        all_metadata: remove all pairs.
        inputs: names of the inputs, and of features of examples, whose values to replace.
        keep: replace all but these; None: those of ``inputs`` only.
        patterns: what to remove from error texts.

    Attributes:
        removed: the number of calls for each thing that was removed.
        seen: the names of all inputs and features.
        left: notes about removed values that are still in a request or a reply.
    """

    metadata: Collection[str] = ()
    all_metadata: bool = False
    inputs: Collection[str] = ()
    keep: Collection[str] | None = None
    patterns: Sequence[re.Pattern[str]] = ()
    removed: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    left: list[str] = field(default_factory=list)

    def scrubbed(self, number: int, episode: Episode) -> Episode:
        """Return a call without what is to be removed. Raises DecodeError for a request that cannot be read."""
        values = self._values_of(episode)
        found = replace(
            episode,
            metadata=tuple(pair for pair in episode.metadata if not self._is_removed(pair[0])),
            request=self._request(episode),
            details=self._text(episode.details, values),
            hint=self._text(episode.hint, values),
        )
        if any(values.is_in(data) for data in (found.request, found.reply or b"")):
            self.left.append(f"call {number} still has the value of removed metadata in its request or reply")
        return found

    def _is_removed(self, key: str) -> bool:
        return self.all_metadata or key in self.metadata or is_secret(key)

    def _values_of(self, episode: Episode) -> Secrets:
        """Return the values of removed metadata, which error texts may quote."""
        values = Secrets()
        for key in dict.fromkeys(key for key, _ in episode.metadata if self._is_removed(key)):
            self.removed[f"metadata {shown(key)}"] += 1
        for key, value in episode.metadata:
            if self._is_removed(key):
                values.add(value)
        return values

    def _text(self, text: str, values: Secrets) -> str:
        found = values.hidden(text)
        for pattern in self.patterns:
            found = pattern.sub(REMOVED, found)
        if found != text:
            self.removed["parts of error texts"] += 1
        return found

    def _is_replaced(self, name: str) -> bool:
        self.seen.add(name)
        return name in self.inputs if self.keep is None else name not in self.keep

    def _request(self, episode: Episode) -> bytes:
        replaced: set[str] = set()
        request = episode.request
        if episode.method == "Predict":
            request = self._tensors(episode, replaced)
        elif episode.method in ON_EXAMPLES:
            examples = [self._example(example, replaced) for example in examples_of(request)]
            request = with_examples(request, examples) if replaced else request
        for name in replaced:
            self.removed[f"input {shown(name)}"] += 1
        return request

    def _tensors(self, episode: Episode, replaced: set[str]) -> bytes:
        request = predict_messages.read_request(episode.request)
        inputs = {}
        for alias in request.inputs:
            inputs[alias] = request.tensor(alias)
            if self._is_replaced(alias):
                replaced.add(alias)
                inputs[alias] = _zeros(alias, inputs[alias])
        if not replaced:
            return episode.request
        return predict_messages.write_request(request.spec or episode.spec, inputs, request.outputs)

    def _example(self, data: bytes, replaced: set[str]) -> bytes:
        from tfs_client.protos.tensorflow.core.example.example_pb2 import Example

        example = protobuf_messages.parse(Example, data, "the example")
        features: Any = example.features.feature
        for name in list(features):
            if self._is_replaced(name):
                replaced.add(name)
                kind = features[name].WhichOneof("kind")
                if kind is not None:
                    values = getattr(features[name], kind).value
                    values[:] = [b"" if kind == "bytes_list" else 0] * len(values)
        return example.SerializeToString(deterministic=True)


def _zeros(alias: str, array: Array) -> Array:
    expansion.check_copy(array, f"input {shown(alias)}")
    return np.full(array.shape, b"", object) if row_of(array.dtype) is STRING else np.zeros(array.shape, array.dtype)
