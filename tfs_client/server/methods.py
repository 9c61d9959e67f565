"""The API methods on arrays: what a call does between the reading of its request and the writing of its reply.

gRPC and REST differ in how they read and write. Which version answers, what is checked, and in which order, is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.results import VersionStatus
from tfs_client.server import inference
from tfs_client.server.config import ServerConfig
from tfs_client.server.manager import Handle, Manager
from tfs_client.server.predict import Request, predict
from tfs_client.server.servable import Array, Servable
from tfs_client.server.served import ServedCall
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE

Classes = list[list[tuple[str, float]]]
Values = list[float]


class Methods:
    """PredictionService and ModelService. Every method notes in ``call`` what was asked for and who answered.

    All raise CallError with the code and text that the model server would give.
    """

    def __init__(self, manager: Manager, config: ServerConfig) -> None:
        self._manager = manager
        self._checks = {"method_name_check": config.method_name_check}

    @contextmanager
    def found(self, spec: ModelSpec, call: ServedCall) -> Iterator[Handle]:
        """The servable that a call is for, held until the block ends."""
        call.model, call.signature = spec.name, spec.signature
        with self._manager.handle(spec) as handle:
            call.version = handle.version
            yield handle

    def predict(
        self, spec: ModelSpec, read: Callable[[Servable], Request], call: ServedCall
    ) -> tuple[Mapping[str, Array], ModelSpec]:
        """The outputs, and who answered. ``read`` makes the request, which may take a look at the servable."""
        call.model, call.signature = spec.name, spec.signature
        with self._manager.handle(spec) as handle:  # as ``found``, without its generator
            call.version = handle.version
            answer = predict(handle.servable, read(handle.servable), call, **self._checks)
            return answer, answered(spec, handle)

    def classify(self, spec: ModelSpec, examples: Sequence[bytes], call: ServedCall) -> tuple[Classes, ModelSpec]:
        """Label and score of every class of every example, and who answered."""
        with self.found(spec, call) as handle:
            outputs = inference.check_classify(inference.found(handle.servable, spec.signature), **self._checks)
            with call.running():
                answer = inference.run(handle.servable, spec.signature, examples, outputs)
            return inference.classes_of(answer, len(examples)), answered(spec, handle)

    def regress(self, spec: ModelSpec, examples: Sequence[bytes], call: ServedCall) -> tuple[Values, ModelSpec]:
        """The value of every example, and who answered."""
        with self.found(spec, call) as handle:
            outputs = inference.check_regress(inference.found(handle.servable, spec.signature), **self._checks)
            with call.running():
                answer = inference.run(handle.servable, spec.signature, examples, outputs)
            return inference.values_of(answer, len(examples)), answered(spec, handle)

    def multi_inference(
        self,
        spec: ModelSpec,
        tasks: Sequence[tuple[str, str, str]],
        read: Callable[[], Sequence[bytes]],
        call: ServedCall,
    ) -> list[tuple[Classes | None, Values, ModelSpec]]:
        """For every task (model, signature, method) its classes, or None and its values, and who answered.

        The examples are read once the tasks are found good, and all tasks run before an answer is looked at.
        """
        results: list[tuple[Classes | None, Values, ModelSpec]] = []
        with self.found(spec, call) as handle:
            checked = inference.checked_tasks(handle.servable, tasks, **self._checks)
            examples = read()
            call.examples = len(examples)
            with call.running():
                answers = inference.run_all(handle.servable, {name: each for name, _, each in checked}, examples)
            for (name, method, _), answer in zip(checked, answers, strict=True):
                who = ModelSpec(spec.name, handle.version, None, name)
                if method == CLASSIFY:
                    results.append((inference.classes_of(answer, len(examples)), [], who))
                else:
                    results.append((None, inference.values_of(answer, len(examples)), who))
        return results

    def status(self, spec: ModelSpec, call: ServedCall) -> tuple[VersionStatus, ...]:
        """The states of the model's versions, highest first; labels count for nothing here."""
        call.model, call.signature = spec.name, spec.signature
        return self._manager.status(spec)


def answered(spec: ModelSpec, handle: Handle) -> ModelSpec:
    """The version that answered, by the name that was asked for; never the label."""
    return ModelSpec(spec.name, handle.version, None, spec.signature or DEFAULT_SIGNATURE)
