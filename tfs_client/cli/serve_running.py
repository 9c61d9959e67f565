"""Running the server of tfs-serve: its start, which may be given up, and its orderly stop."""

from __future__ import annotations

import logging
import signal
import threading

from tfs_client.cli.serve_options import Setup
from tfs_client.cli.serve_signals import StopSignals
from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server import Server
from tfs_client.server.measures import Measures
from tfs_client.server.platforms import Platforms
from tfs_client.server.server import rest_host

log = logging.getLogger("tfs_client.server")

LOOK = 0.1  # seconds between two requests to a start that it may end


def run(setup: Setup, signals: StopSignals) -> None:
    """Serve until a signal says to stop, then stop in order. Raises TFServingError when the start fails."""
    measures = Measures()
    with Platforms(setup.platforms, measures) as platforms:
        server = Server(setup.config, platforms=platforms.loads, warmup=platforms.warm_up, measures=measures)
        if setup.embedded:
            _add_embedded(server)
        starting = threading.Thread(target=_start, args=(server, setup, signals), name="tfs-serve-start", daemon=True)
        starting.start()
        event = signals.events.get()
        if event is STARTED:
            event = signals.events.get()
        if isinstance(event, BaseException):
            raise event
        _stop(server, starting, event)


STARTED = object()  # the event of a start that is done; that of one that failed is its exception


def _start(server: Server, setup: Setup, signals: StopSignals) -> None:
    try:
        if setup.rest_port is not None:
            rest_host()  # before anything answers, since nothing would if it were not installed
        _start_grpc(server)
        if setup.rest_port is not None:
            _start_rest(server, setup.rest_port)
    except BaseException as error:
        server.stop(0)
        signals.events.put(error)
    else:
        signals.events.put(STARTED)


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


def _stop(server: Server, starting: threading.Thread, number: signal.Signals) -> None:
    log.info("%s: stopping, a second signal ends the process at once", number.name)
    while starting.is_alive():  # again and again, since the start may just begin
        server.core.give_up()
        starting.join(LOOK)
    server.stop()
    log.info("Stopped")
