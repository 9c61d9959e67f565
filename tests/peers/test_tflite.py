"""TensorFlow Lite models in the tiny server."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from peers.exported import quiet, script
from peers.lite_files import CUMSUM, INT32, TEXT, lite_file, load, refused, sum_file, tensor

from tfs_client import PredictClient, StatusCode, TensorSpec
from tfs_client.server import Server, ServerConfig
from tfs_client.server.backends import tflite
from tfs_client.server.lifecycle.platforms import PlatformOptions, Platforms

pytestmark = pytest.mark.peer


@pytest.fixture(scope="session")
def half(tmp_path_factory):
    """The script's model: y = x / 2 + 2."""
    path = tmp_path_factory.mktemp("lite") / "1"
    with quiet():
        script().tflite(path)
    return str(path)


@pytest.fixture
def servable(half):
    servable = tflite.load(half)
    yield servable
    servable.close()


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_model_is_served(servable, transport):
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model("half", servable)
        target = server.target if transport == "grpc" else server.rest_url
        with PredictClient(target, model="half", timeout=30) as client:
            for size in (3, 1, 1000):
                x = np.arange(size, dtype=np.float32)
                np.testing.assert_array_equal(client.predict({"serving_default_x": x}).array, x / 2 + 2)
            signature = client.signatures()["serving_default"]
    assert dict(signature.inputs) == {"serving_default_x": TensorSpec("float32", (1,))}
    assert [*signature.outputs.values()] == [TensorSpec("float32", (1,))]


@pytest.fixture
def sums(tmp_path):
    """y = a + b."""
    servable = load(tmp_path, sum_file())
    yield lambda a, b: servable.run("serving_default", {"a": np.float32(a), "b": np.float32(b)}, ["y"])["y"]
    servable.close()


def test_all_inputs_of_a_call_may_have_another_size_than_before(sums):
    assert sums([1, 2, 3], [1, 1, 1]).tolist() == [2, 3, 4]
    assert sums([1, 2], [1, 1]).tolist() == [2, 3]
    assert sums([[1], [2]], [[1], [1]]).tolist() == [[2], [3]]


def test_scalars_and_calls_without_rows_are_run(sums):
    scalar = sums(1, 2)
    assert (scalar.shape, scalar.tolist()) == ((), 3)
    assert sums(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 4)


def test_sizes_that_do_not_fit_fail_the_call_alone(sums):
    for _ in range(2):
        code, details = refused(sums, [1, 2, 3], [1, 2])
        assert code is StatusCode.INTERNAL
        assert details.startswith("Failed to allocate tensors. ")
    assert sums([1, 2], [1, 2]).tolist() == [2, 4]


def test_an_axis_that_does_not_fit_into_32_bits_fails_the_call_alone(sums):
    code, details = refused(sums, np.zeros((0, 1 << 31)), np.zeros((0, 1 << 31)))
    assert code is StatusCode.INTERNAL
    assert details.startswith("Failed to resize input tensor: ")
    assert sums([1, 2], [1, 2]).tolist() == [2, 4]


def test_an_input_of_another_dtype_is_refused(tmp_path):
    servable = load(tmp_path, sum_file(kind=INT32))
    with Server(ServerConfig()) as server:
        server.add_model("m", servable)
        with PredictClient(server.target, model="m", timeout=30) as client:
            code, details = refused(client.predict, {"a": np.float32([1]), "b": np.int32([1])})
    assert (code, details) == (StatusCode.INVALID_ARGUMENT, "Expects arg[0] to be int32 but float is provided")


def text_file():
    """A model that returns its strings."""
    return lite_file([tensor("text", TEXT)], [], [0], [0])


def echoed(servable, values):
    return servable.run("serving_default", {"text": np.array(values, object)}, ["text"])["text"].tolist()


def test_strings_are_passed_as_a_vector(tmp_path):
    servable = load(tmp_path, text_file())
    text = [b"a\0", "ä".encode(), b""]
    assert echoed(servable, text) == text
    assert echoed(servable, [[each] for each in text]) == text
    assert echoed(servable, []) == []
    servable.close()


@pytest.mark.parametrize("values", [b"a", [[b"a", b"b"]]], ids=["scalar", "two in a row"])
def test_strings_must_be_one_per_row(tmp_path, values):
    servable = load(tmp_path, text_file())
    code, details = refused(echoed, servable, values)
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("input 'text': expected one string for each row, because ")
    servable.close()


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ("Twist", "Encountered unresolved custom op: Twist."),
        ("FlexSin", "Select TensorFlow op(s), included in the given model, is(are) not supported by this interpreter."),
    ],
)
def test_an_op_missing_in_the_interpreter_fails_the_load(tmp_path, op, reason):
    content = lite_file([tensor("x"), tensor("y")], [(op, [0], [1])], [0], [1])
    code, details = refused(load, tmp_path, content)
    assert code is StatusCode.INTERNAL
    assert details.startswith(f"Failed to allocate tensors. {reason}")
    assert op in details


def test_an_op_that_tensorflow_does_not_know_yet_fails_the_load(tmp_path):
    content = lite_file([tensor("x"), tensor("y")], [(9999, [0], [1])], [0], [1])
    code, details = refused(load, tmp_path, content)
    assert code is StatusCode.INTERNAL
    assert details.startswith("Cannot build Interpreter from buffer. ")


def test_calls_are_split_where_a_pool_has_several_interpreters(tmp_path):
    content = lite_file(
        [tensor("x", shape=(1, 1)), tensor("axis", INT32, (), np.int32(0)), tensor("y", shape=(1, 1))],
        [(CUMSUM, [0, 1], [2])],
        [0],
        [2],
    )
    (tmp_path / tflite.FILE).write_bytes(content)
    rows = np.ones((300, 1), np.float32)
    for parts, expected in ((1, [*range(1, 301)]), (4, [*range(1, 126), *range(1, 126), *range(1, 51)])):
        options = PlatformOptions(prefer_tflite_model=True, num_tflite_pools=2, num_tflite_interpreters_per_pool=parts)
        with Platforms(options) as platforms:
            servable = platforms.loads["tensorflow"](str(tmp_path))
        assert servable.run("serving_default", {"x": rows}, ["y"])["y"].ravel().tolist() == expected
        servable.close()


@pytest.mark.parametrize("pools", [1, 3])
def test_calls_of_many_threads_do_not_mix(tmp_path, pools):
    servable, failed = load(tmp_path, sum_file(), pools=pools), []

    def sums(a, b):
        return servable.run("serving_default", {"a": np.float32(a), "b": np.float32(b)}, ["y"])["y"]

    def work(number):
        for turn in range(1, 30):
            if sums([number] * turn, [1] * turn).tolist() != [number + 1] * turn:
                failed.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_results_do_not_change_afterwards(sums):
    first = sums([1], [2])
    sums([9], [9])
    assert first.tolist() == [3]


def test_a_folder_without_model(tmp_path):
    assert refused(tflite.load, str(tmp_path)) == (
        StatusCode.NOT_FOUND,
        f"{tmp_path}/model.tflite; No such file or directory",
    )


@pytest.mark.parametrize("data", [b"", b"hello", b"garbage" * 10], ids=["empty", "short", "garbage"])
def test_a_file_that_is_not_a_model(tmp_path, data):
    (tmp_path / tflite.FILE).write_bytes(data)
    code, details = refused(tflite.load, str(tmp_path))
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("Cannot build FlatBufferModel from buffer. ")


def test_overwriting_the_file_does_not_affect_the_serving_model(half, tmp_path):
    """Were it mapped into memory, the next read of a page that is gone would end the process."""
    path = tmp_path / "1"
    path.mkdir()
    (path / tflite.FILE).write_bytes((Path(half) / tflite.FILE).read_bytes())
    servable = tflite.load(str(path))
    (path / tflite.FILE).write_bytes(b"")
    assert len(servable.signatures) == 1
    for name, signature in servable.signatures.items():
        servable.run(name, {alias: np.ones(1, np.float32) for alias in signature.inputs}, [*signature.outputs])
