"""Running the server of tfs-serve: its start, which may be given up, and its orderly stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from queue import SimpleQueue
from typing import Any

from tfs_client.cli.serve_flags import Arguments
from tfs_client.cli.serve_options import Setup, setup
from tfs_client.cli.serve_signals import StopSignals
from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server import Server
from tfs_client.server.measures import Measures
from tfs_client.server.platforms import Platforms
from tfs_client.server.server import rest_host

log = logging.getLogger("tfs_client.server")

LOOK = 0.1  # seconds between two requests to a start that it may end
PATIENCE = 1.3  # seconds for a start to end; what it waits for, code of a model or a file system, may take for ever


def run(arguments: Arguments, signals: StopSignals) -> None:
    """Serve until a signal says to stop, then stop in order. Raises TFServingError when the start fails."""
    start = _Start(arguments, signals.events)
    start.thread.start()
    event = signals.events.get()
    if serving := event is STARTED:
        event = signals.events.get()
    if isinstance(event, BaseException):
        raise event
    assert isinstance(event, signal.Signals)
    log.info("%s: stopping; a second signal ends the process at once", event.name)
    if (serving or start.given_up(PATIENCE)) and start.server is not None:
        start.server.stop()
    if start.platforms is not None:
        start.platforms.close()
    log.info("Stopped")


STARTED = object()  # the event of a start that is done; that of one that failed is its exception


class _Start:
    """The start, in a thread of its own, so that a signal can end the program whatever it waits for.

    Attributes:
        server, platforms: None until they are made.
    """

    def __init__(self, arguments: Arguments, events: SimpleQueue[Any]) -> None:
        self.server: Server | None = None
        self.platforms: Platforms | None = None
        self.thread = threading.Thread(target=self._run, name="tfs-serve-start", daemon=True)
        self._arguments = arguments
        self._events = events

    def _run(self) -> None:
        try:
            self._open(setup(self._arguments))
        except BaseException as error:
            if self.server is not None:
                self.server.stop(0)
            if self.platforms is not None:
                self.platforms.close()
            self._events.put(error)
        else:
            self._events.put(STARTED)

    def _open(self, setup: Setup) -> None:
        measures = Measures()
        self.platforms = platforms = Platforms(setup.platforms, measures)
        self.server = server = Server(
            setup.config, platforms=platforms.loads, warmup=platforms.warm_up, measures=measures
        )
        if setup.embedded:
            _add_embedded(server)
        if setup.rest_port is not None:
            rest_host()  # before anything answers, since nothing would if it were not installed
        _start_grpc(server)
        if setup.rest_port is not None:
            _start_rest(server, setup.rest_port)

    def given_up(self, patience: float) -> bool:
        """Ask the start to end, again and again, since it may just begin to wait; False when it does not end."""
        end = time.monotonic() + patience
        while self.thread.is_alive() and time.monotonic() < end:
            if self.server is not None:
                self.server.core.give_up()
            self.thread.join(LOOK)
        if self.thread.is_alive():
            log.warning("Startup does not end: a model or a file system blocks it. It is abandoned")
        return not self.thread.is_alive()


def _start_grpc(server: Server) -> None:
    try:
        server.start()
    except ConfigError as error:
        log.error("%s", error)
        raise InvalidArgumentError("Failed to BuildAndStart gRPC server") from error


def _start_rest(server: Server, port: int) -> None:
    try:
        server.open_rest(port)
    except ConfigError as error:
        log.error("%s", error)
        raise InvalidArgumentError(f"Failed to start HTTP Server at localhost:{port}") from error


def _add_embedded(server: Server) -> None:
    from tfs_client.server.embedded import MODELS

    for name, signatures in MODELS.items():
        server.add_model(name, signatures())
    log.info("Serving the embedded models: %s", ", ".join(MODELS))
