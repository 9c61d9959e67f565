"""Mocks and recorders of gRPC and HTTP: respx, pytest-httpx, vcrpy, cassetter, grpcvcr.

Limits of the libraries: cassetter records of gRPC only grpc.aio, and vcrpy nothing. grpcvcr plays the failure
of a blocking call as an error without its status.
"""

from __future__ import annotations

import sys

import httpx
import numpy as np
import pytest
from calling import GRPC, REST, calling
from scripted import METADATA_REPLY
from tcp import nobody

from tfs_client import CallError, NotFoundError, TensorSpec, UnavailableError
from tfs_client.testing import FakeServer

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

VECTOR = TensorSpec("float32", (None,))
X = {"x": np.float32([1])}
ANSWER = {"predictions": [2.0]}


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server.add_model("m", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})


@pytest.fixture
def absent():
    """The address of a server that is not there."""
    with nobody() as port:
        yield f"http://127.0.0.1:{port}"


def answers(style, target, **options):
    with calling(style, target, model="m", timeout=60, **options) as client:
        return client.predict(X).array.tolist()


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
@pytest.mark.parametrize("style", REST)
def test_respx_answers_in_place_of_a_server(style, using, absent):
    import respx

    with respx.mock(using=using, assert_all_called=True) as mock:
        mock.get(f"{absent}/v1/models/m/metadata").mock(return_value=httpx.Response(200, content=METADATA_REPLY))
        route = mock.post(f"{absent}/v1/models/m:predict").mock(return_value=httpx.Response(200, json=ANSWER))
        assert answers(style, absent) == [2]
        assert route.called
        mock.post(f"{absent}/v1/models/m:predict").mock(side_effect=httpx.ConnectError("mocked"))
        with pytest.raises(UnavailableError, match="mocked"):
            answers(style, absent)


@pytest.mark.parametrize("style", REST)
def test_pytest_httpx_answers_in_place_of_a_server(style, absent, httpx_mock):
    httpx_mock.add_response(url=f"{absent}/v1/models/m/metadata", content=METADATA_REPLY)
    httpx_mock.add_response(url=f"{absent}/v1/models/m:predict", json=ANSWER)
    assert answers(style, absent) == [2]


@pytest.mark.parametrize("style", REST)
def test_vcrpy_replays_its_recordings(style, server, tmp_path):
    import vcr

    # While a patched library of these opens a connection, in any thread, vcrpy removes its patch of httpx too.
    others = ("httplib", "requests", "boto3", "urllib3", "httplib2", "tornado", "aiohttp")
    url = server.rest_url
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "calls.yaml"), record_mode="once", skip_patchers=others):
            assert answers(style, url) == [2]
        server.stop()


@pytest.mark.parametrize("style", [*REST, "grpc-aio"])
def test_cassetter_replays_its_recordings(style, server, tmp_path):
    import cassetter

    target = server.target if style in GRPC else server.rest_url
    for _ in range(2):
        with cassetter.use_cassette(tmp_path / "calls.yaml", intercept=["httpx", "grpc"]):
            assert answers(style, target) == [2]
        server.stop()


@pytest.mark.parametrize("style", GRPC)
def test_grpcvcr_replays_its_recordings(style, server, tmp_path):
    from grpcvcr import Cassette, RecordMode
    from grpcvcr.interceptors.aio import create_async_interceptors
    from grpcvcr.interceptors.sync import create_interceptors
    from grpcvcr.matchers import MethodMatcher, RequestMatcher

    target = server.target
    # It looks through sys.modules for the class of a message; modules that import others when asked do so now.
    assert answers(style, target) == [2]
    for module in list(sys.modules.values()):
        getattr(module, "Message", None)
    for mode in (RecordMode.ALL, RecordMode.NONE):
        by = MethodMatcher() & RequestMatcher()
        with Cassette(tmp_path / "calls.yaml", record_mode=mode, match_on=by) as cassette:
            own = (create_async_interceptors if style.endswith("aio") else create_interceptors)(cassette)
            with calling(style, target, model="m", timeout=60, interceptors=own) as client:
                assert client.predict(X).array.tolist() == [2]
                lost = style == "grpc" and mode is RecordMode.NONE
                with pytest.raises(CallError if lost else NotFoundError):
                    client.predict(X, model="nobody")
        server.stop()
