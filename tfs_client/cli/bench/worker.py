"""A client process of ``Processes``: an engine that runs the stages that arrive on a connection.

The main thread runs the engine. One thread reads the connection, and ends the process when the connection ends, which
it does when the parent closes it or dies. Another sends progress: a parent that reads slowly must not stop the load.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from tfs_client.aio import AsyncPredictClient
from tfs_client.cli.bench.engine import Engine
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.queries import Queries
from tfs_client.cli.bench.schedules import Share
from tfs_client.cli.bench.stages import GeneratorError, Stage
from tfs_client.errors import TFServingError


class Work(NamedTuple):
    """The arguments of a process's engine."""

    queries: Queries
    make_client: Callable[[], AsyncPredictClient]
    in_flight: int
    checked: float
    patience: float
    share: Share


class RunStage(NamedTuple):
    """Run a stage; ``start``: as ``time.monotonic`` counts, which is the same clock in all processes."""

    stage: Stage
    start: float
    watched: bool


class EndStage(NamedTuple):
    """End the stage so many seconds after the start of its measured time."""

    seconds: float


class Ready(NamedTuple):
    """The engine is made."""


class Reported(NamedTuple):
    """What a stage has measured so far."""

    measured: Measured


class Ended(NamedTuple):
    """What a stage measured."""

    measured: Measured


def work(connection: Connection[Any, Any]) -> None:
    """The main function of the process, which receives ``Work`` first."""
    with suppress(ValueError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    try:
        options: Work = connection.recv()
        engine = Engine(
            options.queries,
            options.make_client,
            in_flight=options.in_flight,
            checked=options.checked,
            patience=options.patience,
            share=options.share,
        )
    except EOFError:  # the parent has ended
        return
    except Exception as error:
        with suppress(OSError):
            connection.send(_sendable(error))
        return
    stages: queue.SimpleQueue[RunStage] = queue.SimpleQueue()
    reports = _Reports(connection)
    threading.Thread(target=_receive, args=(connection, engine, stages), daemon=True).start()
    reports.send(Ready())
    while True:
        message = stages.get()
        try:
            progress = reports.replace if message.watched else None
            answer: object = Ended(engine.run(message.stage, progress, start=message.start))
        except Exception as error:
            answer = _sendable(error)
        reports.send(answer)


def _receive(connection: Connection[Any, Any], engine: Engine, stages: queue.SimpleQueue[RunStage]) -> None:
    try:
        while True:
            message = connection.recv()
            if isinstance(message, EndStage):
                engine.end(message.seconds)
            else:
                stages.put(message)
    finally:  # the parent is gone, or wants this process to be
        os._exit(0)


class _Reports:
    """Sends messages from a separate thread; a report that was not sent yet is replaced by the next."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._latest: Measured | None = None
        self._changed = threading.Event()
        threading.Thread(target=self._send_latest, daemon=True).start()

    def replace(self, measured: Measured) -> None:
        self._latest = measured
        self._changed.set()

    def send(self, message: object) -> None:
        """Send a message now; no older report follows it."""
        with self._sending, suppress(OSError):
            self._latest = None
            self._connection.send(message)

    def _send_latest(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            with self._sending, suppress(OSError):
                latest, self._latest = self._latest, None
                if latest is not None:
                    self._connection.send(Reported(latest))


def _sendable(error: Exception) -> Exception:
    """The error, or one with its traceback as text if it is not one of this package."""
    if isinstance(error, TFServingError):
        return error
    return GeneratorError(f"a client process failed: {''.join(traceback.format_exception(error)).strip()}")
