"""Results print readably, compare, and cannot be changed."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tfs_client import (
    ConfigError,
    EncodeError,
    MicroBatcher,
    ModelStatus,
    ModelVersion,
    PredictClient,
    SignatureError,
    State,
    StatusCode,
    TensorSpec,
    Timing,
    VersionStatus,
)
from tfs_client._codec.plain_values import as_json


@pytest.fixture
def predict(fake_server):
    """Predicts with a model that returns given outputs."""
    clients = []

    def call(**outputs):
        specs = {alias: TensorSpec(np.asarray(value).dtype) for alias, value in outputs.items()}
        name = f"m{len(clients) or ''}"
        fake_server.add_model(name, lambda: outputs, inputs={}, outputs=specs)
        clients.append(PredictClient(fake_server.target, model=name))
        return clients[-1].predict({})

    yield call
    for client in clients:
        client.close()


def test_a_prediction_is_a_mapping(predict):
    prediction = predict(y=np.float32([1]), z=np.int32(2))
    assert set(prediction) == {"y", "z"}
    assert len(prediction) == 2
    assert "y" in prediction
    assert "x" not in prediction
    assert prediction.get("x") is None
    assert dict(prediction)["z"] == 2


def test_a_prediction_cannot_be_changed(predict):
    prediction = predict(y=np.float32([1]))
    for change in (
        lambda: prediction.update(y=1),
        lambda: prediction.__setitem__("y", 1),
        lambda: prediction.__delitem__("y"),
        lambda: prediction.pop("y"),
        prediction.popitem,
        prediction.clear,
        lambda: prediction.setdefault("z", 1),
        lambda: prediction.__ior__({"z": 1}),
    ):
        with pytest.raises(TypeError, match=r"a Prediction is read-only; dict\(prediction\)"):
            change()
    own = dict(prediction)
    own["z"] = 1
    assert type(prediction | {"z": 1}) is dict
    assert list(prediction) == ["y"]


def test_a_missing_output_is_a_key_error_that_lists_the_outputs(predict):
    with pytest.raises(KeyError, match="unknown output 'x'; known outputs: y, z"):
        predict(y=np.float32(1), z=np.float32(1))["x"]


@pytest.mark.parametrize(
    ("value", "equal", "other"),
    [
        (np.float32([1, 2]), [1.0, 2.0], [1.0, 3.0]),
        (np.float32([1, np.nan]), np.float64([1, np.nan]), [np.nan, 1.0]),
        (np.float32([1]), [1], [1, 1]),
        (np.float32([[1, 2]]), [[1, 2]], [[1, 2], [3]]),
        (np.int64(5), 5, [5]),
        (np.array([True]), [True], [False]),
        (np.array([b"a", b""], object), [b"a", b""], [b"a", b"b"]),
        (np.array([b"a"], object), np.array([b"a"]), ["a"]),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3)), np.zeros((0, 2))),
        (np.float32([1]), np.float32([1]), ["1.0"]),
        (np.array([1, np.nan], ml_dtypes.bfloat16), [1.0, np.nan], [1.0, 2.0]),
    ],
)
def test_predictions_are_compared_by_their_values(predict, value, equal, other):
    prediction, same = predict(y=value), predict(y=value)
    assert prediction == same
    assert (prediction != same) is False
    for mapping in ({"y": equal}, types.MappingProxyType({"y": equal})):
        assert prediction == mapping
        assert mapping == prediction
    for mapping in ({"y": other}, {"z": equal}, {}, {"y": equal, "z": equal}, {"y": None}):
        assert prediction != mapping
        assert (prediction == mapping) is False
    assert prediction != [("y", equal)]
    assert prediction.__eq__(5) is NotImplemented
    with pytest.raises(TypeError, match="unhashable"):
        hash(prediction)


def test_numpy_takes_a_prediction_of_one_output_as_this_output(predict):
    prediction = predict(y=np.float32([3, 5, 1]))
    assert np.argmax(prediction) == 1
    assert np.asarray(prediction) is prediction.array
    assert (prediction == np.float32([3, 0, 1])).tolist() == [True, False, True]
    assert np.stack([prediction, prediction]).tolist() == [[3, 5, 1]] * 2
    copy = np.array(prediction, np.float64)
    copy[0] = 7
    assert prediction.array.tolist() == [3, 5, 1]
    with pytest.raises(SignatureError, match="expected one output, got 2: y, z"):
        np.max(predict(y=np.float32([1]), z=np.float32([1])))


def test_comparing_with_an_unsupported_dtype_does_not_raise(predict):
    assert predict(y=np.float32([1, 2])) != {"y": np.array(["2020", "2021"], "M8[Y]")}


# --- outputs elsewhere ----------------------------------------------------------------------------------------------


def test_to_dict_returns_python_values(predict):
    half = np.array([1.5], ml_dtypes.bfloat16)
    strings, bools = np.array([b"a"], object), np.array([True])
    found = predict(y=np.float32([[1.5], [2.5]]), n=np.int64(7), s=strings, b=bools, h=half).to_dict()
    assert found == {"y": [[1.5], [2.5]], "n": 7, "s": [b"a"], "b": [True], "h": [1.5]}
    assert type(found) is dict
    assert {type(found["n"]), type(found["b"][0]), type(found["h"][0])} == {int, bool, float}


def test_to_json_keeps_every_value(predict):
    floats = np.array([0.1, 1e20, 1e-45, -0.0, 3, np.nan, np.inf, -np.inf], np.float32)
    text = predict(
        f=floats,
        d=np.array([0.1, 1 / 3, 5e-324]),
        h=np.array([0.1], np.float16),
        i=np.array([[-(1 << 63), (1 << 63) - 1]]),
        u=np.uint64((1 << 64) - 1),
        b=np.array([True, False]),
        s=np.array([[b"a"], [b"\xff\0"]], object),
        e=np.zeros((2, 0), np.float32),
    ).to_json()
    assert '"f": [0.1, 1e+20, 1e-45, -0.0, 3.0, NaN, Infinity, -Infinity]' in text
    assert '"h": [0.1]' in text
    found = json.loads(text)
    assert np.float32(found["f"]).tobytes() == floats.tobytes()
    assert found["d"] == [0.1, 1 / 3, 5e-324]
    assert found["i"] == [[-(1 << 63), (1 << 63) - 1]]
    assert found["u"] == (1 << 64) - 1
    assert found["b"] == [True, False]
    assert found["s"] == [[{"b64": "YQ=="}], [{"b64": "/wA="}]]
    assert found["e"] == [[], []]


@given(arrays(st.sampled_from(["f2", "f4", "f8", "i8", "u8", "?"]), array_shapes(min_dims=0, min_side=0)))
def test_any_numbers_are_read_back_from_json(array):
    (found,) = json.loads(as_json({"y": array})).values()
    with np.errstate(over="ignore"):
        back = np.array(found, array.dtype).reshape(array.shape)
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")


def test_json_has_no_complex_numbers(predict):
    with pytest.raises(EncodeError, match=r"output 'y': JSON does not support complex numbers; send array\.real"):
        predict(y=np.complex64([1j])).to_json()


def test_to_pandas_without_pandas_says_what_to_install(predict, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="to_pandas needs the package pandas: pip install pandas"):
        predict(y=np.float32([1])).to_pandas()


@pytest.mark.peer
def test_outputs_become_columns_of_a_frame(predict):
    import pandas as pd
    import polars as pl

    vectors = predict(y=np.float32([1, 2]), s=np.array([b"a", b"b"], object), n=np.int64(5))
    for frame in (pd.DataFrame(vectors), vectors.to_pandas()):
        assert sorted(frame.columns) == ["n", "s", "y"]
        assert frame["y"].tolist() == [1.0, 2.0]
        assert frame["y"].dtype == np.float32
        assert frame["s"].tolist() == [b"a", b"b"]
        assert frame["n"].tolist() == [5, 5]
    assert sorted(pl.DataFrame({alias: vectors[alias] for alias in ("y", "s")}).columns) == ["s", "y"]
    assert pl.DataFrame(predict(y=np.float32([1, 2])))["y"].to_list() == [1.0, 2.0]
    frame = vectors.to_pandas()
    frame.loc[0, "y"] = 7  # it is the caller's own
    assert vectors["y"][0] == 1


@pytest.mark.peer
def test_outputs_of_several_axes_become_columns_of_arrays(predict):
    matrix = np.float32([[1, 2], [3, 4], [5, 6]])
    frame = predict(y=matrix, b=np.array([1, 2, 3], ml_dtypes.bfloat16)).to_pandas()
    assert [row.tolist() for row in frame["y"]] == matrix.tolist()
    assert frame["b"].tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(SignatureError, match="expected outputs of one length along axis 0, got "):
        predict(y=matrix, z=np.float32([1])).to_pandas()
    assert len(predict(y=np.float32(3)).to_pandas()) == 1


@pytest.mark.peer
def test_a_result_of_one_example_is_one_row(fake_server):
    import pandas as pd

    rows = TensorSpec("float32", (None, 2))
    scores = TensorSpec("float32", (None,))
    fake_server.add_model(
        "m", lambda x: {"y": 2 * x, "s": x[:, 0]}, inputs={"x": rows}, outputs={"y": rows, "s": scores}
    )
    with PredictClient(fake_server.target, model="m") as client, MicroBatcher(client) as batcher:
        found = [*client.predict_many([np.float32([1, 2])]), batcher.predict({"x": np.float32([1, 2])})]
    for prediction in found:
        frame = prediction.to_pandas()
        assert (len(frame), frame["s"][0], frame["y"][0].tolist()) == (1, 1.0, [2.0, 4.0])
    assert [row.tolist() for row in pd.DataFrame(found)["y"]] == [[2.0, 4.0]] * 2


def test_arrays_of_a_result_are_read_only(predict):
    array = predict(y=np.float32([1, 2])).array
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 5
    own = np.array(array)
    own[0] = 5


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (np.float32([1.23456789]), "y: float32 (1,) [1.2346]"),
        (np.int64(7), "y: int64 () 7"),
        (np.array([b"a", b"b"], object), "y: string (2,) [b'a' b'b']"),
        (np.zeros((0, 3), np.float32), "y: float32 (0, 3) []"),
        (np.arange(4).reshape(2, 2).astype("int32"), "y: int32 (2, 2) [[0 1]  [2 3]]"),
        (np.array([True]), "y: bool (1,) [ True]"),
    ],
)
def test_a_prediction_prints_dtype_shape_and_values(predict, value, line):
    assert repr(predict(y=value)) == f"Prediction of m version 1\n  {line}"


def test_long_arrays_are_shortened_when_printed(predict):
    shown = repr(predict(y=np.zeros((100, 100), np.float32), z=np.array([b"x" * 500], object)))
    assert all(len(line) < 160 for line in shown.splitlines())
    assert shown.count("...") >= 2


def test_a_model_version_prints_its_name_and_number():
    assert str(ModelVersion("m", 3, "s")) == "m version 3"
    assert str(ModelVersion("m", None, "s")) == "m version unknown"
    assert ModelVersion("m", 3, "s") == ModelVersion("m", 3, "s")


def test_timing_prints_milliseconds():
    assert str(Timing(0.0001, 0.0123456, 0)) == "encode 0.10 ms, wait 12.35 ms, decode 0.00 ms"


STATUS = ModelStatus(
    "m",
    (
        VersionStatus(3, State.END, StatusCode.NOT_FOUND, "no such file"),
        VersionStatus(2, State.AVAILABLE, StatusCode.OK, ""),
        VersionStatus(1, State.UNLOADING, StatusCode.OK, ""),
    ),
)


def test_a_status_prints_every_version_and_what_failed():
    lines = ["m", "  version 3: END (NOT_FOUND: no such file)", "  version 2: AVAILABLE", "  version 1: UNLOADING"]
    assert str(STATUS) == "\n".join(lines)


def test_available_names_the_versions_that_answer():
    assert STATUS.available == (2,)
    assert ModelStatus("m", ()).available == ()


@pytest.mark.parametrize("result", [ModelVersion("m", 3, "s"), Timing(1.0, 2.0, 3.0), STATUS, STATUS.versions[0]])
def test_results_are_frozen_and_survive_pickle(result):
    name = dataclasses.fields(result)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, name, None)
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_prediction_survives_pickle(predict):
    prediction = predict(y=np.float32([1, 2]))
    back = pickle.loads(pickle.dumps(prediction))
    assert back.array.tolist() == [1, 2]
    assert back.model == prediction.model
    assert back.timing == prediction.timing
    assert back == prediction == copy.deepcopy(prediction) == copy.copy(prediction)
    assert type(copy.copy(prediction)) is type(prediction)


def test_the_states_are_the_servers():
    assert {state.name: state.value for state in State} == {
        "UNKNOWN": 0,
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    }


OK, LOST = StatusCode.OK, StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("states", "failed"),
    [
        ([], False),
        ([(State.END, LOST)], True),
        ([(State.END, OK)], False),
        ([(State.END, LOST), (State.AVAILABLE, OK)], False),
        ([(State.END, LOST), (State.LOADING, OK)], False),
        ([(State.START, OK), (State.END, LOST)], False),
        ([(State.END, LOST), (State.UNKNOWN, OK)], False),
        ([(State.END, LOST), (State.END, OK)], True),
        ([(State.END, OK), (State.END, LOST)], False),  # an old failure: the server wanted the highest one last
    ],
)
def test_a_model_has_failed_once_every_version_ended_and_the_last_with_an_error(states, failed):
    versions = [VersionStatus(9 - place, *state, "") for place, state in enumerate(states)]
    assert ModelStatus("m", tuple(versions)).failed is failed
    assert [version.failed for version in versions] == [state == (State.END, LOST) for state in states]
