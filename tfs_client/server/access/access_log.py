"""AccessLog: one line of JSON for each call, written by a thread so that calls do not wait for the file.

A line never contains inputs, outputs, tokens or error texts, which may quote them. The only texts from the client are
the names of the model and the signature, and the request id.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import datetime, timezone
from typing import NamedTuple
from urllib.parse import unquote

from tfs_client.errors import FailedPreconditionError, call_error
from tfs_client.server.access.log_limit import OncePerSecond
from tfs_client.server.call_record import ServedCall
from tfs_client.server.files.file_errors import file_error
from tfs_client.server.files.file_uris import local_path

log: logging.Logger = logging.getLogger(__name__)
log.addFilter(OncePerSecond())

STDOUT = "-"
REQUEST_ID = "x-request-id"
MOST_WAITING = 10_000  # maximum number of lines that wait to be written; further ones are lost
LONGEST_NAME = 200  # characters
PAUSE = 0.05  # seconds for which the writer collects lines
LOOK = 1.0  # seconds between two checks for a rotation of the file
LAST_LINES = 2.0  # seconds for writing the remaining lines at the end
MODE = 0o640
MAPPED = re.compile(r"^\[::ffff:([0-9.]+)\]")  # an IPv4 address on a socket for both families
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class Entry(NamedTuple):
    """The fields of a line, with the names of the JSON object."""

    time: float
    peer: str
    transport: str
    method: str
    model: str
    version: int | None
    signature: str
    rows: int | None
    bytes_in: int
    bytes_out: int
    code: str
    seconds: float
    request_id: str | None


class AccessLog:
    """The access log of a server. ``ended`` may be called from any thread, also while the log is not open.

    Args:
        path: the file, to which lines are appended; ``-`` for standard output.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._entries: deque[Entry] = deque()
        self._due = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open the file and start the writer. Raises CallError."""
        if self._thread is not None:
            return
        if self._path == STDOUT and sys.stdout is None:  # descriptor 1 may be another file by now
            raise FailedPreconditionError("access_log: expected standard output to be open, or the name of a file")
        try:
            file = _File(self._path if self._path == STDOUT else local_path(self._path))
        except OSError as error:
            failure = file_error(error, self._path)
            raise call_error(failure.code, f"access_log: {failure.details}") from None
        self._entries.clear()
        self._closing = closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(file, closing), name="tfs-serve-access-log", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Write the remaining lines, for a limited time, and close the file."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing.set()
        self._due.set()
        thread.join(LAST_LINES)
        if thread.is_alive():
            log.warning("The last lines of the access log were not written: the file is too slow")

    def ended(self, call: ServedCall) -> None:
        """Queue a line about a call that has ended."""
        if self._thread is None:
            return
        if len(self._entries) >= MOST_WAITING:
            log.warning("The access log cannot be written fast enough. Lines are lost")
            return
        self._entries.append(_entry(call))
        if not self._due.is_set():
            self._due.set()

    def _run(self, file: _File, closing: threading.Event) -> None:
        while self._entries or not closing.is_set():  # also lines that arrived while the last ones were written
            self._due.wait()
            closing.wait(PAUSE)
            self._due.clear()
            try:
                file.write("".join(map(_line, self._waiting())).encode())
            except Exception as error:  # the next write may succeed
                log.warning("The access log cannot be written: %s. Lines are lost", getattr(error, "strerror", error))
        file.close()

    def _waiting(self) -> list[Entry]:
        """Remove and return the entries that wait."""
        return [self._entries.popleft() for _ in range(len(self._entries))]


class _File:
    """The file, open for appending. If it is renamed or deleted, its path is opened again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.dup(1) if path == STDOUT else _opened(path)
        self._looked = time.monotonic()
        self._torn = False  # whether the last line is incomplete

    def write(self, lines: bytes) -> None:
        """Append lines. Raises OSError; the next call ends a line that was written in part."""
        self._follow()
        rest = memoryview(b"\n" + lines if self._torn else lines)
        while rest:
            written = os.write(self._file, rest)
            self._torn = rest[written - 1] != ord("\n")
            rest = rest[written:]

    def close(self) -> None:
        os.close(self._file)

    def _follow(self) -> None:
        now = time.monotonic()
        if self._path == STDOUT or now < self._looked + LOOK:
            return
        self._looked = now
        try:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                    return
            file = _opened(self._path)
        except OSError as error:
            log.warning("The access log cannot be reopened: %s. Lines go to the old file", error.strerror)
            return
        os.close(self._file)
        self._file, self._torn = file, False


def _opened(path: str) -> int:
    """Open a file for appending; a named pipe only if it has a reader. Raises OSError."""
    file = os.open(path, _FLAGS, MODE)
    if hasattr(os, "set_blocking"):
        os.set_blocking(file, True)
    return file


def _entry(call: ServedCall) -> Entry:
    given = call.metadata.get(REQUEST_ID)
    return Entry(
        time.time() - call.seconds,
        call.peer,
        call.transport,
        call.method,
        _short(call.model),
        call.version,
        _short(call.signature),
        _rows(call),
        call.bytes_in,
        call.bytes_out,
        call.code.name,
        call.seconds,
        _short(given) if isinstance(given, str) else None,
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def _rows(call: ServedCall) -> int | None:
    """Return the number of examples, or the first dimension that all inputs share. Scalars are ignored."""
    if call.examples:
        return call.examples
    sizes = {array.shape[0] for array in call.inputs.values() if array.ndim}
    return sizes.pop() if len(sizes) == 1 else None


def _line(entry: Entry) -> str:
    began = datetime.fromtimestamp(entry.time, timezone.utc).isoformat(timespec="microseconds")
    fields = entry._replace(peer=_address(entry.peer), seconds=round(entry.seconds, 6))._asdict()
    return json.dumps({**fields, "time": began.replace("+00:00", "Z")}) + "\n"


def _address(peer: str) -> str:
    """Return ``127.0.0.1:5000``, ``[::1]:5000`` or ``unix`` for a peer of gRPC (``ipv4:127.0.0.1:5000``) or REST."""
    kind, _, rest = peer.partition(":")
    if kind == "unix":
        return kind
    return MAPPED.sub(r"\1", unquote(rest) if kind in ("ipv4", "ipv6") else peer)
