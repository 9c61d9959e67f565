"""How to run TensorFlow's model server: its program, or its Docker image."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tfs_client.errors import ConfigError
from tfs_client.model_config import ModelConfig, ModelServerConfig

PROGRAM = "tensorflow_model_server"
IMAGE = "tensorflow/serving"
DOCKER_TIMEOUT = 10.0  # seconds; a Docker client without a daemon may wait for long


@dataclass(frozen=True)
class ServedPath:
    """A model and where it is.

    Attributes:
        path: its base path, with a directory for each version; or one version.
        version: the number of the one version; None for a base path.
    """

    name: str
    path: Path
    version: int | None


@dataclass(frozen=True)
class Launch:
    """A command that runs the server, and one that removes what may be left of it; empty: none."""

    command: list[str]
    cleanup: list[str] = field(default_factory=list)


class ModelServerCommand(Protocol):
    """A way to run the model server."""

    def launch(
        self, models: Sequence[ServedPath], directory: Path, ports: tuple[int, int], arguments: Sequence[str]
    ) -> Launch:
        """Return what to run.

        Args:
            directory: an empty directory for files of the server.
            ports: free ports for gRPC and REST.
            arguments: further flags of the server.
        """


class NativeCommand:
    """The program on this machine."""

    def __init__(self, program: str) -> None:
        self._program = program

    def launch(
        self, models: Sequence[ServedPath], directory: Path, ports: tuple[int, int], arguments: Sequence[str]
    ) -> Launch:
        """See ModelServerCommand. The model server only loads versions in a base path, so single ones get a link."""
        bases = []
        for place, model in enumerate(models):
            base = model.path
            if model.version is not None:
                base = directory / f"model{place}"
                base.mkdir()
                (base / str(model.version)).symlink_to(model.path, target_is_directory=True)
            bases.append(str(base))
        config = _write_config(directory, models, bases)
        flags = [f"--port={ports[0]}", f"--rest_api_port={ports[1]}", f"--model_config_file={config}"]
        return Launch([self._program, *flags, *arguments])


class DockerCommand:
    """The image in Docker."""

    def __init__(self, docker: str, image: str) -> None:
        self._docker = docker
        self._image = image

    def launch(
        self, models: Sequence[ServedPath], directory: Path, ports: tuple[int, int], arguments: Sequence[str]
    ) -> Launch:
        """See ModelServerCommand."""
        bases = [f"/models/model{place}" for place in range(len(models))]
        config = _write_config(directory, models, bases)
        name = f"tfs-client-{uuid.uuid4().hex}"
        options = ["--rm", "--name", name]
        for port, inside in zip(ports, (8500, 8501), strict=True):
            options += ["--publish", f"127.0.0.1:{port}:{inside}"]
        options += _mount(config, "/models/models.config")
        for base, model in zip(bases, models, strict=True):
            options += _mount(model.path, base if model.version is None else f"{base}/{model.version}")
        command = [self._docker, "run", *options, self._image, "--model_config_file=/models/models.config", *arguments]
        return Launch(command, [self._docker, "rm", "--force", name])


def find_command(image: str = IMAGE) -> ModelServerCommand:
    """Return the way to run the server that this machine offers: the program comes first.

    Raises ConfigError, with the reasons, if it offers none.
    """
    program = shutil.which(PROGRAM)
    if program is not None:
        return NativeCommand(program)
    docker = shutil.which("docker")
    if docker is None:
        raise ConfigError(f"found neither {PROGRAM} nor docker on PATH: install one of them")
    try:
        done = subprocess.run(
            [docker, "version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=DOCKER_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{PROGRAM} is not on PATH, and docker does not answer: {error}") from None
    if done.returncode:
        raise ConfigError(f"{PROGRAM} is not on PATH, and `docker version` fails: is Docker's daemon running?")
    return DockerCommand(docker, image)


def _write_config(directory: Path, models: Sequence[ServedPath], bases: Sequence[str]) -> Path:
    config = ModelServerConfig(ModelConfig(model.name, base) for model, base in zip(models, bases, strict=True))
    file = directory / "models.config"
    file.write_text(config.to_text(), encoding="utf-8")
    return file


def _mount(source: Path, target: str) -> list[str]:
    return ["--mount", f"type=bind,source={source},target={target},readonly"]
