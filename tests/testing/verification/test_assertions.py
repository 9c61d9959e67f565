"""assert_called and its relatives: what passes, and what a failing one shows."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from calling import STYLES, calling

from tfs_client import CallError, ConfigError, EncodeError, InvalidArgumentError, PredictClient, RetryPolicy, TensorSpec
from tfs_client.testing import faults


@pytest.fixture
def predict(double):
    """Predicts with the doubling model."""
    with PredictClient(double.target, model="double", timeout=10) as client:
        yield client.predict


def failure(assertion, *args, **options):
    with pytest.raises(AssertionError) as caught:
        assertion(*args, **options)
    return str(caught.value)


@pytest.mark.parametrize("style", STYLES)
def test_calls_of_every_style_are_found(double, style):
    transport = style.partition("-")[0]
    with calling(style, double, model="double", timeout=20, metadata={"x-tenant": "a"}) as client:
        client.predict({"x": np.float32([1, 2])})
    double.assert_called()
    double.assert_called("double", times=1, x=[1.0, 2.0], transport=transport, metadata={"X-Tenant": "a"})
    double.assert_called_once_with("double", method="Predict", signature="serving_default", version=1, x=[1, 2])
    double.assert_not_called("double", x=[1.0, 3.0])
    double.assert_not_called(transport="rest" if transport == "grpc" else "grpc")
    double.assert_not_called(metadata={"x-tenant": "b"})


def test_a_failure_shows_what_differs(double, predict):
    predict(np.float32([1, 2]))
    assert failure(double.assert_called, "double", x=[1.0, 3.0]) == (
        "expected at least one call of model 'double' with x=[1. 3.]\n"
        "got 1 call; those that came nearest:\n"
        "  1. Predict of model 'double' version 1 over grpc with x=float32 (2,) [1. 2.]\n"
        "       input 'x': 1 of 2 values differ, by at most 1 at [1]\n"
        "         [1]: expected 3.0, got 2.0"
    )


def test_without_calls_the_failure_says_so(double):
    assert failure(double.assert_called, "double") == "expected at least one call of model 'double'\ngot no calls"
    assert failure(double.assert_called_once_with, "double", x=[1]) == (
        "expected one call of model 'double' with x=[1]\ngot no calls"
    )
    double.assert_not_called()


def test_the_call_that_came_nearest_is_first(double, predict):
    for values in ([1, 2], [9, 9, 9], [1, 2]):
        predict(np.float32(values), metadata={"x-one": "1"} if len(values) == 3 else None)
    shown = failure(double.assert_called, "double", x=[9, 9, 8], metadata={"x-one": "1"})
    assert shown.index("[9. 9. 9.]") < shown.index("[1. 2.]")
    assert "metadata 'x-one' was not sent" in shown


def test_the_number_of_calls_can_be_checked(double, predict):
    for _ in range(3):
        predict(np.float32([1]))
    double.assert_called("double", times=3, x=[1])
    double.assert_called(times=0, x=[2])
    assert failure(double.assert_called, "double", times=2).startswith(
        "expected 2 calls of model 'double'\ngot 3 calls:\n  1."
    )
    assert failure(double.assert_called, "double", times=4).count("Predict") == 3
    predict(np.float32([5]))
    assert "\ngot 3 among 4 calls; those that came nearest:\n" in failure(double.assert_called, times=4, x=[1])
    assert failure(double.assert_called_once_with, "double", x=[1]).startswith(
        "expected one call of model 'double' with x=[1]\ngot 4 calls:\n"
    )


def test_long_lists_are_cut(double, predict):
    for number in range(8):
        predict(np.float32([number]))
    assert failure(double.assert_not_called, "double").endswith("  and 3 more")
    assert failure(double.assert_called, x=[99]).count("input 'x'") == 5


def test_once_with_counts_the_calls_of_the_selected_model(double, predict):
    spec = TensorSpec("float32", (None,))
    double.add_model("other", lambda x: x, inputs={"x": spec}, outputs={"y": spec})
    predict(np.float32([1]))
    predict(np.float32([5]), model="other")
    double.assert_called_once_with("double", x=[1])
    double.assert_called_once_with(model="other", x=np.float32([5]))
    assert "got 2 calls:" in failure(double.assert_called_once_with)
    assert failure(double.assert_called_once_with, "other", x=[6]) == (
        "expected one call of model 'other' with x=[6]\n"
        "got Predict of model 'other' version 1 over grpc with x=float32 (1,) [5.]\n"
        "  input 'x': the value differs\n"
        "    [0]: expected 6.0, got 5.0"
    )
    assert "expected model 'third', got 'double'" in failure(double.assert_called, "third")


def test_tolerances_and_dtypes(double, predict):
    predict(np.float32([1.001, np.nan]))
    double.assert_called(x=[1.0, float("nan")], rtol=0.01)
    double.assert_called(x=np.float32([1.0, np.nan]), atol=0.01)
    assert "input 'x'" in failure(double.assert_called, x=[1.0, float("nan")])
    assert "expected float32 (3,), got float32 (2,)" in failure(double.assert_called, x=[1, 2, 3])
    assert "input 'x': expected string (1,) ['text'], got float32 (2,) [1.001" in failure(
        double.assert_called, x=["text"]
    )


def test_inputs_whose_names_collide_are_given_as_a_mapping(fake_server):
    spec = TensorSpec("string", (None,))
    aliases = ("model", "a b")
    fake_server.add_model(
        "m", lambda **inputs: inputs["model"], inputs=dict.fromkeys(aliases, spec), outputs={"y": spec}
    )
    with PredictClient(fake_server.target, model="m") as client:
        client.predict({"model": ["ä"], "a b": [b"\0"]})
    fake_server.assert_called_once_with("m", inputs={"model": ["ä"], "a b": [b"\0"]})
    assert "expected b'x', got b'\\xc3\\xa4'" in failure(fake_server.assert_called, inputs={"model": ["x"]})
    assert "input 'z' was not sent; got a b, model" in failure(fake_server.assert_called, "m", z=[1])


@pytest.mark.parametrize(
    "fault",
    [
        faults.Status("UNAVAILABLE", "restarting"),
        faults.QueueFull(),
        faults.DeadlineOverrun(),
        faults.Latency(30),
        faults.ConnectionReset(),
        faults.HtmlErrorPage(502),
        faults.VersionVanishes(),
    ],
    ids=lambda fault: type(fault).__name__,
)
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_calls_that_a_fault_ends_have_their_inputs(double, fault, transport):
    double.faults.add(fault, times=1)
    target = double.target if transport == "grpc" else double.rest_url
    with PredictClient(target, model="double") as client, pytest.raises(CallError):
        client.predict({"x": np.float32([1, 2])}, timeout=0.6)
    double.assert_called_once_with("double", x=[1.0, 2.0])
    assert "expected no call" in failure(double.assert_not_called, x=[1.0, 2.0])
    assert "[1]: expected 3.0, got 2.0" in failure(double.assert_called, x=[1.0, 3.0])


def test_every_attempt_has_the_inputs(double):
    double.faults.add(faults.Status("UNAVAILABLE", "restarting"), times=2)
    for target in (double.target, double.rest_url):
        with PredictClient(target, model="double", retry=RetryPolicy(attempts=3, initial_backoff=0.005)) as client:
            client.predict({"x": np.float32([1, 2])})
    double.assert_called("double", times=4, x=[1.0, 2.0])


def test_refused_calls_have_the_inputs_that_were_sent(double):
    with PredictClient(double.target) as client:
        for model, inputs in (("double", {"q": np.float32([1])}), ("nowhere", {"x": np.float32([1])})):
            with pytest.raises(CallError):
                client.predict(inputs, model=model)
    double.assert_called("double", q=[1.0])
    double.assert_called("nowhere", x=[1.0])
    assert "input 'x' was not sent; got q" in failure(double.assert_called_once_with, "double", x=[1.0])


@pytest.mark.parametrize("which", ["versions/7", "labels/canary"])
def test_calls_of_missing_versions_have_their_inputs_over_rest(double, which):
    request = httpx.post(f"{double.rest_url}/v1/models/double/{which}:predict", json={"instances": [1.0, 2.0]})
    assert request.status_code in (400, 404)
    double.assert_called_once_with("double", x=[1.0, 2.0])
    assert "expected no call" in failure(double.assert_not_called, x=[1.0, 2.0])


def test_inputs_that_could_not_be_read_are_not_called_unsent(double):
    request = httpx.post(f"{double.rest_url}/v1/models/nowhere:predict", json={"instances": [1.0]})
    assert request.status_code == 404
    shown = failure(double.assert_called_once_with, "nowhere", x=[1.0])
    assert "its inputs are not known: it failed before they could be read" in shown
    shown = failure(double.assert_not_called, x=[1.0])
    assert shown.startswith("expected no call with x=[1.]\ngot 1 call that may be one; those that came nearest:\n  1. ")
    assert "its inputs are not known: it failed before they could be read" in shown
    assert "\ngot 0, or up to 1, among 1 call; " in failure(double.assert_called, times=0, x=[1.0])
    double.assert_not_called("double", x=[1.0])
    with PredictClient(double.target, model="double") as client:
        client.predict(np.float32([1]))
    double.assert_called(x=[1.0])
    double.assert_called("double", times=1, x=[1.0])
    assert "\ngot 1, or up to 2, among 2 calls; " in failure(double.assert_called, times=1, x=[1.0])


def test_a_refused_call_without_inputs_is_known_to_have_none(double):
    with PredictClient(double.target, model="double", validate=False) as client, pytest.raises(CallError):
        client.predict({})
    assert [dict(call.inputs) for call in double.calls] == [{}]
    double.assert_not_called("double", x=[1.0])
    assert "input 'x' was not sent; got" in failure(double.assert_called, x=[1.0])


def test_failed_calls_count_and_show_their_error(double, predict):
    with pytest.raises(InvalidArgumentError):
        predict({"x": np.zeros((1, 1), np.float32)})
    double.assert_called_once_with("double", x=[[0.0]])
    assert "; it failed with INVALID_ARGUMENT: 'Cannot feed value" in failure(double.assert_not_called, "double")


def test_lookups_count_only_if_they_are_asked_for(double, predict):
    predict([1.0])
    double.assert_called(times=1)
    double.assert_called("double", method="GetModelMetadata", times=1)
    double.assert_not_called(method="GetModelStatus")


def test_metadata_is_not_shown(double, predict):
    predict([1.0], metadata={"authorization": "Bearer planted"})
    shown = failure(double.assert_called, metadata={"authorization": "Bearer guessed"})
    assert "metadata 'authorization' has another value" in shown
    assert "planted" not in shown
    assert "guessed" not in shown


def test_mistakes_are_not_failures(double, predict):
    predict([1.0])
    for options, text in (
        ({"method": "predict"}, "expected method= to be one of Predict, Classify"),
        ({"transport": "http"}, "expected transport= to be one of grpc, rest, got 'http'"),
        ({"rtol": -1.0}, "expected rtol= as a number of at least 0, got -1.0"),
        ({"atol": "a"}, "expected atol= as a number of at least 0, got 'a'"),
        ({"rtol": [1]}, "expected rtol= as a number"),
        ({"rtol": None}, "expected rtol= as a number"),
        ({"inputs": [1]}, r"expected inputs= as a mapping from alias to values, got \[1\]"),
        ({"model": 1}, "expected model= to be a name, got 1"),
        ({"version": "1"}, "expected version= to be a number such as 1, got '1'"),
        ({"version": True}, "expected version= to be a number such as 1, got True"),
        ({"metadata": {"k": 5}}, "metadata 'k': expected text"),
        ({"metadata": 5}, "expected metadata as a mapping or as pairs"),
        ({"inputs": {"x": [1]}, "x": [1]}, "the input x is given twice"),
    ):
        for assertion in (double.assert_called, double.assert_called_once_with, double.assert_not_called):
            with pytest.raises(ConfigError, match=text):
                assertion(**options)
    with pytest.raises(ConfigError, match="expected times= to be a number of calls, got -1"):
        double.assert_called(times=-1)
    with pytest.raises(EncodeError, match="expected a tensor, got None"):
        double.assert_not_called(x=None)


@pytest.mark.parametrize(
    "values", [np.array([1.0, 2.0]), np.array([1, 2]), np.array([1, 2], np.uint8), np.float16([1, 2]), [1, 2]]
)
def test_arrays_are_compared_by_value(double, predict, values):
    predict(np.float32([1, 2]))
    double.assert_called_once_with("double", x=values)
    assert "expected no call" in failure(double.assert_not_called, "double", x=values)
    assert "expected 0 calls" in failure(double.assert_called, "double", times=0, x=values)


def test_repeated_values_are_not_expanded(double, predict):
    predict(np.float32([1]))
    assert "expected float32 (1000000000000,), got float32 (1,)" in failure(
        double.assert_called, x=np.broadcast_to(np.float64(1), 10**12)
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"model": "modle"}, "the server never had the model 'modle'; models: double"),
        ({"signature": "s"}, "no model has the signature 's'; signatures: serving_default"),
        ({"model": "double", "signature": "s"}, "model 'double' has no signature 's'; signatures: serving_default"),
        ({"version": 7}, "no model has the version 7; versions: 1"),
        ({"model": "double", "version": 7}, "model 'double' has no version 7; versions: 1"),
        ({"X": [1.0]}, "no signature has the input 'X'; inputs: x"),
        ({"x": ["a"]}, r"input 'x' expects float32 \(\?,\), got string \(1,\) \['a'\]: a cast from string"),
        ({"x": np.array([2**60 + 1])}, r"1152921504606846977 at \[0\] cannot be cast to float32 without loss"),
        ({"x": [[1.0, 2.0]]}, r"input 'x' expects float32 \(\?,\), got the shape \(1, 2\)"),
        ({"x": 1.0}, r"input 'x' expects float32 \(\?,\), got the shape scalar"),
        ({"x": [1.0], "method": "Classify"}, "the inputs of Classify calls are not recorded"),
        ({"model": "double", "method": "ListModels"}, "ListModels calls do not name a model"),
    ],
)
def test_an_assertion_that_cannot_fail_is_refused(double, predict, arguments, text):
    predict(np.float32([1, 2]))
    for assertion, options in ((double.assert_not_called, {}), (double.assert_called, {"times": 0})):
        with pytest.raises(ConfigError, match=f"no call can match, so this assertion cannot fail: .*{text}"):
            assertion(**arguments, **options)


def test_what_a_client_has_sent_can_be_asserted(double, predict):
    for x, options in (([[0]], {}), ([0], {"model": "absent"})):
        with pytest.raises(CallError):
            predict({"x": np.float32(x)}, **options)
    double.assert_not_called("double", x=[[5.0]])
    assert "got 1 call:" in failure(double.assert_not_called, "absent")
    assert "got 1 call:" in failure(double.assert_not_called, "double", x=[[0.0]])


def test_models_that_were_removed_stay_known(double, predict):
    predict([1.0])
    double.add_model("double", inputs={"z": TensorSpec("string")}, outputs={"y": TensorSpec("string")}, version=2)
    for version in (1, 2):
        double.remove_model("double", version)
    double.assert_not_called("double", version=2, z=["a"])
    with pytest.raises(ConfigError, match="no signature has the input 'x'; inputs: z"):
        double.assert_not_called("double", version=2, x=[1.0])
    assert "got 1 call:" in failure(double.assert_not_called, "double", x=[1])


def test_a_model_whose_signatures_are_not_known_yet_may_have_any_input(fake_server):
    with fake_server.states.loading("later", 3):
        fake_server.assert_not_called("later", version=3, anything=[1])


def test_shapes_that_the_server_does_not_check_are_possible(fake_server):
    spec = TensorSpec("float32", (None,))
    fake_server.add_model("m", lambda x: x, inputs={"x": spec}, outputs={"y": spec}, check_shapes=False)
    fake_server.assert_not_called("m", x=[[1.0]])


def test_inputs_of_examples_are_not_recorded(fake_server):
    fake_server.add_model(
        "m",
        lambda inputs: np.zeros(len(inputs), np.float32),
        inputs={"inputs": TensorSpec("string", (None,))},
        outputs={"outputs": TensorSpec("float32", (None,))},
        method_name="tensorflow/serving/regress",
    )
    with PredictClient(fake_server.target, model="m") as client:
        client.regress([{"a": 1.0}])
    fake_server.assert_called("m", method="Regress")
    assert "its inputs are not recorded: expected Predict, got Regress" in failure(
        fake_server.assert_called, "m", inputs={"inputs": [b""]}
    )
    fake_server.assert_not_called("m", inputs={"inputs": [b""]})  # a Predict call could have it
    with pytest.raises(ConfigError, match="the inputs of Regress calls are not recorded"):
        fake_server.assert_not_called("m", method="Regress", inputs={"inputs": [b""]})
