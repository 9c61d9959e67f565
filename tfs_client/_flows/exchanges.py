"""Exchanges: one call over gRPC or over REST, as steps: write the request, send it, read the reply."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from tfs_client._calls import Call, RestCall
from tfs_client._codec.predict_messages import Join, plain_join
from tfs_client._flows.asked import Asked
from tfs_client._flows.contradictions import AUTHORIZATION
from tfs_client._flows.retries import Retries
from tfs_client._flows.telemetry.retry_log import RetryLog
from tfs_client._transports.reply import Reply
from tfs_client._transports.request_buffers import KEPT
from tfs_client._transports.spare_requests import SpareRequests
from tfs_client._transports.steps import Ask, Flow, Send, Step
from tfs_client.errors import CallError, ConfigError, DeadlineExceededError
from tfs_client.options import MetadataPairs, is_sendable
from tfs_client.results import Prediction

Result = TypeVar("Result")


class Exchange(Protocol):
    """Makes calls.

    Attributes:
        join: joins the parts of a gRPC request.
        give_back: takes back the memory of a request that will not be sent.
        spare: memory for the requests that batches fill; None if requests are written in another way, or outlive their
            calls.
        rest: whether calls go over REST. Over gRPC a Predict request is written before the first step, so the caller
            may change its inputs from then on.
        retries: has the retry budgets, which successful calls refill.
        waits: whether pauses between polls are of use; not if recorded calls answer them.
    """

    join: Join
    give_back: Callable[[bytes], object]
    spare: SpareRequests | None
    rest: bool
    retries: Retries

    @property
    def waits(self) -> bool: ...

    def again(self, send: Send, asked: Asked, failed: CallError) -> Flow[Reply]:
        """Continue with a request whose first attempt failed."""

    def send(self, call: RestCall[Result], asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Result]:
        """Make a call. Raises CallError, DecodeError, EncodeError."""


def keep(request: bytes) -> None:
    """Do nothing: the request's memory is not reused."""


class _Exchanging:
    """What exchanges over gRPC and REST have in common.

    Attributes:
        note: receives the tokens that functions return, so that a recording knows them as secrets.
    """

    waits: bool = True
    spare: SpareRequests | None = None

    def __init__(self, log: RetryLog | None = None) -> None:
        self.join: Join = plain_join
        self.give_back: Callable[[bytes], object] = keep
        self.retries = Retries(log)
        self.note: Callable[[str], object] | None = None

    def again(self, send: Send, asked: Asked, failed: CallError) -> Flow[Reply]:
        """Continue with a request whose first attempt failed."""
        return self.retries.sent(send, asked.retry, model=asked.spec.name, paced=asked.paced, failed=failed)

    def _with_token(self, asked: Asked) -> Generator[Step, Any, MetadataPairs]:
        """The call's metadata, with its token unless the metadata has an authorization."""
        token = asked.token
        if token is None or any(key == AUTHORIZATION for key, _ in asked.metadata):
            return asked.metadata
        if callable(token):
            function, token = token, (yield Ask(token, asked.deadline))
            if not is_sendable(token):  # the text does not show it: it may be a secret
                raise ConfigError(f"expected a token as printable ASCII text from {function}, got something else")
            if self.note is not None:
                self.note(token)
        return (*asked.metadata, (AUTHORIZATION, f"Bearer {token}"))


class GrpcExchange(_Exchanging):
    """Calls over gRPC. Tensors carry their dtypes, so no signatures are needed."""

    rest = False

    def __init__(self, log: RetryLog | None = None) -> None:
        super().__init__(log)
        self.spare = SpareRequests(KEPT)

    def send(self, call: Call[Result], asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Result]:
        """Make a call. The request is written first: while a token is fetched, the caller may change its arrays."""
        request, pairs = call.write(self.join), asked.metadata
        if asked.token is not None:
            try:
                pairs = yield from self._with_token(asked)
            except BaseException:
                self.give_back(request)
                raise
        # Calls do not wait for a server in the transport, where they could not report why it is unreachable.
        ready = False if wait_for_ready is False else None
        send = Send(call.path, request, asked.deadline, pairs, asked.compression, ready)
        model = asked.spec.name
        try:
            reply: Reply
            if asked.retry is None and not asked.paced:
                reply = yield send
            else:
                reply = yield from self.retries.sent(
                    send, asked.retry, model=model, waits=wait_for_ready, paced=asked.paced
                )
        except CallError as error:
            error.request_id = asked.request_id
            raise
        return answered(call.read(reply.body), reply, asked)


class RestExchange(_Exchanging):
    """Calls over REST. Predict calls need signatures: ``predicting_rest`` writes and reads them."""

    rest = True

    def send(self, call: RestCall[Result], asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Result]:
        """Make a call. Raises CallError if the deadline passed before the reply was read."""
        address, body = call.write_rest()
        reply = yield from self.sent(address, body, asked, wait_for_ready)
        result = answered(call.read_rest(reply.body), reply, asked)
        check_time(asked)
        return result

    def sent(self, address: str, body: bytes, asked: Asked, wait_for_ready: bool | None = None) -> Flow[Reply]:
        """Send a request that is written already."""
        pairs = asked.metadata if asked.token is None else (yield from self._with_token(asked))
        send = Send(address, body, asked.deadline, pairs, asked.compression, wait_for_ready)
        model = asked.spec.name
        try:
            return (
                yield from self.retries.sent(send, asked.retry, model=model, waits=wait_for_ready, paced=asked.paced)
            )
        except CallError as error:
            error.request_id = asked.request_id
            raise


def answered(result: Result, reply: Reply, asked: Asked) -> Result:
    """Note on a prediction from which reply it was read. Other results do not keep their reply."""
    if isinstance(result, Prediction):
        reply.request_id = asked.request_id
        result._facts = reply
    return result


def check_time(asked: Asked) -> None:
    """Raise DeadlineExceededError if the deadline has passed. Parsing JSON cannot be interrupted."""
    if asked.deadline.passed():
        late = DeadlineExceededError(
            f"the reply arrived, but was not read within {asked.deadline.limit:g} s",
            hint="timeout= sets another limit.",
        )
        late.request_id = asked.request_id
        raise late
