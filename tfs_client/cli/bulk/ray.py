"""The Ray engine: the local one in every worker of a cluster, each with some of the pictures.

The workers read the pictures themselves, so they must find them under the same names: on this machine, or on storage
that all machines share.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from typing import Any

from tfs_client.cli.bulk import local
from tfs_client.cli.bulk.engines import Job
from tfs_client.cli.bulk.outcomes import Outcome
from tfs_client.errors import ConfigError, TFServingError

try:
    exceptions: Any = import_module("ray.exceptions")
    ray: Any = import_module("ray")
except ModuleNotFoundError as error:  # said before anything is written
    raise ConfigError(f"--engine ray needs Ray ({error}): pip install 'tfs-client[ray]'") from None

BATCHES = 4  # requests that a task makes: enough to keep some under way, few to do again when a worker is lost
AHEAD = 2  # tasks for each processor, so that none of them waits for the next

Done = tuple[list[Outcome], TFServingError | None]


def outcomes(job: Job, names: Iterable[str]) -> Generator[Outcome, None, None]:
    """An outcome for each name, in the order in which tasks end.

    At most ``AHEAD`` tasks for each processor are under way. Tasks whose worker is lost are done again, elsewhere.

    Raises ConfigError where no cluster can be reached or started.
    """
    with _cluster():
        task = ray.remote(_some)
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
            for one in waiting:
                ray.cancel(one)


def _some(job: Job, folder: str, names: list[str]) -> Done:
    """In a worker: outcomes of some pictures, and what ended it before the last of them."""
    with suppress(OSError):  # elsewhere there may be no such folder, and names that need none
        os.chdir(folder)
    found: list[Outcome] = []
    try:
        found.extend(local.outcomes(job, names))
    except TFServingError as error:
        return found, error
    return found, None


@contextmanager
def _cluster() -> Iterator[None]:
    """Connected to the cluster that RAY_ADDRESS names, or to one that runs on this machine, or to one of its own.

    To start one Ray forks, and a process in which gRPC runs with fork support now and then loses such a child (grpcio
    1.85): the command turns that off.
    """
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(log_to_driver=False, logging_level="error")
    except Exception as error:  # it raises almost anything
        raise ConfigError(f"--engine ray: no cluster of Ray can be reached or started: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _fetched(done: Any) -> Done:
    try:
        found: Done = ray.get(done)
    except exceptions.RayError as error:
        raise ChildProcessError(f"--engine ray: a task failed: {' '.join(str(error).split())}") from error
    return found


def _chunks(names: Iterable[str], size: int) -> Iterator[list[str]]:
    source = iter(names)
    while chunk := list(islice(source, size)):
        yield chunk
