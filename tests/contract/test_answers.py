"""Results that must be the same on any server and for every way of calling, as the client sees them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfs_client import DeadlineExceededError, State, StatusCode, TensorSpec

X = np.float32([1, 2, 5])


@pytest.fixture
def told(style):
    """The version that a reply names: over REST there is none."""
    return (lambda version: None) if style.startswith("rest") else (lambda version: version)


def test_the_highest_version_answers_by_default(client, told):
    prediction = client.predict({"x": X})
    assert prediction.array.tolist() == [3.5, 4, 5.5]
    assert (prediction.model.name, prediction.model.version) == ("half_plus_two", told(2))
    assert prediction.model.signature == "serving_default"


def test_the_requested_version_answers(client):
    prediction = client.predict({"x": X}, version=1)
    assert prediction.array.tolist() == [2.5, 3, 4.5]
    assert prediction.model.version == 1


def test_a_bare_array_finds_its_input(client):
    assert client.predict([1.0]).array.tolist() == [3.5]


def test_several_inputs_and_outputs_with_strings(client):
    prediction = client.predict({"a": np.float32([1, 2]), "text": ["hi", b"\xff"]}, signature="many")
    assert {alias: array.tolist() for alias, array in prediction.items()} == {
        "doubled": [2, 4],
        "loud_bytes": [b"hi!", b"\xff!"],
    }
    assert prediction["doubled"].dtype == np.float32
    assert prediction.model.signature == "many"
    assert not any(array.flags.writeable for array in prediction.values())


def test_an_output_filter_returns_only_the_named_outputs(client):
    prediction = client.predict({"a": np.float32([1]), "text": ["hi"]}, signature="many", outputs=["loud_bytes"])
    assert list(prediction) == ["loud_bytes"]


def test_empty_arrays_keep_dtype_and_shape(client):
    array = client.predict({"x": np.zeros((0,), np.float32)}).array
    assert (array.dtype, array.shape) == (np.float32, (0,))


def test_nan_and_infinity_are_sent_and_received(client):
    x = np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4e38])
    np.testing.assert_array_equal(client.predict({"x": x}).array, x / 2 + 3)


@pytest.mark.filterwarnings("ignore:a request of .* MB of JSON")
def test_a_megabyte_is_sent_and_received(client):
    x = np.arange(300_000, dtype=np.float32)
    np.testing.assert_array_equal(client.predict({"x": x}).array, x / 2 + 3)


def test_threads_get_their_own_results(client):
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda n: client.predict({"x": np.float32([n])}).array[0], range(50))
        assert list(answers) == [n / 2 + 3 for n in range(50)]


def test_validate_checks_inputs_before_they_are_sent(client):
    assert client.predict({"x": X}, validate=True).array.tolist() == [3.5, 4, 5.5]


def test_signatures_have_aliases_dtypes_and_shapes(client):
    signatures = client.signatures()
    assert (signatures.model, signatures.version) == ("half_plus_two", 2)
    default, many = signatures["serving_default"], signatures["many"]
    assert default.inputs == {"x": TensorSpec("float32", (None,))}
    assert default.outputs == {"y": TensorSpec("float32", (None,))}
    assert many.inputs == {"a": TensorSpec("float32", (None,)), "text": TensorSpec("string", (None,))}
    assert many.outputs == {"doubled": TensorSpec("float32", (None,)), "loud_bytes": TensorSpec("string", (None,))}
    assert {default.method_name, many.method_name} == {"tensorflow/serving/predict"}
    assert all(spec.tensor_name for spec in (*default.inputs.values(), *many.inputs.values()))


def test_status_lists_the_versions(client):
    status = client.status()
    assert [(entry.version, entry.state, entry.code) for entry in status.versions] == [
        (2, State.AVAILABLE, StatusCode.OK),
        (1, State.AVAILABLE, StatusCode.OK),
    ]
    assert client.is_ready()
    assert client.is_ready(version=1)
    assert not client.is_ready(version=3)
    client.wait_until_ready(10)


def test_waiting_for_a_model_that_never_becomes_ready_times_out(client):
    missing = "(Could not find|it has no versions)"  # in the words of the tiny server, and of the official stubs'
    with pytest.raises(DeadlineExceededError, match=rf"model 'ghost' at .* was not ready within 0.3 s: {missing}"):
        client.wait_until_ready(0.3, model="ghost")
