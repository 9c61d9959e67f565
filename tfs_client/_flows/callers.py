"""Callers: on whose behalf calls are made, as far as their headers show. A server may answer each differently."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tfs_client._flows.asked import Asked, Defaults
from tfs_client._flows.contradictions import AUTHORIZATION, REQUEST_ID
from tfs_client.options import MetadataPairs, Token

# Headers that name a single request or its trace. No gateway chooses a model by them.
OF_REQUESTS = frozenset(
    {
        REQUEST_ID,
        "x-correlation-id",
        "traceparent",
        "tracestate",
        "baggage",
        "grpc-trace-bin",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
        "uber-trace-id",
        "x-amzn-trace-id",
        "x-cloud-trace-context",
    }
)

Credentials = str | bytes | Callable[[], object] | None
"""An authorization, a token or a function that returns one. Functions are compared, not called."""


class Caller(NamedTuple):
    """The headers by which a server may choose among models and versions, or refuse a caller.

    Attributes:
        token: the token, or the function that returns one.
        metadata: the other headers, without those that differ in every request.
    """

    token: Credentials
    metadata: MetadataPairs


def caller_of(defaults: Defaults) -> Caller:
    """The caller that a client's calls come from."""
    lasting = tuple(pair for pair in defaults.metadata if pair[0] not in OF_REQUESTS)
    return Caller(_comparable(defaults.token), lasting)


def credentials_of(asked: Asked) -> Credentials:
    """The credentials of a call."""
    given = next((value for key, value in asked.metadata if key == AUTHORIZATION), None)
    return _comparable(asked.token) if given is None else given


def _comparable(token: Token | None) -> Credentials:
    if callable(token):
        try:
            hash(token)
        except TypeError:  # an object with ``__eq__``: its method is equal only to that of the same object
            return token.__call__  # type: ignore[operator, no-any-return]  # mypy takes it for the type's
    return token
