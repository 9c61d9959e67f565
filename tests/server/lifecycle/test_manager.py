"""Manager: loaded versions follow the wanted ones, in the order of the policy, and no model waits for another."""

from __future__ import annotations

import gc
import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from model_dirs import TextPlatform, put
from resource_preserving import resource_preserving
from served_models import until

from tfs_client import ConfigError, NotFoundError, State, StatusCode
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import InvalidArgumentError, UnavailableError
from tfs_client.results import VersionStatus
from tfs_client.server import FunctionServable, FunctionSignature
from tfs_client.server.config import Retries
from tfs_client.server.lifecycle.loader import Loader
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.signatures import TensorSpec

NUMBER = FunctionServable({"serving_default": FunctionSignature(lambda: 1, {}, {"y": TensorSpec("int32", ())})})


class House:
    """A manager, a platform, and directories to load from."""

    def __init__(self, tmp_path, **options):
        self.base = tmp_path
        self.platform = TextPlatform()
        self.manager = Manager(**{"retries": Retries(0)} | options)

    def path(self, name, version):
        path = self.base / name / str(version)
        return path if path.exists() else put(self.base / name, version)

    def want(self, name, *versions):
        loaders = {version: Loader(str(self.path(name, version)), self.platform) for version in versions}
        self.manager.aspire(name, loaders)

    def states(self, name="m"):
        try:
            return {known.version: known.state.name for known in self.manager.status(ModelSpec(name))}
        except NotFoundError:
            return {}

    def until(self, states, name="m"):
        """Wait until the versions of a model are in these states."""
        reached = self.manager.wait_until(lambda: self.states(name) == states, 10)
        assert reached, f"{self.states(name)} did not become {states}"

    def gate(self, name, version):
        return self.platform.gate(self.path(name, version))

    def entered(self, name, version):
        assert self.platform.entered[str(self.path(name, version))].wait(10)

    def loads(self, name, version):
        return self.platform.loads[str(self.path(name, version))]

    def servable(self, name, version):
        gc.collect()
        known = self.platform.servables.get(str(self.path(name, version)))
        return known and known()

    def held(self, name="m", **spec):
        return self.manager.handle(ModelSpec(name, **spec))


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    for gate in house.platform.gates.values():
        gate.set()
    assert house.manager.unload_all(10)


# --- one version after the other -------------------------------------------------------------------------------------


def test_a_wanted_version_is_loaded_and_served(house):
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    with house.held() as handle:
        assert (handle.version, handle.servable.run("serving_default", {}, ["said"])["said"]) == (1, b"1")


def test_the_new_version_serves_before_the_old_one_is_unloaded(house):
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    gate = house.gate("m", 2)
    house.want("m", 2)
    house.entered("m", 2)
    assert house.states() == {2: "LOADING", 1: "AVAILABLE"}
    with house.held() as handle:
        assert handle.version == 1
        gate.set()
        house.until({2: "AVAILABLE", 1: "UNLOADING"})
    house.until({2: "AVAILABLE", 1: "END"})


def test_several_versions_load_one_at_a_time_the_highest_first(house):
    gates = {version: house.gate("m", version) for version in (1, 2, 3)}
    house.want("m", 2, 1, 3)
    for version in (3, 2, 1):
        house.entered("m", version)
        assert [known for known, state in house.states().items() if state == "LOADING"] == [version]
        gates[version].set()
    house.until({3: "AVAILABLE", 2: "AVAILABLE", 1: "AVAILABLE"})


def test_replacing_two_versions_keeps_one_serving(house):
    house.want("m", 1, 2)
    house.until({2: "AVAILABLE", 1: "AVAILABLE"})
    gate = house.gate("m", 3)
    house.want("m", 3)
    house.until({3: "LOADING", 2: "AVAILABLE", 1: "END"})
    gate.set()
    house.until({3: "AVAILABLE", 2: "END", 1: "END"})


def test_removing_a_model_unloads_its_versions_the_lowest_first(house, caplog):
    house.want("m", 1, 2)
    house.until({2: "AVAILABLE", 1: "AVAILABLE"})
    with caplog.at_level(logging.INFO):
        house.want("m")
        house.until({2: "END", 1: "END"})
    assert [text for text in caplog.messages if text.startswith("Done unloading")] == [
        "Done unloading servable version {name: m version: 1}",
        "Done unloading servable version {name: m version: 2}",
    ]
    with pytest.raises(NotFoundError, match=r"Latest\(m\)"), house.held():
        pass


def test_versions_stay_listed_and_restart_when_they_return(house):
    for version in (1, 2, 1):
        house.want("m", version)
        house.until({**dict.fromkeys(house.states(), "END"), version: "AVAILABLE"})
    assert house.states() == {2: "END", 1: "AVAILABLE"}
    assert house.loads("m", 1) == 2


def test_a_wanted_version_is_kept_even_if_its_path_changes(house):
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    house.manager.aspire("m", {1: Loader("/elsewhere", house.platform)})
    house.want("m", 1)
    assert house.states() == {1: "AVAILABLE"}
    assert house.loads("m", 1) == 1


def test_resources_are_preserved_by_another_policy(tmp_path):
    house = House(tmp_path, policy=resource_preserving)
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    gate = house.gate("m", 2)
    with house.held() as handle:
        house.want("m", 2)
        house.until({2: "START", 1: "UNLOADING"})
        assert handle.version == 1
    house.until({2: "LOADING", 1: "END"})
    gate.set()
    house.until({2: "AVAILABLE", 1: "END"})
    assert house.manager.unload_all(10)


def test_every_step_is_logged_with_the_model_servers_text(house, caplog):
    with caplog.at_level(logging.INFO, "tfs_client.server"):
        house.want("m", 1)
        house.until({1: "AVAILABLE"})
        house.want("m")
        house.until({1: "END"})
    who = "{name: m version: 1}"
    assert caplog.messages == [
        f"Retrying of Reserving resources for servable: {who} exhausted max_num_retries: 0",
        f"Successfully reserved resources to load servable {who}",
        f"Approving load for servable version {who}",
        f"Loading servable version {who}",
        f"Retrying of Loading servable: {who} exhausted max_num_retries: 0",
        f"Successfully loaded servable version {who}",
        f"Quiescing servable version {who}",
        f"Done quiescing servable version {who}",
        f"Done unloading servable version {who}",
    ]


# --- loads that fail -------------------------------------------------------------------------------------------------


def test_a_failing_version_ends_with_its_error_and_the_old_one_keeps_serving(house, caplog):
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    put(house.base / "m", 2, "broken")
    house.want("m", 2)
    house.until({2: "END", 1: "AVAILABLE"})
    assert house.manager.status(ModelSpec("m", 2)) == (
        VersionStatus(2, State.END, StatusCode.INVALID_ARGUMENT, "the model is broken"),
    )
    with house.held() as handle:
        assert handle.version == 1
    assert "Servable {name: m version: 2} cannot be loaded: INVALID_ARGUMENT: the model is broken" in caplog.messages


def test_a_failed_version_is_not_retried_while_it_is_wanted(house):
    path = put(house.base / "m", 2, "broken")
    for _ in range(3):
        house.want("m", 2)
        house.until({2: "END"})
    assert house.loads("m", 2) == 1
    (path / "model.txt").write_text("mended")
    house.want("m", 2)
    assert house.states() == {2: "END"}
    house.want("m")
    house.want("m", 2)
    house.until({2: "AVAILABLE"})
    assert house.manager.status(ModelSpec("m", 2))[0].message == ""


def test_a_rollback_does_not_reload_the_old_version(house):
    """The model server would postpone this list forever: version 1 is not aspired any more, but must keep serving."""
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    path = put(house.base / "m", 2, "broken")
    house.want("m", 2)
    house.until({2: "END", 1: "AVAILABLE"})
    house.want("m", 1)
    assert house.loads("m", 1) == 1
    (path / "model.txt").write_text("mended")
    house.want("m", 2)
    house.until({2: "AVAILABLE", 1: "END"})


def test_a_directory_deleted_before_its_load_fails(house):
    path = house.path("m", 1)
    shutil.rmtree(path)
    house.manager.aspire("m", {1: Loader(str(path), house.platform)})
    house.until({1: "END"})
    (status,) = house.manager.status(ModelSpec("m"))
    assert status.code is StatusCode.NOT_FOUND
    assert status.message.startswith(
        "Error while attempting to reserve resources to load servable {name: m version: 1}:"
    )


def test_a_load_that_is_retried_stays_loading_until_it_succeeds(tmp_path):
    house, times, seen = House(tmp_path, retries=Retries(2, 0)), [], []

    def load(path):
        times.append(path)
        seen.append(house.states())
        if len(times) < 3:
            raise UnavailableError("not yet")
        return house.platform(path)

    house.manager.aspire("m", {1: Loader(str(house.path("m", 1)), load)})
    house.until({1: "AVAILABLE"})
    assert seen == [{1: "LOADING"}] * 3
    assert house.manager.status(ModelSpec("m"))[0].code is StatusCode.OK
    assert house.manager.unload_all(10)


def test_retries_stop_at_once_when_the_version_is_no_longer_wanted(tmp_path, caplog):
    house = House(tmp_path, retries=Retries(5, 3600))
    put(house.base / "m", 1, "broken")
    house.want("m", 1)
    until(lambda: "retry 1 of 5" in caplog.text)
    assert house.states() == {1: "LOADING"}
    house.want("m")
    house.until({1: "END"})
    assert house.manager.status(ModelSpec("m"))[0].message == "the model is broken"
    assert house.manager.unload_all(10)


def test_a_load_that_succeeds_when_no_longer_wanted_is_undone(house, caplog):
    gate = house.gate("m", 1)
    house.want("m", 1)
    house.entered("m", 1)
    house.want("m")
    with caplog.at_level(logging.INFO):
        gate.set()
        house.until({1: "END"})
    (status,) = house.manager.status(ModelSpec("m"))
    assert (status.code, status.message) == (StatusCode.CANCELLED, "Loading of servable cancelled")
    assert "Unloading just-loaded servable version {name: m version: 1}" in caplog.messages
    assert house.servable("m", 1) is None


def test_a_queued_load_that_is_no_longer_wanted_never_begins(tmp_path):
    house = House(tmp_path, load_threads=1)
    gate = house.gate("a", 1)
    house.want("a", 1)
    house.entered("a", 1)
    house.want("m", 1)
    house.want("m")
    assert house.states() == {1: "START"}
    gate.set()
    house.until({1: "END"})
    assert house.loads("m", 1) == 0
    assert house.manager.status(ModelSpec("m"))[0].code is StatusCode.CANCELLED
    assert house.manager.unload_all(10)


def test_a_list_with_an_unloading_version_waits_for_its_end(house):
    gate = house.gate("m", 1)
    house.want("m", 1)
    house.entered("m", 1)
    house.want("m", 2)
    house.want("m", 1, 3)  # 1 is being given up: the whole list waits
    assert house.manager.aspired("m") == tuple(VersionStatus(v, State.START, StatusCode.OK, "") for v in (3, 1))
    gate.set()
    house.until({3: "AVAILABLE", 2: "END", 1: "AVAILABLE"})
    assert house.loads("m", 1) == 2


# --- users -----------------------------------------------------------------------------------------------------------


def test_a_version_is_unloaded_after_its_last_user(house):
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    with house.held() as first:
        with house.held(version=1):
            house.want("m", 2)
            house.until({2: "AVAILABLE", 1: "UNLOADING"})
            with pytest.raises(NotFoundError, match=r"Specific\(m, 1\)"), house.held(version=1):
                pass
        assert house.states() == {2: "AVAILABLE", 1: "UNLOADING"}
        assert not first.servable.closed.is_set()
        assert first.servable.run("serving_default", {}, ["said"])["said"] == b"1"
    house.until({2: "AVAILABLE", 1: "END"})
    assert first.servable.closed.is_set()
    del first
    assert house.servable("m", 1) is None
    assert house.servable("m", 2) is not None


def test_a_user_of_one_version_does_not_delay_other_models(house):
    house.want("m", 1)
    house.want("n", 1)
    house.until({1: "AVAILABLE"})
    house.until({1: "AVAILABLE"}, "n")
    with house.held("m"):
        house.want("m")
        house.want("n", 2)
        house.until({2: "AVAILABLE", 1: "END"}, "n")
        house.until({1: "UNLOADING"}, "m")
    house.until({1: "END"})


# --- other models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 2])
def test_a_slow_load_of_one_model_does_not_delay_another(tmp_path, threads):
    house = House(tmp_path, load_threads=threads)
    gate = house.gate("slow", 1)
    house.want("slow", 1)
    house.entered("slow", 1)
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    assert house.states("slow") == {1: "LOADING"}
    gate.set()
    house.until({1: "AVAILABLE"}, "slow")
    assert house.manager.unload_all(10)


def test_a_repeatedly_failing_model_does_not_delay_another(tmp_path):
    house = House(tmp_path, retries=Retries(5, 3600))
    put(house.base / "bad", 1, "broken")
    house.want("bad", 1)
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    assert house.manager.wait_until(lambda: house.states("bad") == {1: "LOADING"}, 10)
    assert house.manager.unload_all(10)


def test_a_number_of_load_threads_is_a_limit(tmp_path):
    house = House(tmp_path, load_threads=2)
    gates = [house.gate(name, 1) for name in "abc"]
    for name in "abc":
        house.want(name, 1)
    for name in "ab":
        house.entered(name, 1)
    assert house.states("c") == {1: "START"}
    for gate in gates:
        gate.set()
    house.until({1: "AVAILABLE"}, "c")
    assert house.manager.unload_all(10)


# --- versions added by the program -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 7])
def test_a_model_from_a_base_path_cannot_be_added_too(house, version):
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    with pytest.raises(ConfigError, match="model 'm' comes from the server's configuration; use another name"):
        house.manager.add("m", version, NUMBER)
    with house.held() as handle:
        assert handle.version == 1


def test_a_name_belongs_to_the_configuration_or_to_a_model_added_in_code(house):
    house.manager.add("m", 1, NUMBER)
    with pytest.raises(InvalidArgumentError, match="Illegal to configure model m: "):
        house.manager.reserve_names(["n", "m"])
    house.manager.add("n", 1, NUMBER)  # nothing was claimed
    for name in ("m", "n"):
        house.manager.remove(name, 1)
    house.manager.reserve_names(["n", "m"])
    with pytest.raises(ConfigError, match="model 'm' comes from the server's configuration"):
        house.manager.add("m", 1, NUMBER)
    house.manager.reserve_names([])
    house.manager.add("m", 1, NUMBER)


def test_a_version_loads_once_the_system_can_start_a_thread(house, monkeypatch):
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    house.want("m", 1)
    assert house.states() == {1: "START"}
    monkeypatch.setattr(threading.Thread, "start", start)
    house.want("m", 1)  # the next poll
    house.until({1: "AVAILABLE"})


def no_thread(thread):
    raise RuntimeError("can't start new thread")


def test_a_version_restored_during_its_removal_stays(house):
    """However the two meet, the one that was added is served."""
    for _ in range(50):
        house.manager.add("m", 1, NUMBER)
        with ThreadPoolExecutor(1) as pool:
            removing = pool.submit(house.manager.remove, "m", 1)
            house.manager.wait_until(lambda: house.states() != {1: "AVAILABLE"}, 0.001)
            house.manager.add("m", 1, NUMBER)
            removing.result(10)
        if house.states() == {1: "AVAILABLE"}:
            with house.held() as handle:
                assert handle.version == 1
            house.manager.remove("m", 1)


def test_unloading_everything_keeps_models_added_in_code(house):
    house.manager.add("brought", 1, NUMBER)
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    assert house.manager.unload_all(10)
    assert house.states() == {1: "END"}
    assert house.states("brought") == {1: "AVAILABLE"}
    assert not [thread.name for thread in threading.enumerate() if thread.name in ("tfs-load", "tfs-unload")]


def test_unloading_everything_gives_up_waiting_for_users(house):
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    with house.held():
        assert not house.manager.unload_all(0.02)
    assert house.manager.unload_all(10)


# --- all at once -----------------------------------------------------------------------------------------------------


def test_wanted_versions_may_change_faster_than_they_load(house):
    """Whatever happens in between, the last list is served in the end, and a version always serves."""
    house.want("m", 1)
    house.until({1: "AVAILABLE"})
    stop = threading.Event()

    def call():
        count = 0
        while not stop.is_set():
            with house.held() as handle:
                assert handle.servable.run("serving_default", {}, ["said"])["said"] == str(handle.version).encode()
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        for turn in range(60):
            house.want("m", *{1 + turn % 3, 1 + turn % 5})
        house.want("m", 4)
        house.until({version: "AVAILABLE" if version == 4 else "END" for version in (1, 2, 3, 4, 5)})
        stop.set()
        assert all(done.result(10) for done in calls)
    for version in (1, 2, 3, 5):
        assert house.servable("m", version) is None
