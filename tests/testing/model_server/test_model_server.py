"""ModelServer with tfs-serve under the name of the real program, and without either."""

from __future__ import annotations

import os
import stat
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from served_program import put_scale

import tfs_client
from tfs_client import ClosedError, ConfigError, PredictClient
from tfs_client.testing import ModelServer

PATIENCE = 30  # seconds

# The real server loads SavedModels; this one loads Python models in the same place.
PROGRAM = """\
#!{python}
import pathlib, sys
sys.path.insert(0, {root!r})
config = next(pathlib.Path(each.partition("=")[2]) for each in sys.argv if each.startswith("--model_config_file="))
config.write_text(config.read_text().replace('"tensorflow"', '"python"'))
from tfs_client.cli.serve.command import script
script()
"""


def install(folder: Path, text: str, name: str = "tensorflow_model_server") -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The only directory on PATH, with a program that serves."""
    folder = tmp_path / "bin"
    root = str(Path(tfs_client.__file__).parents[1])
    install(folder, PROGRAM.format(python=sys.executable, root=root))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def exit_code_in_a_fork(function) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads
        child = os.fork()
    if not child:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_models_are_served_over_both_transports_until_it_is_stopped(programs, tmp_path):
    put_scale(tmp_path / "scale", 3, 2.0)
    server = ModelServer(timeout=PATIENCE).add_saved_model(tmp_path / "scale")
    try:
        for target in (server.target, server.rest_url):
            with PredictClient(target, model="scale", timeout=PATIENCE) as client:
                assert client.predict({"x": np.float32([1, 2])}).array.tolist() == [2, 4]
                assert client.status().versions[0].version == 3
        assert "Running gRPC ModelServer" in server.log
        with pytest.raises(ConfigError, match="the model server is running: add its models before"):
            server.add_saved_model(tmp_path / "scale", name="again")
        target, supervisor = server.target, server._process._process.pid
        assert exit_code_in_a_fork(server.stop) == 0
        assert is_alive(supervisor)
        assert server._process._directory.is_dir()
    finally:
        server.stop()
    server.stop()
    assert not is_alive(supervisor)
    assert "Running gRPC ModelServer" in server.log
    with pytest.raises(ClosedError, match=r"not running: start\(\) it again"):
        _ = server.rest_url
    with PredictClient(target, model="scale", timeout=2) as client:
        assert not client.is_ready()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("echo not today; exit 7", "ended with the exit code 7; the end of its log:\nnot today"),
        ("exec /no/such/program", "ended with the exit code 127; the end of its log"),
    ],
)
def test_a_server_that_ends_is_reported_with_its_log(programs, tmp_path, body, text):
    install(programs, f"#!/bin/sh\n{body}\n")
    put_scale(tmp_path / "scale", 1, 2.0)
    server = ModelServer(timeout=PATIENCE).add_saved_model(tmp_path / "scale")
    with pytest.raises(ConfigError) as caught:
        server.start()
    assert text in str(caught.value)


def test_without_program_and_docker_the_reason_is_given(programs):
    assert ModelServer.missing() == ""
    (programs / "tensorflow_model_server").unlink()
    assert "found neither tensorflow_model_server nor docker on PATH" in ModelServer.missing()
    install(programs, "#!/bin/sh\nexit 1\n", "docker")
    assert "`docker version` fails: is Docker's daemon running?" in ModelServer.missing()


def test_names_of_models_follow_their_paths(tmp_path):
    put_scale(tmp_path / "base", 7, 1.0)
    export = tmp_path / "export"
    export.mkdir()
    server = ModelServer().add_saved_model(tmp_path / "base")
    with pytest.raises(ConfigError, match="export, which is empty"):
        server.add_saved_model(export)
    (export / "saved_model.pb").touch()
    server.add_saved_model(export).add_saved_model(tmp_path / "base" / "7", name="seven")
    assert [(model.name, model.version) for model in server._models] == [("base", None), ("export", 1), ("seven", 7)]
    for path, text in ((tmp_path / "base" / "7", "'base' was added already"), (tmp_path / "none", "expected the dir")):
        with pytest.raises(ConfigError, match=text):
            server.add_saved_model(path)
    with pytest.raises(ConfigError, match="no models: call add_saved_model first"):
        ModelServer().start()


@pytest.mark.parametrize("timeout", [float("nan"), -1, 0, "1"])
def test_an_invalid_timeout_is_refused(timeout):
    with pytest.raises(ConfigError, match="expected a timeout in seconds above 0"):
        ModelServer(timeout=timeout)


DOCKER = """\
#!{python}
import os, sys
if sys.argv[1] != "run":
    sys.exit(0)
print("docker", *sys.argv[1:], flush=True)
os._exit(3)
"""


def test_docker_gets_ports_and_models(programs, tmp_path):
    (programs / "tensorflow_model_server").unlink()
    install(programs, DOCKER.format(python=sys.executable), "docker")
    put_scale(tmp_path / "scale", 1, 2.0)
    server = ModelServer(timeout=PATIENCE, image="tensorflow/serving:2.19.0", arguments=["--flag"])
    server.add_saved_model(tmp_path / "scale").add_saved_model(tmp_path / "scale" / "1", name="one")
    with pytest.raises(ConfigError, match="exit code 3"):
        server.start()
    scale = tmp_path / "scale"
    for part in (
        "docker run --rm --name tfs-client-",
        ":8500 --publish 127.0.0.1:",
        f"--mount type=bind,source={scale},target=/models/model0,readonly",
        f"--mount type=bind,source={scale}/1,target=/models/model1/1,readonly",
        "target=/models/models.config,readonly",
        " tensorflow/serving:2.19.0 --model_config_file=/models/models.config --flag",
    ):
        assert part in server.log
