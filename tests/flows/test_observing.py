"""Observing: the records of a call, which is driven by hand."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import time
from types import MappingProxyType

import numpy as np
import pytest
from driving import GRPC, REST, Client, Driven, metadata, metadata_json, status_json
from hypothesis import given, settings
from hypothesis import strategies as st
from retrying import QUICK
from scripted import predict_reply

from tfs_client import (
    AlreadyExistsError,
    CallError,
    ConfigError,
    DecodeError,
    EncodeError,
    InvalidArgumentError,
    NotFoundError,
    PredictClient,
    RetryPolicy,
    Signature,
    StatusCode,
    TensorSpec,
    UnavailableError,
    UnimplementedError,
)
from tfs_client._codec.snapshots import snapshot
from tfs_client._flows.asked import Asked
from tfs_client._flows.telemetry.hooks import checked_hooks
from tfs_client._flows.telemetry.masking import Masking
from tfs_client._flows.telemetry.observing import Observer, rows_of
from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.steps import Ask, Send, Sleep
from tfs_client._transports.targets import checked_target
from tfs_client.errors import ClosedError
from tfs_client.telemetry import AttemptEnded, Batch, CallEnded, CallStarted

MASKING = Masking(Connection(checked_target("server.test:8500")))
X = {"x": np.float32([1, 2])}
VECTOR = TensorSpec("float32", (None,))
SIGNATURE = Signature({"x": VECTOR}, {"y": VECTOR})
PREDICT = "/tensorflow.serving.PredictionService/Predict"
UNEVEN = "Tensor name: y has inconsistent batch size: 3 expecting: 2"
REPLY = predict_reply(4)


def unreached(details="no route"):
    error = UnavailableError(details, "Predict")
    error.unreached = True
    return error


def closed(*, sent):
    error = ClosedError("closed")
    error.sent = sent
    return error


def observed(target=GRPC, *, hooks=(), **options):
    """A client, and the records of its calls."""
    records = []
    return Client(target, hooks=[records.append, *hooks], **options), records


def predicted(client, *outcomes, inputs=X, **options):
    """Run a prediction whose requests have these outcomes; returns its result or error, and its requests."""
    requests = []
    outcomes = list(outcomes)
    try:
        call = Driven(client.flows.predict(inputs, client.asked(**options)))
        while call.step is not None:
            if isinstance(call.step, Send):
                requests.append(call.step)
            step = call.step
            if isinstance(step, Ask):
                call.answer(step.function())
            else:
                call.answer(outcomes.pop(0) if isinstance(step, Send) else None)
    except Exception as error:
        return error, requests
    assert not outcomes
    return call.result, requests


def attempts(records):
    return [record for record in records if isinstance(record, AttemptEnded)]


# --- records -----------------------------------------------------------------------------------------------------


def test_a_prediction_has_a_start_an_attempt_and_an_end():
    client, records = observed("localhost:8500", request_id=lambda: "r1", version=4, signature="s", timeout=7)
    result, [request] = predicted(client, REPLY)
    assert result.model.version == 4
    started, attempt, ended = records
    assert (type(started), type(attempt), type(ended)) == (CallStarted, AttemptEnded, CallEnded)
    common = (started.call, "Predict", "m", 4, None, "s", "grpc", "localhost:8500", 2, "r1", None)
    names = CallStarted.__mro__[1].__slots__
    assert [tuple(getattr(record, name) for name in names) for record in records] == [common] * 3
    assert started.timeout == 7
    assert (attempt.sent, attempt.attempt, attempt.code, attempt.details) == ("Predict", 1, StatusCode.OK, "")
    assert (attempt.unreached, attempt.pause) == (False, None)
    assert (attempt.bytes_out, attempt.bytes_in) == (len(request.body), len(REPLY))
    assert (ended.answered, ended.code, ended.error, ended.details, ended.hint) == (4, StatusCode.OK, "", "", "")
    assert (ended.attempts, ended.bytes_out, ended.bytes_in) == (1, len(request.body), len(REPLY))


def test_a_hook_that_raises_the_error_of_the_call_again_does_not_log_its_text(caplog):
    def hook(record):
        if isinstance(record, CallEnded):
            raise  # the error that is being handled

    client, _ = observed(hooks=[hook])
    predicted(client, NotFoundError("refused s3cr3t"))
    assert "the hook raised the error of the call again: NotFoundError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_calls_have_different_numbers():
    client, records = observed()
    for _ in range(3):
        predicted(client, REPLY)
    assert len({record.call for record in records}) == 3


def test_retries_are_attempts_and_waiting_for_a_server_is_one():
    client, records = observed(retry=RetryPolicy(attempts=4, initial_backoff=0.01, max_backoff=0.01))
    gone = UnavailableError("connection reset", "Predict")
    _, requests = predicted(client, unreached(), unreached(), gone, unreached(), REPLY)
    found = attempts(records)
    assert [one.attempt for one in found] == [1, 1, 1, 2, 2]
    assert [one.unreached for one in found] == [True, True, False, True, False]
    assert [one.details for one in found] == ["no route", "no route", "connection reset", "no route", ""]
    assert all(one.pause is not None and 0.007 < one.pause < 0.013 for one in found[:-1])
    assert found[-1].pause is None
    size = len(requests[0].body)
    assert [one.bytes_out for one in found] == [0, 0, size, 0, size]
    assert (records[-1].attempts, records[-1].bytes_out, records[-1].bytes_in) == (2, 2 * size, len(REPLY))


FAILURES = (UnavailableError, NotFoundError, InvalidArgumentError, AlreadyExistsError)


@settings(max_examples=40)
@given(
    outcomes=st.lists(st.sampled_from([*FAILURES, "unreached"]), max_size=6),
    waits=st.booleans(),
    target=st.sampled_from([GRPC, REST]),
    succeeds=st.booleans(),
)
def test_errors_and_results_count_the_attempts_alike(outcomes, waits, target, succeeds):
    policy = RetryPolicy(attempts=3, initial_backoff=0.01, wait_for_ready=waits, codes=[StatusCode.UNAVAILABLE])
    signatures = {"serving_default": SIGNATURE}
    client, records = observed(target, retry=policy, signatures=signatures)
    made = [unreached() if kind == "unreached" else kind("no", "Predict") for kind in outcomes]
    good = REPLY if target == GRPC else b'{"predictions": [3.0, 4.0]}'
    outcome, _ = predicted(client, *made, good if succeeds else AlreadyExistsError("the end", "Predict"))
    code = outcome.code if isinstance(outcome, CallError) else StatusCode.OK
    assert (records[-1].attempts, records[-1].code) == (outcome.attempts, code)
    assert attempts(records)[-1].attempt == outcome.attempts


def test_a_look_up_over_rest_is_an_attempt_of_another_method():
    client, records = observed(REST, retry=QUICK)
    reply = b'{"predictions": [3.0, 4.0]}'
    _, [look, request, again] = predicted(
        client, metadata_json(), UnavailableError("busy", "Predict"), reply, inputs={"x": [1.0, 2.0]}
    )
    found = [(one.sent, one.attempt, one.bytes_out, one.bytes_in) for one in attempts(records)]
    assert found == [
        ("GetModelMetadata", 1, 0, len(metadata_json())),
        ("Predict", 1, len(request.body), 0),
        ("Predict", 2, len(again.body), len(reply)),
    ]
    assert look.body == b""
    assert (records[-1].attempts, records[-1].bytes_out) == (2, 2 * len(request.body))
    assert records[-1].bytes_in == len(metadata_json()) + len(reply)


def test_a_failed_look_up_is_the_error_of_the_call():
    client, records = observed(REST)
    error, _ = predicted(client, NotFoundError("Servable not found for request: m", "GetModelMetadata"))
    assert error.method == "Predict"
    assert [(one.sent, one.code) for one in attempts(records)] == [("GetModelMetadata", StatusCode.NOT_FOUND)]
    assert (records[-1].code, records[-1].error, records[-1].attempts) == (StatusCode.NOT_FOUND, "NotFoundError", 1)


def test_the_columnar_request_is_the_second_attempt():
    client, records = observed(REST)
    outcomes = [metadata_json(), InvalidArgumentError(UNEVEN, "Predict"), b'{"outputs": [1.0, 2.0, 3.0]}']
    result, _ = predicted(client, *outcomes)
    assert result["y"].tolist() == [1, 2, 3]
    found = [(one.sent, one.attempt, one.code, one.pause) for one in attempts(records)][1:]
    assert found == [("Predict", 1, StatusCode.INVALID_ARGUMENT, None), ("Predict", 2, StatusCode.OK, None)]
    assert (records[-1].attempts, records[-1].code) == (2, StatusCode.OK)


def test_the_look_up_that_explains_a_refusal_is_an_attempt():
    client, records = observed()
    wrong = {"z": np.float32([1])}
    error, _ = predicted(client, InvalidArgumentError("no z", "Predict"), metadata(SIGNATURE), inputs=wrong)
    assert [(one.sent, one.attempt) for one in attempts(records)] == [("Predict", 1), ("GetModelMetadata", 1)]
    assert records[-1].hint == error.hint != ""
    assert (records[-1].details, records[-1].attempts) == ("no z", 1)


def test_errors_that_no_server_caused_have_no_code():
    client, records = observed()
    error, requests = predicted(client, inputs={"x": {1: 2}})
    assert isinstance(error, EncodeError)
    assert not requests
    started, ended = records
    assert isinstance(started, CallStarted)
    assert (ended.code, ended.error, ended.details) == (None, "EncodeError", str(error))
    assert (ended.attempts, ended.bytes_out, ended.bytes_in) == (0, 0, 0)
    assert ended.encode == ended.seconds


def test_the_text_of_a_foreign_error_is_in_no_record():
    def token():
        raise ValueError("hunter2")

    client, records = observed(token=token)
    call = Driven(client.flows.predict(X, client.asked()))
    assert isinstance(call.step, Ask)
    with pytest.raises(ValueError, match="hunter2"):
        call.answer(ValueError("hunter2"))
    assert (records[-1].code, records[-1].error, records[-1].details) == (None, "ValueError", "")
    assert "hunter2" not in repr(records)


def test_unsent_calls_of_rest_were_refused_by_the_client():
    client, records = observed(REST)
    with pytest.raises(UnimplementedError):
        Driven(client.flows.health("", client.asked()))
    assert (records[-1].method, records[-1].code, records[-1].attempts) == ("Check", StatusCode.UNIMPLEMENTED, 0)


def test_the_error_that_the_caller_gets_is_the_one_in_the_record():
    client, records = observed()
    call = Driven(client.flows.models(client.asked()))
    with pytest.raises(UnimplementedError, match="TensorFlow Serving does not"):
        call.answer(UnimplementedError("unknown service", "ListModels"))
    assert len([record for record in records if isinstance(record, CallStarted)]) == 1
    assert records[-1].details == f"{GRPC} does not list its models: tfs-serve does, TensorFlow Serving does not"


def test_polls_are_attempts_with_pauses():
    client, records = observed(REST)
    call = Driven(client.flows.wait_until_ready(client.asked()))
    call.answer(status_json((1, "LOADING", "")))
    call.answer(None)
    call.answer(status_json((1, "AVAILABLE", "")))
    assert [(one.sent, one.attempt, one.pause) for one in attempts(records)] == [
        ("GetModelStatus", 1, 0.1),
        ("GetModelStatus", 2, None),
    ]
    assert (records[-1].method, records[-1].attempts, records[-1].code) == ("GetModelStatus", 2, StatusCode.OK)


def test_readiness_of_a_label_is_a_call_of_metadata():
    client, records = observed(label="stable")
    call = Driven(client.flows.is_ready(client.asked()))
    call.answer(metadata(SIGNATURE, 3))
    assert call.result is True
    assert {(record.method, record.label) for record in records} == {("GetModelMetadata", "stable")}
    assert records[-1].attempts == 1


def test_signatures_have_the_version_that_answered():
    client, records = observed()
    call = Driven(client.flows.signatures(client.asked(), from_server=False))
    call.answer(metadata(SIGNATURE, 3))
    assert (records[-1].method, records[-1].answered) == ("GetModelMetadata", 3)


@pytest.mark.parametrize(
    ("raised", "name"),
    [(KeyboardInterrupt(), "KeyboardInterrupt"), (closed(sent=True), "ClosedError"), (None, "CancelledError")],
)
@pytest.mark.parametrize("pausing", [False, True])
def test_a_call_that_is_given_up_ends_once(raised, name, pausing):
    client, records = observed(retry=QUICK)
    call = Driven(client.flows.predict(X, client.asked()))
    if pausing:
        call.answer(UnavailableError("gone", "Predict"))
        assert isinstance(call.step, Sleep)
    if raised is None:
        call.close()
    else:
        with pytest.raises(type(raised)):
            call.answer(raised)
    [last] = attempts(records)
    assert last.code is (StatusCode.UNAVAILABLE if pausing else StatusCode.CANCELLED)
    assert [type(record) for record in records] == [CallStarted, AttemptEnded, CallEnded]
    assert (records[-1].code, records[-1].error, records[-1].attempts) == (StatusCode.CANCELLED, name, 1)


def test_a_call_on_a_closed_client_was_not_sent():
    client, records = observed()
    error, _ = predicted(client, closed(sent=False))
    assert isinstance(error, ClosedError)
    assert [type(record) for record in records] == [CallStarted, CallEnded]
    ended = records[-1]
    assert (ended.code, ended.error, ended.attempts, ended.bytes_out) == (StatusCode.CANCELLED, "ClosedError", 0, 0)
    assert ended.seconds == pytest.approx(ended.encode + ended.decode)


@pytest.mark.parametrize("target", [GRPC, REST])
def test_the_tokens_of_all_requests_are_masked(target):
    tokens = iter(f"one-time-token-{number}" for number in range(9))
    client, records = observed(target, token=lambda: next(tokens))
    refusal = InvalidArgumentError("got one-time-token-0 and one-time-token-1", "Predict")
    signatures = metadata_json() if target == REST else metadata(SIGNATURE)
    predicted(client, *((signatures, refusal) if target == REST else (refusal, signatures)))
    assert records[-1].details == "got [secret] and [secret]"


@pytest.mark.parametrize("place", range(2930, 2990, 3))
def test_no_part_of_a_token_stays_where_the_text_of_an_error_is_cut(place):
    client, records = observed(token="cut-cut-cut-cut-cut-cut")
    predicted(client, DecodeError("-" * place + "cut-cut-cut-cut-cut-cut" + "-" * 5000))
    assert "cut-" not in records[-1].details
    assert len(records[-1].details) <= 4000


def test_what_all_requests_send_stays_masked_however_many_they_are():
    tokens = (f"one-time-token-{number}" for number in itertools.count())
    client, records = observed(REST, token=lambda: next(tokens), metadata={"x-api-key": "constant-value"})
    call = Driven(client.flows.wait_until_ready(client.asked()))
    for _ in range(150):
        while not isinstance(call.step, Send):
            call.answer(call.step.function() if isinstance(call.step, Ask) else None)
        call.answer(NotFoundError("got constant-value", "GetModelStatus"))
    call.close()
    assert len(attempts(records)) == 150
    assert {one.details for one in attempts(records)} == {"got [secret]"}


def test_a_forked_process_does_not_report_the_calls_of_its_parent(monkeypatch):
    client, records = observed()
    call = Driven(client.flows.predict(X, client.asked()))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    call.close()
    assert [type(record) for record in records] == [CallStarted]


# --- times -------------------------------------------------------------------------------------------------------


class Clock:
    """Stands for ``time.perf_counter``; advances only when a test asks it to."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def takes(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("fails", [False, True])
def test_every_moment_of_a_call_belongs_to_one_of_four_times(monkeypatch, fails):
    client = Client(GRPC)
    asked = client.asked()
    send = Send(PREDICT, b"12345", Deadline(None))
    clock = Clock(monkeypatch)
    records = []

    def work(asked: Asked):
        clock.takes(1)
        yield Ask(lambda: "t", asked.deadline)
        clock.takes(2)
        try:
            yield send
        except UnavailableError:
            clock.takes(4)
        yield Sleep(8)
        reply = yield send
        clock.takes(16)
        if fails:
            raise ValueError("a bug")
        return reply

    call = Driven(Observer(checked_hooks(records.append), "t", "grpc", MASKING).observed(work, "Predict", asked))
    for seconds, answer in ((32, "t"), (64, UnavailableError("gone")), (8, None)):
        clock.takes(seconds)
        call.answer(answer)
    clock.takes(128)
    if fails:
        with pytest.raises(ValueError, match="a bug"):
            call.answer(b"reply")
    else:
        call.answer(b"reply")
    ended = records[-1]
    assert (ended.encode, ended.wait, ended.paused, ended.decode) == (1 + 32 + 2 + 4, 64 + 128, 8, 16)
    assert ended.seconds == ended.encode + ended.wait + ended.paused + ended.decode
    assert [one.seconds for one in attempts(records)] == [64, 128]
    assert [one.pause for one in attempts(records)] == [8, None]


# --- hooks -------------------------------------------------------------------------------------------------------


def test_a_hook_that_raises_is_logged_once_and_the_others_still_run(caplog):
    def broken(record):
        raise RuntimeError("broken hook")

    client, records = observed(hooks=[broken])
    result, _ = predicted(client, REPLY)
    assert result["y"].tolist() == [2]
    assert len(records) == 3
    [logged] = caplog.records
    assert (logged.name, logged.levelno) == ("tfs_client.hooks", logging.ERROR)
    assert logged.getMessage().endswith("broken failed on CallStarted; the call continues")
    assert "\n" not in logged.getMessage()
    assert logged.exc_info[1].args == ("broken hook",)
    predicted(client, REPLY)
    assert len(caplog.records) == 1


def test_a_log_handler_that_raises_harms_no_call():
    class Raising(logging.Handler):
        def emit(self, record):
            raise OSError

    handler = Raising()
    logging.getLogger("tfs_client.hooks").addHandler(handler)
    try:
        client, _ = observed(hooks=[lambda record: 1 / 0])
        assert predicted(client, REPLY)[0]["y"].tolist() == [2]
    finally:
        logging.getLogger("tfs_client.hooks").removeHandler(handler)


@pytest.mark.parametrize("kind", [CallStarted, AttemptEnded, CallEnded])
def test_an_interrupt_in_a_hook_passes_and_the_call_ends_once(kind):
    def interrupted(record):
        if isinstance(record, kind):
            raise KeyboardInterrupt

    client, records = observed(hooks=[interrupted])
    with pytest.raises(KeyboardInterrupt):
        predicted(client, REPLY)
    assert [type(record) for record in records].count(CallEnded) == 1


def test_an_awaitable_answer_is_logged_and_leaves_no_warning(caplog):
    async def later(record):
        pass

    client, _ = observed(hooks=[lambda record: later(record)])
    predicted(client, REPLY)
    assert "expected a hook that returns None or metadata, got an awaitable" in caplog.text


def test_metadata_of_hooks_goes_with_every_request_of_the_call():
    client, _ = observed(REST, hooks=[lambda record: {"traceparent": "00-1"}], metadata={"own": "1"})
    _, requests = predicted(client, metadata_json(), b'{"predictions": [3.0, 4.0]}')
    assert [one.metadata for one in requests] == [(("own", "1"), ("traceparent", "00-1"))] * 2


def test_the_calls_own_metadata_takes_precedence_and_then_that_of_earlier_hooks():
    client, _ = observed(hooks=[lambda _: {"a": "hook", "b": "hook"}, lambda _: {"b": "later", "c": "later"}])
    _, [request] = predicted(client, REPLY, metadata={"a": "call"})
    assert request.metadata == (("a", "call"), ("b", "hook"), ("c", "later"))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"Upper": "x"}, "expected a metadata key of lower-case letters"),
        ({"grpc-timeout": "1"}, "contradicts other settings"),
        ({"authorization": "Bearer x"}, "a hook cannot set 'authorization': pass token= to the client"),
        ({"a": 1}, "expected text"),
    ],
)
def test_metadata_that_cannot_be_sent_is_logged_and_left_out(answer, text, caplog):
    client, records = observed(hooks=[lambda _: answer, lambda _: {"good": "1"}])
    result, [request] = predicted(client, REPLY)
    assert request.metadata == (("good", "1"),)
    assert result["y"].tolist() == [2]
    assert text in caplog.text
    assert len(records) == 3


@pytest.mark.parametrize("answer", [True, "text", [("a", "b")], 7])
def test_other_answers_of_hooks_are_ignored(answer, caplog):
    client, _ = observed(hooks=[lambda _: answer])
    assert predicted(client, REPLY)[1][0].metadata == ()
    assert not caplog.records


class Awaiting:
    async def __call__(self, record):
        pass


async def coroutine_function(record):
    pass


async def generator_function(record):
    yield record


@pytest.mark.parametrize(
    ("hooks", "text"),
    [
        (None, "got None"),
        ("text", "got 'text'"),
        ({print}, "got {<built-in function print>}"),
        ([print, 3], "got 3"),
        (Awaiting, "got the class Awaiting itself; pass an instance"),
        (coroutine_function, "got the coroutine function coroutine_function: clients do not await hooks"),
        ([print, Awaiting()], "got the coroutine function Awaiting"),
        (functools.partial(coroutine_function), "got the coroutine function"),
        (generator_function, "got the coroutine function generator_function"),
    ],
)
def test_hooks_that_cannot_work_are_refused(hooks, text):
    with pytest.raises(ConfigError, match="expected hooks= as a function of one record") as raised:
        PredictClient("localhost:8500", hooks=hooks)
    assert text in str(raised.value)


def test_a_single_function_is_a_hook():
    records = []
    client = Client(GRPC, hooks=records.append)
    predicted(client, REPLY)
    assert len(records) == 3


# --- rows --------------------------------------------------------------------------------------------------------


class Hostile:
    @property
    def shape(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        ({"x": np.zeros((3, 2))}, 3),
        ({"x": np.zeros((3, 2)), "y": [1, 2, 3]}, 3),
        ({"x": np.zeros((3, 2)), "y": [1, 2]}, None),
        ({"x": np.float32(1)}, None),
        ({"x": 1.5}, None),
        ({"x": "text"}, None),
        ({"x": b"text"}, None),
        ({"x": {"a": 1}}, None),
        ({"x": ()}, 0),
        (MappingProxyType({"x": [1]}), 1),
        ([[1, 2], [3, 4]], 2),
        (np.zeros(4), 4),
        (7, None),
        ({}, None),
        (snapshot({"x": [1.0, 2.0, 3.0], "y": [[1], [2], [3]]}), 3),
        (snapshot([1, 2]), 2),
        ({"x": Hostile()}, None),
        (object(), None),
    ],
)
def test_rows_are_the_length_of_the_first_axis(inputs, rows):
    assert rows_of(inputs) == rows


def test_mappings_that_load_their_values_are_not_read_for_records(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 2), np.float32))
    with np.load(tmp_path / "x.npz") as inputs:
        assert rows_of(inputs) is None


def test_requests_of_a_batch_have_its_rows():
    client, records = observed()
    batch = Batch("predict_many", 5, 0.25)
    Driven(client.flows.predict({"x": np.float32(1)}, client.asked(), batch=batch)).answer(REPLY)
    assert {(record.rows, record.batch) for record in records} == {(5, batch)}
