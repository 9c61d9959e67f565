"""The half of scripts/gen_protos.sh that is Python: comparing and installing generated files."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gen_protos.py"
FRESH = {"schema.binpb": "schema", "a/__init__.py": "", "a/b_pb2.py": "B = 1\n", "a/b_pb2.pyi": "B: int\n"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("gen_protos", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh(script, tmp_path):
    return fill(tmp_path / "fresh", {name: marked(script, name, text) for name, text in FRESH.items()})


@pytest.fixture
def out(script, tmp_path, fresh):
    out = fill(tmp_path / "out", {"__init__.py": "by hand\n", "_pool.py": "by hand\n"})
    assert script.install(fresh, out) == 0
    return out


def marked(script, name, text):
    return text if name == script.SCHEMA else f"{script.MARK}\n{text}"


def fill(directory, files):
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def test_installed_files_pass_the_check(script, fresh, out, capsys):
    assert script.check(fresh, out) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", FRESH)
def test_changed_file_is_named(script, fresh, out, capsys, name):
    with (out / name).open("a", encoding="utf-8") as file:
        file.write("drift")
    assert script.check(fresh, out) == 1
    assert f"{out / name} differs" in capsys.readouterr().err


@pytest.mark.parametrize("name", FRESH)
def test_missing_file_is_named(script, fresh, out, capsys, name):
    (out / name).unlink()
    assert script.check(fresh, out) == 1
    assert f"{out / name} is missing" in capsys.readouterr().err


def test_file_that_lost_its_first_line_differs(script, fresh, out, capsys):
    (out / "a/b_pb2.py").write_text("B = 1\n", encoding="utf-8")
    assert script.check(fresh, out) == 1
    assert f"{out / 'a/b_pb2.py'} differs" in capsys.readouterr().err


def test_extra_generated_file_is_named_and_install_removes_it(script, fresh, out, capsys):
    fill(out, {"a/old_pb2.py": marked(script, "a/old_pb2.py", "")})
    assert script.check(fresh, out) == 1
    assert f"{out / 'a/old_pb2.py'} is not generated any more" in capsys.readouterr().err
    script.install(fresh, out)
    assert not (out / "a/old_pb2.py").exists()


def test_files_written_by_hand_are_left_alone(script, fresh, out):
    script.install(fresh, out)
    assert (out / "_pool.py").read_text(encoding="utf-8") == "by hand\n"
    assert script.check(fresh, out) == 0


def test_stub_imports_are_pointed_into_the_package(script, tmp_path):
    stub = tmp_path / "a_pb2.pyi"
    stub.write_text(
        "from google.protobuf import any_pb2 as _any_pb2\n"
        "from google.protobuf import message as _message\n"
        "from google.protobuf import struct_pb2 as _struct_pb2\n",
        encoding="utf-8",
    )
    script.rewrite_stub(stub, {"google.protobuf.any_pb2"})
    assert stub.read_text(encoding="utf-8").splitlines() == [
        script.MARK,
        "from tfs_client.protos.google.protobuf import any_pb2 as _any_pb2",
        "from google.protobuf import message as _message",
        "from google.protobuf import struct_pb2 as _struct_pb2",
    ]
