"""Manager: which version a request gets, and how versions come and go."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout  # its own class before Python 3.11

import numpy as np
import pytest
from served_models import until

from tfs_client import ConfigError, NotFoundError, PredictClient, State, TensorSpec
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.server import FunctionServable, FunctionSignature, ServerConfig
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.lifecycle.states import MOVES, REPORTED, Phase
from tfs_client.testing import FakeServer

SCALAR = TensorSpec("int32", ())


def number(n):
    """A servable that answers with a number."""
    return FunctionServable({"serving_default": FunctionSignature(lambda: n, {}, {"y": SCALAR})})


def held(manager, **spec):
    with manager.handle(ModelSpec("m", **spec)) as handle:
        return handle.version


def states(manager, **spec):
    return [(entry.version, entry.state.name) for entry in manager.status(ModelSpec("m", **spec))]


@pytest.fixture
def manager():
    manager = Manager({"m": {"stable": 1}})
    for version in (1, 10, 2):
        manager.add("m", version, number(version))
    return manager


def test_the_latest_is_the_highest_number_not_the_last_one_added(manager):
    assert held(manager) == 10
    assert held(manager, version=2) == 2
    assert held(manager, label="stable") == 1


def test_labels_can_move(manager):
    manager.set_label("m", "stable", 2)
    manager.set_label("m", "new", 10)
    assert (held(manager, label="stable"), held(manager, label="new")) == (2, 10)


def test_when_the_highest_is_removed_the_next_one_is_the_latest(manager):
    manager.remove("m", 10)
    assert held(manager) == 2
    with pytest.raises(NotFoundError, match=r"Servable not found for request: Specific\(m, 10\)"):
        held(manager, version=10)
    assert states(manager) == [(10, "END"), (2, "AVAILABLE"), (1, "AVAILABLE")]
    assert states(manager, version=10) == [(10, "END")]


def test_a_label_of_a_removed_version_is_not_found(manager):
    manager.remove("m", 1)
    with pytest.raises(NotFoundError, match=r"Specific\(m, 1\)"):
        held(manager, label="stable")


def test_a_model_whose_versions_are_all_removed_is_not_found_but_still_listed(manager):
    for version in (1, 2, 10):
        manager.remove("m", version)
    with pytest.raises(NotFoundError, match=r"Latest\(m\)"):
        held(manager)
    assert states(manager) == [(10, "END"), (2, "END"), (1, "END")]


def test_a_removed_version_can_be_added_again(manager):
    manager.remove("m", 10)
    manager.add("m", 10, number(10))
    assert held(manager) == 10
    assert states(manager)[0] == (10, "AVAILABLE")


@pytest.mark.parametrize("version", [3, 10])
def test_a_version_that_is_not_served_cannot_be_removed(manager, version):
    if version == 10:
        manager.remove("m", 10)
    with pytest.raises(ConfigError, match=f"model 'm' has no version {version} that serves"):
        manager.remove("m", version)


@pytest.mark.parametrize("version", [-1, 1 << 63, True, 1.0, "1", None])
def test_version_numbers_must_fit_the_protocol(manager, version):
    with pytest.raises(ConfigError, match="expected a version number"):
        manager.add("m", version, number(0))


def test_a_model_needs_a_name(manager):
    with pytest.raises(ConfigError, match="expected a name for the model"):
        manager.add("", 1, number(0))


def test_removing_waits_for_users_of_the_version(manager):
    with ThreadPoolExecutor(1) as pool:
        with manager.handle(ModelSpec("m", 10)) as handle:
            removing = pool.submit(manager.remove, "m", 10)
            end = time.monotonic() + 10
            while states(manager)[0] != (10, "UNLOADING") and time.monotonic() < end:
                time.sleep(0.005)
            assert states(manager)[0] == (10, "UNLOADING")
            assert not removing.done()
            assert held(manager) == 2  # new requests no longer find it
            assert handle.servable.run("serving_default", {}, ["y"])["y"].tolist() == 10
        removing.result(10)
    assert states(manager)[0] == (10, "END")


def test_a_replaced_version_lets_its_calls_finish_and_a_removal_waits_for_them(manager):
    with ThreadPoolExecutor(1) as pool:
        with manager.handle(ModelSpec("m", 10)) as before:
            manager.add("m", 10, number(11))
            with manager.handle(ModelSpec("m", 10)) as after:
                assert after.servable.run("serving_default", {}, ["y"])["y"].tolist() == 11
            removing = pool.submit(manager.remove, "m", 10)
            with pytest.raises(FutureTimeout):
                removing.result(0.05)
            assert before.servable.run("serving_default", {}, ["y"])["y"].tolist() == 10
        removing.result(10)


def test_states_only_move_forward():
    order = list(Phase)
    assert set(MOVES) == set(REPORTED) == set(order)
    for phase, following in MOVES.items():
        assert all(order.index(later) > order.index(phase) for later in following)
        assert all(REPORTED[later] >= REPORTED[phase] for later in following)


# --- the same over the wire ------------------------------------------------------------------------------------------


def test_running_calls_finish_before_a_version_ends(gated, gate):
    with PredictClient(gated.target, model="slow") as client, ThreadPoolExecutor(1) as pool:
        running = client.predict_future({"x": [5.0]})
        assert gate.entered.wait(10)
        removing = pool.submit(gated.remove_model, "slow")
        end = time.monotonic() + 10
        while client.status().versions[0].state is not State.UNLOADING and time.monotonic() < end:
            time.sleep(0.005)
        assert client.status().versions[0].state is State.UNLOADING
        with pytest.raises(NotFoundError, match=r"Latest\(slow\)"):
            client.predict({"x": [1.0]})
        assert not running.done()
        gate.open.set()
        assert running.result(10).array.tolist() == [5]
        removing.result(10)
        assert client.status().versions[0].state is State.END


def test_labels_of_the_config_are_known_from_the_start():
    config = ServerConfig(version_labels={"m": {"stable": 1}})
    with FakeServer(config) as server, PredictClient(server.target, model="m") as client:
        with pytest.raises(NotFoundError, match=r"Servable not found for request: Specific\(m, 1\)"):
            client.predict({}, label="stable")
        server.add_model("m", lambda: 1, inputs={}, outputs={"y": SCALAR})
        assert client.predict({}, label="stable").array == 1


def test_versions_may_change_while_calls_run():
    with FakeServer() as server:
        server.add_model("m", lambda: 1, inputs={}, outputs={"y": SCALAR})
        stop = threading.Event()
        answers = set()

        def call():
            with PredictClient(server.target, model="m") as client:
                while not stop.is_set():
                    prediction = client.predict({})
                    assert prediction.model.version == prediction.array
                    answers.add(int(prediction.array))

        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(call) for _ in range(3)]
            for version in range(2, 12):
                server.add_model("m", lambda n=version: np.int32(n), inputs={}, outputs={"y": SCALAR}, version=version)
                until(lambda n=version: n in answers)
                server.remove_model("m", version - 1)
            stop.set()
            for done in calls:
                done.result(10)
        assert answers >= set(range(2, 12))
        assert answers <= set(range(1, 12))
