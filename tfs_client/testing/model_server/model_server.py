"""ModelServer: TensorFlow's own model server for tests."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tfs_client._flows import forks
from tfs_client._printable import bounded
from tfs_client.client import PredictClient
from tfs_client.errors import CallError, ClosedError, ConfigError, DeadlineExceededError, call_error
from tfs_client.options import checked_timeout
from tfs_client.testing.model_server.server_commands import IMAGE, ServedPath, find_command
from tfs_client.testing.model_server.supervised_process import SupervisedProcess

ATTEMPTS = 3  # another program may take a free port before the server does
FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0  # seconds until the process is looked at again; each wait is twice as long
LONGEST_LOG = 3000  # bytes of the log in an error


class ModelServer:
    """The real ``tensorflow_model_server``, on free ports, for tests that must not rely on a fake.

    ::

        with ModelServer().add_saved_model("export/half_plus_two") as server:
            client = PredictClient(server.target, model="half_plus_two")    # or server.rest_url

    It runs the program ``tensorflow_model_server`` if it is on PATH, otherwise the Docker image. The program listens on
    all addresses of the machine, because it has no flag for that; the container is published on the loopback address.
    The server ends with ``stop``, and also when this process ends or is killed.

    Args:
        arguments: further flags of the server, such as "--enable_batching".
        timeout: seconds until the server must be ready; None for no limit.
        image: the Docker image. Docker downloads it if necessary, within the timeout.

    Raises ConfigError for an invalid timeout.
    """

    def __init__(self, *, arguments: Sequence[str] = (), timeout: float | None = 60.0, image: str = IMAGE) -> None:
        self._arguments = [*arguments]
        limit = checked_timeout(timeout)
        self._timeout = math.inf if limit is None else limit
        self._image = image
        self._models: list[ServedPath] = []
        self._process: SupervisedProcess | None = None
        self._ports = (0, 0)
        self._stopped = False
        self._origin = forks.Origin()  # where it was started
        self._last_log = ""

    @staticmethod
    def missing(image: str = IMAGE) -> str:
        """Return why this machine cannot run the server; "" if it can."""
        try:
            find_command(image)
        except ConfigError as error:
            return str(error)
        return ""

    def add_saved_model(self, path: str | os.PathLike[str], name: str | None = None) -> ModelServer:
        """Serve a model, from the start on.

        Args:
            path: a base path, with a numbered directory for each version, of which the server loads the latest; or the
                directory of one version, whose number is 1 if its name is not a number.
            name: the model's name; by default that of the base path, or of the version's directory if it has no number.

        Returns the server itself. Raises ConfigError for a path without a model, for a name that is used already, and
        if the server has been started.
        """
        if self._process is not None:
            raise ConfigError("the model server is running: add its models before the first use of target or rest_url")
        model = _served_path(Path(path).absolute(), name)
        if any(known.name == model.name for known in self._models):
            raise ConfigError(f"a model with the name {model.name!r} was added already; pass name=")
        self._models.append(model)
        return self

    @property
    def target(self) -> str:
        """The target for PredictClient over gRPC. The first access starts the server; see ``start``."""
        return f"127.0.0.1:{self._started()[0]}"

    @property
    def rest_url(self) -> str:
        """The target for PredictClient over REST. The first access starts the server; see ``start``."""
        return f"http://127.0.0.1:{self._started()[1]}"

    @property
    def log(self) -> str:
        """What the server has written so far, or until it was stopped; the last MiB of it."""
        return self._last_log if self._process is None else self._process.log()

    def _started(self) -> tuple[int, int]:
        if self._stopped:
            raise ClosedError("the model server is not running: start() it again")
        if self._process is None:
            self.start()
        return self._ports

    def start(self) -> ModelServer:
        """Start the server, and return once all models answer. Has no effect while it runs.

        Raises ConfigError without models, if the machine cannot run the server, or if the server ends;
        DeadlineExceededError if it is not ready in time; FailedPreconditionError if it cannot load a model. The message
        includes the end of the server's log.
        """
        if self._process is not None:
            return self
        if not self._models:
            raise ConfigError("the model server has no models: call add_saved_model first")
        command = find_command(self._image)
        end = time.monotonic() + self._timeout
        for attempt in range(1, ATTEMPTS + 1):
            directory = Path(tempfile.mkdtemp(prefix="tfs-client-"))
            try:
                self._origin = forks.Origin()
                self._ports = _free_ports()
                launch = command.launch(self._models, directory, self._ports, self._arguments)
                self._process = SupervisedProcess(launch.command, launch.cleanup, directory)
            except BaseException:
                shutil.rmtree(directory, ignore_errors=True)
                raise
            try:
                self._wait_until_ready(self._process, end)
            except BaseException as error:
                self.stop()
                if isinstance(error, ConfigError) and attempt < ATTEMPTS and any(map(_is_taken, self._ports)):
                    continue
                raise
            self._stopped = False
            return self
        raise AssertionError("the last attempt returns or raises")

    def _wait_until_ready(self, process: SupervisedProcess, end: float) -> None:
        wait = FIRST_WAIT
        for model in self._models:
            # A new client each time: one that was refused a connection would pause before it connects again.
            while not self._is_ready(model.name, max(0.01, min(wait, end - time.monotonic()))):
                code = process.exit_code
                if code is not None:
                    raise ConfigError(f"the model server ended with the exit code {code}; {self._end_of_log()}")
                if time.monotonic() >= end:
                    raise DeadlineExceededError(
                        f"the model server was not ready after {self._timeout:g} seconds; {self._end_of_log()}"
                    )
                wait = min(2 * wait, LONGEST_WAIT)

    def _is_ready(self, model: str, timeout: float) -> bool:
        with PredictClient(f"127.0.0.1:{self._ports[0]}", model=model) as client:
            try:
                client.wait_until_ready(timeout)
            except DeadlineExceededError:
                return False
            except CallError as error:
                raise call_error(error.code, f"{error.details}; {self._end_of_log()}", error.method) from error
        return True

    def _end_of_log(self) -> str:
        lines = self.log.rstrip()
        return f"the end of its log:\n{bounded(lines[-LONGEST_LOG:], LONGEST_LOG)}" if lines else "its log is empty"

    def stop(self) -> None:
        """End the server. Calling it again has no effect, and neither has the call in a forked process."""
        process, self._process = self._process, None
        if process is not None and self._origin.here:
            process.stop()
            self._last_log = process.log()
        self._stopped = True

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(
        self,
        _warn: Callable[..., None] = warnings.warn,
        _program_ends: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        if getattr(self, "_process", None) is not None and self._origin.here and not _program_ends():
            _warn(f"unclosed model server at port {self._ports[0]}: call stop()", ResourceWarning, source=self)
            self.stop()


def _served_path(path: Path, name: str | None) -> ServedPath:
    if not path.is_dir():
        raise ConfigError(f"expected the directory of a model, got {path}")
    if any(each.name.isdecimal() and each.is_dir() for each in path.iterdir()):
        return ServedPath(name or path.name, path, None)
    if not any(path.iterdir()):
        raise ConfigError(f"expected a model in the directory {path}, which is empty")
    if path.name.isdecimal():
        return ServedPath(name or path.parent.name, path, int(path.name))
    return ServedPath(name or path.name, path, 1)


def _free_ports() -> tuple[int, int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(2)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        first, second = (probe.getsockname()[1] for probe in probes)
    return first, second


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
