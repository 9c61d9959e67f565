"""Wrong addresses, broken connections, strange replies and proxies: each is a typed error that says what to try."""

from __future__ import annotations

import asyncio
import gzip
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from calling import STYLES, at_once, calling
from scripted import METADATA_REPLY, MODEL, serving, target_of
from tcp import (
    DATA,
    END_HEADERS,
    HEADERS,
    dripping,
    frame,
    full,
    garbage,
    hang_up,
    header,
    http2_page,
    http_reply,
    listening,
    nobody,
    saying,
    saying_in_http2,
    silence,
)

from tfs_client import (
    TLS,
    AsyncPredictClient,
    ConfigError,
    DecodeError,
    RetryPolicy,
    StatusCode,
    TFServingError,
    UnavailableError,
)
from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.rest_http import FAILURES, Progress, RestHttp
from tfs_client._transports.steps import Send
from tfs_client._transports.targets import checked_target
from tfs_client.errors import BY_CODE, CallError, DeadlineExceededError
from tfs_client.options import Keepalive

GRPC = ("grpc", "grpc-aio")
REST = ("rest", "rest-aio")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The environment of the test run has no influence."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def failure(style, target, timeout=20.0, **options) -> TFServingError:
    """The error of a call. It comes long before the deadline, or in time with it."""
    started = time.monotonic()
    with (
        calling(style, target, model=MODEL, timeout=timeout, **options) as client,
        pytest.raises(TFServingError) as caught,
    ):
        client.predict({"x": np.float32([1])})  # an array, so that the first message is that of the call
    assert time.monotonic() - started < (timeout / 2 if timeout > 5 else timeout + 3)
    return caught.value


def failure_at(style, conversation, **options) -> TFServingError:
    with listening(conversation) as port:
        return failure(style, target_of(style, port), **options)


def says(error: TFServingError, words: str) -> None:
    assert re.search(words, str(error).replace("\n", " ")), str(error)


# --- wrong places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_the_port_of_the_other_protocol_is_named_as_such(style):
    other = "rest" if style.startswith("grpc") else "grpc"
    with serving(other) as server:
        error = failure(style, target_of(style, server.port))
    assert isinstance(error, UnavailableError)
    says(
        error,
        "does not speak gRPC.*REST port.*8501"
        if style.startswith("grpc")
        else "does not speak HTTP/1.1.*gRPC port.*8500",
    )


@pytest.mark.parametrize("style", STYLES)
def test_a_port_without_a_listener_is_unavailable(style):
    with nobody() as port:
        error = failure(style, target_of(style, port))
    assert isinstance(error, UnavailableError)
    assert error.unreached
    says(error, f"refused|Connect call failed.*answered at .*:{port}.*is the server running")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid", "a..b"], ids=["unknown", "long", "empty"])
@pytest.mark.parametrize("style", STYLES)
def test_an_unresolvable_name_is_unavailable_and_the_error_says_so(style, host):
    error = failure(style, target_of(style, 1, host=host))
    assert isinstance(error, UnavailableError)
    assert error.unreached
    says(error, f"The host name of .*{re.escape(host)}.* cannot be resolved")


@pytest.mark.parametrize("style", GRPC)
def test_missing_replicas_are_unavailable(style):
    with nobody() as one, nobody() as two:
        error = failure(style, [f"localhost:{one}", f"127.0.0.1:{two}"])
        assert isinstance(error, UnavailableError)
        says(error, f"answered at localhost:{one}, 127.0.0.1:{two}")
    error = failure(style, ["nowhere.invalid:1", "nowhere.invalid:2"])
    assert isinstance(error, UnavailableError)
    says(error, "cannot be resolved")


# --- connections that break, replies that are none ---------------------------------------------------------------

PAGE = b"<html><head><title>The page of a proxy</title></head><body><p>nginx</p></body></html>"
GOOD_METADATA = http_reply(METADATA_REPLY)


def page(status: str, more: str = "") -> bytes:
    return http_reply(PAGE, status=status, kind="text/html", more=more)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("conversation", [hang_up, garbage], ids=["hangs up", "garbage"])
def test_a_server_that_speaks_another_language_is_unavailable(style, conversation):
    error = failure_at(style, conversation)
    assert isinstance(error, UnavailableError)
    says(error, "is this (the|its) (REST|gRPC) port|broke; retry=RetryPolicy|is the server running")


@pytest.mark.parametrize("style", STYLES)
def test_a_silent_server_exceeds_the_deadline(style):
    error = failure_at(style, silence, timeout=0.4)
    assert isinstance(error, DeadlineExceededError)
    if style.startswith("grpc"):  # nothing that speaks HTTP/2
        says(error, r"no connection was made.*No connection to localhost:\d+ within 0.4 s: is the server running")
    else:
        says(error, r"No answer from .*localhost:\d+ within 0.4 s; timeout= sets another limit")
    assert error.unreached is style.startswith("grpc")


@at_once(*STYLES)
def test_a_server_that_does_not_finish_the_handshake_was_not_reached(style):
    with listening(silence) as port:
        error = failure(style, target_of(style, port, secure=True), timeout=1.0, tls=TLS())
    assert isinstance(error, DeadlineExceededError)
    assert error.unreached
    says(error, "no connection was made in time")


@pytest.mark.parametrize("style", REST)
def test_a_proxy_that_does_not_connect_to_the_server_did_not_reach_it(style, monkeypatch):
    with listening(silence) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        error = failure(style, target_of(style, 9, host="server.invalid", secure=True), timeout=0.3)
    assert isinstance(error, DeadlineExceededError)
    assert error.unreached
    says(error, f"through the proxy http://127.0.0.1:{port}")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit in the queue")
@pytest.mark.parametrize("style", STYLES)
def test_a_server_that_accepts_no_connection_exceeds_the_deadline(style):
    with full() as port:
        error = failure(style, target_of(style, port), timeout=0.3)
    assert isinstance(error, DeadlineExceededError)
    says(error, "within 0.3 s")


@pytest.mark.parametrize("style", STYLES)
def test_calls_that_do_not_wait_for_a_server_end_after_their_attempts(style):
    policy = RetryPolicy(initial_backoff=0.01, max_backoff=0.02, wait_for_ready=False)
    with nobody() as port:
        error = failure(style, target_of(style, port), retry=policy)
    assert isinstance(error, UnavailableError)
    assert error.unreached


@pytest.mark.parametrize("style", REST)
@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        pytest.param(
            http_reply(b'{"predictions": [', length=1000), UnavailableError, "broke; retry=RetryPolicy", id="cut off"
        ),
        pytest.param(http_reply(b'{"predictions": [1, 2'), DecodeError, "Predict.*expected JSON", id="truncated JSON"),
        pytest.param(http_reply(b""), DecodeError, "Predict.*expected JSON", id="nothing"),
        pytest.param(http_reply(b"\xff\xfe\x00", kind="image/png"), DecodeError, "expected JSON", id="a picture"),
        pytest.param(http_reply(b'{"other": 1}'), DecodeError, "Predict", id="other JSON"),
        pytest.param(
            http_reply(gzip.compress(b'{"predictions": [1, 2]}')[:-12], more="Content-Encoding: gzip\r\n"),
            DecodeError,
            "Predict",
            id="truncated gzip",
        ),
        pytest.param(page("200 OK"), DecodeError, "got a page: The page of a proxy", id="a page"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", UnavailableError, "broke; retry=RetryPolicy", id="half a head"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nNonsense\r\n\r\n", UnavailableError, "does not speak HTTP/1.1", id="no header"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", UnavailableError, "bad Content-Length", id="no length"
        ),
    ],
)
def test_a_malformed_reply_is_distinguished_from_an_outage(style, reply, kind, words):
    error = failure_at(style, saying(reply, get=GOOD_METADATA))
    assert isinstance(error, kind)
    says(error, words)


NOT_GZIP = saying(http_reply(b"not gzip", more="Content-Encoding: gzip\r\n"), get=GOOD_METADATA)


def test_a_reply_in_another_encoding_than_it_says_cannot_be_read():
    says(failure_at("rest", NOT_GZIP), "the reply of Predict cannot be read: the gzip data is damaged")


def test_an_asyncio_reply_in_another_encoding_than_it_says_cannot_be_read():
    async def predict(port):
        async with AsyncPredictClient(target_of("rest", port), model=MODEL, timeout=20) as client:
            await client.predict({"x": [1.0]})

    # Of what was not read to its end asyncio.run disposes.
    with listening(NOT_GZIP) as port, pytest.raises(DecodeError, match="the gzip data is damaged"):
        asyncio.run(predict(port))


@pytest.mark.parametrize("style", REST)
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("308 Permanent Redirect", "UNKNOWN", "moved to https://new.example/.* pass the new address as the target"),
        ("401 Unauthorized", "UNAUTHENTICATED", "token= sends a bearer token"),
        ("403 Forbidden", "PERMISSION_DENIED", "not from TensorFlow Serving"),
        ("404 Not Found", "NOT_FOUND", "not from TensorFlow Serving.*part of the path missing"),
        ("407 Proxy Authentication Required", "UNAUTHENTICATED", "HTTP_PROXY"),
        ("413 Content Too Large", "RESOURCE_EXHAUSTED", "client_max_body_size"),
        ("429 Too Many Requests", "RESOURCE_EXHAUSTED", r"retry=RetryPolicy\(\) tries"),
        ("500 Internal Server Error", "INTERNAL", "not from TensorFlow Serving"),
        ("502 Bad Gateway", "UNAVAILABLE", "could not reach the server behind"),
        ("503 Service Unavailable", "UNAVAILABLE", "instead of the server"),
        ("504 Gateway Timeout", "DEADLINE_EXCEEDED", "took longer than the proxy waits"),
        ("418 I'm a teapot", "UNKNOWN", "not from TensorFlow Serving"),
    ],
)
def test_a_proxys_error_page_becomes_its_status_and_the_error_quotes_its_title(style, status, code, words):
    more = "Location: https://new.example/\r\n" if status.startswith("3") else ""
    error = failure_at(style, saying(page(status, more), get=GOOD_METADATA))
    assert isinstance(error, BY_CODE[StatusCode[code]])
    assert error.method == "Predict"
    says(error, f"HTTP {status}: The page of a proxy")
    says(error, words)


@pytest.mark.parametrize("style", REST)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("9" * 400, 1e9),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("\xb2", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(style, value, seconds):
    reply = http_reply(b"busy", status="503 Busy", kind="text/plain")
    head, _, body = reply.partition(b"\r\n\r\n")
    error = failure_at(style, saying(head + b"\r\nRetry-After: " + value.encode("latin-1") + b"\r\n\r\n" + body))
    assert isinstance(error, UnavailableError)
    assert error.retry_after == seconds or (seconds == 0 and error.retry_after < 1)


GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
EMPTY_BLOCK = b"\0\0\0\xff\xff"  # of deflate: it stands for nothing, and more may follow


@pytest.mark.parametrize("style", REST)
@pytest.mark.parametrize(
    "reply",
    [
        b"\fHTTP/1.1 200 OK\r\nx: " + b"x" * 10_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n\f     ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\f1\r\nx\r\n",
        b"\fHTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10000\r\n\r\n" + GZIP_HEAD + b"\f" + EMPTY_BLOCK,
    ],
    ids=["head", "body", "chunks", "interim replies", "compressed"],
)
def test_a_reply_sent_byte_by_byte_exceeds_the_deadline(style, reply):
    error = failure_at(style, dripping(reply), timeout=0.3)
    assert isinstance(error, DeadlineExceededError)
    says(error, "within 0.3 s")


@pytest.mark.parametrize("style", REST)
def test_a_server_that_does_not_read_exceeds_the_deadline(style, recwarn):
    """A large request does not fit into the buffers of the system, so its writing waits."""

    def converse(connection, over):
        connection.sendall(GOOD_METADATA.replace(b"Connection: close\r\n", b""))
        over.wait()

    with (
        listening(converse) as port,
        calling(style, target_of(style, port), model=MODEL, timeout=0.3) as client,
        pytest.raises(DeadlineExceededError),
    ):
        client.predict({"x": [0.123456789] * 1_000_000})


# --- gRPC in HTTP/2 ----------------------------------------------------------------------------------------------

OK_HEADERS = frame(HEADERS, END_HEADERS, 1, header(":status", "200") + header("content-type", "application/grpc"))


@pytest.mark.parametrize("style", GRPC)
@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (302, "UNKNOWN", "HTTP status instead of gRPC"),
        (401, "UNAUTHENTICATED", "token= sends a bearer token"),
        (403, "PERMISSION_DENIED", ""),
        (404, "UNIMPLEMENTED", "HTTP status instead of gRPC"),
        (413, "UNKNOWN", "client_max_body_size"),
        (429, "UNAVAILABLE", "HTTP status instead of gRPC"),
        (502, "UNAVAILABLE", "could not reach the server behind"),
        (503, "UNAVAILABLE", "could not reach the server behind"),
        (504, "UNAVAILABLE", "could not reach the server behind"),
    ],
)
def test_a_gateway_that_answers_with_an_http_status_is_recognised(style, status, code, words):
    error = failure_at(style, saying_in_http2(http2_page(status), pause=20))
    assert isinstance(error, BY_CODE[StatusCode[code]])
    says(error, str(status))
    says(error, words)


@pytest.mark.parametrize("style", GRPC)
def test_a_gateway_that_answers_with_a_page_is_recognised(style):
    """gRPC 1.60 refuses the content type, and calls the code unknown."""
    error = failure_at(style, saying_in_http2(http2_page(502, header("content-type", "text/html")), pause=20))
    assert isinstance(error, (BY_CODE[StatusCode.UNAVAILABLE], BY_CODE[StatusCode.UNKNOWN]))
    says(error, "the server behind it")


@pytest.mark.parametrize("style", GRPC)
@pytest.mark.parametrize(
    "frames",
    [(), (OK_HEADERS,), (OK_HEADERS, frame(DATA, 0, 1, b"\0\0\0\0\x64half"))],
    ids=["before the reply", "after its head", "within it"],
)
def test_a_connection_that_breaks_under_a_call_is_unavailable(style, frames):
    error = failure_at(style, saying_in_http2(*frames, pause=0.05))
    assert isinstance(error, UnavailableError)
    says(error, r"The connection to localhost:\d+ broke; retry=RetryPolicy\(\) tries such calls again")


@pytest.mark.parametrize("style", GRPC)
def test_a_grpc_reply_sent_byte_by_byte_exceeds_the_deadline(style):
    drops = [frame(DATA, 0, 1, b"\0\0\0\x27\x10")] + [frame(DATA, 0, 1, b"x")] * 500
    error = failure_at(style, saying_in_http2(OK_HEADERS, *drops, pause=0.02), timeout=0.1)
    assert isinstance(error, DeadlineExceededError)


def test_keepalive_detects_a_dead_connection():
    """In the shortest time that there is, a second and another, for both styles at once."""

    def fail(style):
        dead = saying_in_http2(OK_HEADERS, pause=60)
        return failure_at(style, dead, timeout=20, keepalive=Keepalive(interval=1, timeout=1))

    with ThreadPoolExecutor(2) as pool:
        for error in pool.map(fail, GRPC):
            assert isinstance(error, UnavailableError)
            says(error, "ping timeout.*broke; retry=RetryPolicy")


@pytest.mark.parametrize("style", STYLES)
def test_metadata_that_is_too_large_is_reported_as_such(style):
    with (
        serving(style) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20) as client,
        pytest.raises(BY_CODE[StatusCode.RESOURCE_EXHAUSTED], match="The metadata of the call"),
    ):
        client.predict({"x": [1.0]}, metadata={"x-large": "x" * 100_000})


@pytest.mark.parametrize("style", GRPC)
@pytest.mark.parametrize(
    "reply", [b"\xff\xff\xff", b'{"predictions": [1]}', b"\x0a\x7fcut"], ids=["bytes", "JSON", "cut"]
)
def test_a_grpc_reply_that_is_not_a_predict_response_is_a_decode_error(style, reply, raw_server):
    error = failure(style, raw_server(Predict=lambda request, context: reply))
    assert isinstance(error, DecodeError)
    says(error, "Predict")


# --- proxies in the environment ----------------------------------------------------------------------------------


def proxy_variable(style: str) -> str:
    return "http_proxy" if style.startswith("grpc") else "HTTP_PROXY"


@pytest.mark.parametrize("style", STYLES)
def test_a_proxy_that_refuses_is_named(style, monkeypatch):
    with listening(saying(page("403 Forbidden"))) as port:
        monkeypatch.setenv(proxy_variable(style), f"http://me:secret@127.0.0.1:{port}")
        error = failure(style, target_of(style, 9, host="server.invalid"))
    assert isinstance(error, CallError)
    assert error.code in (StatusCode.UNAVAILABLE, StatusCode.PERMISSION_DENIED)
    says(error, "403")
    says(error, "(no_proxy|NO_PROXY)")
    assert "secret" not in str(error)


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy"])
@pytest.mark.parametrize("style", GRPC)
def test_grpc_has_its_own_variables(style, variable, monkeypatch):
    with listening(hang_up) as port:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
        error = failure(style, target_of(style, 9))
    assert isinstance(error, UnavailableError)
    says(error, f"goes through the proxy http://127.0.0.1:{port} .*add the host to no_proxy")


@pytest.mark.parametrize("style", REST)
def test_a_proxy_that_blocks_tls_is_named(style, monkeypatch):
    with listening(saying(page("407 Proxy Authentication Required"))) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        error = failure(style, target_of(style, 9, secure=True))
    assert isinstance(error, UnavailableError)
    says(error, "407.*A proxy is used.*HTTPS_PROXY.*NO_PROXY")


@pytest.mark.parametrize("style", STYLES)
def test_an_unreachable_proxy_is_named(style, monkeypatch):
    with nobody() as port:
        monkeypatch.setenv(proxy_variable(style), f"http://127.0.0.1:{port}")
        error = failure(style, target_of(style, 9))
    assert isinstance(error, UnavailableError)
    says(error, f"through the proxy http://127.0.0.1:{port} .*add the host to (no_proxy|NO_PROXY)")


@pytest.mark.parametrize("style", STYLES)
def test_hosts_that_need_no_proxy_are_reached_directly(style, monkeypatch):
    monkeypatch.setenv(proxy_variable(style), "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost")
    with serving(style) as server, calling(style, target_of(style, server.port), model=MODEL, timeout=20) as client:
        assert client.predict({"x": [1.0]}).array.tolist() == [2]
    with nobody() as port:
        assert "through the proxy" not in str(failure(style, target_of(style, port)))


@pytest.mark.parametrize("style", REST)
def test_a_proxy_that_cannot_be_used_is_a_config_error(style, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "carrier-pigeon://somewhere")
    with (
        pytest.raises(ConfigError, match="ALL_PROXY"),
        calling(style, target_of(style, 9), model=MODEL) as client,
    ):
        client.predict({"x": [1.0]})


# --- the exceptions of httpx -------------------------------------------------------------------------------------


def made(kind: type[Exception]) -> Exception:
    if issubclass(kind, httpx.HTTPStatusError):
        request = httpx.Request("GET", "http://localhost")
        return kind("status", request=request, response=httpx.Response(500, request=request))
    try:
        return kind("said by httpx")
    except TypeError:
        return kind()  # type: ignore[call-arg]


PUBLIC = [
    value for name in httpx.__all__ if isinstance(value := getattr(httpx, name), type) and issubclass(value, Exception)
]
# Of how a response is read, and of cookies: no call of ours comes to that.
MISUSE = {httpx.StreamError, *httpx.StreamError.__subclasses__(), httpx.CookieConflict}


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_exception_of_httpx_has_an_error(kind):
    http = RestHttp(Connection(checked_target("http://localhost:8501")))
    error = http.failure(made(kind), Send("POST /v1/models/m:predict", b"", Deadline(5)), Progress())
    assert isinstance(error, TFServingError)
    assert str(error)
    assert issubclass(kind, FAILURES) is (kind not in MISUSE)


@pytest.mark.parametrize("style", ["rest", "rest-futures"])
@pytest.mark.parametrize("kind", [kind for kind in PUBLIC if kind not in MISUSE], ids=lambda kind: kind.__name__)
def test_every_httpx_exception_of_a_call_is_translated(style, kind):
    error = failure(style, "http://localhost:9", interceptors=[raising(lambda: made(kind))])
    assert isinstance(error.__cause__, kind)


def raising(make: Callable[[], Exception]) -> Callable[[httpx.Request], None]:
    def intercept(request: httpx.Request) -> None:
        raise make()

    return intercept
