"""SavedModels in the tiny server, run by TensorFlow: what clients get, and what TensorFlow itself would say."""

from __future__ import annotations

import gc
import itertools
import json
import resource
import shutil
import threading
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from peers.arrays import DTYPES, values
from peers.exported import quiet, script
from peers.saved import error_of, run

from tfs_client import PredictClient, StatusCode, make_tensor_proto
from tfs_client._codec import examples, tfrecord
from tfs_client._codec.dtypes import find
from tfs_client._codec.values import as_array
from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tfs_client.server import Server, ServerConfig
from tfs_client.server.backends import meta_graphs, saved_model
from tfs_client.server.backends.session_options import SessionOptions
from tfs_client.server.batching import BatchingServable, time_limit
from tfs_client.server.lifecycle.warmup import FILE as WARMUP
from tfs_client.server.lifecycle.warmup import warm_up
from tfs_client.server.signature_messages import signature_def_map

pytestmark = pytest.mark.peer

CLASSIC = "saved_model_half_plus_two_2_versions"
VECTORS = Path(__file__).parents[1] / "server" / "rest" / "rest_vectors.json"


# --- the models ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def models(tf, tmp_path_factory):
    """A folder with the script's models, and with ``many``, ``identity`` and ``words``."""
    root = tmp_path_factory.mktemp("saved")
    export = script()
    with quiet():
        export.half_plus_two(root / "classic" / "00000123")
        export.half_plus_two(root / "classic" / "00000124", offset=3.0)
        export.tf2(root / "tf2" / "1")
        save_many(tf, root / "many" / "1")
        save_identity(tf, root / "identity" / "1")
        save_words(tf, root / "words" / "1", root)
    return root


def save_many(tf, path):
    """A matrix product, an op that refuses numbers, one that refuses all, and outputs of every shape."""

    class Many(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def product(self, x):
            return {"y": tf.matmul(x, tf.constant([[1.0, 2.0], [3.0, 4.0]])), "size": tf.size(x)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def finite(self, x):
            return {"y": tf.debugging.check_numerics(x, "that is no number")}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def refuse(self, x):
            with tf.control_dependencies([tf.debugging.Assert(tf.constant(False), ["refused", x])]):
                return {"y": tf.identity(x)}

        @tf.function(input_signature=[])
        def nothing(self):
            return {"text": tf.constant(b"end\0\0"), "list": tf.constant([b"a", b"\xff\0"])}

    many = Many()
    names = ("product", "finite", "refuse", "nothing")
    signatures = {name: getattr(many, name).get_concrete_function() for name in names}
    tf.saved_model.save(many, str(path), signatures=signatures)


def save_identity(tf, path):
    """Gives back its input, one signature for each dtype."""
    module = tf.Module()
    module.functions = {
        name: tf.function(
            lambda x: {"y": tf.identity(x)}, input_signature=[tf.TensorSpec(None, tf.as_dtype(name), name="x")]
        )
        for name in DTYPES
    }
    signatures = {name: function.get_concrete_function() for name, function in module.functions.items()}
    tf.saved_model.save(module, str(path), signatures=signatures)


def save_words(tf, path, folder):
    """Looks words up in a table that is read from an asset."""
    vocabulary = folder / "vocabulary.txt"
    vocabulary.write_text("zero\none\ntwo\n")

    class Words(tf.Module):
        def __init__(self):
            super().__init__()
            lines = tf.lookup.TextFileInitializer(
                str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, -1
            )
            self.table = tf.lookup.StaticHashTable(lines, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
        def number(self, word):
            return {"number": self.table.lookup(word)}

    words = Words()
    tf.saved_model.save(words, str(path), signatures=words.number)
    vocabulary.unlink()  # the export has its own


@pytest.fixture(scope="session")
def server(models):
    """A server of all these models."""
    config = ServerConfig(rest_port=0, version_labels={CLASSIC: {"old": 123}})
    with ExitStack() as stack:
        server = Server(config)
        for folder, name, version in (
            ("classic/00000123", CLASSIC, 123),
            ("classic/00000124", CLASSIC, 124),
            ("tf2/1", "tf2", 1),
            ("many/1", "many", 1),
            ("identity/1", "identity", 1),
            ("words/1", "words", 1),
        ):
            servable = saved_model.load(str(models / folder))
            stack.callback(servable.close)
            server.add_model(name, servable, version=version)
        stack.enter_context(server)
        yield server


@pytest.fixture(params=["grpc", "rest"])
def client(server, request):
    """A client of the classic model's version 123."""
    target = server.target if request.param == "grpc" else server.rest_url
    with PredictClient(target, model=CLASSIC, label="old", timeout=30) as client:
        yield client


def posted(server, path, body):
    request = urllib.request.Request(f"{server.rest_url}/v1/models/{path}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


# --- the classic model ---------------------------------------------------------------------------------------------


def test_predict(client):
    assert client.predict({"x": np.float32([[1], [2]])}).array.tolist() == [[2.5], [3]]
    assert client.predict({"x": np.float32([[1], [2]])}, version=124).array.tolist() == [[3.5], [4]]


def test_shapes_of_the_signature_are_not_checked(server):
    with PredictClient(server.target, model=CLASSIC, timeout=30) as client:
        assert client.predict({"x": np.float32([1, 2, 3])}, version=123).array.tolist() == [2.5, 3, 3.5]
    assert posted(server, f"{CLASSIC}/versions/123:predict", {"instances": [1, 2, 5]}) == {"predictions": [2.5, 3, 4.5]}


@pytest.mark.parametrize(("signature", "value"), [("regress_x_to_y", 42), ("regress_x_to_y2", 43)])
def test_regress(client, signature, value):
    regression = client.regress([{"x": 80.0}, {"x": 0.0}], signature=signature)
    assert list(regression.values) == [value, value - 40]


def test_classify(client):
    classification = client.classify([{"x": 20.0}], signature="classify_x_to_y")
    assert [(each.label, each.score) for each in classification.classes[0]] == [("", 12.0)]


def test_multi_inference(server):
    tasks = {"regress_x_to_y": "regress", "classify_x_to_y": "classify"}
    with PredictClient(server.target, model=CLASSIC, version=123, timeout=30) as client:
        regression, classification = client.multi_inference([{"x": 2.0}], tasks=tasks).values()
    assert list(regression.values) == [3]
    assert classification.classes[0][0].score == 3


@pytest.mark.parametrize(
    ("signature", "alias"),
    [("regress_x2_to_y3", "outputs"), ("classify_x2_to_y3", "scores")],
    ids=["regress", "classify"],
)
def test_signatures_that_take_numbers_can_be_predicted_with(client, signature, alias):
    assert client.predict({"inputs": np.float32([[4]])}, signature=signature)[alias].tolist() == [[5]]


def test_an_example_without_the_feature(client):
    code, details = error_of(client.regress, [{"other": 1.0}], signature="regress_x_to_y")
    assert code is StatusCode.INVALID_ARGUMENT
    assert "Feature: x (data type: float) is required but could not be found." in details


def test_the_metadata_is_that_of_the_model_server(server):
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    expected = next(vector for vector in vectors if vector["id"] == "http-036")["expect"]["json"]
    url = f"{server.rest_url}/v1/models/{CLASSIC}/versions/123/metadata"
    with urllib.request.urlopen(url, timeout=30) as reply:
        assert json.loads(reply.read()) == expected


# --- TensorFlow 2 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [CLASSIC, "tf2", "many", "identity", "words"])
def test_signatures_read_from_the_folder_equal_the_servers(server, models, name):
    folder = models / ("classic" if name == CLASSIC else name)
    with (
        PredictClient(server.target, model=name, timeout=30) as asking,
        PredictClient(server.target, model=name, timeout=30, signatures=folder) as knowing,
    ):
        given = {name: each for name, each in asking.signatures().items() if name != meta_graphs.INIT_OP}
        found = knowing.signatures()
        assert dict(found) == given
        assert found.version == asking.signatures().version
        for signature, each in given.items():
            for alias, spec in each.inputs.items():
                assert found[signature].inputs[alias].tensor_name == spec.tensor_name


def test_an_input_may_be_left_out(server):
    with PredictClient(server.target, model="tf2", timeout=30) as client:
        x = np.float32([1, 2])
        assert client.predict(x).array.tolist() == [2.5, 3]
        assert client.predict({"x": x}).array.tolist() == [2.5, 3]
        assert client.predict({"x": x, "offset": np.float32(10)}).array.tolist() == [10.5, 11]


def test_the_signatures_say_what_may_be_left_out(client):
    signature = client.signatures(model="tf2", label=None)["serving_default"]
    assert signature.optional == {"offset"}
    assert signature.inputs["x"].tensor_name == "serving_default_x:0"


def test_only_the_requested_outputs_are_computed(client):
    x = np.float32([[1, 1]])
    both = client.predict({"x": x}, model="many", label=None, signature="product")
    assert {alias: array.tolist() for alias, array in both.items()} == {"y": [[4, 6]], "size": 2}


def test_strings_keep_their_bytes(server):
    with PredictClient(server.target, model="many", timeout=30) as client:
        answer = client.predict({}, signature="nothing")
    assert answer["text"].tolist() == b"end\0\0"
    assert answer["list"].tolist() == [b"a", b"\xff\0"]


def test_a_table_from_an_asset(client):
    answer = client.predict({"word": ["two", "zero", "many"]}, model="words", label=None)
    assert answer.array.tolist() == [2, 0, -1]


@pytest.mark.parametrize("shape", [(), (1,), (0, 2), (3, 4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(server, dtype, shape):
    array = values(dtype, shape)
    with PredictClient(server.target, model="identity", timeout=30) as client:
        back = client.predict({"x": array}, signature=dtype).array
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("dtype", ["qint8", "quint8", "qint16", "quint16", "qint32", "float8_e5m2", "int4", "uint4"])
def test_dtypes_missing_in_numpy(tf, tmp_path, dtype):
    v1, row = tf.compat.v1, find(dtype)
    with quiet(), v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.as_dtype(row.number), [None], name="x")
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": tf.identity(x)})
    servable = saved_model.load(str(tmp_path / "1"))
    array = as_array([1, 2, 3], row)
    back = run(servable, array)
    assert (back.dtype, back.tobytes()) == (array.dtype, array.tobytes())
    servable.close()


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "x", "text"),
    [
        ("product", np.ones((1, 5), np.float32), "Matrix size-incompatible: In[0]: [1,5], In[1]: [2,2]\n\t [[{{node "),
        ("product", np.ones(2, np.float32), "In[0] ndims must be >= 2"),
        ("finite", np.float32([np.nan]), "that is no number : Tensor had NaN values\n\t [[{{"),
        ("refuse", np.float32([7]), "assertion failed: [refused] [7]\n\t [[{{"),
        ("product", np.ones((1, 2)), "Expects arg[0] to be float but double is provided"),
    ],
    ids=["size", "rank", "nan", "assert", "dtype"],
)
def test_errors_of_ops_are_those_of_tensorflow(server, signature, x, text):
    with PredictClient(server.target, model="many", timeout=30) as client:
        code, details = error_of(client.predict, {"x": x}, signature=signature, outputs=["y"])
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith(text)


def test_an_error_may_quote_bytes_that_are_not_utf8(models):
    """TensorFlow cannot make an exception of a text that is not UTF-8."""
    servable = saved_model.load(str(models / "classic/00000123"))
    code, details = error_of(run, servable, np.array([b"\xff"], object), "regress_x_to_y", "outputs", alias="inputs")
    assert code is StatusCode.INVALID_ARGUMENT
    assert "Could not parse example input, value: '\ufffd'" in details
    servable.close()


def test_the_init_op_is_not_a_tensor(server):
    with PredictClient(server.target, model="tf2", timeout=30) as client:
        assert error_of(client.predict, {}, signature=meta_graphs.INIT_OP)[0] is not StatusCode.INTERNAL


def load_error(path, **options):
    return error_of(saved_model.load, str(path), **options)


@pytest.fixture
def copy(models, tmp_path):
    """A copy of ``classic`` that a test may break."""
    return Path(shutil.copytree(models / "classic" / "00000123", tmp_path / "1"))


def test_a_folder_without_model(tmp_path):
    assert load_error(tmp_path) == (
        StatusCode.NOT_FOUND,
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
        f"`saved_model.pb`)\nSpecified file path: {tmp_path}",
    )


def test_a_session_bundle(tmp_path):
    (tmp_path / "export.meta").touch()
    assert load_error(tmp_path) == (StatusCode.UNIMPLEMENTED, "Session Bundle is deprecated and removed.")


def test_unknown_tags(models):
    assert load_error(models / "tf2" / "1", tags=("serve", "gpu")) == (
        StatusCode.NOT_FOUND,
        "Could not find meta graph def matching supplied tags: { gpu serve }. To inspect available tag-sets in the "
        "SavedModel, please use the SavedModel CLI: `saved_model_cli`",
    )


def test_a_file_that_is_not_a_model(copy):
    file = copy / "saved_model.pb"
    file.write_bytes(file.read_bytes()[:-100])
    assert load_error(copy) == (StatusCode.DATA_LOSS, f"Can't parse {file} as binary proto")


def test_variables_that_are_cut_off(copy):
    (copy / "variables" / "variables.data-00000-of-00001").unlink()
    code, details = load_error(copy)
    assert code is StatusCode.NOT_FOUND
    assert "variables.data-00000-of-00001" in details
    assert "Traceback" not in details


@pytest.fixture
def edit(copy, tf):
    """Change the MetaGraphDef of the copy within a block."""

    @contextmanager
    def edited():
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        file = copy / "saved_model.pb"
        proto = SavedModel.FromString(file.read_bytes())
        yield proto.meta_graphs[0]
        file.write_bytes(proto.SerializeToString())

    return edited


def test_an_unknown_op(copy, edit):
    with edit() as meta_graph:
        meta_graph.graph_def.node.add(name="odd", op="NobodyKnowsThisOp")
    code, details = load_error(copy)
    assert code is StatusCode.NOT_FOUND
    assert "Op type not registered 'NobodyKnowsThisOp'" in details


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"name": "odd", "op": "Identity", "input": ["gone"]}, "Node 'odd': Unknown input node 'gone'"),
        ({"name": "x", "op": "NoOp"}, "Node 'x' is not unique"),
    ],
)
def test_an_invalid_graph(copy, edit, node, text):
    with edit() as meta_graph:
        meta_graph.graph_def.node.add(**node)
    assert load_error(copy) == (StatusCode.INVALID_ARGUMENT, text)


def test_a_graph_for_later_releases(copy, edit):
    with edit() as meta_graph:
        meta_graph.graph_def.versions.min_consumer = 1_000_000
    code, details = load_error(copy)
    assert code is StatusCode.INVALID_ARGUMENT
    assert details.startswith("GraphDef min consumer version 1000000 above current version")


def test_negative_sizes_in_a_signature_are_open(copy, edit):
    with edit() as meta_graph:
        for signature in meta_graph.signature_def.values():
            for info in signature.inputs.values():
                info.tensor_shape.Clear()
                info.tensor_shape.dim.add(size=-7)
    servable = saved_model.load(str(copy))
    sizes = [spec.shape for signature in servable.signatures.values() for spec in signature.inputs.values()]
    servable.close()
    assert sizes
    assert set(sizes) == {(None,)}


def test_two_init_ops(copy, edit):
    with edit() as meta_graph:
        meta_graph.collection_def["saved_model_main_op"].node_list.value.append("a")
    assert load_error(copy) == (StatusCode.FAILED_PRECONDITION, f"Expected exactly one main op in : {copy}")


# --- other ways to export, and to use --------------------------------------------------------------------------------


def test_a_model_in_text_form(copy, tf, caplog):
    from google.protobuf import text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = copy / "saved_model.pb"
    text = text_format.MessageToString(SavedModel.FromString(file.read_bytes()))
    (copy / "saved_model.pbtxt").write_bytes(b"# Latin-1: \xe9\n" + text.encode())
    file.unlink()
    servable = saved_model.load(str(copy))
    assert run(servable, np.float32([2])).tolist() == [3]
    servable.close()
    (copy / "saved_model.pbtxt").write_text("nonsense")
    assert load_error(copy) == (StatusCode.DATA_LOSS, f"Can't parse {copy / 'saved_model.pbtxt'} as text proto")
    assert "Error parsing text-format tensorflow.SavedModel: 1:9: Message type" in caplog.text


def test_tags_choose_the_graph(tf, tmp_path):
    v1 = tf.compat.v1
    with quiet():
        builder = v1.saved_model.Builder(str(tmp_path / "1"))
        for tags, factor in ((["train"], 10.0), (["serve", "fast"], 20.0)):
            with v1.Session(graph=tf.Graph()) as session:
                x = v1.placeholder(tf.float32, [None], name="x")
                signature = v1.saved_model.predict_signature_def(
                    {"x": x}, {"y": factor * x, "same": x, "again": factor * x}
                )
                if factor == 10.0:
                    builder.add_meta_graph_and_variables(session, tags, {"serving_default": signature})
                else:
                    builder.add_meta_graph(tags, {"serving_default": signature})
        builder.save()
    for tags, expected in ((("train",), 10), (("fast", "serve"), 20)):
        servable = saved_model.load(str(tmp_path / "1"), tags=tags, options=SessionOptions(intra_op=1, inter_op=1))
        assert run(servable, np.float32([1])).tolist() == [expected]
        servable.close()


def test_tags_that_are_empty_mean_serve(models):
    servable = saved_model.load(str(models / "classic" / "00000123"), tags=())
    assert run(servable, np.float32([2])).tolist() == [3]
    servable.close()


def test_aliases_may_share_a_tensor(tf, tmp_path):
    v1 = tf.compat.v1
    with quiet(), v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        y = tf.identity(2 * x, "y")
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": y, "again": y, "same": x})
    servable = saved_model.load(str(tmp_path / "1"))
    answer = servable.run("serving_default", {"x": np.float32([4])}, ["again", "y"])
    assert {alias: array.tolist() for alias, array in answer.items()} == {"again": [8], "y": [8]}
    code, details = error_of(servable.run, "serving_default", {"x": np.float32([4])}, ["same"])
    assert (code, details) == (StatusCode.INVALID_ARGUMENT, "x:0 is both fed and fetched.")
    servable.close()


@pytest.mark.parametrize("batched", [False, True], ids=["alone", "batched"])
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_tensor_is_fed_once(tf, tmp_path, transport, batched):
    v1 = tf.compat.v1
    with quiet(), v1.Session(graph=tf.Graph()) as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"a": x, "b": x}, {"y": 2 * x})
    with ExitStack() as stack:
        servable = saved_model.load(str(tmp_path / "1"))
        stack.callback(servable.close)
        if batched:
            servable = stack.enter_context(BatchingServable(servable))
        server = stack.enter_context(Server(ServerConfig(rest_port=0)))
        server.add_model("m", servable)
        target = server.target if transport == "grpc" else server.rest_url
        client = stack.enter_context(PredictClient(target, model="m", timeout=30))
        inputs = {"a": np.float32([1]), "b": np.float32([1])}
        twice = error_of(client.predict, inputs)
        assert twice == (StatusCode.INVALID_ARGUMENT, 'Endpoint "x:0" fed more than once.')


def test_a_default_feeds_a_tensor_too(copy, tf):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = copy / "saved_model.pb"
    proto = SavedModel.FromString(file.read_bytes())
    signature = proto.meta_graphs[0].signature_def["serving_default"]
    signature.inputs["same"].CopyFrom(signature.inputs["x"])
    signature.defaults["same"].CopyFrom(tf.make_tensor_proto([1.0]))
    file.write_bytes(proto.SerializeToString())
    with ExitStack() as stack:
        servable = saved_model.load(str(copy))
        stack.callback(servable.close)
        server = stack.enter_context(Server())
        server.add_model("m", servable)
        client = stack.enter_context(PredictClient(server.target, model="m", timeout=30))
        name = signature.inputs["x"].name
        twice = error_of(client.predict, {"x": np.float32([1])})
        assert twice == (StatusCode.INVALID_ARGUMENT, f'Endpoint "{name}" fed more than once.')


def test_results_equal_tensorflows(tf, models):
    x = np.random.default_rng(5).standard_normal((1000, 2)).astype(np.float32)
    servable = saved_model.load(str(models / "many" / "1"))
    own = tf.saved_model.load(str(models / "many" / "1")).signatures["product"](x=tf.constant(x))
    answer = servable.run("product", {"x": x}, ["y", "size"])
    for alias, tensor in own.items():
        np.testing.assert_array_equal(answer[alias], tensor.numpy())
    servable.close()


def test_inputs_of_a_call_are_not_modified(models):
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    servable = saved_model.load(str(models / "many" / "1"))
    for array in (x, np.broadcast_to(x[:1], (3, 2)), x[::-1], np.asfortranarray(x)):
        before = array.copy()
        array.flags.writeable = False
        product = servable.run("product", {"x": array}, ["y"])["y"]
        np.testing.assert_allclose(product, before @ np.float32([[1, 2], [3, 4]]))
        np.testing.assert_array_equal(array, before)
    servable.close()


def test_many_threads(models):
    servable, failed = saved_model.load(str(models / "classic" / "00000123")), []

    def work(number):
        for turn in range(50):
            x = np.float32([number, turn])
            example = np.array([examples.one({"x": float(number)})], object)
            y = servable.run("regress_x_to_y", {"inputs": example}, ["outputs"])["outputs"]
            if run(servable, x).tolist() != [number / 2 + 2, turn / 2 + 2] or y.tolist() != [[number / 2 + 2]]:
                failed.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    servable.close()


@pytest.fixture(scope="module")
def counting(tf, tmp_path_factory):
    """A model that counts to ``turns``, and gives the number as any of its outputs."""
    path, v1 = tmp_path_factory.mktemp("counting") / "1", tf.compat.v1
    with quiet(), v1.Session(graph=tf.Graph()) as session:
        turns = v1.placeholder(tf.int32, [], name="turns")
        [done] = tf.while_loop(lambda i: i < turns, lambda i: i + 1, [tf.constant(0)])
        outputs = {f"done{number}": tf.identity(done) for number in range(9)}
        v1.saved_model.simple_save(session, str(path), {"turns": turns}, outputs)
    servable = saved_model.load(str(path))
    yield servable
    servable.close()


def count(servable, turns, outputs=("done0",)):
    return servable.run("serving_default", {"turns": np.int32(turns)}, outputs)[outputs[0]].tolist()


TOO_LATE = (StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for notification")
A_MINUTE = 50_000_000  # turns


def test_a_run_ends_at_the_deadline_of_its_call(counting):
    with time_limit(0.1):
        assert error_of(count, counting, A_MINUTE) == TOO_LATE
    for limit in (60, 1e300, None):
        with time_limit(limit):
            assert count(counting, 3) == 3


def test_every_kind_of_run_ends_at_its_deadline_without_growing_memory(counting):
    names = [f"done{number}" for number in range(9)]
    choices = [outputs for size in (1, 2, 3, 4) for outputs in itertools.combinations(names, size)]
    for outputs in choices[: saved_model.MAX_PREPARED + 10]:
        assert count(counting, 1, outputs) == 1
    before = resident()
    for outputs in choices[saved_model.MAX_PREPARED :]:
        assert count(counting, 1, outputs) == 1
    assert resident() < before + 20
    with time_limit(0.1):
        assert error_of(count, counting, A_MINUTE, choices[-1]) == TOO_LATE


def resident():
    """The memory of this process in MB, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20


@pytest.mark.parametrize("kind", ["alone", "batched"])
def test_multi_inference_runs_the_graph_once(tf, tmp_path, kind):
    v1 = tf.compat.v1
    with quiet(), v1.Session(graph=tf.Graph()) as session:
        words = v1.placeholder(tf.string, [None], name="words")
        runs = v1.get_variable("runs", initializer=0.0, use_resource=True)
        count = tf.ones_like(words, tf.float32) * runs.assign_add(1.0)
        regress = v1.saved_model.regression_signature_def(words, count)
        classify = v1.saved_model.classification_signature_def(words, None, tf.expand_dims(count, 1))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"r": regress, "c": classify})
        builder.save()
    servable = saved_model.load(str(tmp_path / "1"))
    with ExitStack() as stack:
        stack.callback(servable.close)
        if kind == "batched":
            servable = stack.enter_context(BatchingServable(servable))
        server = stack.enter_context(Server())
        server.add_model("m", servable)
        client = stack.enter_context(PredictClient(server.target, model="m", timeout=30))
        for number in (1, 2):
            found = client.multi_inference([{}, {}], tasks={"r": "regress", "c": "classify"})
            assert found["r"].values == (number, number)
            assert [row[0].score for row in found["c"].classes] == [number, number]


def test_the_signatures_of_the_file_are_the_metadata(tf, copy, models):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = copy / "saved_model.pb"
    proto = SavedModel.FromString(file.read_bytes())
    odd = proto.meta_graphs[0].signature_def["odd"]
    odd.inputs["x"].name, odd.inputs["x"].dtype = "x:0", 1
    odd.inputs["x"].tensor_shape.dim.add(size=-1, name="batch")
    odd.outputs["plain"].name, odd.outputs["plain"].dtype = "y:0", 1
    odd.outputs["sparse"].coo_sparse.values_tensor_name = "y:0"
    odd.outputs["composite"].composite_tensor.components.add(name="y:0", dtype=1)
    file.write_bytes(proto.SerializeToString())
    for path in (copy, models / "tf2" / "1"):
        servable = saved_model.load(str(path))
        written = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0].signature_def
        found = signature_def_map(servable).signature_def
        assert set(found) == set(written)
        for name, each in written.items():
            assert type(each).FromString(found[name].SerializeToString()) == each
        servable.close()


def test_more_choices_of_outputs_than_the_cache_holds(models, monkeypatch):
    monkeypatch.setattr(saved_model, "MAX_PREPARED", 2)
    servable = saved_model.load(str(models / "many" / "1"))
    x = np.ones((1, 2), np.float32)
    for outputs in (["y"], ["size"], ["y", "size"], ["size", "y"]) * 3:
        assert list(servable.run("product", {"x": x}, outputs)) == outputs
    servable.close()


def test_unloading_releases_the_memory(tf, tmp_path):
    size = 16 << 20  # values, 64 MB; and 16 MB in the graph, which has copies of them

    constant = np.arange(size // 4, dtype=np.float32)

    class Large(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(tf.ones([size]))

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])
        def scaled(self, x):
            return {"y": x * tf.reduce_sum(self.weights) + tf.constant(constant)[0]}

    with quiet():
        large = Large()
        tf.saved_model.save(large, str(tmp_path / "1"), signatures=large.scaled)
    del large
    gc.collect()

    def cycle():
        servable = saved_model.load(str(tmp_path / "1"))
        assert run(servable, np.float32(2)) == 2 * size
        servable.close()
        servable.close()  # twice is once
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # MB, on Linux

    first = cycle()
    assert max(cycle() for _ in range(6)) < first + 100


def test_warmup(models, copy):
    log = PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(make_tensor_proto([[1.0]]))
    wrong = PredictionLog()
    wrong.regress_log.request.model_spec.signature_name = "regress_x_to_y"
    wrong.regress_log.request.input.example_list.examples.add()
    servable = saved_model.load(str(copy))
    (copy / WARMUP).parent.mkdir()
    for records, fails in (([log], False), ([log, wrong], True)):
        with open(copy / WARMUP, "wb") as file:
            tfrecord.write(file, [each.SerializeToString() for each in records])
        if fails:
            assert "Feature: x" in error_of(warm_up, servable, str(copy))[1]
        else:
            warm_up(servable, str(copy))
    servable.close()
