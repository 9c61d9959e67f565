"""Messages from protobuf text: what C++ protobuf accepts and refuses, at which position and with which text."""

from __future__ import annotations

import re

import pytest
from google.protobuf import message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client._codec.text_messages import check_syntax, fill
from tfs_client._codec.text_tokens import TextFormatError
from tfs_client.protos._pool import pool

MODELS, TENSOR = "tensorflow.serving.ModelServerConfig", "tensorflow.TensorProto"
BATCHING, LOGGING = "tensorflow.serving.BatchingParameters", "tensorflow.serving.LoggingConfig"


def empty(message):
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(message))()


def read(message, text):
    """The serialized message, or ``line:column: reason``."""
    proto = empty(message)
    try:
        fill(proto, text)
    except TextFormatError as error:
        return str(error)
    return proto.SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def protoc():
    pytest.importorskip("grpc_tools", reason="protoc is the oracle")
    from .protoc_encode import Protoc

    protoc = Protoc()
    yield protoc
    protoc.close()


def alike(message, text, protoc):
    """Whether protoc makes the same of a text: an equal message, or the same refusal at the same place."""
    proto, got = empty(message), read(message, text)
    if isinstance(got, bytes):
        proto.ParseFromString(got)
    return protoc.agrees(proto, text, got if isinstance(got, str) else "")


# Where Python's protobuf reads another language: fields of a TensorProto, and what C++ protobuf has to say.
FIELDS = {
    b"version_number: 1_000": "1:18: Need space between number and identifier.",
    b"version_number:\xc2\xa01": "1:16: Interpreting non ascii codepoint 194.",
    b"\xef\xbb\xbfversion_number: 1": "1:1: Interpreting non ascii codepoint 239.",
    b"tensor_content: '\\C'": "1:19: Invalid escape sequence in string literal.",
    b"tensor_content: '\\x'": "1:20: Expected hex digits for escape sequence.",
    b"tensor_content: '\\u12g4'": "1:22: Expected four hex digits for \\u escape sequence.",
    b"tensor_content: '\\U00200000'": "1:22: Expected eight hex digits up to 10ffff for \\U escape sequence",
    b"tensor_content: 'a\n'": '1:19: Multiline strings are not allowed. Did you miss a "?.',
    b"tensor_content: 'a": "1:19: Unexpected end of string.",
    b"tensor_content: 'a\0'": "1:19: Unexpected end of string.",
    b"tensor_content: a": "1:17: Expected string, got: a",
    b"version_number: 1 \0": "1:19: Invalid control characters encountered in text.",
    b"version_number: 09": "1:18: Numbers starting with leading zero must be in octal.",
    b"version_number: 0x": '1:19: "0x" must be followed by hex digits.',
    b"version_number: 0x1.": "1:20: Hex and octal numbers must be integers.",
    b"version_number: 1.5": "1:17: Expected integer, got: 1.5",
    b"version_number: 2147483648": "1:17: Integer out of range (2147483648)",
    b"version_number: -2147483649": "1:18: Integer out of range (2147483649)",
    b"version_number: " + b"9" * 5000: f"1:17: Integer out of range ({'9' * 5000})",
    b"version_number: 1 version_number: 2": '1:33: Non-repeated field "version_number" is specified multiple times.',
    b"float_val: 1.5.": "1:15: Already saw decimal point or exponent; can't have another one.",
    b"float_val: 1e": '1:14: "e" must be followed by exponent.',
    b"float_val: 0x10": "1:12: Expect a decimal number, got: 0x10",
    b"float_val: fast": "1:12: Expected double, got: fast",
    b"float_val: '1'": "1:12: Expected double, got: '1'",
    b"float_val.5": "1:10: Need space between identifier and decimal point.",
    b"float_val: [1 2]": '1:15: Expected ",", found "2".',
    b"bool_val: TRUE": '1:15: Invalid value for boolean field "bool_val". Value: "TRUE".',
    b"bool_val: 2": "1:11: Integer out of range (2)",
    b"bool_val: 'true'": "1:11: Expected identifier, got: 'true'",
    b"dtype: DT_NONE": '1:15: Unknown enumeration value of "DT_NONE" for field "dtype".',
    b"dtype: 1.5": "1:8: Expected integer or identifier, got: 1.5",
    b"dtype 1": '1:7: Expected ":", found "1".',
    b"5: 1": "1:1: Expected identifier, got: 5",
    b"no: 1": '1:3: Message type "tensorflow.TensorProto" has no field named "no".',
    b"\tdtype: \t\tno": '1:27: Unknown enumeration value of "no" for field "dtype".',
    b"tensor_shape { > }": '1:16: Expected "}", found ">".',
    b"tensor_shape: 1": '1:15: Expected "{", found "1".',
    b"[no.such] { }": '1:11: Extension "no.such" is not defined or is not an extension of "tensorflow.TensorProto".',
    b"[a/b] { }": '1:6: Extension name contains "/"',
    b"[a b": '1:5: Expected "]", found "".',
    b"# Gr\xf6\xdfe\n version_number: - 7 # end": "version_number: -7",
    b"version_number: -  # sign\n 010;": "version_number: -8",
    b"version_number: 0 version_number: 5,": "version_number: 5",
    b"tensor_content: '\\101\\x42\\u00e9\\U0001F600\\ud83d\\ude00\\?\\777' \"'\"": (
        "tensor_content: 'AB\\303\\251\\360\\237\\230\\200\\360\\237\\230\\200?\\377\\''"
    ),
    b"tensor_content: '\\U0011ffff'": "tensor_content: '\\\\U0011ffff'",
    b"float_val: [1.f, .5, - inf, Infinity, 1e99, 3.4028235677973366e+38]": (
        "float_val: [1.0, 0.5, -inf, inf, inf, 3.4028234663852886e+38]"
    ),
    b"bool_val: [t, f, True, 1, 0x0]": "bool_val: [true, false, true, true, false]",
    b"dtype: 77": "dtype: 77",
    b"dtype: -0x5": "dtype: -5",
    b"double_val: [nan]": "double_val: nan",
    b"uint64_val: 0xffffFFFFffffFFFF half_val: -1": "uint64_val: 18446744073709551615 half_val: -1",
    b"tensor_shape: < dim: [{size: 1}, <>] dim { }; >": "tensor_shape { dim { size: 1 } dim { } dim { } }",
}


@pytest.mark.parametrize("text", FIELDS, ids=lambda text: repr(text[:30]))
def test_fields_are_read_as_in_c_plus_plus(text, protoc):
    expected = FIELDS[text]
    refused = re.match(r"\d+:\d+: ", expected)
    assert read(TENSOR, text) == (expected if refused else read(TENSOR, expected.encode()))
    assert bool(refused) == isinstance(read(TENSOR, text), str)
    assert alike(TENSOR, text, protoc)


MESSAGES = {
    b"custom_model_config { [type.googleapis.com/tensorflow.serving.ModelConfig] { name: 'm' } }": "",
    b"custom_model_config { [ type.googleapis.com / tensorflow.serving . ModelConfig ]: < > }": "",
    b"custom_model_config { [a.b/no.Type] {} }": 'Could not find type "a.b/no.Type" stored in google.protobuf.Any.',
    b"custom_model_config { [no.Type] {} }": "Type URL prefix is missing",
    b"custom_model_config { [/no.Type] {} }": "Type URL prefix is empty",
    b"custom_model_config { [/a/no.Type] {} }": 'Type URL starts with "/"',
    b"custom_model_config { [a%2/no.Type] {} }": 'Invalid percent encode, got: "%2/"',
    b"custom_model_config { [a/no..Type] {} }": 'Invalid identifier in type name, got: ""',
    b"custom_model_config { type_url: 'a' [a/google.protobuf.Any] {} }": "Non-repeated Any specified multiple times.",
    b"model_config_list {} custom_model_config {}": (
        'Field "custom_model_config" is specified along with field "model_config_list", '
        'another member of oneof "config".'
    ),
    b"model_config_list { config { version_labels { key: 'a' } version_labels { key: 'a' value: 2 } } }": "",
}


@pytest.mark.parametrize("text", MESSAGES, ids=lambda text: repr(text[-40:]))
def test_messages_are_read_as_in_c_plus_plus(text, protoc):
    got = read(MODELS, text)
    assert got.endswith(MESSAGES[text]) if MESSAGES[text] else isinstance(got, bytes)
    assert alike(MODELS, text, protoc)


# The longer texts are those of files that the server reads.
TEXTS = {
    MODELS: [
        "model_config_list { config { name: 'm' base_path: '/m' model_platform: 'tensorflow' model_version_policy { "
        "specific { versions: [1, -2] } } version_labels { key: 'a' value: 1 } } # end\n config < name: 'n' 'o' > ; }",
        "custom_model_config { [a.b/tensorflow.serving.ModelConfig] { name: 'a' model_type: OTHER } }",
    ],
    BATCHING: ["max_batch_size { value: 0x10 } allowed_batch_sizes: [1, 16], thread_pool_name { value: '\\u00e9' }"],
    LOGGING: ["sampling_config { sampling_rate: -.5e1f per_task_sampling_configs: [{ task_index: 0 dc: '' }, {}] }"],
    TENSOR: [text.decode("latin-1") for text in FIELDS if len(text) < 100],
}
WORDS = [
    *"{}<>[]:;,-#\"'./_\t\n\r\f\v\0\x01\x7f\xa0\xff",
    *("0", "7", "08", "0x1F", "0xg", "1e5", "1.", ".5f", "1f", "inf", "nan", "99999999999999999999", "1_0", "--1"),
    *("'a'", '""', "'\\C'", "'\\400'", "'\\xg'", "'\\ud800'", "'\\U0010ffff'", "'a\nb'", "'\\\n'", "'a", "\\", "# x\n"),
    *("name", "value: 0", "value: 5", "key: ''", "all {}", "latest {}", "task_index: 0", "model_type: 7", "dtype: -1"),
    *("[a]", "[a.b/c] {}", "[a b/tensorflow.TensorProto] {}", "[]", "[.a]", "type_url: 'a'", "true", "\xef\xbb\xbf"),
]
_PIECES = re.compile(r"(\s+|[{}<>\[\]:;,-]|'[^']*')")


@st.composite
def mutated(draw):
    """A message's name and a text of it, of which some pieces are dropped, repeated or replaced."""
    message = draw(st.sampled_from([*TEXTS]))
    pieces = [piece for piece in _PIECES.split(draw(st.sampled_from(TEXTS[message]))) if piece]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(pieces)))
        new = draw(st.lists(st.sampled_from(WORDS + pieces), max_size=2))
        pieces[at : at + draw(st.integers(0, 1))] = new
    return message, "".join(pieces).encode("latin-1")


@given(case=mutated())
@settings(max_examples=200)  # `make fuzz` reads many more
def test_any_text_is_read_as_in_c_plus_plus(protoc, case):
    message, text = case
    assert alike(message, text, protoc), (read(message, text), protoc.read(message, text))


def test_a_message_is_replaced_by_what_the_text_says():
    proto = empty(TENSOR)
    proto.version_number = 3
    fill(proto, b"dtype: DT_FLOAT")
    assert (proto.version_number, proto.dtype) == (0, 1)


def test_strings_that_are_not_utf8_are_refused():
    text = b"config { name: 'm\xe9' }"
    assert read(MODELS, b"model_config_list { %s }" % text) == (
        '1:36: String field "name" contains invalid UTF-8 data.'
    )


@pytest.mark.parametrize("levels", [100, 101, 100_000])
def test_messages_may_be_nested_a_hundred_times(levels):
    text = b"[a.b/google.protobuf.Any] {" * levels + b"}" * levels
    got = read("google.protobuf.Any", text)
    if levels == 100:
        assert isinstance(got, bytes)
    else:
        assert got == "1:2728: Message is too deep, the parser exceeded the configured recursion limit of 100."


@pytest.mark.parametrize("text", [b"a: " + b"[" * 100_000, b"a {" * 100_000, b"[a/b.c] <" * 100_000])
def test_unknown_messages_are_not_nested_deeper_either(text):
    with pytest.raises(TextFormatError, match="Message is too deep"):
        check_syntax(text)


@pytest.mark.parametrize(
    "text",
    [
        b"a: 1 b: 'x' \"y\" c { d: [1, {e: -inf}, [t]] } [f.g/h.I] <> [j.k]: -1.5f; l: [], # m",
        b"",
    ],
)
def test_the_syntax_of_unknown_messages(text):
    assert check_syntax(text) is None


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (b"a 1", '1:3: Expected "{", found "1".'),
        (b"a: -b", "1:5: Invalid float number: b"),
        (b"a: :", "1:4: Cannot skip field value, unexpected token: :"),
        (b"a: [1 2]", '1:7: Expected ",", found "2".'),
        (b"a { b: 1 >", '1:10: Expected "}", found ">".'),
        (b"1: 1", "1:1: Expected identifier, got: 1"),
    ],
)
def test_malformed_text_is_refused_with_its_place(text, refusal):
    with pytest.raises(TextFormatError) as caught:
        check_syntax(text)
    assert str(caught.value) == refusal


def test_reserved_names_are_skipped():
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="r.proto", package="r", syntax="proto3")
    outer = file.message_type.add(name="Outer")
    inner = outer.nested_type.add(name="Inner", reserved_name=["gone"])
    inner.field.add(name="n", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_SINT32, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    proto = message_factory.GetMessageClass(pool.FindMessageTypeByName("r.Outer.Inner"))()
    fill(proto, b"gone { x: [1] } n: -3 gone: 'a' 'b'")
    assert proto.n == -3
    with pytest.raises(TextFormatError, match=r'1:5: Message type "r\.Outer\.Inner" has no field named "lost"'):
        fill(proto, b"lost: 1")
