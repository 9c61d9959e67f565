"""The engine against a real server, in each way to send."""

from __future__ import annotations

import pytest
from calling import target_of
from live_queries import LiveQueries, MakeClient

from tfs_client.cli.bench.engine import Engine
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage

LOADS = {
    "closed": ClosedLoop(4),
    "poisson": OpenLoop(200.0),
    "fixed": OpenLoop(200.0, "fixed"),
    "ramp": OpenLoop(100.0, "fixed", end_rate=300.0),
    "recorded": RecordedPace(2.0),
}


@pytest.mark.parametrize(("load", "way"), [*((load, "grpc") for load in LOADS), ("fixed", "rest")])
def test_requests_are_sent_answered_and_checked(load, way, double):
    engine = Engine(LiveQueries(count=20, wrong=True, pace=0.01), MakeClient(target_of(way, double)))
    try:
        measured = engine.run(Stage(LOADS[load], seconds=0.3))
    finally:
        engine.close()
    assert measured.errors == {}
    assert measured.unsent == 0
    assert measured.answered == measured.sent == len(double.calls)
    assert measured.rows == 2 * measured.sent
    assert 0 < measured.wrong < measured.answered
    assert measured.good == measured.answered - measured.wrong
    assert measured.samples["wrong"].startswith("y: expected -1.0, got ")
    assert measured.wait.quantile(0.5) <= measured.service.quantile(0.5) <= measured.latency.quantile(0.5)
    assert measured.cpu > 0
    if load in ("fixed", "ramp"):
        assert measured.sent == {"fixed": 60, "ramp": 60}[load]
    elif load == "recorded":
        assert measured.sent == 20


def test_a_server_that_is_away_gives_errors_and_no_answers():
    engine = Engine(LiveQueries(), MakeClient("127.0.0.1:9", timeout=0.2))
    try:
        measured = engine.run(Stage(OpenLoop(100.0, "fixed"), seconds=0.1))
    finally:
        engine.close()
    assert measured.sent == 10
    assert measured.failed == 10
    assert measured.answered == 0
    assert set(measured.errors) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert set(measured.samples) == set(measured.errors)
