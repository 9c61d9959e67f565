"""RecordedModels: the models, versions and signatures that a recording shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.protobuf_messages import parse
from tfs_client.errors import InternalError, StatusCode
from tfs_client.recordings.contents import choices_of
from tfs_client.recordings.derived_signatures import derived
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.records import answered_version
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, REGRESS, Signature, TensorSpec

_EXAMPLES = {"inputs": TensorSpec("string", (None,))}
_CLASSES = {"classes": TensorSpec("string", (None, None)), "scores": TensorSpec("float32", (None, None))}
_VALUES = {"outputs": TensorSpec("float32", (None,))}


class RecordedServable:
    """The signatures of a recorded version. Its calls are answered before it would run.

    Attributes:
        signatures: the signatures by name.
        signature_defs: the serialized SignatureDefs of recorded metadata; None if the recording has none.
    """

    def __init__(self, signatures: Mapping[str, Signature], signature_defs: Mapping[str, bytes] | None = None) -> None:
        self.signatures: Mapping[str, Signature] = signatures
        self.signature_defs: Mapping[str, bytes] | None = signature_defs

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Return no defaults: a recorded call has the inputs that were sent."""
        return {}

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Refuse to run."""
        raise InternalError(f"the recording has no function for the signature {signature!r}, only recorded calls")


@dataclass
class RecordedModels:
    """What the calls of a recording say about models.

    Attributes:
        names: every model that is called.
        versions: the servables by model and version.
        labels: the version of each label, by model and label.
    """

    names: frozenset[str] = frozenset()
    versions: dict[tuple[str, int], RecordedServable] = field(default_factory=dict)
    labels: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> RecordedModels:
        """Read the models of a recording. Raises DecodeError for calls that cannot be read."""
        found = cls(frozenset(episode.spec.name for episode in episodes))
        by_model: dict[str, list[Episode]] = defaultdict(list)
        for episode in episodes:
            by_model[episode.spec.name].append(episode)
        for name, calls in by_model.items():
            described = _described(calls)
            numbers = {version for call in calls if (version := answered_version(call)) is not None}
            numbers |= {call.spec.version for call in calls if _served(call) and call.spec.version is not None}
            if not numbers and any(map(_served, calls)):
                numbers = {1}  # as FakeServer.add_model
            for number in numbers:
                own = [call for call in calls if answered_version(call) in (number, None)]
                found.versions[name, number] = described.get(number) or RecordedServable(_of_tensors(own))
            for call in calls:
                if call.spec.label is not None and _served(call) and numbers:
                    answered = answered_version(call)
                    found.labels[name, call.spec.label] = max(numbers) if answered is None else answered
        return found


def servable_of_requests(episodes: Iterable[Episode]) -> RecordedServable:
    """Return a servable for models that the server never served: with the signatures of the failed requests."""
    return RecordedServable(_of_tensors(list(episodes)))


def _served(call: Episode) -> bool:
    """Whether a version answered."""
    return call.code is StatusCode.OK and call.method != "GetModelStatus"


def _described(calls: Iterable[Episode]) -> dict[int, RecordedServable]:
    """Return the servable of each version whose metadata is recorded; the last one counts."""
    found = {}
    for call in calls:
        if call.method != "GetModelMetadata" or call.reply is None:
            continue
        signatures = GetModelMetadata(call.spec).read(call.reply)
        if signatures.version is not None:
            found[signatures.version] = RecordedServable(signatures, _signature_defs(call.reply))
    return found


def _signature_defs(reply: bytes) -> dict[str, bytes]:
    from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataResponse,
        SignatureDefMap,
    )

    packed = parse(GetModelMetadataResponse, reply, "the recorded metadata").metadata["signature_def"].value
    every = parse(SignatureDefMap, packed, "the recorded metadata").signature_def
    return {name: signature.SerializeToString(deterministic=True) for name, signature in every.items()}


def _of_tensors(calls: Sequence[Episode]) -> dict[str, Signature]:
    """Derive signatures from the tensors of successful calls; without any, from those of failed calls."""
    good = [call for call in calls if call.code is StatusCode.OK]
    # Calls of one version may have asked for it in several ways. A failed one counts as one without outputs.
    alike = [
        replace(call, spec=ModelSpec("", signature=call.spec.signature), code=StatusCode.OK, reply=call.reply or b"")
        for call in good or calls
    ]
    found = dict(derived(alike, ModelSpec("")) or {})
    for call in good or calls:
        for name, method in _inference_signatures(call):
            if name in found:
                found[name] = replace(found[name], method_name=method)
            else:
                found[name] = Signature(_EXAMPLES, _CLASSES if method == CLASSIFY else _VALUES, method)
    return found


def _inference_signatures(call: Episode) -> list[tuple[str, str]]:
    """Return the signatures and methods of a call on examples."""
    if call.method == "MultiInference":
        return [(choice[0] or DEFAULT_SIGNATURE, choice[1]) for choice in choices_of(call)]
    methods = {"Classify": CLASSIFY, "Regress": REGRESS}
    if call.method not in methods:
        return []
    return [(call.spec.signature or DEFAULT_SIGNATURE, methods[call.method])]
