"""OpenTelemetry and Prometheus: their packages are imported when a hook is made, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfs_client
from tfs_client import telemetry
from tfs_client._calls.health import CheckHealth
from tfs_client._calls.inference import Classify, MultiInference, Regress
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._calls.reload import ReloadConfig
from tfs_client._calls.served_models import GetConfig, ListModels
from tfs_client._calls.status import GetModelStatus
from tfs_client._transports.api_methods import full_name
from tfs_client.telemetry import calls_under_way
from tfs_client.telemetry.calls_under_way import CallsUnderWay
from tfs_client.telemetry.opentelemetry import server_of

PROGRAM = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("opentelemetry", "prometheus_client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import tfs_client, tfs_client.telemetry
assert not {"tfs_client.telemetry.opentelemetry", "tfs_client.telemetry.prometheus"} & set(sys.modules)
from tfs_client.telemetry import OpenTelemetry, Prometheus

for hook in OpenTelemetry, Prometheus:
    try:
        hook()
    except tfs_client.ConfigError as error:
        print(error)
"""


def test_without_their_packages_the_hooks_say_what_to_install():
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(tfs_client.__file__).parents[1])},
    )
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.splitlines()
    assert first.startswith("OpenTelemetry needs the package opentelemetry-api")
    assert first.endswith("pip install 'tfs-client[otel]'")
    assert second.startswith("Prometheus needs the package prometheus-client")
    assert second.endswith("pip install 'tfs-client[metrics]'")


def test_public_names_of_telemetry():
    assert set(telemetry.__all__) <= set(dir(telemetry))
    assert telemetry.OpenTelemetry.__doc__
    assert telemetry.Prometheus.__doc__
    with pytest.raises(AttributeError, match=r"'tfs_client\.telemetry' has no attribute 'Nothing'"):
        _ = telemetry.Nothing


@pytest.mark.parametrize(
    "call",
    [
        Predict,
        Classify,
        Regress,
        MultiInference,
        GetModelMetadata,
        GetModelStatus,
        ReloadConfig,
        CheckHealth,
        ListModels,
        GetConfig,
    ],
)
def test_full_names_are_the_paths_of_grpc(call):
    assert f"/{full_name(call.method)}" == call.path


@pytest.mark.parametrize(
    ("target", "server"),
    [
        ("localhost:8500", ("localhost", 8500)),
        ("[::1]:8500", ("::1", 8500)),
        ("dns:///models.example:8500", ("models.example", 8500)),
        ("dns://10.0.0.1/models.example:8500", ("models.example", 8500)),
        ("ipv4:10.0.0.1:8500", ("10.0.0.1", 8500)),
        ("ipv4:10.0.0.1:8500,10.0.0.2:8500", ("ipv4:10.0.0.1:8500,10.0.0.2:8500", None)),
        ("a:8500, b:8500", ("a:8500, b:8500", None)),
        ("unix:///run/tfs.sock", ("/run/tfs.sock", None)),
        ("unix:run/tfs.sock", ("run/tfs.sock", None)),
        ("unix-abstract:tfs:1", ("unix-abstract:tfs:1", None)),
        ("xds:///models:1", ("xds:///models:1", None)),
        ("http://models.example/tf", ("models.example", 80)),
        ("https://models.example", ("models.example", 443)),
        ("http://[::1]:8501/tf", ("::1", 8501)),
        ("grpcs://models.example:8500", ("models.example", 8500)),
    ],
)
def test_server_of_a_target(target, server):
    assert server_of(target) == server


# --- calls under way ---------------------------------------------------------------------------------------------


def test_a_call_is_known_until_it_ends():
    calls: CallsUnderWay[str] = CallsUnderWay()
    assert calls.begin(1, "one") is None
    assert (calls.find(1), calls.find(2)) == ("one", None)
    assert (calls.end(1), calls.end(1), len(calls)) == ("one", None, 0)


def test_the_oldest_of_too_many_calls_is_forgotten(monkeypatch):
    monkeypatch.setattr(calls_under_way, "MOST", 2)
    calls: CallsUnderWay[int] = CallsUnderWay()
    assert [calls.begin(number, number) for number in (1, 2, 3, 4)] == [None, None, 1, 2]
    assert (len(calls), calls.find(1), calls.find(4)) == (2, None, 4)


def test_a_forked_process_inherits_the_states_and_not_the_calls():
    calls: CallsUnderWay[str] = CallsUnderWay()
    calls.begin(1, "one")
    calls_under_way._forked()  # what os.fork() calls in the child; the peer tests fork
    assert (len(calls), calls.inherited) == (0, ["one"])
