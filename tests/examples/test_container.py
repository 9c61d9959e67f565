"""The container among the examples: its files agree, and its entrypoint is run. Its image is not built."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
from pathlib import Path

import pytest
from deployment_files import (
    DOCKERFILE,
    ENTRYPOINT,
    EXAMPLES,
    SERVERS,
    entrypoint_arguments,
    image_environment,
    instruction,
    instructions,
)
from served_program import put_scale, until
from tcp import free_port

from tfs_client import PredictClient
from tfs_client.cli.admin import arguments
from tfs_client.cli.serve import flags

ROOT = EXAMPLES.parent


def started(folder: Path, *arguments: str, **environment: str) -> flags.Arguments:
    """What tfs-serve makes of the arguments that the container gives it."""
    passed = entrypoint_arguments(folder, *arguments, **image_environment() | environment)
    read = flags.read(passed)
    assert (read.unknown, read.wrong) == ([], [])
    return read


def test_the_container_listens_at_all_addresses_on_the_images_ports(tmp_path: Path) -> None:
    flags = started(tmp_path).values
    assert (flags.host, flags.port, flags.rest_api_port) == ("0.0.0.0", 8500, 8501)
    assert flags.enable_grpc_healthcheck_service
    assert instruction("EXPOSE") == "8500 8501"


def test_the_model_comes_from_the_environment_as_in_tensorflow_serving(tmp_path: Path) -> None:
    flags = started(tmp_path).values
    assert (flags.model_name, flags.model_base_path) == ("model", "/models/model")
    flags = started(tmp_path, MODEL_NAME="res net", MODEL_BASE_PATH="/mnt").values
    assert (flags.model_name, flags.model_base_path) == ("res net", "/mnt/res net")


def test_arguments_override_the_environment(tmp_path: Path) -> None:
    flags = started(tmp_path, "--model_base_path=/other", "--port=9000").values
    assert (flags.model_name, flags.model_base_path, flags.port) == ("model", "/other", 9000)


@pytest.mark.parametrize("argument", ["--model_config_file=/m", "--embedded", "--embedded=true"])
def test_arguments_that_name_models_replace_the_base_path(tmp_path: Path, argument: str) -> None:
    assert started(tmp_path, argument).values.model_base_path == ""


@pytest.mark.parametrize("argument", ["--model_config_file=", "--embedded=false"])
def test_arguments_that_name_no_models_leave_the_base_path(tmp_path: Path, argument: str) -> None:
    assert started(tmp_path, argument).values.model_base_path == "/models/model"


def test_an_entrypoint_without_its_environment_fails_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        entrypoint_arguments(tmp_path)
    assert "MODEL_NAME" in failed.value.stderr


def test_tfs_serve_has_the_flags_that_the_pages_name() -> None:
    pages = (EXAMPLES / "README.md", EXAMPLES / "serving.py", ENTRYPOINT, *SERVERS)
    named = re.findall(r"--([a-z]+_[a-z_]+)", "\n".join(path.read_text() for path in pages))  # others are docker's
    assert {"model_name", "model_base_path", "enable_grpc_healthcheck_service"} <= set(named)
    assert set(named) <= {flag.name for flag in flags.FLAGS}


def test_the_container_does_not_run_the_server_as_root() -> None:
    assert int(instruction("USER")) > 0


def test_the_container_copies_files_that_exist_and_are_not_ignored() -> None:
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text()
    sources = [source for name, text in instructions() if name == "COPY" for source in text.split()[:-1]]
    assert "tfs_client" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}\n" in ignored, source


def test_the_entrypoint_can_be_executed() -> None:
    (path,) = json.loads(instruction("ENTRYPOINT"))
    assert ("COPY", f"{ENTRYPOINT.relative_to(ROOT)} {path}") in instructions()
    assert os.access(ENTRYPOINT, os.X_OK)


def test_the_extras_that_the_container_installs_exist() -> None:
    extras = instruction("ARG").removeprefix("EXTRAS=")
    project = (ROOT / "pyproject.toml").read_text()
    for extra in (extras, "tensorflow"):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def health_check() -> list[str]:
    """The command by which the container is found healthy."""
    return list(json.loads(instruction("HEALTHCHECK").partition("CMD ")[2]))


def test_the_health_check_asks_the_port_that_is_opened() -> None:
    assert health_check()[:2] == ["tfs-admin", "health"]
    assert arguments.parse(health_check()[1:]).server == "localhost:8500"


def context(folder: Path) -> Path:
    """The files that the ignore file lets through to a build."""
    everything, *patterns = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    assert everything == "*"
    assert [pattern for pattern in patterns if not pattern.startswith("!")] == ["**/__pycache__"]
    for name in (pattern[1:] for pattern in patterns if pattern.startswith("!")):
        copy(ROOT / name, folder / name)
    return folder


def copy(source: Path, target: Path) -> None:
    """Copy a file, or what is in a directory, as COPY does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def build(root: Path, venv: Path, files: Path) -> None:
    """Carry out the Dockerfile's COPY and ``pip install`` instructions, with a directory in the place of ``/``."""
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    folder, extras = root, instruction("ARG").removeprefix("EXTRAS=")
    for name, text in instructions():
        if name == "WORKDIR":
            folder = root / text.removeprefix("/")
            folder.mkdir(parents=True)
        elif name == "COPY":
            *sources, target = text.split()
            place = root / target.removeprefix("/") if target.startswith("/") else folder / target
            for source in sources:
                copy(files / source, place / source if target.endswith("/") else place)
        elif name == "RUN" and text.startswith("pip "):
            command = shlex.split(string.Template(text.partition(" && ")[0]).substitute(EXTRAS=extras))
            command.remove("--no-cache-dir")  # what it saves is for the image
            done = subprocess.run([venv / "bin" / command[0], *command[1:]], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            shutil.rmtree(folder)  # as after the "&&": what runs is what was installed


@pytest.mark.peer
def test_the_entrypoint_serves_a_model_with_the_dockerfiles_packages(tmp_path: Path) -> None:
    root, venv, models = tmp_path / "root", tmp_path / "venv", tmp_path / "models"
    build(root, venv, context(tmp_path / "context"))
    put_scale(models / "scale", 1, 3.0)
    port, rest_port = free_port(), free_port()
    (entrypoint,) = json.loads(instruction("ENTRYPOINT"))
    environment = {"PATH": f"{venv / 'bin'}:/usr/bin:/bin", **image_environment()}
    environment |= {"MODEL_NAME": "scale", "MODEL_BASE_PATH": str(models)}
    ports = ["--host=127.0.0.1", f"--port={port}", f"--rest_api_port={rest_port}"]  # a test stays on loopback
    command = [root / entrypoint.removeprefix("/"), *ports, "--model_platform=python"]
    check = [argument.replace(":8500", f":{port}") for argument in health_check()]
    check[0] = str(venv / "bin" / check[0])
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=log)
    try:
        until(
            lambda: subprocess.run(check, env=environment, cwd=tmp_path, capture_output=True).returncode == 0,
            lambda: server.poll() is None,
            (tmp_path / "log").read_text,
        )
        for target in (f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}"):
            with PredictClient(target, model="scale") as client:
                assert client.predict([1.0, 2.0]).array.tolist() == [3.0, 6.0]
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()
