"""The API methods on arrays: the part of a call between reading its request and writing its reply.

gRPC and REST differ only in reading and writing. The choice of the version, and the checks and their order, are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import MappingProxyType

from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import CallError, DecodeError, NotFoundError
from tfs_client.results import VersionStatus
from tfs_client.server import inference_checks
from tfs_client.server.call_hooks import CallHooks, Classes, StandIn, Values
from tfs_client.server.call_record import ServedCall
from tfs_client.server.config import ServerConfig
from tfs_client.server.lifecycle.manager import Manager, ServableHandle
from tfs_client.server.predict_checks import PredictRequest, predict, sent_inputs
from tfs_client.server.servable import Servable
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, Signature


class Methods:
    """PredictionService and ModelService. Every method records in ``call`` what was requested, and what answered.

    All raise CallError with the model server's code and text.
    """

    def __init__(self, manager: Manager, config: ServerConfig, hooks: CallHooks | None = None) -> None:
        self._manager = manager
        self._hooks = hooks
        self._checks = {"method_name_check": config.method_name_check}

    @contextmanager
    def found(self, spec: ModelSpec, call: ServedCall) -> Iterator[ServableHandle]:
        """Hold the servable whose signatures are asked for, for a block."""
        if (stand_in := self._arrived(spec, call)) is not None:
            stand_in.look_up()
        with self._held(spec, call) as handle:
            yield handle

    @contextmanager
    def _held(self, spec: ModelSpec, call: ServedCall) -> Iterator[ServableHandle]:
        with self._manager.handle(spec) as handle:
            call.version = handle.version
            yield handle if self._hooks is None else self._hooked(handle, call)

    def _arrived(
        self, spec: ModelSpec, call: ServedCall, read: Callable[[Servable], PredictRequest] | None = None
    ) -> StandIn | None:
        """Record what is asked for. Returns what answers in place of the versions that are served, if anything."""
        call.model, call.signature = spec.name, spec.signature
        if self._hooks is None:
            return None
        self._hooks.arrived(call, spec, lambda: self._note_inputs(spec, call, read))
        return self._hooks.stand_in(call, spec)

    def _note_inputs(
        self, spec: ModelSpec, call: ServedCall, read: Callable[[Servable], PredictRequest] | None
    ) -> None:
        """Record the inputs that a call sends, whether or not the model takes them; none if they cannot be read."""
        if read is None or call.inputs:
            return
        with suppress(CallError, DecodeError):
            call.inputs = sent_inputs(self._sent(spec, read))

    def _sent(self, spec: ModelSpec, read: Callable[[Servable], PredictRequest]) -> PredictRequest:
        """Return the request of a call that fails. The signature of another version may be needed to read JSON."""
        for each in (spec, replace(spec, version=None, label=None)):
            with suppress(CallError), self._manager.handle(each) as handle:
                return read(handle.servable)
        return read(_NoModel())

    def _hooked(self, handle: ServableHandle, call: ServedCall) -> ServableHandle:
        assert self._hooks is not None
        return replace(handle, servable=self._hooks.servable(call, handle.servable))

    def predict(
        self, spec: ModelSpec, read: Callable[[Servable], PredictRequest], call: ServedCall
    ) -> tuple[Mapping[str, Array], ModelSpec]:
        """Return the outputs and the version that answered. ``read`` makes the request, with access to the servable."""
        if self._hooks is None:
            call.model, call.signature = spec.name, spec.signature
            return self._predicted(spec, read, call)
        try:
            if (stand_in := self._arrived(spec, call, read)) is not None:
                return stand_in.predict(read)
            return self._predicted(spec, read, call)
        except CallError:
            self._note_inputs(spec, call, read)
            raise

    def _predicted(
        self, spec: ModelSpec, read: Callable[[Servable], PredictRequest], call: ServedCall
    ) -> tuple[Mapping[str, Array], ModelSpec]:
        with self._manager.handle(spec) as handle:  # as ``_held``, without its generator
            call.version = handle.version
            if self._hooks is not None:
                handle = self._hooked(handle, call)
            answer = predict(handle.servable, read(handle.servable), call, **self._checks)
            return answer, answered(spec, handle)

    def classify(self, spec: ModelSpec, examples: Sequence[bytes], call: ServedCall) -> tuple[Classes, ModelSpec]:
        """Return label and score of every class of every example, and the version that answered."""
        if (stand_in := self._arrived(spec, call)) is not None:
            call.examples = len(examples)
            return stand_in.classify(examples)
        with self._held(spec, call) as handle:
            outputs = inference_checks.check_classify(
                inference_checks.found(handle.servable, spec.signature), **self._checks
            )
            call.examples = len(examples)
            with call.running():
                answer = inference_checks.run(handle.servable, spec.signature, examples, outputs)
            return inference_checks.classes_of(answer, len(examples)), answered(spec, handle)

    def regress(self, spec: ModelSpec, examples: Sequence[bytes], call: ServedCall) -> tuple[Values, ModelSpec]:
        """Return the value of every example, and the version that answered."""
        if (stand_in := self._arrived(spec, call)) is not None:
            call.examples = len(examples)
            return stand_in.regress(examples)
        with self._held(spec, call) as handle:
            outputs = inference_checks.check_regress(
                inference_checks.found(handle.servable, spec.signature), **self._checks
            )
            call.examples = len(examples)
            with call.running():
                answer = inference_checks.run(handle.servable, spec.signature, examples, outputs)
            return inference_checks.values_of(answer, len(examples)), answered(spec, handle)

    def multi_inference(
        self,
        spec: ModelSpec,
        tasks: Sequence[tuple[str, str, str]],
        read: Callable[[], Sequence[bytes]],
        call: ServedCall,
    ) -> list[tuple[Classes | None, Values, ModelSpec]]:
        """Return for every task (model, signature, method) its classes, or None and its values, and what answered.

        The examples are read after all tasks are checked, and all tasks run before any answer is checked.
        """
        results: list[tuple[Classes | None, Values, ModelSpec]] = []
        if (stand_in := self._arrived(spec, call)) is not None:
            examples = read()
            call.examples = len(examples)
            return stand_in.multi_inference(tasks, examples)
        with self._held(spec, call) as handle:
            checked = inference_checks.checked_tasks(handle.servable, tasks, **self._checks)
            examples = read()
            call.examples = len(examples)
            with call.running():
                answers = inference_checks.run_all(handle.servable, {name: each for name, _, each in checked}, examples)
            for (name, method, _), answer in zip(checked, answers, strict=True):
                who = ModelSpec(spec.name, handle.version, None, name)
                if method == CLASSIFY:
                    results.append((inference_checks.classes_of(answer, len(examples)), [], who))
                else:
                    results.append((None, inference_checks.values_of(answer, len(examples)), who))
        return results

    def status(self, spec: ModelSpec, call: ServedCall) -> tuple[VersionStatus, ...]:
        """Return the states of the model's versions, highest first. A label in ``spec`` is ignored."""
        stand_in = self._arrived(spec, call)
        states = None if stand_in is None else stand_in.status()
        return self._manager.status(spec) if states is None else states


def answered(spec: ModelSpec, handle: ServableHandle) -> ModelSpec:
    """Return the model spec of the reply: the requested name and the version that answered, never the label."""
    return ModelSpec(spec.name, handle.version, None, spec.signature or DEFAULT_SIGNATURE)


class _NoModel:
    """A servable without signatures: requests that do not need any can be read."""

    signatures: Mapping[str, Signature] = MappingProxyType({})

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Return none."""
        return {}

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Raise NotFoundError."""
        raise NotFoundError("there is no model")
