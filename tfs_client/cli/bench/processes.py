"""Processes: a load generator in several client processes.

Every process makes its own client and queries and is an ``Engine`` with its share of the load (``worker.py``). This
process only agrees with them on the start of a stage, merges what they report, and decides when a stage ends early.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from tfs_client._printable import shown
from tfs_client.aio import AsyncPredictClient
from tfs_client.cli.bench.engine import IN_FLIGHT, PATIENCE
from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.queries import Queries
from tfs_client.cli.bench.schedules import Share
from tfs_client.cli.bench.stages import Enough, GeneratorError, Progress, Stage
from tfs_client.cli.bench.worker import Ended, EndStage, Ready, Reported, RunStage, Work, work
from tfs_client.errors import ClosedError, ConfigError

MOST = 256  # processes
START = 0.2  # seconds until a stage starts: every process has received it by then
STOP = 0.1  # seconds until a stage ends that is ended early
SET_UP = 120.0  # seconds that processes may take to start, and to make their queries
MARGIN = 30.0  # seconds after which a process that should have reported is taken for stuck
CLOSE = 3.0  # seconds that processes have to close their connections


class Processes:
    """A ``Generator`` in several processes, started with "spawn".

    A Poisson load is split into independent streams, the requests of a fixed rate and those of a recording are dealt
    out in turn, and the callers of a closed loop are divided. Processes that are left over send nothing.

    The processes end with this one, however it ends, and ignore Ctrl-C, which interrupts ``run`` in this one. If one is
    killed or fails, ``run`` ends the others and raises, and the generator is closed.

    Arguments:
        queries, make_client: as for ``Engine``; they are pickled.
        processes: how many.
        in_flight, checked, patience: as for ``Engine``; ``in_flight`` is divided.

    Raises ConfigError for invalid arguments, and what a process raises when it makes its queries and its client.
    """

    def __init__(
        self,
        queries: Queries,
        make_client: Callable[[], AsyncPredictClient],
        processes: int,
        *,
        in_flight: int = IN_FLIGHT,
        checked: float = 1.0,
        patience: float = PATIENCE,
    ) -> None:
        if not 1 <= processes <= MOST:
            raise ConfigError(f"processes: expected 1 to {MOST}, got {shown(processes)}")
        if in_flight < processes:
            raise ConfigError(
                f"in_flight: expected 1 or more for each of {processes} processes, got {shown(in_flight)}"
            )
        self._patience = patience
        self._workers: dict[Connection[Any, Any], BaseProcess] = {}
        self._closed = False
        try:
            self._start(processes)
            for index, connection in enumerate(self._workers):
                self._send_to(
                    connection, Work(queries, make_client, in_flight, checked, patience, Share(index, processes))
                )
            self._collect(Ready, monotonic() + SET_UP)
        except BaseException:
            for process in self._workers.values():  # one that still imports modules reads its connection late
                process.terminate()
            self.close()
            raise

    def run(self, stage: Stage, progress: Progress | None = None, enough: Enough | None = None) -> Measured:
        """Run a stage in all processes, and return what they measured together."""
        if self._closed:
            raise ClosedError("this load generator is closed")
        start = monotonic() + START
        latest: dict[Connection[Any, Any], Measured] = {}
        fresh: set[Connection[Any, Any]] = set()
        ended: set[Connection[Any, Any]] = set()

        def reported(worker: Connection[Any, Any], report: Reported | Ended) -> None:
            latest[worker] = report.measured
            fresh.add(worker)
            if isinstance(report, Ended):
                ended.add(worker)
            if isinstance(report, Reported) and len(fresh) == len(self._workers):  # all have, since the last time
                merged = _merged(latest.values())
                fresh.clear()
                fresh.update(ended)
                if progress is not None:
                    progress(merged)
                if enough is not None and enough(merged):
                    self._send(EndStage(monotonic() + STOP - start - stage.warmup))

        try:
            watched = progress is not None or enough is not None
            self._send(RunStage(stage, start, watched))
            limit = start + stage.warmup + stage.seconds + 2 * self._patience + MARGIN
            return _merged(ended.measured for ended in self._collect(Ended, limit, reported))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the processes: by request, then by force. May be called again."""
        self._closed = True
        for connection in self._workers:
            connection.close()  # a process that reads the end of its connection ends
        limit = monotonic() + CLOSE
        for end in (None, BaseProcess.terminate, BaseProcess.kill):
            for process in self._workers.values():
                if end is not None and process.is_alive():
                    end(process)
            for process in self._workers.values():
                process.join(max(0.0, limit - monotonic()))
            limit = monotonic() + CLOSE
        self._workers = {}

    def _start(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # its start would let Ctrl-C through again
        for index in range(processes):
            own, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs,), name=f"tfs-bench-{index}", daemon=True)
            with _interrupts_held():  # this one is short, because the process receives its work later
                process.start()
                self._workers[own] = process
            theirs.close()

    def _send(self, message: object) -> None:
        for connection in self._workers:
            self._send_to(connection, message)

    def _send_to(self, connection: Connection[Any, Any], message: object) -> None:
        with suppress(OSError):  # its end is found when its answer is awaited
            connection.send(message)

    def _collect(
        self,
        kind: type[Any],
        limit: float,
        reported: Callable[[Connection[Any, Any], Reported | Ended], None] | None = None,
    ) -> list[Any]:
        """Wait until every process has sent a message of this kind. Raises what a process raised."""
        found: list[Any] = []
        waiting = set(self._workers)
        while waiting:
            ready = wait(list(waiting), max(0.0, limit - monotonic()))
            if not ready:
                raise GeneratorError(
                    f"{len(waiting)} of {len(self._workers)} client processes do not respond; "
                    "is the machine overloaded? Use fewer processes or a lower rate"
                )
            for connection in ready:
                assert isinstance(connection, Connection)
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    raise self._lost(connection) from None
                if isinstance(message, Exception):
                    raise message
                if isinstance(message, kind):
                    found.append(message)
                    waiting.discard(connection)
                if isinstance(message, (Reported, Ended)) and reported is not None:
                    reported(connection, message)
        return found

    def _lost(self, connection: Connection[Any, Any]) -> GeneratorError:
        process = self._workers[connection]
        process.join(CLOSE)
        code = process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return GeneratorError(
            f"client process {process.name} (pid {process.pid}) {how} before its part of the load was done, "
            "which ended the stage"
        )


def _merged(parts: Any) -> Measured:
    whole = Measured()
    for part in parts:
        whole.add(part)
    return whole


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the context.

    Processes that are started meanwhile never receive it, not even while they import modules: they inherit the mask of
    this thread. The mask does not protect this process, as another thread may receive the signal and Python then runs
    its handler in the main thread; so that one is replaced too.
    """
    handler = signal.getsignal(signal.SIGINT)
    if (
        not hasattr(signal, "pthread_sigmask")
        or threading.current_thread() is not threading.main_thread()
        or handler is None  # not set by Python, which could not set it again
    ):
        yield
        return
    held: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if held:
            signal.raise_signal(signal.SIGINT)
