"""HttpDeadlines: blocking HTTP connections get the remaining time of the call's deadline, not a separate limit."""

from __future__ import annotations

import httpcore
import httpx
import pytest

from tfs_client._transports.deadline import Deadline
from tfs_client._transports.http_deadlines import PIECE, Backend, HttpDeadlines


class Network(httpcore.NetworkBackend, httpcore.NetworkStream):
    """Notes the time it is given for each step; addresses that are dead time out."""

    def __init__(self, *dead: str) -> None:
        self.dead = dead
        self.given: list[tuple[str, float | None]] = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.given.append((host, timeout))
        if host in self.dead:
            raise httpcore.ConnectTimeout("nobody there")
        return self

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        self.given.append(("tls", timeout))
        return self

    def read(self, max_bytes, timeout=None):
        self.given.append(("read", timeout))
        return b"data"

    def write(self, buffer, timeout=None):
        self.given.append((f"write {len(buffer)}", timeout))

    def close(self):
        self.given.append(("close", None))


@pytest.fixture
def deadlines():
    with httpx.Client() as client:
        deadlines = HttpDeadlines()
        deadlines.applied_to(client)
        yield deadlines


def connected(network: Network, deadlines: HttpDeadlines, *addresses: str, timeout: float | None = None):
    return Backend(network, deadlines, lambda host, port: addresses).connect_tcp("host", 1, timeout)


def test_each_address_gets_its_share_of_the_time(deadlines):
    network = Network("one", "two")
    with deadlines.until(Deadline(6.0)):
        connected(network, deadlines, "one", "two", "three")
    assert network.given == [
        ("one", pytest.approx(2, abs=0.5)),
        ("two", pytest.approx(3, abs=0.5)),
        ("three", pytest.approx(6, abs=0.5)),
    ]


def test_the_error_of_the_last_address_counts(deadlines):
    with deadlines.until(Deadline(None)), pytest.raises(httpcore.ConnectTimeout, match="nobody there"):
        connected(Network("one", "two"), deadlines, "one", "two")
    with pytest.raises(httpcore.ConnectError, match="has no address"):
        connected(Network(), deadlines)


def test_every_step_gets_what_remains(deadlines):
    network = Network()
    stream = connected(network, deadlines, "one", timeout=99.0)
    with deadlines.until(Deadline(5.0)):
        secure = stream.start_tls(None, "host", 99.0)
        secure.read(10, 99.0)
        secure.write(b"x" * (PIECE + 1), 99.0)
    assert network.given[0] == ("one", 99.0)  # outside of a call
    assert [name for name, _ in network.given[1:]] == ["tls", "read", f"write {PIECE}", "write 1"]
    assert all(seconds == pytest.approx(5, abs=0.5) for _, seconds in network.given[1:])


def test_a_call_without_a_deadline_waits_for_ever(deadlines):
    network = Network()
    with deadlines.until(Deadline(None)):
        connected(network, deadlines, "one").read(10, None)
    assert network.given == [("one", None), ("read", None)]


def test_no_step_begins_after_the_deadline(deadlines):
    network = Network()
    stream = connected(network, deadlines, "one")
    late = Deadline(1e-9)
    with deadlines.until(late):
        while not late.passed():
            pass
        for step, kind in (
            (lambda: stream.read(1), httpcore.ReadTimeout),
            (lambda: stream.write(b"x"), httpcore.WriteTimeout),
            (lambda: stream.start_tls(None), httpcore.ConnectTimeout),
            (lambda: connected(network, deadlines, "two"), httpcore.ConnectTimeout),
        ):
            with pytest.raises(kind):
                step()
    assert network.given == [("one", None), ("close", None)]  # a connection without its handshake is nobody's


def test_the_connections_of_a_client_end_at_the_deadline(deadlines):
    """httpx has no public place for it: should the one that is used go away, this says so."""
    with httpx.Client() as client:
        HttpDeadlines().applied_to(client)
        assert isinstance(client._transport._pool._network_backend, Backend)


def test_clients_without_a_pool_are_used_unchanged():
    """A mock may have put another transport in the place of httpx's, or an instrumentation have wrapped it."""
    deadlines = HttpDeadlines()
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(204))) as client:
        assert deadlines.applied_to(client).get("http://nowhere.invalid").status_code == 204

    class Wrapping(httpx.BaseTransport):
        def __init__(self, transport):
            self._transport = transport

        def handle_request(self, request):
            return self._transport.handle_request(request)

    with httpx.Client() as client:
        pool = client._transport._pool
        client._transport = Wrapping(client._transport)
        deadlines.applied_to(client)
        assert isinstance(pool._network_backend, Backend)
