"""Programs that end while servers, proxies or name servers do not answer: at once, with the right exit code."""

from __future__ import annotations

import re
import signal
import sys

import pytest
from programs import ends
from tcp import dripping, full, listening, silence

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="queues of sockets, and locks of C")

INTERRUPTED = -signal.SIGINT
SOON = 15  # seconds; the calls have 60

# Servers that are at fault, by way and fault: a target with a port, and further options.
FAULTS = {
    ("grpc", "black hole"): ("127.0.0.1:{full}", ""),
    ("rest", "black hole"): ("http://127.0.0.1:{full}", ""),
    ("grpc", "silent handshake"): ("127.0.0.1:{silent}", ", tls=TLS()"),
    ("rest", "silent handshake"): ("https://127.0.0.1:{silent}", ""),
    ("rest", "silent proxy"): ("http://some.where", ", proxy='http://127.0.0.1:{silent}'"),
    ("rest", "drip"): ("http://127.0.0.1:{drip}", ""),
}
BLOCKING = """
import contextlib
client = PredictClient({target!r}, model="slow", timeout=60{options})
x, one = {{"x": np.float32([1])}}, {{"x": np.float32(1)}}
def stream():
    with contextlib.suppress(Exception):
        list(client.predict_many([one] * 9))
threading.Thread(target=stream, daemon=True).start()
with client, MicroBatcher(client) as batcher:
    pending = [client.predict_future(x), batcher.submit(one)]
    time.sleep(0.2)
    1 / 0"""
AWAITED = """
async def main():
    async with AsyncPredictClient({target!r}, model="slow", timeout=60{options}) as client:
        await asyncio.gather(*(client.predict({{"x": np.float32([1])}}) for _ in range(3)))
interrupt()
asyncio.run(main())"""
DRIP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n\f "
NAMELESS = """
def getaddrinfo(*args, **options):
    "As where the name server does not answer: no signal ends it."
    lock, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)
import ctypes, socket
socket.getaddrinfo = getaddrinfo
"""

NAMELESS_BLOCKING = """
client = PredictClient("http://some.where", model="slow", timeout=60)
interrupt()
with client:
    client.predict({"x": np.float32([1])})"""


@pytest.fixture(scope="module")
def ended():
    """How all programs ended, by kind, way and fault."""
    programs = {
        "blocking, no names": NAMELESS + NAMELESS_BLOCKING,
        "awaited, no names": NAMELESS + AWAITED.format(target="http://some.where", options=""),
    }
    with full() as hole, listening(silence) as silent, listening(dripping(DRIP)) as drip:
        ports = {"full": hole, "silent": silent, "drip": drip}
        for (way, fault), (target, options) in FAULTS.items():
            found = {"target": target.format(**ports), "options": options.format(**ports)}
            programs[f"blocking, {way}, {fault}"] = BLOCKING.format(**found)
            programs[f"awaited, {way}, {fault}"] = AWAITED.format(**found)
        return ends(programs)


def check(end, code, error):
    assert end.code == code, end.errors
    assert end.seconds < SOON
    assert re.search(rf"^{error}", end.errors.splitlines()[-1]), end.errors
    assert "Exception ignored" not in end.errors
    assert "never retrieved" not in end.errors


@pytest.mark.parametrize(("way", "fault"), FAULTS)
def test_an_error_ends_a_program_whose_server_does_not_answer(ended, way, fault):
    check(ended[f"blocking, {way}, {fault}"], 1, "ZeroDivisionError")


@pytest.mark.parametrize(("way", "fault"), FAULTS)
def test_an_interrupt_ends_a_program_of_asyncio_whose_server_does_not_answer(ended, way, fault):
    check(ended[f"awaited, {way}, {fault}"], INTERRUPTED, "KeyboardInterrupt")


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_an_interrupt_ends_a_program_during_name_resolution(ended, kind):
    check(ended[f"{kind}, no names"], INTERRUPTED, "KeyboardInterrupt")
