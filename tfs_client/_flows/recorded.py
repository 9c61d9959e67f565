"""Recorded: exchanges that a recording records, or answers instead of a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast
from urllib.parse import unquote, urlsplit

from tfs_client._calls import Call, RestCall
from tfs_client._calls.grpc_only import GrpcOnly
from tfs_client._calls.predict import Predict
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client._codec.request_memory import lasting
from tfs_client._flows import forks
from tfs_client._flows.asked import Asked
from tfs_client._flows.exchanges import GrpcExchange, RestExchange, keep
from tfs_client._flows.predicting import PredictCall
from tfs_client._transports.reply import Reply
from tfs_client._transports.spare_requests import SpareRequests
from tfs_client._transports.steps import Flow, Send, Sleep
from tfs_client._transports.targets import Target
from tfs_client.errors import CallError, RecordingError, call_error
from tfs_client.recordings.derived_signatures import derived
from tfs_client.recordings.episodes import LOGGED, LOOKUPS, Episode
from tfs_client.recordings.recording import Recording
from tfs_client.recordings.replies import reply_of
from tfs_client.recordings.secrets import Secrets, is_secret
from tfs_client.results import Prediction
from tfs_client.signatures import Signatures

Result = TypeVar("Result")
RECORDED = (*LOGGED, *LOOKUPS)  # the methods of calls that are recorded


class Recorded:
    """The recording of one client, and the secrets that must not get into it.

    Args:
        recording: what records or answers the calls.
        target: the server.
    """

    # A call is recorded with its final outcome, after all attempts and pauses, in the messages of gRPC. So one made
    # over REST has the request that gRPC would have carried, and its result is written as the reply of gRPC. A
    # recorded call therefore answers over either transport: its reply is read as one of gRPC.
    #
    # The step before a recorded answer is a pause of no length. Futures thereby get their result, or the error, as
    # they get those of a server: later, and outside of the caller.

    def __init__(self, recording: Recording, target: Target) -> None:
        self._recording = recording
        self._transport = "rest" if target.rest else "grpc"
        self.secrets: Secrets = Secrets()
        self._derived: dict[ModelSpec, Signatures | None] = {}
        if target.user:
            password = urlsplit(target.addresses[0]).password or ""
            self.secrets.add(password)
            self.secrets.add(unquote(password))
        forks.watch(recording)

    def exchange(self, inner: GrpcExchange | RestExchange) -> RecordedExchange:
        """Wrap what makes the calls. The tokens that it sends become secrets."""
        inner.note = self.secrets.add
        return RecordedExchange(self, inner)

    def predict(self, inner: PredictCall) -> PredictCall:
        """Wrap what makes Predict calls over REST. What it refuses without asking the server is recorded, too."""

        def predict(call: Predict, asked: Asked) -> Flow[Prediction]:
            request = call.message()

            def result_and_reply() -> Flow[tuple[Prediction, bytes | None]]:
                prediction = yield from inner(call, asked)
                return prediction, reply_of(prediction)

            return self.made(call, request, asked, result_and_reply)

        return predict

    def signatures(self, spec: ModelSpec, missing: RecordingError) -> Signatures | None:
        """The signatures of a model as its recorded predictions show them; None without any.

        Raises ``missing``, the error of the look-up, unless the recording answers all calls.
        """
        if not self.replays:
            raise missing
        key = replace(spec, signature="")
        if key not in self._derived:
            self._derived[key] = derived(self._recording.episodes, key)
        return self._derived[key]

    @property
    def replays(self) -> bool:
        """Whether the recording answers all calls."""
        return self._recording.replays

    @property
    def waits(self) -> bool:
        """As ``Recording.waits``."""
        return self._recording.waits

    def made(
        self,
        call: Call[Result],
        request: bytes,
        asked: Asked,
        make: Callable[[], Flow[tuple[Result, bytes | None]]],
    ) -> Flow[Result]:
        """Make a call, or let the recording answer it.

        Args:
            request: its message over gRPC.
            make: makes it; returns its result, and the reply as over gRPC, or None for one that cannot be recorded.
        """
        recording = self._recording
        if isinstance(asked.token, str):
            self.secrets.add(asked.token)
        # What hooks add, such as a trace context, differs in every run. Secrets stay until their values are known.
        metadata = tuple(pair for pair in asked.metadata if pair[0] not in asked.added or is_secret(pair[0]))
        plain = Episode(call.method, call.spec, request, None, metadata=metadata, transport=self._transport)
        wanted = self.secrets.removed(recording.redacted(plain))
        found = recording.replayed(wanted)
        if found is not None:
            yield Sleep(0.0)
            if found.reply is None:
                raise _error_of(found, call.method)
            return call.read(found.reply)
        began = time.perf_counter()
        try:
            result, reply = yield from make()
        except CallError as error:
            self._ended(wanted, began, **_facts(error))
            raise
        if reply is not None:
            self._ended(wanted, began, reply=reply)
        return result

    def _ended(self, wanted: Episode, began: float, **outcome: Any) -> None:
        seconds = time.perf_counter() - began
        ended = replace(wanted, seconds=seconds, recorded=time.time(), **outcome)
        self._recording.record(self.secrets.removed(ended))


class RecordedExchange:
    """Makes calls that are recorded, or answered by a recording.

    Args:
        recorded: the recording.
        inner: makes the calls.
    """

    def __init__(self, recorded: Recorded, inner: GrpcExchange | RestExchange) -> None:
        self._recorded = recorded
        self._inner = inner
        self.spare: SpareRequests | None = None  # a recorded request outlives its call
        self.join: Join = plain_join  # for the same reason
        self.give_back: Callable[[bytes], object] = keep
        self.rest = inner.rest
        self.retries = inner.retries

    @property
    def waits(self) -> bool:
        """Whether pauses between polls are of use."""
        return self._recorded.waits

    def again(self, send: Send, asked: Asked, failed: CallError) -> Flow[Reply]:
        """Continue with a request whose first attempt failed."""
        return self._inner.again(send, asked, failed)

    def send(self, call: Call[Result], asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Result]:
        """Make a call. Raises CallError, DecodeError, EncodeError, RecordingError."""
        recorded = call.method in RECORDED
        if not recorded and self._recorded.replays:
            raise RecordingError(
                f"recordings do not answer {call.method}: expected a call of {', '.join(RECORDED)}; "
                "call the server with another client, without record="
            )
        if not recorded or (self.rest and isinstance(call, GrpcOnly)):
            return (yield from self._sent(call, asked, wait_for_ready))
        request = lasting(call.write())

        def result_and_reply() -> Flow[tuple[Result, bytes | None]]:
            if self.rest:
                result = yield from self._sent(call, asked, wait_for_ready)
                return result, reply_of(result)
            written = _Written(call, request)
            result = yield from self._sent(written, asked, wait_for_ready)
            return result, written.reply

        return (yield from self._recorded.made(call, request, asked, result_and_reply))

    def _sent(self, call: Call[Result], asked: Asked, wait_for_ready: bool | None) -> Flow[Result]:
        if isinstance(self._inner, RestExchange):
            return self._inner.send(cast("RestCall[Result]", call), asked, wait_for_ready=wait_for_ready)
        return self._inner.send(call, asked, wait_for_ready=wait_for_ready)


class _Written(Generic[Result]):
    """A call over gRPC whose request is written. It keeps its reply."""

    def __init__(self, call: Call[Result], request: bytes) -> None:
        self.path, self.method, self.spec = call.path, call.method, call.spec
        self._call = call
        self._request = request
        self.reply: bytes | None = None

    def write(self, join: Join = plain_join) -> bytes:
        return self._request

    def read(self, reply: bytes) -> Result:
        self.reply = reply
        return self._call.read(reply)


def _facts(error: CallError) -> dict[str, Any]:
    return {
        "code": error.code,
        "details": error.details,
        "hint": error.hint,
        "attempts": error.attempts,
        "unreached": error.unreached,
        "retry_after": error.retry_after,
        "http_status": error.http_status,
    }


def _error_of(episode: Episode, method: str) -> CallError:
    error = call_error(episode.code, episode.details, method, episode.hint)
    error.attempts, error.unreached = episode.attempts, episode.unreached
    error.retry_after, error.http_status = episode.retry_after, episode.http_status
    return error
