"""Readers of the files under examples/ that deploy a server."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCKERFILE = EXAMPLES / "container" / "Dockerfile"
ENTRYPOINT = EXAMPLES / "container" / "entrypoint.sh"
UNIT = EXAMPLES / "systemd" / "tfs-serve.service"
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
SERVERS = [path for path in MANIFESTS if path.name.endswith("-serving.yaml")]

_INSTRUCTION = re.compile(r"(ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|RUN|USER|WORKDIR) (\S.*)")
_SECONDS = {"": 1, "s": 1, "min": 60}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text()).splitlines()
    found = [(_INSTRUCTION.fullmatch(line), line) for line in lines if line and not line.startswith("#")]
    assert all(matched for matched, _ in found), found
    return [(matched[1], matched[2]) for matched, _ in found if matched]


def instruction(name: str) -> str:
    """The only instruction of a name."""
    (found,) = (text for other, text in instructions() if other == name)
    return found


def image_environment() -> dict[str, str]:
    """What the Dockerfile sets by ENV."""
    return dict(text.split("=", 1) for name, text in instructions() if name == "ENV")


def entrypoint_arguments(folder: Path, *arguments: str, **environment: str) -> list[str]:
    """What the container's entrypoint passes to tfs-serve. Writes a program of that name into the folder."""
    program = folder / "tfs-serve"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [ENTRYPOINT, *arguments],
        env={"PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.splitlines()


def documents(path: Path) -> dict[str, Any]:
    """The manifests in a file by kind."""
    import yaml  # here, so that an environment without it can still collect the peer tests

    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text())}


def pod(path: Path) -> dict[str, Any]:
    """The pod of the Deployment in a file."""
    return dict(documents(path)["Deployment"]["spec"]["template"]["spec"])


def container(path: Path) -> dict[str, Any]:
    """The one container of the Deployment in a file."""
    (found,) = pod(path)["containers"]
    return dict(found)


def unit() -> configparser.ConfigParser:
    """The unit for systemd, continued lines joined."""
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.read_string(re.sub(r"\\\n\s*", "", UNIT.read_text()))
    return parser


def unit_command() -> list[str]:
    """What the unit starts."""
    return shlex.split(unit()["Service"]["ExecStart"])


def seconds(text: str) -> int:
    """A time span of a unit."""
    matched = re.fullmatch(r"(\d+)(s|min)?", text)
    assert matched, text
    return int(matched[1]) * _SECONDS[matched[2] or ""]


def stop_seconds(flags: Any) -> float:
    """How long an orderly stop may take: the drain, the grace for calls, and that for unloads, which is at least 5."""
    grace: float = flags.shutdown_grace_seconds
    return float(flags.drain_seconds) + grace + max(grace, 5)
