"""Signatures as JSON: what tfs-admin prints is read back; JSON of another form is refused."""

from __future__ import annotations

import json

import pytest

from tfs_client import Signature, Signatures, TensorSpec
from tfs_client._codec import signature_json
from tfs_client._codec.dtypes import ROWS
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.given_signatures import stated
from tfs_client.cli.admin import report
from tfs_client.errors import DecodeError

SHAPES = [None, (), (None,), (None, 2), (3, None, 0)]


def everything():
    """Signatures with every dtype, every kind of shape, several methods and an optional input."""
    specs = {
        f"{row.name} {number}": TensorSpec(row, shape, tensor_name=f"{row.name}:{number}")
        for row in ROWS
        for number, shape in enumerate(SHAPES)
    }
    some = {"a": TensorSpec("float32", (None,)), "ü\x7f": TensorSpec("string")}
    return {
        "serving_default": Signature(specs, specs),
        "classify": Signature(some, some, "tensorflow/serving/classify", optional=frozenset(["ü\x7f"])),
        "": Signature({}, {}, ""),
    }


def test_the_json_of_tfs_admin_is_read_back():
    given = Signatures(everything(), model="m", version=7)
    text = report.signatures(given, as_json=True)
    found = stated(text, "other")
    assert (found.model, found.version) == ("m", 7)
    assert dict(found) == dict(given)
    for name, signature in given.items():
        for side in ("inputs", "outputs"):
            want, have = getattr(signature, side), getattr(found[name], side)
            assert {alias: spec.tensor_name for alias, spec in have.items()} == {
                alias: spec.tensor_name for alias, spec in want.items()
            }


def test_model_version_and_names_of_tensors_may_be_left_out():
    tensor = {"dtype": "float32", "shape": [None]}
    spec, found = signature_json.read({"signatures": {"s": {"inputs": {"x": tensor}}}}, "")
    assert spec == ModelSpec("", None)
    (signature,) = found.values()
    assert signature[1:] == ({}, "", {})
    assert signature[0]["x"][1:] == ((None,), "")


TENSOR = {"dtype": "float32", "shape": [None]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": 5}, "expected model as a text, got 5"),
        ({"version": "3"}, "expected version as a number, got '3'"),
        ({"version": True}, "expected version as a number, got True"),
        ({"signatures": []}, r"expected signatures as a JSON object, got \[\]"),
        ({"signatures": {"s": 5}}, "expected signature 's' as a JSON object, got 5"),
        ({"signatures": {"s": {"methods": ""}}}, "signature 's': expected inputs, method, outputs, got 'methods'"),
        ({"signatures": {"s": {"method": 1}}}, "signature 's': expected method as a text, got 1"),
        ({"signatures": {"s": {"inputs": []}}}, "signature 's', inputs as a JSON object"),
        ({"signatures": {"s": {"outputs": {"y": {}}}}}, "output 'y': expected a dtype such as 'float32'.*, got None"),
        ({"signatures": {"s": {"inputs": {"x": TENSOR | {"dtype": "f4"}}}}}, "input 'x': expected a dtype .* got 'f4'"),
        ({"signatures": {"s": {"inputs": {"x": {"dtype": "int8"}}}}}, "expected a shape, or null .*, got none"),
        ({"signatures": {"s": {"inputs": {"x": TENSOR | {"shape": [-1]}}}}}, r"null for unknown ones, got \[-1\]"),
        ({"signatures": {"s": {"inputs": {"x": TENSOR | {"shape": [True]}}}}}, r"null for unknown ones, got \[True\]"),
        ({"signatures": {"s": {"inputs": {"x": TENSOR | {"tensor": 1}}}}}, "expected tensor as a text, got 1"),
        ({"signatures": {"s": {"inputs": {"x": TENSOR | {"optional": 1}}}}}, "optional as true or false, got 1"),
        (
            {"signatures": {"s": {"inputs": {"x": TENSOR | {"opt": 1}}}}},
            "expected dtype, .* got 'opt'",
        ),
    ],
)
def test_json_of_another_form_is_refused(change, text):
    reply = json.loads(json.dumps({"model": "m", "version": 1, "signatures": {}} | change))
    with pytest.raises(DecodeError, match=text):
        signature_json.read(reply, "")
