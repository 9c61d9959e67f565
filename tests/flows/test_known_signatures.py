"""What a client knows of signatures, step by step: what it asks, when, and what it makes of the answers."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import Signature, SignatureError, Signatures, TensorSpec
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.values import read
from tfs_client._flows.asked import Defaults
from tfs_client._flows.known_signatures import KnownSignatures, StatedSignatures
from tfs_client.errors import (
    DecodeError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)

ASK = "asks for metadata"
VECTOR = TensorSpec("float32", (None,))


def signatures(dtype="float32", version=1):
    spec = TensorSpec(dtype, (None,))
    return Signatures({"serving_default": Signature({"x": spec}, {"y": spec})}, model="m", version=version)


class Asks:
    """An exchange whose calls are one step each, which the test answers."""

    def __init__(self, rest=False):
        self.rest = rest

    def send(self, call, asked, *, wait_for_ready=None):
        return (yield ASK)


def asked(model="m", **options):
    return Defaults(ModelSpec(model), 30.0, ()).asked(**options)


def run(flow, *answers):
    """Performs a flow whose steps get these answers, all of them; gives its result."""
    answers = list(answers)
    try:
        step = next(flow)
        while True:
            assert step == ASK
            answer = answers.pop(0)
            step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as end:
        assert not answers, "it was asked less often"
        return end.value


def test_signatures_are_requested_once():
    known = KnownSignatures(Asks())
    assert known.known(asked()) is None
    first = run(known.find(asked()), signatures())
    assert run(known.find(asked())) is first is known.known(asked())
    run(known.find(asked("other")), signatures())
    run(known.find(asked(version=2)), signatures())


def test_signatures_age_where_replies_do_not_name_the_version():
    known = KnownSignatures(Asks(rest=True), age=-1.0)
    run(known.find(asked()), signatures())
    assert known.known(asked()) is None
    run(known.find(asked()), signatures())


def test_given_signatures_are_never_requested():
    given = signatures()
    known = KnownSignatures(Asks(), stated=StatedSignatures("m", given))
    assert run(known.find(asked())) is run(known.fetch(asked(version=3))) is known.known(asked()) is given
    assert known.is_fresh(asked())
    known.forget()
    known.doubt(UnavailableError("gone"), asked())
    assert known.known(asked()) is given
    other = run(known.find(asked("other")), signatures(version=5))
    assert other.version == 5


@pytest.mark.parametrize(
    ("error", "rest", "absent"),
    [
        (UnimplementedError("no such method"), False, True),
        (PermissionDeniedError("RBAC: access denied"), False, True),
        (NotFoundError("Servable not found for request: Latest(m)"), False, False),
        (NotFoundError("whatever"), False, False),
        (UnimplementedError("HTTP 405"), True, True),
        (PermissionDeniedError("HTTP 403"), True, True),
        (NotFoundError("HTTP 404 Not Found"), True, True),
        (NotFoundError("Servable not found for request: Latest(m)"), True, False),
        (InvalidArgumentError("Malformed request: GET /v1/models/m/metadata"), True, True),
        (InvalidArgumentError("Unrecognized servable version label: x"), True, False),
        (UnavailableError("busy"), True, False),
        (UnauthenticatedError("who are you?"), True, False),
        (InternalError("broken"), True, False),
        (DecodeError("signatures that cannot be read"), True, False),
    ],
)
def test_which_replies_mean_that_the_server_has_no_metadata(error, rest, absent):
    known = KnownSignatures(Asks(rest))
    if absent:
        assert run(known.find(asked()), error) is None
        assert run(known.find(asked())) is None  # without asking again
        assert "signatures=" in error.hint
        assert ("permission" in error.hint) == isinstance(error, PermissionDeniedError)
        return
    with pytest.raises(type(error)):
        run(known.find(asked()), error)
    run(known.find(asked()), signatures())  # asked again


def test_a_page_or_unrelated_json_means_no_metadata():
    error = DecodeError("a page")
    error.foreign = True
    known = KnownSignatures(Asks(rest=True))
    assert run(known.find(asked()), error) is None
    again = DecodeError("a page")
    again.foreign = True
    with pytest.raises(DecodeError, match="signatures="):
        run(known.fetch(asked()), again)  # who wants them from the server hears what it says


def test_missing_metadata_is_checked_again_if_the_prediction_fails_for_another_reason_than_its_inputs():
    known = KnownSignatures(Asks(rest=True))
    run(known.find(asked()), NotFoundError("HTTP 404"))
    known.doubt(InvalidArgumentError("your inputs"), asked())
    assert run(known.find(asked())) is None
    known.doubt(NotFoundError("no such model"), asked())
    assert run(known.find(asked()), signatures()) is not None


def test_numbers_get_the_dtype_of_the_signature_that_fits_them():
    known = KnownSignatures(Asks())
    call = asked()
    bound = run(known.bound({"x": read([1, 2]), "z": read([1])}, call), signatures())
    assert (bound["x"].dtype, bound["z"]) == (np.float32, read([1]))
    # What does not fit those that are known may fit fresh ones.
    later = run(known.bound({"x": read([1e300])}, asked()), signatures("float64", version=2))
    assert later["x"].dtype == np.float64
    with pytest.raises(SignatureError, match="input 'x' expects float64"):
        run(known.bound({"x": read([1j])}, asked()), signatures("float64", version=2))


def test_inputs_of_a_missing_signature_are_unchanged():
    known = KnownSignatures(Asks())
    values = {"x": read([1])}
    assert run(known.bound(values, asked(signature="ghost")), signatures()) == values
    with pytest.raises(SignatureError, match="no signature 'ghost'"):
        run(known.bound(read([1]), asked(signature="ghost")), signatures())


def test_without_metadata_only_rest_accepts_a_single_value_without_a_name():
    assert run(KnownSignatures(Asks(rest=True)).bound(5, asked()), NotFoundError("HTTP 404")) == {"": 5}
    with pytest.raises(SignatureError, match="expected inputs by name") as caught:
        run(KnownSignatures(Asks()).bound(5, asked()), UnimplementedError("no"))
    assert caught.value.mismatch


def test_casts_follow_the_signature():
    known = KnownSignatures(Asks())
    bound = run(known.bound({"x": np.float64([1])}, asked(cast=True)), signatures())
    assert bound["x"].dtype == np.float32
    same = np.float64([1])
    assert run(known.bound({"x": same}, asked()))["x"] is same
