"""Programs that end while calls are under way: they end at once, with the right exit code, and print nothing more."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from programs import LIMIT, ends

from tfs_client import TensorSpec
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the programs are run by forks")

INTERRUPTED = -signal.SIGINT
SOON = 15  # seconds; the calls have 60, and the server answers none of them before all programs have ended

# Each has the client, whose model "slow" does not answer while "quick" does, and inputs x. Nothing is closed unless
# the program does it. The number is the exit code; a program whose code is 1 or that of an interrupt ends by an error.
BLOCKING = {
    "falls off its end": (0, "future = client.predict_future(x)"),
    "falls off its end with all modules": (0, "gc.unfreeze(); future = client.predict_future(x)"),
    "is not even used": (0, ""),
    "is in a circle": (0, "circle = [client]; circle.append(circle); client.predict(x, model='quick'); del client"),
    "cancels": (0, "future = client.predict_future(x); future.cancel()"),
    "exits": (3, "future = client.predict_future(x); sys.exit(3)"),
    "dies of an exception": (1, "future = client.predict_future(x); 1 / 0"),
    "waits no longer": (1, "client.predict_future(x).result(timeout=0.05)"),
    "closes": (0, "future = client.predict_future(x); client.close()"),
    "closes at the exit": (0, "atexit.register(client.close); future = client.predict_future(x)"),
    "dies in the client's block": (1, "with client: future = client.predict_future(x); 1 / 0"),
    "has many calls under way": (0, "futures = [client.predict_future(x) for _ in range(50)]"),
    "forgets the client": (0, "future = client.predict_future(x); del client; gc.collect()"),
    "has a callback": (0, "client.predict_future(x).add_done_callback(print)"),
    "is interrupted in result": (INTERRUPTED, "interrupt(); client.predict_future(x).result()"),
    "is interrupted in as_completed": (
        INTERRUPTED,
        "interrupt(); list(as_completed([client.predict_future(x) for _ in range(3)]))",
    ),
    "is interrupted in predict": (INTERRUPTED, "interrupt(); client.predict(x)"),
    "is interrupted in predict_many": (
        INTERRUPTED,
        "interrupt(); list(client.predict_many([one] * 9))",
    ),
    "is interrupted in predict_batched": (
        INTERRUPTED,
        "interrupt(); client.predict_batched(hundred)",
    ),
    "is interrupted in a batcher": (
        INTERRUPTED,
        "interrupt(); batcher = MicroBatcher(client); batcher.predict(one)",
    ),
    "is interrupted in all blocks": (
        INTERRUPTED,
        """
interrupt()
with client, MicroBatcher(client) as batcher:
    batcher.submit(one)
    batcher.predict(one)""",
    ),
    "dies in a batcher's block": (
        1,
        """
with client, MicroBatcher(client) as batcher:
    batcher.submit(one)
    1 / 0""",
    ),
    "is terminated": (
        4,
        """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
threading.Timer(0.4, os.kill, [os.getpid(), signal.SIGTERM]).start()
with client:
    client.predict_future(x).result()""",
    ),
    "has a batcher": (
        0,
        """
batcher = MicroBatcher(client)
futures = [batcher.submit(one) for _ in range(40)]
time.sleep(0.1)""",
    ),
    "has a batcher that waits": (
        0,
        "batcher = MicroBatcher(client, max_delay=50); future = batcher.submit(one)",
    ),
    "has an iterator": (
        0,
        """
results = client.predict_many([one] * 9, model='quick', batch_size=1)
next(results)""",
    ),
    "has a source that waits": (
        0,
        """
def source():
    yield one
    time.sleep(60)
results = client.predict_many(source(), model='quick', max_delay=0.01)
next(results)""",
    ),
    "has daemons that call": (
        0,
        """
calls = [
    lambda: client.predict(x),
    lambda: client.predict_future(x).result(),
    lambda: client.predict_batched(hundred),
    lambda: list(client.predict_many([one] * 9)),
]
for call in calls:
    threading.Thread(target=call, daemon=True).start()
time.sleep(0.3)""",
    ),
    "has busy daemons": (
        0,
        """
def call():
    while True:
        list(as_completed([client.predict_future(x, model='quick') for _ in range(4)]))
for _ in range(4):
    threading.Thread(target=call, daemon=True).start()
time.sleep(0.3)""",
    ),
}

# What they print is checked: these calls are answered, though the main thread has ended.
LATE = {
    "calls from a thread": """
def work():
    threading.main_thread().join()
    print(client.predict(x, model='quick').array.tolist())
    print(client.predict_future(x, model='quick').result().array.tolist())
    print([one.array.tolist() for one in client.predict_many([one] * 2, model='quick', max_delay=0)])
    with MicroBatcher(client, max_delay=0.05, model='quick') as batcher:
        print(batcher.predict(one).array.tolist())
    client.close()
threading.Thread(target=work).start()""",
    "calls at the exit": """
def work():
    print(client.predict(x, model='quick').array.tolist())
    print(client.predict_future(x, model='quick').result().array.tolist())
    print([one.array.tolist() for one in client.predict_many([one] * 2, model='quick', max_delay=0)])
    with MicroBatcher(client, max_delay=0.05, model='quick') as batcher:
        print(batcher.predict(one).array.tolist())
    client.close()
atexit.register(work)""",
}

ASYNCIO = {
    "runs and is done": (0, "asyncio.run(quick())"),
    "runs and is done with all modules": (0, "gc.unfreeze(); asyncio.run(quick())"),
    "leaves tasks": (
        0,
        """
async def main():
    tasks.extend(asyncio.create_task(slow()) for _ in range(3))
    await quick()
asyncio.run(main())""",
    ),
    "dies with tasks": (
        1,
        """
async def main():
    tasks.append(asyncio.create_task(slow()))
    await quick()
    1 / 0
asyncio.run(main())""",
    ),
    "exits in a coroutine": (
        3,
        """
async def main():
    tasks.append(asyncio.create_task(slow()))
    await quick()
    sys.exit(3)
asyncio.run(main())""",
    ),
    "is interrupted": (INTERRUPTED, "interrupt(); asyncio.run(slow())"),
    "is interrupted in all blocks": (
        INTERRUPTED,
        """
async def main():
    async with client, AsyncMicroBatcher(client) as batcher:
        await batcher.predict({'x': np.float32(1)})
interrupt()
asyncio.run(main())""",
    ),
    "dies in a batcher's block": (
        1,
        """
async def main():
    async with client, AsyncMicroBatcher(client) as batcher:
        batcher.submit({'x': np.float32(1)})
        await quick()
        1 / 0
asyncio.run(main())""",
    ),
    "has an iterator": (
        0,
        """
async def main():
    global results
    results = client.predict_many([{'x': np.float32(1)}] * 9, model='quick', batch_size=1)
    await anext(results)
asyncio.run(main())""",
    ),
    "never closes the loop": (0, "loop = asyncio.new_event_loop(); loop.run_until_complete(quick())"),
    "closes the loop alone": (
        0,
        "loop = asyncio.new_event_loop(); loop.run_until_complete(quick()); loop.close()",
    ),
    "has a loop in a daemon": (
        0,
        """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
futures = [asyncio.run_coroutine_threadsafe(slow(), loop) for _ in range(3)]
asyncio.run_coroutine_threadsafe(quick(), loop).result()""",
    ),
}

BLOCKING_HEAD = """
client = PredictClient({target!r}, model="slow", timeout=60)
x, one, hundred = {{"x": np.float32([1])}}, {{"x": np.float32(1)}}, {{"x": np.ones(100, np.float32)}}
"""
ASYNCIO_HEAD = """
client = AsyncPredictClient({target!r}, model="slow", timeout=60)
tasks = []
def quick():
    return client.predict({{"x": np.float32([1])}}, model="quick")
def slow():
    return client.predict({{"x": np.float32([1])}})
"""
WAYS = ("grpc", "rest")


@pytest.fixture(scope="module")
def server():
    vector, over = TensorSpec("float32", (None,)), threading.Event()

    def slow(x):
        over.wait(10 * LIMIT)
        return x

    with FakeServer(ServerConfig(threads=1000)) as server:
        for name, function in (("slow", slow), ("quick", lambda x: x)):
            server.add_model(name, function, inputs={"x": vector}, outputs={"y": vector})
        yield server
        over.set()


@pytest.fixture(scope="module")
def ended(server):
    """How all programs ended, by way of calling, kind and name."""
    programs = {}
    for way, target in (("grpc", server.target), ("rest", server.rest_url)):
        for name, (_, program) in BLOCKING.items():
            programs[f"{way} blocking {name}"] = BLOCKING_HEAD.format(target=target) + program
        for name, program in LATE.items():
            programs[f"{way} late {name}"] = BLOCKING_HEAD.format(target=target) + program
        for name, (_, program) in ASYNCIO.items():
            programs[f"{way} asyncio {name}"] = ASYNCIO_HEAD.format(target=target) + program
    programs["rest without threads"] = BLOCKING_HEAD.format(target=server.rest_url) + WITHOUT_THREADS
    return ends(programs)


# No thread can be started where its stack would be larger than the address space. (Over gRPC calls have threads of
# gRPC's, which cannot do without.)
WITHOUT_THREADS = """
threading.stack_size(1 << 47)
print(client.predict(x, model='quick').array.tolist())
print(client.predict_future(x, model='quick').result().array.tolist())
print([one.array.tolist() for one in client.predict_many([one] * 2, model='quick', max_delay=0)])
with MicroBatcher(client, max_delay=0.05, model='quick') as batcher:
    print(batcher.predict(one).array.tolist())"""


def check(end, code):
    assert end.code == code, end.errors
    assert end.seconds < SOON
    if code == 1 or code == INTERRUPTED:
        assert re.search(r"^(ZeroDivision|.*Timeout)Error|^KeyboardInterrupt", end.errors.splitlines()[-1]), end.errors
        assert "Exception ignored" not in end.errors
        assert "never retrieved" not in end.errors
        assert not re.search(r"^[IWEF]\d{4}", end.errors, re.MULTILINE), end.errors  # a line of gRPC's log
    else:
        assert end.errors == ""


@pytest.mark.parametrize("name", BLOCKING)
@pytest.mark.parametrize("way", WAYS)
def test_a_program_ends_despite(ended, way, name):
    check(ended[f"{way} blocking {name}"], BLOCKING[name][0])


@pytest.mark.parametrize("name", ASYNCIO)
@pytest.mark.parametrize("way", WAYS)
def test_an_asyncio_program_ends_despite(ended, way, name):
    check(ended[f"{way} asyncio {name}"], ASYNCIO[name][0])


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("way", WAYS)
def test_calls_are_answered_after_the_main_thread_has_ended_for_one_that(ended, way, name):
    end = ended[f"{way} late {name}"]
    check(end, 0)
    assert end.output.splitlines() == ["[1.0]", "[1.0]", "[1.0, 1.0]", "1.0"]


def test_callers_do_the_work_if_no_thread_can_be_started(ended):
    end = ended["rest without threads"]
    check(end, 0)
    assert end.output.splitlines() == ["[1.0]", "[1.0]", "[1.0, 1.0]", "1.0"]
