"""The fixture ``model_server`` with a SavedModel, served by tfs-serve under the name of the real program."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from peers.saved import save

import tfs_client
from tfs_client import FailedPreconditionError, PredictClient
from tfs_client.testing import ModelServer

pytestmark = pytest.mark.peer

PATIENCE = 60  # seconds
ROOT = str(Path(tfs_client.__file__).parents[1])

PROGRAM = """\
#!{python}
import sys
sys.path.insert(0, {root!r})
from tfs_client.cli.serve.command import script
script()
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A directory that comes first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "tensorflow_model_server"
    program.write_text(PROGRAM.format(python=sys.executable, root=ROOT))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


@pytest.fixture
def exported(tf, tmp_path):
    """The directory of an exported model, without a number: y = x / 2 + 2."""
    return save(tf, tmp_path / "half_plus_two", lambda x: x / 2 + 2)


def test_a_saved_model_is_served(programs, exported, model_server):
    model_server.add_saved_model(exported).add_saved_model(exported, name="again")
    for target in (model_server.target, model_server.rest_url):
        with PredictClient(target, timeout=PATIENCE) as client:
            for model in ("half_plus_two", "again"):
                assert client.predict([1.0, 2.0], model=model).array.tolist() == [2.5, 3.0]


def test_a_model_that_cannot_be_loaded_is_reported_with_the_log(programs, exported):
    (exported / "saved_model.pb").write_bytes(b"no such thing")
    server = ModelServer(arguments=["--max_num_load_retries=0"]).add_saved_model(exported)
    with pytest.raises(Exception, match="the end of its log") as caught:
        server.start()
    assert isinstance(caught.value, (FailedPreconditionError, tfs_client.ConfigError))


KILLED = """
import sys
from tfs_client.testing import ModelServer
server = ModelServer(timeout=60).add_saved_model(sys.argv[1])
print(server.target, flush=True)
sys.stdin.read()
"""


def test_the_server_ends_when_the_test_run_is_killed(programs, exported):
    environment = {**os.environ, "PYTHONPATH": ROOT}
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, exported],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with run:
        target = run.stdout.readline().strip()
        with PredictClient(target, model="half_plus_two", timeout=2) as client:
            assert client.is_ready()
        run.send_signal(signal.SIGKILL)
        run.wait(PATIENCE)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with PredictClient(target, model="half_plus_two", timeout=1) as client:
                if not client.is_ready():
                    return
            time.sleep(0.05)
    raise AssertionError("the model server outlives the test run")
