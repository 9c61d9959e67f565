"""Readiness: whether a model answers calls, and waiting until it does."""

from __future__ import annotations

from typing import NamedTuple

from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.status import GetModelStatus
from tfs_client._flows.asked import Asked, described
from tfs_client._flows.exchanges import Exchange
from tfs_client._flows.known_signatures import KnownSignatures, named
from tfs_client._transports.steps import Flow, Sleep
from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from tfs_client.results import ModelStatus

POLL_INTERVAL = 0.1  # seconds between two status calls to a server that is not ready
NOT_YET = (UnavailableError, NotFoundError)  # how a server that is starting answers


class _NotReady(NamedTuple):
    """Why a model cannot answer yet."""

    text: str
    unreached: bool = False
    late: bool = False  # the status call itself ran out of time
    failed: bool = False  # the server could not load the model, and no other version is loading

    @classmethod
    def of(cls, error: CallError) -> _NotReady:
        """The reason that a failed status call gives."""
        late = isinstance(error, DeadlineExceededError)
        # A model that the server does not have yet needs no hint: the wait ends when it comes.
        hint = "" if isinstance(error, NotFoundError) else error.hint
        return cls(". ".join(filter(None, (error.details.rstrip("."), hint))), error.unreached, late)


NOT_AGAIN = (
    "The server does not try this version again unless it is removed, from disk or from the configuration, and "
    "added back; it does load a new version."
)
NO_ANSWER = _NotReady("no server answered", late=True)


def pause(asked: Asked, exchange: Exchange) -> Sleep:
    """The step between two status calls."""
    return Sleep(min(POLL_INTERVAL, asked.deadline.remaining() or POLL_INTERVAL) if exchange.waits else 0.0)


class Readiness:
    """Looks whether the models of one client are ready.

    Args:
        exchange: makes calls.
        known: the signatures that the client knows.
        target: the server, for error texts.
        replicas: whether the target is a list of servers: a version that one of them could not load may still be
            loaded by another.
    """

    def __init__(self, exchange: Exchange, known: KnownSignatures, target: str, *, replicas: bool = False) -> None:
        self._exchange = exchange
        self._known = known
        self._target = target
        self._replicas = replicas

    def method(self, asked: Asked) -> str:
        """The API method that answers whether the model is ready: GetModelStatus takes no labels."""
        looked_up = asked.spec.label is not None and self._known.stated(asked) is None
        return GetModelMetadata.method if looked_up else GetModelStatus.method

    def is_ready(self, asked: Asked) -> Flow[bool]:
        """Whether the model answers calls. Does not wait for a server, whatever the retry policy says."""
        with named(asked):
            return not (yield from self._not_ready(asked, wait_for_ready=False))

    def wait_until_ready(self, asked: Asked) -> Flow[None]:
        """Poll until the model answers calls, the server has failed to load it, or the deadline has passed."""
        reason = NO_ANSWER
        with named(asked):
            while found := (yield from self._not_ready(asked, wait_for_ready=True)):
                if found.failed and not self._replicas:
                    raise FailedPreconditionError(
                        f"{described(asked.spec)} at {self._target} could not be loaded: {found.text}",
                        GetModelStatus.method,
                        hint=NOT_AGAIN,
                    )
                if not found.late or reason is NO_ANSWER:  # the last call has little time; an earlier one says more
                    reason = found
                if asked.deadline.passed():
                    limit = asked.deadline.limit
                    late = DeadlineExceededError(
                        f"{described(asked.spec)} at {self._target} was not ready within {limit:g} s: {reason.text}",
                        GetModelStatus.method,
                    )
                    late.unreached = reason.unreached
                    raise late
                yield pause(asked, self._exchange)

    def _not_ready(self, asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[_NotReady | None]:
        """Why the model cannot answer yet; None when it can."""
        try:
            spec = asked.spec
            if self.method(asked) == GetModelMetadata.method:
                yield from self._known.fetch(asked, wait_for_ready=wait_for_ready, requested=True)
                return None
            call = GetModelStatus(spec if spec.label is None else asked.unlabelled().spec)
            status: ModelStatus = yield from self._exchange.send(call, asked, wait_for_ready=wait_for_ready)
        except DeadlineExceededError as error:
            return _NotReady.of(error) if error.unreached else NO_ANSWER
        except NOT_YET as error:
            return _NotReady.of(error)
        except InvalidArgumentError as error:
            if asked.spec.label is None:
                raise
            return _NotReady(error.details)  # the server does not know the label yet
        if status.ready:
            return None
        return _NotReady("; ".join(map(str, status.versions)) or "it has no versions", failed=status.failed)
