"""Run many small programs to their end, each as the main program of its own process.

Starting Python and importing numpy, grpc and httpx takes half a second, so one process does that, and forks for each
program. A fork continues as the main program and ends like any other: the interpreter is finalized. The garbage
collector ignores imported objects, which would take twice as long as all the rest; ``gc.unfreeze()`` undoes that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LIMIT = 30  # seconds after which a program hangs

_HOST = """
import asyncio, atexit, concurrent.futures, encodings.idna, gc, json, os, signal, sys, tempfile, threading, time
import grpc, grpc.aio, httpx
import numpy as np
import tfs_client._transports.grpc, tfs_client._transports.grpc_aio, tfs_client._transports.rest
import tfs_client._transports.rest_aio, tfs_client._flows.batching.performing, tfs_client._flows.batching.performing_aio
import tfs_client._codec.rest_json, tfs_client._codec.rest_messages
from concurrent.futures import as_completed, wait
from tfs_client import *

def _run(programs, limit, at_once):
    running, ended = {}, {}
    todo = list(programs.items())
    gc.freeze()
    while todo or running:
        while todo and len(running) < at_once:
            name, source = todo.pop(0)
            files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
            process = os.fork()
            if not process:
                os.setsid()
                os.dup2(files[0].fileno(), 1)
                os.dup2(files[1].fileno(), 2)
                return source
            running[process] = name, files, time.monotonic()
        for process, (name, files, began) in list(running.items()):
            found, status = os.waitpid(process, os.WNOHANG)
            hangs = not found and time.monotonic() - began > limit
            if hangs:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
            if found or hangs:
                del running[process]
                texts = []
                for file in files:
                    file.seek(0)
                    texts.append(file.read().decode(errors="replace"))
                code = None if hangs else os.waitstatus_to_exitcode(status)
                ended[name] = code, *texts, time.monotonic() - began
        time.sleep(0.005)
    json.dump(ended, sys.__stdout__)
    sys.__stdout__.flush()
    os._exit(0)

def interrupt(after=0.5):
    "Send this process what Ctrl-C sends, as soon as the main thread has had the time to wait for something."
    def work():
        time.sleep(after)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=work, daemon=True).start()

_job = json.loads(sys.stdin.read())
signal.signal(signal.SIGINT, signal.default_int_handler)
exec(compile(_run(_job["programs"], _job["limit"], _job["at_once"]), "program", "exec"))
"""


class End(NamedTuple):
    """How a program ended.

    Attributes:
        code: its exit code; minus the number of the signal that ended it; None when it hung.
        output: what it printed.
        errors: what it wrote to stderr.
        seconds: how long it took.
    """

    code: int | None
    output: str
    errors: str
    seconds: float


def ends(programs: Mapping[str, str], at_once: int = 8, **environment: str) -> dict[str, End]:
    """Run programs, some at once; how each ended, by name. They find imports made, and ``interrupt``."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", _HOST],
        input=json.dumps({"programs": dict(programs), "limit": LIMIT, "at_once": at_once}),
        cwd=ROOT,  # where Python looks first for what is imported
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT * (2 + len(programs) / at_once),
    )
    assert done.returncode == 0, done.stderr
    return {name: End(*end) for name, end in json.loads(done.stdout).items()}
