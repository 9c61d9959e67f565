"""Versions change while calls run: none of them fails, and what is replaced is really gone."""

from __future__ import annotations

import gc
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from model_dirs import TextPlatform, put
from served_models import FAST, Starter, until

from tfs_client import (
    AllVersions,
    Latest,
    ModelConfig,
    ModelServerConfig,
    PredictClient,
    SpecificVersions,
    StatusCode,
    UnavailableError,
)
from tfs_client.server import Server, ServerConfig

THREADS = ("tfs-load", "tfs-unload", "tfs-source", "tfs-config-file")


@pytest.fixture
def serve(tmp_path):
    starter = Starter(tmp_path)
    yield starter
    starter.close()


class Callers:
    """Threads that call without a pause; what was answered how often, by text. Any error ends the test."""

    def __init__(self, served, **spec):
        self.served = served
        self.spec = {"model": "m"} | spec
        self.stop = threading.Event()
        self.answers = Counter()

    def call(self):
        with PredictClient(self.served.server.target, retry=None, timeout=20) as client:
            while not self.stop.is_set():
                prediction = client.predict({}, **self.spec)
                self.answers[prediction.array.item().decode()] += 1

    def until_answered(self, text, times=20):
        """Wait for so many more answers of this text."""
        wanted = self.answers[text] + times
        until(lambda: self.answers[text] >= wanted)


@contextmanager
def callers(served, threads=8, **spec):
    """Eight threads calling without pause within the block; none of their calls may fail."""
    callers = Callers(served, **spec)
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(callers.call) for _ in range(threads)]
        try:
            yield callers
        finally:
            callers.stop.set()
        for done in running:
            done.result(20)
    assert served.failures == []


def gone(served, path):
    """Whether the servable of a path was closed and is no longer in memory."""
    known = served.platform.servables[str(path)]
    gc.collect()
    return known() is None


# --- under load ------------------------------------------------------------------------------------------------------


def test_the_next_version_is_loaded_without_a_failed_call(serve):
    served = serve(serve.model("m", 1))
    old = served.base / "m" / "1"
    with callers(served) as calls:
        calls.until_answered("1")
        put(served.base / "m", 2)
        calls.until_answered("2")
        served.until({2: "AVAILABLE", 1: "END"})
        until(lambda: gone(served, old))
    assert set(calls.answers) == {"1", "2"}
    assert not gone(served, served.base / "m" / "2")


def test_a_deleted_version_is_replaced_by_the_previous_one(serve):
    served = serve(serve.model("m", 1, 2))
    with callers(served) as calls:
        calls.until_answered("2")
        shutil.rmtree(served.base / "m" / "2")
        calls.until_answered("1")
        served.until({2: "END", 1: "AVAILABLE"})
        until(lambda: gone(served, served.base / "m" / "2"))
    assert set(calls.answers) == {"2", "1"}


def test_a_reload_rolls_back_and_forward_again(serve):
    served = serve(serve.model("m", 1, 2))
    with callers(served) as calls:
        for policy, text in [(SpecificVersions(1), "1"), (Latest(), "2"), (SpecificVersions(1), "1")]:
            served.reload(served.config.serve("m", policy))
            calls.until_answered(text)
        served.until({2: "END", 1: "AVAILABLE"})
    assert set(calls.answers) == {"1", "2"}


def test_a_label_moves_and_its_old_version_is_unloaded(serve):
    both = serve.model("m", 1, 2, versions=AllVersions())
    served = serve(both)
    served.until_available(1, 2)
    served.reload(served.config.label("m", "stable", 1))
    with callers(served, label="stable") as calls:
        calls.until_answered("1")
        served.reload(served.config.label("m", "stable", 2))
        calls.until_answered("2")
        answered = calls.answers["1"]
        served.reload(served.config.label("m", "stable", 2).serve("m", Latest()))
        served.until({2: "AVAILABLE", 1: "END"})
        calls.until_answered("2")
        assert calls.answers["1"] <= answered + 8  # what was under way when the label moved
    assert set(calls.answers) == {"1", "2"}


def test_a_config_file_switches_versions(serve, tmp_path):
    file = tmp_path / "models.config"
    config = ModelServerConfig([serve.model("m", 1, 2, versions=SpecificVersions(1))])
    file.write_text(config.to_text())
    served = serve(model_config=None, model_config_file=file, model_config_file_poll_wait_seconds=0.02)
    with callers(served) as calls:
        calls.until_answered("1")
        new = tmp_path / "new.config"
        new.write_text(config.serve("m", SpecificVersions(2)).to_text())
        new.replace(file)
        calls.until_answered("2")
        served.until({2: "AVAILABLE", 1: "END"})
        until(lambda: gone(served, served.base / "m" / "1"))


def test_models_are_added_and_removed_during_calls_to_another(serve):
    served = serve(serve.model("m", 1))
    with callers(served) as calls:
        for turn in range(5):
            served.reload(served.config.add(serve.model(f"n{turn}", 1)))
            assert served.said(f"n{turn}") == "1"
        calls.until_answered("1")
    assert set(calls.answers) == {"1"}


def test_many_versions_one_after_the_other(serve):
    served = serve(serve.model("m", 1))
    with callers(served) as calls:
        for version in range(2, 12):
            put(served.base / "m", version)
            if version % 3 == 0:
                calls.until_answered(str(version), 1)
        calls.until_answered("11")
        until(lambda: all(state == "END" for known, state in served.states().items() if known != 11))
    for path in served.platform.servables:
        assert gone(served, path) == (not path.endswith("/11"))


# --- trouble ---------------------------------------------------------------------------------------------------------


def test_a_broken_version_keeps_the_old_one_serving_and_shows_its_error(serve):
    served = serve(serve.model("m", 1))
    with callers(served, threads=2) as calls:
        put(served.base / "m", 2, "broken")
        served.until({2: "END", 1: "AVAILABLE"})
        calls.until_answered("1")
    broken, serving = served.client.status(model="m").versions
    assert (broken.code, broken.message) == (StatusCode.INVALID_ARGUMENT, "the model is broken")
    assert (serving.code, serving.message) == (StatusCode.OK, "")
    put(served.base / "m", 3)
    served.until({3: "AVAILABLE", 2: "END", 1: "END"})


def test_a_broken_version_is_loaded_again_once_it_was_removed_and_restored(serve):
    served = serve(serve.model("m", 1))
    broken = put(served.base / "m", 2, "broken")
    served.until({2: "END", 1: "AVAILABLE"})
    away = broken.rename(served.base / "away")
    until(lambda: [known.version for known in served.server.manager.aspired("m")] == [1])
    (away / "model.txt").write_text("mended")
    away.rename(broken)
    served.until({2: "AVAILABLE", 1: "END"})
    assert served.said() == "mended"


def test_a_slow_load_of_one_model_does_not_delay_another(serve):
    served = serve(serve.model("slow", 1), serve.model("m", 1))
    gate = served.platform.gate(served.base / "slow" / "2")
    put(served.base / "slow", 2)
    assert served.platform.entered[str(served.base / "slow" / "2")].wait(10)
    put(served.base / "m", 2)
    served.until({2: "AVAILABLE", 1: "END"})
    assert (served.said("m"), served.said("slow")) == ("2", "1")
    gate.set()
    served.until({2: "AVAILABLE", 1: "END"}, "slow")


def test_a_vanished_base_path_keeps_loaded_versions_and_other_models(serve, caplog):
    served = serve(serve.model("m", 1), serve.model("n", 1))
    (served.base / "m").rename(served.base / "away")
    until(lambda: any("Could not find base path" in text for text in caplog.messages))
    put(served.base / "n", 2)
    served.until({2: "AVAILABLE", 1: "END"}, "n")
    assert served.said() == "1"
    (served.base / "away").rename(served.base / "m")
    put(served.base / "m", 2)
    served.until({2: "AVAILABLE", 1: "END"})


def test_a_base_path_that_is_emptied_unloads_the_model(serve):
    served = serve(serve.model("m", 1))
    shutil.rmtree(served.base / "m" / "1")
    served.until({1: "END"})


def test_a_load_that_calls_sys_exit_only_fails(serve):
    served = serve(serve.model("m", 1))

    def load(path):
        raise SystemExit(3)

    served.server.core._loads["m"] = load
    put(served.base / "m", 2)
    served.until({2: "END", 1: "AVAILABLE"})
    assert served.client.status(model="m").versions[0].message == "SystemExit: 3"


# --- the end ---------------------------------------------------------------------------------------------------------


def test_a_stop_unloads_every_version_through_its_states(serve):
    served = serve(serve.model("m", 1), serve.model("n", 1, 2, versions=AllVersions()))
    served.until_available(1, 2, model="n")
    paths = list(served.platform.servables)
    closed = [served.platform.servables[path]().closed for path in paths]
    served.server.stop()
    assert all(one.is_set() for one in closed)
    assert all(gone(served, path) for path in paths)
    assert not [thread.name for thread in threading.enumerate() if thread.name in THREADS]


def test_a_stop_lets_running_calls_finish_before_their_version_is_unloaded(serve):
    served = serve(serve.model("m", 1))
    entered, leave = threading.Event(), threading.Event()
    servable = served.platform.servables[str(served.base / "m" / "1")]()
    run, closed = servable.run, servable.closed

    def slow(*args):
        entered.set()
        assert leave.wait(20)
        assert not closed.is_set()
        return run(*args)

    servable.run = slow
    del servable
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(served.said)
        assert entered.wait(10)
        stopping = pool.submit(served.server.stop)
        assert not closed.wait(0.05)
        assert not stopping.done()
        leave.set()
        assert running.result(10) == "1"
        stopping.result(10)
    assert closed.is_set()


def test_a_server_of_configured_models_may_start_again(serve):
    served = serve(serve.model("m", 1))
    served.server.stop()
    put(served.base / "m", 2)
    with served.server, PredictClient(served.server.target, model="m") as client:
        assert client.predict({}).model.version == 2


def test_a_server_that_is_forgotten_warns_and_stops(serve):
    config = ServerConfig(model_config=ModelServerConfig([serve.model("m", 1)]), **FAST)

    def forget():
        Server(config, platforms={"tensorflow": TextPlatform()}).start()

    def forgotten():
        forget()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed server at port"):
        forgotten()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name in THREADS])


def test_a_start_that_fails_leaves_nothing_behind(serve):
    before = set(threading.enumerate())
    with pytest.raises(Exception, match="did not become available"):
        serve(serve.model("m", 1, text="broken"))
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name in THREADS]


def waiting_server():
    """A server whose start waits for a model that never comes."""
    config = ModelServerConfig([ModelConfig("ghost", "/nowhere")])
    return Server(ServerConfig(model_config=config, **FAST), platforms={"tensorflow": TextPlatform()})


def test_a_start_that_waits_can_be_stopped_from_another_thread():
    server = waiting_server()
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(server.start)
        until(lambda: server.core._source is not None)
        server.stop()
        with pytest.raises(UnavailableError, match="the server is stopping"):
            starting.result(10)
    assert not [thread for thread in threading.enumerate() if thread.name in THREADS]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a signal to come later")
def test_a_start_that_waits_can_be_stopped_by_a_signal():
    """The handler runs in the thread that waits, so nothing on the way may wait for that."""
    server = waiting_server()
    before = signal.signal(signal.SIGALRM, lambda number, frame: server.stop(0))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(UnavailableError, match="the server is stopping"):
            server.start()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not [thread for thread in threading.enumerate() if thread.name in THREADS]


def test_a_running_load_does_not_block_ctrl_c(tmp_path):
    """It cannot be interrupted and may never end."""
    platform = TextPlatform()
    gate = platform.gate(put(tmp_path / "m", 1))
    config = ModelServerConfig([ModelConfig("m", str(tmp_path / "m"))])
    server = Server(ServerConfig(model_config=config, **FAST), platforms={"tensorflow": platform})
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            server.start()
        assert time.monotonic() - began < 4  # and not the five seconds that unloads get
    finally:
        signal.signal(signal.SIGALRM, before)
        gate.set()


def test_a_port_that_is_taken_unloads_the_models(serve):
    served = serve(serve.model("m", 1))
    with pytest.raises(Exception, match="Address already in use"):
        serve(ModelConfig("m", str(served.base / "m")), port=served.server.port)
    assert len([thread for thread in threading.enumerate() if thread.name == "tfs-source"]) == 1
