"""Settings that contradict each other, at the client and at the call, in every way of calling."""

from __future__ import annotations

import json

import pytest
from calling import GRPC, REST, STYLES, calling, target_of

from tfs_client import TLS, ConfigError, Keepalive, PredictClient, RetryPolicy, TensorSpec
from tfs_client._transports.targets import checked_target
from tfs_client.options import checked_channel_options
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
X = {"x": [1.0]}
BACKOFF = {"initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2}
POLICY = {"maxAttempts": 3, **BACKOFF, "retryableStatusCodes": ["UNAVAILABLE"]}
RETRIES = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": POLICY}]})
BALANCING = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


@pytest.fixture(scope="module")
def server():
    with FakeServer() as server:
        yield server.add_model("m", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


def refused(style, target, words, **options):
    with pytest.raises(ConfigError, match=words), calling(style, target, model="m", **options):
        pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "t", "metadata": {"authorization": "Bearer t"}}, "token= and 'authorization' in metadata="),
        ({"token": lambda: "t", "metadata": [("authorization", "x")]}, "token= and 'authorization' in metadata="),
        ({"metadata": [("authorization", "x"), ("authorization", "y")]}, "'authorization' more than once"),
        ({"request_id": True, "metadata": {"x-request-id": "1"}}, "request_id= and 'x-request-id' in metadata="),
        ({"metadata": {"content-type": "text/plain"}}, "'content-type' contradicts other settings"),
        ({"metadata": {"proxy-authorization": "x"}}, "'proxy-authorization' contradicts other settings: proxy="),
        ({"metadata": {"Content-Length": "1"}}, "lower-case.*'Content-Length'"),
        ({"token": "t", "metadata": {"Authorization": "x"}}, "lower-case.*'Authorization'"),
        ({"version": 1, "label": "stable"}, "expected a version or a label, got both"),
    ],
)
def test_settings_of_a_client_that_contradict_each_other(style, server, options, words):
    refused(style, target_of(style, server), words, **options)


def with_user(url, user="me:secret"):
    return url.replace("http://", f"http://{user}@")


@pytest.mark.parametrize("style", REST)
@pytest.mark.parametrize("user", ["me:secret", "me", ":secret"])
def test_a_user_in_the_url_and_another_authorization(server, style, user):
    url = with_user(server.rest_url, user)
    refused(style, url, "token= and the user's name in the target's URL contradict each other", token="t")
    refused(style, url, "'authorization' contradicts.*the user in the target's URL", metadata={"authorization": "x"})
    with calling(style, url, model="m", timeout=20) as client:
        for call in (client.predict, lambda _, **options: client.status(**options)):
            with pytest.raises(ConfigError, match="'authorization' contradicts") as caught:
                call(X, metadata={"authorization": "Bearer t"})
            assert "secret" not in str(caught.value)
        with pytest.raises(ConfigError, match="'authorization' contradicts"):
            list(client.predict_batched(X, metadata={"authorization": "Bearer t"}))
        server.clear_calls()
        assert client.predict(X).array.tolist() == [2]
        assert all(call.metadata["authorization"].startswith("Basic ") for call in server.calls)


@pytest.mark.parametrize("target", ["me@host:1", "me:secret@host:1", "dns:///me@host:1", ["me:secret@h:1", "i:2"]])
def test_a_grpc_target_has_no_user(target):
    with pytest.raises(ConfigError, match="got user@host") as caught:
        PredictClient(target)
    assert "secret" not in str(caught.value)


def test_a_target_is_shown_with_its_path_and_without_its_user():
    assert str(checked_target("http://me:secret@host:1/a@b")) == "http://host:1/a@b"
    assert str(checked_target("http://host/a@b")) == "http://host/a@b"


@pytest.mark.parametrize(
    "target",
    [
        "http://me:secret@host:port",
        "http://me:secret@host/v1/models/m",
        "http://me:se/cret@host:1",
        "grpc://me:secret@host:1",
    ],
)
def test_an_invalid_target_is_shown_without_its_password(target):
    with pytest.raises(ConfigError) as caught:
        PredictClient(target)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("style", GRPC)
@pytest.mark.parametrize(
    ("options", "channel_options", "words"),
    [
        ({"retry": RetryPolicy()}, {"grpc.service_config": RETRIES}, "retry= and 'grpc.service_config'"),
        ({"retry": RetryPolicy()}, {"grpc.service_config": "no JSON"}, "retry= and 'grpc.service_config'"),
        ({"retry": RetryPolicy()}, {"grpc.enable_retries": 0}, "retry= and 'grpc.enable_retries'"),
        ({"keepalive": Keepalive()}, {"grpc.keepalive_time_ms": 1}, "keepalive= and 'grpc.keepalive_time_ms'"),
        ({"keepalive": Keepalive()}, {"grpc.http2.max_pings_without_data": 1}, "keepalive= and"),
        ({"compression": "gzip"}, {"grpc.default_compression_algorithm": 1}, "compression= and"),
        ({"max_reply_bytes": 1000}, {"grpc.max_receive_message_length": 1000}, "max_reply_bytes= and"),
        ({"max_inflated_bytes": None}, {"grpc.per_message_decompression": 1}, "max_inflated_bytes= and"),
        ({"tls": TLS(authority="a")}, {"grpc.ssl_target_name_override": "b"}, r"TLS\(authority=...\) and"),
        ({"proxy": None}, {"grpc.http_proxy": "http://proxy:1"}, "proxy= and 'grpc.http_proxy'"),
        ({"proxy": "http://proxy:1"}, {"grpc.enable_http_proxy": 0}, "proxy= and 'grpc.enable_http_proxy'"),
    ],
)
def test_options_and_arguments_of_the_channel_that_contradict_each_other(style, options, channel_options, words):
    refused(style, "localhost:1", words, **options, channel_options=channel_options)


@pytest.mark.parametrize("style", GRPC)
@pytest.mark.parametrize(
    "options",
    [
        {"channel_options": {"grpc.service_config": RETRIES, "grpc.keepalive_time_ms": 100_000}},
        {"retry": RetryPolicy(), "channel_options": {"grpc.service_config": BALANCING}},
        {"retry": RetryPolicy(), "channel_options": {"grpc.enable_retries": 1}},
        {"keepalive": Keepalive(), "channel_options": {"grpc.max_metadata_size": 1 << 16}},
        {"token": "t", "metadata": {"x-team": "vision"}},
        {"request_id": True, "metadata": {"cookie": "a=b"}},
    ],
)
def test_compatible_options_are_accepted(server, style, options):
    with calling(style, server, model="m", timeout=20, **options) as client:
        assert client.predict(X).array.tolist() == [2]


FRAMING = [
    "content-length",
    "transfer-encoding",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "host",
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
]


def test_metadata_that_contradicts_the_transport_or_other_options_is_refused(style, server):
    keys = FRAMING if style in REST else [*FRAMING, "grpc-timeout", "grpc-status", "user-agent"]
    with calling(style, server, model="m", timeout=20) as client:
        for key in keys:
            with pytest.raises(ConfigError, match=f"metadata '{key}' contradicts"):
                client.predict(X, metadata={key: "1"})
        for key in ("Host", ":path", "x\r\ny", ""):
            with pytest.raises(ConfigError, match="metadata key of lower-case letters"):
                client.predict(X, metadata={key: "1"})
        with pytest.raises(ConfigError, match="printable ASCII"):
            client.predict(X, metadata={"x-y": "1\r\nhost: other"})
        with pytest.raises(ConfigError, match="more than once"):
            client.predict(X, metadata=[("authorization", "x"), ("authorization", "y")])


def test_the_authorization_of_a_call_replaces_the_clients(style, server):
    server.clear_calls()
    with calling(style, server, model="m", timeout=20, metadata={"authorization": "client's"}) as client:
        client.predict(X, metadata={"authorization": "call's"})
    assert [call.metadata["authorization"] for call in server.calls if call.method == "Predict"] == ["call's"]


@pytest.mark.parametrize("style", REST)
def test_the_scheme_and_tls(style):
    refused(style, "http://localhost:1", "is without TLS, and the options require TLS: write https://", tls=True)
    refused(style, "https://localhost:1", "requires TLS, and tls=False turns it off", tls=False)
    refused(style, "http://localhost:1", "channel_options apply to gRPC only", channel_options={"grpc.x": 1})


def test_a_channel_option_has_one_value():
    assert checked_channel_options([("grpc.a", 1), ("grpc.a", 1)]) == {"grpc.a": 1}
    with pytest.raises(ConfigError, match=r"expected channel option 'grpc.a' once, got two values"):
        checked_channel_options([("grpc.a", 1), ("grpc.a", 2)])
