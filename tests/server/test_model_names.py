"""Which models a server has, and by which configuration; and how waiting clients see what it could not load."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from model_dirs import put
from served_models import Starter, until

from tfs_client import (
    AsyncPredictClient,
    DecodeError,
    FailedPreconditionError,
    ModelServerConfig,
    PredictClient,
    SpecificVersions,
    TensorSpec,
    UnauthenticatedError,
    UnimplementedError,
    UnknownError,
)
from tfs_client._calls.served_models import GetConfig, ListModels
from tfs_client.server import FunctionSignature

VECTOR = TensorSpec("float32", (None,))
ECHO = {"serving_default": FunctionSignature(lambda x: {"y": x}, {"x": VECTOR}, {"y": VECTOR})}


@pytest.fixture
def serve(tmp_path):
    starter = Starter(tmp_path)
    yield starter
    starter.close()


@pytest.fixture(params=["grpc", "rest"])
def target(request):
    """Gives the target of a server, over gRPC and over REST."""
    return lambda served: served.server.target if request.param == "grpc" else served.server.open_rest()


def test_a_server_lists_configured_models_and_models_added_in_code(serve, target):
    served = serve(serve.model("b", 1), serve.model("a", 1), serve.model("gone", 1))
    served.server.add_model("own", ECHO)
    served.reload(served.config.remove("gone"))
    served.until({1: "END"}, "gone")
    with PredictClient(target(served)) as client:
        assert client.models() == ("a", "b", "own")


def test_a_configured_model_is_listed_before_it_has_a_version(serve):
    served = serve(serve.model("a", 1))
    reload = threading.Thread(target=lambda: served.reload(served.config.add(serve.model("empty"))))
    reload.start()
    until(lambda: served.watches("empty"))
    assert served.client.models() == ("a", "empty")
    put(served.base / "empty", 1)
    reload.join(20)
    assert not reload.is_alive()


def test_the_configuration_in_force_is_the_last_one_sent(serve):
    served = serve(serve.model("a", 1), serve.model("b", 1))
    assert served.client.current_config() == served.config
    later = served.config.remove("b").serve("a", SpecificVersions(1)).label("a", "stable", 1)
    served.reload(later)
    assert served.client.current_config() == later
    with pytest.raises(FailedPreconditionError, match="assign label"):
        served.reload(later.label("a", "stable", 9))
    assert served.client.current_config() == later


def test_a_server_without_a_configuration_has_that_of_no_models(double):
    with PredictClient(double.target) as client:
        assert client.models() == ("double",)
        assert client.current_config() == ModelServerConfig()


def test_both_calls_need_the_token(serve, connect):
    served = serve(serve.model("a", 1), token="secret")
    rest = served.server.open_rest()
    for address in (served.server.target, rest):
        with PredictClient(address) as client, pytest.raises(UnauthenticatedError) as caught:
            client.models()
        assert caught.value.method == "ListModels"
        assert "'authorization: Bearer <token>'" in caught.value.details
        with PredictClient(address, token="secret") as client:
            assert client.models() == ("a",)
    with PredictClient(served.server.target) as client, pytest.raises(UnauthenticatedError):
        client.current_config()


def test_the_list_is_a_page_of_json(serve):
    import httpx

    served = serve(serve.model("a", 1))
    response = httpx.get(f"{served.server.open_rest()}/tfs_client/models", trust_env=False)
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.content) == {"models": ["a"]}


def test_a_server_without_these_calls_is_named(raw_server, serve):
    target = raw_server()
    with PredictClient(target) as client:
        with pytest.raises(UnimplementedError, match=f"{target} does not list its models: tfs-serve does"):
            client.models()
        with pytest.raises(UnimplementedError, match=f"{target} does not report its configuration"):
            client.current_config()
    with PredictClient(serve().server.open_rest()) as client, pytest.raises(UnimplementedError, match="Use gRPC"):
        client.current_config()


def test_asyncio_clients_have_both_calls(double):
    async def main():
        async with AsyncPredictClient(double.target) as client:
            return await client.models(), await client.current_config()

    assert asyncio.run(main()) == (("double",), ModelServerConfig())


@pytest.mark.parametrize("reply", [b"", b"[]", b'{"models": [1]}', b'{"models": "a"}', b"\xff"])
def test_a_reply_that_is_not_a_list_is_a_decode_error(reply):
    with pytest.raises(DecodeError):
        ListModels().read(reply)


@pytest.mark.parametrize("reply", [b"", b"\xff", b"\x0a\x04\x0a\x02\x0a\x00"], ids=["nothing", "none", "no name"])
def test_a_reply_that_is_not_a_configuration_is_a_decode_error(reply):
    with pytest.raises(DecodeError, match="the reply of GetConfig"):
        GetConfig().read(reply)


# --- models that could not be loaded ---------------------------------------------------------------------------------


@pytest.fixture
def broken(serve):
    """A server of two models: "m" version 1 serves and version 2 is broken; of "n" the only version is."""
    served = serve(serve.model("m", 1))
    put(served.base / "m", 2, "broken")
    served.until({2: "END", 1: "AVAILABLE"})
    put(served.base / "n", 3, "broken")
    with pytest.raises(UnknownError, match="did not become available"):
        served.reload(served.config.add(serve.model("n")))
    return served


def test_waiting_ends_at_once_for_a_model_that_failed_to_load(broken, target):
    with PredictClient(target(broken)) as client:
        client.wait_until_ready(20, model="m")  # version 1 serves
        for options, what in (({"model": "m", "version": 2}, "'m' version 2"), ({"model": "n"}, "'n'")):
            began = time.monotonic()
            with pytest.raises(FailedPreconditionError) as caught:
                client.wait_until_ready(60, **options)
            assert time.monotonic() - began < 20
            assert f"model {what} at " in caught.value.details
            assert "could not be loaded: version " in caught.value.details
            assert "END (INVALID_ARGUMENT: the model is broken)" in caught.value.details
            assert "it does load a new version" in caught.value.hint


def test_waiting_with_asyncio_ends_at_once_too(broken):
    async def main():
        async with AsyncPredictClient(broken.server.target, model="n") as client:
            await client.wait_until_ready(60)

    with pytest.raises(FailedPreconditionError, match="could not be loaded"):
        asyncio.run(main())


def test_waiting_continues_while_another_version_is_loading(broken):
    gate = broken.platform.gate(broken.base / "n" / "4")
    put(broken.base / "n", 4)
    assert broken.platform.entered[str(broken.base / "n" / "4")].wait(20)
    threading.Timer(0.3, gate.set).start()
    broken.client.wait_until_ready(20, model="n")
    assert broken.client.status(model="n", version=4).ready


def test_waiting_continues_for_an_unknown_version(broken):
    threading.Timer(0.3, put, (broken.base / "n", 4)).start()
    broken.client.wait_until_ready(20, model="n", version=4)
    assert broken.client.status(model="n", version=4).ready


def test_waiting_continues_if_another_replica_may_load_it(broken, serve):
    second = serve()
    with pytest.raises(UnknownError):
        second.reload(ModelServerConfig([serve.model("n")]))
    threading.Timer(0.3, put, (broken.base / "n", 4)).start()
    with PredictClient([broken.server.target, second.server.target], model="n") as client:
        client.wait_until_ready(20)
    statuses = [status for each in (broken, second) for status in each.client.status(model="n").versions]
    assert (4, "AVAILABLE") in [(status.version, status.state.name) for status in statuses]
