"""The pytest plugin: fixtures with fake servers, and with the real one. The package registers it.

Importing it costs next to nothing: what the fixtures need is imported when one of them is used.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tfs_client.testing import FakeServer, ModelServer

MARKER = "fake_server"
_OWN = pytest.StashKey["FakeServer"]()  # of a test: the server of its fixture
_OF_REPLAY = ("recording", "match", "rtol", "atol", "inputs", "metadata", "repeats")
_OF_SHARED = ("strict",)
_SHARED = pytest.StashKey["FakeServer"]()  # of the session: the server of all tests
_STRICT = pytest.StashKey[bool]()  # of a test: whether the shared server was strict before it


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(**options): options of the test's fake server, as FakeServer takes them, such as strict=True, "
        "port=8500 or recording=PATH. Those of a test add to those of its class and module.",
    )


@pytest.fixture
def fake_server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """Provide a running FakeServer without models, and stop it after the test.

    ``@pytest.mark.fake_server(...)`` passes options to it. With ``strict=True`` a passing test fails if
    ``FakeServer.check`` finds a problem. With ``recording=PATH`` the server answers from this recording, with the
    marker's options of ``FakeServer.replay``. A relative path starts at pytest's root directory.
    """
    from tfs_client.testing import FakeServer

    options = _options(request.node)
    _check_ports(request.node, options)
    replay = {name: options.pop(name) for name in _OF_REPLAY if name in options}
    if replay and "recording" not in replay:
        given = ", ".join(f"{name}=" for name in replay)
        raise pytest.UsageError(f"@pytest.mark.{MARKER}: {given} need{'s' * (len(replay) == 1)} recording=PATH")
    try:
        server = FakeServer(**options)
    except TypeError as error:
        raise pytest.UsageError(f"@pytest.mark.{MARKER}: {error}") from None
    if replay:
        server.replay(request.config.rootpath / replay.pop("recording"), **replay)
    request.node.stash[_OWN] = server
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def session_fake_server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """Provide a running FakeServer that all tests share; under pytest-xdist, those of one worker.

    Models stay from test to test. Its ``reset`` runs after each test, so calls, faults and expectations do not. Of the
    marker's options it takes ``strict`` only. What a test itself assigns to ``strict`` ends with the test.
    """
    from tfs_client.testing import FakeServer

    with FakeServer() as server:
        request.config.stash[_SHARED] = server
        yield server
        del request.config.stash[_SHARED]


@pytest.fixture(params=["grpc", "rest"])
def fake_target(request: pytest.FixtureRequest, fake_server: FakeServer) -> str:
    """Provide the address of ``fake_server`` for a client: the test runs once over gRPC and once over REST.

    The run over REST is skipped if the packages of the extra ``server`` are missing.
    """
    if request.param == "grpc":
        return fake_server.target
    from tfs_client.errors import ConfigError
    from tfs_client.server.server import rest_host

    try:
        rest_host()
    except ConfigError as error:
        pytest.skip(str(error))
    return fake_server.rest_url


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """Provide a ModelServer, which starts when ``target`` or ``rest_url`` is first used, and stop it after the test.

    The test is skipped if this machine has neither ``tensorflow_model_server`` nor Docker. If it fails, pytest shows
    the server's log.
    """
    from tfs_client.testing import ModelServer

    if reason := ModelServer.missing():
        pytest.skip(reason)
    server = ModelServer()
    try:
        yield server
    finally:
        server.stop()
        print(server.log)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look at the shared server's options, once the fixtures have set it up."""
    shared = item.config.stash.get(_SHARED, None)
    names = getattr(item, "fixturenames", ())
    if shared is None or "session_fake_server" not in names:
        return
    item.stash[_STRICT] = shared.strict
    options = _options(item)
    unknown = [name for name in options if name not in _OF_SHARED]
    if unknown and "fake_server" not in names:
        raise pytest.UsageError(
            f"@pytest.mark.{MARKER}: session_fake_server takes {', '.join(_OF_SHARED)}, got {', '.join(unknown)}; use "
            "fake_server for other options"
        )


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Check strict servers when a test has passed. The test fails then, which an error at teardown would not do."""
    own, shared = item.stash.get(_OWN, None), item.config.stash.get(_SHARED, None)
    found = [own] if own is not None and own.strict else []
    if shared is not None and (shared.strict or _options(item).get("strict")):
        found.append(shared)
    for server in found:
        left = ""
        try:
            server.check()
        except AssertionError as error:
            left = str(error)
        if left:  # not in the block above: pytest would show the text twice
            pytest.fail(left, pytrace=False)


# An old-style wrapper, because every version of pluggy has it. What follows ``yield`` runs even if a teardown raises.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Reset the shared server after each test."""
    yield
    shared = item.config.stash.get(_SHARED, None)
    if shared is not None:
        shared.strict = item.stash.get(_STRICT, shared.strict)
        shared.reset()


def _options(item: Any) -> dict[str, Any]:
    """Return the options of all markers of a test; the closest one wins."""
    options: dict[str, Any] = {}
    for marker in reversed([*item.iter_markers(MARKER)]):
        if marker.args:
            raise pytest.UsageError(f"@pytest.mark.{MARKER} takes options by name only, got {marker.args!r}")
        options |= marker.kwargs
    return options


def _check_ports(item: Any, options: dict[str, Any]) -> None:
    """Refuse a fixed port that the workers of pytest-xdist would fight over."""
    config = options.get("config")
    ports = [options.get("port"), options.get("rest_port")]
    ports += [getattr(config, "port", None), getattr(config, "rest_port", None)]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1 and any(ports) and item.get_closest_marker("xdist_group") is None:
        raise pytest.UsageError(
            f"a fake server with a fixed port cannot run in {workers} workers of pytest-xdist at the same time: use a "
            "free port and fake_server.target, or give all tests with this port the same @pytest.mark.xdist_group and "
            "run pytest with --dist=loadgroup"
        )
