"""Records of calls in every style and over both transports, compared with what a server did."""

from __future__ import annotations

import asyncio
import copy
import pickle
import socket
import threading

import numpy as np
import pytest
from calling import GRPC, REST, STYLES, at_once, calling, target_of
from retrying import BUSY, PATIENT, QUICK, client_of, failing, wait_for
from scripted import METADATA_REPLY, predict_reply, serving
from scripted import target_of as target_of_port

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    CallError,
    ClosedError,
    ConfigError,
    MicroBatcher,
    ModelConfig,
    ModelServerConfig,
    PredictClient,
    Signature,
    StatusCode,
    TensorSpec,
    UnimplementedError,
)
from tfs_client._flows.rest_futures import RestFutures
from tfs_client.recordings import Recording
from tfs_client.server import Server, ServerConfig
from tfs_client.server.embedded import MODELS
from tfs_client.telemetry import AttemptEnded, CallEnded, CallStarted

UNAVAILABLE, OK = StatusCode.UNAVAILABLE, StatusCode.OK
VECTOR = TensorSpec("float32", (None,))
ARRAYS = {"x": np.float32([1.0])}
RELOADED = b"\n\x00"  # a status without an error
REST_REPLY = b'{"predictions": [2.0]}'


class Log(list):
    """A hook that keeps the records."""

    __call__ = list.append

    def of(self, kind):
        return [record for record in self if isinstance(record, kind)]

    @property
    def attempts(self):
        return self.of(AttemptEnded)

    @property
    def ended(self):
        [last] = self.of(CallEnded)
        return last


def numbers_of(log):
    """What a server sees of the requests: their method, code, and bytes in both directions."""
    return [(one.sent, one.attempt, one.code, one.bytes_out, one.bytes_in) for one in log.attempts]


def check_times(ended):
    assert ended.seconds == pytest.approx(ended.encode + ended.wait + ended.paused + ended.decode)
    assert min(ended.encode, ended.wait, ended.paused, ended.decode) >= 0


# --- what the server did -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_records_of_a_retried_call_equal_what_the_server_did(style):
    log = Log()
    with serving(style, failing(2, details="try later"), version=3) as server:
        with client_of(style, server, hooks=log, request_id=lambda: "r1") as client:
            result = client.predict(ARRAYS)
        size = server.calls[0].size
        assert [call.size for call in server.calls] == [size] * 3
        assert all(call.metadata["x-request-id"] == "r1" for call in server.calls)
        target = target_of_port(style, server.port)
    rest = style in REST
    reply = len(REST_REPLY) if rest else len(predict_reply(3))
    refusal = len(b'{"error": "try later"}') if rest else 0
    look = [one for one in log.attempts if one.sent != "Predict"]
    assert numbers_of(log)[len(look) :] == [
        ("Predict", 1, UNAVAILABLE, size, refusal),
        ("Predict", 2, UNAVAILABLE, size, refusal),
        ("Predict", 3, OK, size, reply),
    ]
    assert numbers_of(log)[: len(look)] == ([("GetModelMetadata", 1, OK, 0, len(METADATA_REPLY))] if rest else [])
    first, second, third = log.attempts[len(look) :]
    assert [first.details, second.details, third.details] == ["try later", "try later", ""]
    assert 0.008 <= first.pause <= 0.012
    assert 0.016 <= second.pause <= 0.024
    assert third.pause is None
    started, ended = log[0], log.ended
    assert type(started) is CallStarted
    assert started.timeout == 20
    assert (ended.method, ended.model, ended.rows, ended.request_id) == ("Predict", "m", 1, "r1")
    assert (ended.transport, ended.target) == ("rest" if rest else "grpc", target)
    assert (ended.code, ended.error, ended.attempts, ended.answered) == (OK, "", 3, None if rest else 3)
    assert ended.attempts == result.attempts
    assert (ended.bytes_out, ended.bytes_in) == (3 * size, reply + 2 * refusal + len(METADATA_REPLY) * rest)
    assert ended.paused >= first.pause + second.pause - 0.002
    assert ended.wait == pytest.approx(sum(one.seconds for one in log.attempts))
    check_times(ended)
    assert {record.call for record in log} == {started.call}
    assert log[-1] is ended


@pytest.mark.parametrize("style", STYLES)
def test_the_record_of_a_failed_call_equals_its_error(style):
    log = Log()
    with (
        serving(style, failing(9, *BUSY[0][:1], details=BUSY[0][1])) as server,
        client_of(style, server, hooks=log) as client,
    ):
        with pytest.raises(CallError) as raised:
            client.predict(ARRAYS)
        error, ended = raised.value, log.ended
        assert len(server.calls) == error.attempts == ended.attempts == QUICK.attempts
    assert (ended.code, ended.error, ended.details) == (error.code, type(error).__name__, error.details)
    assert (ended.hint, ended.http_status) == (error.hint, error.http_status)
    assert log.attempts[-1].http_status == (429 if style in REST else None)
    assert [one.code for one in log.attempts if one.sent == "Predict"] == [error.code] * QUICK.attempts
    assert log.attempts[-1].pause is None
    check_times(ended)


@at_once(*STYLES)
def test_waiting_for_a_server_is_one_attempt_in_which_nothing_is_sent(style):
    log = Log()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = f"{'http://' if style in REST else ''}127.0.0.1:{closed.getsockname()[1]}"
        with (
            calling(style, target, model="m", timeout=0.4, retry=QUICK, hooks=log) as client,
            pytest.raises(CallError) as raised,
        ):
            client.predict(ARRAYS)
    assert len(log.attempts) > 1
    assert {(one.attempt, one.unreached, one.bytes_out, one.bytes_in) for one in log.attempts} == {(1, True, 0, 0)}
    assert log.ended.attempts == raised.value.attempts == 1
    assert (log.ended.code, log.ended.bytes_out) == (StatusCode.DEADLINE_EXCEEDED, 0)
    check_times(log.ended)


# --- all methods -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with Server(ServerConfig(rest_port=0, enable_grpc_healthcheck_service=True)) as server:
        server.add_model("half_plus_two", MODELS["half_plus_two"]())
        yield server


EXAMPLES = [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}]
COLUMNS = {"x": [1.0, 2.0]}
CLASSIFY, REGRESS = "classify_x_to_y", "regress_x_to_y"
NAME = "half_plus_two"
CALLS = {
    "predict": ("Predict", 2, lambda client: client.predict({"x": np.float32([1, 2])})),
    "classify": ("Classify", 3, lambda client: client.classify(EXAMPLES, signature=CLASSIFY)),
    "regress": ("Regress", 2, lambda client: client.regress(COLUMNS, signature=REGRESS)),
    "multi_inference": (
        "MultiInference",
        3,
        lambda client: client.multi_inference(EXAMPLES, tasks={CLASSIFY: "classify", REGRESS: "regress"}),
    ),
    "signatures": ("GetModelMetadata", None, lambda client: client.signatures()),
    "status": ("GetModelStatus", None, lambda client: client.status()),
    "is_ready": ("GetModelStatus", None, lambda client: client.is_ready()),
    "wait_until_ready": ("GetModelStatus", None, lambda client: client.wait_until_ready()),
    "health": ("Check", None, lambda client: client.health()),
    "models": ("ListModels", None, lambda client: client.models()),
    "current_config": ("GetConfig", None, lambda client: client.current_config()),
    "reload_config": (
        "HandleReloadConfigRequest",
        None,
        lambda client: client.reload_config(ModelServerConfig([ModelConfig(NAME, "/nowhere")])),
    ),
}
OF_SERVER = ("reload_config", "health", "models", "current_config")
GRPC_ONLY = ("multi_inference", "health", "current_config", "reload_config")
WITH_VERSION = ("predict", "classify", "regress", "multi_inference", "signatures")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("style", [style for style in STYLES if "futures" not in style])
def test_every_call_has_a_start_and_one_end(style, name, server, raw_server):
    method, rows, call = CALLS[name]
    target = target_of(style, server)
    if name == "reload_config" and style in GRPC:
        target = raw_server(HandleReloadConfigRequest=lambda request, context: RELOADED)
    log = Log()
    refused = name in GRPC_ONLY and style in REST
    with calling(style, target, model=NAME, timeout=10, hooks=log) as client:
        if refused:
            with pytest.raises(UnimplementedError):
                call(client)
        else:
            call(client)
    assert (type(log[0]), type(log[-1])) == (CallStarted, CallEnded)
    model = "" if name in OF_SERVER else NAME
    assert {(record.method, record.model, record.rows) for record in log} == {(method, model, rows)}
    ended = log.ended
    assert ended.code is (StatusCode.UNIMPLEMENTED if refused else OK)
    assert ended.attempts == (0 if refused else 1) == len([one for one in log.attempts if one.sent == method])
    assert (ended.bytes_in > 0) == (not refused)
    known = name in WITH_VERSION and (style in GRPC or name == "signatures")
    assert ended.answered == (1 if known else None)


# --- calls that are given up ---------------------------------------------------------------------------------------


def given_up(log):
    """Wait for the end of the call; returns what it says."""
    wait_for(lambda: log.of(CallEnded))
    assert [one.code for one in log.attempts if one.sent == "Predict"] == [StatusCode.CANCELLED]
    check_times(log.ended)
    return log.ended.code, log.ended.error, log.ended.attempts


def test_cancelling_a_future_ends_the_call_at_once(gated, gate):
    log = Log()
    with PredictClient(gated.target, model="slow", hooks=log) as client:
        future = client.predict_future(ARRAYS)
        assert gate.entered.wait(20)
        assert future.cancel()
        assert given_up(log) == (StatusCode.CANCELLED, "CancelledError", 1)


def test_cancelling_a_future_that_pauses_ends_the_call_before_cancel_returns():
    log = Log()
    with serving("grpc", failing(1)) as server, client_of("grpc", server, PATIENT, hooks=log) as client:
        future = client.predict_future(ARRAYS)
        wait_for(lambda: log.attempts)
        wait_for(lambda: getattr(future._cancel_call, "args", ()))  # the pause has begun
        assert future.cancel()
        assert (log.ended.code, log.ended.error, log.ended.attempts) == (StatusCode.CANCELLED, "CancelledError", 1)


def test_cancelling_a_future_that_waits_for_a_thread_ends_the_call_before_cancel_returns(gated, gate):
    log = Log()
    signatures = {"serving_default": Signature({"x": VECTOR}, {"x": VECTOR})}
    with PredictClient(gated.rest_url, model="slow", hooks=log, signatures=signatures) as client:
        client._performer._session._rest_futures = RestFutures(most=1)
        running, waiting = client.predict_future(ARRAYS), client.predict_future(ARRAYS)
        assert gate.entered.wait(20)
        assert waiting.cancel()
        assert waiting.cancel()
        assert (log.ended.code, log.ended.error) == (StatusCode.CANCELLED, "CancelledError")
        gate.open.set()
        running.result(20)
        assert [ended.code for ended in log.of(CallEnded)] == [StatusCode.CANCELLED, OK]


@pytest.mark.parametrize("url", [False, True])
def test_cancelling_a_task_ends_the_call_at_once(gated, gate, url):
    log = Log()

    async def main():
        async with AsyncPredictClient(gated.rest_url if url else gated.target, model="slow", hooks=log) as client:
            task = asyncio.ensure_future(client.predict(ARRAYS))
            while not gate.entered.is_set():
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return given_up(log)

    assert asyncio.run(main()) == (StatusCode.CANCELLED, "CancelledError", 1)


@pytest.mark.parametrize("style", STYLES)
def test_closing_the_client_ends_the_call(style, gated, gate):
    log, errors = Log(), []
    signatures = {"serving_default": Signature({"x": VECTOR}, {"x": VECTOR})}
    with calling(style, gated, model="slow", hooks=log, signatures=signatures) as client:

        def call():
            try:
                client.predict(ARRAYS)
            except ClosedError as error:
                errors.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        assert gate.entered.wait(20)
        client.close()
        caller.join(20)
        assert errors
        assert given_up(log) == (StatusCode.CANCELLED, "ClosedError", 1)


@pytest.mark.parametrize("style", STYLES)
def test_a_call_on_a_closed_client_has_an_end(style, gated):
    log = Log()
    with calling(style, gated, model="slow", hooks=log) as client:
        client.close()
        with pytest.raises(ClosedError):
            client.predict(ARRAYS)
    assert (log.ended.code, log.ended.error) == (StatusCode.CANCELLED, "ClosedError")


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_an_interrupt_ends_a_blocking_call_at_once(style):
    def interrupted():
        raise KeyboardInterrupt

    log = Log()
    with calling(style, target_of_port(style, 9), model="m", hooks=log, token=interrupted) as client:
        try:
            client.predict(ARRAYS)
        except KeyboardInterrupt:
            assert (log.ended.code, log.ended.error) == (StatusCode.CANCELLED, "KeyboardInterrupt")
        else:
            raise AssertionError("no interrupt")


# --- batches -----------------------------------------------------------------------------------------------------


def batches(log):
    """The batch of each call in the order of the starts; all records of a call have the same."""
    found = {}
    for record in log:
        assert found.setdefault(record.call, record.batch) == record.batch
        assert record.rows == record.batch.examples
    assert all(batch.waited >= 0 for batch in found.values())
    assert len(log.of(CallEnded)) == len(found)
    return [(batch.kind, batch.examples) for batch in found.values()]


SINGLE = ("grpc", "grpc-aio", "rest", "rest-aio")


@pytest.mark.parametrize("style", SINGLE)
def test_the_requests_of_predict_batched_are_parts_of_a_batch(style, server):
    log = Log()
    with calling(style, server, model=NAME, timeout=10, hooks=log) as client:
        client.predict_batched({"x": np.zeros(5, np.float32)}, batch_size=2, in_flight=1)
    assert batches(log) == [("predict_batched", 2), ("predict_batched", 2), ("predict_batched", 1)]
    waits = [record.batch.waited for record in log.of(CallStarted)]
    assert waits == sorted(waits)
    assert waits[0] < waits[2]


@pytest.mark.parametrize("url", [False, True])
def test_the_requests_of_predict_many_are_parts_of_a_batch(url, server):
    examples = [{"x": np.float32(number)} for number in range(5)]
    target = server.rest_url if url else server.target
    expected = [("predict_many", 2), ("predict_many", 2), ("predict_many", 1)]
    log = Log()
    with PredictClient(target, model=NAME, timeout=10, hooks=log) as client:
        assert len(list(client.predict_many(examples, batch_size=2, in_flight=1))) == 5
    assert batches(log) == expected
    log.clear()

    async def main():
        async with AsyncPredictClient(target, model=NAME, timeout=10, hooks=log) as client:
            return [result async for result in client.predict_many(examples, batch_size=2, in_flight=1)]

    assert len(asyncio.run(main())) == 5
    assert batches(log) == expected


def test_requests_of_an_abandoned_batch_end(fake_server, gate):
    fake_server.add_model("m", lambda x: gate(x) if x[0] else x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    log = Log()
    with PredictClient(fake_server.target, model="m", hooks=log) as client:
        results = client.predict_many([{"x": np.float32(0)}, {"x": np.float32(1)}], batch_size=1)
        assert next(results)["y"] == 0
        assert gate.entered.wait(20)
        results.close()
        wait_for(lambda: len(log.of(CallEnded)) == 2)
    assert [ended.code for ended in log.of(CallEnded)] == [OK, StatusCode.CANCELLED]
    assert len(batches(log)) == 2


def test_requests_of_micro_batches_have_their_size_and_the_wait_of_the_oldest(server):
    log = Log()
    with (
        PredictClient(server.target, model=NAME, timeout=10, hooks=log) as client,
        MicroBatcher(client, max_batch_size=3, max_delay=0.05) as batcher,
    ):
        full = [batcher.submit({"x": np.float32(number)}) for number in range(3)]
        assert [future.result(10)["y"] for future in full] == [2.0, 2.5, 3.0]
        batcher.predict({"x": np.float32(1)})
    assert batches(log) == [("micro", 3), ("micro", 1)]
    assert log[-1].batch.waited >= 0.05


def test_requests_of_asyncio_micro_batches_have_their_size_and_the_wait_of_the_oldest(server):
    log = Log()

    async def main():
        async with (
            AsyncPredictClient(server.target, model=NAME, timeout=10, hooks=log) as client,
            AsyncMicroBatcher(client, max_batch_size=3, max_delay=0.05) as batcher,
        ):
            await asyncio.gather(*(batcher.predict({"x": np.float32(number)}) for number in range(3)))
            await batcher.predict({"x": np.float32(1)})

    asyncio.run(main())
    assert batches(log) == [("micro", 3), ("micro", 1)]
    assert log[-1].batch.waited >= 0.049  # timers of some loops have milliseconds


# --- hooks that make calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [False, True])
def test_calls_that_a_hook_makes_have_no_records(url, server):
    log, answers = Log(), []

    def calls(record):
        answers.append(client.predict(ARRAYS)["y"].tolist())

    with PredictClient(server.rest_url if url else server.target, model=NAME, timeout=10, hooks=[log, calls]) as client:
        client.predict(ARRAYS)
        count = len(log)
        assert len(answers) == count == len(log.attempts) + 2
        client.predict_future(ARRAYS).result(10)
        wait_for(lambda: len(answers) == len(log))
    assert answers == [[2.5]] * len(log)


def test_tasks_that_a_hook_creates_have_no_records(server):
    log, tasks = Log(), []

    def calls(record):
        tasks.append(asyncio.ensure_future(client.predict(ARRAYS)))

    async def main():
        nonlocal client
        async with AsyncPredictClient(server.target, model=NAME, timeout=10, hooks=[log, calls]) as client:
            await client.predict(ARRAYS)
            await asyncio.gather(*tasks)

    client = None
    asyncio.run(main())
    assert len(tasks) == len(log) == 3


def test_a_batch_call_in_a_hook_that_would_deadlock_is_refused(server, caplog):
    errors = []

    def calls(record):
        if isinstance(record, CallEnded):
            try:
                client.predict_batched(ARRAYS)
            except ConfigError as error:
                errors.append(str(error))

    with PredictClient(server.target, model=NAME, timeout=10, hooks=calls) as client:
        client.predict_future(ARRAYS).result(10)
        wait_for(lambda: errors)
    assert "hook, runs in the thread that delivers all answers" in errors[0]


def test_an_exit_in_a_hook_is_the_result_of_the_future(server):
    def exits(record):
        if isinstance(record, CallEnded):
            raise SystemExit(3)

    with PredictClient(server.target, model=NAME, timeout=10, hooks=exits) as client, pytest.raises(SystemExit):
        client.predict_future(ARRAYS).result(10)


# --- recordings, copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", SINGLE)
def test_replayed_calls_have_records_and_match_whatever_hooks_add(style, server, tmp_path):
    path = tmp_path / "calls.tfrecord"
    with calling(style, server, model=NAME, record=path, hooks=lambda _: {"traceparent": "00-1"}) as client:
        client.predict(ARRAYS)
    assert not [file for file in tmp_path.iterdir() if b"traceparent" in file.read_bytes()]
    log = Log()
    again = Recording(path, metadata=["traceparent"], mode="none")
    with calling(style, server, model=NAME, record=again, hooks=[log, lambda _: {"traceparent": "00-2"}]) as client:
        assert client.predict(ARRAYS)["y"].tolist() == [2.5]
    assert [type(record) for record in log] == [CallStarted, CallEnded]
    assert (log.ended.code, log.ended.attempts, log.ended.bytes_in) == (OK, 0, 0)


def test_clients_with_hooks_can_be_pickled_if_the_hooks_can():
    with PredictClient("localhost:8500", hooks=print) as client:
        pickle.loads(pickle.dumps(client)).close()
    with PredictClient("localhost:8500", hooks=lambda record: None) as client:
        with pytest.raises(TypeError, match=r"its hook test_clients_.*<lambda>.*function of a module"):
            pickle.dumps(client)
        copy.deepcopy(client).close()
