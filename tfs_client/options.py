"""Options: deadlines, metadata, TLS, retries. They are checked when passed, so that mistakes surface at once."""

from __future__ import annotations

import enum
import numbers
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from tfs_client._printable import shown
from tfs_client.errors import ConfigError, StatusCode


class Unset(enum.Enum):
    """The type of UNSET: the option was not given, so the client's default applies. None means no limit, or nothing."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET

DEFAULT_TIMEOUT = 30.0  # seconds
MAX_INFLATED = 100 << 20  # bytes: the default limit for an inflated message
LONGEST = 1e9  # seconds; gRPC counts nanoseconds in 64 bits, and treats a deadline beyond them as one that has passed

Metadata = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
MetadataPairs = tuple[tuple[str, str | bytes], ...]
ChannelOptions = Mapping[str, object] | Iterable[tuple[str, object]]


def checked_timeout(timeout: float | None) -> float | None:
    """Return a valid timeout in seconds, or None for no limit. Raises ConfigError."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real) or not timeout > 0:
        raise ConfigError(f"expected a timeout in seconds above 0, or None for no limit, got {shown(timeout)}")
    return None if timeout > LONGEST else float(timeout)


_KEY = re.compile(r"[0-9a-z_.-]+")


def checked_metadata(metadata: Metadata | None) -> MetadataPairs:
    """Return metadata as pairs for gRPC: lower-case keys, ASCII text, bytes only under keys that end in "-bin".

    Raises ConfigError.
    """
    if not metadata:
        return ()
    try:
        pairs = tuple((key, value) for key, value in (metadata.items() if isinstance(metadata, Mapping) else metadata))
    except (TypeError, ValueError):
        raise ConfigError(
            f"expected metadata as a mapping or as pairs of key and value, got {type(metadata).__name__}"
        ) from None
    for key, value in pairs:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(f"expected a metadata key of lower-case letters, digits, '_', '-' and '.', got {key!r}")
        if not isinstance(value, (str, bytes)) or key.endswith("-bin") != isinstance(value, bytes):
            want = (
                "bytes, because its key ends in -bin"
                if key.endswith("-bin")
                else "text, because only keys that end in -bin take bytes"
            )
            raise ConfigError(f"metadata {key!r}: expected {want}, got {type(value).__name__}")
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            raise ConfigError(f"metadata {key!r}: expected printable ASCII text, got {_unprintable(value)}")
    return pairs


def _unprintable(value: str) -> str:
    """The first character that metadata must not have, and where. The value itself may be a secret."""
    place = next(place for place, one in enumerate(value) if not (one.isascii() and one.isprintable()))
    return f"{value[place]!a} at position {place}"


def checked_channel_options(options: ChannelOptions | None) -> dict[str, object]:
    """Return gRPC channel arguments by name. Raises ConfigError."""
    if not options:
        return {}
    try:
        given = list(options.items() if isinstance(options, Mapping) else options)
        pairs = dict(given)
    except (TypeError, ValueError):
        raise ConfigError(
            f"expected channel options as a mapping or as pairs of name and value, got {options!r}"
        ) from None
    for name, value in given:
        if pairs[name] != value:
            raise ConfigError(f"expected channel option {name!r} once, got two values; remove one")
        if not isinstance(name, str) or not isinstance(value, (int, str, bytes)):
            raise ConfigError(  # without values, which may hold a password
                f"expected channel options from str to int, str or bytes, got {name!r}: {type(value).__name__}"
            )
        if isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
            raise ConfigError(f"expected channel options of at most 32 bits, got {name!r}: {value!r}")
    return pairs


COMPRESSIONS = ("gzip", "deflate")


def checked_compression(compression: str | None) -> str | None:
    """Check the name of a compression; None means no compression. Raises ConfigError."""
    if compression is not None and compression not in COMPRESSIONS:
        raise ConfigError(f"expected compression 'gzip', 'deflate' or None, got {compression!r}")
    return compression


Pem = str | os.PathLike[str] | bytes  # the path of a file, or its content


@dataclass(frozen=True)
class TLS:
    """TLS settings of a connection.

    Attributes:
        ca: the certificate authorities to trust; None means those that the system trusts: those of Python's ssl, or
            of SSL_CERT_FILE and SSL_CERT_DIR.
        certificate, key: the client's certificate and private key, for servers that require one (mTLS); both or
            neither.
        authority: the name in the server's certificate, where it differs from the target's host.

    ca, certificate and key are PEM: the path of a file, or its content as bytes. Files are read when a connection is
    set up. Raises ConfigError for files that do not exist or are not PEM.
    """

    ca: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    authority: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("expected both certificate and key, got only one of them")
        if self.authority is not None and (not isinstance(self.authority, str) or not self.authority):
            raise ConfigError(f"expected the name in the server's certificate as authority, got {self.authority!r}")
        for name in ("ca", "certificate", "key"):
            self.pem(name)

    def pem(self, name: str) -> bytes | None:
        """Read ``ca``, ``certificate`` or ``key``: its PEM, or None where it is not set. Raises ConfigError."""
        value = getattr(self, name)
        if value is None:
            return None
        if isinstance(value, bytes):
            data, where = value, f"{len(value)} bytes"
        else:
            try:
                path = os.fspath(value)  # open() would use a number as a descriptor, and close it
                with open(path, "rb") as file:
                    data, where = file.read(), repr(path)
            except OSError as error:
                raise ConfigError(f"cannot read the PEM file {path!r} ({name}): {error.strerror}") from None
            except (TypeError, ValueError) as error:  # ValueError: a NUL in the path
                raise ConfigError(f"expected {name} as a PEM file or its bytes, got {value!r}: {error}") from None
        if b"-----BEGIN " not in data:
            raise ConfigError(f"expected {name} in PEM form, which begins with '-----BEGIN', got {where}")
        return data


@dataclass(frozen=True)
class RetryPolicy:
    """Which failed calls are retried, and when. The call's timeout covers all attempts.

    Attributes:
        attempts: the maximum number of attempts per call, 2 to 5.
        initial_backoff: seconds before the second attempt, 0.005 or more; each pause is randomized around its value.
        multiplier: the ratio of each pause to the previous one, up to ``max_backoff``.
        max_backoff: the maximum length of a pause, in seconds.
        codes: the only status codes to retry; None means every error that says that the server is busy (its threads,
            its queue or a quota are exhausted) or gone (UNAVAILABLE). A request that is too large is never retried,
            whatever its code. DEADLINE_EXCEEDED is not allowed, because no time is left then.
        wait_for_ready: a call that cannot reach a server waits for one, within its timeout, without using up an
            attempt; if False, that counts as an attempt like any other.
        budget: a number of failed attempts, over all calls with equal policies on one connection. When half of it is
            used up, nothing is retried until calls succeed again, so that retries do not prolong an outage.
        refill: the fraction of a failed attempt that each successful call returns to the budget.

    The server takes precedence: gRPC's push-back and HTTP's Retry-After set the pause, or forbid another attempt.
    The terms are those of https://github.com/grpc/proposal/blob/master/A6-client-retries.md
    """

    attempts: int = 5
    initial_backoff: float = 0.1
    multiplier: float = 2.0
    max_backoff: float = 2.0
    codes: frozenset[StatusCode] | None = None
    wait_for_ready: bool = True
    budget: int = 200
    refill: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or not 2 <= self.attempts <= 5:
            raise ConfigError(
                f"expected 2 to 5 attempts, got {shown(self.attempts)}; for a single attempt pass retry=None"
            )
        for name, least in (("initial_backoff", 0.005), ("max_backoff", 0.005), ("multiplier", 1.0), ("refill", 0.001)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < LONGEST:
                raise ConfigError(f"expected {name} of {least} or more, got {shown(value)}")
        check_flag("wait_for_ready", self.wait_for_ready)
        if self.max_backoff < self.initial_backoff:
            raise ConfigError(f"expected max_backoff to be at least initial_backoff, got {shown(self.max_backoff)}")
        if not isinstance(self.budget, int) or not 1 <= self.budget <= 1000:
            raise ConfigError(f"expected a budget of 1 to 1000 failed attempts, got {shown(self.budget)}")
        if self.codes is not None:
            object.__setattr__(self, "codes", _retryable(self.codes))


def _retryable(codes: Iterable[StatusCode]) -> frozenset[StatusCode]:
    try:
        found = frozenset(map(StatusCode, codes))
    except (TypeError, ValueError):
        raise ConfigError(f"expected status codes to retry, such as StatusCode.UNAVAILABLE, got {codes!r}") from None
    never = {StatusCode.OK, StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED}
    if not found or found & never:
        wrong = ", ".join(sorted(code.name for code in found & never)) or "none"
        raise ConfigError(f"expected status codes that a retry can fix, got {wrong}; remove it from codes=")
    return found


@dataclass(frozen=True)
class Keepalive:
    """Keepalive pings, which detect a dead connection before the next call waits for it.

    They are sent on quiet connections: during calls and, with ``idle``, between them.

    Attributes:
        interval: seconds without data after which a ping is sent.
        timeout: seconds to wait for the answer to a ping.
        idle: also send pings while no call is in progress.

    gRPC servers count pings that come more often than they allow (every 5 minutes unless data flows) and then close
    the connection; a model server allows more with
    ``--grpc_channel_arguments=grpc.http2.min_ping_interval_without_data_ms=…``. Over REST these are TCP's keepalive
    probes.
    """

    interval: float = 60.0
    timeout: float = 20.0
    idle: bool = False

    def __post_init__(self) -> None:
        for name in ("interval", "timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 86400:
                raise ConfigError(f"expected keepalive {name} of 1 second to a day, got {shown(value)}")
        check_flag("keepalive idle", self.idle)


def check_flag(name: str, value: object) -> None:
    """Raise ConfigError unless an option is True or False: any other text, such as "no", would count as True."""
    if not isinstance(value, bool):
        raise ConfigError(f"expected {name} to be True or False, got {shown(value)}")


def checked_kind(name: str, value: object, kind: type) -> None:
    """Raise ConfigError unless an option is None or of its kind."""
    if value is not None and not isinstance(value, kind):
        raise ConfigError(f"expected {name}={kind.__name__}(...), got {value!r}")


@dataclass(frozen=True)
class Limits:
    """Limits on the size of replies, in bytes; None for no limit.

    Attributes:
        reply: the maximum size of a reply, before and after it is inflated.
        inflated: the maximum size of a compressed reply after it is inflated.
    """

    reply: int | None = None
    inflated: int | None = MAX_INFLATED

    def __post_init__(self) -> None:
        for name, value in (("max_reply_bytes", self.reply), ("max_inflated_bytes", self.inflated)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"expected {name} in bytes, 1 or more, or None for no limit, got {value!r}")

    @property
    def inflated_reply(self) -> int | None:
        """The maximum size of an inflated reply, by both limits."""
        return min((one for one in (self.reply, self.inflated) if one is not None), default=None)


Token = str | Callable[[], Any]  # the token itself, or a function that returns one for every call
RequestId = bool | str | Callable[[], str]  # True for a new id with every call; an id; a function that returns one


def is_sendable(token: object) -> bool:
    """Whether a token can be sent in a header."""
    return isinstance(token, str) and token != "" and token.isascii() and token.isprintable()


def checked_token(token: Token | None) -> Token | None:
    """Return a token or a function that returns one; None means no token. Raises ConfigError without showing it."""
    if token is not None and not callable(token) and not is_sendable(token):
        raise ConfigError("expected token= as printable ASCII text, or a function that returns it")
    return token


def checked_request_id(request_id: RequestId) -> RequestId:
    """Return a request id, or where ids come from. Raises ConfigError for a text that is not sendable."""
    if isinstance(request_id, str) and request_id:
        checked_metadata({"x-request-id": request_id})
    elif not isinstance(request_id, bool) and not callable(request_id):
        raise ConfigError(
            f"expected request_id=True, a string, or a function that returns one, got {shown(request_id)}"
        )
    return request_id


class CallOptions(TypedDict, total=False):
    """The options of a prediction, as the caller passes them; see ``PredictClient.predict``.

    With a batch they apply to each of its requests: all of them carry a ``request_id`` that is a string, and True
    sends a new id with each.
    """

    model: str
    version: int | None
    label: str | None
    signature: str | None
    outputs: Iterable[str]
    timeout: float | None
    metadata: Metadata | None
    compression: str | None
    validate: bool
    cast: bool
    retry: RetryPolicy | None
    token: Token | None
    request_id: RequestId
