"""FakeServer.expect: which calls it answers, how, and what a strict server says about the rest."""

from __future__ import annotations

import numpy as np
import pytest
from calling import STYLES, calling

from tfs_client import (
    ConfigError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PredictClient,
    SignatureError,
    StatusCode,
    TensorSpec,
    UnavailableError,
)
from tfs_client.testing import FakeServer, faults

VECTOR = TensorSpec("float32", (None,))
SPECS = {"inputs": {"x": VECTOR}, "outputs": {"y": VECTOR}}
LABELS = {"classes": TensorSpec("string", (None, None)), "scores": TensorSpec("float32", (None, None))}
EXAMPLES = {"inputs": TensorSpec("string", (None,))}


@pytest.fixture
def scripted(fake_server):
    """A server whose model "m" has no function."""
    return fake_server.add_model("m", **SPECS)


@pytest.fixture
def predict(scripted):
    """Predicts with it, and returns the list of y."""
    with PredictClient(scripted.target, model="m", timeout=10) as client:
        yield lambda x, **options: client.predict({"x": np.float32(x)}, **options)["y"].tolist()


@pytest.mark.parametrize("style", STYLES)
def test_answers_come_in_order_before_the_models_function(double, style):
    double.expect("double", [7.0])
    double.expect("double", {"y": np.float32([8])}, times=2)
    double.expect("double", lambda x: x + 100)
    double.expect("double", UnavailableError("try later"))
    with calling(style, double, model="double", timeout=20, retry=None) as client:
        answers = [client.predict({"x": np.float32([1])}).array.tolist() for _ in range(4)]
        assert answers == [[7], [8], [8], [101]]
        with pytest.raises(UnavailableError, match="try later"):
            client.predict({"x": np.float32([1])})
        assert client.predict({"x": np.float32([1])}).array.tolist() == [2]


def test_only_matching_calls_are_answered(scripted, predict):
    scripted.add_model("m", **SPECS, version=2)
    scripted.expect("m", [1.0], inputs={"x": [1.0]}, rtol=0.1)
    scripted.expect("m", [2.0], version=1, times=None)
    scripted.expect("m", [3.0], metadata=[("X-Tenant", "a")], inputs={"x": np.array([1.0])})
    assert predict([1.05]) == [1]
    assert predict([1.0], metadata={"x-tenant": "a"}) == [3]
    assert predict([1.0], version=1) == predict([5.0], version=1) == [2]
    with pytest.raises(InternalError) as caught:
        predict([1.05])
    assert "this fake model has no function, and no expectation matches:\n" in caught.value.details
    assert "call of model 'm' signature 'serving_default' with x=[1.], used 1 of 1 time\n" in caught.value.details
    assert "it was used already" in caught.value.details


def test_exceptions_become_the_errors_of_functions(scripted, predict):
    for error, kind, details in (
        (NotFoundError("gone"), NotFoundError, "gone"),
        (ValueError("bad"), InvalidArgumentError, "ValueError: bad"),
    ):
        scripted.expect("m", error, times=2)
        for _ in range(2):
            with pytest.raises(kind) as caught:
                predict([1])
            assert caught.value.details == details


def test_a_function_that_raises_or_returns_nonsense_fails_the_call(scripted, predict):
    def refuse(x):
        raise InvalidArgumentError("not these")

    scripted.expect("m", refuse)
    scripted.expect("m", lambda x: {"z": x})
    with pytest.raises(InvalidArgumentError, match="not these"):
        predict([1])
    with pytest.raises(InternalError, match="did not return the output 'y'"):
        predict([1])


def test_outputs_are_copied(scripted, predict):
    y, x = np.float32([1]), np.float32([5])
    scripted.expect("m", y, inputs={"x": x})
    y[:] = x[:] = 9
    assert predict([5]) == [1]


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"returns": {"z": [1.0]}}, SignatureError, "does not have the output 'z'; expected y"),
        ({"returns": {}}, SignatureError, "did not return the output 'y'"),
        ({"returns": [[1.0]]}, SignatureError, r"output 'y' expects float32 \(\?,\), got the shape \(1, 1\)"),
        ({"returns": ["text"]}, SignatureError, "output 'y' is not float32"),
        ({"returns": None}, SignatureError, "returned None"),
        ({"returns": [1.0], "inputs": {"z": [1.0]}}, SignatureError, "does not have the input 'z'; expected x"),
        ({"returns": [1.0], "inputs": {"x": ["a"]}}, SignatureError, "input 'x' expects float32"),
        ({"returns": [1.0], "signature": "s"}, ConfigError, "no signature 's'; expected serving_default"),
        ({"returns": [1.0], "version": 9}, ConfigError, "model 'm' version 9 has no signatures yet"),
        ({"returns": [1.0], "model": "n"}, ConfigError, r"add_model\('n', inputs=..., outputs=...\)"),
        ({"returns": [1.0], "times": 0}, ConfigError, "expected times= of 1 or more"),
        ({"returns": [1.0], "atol": float("nan")}, ConfigError, "expected atol= as a number of at least 0, got nan"),
        ({"returns": [1.0], "rtol": "a"}, ConfigError, "expected rtol= as a number of at least 0, got 'a'"),
        ({"returns": [1.0], "model": None}, ConfigError, "expected the name of a model, got None"),
        ({"returns": [1.0], "version": True}, ConfigError, "expected version= to be a number such as 1, got True"),
        ({"returns": [1.0], "metadata": {"k": 5}}, ConfigError, "metadata 'k': expected text"),
        ({"returns": [1.0], "inputs": [1]}, ConfigError, "expected inputs= as a mapping"),
        (
            {"returns": [1.0], "inputs": {"x": [[1.0]]}},
            SignatureError,
            r"input 'x' expects float32 \(\?,\), got the shape \(1, 1\)",
        ),
        ({"returns": lambda z: z}, ConfigError, "would be called with x"),
        ({"returns": ValueError}, ConfigError, r"pass ValueError\(...\)"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(scripted, options, kind, text):
    with pytest.raises(kind, match=text):
        scripted.expect(**({"model": "m"} | options))
    scripted.check()


def test_another_version_with_another_signature_fails_the_call(scripted, predict):
    scripted.expect("m", [1.0])
    scripted.add_model("m", inputs={"x": VECTOR}, outputs={"y": TensorSpec("string", (None,))}, version=2)
    with pytest.raises(InternalError, match="output 'y' is not string"):
        predict([1])


@pytest.mark.parametrize("style", STYLES)
def test_classify_and_regress_are_answered(fake_server, style):
    fake_server.add_model("c", inputs=EXAMPLES, outputs=LABELS, method_name="tensorflow/serving/classify")
    fake_server.add_model("r", inputs=EXAMPLES, outputs={"outputs": VECTOR}, method_name="tensorflow/serving/regress")
    fake_server.expect("c", {"classes": [["cat", "dog"]], "scores": [[0.9, 0.1]]})
    fake_server.expect("r", lambda inputs: np.full(len(inputs), 3.0, np.float32))
    with calling(style, fake_server, timeout=20) as client:
        classes = client.classify([{"a": 1.0}], model="c")
        assert [each.label for each in classes.classes[0]] == ["cat", "dog"]
        assert list(client.regress([{"a": 1.0}, {"a": 2.0}], model="r").values) == [3.0, 3.0]
        with pytest.raises(InternalError, match="has no function, and no expectation matches"):
            client.regress([{"a": 1.0}], model="r")


def test_every_task_of_multi_inference_is_answered(fake_server):
    fake_server.add_model(
        "m", inputs=EXAMPLES, outputs=LABELS, method_name="tensorflow/serving/classify", signature="c"
    )
    fake_server.add_model(
        "m", inputs=EXAMPLES, outputs={"outputs": VECTOR}, method_name="tensorflow/serving/regress", signature="r"
    )
    fake_server.expect("m", [4.0], signature="r")
    fake_server.expect("m", {"classes": [["cat"]], "scores": [[1.0]]}, signature="c")
    with PredictClient(fake_server.target, model="m") as client:
        answers = client.multi_inference([{"a": 1.0}], tasks={"c": "classify", "r": "regress"})
    assert list(answers["r"].values) == [4.0]
    assert answers["c"].classes[0][0].label == "cat"
    fake_server.check()


# --- check -----------------------------------------------------------------------------------------------------------


def problems(server):
    with pytest.raises(AssertionError) as caught:
        server.check()
    return str(caught.value)


def test_unused_expectations_are_found(scripted, predict):
    one = scripted.expect("m", [1.0], inputs={"x": [1.0]}, times=2)
    scripted.expect("m", [1.0], times=None)
    predict([1])
    assert one.used == 1
    assert problems(scripted) == (
        "found unused expectations (1)\n"
        "unused expectations:\n"
        "  1. call of model 'm' signature 'serving_default' with x=[1.], used 1 of 2 times"
    )
    predict([1])
    scripted.check()


def test_a_removed_expectation_is_forgotten(scripted, predict):
    kept = scripted.expect("m", [1.0], times=None)
    wrong = scripted.expect("m", [2.0], times=1)
    assert repr(wrong) == "<Expectation: call of model 'm' signature 'serving_default', used 0 of 1 time>"
    wrong.remove()
    wrong.remove()
    scripted.check()
    kept.remove()
    with pytest.raises(InternalError, match="no calls of it are expected"):
        predict([1])


def test_a_model_without_expectations_answers_by_its_function_again(double, client):
    double.expect("double", [1.0]).remove()
    assert client.predict([2.0], model="double").array.tolist() == [4]
    double.check()


def test_unexpected_calls_are_found_with_what_came_nearest(double):
    double.expect("double", [1.0], inputs={"x": [1.0]})
    with PredictClient(double.target, model="double") as client:
        client.predict([2.0])
        with pytest.raises(InvalidArgumentError):
            client.predict({"x": np.float32([[2]])})
    assert problems(double).startswith(
        "found unexpected calls (2), unused expectations (1)\n"
        "unexpected calls:\n"
        "  1. Predict of model 'double' version 1 over grpc with x=float32 (1,) [2.]\n"
        "     no expectation matches:\n"
        "       1. call of model 'double' signature 'serving_default' with x=[1.], used 0 of 1 time\n"
        "          input 'x': the value differs\n"
        "            [0]: expected 1.0, got 2.0\n"
        "  2. Predict of model 'double' version 1 over grpc with x=float32 (1, 1) [[2.]]; it failed with"
    )
    assert "it was refused before expectations were looked at" in problems(double)


def test_calls_of_functions_are_expected_unless_the_model_has_expectations(double, client):
    client.predict([1.0])
    double.check()
    double.add_model("n", **SPECS)
    with pytest.raises(InternalError, match="no function, and no calls of it are expected"):
        client.predict([1.0], model="n")
    assert "unexpected calls (1)" in problems(double)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_calls_of_what_is_not_there_are_found(double, transport):
    target = double.target if transport == "grpc" else double.rest_url
    with PredictClient(target, timeout=10) as client:
        assert not client.is_ready(model="absent")
        double.check()  # programs may wait for a model
        for options in ({"model": "absent"}, {"model": "double", "version": 7}):
            with pytest.raises(NotFoundError):
                client.predict({"x": np.float32([1])}, **options)
        with pytest.raises((FailedPreconditionError, SignatureError)):
            client.predict({"x": np.float32([1])}, model="double", signature="s")
    found = problems(double)
    assert "model 'absent' is not served; models: double" in found
    assert "version 7 of model 'double' is not served" in found
    assert transport == "rest" or "it has no signature 's'; signatures: serving_default" in found


def test_faults_come_before_expectations(scripted, predict):
    scripted.expect("m", [1.0])
    scripted.faults.add(faults.Status(StatusCode.NOT_FOUND, "no such model"), method="Predict", times=3)
    for model in ("m", "absent"):
        with pytest.raises(NotFoundError, match="no such model"):
            predict([1], model=model)
    found = problems(scripted)
    assert found.startswith("found unused expectations (1), unused faults (1)\n")
    assert "Status" in found
    scripted.reset()
    scripted.check()


def test_a_model_that_is_loading_is_not_missing(scripted, predict):
    with scripted.states.unloading("m", 1), pytest.raises(NotFoundError):
        predict([1])
    scripted.check()


def test_reset_forgets_everything_but_the_models(double):
    double.expect("double", [1.0], inputs={"x": [1.0]})
    with PredictClient(double.target, model="double") as client:
        client.predict([2.0])
        with pytest.raises(NotFoundError):
            client.predict({"x": np.float32([1])}, model="absent")
        double.reset()
        double.check()
        assert double.calls == double.lookups == []
        assert client.predict([1.0]).array.tolist() == [2]


def leave_an_expectation(server, error=None):
    with server:
        server.add_model("m", **SPECS).expect("m", [1.0])
        if error is not None:
            raise error


def test_a_strict_server_checks_when_its_block_ends():
    leave_an_expectation(FakeServer())
    with pytest.raises(AssertionError, match="unused expectations"):
        leave_an_expectation(FakeServer(strict=True))
    with pytest.raises(ValueError, match="the reason"):
        leave_an_expectation(FakeServer(strict=True), ValueError("the reason"))


def test_calls_that_were_answered_by_script_are_recorded(scripted, predict):
    scripted.expect("m", [1.0])
    predict([3])
    scripted.assert_called_once_with("m", x=[3])
    assert (scripted.calls[0].code, scripted.calls[0].outputs["y"].tolist()) == (StatusCode.OK, [1])
