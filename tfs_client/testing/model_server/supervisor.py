"""The program between a test run and its model server: it ends the server when the test run ends, however it ends.

Run as a script, with the standard library only. Its argument is a JSON object; its stdin is a pipe from the test run,
whose end means that the server must go, whether the test run has closed it or was killed. Signals to the group of the
test run, such as Ctrl-C, do not reach it. The exit code is the server's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

GRACE = 5.0  # seconds from SIGTERM to SIGKILL
CLEANUP = 20.0  # seconds for the command that cleans up
CANNOT_START = 127


def supervise(command: Sequence[str], cleanup: Sequence[str], directory: str) -> int:
    """Run a command until it ends or stdin does, and return its exit code.

    Args:
        cleanup: a command to run afterwards; empty: none.
        directory: a directory to remove afterwards.
    """
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr, flush=True)
        return CANNOT_START

    def end() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock would delay the end of this program
        signal_group(server, "SIGTERM")
        try:
            server.wait(GRACE)
        except subprocess.TimeoutExpired:
            signal_group(server, "SIGKILL")

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    code = server.wait()
    signal_group(server, "SIGKILL")  # processes that the server has left behind
    if cleanup:
        try:
            subprocess.run(cleanup, stdin=subprocess.DEVNULL, timeout=CLEANUP, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"the server may still run: {error}", file=sys.stderr, flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    return code


def signal_group(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal to the group of a process. The group can outlive the process."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, getattr(signal, name))
        else:  # Windows
            process.kill()
    except OSError:  # it has ended
        pass


def main() -> None:
    """Run the job in the first argument, and end with its code."""
    job = json.loads(sys.argv[1])
    code = supervise(job["command"], job["cleanup"], job["directory"])
    os._exit(code if 0 <= code < 256 else 128 + abs(code) % 128)


if __name__ == "__main__":
    main()
