"""retry=, token= and request_id= of single calls."""

from __future__ import annotations

import asyncio
import contextlib
import inspect

import numpy as np
import pytest
from calling import STYLES, calling
from retrying import PATIENT, QUICK, X, client_of, failing
from scripted import serving

from tfs_client import (
    AsyncPredictClient,
    CallError,
    ConfigError,
    ModelServerConfig,
    NotFoundError,
    PredictClient,
    RetryPolicy,
    TensorSpec,
    UnavailableError,
)
from tfs_client._flows.retries import MOST_BUDGETS, Retries
from tfs_client.telemetry.records import CallStarted
from tfs_client.testing import FakeServer

NAMED = {"x": np.float32([1])}
VECTOR = TensorSpec("float32", (None,))


@pytest.fixture(scope="module")
def running():
    with FakeServer() as server:
        yield server.add_model("m", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})


@pytest.fixture
def server(running):
    running.clear_calls()
    return running


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.mark.parametrize("inputs", [NAMED, X], ids=["named", "typed"])
def test_a_call_has_its_own_retries(style, inputs):
    with serving(style, failing(2)) as server, client_of(style, server, None) as client:
        assert client.predict(inputs, retry=QUICK).array.tolist() == [2]
    with serving(style, failing(9)) as server, client_of(style, server, PATIENT) as client:
        with pytest.raises(UnavailableError) as caught:
            client.predict(inputs, retry=None)
        assert (caught.value.attempts, len(server.calls)) == (1, 1)
        with pytest.raises(UnavailableError) as caught:
            client.predict(inputs, retry=RetryPolicy(attempts=2, initial_backoff=0.005))
        assert (caught.value.attempts, len(server.calls)) == (2, 3)


def test_a_batch_has_its_own_retries(style):
    with serving(style, failing(2)) as server, client_of(style, server, None) as client:
        assert client.predict_batched(NAMED, retry=QUICK).array.tolist() == [2]
    assert len(server.calls) == 3


def test_a_call_has_its_own_token(style, server):
    with calling(style, server, model="m", timeout=20, token="client's") as client:
        for token in ("call's", lambda: "function's", None):
            client.predict(NAMED, token=token)
        client.predict(NAMED)
        with pytest.raises(ConfigError, match="expected a token as printable ASCII text") as caught:
            client.predict(NAMED, token=lambda: "secret\n")
        assert "secret" not in str(caught.value)
    sent = [call.metadata.get("authorization") for call in server.calls]
    assert sent == ["Bearer call's", "Bearer function's", None, "Bearer client's"]


def test_a_coroutine_function_gives_the_token_of_a_call(server):
    async def token():
        return "awaited"

    async def main():
        async with AsyncPredictClient(server.target, model="m", timeout=20) as client:
            await client.predict(NAMED, token=token)

    asyncio.run(main())
    assert server.calls[-1].metadata["authorization"] == "Bearer awaited"


def test_a_call_has_its_own_request_id(style, server):
    with calling(style, server, model="m", timeout=20, request_id=lambda: "client's") as client:
        for request_id in ("call's", lambda: "function's", True, False):
            client.predict(NAMED, request_id=request_id)
        with pytest.raises(NotFoundError) as caught:
            client.predict(NAMED, version=9, request_id="failed")
        assert caught.value.request_id == "failed"
        client.predict(NAMED)
        client.predict(NAMED, metadata={"x-request-id": "metadata's"})
    ids = [call.metadata.get("x-request-id") for call in server.calls]
    assert ids[:2] == ["call's", "function's"]
    assert len(ids[2]) == 32
    assert [one for one in ids[3:] if one != "failed"] == [None, "client's", "metadata's"]


CALLS = {
    "empty": (),  # the first, because later the signature that it looks up is known
    "predict": (X,),
    "predict_future": (X,),
    "predict_batched": (X,),
    "predict_many": ([X],),
    "classify": ([{"x": 1.0}],),
    "regress": ([{"x": 1.0}],),
    "multi_inference": ([{"x": 1.0}],),
    "signatures": (),
    "status": (),
    "is_ready": (),
    "wait_until_ready": (),
    "reload_config": (ModelServerConfig(),),
    "models": (),
    "current_config": (),
    "health": (),
}


def test_every_call_takes_them(server):
    started = []
    with PredictClient(server.target, model="m", timeout=20, hooks=started.append) as client:
        methods = {name for name, _ in inspect.getmembers(client, inspect.ismethod) if not name.startswith("_")}
        assert methods - set(CALLS) == {"close", "with_options"}
        for name, arguments in CALLS.items():
            started.clear()
            more = {"multi_inference": {"tasks": {"a": "classify"}}, "empty": {"rows": 1}}.get(name, {})
            call = getattr(client, name)

            def perform(call=call, arguments=arguments, more=more, **options):
                result = call(*arguments, **more, **options)
                return list(result) if inspect.isgenerator(result) else result

            wrong = {"retry": 1, "token": "a\nb", "request_id": ""}
            if name == "wait_until_ready":
                with pytest.raises(TypeError, match="retry"):
                    perform(retry=wrong.pop("retry"))
            for option, value in wrong.items():
                with pytest.raises(ConfigError):
                    perform(**{option: value})
            assert started == []
            with contextlib.suppress(CallError):  # the server does not have all of them
                result = perform(token="t", request_id=name)
                if name == "predict_future":
                    result.result(20)
            ids = {record.request_id for record in started if isinstance(record, CallStarted)}
            assert ids == {name}, name


def test_the_options_of_batches_are_checked_at_once(server):
    with PredictClient(server.target, model="m") as client:
        for option, value in {"retry": 1, "token": "a\nb", "request_id": ""}.items():
            with pytest.raises(ConfigError):
                client.predict_many([], **{option: value})


def test_few_budgets_are_kept():
    retries = Retries()
    kept = RetryPolicy(budget=7)
    first = retries.budget(kept)
    lost = retries.budget(RetryPolicy(budget=8))
    for number in range(MOST_BUDGETS):
        retries.budget(RetryPolicy(initial_backoff=0.01 + number / 1000))
        assert retries.budget(RetryPolicy(budget=7)) is first
    assert len(retries._budgets) == MOST_BUDGETS
    assert retries.budget(RetryPolicy(budget=8)) is not lost
