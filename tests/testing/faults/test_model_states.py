"""The states into which tests put versions, as clients see them: status, calls, labels, waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from calling import STYLES, calling, target_of

from tfs_client import (
    CallError,
    ConfigError,
    FailedPreconditionError,
    NotFoundError,
    PredictClient,
    RetryPolicy,
    Signature,
    StatusCode,
    TensorSpec,
)
from tfs_client.testing import FakeServer, faults

VECTOR = TensorSpec("float32", (None,))
SPECS: dict[str, Any] = {"inputs": {"x": VECTOR}, "outputs": {"y": VECTOR}}
LIMIT = 20


@pytest.fixture
def server(fake_server: FakeServer) -> FakeServer:
    """A server whose model m multiplies by its version, 1 or 2."""
    for version in (1, 2):
        add_version(fake_server, version)
    return fake_server


def add_version(server: FakeServer, version: int, model: str = "m") -> None:
    server.add_model(model, lambda x: version * x, version=version, **SPECS)


@pytest.fixture
def client(server: FakeServer) -> Iterator[PredictClient]:
    with PredictClient(server.target, model="m", timeout=LIMIT) as client:
        yield client


def states(client: PredictClient) -> dict[int, str]:
    return {version.version: version.state.name for version in client.status().versions}


def answer(client: Any, **options: Any) -> Any:
    """The factor of the version that answers, or the details of the error."""
    try:
        return client.predict({"x": np.float32([1.0])}, **options).array.tolist()[0]
    except CallError as error:
        return error.details


def waiting_call(server: FakeServer, client: PredictClient) -> tuple[Any, threading.Event]:
    """Call a version 3 whose function waits, and return the call and the event that ends the wait."""
    entered, opened = threading.Event(), threading.Event()

    def wait(x: Any) -> Any:
        entered.set()
        assert opened.wait(LIMIT)
        return 3 * x

    server.add_model("m", wait, version=3, **SPECS)
    running = client.predict_future({"x": [1.0]})
    assert entered.wait(LIMIT)
    return running, opened


def test_a_loading_version_is_not_found_and_waited_for(server):
    for style in STYLES:
        for version in (1, 2):
            add_version(server, version, model=style)
        server.clear_calls()
        with calling(style, server, model=style, timeout=LIMIT) as client:
            assert answer(client) == 2
            with server.states.loading(style, 2) as held:
                assert states(client) == {2: "LOADING", 1: "AVAILABLE"}
                assert answer(client) == 1
                assert answer(client, version=2) == f"Servable not found for request: Specific({style}, 2)"
                assert not client.is_ready(version=2)
                with ThreadPoolExecutor(1) as pool:
                    looked = len(server.lookups)
                    waiting = pool.submit(client.wait_until_ready, version=2)
                    while len(server.lookups) == looked:
                        time.sleep(0.001)
                    assert not waiting.done()
                    held.finish()
                    waiting.result(LIMIT)
            assert states(client) == {2: "AVAILABLE", 1: "AVAILABLE"}
            assert answer(client) == 2


def test_a_version_that_fails_to_load_ends_the_wait_with_its_reason(server):
    for style in STYLES:
        server.states.failed("m", 2, NotFoundError("no saved_model.pb in /models/m/2"))
        with calling(style, server, model="m", timeout=LIMIT) as client:
            status = client.status().versions[0]
            assert (status.version, status.state.name, status.code) == (2, "END", StatusCode.NOT_FOUND)
            assert answer(client) == 1
            with pytest.raises(FailedPreconditionError, match=r"not be loaded: .*no saved_model\.pb in /models/m/2"):
                client.wait_until_ready(version=2)
            server.states.loading("m", 2).finish()  # the retry succeeds, with the same model
            assert states(client)[2] == "AVAILABLE"
            assert answer(client) == 2


def test_an_unloading_version_finishes_its_calls_and_ends(server, client):
    running, opened = waiting_call(server, client)
    held = server.states.unloading("m", 3)
    assert states(client) == {3: "UNLOADING", 2: "AVAILABLE", 1: "AVAILABLE"}
    assert answer(client) == 2
    opened.set()
    assert running.result(LIMIT).array.tolist() == [3]
    assert states(client)[3] == "UNLOADING"
    held.finish()
    held.finish()
    assert held.finished
    assert states(client)[3] == "END"
    server.add_model("m", lambda x: 30 * x, version=3, **SPECS)
    assert answer(client) == 30


def test_labels_of_a_version_that_does_not_serve_are_not_found(server, client):
    server.set_label("m", "stable", 2)
    with server.states.loading("m", 2):
        assert answer(client, label="stable") == "Servable not found for request: Specific(m, 2)"
        assert answer(client, label="other") == "Unrecognized servable version label: other"
    assert answer(client, label="stable") == 2


def test_a_new_version_is_available_once_its_load_is_over_and_its_model_is_there(server, client):
    first, second = server.states.loading("m", 3), server.states.loading("m", 4)
    add_version(server, 3)
    assert states(client)[3] == "LOADING"
    assert answer(client) == 2
    first.finish()
    assert answer(client) == 3
    second.finish()
    assert states(client)[4] == "LOADING"
    add_version(server, 4)
    assert answer(client) == 4


def test_states_end_by_themselves_or_with_the_server(server, client):
    loading = server.states.loading("m", 2, seconds=0.05)
    unloading = server.states.unloading("m", 1, seconds=0.05)
    client.wait_until_ready(version=2)
    assert loading.finished
    while states(client)[1] != "END":
        time.sleep(0.001)
    assert unloading.finished
    for held in (server.states.loading("m", 2, seconds=3600), server.states.loading("m", 5)):
        server.restart()
        assert held.finished == (held.seconds is not None)
    assert answer(client) == 2
    server.states.finish()
    add_version(server, 5)
    assert answer(client) == 5


def test_running_calls_of_a_version_that_loads_again_finish(server, client):
    running, opened = waiting_call(server, client)
    with server.states.loading("m", 3):
        assert states(client)[3] == "LOADING"
        opened.set()
        assert running.result(LIMIT).array.tolist() == [3]
    assert answer(client) == 3


def test_impossible_states_are_refused(server):
    server.states.loading("m", 1)
    server.states.unloading("m", 2)
    for change, text in [
        (lambda: server.states.loading("m", 1), "model 'm' version 1 is loading already: call finish\\(\\) first"),
        (lambda: server.states.loading("m", 2), "model 'm' version 2 is unloading already: call finish\\(\\) first"),
        (lambda: server.states.unloading("m", 1), "model 'm' has no version 1 that serves"),
        (lambda: server.states.failed("m", 2, NotFoundError("x")), "is unloading already"),
        (lambda: server.states.unloading("m", 9), "model 'm' has no version 9 that serves"),
        (lambda: server.states.loading("m", -1), "expected a version as a whole number from 0"),
        (lambda: server.states.loading("", 1), "expected a name for the model, got an empty one"),
        (lambda: server.states.loading(5, 1), "expected a name for the model, got 5"),
        (lambda: server.states.loading("m", 3, seconds=-1), "expected the duration of a state in seconds from 0"),
        (lambda: server.states.failed("m", 3, ValueError("x")), "expected the reason as a CallError"),
    ]:
        with pytest.raises(ConfigError, match=text):
            change()
    server.states.failed("m", 1, NotFoundError("x"))  # a load may fail at any time


# --- as steps of a sequence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_states_are_steps_of_a_sequence(server, transport):
    added = server.faults.sequence(
        [
            faults.VersionLoading(times=3),
            faults.Pass(),
            faults.VersionUnloading(version=2, times=2),
            faults.Busy(),
            faults.VersionFails(NotFoundError("broken"), times=2),
            faults.VersionLoading(version=1, times=2),
        ],
        model="m",
    )
    # With signatures= the client makes no calls of its own, which fail too while no version serves.
    given = {"serving_default": Signature(**SPECS)}
    with PredictClient(target_of(transport, server), model="m", signatures=given, timeout=LIMIT) as client:
        assert [answer(client), answer(client)] == [1, 1]  # version 2 loads
        assert states(client) == {2: "LOADING", 1: "AVAILABLE"}
        assert answer(client) == 2
        assert answer(client) == 1
        assert states(client) == {2: "UNLOADING", 1: "AVAILABLE"}
        assert answer(client) == "Server Threadpool Exhausted"
        assert answer(client) == "Servable not found for request: Latest(m)"
        assert client.status(version=1).versions[0].message == "broken"
        assert answer(client) == "Servable not found for request: Latest(m)"
        assert states(client)[1] == "LOADING"
        assert server.faults.active == ()
        assert answer(client) == 1  # the load ends with the first call after the sequence, and the model is there again
        assert added.used == 11


def test_removing_a_sequence_ends_its_state(server, client):
    added = server.faults.sequence([faults.VersionLoading()])
    assert answer(client) == 1
    added.remove()
    assert answer(client) == 2
    server.faults.sequence([faults.VersionLoading()])
    assert answer(client) == 1
    server.faults.clear()
    assert answer(client) == 2


@pytest.mark.parametrize("style", STYLES)
def test_every_client_gets_beyond_a_version_that_loads_or_fails(server, style):
    steps = [
        faults.VersionLoading(times=2),
        faults.Pass(),
        faults.VersionFails(NotFoundError("broken")),
        faults.VersionLoading(),
        faults.Busy(),
    ]
    server.add_model(style, lambda x: x, **SPECS)
    added = server.faults.sequence(steps, model=style)
    missing = f"Servable not found for request: Latest({style})"
    with calling(style, server, model=style, timeout=LIMIT) as client:
        found = [answer_to_list(client) for _ in range(7)]
    assert found == [missing, missing, 1, missing, missing, "Server Threadpool Exhausted", 1]
    assert added.spent


def answer_to_list(client: Any) -> Any:
    """As ``answer``, with inputs for which the client needs the signature."""
    try:
        return client.predict({"x": [1.0]}).array.tolist()[0]
    except CallError as error:
        return error.details


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_wait_for_a_model_ends_the_step_in_which_it_loads(server, transport):
    server.add_model("w", lambda x: x, **SPECS)
    added = server.faults.sequence([faults.VersionLoading(times=2), faults.Pass()], model="w")
    with PredictClient(target_of(transport, server), model="w", timeout=LIMIT) as client:
        assert answer(client) == "Servable not found for request: Latest(w)"
        client.wait_until_ready(LIMIT)
        assert answer(client) == 1
    assert added.spent


def test_steps_with_a_method_leave_look_ups_alone(server, client):
    server.faults.sequence([faults.VersionLoading(), faults.Pass()], model="m", method="Predict")
    assert answer(client) == 1
    assert [states(client)[2] for _ in range(3)] == ["LOADING"] * 3
    assert answer(client) == 2


def test_a_version_that_unloads_in_a_sequence_loads_again(server, client):
    loading = faults.VersionLoading(version=2)
    steps = [faults.VersionUnloading(), faults.VersionLoading(seconds=60, version=2), loading]
    server.faults.sequence(steps, model="m")
    assert [answer(client) for _ in range(4)] == [1, 1, 1, 2]
    server.check()


def test_a_step_that_cannot_be_played_fails_the_call_and_is_reported(server, client):
    server.faults.sequence([faults.VersionLoading()], model="unknown")
    reason = "the call gets no version of model 'unknown'; name one with version="
    assert reason in answer(client, model="unknown")
    server.states.loading("m", 2)
    server.faults.sequence([faults.VersionLoading(version=2)], model="m")
    assert "is loading already: call finish() first" in answer(client)
    with pytest.raises(AssertionError, match=r"steps that could not be played \(2\)") as caught:
        server.check()
    assert "VersionLoading(version=None, seconds=None, times=1) of faults.sequence" in str(caught.value)
    assert reason in str(caught.value)
    server.reset()
    server.check()


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (
            [faults.VersionUnloading(version=9)],
            r"VersionUnloading\(version=9.*does not serve then; add the model first",
        ),
        ([faults.VersionUnloading(version=1)] * 2, "does not serve then; earlier steps have taken it away"),
        ([faults.VersionFails(NotFoundError("x"), version=1), faults.VersionUnloading(version=1)], "does not serve"),
    ],
)
def test_a_step_that_can_never_be_played_is_refused(server, steps, text):
    with pytest.raises(ConfigError, match=text):
        server.faults.sequence(steps, model="m")
    server.faults.sequence([faults.VersionLoading(version=9), faults.VersionUnloading(version=9)], model="m")


# --- afterwards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "take_away",
    [
        lambda server: server.faults.add(faults.VersionVanishes(), times=1),
        lambda server: server.states.failed("w", 1, NotFoundError("broken")),
        lambda server: server.states.unloading("w", 1).finish(),
        lambda server: server.states.unloading("w", 1),
        lambda server: server.states.loading("w", 1),
        lambda server: (server.states.failed("w", 1, NotFoundError("broken")), server.states.loading("w", 1)),
    ],
)
def test_reset_restores_the_versions_that_faults_and_states_took_away(server, client, take_away):
    server.add_model("w", lambda x: x, **SPECS)
    take_away(server)
    assert answer(client, model="w") == "Servable not found for request: Latest(w)"
    ended = client.status(model="w").versions[0].state.name == "END"
    assert server.models == (["m"] if ended else ["m", "w"])
    server.reset()
    assert answer(client, model="w") == 1
    assert server.models == ["m", "w"]


def test_reset_brings_back_neither_removed_nor_replaced_nor_unknown_versions(server, client):
    server.states.loading("new", 1)
    server.states.failed("m", 2, NotFoundError("broken"))
    server.remove_model("m", 2)
    server.states.failed("m", 1, NotFoundError("broken"))
    server.add_model("m", lambda x: 7 * x, **SPECS)
    server.reset()
    assert answer(client) == 7
    assert server.models == ["m"]
    with pytest.raises(NotFoundError, match="Could not find any versions of model new"):
        client.status(model="new")


def test_a_vanished_version_gives_way_to_the_next_lower_one(server, client):
    added = server.faults.add(faults.VersionVanishes(), times=2)
    assert answer(client, model="unknown").startswith("Servable not found")
    assert answer(client, version=9).startswith("Servable not found")
    assert added.used == 0  # nothing has vanished
    assert answer(client) == 1
    assert answer(client, version=1) == "Servable not found for request: Specific(m, 1)"
    assert answer(client) == "Servable not found for request: Latest(m)"
    add_version(server, 2)
    assert answer(client) == 2


def test_a_client_waits_for_a_version_and_retries_a_busy_one(server):
    retry = RetryPolicy(initial_backoff=0.005)
    held = server.states.loading("m", 2, seconds=0.05)
    with PredictClient(server.target, model="m", version=2, retry=retry, timeout=LIMIT) as client:
        client.wait_until_ready()
        assert held.finished
        server.faults.add(faults.Busy(), times=2)
        assert answer(client) == 2
