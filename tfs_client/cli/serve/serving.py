"""The server of tfs-serve: its start, which a signal can abandon, and its orderly stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from queue import SimpleQueue

from tfs_client.cli.serve.flags import Arguments
from tfs_client.cli.serve.server_options import Setup, setup
from tfs_client.cli.serve.systemd import ServiceManager
from tfs_client.cli.signals import HANGUP, Signals
from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server import Server
from tfs_client.server.grpc.listening import rest_address
from tfs_client.server.lifecycle.platforms import Platforms
from tfs_client.server.server import rest_host
from tfs_client.server.server_metrics import ServerMetrics

log: logging.Logger = logging.getLogger("tfs_client.server")

RETRY_INTERVAL = 0.1  # seconds between requests to a start to end
ABANDON_AFTER = 1.3  # seconds for a start to end; code of a model or a file system may block it forever


def run(arguments: Arguments, signals: Signals) -> None:
    """Serve until a signal, then stop in order. Raises TFServingError if the start fails."""
    service = ServiceManager()  # before a model can start a process
    start = _Start(arguments, signals.events)
    start.thread.start()
    event, serving = _wait_for_end(start, arguments.values.model_config_file, signals, service)
    if isinstance(event, BaseException):
        raise event
    assert isinstance(event, signal.Signals)
    signals.stopping = True
    log.info("%s: stopping; a second signal ends the process at once", event.name)
    service.stopping()
    if (serving or start.end(ABANDON_AFTER)) and start.server is not None:
        start.server.stop()
    if start.platforms is not None:
        start.platforms.close()
    log.info("Stopped")


def _wait_for_end(start: _Start, config_file: str, signals: Signals, service: ServiceManager) -> tuple[object, bool]:
    """Wait for a signal to stop or the exception of a failed start. Returns it, and whether the server serves.

    After SIGHUP the server reads the model config file again, as soon as it has started. Without a file, or if the
    terminal is closed, SIGHUP stops the server.
    """
    serving = hung_up = False
    while True:
        event = signals.events.get()
        if event is STARTED:
            serving = True
            service.ready(start.status())
        elif event is HANGUP and config_file and not signals.terminal_is_gone():
            hung_up = True
            if not serving:
                log.info("SIGHUP: %s will be read again after startup", config_file)
        else:
            return event, serving
        if serving and hung_up and start.server is not None:
            log.info("SIGHUP: reading %s again", config_file)
            start.server.core.read_file_again()
            hung_up = False


STARTED = object()  # the event of a successful start; for a failed one it is the exception


class _Start:
    """The start, in a separate thread, so that a signal can end the program even if the start is blocked.

    Attributes:
        server, platforms: None until they exist.
    """

    def __init__(self, arguments: Arguments, events: SimpleQueue[object]) -> None:
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
        metrics = ServerMetrics()
        self.platforms = platforms = Platforms(setup.platforms, metrics)
        self.server = server = Server(
            setup.config, platforms=platforms.loads, warmup=platforms.warm_up, metrics=metrics
        )
        if setup.embedded:
            _add_embedded(server)
        if setup.fakes.paths:
            from tfs_client.cli.serve.fakes import add_fakes

            add_fakes(server, setup.fakes)
        if setup.rest_port is not None:
            rest_host()  # fails early if its packages are not installed, before any port is open
        _start_grpc(server)
        if setup.rest_port is not None:
            _start_rest(server, setup.rest_port)

    def status(self) -> str:
        """Return where the server listens, for the service manager. Only after the start."""
        assert self.server is not None
        rest = f", REST at {self.server.rest_url}" if self._arguments.values.rest_api_port else ""
        return f"Serving gRPC at {self.server.target}{rest}"

    def end(self, timeout: float) -> bool:
        """Ask the start to end, repeatedly, because it may only now begin to wait. False if it does not end."""
        end = time.monotonic() + timeout
        while self.thread.is_alive() and time.monotonic() < end:
            if self.server is not None:
                self.server.core.stop_waiting()
            self.thread.join(RETRY_INTERVAL)
        if self.thread.is_alive():
            log.warning("Startup is blocked by a model or a file system: abandoning it")
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
        raise InvalidArgumentError(
            f"Failed to start HTTP Server at {rest_address(server.config.host, port)}"
        ) from error


def _add_embedded(server: Server) -> None:
    from tfs_client.server.embedded import MODELS

    for name, signatures in MODELS.items():
        server.add_model(name, signatures())
    log.info("Serving the embedded models: %s", ", ".join(MODELS))
