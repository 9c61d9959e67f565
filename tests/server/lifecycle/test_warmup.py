"""Warmup: records of every kind run on the version that is loaded, and their errors are errors of the load."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from tfs_client import CallError, StatusCode, TensorSpec, make_tensor_proto
from tfs_client._codec import tfrecord
from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tfs_client.server import FunctionServable, FunctionSignature
from tfs_client.server.embedded import half_plus_two
from tfs_client.server.lifecycle.warmup import FILE, MAX_RECORDS, warm_up
from tfs_client.signatures import CLASSIFY, PREDICT, REGRESS

VECTOR = TensorSpec("float32", (None,))


@pytest.fixture
def seen():
    """The inputs that the model was run with, in order."""
    return []


@pytest.fixture
def servable(seen):
    """``half_plus_two``, which notes what it is run with."""

    def noted(name, signature):
        def fn(**inputs):
            seen.append((name, inputs))
            return signature.fn(**inputs)

        return FunctionSignature(fn, signature.inputs, signature.outputs, signature.method_name)

    return FunctionServable({name: noted(name, each) for name, each in half_plus_two.signatures().items()})


@pytest.fixture
def version(tmp_path):
    """Makes a version directory with warmup records, given as messages or bytes."""

    def make(*records, raw=None):
        path = tmp_path / "1"
        path.joinpath("assets.extra").mkdir(parents=True)
        with open(path / FILE, "wb") as file:
            tfrecord.write(file, [each if isinstance(each, bytes) else each.SerializeToString() for each in records])
            file.write(raw or b"")
        return str(path)

    return make


def predict_log(x, signature="", alias="x", **spec):
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for field, value in spec.items():
        setattr(request.model_spec, field, value)
    request.inputs[alias].CopyFrom(make_tensor_proto(x))
    return log


def fill(input_, *values):
    for value in values:
        example = input_.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)


def examples_log(kind, signature, *values):
    log = PredictionLog()
    request = getattr(log, kind).request
    request.model_spec.signature_name = signature
    fill(request.input, *values)
    return log


def multi_log(*tasks, values=(2.0,)):
    log = PredictionLog()
    request = log.multi_inference_log.request
    for name, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    fill(request.input, *values)
    return log


def refused(servable, path, **options):
    with pytest.raises(CallError) as caught:
        warm_up(servable, path, **options)
    return caught.value.code, caught.value.details


def names(seen):
    return [name for name, _ in seen]


def test_without_a_file_nothing_is_run(servable, tmp_path, seen, caplog):
    with caplog.at_level(logging.INFO):
        warm_up(servable, str(tmp_path))
    assert seen == []
    assert caplog.messages == [f"No warmup data file found at {tmp_path / FILE}"]


def test_records_run_in_order(servable, version, seen):
    both = [("m", "regress_x_to_y", REGRESS), ("m", "classify_x_to_y", CLASSIFY)]
    path = version(
        predict_log([1.0, 2.0]),
        examples_log("classify_log", "classify_x_to_y", 3.0),
        examples_log("regress_log", "regress_x_to_y", 4.0, 5.0),
        multi_log(*both),
    )
    warm_up(servable, path)
    assert names(seen) == [
        "serving_default",
        "classify_x_to_y",
        "regress_x_to_y",
        "regress_x_to_y",
        "classify_x_to_y",
    ]
    assert seen[0][1]["x"].tolist() == [1, 2]
    assert len(seen[2][1]["inputs"]) == 2


def test_the_model_named_in_a_record_is_ignored(servable, version, seen):
    other = predict_log([1.0], name="another", version_label="canary")
    numbered = predict_log([1.0], name="another")
    numbered.predict_log.request.model_spec.version.value = 99
    nameless = PredictionLog()
    nameless.predict_log.request.inputs["x"].CopyFrom(make_tensor_proto([1.0]))
    answered = predict_log([1.0])
    answered.predict_log.response.outputs["wrong"].CopyFrom(make_tensor_proto([b"wrong"]))
    warm_up(servable, version(other, numbered, nameless, answered))
    assert len(seen) == 4


@pytest.mark.parametrize(("iterations", "runs"), [(3, 3), (1, 1), (0, 1), (-2, 1)])
def test_each_record_may_run_several_times(servable, version, seen, iterations, runs):
    warm_up(servable, version(predict_log([1.0]), predict_log([2.0])), iterations=iterations)
    assert [inputs["x"].tolist() for _, inputs in seen] == [[1]] * runs + [[2]] * runs


def test_a_log_without_request_counts_as_success(servable, version, seen, caplog):
    empty = PredictionLog()
    empty.log_metadata.model_spec.name = "m"
    with caplog.at_level(logging.INFO):
        warm_up(servable, version(empty, b"", predict_log([1.0])))
    assert len(seen) == 1
    assert "Number of warmup records read: 3." in caplog.text


def test_an_empty_file_is_fine(servable, version, seen):
    warm_up(servable, version())
    assert seen == []


def test_start_and_end_are_logged(servable, version, caplog):
    path = version(predict_log([1.0]))
    with caplog.at_level(logging.INFO):
        warm_up(servable, path, iterations=2)
    start, end = caplog.messages
    assert start.startswith(f"Starting to read warmup data for model at {path}/{FILE} with model-warmup-options ")
    assert re.fullmatch(
        re.escape(f"Finished reading warmup data for model at {path}/{FILE}. Number of warmup records read: 1. ")
        + r"Elapsed time \(microseconds\): \d+\.",
        end,
    )


def test_the_result_of_a_warmup_is_reported(servable, version, seen):
    told = []
    path = version(predict_log([1.0]), predict_log([2.0]))
    warm_up(servable, path, ended=lambda *what: told.append(what))
    (where, status, count, seconds), *_ = told
    assert (where, status, count) == (path, "OK", 2)
    assert 0 <= seconds < 10


def test_a_broken_file_is_reported_but_not_a_failed_record(servable, version):
    told = []
    path = version(predict_log([1.0]), raw=b"\0" * 12)
    refused(servable, path, ended=lambda *what: told.append(what[:3]))
    at = len(tfrecord.framed(predict_log([1.0]).SerializeToString()))
    assert told == [(path, f"DATA_LOSS: corrupted record at {at}", 1)]
    with open(f"{path}/{FILE}", "wb") as file:
        tfrecord.write(file, [predict_log([1.0], "missing").SerializeToString()])
    refused(servable, path, ended=lambda *what: told.append(what[:3]))
    assert len(told) == 1


def test_the_maximum_number_of_records_runs(servable, version, seen):
    warm_up(servable, version(*[predict_log([1.0])] * MAX_RECORDS))
    assert len(seen) == MAX_RECORDS


def test_one_record_too_many_is_run_and_then_refused(servable, version, seen):
    path = version(*[predict_log([1.0])] * (MAX_RECORDS + 5))
    assert refused(servable, path) == (
        StatusCode.INVALID_ARGUMENT,
        f"Number of warmup records exceeds the maximum (1000) at {path}/{FILE}",
    )
    assert len(seen) == MAX_RECORDS + 1


@pytest.mark.parametrize(("kind", "number"), [("session_run_log", 5), ("predict_streamed_log", 7)])
def test_sessions_and_streams_are_not_supported(servable, version, kind, number):
    log = PredictionLog()
    getattr(log, kind).SetInParent()
    assert refused(servable, version(log)) == (
        StatusCode.UNIMPLEMENTED,
        f"Unsupported log_type for warmup: {number}",
    )


def test_a_record_that_is_not_a_log_is_refused(servable, version):
    path = version(b"\xff\xff hello")
    code, details = refused(servable, path)
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("Failed to parse warmup record: ")
    assert details.endswith(f" hello from {path}/{FILE}")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"this is a text, not records", "corrupted record at 0 (Is this even a TFRecord file?)"),
        (tfrecord.framed(b"record")[:-1], "truncated record at 0' failed with Read less bytes than requested"),
    ],
    ids=["corrupted", "truncated"],
)
def test_a_broken_file_is_data_loss(servable, version, raw, text):
    path = version(raw=raw)
    assert refused(servable, path) == (
        StatusCode.DATA_LOSS,
        f"{text}. Please verify your warmup data is in TFRecord format.",
    )


def test_records_before_the_broken_one_have_run(servable, version, seen):
    assert refused(servable, version(predict_log([1.0]), raw=b"\0" * 12))[0] is StatusCode.DATA_LOSS
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("log", "code", "text"),
    [
        (
            predict_log([1.0], "missing"),
            StatusCode.FAILED_PRECONDITION,
            'Serving signature key "missing" not found.',
        ),
        (
            predict_log(np.float64([1.0])),
            StatusCode.INVALID_ARGUMENT,
            "Expects arg[0] to be float but double is provided",
        ),
        (
            examples_log("regress_log", "", 1.0),
            StatusCode.INVALID_ARGUMENT,
            "No regression inputs found in SignatureDef: ",
        ),
        (
            examples_log("classify_log", "missing", 1.0),
            StatusCode.INVALID_ARGUMENT,
            "No signature was found with the name: missing",
        ),
        (examples_log("classify_log", "classify_x_to_y"), StatusCode.INVALID_ARGUMENT, "Input is empty."),
        (
            multi_log(("m", "regress_x_to_y", PREDICT)),
            StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
    ids=["signature", "dtype", "regress", "classify", "empty", "task"],
)
def test_a_record_fails_as_its_call_would(servable, version, log, code, text):
    got, details = refused(servable, version(log))
    assert got is code
    assert details.startswith(text)


def test_the_first_failure_ends_the_warmup(servable, version, seen):
    path = version(predict_log([1.0]), predict_log([1.0], alias="y"), predict_log([1.0]))
    code, details = refused(servable, path, iterations=2)
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("Signature input alias: x(feed name: serving_default_x:0) not found in request")
    assert len(seen) == 2


def test_the_method_name_check_holds_for_warmup_too(version):
    servable = FunctionServable(
        {"serving_default": FunctionSignature(lambda x: x, {"x": VECTOR}, {"y": VECTOR}, "mine")}
    )
    path = version(predict_log([1.0]))
    warm_up(servable, path)
    code, details = refused(servable, path, method_name_check=True)
    assert code is StatusCode.INTERNAL
    assert details.startswith("Expected prediction signature method_name to be one of")
