"""PredictRequest and PredictResponse on the wire, against protobuf."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec import predict_messages, tensors, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DecodeError, EncodeError
from tfs_client.protos.tensorflow_serving.apis import predict_pb2

from .samples import HELD, REPLY, REQUEST, of_row, packed, reference, same, tensor

SPEC = ModelSpec("m", 3, None, "serving_default")


def parsed_request(data):
    proto = predict_pb2.PredictRequest.FromString(data)
    return proto, {alias: reference(value) for alias, value in proto.inputs.items()}


def test_the_golden_request_is_read_and_the_same_request_is_written():
    request = predict_messages.read_request(REQUEST)
    assert request.spec == ModelSpec("m", 3)
    assert list(request.inputs) == ["x"]
    assert same(request.tensor("x"), np.array([2.0], "f4"))
    assert request.outputs == ["y"]
    written = predict_messages.write_request(ModelSpec("m", 3), {"x": np.array([2.0], "f4")}, ["y"])
    assert written == REQUEST.replace(b"\x2a\x04", b"\x22\x04")  # as content rather than typed: same size, other field


def test_the_golden_response_is_read_and_written():
    for _ in range(3):  # a layout remembered must not change the answer
        spec, outputs = predict_messages.read_response(REPLY)
        assert spec == SPEC
        assert list(outputs) == ["y"]
        assert same(outputs["y"], np.array([3.0], "f4"))
    assert predict_messages.write_response(SPEC, {"y": np.array([3.0], "f4")}) == REPLY


ARRAYS = {
    "float": np.ones((2, 3), "f4"), "big-endian": np.arange(5, dtype=">i4"), "F order": np.asfortranarray(np.eye(3)),
    "strided": np.arange(10)[::3], "reversed": np.arange(4.0)[::-1], "scalar": np.array(7, "u1"),
    "empty": np.zeros((0, 4), "f2"), "bool": np.array([True, False]), "half": np.array([1, -2], "f2"),
    "strings": np.array([["a", b"\0\xff"], ["é", ""]], object), "fixed bytes": np.array([b"a", b"bc"]),
    "text": np.array(["a", "bcd"]), "broadcast": np.broadcast_to(np.float32(1), (3, 4)), "complex": np.array([1j]),
    "no strings": np.array([], object), "long" * 50: np.arange(3),
}  # fmt: skip


def as_sent(array):
    if array.dtype.kind in "SUO":
        sent = np.empty(array.shape, object)
        sent[...] = np.vectorize(lambda v: v.encode() if isinstance(v, str) else v, otypes=[object])(array)
        return sent
    return array.astype(array.dtype.newbyteorder("<"))


def test_every_input_arrives_under_its_alias():
    data = predict_messages.write_request(SPEC, ARRAYS, ["a", "b"])
    proto, inputs = parsed_request(data)
    assert proto.model_spec.name == "m"
    assert proto.model_spec.version.value == 3
    assert list(proto.output_filter) == ["a", "b"]
    request = predict_messages.read_request(data)
    assert set(inputs) == set(request.inputs) == set(ARRAYS)
    for alias, array in ARRAYS.items():
        assert same(inputs[alias], as_sent(array))
        assert same(request.tensor(alias), as_sent(array))


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "content"])
def test_every_output_arrives_under_its_alias(typed):
    data = predict_messages.write_response(SPEC, ARRAYS, typed=typed)
    proto = predict_pb2.PredictResponse.FromString(data)
    assert set(proto.outputs) == set(ARRAYS)
    assert proto.model_spec.signature_name == "serving_default"
    spec, outputs = predict_messages.read_response(data)
    assert spec == SPEC
    for alias, array in ARRAYS.items():
        value = proto.outputs[alias]
        assert same(reference(value), as_sent(array))
        assert same(outputs[alias], as_sent(array))
        fields = {field.name for field, _ in value.ListFields()} - {"dtype", "tensor_shape"}
        assert (fields == {"tensor_content"} or not array.size) if not typed else "tensor_content" not in fields
        assert value.HasField("tensor_shape")


@pytest.mark.parametrize("row", HELD, ids=lambda row: row.name)
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "content"])
@pytest.mark.parametrize("sizes", [(), (2, 3), (0,), (300,)], ids=str)
def test_every_dtype_is_sent_and_answered(row, typed, sizes):
    array = of_row(row, sizes)
    _, outputs = predict_messages.read_response(predict_messages.write_response(SPEC, {"y": array}, typed=typed))
    assert same(outputs["y"], array)
    assert same(predict_messages.read_request(predict_messages.write_request(SPEC, {"y": array})).tensor("y"), array)


def test_one_alias_may_change_its_dtype_shape_and_byte_order():
    variants = [np.ones(2, "<f4"), np.ones(2, ">f4"), np.ones(1, "f8"), np.ones((1, 2), "f4"), np.ones((2, 1), "f4"),
                np.ones(4, "f2"), np.ones(2, "i4"), np.ones(0, "f4"), np.array(1, "f8"), np.array(["ab"])]  # fmt: skip
    for array in variants * 2:
        for _, inputs in [parsed_request(predict_messages.write_request(SPEC, {"x": array}))]:
            assert same(inputs["x"], as_sent(array))


def test_inputs_and_outputs_of_one_alias_are_kept_apart():
    array = np.ones(2, "f4")
    predict_messages.write_request(SPEC, {"x": array})
    data = predict_messages.write_response(SPEC, {"x": array}, typed=False)
    assert predict_pb2.PredictResponse.FromString(data).outputs["x"].tensor_content == array.tobytes()


def test_the_array_that_was_sent_may_change_afterwards():
    array = np.ones(3, "f4")
    data = predict_messages.write_request(SPEC, {"x": array})
    array[:] = 0
    assert predict_messages.read_request(data).tensor("x").tolist() == [1, 1, 1]


@pytest.mark.parametrize("length", [1, 100, 127, 128, 129, 16_383, 16_384, 2_100_000])
def test_lengths_of_every_varint_size_are_right(length):
    array = np.zeros(length, "u1")
    proto = predict_pb2.PredictRequest.FromString(predict_messages.write_request(SPEC, {"x": array}))
    assert proto.inputs["x"].tensor_content == bytes(length)
    strings = np.array([b"x" * length, b""], object)
    got = predict_pb2.PredictResponse.FromString(predict_messages.write_response(SPEC, {"x": strings}, typed=False))
    assert len(got.outputs["x"].tensor_content) == len(wire.varint(length)) + 1 + length


def test_a_message_over_two_gibibytes_is_refused_before_it_is_made():
    untouched = np.empty(1 << 31, np.uint8)  # address space, no memory
    with pytest.raises(EncodeError, match=r"expected a request of at most 2147483647 bytes, got 2147483"):
        predict_messages.write_request(SPEC, {"x": untouched})
    with pytest.raises(EncodeError, match=r"expected a response of at most 2147483647 bytes"):
        predict_messages.write_response(SPEC, {"x": untouched}, typed=False)


def test_values_that_fit_no_tensor_are_refused():
    for array in (np.zeros(2, "M8[s]"), np.array([None]), np.array([1, "a"], object)):
        with pytest.raises(EncodeError):
            predict_messages.write_request(SPEC, {"x": array})
    for alias in ("\ud800", 3):
        with pytest.raises(EncodeError, match=r"expected an alias"):
            predict_messages.write_request(SPEC, {alias: np.zeros(1)})
        with pytest.raises(EncodeError, match=r"expected an output alias"):
            predict_messages.write_request(SPEC, {}, [alias])


def test_an_empty_request_is_valid():
    data = predict_messages.write_request(ModelSpec(""), {})
    assert predict_messages.read_request(data) == predict_messages.Request(data, ModelSpec(""), {}, [])
    assert predict_messages.read_request(b"").spec is None


# --- reading what others write


def entry(number, alias, value):
    return wire.delimited(number, wire.delimited(1, alias) + wire.delimited(2, value))


ONE = tensor(9, (1,), packed(10, 1))
TWO = tensor(9, (1,), packed(10, 2))


def test_of_two_outputs_with_one_alias_the_last_counts():
    data = entry(1, b"y", ONE) + entry(1, b"z", ONE) + entry(1, b"y", TWO)
    _, outputs = predict_messages.read_response(data)
    assert {alias: array.tolist() for alias, array in outputs.items()} == {"y": [2], "z": [1]}


def test_entries_may_lack_a_key_or_have_it_last():
    data = wire.delimited(1, wire.delimited(2, ONE)) + wire.delimited(
        1, wire.delimited(2, TWO) + wire.delimited(1, b"y")
    )
    _, outputs = predict_messages.read_response(data)
    assert {alias: array.tolist() for alias, array in outputs.items()} == {"": [1], "y": [2]}


def test_an_entry_without_a_value_is_a_tensor_without_a_dtype():
    with pytest.raises(DecodeError, match=r"output 'y': expected a tensor dtype from 1 to 33, got 0"):
        predict_messages.read_response(wire.delimited(1, wire.delimited(1, b"y")))
    request = predict_messages.read_request(wire.delimited(2, wire.delimited(1, b"x")))
    with pytest.raises(DecodeError, match=r"input 'x': expected a tensor dtype from 1 to 33, got 0"):
        request.tensor("x")


def test_tensors_and_specs_in_pieces_are_merged():
    value = wire.delimited(1, b"y") + wire.delimited(2, b"\x08\x09") + wire.delimited(2, ONE[2:])
    spec = wire.delimited(2, wire.delimited(1, b"m")) + wire.delimited(2, wire.delimited(2, b"\x08\x05"))
    answered, outputs = predict_messages.read_response(wire.delimited(1, value) + spec)
    assert outputs["y"].tolist() == [1]
    assert answered == ModelSpec("m", 5)


def test_unknown_fields_are_ignored():
    noise = b"\x28\x01" + wire.delimited(99, b"x") + b"\xa3\x06\xa4\x06" + b"\x3d\0\0\0\0"
    _, outputs = predict_messages.read_response(noise + entry(1, b"y", noise[2:] + ONE) + noise)
    assert outputs["y"].tolist() == [1]
    request = predict_messages.read_request(REQUEST + wire.delimited(5, b"\x08\x01") + wire.delimited(6, b"id"))
    assert list(request.inputs) == ["x"]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (entry(1, b"\xff", ONE), "an alias"), (wire.delimited(2, wire.delimited(1, b"\xff")), "the model's name"),
        (wire.delimited(2, wire.delimited(3, b"\xc3")), "the signature's name"),
    ],
)  # fmt: skip
def test_names_that_are_not_utf8_are_an_error(data, what):
    with pytest.raises(DecodeError, match=rf"expected UTF-8 in {what}"):
        predict_messages.read_response(data)


def test_a_filter_that_is_not_utf8_is_an_error():
    with pytest.raises(DecodeError, match=r"expected UTF-8 in the output filter"):
        predict_messages.read_request(wire.delimited(3, b"\xff"))


def test_the_error_names_the_output_at_fault():
    with pytest.raises(DecodeError, match=r"output 'bad': float \(2,\) needs 8 bytes of tensor content, got 3"):
        predict_messages.read_response(
            entry(1, b"good", ONE) + entry(1, b"bad", tensor(1, (2,), wire.delimited(4, b"abc")))
        )


# --- replies that look alike


def test_replies_that_differ_only_in_their_values_are_read_alike():
    for value in range(5):
        outputs = {"y": np.full(7, value, "f4"), "z": np.full((2, 2), value, "f8")}
        data = predict_messages.write_response(SPEC, outputs)
        spec, got = predict_messages.read_response(data)
        assert spec == SPEC
        assert list(got) == ["y", "z"]
        assert all(same(got[alias], outputs[alias]) for alias in outputs)
        assert all(not array.flags.writeable and np.shares_memory(array.view("u1"), np.frombuffer(data, "u1"))
                   for array in got.values())  # fmt: skip


def test_replies_of_one_length_but_different_kinds_are_distinguished():
    replies = [
        ({"y": np.ones(4, "f4")}, SPEC), ({"y": np.ones(4, "i4")}, SPEC), ({"y": np.ones(2, "f8")}, SPEC),
        ({"z": np.ones(4, "f4")}, SPEC), ({"y": np.ones(4, "f4")}, ModelSpec("m", 4, None, "serving_default")),
        ({"y": np.ones((4, 1), "i1")}, SPEC), ({"y": np.arange(4, dtype="f4")}, SPEC), ({"y": np.zeros(16, "?")}, SPEC),
        ({"y": np.array([b"x" * 14], object)}, SPEC),
    ]  # fmt: skip
    for outputs, spec in replies * 3:
        for typed in (False, True):
            data = predict_messages.write_response(spec, outputs, typed=typed)
            answered, got = predict_messages.read_response(data)
            assert answered == spec
            assert list(got) == list(outputs)
            assert all(same(got[alias], outputs[alias]) for alias in outputs)


def test_an_invalid_bool_is_refused_even_after_valid_ones():
    data = predict_messages.write_response(SPEC, {"y": np.array([True] * 9)}, typed=False)
    for _ in range(3):
        predict_messages.read_response(data)
    at = data.index(b"\1" * 9)
    with pytest.raises(DecodeError, match=r"needs bytes of 0 or 1"):
        predict_messages.read_response(data[:at] + b"\7" + data[at + 1 :])


def test_requests_that_differ_only_in_their_values_are_read_alike():
    for value in range(5):
        inputs = {"x": np.full(7, value, "f4"), "z": np.full((2, 2), value, "i8")}
        data = predict_messages.write_request(SPEC, inputs, ["y"])
        request = predict_messages.read_request(data)
        assert isinstance(request, predict_messages.KnownRequest) == (value > 0)
        assert (request.spec, list(request.outputs), set(request.inputs)) == (SPEC, ["y"], {"x", "z"})
        tensors = {alias: request.tensor(alias) for alias in request.inputs}
        assert all(same(tensors[alias], inputs[alias]) and not tensors[alias].flags.writeable for alias in inputs)
        request.good(tensors)


def test_only_a_request_read_completely_becomes_a_pattern():
    data = predict_messages.write_request(SPEC, {"x": np.ones(3, "f4"), "z": np.ones(2, "f4")})
    request = predict_messages.read_request(data)
    request.good({"x": request.tensor("x")})
    assert isinstance(predict_messages.read_request(data), predict_messages.Request)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_a_request_changed_in_any_byte_is_read_like_a_first_request(data):
    requests = [
        predict_messages.write_request(SPEC, {"x": np.arange(4, dtype=dtype)}, wanted)
        for dtype in ("f4", "f8", "i4") for wanted in ((), ("y",))
    ]  # fmt: skip
    predict_messages._request_layouts.clear()
    for request in requests:
        outcome_of_request(request)
    request = data.draw(st.sampled_from(requests))
    at = data.draw(st.integers(0, len(request) - 1))
    request = request[:at] + bytes((data.draw(st.integers(0, 255)),)) + request[at + 1 :]
    warm = outcome_of_request(request)
    predict_messages._request_layouts.clear()
    assert outcome_of_request(request) == warm


def outcome_of_request(data):
    try:
        request = predict_messages.read_request(data)
        tensors = {alias: request.tensor(alias) for alias in request.inputs}
    except DecodeError as error:
        return str(error)
    request.good(tensors)
    read = {alias: (array.dtype, array.shape, array.tobytes()) for alias, array in tensors.items()}
    return request.spec, list(request.outputs), read


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_a_reply_changed_in_any_byte_is_read_like_a_first_reply(data):
    layouts = [predict_messages.write_response(SPEC, {"y": np.arange(4, dtype=dtype)}, typed=typed)
               for dtype in ("f4", "f8") for typed in (False, True)]  # fmt: skip
    for reply in layouts:
        predict_messages.read_response(reply)
    reply = data.draw(st.sampled_from(layouts))
    at = data.draw(st.integers(0, len(reply) - 1))
    reply = reply[:at] + bytes((data.draw(st.integers(0, 255)),)) + reply[at + 1 :]
    warm = outcome(reply)
    predict_messages._layouts.clear()
    assert outcome(reply) == warm


def outcome(reply):
    try:
        spec, outputs = predict_messages.read_response(reply)
    except DecodeError as error:
        return str(error)
    return spec, {alias: (array.dtype, array.shape, array.tobytes()) for alias, array in outputs.items()}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=5), st.sampled_from(list(ARRAYS)), max_size=4), st.lists(st.text(max_size=5)))
def test_any_request_is_what_protobuf_reads(names, wanted):
    arrays = {alias: ARRAYS[name] for alias, name in names.items()}
    data = predict_messages.write_request(SPEC, arrays, wanted)
    proto, inputs = parsed_request(data)
    assert set(inputs) == set(arrays)
    assert all(same(inputs[alias], as_sent(array)) for alias, array in arrays.items())
    assert list(proto.output_filter) == wanted
    again = predict_messages.read_request(proto.SerializeToString())
    assert list(again.outputs) == wanted
    assert all(same(again.tensor(alias), inputs[alias]) for alias in inputs)


def test_a_response_written_by_protobuf_is_read():
    proto = predict_pb2.PredictResponse()
    proto.model_spec.name = "m"
    proto.model_spec.version.value = 9
    for row in HELD:
        proto.outputs[row.name].ParseFromString(tensors.write(of_row(row, (3, 2)), typed=True))
    spec, outputs = predict_messages.read_response(proto.SerializeToString())
    assert spec == ModelSpec("m", 9)
    assert all(same(outputs[row.name], of_row(row, (3, 2))) for row in HELD)


SMALL_INPUTS = [
    np.arange(6, dtype=np.float32),
    np.arange(6, dtype=np.float32) + 1,
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.arange(12, dtype=np.float32)[::2],
    np.arange(6, dtype=">f4"),
    np.arange(6, dtype=np.int32),
    np.array([b"a", b"bc"], object),
    np.array(True),
    np.zeros((0, 3), np.float32),
    np.arange(6, dtype=np.float16),
    np.zeros(4000, np.uint8),
    np.zeros(5000, np.uint8),
]


@pytest.mark.parametrize("first", range(len(SMALL_INPUTS)))
def test_a_request_does_not_depend_on_the_one_before(first):
    specs = (ModelSpec("m"), ModelSpec("m"), ModelSpec("m", 2), ModelSpec("other", None, "label", "s"))
    for spec in specs:
        for other in (ModelSpec("m"), spec):
            for array in SMALL_INPUTS:
                for alias, outputs in (("x", ()), ("y", ()), ("x", ("z",))):
                    predict_messages._small.clear()
                    alone = predict_messages.write_request(spec, {alias: array}, outputs)
                    predict_messages._small.clear()
                    predict_messages.write_request(other, {"x": SMALL_INPUTS[first]})
                    assert predict_messages.write_request(spec, {alias: array}, outputs) == alone
                    assert predict_messages.write_request(spec, {alias: array}, outputs) == alone


def test_few_small_requests_are_remembered():
    for number in range(200):
        predict_messages.write_request(ModelSpec("m"), {f"x{number}": SMALL_INPUTS[0]})
    assert len(predict_messages._small) <= 64
