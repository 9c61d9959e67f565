"""The relay of a fake server: bytes, ends and resets pass unchanged; faults hit the connection that they are for."""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import struct
import threading
import time

import numpy as np
import pytest
from calling import PAGE_ERROR, PAGE_TEXT, REST, STYLES, calling
from certificates import certificates
from hypothesis import given, settings
from hypothesis import strategies as st
from tcp import frame, listening

from tfs_client import TLS, ConfigError, PredictClient, TensorSpec, UnavailableError
from tfs_client.errors import CallError
from tfs_client.server import ServerConfig, ServerTLS
from tfs_client.testing import FakeServer
from tfs_client.testing.relay.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, MAX_PAGE, Frames, Http2Streams
from tfs_client.testing.relay.relay import ConnectionRelay

PAGE = b"<html>Bad Gateway</html>"
PATIENCE = 20  # seconds that no test should need


@contextlib.contextmanager
def relayed(conversation, host="127.0.0.1"):
    """A relay in front of a server that converses like this; yields it and a function that connects to it."""
    relay = ConnectionRelay(host, tls=False, without={})
    with listening(conversation) as port, contextlib.ExitStack() as sockets:

        def connect():
            sock = sockets.enter_context(socket.create_connection((host, own), timeout=PATIENCE))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock

        own = relay.open("rest", 0, port)
        try:
            yield relay, connect
        finally:
            relay.stop()


def peer_of(sock):
    return "{}:{}".format(*sock.getsockname())


def everything(sock):
    """Read to the end."""
    found = bytearray()
    while data := sock.recv(1 << 16):
        found += data
    return bytes(found)


def until_reset(sock):
    """Read until the connection is reset."""
    found = bytearray()
    try:
        while data := sock.recv(1 << 16):
            found += data
    except ConnectionResetError:
        return bytes(found)
    raise AssertionError(f"the connection was closed after {len(found)} bytes, not reset")


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def echo(connection, over):
    """Send back what arrives."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def greeted(connection):
    """Wait until the relay has opened this connection."""
    connection.sendall(b"x")
    assert connection.recv(1) == b"x"


# --- bytes -----------------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=8), st.lists(st.integers(1, 400_000), max_size=3))
def test_bytes_arrive_unchanged_in_both_directions_until_the_half_close(pieces, sizes):
    pieces = pieces + [np.arange(size, dtype=np.uint8).tobytes() for size in sizes]

    def last(connection, over):
        connection.sendall(everything(connection)[::-1])

    with relayed(last) as (_, connect):
        client = connect()
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        assert everything(client) == b"".join(pieces)[::-1]


def test_a_server_that_ends_its_side_still_gets_what_the_client_sends():
    got = queue.Queue()

    def first(connection, over):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        got.put(everything(connection))

    with relayed(first) as (_, connect):
        client = connect()
        assert everything(client) == b"bye"
        client.sendall(b"later")
        client.shutdown(socket.SHUT_WR)
        assert got.get(timeout=PATIENCE) == b"later"


def test_a_reset_by_the_client_reaches_the_server():
    caught = threading.Event()

    def read(connection, over):
        connection.sendall(connection.recv(1))
        try:
            connection.recv(1)
        except ConnectionResetError:
            caught.set()

    with relayed(read) as (_, connect):
        client = connect()
        greeted(client)
        reset(client)
        assert caught.wait(PATIENCE)


def test_a_reset_after_a_half_close_reaches_the_server():
    caught = threading.Event()

    def send(connection, over):
        assert connection.recv(1) == b""
        while not over.is_set():
            try:
                connection.sendall(b"x")
            except OSError:
                caught.set()
                return
            over.wait(0.01)

    with relayed(send) as (_, connect):
        client = connect()
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b"x"
        client.close()
        assert caught.wait(PATIENCE)


def test_a_reset_by_the_server_reaches_the_client_after_the_data():
    def page(connection, over):
        connection.sendall(connection.recv(1) * 1000)
        reset(connection)

    with relayed(page) as (_, connect):
        client = connect()
        client.sendall(b"y")
        assert until_reset(client) == b"y" * 1000


def test_a_client_that_does_not_read_slows_the_server_down_and_loses_nothing():
    sent = []
    full = threading.Event()
    block = bytes(range(256)) * 256

    def pour(connection, over):
        connection.settimeout(0.05)
        count = 0
        with contextlib.suppress(TimeoutError):
            while True:
                count += connection.send(block[count % len(block) :])
        sent.append(count)
        full.set()
        connection.settimeout(PATIENCE)
        connection.shutdown(socket.SHUT_WR)
        everything(connection)

    with relayed(pour) as (_, connect):
        client = connect()
        assert full.wait(PATIENCE)
        found = everything(client)
    assert 0 < len(found) == sent[0] < 64 << 20
    assert found == (block * (len(found) // len(block) + 1))[: len(found)]


def test_a_server_that_is_gone_ends_the_connection():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        relay = ConnectionRelay("127.0.0.1", tls=False, without={})
        port = relay.open("rest", 0, nobody.getsockname()[1])
        try:
            with (
                pytest.raises(ConnectionResetError),
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client,
            ):
                client.recv(1)
        finally:
            relay.stop()


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_reset_hits_the_connection_of_its_peer_only():
    with relayed(echo) as (relay, connect):
        first, second = connect(), connect()
        for each in (first, second):
            greeted(each)
        assert relay.reset(peer_of(first)) is True
        with pytest.raises(ConnectionResetError):
            first.recv(1)
        greeted(second)
        assert relay.reset(peer_of(first)) is False
        second.close()


@pytest.mark.parametrize("after", [1, 1000, 300_000])
def test_a_connection_ends_after_exactly_so_many_bytes(after):
    with relayed(echo) as (relay, connect):
        resets, closes = connect(), connect()
        for each in (resets, closes):
            greeted(each)
        relay.reset(peer_of(resets), after_bytes=after)
        relay.close(peer_of(closes), after_bytes=after)
        data = np.arange(after + 5000, dtype=np.uint8).tobytes()
        for each in (resets, closes):
            threading.Thread(target=sending, args=(each, data)).start()
        assert everything(closes) == data[:after]
        assert until_reset(resets) == data[:after]


def sending(sock, data):
    with contextlib.suppress(OSError):  # the connection ends
        sock.sendall(data)


def test_an_end_waits_for_later_replies_if_the_first_is_shorter():
    with relayed(echo) as (relay, connect):
        client = connect()
        greeted(client)
        relay.close(peer_of(client), after_bytes=3)
        greeted(client)
        greeted(client)
        client.sendall(b"zz")
        assert everything(client) == b"z"


def test_a_throttled_connection_has_its_rate_and_loses_nothing():
    with relayed(echo) as (relay, connect):
        client = connect()
        greeted(client)
        relay.throttle(peer_of(client), 50_000)
        began = time.monotonic()
        client.sendall(bytes(range(100)) * 50)
        client.shutdown(socket.SHUT_WR)
        assert everything(client) == bytes(range(100)) * 50
        assert time.monotonic() - began >= 0.06  # 0.1 s less the pieces at the beginning and the end


def test_a_throttle_ends_with_its_bytes_and_by_order():
    with relayed(echo) as (relay, connect):
        for order in ("bytes", "none"):
            client = connect()
            greeted(client)
            relay.throttle(peer_of(client), 100, for_bytes=3 if order == "bytes" else None)
            client.sendall(b"abc")
            if order == "none":
                assert client.recv(1) == b"a"
                relay.throttle(peer_of(client), None)
            client.sendall(bytes(100_000))  # 1000 s at that rate
            client.shutdown(socket.SHUT_WR)
            assert len(everything(client)) == 100_003 - (order == "none")


def test_orders_that_cannot_be_carried_out_are_refused():
    relay = ConnectionRelay("127.0.0.1", tls=True, without={})
    with pytest.raises(ConfigError, match="UNIX socket"):
        relay.reset("unix:")
    with pytest.raises(ConfigError, match="without TLS"):
        relay.error_page("ipv4:127.0.0.1:5000", 502, PAGE)
    with pytest.raises(ConfigError, match="expected bytes_per_second of 1 or more, got 0"):
        relay.throttle("127.0.0.1:5000", 0)
    with pytest.raises(ConfigError, match="expected after_bytes of 0 or more, got -1"):
        relay.close("127.0.0.1:5000", -1)
    assert relay.error_page("127.0.0.1:5000", 502, PAGE) is False  # REST is in clear text; nobody is connected
    plain = ConnectionRelay("127.0.0.1", tls=False, without={"grpc": "no relay"})
    with pytest.raises(ConfigError, match="no relay"):
        plain.check_faults(None)
    plain.check_faults("rest")
    plain.check_page("rest", bytes(MAX_PAGE + 1))
    with pytest.raises(ConfigError, match=f"at most {MAX_PAGE} bytes over gRPC, got {MAX_PAGE + 1}"):
        ConnectionRelay("127.0.0.1", tls=False, without={}).check_page("grpc", bytes(MAX_PAGE + 1))


# --- HTTP/2 ----------------------------------------------------------------------------------------------------------

FRAMES = st.tuples(st.integers(0, 9), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=50))


@settings(max_examples=25)
@given(st.lists(FRAMES, max_size=6), st.integers(0, 30), st.lists(st.integers(0, 400), max_size=8))
def test_frames_are_found_in_whatever_pieces_they_arrive(frames, skip, cuts):
    data = bytes(skip) + b"".join(frame(*each) for each in frames)
    reader, found, places = Frames(skip), [], sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for begin, end in itertools.pairwise(places):
        for kind, flags, stream, position in reader.ended(memoryview(data)[begin:end]):
            found.append((kind, flags, stream, begin + position))
    expected, position = [(0, 0, 0, skip)] if skip else [], skip
    for kind, flags, stream, payload in frames:
        position += 9 + len(payload)
        expected.append((kind, flags, stream, position))
    assert found == expected


def test_a_page_waits_for_the_end_of_a_frame_and_answers_the_open_streams():
    streams = Http2Streams()
    streams.requested(memoryview(bytes(24) + b"".join(frame(HEADERS, END_HEADERS, number, b"h") for number in (1, 3))))
    reply = frame(HEADERS, END_HEADERS, 1, b"h") + frame(DATA, END_STREAM, 1, b"data")
    assert streams.replied(memoryview(reply)[:5]) is None
    assert not streams.between_replies
    assert streams.replied(memoryview(reply)[5:]) == len(frame(HEADERS, END_HEADERS, 1, b"h")) - 5
    assert streams.between_replies
    assert list(streams.open) == [3]
    page = streams.page(503, PAGE)
    assert page.endswith(frame(DATA, END_STREAM, 3, PAGE))
    assert b":status\x03503" in page


# --- in front of a fake server ---------------------------------------------------------------------------------------


class Ordering:
    """Hooks that give the relay an order for each call of the model "m" that arrives, or whose reply is due."""

    def __init__(self, server, order, *, before_reply=False):
        self.server, self.order, self.before_reply = server, order, before_reply
        self.peers = []
        server._hooks.add(self)

    def _do(self, call):
        self.peers.append(call.peer)
        assert self.order(self.server._ports.relay, call.peer) in (True, None)

    def arrived(self, call, spec, note_inputs):
        if call.method == "Predict" and not self.before_reply:
            self._do(call)

    def servable(self, call, servable):
        return servable

    def grpc_reply(self, call, reply):
        if call.method == "Predict" and self.before_reply:
            self._do(call)
        return reply

    def rest_reply(self, call, reply):
        if call.method == "Predict" and self.before_reply:
            self._do(call)
        return reply


VECTOR = TensorSpec("float32", (None,))


def serving(**options):
    return FakeServer(**options).add_model("m", lambda x: x, inputs={"x": VECTOR}, outputs={"y": VECTOR})


def failure(server, style, **options):
    """The error of a call without retries."""
    with calling(style, server, model="m", timeout=PATIENCE, retry=None, **options) as client:
        client.signatures()
        with pytest.raises(CallError) as caught:
            client.predict({"x": np.zeros(5000, np.float32)})
    return caught.value


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.mark.parametrize("fault", ["reset", "close-after"])
def test_broken_connections_are_unavailable(style, fault):
    kind, _, after = fault.partition("-")
    with serving() as server:
        Ordering(server, lambda relay, peer: getattr(relay, kind)(peer, 1000 if after else 0), before_reply=bool(after))
        assert type(failure(server, style)) is UnavailableError
        assert [call.method for call in server.calls] == ["Predict"]
        assert len(server._hooks._hooks[-1].peers) == 1


def test_an_error_page_has_its_status(style):
    with serving() as server:
        Ordering(server, lambda relay, peer: relay.error_page(peer, 502, PAGE))
        error = failure(server, style)
    rest = style in REST
    assert type(error) is (UnavailableError if rest else PAGE_ERROR)
    assert ("502" if rest else PAGE_TEXT.format(502)) in str(error)


def test_all_calls_of_a_connection_get_the_page(gated, gate):
    arrived = threading.Barrier(3)

    def order(relay, peer):
        arrived.wait(PATIENCE)
        return relay.error_page(peer, 503, PAGE) or None  # the first order ends the connection

    Ordering(gated, order)
    with PredictClient(gated.target, model="slow", timeout=PATIENCE, retry=None) as client:
        client.signatures()
        calls = [client.predict_future({"x": np.float32([1])}) for _ in range(3)]
        for call in calls:
            with pytest.raises(PAGE_ERROR, match=PAGE_TEXT.format(503)):
                call.result(PATIENCE)


@pytest.mark.parametrize("style", ["grpc", "rest-aio"])
def test_a_slow_reply_arrives_whole(style):
    with serving() as server:
        Ordering(server, lambda relay, peer: relay.throttle(peer, 500_000), before_reply=True)
        with calling(style, server, model="m", timeout=PATIENCE) as client:
            x = np.arange(4000, dtype=np.float32)
            assert np.array_equal(client.predict({"x": x}).array, x)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::"])
def test_peers_are_the_clients_addresses(host):
    with serving(config=ServerConfig(host=host)) as server:
        urls = [server.rest_url]
        if host == "localhost":
            urls = [server.rest_url.replace("localhost", each) for each in ("127.0.0.1", "[::1]")]
        if host == "::":
            urls = [server.rest_url.replace("[::]", each) for each in ("127.0.0.1", "[::1]")]
        expected = []
        for url in urls:
            address, _, port = url.removeprefix("http://").rpartition(":")
            with socket.create_connection((address.strip("[]"), int(port)), timeout=PATIENCE) as client:
                client.sendall(
                    b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 17\r\n\r\n"
                    + b'{"instances":[1]}'
                )
                assert client.recv(15) == b"HTTP/1.1 200 OK"
                own, number = client.getsockname()[:2]
                expected.append(f"[{own}]:{number}" if ":" in own else f"{own}:{number}")
        assert [call.peer for call in server.calls] == expected


@pytest.mark.parametrize(("host", "form"), [("127.0.0.1", "ipv4:127.0.0.1:"), ("::1", "ipv6:%5B::1%5D:")])
def test_peers_over_grpc_are_in_its_notation(host, form):
    with serving(config=ServerConfig(host=host)) as server:
        for _ in range(2):
            with PredictClient(server.target, model="m", timeout=PATIENCE) as client:
                client.predict([1.0])
                client.predict([2.0])
        first, again, other, _ = (call.peer for call in server.calls)
        assert first.startswith(form)
        assert first == again != other
        with PredictClient(server.target, model="m", timeout=PATIENCE) as client:
            client.predict([1.0])
            last = server.calls[-1].peer
            assert server._ports.relay.throttle(last, 1e9)  # it knows the client by this address
        assert not server._ports.relay.throttle(first, 1e9)


def test_tls_passes_and_can_be_reset_but_not_written_to():
    papers = certificates()
    config = ServerConfig(tls=ServerTLS(papers.server.certificate, papers.server.key))
    with serving(config=config) as server:
        options = {"tls": TLS(ca=papers.ca), "model": "m", "timeout": PATIENCE, "retry": None}
        with PredictClient(server.target, **options) as client:
            assert client.predict([1.0]).array.tolist() == [1]
            Ordering(server, lambda relay, peer: relay.reset(peer))
            with pytest.raises(UnavailableError):
                client.predict([1.0])
        with pytest.raises(ConfigError, match="without TLS"):
            server._ports.relay.check_page("grpc", PAGE)


def test_a_server_without_a_relay_says_why():
    with serving(connection_faults=False) as server:
        with pytest.raises(ConfigError, match=r"need FakeServer\(connection_faults=True\), got False"):
            server._ports.relay.check_faults("rest")
        assert server.target == server.server.target
        assert server.rest_url == server.server.rest_url


def test_a_unix_socket_is_served_without_the_relay(tmp_path):
    config = ServerConfig(port=None, grpc_socket_path=tmp_path / "socket")
    with serving(config=config) as server, PredictClient(server.target, model="m", timeout=PATIENCE) as client:
        assert client.predict([1.0]).array.tolist() == [1]
        assert server.target == f"unix:{tmp_path / 'socket'}"
        with pytest.raises(ConfigError, match="UNIX socket only"):
            server._ports.relay.check_faults("grpc")
        server._ports.relay.check_faults("rest")
