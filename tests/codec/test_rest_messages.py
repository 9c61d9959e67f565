"""Metadata and status as JSON, in the spellings and with the gaps that servers write."""

from __future__ import annotations

import json

import pytest

from tfs_client._codec.dtypes import BY_NAME, BY_NUMBER
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.rest_messages import path, read_metadata, read_status
from tfs_client.errors import DecodeError, EncodeError


def metadata(signature, spec=None):
    return json.dumps({"model_spec": spec or {}, "metadata": {"signature_def": {"signature_def": {"s": signature}}}})


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            {"dtype": "DT_INT64", "tensorShape": {"dim": [{"size": "-1"}, {"size": "3"}]}, "name": "t:0"},
            (BY_NAME["int64"], (None, 3), "t:0"),
        ),
        (
            {"dtype": "DT_HALF", "tensor_shape": {"dim": [{"size": 2}, {"name": ""}]}},
            (BY_NAME["half"], (2, 0), ""),
        ),
        ({"dtype": "DT_FLOAT", "tensorShape": {"unknownRank": True, "dim": []}}, (BY_NAME["float"], None, "")),
        ({"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True}}, (BY_NAME["float"], None, "")),
        ({"dtype": 9, "tensorShape": {}}, (BY_NAME["int64"], (), "")),
        ({"dtype": "DT_FLOAT", "tensorShape": {"dim": None}}, (BY_NAME["float"], (), "")),
        ({"dtype": "DT_LATER"}, (BY_NUMBER[0], (), "")),
        ({}, (BY_NUMBER[0], (), "")),
    ],
)
def test_tensors_are_read_in_both_spellings(info, expected):
    _, signatures = read_metadata(metadata({"inputs": {"x": info}}).encode())
    assert signatures["s"] == ({"x": expected}, {}, "", {})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"name": "m", "version": "7"}, ModelSpec("m", 7)),
        ({"name": "m", "version": 7}, ModelSpec("m", 7)),
        ({"name": "m", "version": ""}, ModelSpec("m")),
        ({"name": "m", "version": None}, ModelSpec("m")),
        ({}, ModelSpec("")),
    ],
)
def test_the_version_may_be_text_a_number_or_missing(spec, expected):
    assert read_metadata(metadata({}, spec).encode())[0] == expected


@pytest.mark.parametrize(
    ("body", "foreign"),
    [
        ("", True),
        ("OK", True),
        ("[]", True),
        ("null", True),
        ('{"name": "m", "ready": true}', True),
        ('{"metadata": 5}', True),
        ('{"metadata": {"puid": "x"}}', True),
        ('{"metadata": {"signature_def": 5}}', False),
        ('{"metadata": {"signature_def": {"signature_def": 5}}}', False),
        ('{"metadata": {"signature_def": {"signature_def": {"s": 5}}}}', False),
        ('{"metadata": {"signature_def": {"signature_def": {"s": {"inputs": {"x": 5}}}}}}', False),
        ('{"metadata": {"signature_def": {"signature_def": {"s": {"defaults": "x"}}}}}', False),
        ('{"metadata": {"signature_def": {"signature_def": {"s": {"defaults": ["x"]}}}}}', False),
        ('{"model_spec": {"version": "x"}, "metadata": {"signature_def": {"signature_def": {}}}}', False),
        ('{"model_spec": 5, "metadata": {"signature_def": {"signature_def": {}}}}', False),
    ],
)
def test_unrelated_replies_are_distinguished_from_broken_ones(body, foreign):
    with pytest.raises(DecodeError, match="expected") as caught:
        read_metadata(body.encode())
    assert caught.value.foreign is foreign


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"model_version_status": [{"version": "2", "state": "END", "status": {"error_code": "NOT_FOUND"}}]},
            [(2, "END", "NOT_FOUND", "")],
        ),
        (
            {"modelVersionStatus": [{"version": 2, "status": {"errorCode": "OK", "errorMessage": "fine"}}]},
            [(2, "UNKNOWN", "OK", "fine")],
        ),
        ({"model_version_status": []}, []),
        ({"name": "m", "ready": True}, True),
        ({"name": "m", "ready": "False"}, False),
    ],
)
def test_status_in_both_spellings_and_readiness(body, expected):
    assert read_status(json.dumps(body).encode()) == expected


@pytest.mark.parametrize("body", ["5", "[]", "{}", '{"ready": 1}', '{"model_version_status": [5]}', "<html>"])
def test_an_invalid_status_is_refused(body):
    with pytest.raises(DecodeError):
        read_status(body.encode())


@pytest.mark.parametrize("spec", [ModelSpec("\ud800"), ModelSpec("m", None, "\ud800")])
def test_names_that_a_path_cannot_contain_are_refused(spec):
    with pytest.raises(EncodeError, match="that UTF-8 can encode"):
        path(spec)
