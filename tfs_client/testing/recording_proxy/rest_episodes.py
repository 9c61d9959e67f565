"""Episodes of REST calls: JSON becomes the messages of gRPC, with the signatures of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, unquote

from tfs_client._calls.inference import Classify, Regress
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec import predict_messages, rest_json
from tfs_client._codec.inflating import Inflation, TooLarge
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._transports.rest_http import CODES, error_text
from tfs_client.errors import (
    CallError,
    DecodeError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    StatusCode,
    TFServingError,
)
from tfs_client.options import MAX_INFLATED, MetadataPairs
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.replies import reply_of
from tfs_client.recordings.secrets import is_secret
from tfs_client.server.rest import predict_requests, request_bodies, routes
from tfs_client.server.rest.example_requests import examples_request
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, Signatures
from tfs_client.testing.recording_proxy import json_metadata
from tfs_client.testing.recording_proxy.recorder import NotRecorded
from tfs_client.testing.recording_proxy.rest_forwarding import (
    HOP_BY_HOP,
    ForwardedExchange,
    RawHeaders,
    outside_the_api,
)

AGE = 60.0  # seconds for which the signatures of the latest version, or of a label, are kept
YOUNG = 1.0  # seconds for which they cannot be the reason why a request does not fit
MOST_MODELS = 1000  # whose signatures are kept

LookUp = Callable[[ModelSpec, MetadataPairs], Signatures]
"""Returns the signatures of a model and version, for a caller with these headers. Raises TFServingError."""

# Headers that say nothing about the call itself.
_OF_HTTP = HOP_BY_HOP | {
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"user-agent",
}

# Why the request of a failed call has no message: JSON becomes tensors by the signature that the caller has missed.
_MISTAKES = {
    InvalidArgumentError: "the body is not JSON, or does not fit the signature",
    NotFoundError: "unknown model or version",
    SignatureError: "unknown signature",
}


class RestEpisodes:
    """Makes episodes of exchanges, one after the other.

    Args:
        look_up: asks the server for signatures.
        clock: returns monotonic seconds.
    """

    def __init__(self, look_up: LookUp, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._known: dict[ModelSpec, tuple[float, Signatures]] = {}

    def episode_of(self, exchange: ForwardedExchange) -> Episode:
        """Return the episode of an exchange. Raises NotRecorded for one that is not a call of the API."""
        path, _, query = exchange.target.partition("?")  # queries may have tokens, and name no model
        try:
            route = routes.route(exchange.method, path)
        except CallError as error:
            raise NotRecorded(outside_the_api(exchange.method)) from error
        headers = pairs(exchange.headers)
        code, details = _outcome(exchange)
        good = code is StatusCode.OK
        if query and any(text in details for text in (f"?{query}", f"?{unquote(query)}")):
            raise NotRecorded("requests whose query the server takes for a part of the path")
        try:
            spec, request, reply = self._messages(route, exchange, headers, good)
        except TFServingError as error:
            why = "" if good else next((text for kind, text in _MISTAKES.items() if isinstance(error, kind)), "")
            if why:
                raise NotRecorded(f"failed {route.method} over REST: {why}") from error
            raise NotRecorded(f"{route.method} over REST cannot become a message: {error}") from error
        return Episode(
            route.method,
            spec,
            request,
            reply,
            code,
            details,
            headers,
            "rest",
            exchange.seconds,
            exchange.ended,
            http_status=None if code is StatusCode.OK else exchange.status,
        )

    def _messages(
        self, route: routes.Route, exchange: ForwardedExchange, headers: MetadataPairs, good: bool
    ) -> tuple[ModelSpec, bytes, bytes | None]:
        """Return the spec, the request and the reply. Raises TFServingError."""
        body = _request_body(exchange)
        reply = _plain(exchange.reply, _header(exchange.reply_headers, b"content-encoding")) if good else None
        if route.method == "Predict":
            return self._predict(route.spec, body, reply, headers)
        if route.method in ("Classify", "Regress"):
            return _inference(route, body, reply)
        if route.method == "GetModelMetadata":
            request = GetModelMetadata(route.spec).write()
            return route.spec, request, None if reply is None else json_metadata.metadata(reply)
        call = GetModelStatus(route.spec)
        return route.spec, call.write(), None if reply is None else _status(call, reply)

    def _predict(
        self, asked: ModelSpec, body: bytes, reply: bytes | None, headers: MetadataPairs
    ) -> tuple[ModelSpec, bytes, bytes | None]:
        root = predict_requests.read_body(body)
        spec = replace(asked, signature=predict_requests.signature_name(root))

        def messages() -> tuple[ModelSpec, bytes, bytes | None]:
            signature = self._signatures(asked, headers).named(spec.signature or DEFAULT_SIGNATURE)
            request = predict_messages.write_request(spec, predict_requests.tensors_of(root, signature))
            return spec, request, None if reply is None else _prediction(spec, signature, reply)

        try:
            return messages()
        except TFServingError:
            known = self._known.get(asked)
            if known is None or asked.version is not None or self._clock() - known[0] < YOUNG:
                raise
            del self._known[asked]  # they may be those of an older version
            return messages()

    def _signatures(self, asked: ModelSpec, headers: MetadataPairs) -> Signatures:
        """Return the signatures of a version: asked for once, of the latest version or a label once a minute."""
        now = self._clock()
        known = self._known.get(asked)
        if known is not None and (asked.version is not None or now - known[0] < AGE):
            return known[1]
        found = self._look_up(asked, headers)
        if len(self._known) >= MOST_MODELS:
            self._known.clear()
        self._known[asked] = now, found
        return found


def _inference(route: routes.Route, body: bytes, reply: bytes | None) -> tuple[ModelSpec, bytes, bytes | None]:
    content = examples_request(predict_requests.read_body(body), route.method.lower())
    spec = replace(route.spec, signature=content.signature)
    kind = Classify if route.method == "Classify" else Regress
    call = kind(spec, content.examples, content.context)
    request = call.write()
    return spec, request, None if reply is None else reply_of(call.read_rest(reply))


def _status(call: GetModelStatus, reply: bytes) -> bytes:
    found = reply_of(call.read_rest(reply))
    if found is None:
        raise DecodeError("the reply of GetModelStatus has no versions")
    return found


def _prediction(spec: ModelSpec, signature: Signature, reply: bytes) -> bytes:
    outputs = rest_json.read_reply(
        reply, {alias: (output.row, output.shape) for alias, output in signature.outputs.items()}, exact=True
    )
    # Replies over REST do not name the version that answered.
    answered = ModelSpec(spec.name, spec.version, None, spec.signature or DEFAULT_SIGNATURE)
    return predict_messages.write_response(answered, outputs)


def _outcome(exchange: ForwardedExchange) -> tuple[StatusCode, str]:
    """Return the status of a call. Raises NotRecorded for a response that does not come from the API."""
    if exchange.status == 200:
        return StatusCode.OK, ""
    try:
        body = _plain(exchange.reply, _header(exchange.reply_headers, b"content-encoding"))
    except TFServingError:
        body = b""
    text = error_text(body)
    if text is None:
        raise NotRecorded(f"responses with HTTP status {exchange.status} and without the server's JSON")
    return CODES.get(exchange.status, StatusCode.UNKNOWN), text


def _request_body(exchange: ForwardedExchange) -> bytes:
    """Return the body as the server reads it."""
    encoding = _header(exchange.headers, b"content-encoding")
    return request_bodies.inflated(exchange.body, encoding)


def _plain(body: bytes, encoding: str) -> bytes:
    """Return the body of a response. Raises DecodeError."""
    if encoding in ("", "identity"):
        return body
    inflation = Inflation("gzip" if "gzip" in encoding else "deflate", MAX_INFLATED)
    try:
        for _ in inflation.add(body):
            pass
    except TooLarge as error:
        raise DecodeError(f"the response has more than {error.limit} bytes once inflated") from None
    return inflation.whole()


def pairs(headers: RawHeaders) -> MetadataPairs:
    """Return the headers of a caller as metadata, without those of HTTP itself."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name not in _OF_HTTP)


def query_secrets(target: str) -> list[str]:
    """Return the values in a request's query that may be secrets, such as a token."""
    return [value for key, value in parse_qsl(target.partition("?")[2]) if is_secret(key)]


def _header(headers: RawHeaders, wanted: bytes) -> str:
    found: Mapping[bytes, bytes] = dict(headers)  # the last of several counts
    return found.get(wanted, b"").decode("latin-1").strip().lower()
