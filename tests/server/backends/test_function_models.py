"""Models made of functions: exceptions become codes, and results that contradict the signature are reported."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import (
    AbortedError,
    ConfigError,
    InternalError,
    InvalidArgumentError,
    PredictClient,
    StatusCode,
    TensorSpec,
    UnknownError,
    make_ndarray,
)
from tfs_client.errors import BY_CODE, CallError
from tfs_client.server import FunctionServable, FunctionSignature
from tfs_client.server.call_deadlines import time_limit

VECTOR = TensorSpec("float32", (None,))
ONE = {"x": np.float32([1])}


@pytest.fixture
def answer(fake_server, plain, refused):
    """Calls a model with one input that has the given function, and returns the outcome."""

    def call(fn, outputs={"y": VECTOR}):  # noqa: B006
        fake_server.add_model("f", fn, inputs={"x": VECTOR}, outputs=outputs)
        return refused(plain.predict, {"name": "f"}, ONE)

    return call


def raising(error):
    def fn(x):
        raise error

    return fn


class OwnValueError(ValueError):
    pass


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("bad"), "INVALID_ARGUMENT", "ValueError: bad"),
        (OwnValueError("bad"), "INVALID_ARGUMENT", "OwnValueError: bad"),
        (TypeError("bad"), "INVALID_ARGUMENT", "TypeError: bad"),
        (StopIteration("over"), "OUT_OF_RANGE", "StopIteration: over"),
        (MemoryError("full"), "RESOURCE_EXHAUSTED", "MemoryError: full"),
        (NotImplementedError("later"), "UNIMPLEMENTED", "NotImplementedError: later"),
        (RuntimeError("odd"), "UNKNOWN", "RuntimeError: odd"),
        (KeyError("k"), "UNKNOWN", "KeyError: 'k'"),
        (ZeroDivisionError(), "UNKNOWN", "ZeroDivisionError: "),
    ],
)
def test_an_exception_of_the_function_becomes_a_code(answer, error, code, text):
    assert answer(raising(error)) == (code, text)


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_a_call_error_of_the_function_keeps_code_and_text(answer, code):
    assert answer(raising(BY_CODE[code]("as I say"))) == (code.name, "as I say")


def test_a_plain_call_error_of_the_function_keeps_code_and_text(answer):
    assert answer(raising(CallError(StatusCode.ABORTED, "as I say"))) == ("ABORTED", "as I say")


def test_an_error_with_the_code_ok_is_not_a_success(answer):
    code, _ = answer(raising(CallError(StatusCode.OK, "all well")))
    assert code == "INTERNAL"


def test_the_client_sees_the_same_error(fake_server):
    fake_server.add_model("f", raising(AbortedError("as I say")), inputs={"x": VECTOR}, outputs={"y": VECTOR})
    with PredictClient(fake_server.target, model="f") as client, pytest.raises(AbortedError, match="as I say"):
        client.predict(ONE)


def test_a_text_that_utf8_cannot_encode_is_repaired(answer):
    assert answer(raising(AbortedError("odd \udcff name"))) == ("ABORTED", "odd ? name")


@pytest.mark.parametrize(("size", "shown"), [(1023, None), (1024, None), (1025, "x" * 1024), (90_000, "x" * 1024)])
def test_long_texts_are_cut(answer, size, shown):
    text = "x" * size
    assert answer(raising(AbortedError(text))) == ("ABORTED", text if shown is None else shown + "...TRUNCATED")


def test_texts_are_cut_by_bytes_between_characters(answer):
    code, text = answer(raising(AbortedError("ä" * 600 + "tail")))
    assert (code, text) == ("ABORTED", "ä" * 512 + "...TRUNCATED")


def test_texts_survive_the_wire(fake_server, plain, refused):
    text = "ünïcode\n\twith lines, 100 % \x7f"
    fake_server.add_model("f", raising(AbortedError(text)), inputs={"x": VECTOR}, outputs={"y": VECTOR})
    assert refused(plain.predict, {"name": "f"}, ONE) == ("ABORTED", text)


# --- answers ---------------------------------------------------------------------------------------------------------

TWO = {"y": VECTOR, "z": VECTOR}


@pytest.mark.parametrize(
    ("given", "outputs", "text"),
    [
        ({"y": [1.0]}, TWO, "the model did not return the output 'z' of its signature; it returned y"),
        ({}, {"y": VECTOR}, "the model did not return the output 'y' of its signature; it returned none"),
        ([1.0], TWO, "expected the outputs of the signature (y, z) as a mapping, got one list"),
        (None, {"y": VECTOR}, "the model's output 'y' is not float32 (?,): the function returned None"),
        ("text", {"y": VECTOR}, "the model's output 'y' is not float32 (?,): expected float32 values, got"),
        ([1.0, [2.0]], {"y": VECTOR}, "the model's output 'y' is not float32 (?,): expected a rectangular array"),
        ([1.5], {"y": TensorSpec("int32")}, "the model's output 'y' is not int32 any shape: expected int32 values"),
        (np.array(["a"]), {"y": VECTOR}, "the model's output 'y' is not float32 (?,): expected float32 values"),
        ([1], {"y": TensorSpec("string")}, "the model's output 'y' is not string any shape: expected string values"),
    ],
)
def test_a_result_that_breaks_the_signature_is_internal_and_names_the_output(answer, given, outputs, text):
    code, details = answer(lambda x: given, outputs)
    assert code == "INTERNAL"
    assert details.startswith(text)


@pytest.mark.parametrize("given", [[1, 2], (1.0, 2.0), np.float64([1, 2]), {"y": [1, 2]}])
def test_results_are_converted_to_the_signatures_outputs(fake_server, plain, given):
    fake_server.add_model("f", lambda x: given, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    proto = plain.predict({"name": "f"}, ONE).outputs["y"]
    assert proto.dtype == 1
    assert make_ndarray(proto).tolist() == [1, 2]


def test_outputs_beyond_the_signature_are_not_sent(fake_server, plain):
    fake_server.add_model("f", lambda x: {"y": x, "secret": x}, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    assert list(plain.predict({"name": "f"}, ONE).outputs) == ["y"]


def test_a_function_need_not_return_outputs_that_were_filtered_out(fake_server, plain):
    fake_server.add_model("f", lambda x: {"y": x}, inputs={"x": VECTOR}, outputs=TWO)
    assert list(plain.predict({"name": "f"}, ONE, ["y"]).outputs) == ["y"]


def test_the_function_gets_arrays_of_the_signatures_dtypes(fake_server, plain):
    seen = {}

    def look(**inputs):
        seen.update(inputs)
        return 0

    specs = {"a": TensorSpec("int64"), "t": TensorSpec("string"), "d": TensorSpec("float16")}
    fake_server.add_model("f", look, inputs=specs, outputs={"y": TensorSpec("int32")}, defaults={"d": [1.5]})
    plain.predict({"name": "f"}, {"a": np.int64([1]), "t": np.array([["ä"]])})
    assert (seen["a"].dtype, seen["d"].dtype, seen["t"].dtype) == (np.int64, np.float16, object)
    assert seen["t"].tolist() == [["ä".encode()]]
    call = fake_server.calls[-1]
    assert set(call.inputs) == {"a", "t", "d"}
    assert call.outputs["y"].tolist() == 0


# --- mistakes when models are made -----------------------------------------------------------------------------------


def test_invalid_models_are_refused():
    def fn(x):
        return x

    with pytest.raises(ConfigError, match="at least one signature"):
        FunctionServable({})
    with pytest.raises(ConfigError, match="serving_default 'x' needs a TensorSpec"):
        FunctionServable({"serving_default": FunctionSignature(fn, {"x": "float32"}, {"y": VECTOR})})
    for specs in ([VECTOR], None, "x", {0: VECTOR}):
        with pytest.raises(
            ConfigError, match="'serving_default' needs inputs as a mapping from alias to TensorSpec, got"
        ):
            FunctionServable({"serving_default": FunctionSignature(fn, specs, {"y": VECTOR})})
        with pytest.raises(ConfigError, match="'serving_default' needs outputs as a mapping from alias to TensorSpec"):
            FunctionServable({"serving_default": FunctionSignature(fn, {"x": VECTOR}, specs)})
    for options, text in (
        ({"method_name": 5}, "a signature needs a text as its method name, got 5"),
        ({"defaults": [1]}, "signature 's' needs defaults by alias, got"),
        ({"defaults": {1: 1}}, "signature 's' needs defaults by alias, got"),
        ({"check_shapes": "no"}, "expected check_shapes to be True or False, got 'no'"),
    ):
        with pytest.raises(ConfigError, match=text):
            FunctionServable({"s": FunctionSignature(fn, {"x": VECTOR}, {"y": VECTOR}, **options)})
    with pytest.raises(ConfigError, match="a signature needs a text as its name, got 5"):
        FunctionServable({5: FunctionSignature(fn, {"x": VECTOR}, {"y": VECTOR})})
    with pytest.raises(ConfigError, match="'serving_default' needs a FunctionSignature, got "):
        FunctionServable({"serving_default": fn})
    with pytest.raises(ConfigError, match="defaults for inputs it does not have: z"):
        FunctionServable({"serving_default": FunctionSignature(fn, {"x": VECTOR}, {"y": VECTOR}, defaults={"z": 1})})


def test_a_servable_can_be_used_without_a_server():
    servable = FunctionServable({"s": FunctionSignature(lambda x: 2 * x, {"x": VECTOR}, {"y": VECTOR})})
    assert servable.run("s", ONE, ["y"])["y"].tolist() == [2]
    assert servable.signatures["s"].outputs["y"].tensor_name == "s_out_y:0"
    with pytest.raises(InternalError, match="did not return the output 'y' of its signature; it returned 1"):
        FunctionServable({"s": FunctionSignature(lambda x: {1: x}, {"x": VECTOR}, {"y": VECTOR})}).run("s", ONE, ["y"])
    with pytest.raises(InternalError):
        FunctionServable({"s": FunctionSignature(lambda x: None, {"x": VECTOR}, {"y": VECTOR})}).run("s", ONE, ["y"])


def test_a_deadline_does_not_stop_a_function():
    servable = FunctionServable(
        {"serving_default": FunctionSignature(lambda x: {"y": x + 1}, {"x": VECTOR}, {"y": VECTOR})}
    )
    with time_limit(1e-9):
        assert servable.run("serving_default", ONE, ["y"])["y"] == 2


@pytest.mark.parametrize(
    ("dtype", "values", "words"),
    [
        ("int32", np.array([1, 1 << 40]), "1099511627776 at \\[1\\] cannot be cast to int32"),
        ("int32", np.int64([[1 << 31]]), "2147483648 at \\[0, 0\\] cannot be cast to int32"),
        ("int8", np.int64(-129), "-129 cannot be cast to int8"),
        ("float32", np.array([1e300]), "1e\\+300 at \\[0\\] cannot be cast to float32"),
        ("float16", np.float32([1, 7e4]), "70000.0 at \\[1\\] cannot be cast to float16"),
        ("int32", np.float64(2.5), "expected int32 values, got an array of float64"),
    ],
)
def test_an_output_out_of_the_range_of_its_dtype_is_refused(fake_server, dtype, values, words):
    fake_server.add_model(
        "m", lambda x: values, inputs={"x": TensorSpec("float32")}, outputs={"y": TensorSpec(dtype, None)}
    )
    with PredictClient(fake_server.target, model="m") as client, pytest.raises(InternalError, match=words):
        client.predict([1.0])


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("int32", np.int64([-(1 << 31), (1 << 31) - 1]), [-(1 << 31), (1 << 31) - 1]),
        ("float32", np.float64([np.inf, 0.1]), [np.inf, np.float32(0.1)]),
        ("float32", np.int64([(1 << 60) + 1]), [float(1 << 60)]),
        ("int64", np.array([True]), [1]),
        ("float32", np.float64(0.5), 0.5),
    ],
)
def test_an_output_that_loses_at_most_digits_is_cast(fake_server, dtype, values, expected):
    fake_server.add_model(
        "m", lambda x: values, inputs={"x": TensorSpec("float32")}, outputs={"y": TensorSpec(dtype, None)}
    )
    with PredictClient(fake_server.target, model="m") as client:
        assert client.predict([1.0])["y"].tolist() == expected


def test_a_cast_that_truncates_values_is_refused_and_one_that_rounds_them_is_not(fake_server):
    """numpy computes in float64 by default; truncating floats to integers is hardly ever intended."""
    spec = {"x": TensorSpec("float32", (None,))}
    fake_server.add_model("rounds", lambda x: x.astype(np.float64) / 3, inputs=spec, outputs=spec)
    fake_server.add_model("cuts", lambda x: x / 3, inputs=spec, outputs={"y": TensorSpec("int32", (None,))})
    with PredictClient(fake_server.target) as client:
        assert client.predict({"x": [1.0]}, model="rounds").array.tolist() == [pytest.approx(1 / 3)]
        with pytest.raises(InternalError, match=r"output 'y' is not int32.*got an array of float32"):
            client.predict({"x": [1.0]}, model="cuts")


def test_base_exceptions_are_answered(fake_server):
    """pytest.fail() and sys.exit() in a function must not leave the caller waiting."""
    number = TensorSpec("int32", ())

    def fail(x):
        pytest.fail("must not be called")

    def leave(x):
        raise SystemExit(3)

    fake_server.add_model("fails", fail, inputs={"x": number}, outputs={"y": number})
    fake_server.add_model("leaves", leave, inputs={"x": number}, outputs={"y": number})
    with PredictClient(fake_server.target, timeout=10) as client:
        with pytest.raises(UnknownError, match="Failed: must not be called"):
            client.predict({"x": 1}, model="fails")
        with pytest.raises(UnknownError, match="SystemExit: 3"):
            client.predict({"x": 1}, model="leaves")
    assert [call.code for call in fake_server.calls] == [StatusCode.UNKNOWN] * 2


def test_defaults_are_the_same_for_every_call(fake_server):
    given = np.array(1, np.int32)

    def count(x, k):
        k += x
        return k

    number = TensorSpec("int32", ())
    fake_server.add_model("m", count, inputs={"x": number, "k": number}, outputs={"y": number}, defaults={"k": given})
    with PredictClient(fake_server.target, model="m") as client, pytest.raises(InvalidArgumentError, match="read-only"):
        client.predict({"x": 1})
    assert given == 1


@pytest.mark.parametrize(
    ("fn", "text"),
    [(5, "needs a function, got 5"), (lambda z: z, r"its function takes \(z\) and would be called with x")],
)
def test_a_function_that_cannot_be_called_is_refused_at_once(fake_server, fn, text):
    number = TensorSpec("int32", ())
    with pytest.raises(ConfigError, match=text):
        fake_server.add_model("m", fn, inputs={"x": number}, outputs={"y": number})
