"""How the public names resolve, and what importing them costs. public_surface.txt lists them; `make check` compares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfs_client
import tfs_client.testing


@pytest.mark.parametrize("name", tfs_client.__all__)
def test_every_public_name_resolves_and_says_where_it_lives(name):
    value = getattr(tfs_client, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__module__.startswith("tfs_client.")
        assert value.__doc__
    assert getattr(tfs_client, name) is value


def test_dir_lists_names_not_loaded_yet():
    assert set(tfs_client.__all__) <= set(dir(tfs_client))
    assert dir(tfs_client) == sorted(dir(tfs_client))


@pytest.mark.parametrize("module", [tfs_client, tfs_client.testing], ids=lambda module: module.__name__)
def test_an_unknown_name_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match=rf"module '{module.__name__}' has no attribute 'Nothing'"):
        _ = module.Nothing
    with pytest.raises(ImportError):
        exec(f"from {module.__name__} import Nothing")


def test_a_star_import_imports_the_public_names():
    space = {}
    exec("from tfs_client import *", space)
    assert set(tfs_client.__all__) <= set(space)


# --- what importing costs --------------------------------------------------------------------------------------------

PROBE = "import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"


def imported(code):
    """The modules in a fresh interpreter after some code."""
    environment = os.environ | {"PYTHONPATH": str(Path(tfs_client.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import tfs_client", {"grpc", "google.protobuf", "httpx", "PIL", "numpy"}),
        ("from tfs_client import TFServingError, StatusCode", {"grpc", "google.protobuf", "httpx", "PIL", "numpy"}),
        ("from tfs_client import PredictClient", {"grpc", "google.protobuf", "httpx", "PIL"}),
        ("from tfs_client import PredictClient\nPredictClient('h:1').close()", {"google.protobuf", "httpx", "PIL"}),
        ("from tfs_client import TensorSpec, make_ndarray", {"grpc", "google.protobuf", "httpx", "PIL"}),
        ("from tfs_client.server import Server", {"google.protobuf", "httpx", "PIL", "tfs_client.client"}),
        ("import tfs_client.testing.pytest_plugin", {"grpc", "google.protobuf", "httpx", "PIL", "numpy"}),
    ],
)
def test_heavy_libraries_wait_until_they_are_needed(code, absent):
    assert not imported(code) & absent


def test_a_prediction_by_names_needs_no_protobuf():
    modules = imported(
        """
import numpy as np
from tfs_client import PredictClient, TensorSpec
from tfs_client.testing import FakeServer
with FakeServer() as server:
    server.add_model("m", lambda x: x, inputs={"x": TensorSpec("float32")}, outputs={"y": TensorSpec("float32")})
    with PredictClient(server.target, model="m") as client:
        assert client.predict({"x": np.float32([1])}).array == 1
"""
    )
    assert "grpc" in modules
    assert not modules & {"google.protobuf", "httpx", "PIL"}
