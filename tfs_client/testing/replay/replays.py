"""Replays: recordings that answer the calls of a fake server, whichever transport they were recorded over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec import examples as wire_examples
from tfs_client._codec import model_spec, predict_messages, wire
from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.protobuf_messages import parse
from tfs_client.errors import (
    CallError,
    ConfigError,
    DecodeError,
    FailedPreconditionError,
    StatusCode,
    call_error,
)
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.matching import Call, Rules
from tfs_client.results import VersionStatus
from tfs_client.server.call_hooks import Classes, StandIn, Values
from tfs_client.server.call_record import ServedCall
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.predict_checks import PredictRequest
from tfs_client.server.servable import Servable
from tfs_client.signatures import DEFAULT_SIGNATURE
from tfs_client.testing.replay.recorded_calls import RecordedCalls

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResult
    from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResult

MOST_MISSES = 1000  # that are remembered


class Replays:
    """The recordings of a fake server. They answer every call of the models that they have."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._recordings: tuple[RecordedCalls, ...] = ()
        self._missing: list[str] = []  # descriptions of calls

    def add(self, recording: RecordedCalls) -> None:
        """Serve the models of a recording."""
        with self._lock:
            for (name, version), servable in recording.models.versions.items():
                if not any((name, version) in each.models.versions for each in self._recordings):
                    self._manager.add(name, version, servable)
            for (name, label), version in recording.models.labels.items():
                self._manager.set_label(name, label, version)
            self._recordings = (*self._recordings, recording)

    @property
    def names(self) -> set[str]:
        """The models whose calls are answered by a recording."""
        return {name for each in self._recordings for name in each.models.names}

    def has(self, model: str) -> bool:
        """Whether calls of this model are answered by a recording."""
        return any(model in each.models.names for each in self._recordings)

    def servables(self, model: str) -> list[Servable]:
        """Return the signatures of a model, of each recording that has it."""
        return [each.servable(model) for each in self._recordings if model in each.models.names]

    def check_free(self, model: str) -> None:
        """Raise ConfigError if calls of this model are answered by a recording, so that another answer is useless."""
        if self.has(model):
            raise ConfigError(f"a recording answers the calls of model {model!r}: use another name")

    def stand_in(self, call: ServedCall, spec: ModelSpec) -> StandIn | None:
        """See CallHooks."""
        own = tuple(each for each in self._recordings if spec.name in each.models.names)
        return _Replay(call, spec, own, self._manager, self._note) if own else None

    def unused(self) -> list[Episode]:
        """Return the recorded calls that have not answered any. Look-ups do not count."""
        return [episode for each in self._recordings for episode in each.unused()]

    def unused_texts(self) -> list[str]:
        """Describe the recorded calls that have not answered any."""
        return [str(Call(episode, Rules())) for episode in self.unused()]

    def missing(self) -> list[str]:
        """Describe the calls that no recording had."""
        with self._lock:
            return list(self._missing)

    def clear(self) -> None:
        """Forget the calls that no recording had."""
        with self._lock:
            self._missing.clear()

    def _note(self, text: str) -> None:
        with self._lock:
            if len(self._missing) < MOST_MISSES:
                self._missing.append(text)


class _Replay:
    """Answers one call."""

    def __init__(
        self,
        call: ServedCall,
        spec: ModelSpec,
        recordings: Sequence[RecordedCalls],
        manager: Manager,
        note: Callable[[str], None],
    ) -> None:
        self._call = call
        self._spec = spec
        self._recordings = recordings
        self._manager = manager
        self._note = note

    def predict(self, read: Callable[[Servable], PredictRequest]) -> tuple[Mapping[str, Array], ModelSpec]:
        """See StandIn."""
        request = read(self._servable())
        inputs = self._call.inputs = {alias: request.tensor(alias) for alias in request.inputs}
        message = predict_messages.write_request(self._spec, inputs, request.outputs)
        reply = self._reply(message)
        with self._reading():
            spec, outputs = predict_messages.read_response(reply)
        wanted = {alias: outputs[alias] for alias in request.outputs} if request.outputs else outputs
        self._call.outputs = wanted
        return wanted, self._answered(spec)

    def classify(self, examples: Sequence[bytes]) -> tuple[Classes, ModelSpec]:
        """See StandIn."""
        from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResponse

        reply = self._reply(self._on(examples))
        with self._reading():
            response = parse(ClassificationResponse, reply, "it")
        return _classes(response.result), self._answered(model_spec.read(response.model_spec.SerializeToString()))

    def regress(self, examples: Sequence[bytes]) -> tuple[Values, ModelSpec]:
        """See StandIn."""
        from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResponse

        reply = self._reply(self._on(examples))
        with self._reading():
            response = parse(RegressionResponse, reply, "it")
        return _values(response.result), self._answered(model_spec.read(response.model_spec.SerializeToString()))

    def multi_inference(
        self, tasks: Sequence[tuple[str, str, str]], examples: Sequence[bytes]
    ) -> list[tuple[Classes | None, Values, ModelSpec]]:
        """See StandIn."""
        from tfs_client.protos.tensorflow_serving.apis.inference_pb2 import MultiInferenceResponse

        message = b"".join(
            wire.delimited(
                1,
                wire.delimited(1, model_spec.write(replace(self._spec, name=name, signature=signature)))
                + wire.delimited(2, method.encode()),
            )
            for name, signature, method in tasks
        ) + wire.delimited(2, wire_examples.write_input(examples))
        reply = self._reply(message)
        with self._reading():
            response = parse(MultiInferenceResponse, reply, "it")
        found: list[tuple[Classes | None, Values, ModelSpec]] = []
        for result in response.results:
            who = self._answered(model_spec.read(result.model_spec.SerializeToString()))
            if result.WhichOneof("result") == "classification_result":
                found.append((_classes(result.classification_result), [], who))
            else:
                found.append((None, _values(result.regression_result), who))
        return found

    def look_up(self) -> None:
        """Raise the recorded error of a look-up. The signatures are those of the recorded version."""
        wanted = Episode("GetModelMetadata", self._spec, GetModelMetadata(self._spec).write(), None)
        for recording in self._recordings:
            found = recording.take(wanted)
            if found is not None:
                _raise_recorded(found)
                return

    def status(self) -> tuple[VersionStatus, ...] | None:
        """Return the recorded states in their order, the last ones again and again; None if there are none."""
        call = GetModelStatus(self._spec)
        wanted = Episode("GetModelStatus", self._spec, call.write(), None)
        for recording in self._recordings:
            found = recording.take(wanted)
            if found is not None:
                _raise_recorded(found)
                with self._reading():
                    return call.read(found.reply or b"").versions
        return None

    def _on(self, examples: Sequence[bytes]) -> bytes:
        return wire.delimited(1, model_spec.write(self._spec)) + wire.delimited(2, wire_examples.write_input(examples))

    def _reply(self, request: bytes) -> bytes:
        """Return the recorded reply to a request. Raises the recorded error, or FailedPreconditionError without one."""
        metadata = tuple(self._call.metadata.items())
        wanted = Episode(
            self._call.method, self._spec, request, None, metadata=metadata, transport=self._call.transport
        )
        for recording in self._recordings:
            found = recording.take(wanted)
            if found is not None:
                break
        else:
            nearest = next(
                (each for each in self._recordings if each.has(wanted.method, self._spec.name)), self._recordings[0]
            )
            text = nearest.missing(wanted)
            self._note(text)
            raise FailedPreconditionError(text)
        _raise_recorded(found)
        if found.reply is None:
            raise FailedPreconditionError(
                f"the recording has this request of {found.method} for model {self._spec.name!r} without a reply, as a "
                "warmup file has: record the call anew"
            )
        return found.reply

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Return a context manager for reading the recorded reply. Raises FailedPreconditionError if it is damaged."""
        try:
            yield
        except DecodeError as error:
            raise FailedPreconditionError(
                f"the recorded reply of {self._call.method} for model {self._spec.name!r} cannot be read: {error}"
            ) from None

    def _servable(self) -> Servable:
        try:
            with self._manager.handle(self._spec) as handle:
                return handle.servable
        except CallError:  # the recorded call failed, or was for another version
            return self._recordings[0].servable(self._spec.name)

    def _answered(self, recorded: ModelSpec) -> ModelSpec:
        """Return the spec of the reply. Calls over REST are recorded without the version: it is the served one."""
        version = recorded.version
        if version is None:
            try:
                with self._manager.handle(self._spec) as handle:
                    version = handle.version
            except CallError:
                version = self._spec.version
        self._call.version = version
        signature = recorded.signature or self._spec.signature or DEFAULT_SIGNATURE
        return ModelSpec(self._spec.name, version, None, signature)


def _raise_recorded(episode: Episode) -> None:
    if episode.code is not StatusCode.OK:
        raise call_error(episode.code, episode.details)


def _classes(result: ClassificationResult) -> Classes:
    return [[(each.label, each.score) for each in row.classes] for row in result.classifications]


def _values(result: RegressionResult) -> Values:
    return [each.value for each in result.regressions]
