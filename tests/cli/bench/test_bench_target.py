"""The clients of a load: their options come from the command line, the environment and profiles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from tfs_client import TensorSpec
from tfs_client.cli.bench.arguments import parse
from tfs_client.cli.bench.contradictions import check
from tfs_client.cli.bench.server_page import metrics_of
from tfs_client.cli.bench.target import ClientMaker, completed, targets
from tfs_client.errors import ConfigError
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None, 2))


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("TFS_SERVER", "TFS_MODEL", "TFS_TOKEN", "TFS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def served(fake_server: FakeServer) -> FakeServer:
    fake_server.add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    return fake_server


def options_of(*words: str) -> dict[str, Any]:
    target, _ = targets(parse(words))
    maker = target.make_client()
    assert isinstance(maker, ClientMaker)
    copy = pickle.loads(pickle.dumps(maker))
    assert copy.target == maker.target
    return dict(copy.options)


def test_clients_over_rest_know_the_signatures_and_do_not_fetch_them_under_load(served: FakeServer) -> None:
    options = options_of(served.rest_url, "--model", "m")
    assert options["signatures"]["serving_default"].inputs["x"].shape == (None, 2)
    assert "signatures" not in options_of(served.target, "--model", "m")


def test_clients_never_retry(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('server = "tfs:8500"\nmodel = "m"\nretry = true\ntimeout = 5\n')
    options = options_of("--profile", str(path))
    assert (options["retry"], options["timeout"], options["model"]) == (None, 5, "m")


def test_the_base_of_a_comparison_may_be_another_version() -> None:
    words = ("new:8500", "--model", "m", "--version", "4", "--compare", "old:8500", "--compare-version", "3")
    first, base = targets(parse(words))
    assert base is not None
    assert (first.name, base.name) == ("new:8500 version 4", "old:8500 version 3")
    makers = [each.make_client() for each in (first, base)]
    assert [(each.target, each.options["version"]) for each in makers if isinstance(each, ClientMaker)] == [
        ("new:8500", 4),
        ("old:8500", 3),
    ]


def test_the_base_of_a_comparison_has_the_model_of_a_profile_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "tfs_client").mkdir()
    path = tmp_path / "tfs_client/profiles.toml"
    path.write_text(
        '[default]\nserver = "new:8500"\nmodel = "m"\nsignature = "s"\nversion = 4\ntimeout = 5\ntoken = "abc"\n'
    )
    path.chmod(0o600)
    first, base = targets(parse(("--compare", "old:8500")))
    assert base is not None
    assert [(each.name, each.model, each.signature, each.timeout) for each in (first, base)] == [
        ("new:8500 version 4", "m", "s", 5),
        ("old:8500 version 4", "m", "s", 5),
    ]
    makers = [each.make_client() for each in (first, base)]
    assert [each.options["version"] for each in makers if isinstance(each, ClientMaker)] == [4, 4]
    assert [each.options.get("token") for each in makers if isinstance(each, ClientMaker)] == ["abc", None]
    _, base = targets(parse(("--compare", "old:8500", "--compare-version", "3")))
    assert base is not None
    assert base.name == "old:8500 version 3"


def test_a_version_replaces_the_label_at_the_base() -> None:
    words = ("new:8500", "--model", "m", "--label", "canary", "--compare", "old:8500")
    for more, version, label in (((), None, "canary"), (("--compare-version", "3"), 3, None)):
        _, base = targets(parse((*words, *more)))
        assert base is not None
        assert (base.value("version"), base.value("label")) == (version, label)


@pytest.mark.parametrize(("own", "timeout"), [("", 30), ("timeout = 7", 7), ("timeout = inf", None)])
def test_both_targets_have_the_same_timeout(tmp_path: Path, own: str, timeout: float | None) -> None:
    (tmp_path / "tfs_client").mkdir()
    path = tmp_path / "tfs_client/profiles.toml"
    for server in ("new:8500", "old:8500"):
        path.write_text(f'[default]\nserver = "{server}"\nmodel = "m"\n{own}\n')
        first, base = targets(parse(("new:8500", "--model", "m", "--compare", "old:8500")))
        assert base is not None
        assert first.timeout == base.timeout == (timeout if server == "new:8500" else 30)


def test_the_versions_of_a_recording_are_not_those_of_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('server = "new:8500"\nmodel = "m"\nversion = 4\n')
    words = ("--profile", str(path), "--recording", "calls", "--compare", "new:8500")
    for more, names in (
        ((), ["new:8500", "new:8500"]),
        (("--version", "2"), ["new:8500 version 2", "new:8500 version 2"]),
        (("--compare-version", "3"), ["new:8500", "new:8500 version 3"]),
    ):
        assert [each.name for each in targets(parse((*words, *more))) if each is not None] == names


def test_the_model_of_the_environment_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_MODEL", "m")
    options = parse(["tfs:8500"])
    check(options)
    target, _ = targets(options)
    assert completed(options, target).model == "m"
    monkeypatch.delenv("TFS_MODEL")
    with pytest.raises(ConfigError, match="no model given"):
        targets(options)


def test_a_recording_names_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_MODEL", "m")
    target, _ = targets(parse(["tfs:8500", "--recording", "calls"]))
    assert target.model == ""


def test_the_metrics_page_is_that_of_a_rest_target(served: FakeServer) -> None:
    def page(*words: str) -> str | None:
        options = parse(words)
        found = metrics_of(options, targets(options)[0], ["m"])
        return None if found is None else found.url

    path = "/monitoring/prometheus/metrics"
    assert page(served.rest_url, "--model", "m", "--token", "abc") == f"{served.rest_url}{path}"
    assert page(served.target, "--model", "m") is None
    assert page(served.target, "--model", "m", "--metrics", served.rest_url) == f"{served.rest_url}{path}"


def test_metrics_of_several_models_are_not_mixed() -> None:
    options = parse(["tfs:8500", "--recording", "calls", "--metrics", "http://tfs:8501"])
    with pytest.raises(ConfigError, match="--metrics shows one model, and the recording calls"):
        metrics_of(options, targets(options)[0], ["a", "b"])
    assert metrics_of(parse(["tfs:8500", "--recording", "calls"]), targets(options)[0], ["a", "b"]) is None
