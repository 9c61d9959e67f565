"""Exchanges: one call over gRPC or over REST, as steps: write the request, send it, read the reply."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from tfs_client.calls import Call, RestCall
from tfs_client.calls.predict import Predict
from tfs_client.codec.predict import Join, plain_join
from tfs_client.defaults import Asked
from tfs_client.errors import (
    CallError,
    ConfigError,
    DeadlineExceededError,
    DecodeError,
    FailedPreconditionError,
    InvalidArgumentError,
)
from tfs_client.options import Connection, MetadataPairs, Token
from tfs_client.results import Prediction
from tfs_client.retries import Budget, Retries
from tfs_client.signatures import Signatures
from tfs_client.steps import Ask, Flow, Send, Step

Result = TypeVar("Result")

LARGE = 1 << 20  # bytes of JSON; from here on gRPC is faster by so much that it is worth a word


class SignatureSource(Protocol):
    """Where an exchange gets the signatures of a model."""

    def known(self, asked: Asked) -> Signatures | None:
        """Those that were stated, or seen before and may still hold."""

    def is_fresh(self, asked: Asked) -> bool:
        """Whether those that are known need no second look: they were stated, or seen since the call began."""

    def find(self, asked: Asked) -> Flow[Signatures | None]:
        """Those that are known, else fresh ones; None where the server has none."""

    def fetch(self, asked: Asked) -> Flow[Signatures]:
        """Those that hold now."""


class Exchange(Protocol):
    """How calls are made.

    Attributes:
        join: makes requests of gRPC of their parts.
        give_back: takes one that will not be sent.
        rest: whether calls go over REST. Over gRPC a Predict request is written before the first step, so that its
            inputs may be changed from then on.
        budget: what successes refill; None where nothing is tried again.
    """

    join: Join
    give_back: Callable[[bytes], object]
    rest: bool
    budget: Budget | None

    def again(self, send: Send, asked: Asked, failed: CallError) -> Flow[bytes]:
        """Go on with a request whose first attempt failed."""

    def send(self, call: RestCall[Result], asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Result]:
        """Make a call. Raises CallError, DecodeError, EncodeError."""

    def predict(self, call: Predict, asked: Asked, signatures: SignatureSource) -> Flow[Prediction]:
        """Make a Predict call."""


def _sendable(token: object) -> bool:
    return isinstance(token, str) and token != "" and token.isascii() and token.isprintable()


def _plain(request: bytes) -> None:
    """A request in memory of its own is not given back."""


class _Credentials:
    """Adds the token to what goes along with a call."""

    def __init__(self, token: Token | None) -> None:
        if token is not None and not callable(token) and not _sendable(token):
            raise ConfigError("expected token= as printable ASCII text, or a function that gives it")
        self._token = token

    def pairs(self, asked: Asked) -> Generator[Step, Any, MetadataPairs]:
        """The call's metadata, with the token unless the call has its own."""
        token = self._token
        if token is None or any(key == "authorization" for key, _ in asked.metadata):
            return asked.metadata
        if callable(token):
            token = yield Ask(token, asked.deadline)
            if not _sendable(token):
                raise ConfigError(f"expected a token as printable ASCII text from {self._token}, got other than that")
        return (*asked.metadata, ("authorization", f"Bearer {token}"))


class _Retrying:
    """Sends requests as often as the client's policy says."""

    def __init__(self, connection: Connection) -> None:
        self._retries = Retries(connection.retry)
        self.budget = self._retries.budget

    def again(self, send: Send, asked: Asked, failed: CallError) -> Flow[bytes]:
        """Go on with a request whose first attempt failed."""
        return self._retries.sent(send, paced=asked.paced, failed=failed)


class GrpcExchange(_Retrying):
    """Calls over gRPC: in TensorFlow's tensors, which say what they are."""

    rest = False

    def __init__(self, connection: Connection, token: Token | None, join: Join = plain_join) -> None:
        super().__init__(connection)
        self.join = join
        self.give_back: Callable[[bytes], object] = _plain
        self._credentials = _Credentials(token) if token is not None else None

    def send(self, call: Call[Result], asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Result]:
        """Make a call. The request is written first: while a token is awaited the caller may change its arrays."""
        request, pairs = call.write(self.join), asked.metadata
        if self._credentials is not None:
            try:
                pairs = yield from self._credentials.pairs(asked)
            except BaseException:
                self.give_back(request)
                raise
        # Nobody waits in the transport, where a call could not say what it waited for.
        ready = False if wait_for_ready is False else None
        send = Send(call.path, request, asked.deadline, pairs, asked.compression, ready)
        if self.budget is None:
            return call.read((yield send))
        return call.read((yield from self._retries.sent(send, waits=wait_for_ready, paced=asked.paced)))

    def predict(self, call: Predict, asked: Asked, signatures: SignatureSource) -> Flow[Prediction]:
        """Make a Predict call; on the wire tensors say what they are."""
        return self.send(call, asked)


class RestExchange(_Retrying):
    """Calls over REST: by the signature, in the form that fits, tried again by the policy."""

    rest = True

    def __init__(self, connection: Connection, token: Token | None, form: str) -> None:
        super().__init__(connection)
        self.join: Join = plain_join
        self.give_back: Callable[[bytes], object] = _plain
        self._row = FORMS[form]
        self._credentials = _Credentials(token)
        self._columnar: set[Any] = set()  # models whose outputs turned out not to fit in rows
        self._loose: set[Any] = set()  # models whose server writes floats like whole numbers
        self._warned = False

    def send(self, call: RestCall[Result], asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Result]:
        """Make a call."""
        address, body = call.write_rest()
        result = call.read_rest((yield from self._sent(address, body, asked, wait_for_ready)))
        _check_time(asked)
        return result

    def predict(self, call: Predict, asked: Asked, signatures: SignatureSource) -> Flow[Prediction]:
        """Make a Predict call. Raises CallError if parsing the reply ended after the deadline."""
        prediction = yield from self._predicted(call, asked, signatures)
        _check_time(asked)
        return prediction

    def _predicted(self, call: Predict, asked: Asked, signatures: SignatureSource) -> Flow[Prediction]:
        """Make a Predict call, by the signatures seen before; where they do not fit, by fresh ones.

        Rows whose outputs have no common batch size are refused by the server; then the columnar form does. To a
        server without metadata the request is written, and its reply read, as far as they speak for themselves.
        """
        found = known = signatures.known(asked)
        if known is None or signatures.is_fresh(asked):
            found, known = (yield from signatures.find(asked)), None
        try:
            address, body = self._written(call, found)
        except (InvalidArgumentError, FailedPreconditionError):
            if known is None:
                raise
            found, known = (yield from signatures.fetch(asked)), None
            address, body = self._written(call, found)
        try:
            reply = yield from self._sent(address, body, asked)
        except InvalidArgumentError as error:
            error.hint = error.hint or ("" if found is None else call.left_out(found))
            if self._row is not None or not _needs_columns(error):
                raise
            self._columnar.add(call.spec)
            reply = yield from self._sent(*self._written(call, found), asked)
        if found is None:
            return call.read_unsigned(reply)
        if known is None or call.spec in self._loose:
            return call.read_rest(reply, found)
        try:
            return call.read_rest(reply, found, exact=True)
        except DecodeError:  # perhaps by another version, with other outputs
            fresh = yield from signatures.fetch(asked)
            prediction = call.read_rest(reply, fresh)
            if fresh == found:
                self._loose.add(call.spec)
            return prediction

    def _written(self, call: Predict, signatures: Signatures | None) -> tuple[str, bytes]:
        row = False if self._row is None and call.spec in self._columnar else self._row
        address, body = call.write_unsigned(row=row) if signatures is None else call.write_rest(signatures, row=row)
        if len(body) > LARGE and not self._warned:
            self._warned = True
            warnings.warn(
                f"a request of {len(body) / 1e6:.1f} MB of JSON: gRPC carries the same tensors many times faster, on "
                "the server's gRPC port (usually 8500)",
                UserWarning,
                stacklevel=_level_of_the_user(),
            )
        return address, body

    def _sent(
        self, address: str, body: bytes, asked: Asked, wait_for_ready: bool | None = None
    ) -> Generator[Step, Any, bytes]:
        pairs = yield from self._credentials.pairs(asked)
        send = Send(address, body, asked.deadline, pairs, asked.compression, wait_for_ready)
        return (yield from self._retries.sent(send, waits=wait_for_ready, paced=asked.paced))


FORMS = {"auto": None, "row": True, "columnar": False}


def _check_time(asked: Asked) -> None:
    """Raise DeadlineExceededError if a call's time is over. Parsing JSON cannot be interrupted."""
    if asked.deadline.passed():
        raise DeadlineExceededError(
            f"the reply arrived, but was not read within {asked.deadline.limit:g} s",
            hint="timeout= sets another limit.",
        )


def _level_of_the_user() -> int:
    """How many frames above a warning the caller's code is, through generators and all."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("tfs_client."):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level


def _needs_columns(error: CallError) -> bool:
    """Whether the server ran the model and could not put its outputs in rows (util/json_tensor.cc)."""
    return "has inconsistent batch size" in error.details or "has no shape information" in error.details
