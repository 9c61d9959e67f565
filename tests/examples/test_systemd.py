"""The unit for systemd: what it starts is run, and notifies a socket as systemd expects."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from deployment_files import EXAMPLES, UNIT, seconds, stop_seconds, unit, unit_command
from served_program import Program

from tfs_client import PredictClient
from tfs_client.cli.serve import flags as serve_flags

CREDENTIALS, SETTINGS = "%d", "/etc/tfs-serve"


def test_tfs_serve_knows_the_flags() -> None:
    arguments = serve_flags.read(unit_command()[1:])
    assert (arguments.unknown, arguments.wrong) == ([], [])


def test_the_time_limits_fit_the_start_and_the_stop() -> None:
    service, flags = unit()["Service"], serve_flags.read(unit_command()[1:]).values
    assert seconds(service["TimeoutStartSec"]) > flags.max_num_load_retries * flags.load_retry_interval_micros / 1e6
    assert seconds(service["TimeoutStopSec"]) > stop_seconds(flags)


def test_the_units_command_notifies_ready_and_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unit()["Service"]["Type"] == "notify"
    assert unit()["Service"]["LoadCredential"] == f"token:{SETTINGS}/token"
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "models.config").write_text("model_config_list {}")
    shutil.copy(EXAMPLES / "prometheus" / "monitoring.config", tmp_path)
    arguments = [
        argument.replace(CREDENTIALS, str(tmp_path)).replace(SETTINGS, str(tmp_path))
        for argument in unit_command()[1:]
        if not argument.startswith(("--port=", "--rest_api_port="))
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.bind(str(tmp_path / "notify"))
        received.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        program = Program(tmp_path, *arguments, "--embedded", "--drain_seconds=0", rest=True)
        try:
            status = f"Serving gRPC at {program.target}, REST at {program.rest_url}"
            assert received.recv(4096).decode() == f"READY=1\nSTATUS={status}\n"
            with PredictClient(program.target, model="half_plus_two", token="secret") as client:
                assert client.predict([2.0]).array.tolist() == [3.0]
            program.send(signal.SIGTERM)
            assert received.recv(4096).startswith(b"STOPPING=1\n")
            assert program.ended() == 0
        finally:
            program.close()


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze, of the package systemd")
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    number = re.search(r"\d+", version)
    if number is None or int(number[0]) < 250:
        pytest.skip("needs systemd 250, for credentials in the command line")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(unit_command()[0], "/bin/true"))  # it looks for the program
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
