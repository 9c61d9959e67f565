"""tfs-admin reload: what it shows, asks, sends, waits for and saves, against a server that takes note of it."""

from __future__ import annotations

import io
import os
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

from tfs_client.cli import admin as command
from tfs_client.model_config import ModelServerConfig
from tfs_client.protos.tensorflow_serving.apis import model_service_pb2_grpc
from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigResponse

BASE = """# the models of this server
model_config_list {
  config {
    name: "resnet" base_path: "/models/resnet" model_platform: "tensorflow"
    version_labels { key: "stable" value: 1 }
  }
  config { name: "old" base_path: "/models/old" model_platform: "tensorflow" }
}
"""
LABEL_REFUSED = "Request to assign label to version 2 of model resnet, which is not currently available for inference"
START, LOADING, AVAILABLE, END = 10, 20, 30, 50

Ran = tuple[int, str, str]


class ModelServer(model_service_pb2_grpc.ModelServiceServicer):
    """Takes every configuration, and tells what the test lets it tell of each model.

    Attributes:
        configs: what it was sent.
        statuses: for each model the versions of its status, or what gives them, asked anew for every call.
        refuse: the code and text to refuse configurations with.
        release: configurations are answered once it is set.
    """

    def __init__(self) -> None:
        self.configs: list[ModelServerConfig] = []
        self.statuses: dict[str, Callable[[], list[dict[str, Any]]]] = {}
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.release = threading.Event()
        self.release.set()
        self.target = ""

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.configs.append(ModelServerConfig.from_proto(request.config))
        self.release.wait(20)
        if self.refuse:
            context.abort(*self.refuse)
        return ReloadConfigResponse(status={})

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
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
    """Run the command on the base; gives exit code, output and error output. There is no terminal."""
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


# What is shown, and what is sent.


def test_the_difference_is_shown_and_the_whole_is_sent(reload: Any, server: ModelServer, base: Path) -> None:
    code, out, err = reload("--yes", "--add", "bert=/models/bert@latest:2", "--label", "resnet:canary=2")
    assert (code, err) == (0, "")
    assert out == (
        f"changes to {base}:\n"
        "~ resnet: label canary none -> 2\n"
        "+ bert: /models/bert, latest 2\n"
        f"{server.target} took the configuration\n"
    )
    (sent,) = server.configs
    assert sent.names == ("resnet", "old", "bert")
    assert sent["resnet"].labels == {"stable": 1, "canary": 2}


def test_without_changes_the_file_is_sent_as_it_is_and_shown(reload: Any, server: ModelServer, base: Path) -> None:
    code, out, _ = reload("--yes")
    assert code == 0
    assert out.splitlines()[:4] == [
        f"no changes to {base}",
        "the whole configuration:",
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
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"changes to {base}:"
    assert out.splitlines()[-1] == change
    assert server.configs == []
    assert base.read_bytes() == before


def test_changes_that_cannot_be_made_end_with_2(reload: Any, server: ModelServer) -> None:
    for edits, message in [
        (("--add", "b"), "--add b: expected NAME=PATH"),
        (("--add", "b=models/b"), "model 'b': expected an absolute base path"),
        (("--add", "b=/m@lates:2"), "expected latest:N, all or versions:1,2 after the @, got 'lates:2'"),
        (("--add", "b=/m@latest:0"), "expected a number of versions"),
        (("--add", "b=/m@versions:1,"), "expected version numbers, got ''"),
        (("--add", "b=/m@latest"), "expected latest:N"),
        (("--add", "old=/m"), "there is a model 'old' already; --serve gives it other versions"),
        (("--platform", "old"), "expected NAME=PLATFORM"),
        (("--platform", "b=python"), "there is no model 'b'; --add b=PATH comes before its platform"),
        (("--remove", "none"), "--remove none: no model 'none'; there are: resnet, old"),
        (("--serve", "old"), "expected NAME@latest:N"),
        (("--serve", "none@all"), "no model 'none'"),
        (("--label", "resnet=1"), "expected NAME:LABEL=VERSION"),
        (("--label", "resnet:stable=one"), "expected a version number, got 'one'"),
        (("--unlabel", "resnet"), "expected NAME:LABEL"),
        (("--unlabel", "resnet:canary"), "model 'resnet' has no label 'canary'; there are: stable"),
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
def test_a_yes_sends(reload: Any, server: ModelServer, monkeypatch: Any, answer: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    code, out, err = reload()
    assert (code, err) == (0, f"Replace the whole configuration of {server.target}? [y/N] ")
    assert out.endswith("took the configuration\n")
    assert len(server.configs) == 1


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_anything_else_sends_nothing_and_ends_with_7(
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


def test_without_a_terminal_nobody_is_asked(reload: Any, server: ModelServer) -> None:
    code, out, err = reload()
    assert (code, out) == (2, "")
    assert "give --yes, or --dry-run" in line(err)
    assert server.configs == []


# Saving.


def test_the_new_configuration_is_saved_where_the_old_one_was(reload: Any, server: ModelServer, base: Path) -> None:
    base.chmod(0o640)
    link = base.with_name("current")
    link.symlink_to(base.name)
    code, out, _ = reload("--yes", "--remove", "old", "--save", link)
    assert code == 0
    assert out.endswith(f"saved as {link}\n")
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


def test_what_the_server_refuses_is_not_saved(reload: Any, server: ModelServer, base: Path) -> None:
    server.refuse = grpc.StatusCode.FAILED_PRECONDITION, LABEL_REFUSED
    code, _, err = reload("--yes", "--label", "resnet:stable=2", "--save", base)
    assert code == 4
    assert LABEL_REFUSED in line(err)
    assert "reload without the label, --wait, then give it" in err
    assert base.read_text() == BASE
    assert os.listdir(base.parent) == ["models.config"]


def test_what_the_server_took_is_saved_even_if_it_cannot_load_it(reload: Any, server: ModelServer, base: Path) -> None:
    failed = {"version": 1, "state": END, "status": {"error_code": 5, "error_message": "no saved_model.pb"}}
    server.statuses = {"resnet": lambda: [{"version": 1, "state": AVAILABLE}], "old": lambda: [failed]}
    code, out, err = reload("--yes", "--serve", "old@all", "--save", base, "--wait")
    assert code == 4
    assert out.endswith(f"took the configuration\nsaved as {base}\n")
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
    assert out.endswith("took the configuration\nevery model is served as configured\n")
    assert time.monotonic() > loaded
    assert len(server.configs) == 1


def test_wait_says_what_lacks_when_time_is_over(reload: Any, server: ModelServer) -> None:
    server.statuses = {"resnet": lambda: [{"version": 1, "state": START}]}
    code, _, err = reload("--yes", "--wait", "--timeout", 0.4)
    assert code == 5
    assert "within 0.4 s the server did not serve resnet: version 1 (label stable) is START; old: no version" in line(
        err
    )


def test_a_server_that_does_not_answer_may_have_taken_it_all_the_same(reload: Any, server: ModelServer) -> None:
    server.release.clear()
    code, _, err = reload("--yes", "--timeout", 0.2)
    assert code == 5
    assert "may have taken the configuration all the same: tfs-admin status tells" in line(err)
    assert err.endswith("--timeout S sets another limit.\n")


def test_models_that_did_not_load_may_be_configured_all_the_same(reload: Any, server: ModelServer) -> None:
    server.refuse = grpc.StatusCode.UNKNOWN, "1 model(s) did not become available: {{{name: old version: 1}}, }"
    code, _, err = reload("--yes")
    assert code == 4
    assert "may have taken the configuration all the same" in line(err)


def test_time_begins_after_the_question(reload: Any, server: ModelServer, monkeypatch: Any) -> None:
    class Slow(Terminal):
        def readline(self, size: int | None = -1, /) -> str:
            time.sleep(0.35)
            return "y\n"

    monkeypatch.setattr("sys.stdin", Slow())
    assert reload("--timeout", 0.3)[0] == 0


def test_a_reader_that_has_enough_does_not_keep_it_from_being_sent(server: ModelServer, base: Path) -> None:
    code = "from tfs_client.cli.admin import script; script()"
    arguments = ["reload", "--yes", "--server", server.target, "--config", str(base), "--save", str(base)]
    command = [sys.executable, "-c", code, *arguments, "--remove", "old"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()  # before the difference is shown
        assert ran.stderr.read() == b""
    assert ran.returncode == 0
    assert server.configs == [known(base)]
