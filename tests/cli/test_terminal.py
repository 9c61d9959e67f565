"""Texts of servers and files reach no terminal as control characters, and inputs of any kind end in one line."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfs_client import InvalidArgumentError, StatusCode, TensorSpec
from tfs_client.cli.admin import report
from tfs_client.cli.predict import command
from tfs_client.cli.serve.log import Formatter
from tfs_client.results import ModelStatus, State, VersionStatus
from tfs_client.testing import FakeServer

EVIL = "cat\x1b]0;owned\x07\x9b31m\x7f\n  spoofed  0.99"

Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], fake_server: FakeServer) -> Run:
    def names(x: np.ndarray) -> dict[str, np.ndarray]:
        if x[0] < 0:
            raise InvalidArgumentError(EVIL)
        return {"names": np.array([EVIL.encode()], object), "scores": np.array([0.5], np.float32)}

    specs = {"names": TensorSpec("string", (None,)), "scores": TensorSpec("float32", (None,))}
    fake_server.add_model("m", names, inputs={"x": TensorSpec("float32", (None,))}, outputs=specs)

    def run(*arguments: str) -> Ran:
        code = command.main(["--server", fake_server.target, "--model", "m", *arguments])
        return (code, *capsys.readouterr())

    return run


def controls(text: str) -> set[str]:
    return {character for character in text if character != "\n" and not character.isprintable()}


def test_labels_of_a_server_stay_in_their_line_without_control_characters(run: Run) -> None:
    code, out, err = run("--input", "x=[1]")
    assert (code, err) == (0, "")
    assert not controls(out)
    assert r"cat\x1b]0;owned\x07\x9b31m\x7f\n  spoofed  0.99  0.5000" in out.splitlines()[1]


def test_json_is_exact_and_has_no_control_characters(run: Run) -> None:
    _, out, _ = run("--input", "x=[1]", "--json")
    assert not controls(out)
    assert json.loads(out)["top"] == [{"label": EVIL, "score": 0.5}]


def test_errors_of_a_server_are_one_line_without_control_characters(run: Run) -> None:
    code, _, err = run("--input", "x=[-1]")
    assert code == 4
    assert not controls(err)
    assert err.count("\n") == 1
    assert r"\x1b]0;owned\x07" in err


def test_tables_of_tfs_admin_keep_every_row_in_its_line() -> None:
    status = ModelStatus("m\x1b[2J\nother", (VersionStatus(1, State.END, StatusCode.UNKNOWN, "\x1b[31mbroken"),))
    (line,) = report.status(status, as_json=False).splitlines()
    assert not controls(line)
    assert json.loads(report.status(status, as_json=True))["model"] == "m\x1b[2J\nother"


def test_a_line_of_the_log_is_one_line() -> None:
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "no model %s", ("\x1b[31m\nE spoofed",), None)
    line = Formatter().format(record)
    assert "\n" not in line
    assert line.endswith(r"] no model \x1b[31m\nE spoofed")


# --- inputs ------------------------------------------------------------------------------------------------------


def npy(header: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + body


def header(shape: str, dtype: str = "<f4") -> str:
    return repr({"descr": dtype, "fortran_order": False, "shape": 0}).replace(" 0}", f" {shape}}}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(header("(1 << 40,)")), "is not a .npy file"),
        (npy(header(f"({1 << 40},)")), "is damaged: it declares float32 (1099511627776,)"),
        (npy(header("(5,)"), bytes(16)), "which takes 20 bytes, but has 16"),
        (npy(header(f"({1 << 60},)", "|S0")), "is damaged"),
        (npy(header("(-1,)"), bytes(16)), "declares an impossible shape"),
        (npy(header("(1,)", "|O"), b"cos\nsystem\n"), "it holds Python objects, which are not read"),
        (npy("(" * 9000), "is not a .npy file"),
        (npy("-" * 9000 + "1"), "is not a .npy file"),
        (b"PK\x03\x04" + bytes(30), "is an archive of arrays"),
        (b"", "is not a .npy file"),
    ],
)
def test_a_file_without_an_array_is_one_line_of_error(run: Run, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    code, out, err = run("--input", f"x=@{tmp_path / 'x.npy'}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "[" + "9" * 5000 + "]", "[" * 70 + "]" * 70, "\x1b"])
def test_a_value_that_fits_no_tensor_is_one_short_line(run: Run, value: str) -> None:
    code, out, err = run("--input", f"x={value}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert len(err) < 4000
    assert not controls(err)


@pytest.mark.parametrize("content", [b"cat\0dog", b"\xff\xfe"])
def test_a_file_that_has_no_labels_is_one_line(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels").write_bytes(content)
    code, out, err = run("--input", "x=[1]", "--labels", str(tmp_path / "labels"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--labels" in err


@pytest.mark.parametrize("program", ["tfs-bench", "tfs-predict", "tfs-admin", "tfs-serve"])
@pytest.mark.parametrize(
    "arguments", [["--\x1b[31mx"], ["--y" * 3000], ["--port=" + "9" * 5000]], ids=["escape", "long", "digits"]
)
def test_wrong_arguments_are_quoted_in_short_and_without_control_characters(program, arguments, capfd):
    from tfs_client.cli.admin.command import main as admin
    from tfs_client.cli.bench.command import main as bench
    from tfs_client.cli.predict.command import main as predict
    from tfs_client.cli.serve.command import main as serve

    main = {"tfs-bench": bench, "tfs-predict": predict, "tfs-admin": admin, "tfs-serve": serve}[program]
    try:
        code = main(arguments if program != "tfs-admin" else ["status", *arguments])
    except SystemExit as end:
        code = end.code
    assert code
    for text in capfd.readouterr():
        assert "\x1b" not in text
        assert max(map(len, text.split("\n"))) < 4200
