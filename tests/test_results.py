"""What calls return prints well, compares, and cannot be changed."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from tfs_client import ModelStatus, ModelVersion, PredictClient, State, StatusCode, TensorSpec, Timing, VersionStatus


@pytest.fixture
def predict(fake_server):
    """Predicts with a model that returns given outputs."""
    clients = []

    def call(**outputs):
        specs = {alias: TensorSpec(np.asarray(value).dtype) for alias, value in outputs.items()}
        fake_server.add_model("m", lambda: outputs, inputs={}, outputs=specs)
        clients.append(PredictClient(fake_server.target, model="m"))
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


def test_its_arrays_are_read_only(predict):
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


def test_the_states_are_the_servers():
    assert {state.name: state.value for state in State} == {
        "UNKNOWN": 0,
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    }
