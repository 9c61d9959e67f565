"""Faults of a fake server: every one over every way of calling, as the client sees it, and which calls have it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from calling import PAGE_ERROR, PAGE_TEXT, REST, STYLES, at_once, calling, target_of
from google.protobuf.message import DecodeError as ProtobufDecodeError

from tfs_client import (
    AbortedError,
    AsyncMicroBatcher,
    AsyncPredictClient,
    CallError,
    ConfigError,
    DeadlineExceededError,
    DecodeError,
    InternalError,
    MicroBatcher,
    NotFoundError,
    PredictClient,
    ResourceExhaustedError,
    RetryPolicy,
    TensorSpec,
    TFServingError,
    UnavailableError,
)
from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from tfs_client.server.embedded import MODELS
from tfs_client.testing import FakeServer, faults
from tfs_client.testing.faults.broken_replies import garbage, truncated

VECTOR = TensorSpec("float32", (None,))
SPECS: dict[str, Any] = {"inputs": {"x": VECTOR}, "outputs": {"y": VECTOR}}
QUICK = RetryPolicy(initial_backoff=0.005, max_backoff=0.005)
LIMIT = 20  # seconds within which a fault is seen on a loaded machine
LATE = "Timed out waiting for notification"
QUEUE = "The batch scheduling queue to which this task was submitted is full; "

BUSY = {
    "threads": (ResourceExhaustedError, "Server Threadpool Exhausted"),
    "no details": (ResourceExhaustedError, ""),
    "queue": (UnavailableError, f"{QUEUE}currently 64 batches enqueued and max_enqueued_batches is 64"),
    "split queue": (UnavailableError, f"{QUEUE}task size is 1 but scheduling capacity is only 0 "),
    "queue timeout": (ResourceExhaustedError, "Run() timeout exceeded while waiting in batching queue"),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeServer]:
    with FakeServer() as server:
        for style in STYLES:
            server.add_model(style, lambda x: 2 * x, **SPECS)
        yield server


@pytest.fixture
def server(shared: FakeServer) -> Iterator[FakeServer]:
    shared.clear_calls()
    yield shared
    shared.faults.clear()


def add_double(server: FakeServer, version: int = 1, factor: float = 2.0) -> FakeServer:
    return server.add_model("m", lambda x: factor * x, version=version, **SPECS)


def raised_by(client: Any, kind: type[TFServingError]) -> str:
    with pytest.raises(kind) as caught:
        client.predict([1.0], timeout=LIMIT)
    assert type(caught.value) is kind
    return caught.value.details if isinstance(caught.value, CallError) else str(caught.value)


def codes(server: FakeServer, model: str) -> list[str]:
    """The codes of a model's calls, in the order of their arrival."""
    calls = sorted(server.calls, key=lambda call: call.began)
    return [call.code.name for call in calls if call.model == model]


# --- every fault, over every way of calling --------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_each_refusal_is_seen_as_its_error_and_the_next_call_succeeds(server, style):
    refusals = [(faults.Status("ABORTED", "conflict"), AbortedError, "conflict")]
    refusals += [(faults.Busy(form), kind, text) for form, (kind, text) in BUSY.items()]
    refusals += [(faults.QueueFull(7), UnavailableError, f"{QUEUE}currently 7 batches enqueued and max_")]
    with calling(style, server, model=style) as client:
        for fault, kind, text in refusals:
            server.clear_calls()
            added = server.faults.add(fault, model=style, times=1)
            assert raised_by(client, kind).startswith(text)
            assert client.predict([1.0]).array.tolist() == [2]
            assert added.used == 1
            assert codes(server, style) == [kind.CODE.name, "OK"]


@pytest.mark.parametrize("style", STYLES)
def test_each_broken_reply_is_seen_as_its_error_and_the_next_call_succeeds(server, style):
    rest = style in REST
    broken = [
        (faults.GarbageReply(), DecodeError, "the reply of Predict", "OK"),
        (faults.OversizedReply(5000), ResourceExhaustedError, "more than 4000 bytes" if rest else "larger than", "OK"),
        (faults.ConnectionReset(), UnavailableError, "reset", "CANCELLED"),
        (faults.ConnectionReset(after_bytes=20), UnavailableError, "reset", "OK"),
        (faults.VersionVanishes(), NotFoundError, f"Servable not found for request: Latest({style})", "NOT_FOUND"),
    ]
    if rest:
        broken += [(faults.TruncatedReply(), UnavailableError, "without sending complete message body", "OK")]
        broken += [(faults.HtmlErrorPage(), UnavailableError, "HTTP 502 Bad Gateway", "UNAVAILABLE")]
    else:
        broken += [(faults.TruncatedReply(), DecodeError, "the reply of Predict", "OK")]
        broken += [(faults.HtmlErrorPage(), PAGE_ERROR, PAGE_TEXT.format(502), "CANCELLED")]
    for fault, kind, text, code in broken:
        server.clear_calls()
        added = server.faults.add(fault, model=style, times=1)
        with calling(style, server, model=style, max_reply_bytes=4000) as client:
            assert text in raised_by(client, kind)
        if isinstance(fault, faults.VersionVanishes):
            server.add_model(style, lambda x: 2 * x, **SPECS)
        # Another client: gRPC may use a connection that has just broken for one more call.
        with calling(style, server, model=style, timeout=LIMIT) as client:
            assert client.predict([1.0]).array.tolist() == [2]
        assert added.used == 1
        assert codes(server, style) == [code, "OK"]


@at_once(*STYLES)
def test_a_server_that_does_not_answer_in_time_is_seen_at_the_deadline(style, server):
    with calling(style, server, model=style, timeout=0.2) as client:
        for fault in (faults.DeadlineOverrun(), faults.Latency(3600), faults.SlowReply(1)):
            server.faults.add(fault, model=style, times=1)
            began = time.monotonic()
            with pytest.raises(DeadlineExceededError):
                client.predict({"x": [1.0]})
            assert 0.19 < time.monotonic() - began < LIMIT
    expected = "CANCELLED" if style in REST else "DEADLINE_EXCEEDED"  # REST has no deadlines
    assert codes(server, style) == [expected, expected, "OK"]
    assert style in REST or LATE in [call.details for call in server.calls if call.model == style]


@pytest.mark.parametrize("style", STYLES)
def test_short_latencies_slow_replies_and_padding_that_fits_do_not_fail_the_call(server, style):
    server.faults.add(faults.Latency(0.02), model=style)
    server.faults.add(faults.Latency.uniform(0.01, 0.02), model=style)
    server.faults.add(faults.SlowReply(100_000), model=style)
    server.faults.add(faults.OversizedReply(2000), model=style)
    with calling(style, server, model=style) as client:
        began = time.monotonic()
        assert client.predict([1.0]).array.tolist() == [2]
        assert time.monotonic() - began > 0.03
    (call,) = server.calls
    assert call.seconds > 0.03


@pytest.mark.parametrize("style", STYLES)
def test_a_client_with_retries_survives_what_passes(server, style):
    passing = [*map(faults.Busy, BUSY), faults.ConnectionReset(), faults.ConnectionReset(20)]
    passing += [faults.HtmlErrorPage(502), faults.HtmlErrorPage(503)]
    passing += [faults.TruncatedReply()] if style in REST else []
    with calling(style, server, model=style, retry=QUICK, timeout=LIMIT) as client:
        for fault in passing:
            server.clear_calls()
            server.faults.add(fault, model=style, times=1)
            assert client.predict([1.0]).array.tolist() == [2], fault
            assert len(codes(server, style)) == 2, fault
            assert codes(server, style)[-1] == "OK"
        for fault in (faults.GarbageReply(), faults.Status("INTERNAL", "broken"), faults.Status("NOT_FOUND")):
            server.clear_calls()
            server.faults.add(fault, model=style, times=1)
            with pytest.raises(TFServingError):
                client.predict([1.0])
            assert len(codes(server, style)) == 1, fault


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_batches_are_sent_again_when_the_server_is_busy_and_fail_with_its_error(server, transport):
    with PredictClient(target_of(transport, server), model=transport, timeout=LIMIT, retry=QUICK) as client:
        with MicroBatcher(client, max_delay=0.001) as batcher:
            server.faults.add(faults.Busy("queue"), model=transport, times=2)
            assert batcher.predict({"x": 1.0})["y"] == 2
            assert codes(server, transport) == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
            server.faults.add(faults.Status("INTERNAL", "broken"), model=transport)
            with pytest.raises(InternalError, match="broken"):
                batcher.predict({"x": 1.0})
        server.faults.clear()
        server.faults.sequence([faults.Busy(), faults.ConnectionReset()], model=transport)
        inputs = {"x": [float(number) for number in range(10)]}
        assert client.predict_batched(inputs, batch_size=5)["y"].tolist() == [2.0 * x for x in inputs["x"]]
        server.faults.add(faults.Busy("threads"), model=transport, times=2)
        rows = [prediction["y"] for prediction in client.predict_many([{"x": 1.0}, {"x": 2.0}])]
        assert rows == [2, 4]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_asyncio_batcher_sends_again_when_the_server_is_busy(server, transport):
    async def run() -> float:
        async with (
            AsyncPredictClient(target_of(transport, server), model=transport, timeout=LIMIT, retry=QUICK) as client,
            AsyncMicroBatcher(client, max_delay=0.001) as batcher,
        ):
            return float((await batcher.predict({"x": 1.0}))["y"])

    server.faults.add(faults.Busy("no details"), model=transport, times=2)
    assert asyncio.run(run()) == 2
    assert codes(server, transport) == ["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "OK"]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_every_method_can_have_faults_and_lookups_only_by_name(transport):
    with FakeServer() as server, PredictClient(target_of(transport, server), model="h", timeout=LIMIT) as client:
        server.server.add_model("h", MODELS["half_plus_two"]())
        calls = {
            "Predict": lambda: client.predict({"x": [1.0]}),
            "Classify": lambda: client.classify([{"x": 1.0}], signature="classify_x_to_y"),
            "Regress": lambda: client.regress([{"x": 1.0}], signature="regress_x_to_y"),
            "MultiInference": lambda: client.multi_inference([{"x": 1.0}], tasks={"regress_x_to_y": "regress"}),
            "GetModelMetadata": lambda: client.signatures(),
            "GetModelStatus": lambda: client.status(),
        }
        if transport == "rest":
            del calls["MultiInference"]
        every = server.faults.add(faults.Status("ABORTED", "any"))
        for method, call in calls.items():
            if method.startswith("Get"):
                call()
            else:
                with pytest.raises(AbortedError, match=f"^{method}: ABORTED: any"):
                    call()
        assert every.used == len(calls) - 2
        every.remove()
        for method, call in calls.items():
            with server.faults.add(faults.Status("ABORTED", "one"), method=method) as named:
                with pytest.raises(AbortedError, match=f"^{method}: ABORTED: one"):
                    call()
                others = [other for name, other in calls.items() if name != method and not name.startswith("Get")]
                for other in others:
                    other()
            assert named.used == 1


# --- which calls have a fault ----------------------------------------------------------------------------------------


def outcomes(client: PredictClient, count: int, **options: Any) -> str:
    """A letter for each of several calls: "." for success, else the first letter of the code."""
    found = ""
    for _ in range(count):
        try:
            client.predict({"x": [1.0]}, **options)
            found += "."
        except CallError as error:
            found += error.code.name[0]
    return found


@pytest.fixture
def client(server: FakeServer) -> Iterator[PredictClient]:
    with PredictClient(server.target, model="grpc", timeout=LIMIT) as client:
        yield client


def test_times_count_matching_calls_and_several_faults_follow_each_other(server, client):
    first = server.faults.add(faults.Status("ABORTED"), times=2)
    second = server.faults.add(faults.Status("INTERNAL"), model="grpc", times=1)
    assert server.faults.active == server.faults.unused() == (first, second)
    assert outcomes(client, 4) == "AAI."
    assert (first.used, second.used) == (2, 1)
    assert server.faults.active == server.faults.unused() == ()


def test_a_fault_without_times_lasts_until_it_is_removed(server, client):
    with server.faults.add(faults.Status("ABORTED")) as added:
        assert outcomes(client, 3) == "AAA"
        assert server.faults.unused() == ()
    added.remove()
    assert outcomes(client, 1) == "."
    server.faults.add(faults.Status("ABORTED"), times=5)
    server.faults.clear()
    assert outcomes(client, 1) == "."
    assert server.faults.unused() == ()


def test_a_share_of_calls_is_the_same_in_every_run_whatever_other_faults_do(server, client):
    runs = []
    for others in (False, True):
        if others:
            server.faults.add(faults.Latency.uniform(0, 0.001))
        added = server.faults.add(faults.Status("ABORTED"), share=0.4, seed=3)
        runs.append(outcomes(client, 40))
        assert added.used == runs[-1].count("A")
        server.faults.clear()
    assert runs[0] == runs[1]
    assert 8 <= runs[0].count("A") <= 24
    server.faults.add(faults.Status("ABORTED"), share=0.4, seed=4)
    assert outcomes(client, 40) != runs[0]


def test_faults_select_by_model_signature_and_transport(server, client):
    server.add_model("grpc", lambda x: x, signature="other", **SPECS)
    with PredictClient(server.rest_url, model="grpc", timeout=LIMIT) as rest:
        for selection, expected in [
            ({"model": "rest"}, "..."),
            ({"signature": "serving_default"}, "A.A"),
            ({"signature": "other"}, ".A."),
            ({"transport": "rest"}, "..A"),
            ({"transport": "grpc", "model": "grpc", "method": "Predict"}, "AA."),
            ({"method": "Classify"}, "..."),
        ]:
            with server.faults.add(faults.Status("ABORTED"), **selection):
                found = outcomes(client, 1) + outcomes(client, 1, signature="other") + outcomes(rest, 1)
            assert found == expected, selection


@pytest.mark.parametrize("style", STYLES)
def test_a_fault_of_a_reply_waits_for_a_call_that_succeeds(server, style):
    replies = [faults.GarbageReply(), faults.TruncatedReply(), faults.ConnectionReset(20), faults.SlowReply(1e6)]
    for fault in [*replies, faults.OversizedReply(5000)]:
        added = server.faults.add(fault, model=style, times=1)
        played = server.faults.sequence([fault, faults.Pass()], model="other")
        with calling(style, server, model=style, max_reply_bytes=4000) as client:
            for options in ({"signature": "none"}, {"version": 9}, {"model": "other"}):
                with pytest.raises(CallError):
                    client.predict({"x": [1.0]}, **options)
            assert (added.used, played.used, added.unused, played.unused) == (0, 0, True, True), fault
            try:
                client.predict({"x": [1.0]})
            except TFServingError:
                assert not isinstance(fault, faults.SlowReply)
            else:
                assert isinstance(fault, faults.SlowReply)
        assert (added.used, added.spent) == (1, True), fault
        server.reset()


def test_a_step_that_a_failed_call_gives_back_is_for_the_next_call(server):
    entered, opened = threading.Event(), threading.Event()

    def fails(x: Any) -> Any:
        entered.set()
        assert opened.wait(LIMIT)
        raise AbortedError("no")

    server.add_model("fails", fails, **SPECS)
    server.faults.sequence([faults.GarbageReply(), faults.Status("INTERNAL")])
    with PredictClient(server.target, model="grpc", timeout=LIMIT) as client:
        future = client.predict_future({"x": [1.0]}, model="fails")
        assert entered.wait(LIMIT)
        assert outcomes(client, 2) == "I."  # the first step is the running call's
        opened.set()
        assert isinstance(future.exception(LIMIT), AbortedError)
        with pytest.raises(DecodeError):
            client.predict({"x": [1.0]})
        assert outcomes(client, 1) == "."
    server.remove_model("fails")


def test_removing_a_fault_ends_only_its_own_slowness(server):
    with PredictClient(server.target, model="grpc") as client:
        slow = server.faults.add(faults.SlowReply(1), times=1)
        other = server.faults.add(faults.Latency(0))
        future = client.predict_future({"x": [1.0]}, timeout=LIMIT)
        wait_until(lambda: slow.used == 1)
        other.remove()
        with pytest.raises(TimeoutError):
            future.result(0.05)
        slow.remove()
        assert future.result(LIMIT).array.tolist() == [2]


def wait_until(condition: Any) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_concurrent_calls_share_the_number_of_times(server):
    added = server.faults.add(faults.Busy(), times=10)
    with PredictClient(server.target, model="grpc", timeout=LIMIT) as client, ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: outcomes(client, 5), range(8))]
    assert "".join(found).count("R") == added.used == 10


def test_a_sequence_plays_its_steps_in_order(server, client):
    steps = [
        faults.Busy(),
        faults.Pass(times=2),
        faults.Repeat(faults.Status("ABORTED"), times=2),
        faults.Latency.lognormal(0.001, 0.5),
        faults.Status("INTERNAL"),
    ]
    added = server.faults.sequence(steps, model="grpc")
    assert outcomes(client, 5) == "R..AA"
    assert server.faults.unused() == (added,)
    assert repr(added).endswith("model='grpc'), used 5 of 7 calls")
    assert outcomes(client, 3) == ".I."
    assert server.faults.active == ()


def test_a_strict_server_complains_of_faults_that_no_call_has_had(server, client):
    server.reset()
    server.faults.add(faults.Busy(), times=2, model="grpc")
    server.faults.sequence([faults.Pass(), faults.Repeat(faults.QueueFull(), 2)], transport="grpc")
    assert outcomes(client, 1) == "R"
    with pytest.raises(AssertionError, match=r"unused faults \(2\)") as caught:
        server.check()
    assert "faults.add(Busy(form='threads'), model='grpc', times=2), used 1 of 2 times" in str(caught.value)
    assert "transport='grpc'), used 0 of 3 calls" in str(caught.value)
    assert outcomes(client, 4) == "R.UU"
    server.check()
    server.faults.add(faults.Busy(), times=2)
    held = server.states.loading("grpc", 1)
    server.reset()
    server.check()
    assert held.finished
    assert outcomes(client, 1) == "."


def test_a_strict_server_complains_of_faults_without_effect(server, client):
    server.reset()
    server.faults.add(faults.Busy(), model="grpcc")  # a slip of the pen
    server.faults.add(faults.Busy(), model="rest", share=0.5)
    with server.faults.add(faults.Busy(), times=3):
        assert outcomes(client, 2) == "RR"
    with server.faults.add(faults.Status("ABORTED")):
        assert outcomes(client, 1) == "A"
    with server.faults.add(faults.Busy(), times=1):
        assert outcomes(client, 1) == "R"
    with server.faults.sequence([faults.QueueFull()]) as removed:
        removed.remove()
    with pytest.raises(AssertionError) as caught:
        server.check()
    assert str(caught.value) == (
        "found unused faults (3)\n"
        "unused faults:\n"
        "  1. faults.add(Busy(form='threads'), times=3), used 2 of 3 times\n"
        "  2. faults.add(Busy(form='threads'), model='grpcc'), used 0 times\n"
        "  3. faults.add(Busy(form='threads'), model='rest', share=0.5), used 0 times"
    )
    with server.faults.add(faults.Busy()):
        server.faults.clear()
    server.check()
    with pytest.raises(AssertionError, match=r"used 0 of 1 call$"), server.faults.sequence([faults.QueueFull()]):
        server.check()
    server.reset()
    server.check()


def test_drawn_latencies_have_their_distribution():
    from random import Random

    random = Random(1)
    uniform = [faults.Latency.uniform(0.1, 0.3).drawn(random).seconds for _ in range(1000)]
    assert 0.1 <= min(uniform) < 0.12
    assert 0.28 < max(uniform) <= 0.3
    lognormal = sorted(faults.Latency.lognormal(0.1, 0.5).drawn(random).seconds for _ in range(1000))
    assert lognormal[500] == pytest.approx(0.1, rel=0.1)
    assert lognormal[990] == pytest.approx(0.32, rel=0.3)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_stopping_does_not_wait_for_pauses(transport):
    with FakeServer() as server, PredictClient(target_of(transport, add_double(server)), model="m") as client:
        added = server.faults.add(faults.Latency(3600))
        future = client.predict_future({"x": [1.0]}, timeout=None)
        while not added.used:
            time.sleep(0.001)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < LIMIT / 2
        with pytest.raises(UnavailableError, match="the server is stopping"):
            future.result(LIMIT)
        add_double(server.start(), version=2)
        assert added in server.faults.active


def test_an_error_page_has_the_given_text(server):
    server.faults.add(faults.HtmlErrorPage(503, page="<p>over and out</p>"), times=2, model="rest")
    for style in ("rest", "rest-aio"):
        with calling(style, server, model="rest") as client, pytest.raises(UnavailableError) as caught:
            client.predict([1.0])
        assert caught.value.http_status == 503
        assert "over and out" in caught.value.details


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda server: server.faults.add(faults.Pass()), r"expected a fault, got Pass\(times=1\), which is a step"),
        (lambda server: server.faults.add("busy"), r"expected a fault such as faults.Busy\(\), got 'busy'"),
        (lambda server: server.faults.add(faults.Busy(), times=0), "expected times as a whole number from 1"),
        (lambda server: server.faults.add(faults.Busy(), share=0), "expected a share above 0, got 0"),
        (lambda server: server.faults.add(faults.Busy(), share=1.5), "expected a share from 0 to 1, got 1.5"),
        (lambda server: server.faults.add(faults.Busy(), seed="x"), "expected the seed as an int, got 'x'"),
        (lambda server: server.faults.add(faults.Busy(), method="predict"), "expected a method: Predict, Classify"),
        (lambda server: server.faults.add(faults.Busy(), transport="http"), "expected the transport 'grpc' or 'rest'"),
        (lambda server: server.faults.add(faults.Busy(), method="GetModelStatus", signature="s"), "no signature"),
        (lambda server: server.faults.add(faults.Busy(), method="MultiInference", transport="rest"), "REST has no"),
        (lambda server: server.faults.sequence([]), "expected at least one step, got none"),
        (lambda server: server.faults.sequence(faults.Busy()), r"expected a list of steps, got Busy\(form='threads'\)"),
        (lambda server: server.faults.sequence("busy"), "expected a list of steps, got 'busy'"),
        (lambda server: server.faults.add(faults.Busy(), model=5), "expected the name of a model as a str, got 5"),
        (lambda server: server.faults.add(faults.Busy(), signature=5), "expected the name of a signature as a str"),
        (lambda server: faults.Status(True), "expected a status code such as 'UNAVAILABLE', got True"),
        (lambda server: faults.Status(1.0), "expected a status code such as 'UNAVAILABLE', got 1.0"),
        (lambda server: server.faults.sequence(["busy"]), r"expected a step such as faults.Busy\(\)"),
        (lambda server: faults.Repeat(faults.Pass(), 2), "expected a fault, got Pass"),
        (lambda server: faults.Latency(-1), "expected a latency in seconds from 0 to 3600, got -1"),
        (lambda server: faults.Latency.uniform(2, 1), "expected the greatest latency in seconds from 2 to 3600, got 1"),
        (lambda server: faults.Latency.lognormal(0, 1), "expected the median latency in seconds above 0, got 0"),
        (lambda server: faults.Busy("very"), "expected a form of busy: threads, no details, queue, split queue"),
        (lambda server: faults.Status("OK"), "expected the status code of an error, got OK"),
        (lambda server: faults.Status("BROKEN"), "expected a status code such as 'UNAVAILABLE', got 'BROKEN'"),
        (lambda server: faults.HtmlErrorPage(200), "expected an HTTP status as a whole number from 400 to 599"),
        (lambda server: faults.OversizedReply(0), "expected the size of a reply in bytes as a whole number"),
        (lambda server: faults.VersionFails("no"), r"expected the reason as a CallError, such as NotFoundError"),
    ],
)
def test_contradictory_arguments_are_refused(server, make, text):
    with pytest.raises(ConfigError, match=text):
        make(server)


def test_faults_of_connections_are_refused_without_a_relay():
    server = FakeServer(connection_faults=False)
    for fault, options in [
        (faults.ConnectionReset(), {}),
        (faults.SlowReply(5), {"transport": "rest"}),
        (faults.TruncatedReply(), {}),
        (faults.HtmlErrorPage(), {"transport": "grpc"}),
    ]:
        with pytest.raises(ConfigError, match=r"FakeServer\(connection_faults=True\), got False"):
            server.faults.add(fault, **options)
    server.faults.add(faults.TruncatedReply(), transport="grpc")
    server.faults.add(faults.HtmlErrorPage(), transport="rest")
    assert len(server.faults.active) == 2


# --- broken replies --------------------------------------------------------------------------------------------------


def test_a_truncated_message_is_never_a_message():
    for size in range(200):
        response = PredictResponse()
        response.model_spec.name = "m" * (size % 13)
        for alias in "abc"[: size % 4]:
            response.outputs[alias].float_val.extend([1.5] * (size % 11))
        broken = truncated(response.SerializeToString())
        assert broken
        with pytest.raises(ProtobufDecodeError):
            PredictResponse().ParseFromString(broken)


def test_garbage_is_never_a_message_or_json():
    for seed in range(300):
        broken = garbage(1 + seed % 70, seed)
        assert len(broken) == 1 + seed % 70
        with pytest.raises(ProtobufDecodeError):
            PredictResponse().ParseFromString(broken)
        with pytest.raises(ValueError, match=r"decode|Expecting"):
            json.loads(broken)
    assert garbage(20, 1) == garbage(20, 1) != garbage(20, 2)
