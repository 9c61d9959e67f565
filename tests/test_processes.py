"""Clients in more than one process, and in many threads."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import grpc
import numpy as np
import pytest
from calling import target_of
from programs import ends

from tfs_client import ClosedError, PredictClient, TensorSpec
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

WAYS = ("grpc", "rest")


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def client(way, double):
    with PredictClient(target_of(way, double), model="double", timeout=20) as client:
        yield client


def use(client, value):
    with client:
        return client.predict({"x": [value]}).array.tolist()


def test_a_client_is_pickled_by_its_configuration(client, double, way):
    client.predict({"x": [1.0]})
    with pickle.loads(pickle.dumps(client)) as same:
        assert repr(same) == repr(client)
        assert same.predict({"x": [1.0]}).array.tolist() == [2.0]
    options = {"metadata": {"who": "me"}, "signature": "serving_default", "token": "t", "compression": "gzip"}
    with PredictClient(target_of(way, double), model="double", **options) as other:
        pickled = pickle.dumps(other)
    with pickle.loads(pickled) as again:  # also of a closed one
        again.predict({"x": [1.0]})
    assert double.calls[-1].metadata["who"] == "me"
    assert double.calls[-1].metadata["authorization"] == "Bearer t"
    assert double.calls[-1].signature == "serving_default"


def test_clients_go_to_a_process_pool(client):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(use, [client] * 4, [1.0, 2.0, 3.0, 4.0])) == [[2.0], [4.0], [6.0], [8.0]]
    assert client.predict({"x": [5.0]}).array.tolist() == [10.0]


FORKS = """
import os, sys
from tfs_client import PredictClient

def double(client, value):
    by_future = client.predict_future({"x": [value]}).result(20).array[0]
    return client.predict({"x": [value]}).array[0] == by_future == 2 * value

with PredictClient(sys.argv[1], model="double", timeout=20) as client:
    for _ in range(8):
        assert double(client, 1.0)
        child = os.fork()
        if not child:
            good = double(client, 2.0) and double(client, 3.0)
            client.close()
            os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert double(client, 4.0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_parent_and_child_both_call_after_each_of_eight_forks(way, double):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", FORKS, target_of(way, double)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# What was begun before a fork is of no use in the child, and stays what it was in the parent. The model "slow" answers
# a number once the file of that name is there. ``forked`` runs a function in a child; both ends of a child are tried.
CARRIED_HEAD = """
client = PredictClient({target!r}, model="slow", timeout=60)
one, many, number = {{"x": np.float32(1)}}, {{"x": np.float32([{number}])}}, {number}

def error_of(function, *arguments):
    try:
        return str(function(*arguments))
    except Exception as error:
        return f"{{type(error).__name__}} {{'before the fork' in str(error)}}"

def calls():
    by_future = client.predict_future({{"x": np.float32([1])}}, model="quick").result()
    return [client.predict({{"x": np.float32([1])}}, model="quick").array.tolist(), by_future.array.tolist()]

def forked(child, *ends):
    for end in ends or (os._exit, sys.exit):
        process = os.fork()
        if not process:
            child()
            end(0)
        _, status = os.waitpid(process, 0)
        print("ended", os.waitstatus_to_exitcode(status))

def answer():
    open({folder!r} + "/" + str(number), "w").close()
"""
FORKED = "ClosedError True"
CALLS = "[[1.0], [1.0]]"
ENDED = "ended 0"
CARRIED = {
    "a future": (
        """
calls()  # what is imported late would otherwise be imported by another thread during the fork
future = client.predict_future(many)
def child():
    future.add_done_callback(lambda _: print("callback"))
    print(error_of(future.result))
    print(future.cancel(), future.done(), calls())
forked(child)
answer()
print(future.result().array.tolist())""",
        [*[FORKED, "callback", f"False True {CALLS}", ENDED] * 2, "[{number}.0]"],
    ),
    "as_completed": (
        """
calls()
futures = [client.predict_future(many, model="quick"), *[client.predict_future(many) for _ in range(3)]]
completed = as_completed(futures)
next(completed)
called = threading.Event()
futures[1].add_done_callback(lambda _: called.set())
def child():
    print([error_of(future.result) for future in completed])
    print(len(wait(futures).done), calls(), called.is_set())
forked(child)
answer()
print(called.wait(20))
print([future.result().array.tolist() for future in completed])""",
        [*[str([FORKED] * 3), f"4 {CALLS} False", ENDED] * 2, "True", "[[{number}.0], [{number}.0], [{number}.0]]"],
    ),
    "calls under way at the child's end": (
        """
calls()
futures = [client.predict_future(many) for _ in range(40)]
forked(lambda: None)
forked(lambda: (client.close(), print(error_of(calls))))
answer()
print(sum(future.result().array.size for future in futures))""",
        [ENDED, ENDED, *["ClosedError False", ENDED] * 2, "40"],
    ),
    "iterators": (
        """
def source():
    for n in range(100):
        yield {{"x": np.float32(n)}}
iterators = [client.predict_many(source(), model="quick", batch_size=3, max_delay=delay) for delay in (None, 0.01)]
for iterator in iterators:
    next(iterator)
forked(lambda: print([error_of(next, iterator) for iterator in iterators], calls()))
forked(lambda: [iterator.close() for iterator in iterators])
print([len(list(iterator)) for iterator in iterators])""",
        [*[f"{[FORKED] * 2} {CALLS}", ENDED] * 2, ENDED, ENDED, "[99, 99]"],
    ),
    "an iterator in the midst of its source": (
        """
def source():
    for n in range(100):
        if n == 1 and not os.fork():  # no call is under way: gRPC itself may abort in a process forked meanwhile
            print("in the child")
        yield {{"x": np.float32(n)}}
parent = os.getpid()
found = error_of(lambda: len(list(client.predict_many(source(), model="quick", batch_size=3))))
if os.getpid() == parent:
    os.wait()
print(found)""",
        ["in the child", FORKED, "100"],
    ),
    "a batcher": (
        """
calls()
now, late = MicroBatcher(client, max_delay=0), MicroBatcher(client, max_delay=60)
futures = [now.submit({{"x": np.float32(number)}}), late.submit({{"x": np.float32(number)}})]
quick = MicroBatcher(client, model="quick")
def child():
    print([error_of(future.result) for future in futures], quick.predict(one).array)
    for batcher in (now, late, quick):
        batcher.close()
forked(child)
answer()
late.close()
print([future.result().array.tolist() for future in futures])""",
        [*[f"{[FORKED] * 2} 1.0", ENDED] * 2, "[{number}.0, {number}.0]"],
    ),
    "a client that is not used": (
        """
circle = [client]
circle.append(circle)
forked(lambda: None)
forked(client.close)
del client, circle
forked(gc.collect)""",
        [ENDED] * 6,
    ),
    "a client of asyncio": (
        """
client = AsyncPredictClient({target!r}, model="quick", timeout=60)
async def call():
    return (await client.predict({{"x": np.float32([1])}})).array.tolist()
print(asyncio.run(call()))
forked(lambda: print(asyncio.run(call())))
forked(lambda: asyncio.run(client.close()))
print(asyncio.run(call()))""",
        ["[1.0]", *["[1.0]", ENDED] * 2, ENDED, ENDED, "[1.0]"],
    ),
    "an iterator of asyncio": (
        """
client, loop = AsyncPredictClient({target!r}, model="quick", timeout=60), asyncio.new_event_loop()
async def begun():
    results = client.predict_many([one] * 50, batch_size=3)
    await anext(results)
    return results
async def rest(results):
    return len([result async for result in results])
results = loop.run_until_complete(begun())
forked(lambda: print(error_of(lambda: asyncio.run(rest(results)))))
print(loop.run_until_complete(rest(results)))""",
        [*[FORKED, ENDED] * 2, "49"],
    ),
    "asyncio whose loop goes on": (
        """
client, loop = AsyncPredictClient({target!r}, model="quick", timeout=60), asyncio.new_event_loop()
async def call():
    return (await client.predict({{"x": np.float32([1])}})).array.tolist()
print(loop.run_until_complete(call()))
forked(lambda: print(error_of(lambda: asyncio.run(call()))))
print(loop.run_until_complete(call()))""",
        ["[1.0]", *["{spoilt}", ENDED] * 2, "[1.0]"],
    ),
    "threads that call": (
        """
calls()
over = threading.Event()
def work():
    while not over.is_set():
        calls()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
forked(lambda: print(calls()))
over.set()""",
        [CALLS, ENDED] * 2,
    ),
}
# Children that call grpcio 1.60 again hang or crash if calls were under way, unless its fork support is switched on.
# With that, forks wait for threads that call all the time, and gRPC itself ends the children of asyncio's users.
NEWER = tuple(map(int, grpc.__version__.split(".")[:2])) > (1, 60)


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """How programs ended that fork in the midst of something; and what they should print."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork on this system")
    folder = tmp_path_factory.mktemp("answers")

    def slow(x):
        until = time.monotonic() + 60
        while not Path(folder, str(int(x.flat[0]))).exists() and time.monotonic() < until:
            time.sleep(0.02)
        return x

    vector = TensorSpec("float32", (None,))
    with FakeServer(ServerConfig(threads=200)) as server:
        for name, function in (("slow", slow), ("quick", lambda x: x)):
            server.add_model(name, function, inputs={"x": vector}, outputs={"y": vector})
        programs, expected = {}, {}
        for way in WAYS:
            for name, (program, lines) in CARRIED.items():
                if name == "threads that call" and way == "grpc" and not NEWER:
                    continue
                names = {
                    "target": target_of(way, server),
                    "folder": str(folder),
                    "number": len(programs) + 2,
                    "spoilt": FORKED if way == "grpc" else "[1.0]",
                }
                programs[f"{way} {name}"] = (CARRIED_HEAD + program).format(**names)
                expected[f"{way} {name}"] = [line.format(**names) for line in lines]
        # The log line of gRPC that says that it does without its fork handlers is of no interest, nor is Python's hint.
        quiet = {"GRPC_VERBOSITY": "ERROR", "PYTHONWARNINGS": "ignore"}
        alone = {} if NEWER else {name: programs.pop(name) for name in list(programs) if "asyncio" in name}
        support = {} if NEWER else {"GRPC_ENABLE_FORK_SUPPORT": "1"}
        ended = ends(programs, 4, **quiet, **support) | ends(alone, 4, **quiet)
        # A new channel of gRPC now and then crashes in a child that was forked during calls, mostly from asyncio or
        # under load: in gRPC's core, or below its thread for completions. Such a run is repeated.
        for _ in range(2):
            if crashed := {name: (programs | alone)[name] for name in ended if _crashed_in_grpcio(name, ended[name])}:
                for answered in folder.iterdir():
                    answered.unlink()
                ended |= ends(crashed, 1, **quiet)
        yield ended, expected


def _crashed_in_grpcio(name, end):
    signals = {f"ended {-signal.SIGSEGV}", f"ended {-signal.SIGABRT}"}
    return name.startswith("grpc") and not signals.isdisjoint(end.output.splitlines())


@pytest.mark.parametrize("name", CARRIED)
def test_parent_and_child_continue_after_a_fork_during(carried, way, name):
    ended, expected = carried
    if f"{way} {name}" not in ended:
        pytest.skip("this grpcio does not survive it")
    code, output, errors, _ = ended[f"{way} {name}"]
    assert (code, errors) == (0, "")
    assert sorted(output.splitlines()) == sorted(expected[f"{way} {name}"])


POOLED = """
import multiprocessing, os, sys
from tfs_client import AsyncPredictClient, PredictClient

client = PredictClient(sys.argv[1], model="double", timeout=20)
unused = PredictClient(sys.argv[1], model="double")

def use(way):
    with client:
        assert client.predict({"x": [1.0]}).array.tolist() == [2.0]
        client.predict_future({"x": [1.0]})

if __name__ == "__main__":
    assert client.predict({"x": [1.0]}).array.tolist() == [2.0]
    for way in ("fork", "spawn", "forkserver"):
        process = multiprocessing.get_context(way).Process(target=use, args=[way])
        process.start()
        process.join()
        assert process.exitcode == 0, way
    assert client.predict({"x": [1.0]}).array.tolist() == [2.0]
    future = client.predict_future({"x": [1.0]})
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_processes_of_every_kind_use_the_client_of_a_module_and_end(way, double, tmp_path):
    script = Path(tmp_path, "pooled.py")
    script.write_text(POOLED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, script, target_of(way, double)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_many_threads_call_without_an_error(client):
    x = np.arange(4, dtype=np.float32)

    def call(n):
        return all(np.array_equal(client.predict({"x": x + n + i}).array, 2 * (x + n + i)) for i in range(4))

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(call, range(64)))


def test_a_closed_client_stays_closed(client):
    client.close()
    client.close()
    with pytest.raises(ClosedError):
        client.predict({"x": [1.0]})
    with pytest.raises(ClosedError):
        client.predict_future({"x": [1.0]})


def test_importing_it_starts_no_process():
    code = "import json, threading, tfs_client.client, tfs_client.aio; print(json.dumps(threading.active_count()))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == 1
