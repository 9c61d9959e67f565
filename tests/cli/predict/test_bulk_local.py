"""The local engine alone: pictures are read while requests are in flight, and only a few ahead."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bulk_runs import PATIENCE, add_look, draw, until

from tfs_client import errors
from tfs_client.cli.predict.arguments import parse
from tfs_client.cli.predict.bulk.engines import Job, engine
from tfs_client.cli.predict.bulk.local_engine import DECODERS
from tfs_client.cli.predict.bulk.outcomes import Failed, Row, fails_alone
from tfs_client.testing import FakeServer

BATCH, IN_FLIGHT = 2, 2


def job(server: FakeServer, batch_size: int = BATCH) -> Job:
    return Job(
        options=parse(["--version", "1"]),
        target=server.target,
        model="look",
        client_options={"token": "abc"},
        timeout=PATIENCE,
        given={},
        batch_size=batch_size,
        in_flight=IN_FLIGHT,
    )


def test_pictures_are_read_during_requests_and_never_far_ahead(fake_server: FakeServer, tmp_path: Path) -> None:
    go_on, entered = threading.Event(), threading.Event()

    def wait(image: np.ndarray) -> None:
        entered.set()
        assert go_on.wait(PATIENCE)

    add_look(fake_server, wait)
    (picture,) = draw(tmp_path, 1)
    read = 0

    def names() -> Iterator[str]:
        nonlocal read
        for read in range(1, 201):  # noqa: B007
            yield picture

    outcomes = engine("local")(job(fake_server), names())
    found: list[object] = []
    walking = threading.Thread(target=lambda: found.extend(outcomes))
    walking.start()
    assert entered.wait(PATIENCE)  # the first request is under way, and stays so
    sent = BATCH * IN_FLIGHT
    ahead = max(BATCH, 2 * DECODERS)
    until(lambda: read >= sent + ahead - 1)
    at_most = read
    go_on.set()
    walking.join(PATIENCE)
    assert at_most <= sent + ahead
    assert len(found) == 200
    assert all(isinstance(outcome, Row) for outcome in found)


def test_names_are_read_as_outcomes_are_taken(fake_server: FakeServer, tmp_path: Path) -> None:
    add_look(fake_server)
    (picture,) = draw(tmp_path, 1)
    read = 0

    def names() -> Iterator[str]:
        nonlocal read
        for read in range(1, 101):
            yield picture if read % 3 else "missing.png"

    kinds = []
    for taken, outcome in enumerate(engine("local")(job(fake_server), names()), 1):
        kinds.append(type(outcome))
        # What cannot be read takes no place in a request: of each three names one.
        assert read - taken <= 1.5 * (BATCH * IN_FLIGHT + max(BATCH, 2 * DECODERS)) + 2
    assert kinds == [Row, Row, Failed] * 33 + [Row]


def test_a_job_goes_to_other_processes(fake_server: FakeServer, tmp_path: Path) -> None:
    add_look(fake_server)
    names = draw(tmp_path, 3)
    copied: Job = pickle.loads(pickle.dumps(job(fake_server)))
    rows = list(engine("local")(copied, names))
    assert [row.image for row in pickle.loads(pickle.dumps(rows))] == names


@pytest.mark.parametrize(
    ("error", "alone"),
    [
        (errors.ImageError("x"), True),
        (errors.InvalidArgumentError("x"), True),
        (errors.InternalError("x"), True),
        (errors.ResourceExhaustedError("OOM when allocating tensor"), True),
        (errors.ResourceExhaustedError("Received message larger than max (9 vs. 4)"), True),
        (errors.AbortedError("x"), True),
        (errors.ResourceExhaustedError("Server Threadpool Exhausted"), False),
        (errors.ResourceExhaustedError(""), False),
        (errors.DecodeError("x"), True),
        (errors.UnavailableError("x"), False),
        (errors.DeadlineExceededError("x"), False),
        (errors.UnauthenticatedError("x"), False),
        (errors.PermissionDeniedError("x"), False),
        (errors.NotFoundError("x"), False),
        (errors.FailedPreconditionError("x"), False),
        (errors.UnimplementedError("x"), False),
        (errors.SignatureError("x"), False),
        (errors.ClosedError("x"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_belong_to_a_picture_or_to_the_run(error: errors.TFServingError, alone: bool) -> None:
    assert fails_alone(error) is alone
