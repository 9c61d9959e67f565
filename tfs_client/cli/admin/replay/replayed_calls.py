"""Replayed calls: recorded requests that are sent to a server, and how its replies differ from others.

A call over gRPC and one over REST get the same values, so both sides are compared as arrays by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np

from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._codec import predict_messages
from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import bounded
from tfs_client._transports import daemon_threads
from tfs_client.client import PredictClient
from tfs_client.errors import CallError, ConfigError, DecodeError, EncodeError, SignatureError, StatusCode
from tfs_client.recordings.contents import choices_of, examples_of, outputs_of
from tfs_client.recordings.differences import Difference, differences
from tfs_client.recordings.episodes import LOGGED, Episode
from tfs_client.recordings.outcomes import same_status, signature_text
from tfs_client.recordings.replies import reply_of
from tfs_client.results import Classification, Regression
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, Signatures

COMPARED = (*LOGGED, "GetModelMetadata")
"""The methods whose replies can be compared. The states of versions depend on the moment."""

_OF_ONE_CALL = (DecodeError, EncodeError, SignatureError)  # the errors that say nothing about other calls

LONGEST_TEXT = 300  # characters of an error's text in a difference


@dataclass(frozen=True)
class Outcome:
    """How a call ended, on either side.

    Attributes:
        values: the reply as arrays by name; empty for a failed call.
        code, details: its status.
        seconds: how long it took.
        rest: whether it was a call over REST.
        problem: why there is nothing to compare, although the call did not fail; "" if there is.
    """

    values: Mapping[str, Array]
    code: StatusCode = StatusCode.OK
    details: str = ""
    seconds: float = 0.0
    rest: bool = False
    problem: str = ""


@dataclass(frozen=True)
class ReplayedCall:
    """A recorded call and its replay.

    Attributes:
        number: the position of the call in the recording, from 0.
        method, spec: what was called.
        expected: the recorded outcome, or that of the baseline.
        got: the outcome now.
        differences: how they differ; empty if they do not.
    """

    number: int
    method: str
    spec: ModelSpec
    expected: Outcome
    got: Outcome
    differences: Sequence[Difference] = ()


class Replayer:
    """Sends recorded requests to one server.

    Args:
        client: the client; its timeout applies to each call.
        rest: whether it calls over REST.
        models: other names for recorded models.
        version: the version to call instead of the recorded one.
    """

    def __init__(
        self,
        client: PredictClient,
        *,
        rest: bool,
        models: Mapping[str, str] | None = None,
        version: int | None = None,
    ) -> None:
        self._client = client
        self._rest = rest
        self._models = models or {}
        self._version = version

    def outcome(self, episode: Episode) -> Outcome:
        """Send the request of an episode. Raises ``unreached`` CallErrors, and ConfigError."""
        spec = self.spec_of(episode)
        began = time.monotonic()
        try:
            values = self._values(episode, spec)
        except CallError as error:
            if error.unreached:
                raise
            return Outcome({}, error.code, error.details, time.monotonic() - began, self._rest)
        except _OF_ONE_CALL as error:
            return Outcome({}, seconds=time.monotonic() - began, rest=self._rest, problem=str(error))
        return Outcome(values, seconds=time.monotonic() - began, rest=self._rest)

    def spec_of(self, episode: Episode) -> ModelSpec:
        """Return the model that is called."""
        spec = episode.spec
        name = self._models.get(spec.name, spec.name)
        if self._version is not None:
            return ModelSpec(name, self._version, None, spec.signature)
        return ModelSpec(name, spec.version, spec.label, spec.signature)

    def _values(self, episode: Episode, spec: ModelSpec) -> Mapping[str, Array]:
        client = self._client
        of_model = {"model": spec.name, "version": spec.version, "label": spec.label}
        if episode.method == "Predict":
            request = predict_messages.read_request(episode.request)
            inputs = {alias: request.tensor(alias) for alias in request.inputs}
            return client.predict(inputs, outputs=request.outputs, signature=spec.signature or None, **of_model)  # type: ignore[arg-type]
        if episode.method == "GetModelMetadata":
            return _of_signatures(client.signatures(**of_model))  # type: ignore[arg-type]
        if episode.method == "MultiInference":
            tasks = tasks_of(episode)
            return values_of_tasks(client.multi_inference(examples_of(episode.request), tasks=tasks, **of_model))  # type: ignore[arg-type]
        examples = examples_of(episode.request)
        call = client.classify if episode.method == "Classify" else client.regress
        return values_of_result(call(examples, signature=spec.signature or None, **of_model))  # type: ignore[arg-type]


def recorded(episode: Episode) -> Outcome:
    """Return the recorded outcome."""
    rest = episode.transport == "rest"
    if episode.code is not StatusCode.OK:
        return Outcome({}, episode.code, episode.details, episode.seconds, rest)
    assert episode.reply is not None
    try:
        return Outcome(_recorded_values(episode, episode.reply), seconds=episode.seconds, rest=rest)
    except _OF_ONE_CALL as error:
        return Outcome({}, seconds=episode.seconds, rest=rest, problem=f"the recorded reply cannot be read: {error}")


def _recorded_values(episode: Episode, reply: bytes) -> Mapping[str, Array]:
    if episode.method == "GetModelMetadata":
        return _of_signatures(GetModelMetadata(episode.spec).read(reply))
    return outputs_of(episode)


def compared(
    number: int, episode: Episode, spec: ModelSpec, expected: Outcome, got: Outcome, *, rtol: float, atol: float
) -> ReplayedCall:
    """Compare two outcomes of a call: the status of failed ones, the values of others."""
    found: Sequence[Difference] = ()
    if problems := [each.problem for each in (expected, got) if each.problem]:
        found = [Difference("reply", "; ".join(problems))]
    elif not _same_status(expected, got):
        found = [Difference("error", f"expected {_status(expected)}, got {_status(got)}")]
    elif expected.code is StatusCode.OK:
        try:
            found = differences(expected.values, got.values, rtol=rtol, atol=atol)
        except DecodeError as error:
            found = [Difference("reply", str(error))]
    return ReplayedCall(number, episode.method, spec, expected, got, found)


def in_order(count: int, run: Callable[[int], ReplayedCall], concurrency: int) -> Iterator[ReplayedCall]:
    """Run ``count`` calls, some at the same time, and yield them in order. Raises the first error of ``run``."""
    todo: SimpleQueue[int | None] = SimpleQueue()
    done: SimpleQueue[tuple[int, ReplayedCall | BaseException]] = SimpleQueue()

    def work() -> None:
        while (number := todo.get()) is not None:
            try:
                done.put((number, run(number)))
            except BaseException as error:
                done.put((number, error))

    threads = min(concurrency, count)
    for number in range(threads):
        if daemon_threads.start(work, f"tfs-admin-replay-{number}") is None:
            raise ConfigError("cannot start threads")
    waiting: dict[int, ReplayedCall | BaseException] = {}
    sent = 0
    try:
        for number in range(count):
            while number not in waiting:
                while sent < min(count, number + 4 * threads):  # a slow call holds back only so many others
                    todo.put(sent)
                    sent += 1
                found, call = done.get()
                waiting[found] = call
            result = waiting.pop(number)
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for _ in range(threads):
            todo.put(None)


def tasks_of(episode: Episode) -> dict[str, str]:
    """Return the tasks of MultiInference by signature, as clients take them."""
    return {signature: "classify" if method == CLASSIFY else "regress" for signature, method in choices_of(episode)}


def values_of_result(result: Classification | Regression) -> dict[str, Array]:
    """Return the result of Classify or Regress as arrays by name."""
    method = "Classify" if isinstance(result, Classification) else "Regress"
    return outputs_of(Episode(method, ModelSpec(""), b"", reply_of(result)))


def values_of_tasks(results: Mapping[str, Classification | Regression]) -> dict[str, Array]:
    """Return the results of MultiInference as arrays, with the name of their signature before theirs."""
    return {
        f"{signature or DEFAULT_SIGNATURE}.{alias}": array
        for signature, result in results.items()
        for alias, array in values_of_result(result).items()
    }


def _of_signatures(signatures: Signatures) -> dict[str, Array]:
    """Return each signature as a text, so that a changed one is shown."""
    found = {}
    for name, signature in signatures.items():
        text = np.empty((), object)
        text[()] = signature_text(signature).encode()
        found[name] = text
    return found


def _same_status(expected: Outcome, got: Outcome) -> bool:
    """Whether both ended alike. Over REST, texts differ, and one status stands for several codes."""
    return same_status(
        (expected.code, expected.details), (got.code, got.details), same_transport=expected.rest == got.rest
    )


def _status(outcome: Outcome) -> str:
    if outcome.code is StatusCode.OK:
        return "a reply"
    return f"{outcome.code.name}: {bounded(outcome.details, LONGEST_TEXT)}"


def selected(
    episodes: Sequence[Episode], models: Sequence[str] = (), *, replies: bool
) -> tuple[list[tuple[int, Episode]], dict[str, int]]:
    """Return the calls that can be compared with their numbers, and the numbers of others by reason.

    Args:
        models: the calls of these models only; empty: of all.
        replies: whether the recorded replies are needed.
    """
    found: list[tuple[int, Episode]] = []
    left: dict[str, int] = {}
    for number, episode in enumerate(episodes):
        if models and episode.spec.name not in models:
            reason = "calls of other models"
        elif episode.method not in COMPARED:
            reason = f"calls of {episode.method}"
        elif replies and episode.reply is None and episode.code is StatusCode.OK:
            reason = "requests without a recorded reply"
        else:
            found.append((number, episode))
            continue
        left[reason] = left.get(reason, 0) + 1
    return found, left
