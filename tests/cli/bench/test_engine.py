"""The engine in simulated time: what is sent when, and what counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import queueing_theory
from queueing_theory import QUANTILES, RATE, constant_services, random_services, standard_error
from simulated_time import Server, SimulatedQuery, engine_of

from tfs_client import ClosedError, ConfigError, DecodeError, EncodeError, InvalidArgumentError, UnavailableError
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage


def fixed(seconds, workers=None):
    return Server(lambda: seconds, workers)


def run(stage, *queries, progress=None, enough=None, **options):
    engine = engine_of(*queries, **options)
    try:
        return engine.run(stage, progress, enough)
    finally:
        engine.close()


@pytest.mark.parametrize("queue", [random_services(0.3), constant_services(0.5)])
def test_latencies_are_those_of_queueing_theory(queue):
    found = queueing_theory.measured(queue, 5.0, seed=1)
    assert found.answered == pytest.approx(5 * RATE, abs=4 * math.sqrt(5 * RATE))
    for quantile in QUANTILES:
        tolerance = 4 * standard_error(queue, quantile, found.answered)  # a peer test runs longer, within 3 %
        assert found.latency.quantile(quantile) == pytest.approx(queue.quantile(quantile), rel=tolerance)


def test_a_closed_loop_sends_as_many_requests_as_its_callers_can():
    measured = run(Stage(ClosedLoop(8), seconds=1.0, warmup=0.1), SimulatedQuery(fixed(0.004), rows=3))
    assert measured.throughput == pytest.approx(8 / 0.004, rel=0.01)
    assert measured.sent == measured.answered == measured.good
    assert measured.rows == 3 * measured.answered
    assert measured.latency.quantile(0.99) == pytest.approx(0.004, rel=0.001)
    assert measured.unsent == 0
    one_at_a_time = run(Stage(ClosedLoop(8), seconds=1.0), SimulatedQuery(fixed(0.004, workers=1)))
    assert one_at_a_time.latency.quantile(0.5) == pytest.approx(8 * 0.004, rel=0.001)


def test_the_parts_of_the_service_time_are_counted():
    measured = run(Stage(ClosedLoop(1), seconds=0.1), SimulatedQuery(fixed(0.01)))
    means = (measured.encode.mean, measured.wait.mean, measured.decode.mean)
    assert means == pytest.approx((0.001, 0.002, 0.003))


def test_a_stall_shows_in_the_latency_of_an_open_loop_only():
    """A server stands still for one second in ten."""

    def stalling(load, seconds):
        count = 0

        def service():
            nonlocal count
            count += 1
            return 1.0 if count == 500 else seconds

        return run(Stage(load, seconds=10.0), SimulatedQuery(Server(service)))

    opened = stalling(OpenLoop(200.0, "fixed"), 0.0001)
    assert opened.answered == 2000
    assert opened.latency.quantile(0.999) == pytest.approx(1.0, rel=0.01)
    assert np.sum([count for low, _, count in opened.latency.buckets() if low > 0.1]) == pytest.approx(182, abs=3)
    closed = stalling(ClosedLoop(1), 0.005)
    assert np.sum([count for low, _, count in closed.latency.buckets() if low > 0.1]) == 1
    assert closed.latency.quantile(0.999) < 0.01


def test_requests_that_are_meant_to_start_in_the_measured_time_count_however_late_their_answers():
    measured = run(Stage(OpenLoop(10.0, "fixed"), seconds=1.0, warmup=1.0), SimulatedQuery(fixed(5.0)))
    assert (measured.sent, measured.answered, measured.unsent) == (10, 10, 0)
    assert measured.latency.quantile(1.0) == pytest.approx(5.0)
    assert measured.seconds == 1.0


@pytest.mark.parametrize("load", [OpenLoop(390.0), ClosedLoop(200)])
def test_the_throughput_of_an_overload_is_the_capacity(load):
    server = fixed(1 / 190, workers=1)
    stage = Stage(load, seconds=4.0, warmup=1.0, bound=60.0)
    measured = run(stage, SimulatedQuery(server), SimulatedQuery(server, wrong="y differs"))
    assert measured.throughput == pytest.approx(190, rel=0.01)
    assert measured.goodput == pytest.approx(95, rel=0.01)
    assert measured.sent == measured.answered > measured.arrived - 200
    assert measured.backlog > 0.9


def test_answers_to_a_backlog_of_the_warmup_are_throughput():
    measured = run(Stage(OpenLoop(1000.0), 1.0, warmup=2.0), SimulatedQuery(fixed(0.1, 1)), in_flight=10)
    assert (measured.sent, measured.answered) == (0, 0)
    assert measured.throughput == pytest.approx(10)
    assert measured.backlog == pytest.approx(1.0, abs=0.1)


def test_requests_without_an_answer_in_time_are_cancelled_and_counted():
    measured = run(Stage(OpenLoop(10.0, "fixed"), seconds=1.0), SimulatedQuery(fixed(500.0)), patience=20.0)
    assert (measured.sent, measured.answered) == (10, 0)
    assert measured.errors == {"CANCELLED": 10}
    assert "within 20 s after the end" in measured.samples["CANCELLED"]


def test_requests_beyond_the_limit_wait_and_their_latency_counts_from_the_intended_start():
    server = fixed(0.1)
    measured = run(Stage(OpenLoop(50.0, "fixed"), seconds=1.0), SimulatedQuery(server), in_flight=2)
    assert measured.sent == len(server.started) == 20  # two in 0.1 s
    assert measured.sent + measured.unsent == 50
    assert measured.service.quantile(1.0) == pytest.approx(0.1, rel=0.001)
    assert measured.latency.quantile(1.0) == pytest.approx(0.92 - 19 / 50 + 0.08, abs=0.03)


def test_a_rate_beyond_all_means_takes_no_memory():
    measured = run(Stage(OpenLoop(1e6, "fixed"), seconds=1.0), SimulatedQuery(fixed(0.1)), in_flight=10)
    assert measured.sent + measured.unsent == 1_000_000
    assert measured.sent == 100


def test_a_ramp_speeds_up():
    server = fixed(0.0)
    run(Stage(OpenLoop(100.0, "fixed", end_rate=300.0), seconds=2.0), SimulatedQuery(server))
    started = np.array(server.started)
    assert len(started) == 400
    assert np.count_nonzero(started < 1.0) == pytest.approx(150, abs=1)


def test_a_recording_is_sent_at_its_pace_and_ends_the_stage():
    server = fixed(0.5)
    queries = [SimulatedQuery(server, at=at) for at in (0.0, 1.0, 4.0)]
    measured = run(Stage(RecordedPace(2.0), seconds=60.0), *queries)
    assert server.started == pytest.approx([0.0, 0.5, 2.0])
    assert (measured.answered, measured.unsent) == (3, 0)
    assert measured.seconds == pytest.approx(2.5)
    server.started.clear()
    cut = run(Stage(RecordedPace(), seconds=2.0), *queries)
    assert (cut.answered, cut.seconds) == (2, 2.0)


def test_errors_are_counted_by_code_with_the_first_text():
    server = fixed(0.01)
    errors = [
        UnavailableError("nobody there", hint="Is it up?"),
        InvalidArgumentError("a\x1b[31mbad shape"),
        DecodeError("cut short"),
        None,
    ]
    queries = [SimulatedQuery(server, error=error) for error in errors]
    measured = run(Stage(ClosedLoop(1), seconds=0.8), *queries)
    assert measured.errors == {"UNAVAILABLE": 20, "INVALID_ARGUMENT": 20, "UNREADABLE": 20}
    assert measured.answered == 20
    assert "nobody there. Is it up?" in measured.samples["UNAVAILABLE"]
    assert r"a\x1b[31mbad shape" in measured.samples["INVALID_ARGUMENT"]


def test_an_error_without_a_pause_does_not_stop_the_clock():
    class Refused(SimulatedQuery):
        async def send(self, client):
            self.server.started.append(0.0)
            if len(self.server.started) > 100:
                return await super().send(client)
            raise UnavailableError("at once")

    measured = run(Stage(ClosedLoop(2), seconds=0.1), Refused(fixed(0.01)))
    assert measured.errors["UNAVAILABLE"] == 100
    assert measured.answered == 20


def test_a_query_that_cannot_be_sent_ends_the_stage():
    queries = [SimulatedQuery(fixed(0.01)), SimulatedQuery(fixed(0.01), error=EncodeError("no dtype"))]
    for load in (ClosedLoop(2), OpenLoop(100.0)):
        with pytest.raises(EncodeError, match="no dtype"):
            run(Stage(load, seconds=60.0), *queries)


def test_wrong_answers_are_counted_and_are_not_good():
    queries = [SimulatedQuery(fixed(0.01)), SimulatedQuery(fixed(0.01), wrong="y: 1 is not 2")]
    measured = run(Stage(ClosedLoop(1), seconds=1.0), *queries)
    assert (measured.answered, measured.wrong, measured.good) == (100, 50, 50)
    assert measured.samples["wrong"] == "y: 1 is not 2"
    some = run(Stage(ClosedLoop(1), seconds=1.0), queries[1], checked=0.25)
    assert (some.wrong, some.good) == (25, 75)


def test_answers_beyond_the_bound_are_not_good():
    queries = [SimulatedQuery(fixed(0.01)), SimulatedQuery(fixed(0.03), wrong="late and wrong")]
    measured = run(Stage(ClosedLoop(1), seconds=1.0, bound=0.02), *queries)
    assert (measured.answered, measured.wrong, measured.good) == (50, 25, 25)
    assert measured.goodput == 25.0


def test_progress_is_reported_four_times_a_second_and_a_stage_may_end_early():
    seen = []
    measured = run(
        Stage(ClosedLoop(2), seconds=60.0, warmup=1.0),
        SimulatedQuery(fixed(0.01)),
        progress=seen.append,
        enough=lambda measured: measured.answered >= 300,
    )
    assert [each.seconds for each in seen] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75][: len(seen)])
    assert [each.answered for each in seen] == pytest.approx([200 * each.seconds for each in seen], abs=4)
    assert measured.seconds == pytest.approx(seen[-1].seconds)
    assert measured.throughput == pytest.approx(200, rel=0.02)


def test_an_error_in_the_callers_functions_ends_the_stage():
    def broken(measured):
        raise ZeroDivisionError("progress")

    with pytest.raises(ZeroDivisionError):
        run(Stage(ClosedLoop(2), seconds=60.0), SimulatedQuery(fixed(0.01)), progress=broken)


def test_an_interrupted_engine_can_be_closed_or_go_on():
    def interrupted(measured):
        raise KeyboardInterrupt

    engine = engine_of(SimulatedQuery(fixed(0.01)))
    stage = Stage(ClosedLoop(2), seconds=2.0)
    with pytest.raises(KeyboardInterrupt):
        engine.run(stage, interrupted)
    assert engine.run(stage).answered == 400
    engine.close()
    engine.close()
    with pytest.raises(ClosedError):
        engine.run(stage)


def test_arguments_out_of_range_are_refused():
    for options in ({"in_flight": 0}, {"checked": 1.5}, {"patience": 0.0}):
        with pytest.raises(ConfigError, match=r"expected .*, got"):
            engine_of(**options)
