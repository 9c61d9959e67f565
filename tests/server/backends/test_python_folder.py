"""Version folders with a ``servable.py``: what their code can do, and what remains after ``close``."""

from __future__ import annotations

import os
import sys
import textwrap
import threading

import numpy as np
import pytest

from tfs_client import CallError, PredictClient, StatusCode
from tfs_client.server import Server
from tfs_client.server.backends import python_folder

SCALE = """
    import numpy as np

    from tfs_client import TensorSpec
    from tfs_client.server import FunctionSignature

    VECTOR = TensorSpec("float32", (None,))
    FACTOR = np.float32(%s)


    def signatures(path):
        return {"serving_default": FunctionSignature(lambda x: {"y": FACTOR * x}, {"x": VECTOR}, {"y": VECTOR})}
"""


@pytest.fixture
def folder(tmp_path):
    """Writes version folders: ``folder(servable=text, other=text)`` gives the path."""
    made = iter(range(1, 100))

    def write(**modules):
        path = tmp_path / str(next(made))
        path.mkdir()
        for name, text in modules.items():
            (path / f"{name}.py").write_text(textwrap.dedent(text))
        return str(path)

    return write


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No module of a folder remains after a test."""
    yield
    assert [name for name in sys.modules if name.startswith("_tfs_servable_")] == []


def run(servable, values):
    return servable.run("serving_default", {"x": np.float32(values)}, ["y"])["y"].tolist()


def refused(path):
    with pytest.raises(CallError) as caught:
        python_folder.load(path)
    return caught.value.code, caught.value.details


def test_a_folder_is_served(folder):
    servable = python_folder.load(folder(servable=SCALE % 3))
    with Server() as server:
        server.add_model("scale", servable, version=7)
        with PredictClient(server.target, model="scale", timeout=10) as client:
            prediction = client.predict([1.0, 2.0])
            assert prediction.array.tolist() == [3, 6]
            assert prediction.model.version == 7
    servable.close()


def test_versions_are_loaded_side_by_side(folder):
    paths = [folder(servable="from .factor import signatures", factor=SCALE % n) for n in (2, 3)]
    servables = [python_folder.load(path) for path in paths]
    assert [run(servable, [1]) for servable in servables] == [[2], [3]]
    servables[1].close()
    assert run(servables[0], [1]) == [2]
    servables[0].close()


def test_a_changed_file_is_loaded_again(folder):
    path = folder(servable="from .factor import signatures", factor=SCALE % 2)
    old = python_folder.load(path)
    with open(f"{path}/factor.py", "w") as file:
        file.write(textwrap.dedent(SCALE % 9))  # same length, same second: what a cache of bytecode would miss
    new = python_folder.load(path)
    assert (run(old, [1]), run(new, [1])) == ([2], [9])
    old.close()
    new.close()


def test_nothing_is_written_into_the_folder(folder):
    path = folder(servable="from .factor import signatures", factor=SCALE % 2)
    before = set(sys.path_importer_cache)
    python_folder.load(path).close()
    assert sorted(os.listdir(path)) == ["factor.py", "servable.py"]
    assert set(sys.path_importer_cache) == before


def test_modules_may_be_imported_during_calls_too(folder):
    late = """
        from tfs_client import TensorSpec
        from tfs_client.server import FunctionSignature

        def late(x):
            from . import factor
            return factor.FACTOR * x

        def signatures(path):
            vector = TensorSpec("float32", (None,))
            return {"serving_default": FunctionSignature(late, {"x": vector}, {"y": vector})}
    """
    path = folder(servable=late, factor=SCALE % 4)
    servable = python_folder.load(path)
    assert run(servable, [2]) == [8]
    assert sorted(os.listdir(path)) == ["factor.py", "servable.py"]
    servable.close()


def test_the_path_is_that_of_the_folder(folder):
    weights = """
        import numpy as np

        from tfs_client import TensorSpec
        from tfs_client.server import FunctionSignature

        def signatures(path):
            factor, vector = np.load(f"{path}/factor.npy"), TensorSpec("float32", (None,))
            return {"serving_default": FunctionSignature(lambda x: factor * x, {"x": vector}, {"y": vector})}
    """
    path = folder(servable=weights)
    np.save(f"{path}/factor.npy", np.float32(5))
    servable = python_folder.load(os.path.relpath(path))
    assert run(servable, [1]) == [5]
    servable.close()


def test_code_finds_its_own_module(folder):
    model = """
        import pickle
        from dataclasses import dataclass

        from tfs_client import TensorSpec
        from tfs_client.server import FunctionSignature

        @dataclass
        class Model:
            factor: "float"

            def __call__(self, x):
                return self.factor * x

        def signatures(path):
            vector = TensorSpec("float32", (None,))
            model = pickle.loads(pickle.dumps(Model(6.0)))
            return {"serving_default": FunctionSignature(model, {"x": vector}, {"y": vector})}
    """
    servable = python_folder.load(folder(servable=model))
    assert run(servable, [1]) == [6]
    servable.close()


def test_loads_in_several_threads_are_independent(folder):
    paths = [folder(servable="from .factor import signatures", factor=SCALE % n) for n in range(1, 9)]
    loaded = {}
    threads = [
        threading.Thread(target=lambda path=path: loaded.update({path: python_folder.load(path)})) for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run(loaded[path], [1]) for path in paths] == [[n] for n in range(1, 9)]
    for servable in loaded.values():
        servable.close()
        servable.close()  # twice is once


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("import no_such_module", StatusCode.UNKNOWN, "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "def signatures(path):\n    return 1 +",
            StatusCode.UNKNOWN,
            "SyntaxError: invalid syntax (servable.py, line 2)",
        ),
        ("raise ValueError('bad\\nweights')", StatusCode.INVALID_ARGUMENT, "ValueError: bad\nweights"),
        ("def signatures(path):\n    raise MemoryError('too big')", StatusCode.RESOURCE_EXHAUSTED, "too big"),
        ("import sys; sys.exit(3)", StatusCode.UNKNOWN, "SystemExit: 3"),
        ("from .missing import signatures", StatusCode.UNKNOWN, ".missing'"),
        ("", StatusCode.INVALID_ARGUMENT, "servable.py has no function signatures(path)"),
        ("signatures = {}", StatusCode.INVALID_ARGUMENT, "servable.py has no function signatures(path)"),
        ("signatures = lambda path: None", StatusCode.INVALID_ARGUMENT, "to return a mapping from signature names"),
        (
            "signatures = lambda path: {'a': len}",
            StatusCode.INVALID_ARGUMENT,
            "to return a mapping from signature names",
        ),
        ("signatures = lambda path: {}", StatusCode.INVALID_ARGUMENT, "a model needs at least one signature"),
    ],
    ids=lambda value: value.replace("\n", " ")[:40] if isinstance(value, str) else "",
)
def test_errors_of_the_code_are_errors_of_the_load(folder, text, code, line):
    path = folder(servable=text)
    got, details = refused(path)
    assert got is code
    assert details.startswith(path)
    assert line in details


def test_a_call_error_of_the_code_is_unchanged(folder):
    text = """
        from tfs_client import UnavailableError

        def signatures(path):
            raise UnavailableError("no GPU today")
    """
    assert refused(folder(servable=text)) == (StatusCode.UNAVAILABLE, "no GPU today")


def test_a_folder_without_servable(folder):
    code, details = refused(folder(other=""))
    assert code is StatusCode.NOT_FOUND
    assert "expected a file servable.py" in details
