"""Records: what hooks receive about a call.

They contain no inputs, outputs, metadata or tokens. Only the text of an error (``details``, ``hint``) may quote a
value; ``[secret]`` stands for secrets that the client has sent and a server quotes, ``[input]`` for the inputs that
TensorFlow Serving's REST API quotes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tfs_client.errors import StatusCode


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch that a request belongs to.

    Attributes:
        kind: "predict_batched", "predict_many" or "micro".
        examples: the number of examples in the request.
        waited: seconds from the arrival of its oldest example until the request was sent. For a request that is sent
            again, because the server was busy or refused other rows, they include the earlier requests.
    """

    kind: str
    examples: int
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """What all records of a call have in common: the facts known when the call starts.

    Attributes:
        call: a number that is unique among the calls of this process; the records of one call share it.
        method: the API method, such as "Predict".
        model: the name of the model; "" for calls to the server itself.
        version: the requested version; None leaves it to the server.
        label: the requested version label; None for none.
        signature: the requested signature; "" for ``serving_default``.
        transport: "grpc" or "rest".
        target: the client's target, without passwords; replicas are separated by ", ".
        rows: the length of axis 0 of the inputs, or the number of examples; None if the inputs differ in it or have no
            such axis, and for lazy mappings (not dicts).
        request_id: the id that the client sends with the call (``request_id=``); "" for none.
        batch: the batch that the request belongs to; None for a single call.

    Every request of a batch counts as a call and has its own records. A batch call as a whole has none.
    """

    call: int
    method: str
    model: str
    version: int | None
    label: str | None
    signature: str
    transport: str
    target: str
    rows: int | None
    request_id: str
    batch: Batch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(CallRecord):
    """A call starts; nothing has been sent.

    Attributes:
        timeout: the time limit of the call in seconds; None for no limit.
    """

    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(CallRecord):
    """One request of a call was answered or has failed.

    Attributes:
        sent: the API method of the request. It differs from ``method`` for a look-up of signatures, and for the status
            calls of ``reload_config(wait=True)``.
        attempt: the number of the attempt among the call's requests of the method ``sent``, from 1. As in
            ``CallError.attempts``, waiting for a server counts as one attempt: its records have the same number.
        code: the status code; OK for a reply, CANCELLED if the call was cancelled or its client closed.
        details: the text of the failure; "" for a reply.
        unreached: whether no connection could be made.
        pause: seconds that the call now pauses: until the next attempt, or until its deadline if that is earlier. None
            if the call continues immediately or ends.
        bytes_out: the size of the request before compression; 0 if no connection could be made.
        bytes_in: the size of the reply after it was inflated; over REST also of a refusal, at most 1 MiB. 0 if
            there was no reply.
        seconds: the duration of the attempt.
        http_status: the HTTP status of the reply that refused the attempt over REST; None otherwise.
    """

    sent: str
    attempt: int
    code: StatusCode
    details: str
    unreached: bool
    pause: float | None
    bytes_out: int
    bytes_in: int
    seconds: float
    http_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(CallRecord):
    """A call has ended: with a result, with an error, or by cancellation.

    Every call that started has exactly one of these records.

    Attributes:
        answered: the version that answered; None if the server did not report it. Over REST it is the requested one.
        code: the status code; OK for a result, CANCELLED if the call was cancelled or interrupted or its client closed,
            None for an error that no server or network caused, such as inputs that cannot be encoded.
        error: the name of the error's class; "" for a result.
        details: the text of the error; "" for a result, and for errors not raised by tfs_client.
        hint: what to try next; "" if unknown.
        attempts: how often the call was sent, as in ``CallError.attempts``; 0 if it was not, as for one that a
            recording answers.
        bytes_out, bytes_in: the sizes of all requests and replies of the call, look-ups included.
        encode: seconds of the client's work before its last request, including the function that returns the token.
        wait: seconds from a written request to its reply, over all attempts and look-ups.
        paused: seconds of all pauses.
        decode: seconds from the last reply to the end of the call.
        seconds: the duration of the call: the sum of ``encode``, ``wait``, ``paused`` and ``decode``. The time that
            hooks take counts as the client's work.
        http_status: the HTTP status of the reply that refused the call over REST; None otherwise.
    """

    answered: int | None
    code: StatusCode | None
    error: str
    details: str
    hint: str
    attempts: int
    bytes_out: int
    bytes_in: int
    encode: float
    wait: float
    paused: float
    decode: float
    seconds: float
    http_status: int | None = None


Hook = Callable[[CallRecord], object]
"""Receives every record of a client's calls. It must be fast and must not block.

Hooks run in the thread or task that performs the call: of a future over gRPC, that is the caller's thread until the
first request is sent, and then a thread that delivers the replies of all futures; of a micro batch, the thread of any
of its callers. One hook may run in several threads at once, but receives the records of one call one after the other.

A hook may answer ``CallStarted`` with a mapping: metadata to send with all requests of the call, such as a trace
context. The call's own metadata takes precedence, then that of earlier hooks. Recordings leave it out. The keys
``authorization`` and ``x-request-id`` are refused: ``token=`` and ``request_id=`` set them. Other results are ignored.

An error that a hook raises is logged by ``tfs_client.hooks``: the first one with its traceback, later ones as a line at
most every 10 seconds. The call and the other hooks continue. Only exceptions like KeyboardInterrupt, which are not an
Exception, end the call, after the other hooks have received the record. Calls that a hook makes, with any client,
produce no records, to avoid endless recursion.
"""
