"""Recording: modes, checks, secrets and redaction, from the view of clients."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from calling import STYLES, calling
from other_servers import kserve, running

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    CallError,
    ConfigError,
    DataLossError,
    EncodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    MicroBatcher,
    NotFoundError,
    PredictClient,
    RecordingError,
    ReplyMetadata,
    RetryPolicy,
    SignatureError,
    TensorSpec,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    serialized_examples,
)
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import write_request
from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest
from tfs_client.recordings import DamagedRecordingError, Episode, Recording, RecordingFile
from tfs_client.recordings.contents import inputs_of
from tfs_client.recordings.matching import Matcher, Rules
from tfs_client.server import Server
from tfs_client.server.embedded import MODELS
from tfs_client.testing import FakeServer

PAIRS = TensorSpec("float32", (None, 2))
SPECS = {"inputs": {"x": PAIRS}, "outputs": {"y": PAIRS}}
SHIFT = {"now": 0.0}


def x(*rows):
    return {"x": np.float32(rows or [[1, 2]])}


def shifted(x):
    return 2 * x + np.float32(SHIFT["now"])


@pytest.fixture(scope="module")
def module_server():
    with FakeServer().add_model("m", shifted, **SPECS) as server:
        yield server


@pytest.fixture
def server(module_server):
    SHIFT["now"] = 0.0
    module_server.clear_calls()
    return module_server


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "calls.tfrecord")


def made(server, recording, *inputs, style="grpc"):
    """The outputs of predictions with a client."""
    with calling(style, server, model="m", record=recording) as client:
        return [client.predict(each)["y"].tolist() for each in inputs]


def methods(path):
    return [episode.method for episode in RecordingFile.read(path).episodes]


# --- modes -------------------------------------------------------------------------------------------------------


def test_once_records_first_and_replays_then(server, path):
    assert made(server, path, x(), x()) == [[[2, 4]]] * 2
    assert made(server, path, x(), x()) == [[[2, 4]]] * 2
    assert len(server.calls) == 2
    with pytest.raises(RecordingError) as caught:
        made(server, path, x([1, 2.5]))
    text = str(caught.value)
    assert "does not have this call: Predict of model 'm' on x float32 (1, 2)" in text
    assert "nearest recorded call is number 0" in text
    assert "[0, 1]: expected 2.0, got 2.5" in text
    assert "mode='new_episodes'" in text
    assert len(server.calls) == 2


def test_none_needs_a_recording(server, path):
    with pytest.raises(RecordingError, match="cannot be read: No such file or directory; record it with mode='once'"):
        made(server, Recording(path, "none"), x())
    assert not os.path.exists(path)


def test_each_recorded_call_answers_once_in_order(server, path):
    SHIFT["now"] = 1.0
    first = made(server, Recording(path, "all"), x())
    SHIFT["now"] = 5.0
    second = made(server, Recording(path, "all"), x())
    recording = Recording(path)
    assert made(server, recording, x(), x()) == first + second
    with pytest.raises(RecordingError, match=r"has this call 2 times, used up already.*repeats=True"):
        made(server, recording, x())
    assert made(server, Recording(path, repeats=True), x(), x(), x()) == first + second + second


def test_new_episodes_records_what_is_missing(server, path):
    made(server, path, x())
    assert made(server, Recording(path, "new_episodes"), x(), x([3, 4])) == [[[2, 4]], [[6, 8]]]
    assert len(server.calls) == 2
    assert made(server, Recording(path, "none"), x([3, 4]), x()) == [[[6, 8]], [[2, 4]]]


def test_rewrite_replaces_the_file_at_the_first_call(server, path):
    made(server, path, x(), x([3, 4]))
    recording = Recording(path, "rewrite")
    with PredictClient("127.0.0.1:1", model="m", record=recording):
        assert len(methods(path)) == 2
    made(server, recording, x([5, 6]), x([7, 8]))
    made(server, recording, x([9, 9]))
    assert made(server, Recording(path, "none"), x([5, 6]), x([7, 8]), x([9, 9])) == [
        [[10, 12]],
        [[14, 16]],
        [[18, 18]],
    ]
    assert len(methods(path)) == 3


@pytest.mark.parametrize("style", ["grpc", "rest-aio"])
def test_verify_finds_a_drift_and_names_it(server, path, style):
    made(server, path, x([1, 2], [3, 4]), style=style)
    made(server, Recording(path, "verify"), x([1, 2], [3, 4]), style=style)
    SHIFT["now"] = 1e-3
    with pytest.raises(RecordingError) as caught:
        made(server, Recording(path, "verify"), x([1, 2], [3, 4]), style=style)
    assert "the server does not answer as in the recording" in str(caught.value)
    assert "output 'y': 4 of 4 values differ" in str(caught.value)
    assert "[0, 0]: expected 2.0, got 2.00" in str(caught.value)
    made(server, Recording(path, "verify", atol=2e-3), x([1, 2], [3, 4]), style=style)


def test_verify_reports_missing_and_unused_calls(server, path):
    made(server, path, x(), x([3, 4]))
    with pytest.raises(RecordingError) as caught, Recording(path, "verify") as recording:
        assert made(server, recording, x(), x([5, 6])) == [[[2, 4]], [[10, 12]]]
    assert "does not have 1 call of this run:\n  Predict of model 'm' on x float32 (1, 2)" in str(caught.value)
    assert "has 1 call not made in this run:" in str(caught.value)


@pytest.mark.parametrize("style", STYLES)
def test_a_client_verifies_at_its_end(server, path, style):
    made(server, path, x(), x([3, 4]))
    with pytest.raises(RecordingError, match=r"does not have 1 call of .*\n.*\nand has 1 call not made in this run:"):
        made(server, Recording(path, "verify"), x(), x([5, 6]), style=style)
    with (
        pytest.raises(EncodeError),  # and not what the client finds at its end
        calling(style, server, model="m", record=Recording(path, "verify")) as client,
    ):
        client.predict({"x": object()})


def test_of_clients_that_share_a_recording_the_last_one_verifies(server, path):
    made(server, path, x(), x([3, 4]))
    recording = Recording(path, "verify")
    first = PredictClient(server.target, model="m", record=recording)
    copy = pickle.loads(pickle.dumps(first))
    with PredictClient(server.rest_url, model="m", record=recording) as second:
        second.predict(x())
    with copy:
        copy.predict(x())  # and not the other one, which is for the other clients
    with pytest.raises(RecordingError, match="has 1 call not made in this run:"):
        first.close()
    first.close()
    other = pickle.loads(pickle.dumps(copy))
    other.predict(x([5, 6]))
    with pytest.raises(RecordingError, match=r"does not have 1 call of this run:\n.*$"):
        other.close()


def test_of_clients_that_follow_each_other_the_recording_verifies(server, path):
    made(server, path, x(), x([3, 4]))
    with Recording(path, "verify") as recording:
        for rows in ([1, 2], [3, 4]):
            made(server, recording, x(rows))
    with pytest.raises(RecordingError, match="has 1 call not made"), Recording(path, "verify") as recording:
        made(server, recording, x())


def test_verify_compares_failures_and_signatures(path):
    def call(server, expected):
        with PredictClient(server.target, record=Recording(path, "verify" if expected else "all")) as client:
            with pytest.raises(RecordingError if expected else NotFoundError, match=expected or "NOT_FOUND"):
                client.predict(x(), model="later")
            if not expected:
                client.signatures(model="m")
                return
            with pytest.raises(RecordingError, match="signature 'other': recorded none, got x: float32"):
                client.signatures(model="m")

    with FakeServer().add_model("m", shifted, **SPECS) as server:
        call(server, "")
        with PredictClient(server.target, record=Recording(path, "verify")) as client:
            with pytest.raises(NotFoundError):
                client.predict(x(), model="later")
            client.signatures(model="m")
        server.add_model("later", lambda x: x, **SPECS)
        server.add_model("m", lambda x: x, **SPECS, signature="other")
        call(server, r"recorded NOT_FOUND: .*, got OK")


@pytest.mark.parametrize("styles", [("grpc", "grpc"), ("grpc", "rest"), ("rest", "grpc")], ids="-".join)
@pytest.mark.parametrize("error", [FailedPreconditionError, DataLossError])
def test_verify_compares_errors_as_the_transports_show_them(path, styles, error):
    texts = ["not now"]

    def refuse(x):
        raise error(texts[-1])

    def call(style, mode, expected):
        with (
            calling(style, server, model="m", record=Recording(path, mode)) as client,
            pytest.raises(expected) as caught,
        ):
            client.predict(x())
        return str(caught.value)

    with FakeServer().add_model("m", refuse, **SPECS) as server:
        call(styles[0], "all", CallError)
        call(styles[1], "verify", CallError)
        texts.append("never")
        if styles[0] == styles[1]:
            assert "not now, got " in call(styles[1], "verify", RecordingError).replace("'", "")
        error = NotFoundError
        call(styles[1], "verify", RecordingError)


def test_verify_does_not_depend_on_the_order_of_aliases(path):
    a, b = TensorSpec("float32", (None,)), TensorSpec("int64", (None,))
    for mode, inputs in (("all", {"a": a, "b": b}), ("verify", {"b": b, "a": a})):
        with (
            FakeServer().add_model("m", lambda a, b: a, inputs=inputs, outputs={"y": a}) as server,
            Recording(path, mode) as recording,
            PredictClient(server.target, model="m", record=recording) as client,
        ):
            client.signatures()


def test_check_reports_calls_that_were_not_made(server, path):
    made(server, path, x(), x([3, 4]))
    recording = Recording(path)
    made(server, recording, x([3, 4]))
    with pytest.raises(RecordingError, match="has 1 call not made in this run:\n  Predict of model 'm'"):
        recording.check()
    recording.close()  # only with mode="verify" closing checks
    made(server, recording, x())
    recording.check()


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": 5},
        {"path": "a\0b"},
        {"path": ""},
        {"mode": "twice"},
        {"match": ("colour",)},
        {"rtol": -1},
        {"atol": float("nan")},
        {"inputs": (5,)},
        {"metadata": ("authorization",)},
        {"redact": "x"},
    ],
)
def test_arguments_are_checked(arguments):
    with pytest.raises(ConfigError):
        Recording(**{"path": "x", **arguments})
    with pytest.raises(ConfigError, match="expected the path of a recording, got 5"):
        PredictClient("h:1", record=5)


def test_a_folder_that_does_not_exist_is_reported_before_the_call(server, tmp_path):
    with pytest.raises(RecordingError, match=r"the folder .* does not exist"):
        made(server, str(tmp_path / "no" / "calls"), x())
    assert server.calls == []


@pytest.mark.parametrize("mode", ["none", "once", "new_episodes", "all", "rewrite", "verify"])
def test_a_folder_in_place_of_the_file_is_reported(server, path, mode):
    os.mkdir(path)
    with pytest.raises(RecordingError, match=r"calls\.tfrecord' cannot be"):
        made(server, Recording(path, mode), x())


def test_empty_files_are_recorded_to(server, path):
    Path(path).touch()
    Path(f"{path}.json").touch()
    assert made(server, path, x()) == made(server, path, x()) == [[[2, 4]]]
    assert len(server.calls) == 1


@pytest.mark.parametrize("mode", ["new_episodes", "all", "rewrite", "verify"])
def test_a_file_of_something_else_is_not_changed(server, path, mode):
    Path(f"{path}.json").write_text('{"mine": true}\n]}\n')
    with pytest.raises(RecordingError, match="is not the sidecar of the recording"):
        made(server, Recording(path, mode), x())
    assert Path(f"{path}.json").read_text() == '{"mine": true}\n]}\n'


def test_a_damaged_file_is_reported_by_every_call(server, path):
    made(server, path, x(), x())
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 1)
    for _ in range(2):
        with pytest.raises(DamagedRecordingError, match="damaged at offset"):
            made(server, path, x())


# --- what is recorded --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_failed_calls_fail_again_in_the_same_way(server, path, style):
    def error(record):
        target = server if record == "once" else "http://x.invalid:1" if style.startswith("rest") else "x.invalid:1"
        with calling(style, target, model="m", request_id=lambda: "id", record=Recording(path, record)) as client:
            with pytest.raises(InvalidArgumentError) as caught:
                client.predict({"x": np.float32([[1, 2, 3]])})
            return caught.value

    first, again = error("once"), error("none")
    assert str(again) == str(first)
    assert vars(again) == {**vars(first), "metadata": ReplyMetadata(), "peer": "", "raw": None, "transport_error": None}
    assert (again.method, again.mismatch) == ("Predict", True)
    assert "expected size 2 on axis 1, got 3" in again.hint


@pytest.mark.parametrize("style", ["grpc", "rest", "grpc-aio"])
def test_a_call_is_recorded_after_its_retries(path, style):
    target = "http://127.0.0.1:1" if style == "rest" else "127.0.0.1:1"
    policy = RetryPolicy(attempts=3, initial_backoff=0.01, wait_for_ready=False)
    for _ in range(2):
        with calling(style, target, model="m", retry=policy, record=path) as client:
            with pytest.raises(UnavailableError) as caught:
                client.status()
            assert (caught.value.attempts, caught.value.unreached) == (3, True)
            assert client.closed if hasattr(client, "closed") else True
    assert methods(path) == ["GetModelStatus"]


def test_waiting_is_replayed_without_pauses(server, path):
    with PredictClient(server.target, record=Recording(path, "all")) as client:
        with pytest.raises(Exception, match=r"was not ready within 0\.25 s"):
            client.wait_until_ready(0.25, model="late")
        server.add_model("late", lambda x: x, **SPECS)
        client.wait_until_ready(5, model="late")
    server.remove_model("late")
    count = len(methods(path))
    assert count >= 3
    recording = Recording(path)
    with PredictClient("127.0.0.1:1", record=recording) as client:
        client.wait_until_ready(60, model="late")  # as fast as the recorded states come
    recording.check()


def test_calls_that_cannot_be_recorded_fail_in_replay(server, path):
    with PredictClient(server.target, model="m", record=path) as client:
        assert client.models() == ("m",)
        client.predict(x())
    with PredictClient(server.target, model="m", record=path) as client:
        with pytest.raises(RecordingError, match="recordings do not answer Check"):
            client.health()
        with pytest.raises(RecordingError, match="recordings do not answer"):
            client.models()
    with (
        PredictClient(server.rest_url, model="m", record=path) as client,
        pytest.raises(UnimplementedError, match="REST does not have MultiInference"),
    ):
        client.multi_inference([{"x": 1.0}], tasks={"s": "regress"})
    assert methods(path) == ["Predict"]


def test_batches_record_the_requests_that_were_sent(server, path):
    rows = np.float32([[n, n] for n in range(10)])
    for target in (server.target, "127.0.0.1:1"):
        with PredictClient(target, model="m", record=path) as client:
            found = client.predict_batched({"x": rows}, batch_size=4, in_flight=2)
            assert found["y"].tolist() == (2 * rows).tolist()
            many = list(client.predict_many([{"x": row} for row in rows[:3]], batch_size=2))
            assert [each["y"].tolist() for each in many] == (2 * rows[:3]).tolist()
            with MicroBatcher(client, max_batch_size=1) as batcher:
                assert batcher.predict({"x": rows[5]})["y"].tolist() == [10, 10]
    sizes = sorted(len(x_of(episode)) for episode in RecordingFile.read(path).episodes)
    assert sizes == [1, 1, 2, 2, 4, 4]


def x_of(episode):
    return inputs_of(episode)["x"]


def test_asyncio_batches_record_the_requests_that_were_sent(server, path):
    rows = np.float32([[n, n] for n in range(10)])

    async def run(target):
        async with AsyncPredictClient(target, model="m", record=path) as client:
            found = await client.predict_batched({"x": rows}, batch_size=4)
            assert found["y"].tolist() == (2 * rows).tolist()
            many = [each["y"].tolist() async for each in client.predict_many([{"x": row} for row in rows[:3]])]
            assert many == (2 * rows[:3]).tolist()
            async with AsyncMicroBatcher(client, max_batch_size=1) as batcher:
                assert (await batcher.predict({"x": rows[5]}))["y"].tolist() == [10, 10]

    for target in (server.rest_url, "http://127.0.0.1:1", "127.0.0.1:1"):
        asyncio.run(run(target))


def test_numbers_keep_their_digits_where_a_server_has_no_metadata(path):
    with running(kserve) as server, PredictClient(server.url, model="m", record=path) as client:
        first = client.predict({"x": [[0.1, 0.4]]}).array
    assert server.bodies[-1]["instances"] == [[0.1, 0.4]]  # not rounded to float32
    assert x_of(RecordingFile.read(path).episodes[-1]).dtype == np.float32
    for target in ("127.0.0.1:1", "http://127.0.0.1:1"):
        with PredictClient(target, model="m", record=path) as client:
            assert client.predict({"x": [[0.1, 0.4]]}).array.tolist() == first.tolist()


def test_inputs_refused_by_the_client_are_not_recorded(server, path):
    with PredictClient(server.target, model="m", record=path) as client, pytest.raises(SignatureError):
        client.predict({"x": np.float64([[1e300, 1]])}, cast=True)
    assert methods(path) == ["GetModelMetadata"]


def test_the_caller_may_change_its_arrays(server, path):
    inputs = x()
    with PredictClient(server.target, model="m", record=path) as client:
        future = client.predict_future(inputs)
        inputs["x"][:] = 9
        future.result(30)
    assert made(server, Recording(path, "none"), x()) == [[[2, 4]]]


# --- matching ----------------------------------------------------------------------------------------------------


def test_a_subset_of_inputs_and_chosen_metadata(path):
    specs = {"inputs": {"x": PAIRS, "seed": TensorSpec("int64", ())}, "outputs": {"y": PAIRS}}

    def inputs(seed, value=1.0):
        return {"x": np.float32([[value, 2]]), "seed": np.int64(seed)}

    with (
        FakeServer().add_model("m", lambda x, seed: x, **specs) as server,
        PredictClient(server.target, model="m", record=path) as client,
    ):
        client.predict(inputs(1), metadata={"tenant": "a"})
        client.predict(inputs(2, 5), metadata={"tenant": "b"})
    recording = Recording(path, inputs=("x",), metadata=("tenant",))
    with PredictClient("127.0.0.1:1", model="m", record=recording) as client:
        assert client.predict(inputs(8, 5), metadata={"tenant": "b"})["y"].tolist() == [[5, 2]]
        with pytest.raises(RecordingError, match=r"metadata 'tenant': recorded \['a'\], got \['c'\]"):
            client.predict(inputs(8), metadata={"tenant": "c"})
        assert client.predict(inputs(8), metadata={"tenant": "a"})["y"].tolist() == [[1, 2]]


@pytest.mark.parametrize("mode", ["once", "none", "verify"])
@pytest.mark.parametrize(("inputs", "unknown"), [("imgae", "imgae"), (("x", "x[0]"), r"x\[0\]")])
def test_an_input_to_compare_that_no_recorded_call_has_is_refused(server, path, mode, inputs, unknown):
    made(server, path, x())
    with pytest.raises(ConfigError, match=f"inputs= has '{unknown}', but the recorded calls have x"):
        made(server, Recording(path, mode, inputs=inputs), x([7, 8]))
    made(server, Recording(path, "new_episodes", inputs=("x", "seed")), x([7, 8]))  # a later call may have it


def test_a_feature_to_compare_that_no_recorded_call_has_is_refused(path):
    def call(target, record):
        with PredictClient(target, model="m", record=record) as client:
            return client.regress([{"x": 2.0}], signature="regress_x_to_y").values

    with Server() as server:
        server.add_model("m", MODELS["half_plus_two"]())
        call(server.target, path)
    with pytest.raises(ConfigError, match="inputs= has 'who', but the recorded calls have x"):
        call("127.0.0.1:1", Recording(path, inputs=("who", "x")))


@pytest.mark.parametrize("options", [{"inputs": 5}, {"match": 5}, {"metadata": {1: 2}}, {"repeats": "no"}])
def test_options_of_other_types_are_refused(path, options):
    with pytest.raises(ConfigError, match="expected"):
        Recording(path, **options)
    with pytest.raises(ConfigError, match="expected"):
        FakeServer.from_recording(path, **options)


def test_inputs_match_within_a_tolerance(server, path):
    made(server, path, x())
    assert made(server, Recording(path, rtol=1e-3), x([1.0005, 2])) == [[[2, 4]]]
    with pytest.raises(RecordingError, match=r"by at most 0\.00"):
        made(server, Recording(path, rtol=1e-3), x([1.002, 2]))


def test_versions_signatures_and_outputs_must_be_the_same_unless_match_leaves_them_out(server, path):
    made(server, path, x())
    for options, text in (
        ({"version": 1}, "version: recorded None, got 1"),
        ({"signature": "s"}, "signature: recorded 'serving_default', got 's'"),
        ({"outputs": "y"}, r"outputs: recorded 'all', got \('y',\)"),
        ({"model": "n"}, "model: recorded 'm', got 'n'"),
    ):
        with (
            PredictClient("127.0.0.1:1", model="m", record=path) as client,
            pytest.raises(RecordingError, match=text),
        ):
            client.predict(x(), **options)
        record = Recording(path, match=("inputs",))
        with PredictClient("127.0.0.1:1", model="m", record=record) as client:
            assert client.predict(x(), **options)["y"].tolist() == [[2, 4]]
    assert made(server, Recording(path, match=("model",)), x([7, 7])) == [[[2, 4]]]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "int64", "bool", "string"])
@pytest.mark.parametrize("rules", [Rules(), Rules(rtol=1e-3)], ids=["exact", "tolerance"])
def test_equal_inputs_match_however_they_are_written(dtype, rules):
    def call(values):
        array = np.array(values, object if dtype == "string" else TensorSpec(dtype).dtype)
        return Episode("Predict", ModelSpec("m"), write_request(ModelSpec("m"), {"x": array}), b"")

    if dtype == "string":
        one, same, other = [b"ab", b"c"], [b"ab", b"c"], [b"a", b"bc"]
    elif dtype in ("int64", "bool"):
        one, same, other = [0, 1], [False, True], [1, 1]
    else:
        one, same, other = [0.0, np.nan, 2], [-0.0, -np.nan, 2], [0.0, np.nan, 3]
    recorded = [call(other), call(one), call(one)]
    matcher = Matcher(recorded, rules, repeats=True)
    assert [recorded.index(matcher.take(call(same))) for _ in range(2)] == [1, 1]
    assert [each is recorded[0] for each in matcher.unused()] == [True]
    assert matcher.take(call(same)) is recorded[2]
    assert matcher.take(call(other)) is recorded[0]
    assert matcher.take(call([*same, same[0]])) is None


def test_the_nearest_of_many_calls_is_shown():
    def call(value):
        request = write_request(ModelSpec("m"), {"x": np.float32([value, 1, 2])})
        return Episode("Predict", ModelSpec("m"), request, b"")

    recorded = [call(number) for number in range(600)]
    for rules in (Rules(), Rules(atol=0.25)):
        matcher = Matcher(recorded, rules)
        began = time.process_time()
        for number in range(500, 550):
            assert matcher.take(call(number)) is recorded[number]
            assert matcher.take(call(number + 0.5)) is None
        assert time.process_time() - began < 5  # each call is compared with few of the recorded ones
        assert "[0]: expected 599.0, got 599.5" in Matcher(recorded[599:], rules).missing(call(599.5))
        assert "used up already" in matcher.missing(call(500))


def test_hostile_tensors_are_compared_in_bounded_memory(server, path):
    huge = np.broadcast_to(np.float32(1), (1 << 20, 1 << 20))
    request = PredictRequest()
    request.model_spec.name = "m"
    tensor = request.inputs["x"]
    tensor.dtype = 1
    for size in huge.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.float_val.append(1)
    one = Episode("Predict", ModelSpec("m"), request.SerializeToString(), b"")
    tensor.float_val[0] = 2
    two = Episode("Predict", ModelSpec("m"), request.SerializeToString(), b"")
    for rules in (Rules(), Rules(rtol=1e-3)):
        matcher = Matcher([one], rules)
        assert matcher.take(two) is None
        assert "x float32 (1048576, 1048576)" in matcher.missing(two)
        assert matcher.take(one) is one


# --- secrets -----------------------------------------------------------------------------------------------------

TOKEN = "t0ken-PLANTED-5ecret-value"
BINARY = b"\xffplanted-binary"


def files(path):
    return b"".join(Path(path + ending).read_bytes() for ending in ("", ".json"))


def holds(data, secret):
    forms = {secret.encode()}
    for before in range(3):
        text = b64encode(bytes(before) + secret.encode())
        forms.add(text[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6])
    return any(form in data for form in forms)


@pytest.mark.parametrize("style", STYLES)
def test_a_planted_token_is_in_no_file(path, style):
    """The server repeats everything it gets, in plain text and in base64."""
    seen = []

    def refuse(x):
        raise UnauthenticatedError(
            f"bad {TOKEN}, {b64encode(b'Bearer ' + TOKEN.encode()).decode()}, {TOKEN}-2, planted-key, "
            f"{b64encode(BINARY).decode()}, {BINARY!r}"
        )

    async def fetched():
        return TOKEN

    token = fetched if style.endswith("aio") else (lambda: seen.append(1) or TOKEN)
    metadata = {"x-api-key": "planted-key", "my-password": "planted-pass", "session-bin": b"s", "tenant": f"of {TOKEN}"}
    metadata["my-token-bin"] = BINARY
    with FakeServer().add_model("m", refuse, **SPECS) as server:
        for given in (TOKEN, token):
            with (
                calling(
                    style, server, model="m", record=Recording(path, "all"), token=given, metadata=metadata
                ) as client,
                pytest.raises(UnauthenticatedError, match=TOKEN),
            ):
                client.predict(x())
        with (
            calling(style, server, model="m", record=Recording(path, "all"), metadata=metadata) as client,
            pytest.raises(UnauthenticatedError, match=TOKEN),
        ):
            client.predict(x(), metadata={"authorization": f"Bearer {TOKEN}", "tenant": "t"})
    data = files(path)
    for secret in (TOKEN, "planted-key", "planted-pass", "planted-binary", "authorization"):
        assert not holds(data, secret), secret
    failed = [episode for episode in RecordingFile.read(path).episodes if episode.method == "Predict"]
    assert [episode.details.count("[secret]") for episode in failed[:2]] == [6, 6]
    assert failed[0].metadata == (("session-bin", b"s"), ("tenant", "of [secret]"))
    assert "x-api-key" not in json.loads(Path(f"{path}.json").read_text())["episodes"][0]["metadata"]


def test_the_password_of_a_url_is_in_no_file(path):
    def refuse(x):
        raise UnauthenticatedError("who is planted-us:planted-pass?")

    with FakeServer().add_model("m", refuse, **SPECS) as server:
        url = server.rest_url.replace("//", "//planted-us:planted-pass@")
        with PredictClient(url, model="m", record=path) as client, pytest.raises(UnauthenticatedError):
            client.predict(x())
    assert not holds(files(path), "planted-pass")


def test_a_token_among_the_tensors_is_not_recorded(path):
    strings = TensorSpec("string", (None,))
    with (
        FakeServer().add_model("m", lambda s: s, inputs={"s": strings}, outputs={"y": strings}) as server,
        PredictClient(server.target, model="m", token=TOKEN, record=path) as client,
        pytest.raises(RecordingError, match=r"contains the client's token.*redact="),
    ):
        client.predict({"s": [TOKEN]})
    assert not os.path.exists(path)


# --- redaction ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["grpc", "rest-aio"])
def test_redacted_inputs_are_recorded_and_matched(server, path, style):
    seen = []

    def redact(inputs, method, model):
        seen.append((method, model))
        return {**inputs, "x": np.zeros_like(inputs["x"])}

    assert made(server, Recording(path, redact=redact), x([7, 8]), style=style) == [[[14, 16]]]
    assert x_of(RecordingFile.read(path).episodes[-1]).tolist() == [[0, 0]]
    assert made("127.0.0.1:1", Recording(path, "none", redact=redact), x([3, 4])) == [[[14, 16]]]
    assert set(seen) == {("Predict", "m")}
    with pytest.raises(RecordingError, match="does not have this call"):
        made("127.0.0.1:1", Recording(path, "none"), x([7, 8]))


def test_examples_are_redacted_and_matched_by_feature(path):
    def redact(inputs, method, model):
        assert method == "Regress"
        return {"examples": serialized_examples([{"x": 2.0, "who": b"somebody"}] * len(inputs["examples"]))}

    def call(target, record, who, x=2.0):
        with PredictClient(target, model="m", record=record) as client:
            return client.regress([{"x": x, "who": who}], signature="regress_x_to_y").values

    with Server() as server:
        server.add_model("m", MODELS["half_plus_two"]())
        assert call(server.target, Recording(path, redact=redact), b"Ann") == (3,)
    assert b"Ann" not in files(path)
    assert call("127.0.0.1:1", Recording(path, redact=redact), b"Bob") == (3,)
    assert call("127.0.0.1:1", Recording(path, inputs=("x",)), b"Bob") == (3,)
    with pytest.raises(RecordingError, match=r"input 'who\[0\]': .*differ"):
        call("127.0.0.1:1", Recording(path), b"Bob")
    with pytest.raises(RecordingError, match=r"input 'x\[0\]': .*differ"):
        call("127.0.0.1:1", Recording(path, inputs=("x",)), b"Bob", 2.5)


def test_several_tasks_are_recorded_and_verified(path):
    def call(target, record, tasks):
        with PredictClient(target, model="m", record=record) as client:
            return client.multi_inference([{"x": 2.0}], tasks=tasks)

    both = {"regress_x_to_y": "regress", "classify_x_to_y": "classify"}
    with Server() as server:
        server.add_model("m", MODELS["half_plus_two"]())
        first = call(server.target, path, both)
        with Recording(path, "verify") as recording:
            assert call(server.target, recording, both) == first
    assert call("127.0.0.1:1", path, both) == first
    with pytest.raises(RecordingError, match="tasks: recorded"):
        call("127.0.0.1:1", path, {"regress_x_to_y": "regress"})


def test_redact_returns_a_mapping(server, path):
    with pytest.raises(ConfigError, match="expected a mapping of inputs from redact="):
        made(server, Recording(path, redact=lambda inputs, method, model: None), x())


@pytest.mark.parametrize(
    "examples",
    [
        lambda given: given.reshape(-1, 1),
        lambda given: [5],
        lambda given: ["text"],
        lambda given: b"one",
        lambda given: np.array([b"ends with 0\0"]),
        lambda given: [b"one", b"two"],
        lambda given: [],
        lambda given: None,
    ],
)
def test_redact_returns_as_many_serialized_examples(path, examples):
    recording = Recording(path, redact=lambda inputs, method, model: {"examples": examples(inputs["examples"])})
    with (
        PredictClient("127.0.0.1:1", model="m", record=recording) as client,
        pytest.raises(ConfigError, match="with 1 serialized example; got"),
    ):
        client.regress([{"x": 2.0}], signature="regress_x_to_y")
    assert not os.path.exists(path)


@pytest.mark.parametrize("inputs", [{"x": [[1], [1, 2]]}, {5: [1]}, {"x": object()}])
def test_redact_returns_tensors(server, path, inputs):
    with pytest.raises(ConfigError, match="redact="):
        made(server, Recording(path, redact=lambda given, method, model: inputs), x())


# --- sharing -----------------------------------------------------------------------------------------------------


def test_threads_and_clients_share_a_recording(server, path):
    inputs = [x([n, n]) for n in range(40)]
    for _ in range(2):
        recording = Recording(path)
        with (
            PredictClient(server.target, model="m", record=recording) as one,
            PredictClient(server.rest_url, model="m", record=recording) as two,
            ThreadPoolExecutor(8) as pool,
        ):
            found = pool.map(lambda n: (one, two)[n % 2].predict(inputs[n])["y"].tolist(), range(40))
            assert list(found) == [[[2 * n, 2 * n]] for n in range(40)]
        recording.check()
    assert len(server.calls) == 40


def test_a_pickled_client_continues_to_record_or_replay(server, path):
    with PredictClient(server.target, model="m", record=path) as client:
        client.predict(x())
        with pickle.loads(pickle.dumps(client)) as copy:
            copy.predict(x([3, 4]))
    assert methods(path) == ["Predict"] * 2
    with PredictClient("127.0.0.1:1", model="m", record=path) as client:
        client.predict(x())
        with pickle.loads(pickle.dumps(client)) as copy:
            assert copy.predict(x())["y"].tolist() == [[2, 4]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_replays(server, path):
    made(server, path, x(), x([3, 4]))
    recording = Recording(path)
    with PredictClient("127.0.0.1:1", model="m", record=recording) as client:
        client.predict(x())

        def child(pipe):
            pipe.send(client.predict(x([3, 4]))["y"].tolist())
            os._exit(0)

        ours, theirs = multiprocessing.Pipe()
        with recording._lock:  # as if another thread held it
            process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
            process.start()
        assert ours.poll(30)
        assert ours.recv() == [[6, 8]]
        process.join(30)


def test_a_closed_client_does_not_replay(server, path):
    made(server, path, x())
    client = PredictClient("127.0.0.1:1", model="m", record=path)
    client.close()
    with pytest.raises(Exception, match="was closed"):
        client.predict(x())


@pytest.mark.parametrize("value", [[1.0], np.float32([1.0])], ids=["untyped", "array"])
def test_a_recording_that_cannot_be_written_is_named_for_unnamed_inputs_too(double, tmp_path, value):
    path = tmp_path / "calls"
    os.mkfifo(path)
    with (
        PredictClient(double.target, model="double", timeout=10, record=Recording(path, "all")) as client,
        pytest.raises(RecordingError, match="got a named pipe"),
    ):
        client.predict(value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_only_regular_files_are_written(fake_server):
    fake_server.add_model(
        "m", lambda x: x, inputs={"x": TensorSpec("float32", (None,))}, outputs={"y": TensorSpec("float32", (None,))}
    )
    text = r"'/dev/full' cannot be written: expected a regular file, got a character device$"
    client = PredictClient(fake_server.target, model="m", record="/dev/full")
    with client, pytest.raises(RecordingError, match=text):
        client.predict([1.0])
