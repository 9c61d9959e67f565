"""tfs-admin reload: what it shows, asks, sends, waits for and saves, against a server that records its calls."""

from __future__ import annotations

import _thread
import io
import os
import shlex
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from served_program import put_scale, write_config

from tfs_client import PredictClient
from tfs_client.cli.admin import command
from tfs_client.model_config import ModelServerConfig
from tfs_client.protos.tensorflow_serving.apis import model_service_pb2_grpc
from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigResponse
from tfs_client.server import Server, ServerConfig
from tfs_client.server.lifecycle.platforms import Platforms

BASE = """# the models of this server
model_config_list {
  config {
    name: "resnet" base_path: "/models/resnet" model_platform: "tensorflow"
    version_labels { key: "stable" value: 1 }
  }
  config { name: "old" base_path: "/models/old" model_platform: "tensorflow" }
}
"""
LABEL_WARNING = (
    "the server will refuse label {} of {}, because version {} is not AVAILABLE, unless it was started with "
    "--allow_version_labels_for_unavailable_models"
)
LABEL_REFUSED = "Request to assign label to version 2 of model resnet, which is not currently available for inference"
START, LOADING, AVAILABLE, END = 10, 20, 30, 50

Ran = tuple[int, str, str]


class ModelServer(model_service_pb2_grpc.ModelServiceServicer):
    """Accepts every configuration, and reports the model statuses that the test sets.

    Attributes:
        configs: the received configurations.
        statuses: for each model the versions of its status, or a function that returns them, called for every call.
        refuse: the code and text to refuse configurations with.
        release: configurations are answered once it is set.
    """

    def __init__(self) -> None:
        self.configs: list[ModelServerConfig] = []
        self.statuses: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "resnet": lambda: [{"version": 1, "state": AVAILABLE}, {"version": 2, "state": AVAILABLE}],
            "old": lambda: [{"version": 3, "state": AVAILABLE}],
        }
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.release = threading.Event()
        self.release.set()
        self.target = ""
        self.hides_status = False

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.configs.append(ModelServerConfig.from_proto(request.config))
        self.release.wait(20)
        if self.refuse:
            context.abort(*self.refuse)
        return ReloadConfigResponse(status={})

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.hides_status:
            context.abort(grpc.StatusCode.UNKNOWN, "")
        versions = self.statuses.get(request.model_spec.name)
        if versions is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of {request.model_spec.name}")
        return GetModelStatusResponse(model_version_status=versions())


@pytest.fixture
def server() -> Iterator[ModelServer]:
    servicer = ModelServer()
    server = grpc.server(ThreadPoolExecutor(4))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    servicer.release.set()
    server.stop(0).wait()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "models.config"
    path.write_text(BASE)
    return path


@pytest.fixture
def reload(
    server: ModelServer, base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Run the command on the base, without a terminal; return exit code, output and error output."""
    for name in ("TFS_SERVER", "TFS_MODEL", "TFS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))

    def reload(*arguments: object) -> Ran:
        common = ("reload", "--server", server.target, "--config", str(base), "--timeout", "10")
        code = command.main([*common, *map(str, arguments)])
        return code, *capsys.readouterr()

    return reload


def line(err: str) -> str:
    assert err.count("\n") == 1, err
    assert err.startswith("tfs-admin: ")
    return err


def known(base: Path) -> ModelServerConfig:
    return ModelServerConfig.from_file(base)


def previous(base: Path) -> Path:
    """The file next to the base that holds the previous configuration."""
    (found,) = base.parent.glob(f"{base.name}.before-*")
    return found


# What is shown, and what is sent.


def test_the_difference_is_shown_and_the_whole_configuration_is_sent(
    reload: Any, server: ModelServer, base: Path
) -> None:
    code, out, err = reload("--yes", "--add", "bert=/models/bert@latest:2", "--label", "resnet:canary=2")
    assert (code, err) == (0, "")
    assert out == (
        f"changes to {base}:\n"
        "~ resnet: label canary none -> 2\n"
        "+ bert: /models/bert, latest 2\n"
        f"{server.target} accepted the configuration\n"
        f"the previous configuration is saved as {previous(base)}\n"
    )
    (sent,) = server.configs
    assert sent.names == ("resnet", "old", "bert")
    assert sent["resnet"].labels == {"stable": 1, "canary": 2}


def test_without_changes_the_file_is_sent_unchanged_and_shown(reload: Any, server: ModelServer, base: Path) -> None:
    code, out, _ = reload("--yes")
    assert code == 0
    assert out.splitlines()[:3] == [
        f"replacement for the whole configuration of {server.target}, from {base}:",
        "  resnet: /models/resnet, latest 1 by default, label stable 1",
        "  old: /models/old, latest 1 by default",
    ]
    assert server.configs == [known(base)]


def test_an_empty_configuration_unloads_everything(reload: Any, server: ModelServer) -> None:
    code, out, _ = reload("--yes", "--remove", "resnet", "--remove", "old", "--verbose")
    assert code == 0
    assert "- resnet\n- old\nthe whole configuration:\n  no models\n" in out
    assert server.configs == [ModelServerConfig()]


@pytest.mark.parametrize(
    ("edits", "change"),
    [
        (["--add", "b=/m/b"], "+ b: /m/b, latest 1"),
        (["--add", "b=/m/b@all"], "+ b: /m/b, all versions"),
        (["--add", "b=s3://u@h/b@versions:2,1"], "+ b: s3://u@h/b, versions 1, 2"),
        (["--add", "b=s3://u@h/b"], "+ b: s3://u@h/b, latest 1"),
        (["--remove", "old"], "- old"),
        (["--serve", "old@versions:3,4"], "~ old: latest 1 by default -> versions 3, 4"),
        (["--label", "resnet:stable=2"], "~ resnet: label stable 1 -> 2"),
        (["--unlabel", "resnet:stable"], "~ resnet: label stable 1 -> none"),
        (["--add", "b=/m/b", "--platform", "b=python"], "+ b: /m/b, latest 1, platform python"),
        # In the order given: what was added can be labelled, what was removed can be added anew.
        (["--add", "b=/m/b", "--label", "b:x=1"], "+ b: /m/b, latest 1, label x 1"),
        (["--remove", "old", "--add", "old=/m/new@latest:2"], "~ old: latest 1 by default -> latest 2"),
    ],
)
def test_a_dry_run_shows_changes_and_sends_nothing(
    reload: Any, server: ModelServer, base: Path, edits: list[str], change: str
) -> None:
    before = base.read_bytes()
    code, out, err = reload("--dry-run", "--save", base, "--wait", *edits)
    assert code == 0
    assert not err.replace(f"tfs-admin: warning: {LABEL_WARNING.format('x', 'b', 1)}\n", "")
    assert out.splitlines()[0] == f"changes to {base}:"
    assert out.splitlines()[-1] == change
    assert server.configs == []
    assert base.read_bytes() == before


def test_impossible_changes_end_with_2(reload: Any, server: ModelServer) -> None:
    for edits, message in [
        (("--add", "b"), "--add b: expected NAME=PATH"),
        (("--add", "b=models/b"), "model 'b': expected an absolute base path"),
        (("--add", "b=/m@lates:2"), "expected latest:N, all or versions:1,2 after the @, got 'lates:2'"),
        (("--add", "b=/m@latest:0"), "expected a number of versions"),
        (("--add", "b=/m@versions:1,"), "expected version numbers, got ''"),
        (("--add", "b=/m@latest"), "expected latest:N"),
        (("--add", "old=/m"), "model 'old' already exists; --serve changes its versions"),
        (("--platform", "old"), "expected NAME=PLATFORM"),
        (("--platform", "b=python"), "unknown model 'b'; put --add b=PATH before --platform"),
        (("--remove", "none"), "--remove none: unknown model 'none'; known models: resnet, old"),
        (("--serve", "old"), "expected NAME@latest:N"),
        (("--serve", "none@all"), "unknown model 'none'"),
        (("--label", "resnet=1"), "expected NAME:LABEL=VERSION"),
        (("--label", "resnet:stable=one"), "expected a version number, got 'one'"),
        (("--unlabel", "resnet"), "expected NAME:LABEL"),
        (("--unlabel", "resnet:canary"), "model 'resnet' has no label 'canary'; known labels: stable"),
        (("--config", "missing"), "cannot read 'missing': No such file"),
        (("--save", "no/such/place"), "cannot write 'no/such/place': No such file"),
        (("--save", "/"), "cannot write '/': "),
    ]:
        code, _, err = reload("--yes", *edits)
        assert code == 2, edits
        assert message in line(err), edits
    assert server.configs == []


# Asking.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "Yes\n"])
def test_answering_yes_sends(reload: Any, server: ModelServer, monkeypatch: Any, answer: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    code, out, err = reload()
    assert (code, err) == (0, f"Replace the whole configuration of {server.target}? [y/N] ")
    assert out.endswith("accepted the configuration\n")
    assert len(server.configs) == 1


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_any_other_answer_sends_nothing_and_ends_with_7(
    reload: Any, server: ModelServer, base: Path, monkeypatch: Any, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    before = base.read_bytes()
    code, out, err = reload("--remove", "old", "--save", base)
    assert code == 7
    assert out == f"changes to {base}:\n- old\n"
    assert err.endswith("tfs-admin: nothing was sent\n")
    assert server.configs == []
    assert base.read_bytes() == before


def test_without_a_terminal_no_question_is_asked(reload: Any, server: ModelServer) -> None:
    code, out, err = reload()
    assert (code, out) == (2, "")
    assert "standard input is not a terminal: use --yes or --dry-run" in line(err)
    assert server.configs == []


def test_without_a_terminal_wrong_edits_are_reported_first(reload: Any, server: ModelServer) -> None:
    code, _, err = reload("--add", "bad")
    assert code == 2
    assert "--add bad: expected NAME=PATH" in line(err)
    assert server.configs == []


# What would not work.


def test_a_version_that_the_server_has_never_reported_is_warned_of(reload: Any, server: ModelServer) -> None:
    for edits, said in [
        (("--serve", "old@versions:7"), "version 7, but the server has reported only 3; is it in /models/old?"),
        (("--serve", "resnet@versions:7,8"), "expected versions 7, 8, but the server has reported only 2, 1; is it in"),
        (("--serve", "old@versions:3,7"), ""),
        (("--serve", "old@all"), ""),
        (("--remove", "old", "--add", "old=/elsewhere@versions:7"), ""),  # the server has not looked there yet
        (("--add", "new=/models/new@versions:7"), ""),
        (("--remove", "old"), ""),
    ]:
        code, _, err = reload("--dry-run", *edits)
        assert code == 0
        assert ("may be left without a version: " in err) == bool(said), edits
        assert said in err
    assert server.configs == []


def test_a_version_that_has_failed_is_warned_of(reload: Any, server: ModelServer) -> None:
    failed = {"version": 4, "state": END, "status": {"error_code": 5, "error_message": "no saved_model.pb"}}
    server.statuses["old"] = lambda: [failed, {"version": 3, "state": AVAILABLE}]
    _, _, err = reload("--dry-run", "--serve", "old@versions:4")
    assert "but the server could not load it: version 4: END (NOT_FOUND: no saved_model.pb)" in line(err)


def test_a_label_that_would_be_refused_is_warned_of(reload: Any, server: ModelServer) -> None:
    server.statuses["old"] = lambda: [{"version": 3, "state": AVAILABLE}, {"version": 4, "state": LOADING}]
    labels = ("--label", "old:stable=3", "--label", "old:canary=4", "--label", "resnet:canary=9")
    _, _, err = reload("--dry-run", *labels)
    said = {f"tfs-admin: warning: {LABEL_WARNING.format('canary', *which)}" for which in (("old", 4), ("resnet", 9))}
    assert {*err.splitlines()} == said


def test_warnings_come_before_the_question(reload: Any, server: ModelServer, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    code, out, err = reload("--serve", "old@versions:7")
    assert code == 7
    assert out.endswith("~ old: latest 1 by default -> version 7\n")
    warning, question = err.splitlines()
    assert warning.startswith("tfs-admin: warning: old may be left without")
    assert question.startswith("Replace the whole configuration")
    assert server.configs == []


def test_a_dry_run_needs_no_server(base: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("TFS_TOKEN", raising=False)
    arguments = ["reload", "--server", "127.0.0.1:1", "--config", str(base), "--dry-run", "--remove", "old"]
    assert command.main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == f"changes to {base}:\n- old\n"
    assert "warning: the configuration was not compared with what the server serves: UNAVAILABLE: " in line(err)


def test_a_server_without_status_can_be_reloaded(reload: Any, server: ModelServer) -> None:
    server.hides_status = True
    code, out, err = reload("--yes")
    assert code == 0
    assert "warning: the configuration was not compared with what the server serves: UNKNOWN" in line(err)
    assert out.endswith("accepted the configuration\n")


# The previous configuration.


def test_the_command_that_restores_the_configuration_names_the_profile(
    server: ModelServer, base: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "tfs_client").mkdir()
    (tmp_path / "tfs_client" / "profiles.toml").write_text(f'[default]\nserver = "{server.target}"\ntimeout = 0.5\n')
    server.statuses["old"] = lambda: []
    options = ["--config", str(base), "--serve", "old@versions:3", "--save", str(base), "--yes", "--wait"]
    assert command.main(["reload", *options]) == 5
    restore = f"tfs-admin reload --server {server.target} --profile default --config {previous(base)} --yes --wait"
    assert f"to restore it: {restore}" in capsys.readouterr().err


def test_an_error_names_the_command_that_restores_the_previous_configuration(
    reload: Any, server: ModelServer, base: Path
) -> None:
    server.statuses["old"] = lambda: []
    code, _, err = reload("--yes", "--wait", "--serve", "old@versions:3", "--save", base, "--timeout", 0.5)
    assert code == 5
    restore = f"tfs-admin reload --server {server.target} --config {previous(base)} --yes --wait"
    assert err.endswith(f" sets another limit. The previous configuration is saved; to restore it: {restore}\n")
    assert previous(base).read_text() == ModelServerConfig.from_text(BASE).to_text()
    server.statuses["old"] = lambda: [{"version": 3, "state": AVAILABLE}]
    assert command.main(shlex.split(restore)[1:]) == 0
    assert server.configs[-1] == ModelServerConfig.from_text(BASE)


def test_the_command_first_removes_labels_that_the_server_would_refuse(
    reload: Any, server: ModelServer, base: Path
) -> None:
    states = iter([AVAILABLE, *[END] * 1000])
    server.statuses["resnet"] = lambda: [{"version": 1, "state": next(states)}, {"version": 2, "state": LOADING}]
    edits = ("--unlabel", "resnet:stable", "--label", "old:x=3", "--serve", "resnet@versions:1,2")
    code, _, err = reload("--yes", "--wait", *edits, "--timeout", 0.5)
    assert code == 5
    back = f"tfs-admin reload --server {server.target} --config {previous(base)}"
    assert err.endswith(f": {back} --unlabel resnet:stable --yes --wait && {back} --yes --wait\n")


def test_the_command_names_files_of_credentials_and_hides_secrets(
    reload: Any, server: ModelServer, base: Path, tmp_path: Path
) -> None:
    server.refuse = grpc.StatusCode.UNKNOWN, "1 model(s) did not become available: {{{name: old version: 1}}, }"
    token = tmp_path / "a token"
    token.write_text("secret")
    _, _, err = reload("--yes", "--remove", "old", "--token", f"@{token}")
    assert f"--server {server.target} --token '@{token}' --config" in line(err)
    _, _, err = reload("--yes", "--remove", "old", "--token", "hidden-1", "--metadata", "x-key=hidden-2")
    assert f"--server {server.target} --token ... --metadata ... --config" in line(err)
    assert "hidden" not in err


def test_a_refusal_that_changes_nothing_leaves_no_file(reload: Any, server: ModelServer, base: Path) -> None:
    server.refuse = grpc.StatusCode.FAILED_PRECONDITION, LABEL_REFUSED
    _, _, err = reload("--yes", "--remove", "old")
    assert "to restore" not in err
    assert os.listdir(base.parent) == ["models.config"]
    server.refuse = grpc.StatusCode.INVALID_ARGUMENT, "No request-logger-creator provided."  # it has switched by then
    _, _, err = reload("--yes", "--remove", "old")
    assert f"--config {previous(base)} --yes" in err


def test_no_file_is_left_once_everything_is_served(reload: Any, base: Path) -> None:
    code, out, err = reload("--yes", "--remove", "old", "--wait")
    assert (code, err) == (0, "")
    assert out.endswith("every model is served as configured\n")
    assert os.listdir(base.parent) == ["models.config"]


def test_an_interrupt_names_the_command_that_restores_the_previous_configuration(
    reload: Any, server: ModelServer, base: Path
) -> None:
    def interrupt() -> list[dict[str, Any]]:
        _thread.interrupt_main()
        return []

    server.statuses["old"] = interrupt
    code, _, err = reload("--yes", "--wait", "--unlabel", "resnet:stable")
    assert code == 130
    assert line(err).endswith(f" --config {previous(base)} --yes --wait\n")


def test_an_earlier_file_is_kept(reload: Any, base: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "NOW")
    for _ in range(3):
        assert reload("--yes", "--remove", "old")[0] == 0
    names = ["models.config", *(f"models.config.before-NOW{end}" for end in ("", "-2", "-3"))]
    assert sorted(os.listdir(base.parent)) == names


def test_the_previous_config_of_a_pipe_is_saved_as_a_temporary_file(
    server: ModelServer, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    read, write = os.pipe()
    os.write(write, BASE.encode())
    os.close(write)
    arguments = ["--server", server.target, "--config", f"/dev/fd/{read}", "--yes", "--remove", "old"]
    assert command.main(["reload", *arguments]) == 0
    os.close(read)
    (saved,) = tmp_path.iterdir()
    assert capsys.readouterr().out.endswith(f"the previous configuration is saved as {saved}\n")
    assert known(saved) == ModelServerConfig.from_text(BASE)


# A server that reports its configuration.


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """Our own server of a model with one version, and the file that it was started with."""
    models, file = tmp_path / "models", tmp_path / "models.config"
    models.mkdir()
    put_scale(models / "scale", 1, 3.0)
    write_config(file, models / "scale")
    config = ServerConfig(model_config_file=file, max_num_load_retries=0, file_system_poll_wait_seconds=0.02)
    with Platforms() as platforms, Server(config, platforms=platforms.loads) as server:
        yield server, file


def test_changes_apply_to_the_servers_configuration(ours: Any, capsys: Any, tmp_path: Path) -> None:
    server, file = ours
    other = tmp_path / "other.config"
    other.write_text("model_config_list {}")
    base = ["reload", "--server", server.target, "--dry-run", "--config"]
    assert command.main([*base, str(other)]) == 0
    assert capsys.readouterr() == (f"changes to the configuration of {server.target}:\n- scale\n", "")
    assert command.main([*base, str(file), "--verbose"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"no changes to the configuration of {server.target}\nthe whole configuration:\n  scale: ")


def test_a_typo_in_a_version_is_warned_of_and_can_be_undone(ours: Any, capsys: Any) -> None:
    server, file = ours
    base = ["reload", "--server", server.target, "--yes", "--wait", "--config"]
    code = command.main([*base, str(file), "--serve", "scale@versions:7", "--save", str(file), "--timeout", "1.5"])
    out, err = capsys.readouterr()
    warning, error = err.splitlines()
    assert code == 5
    assert out.startswith(
        f"changes to the configuration of {server.target}:\n~ scale: latest 1 by default -> version 7\n"
    )
    assert warning.endswith(f"but the server has reported only 1; is it in {file.parent}/models/scale?")
    assert "within 1.5 s the server did not serve scale: version 7 is not known to the server" in error
    restore = error.partition("The previous configuration is saved; to restore it: ")[2]
    assert command.main(shlex.split(restore)[1:]) == 0
    with PredictClient(server.target, model="scale") as client:
        assert client.predict([1.0]).array.tolist() == [3.0]


# Saving.


def test_the_new_configuration_replaces_the_old_file(reload: Any, server: ModelServer, base: Path) -> None:
    base.chmod(0o640)
    link = base.with_name("current")
    link.symlink_to(base.name)
    code, out, _ = reload("--yes", "--remove", "old", "--save", link)
    assert code == 0
    saved = previous(base)
    assert out.endswith(f"saved as {link}\nthe previous configuration is saved as {saved}\n")
    assert stat.S_IMODE(saved.stat().st_mode) == 0o640
    saved.unlink()
    assert known(base) == server.configs[0]
    assert known(base).names == ("resnet",)
    assert link.is_symlink()
    assert stat.S_IMODE(base.stat().st_mode) == 0o640
    assert sorted(os.listdir(base.parent)) == ["current", "models.config"]


def test_a_new_file_has_the_permissions_of_any_new_file(reload: Any, base: Path) -> None:
    plain = base.with_name("plain")
    plain.touch()
    assert reload("--yes", "--save", base.with_name("saved"))[0] == 0
    assert base.with_name("saved").stat().st_mode == plain.stat().st_mode


def test_a_refused_configuration_is_not_saved(reload: Any, server: ModelServer, base: Path) -> None:
    server.refuse = grpc.StatusCode.FAILED_PRECONDITION, LABEL_REFUSED
    code, _, err = reload("--yes", "--label", "resnet:stable=2", "--save", base)
    assert code == 4
    assert LABEL_REFUSED in line(err)
    assert "reload without the label and with --wait, then add it" in err
    assert base.read_text() == BASE
    assert os.listdir(base.parent) == ["models.config"]


def test_an_accepted_configuration_is_saved_even_if_its_models_fail_to_load(
    reload: Any, server: ModelServer, base: Path
) -> None:
    failed = {"version": 1, "state": END, "status": {"error_code": 5, "error_message": "no saved_model.pb"}}
    server.statuses = {"resnet": lambda: [{"version": 1, "state": AVAILABLE}], "old": lambda: [failed]}
    code, out, err = reload("--yes", "--serve", "old@all", "--save", base, "--wait")
    assert code == 4
    assert out.endswith(f"accepted the configuration\nsaved as {base}\n")
    assert "could not load old: version 1 failed (NOT_FOUND: no saved_model.pb)" in line(err)
    assert known(base) == server.configs[0]


# Waiting, and time.


def test_wait_returns_when_everything_is_served(reload: Any, server: ModelServer) -> None:
    loaded = time.monotonic() + 0.15
    server.statuses = {
        "resnet": lambda: [{"version": 1, "state": AVAILABLE}],
        "old": lambda: [{"version": 4, "state": AVAILABLE if time.monotonic() > loaded else LOADING}],
    }
    code, out, err = reload("--yes", "--wait")
    assert (code, err) == (0, "")
    assert out.endswith("accepted the configuration\nevery model is served as configured\n")
    assert time.monotonic() > loaded
    assert len(server.configs) == 1


def test_wait_names_missing_models_at_its_timeout(reload: Any, server: ModelServer) -> None:
    server.statuses = {"resnet": lambda: [{"version": 1, "state": START}]}
    code, _, err = reload("--yes", "--wait", "--unlabel", "resnet:stable", "--timeout", 0.4)
    assert code == 5
    assert "within 0.4 s the server did not serve resnet: version 1 is START; old: no version" in line(err)


def test_a_server_that_does_not_answer_may_have_accepted_the_config(reload: Any, server: ModelServer) -> None:
    server.release.clear()
    code, _, err = reload("--yes", "--timeout", 1)
    assert code == 5
    assert "may have accepted the configuration nevertheless: see tfs-admin status. --timeout S sets another" in line(
        err
    )
    assert err.endswith("The previous configuration is unknown, because the server does not report it.\n")


def test_models_that_failed_to_load_may_be_configured(reload: Any, server: ModelServer) -> None:
    server.refuse = grpc.StatusCode.UNKNOWN, "1 model(s) did not become available: {{{name: old version: 1}}, }"
    code, _, err = reload("--yes")
    assert code == 4
    assert "may have accepted the configuration nevertheless" in line(err)


def test_the_timeout_starts_after_the_question(reload: Any, server: ModelServer, monkeypatch: Any) -> None:
    class Slow(Terminal):
        def readline(self, size: int | None = -1, /) -> str:
            time.sleep(0.35)
            return "y\n"

    monkeypatch.setattr("sys.stdin", Slow())
    assert reload("--timeout", 0.3)[0] == 0


def test_a_closed_pipe_does_not_prevent_the_reload(server: ModelServer, base: Path) -> None:
    code = "from tfs_client.cli.admin.command import script; script()"
    arguments = ["reload", "--yes", "--server", server.target, "--config", str(base), "--save", str(base)]
    command = [sys.executable, "-c", code, *arguments, "--remove", "old"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()  # before the difference is shown
        assert ran.stderr.read() == b""
    assert ran.returncode == 0
    assert server.configs == [known(base)]
