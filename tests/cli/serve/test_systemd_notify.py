"""Notifications to systemd, received on a socket; the whole program notifies in tests/examples/test_systemd.py."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfs_client.cli.serve.systemd import ServiceManager


@pytest.fixture
def received() -> Iterator[socket.socket]:
    """A datagram socket without an address; nothing waits longer than 20 seconds for a datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        yield sock


@pytest.fixture
def service(received: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceManager:
    """A service manager that receives notifications at a path."""
    received.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return ServiceManager()


def test_each_notification_has_a_status(service: ServiceManager, received: socket.socket) -> None:
    service.ready("Serving")
    assert received.recv(4096) == b"READY=1\nSTATUS=Serving\n"
    service.stopping()
    assert received.recv(4096) == b"STOPPING=1\nSTATUS=Finishing running calls\n"


def test_a_status_cannot_add_assignments(service: ServiceManager, received: socket.socket) -> None:
    service.ready("at unix:/a\nMAINPID=1\x1b")
    assert received.recv(4096) == b"READY=1\nSTATUS=at unix:/a MAINPID=1\\x1b\n"


def test_processes_of_models_do_not_inherit_the_socket(service: ServiceManager) -> None:
    code = "import os; print('NOTIFY_SOCKET' in os.environ)"
    child = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert child.stdout == "False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket_is_notified(received: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    received.bind("")  # the system chooses an abstract name
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + received.getsockname()[1:].decode())
    ServiceManager().ready("Serving")
    assert received.recv(4096).startswith(b"READY=1\n")


def fill(address: str) -> None:
    """Send datagrams until the queue is full; from many sockets, for the buffer of one may be full before."""
    for _ in range(10_000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(b"x", address)


def test_a_service_manager_that_does_not_read_delays_nothing(
    service: ServiceManager, received: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BlockingIOError):
        fill(received.getsockname())
    service.ready("Serving")
    service.stopping()
    (warning,) = caplog.messages
    assert warning.startswith("cannot notify the service manager at NOTIFY_SOCKET '/")


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234", "/" + "x" * 200])
def test_a_socket_that_cannot_be_reached_is_a_warning(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    ServiceManager().ready("Serving")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_without_a_service_manager_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ServiceManager().ready("Serving")
    assert not caplog.messages
