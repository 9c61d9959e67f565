"""Tracebacks of errors that calls raise: the caller's lines and the client's method, and nothing below them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import pickle
import sys
import threading
import traceback
import weakref

import grpc
import httpx
import numpy as np
import pytest
from calling import STYLES

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    EncodeError,
    MicroBatcher,
    PredictClient,
    ResourceExhaustedError,
    RetryPolicy,
    Signature,
    SignatureError,
    Signatures,
    TensorSpec,
    TFServingError,
    UnavailableError,
)
from tfs_client.testing import FakeServer, faults

VECTOR = TensorSpec("float32", (None,))
X = {"x": np.ones(2, np.float32)}
NOWHERE = {"grpc": "127.0.0.1:1", "rest": "http://127.0.0.1:1"}
SIGNATURES = Signatures({"serving_default": Signature({"x": VECTOR}, {"y": VECTOR})}, model="m", version=None)
NO_WAIT = RetryPolicy(attempts=2, initial_backoff=0.005, wait_for_ready=False)
OLD = sys.version_info < (3, 11)  # the frame that raises again is part of the traceback


def raised(style, call="predict", handled=None, **options):
    """The error of a call to a server that is not there, made while an exception is handled."""
    target = NOWHERE[style.partition("-")[0]]
    options = {"model": "m", "timeout": 20, "retry": None, **options}

    async def awaited():
        async with AsyncPredictClient(target, **options) as client:
            if handled is None:
                return await made_aio(client)
            try:
                raise handled
            except Exception:
                return await made_aio(client)

    async def made_aio(client):
        if call == "predict_many":
            return [result async for result in client.predict_many([X])]
        return await (client.status() if call == "status" else getattr(client, call)(X))

    def called():
        with PredictClient(target, **options) as client:
            if handled is None:
                return made(client)
            try:
                raise handled
            except Exception:
                return made(client)

    def made(client):
        if call == "predict_many":
            return list(client.predict_many([X]))
        if style.endswith("futures"):
            return client.predict_future(X).result(20)
        return client.status() if call == "status" else getattr(client, call)(X)

    with pytest.raises((TFServingError, Refused)) as caught:
        asyncio.run(awaited()) if style.endswith("aio") else called()
    return caught.value


def ours(error):
    """The functions of this package in the error's traceback."""
    frames = traceback.walk_tb(error.__traceback__)
    return [
        frame.f_code.co_name for frame, _ in frames if frame.f_globals.get("__name__", "").startswith("tfs_client.")
    ]


def expected(method, *, decorated=True):
    """The functions of this package that the traceback of a method has; Python 3.10 keeps a decorator's frame."""
    return ["shortened", method] if OLD and decorated else [method]


@pytest.mark.parametrize("retry", [None, NO_WAIT], ids=["once", "retried"])
@pytest.mark.parametrize("style", STYLES)
def test_a_failed_prediction_shows_the_method_alone(style, retry):
    error = raised(style, retry=retry)

    assert isinstance(error, UnavailableError)
    if style.endswith("futures"):
        assert ours(error) == (["result"] if OLD else [])
    else:
        assert ours(error) == expected("predict", decorated=False)
    text = "".join(traceback.format_exception(error))
    assert error.hint in text
    assert not any(name in text for name in ("grpc/", "httpx", "httpcore", "direct cause", "During handling"))


@pytest.mark.parametrize("call", ["status", "predict_batched", "predict_many"])
@pytest.mark.parametrize("style", ["grpc", "grpc-aio", "rest", "rest-aio"])
def test_other_calls_do_as_well(style, call):
    error = raised(style, call)

    found = ours(error)
    if call == "predict_many":  # an iterator: the caller's own line asks for the result
        assert found == (["_many"] if OLD else [])
    else:
        assert found == expected(call)


@pytest.mark.parametrize(
    ("style", "kind"),
    [
        ("grpc", grpc.RpcError),
        ("grpc-aio", grpc.RpcError),
        ("rest", httpx.ConnectError),
        ("rest-futures", httpx.ConnectError),
        ("rest-aio", httpx.ConnectError),
    ],
)
def test_the_exception_below_stays_reachable(style, kind):
    error = raised(style)

    assert isinstance(error.transport_error, kind)
    assert error.__cause__ is error.__context__ is None
    assert pickle.loads(pickle.dumps(error)).transport_error is None


def test_the_errors_of_single_rows_keep_it_too():
    with PredictClient(NOWHERE["rest"], model="m", retry=None) as client:
        (error,) = client.predict_many([X], on_error="return")

    assert isinstance(error.transport_error, httpx.ConnectError)
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("style", STYLES)
def test_the_error_of_the_last_attempt_stays_the_cause(style):
    error = raised(style, retry=RetryPolicy(initial_backoff=0.01), timeout=0.3)

    assert isinstance(error, DeadlineExceededError)
    assert isinstance(error.__cause__, (UnavailableError, DeadlineExceededError))  # the last attempt may have no time
    assert error.__cause__.unreached
    assert not ours(error.__cause__)
    assert "grpc/" not in "".join(traceback.format_exception(error))


def test_a_refusal_stays_the_cause_of_a_late_row():
    with FakeServer() as server:
        server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
        server.faults.add(faults.Busy("threads"))
        with (
            PredictClient(server.target, model="m") as client,
            MicroBatcher(client) as batcher,
            pytest.raises(DeadlineExceededError, match="last refused with") as caught,
        ):
            batcher.predict(X, timeout=0.1)
    assert isinstance(caught.value.__cause__, ResourceExhaustedError)


def test_a_closed_client_shows_the_method_alone():
    client = PredictClient(NOWHERE["grpc"], model="m")
    client.close()

    for call in (client.predict, client.predict_future):
        with pytest.raises(ClosedError) as caught:
            call(X)
        assert ours(caught.value) == expected(call.__name__, decorated=call != client.predict)


@pytest.mark.parametrize("style", ["grpc-futures", "rest-futures"])
def test_an_error_that_is_raised_again_has_the_same_length(style):
    target = NOWHERE[style.partition("-")[0]]
    lengths = set()
    with PredictClient(target, model="m", retry=None) as client:
        future = client.predict_future(X)
        for _ in range(3):
            with pytest.raises(UnavailableError) as caught:
                future.result(20)
            lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))

    assert lengths == {1 + OLD}


def test_an_error_that_threads_share_can_be_raised_by_all_of_them_at_once():
    with PredictClient(NOWHERE["grpc"], model="m", retry=None) as client:
        future = client.predict_future(X)
        found = []

        def wait():
            for _ in range(200):
                with pytest.raises(UnavailableError) as caught:
                    future.result(20)
                found.append(len(traceback.extract_tb(caught.value.__traceback__)))

        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(found) == 800


def test_callers_of_a_batcher_have_short_tracebacks():
    with PredictClient(NOWHERE["grpc"], model="m", retry=None) as client, MicroBatcher(client) as batcher:
        with pytest.raises(UnavailableError) as caught:
            batcher.predict(X)
        assert ours(caught.value) == expected("predict")


RAGGED = {"x": [[1.0], [1.0, 2.0]]}
UNFIT = {
    "predict: timeout": lambda client: client.predict(X, timeout=-1),
    "predict: version and label": lambda client: client.predict(X, version=1, label="stable"),
    "predict: request_id": lambda client: client.predict(X, request_id=5),
    "predict: outputs": lambda client: client.predict(X, outputs=5),
    "predict: inputs": lambda client: client.predict(RAGGED),
    "predict_batched: inputs": lambda client: client.predict_batched(RAGGED),
    "predict_batched: batch_size": lambda client: client.predict_batched(X, batch_size=0),
    "predict_batched: timeout": lambda client: client.predict_batched(X, timeout=-1),
    "predict_many: on_error": lambda client: client.predict_many([X], on_error="?"),
    "predict_many: examples": lambda client: client.predict_many(5),
    "predict_many: timeout": lambda client: client.predict_many([X], timeout=-1),
    "classify: timeout": lambda client: client.classify([{"a": 1}], timeout=-1),
    "multi_inference: tasks": lambda client: client.multi_inference([{"a": 1}], tasks={"a": "guess"}),
    "wait_until_ready: timeout": lambda client: client.wait_until_ready(-1),
    "health: timeout": lambda client: client.health(timeout=-1),
    "with_options: timeout": lambda client: client.with_options(timeout=-1),
}


@pytest.mark.parametrize("call", UNFIT)
@pytest.mark.parametrize("kind", [PredictClient, AsyncPredictClient])
def test_errors_of_inputs_and_options_show_the_method_alone(kind, call):
    method = call.partition(":")[0]
    client = kind(NOWHERE["grpc"], model="m", retry=None)

    async def awaited():
        async with client:
            found = UNFIT[call](client)
            return await found if inspect.isawaitable(found) else found

    def called():
        with client:
            return UNFIT[call](client)

    with pytest.raises((EncodeError, ConfigError)) as caught:
        asyncio.run(awaited()) if kind is AsyncPredictClient else called()
    assert ours(caught.value) == expected(method, decorated=method != "predict")


@pytest.mark.parametrize("kind", [PredictClient, AsyncPredictClient])
@pytest.mark.parametrize("target", [None, "no port", "grpc://h:1"])
def test_errors_of_constructors_show_the_constructor_alone(kind, target, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("TFS_SERVER", raising=False)
    with pytest.raises(ConfigError) as caught:
        kind(target, timeout=-1)
    assert ours(caught.value) == expected("__init__")


def test_batchers_show_their_methods_alone():
    def error_of(function, *args, **options):
        with pytest.raises((EncodeError, ConfigError, ClosedError)) as caught:
            function(*args, **options)
        return caught.value

    with PredictClient(NOWHERE["grpc"], model="m") as client, MicroBatcher(client) as batcher:
        for method in ("predict", "submit"):
            for options in ({"example": {"x": [[1.0], None]}}, {"example": X, "timeout": -1}):
                assert ours(error_of(getattr(batcher, method), **options)) == expected(method)
        assert ours(error_of(MicroBatcher, client, max_batch_size=0)) == expected("__init__")
        assert ours(error_of(MicroBatcher, client, timeout=-1)) == expected("__init__")
        assert ours(error_of(AsyncMicroBatcher, client)) == expected("__init__")

    async def awaited():
        client = AsyncPredictClient(NOWHERE["rest"], model="m", retry=None)
        async with client, AsyncMicroBatcher(client) as batcher:
            with pytest.raises(EncodeError) as unfit:
                await batcher.predict({"x": [[1.0], None]})
            with pytest.raises(UnavailableError) as failed:
                await batcher.predict(X)
        return unfit.value, failed.value

    for error in asyncio.run(awaited()):
        assert ours(error) == expected("predict")


def test_methods_look_like_what_they_decorate():
    assert str(inspect.signature(PredictClient)).startswith("(target: ")
    assert inspect.signature(PredictClient.status).parameters["model"].kind is inspect.Parameter.KEYWORD_ONLY
    for method in ("predict", "status", "close"):
        assert inspect.iscoroutinefunction(getattr(AsyncPredictClient, method))
        assert not inspect.iscoroutinefunction(getattr(PredictClient, method))


@pytest.mark.parametrize("call", ["predict", "status", "predict_batched", "predict_many"])
@pytest.mark.parametrize("style", STYLES)
def test_an_exception_that_the_caller_handles_is_shown(style, call):
    if style.endswith("futures") and call != "predict":
        pytest.skip("only predictions have futures")
    error = raised(style, call, handled=OSError("the disk is full"))

    assert isinstance(error.__context__, OSError)
    text = "".join(traceback.format_exception(error))
    assert "the disk is full" in text
    assert text.index("the disk is full") < text.index("During handling") < text.index(error.details)
    assert not any(name in text for name in ("grpc/", "httpx", "httpcore", "direct cause"))
    assert error.transport_error is not None or style == "grpc-futures" or "grpc-predict_" in f"{style}-{call}"
    assert "disk" not in str(error)  # it is not why the call failed


@pytest.mark.parametrize("style", STYLES)
def test_what_the_caller_handles_keeps_its_own_chain(style):
    handled = OSError("outer")
    handled.__cause__ = KeyError("inner")
    error = raised(style, handled=handled, retry=NO_WAIT)

    assert error.__context__ is handled
    assert isinstance(handled.__cause__, KeyError)


@pytest.mark.parametrize("inputs", [{"x": object()}, {"zzz": X["x"]}, RAGGED], ids=["object", "name", "ragged"])
def test_errors_of_inputs_show_what_the_caller_handles(inputs):
    with PredictClient(NOWHERE["grpc"], model="m", signatures=SIGNATURES, validate=True) as client:
        try:
            raise KeyError("of the caller")
        except KeyError:
            with pytest.raises((EncodeError, SignatureError)) as caught:
                client.predict(inputs)

    assert "KeyError: 'of the caller'" in "".join(traceback.format_exception(caught.value))


def test_what_a_called_function_hides_stays_hidden():
    class Broken:
        def __array__(self, *args, **options):
            raise ValueError("not now")

    with PredictClient(NOWHERE["grpc"], model="m") as client, pytest.raises(EncodeError) as caught:
        client.predict({"x": Broken()})

    assert isinstance(caught.value.__cause__, ValueError)
    assert "in __array__" in "".join(traceback.format_exception(caught.value))


def test_a_future_forgets_what_an_earlier_caller_handled():
    with PredictClient(NOWHERE["grpc"], model="m", retry=None) as client:
        future = client.predict_future(X)
        try:
            raise KeyError("of the first caller")
        except KeyError:
            with pytest.raises(UnavailableError) as first:
                future.result(20)
            assert isinstance(first.value.__context__, KeyError)
        with pytest.raises(UnavailableError) as second:
            future.result(20)
        assert second.value.__context__ is None


class Refused(Exception):
    """An error of the user's."""


@pytest.mark.parametrize("kind", [Refused, ClosedError], ids=["own class", "class of this package"])
@pytest.mark.parametrize("style", STYLES)
def test_errors_of_token_functions_keep_their_frames(style, kind):
    def fetch():
        raise kind("no token")

    error = raised(style, token=fetch)

    assert type(error) is kind
    assert "fetch" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("style", ["rest", "rest-futures"])
def test_an_interceptor_that_raises_is_shown(style):
    def intercept(request):
        raise httpx.ConnectError("not today")

    error = raised(style, interceptors=[intercept])

    assert "in intercept" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("style", ["grpc", "rest-aio"])
def test_errors_of_sources_keep_their_frames(style):
    def source():
        raise ClosedError("the file was closed")
        yield

    def called():
        with PredictClient(NOWHERE["grpc"], model="m") as client:
            list(client.predict_many(source()))

    async def awaited():
        async with AsyncPredictClient(NOWHERE["rest"], model="m") as client:
            async for _ in client.predict_many(source()):
                pass

    with pytest.raises(ClosedError) as caught:
        asyncio.run(awaited()) if style.endswith("aio") else called()

    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "source"


@pytest.mark.parametrize("style", ["grpc", "grpc-aio", "rest", "rest-aio"])
def test_logging_changes_no_traceback(style, caplog):
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "tfs_client.calls"):
        error = raised(style)

    assert "call" not in ours(error)
    assert error.__cause__ is None


@pytest.mark.parametrize("style", ["grpc", "grpc-aio", "rest", "rest-aio"])
def test_the_logger_of_tracebacks_leaves_everything(style, caplog):
    with caplog.at_level(logging.DEBUG, "tfs_client.tracebacks"):
        error = raised(style)

    assert "call" in ours(error)  # the transport
    assert "direct cause" in "".join(traceback.format_exception(error))


def test_a_caller_that_drops_its_error_leaves_no_cycle():
    gc.collect()
    gc.disable()
    try:
        with PredictClient(NOWHERE["grpc"], model="m", retry=NO_WAIT) as client:
            for call in (client.predict, lambda inputs: client.predict_future(inputs).result(20)):
                try:
                    call(X)
                except UnavailableError as error:
                    there = weakref.ref(error)
                assert there() is None
    finally:
        gc.enable()
