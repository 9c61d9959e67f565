"""The Ray engine: it runs the local engine in the workers of a cluster, each with a part of the pictures.

The workers read the pictures, so the paths must be valid there: on this machine, or on storage that all machines share.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from typing import Any

from tfs_client.cli.predict.bulk import local_engine
from tfs_client.cli.predict.bulk.engines import Job
from tfs_client.cli.predict.bulk.outcomes import Outcome
from tfs_client.errors import ConfigError, TFServingError

try:
    exceptions: Any = import_module("ray.exceptions")
    ray: Any = import_module("ray")
except ModuleNotFoundError as _error:  # before any file is written
    raise ConfigError(f"--engine ray needs Ray ({_error}): pip install 'tfs-client[ray]'") from None

BATCHES = 4  # per task: enough to keep requests in flight, few to repeat after the loss of a worker
AHEAD = 2  # tasks per processor, so that none is idle

Result = tuple[list[Outcome], TFServingError | None]


def outcomes(job: Job, names: Iterable[str]) -> Generator[Outcome, None, None]:
    """Yield an outcome for each name, in the order in which tasks end.

    At most ``AHEAD`` tasks per processor are submitted. Ray repeats tasks whose worker is lost.

    Raises ConfigError if no cluster can be reached or started.
    """
    with _cluster():
        task = ray.remote(_predict)
        most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        chunks = _chunks(names, BATCHES * job.batch_size)
        waiting: list[Any] = []
        try:
            while True:
                waiting += [task.remote(job, os.getcwd(), chunk) for chunk in islice(chunks, most - len(waiting))]
                if not waiting:
                    return
                (done,), waiting = ray.wait(waiting)
                found, error = _fetched(done)
                yield from found
                if error is not None:
                    raise error
        finally:
            for reference in waiting:
                ray.cancel(reference)


def _predict(job: Job, folder: str, names: list[str]) -> Result:
    """Run in a worker: return outcomes, and the error that ended the task early, if any."""
    with suppress(OSError):  # another machine may not have the folder, and absolute paths do not need it
        os.chdir(folder)
    found: list[Outcome] = []
    try:
        found.extend(local_engine.outcomes(job, names))
    except TFServingError as error:
        return found, error
    return found, None


@contextmanager
def _cluster() -> Iterator[None]:
    """Connect to the cluster that RAY_ADDRESS names, else to one on this machine, else start one.

    Ray forks to start a cluster. With gRPC's fork support, such a child is sometimes lost (grpcio 1.85), so the command
    turns fork support off.
    """
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray raises exceptions of many types
        raise ConfigError(f"--engine ray: cannot reach or start a Ray cluster: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _fetched(done: Any) -> Result:
    try:
        found: Result = ray.get(done)
    except exceptions.RayError as error:
        raise ChildProcessError(f"--engine ray: a task failed: {' '.join(str(error).split())}") from error
    return found


def _chunks(names: Iterable[str], size: int) -> Iterator[list[str]]:
    source = iter(names)
    while chunk := list(islice(source, size)):
        yield chunk
