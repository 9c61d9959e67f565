"""What a user may set: deadlines, metadata, TLS, retries. Checked when given, so that mistakes show at once."""

from __future__ import annotations

import enum
import numbers
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfs_client.errors import ConfigError, StatusCode
from tfs_client.proxy_urls import checked_proxy
from tfs_client.shown import shown
from tfs_client.targets import Target


class Unset(enum.Enum):
    """The type of UNSET: the option was not given, the client's default counts. None means no limit, or none."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET

DEFAULT_TIMEOUT = 30.0  # seconds
MAX_INFLATED = 100 << 20  # bytes that a compressed message may inflate to, by default
LONGEST = 1e9  # seconds; gRPC counts nanoseconds in 64 bits, and takes a deadline beyond them for one that has passed

Metadata = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
MetadataPairs = tuple[tuple[str, str | bytes], ...]
ChannelOptions = Mapping[str, Any] | Iterable[tuple[str, Any]]


def checked_timeout(timeout: float | None) -> float | None:
    """Seconds until a call is given up, or None for no limit."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real) or not timeout > 0:
        raise ConfigError(f"expected a timeout in seconds above 0, or None for no limit, got {shown(timeout)}")
    return None if timeout > LONGEST else float(timeout)


_KEY = re.compile(r"[0-9a-z_.-]+")


def checked_metadata(metadata: Metadata | None) -> MetadataPairs:
    """Metadata pairs as gRPC takes them: lower-case keys, ASCII text, bytes only under keys that end in "-bin"."""
    if not metadata:
        return ()
    try:
        pairs = tuple((key, value) for key, value in (metadata.items() if isinstance(metadata, Mapping) else metadata))
    except (TypeError, ValueError):
        raise ConfigError(f"expected metadata by key, or pairs of key and value, got {metadata!r}") from None
    for key, value in pairs:
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(f"expected a metadata key of lower-case letters, digits, '_', '-' and '.', got {key!r}")
        if not isinstance(value, (str, bytes)) or key.endswith("-bin") != isinstance(value, bytes):
            want = (
                "bytes, for its name ends in -bin" if key.endswith("-bin") else "text; bytes need a key ending in -bin"
            )
            raise ConfigError(f"metadata {key!r} takes {want}, got {type(value).__name__}")
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            raise ConfigError(f"metadata {key!r} takes printable ASCII text, got {value!r}")
    return pairs


def checked_channel_options(options: ChannelOptions | None) -> dict[str, Any]:
    """gRPC channel arguments by name."""
    if not options:
        return {}
    try:
        given = list(options.items() if isinstance(options, Mapping) else options)
        pairs = dict(given)
    except (TypeError, ValueError):
        raise ConfigError(f"expected channel options by name, or pairs of name and value, got {options!r}") from None
    for name, value in given:
        if pairs[name] != value:
            raise ConfigError(f"channel options hold {name!r} twice, as {value!r} and as {pairs[name]!r}: give one")
        if not isinstance(name, str) or not isinstance(value, (int, str, bytes)):
            raise ConfigError(f"expected channel options of text to int, str or bytes, got {name!r}: {value!r}")
        if isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
            raise ConfigError(f"expected channel options of 32 bits at most, got {name!r}: {value!r}")
    return pairs


COMPRESSIONS = ("gzip", "deflate")


def checked_compression(compression: str | None) -> str | None:
    """A compression that gRPC knows, or None."""
    if compression is not None and compression not in COMPRESSIONS:
        raise ConfigError(f"expected compression 'gzip', 'deflate' or None, got {compression!r}")
    return compression


Pem = str | os.PathLike[str] | bytes  # a file, or what stands in one


@dataclass(frozen=True)
class TLS:
    """How connections are secured.

    Attributes:
        ca: the authorities that the server's certificate may come from; None means those that the system trusts: those
            of Python's ssl, or what SSL_CERT_FILE and SSL_CERT_DIR name.
        certificate, key: the client's own, for servers that ask for one (mTLS); both or neither.
        authority: the name that the server's certificate bears, where it is not the target's host.

    ca, certificate and key are PEM: the path of a file, or its content as bytes. Files are read when a connection is
    set up. Raises ConfigError for files that are not there or are no PEM.
    """

    ca: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    authority: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("expected a client's certificate with its key, got one without the other")
        if self.authority is not None and (not isinstance(self.authority, str) or not self.authority):
            raise ConfigError(f"expected the name in the server's certificate as authority, got {self.authority!r}")
        for name in ("ca", "certificate", "key"):
            self.pem(name)

    def pem(self, name: str) -> bytes | None:
        """What ``ca``, ``certificate`` or ``key`` holds, read anew."""
        value = getattr(self, name)
        if value is None:
            return None
        if isinstance(value, bytes):
            data, where = value, f"{len(value)} bytes"
        else:
            try:
                path = os.fspath(value)  # open() would take a number for a descriptor, and close it
                with open(path, "rb") as file:
                    data, where = file.read(), repr(path)
            except (OSError, TypeError) as error:
                raise ConfigError(f"expected {name} as a PEM file or its bytes, got {value!r}: {error}") from None
        if b"-----BEGIN " not in data:
            raise ConfigError(f"expected {name} in PEM form, which begins with '-----BEGIN', got {where}")
        return data


def checked_tls(tls: TLS | bool | None, target: Target) -> TLS | None:
    """How connections to a target are secured; None means not at all."""
    if tls is True or (tls is None and target.secure):
        tls = TLS()
    if tls is False:
        tls = None
    if tls is not None and not isinstance(tls, TLS):
        raise ConfigError(f"expected tls=True or tls=TLS(...), got {tls!r}")
    if target.rest and (tls is None) == target.secure:
        want = "https://" if tls else "tls left out, or http://"
        raise ConfigError(f"the target {target} and tls contradict each other: expected {want}")
    return tls


@dataclass(frozen=True)
class RetryPolicy:
    """Which failed calls are tried again, and when. The call's one timeout covers all attempts.

    Attributes:
        attempts: how often a call is sent at most, 2 to 5.
        initial_backoff: seconds before the second attempt, 0.005 or more; each pause is drawn at random around it.
        multiplier: what each further pause is longer by.
        max_backoff: seconds that a pause takes at most.
        codes: the only status codes to retry; None means every error that says
            that the server is busy (its threads, its queue or a quota are exhausted) or gone (UNAVAILABLE). A request
            that is too large is never tried again, whatever its code. DEADLINE_EXCEEDED cannot be among them: the time
            is over.
        wait_for_ready: a call that finds no server waits for one, as long as its timeout allows, and uses up no
            attempt; without it that is an attempt like any other.
        budget: failed attempts, of all calls of the client together, after half of which nothing is tried again until
            calls succeed once more, so that retries do not keep an outage going.
        refill: what part of a failed attempt each success pays back.

    A server's word counts for more: gRPC's push-back and HTTP's Retry-After set the pause, or forbid another attempt.
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
            raise ConfigError(f"expected 2 to 5 attempts, got {shown(self.attempts)}; retry=None means a single one")
        for name, least in (("initial_backoff", 0.005), ("max_backoff", 0.005), ("multiplier", 1.0), ("refill", 0.001)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < LONGEST:
                raise ConfigError(f"expected {name} of {least} or more, got {shown(value)}")
        if self.max_backoff < self.initial_backoff:
            raise ConfigError(f"expected max_backoff of initial_backoff or more, got {shown(self.max_backoff)}")
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
    """Looks after quiet connections, so that a dead one is noticed before the next call waits for it.

    Attributes:
        interval: seconds of silence after which the server is asked whether it is there.
        timeout: seconds it may take to answer.
        idle: ask also while no call is under way.

    gRPC servers count pings that come more often than they allow (every 5 minutes unless data flows) and then hang
    up; a model server allows more with ``--grpc_channel_arguments=grpc.http2.min_ping_interval_without_data_ms=…``.
    Over REST these are TCP's own keepalive probes.
    """

    interval: float = 60.0
    timeout: float = 20.0
    idle: bool = False

    def __post_init__(self) -> None:
        for name in ("interval", "timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 86400:
                raise ConfigError(f"expected keepalive {name} of 1 second to a day, got {shown(value)}")


def checked_kind(name: str, value: Any, kind: type) -> None:
    """Raise ConfigError unless an option is None or of its kind."""
    if value is not None and not isinstance(value, kind):
        raise ConfigError(f"expected {name}={kind.__name__}(...), got {value!r}")


@dataclass(frozen=True)
class Limits:
    """Limits on the size of replies, in bytes; None for no limit.

    Attributes:
        reply: the most that a reply may have, before and after it is inflated.
        inflated: the most that a compressed reply may inflate to.
    """

    reply: int | None = None
    inflated: int | None = MAX_INFLATED

    def __post_init__(self) -> None:
        for name, value in (("max_reply_bytes", self.reply), ("max_inflated_bytes", self.inflated)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"expected {name} in bytes, 1 or more, or None for no limit, got {value!r}")

    @property
    def inflated_reply(self) -> int | None:
        """The most that a compressed reply may inflate to, by both limits."""
        return min((one for one in (self.reply, self.inflated) if one is not None), default=None)


Token = str | Callable[[], Any]  # the token itself, or what gives it, anew for every call


def _checked_interceptors(interceptors: Any, target: Target) -> tuple[Any, ...]:
    try:
        found = tuple(interceptors or ())
    except TypeError:
        raise ConfigError(f"expected a list of interceptors, got {interceptors!r}") from None
    for one in found:
        if target.rest and not callable(one):
            raise ConfigError(f"expected interceptors as functions that get an httpx.Request, got {one!r}")
    return found


@dataclass(frozen=True)
class Connection:
    """Everything a transport needs to know.

    Attributes:
        target: where the server is.
        tls: how the connection is secured; None when it is not.
        retry: which calls are tried again; None for none.
        keepalive: how quiet connections are looked after; None when they are not.
        compression: of requests, "gzip" or "deflate", unless a call says otherwise.
        interceptors: gRPC's own interceptors, or over REST functions that get each httpx.Request before it is sent.
        channel_options: gRPC channel arguments of the user.
        proxy: the URL of a proxy; None for none, UNSET for what the environment says.
        limits: the limits on the size of replies.
    """

    target: Target
    tls: TLS | None = None
    retry: RetryPolicy | None = None
    keepalive: Keepalive | None = None
    compression: str | None = None
    interceptors: Sequence[Any] = ()
    channel_options: Mapping[str, Any] = field(default_factory=dict)
    proxy: str | Unset | None = field(default=UNSET, repr=False)  # it may hold a password
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        checked_kind("retry", self.retry, RetryPolicy)
        checked_kind("keepalive", self.keepalive, Keepalive)
        checked_compression(self.compression)
        object.__setattr__(self, "tls", checked_tls(self.tls, self.target))
        object.__setattr__(self, "channel_options", checked_channel_options(self.channel_options))
        object.__setattr__(self, "interceptors", _checked_interceptors(self.interceptors, self.target))
        if self.target.rest and self.channel_options:
            raise ConfigError("channel_options are gRPC's: leave them out, or give a gRPC target such as 'host:8500'")
        if self.target.rest and self.compression == "deflate":
            raise ConfigError("a REST server reads gzip only: expected compression 'gzip' or None, got 'deflate'")
        if self.proxy is not UNSET:
            checked_proxy(self.proxy, self.target)


class Deadline:
    """The moment by which everything a call does must be done; each step gets what remains.

    Attributes:
        limit: the seconds that the caller gave; None for no limit.
        started: when they began, on the monotonic clock.
        at: the moment, on the monotonic clock; None for no limit.
    """

    __slots__ = ("at", "limit", "started")

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.started = time.monotonic()
        self.at = None if limit is None else self.started + limit

    @classmethod
    def after(cls, timeout: float | None) -> Deadline:
        """``timeout`` seconds from now."""
        return cls(timeout)

    def remaining(self) -> float | None:
        """Seconds left, at least a millisecond: a spent deadline still makes its call, which then fails as such."""
        return None if self.at is None else max(0.001, self.at - time.monotonic())

    def passed(self) -> bool:
        """Whether the moment is over."""
        return self.at is not None and time.monotonic() >= self.at

    def sooner(self, seconds: float) -> Deadline:
        """``seconds`` from now, or this one where it comes first."""
        other = Deadline(seconds)
        return self if self.at is not None and other.at is not None and self.at < other.at else other
