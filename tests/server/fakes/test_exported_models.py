"""The signatures of exported models: which file is read, what the model is called, and what is refused."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx_files
import pytest
import tflite_bytes
from hostile.flexbuffer_maps import written

from tfs_client import ConfigError, Signature, Signatures, TensorSpec, make_tensor_proto
from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tfs_client.protos.tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tfs_client.server.fakes import read_model, read_path

X, Y = TensorSpec("float32", (None, 2)), TensorSpec("float32", (None,))


def signature_def(size=2):
    proto = SignatureDef(method_name="tensorflow/serving/predict")
    for side, alias, sizes in ((proto.inputs, "x", (-1, size)), (proto.outputs, "y", (-1,))):
        side[alias].dtype, side[alias].name = 1, f"{alias}:0"
        for each in sizes:
            side[alias].tensor_shape.dim.add(size=each)
    proto.inputs["scale"].dtype, proto.inputs["scale"].name = 1, "scale:0"
    proto.defaults["scale"].dtype = 1
    proto.defaults["scale"].float_val.append(2.5)
    return proto


def save(folder, size=2, tags=("serve",), default=None, signature=None):
    """A SavedModel."""
    folder.mkdir(parents=True, exist_ok=True)
    proto = SavedModel(saved_model_schema_version=1)
    graph = proto.meta_graphs.add()
    graph.meta_info_def.tags.extend(tags)
    graph.signature_def["serving_default"].CopyFrom(signature or signature_def(size))
    if default is not None:
        graph.signature_def["serving_default"].defaults["scale"].CopyFrom(default)
    (folder / "saved_model.pb").write_bytes(proto.SerializeToString())
    return folder


def put(file, data):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


# --- names and versions ----------------------------------------------------------------------------------------------


def test_the_folder_above_a_numbered_version_names_the_model(tmp_path):
    for version in (2, 10, 9):
        save(tmp_path / "resnet" / str(version), size=version)
    (tmp_path / "resnet" / "11").mkdir()
    (tmp_path / "resnet" / "v12").mkdir()
    for path, version in (("resnet", 10), ("resnet/9", 9), ("resnet/2/saved_model.pb", 2), ("resnet/../resnet/", 10)):
        found = read_path(tmp_path / path)
        assert (found.name, found.version) == ("resnet", version)
        assert found.signatures["serving_default"].inputs["x"].shape == (None, version)


def test_a_folder_without_a_number_names_its_model_itself(tmp_path, monkeypatch):
    save(tmp_path / "resnet")
    monkeypatch.chdir(tmp_path / "resnet")
    for path in (tmp_path / "resnet", ".", "saved_model.pb"):
        found = read_path(path)
        assert (found.name, found.version) == ("resnet", None)


def test_onnx_and_tflite_files_are_found_in_folders_too(tmp_path):
    put(tmp_path / "a" / "3" / "model.onnx", onnx_files.model([onnx_files.value("x")], [onnx_files.value("y")]))
    put(tmp_path / "b" / "model.tflite", tflite_bytes.model([tflite_bytes.tensor("x")], [0], [0]))
    found = [read_path(tmp_path / name) for name in ("a", "b")]
    assert [(each.name, each.version) for each in found] == [("a", 3), ("b", None)]


def test_a_file_with_another_name_gives_the_model_its_own(tmp_path):
    file = put(tmp_path / "5" / "spam.onnx", onnx_files.model([], [onnx_files.value("y")]))
    assert (read_path(file).name, read_path(file).version) == ("spam", None)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_a_saved_model_has_its_defaults_and_signature_defs(tmp_path):
    found = read_path(save(tmp_path / "m"))
    signature = found.signatures["serving_default"]
    assert signature.optional == {"scale"}
    assert signature.inputs["x"] == X
    assert signature.inputs["x"].tensor_name == "x:0"
    assert found.defaults["serving_default"]["scale"].tolist() == 2.5
    assert SignatureDef.FromString(found.signature_defs["serving_default"]) == signature_def()


def test_tags_choose_the_graph(tmp_path):
    folder = save(tmp_path / "m", tags=("serve", "gpu"))
    assert read_path(folder, tags=["gpu", "serve"]).signatures["serving_default"].inputs["x"] == X
    for tags, text in ((("serve",), "'serve'"), ((), "'serve'"), (("gpu", "a"), "s 'a', 'gpu'")):
        with pytest.raises(ConfigError, match=f"expected a graph with the tag{'' if text[0] == 's' else ' '}{text}"):
            read_path(folder, tags=tags)
    with pytest.raises(ConfigError, match="expected tags as a collection of texts, got the text 'serve'"):
        read_path(folder, tags="serve")
    file = put(tmp_path / "m.onnx", onnx_files.model([], [onnx_files.value("y")]))
    with pytest.raises(ConfigError, match="the tags a are for a SavedModel"):
        read_path(file, tags={"a"})


def test_a_folder_with_two_models_gives_the_preferred_one(tmp_path):
    folder = save(tmp_path / "m" / "1")
    put(folder / "model.tflite", tflite_bytes.model([tflite_bytes.tensor("lite")], [0], [0]))
    assert "x" in read_path(folder).signatures["serving_default"].inputs
    assert "lite" in read_path(folder, prefer_tflite=True).signatures["serving_default"].inputs


def test_sizes_keep_their_names(tmp_path):
    proto = signature_def()
    proto.inputs["x"].tensor_shape.dim[0].name = proto.outputs["y"].tensor_shape.dim[0].name = "rows"
    names = read_path(save(tmp_path / "m", signature=proto)).axis_names["serving_default"]
    assert names == ({"x": ("rows", "")}, {"y": ("rows",)})
    data = onnx_files.model([onnx_files.value("x", dims=("a", 2, "b"))], [onnx_files.value("y", dims=(None, 3))])
    assert read_path(put(tmp_path / "m.onnx", data)).axis_names == {"serving_default": ({"x": ("a", "", "b")}, {})}


def test_an_onnx_model_has_one_signature(tmp_path):
    data = onnx_files.model(
        [onnx_files.value("x"), onnx_files.value("w")], [onnx_files.value("y", dims=None)], [onnx_files.weight("w")]
    )
    found = read_path(put(tmp_path / "m.onnx", data)).signatures
    assert found == {"serving_default": Signature({"x": X}, {"y": TensorSpec("float32", None)})}


def test_a_tflite_model_without_metadata_has_one_signature_with_open_sizes(tmp_path):
    tensors = [
        tflite_bytes.tensor("serving_default_x:0", shape=(1, 2), signature=(-1, 2)),
        tflite_bytes.tensor("y", shape=(1,)),
    ]
    found = read_path(put(tmp_path / "m.tflite", tflite_bytes.model(tensors, [0], [1], own=("serve",)))).signatures
    assert found == {"serving_default": Signature({"serving_default_x": X}, {"y": TensorSpec("float32", (1,))})}


def test_the_metadata_of_a_tflite_model_has_its_signatures(tmp_path):
    proto = SignatureDef(method_name="tensorflow/serving/predict")
    for side, alias, name in ((proto.inputs, "x", "a"), (proto.outputs, "y", "b")):
        side[alias].name = name
        side[alias].tensor_shape.dim.add(size=-1)
    data = tflite_bytes.model(
        [tflite_bytes.tensor("a"), tflite_bytes.tensor("b")],
        [0],
        [1],
        metadata=written({b"mine": proto.SerializeToString()}),
    )
    found = read_path(put(tmp_path / "m.tflite", data)).signatures
    assert found == {"mine": Signature({"x": Y}, {"y": Y})}


def test_the_json_of_metadata_has_defaults_too():
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]}, "name": "x:0"}
    default = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "1"}, {"size": "2"}]}, "float_val": [1, 2]}
    signature = {"inputs": {"x": tensor}, "outputs": {}, "defaults": {"x": default}, "method_name": "m"}
    reply = {
        "model_spec": {"name": "m", "version": "4"},
        "metadata": {"signature_def": {"signature_def": {"s": signature}}},
    }
    for form in (reply, json.dumps(reply), json.dumps(reply).encode()):
        found = read_model(form)
        assert (found.name, found.version) == ("m", 4)
        assert found.defaults["s"]["x"].tolist() == [[1, 2]]
    signature["defaults"] = {"x": {"dtype": "DT_NONE"}}
    with pytest.raises(ConfigError, match="the default of input 'x' as a TensorProto"):
        read_model(reply)


def test_inputs_whose_default_is_not_known_get_zeros(tmp_path):
    signature = Signature({"x": X, "n": TensorSpec("string", None)}, {"y": Y}, optional=frozenset({"x", "n"}))
    tensor = {"dtype": "float32", "shape": [None, 2], "optional": True}
    text = json.dumps({"model": "m", "version": 2, "signatures": {"s": {"inputs": {"x": tensor}}}})
    for given in (Signatures({"s": signature}, model="m", version=2), text, put(tmp_path / "c.json", text.encode())):
        found = read_model(given)
        assert (found.name, found.version) == ("m", 2)
        assert found.defaults["s"]["x"].tolist() == [[0, 0]]
        assert found.signature_defs is None
    found = read_model({"s": signature})
    assert (found.name, found.version) == ("", None)
    assert found.defaults["s"]["n"].tolist() == b""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_may_have_the_encodings_of_shells_and_editors(tmp_path, encoding):
    signature = {"inputs": {"ä": {"dtype": "float32", "shape": [None]}}, "outputs": {}}
    text = json.dumps({"model": "m", "signatures": {"s": signature}}, ensure_ascii=False)
    put(tmp_path / "m.json", text.encode(encoding))
    assert list(read_path(tmp_path / "m.json").signatures["s"].inputs) == ["ä"]


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "data", "text"),
    [
        ("m.pb", b"\x12\x09x", "field 2 at byte 2 needs 9 bytes, got 1"),
        ("m.pb", b"", "expected a graph with the tag 'serve' and no others, got none"),
        ("m.onnx", b"\x3a\x09x", "field 7 at byte 2 needs 9 bytes, got 1"),
        ("m.tflite", b"TFL3", "is not a TensorFlow Lite model"),
        ("m.json", b"{", "expected JSON"),
        ("m.json", b"[]", r"(?<!as JSON: )expected signatures as JSON, got \[\]"),
        ("m.json", b'{"signatures": {}}', "expected at least one signature, got none"),
        ("m.h5", b"\x89HDF", "expected JSON"),
        ("m/saved_model.pbtxt", b"", "SavedModel as text"),
        ("m/1/saved_model.pbtxt", b"", "SavedModel as text"),
        ("saved_model.pbtxt", b"", "SavedModel as text"),
        ("m/1/saved_model.cpb", b"", "SavedModel in chunks, which only TensorFlow reads: expected saved_model.pb"),
        ("m/notes.txt", b"", r"expected saved_model\.pb or model\.onnx or model\.tflite in .*, found none of them"),
    ],
)
def test_paths_without_a_readable_model_are_refused(tmp_path, file, data, text):
    put(tmp_path / file, data)
    with pytest.raises(ConfigError, match=f"cannot be read as a model: .*{text}"):
        read_path(tmp_path / file.partition("/")[0])


@pytest.mark.parametrize("default", [np.float64(2), np.ones((2, 3), np.float32)], ids=["dtype", "shape"])
def test_a_default_that_does_not_fit_its_input_is_refused(tmp_path, default):
    tensor = TensorProto.FromString(make_tensor_proto(default).SerializeToString())
    file = save(tmp_path / "m", default=tensor) / "saved_model.pb"
    with pytest.raises(ConfigError, match="the default of input 'scale' cannot be used: expected float32 scalar, got"):
        read_path(file)


def test_a_default_for_an_unknown_input_is_ignored_as_by_tensorflow(tmp_path):
    proto = signature_def()
    proto.inputs.pop("scale")
    found = read_path(save(tmp_path / "m", signature=proto))
    assert found.defaults == {"serving_default": {}}


def test_an_empty_path_is_not_the_current_directory(tmp_path, monkeypatch):
    save(tmp_path / "m")
    monkeypatch.chdir(tmp_path / "m")
    for read in (read_path, read_model):
        assert read(".").name == "m"
        with pytest.raises(ConfigError, match="expected a path, got an empty one"):
            read("")


def test_a_file_that_is_missing_or_a_pipe_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'/no/such/model' cannot be read as a model: No such file"):
        read_path("/no/such/model")
    with pytest.raises(ConfigError, match="null"):
        read_path("a\0b")
    os.mkfifo(tmp_path / "m.json")
    with pytest.raises(ConfigError, match="expected a regular file, got a named pipe"):
        read_path(tmp_path / "m.json")


@pytest.mark.parametrize("given", [5, None, ["x"]])
def test_other_values_are_refused(given):
    with pytest.raises(ConfigError, match=f"expected signatures as Signatures, .* got {type(given).__name__}"):
        read_model(given)


def test_a_default_that_would_fill_the_memory_is_refused():
    spec = TensorSpec("float32", (1 << 20, 1 << 20))
    with pytest.raises(ConfigError, match="the default of input 'x' cannot be used"):
        read_model({"s": Signature({"x": spec}, {}, optional=frozenset({"x"}))})
    spec = TensorSpec("float32", (1 << 40, 1 << 40))
    with pytest.raises(ConfigError, match="the default of input 'x' cannot be used"):
        read_model({"s": Signature({"x": spec}, {}, optional=frozenset({"x"}))})


def test_reading_does_not_depend_on_the_size_of_the_graph(tmp_path):
    file = save(tmp_path / "m") / "saved_model.pb"
    data = file.read_bytes()
    with open(file, "wb") as large:  # a graph of 1 GiB, as a hole in the file
        large.write(data + b"\x1a" + b"\x80\x80\x80\x80\x04")
        large.truncate(large.tell() + (1 << 30))
    assert read_path(file).signatures["serving_default"].inputs["x"] == X
    assert np.float32(2.5) == read_path(file).defaults["serving_default"]["scale"]
