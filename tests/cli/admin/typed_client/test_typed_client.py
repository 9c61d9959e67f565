"""tfs-admin typed-client: the module is code that works, whatever the names are, and its contract can be checked."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hostile_names
import numpy as np
import pytest

from tfs_client import (
    AsyncPredictClient,
    NotFoundError,
    PredictClient,
    Signature,
    SignatureError,
    Signatures,
    TensorSpec,
)
from tfs_client._codec.dtypes import ROWS
from tfs_client.cli.admin.typed_client import committed_module
from tfs_client.cli.admin.typed_client.module_text import default_name, module_text
from tfs_client.testing import FakeServer

COMMITTED = Path(__file__).parents[3] / "typing" / "typed_model.py"
ROWS_OF_TWO, VECTOR = TensorSpec("float32", (None, 2)), TensorSpec("float32", (None,))
TEXT, EXAMPLES = TensorSpec("string", (None,)), TensorSpec("string", (None,), tensor_name="examples:0")

_numbers = itertools.count()


def loaded(text: str, folder: Path) -> ModuleType:
    """Import a generated module."""
    path = folder / f"generated_{next(_numbers)}.py"
    path.write_bytes(text.encode())
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look it up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    """A model with the signatures of tests/typing/typed_model.py."""
    with FakeServer() as server:
        server.add_model(
            "demo",
            lambda x, factor: {"sum": x.sum(axis=1) * factor, "name": np.array([b"row"] * len(x), object)},
            inputs={"x": ROWS_OF_TWO, "factor": TensorSpec("float32", ())},
            outputs={"sum": VECTOR, "name": TEXT},
            defaults={"factor": np.float32(1)},
        )
        server.add_model(
            "demo",
            lambda inputs: {"scores": np.tile(np.array([[0.25, 0.75]], np.float32), (len(inputs), 1))},
            inputs={"inputs": EXAMPLES},
            outputs={"scores": ROWS_OF_TWO},
            signature="classify",
            method_name="tensorflow/serving/classify",
        )
        server.add_model(
            "demo",
            lambda inputs: {"outputs": np.full(len(inputs), 2.5, np.float32)},
            inputs={"inputs": EXAMPLES},
            outputs={"outputs": VECTOR},
            signature="regress-it",
            method_name="tensorflow/serving/regress",
        )
        yield server


@pytest.fixture
def typed(run: Any, server: FakeServer, tmp_path: Path) -> ModuleType:
    """The module that the command writes for the model."""
    path = tmp_path / "m.py"
    ran = run("typed-client", "demo", "--server", server.target, "-o", path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{path}: DemoClient and AsyncDemoClient, with 3 signatures of demo at {server.target}\n"
    return loaded(path.read_text(), tmp_path)


# The code.


def test_the_committed_module_is_what_the_command_writes(run: Any, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    for target in (server.target, server.rest_url):
        assert run("typed-client", "demo", "--server", target, "-o", path).code == 0
        assert path.read_text() == COMMITTED.read_text()


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_blocking_calls(typed: Any, server: FakeServer, transport: str) -> None:
    with PredictClient(server.target if transport == "grpc" else server.rest_url, model="demo") as client:
        demo = typed.DemoClient(client)
        demo.check()
        found = demo.serving_default(x=[[1, 2], [3, 4]], factor=1, timeout=20)
        assert (found.sum.dtype, found.sum.tolist()) == (np.float32, [3.0, 7.0])
        assert found.name.tolist() == [b"row", b"row"]
        found = demo.serving_default(x=np.ones((1, 2)), factor=3, version=1)  # float64
        assert found.sum.tolist() == [6.0]
        if transport == "grpc":  # over REST, inputs have no defaults
            assert demo.serving_default(x=[[1, 2]]).sum.tolist() == [3.0]
        assert demo.classify([{"a": 1.0}]).classes[0][1].score == 0.75
        assert demo.regress_it([{"a": 1.0}, {"a": 2.0}], metadata={"a": "b"}).values == (2.5, 2.5)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_asyncio_calls(typed: Any, server: FakeServer, transport: str) -> None:
    async def call() -> Any:
        target = server.target if transport == "grpc" else server.rest_url
        async with AsyncPredictClient(target, model="demo", signatures=typed.SIGNATURES) as client:
            demo = typed.AsyncDemoClient(client)
            await demo.check()
            assert (await demo.regress_it([{"a": 1.0}])).values == (2.5,)
            assert (await demo.classify([{"a": 1.0}])).classes[0][0].score == 0.25
            return await demo.serving_default(x=[[1, 2]], factor=2)

    assert asyncio.run(call()).sum.tolist() == [6.0]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"x": [1, 2]}, "expected 2 axes, got 1"),
        ({"x": [[1, 2, 3]]}, "expected size 2 on axis 1, got 3"),
        ({"x": [["a", "b"]]}, "'x' expects float32"),
        ({"x": np.array([[1e300, 0]])}, "'x' expects float32"),
        ({"x": None}, "input 'x': expected a tensor, got None"),
    ],
)
def test_wrong_inputs_are_refused_before_they_are_sent(typed: Any, inputs: Any, text: str) -> None:
    with PredictClient("localhost:1") as client, pytest.raises((SignatureError, ValueError), match=text):
        typed.DemoClient(client).serving_default(**inputs)


def test_outputs_that_differ_from_the_contract_are_refused(tmp_path: Path, server: FakeServer) -> None:
    other = Signature({"x": ROWS_OF_TWO}, {"sum": TensorSpec("float64", (None,)), "name": TEXT, "more": TEXT})
    module: Any = loaded(module_text(Signatures({"serving_default": other}, model="demo", version=1), "Demo"), tmp_path)
    with PredictClient(server.target) as client:
        with pytest.raises(SignatureError, match=r"'sum': expected float64 \(\?,\), got float32 \(1,\)") as error:
            module.Demo(client).serving_default(x=[[1, 2]])
        assert "output 'more' is missing" in str(error.value)
    for stated in (None, module.SIGNATURES):  # what the client was given says nothing about the server
        with (
            PredictClient(server.target, model="demo", signatures=stated) as client,
            pytest.raises(SignatureError, match=r"the model's signatures have changed: .*'more' is missing"),
        ):
            module.Demo(client).check()


def test_another_model_of_the_server(typed: Any, server: FakeServer) -> None:
    with PredictClient(server.target, model="demo") as client, pytest.raises(NotFoundError, match="other"):
        typed.DemoClient(client, model="other").serving_default(x=[[1, 2]])


# Names and formatting.


def test_hostile_names_do_not_become_code(tmp_path: Path) -> None:
    found = hostile_names.signatures()
    text = module_text(found, default_name(found.model))
    module: Any = loaded(text, tmp_path)
    assert found.model == module.MODEL
    assert dict(found) == module.SIGNATURES
    client = getattr(module, default_name(found.model))
    methods = [name for name in vars(client) if not name.startswith("_") and name != "check"]
    assert len(methods) == len(found)
    assert module.EveryOutputs.__dataclass_fields__.keys().__len__() == len(hostile_names.NAMES)


def test_every_name_reaches_the_server_as_it_is(tmp_path: Path) -> None:
    names = [name for name in hostile_names.NAMES if name != "\ud800"]  # no text of protobuf
    vectors = dict.fromkeys(names, VECTOR)
    with FakeServer() as server, PredictClient(server.target) as client:
        server.add_model("m", lambda **given: {n: v + 1 for n, v in given.items()}, inputs=vectors, outputs=vectors)
        found = Signatures({"serving_default": Signature(vectors, vectors)}, model="m", version=1)
        module: Any = loaded(module_text(found, "M"), tmp_path)
        call = module.M(client).serving_default
        arguments = call.__code__.co_varnames[1 : len(names) + 1]
        outputs = call(**{argument: [number] for number, argument in enumerate(arguments)})
        assert sorted(float(vars(outputs)[field][0]) for field in vars(outputs)) == [n + 1.0 for n in range(len(names))]
        (sent,) = server.calls
        assert sent.inputs is not None
        assert set(sent.inputs) == set(names)


def test_the_order_of_names_does_not_change_the_module() -> None:
    found = hostile_names.signatures()
    backwards = Signatures(
        {
            name: Signature(
                dict(reversed(list(each.inputs.items()))),
                dict(reversed(list(each.outputs.items()))),
                each.method_name,
                optional=each.optional,
            )
            for name, each in reversed(list(found.items()))
        },
        model=found.model,
        version=7,
    )
    assert module_text(backwards, "M") == module_text(found, "M")


def test_every_dtype_and_shape_survives(tmp_path: Path) -> None:
    shapes = (None, (), (None,), (1, None, 3), tuple(range(1, 40)))
    specs = {f"{row.name} {at}": TensorSpec(row, shape) for row in ROWS for at, shape in enumerate(shapes)}
    found = Signatures({"s": Signature(specs, specs)}, model="m", version=1)
    path = tmp_path / "m.py"
    path.write_text(module_text(found, "M"))
    committed = committed_module.read(str(path))
    assert committed is not None
    assert (committed.name, dict(committed.signatures)) == ("M", dict(found))
    assert dict(found) == loaded(committed.text, tmp_path).SIGNATURES


@pytest.mark.skipif(shutil.which("ruff", path=str(Path(sys.executable).parent)) is None, reason="needs ruff")
@pytest.mark.parametrize("width", [88, 120])
def test_formatters_leave_the_module_as_it_is(tmp_path: Path, width: int) -> None:
    long = {"a_rather_long_name_of_an_input_" * 2: TensorSpec("float32", (None, 1000, 1000, 1000, 3)), "x": VECTOR}
    found = {
        "a": Signature(long, long),
        "b": Signature({}, {}),
        "c": Signature({}, {'"': VECTOR, "'": VECTOR, "\"'": TEXT}),
    }
    texts = [COMMITTED.read_text(), module_text(Signatures(found, model="m", version=1), "M")]
    for number, text in enumerate(texts):
        (tmp_path / f"m{number}.py").write_text(text)
    ruff = Path(sys.executable).with_name("ruff")
    ran = subprocess.run(
        [ruff, "format", "--isolated", "--no-cache", "--diff", "--line-length", str(width), tmp_path],
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, "")


# The contract.


def test_the_contract_of_a_module_is_checked(run: Any, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(COMMITTED.read_text())
    ran = run("typed-client", "demo", "--server", server.target, "-o", path, "--check")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{path}: has the 3 signatures of demo at {server.target}\n"
    path.write_text(COMMITTED.read_text().replace('"sum": TensorSpec("float32"', '"sum": TensorSpec("float64"'))
    before = path.read_text()
    ran = run("typed-client", "demo", "--server", server.rest_url, "-o", path, "--check")
    assert (ran.code, ran.err) == (9, "")
    assert ran.out == (f"{path}: signature 'serving_default', output 'sum': expected float64 (?,), got float32 (?,)\n")
    assert path.read_text() == before


def test_edited_code_with_the_same_contract_is_noted(run: Any, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(COMMITTED.read_text().replace("see Options.", "see there."))
    ran = run("typed-client", "demo", "--server", server.target, "-o", path, "--check")
    assert ran.code == 0
    assert "is not what this version writes" in ran.line


def test_a_module_is_checked_against_json(run: Any, server: FakeServer, tmp_path: Path) -> None:
    shown = run("signatures", "--server", server.target, "--model", "demo", "--json").out
    (tmp_path / "contract.json").write_text(shown)
    path = tmp_path / "m.py"
    path.write_text(COMMITTED.read_text())
    assert run("typed-client", tmp_path / "contract.json", "-o", path, "--check").code == 0
    ran = run("typed-client", tmp_path / "contract.json", "--model", "other", "-o", path, "--check")
    assert (ran.code, ran.out) == (9, f"{path}: another model: expected 'demo', got 'other'\n")


def test_another_class_is_a_difference(run: Any, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(COMMITTED.read_text())
    ran = run("typed-client", "demo", "--server", server.target, "-o", path, "--check", "--name", "Other")
    assert (ran.code, ran.out) == (9, f"{path}: another class: expected Other, got DemoClient\n")


def test_a_byte_order_mark_and_ends_of_lines_are_no_difference(run: Any, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"\xef\xbb\xbf" + COMMITTED.read_bytes().replace(b"\n", b"\r\n"))
    ran = run("typed-client", "demo", "--server", server.target, "-o", path, "--check")
    assert (ran.code, ran.err) == (0, "")


def test_a_pipe_is_not_a_module(run: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.py")
    ran = run("typed-client", "demo", "-o", tmp_path / "m.py")
    assert ran.code == 2
    assert "expected a regular file, got a named pipe" in ran.line


def test_the_name_of_the_class_stays(run: Any, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    for arguments in (["--name", "Sums"], []):
        assert run("typed-client", "demo", "--server", server.target, "-o", path, *arguments).code == 0
        assert "\nclass Sums:" in path.read_text()
        assert "\nclass AsyncSums:" in path.read_text()


@pytest.mark.parametrize("name", ["class", "a b", "x();", "_x", "Options", "PredictClient", "größe", ""])
def test_names_of_classes_are_checked(run: Any, tmp_path: Path, name: str) -> None:
    ran = run("typed-client", "demo", "-o", tmp_path / "m.py", f"--name={name}")
    assert (ran.code, ran.out) == (2, "")
    assert "--name" in ran.line


@pytest.mark.parametrize(
    "content", [b"print(1)\n", b"MODEL = 1\nSIGNATURES = {**x}\n", b"def (", b"\xff", b"(" * 5000, b"SIGNATURES = 1"]
)
def test_another_file_is_not_replaced(run: Any, server: FakeServer, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(content)
    ran = run("typed-client", "demo", "--server", server.target, "-o", path)
    assert (ran.code, ran.out) == (2, "")
    assert "expected a module that tfs-admin typed-client has written" in ran.line
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["./m", "--server", "x:1"], "'./m' is a path, and --server is for a model of a server"),
        (["./m", "--version", "1"], "--version is for a model of a server"),
        (["m", "--model", "n"], "--model names the model at a path"),
        (["./nothing"], "'./nothing' cannot be read as a model: No such file"),
    ],
)
def test_options_that_contradict_the_source(run: Any, tmp_path: Path, arguments: list[str], text: str) -> None:
    ran = run("typed-client", *arguments, "-o", tmp_path / "m.py")
    assert (ran.code, ran.out) == (2, "")
    assert text in ran.line


def test_a_check_needs_a_module(run: Any, tmp_path: Path) -> None:
    ran = run("typed-client", "demo", "-o", tmp_path / "m.py", "--check")
    assert ran.code == 2
    assert "does not exist: without --check, it is written" in ran.line
