"""Queries from a recording: its requests, their times, and the recorded answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tfs_client._codec import predict_messages
from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import counted, shown
from tfs_client.cli.admin.replay.replayed_calls import tasks_of, values_of_result, values_of_tasks
from tfs_client.cli.bench.query_sources.predictions import rows_of
from tfs_client.cli.bench.query_sources.references import EXACT, Reference, Tolerance, kept
from tfs_client.errors import ConfigError, StatusCode
from tfs_client.recordings.contents import examples_of, outputs_of
from tfs_client.recordings.episodes import LOGGED, Episode
from tfs_client.recordings.recording_file import RecordingFile
from tfs_client.results import Prediction

if TYPE_CHECKING:
    from tfs_client.aio import AsyncPredictClient
    from tfs_client.cli.bench.queries import Answer
    from tfs_client.results import Timing


@dataclass(frozen=True)
class RecordedAnswer:
    """A reply to a call on tf.Examples; its arrays are only made when they are compared.

    Attributes:
        result: what the client returned.
        timing: unknown for these calls.
    """

    result: Any
    timing: Timing | None = None


class RecordedQuery:
    """A recorded call, as it is sent again.

    Args:
        episode: the call.
        spec: the model to call.
        at: seconds after the first call of the recording; None if it does not say.
        reference: the answer to expect; None for any.

    Raises DecodeError for a request that cannot be read.
    """

    def __init__(self, episode: Episode, spec: ModelSpec, at: float | None, reference: Reference | None = None) -> None:
        self._method = episode.method
        self._of_model: dict[str, Any] = {"model": spec.name, "version": spec.version, "label": spec.label}
        if episode.method != "MultiInference":
            self._of_model["signature"] = spec.signature or None
        self.at = at
        self._reference = reference
        if episode.method == "Predict":
            request = predict_messages.read_request(episode.request)
            self._inputs = {alias: request.tensor(alias) for alias in request.inputs}
            self._outputs = tuple(request.outputs)
            self.rows: int = rows_of(self._inputs)
        else:
            self._examples = examples_of(episode.request)
            self._tasks = tasks_of(episode) if episode.method == "MultiInference" else {}
            self.rows = len(self._examples)

    async def send(self, client: AsyncPredictClient) -> Answer:
        """Send it. Raises CallError."""
        if self._method == "Predict":
            return await client.predict(self._inputs, outputs=self._outputs, **self._of_model)
        if self._method == "Classify":
            return RecordedAnswer(await client.classify(self._examples, **self._of_model))
        if self._method == "Regress":
            return RecordedAnswer(await client.regress(self._examples, **self._of_model))
        return RecordedAnswer(await client.multi_inference(self._examples, tasks=self._tasks, **self._of_model))

    def values(self, answer: Answer) -> Mapping[str, Array]:
        """Return what an answer has, as arrays by name."""
        if isinstance(answer, Prediction):
            return answer
        assert isinstance(answer, RecordedAnswer)
        found = answer.result
        return values_of_tasks(found) if self._method == "MultiInference" else values_of_result(found)

    def difference(self, answer: Answer) -> str:
        """How an answer differs from the reference; empty if it does not, or if none is expected."""
        return "" if self._reference is None else self._reference.difference(self.values(answer))


@dataclass(frozen=True, eq=False)
class RecordedQueries:
    """The calls of a recording that can be sent again, in the order in which they began.

    Attributes:
        episodes: the calls.
        models: other names for recorded models.
        version: the version to call instead of the recorded ones.
        references: the answers to expect, as arrays by name; None for any.
        tolerance: how far numbers may be from them.
        timed: whether the recording says when each call began.
    """

    episodes: Sequence[Episode]
    models: Mapping[str, str]
    version: int | None = None
    references: Sequence[Mapping[str, Array]] | None = None
    tolerance: Tolerance = EXACT
    timed: bool = False

    def make(self) -> list[RecordedQuery]:
        """Return the queries. Raises DecodeError."""
        first = _began(self.episodes[0]) if self.timed else 0.0
        found = []
        for place, episode in enumerate(self.episodes):
            at = _began(episode) - first if self.timed else None
            reference = None if self.references is None else Reference(self.references[place], self.tolerance)
            found.append(RecordedQuery(episode, self._spec(episode), at, reference))
        return found

    def expecting(self, references: Sequence[Mapping[str, Array]], tolerance: Tolerance) -> RecordedQueries:
        """Return the same queries with the answers to expect."""
        return replace(self, references=references, tolerance=tolerance)

    @property
    def span(self) -> float:
        """Seconds from the first call to the last."""
        return _began(self.episodes[-1]) - _began(self.episodes[0])

    def begun_within(self, seconds: float) -> int:
        """Count the calls that began less than so many seconds after the first."""
        first = _began(self.episodes[0])
        return sum(_began(episode) - first < seconds for episode in self.episodes)

    @property
    def model_names(self) -> list[str]:
        """The models that are called, in the order of their names."""
        return sorted({self._spec(episode).name for episode in self.episodes})

    def kinds(self) -> list[int]:
        """Return the place of the first call of each method, model and signature."""
        found: dict[object, int] = {}
        for place, episode in enumerate(self.episodes):
            found.setdefault((episode.method, self._spec(episode)), place)
        return list(found.values())

    def compared(self, tolerance: Tolerance) -> RecordedQueries:
        """Return the same queries, with answers compared with the recorded ones.

        Raises ConfigError if some calls have no recorded answer; DecodeError for an answer that cannot be read.
        """
        if lacking := sum(each.reply is None for each in self.episodes):
            raise ConfigError(
                f"--check recorded: {counted(lacking, 'calls')} of the recording have no reply, as in a warmup file: "
                "leave --check out"
            )
        return self.expecting([kept(outputs_of(each)) for each in self.episodes], tolerance)

    def _spec(self, episode: Episode) -> ModelSpec:
        spec = episode.spec
        name = self.models.get(spec.name, spec.name)
        if self.version is not None:
            return ModelSpec(name, self.version, None, spec.signature)
        return ModelSpec(name, spec.version, spec.label, spec.signature)


def read_recording(path: str, model: str | None, version: int | None) -> tuple[RecordedQueries, dict[str, int]]:
    """Return the calls of a recording, and the numbers of those left out by reason.

    Args:
        path: a recording, or a warmup file.
        model: the calls of this model only; ``NAME=OTHER`` sends them to another one. None: the calls of all.
        version: the version to call instead of the recorded ones.

    Raises ConfigError for a recording without calls to send; RecordingError and DecodeError for one that cannot be
    read, or has a call of another API.
    """
    name, equals, other = (model or "").partition("=")
    if model is not None and (not name or (equals and not other)):
        raise ConfigError(f"expected --model NAME or NAME=OTHER, got {shown(model)}")
    found: list[Episode] = []
    left: dict[str, int] = {}
    for episode in RecordingFile.read(path).episodes:
        reason = ""
        if episode.method not in LOGGED:
            reason = f"calls of {episode.method}"
        elif episode.code is not StatusCode.OK:
            reason = "failed calls"
        elif name and episode.spec.name != name:
            reason = "calls of other models"
        if reason:
            left[reason] = left.get(reason, 0) + 1
        else:
            found.append(episode)
    if not found:
        reasons = ", ".join(counted(count, reason) for reason, count in left.items()) or "no calls at all"
        raise ConfigError(f"{path}: expected calls to send, got {reasons}")
    timed = all(episode.recorded > 0 for episode in found)
    if timed:
        found.sort(key=_began)
    return RecordedQueries(found, {name: other} if other else {}, version, timed=timed), left


def _began(episode: Episode) -> float:
    return episode.recorded - episode.seconds
