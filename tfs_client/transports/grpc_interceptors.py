"""Interceptors of blocking gRPC channels: gRPC's own, and those of OpenTelemetry, which have another interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc

from tfs_client.errors import ConfigError

KINDS = (
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
)


def check_interceptors(interceptors: Sequence[Any]) -> None:
    """Raise ConfigError for what cannot intercept a blocking call."""
    for one in interceptors:
        if not isinstance(one, KINDS) and not _is_unary(one):
            raise ConfigError(
                f"expected interceptors of gRPC, such as grpc.UnaryUnaryClientInterceptor, got {one!r}; those of "
                "grpc.aio are for AsyncPredictClient"
            )


def intercepted(channel: Any, interceptors: Sequence[Any]) -> Any:
    """A channel whose calls pass the interceptors, the first of them first."""
    for one in reversed(interceptors):
        channel = _UnaryChannel(channel, one) if _is_unary(one) else grpc.intercept_channel(channel, one)
    return channel


def _is_unary(interceptor: Any) -> bool:
    """Whether it has the interface that OpenTelemetry took over from OpenTracing (grpcext.UnaryClientInterceptor)."""
    return not isinstance(interceptor, KINDS) and callable(getattr(interceptor, "intercept_unary", None))


class _ClientInfo(NamedTuple):
    full_method: str
    timeout: float | None


class _UnaryChannel:
    """A channel whose calls with one request and one reply pass such an interceptor; we make no others."""

    def __init__(self, channel: Any, interceptor: Any) -> None:
        self._channel = channel
        self._interceptor = interceptor

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool = False,  # known to newer channels only; ours are not registered
    ) -> _UnaryMethod:
        inner = self._channel.unary_unary(
            method, request_serializer=request_serializer, response_deserializer=response_deserializer
        )
        return _UnaryMethod(method, inner, self._interceptor)

    def close(self) -> None:
        self._channel.close()


class _UnaryMethod:
    """One method of such a channel; gRPC's interceptors above it call ``with_call`` and ``future``."""

    def __init__(self, method: str, inner: Any, interceptor: Any) -> None:
        self._method = method
        self._inner = inner
        self._interceptor = interceptor

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._through(self._inner, request, timeout, metadata, options)

    def with_call(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._through(self._inner.with_call, request, timeout, metadata, options)

    def future(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._through(self._inner.future, request, timeout, metadata, options)

    def _through(
        self, call: Callable[..., Any], request: Any, timeout: float | None, metadata: Any, options: dict[str, Any]
    ) -> Any:
        def invoker(request: Any, metadata: Any) -> Any:
            return call(request, timeout=timeout, metadata=metadata, **options)

        return self._interceptor.intercept_unary(request, metadata, _ClientInfo(self._method, timeout), invoker)
