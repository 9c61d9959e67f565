"""REST replies that no server should send: each ends in a result or a DecodeError, with orjson and without."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfs_client import StatusCode, TensorSpec
from tfs_client._calls.inference import Classify, Regress
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec import json_text, rest_json, rest_unsigned
from tfs_client._codec.dtypes import BY_NAME
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import LONGEST_TEXT
from tfs_client.errors import DecodeError
from tfs_client.results import State
from tfs_client.signatures import Signature, Signatures
from tfs_client.testing.faults.broken_replies import garbage

SPEC = ModelSpec("m")
FLOAT, DOUBLE, INT, STRING = ((BY_NAME[name], (None,)) for name in ("float", "double", "int64", "string"))
SIGNATURES = Signatures(
    {"serving_default": Signature({}, {"y": TensorSpec("float32", (None,))})}, model="m", version=None
)


@pytest.fixture(params=["json", "orjson"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "json":
        monkeypatch.setattr(json_text, "orjson", None)
    else:
        pytest.importorskip("orjson")


def deep(levels: int, inside: str = "1.0") -> str:
    return "[" * levels + inside + "]" * levels


def predicted(values: str) -> bytes:
    return f'{{"predictions":{values}}}'.encode()


def metadata(size: str = '"1"', version: str = '"1"', more: str = "") -> bytes:
    shape = f'{{"dim":[{{"size":{size}}}]}}'
    info = f'{{"s":{{"inputs":{{"x":{{"dtype":"DT_FLOAT","tensor_shape":{shape}{more}}}}}}}}}'
    spec = f'{{"name":"m","version":{version}}}'
    return f'{{"model_spec":{spec},"metadata":{{"signature_def":{{"signature_def":{info}}}}}}}'.encode()


def status(version: str = "1", state: str = '"AVAILABLE"', message: str = '""') -> bytes:
    entry = f'{{"version":{version},"state":{state},"status":{{"error_code":"OK","error_message":{message}}}}}'
    return f'{{"model_version_status":[{entry}]}}'.encode()


def results(values: str) -> bytes:
    return f'{{"results":[{values}]}}'.encode()


READERS: dict[str, tuple[Callable[[bytes], Any], Callable[[str], bytes]]] = {
    "float": (lambda body: rest_json.read_reply(body, {"y": FLOAT}), predicted),
    "int": (lambda body: rest_json.read_reply(body, {"y": INT}), predicted),
    "string": (lambda body: rest_json.read_reply(body, {"y": STRING}), predicted),
    "two outputs": (lambda body: rest_json.read_reply(body, {"y": FLOAT, "z": FLOAT}), predicted),
    "predict": (lambda body: Predict(SPEC, {}).read_rest(body, SIGNATURES), predicted),
    "unsigned": (rest_unsigned.read_reply, predicted),
    "status version": (GetModelStatus(SPEC).read_rest, lambda value: status(version=value)),
    "status state": (GetModelStatus(SPEC).read_rest, lambda value: status(state=value)),
    "status message": (GetModelStatus(SPEC).read_rest, lambda value: status(message=value)),
    "metadata size": (GetModelMetadata(SPEC).read_rest, metadata),
    "metadata version": (GetModelMetadata(SPEC).read_rest, lambda value: metadata(version=value)),
    "classify label": (Classify(SPEC, [{}]).read_rest, lambda value: results(f"[[{value},0.5]]")),
    "classify score": (Classify(SPEC, [{}]).read_rest, lambda value: results(f'[["a",{value}]]')),
    "regress": (Regress(SPEC, [{}]).read_rest, results),
}
VALUES = {
    "65 lists": deep(65),
    "1000 lists": deep(1000),
    "5000 lists": deep(5000),
    "1000 lists in an object": f'{{"a":{deep(1000)}}}',
    "1e999": "1e999",
    "-1e999": "-1e999",
    "5000 digits": "9" * 5000,
    "an object": '{"a":1}',
    "half a character": '"\\ud800"',
    "an escaped byte": '"\\udc80"',
    "a boolean among numbers": "[1,true]",
    "null": "null",
}
READABLE = {  # as protobuf's JSON says it, what is null is absent
    ("status version", "null"),
    ("status state", "null"),
    ("status message", "null"),
    ("metadata size", "null"),
    ("metadata version", "null"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("value", VALUES)
def test_values_that_no_server_writes_are_decode_errors(reader: str, value: str) -> None:
    read, body = READERS[reader]
    if (reader, value) in READABLE:
        read(body(VALUES[value]))
        return
    with pytest.raises(DecodeError) as caught:
        read(body(VALUES[value]))
    assert len(str(caught.value).encode()) <= LONGEST_TEXT + 96


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1.5", '"1.5"', "true", "1e19", "9" * 20, '"x"'])
def test_versions_and_sizes_are_integers_of_64_bits(value: str) -> None:
    for call, body in (
        (GetModelStatus(SPEC), status(version=value)),
        (GetModelMetadata(SPEC), metadata(version=value)),
        (GetModelMetadata(SPEC), metadata(size=value)),
    ):
        with pytest.raises(DecodeError):
            call.read_rest(body)


def test_states_and_codes_may_be_numbers() -> None:
    (version,) = GetModelStatus(SPEC).read_rest(status(state="30")).versions
    assert version.state is State.AVAILABLE
    (version,) = GetModelStatus(SPEC).read_rest(status(state="12345", version="-1")).versions
    assert (version.state, version.version, version.code) == (State.UNKNOWN, -1, StatusCode.OK)


@pytest.mark.parametrize("number", ["1e300", "-1e300", "3.5e38", "4e38"])
def test_numbers_beyond_the_dtype_do_not_become_infinite(number: str) -> None:
    with pytest.raises(DecodeError, match="float"):
        rest_json.read_reply(predicted(f"[1.0, {number}]"), {"y": FLOAT})
    with pytest.raises(DecodeError, match="float32"):
        Regress(SPEC, [{}]).read_rest(results(number))
    assert np.isfinite(rest_json.read_reply(predicted(f"[{number}]"), {"y": DOUBLE})["y"]).all()


def test_infinities_and_the_largest_float_are_unchanged() -> None:
    read = rest_json.read_reply(predicted("[Infinity, -Infinity, NaN, 3.40282347e+38, -0.0, 1e-60]"), {"y": FLOAT})["y"]
    expected = np.float32([np.inf, -np.inf, np.nan, np.finfo(np.float32).max, -0.0, 0.0])
    np.testing.assert_array_equal(read, expected)
    assert np.signbit(read[4])
    assert Regress(SPEC, [{}]).read_rest(results("Infinity")).values == (float("inf"),)


def test_an_empty_list_and_a_signature_beyond_memory() -> None:
    with pytest.raises(DecodeError, match="a shape numpy can hold"):
        rest_json.read_reply(predicted("[]"), {"y": (BY_NAME["float"], (None, 1 << 62, 1 << 62))})


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 400])
def test_integers_beyond_64_bits_keep_their_digits_without_a_signature(number: str) -> None:
    with pytest.raises(DecodeError):
        rest_unsigned.read_reply(predicted(f"[1, {number}]"))


def test_lists_of_names_are_cut() -> None:
    body = json.dumps({"outputs": {f"output_{number}": 1.0 for number in range(50_000)}}).encode()
    with pytest.raises(DecodeError, match="and 49980 more") as caught:
        rest_json.read_reply(body, {"y": FLOAT, "z": FLOAT})
    assert len(caught.value.args[0]) < 2000


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '"\\\\ud800"', '"caf\\u00e9"', '"\\\\\\ud83d\\ude00"'])
def test_pairs_and_backslashes_are_text(text: str) -> None:
    body = predicted(f"[{text}, NaN]").replace(b", NaN", b"")
    assert rest_json.read_reply(body, {"y": STRING})["y"][0] == json.loads(text).encode()
    # The same where the standard library reads it, for the NaN.
    assert json_text.loads(f"[{text}, NaN]".encode())[0] == json.loads(text)


def test_halves_of_surrogate_pairs_are_refused_wherever_they_are() -> None:
    pieces = [r"\ud83d", r"\uDE00", r"\\", r"\n", "a", r"\u0041"]
    for count in (1, 2, 3, 4):
        for chosen in itertools.product(pieces, repeat=count):
            text = f'["{"".join(chosen)}", NaN]'  # the standard library reads it, for the NaN
            try:
                expected = json.loads(text)[0].encode().decode()
            except UnicodeEncodeError:
                with pytest.raises(DecodeError, match="unpaired surrogate"):
                    json_text.loads(text.encode())
            else:
                assert json_text.loads(text.encode())[0] == expected


@pytest.mark.parametrize("beginning", [b"", b'["', b" \n"])
def test_garbage_is_refused_in_a_moment(beginning: bytes) -> None:
    data = beginning + garbage(4 << 20, 0)
    times = []
    for _ in range(3):
        began = time.thread_time()
        with pytest.raises(DecodeError, match="expected JSON, got"):
            json_text.loads(data)
        times.append(time.thread_time() - began)
    assert min(times) < 0.25  # a search for pairs at each character takes 0.5 seconds
