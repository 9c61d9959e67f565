"""Fixtures shared by many tests."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import hypothesis
import pytest

from tfs_client import PredictClient, TensorSpec
from tfs_client.testing import FakeServer

# Peer tests import TensorFlow inside; this module needs it to say what it tests. Other peers fail without it, aloud.
collect_ignore = [] if find_spec("tensorflow") else ["codec/test_tensors_peer.py"]

# "uvloop" makes asyncio's tests, and only those, run in uvloop's event loops (`make test-peers`).
LOOP = os.environ.get("TFS_TEST_LOOP", "")

hypothesis.settings.register_profile("tests", deadline=None)  # how long an example takes depends on what else runs
hypothesis.settings.load_profile("tests")

# With `--no-loadscope-reorder` these files begin first: one that takes long at the end of a run leaves workers idle.
LONGEST = (
    "test_processes.py",
    "transports/test_unreached.py",
    "transports/test_refused_calls.py",
    "transports/test_outages.py",
    "cli/serve/test_serve.py",
    "cli/predict/test_bulk_ends.py",
    "transports/test_trusted_authorities.py",
    "hostile/test_readers.py",
    "flows/batching/test_overload.py",
    "test_exit.py",
    "transports/test_tls.py",
    "flows/batching/test_micro_batcher.py",
    "server/lifecycle/test_lifecycle.py",
    "cli/predict/test_bulk_progress.py",
    "cli/predict/test_command.py",
    "contract/test_call_options.py",
)

Handler = Callable[[bytes, grpc.ServicerContext], bytes]


# What configures clients and commands on the machine of a developer must not configure those of the tests.
CONFIGURATION = ("TFS_SERVER", "TFS_MODEL", "TFS_TIMEOUT", "TFS_TOKEN", "TFS_CA", "TFS_PROFILE")
NO_FOLDER = str(Path(__file__).parent / "no-configuration")


def pytest_configure(config: pytest.Config) -> None:
    for name in CONFIGURATION:
        os.environ.pop(name, None)
    os.environ["XDG_CONFIG_HOME"] = os.environ["APPDATA"] = NO_FOLDER
    # Programs that tests start multiply no matrices; numpy's import would still start a thread for each processor.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Programs started by `nohup` or in the background of a script inherit signals that are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if LOOP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on; nothing else reaches asyncio.run
            asyncio.set_event_loop_policy(import_module(LOOP).EventLoopPolicy())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    if LOOP:
        found: dict[bool, list[pytest.Item]] = {True: [], False: []}
        for item in items:
            module = getattr(item, "module", None)
            found["aio" in item.nodeid or hasattr(module, "asyncio") or hasattr(module, "at_once")].append(item)
        items[:] = found[True]
        config.hook.pytest_deselected(items=found[False])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Collecting makes many objects and hardly any garbage: without the garbage collector it takes a fifth less."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Spare the garbage collector thousands of tests, which stay to the end: with them a collection takes 0.25 s."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same at the end of each file. Warnings about what it left open then appear there, not in a later file."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers more than there are processors: tests of servers wait as often as they compute."""
    return (os.cpu_count() or 1) + 2


@pytest.fixture
def double(fake_server: FakeServer) -> FakeServer:
    """A fake server with one model: y = 2 x, float32 vectors."""
    vector = TensorSpec("float32", (None,))
    return fake_server.add_model("double", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector})


@pytest.fixture
def client(double: FakeServer) -> Iterator[PredictClient]:
    """A client of the doubling model."""
    with PredictClient(double.target, model="double", timeout=10) as client:
        yield client


@pytest.fixture
def raw_server() -> Iterator[Callable[..., str]]:
    """Starts gRPC servers that share no code with ours: ``raw_server(Predict=handler)`` returns a target.

    A handler gets the request's bytes and grpc's context, and returns the reply's bytes.
    """
    servers = []

    def start(address: str = "127.0.0.1:0", **handlers: Handler) -> str:
        server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        for service in ("PredictionService", "ModelService"):
            methods = {name: grpc.unary_unary_rpc_method_handler(handler) for name, handler in handlers.items()}
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", methods),)
            )
        port = server.add_insecure_port(address)
        server.start()
        servers.append(server)
        return address if address.startswith("unix") else f"{address.rpartition(':')[0]}:{port}"

    yield start
    for stopped in [server.stop(0) for server in servers]:
        stopped.wait()


class Gate:
    """A model function that waits: ``entered`` is set when it runs, and it returns once ``open`` is set."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, x):
        self.entered.set()
        assert self.open.wait(20), "nobody opened the gate"
        return x


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A model function that waits until the test releases it."""
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def gated(fake_server: FakeServer, gate: Gate) -> FakeServer:
    """A fake server whose model "slow" waits at the gate."""
    vector = TensorSpec("float32", (None,))
    return fake_server.add_model("slow", gate, inputs={"x": vector}, outputs={"y": vector})


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server on TensorFlow's own stubs and runtime; see tests/peers/official_server.py. For tests marked "peer"."""
    from peers.official_server import OfficialServer

    with OfficialServer(tmp_path_factory.mktemp("models")) as server:
        yield server
