"""BatchingParameters: TensorFlow Serving's names, defaults and texts, and its file."""

from __future__ import annotations

import dataclasses
import logging
import os

import pytest

from tfs_client.errors import ConfigError, InvalidArgumentError, NotFoundError
from tfs_client.protos.tensorflow_serving.servables.tensorflow import session_bundle_config_pb2
from tfs_client.server.batching import BatchingParameters

WHOLE = """
max_batch_size { value: 128 }
batch_timeout_micros { value: 5000 }
max_enqueued_batches { value: 20 }
num_batch_threads { value: 3 }
thread_pool_name { value: "mine" }
allowed_batch_sizes: [32, 64]
allowed_batch_sizes: 128
pad_variable_length_inputs: true
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 64 }
"""


def test_every_message_field_is_a_parameter():
    fields = session_bundle_config_pb2.BatchingParameters.DESCRIPTOR.fields
    assert [field.name for field in dataclasses.fields(BatchingParameters)] == [field.name for field in fields]


def test_the_defaults_are_those_of_tensorflow_serving():
    parameters = BatchingParameters()
    assert (parameters.max_batch_size, parameters.batch_timeout_micros, parameters.max_enqueued_batches) == (
        1000,
        0,
        10,
    )
    assert parameters.num_batch_threads == os.cpu_count()
    assert parameters.thread_pool_name == "model_server_batch_threads"
    assert not parameters.allowed_batch_sizes
    assert not parameters.pad_variable_length_inputs
    assert not parameters.enable_large_batch_splitting
    assert parameters.execution_limit == 1000


def test_an_empty_file_gives_the_defaults_and_the_schedulers_name():
    assert BatchingParameters.from_text("# nothing") == BatchingParameters(thread_pool_name="batch_threads")


def test_a_file_can_set_every_parameter():
    assert BatchingParameters.from_text(WHOLE) == BatchingParameters(
        max_batch_size=128,
        batch_timeout_micros=5000,
        max_enqueued_batches=20,
        num_batch_threads=3,
        thread_pool_name="mine",
        allowed_batch_sizes=[32, 64, 128],
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=64,
    )


REFUSED = [
    ({"max_batch_size": 0}, "input_batch_size_limit must be positive; was 0"),
    ({"max_batch_size": -1}, "input_batch_size_limit must be positive; was -1"),
    ({"batch_timeout_micros": -5}, "batch_timeout_micros must be non-negative; was -5"),
    ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0"),
    ({"max_enqueued_batches": -1}, "max_enqueued_batches must be positive; was -1"),
    (
        {"max_enqueued_batches": 0, "enable_large_batch_splitting": True, "max_batch_size": 8},
        "max_enqueued_batches must be positive; was 0",
    ),
    (
        {"max_batch_size": 8, "allowed_batch_sizes": [2, 4]},
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
    ),
    (
        {"allowed_batch_sizes": [32]},
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 32; expected 1000",
    ),
    (
        {"max_batch_size": 8, "enable_large_batch_splitting": True, "max_execution_batch_size": 9},
        "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
        "max_execution_batch_size.",
    ),
    (
        {"max_batch_size": 8, "enable_large_batch_splitting": True, "max_execution_batch_size": 0},
        "max_execution_batch_size must be positive; was 0",
    ),
]


def written(values):
    """The parameters as a file would have them."""
    proto = session_bundle_config_pb2.BatchingParameters()
    for name, value in values.items():
        if name == "allowed_batch_sizes":
            proto.allowed_batch_sizes.extend(value)
        else:
            getattr(proto, name).value = value
    return str(proto)


@pytest.mark.parametrize(("values", "text"), REFUSED)
def test_values_that_fail_a_load_are_refused_with_its_text_from_every_source(values, text, tmp_path):
    path = tmp_path / "batching.pbtxt"
    path.write_text(written(values), encoding="utf-8")
    for make in (lambda: BatchingParameters(**values), lambda: BatchingParameters.from_text(written(values))):
        with pytest.raises(ConfigError) as caught:
            make()
        assert str(caught.value) == text
    with pytest.raises(InvalidArgumentError) as refused:
        BatchingParameters.from_file(path)
    assert refused.value.details == text


def test_a_file_that_splits_must_set_a_size():
    with pytest.raises(ConfigError, match="max_execution_batch_size must be positive; was 0"):
        BatchingParameters.from_text("enable_large_batch_splitting { value: true }")
    text = "enable_large_batch_splitting { value: true } max_batch_size { value: 8 }"
    assert BatchingParameters.from_text(text).execution_limit == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch_size", 8.0),
        ("max_batch_size", True),
        ("batch_timeout_micros", "1"),
        ("allowed_batch_sizes", ["1"]),
        ("max_execution_batch_size", "1"),
        ("pad_variable_length_inputs", 1),
        ("thread_pool_name", None),
    ],
)
def test_values_of_another_type_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"expected {name} of type"):
        BatchingParameters(**{name: value})


def test_without_splitting_zero_enqueued_batches_mean_one_and_the_execution_size_is_ignored():
    parameters = BatchingParameters(max_enqueued_batches=0, max_batch_size=4, max_execution_batch_size=9)
    assert (parameters.enqueued_limit, parameters.execution_limit) == (1, 4)


def test_a_batch_runs_with_the_first_allowed_size_that_holds_it():
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=[2, 4, 8])
    assert [parameters.executed_size(rows) for rows in range(1, 9)] == [2, 2, 4, 4, 8, 8, 8, 8]
    assert [BatchingParameters().executed_size(rows) for rows in (1, 7)] == [1, 7]
    unordered = BatchingParameters(max_batch_size=4, allowed_batch_sizes=[8, 4])
    assert unordered.executed_size(1) == 8  # as in Serving, which does not check the order


@pytest.mark.parametrize("text", ["max_batch_size: 8", "unknown: 1", "{", "max_batch_size { value: 'x' }"])
def test_invalid_text_is_refused_with_the_line(text):
    with pytest.raises(ConfigError, match=r"line 2, column \d+: expected BatchingParameters in protobuf text: "):
        BatchingParameters.from_text("\n" + text)


@pytest.mark.parametrize("content", [b"max_batch_size: 8", b"\xff"])
def test_an_invalid_file_is_refused_with_servings_text_and_the_line_is_logged(content, tmp_path, caplog):
    path = tmp_path / "batching.pbtxt"
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR), pytest.raises(InvalidArgumentError) as caught:
        BatchingParameters.from_file(path)
    assert caught.value.details == f"Invalid protobuf file: '{path}'"
    assert "Error parsing text-format tensorflow.serving.BatchingParameters: " in caplog.text


def test_a_missing_file_is_not_found(tmp_path):
    path = tmp_path / "none.pbtxt"
    with pytest.raises(NotFoundError) as caught:
        BatchingParameters.from_file(path)
    assert caught.value.details == f"{path}; No such file or directory"


def test_a_file_is_read(tmp_path):
    path = tmp_path / "batching.pbtxt"
    path.write_text(WHOLE, encoding="utf-8")
    assert BatchingParameters.from_file(path) == BatchingParameters.from_file(str(path))
    assert BatchingParameters.from_file(path) == BatchingParameters.from_text(WHOLE)


def test_parameters_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BatchingParameters().max_batch_size = 3  # type: ignore[misc]
    assert hash(BatchingParameters(max_batch_size=2, allowed_batch_sizes=[1, 2]))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"num_batch_threads": 4097}, "num_batch_threads must be at most 4096; was 4097"),
        ({"num_batch_threads": 10**6000}, "num_batch_threads must be at most 4096; was "),
        ({"max_batch_size": 1 << 31}, "max_batch_size must be at most 2147483647; was 2147483648"),
        ({"allowed_batch_sizes": [1 << 40, 1000]}, "allowed_batch_sizes must be at most 2147483647; was 1099511627776"),
        ({"max_execution_batch_size": -(10**30)}, "max_execution_batch_size must be at most 2147483647; was -10"),
        ({"batch_timeout_micros": 1 << 63}, "expected batch_timeout_micros as an integer of 64 bits, got 92"),
        ({"thread_pool_name": "x" * 257}, "thread_pool_name must have at most 256 characters; has 257"),
    ],
)
def test_numbers_that_would_crash_the_server_are_refused(values, text):
    with pytest.raises(ConfigError) as caught:
        BatchingParameters(**values)
    assert str(caught.value).startswith(text)
