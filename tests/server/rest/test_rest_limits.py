"""Limits on what REST callers can use: body sizes, threads, names of metrics; and authentication before all else."""

from __future__ import annotations

import gzip
import socket
import time
from contextlib import contextmanager

import httpx
import pytest

from tfs_client import TensorSpec
from tfs_client.errors import InvalidArgumentError, StatusCode
from tfs_client.results import State, VersionStatus
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.rest import status_json as shown_status
from tfs_client.server.server_metrics import MAX_UNKNOWN_MODELS, MAX_UNKNOWN_NAME
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))
BODY = b'{"instances": [1]}'
COUNT = ":tensorflow:serving:request_count"


def model(function):
    return {"serving_default": FunctionSignature(function, {"x": VECTOR}, {"y": VECTOR})}


@contextmanager
def serving(**options):
    """A server with a page of metrics and a model "m", and an HTTP client of it."""
    with Server(ServerConfig(rest_port=0, metrics_path="/metrics", **options)) as server:
        server.add_model("m", model(lambda x: x))
        with httpx.Client(base_url=server.rest_url, timeout=20, verify=False) as http:
            yield server, http


def said(server, data):
    """The response of a server to the given bytes, before it gets more."""
    host, _, port = server.rest_url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(data)
        return connection.recv(65536).decode()


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("path", "status"), [("/v1/models/m:predict", 401), ("/v1/models/m:predict?x", 400), ("/v1/nothing", 400)]
)
def test_a_call_is_refused_before_its_body_arrives(framing, path, status):
    with serving(token="secret") as (server, _):
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\n{framing}\r\n"
        assert said(server, f"{head}\r\n".encode()).startswith(f"HTTP/1.1 {status} ")
        answer = said(server, f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert "connection: close\r\n" in answer


def test_a_connection_stays_open_after_a_refusal():
    with serving(token="secret") as (_, http):
        for token, status in (("wrong", 401), ("secret", 200), ("wrong", 401), ("secret", 200)):
            headers = {"authorization": f"Bearer {token}"}
            response = http.post("/v1/models/m:predict", content=BODY + b" " * 1_000_000, headers=headers)
            assert response.status_code == status
            assert "connection" not in response.headers


def test_a_bodys_inflated_size_counts():
    with serving(rest_max_body=1000) as (_, http):
        for size, status in ((1000, 200), (1001, 400)):
            body = gzip.compress(BODY.ljust(size))
            response = http.post("/v1/models/m:predict", content=body, headers={"content-encoding": "gzip"})
            assert response.status_code == status
        assert response.json() == {"error": "the inflated body has more than 1000 bytes"}


# --- threads ---------------------------------------------------------------------------------------------------------


def test_waiting_for_a_thread_counts_towards_the_time_limit(gate):
    ran = []
    config = ServerConfig(rest_timeout=0.3, threads=4, rest_threads=1)
    with FakeServer(config) as server, httpx.Client(timeout=20) as http:
        server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        server.add_model("m", lambda x: ran.append(x[0]) or x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        url = f"{server.rest_url}/v1/models"
        assert http.post(f"{url}/slow:predict", content=BODY).status_code == 504
        assert gate.entered.is_set()  # and has the only thread
        response = http.post(f"{url}/m:predict", content=BODY)
        assert (response.status_code, response.json()) == (504, {"error": "Timed out waiting for notification"})
        assert [call.code for call in server.calls] == [StatusCode.DEADLINE_EXCEEDED] * 2
        gate.open.set()
        ends = time.monotonic() + 20
        while http.post(f"{url}/m:predict", json={"instances": [2]}).status_code != 200:
            assert time.monotonic() < ends, "the thread did not become free"
        assert set(ran) == {2}  # a call that was answered early does not run any more


def test_status_and_metadata_are_answered_when_every_thread_has_a_call(gate):
    with FakeServer(ServerConfig(rest_timeout=0.05, threads=1)) as server, httpx.Client(timeout=20) as http:
        server.add_model("slow", gate, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        assert http.post(f"{server.rest_url}/v1/models/slow:predict", content=BODY).status_code == 504
        for path in ("slow", "slow/metadata"):
            assert http.get(f"{server.rest_url}/v1/models/{path}").status_code == 200


# --- names on the page of metrics ------------------------------------------------------------------------------------


def test_series_for_invented_names_are_limited():
    with serving() as (_, http):
        for number in range(MAX_UNKNOWN_MODELS + 5):
            http.get(f"/v1/models/no{number}")
        http.get("/v1/models/no7")
        http.get("/v1/models/m/metadata")
        page = http.get("/metrics").text
    assert page.count(f"\n{COUNT}{{") == MAX_UNKNOWN_MODELS + 2
    for name, status, count in (("no7", "NOT_FOUND", 2), ("", "NOT_FOUND", 5), ("m", "OK", 1)):
        assert f'{COUNT}{{model_name="{name}",status="{status}"}} {count}\n' in page


@pytest.mark.parametrize("name", ["%FF", "%ED%A0%80", "a%0Ainjected 1", "x" * (MAX_UNKNOWN_NAME + 1)])
def test_names_unfit_for_a_label_get_no_series(name):
    with serving() as (_, http):
        assert http.get(f"/v1/models/{name.replace(' ', '%20')}").status_code == 404
        page = http.get("/metrics")
    assert page.status_code == 200
    assert f'{COUNT}{{model_name="",status="NOT_FOUND"}} 1\n' in page.content.decode()
    assert all(line.startswith((":tensorflow:", "# TYPE ")) for line in page.text.splitlines())


def test_names_from_calls_without_a_token_are_not_recorded():
    with serving(token="secret") as (_, http):
        for name in ("%FF", "m", "n"):
            assert http.get(f"/v1/models/{name}").status_code == 401
        page = http.get("/metrics", headers={"authorization": "Bearer secret"})
    assert [line for line in page.text.splitlines() if line.startswith(COUNT)] == [
        f'{COUNT}{{model_name="",status="UNAUTHENTICATED"}} 3'
    ]


def test_preflights_and_bodies_that_are_too_large_are_counted():
    with serving(rest_max_body=10) as (_, http):
        http.options("/v1/models/m", headers={"origin": "http://a"})
        http.options("/v1/models/m")
        assert http.post("/v1/models/m:predict", content=bytes(11)).status_code == 413
        page = http.get("/metrics").text
    for name, status in (("", "OK"), ("", "FAILED_PRECONDITION"), ("m", "RESOURCE_EXHAUSTED")):
        assert f'{COUNT}{{model_name="{name}",status="{status}"}} 1\n' in page


# --- text that UTF-8 cannot hold -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (InvalidArgumentError("half \ud800 a pair"), 400, "half \ufffd a pair"),
        (
            ["\ud800"],
            500,
            "the model's output 'y' is not string (?,): expected text that UTF-8 can encode, got '\\ud800'",
        ),
    ],
)
def test_half_a_surrogate_pair_from_a_model_is_answered_in_json(answer, status, text):
    def function(x):
        if isinstance(answer, Exception):
            raise answer
        return answer

    with FakeServer() as server:
        server.add_model("f", function, inputs={"x": VECTOR}, outputs={"y": TensorSpec("string", (None,))})
        response = httpx.post(f"{server.rest_url}/v1/models/f:predict", content=BODY)
    assert response.status_code == status
    assert response.json()["error"].startswith(text)


def test_half_a_surrogate_pair_in_a_state_becomes_a_replacement_character():
    shown = shown_status.status([VersionStatus(1, State.END, StatusCode.UNKNOWN, "a file \udcff, a half \ud800")])
    assert b"a file \xff, a half \xef\xbf\xbd" in shown
