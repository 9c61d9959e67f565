"""Source: names of version directories, what each policy chooses, and polling."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from tfs_client import AllVersions, Latest
from tfs_client.server.lifecycle.source import MonitoredModel, Source, find, version_of
from tfs_client.server.lifecycle.workers import Workers

# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("1", 1),
        ("123", 123),
        ("20170111173521", 20170111173521),
        ("0", 0),
        ("00017", 17),
        ("+5", 5),
        ("-1", -1),
        (" 7", 7),
        ("7\n", 7),
        ("9223372036854775807", (1 << 63) - 1),
        ("-9223372036854775808", -(1 << 63)),
    ],
)
def test_names_that_are_versions(name, version):
    assert version_of(name) == version


IGNORED = ["v1", "1.0", "1a", "", " ", "+", "--1", "1 2", "1_000", "9223372036854775808", "0x1", "1e3", ".1", "tmp"]


@pytest.mark.parametrize("name", [*IGNORED, "\u0663", "\xa01", "9" * 5000])
def test_names_that_are_ignored(name):
    assert version_of(name) is None


# --- policies --------------------------------------------------------------------------------------------------------


def found(children, policy):
    return find(MonitoredModel("m", "/models/m", policy), children)


NO_VERSIONS = (
    "No versions of servable m found under base path /models/m. "
    "Did you forget to name your leaf directory as a number (eg. '/1/')?"
)
ITSELF_A_VERSION = (
    "Base path /models/m of servable m contains saved_model.pb, so it looks like a version. Expected "
    "the directory that contains the numbered versions"
)


def test_a_version_directory_is_refused_as_a_base_path():
    assert found(["variables", "saved_model.pb"], Latest()).warnings == (NO_VERSIONS, ITSELF_A_VERSION)


CHILDREN = ["1", "README", "3", "2", "10", "tmp"]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        (Latest(), {10: "10"}),
        (Latest(2), {10: "10", 3: "3"}),
        (Latest(99), {10: "10", 3: "3", 2: "2", 1: "1"}),
        (AllVersions(), {1: "1", 2: "2", 3: "3", 10: "10"}),
        ((2, 10), {2: "2", 10: "10"}),
    ],
)
def test_versions_that_a_policy_chooses(policy, versions):
    assert found(CHILDREN, policy).versions == versions
    assert found(CHILDREN, policy).warnings == ()


@pytest.mark.parametrize("policy", [Latest(), AllVersions(), (1,), ()])
@pytest.mark.parametrize("children", [[], ["README", "v1"]])
def test_a_base_path_without_versions_is_warned_of(policy, children):
    assert found(children, policy).versions == {}
    assert found(children, policy).warnings == (NO_VERSIONS,)


def test_specific_versions_that_are_missing_are_warned_of_and_the_others_served():
    chosen = found(["1", "002"], (1, 2, 3))
    assert chosen.versions == {1: "1", 2: "002"}
    (warning,) = chosen.warnings
    assert "Version 3 of servable m" in warning


def test_no_specific_versions_means_none_at_all():
    assert found(["1"], ()).versions == {}
    assert found(["1"], ()).warnings == ("No specific versions requested for servable m.",)


def test_the_version_name_with_the_fewest_leading_zeros_wins():
    for policy in (Latest(), (7,)):
        assert found(["007", "07", "0007"], policy).versions == {7: "07"}
    assert found(["007", "7"], Latest()).warnings == (
        "Duplicate version directories detected. Version 7 will be loaded from 7, 007 will be ignored.",
    )


def test_under_the_policy_all_the_name_with_the_most_leading_zeros_wins():
    chosen = found(["7", "007", "1"], AllVersions())
    assert chosen.versions == {7: "007", 1: "1"}
    assert chosen.warnings == ("Version 7 is loaded from 007; 7 of the same number: ignored",)


def test_specific_versions_are_looked_for_by_their_plain_names_first():
    assert found(["5", "5 "], (5,)).versions == {5: "5"}
    assert found(["5", "5 "], Latest()).versions == {5: "5 "}


def test_names_that_are_not_utf8_are_ignored():
    assert found(["\udcff", "1"], Latest()).versions == {1: "1"}


# --- polling ---------------------------------------------------------------------------------------------------------


class Heard(dict):
    """What was emitted last for each model, and how often something was."""

    def __init__(self):
        self.times = 0
        self.changed = threading.Condition()

    def __call__(self, name, versions):
        with self.changed:
            self[name] = sorted(versions)
            self.times += 1
            self.changed.notify_all()

    def until(self, predicate):
        with self.changed:
            assert self.changed.wait_for(predicate, 10)


@pytest.fixture
def heard():
    return Heard()


def watched(base, policy=None, name="m"):
    return MonitoredModel(name, str(base), policy or Latest())


def test_a_poll_emits_the_complete_list_for_every_model(tmp_path, heard):
    for path in ("a/1", "a/02", "b/5", "b/no"):
        (tmp_path / path).mkdir(parents=True)
    source = Source(heard)
    source.update([watched(tmp_path / "a", AllVersions(), "a"), watched(tmp_path / "b", name="b")])
    source.poll()
    assert heard == {"a": [(1, str(tmp_path / "a/1")), (2, str(tmp_path / "a/02"))], "b": [(5, str(tmp_path / "b/5"))]}
    (tmp_path / "a/1").rmdir()
    source.poll()
    assert heard["a"] == [(2, str(tmp_path / "a/02"))]


def test_a_plain_file_counts_as_a_version(tmp_path, heard):
    (tmp_path / "7").touch()
    source = Source(heard)
    source.update([watched(tmp_path)])
    source.poll()
    assert heard["m"] == [(7, str(tmp_path / "7"))]


def test_a_missing_base_path_leaves_its_model_unchanged_and_delays_no_other(tmp_path, heard, caplog):
    (tmp_path / "a/1").mkdir(parents=True)
    source = Source(heard)
    source.update([MonitoredModel("b", "/nowhere/b"), watched(tmp_path / "a", name="a")])
    source.poll()
    assert heard == {"a": [(1, str(tmp_path / "a/1"))]}
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tfs_client.server", logging.ERROR)
    assert record.getMessage() == (
        "FileSystemStoragePathSource encountered a filesystem access error: "
        "Could not find base path /nowhere/b for servable b with error NOT_FOUND: /nowhere/b not found"
    )


def test_a_hanging_base_path_delays_the_versions_of_others(tmp_path, heard, monkeypatch):
    for path in ("a/1", "b/1"):
        (tmp_path / path).mkdir(parents=True)
    listdir, inside, leave = os.listdir, threading.Event(), threading.Event()

    def hang(path):
        if path == str(tmp_path / "a"):
            inside.set()
            assert leave.wait(20)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", hang)
    source = Source(heard)
    source.update([watched(tmp_path / "a", name="a"), watched(tmp_path / "b", name="b")])
    polling = threading.Thread(target=source.poll)
    polling.start()
    assert inside.wait(20)
    assert heard == {}
    leave.set()
    polling.join(20)
    assert heard.keys() == {"a", "b"}


def test_versions_found_for_an_earlier_configuration_are_dropped(tmp_path, heard, monkeypatch):
    """A listing may never end; nothing waits for it."""
    for path in ("a/1", "b/2"):
        (tmp_path / path).mkdir(parents=True)
    source, listdir = Source(heard), os.listdir

    def change_meanwhile(path):
        monkeypatch.setattr(os, "listdir", listdir)
        source.update([watched(tmp_path / "b")])
        return listdir(path)

    monkeypatch.setattr(os, "listdir", change_meanwhile)
    source.update([watched(tmp_path / "a")])
    source.poll()
    assert heard == {}
    source.poll()
    assert heard == {"m": [(2, str(tmp_path / "b/2"))]}
    source.stop()
    source.poll()
    assert heard.times == 1


def test_a_base_path_that_is_a_file_is_reported(tmp_path, heard, caplog):
    (tmp_path / "file").touch()
    source = Source(heard)
    source.update([watched(tmp_path / "file")])
    source.poll()
    assert heard == {}
    assert f"{tmp_path / 'file'}; Not a directory" in caplog.text


def test_an_empty_base_path_emits_the_empty_list_and_a_warning_at_every_poll(tmp_path, heard, caplog):
    source = Source(heard)
    source.update([watched(tmp_path)])
    source.poll()
    source.poll()
    assert heard == {"m": []}
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert texts == [NO_VERSIONS.replace("/models/m", str(tmp_path))] * 2


def test_a_model_no_longer_watched_loses_its_versions_at_once(tmp_path, heard):
    (tmp_path / "1").mkdir()
    source = Source(heard)
    source.update([watched(tmp_path), watched(tmp_path, name="n")])
    source.poll()
    source.update([watched(tmp_path)])
    assert heard == {"m": [(1, str(tmp_path / "1"))], "n": []}
    assert source.names == {"m"}


def test_file_uris_are_paths(tmp_path, heard):
    (tmp_path / "1").mkdir()
    source = Source(heard)
    source.update([MonitoredModel("m", f"file://{tmp_path}")])
    source.poll()
    assert heard["m"] == [(1, str(tmp_path / "1"))]


def test_unsupported_file_systems_are_reported(heard, caplog):
    source = Source(heard)
    source.update([MonitoredModel("m", "s3://bucket/m")])
    source.poll()
    assert "UNIMPLEMENTED: File system scheme 's3' not implemented (file: 's3://bucket/m')" in caplog.text


def test_polls_are_repeated(tmp_path, heard):
    source = Source(heard, 0.005)
    source.update([watched(tmp_path)])
    source.start()
    heard.until(lambda: heard.times > 2)
    (tmp_path / "1").mkdir()
    heard.until(lambda: heard["m"])
    source.stop()
    assert source.polls
    times = heard.times
    source.update([watched(tmp_path)])
    assert heard.times == times


def test_an_update_does_not_wait_for_the_period(tmp_path, heard):
    (tmp_path / "1").mkdir()
    source = Source(heard, 3600)
    source.update([watched(tmp_path)])
    source.start()
    heard.until(lambda: "m" in heard)
    source.update([watched(tmp_path), watched(tmp_path, name="n")])
    heard.until(lambda: "n" in heard)
    source.stop()


@pytest.mark.parametrize(("period", "polls"), [(0, 1), (-1, 0)])
def test_a_period_of_zero_is_one_poll_and_a_negative_one_none(tmp_path, heard, period, polls):
    source = Source(heard, period)
    source.update([watched(tmp_path)])
    source.start()
    source.update([watched(tmp_path)])
    source.stop()
    assert heard.times == polls
    assert not source.polls


def test_a_source_that_was_never_started_can_be_stopped(heard):
    Source(heard, 1).stop()


def test_an_update_waits_for_a_running_poll(tmp_path, heard):
    """An update waits for a running poll, so that what was found for the old models cannot come after it."""
    (tmp_path / "1").mkdir()
    entered, leave = threading.Event(), threading.Event()

    def emit(name, versions):
        entered.set()
        assert leave.wait(10)
        heard(name, versions)

    source, workers = Source(emit), Workers(1, "test")
    source.update([watched(tmp_path)])
    workers.submit("", source.poll)
    assert entered.wait(10)
    workers.submit("", lambda: None)
    threading.Timer(0.02, leave.set).start()
    source.update([])
    assert heard == {"m": []}
    assert workers.join(10)
