"""Rows of whole processes, from start to exit: imports, a first call, one JPEG; and the size of what is installed."""

from __future__ import annotations

import compileall
import functools
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from comparison.alternation import Times
from comparison.catalogue import OWN, RAW_GRPC, Library
from comparison.environments import ROOT, python_of, variables
from comparison.messages import messages
from comparison.rows import Call
from comparison.servers import Servers
from tfs_client import PredictClient
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec

PATIENCE = 180  # seconds for a process
PROGRAMS = Path(__file__).parent / "whole_programs"
PICTURE = ROOT / "examples" / "pupper.jpg"
COMMAND = "from tfs_client.cli.predict.command import script; raise SystemExit(script())"  # as the installed command
IMPORTS = {
    "raw_grpc": "import grpc, numpy",
    "own": "from tfs_client import PredictClient",
    "tensorflow_client": "import tensorflow; from tensorflow_serving.apis import prediction_service_pb2_grpc",
    "ovms": "import ovmsclient",
    "triton": "import tritonclient.grpc",
}
SUFFIXES = {
    "raw_grpc": "raw_grpc",
    "own": "tfs_client",
    "tensorflow_client": "tensorflow",
    "ovms": "ovmsclient",
    "triton": "tritonclient",
}


class FailedRunError(Exception):
    """A process failed, or printed something else than it should."""


@dataclass
class Commands:
    """The commands of a row, by library, and what each must print; raw gRPC prints the bytes of the reply."""

    name: str
    arguments: dict[Library, list[str]] = field(default_factory=dict)
    unsupported: dict[str, str] = field(default_factory=dict)
    printed: str = ""
    printed_raw: str = ""


def taking_part(libraries: Sequence[Library]) -> list[Library]:
    """One way of using each library; over gRPC, or at least not only over REST."""
    return [library for library in libraries if library.module in IMPORTS and library.arguments != ("empty",)]


def process_rows(
    libraries: Sequence[Library], servers: Servers, wanted: Callable[[str], bool], rounds: int
) -> list[dict[str, Any]]:
    """Measure the rows of whole processes that ``wanted`` accepts."""
    for tree in {library.tree for library in libraries if library.module == "own"}:
        package = (tree or ROOT) / "tfs_client"
        compileall.compile_dir(package, quiet=1)  # like an installed package; a checkout may not be compiled
    makers = {"import": _imports, "first call": _first_calls, "one JPEG": _pictures}
    found = []
    for name, make in makers.items():
        if wanted(f"process/{name}"):
            with TemporaryDirectory() as directory:
                commands = make(taking_part(libraries), servers, Path(directory))
                found.append(_measured(commands, Path(directory), rounds))
    return found


def _imports(libraries: Sequence[Library], servers: Servers, directory: Path) -> Commands:
    return Commands("import", {one: [_python(one), "-c", IMPORTS[one.module]] for one in libraries})


def _first_calls(libraries: Sequence[Library], servers: Servers, directory: Path) -> Commands:
    call = Call((10,), reply="content", output=(10,))
    ready = messages(call)
    x = np.arange(10, dtype=np.float32)
    (directory / "request").write_bytes(predict_messages.write_request(ModelSpec("m"), {"x": x}))
    servers.answer(call, ready)
    commands = Commands("first call", printed=" ".join(f"{value:.4f}" for value in ready.outputs["y"]))
    for one in libraries:
        program = str(PROGRAMS / f"first_call_{SUFFIXES[one.module]}.py")
        target = servers.target(call, one.kserve)
        commands.arguments[one] = [_python(one), program, target, *_request(one, directory)]
    commands.printed_raw = ready.reply.hex()
    return commands


def _pictures(libraries: Sequence[Library], servers: Servers, directory: Path) -> Commands:
    from PIL import Image

    pixels = np.asarray(Image.open(PICTURE).convert("RGB"))[None]
    (directory / "request").write_bytes(predict_messages.write_request(ModelSpec("colors"), {"image": pixels}))
    target = servers.tiny[0]
    with PredictClient(target, model="colors") as client:
        answer = client.predict({"image": pixels})
    best = answer["classes"][0][int(answer["scores"][0].argmax())]
    commands = Commands("one JPEG", printed=best.decode(), printed_raw=best.decode())
    for one in libraries:
        if one.kserve:
            commands.unsupported[one.name] = "it does not speak TensorFlow Serving's protocol"
        elif one.module == "own":
            options = ["--server", target, "--model", "colors", "--image", str(PICTURE), "--top", "1"]
            commands.arguments[one] = [_python(one), "-c", COMMAND, *options]
        else:
            program = str(PROGRAMS / f"picture_{SUFFIXES[one.module]}.py")
            commands.arguments[one] = [_python(one), program, target, str(PICTURE), *_request(one, directory)]
    return commands


def _request(library: Library, directory: Path) -> list[str]:
    return [str(directory / "request")] if library == RAW_GRPC else []


def _python(library: Library) -> str:
    return python_of(library.environment)


def _measured(commands: Commands, directory: Path, rounds: int) -> dict[str, Any]:
    """Run the commands in turn, and check what each run prints.

    Commands run in ``directory``: ``python -c`` imports from the current directory first, which may be a checkout.
    """
    found: dict[str, Any] = {"group": "process", "name": commands.name, "kind": "calls", "floor": RAW_GRPC.name}
    found |= {"pictures": None, "results": {}, "unsupported": commands.unsupported, "failed": {}}
    runs: dict[str, Callable[[], float]] = {}
    for library, arguments in commands.arguments.items():
        environment = variables(library.environment, library.tree) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        expected = commands.printed_raw if library == RAW_GRPC else commands.printed
        runs[library.name] = functools.partial(_run, arguments, environment, directory, expected)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(-1, rounds):  # the first is not counted
        names = [name for name in runs if name not in found["failed"]]
        for name in names[turn % len(names) :] + names[: turn % len(names)] if names else ():
            try:
                took = runs[name]()
            except FailedRunError as error:
                found["failed"][name] = str(error)
            else:
                times[name] += [took] if turn >= 0 else []
    measured = {name: Times([[one] for one in times[name]]) for name in runs if name not in found["failed"]}
    if (base := measured.get(RAW_GRPC.name)) is not None:
        found["results"] = {name: one.result(base) for name, one in measured.items()}
    return found


def _run(arguments: list[str], environment: dict[str, str], directory: Path, expected: str) -> float:
    """The seconds of one run. Raises FailedRunError, also if it prints something else than it should."""
    began = perf_counter()
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=PATIENCE, env=environment, cwd=directory, check=False
        )
    except subprocess.TimeoutExpired:
        raise FailedRunError(f"not done within {PATIENCE} s") from None
    took = perf_counter() - began
    if done.returncode:
        raise FailedRunError(f"exit code {done.returncode}: {done.stderr[-300:]}")
    if expected not in done.stdout:
        raise FailedRunError(f"expected {expected!r}, got {done.stdout[:300]!r}")
    return took


def size_row(libraries: Sequence[Library]) -> dict[str, Any]:
    """The installed size of each library with all that it requires; tfs_client's as its wheel has it, unpacked."""
    found: dict[str, Any] = {"group": "size", "name": "installed", "kind": "size", "floor": RAW_GRPC.name}
    found |= {"pictures": None, "results": {}, "unsupported": {}, "failed": {}}
    for library in taking_part(libraries):
        if library.tree is not None:
            continue
        program = [_python(library), str(Path(__file__).with_name("installed_sizes.py")), *library.packages]
        done = subprocess.run(
            program, capture_output=True, text=True, env=variables(library.environment), timeout=120, check=False
        )
        if done.returncode:
            found["failed"][library.name] = done.stderr[-300:]
            continue
        found["results"][library.name] = {"packages": json.loads(done.stdout)}
    if OWN.name in found["results"]:
        try:
            with TemporaryDirectory() as directory:
                wheels, unpacked = wheel_sizes(Path(directory))
            found["results"][OWN.name]["wheels"] = wheels
            found["results"][OWN.name]["packages"]["tfs-client"] = unpacked  # an editable install has no modules
        except subprocess.CalledProcessError as error:
            del found["results"][OWN.name]
            found["failed"][OWN.name] = (error.stderr.strip().splitlines() or ["pip failed"])[-1][:300]
    for one in found["results"].values():
        one["bytes"] = sum(one["packages"].values())
    return found


def wheel_sizes(directory: Path) -> tuple[dict[str, int], int]:
    """Bytes of tfs_client's wheel and of those of its dependencies; and of its wheel when it is unpacked.

    Raises CalledProcessError if pip fails.
    """
    from importlib.metadata import version
    from zipfile import ZipFile

    pip = [_python(OWN), "-m", "pip", "--disable-pip-version-check"]
    five = [f"{name}=={version(name)}" for name in ("grpcio", "protobuf", "numpy", "httpx", "pillow")]
    for command in (["wheel", "--no-deps", str(ROOT)], ["download", "--no-deps", "--only-binary", ":all:", *five]):
        where = "--wheel-dir" if command[0] == "wheel" else "--dest"
        run = [*pip, *command, "--quiet", where, str(directory)]
        subprocess.run(run, check=True, capture_output=True, text=True, timeout=300)
    sizes = {path.name.partition("-")[0]: path.stat().st_size for path in sorted(directory.glob("*.whl"))}
    own = next(directory.glob("tfs_client-*.whl"))
    with ZipFile(own) as wheel:
        return sizes, sum(entry.file_size for entry in wheel.infolist())
