"""Refusals that must be the same on any server, as the client sees them."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import FailedPreconditionError, InvalidArgumentError, NotFoundError

# The server on TensorFlow's stubs is no TensorFlow Serving: its refusals are its own.
pytestmark = pytest.mark.parametrize("target", ["typed", "content"], indirect=True)

X = np.float32([1, 2, 5])


@pytest.mark.parametrize(
    ("options", "error", "details"),
    [
        ({"model": "ghost"}, NotFoundError, "Servable not found for request: Latest(ghost)"),
        ({"version": 9}, NotFoundError, "Servable not found for request: Specific(half_plus_two, 9)"),
        ({"signature": "ghost"}, FailedPreconditionError, 'Serving signature key "ghost" not found.'),
        (
            {"outputs": ["ghost"]},
            InvalidArgumentError,
            "output tensor alias not found in signature: ghost Outputs expected to be in the set {y}.",
        ),
        ({"outputs": ["y", "y"]}, InvalidArgumentError, "duplicate output tensor alias: y"),
    ],
)
def test_refusals_have_their_code_and_text(client, options, error, details):
    with pytest.raises(error) as caught:
        client.predict({"x": X}, **options)
    assert caught.value.details == details


def test_wrong_inputs_are_refused(client):
    with pytest.raises(InvalidArgumentError, match=r"input size does not match signature: 2!=1 len\({x,z}\)"):
        client.predict({"x": X, "z": X})
    with pytest.raises(InvalidArgumentError, match=r"Expects arg\[0\] to be float but double is provided"):
        client.predict({"x": X.astype(np.float64)})


def test_status_and_signatures_of_what_is_not_there_are_not_found(client):
    with pytest.raises(NotFoundError, match="Could not find any versions of model ghost"):
        client.status(model="ghost")
    with pytest.raises(NotFoundError, match="Could not find version 9 of model half_plus_two"):
        client.status(version=9)
    with pytest.raises(NotFoundError, match=r"Servable not found for request: Latest\(ghost\)"):
        client.signatures(model="ghost")
