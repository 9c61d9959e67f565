"""RecordingProxy: calls pass it unchanged over gRPC and REST, and are in the file afterwards."""

from __future__ import annotations

import base64
import errno
import gzip
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import other_servers
import pytest
import scripted
from calling import STYLES, calling
from certificates import certificates

from tfs_client import (
    TLS,
    InternalError,
    PredictClient,
    ResourceExhaustedError,
    StatusCode,
    TensorSpec,
    UnavailableError,
)
from tfs_client._codec import predict_messages
from tfs_client.recordings.recording_file import RecordingFile
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer
from tfs_client.testing.recording_proxy import grpc_forwarding
from tfs_client.testing.recording_proxy.proxy import RecordingProxy, Upstream

PATIENCE = 30.0  # seconds that no test should need
TOKEN = "sesame-6b1f"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Recorded:
    """A proxy and its file."""

    def __init__(self, proxy: RecordingProxy, path: Path) -> None:
        self.proxy, self.path = proxy, path
        self.target, self.rest_url = proxy.target, proxy.rest_url

    @property
    def counts(self) -> Any:
        return self.proxy.counts

    def episodes(self) -> Any:
        assert self.proxy.wait_until_written(PATIENCE)
        return RecordingFile.read(self.path).episodes


@contextmanager
def recording(path: Path, server: Any, *, rest: bool = True, append: Any = None, **options: Any) -> Iterator[Recorded]:
    """A proxy in front of a server."""
    target = server if isinstance(server, str) else server.target
    metadata = options.pop("metadata", ())
    upstream = Upstream(target, server.rest_url if rest and not isinstance(server, str) else None, metadata=metadata)
    file = RecordingFile(path)
    with RecordingProxy(upstream, append or file.append, ServerConfig(), **options) as proxy:
        yield Recorded(proxy, path)


def exchange(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request over REST with nothing added, and its response as it arrived."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request(method, path, body or None, {name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        headers = {name: value for name, value in headers.items() if name not in ("date", "connection")}
        return response.status, headers, response.read()
    finally:
        connection.close()


def test_every_style_of_calling_gets_the_answer_and_is_recorded(double: FakeServer, tmp_path: Path) -> None:
    x = np.array([1.0, 2.5], np.float32)
    with recording(tmp_path / "calls", double) as proxy:
        for style in STYLES:
            with calling(style, proxy, model="double") as client:
                assert client.predict({"x": x})["y"].tolist() == [2.0, 5.0], style
        found = [each for each in proxy.episodes() if each.method == "Predict"]
    assert [each.transport for each in found] == ["grpc"] * 3 + ["rest"] * 3
    for each in found:
        request = predict_messages.read_request(each.request)
        assert request.tensor("x").tolist() == [1.0, 2.5]
        assert predict_messages.read_response(each.reply)[1]["y"].tolist() == [2.0, 5.0]
        assert each.spec.name == "double"
        assert each.seconds > 0


def test_failed_calls_keep_code_text_and_metadata(raw_server: Callable[..., str], tmp_path: Path) -> None:
    text = "naïve \u20ac text,\nwith\ttwo lines; 100 %"

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-initial", sent["x-mine"]),))
        context.set_trailing_metadata((("x-trailing-bin", b"\x00\xff"), ("x-trailing", "end")))
        context.abort(grpc.StatusCode.ABORTED, text)

    with (
        recording(tmp_path / "calls", raw_server(Predict=handler)) as proxy,
        grpc.insecure_channel(proxy.target) as channel,
    ):
        rpc = channel.unary_unary(PREDICT).future(b"", timeout=PATIENCE, metadata=(("x-mine", "1"),))
        assert rpc.exception(PATIENCE) is not None
        assert (rpc.code(), rpc.details()) == (grpc.StatusCode.ABORTED, text)
        assert ("x-initial", "1") in [tuple(pair) for pair in rpc.initial_metadata()]
        trailing = [tuple(pair) for pair in rpc.trailing_metadata()]
        assert ("x-trailing-bin", b"\x00\xff") in trailing
        assert ("x-trailing", "end") in trailing
        (found,) = proxy.episodes()
    assert (found.code, found.details, found.reply) == (StatusCode.ABORTED, text, None)
    assert found.metadata == (("x-mine", "1"),)


def test_deadlines_and_compression_reach_the_server(double: FakeServer, tmp_path: Path) -> None:
    zeros = np.zeros(100_000, np.float32)
    with (
        recording(tmp_path / "calls", double) as proxy,
        PredictClient(proxy.target, model="double", timeout=25, compression="gzip") as client,
    ):
        client.predict({"x": zeros})
        (found,) = proxy.episodes()
    (call,) = double.calls
    assert 20 < call.timeout <= 26
    assert call.bytes_in < 10_000  # compressed on this side, too
    assert len(found.request) > zeros.nbytes  # and plain in the file


def test_compressed_replies_are_compressed_for_the_caller(raw_server: Callable[..., str], tmp_path: Path) -> None:
    reply = predict_messages.write_response(predict_messages.ModelSpec("m"), {"y": np.zeros(50_000, np.float32)})

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return reply

    with recording(tmp_path / "calls", raw_server(Predict=handler)) as proxy:
        options = [("grpc.per_message_decompression", 0)]  # shows the bytes as they travel
        with grpc.insecure_channel(proxy.target, options) as channel:
            got = channel.unary_unary(PREDICT)(b"", timeout=PATIENCE)
        (found,) = proxy.episodes()
    assert gzip.decompress(got) == reply == found.reply


def test_a_message_that_inflates_too_far_is_refused(
    raw_server: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_forwarding, "MAX_INFLATED", 1 << 16)
    bomb = gzip.compress(bytes(1 << 20))
    with (
        recording(tmp_path / "calls", raw_server(Predict=lambda request, context: bomb)) as proxy,
        PredictClient(proxy.target, model="m", timeout=PATIENCE) as client,
        pytest.raises(ResourceExhaustedError),
    ):
        client.predict({"x": np.zeros(1, np.float32)})


def test_other_services_and_methods_pass_and_are_counted(tmp_path: Path) -> None:
    config = ServerConfig(enable_grpc_healthcheck_service=True)
    with (
        FakeServer(config) as server,
        recording(tmp_path / "calls", server, rest=False) as proxy,
        PredictClient(proxy.target, timeout=PATIENCE) as client,
        grpc.insecure_channel(proxy.target) as channel,
    ):
        assert client.health().name == "SERVING"
        assert client.models() == ()
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary("/other.Service/Call")(b"x", timeout=PATIENCE)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE)
        assert next(watch) == b"\x08\x01"  # SERVING, and the stream stays open
        watch.cancel()
        assert proxy.counts.left_out == {
            "calls of /grpc.health.v1.Health/Check": 1,
            "calls of /tfs_client.ModelService/ListModels": 1,
            "calls of /other.Service/Call": 1,
            "calls of /grpc.health.v1.Health/Watch": 1,
        }
    assert not proxy.path.exists()


def test_tokens_are_forwarded_and_in_no_file(tmp_path: Path) -> None:
    vector = TensorSpec("float32", (None,))
    with FakeServer(ServerConfig(token=TOKEN)) as server:
        server.add_model("double", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})
        with recording(tmp_path / "calls", server) as proxy:
            for target in (proxy.target, proxy.rest_url):
                with PredictClient(target, model="double", token=TOKEN, metadata={"x-user": "ann"}) as client:
                    client.predict({"x": np.ones(2, np.float32)})
            found = proxy.episodes()
        upstream = (("authorization", f"Bearer {TOKEN}"),)
        with recording(tmp_path / "own", server, metadata=upstream) as proxy:  # for callers without one
            for target in (proxy.target, proxy.rest_url):
                with PredictClient(target, model="double") as client:
                    client.predict({"x": np.ones(2, np.float32)})
            proxy.episodes()
    assert [each.method for each in found if each.transport == "grpc"] == ["Predict"]
    assert all(("x-user", "ann") in each.metadata for each in found)
    for path in tmp_path.iterdir():
        assert TOKEN.encode() not in path.read_bytes(), path


def test_binary_secrets_of_the_proxy_are_in_no_text(raw_server: Callable[..., str], tmp_path: Path) -> None:
    values = (TOKEN.encode(), b"\xff\xfe another-7731")
    encoded = base64.b64encode(values[1]).decode()

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        sent = dict(context.invocation_metadata())
        assert (sent["x-key-bin"], sent["x-token-bin"]) == values
        context.abort(grpc.StatusCode.PERMISSION_DENIED, f"got {TOKEN} and {encoded}")

    own = (("x-key-bin", values[0]), ("x-token-bin", values[1]))
    with (
        recording(tmp_path / "calls", raw_server(Predict=handler), metadata=own) as proxy,
        grpc.insecure_channel(proxy.target) as channel,
    ):
        failed = channel.unary_unary(PREDICT).future(b"", timeout=PATIENCE)
        assert failed.exception(PATIENCE).details() == f"got {TOKEN} and {encoded}"
        (found,) = proxy.episodes()
    assert found.details == "got [secret] and [secret]"


def test_only_the_wanted_models_are_recorded(double: FakeServer, tmp_path: Path) -> None:
    with recording(tmp_path / "calls", double, models=["other"]) as proxy:
        for target in (proxy.target, proxy.rest_url):
            with PredictClient(target, model="double") as client:
                assert client.predict({"x": np.ones(1, np.float32)})["y"] == 2
        assert proxy.proxy.wait_until_written(PATIENCE)
        assert proxy.counts.recorded == 0
        assert proxy.counts.left_out["other models"] >= 2


def test_a_full_disk_fails_no_call(double: FakeServer, tmp_path: Path) -> None:
    said: list[str] = []

    def full(episode: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        recording(tmp_path / "calls", double, append=full, report=said.append) as proxy,
        PredictClient(proxy.target, model="double") as client,
    ):
        for _ in range(3):
            assert client.predict({"x": np.ones(1, np.float32)})["y"] == 2
        assert proxy.proxy.wait_until_written(PATIENCE)
        assert sum(proxy.counts.write_errors.values()) == 3
    assert len(said) == 1
    assert "No space left on device" in said[0]


def test_a_slow_disk_delays_no_call(double: FakeServer, tmp_path: Path) -> None:
    writable = threading.Event()
    written: list[object] = []

    def slow(episode: object) -> None:
        assert writable.wait(PATIENCE)
        written.append(episode)

    with (
        recording(tmp_path / "calls", double, append=slow) as proxy,
        PredictClient(proxy.target, model="double") as client,
    ):
        for _ in range(5):
            client.predict({"x": np.ones(1, np.float32)})
        assert written == []
        writable.set()
    assert len(written) == 5


def test_waiting_includes_failed_calls_without_a_message(raw_server: Callable[..., str], tmp_path: Path) -> None:
    writable = threading.Event()
    written: list[object] = []

    def slow(episode: object) -> None:
        assert writable.wait(PATIENCE)
        written.append(episode)

    def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.ABORTED, "")

    server = raw_server(Predict=handler)
    with (
        recording(tmp_path / "calls", server, append=slow) as proxy,
        grpc.insecure_channel(proxy.target) as channel,
    ):
        assert channel.unary_unary(PREDICT).future(b"", timeout=PATIENCE).exception(PATIENCE) is not None
        assert not proxy.proxy.wait_until_written(0.01)
        writable.set()
        assert proxy.proxy.wait_until_written(PATIENCE)
    assert len(written) == 1


def test_waiting_includes_calls_that_run(gated: FakeServer, gate: Any, tmp_path: Path) -> None:
    with recording(tmp_path / "calls", gated) as proxy, PredictClient(proxy.target, model="slow") as client:
        future = client.predict_future({"x": np.ones(1, np.float32)})
        assert gate.entered.wait(PATIENCE)
        assert not proxy.proxy.wait_until_written(0.01)
        gate.open.set()
        future.result(PATIENCE)
        assert len(proxy.episodes()) == 1


def test_concurrent_calls_are_all_recorded(double: FakeServer, tmp_path: Path) -> None:
    with recording(tmp_path / "calls", double) as proxy:
        clients = [PredictClient(target, model="double") for target in (proxy.target, proxy.rest_url)]

        def call(number: int) -> float:
            x = np.array([number], np.float32)
            return float(clients[number % 2].predict({"x": x})["y"][0])

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(call, range(60))) == [2.0 * number for number in range(60)]
        for client in clients:
            client.close()
        found = [each for each in proxy.episodes() if each.method == "Predict"]
    sent = sorted(predict_messages.read_request(each.request).tensor("x").item() for each in found)
    assert sent == list(range(60))


def test_large_messages_pass(double: FakeServer, tmp_path: Path) -> None:
    x = np.ones(1_250_000, np.float32)  # 5 MB, over gRPC's default limit
    with recording(tmp_path / "calls", double) as proxy, PredictClient(proxy.target, model="double") as client:
        assert client.predict({"x": x})["y"].sum() == 2_500_000
        (found,) = proxy.episodes()
    assert len(found.request) > x.nbytes


def test_a_caller_who_gives_up_ends_the_call_at_the_server(gated: FakeServer, gate: Any, tmp_path: Path) -> None:
    with recording(tmp_path / "calls", gated) as proxy, PredictClient(proxy.target, model="slow") as client:
        future = client.predict_future({"x": np.ones(1, np.float32)})
        assert gate.entered.wait(PATIENCE)
        future.cancel()
        for _ in range(1000):
            if gated.calls:
                break
            threading.Event().wait(0.01)
        assert [call.code for call in gated.calls] == [StatusCode.CANCELLED]
        gate.open.set()
    assert (proxy.counts.recorded, proxy.counts.not_recorded) == (0, 1)


def test_without_a_server_callers_get_unavailable(tmp_path: Path) -> None:
    upstream = Upstream("127.0.0.1:1", "http://127.0.0.1:1")
    with RecordingProxy(upstream, RecordingFile(tmp_path / "calls").append, ServerConfig()) as proxy:
        for target in (proxy.target, proxy.rest_url):
            with PredictClient(target, model="m", timeout=10) as client, pytest.raises(UnavailableError):
                client.status()
        assert proxy.wait_until_written(PATIENCE)
        assert proxy.counts.failed == 1  # over gRPC
        assert sum(proxy.counts.left_out.values()) == 1


# REST.


BODIES = [
    ("POST", "/v1/models/double:predict", b'{"instances": [1.5, 2]}'),
    ("POST", "/v1/models/double/versions/1:predict", b'{"signature_name": "serving_default", "inputs": [1.5, 2]}'),
    ("POST", "/v1/models/double:predict", b'{"instances": '),
    ("POST", "/v1/models/double:predict", b'{"instances": ["a"]}'),
    ("POST", "/v1/models/none:predict", b'{"instances": [1]}'),
    ("POST", "/v1/models/double:classify", b'{"examples": [{"a": 1}]}'),
    ("GET", "/v1/models/double", b""),
    ("GET", "/v1/models/double/metadata", b""),
    ("GET", "/v1/models/a%2Fb%20c", b""),
    ("GET", f"/v1/models/double?token=%20{TOKEN}", b""),
    ("POST", "/v1/models/double:predict", b'{"signature_name": "other", "instances": [1]}'),
    ("PUT", "/v1/models/double", b"x"),
    ("GET", "/elsewhere", b""),
    # Targets that name a server, and those that are not a path.
    ("GET", "@127.0.0.1:1/v1/models/double", b""),
    ("GET", "\\@127.0.0.1:1/v1/models/double", b""),
    ("POST", ":1@127.0.0.1:1/v1/models/double:predict", b'{"instances": [1]}'),
    ("GET", "//127.0.0.1:1/v1/models/double", b""),
    ("GET", "http://127.0.0.1:1/elsewhere", b""),
    ("OPTIONS", "*", b""),
    ("CONNECT", "127.0.0.1:1", b""),
]


def test_rest_responses_are_those_of_the_server(double: FakeServer, tmp_path: Path) -> None:
    with recording(tmp_path / "calls", double) as proxy:
        for method, path, body in BODIES:
            direct, through = (exchange(url, method, path, body) for url in (double.rest_url, proxy.rest_url))
            assert through == direct, path
        found = proxy.episodes()
        assert [(each.method, each.code.name) for each in found] == [
            ("Predict", "OK"),
            ("Predict", "OK"),
            ("Classify", "INVALID_ARGUMENT"),
            ("GetModelStatus", "OK"),
            ("GetModelMetadata", "OK"),
            ("GetModelStatus", "NOT_FOUND"),
        ]
        assert proxy.counts.left_out == {  # forwarded all the same
            "failed Predict over REST: the body is not JSON, or does not fit the signature": 2,
            "failed Predict over REST: unknown model or version": 1,
            "failed Predict over REST: unknown signature": 1,
            "requests whose query the server takes for a part of the path": 1,
            "PUT requests outside the API": 1,
            "GET requests outside the API": 5,
            "POST requests outside the API": 1,
            "OPTIONS requests outside the API": 1,
            "CONNECT requests outside the API": 1,
        }
    assert (found[0].spec.version, found[1].spec.version) == (None, 1)
    assert found[5].spec.name == "a/b c"


def test_queries_are_forwarded_and_not_recorded(tmp_path: Path) -> None:
    def denied(method: str, path: str, body: Any) -> other_servers.Reply:
        return other_servers.Reply(403, {"error": f"{TOKEN} may not do this"})

    path = tmp_path / "calls"
    with other_servers.running(denied) as server:
        with RecordingProxy(Upstream(rest=f"{server.url}/behind"), RecordingFile(path).append, ServerConfig()) as proxy:
            exchange(proxy.rest_url, "GET", f"/v1/models/m?api_key={TOKEN}&x=1")
            assert proxy.wait_until_written(PATIENCE)
        assert server.requests == [f"GET /behind/v1/models/m?api_key={TOKEN}&x=1"]
    (found,) = RecordingFile.read(path).episodes
    assert (found.spec.name, found.details) == ("m", "[secret] may not do this")


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_the_upstream_may_have_tls(style: str, tmp_path: Path) -> None:
    trusted = certificates()
    path = tmp_path / "calls"
    with scripted.serving(style, tls=scripted.ServerTls(trusted.server)) as server:
        target = scripted.target_of(style, server.port, secure=True)
        upstream = Upstream(**{style: target}, tls=TLS(ca=trusted.ca))
        with RecordingProxy(upstream, RecordingFile(path).append, ServerConfig()) as proxy:
            with PredictClient(proxy.target or proxy.rest_url, model="m", timeout=PATIENCE) as client:
                assert client.predict({"x": np.ones(1, np.float32)})["y"] == 2
            assert proxy.wait_until_written(PATIENCE)
    assert [each.method for each in RecordingFile.read(path).episodes if each.method == "Predict"] == ["Predict"]


def test_rest_bodies_may_be_compressed_both_ways(double: FakeServer, tmp_path: Path) -> None:
    body = json.dumps({"instances": [1.0] * 5000}).encode()
    with recording(tmp_path / "calls", double) as proxy:
        status, _, reply = exchange(
            proxy.rest_url,
            "POST",
            "/v1/models/double:predict",
            gzip.compress(body),
            Content_Encoding="gzip",
            Accept_Encoding="gzip",
        )
        (found,) = proxy.episodes()
    assert status == 200
    assert json.loads(reply)["predictions"][:2] == [2.0, 2.0]
    assert predict_messages.read_request(found.request).tensor("x").shape == (5000,)
    assert double.calls[0].bytes_in < 1000


def test_signatures_are_asked_for_once_for_each_model_and_version(double: FakeServer, tmp_path: Path) -> None:
    with recording(tmp_path / "calls", double) as proxy:
        for path in ["/v1/models/double:predict", "/v1/models/double/versions/1:predict"] * 3:
            exchange(proxy.rest_url, "POST", path, b'{"instances": [1]}')
        assert len(proxy.episodes()) == 6
    assert [call.method for call in double.lookups] == ["GetModelMetadata"] * 2


def test_examples_over_rest_become_messages(fake_server: FakeServer, tmp_path: Path) -> None:
    strings = TensorSpec("string", (None,))
    fake_server.add_model(
        "score",
        lambda inputs: np.arange(len(inputs), dtype=np.float32),
        inputs={"inputs": strings},
        outputs={"outputs": TensorSpec("float32", (None,))},
        method_name="tensorflow/serving/regress",
    )
    with recording(tmp_path / "calls", fake_server) as proxy:
        for target in (proxy.target, proxy.rest_url):
            with PredictClient(target, model="score") as client:
                assert client.regress([{"a": 1.5}, {"a": 2.5}], context={"c": "x"}).values == (0.0, 1.0)
        grpc_call, rest_call = (each for each in proxy.episodes() if each.method == "Regress")
    assert grpc_call.request == rest_call.request
    assert rest_call.reply is not None


def test_a_request_that_is_not_a_message_is_forwarded_and_counted(double: FakeServer, tmp_path: Path) -> None:
    with recording(tmp_path / "calls", double) as proxy, grpc.insecure_channel(proxy.target) as channel:
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(PREDICT)(b"\xff\xff", timeout=PATIENCE)
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert proxy.proxy.wait_until_written(PATIENCE)
        assert proxy.counts.not_recorded == 1


def test_a_refused_call_reaches_typed_errors(fake_server: FakeServer, tmp_path: Path) -> None:
    vector = TensorSpec("float32", (None,))

    def fails(x: object) -> object:
        raise InternalError("the oven is cold")

    fake_server.add_model("oven", fails, inputs={"x": vector}, outputs={"y": vector})
    with recording(tmp_path / "calls", fake_server) as proxy:
        for style in STYLES:
            with calling(style, proxy, model="oven") as client, pytest.raises(InternalError, match="the oven is cold"):
                client.predict({"x": np.ones(1, np.float32)})
        failed = [each for each in proxy.episodes() if each.method == "Predict"]
    assert [(each.code, each.details) for each in failed] == [(StatusCode.INTERNAL, "the oven is cold")] * 6
