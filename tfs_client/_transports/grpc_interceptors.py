"""Interceptors of blocking gRPC channels: gRPC's own, and OpenTelemetry's, which have another interface."""

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
    """Raise ConfigError for objects that cannot intercept blocking calls."""
    for one in interceptors:
        if not isinstance(one, KINDS) and not _is_unary(one):
            raise ConfigError(
                f"expected interceptors of gRPC, such as grpc.UnaryUnaryClientInterceptor, got {one!r}; those of "
                "grpc.aio are for AsyncPredictClient"
            )


def intercepted(channel: Any, interceptors: Sequence[Any]) -> Any:
    """A channel whose calls pass through the interceptors, the first one first."""
    for one in reversed(interceptors):
        channel = _UnaryChannel(channel, one) if _is_unary(one) else grpc.intercept_channel(channel, one)
    return channel


def answering(method: Any) -> Callable[..., Any]:
    """What makes a call with a method of a channel, and returns reply and call object, or the reply alone.

    The method may be another library's function or proxy around gRPC's, which sees only the calls that go through
    itself, and not those of ``with_call``.
    """
    of_grpc = issubclass(type(method), (grpc.UnaryUnaryMultiCallable, _UnaryMethod))
    call: Callable[..., Any] = method.with_call if of_grpc else method
    return call


def _is_unary(interceptor: Any) -> bool:
    """Whether it has the interface that OpenTelemetry adopted from OpenTracing (grpcext.UnaryClientInterceptor)."""
    return not isinstance(interceptor, KINDS) and callable(getattr(interceptor, "intercept_unary", None))


class _ClientInfo(NamedTuple):
    full_method: str
    timeout: float | None


class _UnaryChannel:
    """A channel whose unary calls pass through such an interceptor. The client makes no other calls."""

    def __init__(self, channel: Any, interceptor: Any) -> None:
        self._channel = channel
        self._interceptor = interceptor

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool = False,  # newer channels only; our methods are not registered
    ) -> _UnaryMethod:
        inner = self._channel.unary_unary(
            method, request_serializer=request_serializer, response_deserializer=response_deserializer
        )
        return _UnaryMethod(method, inner, self._interceptor)

    def close(self) -> None:
        self._channel.close()


class _UnaryMethod:
    """A method of such a channel; gRPC's interceptors above it call ``with_call`` and ``future``."""

    def __init__(self, method: str, inner: Any, interceptor: Any) -> None:
        self._method = method
        self._inner = inner
        self._interceptor = interceptor

    def __call__(self, request: Any, timeout: float | None = None, metadata: object = None, **options: object) -> Any:
        return self._through(self._inner, request, timeout, metadata, options)

    def with_call(
        self, request: Any, timeout: float | None = None, metadata: object = None, **options: object
    ) -> tuple[Any, Any]:
        """Return the reply and gRPC's call object; None instead of it if the interceptor made no call.

        The interceptor sees the reply alone, as in a call without ``with_call``.
        """
        last: Any = None

        def call(*args: object, **options: object) -> Any:
            nonlocal last
            reply, last = self._inner.with_call(*args, **options)
            return reply

        return self._through(call, request, timeout, metadata, options), last

    def future(self, request: Any, timeout: float | None = None, metadata: object = None, **options: object) -> Any:
        return self._through(self._inner.future, request, timeout, metadata, options)

    def _through(
        self,
        call: Callable[..., Any],
        request: Any,
        timeout: float | None,
        metadata: object,
        options: dict[str, object],
    ) -> Any:
        def invoker(request: Any, metadata: object) -> Any:
            return call(request, timeout=timeout, metadata=metadata, **options)

        return self._interceptor.intercept_unary(request, metadata, _ClientInfo(self._method, timeout), invoker)
