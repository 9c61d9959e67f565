"""The errors that this package raises, as one tree.

    TFServingError
    ├── CallError                     a call failed: refused by the server, or lost in transit
    │   ├── CancelledError            CANCELLED             ├── FailedPreconditionError  FAILED_PRECONDITION
    │   ├── UnknownError              UNKNOWN               ├── AbortedError             ABORTED
    │   ├── InvalidArgumentError      INVALID_ARGUMENT      ├── OutOfRangeError          OUT_OF_RANGE
    │   ├── DeadlineExceededError     DEADLINE_EXCEEDED     ├── UnimplementedError       UNIMPLEMENTED
    │   ├── NotFoundError             NOT_FOUND             ├── InternalError            INTERNAL
    │   ├── AlreadyExistsError        ALREADY_EXISTS        ├── UnavailableError         UNAVAILABLE
    │   ├── PermissionDeniedError     PERMISSION_DENIED     ├── DataLossError            DATA_LOSS
    │   └── ResourceExhaustedError    RESOURCE_EXHAUSTED    └── UnauthenticatedError     UNAUTHENTICATED
    ├── EncodeError                   a value that cannot become a tensor
    ├── DecodeError                   bytes that are not the expected message
    ├── SignatureError                names, dtypes or shapes that do not fit the model's signature
    ├── ImageError                    a picture that cannot be read or written
    ├── ConfigError                   options that are invalid or contradict each other
    ├── RecordingError                a call that a recording does not answer, or answers differently
    └── ClosedError                   a client or server was used after it was closed

Messages have at most 4 KB and no control characters except newlines and tabs, even where they quote a server or a
file; ``CallError.details`` is the server's text unchanged.

The codes are gRPC's (https://grpc.io/docs/guides/status-codes/); TensorFlow uses the same numbers.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

from tfs_client._printable import bounded

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Member = TypeVar("Member", bound="WireEnum")


class WireEnum(enum.IntEnum):
    """Base class of the enums in replies. Newer servers may send values that are not defined here."""

    @classmethod
    def of(cls: type[Member], value: int | str) -> Member:
        """Return the member with this number or name, or ``UNKNOWN``; digits count as a number."""
        if isinstance(value, str) and not value.isdecimal():
            return cls.__members__.get(value, cls["UNKNOWN"])
        number = int(value)
        return cls(number) if number in cls._value2member_map_ else cls["UNKNOWN"]


class StatusCode(WireEnum):
    """The canonical status codes; gRPC and ``tensorflow.error.Code`` number them alike."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class TFServingError(Exception):
    """Base class: ``except TFServingError`` catches every error of a call, a conversion or a configuration.

    Unknown keys of mappings raise KeyError.

    Attributes:
        mismatch: the inputs do not fit the model's signature, regardless of their values and the number of rows, so
            all similar inputs are refused too.
        example: the index of the failed example, from 0, in the source of ``predict_many``; None elsewhere.
    """

    mismatch: bool = False
    example: int | None = None

    def __str__(self) -> str:
        return bounded(self._text())

    def __repr__(self) -> str:
        return bounded(super().__repr__())

    def _text(self) -> str:
        """Return the message, of any length; it may quote servers, files and callers."""
        return super().__str__()


class ReplyMetadata(NamedTuple):
    """The metadata of a reply, as pairs of key and value, in which keys can repeat.

    Values are text; over gRPC, those of keys that end in ``-bin`` are bytes.

    Attributes:
        initial: the pairs that the server sent before the reply; over REST its headers, with names in lower case.
        trailing: the pairs that it sent after the reply; none over REST.
    """

    initial: tuple[tuple[str, str | bytes], ...] = ()
    trailing: tuple[tuple[str, str | bytes], ...] = ()


_WITHOUT_DETAILS = {StatusCode.UNIMPLEMENTED: "the server does not have this method"}  # gRPC sends no text with it


class CallError(TFServingError):
    """A failed call: the server refused it, or it was lost on the way.

    Attributes:
        code: the canonical status code.
        details: the server's own text, or the transport's when no server was reached.
        method: the API method, e.g. ``"Predict"``; empty when unknown.
        hint: what to try next; empty when unknown.
        unreached: no connection could be made. If ``attempts`` is 1, no server has seen the call.
        attempts: how often the call was sent; waiting for a server counts as one attempt, however long it takes.
        retry_after: seconds after which the server asks to retry; None when it does not say.
        final: the server asks not to retry (gRPC's negative push-back).
        request_id: the id that was sent with the call; empty without one.
        http_status: the HTTP status of the reply that refused the call over REST; None otherwise.
        metadata: the metadata of the reply that refused the call; without a reply, no pairs.
        peer: the address of the server, such as ``"127.0.0.1:8500"``, as for ``Prediction.peer``; "" if unknown, or if
            no connection could be made.
        raw: over REST, the body of the reply that refused the call, at most its first MiB; None otherwise.
        transport_error: the exception of gRPC or httpx behind this one; None without one. Futures and batches of
            PredictClient over gRPC have none.

    Texts and pickles of an error do not contain ``metadata``, ``peer``, ``raw`` and ``transport_error``.
    """

    def __init__(self, code: StatusCode, details: str, method: str = "", *, hint: str = "") -> None:
        super().__init__(code, details, method)
        self.code: StatusCode = StatusCode(code)
        self.details = details
        self.method = method
        self.hint = hint
        self.unreached = False
        self.attempts = 1
        self.retry_after: float | None = None
        self.final = False
        self.request_id = ""
        self.http_status: int | None = None
        self.metadata: ReplyMetadata = ReplyMetadata()
        self.peer: str = ""
        self.raw: bytes | None = None
        self.transport_error: Exception | None = None

    def _text(self) -> str:
        where = f"{self.method}: " if self.method else ""
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        which = f" (request {self.request_id})" if self.request_id else ""
        hint = f"\n{self.hint}" if self.hint else ""
        text = self.details or _WITHOUT_DETAILS.get(self.code, "the server gave no reason")
        return f"{where}{self.code.name}: {text}{tries}{which}{hint}"

    def __reduce__(self) -> tuple[object, ...]:
        names = ("unreached", "attempts", "retry_after", "final", "request_id", "http_status", "mismatch", "example")
        state = {name: getattr(self, name) for name in names}
        return call_error, (self.code, self.details, self.method, self.hint), state

    def __copy__(self) -> CallError:
        copied = call_error(self.code, self.details, self.method, self.hint)
        vars(copied).update((name, value) for name, value in vars(self).items() if name != "__notes__")
        return copied


class _Coded(CallError):
    """A CallError whose class determines the code, so that raising it takes only a text."""

    CODE: StatusCode

    def __init__(self, details: str, method: str = "", *, hint: str = "") -> None:
        super().__init__(self.CODE, details, method, hint=hint)


class CancelledError(_Coded):
    """The caller cancelled the call, or closed the client during it."""

    CODE: StatusCode = StatusCode.CANCELLED


class UnknownError(_Coded):
    """The server failed for an unknown reason; Python servables raise this for unexpected exceptions."""

    CODE: StatusCode = StatusCode.UNKNOWN


class InvalidArgumentError(_Coded):
    """The request is invalid: a wrong input name, dtype, shape or value."""

    CODE: StatusCode = StatusCode.INVALID_ARGUMENT


class DeadlineExceededError(_Coded):
    """No reply arrived within the call's timeout."""

    CODE: StatusCode = StatusCode.DEADLINE_EXCEEDED


class NotFoundError(_Coded):
    """The server does not serve this model, or this version of it."""

    CODE: StatusCode = StatusCode.NOT_FOUND


class AlreadyExistsError(_Coded):
    """The object to be created exists already."""

    CODE: StatusCode = StatusCode.ALREADY_EXISTS


class PermissionDeniedError(_Coded):
    """The caller is known but does not have permission for this operation."""

    CODE: StatusCode = StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(_Coded):
    """A limit was exceeded: message size, memory, or time in a batching queue."""

    CODE: StatusCode = StatusCode.RESOURCE_EXHAUSTED


class FailedPreconditionError(_Coded):
    """The server is not in the state that the call needs; for Predict, the signature does not exist."""

    CODE: StatusCode = StatusCode.FAILED_PRECONDITION


class AbortedError(_Coded):
    """The operation was aborted, usually because it conflicted with another one."""

    CODE: StatusCode = StatusCode.ABORTED


class OutOfRangeError(_Coded):
    """A value is beyond its valid range."""

    CODE: StatusCode = StatusCode.OUT_OF_RANGE


class UnimplementedError(_Coded):
    """The server does not offer this method."""

    CODE: StatusCode = StatusCode.UNIMPLEMENTED


class InternalError(_Coded):
    """An invariant of the server or the transport was violated."""

    CODE: StatusCode = StatusCode.INTERNAL


class UnavailableError(_Coded):
    """The server cannot be reached, or does not accept calls at the moment."""

    CODE: StatusCode = StatusCode.UNAVAILABLE


class DataLossError(_Coded):
    """Data was lost or is corrupt."""

    CODE: StatusCode = StatusCode.DATA_LOSS


class UnauthenticatedError(_Coded):
    """The call carries no valid credentials."""

    CODE: StatusCode = StatusCode.UNAUTHENTICATED


class EncodeError(TFServingError, ValueError):
    """A value cannot become a tensor: the text names the value, what a tensor can hold, and what to do."""


class DecodeError(TFServingError, ValueError):
    """Bytes are not the expected message: the text names what was expected and what was found.

    Attributes:
        foreign: the reply comes from a server without this API: a web page, or unrelated JSON.
    """

    foreign: bool = False


class SignatureError(TFServingError, ValueError):
    """Inputs or outputs do not fit the model's signature; detected before anything was sent."""


class ImageError(TFServingError, ValueError):
    """A picture cannot be read, prepared or written."""


class ConfigError(TFServingError, ValueError):
    """Options are invalid, or contradict each other."""


class RecordingError(TFServingError):
    """The recording does not contain the call, or the server's reply differs from the recorded one."""


class ClosedError(TFServingError):
    """A client or server was used after ``close()``.

    Attributes:
        sent: whether the client was closed while a request was under way.
    """

    sent: bool = False


def unreadable(what: str, error: BaseException) -> DecodeError:
    """Return the error for bytes on which a reader failed unexpectedly; raise it ``from`` the original.

    Args:
        what: what was read, e.g. "the reply of Predict" or "the file 'x.npy'".
    """
    return DecodeError(f"{what} cannot be read: {type(error).__name__}: {bounded(str(error), 500)}")


def reads(
    what: str, kind: Callable[[str], TFServingError] = DecodeError
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Decorate a reader of untrusted bytes: turn its unexpected exceptions into a DecodeError.

    For readers that run once per call; Predict over gRPC has the same code inlined, for speed.

    Args:
        what: what is read, as ``unreadable`` takes it.
        kind: the class of the error, if not DecodeError.
    """

    def decorate(read: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @functools.wraps(read)
        def reader(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
            try:
                return read(*args, **options)
            except TFServingError:
                raise
            except Exception as error:
                raise kind(str(unreadable(what, error))) from error

        return reader

    return decorate


BY_CODE: dict[StatusCode, type[_Coded]] = {cls.CODE: cls for cls in _Coded.__subclasses__()}


def call_error(code: StatusCode, details: str, method: str = "", hint: str = "") -> CallError:
    """Return the error for a status code, as an instance of the code's own class."""
    cls = BY_CODE.get(code)
    if cls is None:  # OK, which is not an error; or a number from a newer gRPC
        return CallError(code, details, method, hint=hint)
    return cls(details, method, hint=hint)


def take_facts(error: CallError, other: CallError) -> None:
    """Give an error that stands for another one the facts of its call and of the reply."""
    error.request_id, error.attempts = other.request_id, other.attempts
    error.unreached, error.retry_after = other.unreached, other.retry_after
    error.metadata, error.peer, error.raw = other.metadata, other.peer, other.raw
