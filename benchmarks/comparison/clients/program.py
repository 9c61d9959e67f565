"""The loop of a client program: commands as lines of JSON on standard input, answers on standard output.

    {"do": "prepare", "target": ..., "style": ..., "rest": ..., "directory": ..., "check": ...}
    {"do": "call", "times": 3}                    -> the nanoseconds of each call
    {"do": "check"}                               -> nothing; checks the answer to one more call
    {"do": "flow", "in_flight": 16, "seconds": 1} -> calls, seconds, CPU seconds, and the nanoseconds of each call
    {"do": "peak"}                                -> the largest resident memory so far

The program ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import threading
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time
from typing import Any

from measure import peak_memory

from comparison.clients.client import Client, Given, UnsupportedError
from comparison.files import Files

Make = Callable[[Given], Client]


class Program:
    """Executes commands with one library."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._client: Client | None = None

    def prepare(self, target: str, style: str, rest: bool, directory: str, check: bool) -> dict[str, Any]:
        """Connect anew, make a first call, and check its answer."""
        self.end()
        client = self._make(Given(target, style, rest, Files(Path(directory))))
        if style == "asyncio":
            self._loop.run_until_complete(client.open_aio())
            self._client = client
        else:
            client.open()
            self._client = client
        answer = self._answer(client)
        if check:
            client.check(answer)
        return {}

    def check(self) -> dict[str, Any]:
        """Make one more call, and check its answer."""
        self._open.check(self._answer(self._open))
        return {}

    def call(self, times: int) -> dict[str, Any]:
        """Time single calls."""
        client = self._open
        if client.given.style == "asyncio":
            return {"times": self._loop.run_until_complete(_timed_aio(client, times))}
        found = []
        for _ in range(times):
            began = perf_counter_ns()
            if client.given.style == "sync":
                client.call()
            else:
                client.start().result()
            found.append(perf_counter_ns() - began)
        return {"times": found}

    def flow(self, in_flight: int, seconds: float) -> dict[str, Any]:
        """Keep ``in_flight`` calls under way for some seconds, then check the last answers."""
        client, times = self._open, list[int]()
        last: list[Any] = []
        cpu, began = process_time(), perf_counter()
        end = began + seconds
        if client.given.style == "asyncio":
            self._loop.run_until_complete(_flow_aio(client, in_flight, end, times, last))
        elif client.given.style == "futures":
            _flow_futures(client, in_flight, end, times, last)
        else:
            _flow_threads(client, in_flight, end, times, last)
        found = {"seconds": perf_counter() - began, "cpu": process_time() - cpu, "times": times}
        for answer in last:
            client.check(answer)
        return found

    def peak(self) -> dict[str, Any]:
        """The peak memory of this process."""
        return {"bytes": peak_memory()}

    def end(self) -> None:
        """Close the connection, if there is one."""
        client, self._client = self._client, None
        if client is None:
            return
        if client.given.style == "asyncio":
            self._loop.run_until_complete(client.close_aio())
        else:
            client.close()

    def _answer(self, client: Client) -> Any:
        if client.given.style == "asyncio":
            return self._loop.run_until_complete(client.call_aio())
        return client.call() if client.given.style == "sync" else client.start().result()

    @property
    def _open(self) -> Client:
        if self._client is None:
            raise RuntimeError("the first command is 'prepare'")
        return self._client


async def _timed_aio(client: Client, times: int) -> list[int]:
    found = []
    for _ in range(times):
        began = perf_counter_ns()
        await client.call_aio()
        found.append(perf_counter_ns() - began)
    return found


async def _flow_aio(client: Client, in_flight: int, end: float, times: list[int], last: list[Any]) -> None:
    async def caller() -> None:
        answer = None
        while answer is None or perf_counter() < end:
            began = perf_counter_ns()
            answer = await client.call_aio()
            times.append(perf_counter_ns() - began)
        last.append(answer)

    await asyncio.gather(*(caller() for _ in range(in_flight)))


def _flow_futures(client: Client, in_flight: int, end: float, times: list[int], last: list[Any]) -> None:
    """Wait for the oldest call, read its reply, begin another."""
    under_way = deque((perf_counter_ns(), client.start()) for _ in range(in_flight))
    while under_way:
        began, future = under_way.popleft()
        answer = future.result()
        times.append(perf_counter_ns() - began)
        if perf_counter() < end:
            under_way.append((perf_counter_ns(), client.start()))
        else:
            last.append(answer)


def _flow_threads(client: Client, in_flight: int, end: float, times: list[int], last: list[Any]) -> None:
    failed: list[BaseException] = []

    def caller() -> None:
        try:
            answer = None
            while (answer is None or perf_counter() < end) and not failed:
                began = perf_counter_ns()
                answer = client.call()
                times.append(perf_counter_ns() - began)
            if answer is not None:
                last.append(answer)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=caller) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _free_a_large_block() -> None:
    """Let glibc keep freed memory of up to 64 MB, as it does after a program has freed one array of 32 MB.

    Until then, it returns memory to the system after some calls and not after others, depending on what else the
    process has freed; the page faults of new memory take as long as the rest of a large call.
    """
    bytearray((32 << 20) - (1 << 16))


def serve(make: Make, *packages: str, imported: str | None = None) -> None:
    """Answer commands until standard input ends.

    Args:
        make: opens a client of the library.
        packages: those whose versions the results show.
        imported: the file of the imported library, if the harness is to check which one this is.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    _free_a_large_block()
    program = Program(make)
    hello = {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "imported": imported,
    }
    print(json.dumps(hello), file=answers, flush=True)
    commands = {name: getattr(program, name) for name in ("prepare", "call", "check", "flow", "peak")}
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = commands[command.pop("do")](**command)
        except UnsupportedError as error:
            answer = {"unsupported": str(error)}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=answers, flush=True)
    program.end()
