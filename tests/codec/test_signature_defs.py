"""GetModelMetadata on the wire, against messages that protobuf builds."""

import pytest

from tfs_client._codec import signature_defs, wire
from tfs_client._codec.dtypes import BY_NAME, ROWS
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError
from tfs_client.protos.tensorflow.core.framework.types_pb2 import DT_INVALID
from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    SignatureDefMap,
)


def reply(signatures, url=signature_defs.TYPE_URL, field="signature_def"):
    response = GetModelMetadataResponse()
    response.model_spec.name = "m"
    response.model_spec.version.value = 7
    response.metadata[field].type_url = url
    response.metadata[field].value = signatures.SerializeToString()
    return response.SerializeToString()


def add(info, dtype, sizes=(), name="", unknown_rank=False):
    info.dtype = dtype
    info.name = name
    info.tensor_shape.unknown_rank = unknown_rank
    for size in sizes:
        info.tensor_shape.dim.add(size=size)


def signatures_of(data):
    return signature_defs.read_response(data)[1]


def test_the_request_asks_for_signatures():
    spec = ModelSpec("m", 3)
    request = GetModelMetadataRequest.FromString(signature_defs.write_request(spec))
    assert request.model_spec.name == "m"
    assert request.model_spec.version.value == 3
    assert list(request.metadata_field) == ["signature_def"]
    label = GetModelMetadataRequest.FromString(signature_defs.write_request(ModelSpec("m", None, "canary")))
    assert label.model_spec.version_label == "canary"


def test_every_signature_is_read_with_its_tensors():
    defs = SignatureDefMap()
    one = defs.signature_def["serving_default"]
    add(one.inputs["x"], 1, (-1, 224, 0), "serving_default_x:0")
    add(one.inputs["ids"], 9, (), "serving_default_ids:0")
    add(one.outputs["y"], 7, unknown_rank=True, name="StatefulPartitionedCall:0")
    one.method_name = "tensorflow/serving/predict"
    two = defs.signature_def["other"]
    two.method_name = "tensorflow/serving/regress"
    spec, found = signature_defs.read_response(reply(defs))
    assert spec == ModelSpec("m", 7)
    assert set(found) == {"serving_default", "other"}
    inputs, outputs, method, defaults = found["serving_default"]
    assert inputs == {
        "x": (BY_NAME["float"], (None, 224, 0), "serving_default_x:0"),
        "ids": (BY_NAME["int64"], (), "serving_default_ids:0"),
    }
    assert outputs == {"y": (BY_NAME["string"], None, "StatefulPartitionedCall:0")}
    assert method == "tensorflow/serving/predict"
    assert defaults == {}
    assert found["other"] == ({}, {}, "tensorflow/serving/regress", {})


def test_inputs_with_a_default_are_named():
    defs = SignatureDefMap()
    add(defs.signature_def["s"].inputs["x"], 1)
    defs.signature_def["s"].defaults["x"].dtype = 1
    defs.signature_def["s"].defaults["x"].float_val.append(2.5)
    assert signatures_of(reply(defs))["s"][3] == {"x": defs.signature_def["s"].defaults["x"].SerializeToString()}


def test_the_init_op_has_an_output_without_a_dtype():
    defs = SignatureDefMap()
    add(defs.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"], DT_INVALID, (), "NoOp", True)
    _, outputs, method, _ = signatures_of(reply(defs))["__saved_model_init_op"]
    assert outputs == {"__saved_model_init_op": (BY_NAME["invalid"], None, "NoOp")}
    assert method == ""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_dtype_is_read(row):
    defs = SignatureDefMap()
    add(defs.signature_def["s"].inputs["x"], row.number, (2,))
    assert signatures_of(reply(defs))["s"][0]["x"] == (row, (2,), "")


@pytest.mark.parametrize("number", [34, 101, 9999])
def test_an_unknown_dtype_number_is_read_as_invalid(number):
    defs = SignatureDefMap()
    add(defs.signature_def["s"].inputs["x"], number, (2,))
    assert signatures_of(reply(defs))["s"][0]["x"][0] is BY_NAME["invalid"]


def test_sparse_and_composite_tensors_have_no_name():
    defs = SignatureDefMap()
    sparse = defs.signature_def["s"].inputs["sparse"]
    sparse.dtype = 1
    sparse.coo_sparse.values_tensor_name = "values:0"
    sparse.coo_sparse.indices_tensor_name = "indices:0"
    defs.signature_def["s"].inputs["composite"].composite_tensor.components.add(name="part:0", dtype=9)
    inputs = signatures_of(reply(defs))["s"][0]
    assert inputs["sparse"] == (BY_NAME["float"], (), "")
    assert inputs["composite"] == (BY_NAME["invalid"], (), "")


def test_a_shape_with_sizes_and_an_unknown_rank_has_an_unknown_rank():
    defs = SignatureDefMap()
    add(defs.signature_def["s"].inputs["x"], 1, (2,), unknown_rank=True)
    assert signatures_of(reply(defs))["s"][0]["x"][1] is None


@pytest.mark.parametrize(
    "url", ["type.example.com/tensorflow.serving.SignatureDefMap", "/tensorflow.serving.SignatureDefMap"]
)
def test_the_domain_of_the_type_does_not_matter(url):
    defs = SignatureDefMap()
    defs.signature_def["s"].method_name = "m"
    assert set(signatures_of(reply(defs, url))) == {"s"}


@pytest.mark.parametrize("url", ["", "type.googleapis.com/tensorflow.serving.Other", "SignatureDefMap"])
def test_another_type_is_refused(url):
    with pytest.raises(
        DecodeError, match=r"expected signatures of type type.googleapis.com/tensorflow.serving.Signature"
    ):
        signature_defs.read_response(reply(SignatureDefMap(), url))


def test_other_metadata_is_ignored():
    assert signatures_of(reply(SignatureDefMap(), "any/Other", field="other")) == {}
    assert signature_defs.read_response(b"") == (ModelSpec(""), {})


def test_metadata_without_signatures_gives_none():
    assert signatures_of(reply(SignatureDefMap())) == {}


def test_names_that_are_not_utf8_are_an_error():
    any_of = wire.delimited(1, signature_defs.TYPE_URL.encode()) + wire.delimited(2, wire.delimited(1, b"\x0a\x01\xff"))
    with pytest.raises(DecodeError, match=r"expected UTF-8 in a name"):
        signature_defs.read_response(wire.delimited(2, b"\x0a\x0dsignature_def" + wire.delimited(2, any_of)))


def test_many_signatures_of_text_in_every_script_are_read():
    defs = SignatureDefMap()
    names = [f"signature {n} é 字" for n in range(50)]
    for name in names:
        add(defs.signature_def[name].inputs[name], 1, (None or -1, 3), name)
    found = signatures_of(reply(defs))
    assert set(found) == set(names)
    assert all(found[name][0] == {name: (BY_NAME["float"], (None, 3), name)} for name in names)


def test_signatures_in_pieces_are_merged_and_the_last_of_two_values_counts():
    one, two = SignatureDefMap(), SignatureDefMap()
    add(one.signature_def["s"].inputs["x"], 1, (2,), "x:0")
    add(two.signature_def["s"].inputs["x"], 9, (-1,), "x:1")
    pieces = [proto.signature_def["s"].inputs["x"].SerializeToString() for proto in (one, two)]
    entry = wire.delimited(1, b"x") + b"".join(wire.delimited(2, piece) for piece in pieces)
    signature = wire.delimited(1, b"s") + wire.delimited(2, wire.delimited(1, entry))
    value = wire.delimited(1, signature_defs.TYPE_URL.encode()) + wire.delimited(2, wire.delimited(1, signature))
    data = wire.delimited(2, wire.delimited(1, b"signature_def") + wire.delimited(2, value))
    assert signatures_of(data)["s"][0] == {"x": (BY_NAME["int64"], (2, None), "x:1")}
