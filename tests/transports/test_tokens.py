"""Tokens: how a server receives them, and the error of a refusal."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from calling import STYLES, calling
from scripted import MODEL, Refusal, serving, target_of

from tfs_client import ConfigError, StatusCode, TFServingError
from tfs_client.errors import UnauthenticatedError

X = {"x": np.float32([1])}


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


def knowing(*tokens):
    """A script that accepts calls with one of the tokens."""

    def script(call):
        if call.metadata.get("authorization") not in [f"Bearer {token}" for token in tokens]:
            raise Refusal(StatusCode.UNAUTHENTICATED, "who is it?")

    return script


@pytest.mark.parametrize("options", [{}, {"token": "wrong"}, {"token": lambda: "wrong"}], ids=["none", "text", "made"])
def test_a_wrong_token_is_unauthenticated(style, options):
    with (
        serving(style, knowing("right")) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, **options) as client,
        pytest.raises(UnauthenticatedError, match="who is it") as caught,
    ):
        client.predict(X)
    assert caught.value.method == "Predict"
    assert "token= sends a bearer token" in caught.value.hint
    assert "wrong" not in str(caught.value)


def test_every_call_sends_the_token(style):
    with (
        serving(style, knowing("right")) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, token="right") as client,
    ):
        for _ in range(3):
            assert client.predict(X).array.tolist() == [2]


@pytest.mark.parametrize("style", ["grpc", "grpc-futures", "grpc-aio"])
def test_a_failing_token_function_keeps_no_request_memory(style):
    def token():
        raise OSError("the token service is down")

    large = {"x": np.zeros(1 << 16, np.float32)}
    with calling(style, "localhost:1", model=MODEL, timeout=20, token=token) as client:
        for _ in range(3):
            with pytest.raises(OSError, match="service is down"):
                client.predict(large)
        memory = getattr(client, "client", client)._performer.transport._buffers
        assert not memory._lent
        assert len(memory._spare) == 1


def test_a_function_gives_a_new_token_for_every_call(style):
    tokens = iter(["unused over gRPC", "one", "two"] if style.startswith("rest") else ["one", "two"])
    with (
        serving(style) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, token=lambda: next(tokens)) as client,
    ):
        client.predict(X)  # over REST the first token goes with the question for the signatures
        client.predict(X)
    assert [call.metadata["authorization"] for call in server.calls] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("style", ["grpc-aio", "rest-aio"])
def test_asyncio_clients_await_a_coroutine_function(style):
    async def token():
        await asyncio.sleep(0)
        return "right"

    with (
        serving(style, knowing("right")) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, token=token) as client,
    ):
        assert client.predict(X).array.tolist() == [2]


def test_the_authorization_of_a_call_replaces_the_token(style):
    with (
        serving(style, knowing("right")) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, token="wrong") as client,
    ):
        assert client.predict(X, metadata={"authorization": "Bearer right"}).array.tolist() == [2]


@pytest.mark.parametrize("token", ["", "new\nline", "späte", b"bytes", 7], ids=repr)
def test_invalid_tokens_are_refused(style, token):
    with pytest.raises(ConfigError, match="token"), calling(style, target_of(style, 9), model=MODEL, token=token):
        pass


@pytest.mark.parametrize("token", [None, 7, "new\nline", "späte"], ids=repr)
def test_an_invalid_token_from_a_function_is_refused(style, token):
    with (
        serving(style) as server,
        calling(style, target_of(style, server.port), model=MODEL, timeout=20, token=lambda: token) as client,
        pytest.raises(TFServingError),
    ):
        client.predict(X)
