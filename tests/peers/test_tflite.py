"""TensorFlow Lite models in the tiny server."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from peers.exported import quiet, script

from tfs_client import CallError, PredictClient, StatusCode, TensorSpec
from tfs_client.server import Server, ServerConfig
from tfs_client.server.backends import tflite

pytestmark = pytest.mark.peer


@pytest.fixture(scope="session")
def tf():
    """TensorFlow."""
    with quiet():
        import tensorflow
    return tensorflow


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


def save(path, converter):
    path.mkdir()
    with quiet():
        (path / tflite.FILE).write_bytes(converter.convert())
    return str(path)


@pytest.fixture(scope="session")
def several(tf, tmp_path_factory):
    """A model with two signatures, one of them for strings."""

    class Several(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def product(self, x):
            return {"y": tf.matmul(x, tf.constant([[1.0, 2.0], [3.0, 4.0]])), "more": x + 1}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def first(self, text):
            return {"text": tf.gather(text, [0])}

    path, module = tmp_path_factory.mktemp("several"), Several()
    with quiet():
        signatures = {"product": module.product, "first": module.first}
        tf.saved_model.save(module, str(path / "saved"), signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(path / "saved"), signature_keys=list(signatures))
    return save(path / "1", converter)


def refused(call, *args):
    with pytest.raises(CallError) as caught:
        call(*args)
    return caught.value.code, caught.value.details


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_model_is_served(servable, transport):
    with Server(ServerConfig(rest_port=0)) as server:
        server.add_model("half", servable)
        target = server.target if transport == "grpc" else server.rest_url
        with PredictClient(target, model="half", timeout=30) as client:
            for size in (3, 1, 1000):
                x = np.arange(size, dtype=np.float32)
                np.testing.assert_array_equal(client.predict({"x": x}).array, x / 2 + 2)
            signature = client.signatures()["serving_default"]
    assert dict(signature.inputs) == {"x": TensorSpec("float32", (None,))}
    assert dict(signature.outputs) == {"y": TensorSpec("float32", (None,))}


def test_several_signatures(several):
    servable = tflite.load(several)
    assert set(servable.signatures) == {"product", "first"}
    answer = servable.run("product", {"x": np.ones((3, 2), np.float32)}, ["y"])
    assert {alias: array.tolist() for alias, array in answer.items()} == {"y": [[4, 6]] * 3}
    text = np.array([b"a\0", "ä".encode(), b""], object)
    assert servable.run("first", {"text": text}, ["text"])["text"].tolist() == [b"a\0"]
    assert servable.signatures["first"].inputs["text"] == TensorSpec("string", (None,))
    servable.close()


def test_a_wrong_size_fails_the_call_alone(several):
    servable = tflite.load(several)
    for shape in ((3, 5), (3,)):
        code, details = refused(servable.run, "product", {"x": np.ones(shape, np.float32)}, ["y"])
        assert code is StatusCode.INTERNAL
        assert details.startswith("Failed to run interpreter. ")
    answer = servable.run("product", {"x": np.ones((1, 2), np.float32)}, ["y"])
    assert answer["y"].tolist() == [[4, 6]]
    servable.close()


def test_a_model_without_signatures_gets_one(tf, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session, quiet():
        x = v1.placeholder(tf.float32, [1, 2], name="x_in")
        y = tf.identity(2 * x, "y_out")
        path = save(tmp_path / "1", v1.lite.TFLiteConverter.from_session(session, [x], [y]))
    servable = tflite.load(path)
    signature = servable.signatures["serving_default"]
    assert dict(signature.inputs) == {"x_in": TensorSpec("float32", (1, 2))}
    answer = servable.run("serving_default", {"x_in": np.ones((3, 2), np.float32)}, ["y_out"])
    assert answer["y_out"].tolist() == [[2, 2]] * 3
    servable.close()


def test_calls_of_many_threads_keep_apart(servable):
    failed = []

    def work(number):
        for turn in range(1, 30):
            x = np.full(turn, number, np.float32)
            if servable.run("serving_default", {"x": x}, ["y"])["y"].tolist() != [number / 2 + 2] * turn:
                failed.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_answers_stay_what_they_are(servable):
    first = servable.run("serving_default", {"x": np.float32([1])}, ["y"])["y"]
    servable.run("serving_default", {"x": np.float32([9])}, ["y"])
    assert first.tolist() == [2.5]


def test_a_folder_without_model(tmp_path):
    assert refused(tflite.load, str(tmp_path)) == (
        StatusCode.NOT_FOUND,
        f"{tmp_path}/model.tflite; No such file or directory",
    )


@pytest.mark.parametrize("data", [b"", b"hello", b"garbage" * 10], ids=["empty", "short", "garbage"])
def test_a_file_that_is_no_model(tmp_path, data):
    (tmp_path / tflite.FILE).write_bytes(data)
    code, details = refused(tflite.load, str(tmp_path))
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("Cannot build FlatBufferModel from buffer. ")


def test_a_file_that_is_written_over_does_no_harm_to_the_model_that_serves(half, tmp_path):
    """Were it mapped into memory, the next read of a page that is gone would end the process."""
    path = tmp_path / "1"
    path.mkdir()
    (path / tflite.FILE).write_bytes((Path(half) / tflite.FILE).read_bytes())
    servable = tflite.load(str(path))
    (path / tflite.FILE).write_bytes(b"")
    assert len(servable.signatures) == 1
    for name, signature in servable.signatures.items():
        servable.run(name, {alias: np.ones(1, np.float32) for alias in signature.inputs}, [*signature.outputs])
