"""Contracts: how the signatures of a model differ from those for which a program was written."""

from __future__ import annotations

import pytest
from calling import STYLES, calling

from tfs_client import ConfigError, Signature, SignatureError, TensorSpec, check_signatures
from tfs_client._flows.contracts import changes
from tfs_client.testing import FakeServer

X, Y = TensorSpec("float32", (None, 2)), TensorSpec("string", (None,))
EXPECTED = {"serving_default": Signature({"x": X, "factor": X}, {"y": Y}, optional=frozenset({"factor"}))}


def with_default(**parts: object) -> dict[str, Signature]:
    old = EXPECTED["serving_default"]
    given = {"inputs": old.inputs, "outputs": old.outputs, "method_name": old.method_name, "optional": old.optional}
    return {"serving_default": Signature(**{**given, **parts})}  # type: ignore[arg-type]


HARMFUL = {
    "signature 'serving_default' is missing; the signatures: other": {"other": EXPECTED["serving_default"]},
    "input 'x' is missing: expected float32 (?, 2)": with_default(inputs={"factor": X}),
    "input 'x': expected float32 (?, 2), got float32 (?, 3)": with_default(
        inputs={"x": TensorSpec("float32", (None, 3)), "factor": X}
    ),
    "input 'x': expected float32 (?, 2), got float64 (?, 2)": with_default(
        inputs={"x": TensorSpec("float64", (None, 2)), "factor": X}
    ),
    "input 'z' is new: float32 (?, 2)": with_default(inputs={"x": X, "factor": X, "z": X}),
    "input 'factor' has lost its default": with_default(optional=frozenset()),
    "output 'y' is missing: expected string (?,)": with_default(outputs={"z": Y}),
    "another method name: expected 'tensorflow/serving/predict', got ''": with_default(method_name=""),
}
HARMLESS = {
    "signature 'more' is new": {**EXPECTED, "more": EXPECTED["serving_default"]},
    "output 'z' is new: string (?,)": with_default(outputs={"y": Y, "z": Y}),
    "input 'z' is new: float32 (?, 2)": with_default(
        inputs={"x": X, "factor": X, "z": X}, optional=frozenset({"factor", "z"})
    ),
    "input 'x' has a default now": with_default(optional=frozenset({"factor", "x"})),
}


def test_the_same_signatures_have_no_differences() -> None:
    renamed = with_default(outputs={"y": TensorSpec("string", (None,), tensor_name="y:0")})
    assert changes(EXPECTED, renamed) == []
    check_signatures(renamed, EXPECTED)


@pytest.mark.parametrize("text", HARMFUL)
def test_what_breaks_calls_is_refused_by_name(text: str) -> None:
    (change,) = [change for change in changes(EXPECTED, HARMFUL[text]) if text in str(change)]
    assert not change.harmless
    with pytest.raises(SignatureError) as error:
        check_signatures(HARMFUL[text], EXPECTED)
    assert text in str(error.value)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_calls_do_not_notice_is_a_difference_and_allowed(text: str) -> None:
    (change,) = changes(EXPECTED, HARMLESS[text])
    assert text in str(change)
    check_signatures(HARMLESS[text], EXPECTED)


def test_every_difference_is_named() -> None:
    with pytest.raises(SignatureError, match=r"'x' is missing.*'y' is missing"):
        check_signatures(with_default(inputs={"factor": X}, outputs={"z": Y}), EXPECTED)


@pytest.mark.parametrize("style", STYLES)
def test_stated_signatures_are_not_the_servers(style: str) -> None:
    other = {"serving_default": Signature({"z": X}, {"y": Y})}
    with (
        FakeServer().add_signatures(EXPECTED, name="m") as server,
        calling(style, server, model="m", signatures=other) as client,
    ):
        assert client.signatures().stated
        with pytest.raises(ConfigError, match=r"signatures\(from_server=True\)"):
            check_signatures(client.signatures(), other)
        found = client.signatures(from_server=True)
        assert not found.stated
        assert sorted(found["serving_default"].inputs) == ["factor", "x"]
        with pytest.raises(SignatureError, match="input 'z' is missing"):
            check_signatures(found, other)
        assert list(client.signatures()["serving_default"].inputs) == ["z"]  # it keeps its own
