"""Everything that can go wrong, as one tree.

    TFServingError
    ├── CallError                     a call failed: refused by the server, or lost on the way
    │   ├── CancelledError            CANCELLED             ├── FailedPreconditionError  FAILED_PRECONDITION
    │   ├── UnknownError              UNKNOWN               ├── AbortedError             ABORTED
    │   ├── InvalidArgumentError      INVALID_ARGUMENT      ├── OutOfRangeError          OUT_OF_RANGE
    │   ├── DeadlineExceededError     DEADLINE_EXCEEDED     ├── UnimplementedError       UNIMPLEMENTED
    │   ├── NotFoundError             NOT_FOUND             ├── InternalError            INTERNAL
    │   ├── AlreadyExistsError        ALREADY_EXISTS        ├── UnavailableError         UNAVAILABLE
    │   ├── PermissionDeniedError     PERMISSION_DENIED     ├── DataLossError            DATA_LOSS
    │   └── ResourceExhaustedError    RESOURCE_EXHAUSTED    └── UnauthenticatedError     UNAUTHENTICATED
    ├── EncodeError                   a value that no tensor can hold
    ├── DecodeError                   bytes that are not what they should be
    ├── SignatureError                names, dtypes or shapes that do not fit the model's signature
    ├── ImageError                    a picture that cannot be read or written
    ├── ConfigError                   options that contradict each other or make no sense
    └── ClosedError                   a client or server was used after it was closed

Messages have at most 4 KB and no control characters but newlines and tabs, whatever a server or a file put into
them; ``CallError.details`` is the server's text as it came.

The codes are gRPC's (https://grpc.io/docs/guides/status-codes/); TensorFlow uses the same numbers.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tfs_client.shown import bounded

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class StatusCode(enum.IntEnum):
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
    """The root: ``except TFServingError`` catches whatever this package raises on purpose.

    Attributes:
        mismatch: the inputs do not fit the model's signature, whatever their values are and however many rows there
            are: everything like them is refused too.
        example: the place of the example it is about, from 0, in the source of ``predict_many``; None elsewhere.
    """

    mismatch: bool = False
    example: int | None = None

    def __str__(self) -> str:
        return bounded(self._text())

    def __repr__(self) -> str:
        return bounded(super().__repr__())

    def _text(self) -> str:
        """The message, of any length; texts of servers, files and callers may be part of it."""
        return super().__str__()


class CallError(TFServingError):
    """A call that did not bring a reply.

    Attributes:
        code: the canonical status code.
        details: the server's own text, or the transport's when no server was reached.
        method: the API method, e.g. ``"Predict"``; empty when unknown.
        hint: what to try next; empty when there is nothing useful to say.
        unreached: no connection could be made. With ``attempts`` of 1 no server has seen the call.
        attempts: how often the call was sent; waiting for a server counts as one attempt, however long it takes.
        retry_after: seconds after which the server asks to try again; None when it does not say.
        final: the server asks for no further attempt (gRPC's negative push-back).
        request_id: the id that the call was sent with; empty without one.
        http_status: the status of the HTTP reply that refused it over REST; None otherwise.
    """

    def __init__(self, code: StatusCode, details: str, method: str = "", *, hint: str = "") -> None:
        super().__init__(code, details, method)
        self.code = StatusCode(code)
        self.details = details
        self.method = method
        self.hint = hint
        self.unreached = False
        self.attempts = 1
        self.retry_after: float | None = None
        self.final = False
        self.request_id = ""
        self.http_status: int | None = None

    def _text(self) -> str:
        where = f"{self.method}: " if self.method else ""
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        which = f" (request {self.request_id})" if self.request_id else ""
        hint = f"\n{self.hint}" if self.hint else ""
        return f"{where}{self.code.name}: {self.details}{tries}{which}{hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("unreached", "attempts", "retry_after", "final", "request_id", "http_status", "mismatch", "example")
        said = {name: getattr(self, name) for name in names}
        return call_error, (self.code, self.details, self.method, self.hint), said


class _Coded(CallError):
    """A CallError whose class fixes the code, so that raising one needs only the text."""

    CODE: StatusCode

    def __init__(self, details: str, method: str = "", *, hint: str = "") -> None:
        super().__init__(self.CODE, details, method, hint=hint)


class CancelledError(_Coded):
    """The caller, or the closing of the client, cancelled the call."""

    CODE = StatusCode.CANCELLED


class UnknownError(_Coded):
    """The server failed in a way it could not name; Python servables raise it for unexpected exceptions."""

    CODE = StatusCode.UNKNOWN


class InvalidArgumentError(_Coded):
    """The server blames the request: a wrong input name, dtype, shape or value."""

    CODE = StatusCode.INVALID_ARGUMENT


class DeadlineExceededError(_Coded):
    """No answer came within the call's timeout."""

    CODE = StatusCode.DEADLINE_EXCEEDED


class NotFoundError(_Coded):
    """The model, or the version of it, is not being served."""

    CODE = StatusCode.NOT_FOUND


class AlreadyExistsError(_Coded):
    """What should be made exists already."""

    CODE = StatusCode.ALREADY_EXISTS


class PermissionDeniedError(_Coded):
    """The caller is known but not allowed to do this."""

    CODE = StatusCode.PERMISSION_DENIED


class ResourceExhaustedError(_Coded):
    """A limit was met: message size, memory, or time in a batching queue."""

    CODE = StatusCode.RESOURCE_EXHAUSTED


class FailedPreconditionError(_Coded):
    """The server is not in the state the call needs; for Predict: the signature does not exist."""

    CODE = StatusCode.FAILED_PRECONDITION


class AbortedError(_Coded):
    """The operation was given up, mostly for a conflict with another one."""

    CODE = StatusCode.ABORTED


class OutOfRangeError(_Coded):
    """A value lies past its valid range."""

    CODE = StatusCode.OUT_OF_RANGE


class UnimplementedError(_Coded):
    """The server does not offer this method."""

    CODE = StatusCode.UNIMPLEMENTED


class InternalError(_Coded):
    """Something that should hold in the server, or in the transport, did not."""

    CODE = StatusCode.INTERNAL


class UnavailableError(_Coded):
    """The server cannot be reached, or refuses work for now."""

    CODE = StatusCode.UNAVAILABLE


class DataLossError(_Coded):
    """Data was lost or is corrupt."""

    CODE = StatusCode.DATA_LOSS


class UnauthenticatedError(_Coded):
    """The caller did not prove who it is."""

    CODE = StatusCode.UNAUTHENTICATED


class EncodeError(TFServingError, ValueError):
    """A value that cannot become a tensor: the text names the value, what a tensor can hold, and what to do."""


class DecodeError(TFServingError, ValueError):
    """Bytes that are not the message they should be: the text names what was expected and what was there.

    Attributes:
        foreign: something that does not have this API answered: a web page, or JSON about something else.
    """

    foreign: bool = False


class SignatureError(TFServingError, ValueError):
    """Inputs or outputs that do not fit the model's signature, noticed before anything was sent."""


class ImageError(TFServingError, ValueError):
    """A picture that cannot be read, prepared or written."""


class ConfigError(TFServingError, ValueError):
    """Options that are wrong on their own or do not go together."""


class ClosedError(TFServingError):
    """A client or server was used after ``close()``."""


def unreadable(what: str, error: BaseException) -> DecodeError:
    """The error for bytes on which a reader failed unexpectedly; raise it ``from`` the original.

    Args:
        what: what was read, e.g. "the reply of Predict" or "the file 'x.npy'".
    """
    return DecodeError(f"{what} cannot be read: {type(error).__name__}: {bounded(str(error), 500)}")


def reads(
    what: str, kind: Callable[[str], TFServingError] = DecodeError
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Turn unexpected errors of a reader of foreign bytes into a DecodeError; a decorator.

    For readers that run once in a call; on Predict's path over gRPC the same is inlined, for speed.

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
    """The error for a status code, as an instance of the code's own class."""
    cls = BY_CODE.get(code)
    if cls is None:  # OK, which is no error; or a number from a later gRPC
        return CallError(code, details, method, hint=hint)
    return cls(details, method, hint=hint)
