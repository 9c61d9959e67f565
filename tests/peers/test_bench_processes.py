"""tfs-bench in several client processes. They take a second to start, so these tests run with the peers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

BENCH = str(Path(__file__).parent.parent / "cli" / "bench")
sys.path.append(BENCH)  # the processes find the modules of the tests there

from live_queries import KillingQueries, LiveQueries, MakeClient  # noqa: E402

from tfs_client import ClosedError, ConfigError, TFServingError  # noqa: E402
from tfs_client.cli.bench.processes import Processes  # noqa: E402
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage  # noqa: E402

pytestmark = pytest.mark.peer

PROGRAM = """
import sys
sys.path[:0] = {path!r}
from live_queries import LiveQueries, MakeClient
from tfs_client.cli.bench.processes import Processes
from tfs_client.cli.bench.stages import ClosedLoop, Stage

if __name__ == "__main__":
    generator = Processes(LiveQueries(), MakeClient({target!r}), 2)
    print(*[process.pid for process in generator._workers.values()], flush=True)
    try:
        generator.run(Stage(ClosedLoop(2), seconds=60.0), lambda measured: print("progress", flush=True))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        generator.close()
"""


@pytest.fixture
def processes(double):
    made = []

    def make(queries, count=2, **options):
        made.append(Processes(queries, MakeClient(double.target), count, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def alive(pid):
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_end(pids, seconds=20.0):
    limit = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < limit:
        time.sleep(0.02)
    return [pid for pid in pids if alive(pid)]


def test_the_load_is_divided_and_the_results_are_merged(processes, double):
    generator = processes(LiveQueries(count=20, wrong=True, pace=0.02))
    pids = [process.pid for process in generator._workers.values()]
    for load, sent in ((OpenLoop(100.0, "fixed"), 100), (RecordedPace(), 20), (OpenLoop(200.0), None)):
        before = len(double.calls)
        measured = generator.run(Stage(load, seconds=1.0, bound=60.0))
        assert measured.answered == measured.sent == len(double.calls) - before
        assert measured.sent == sent or (sent is None and 130 < measured.sent < 270)
        assert measured.rows == 2 * measured.sent
        assert 0 < measured.wrong < measured.sent
        assert measured.good == measured.sent - measured.wrong
        assert measured.errors == {}
        assert measured.cpu > 0
    generator.close()
    assert await_end(pids) == []
    with pytest.raises(ClosedError):
        generator.run(Stage(ClosedLoop(1), seconds=1.0))


def test_progress_is_merged_and_a_stage_ends_early_everywhere(processes):
    generator = processes(LiveQueries())
    seen = []
    began = time.monotonic()
    measured = generator.run(Stage(ClosedLoop(4), seconds=60.0), seen.append, lambda measured: measured.seconds >= 0.7)
    assert time.monotonic() - began < 20
    assert len(seen) >= 2
    assert seen[0].sent < seen[-1].sent <= measured.sent
    assert 0.7 <= measured.seconds < 10
    assert measured.answered == measured.sent


def test_processes_without_a_part_of_the_load_send_nothing(processes):
    measured = processes(LiveQueries(), 3).run(Stage(ClosedLoop(1), seconds=0.3))
    assert measured.answered > 0


def test_a_killed_process_is_an_error_that_ends_the_others(processes):
    generator = processes(LiveQueries())
    pids = [process.pid for process in generator._workers.values()]
    threading.Timer(0.8, os.kill, (pids[0], signal.SIGKILL)).start()
    with pytest.raises(TFServingError, match=rf"pid {pids[0]}\) was killed by signal 9"):
        generator.run(Stage(ClosedLoop(2), seconds=60.0))
    assert await_end(pids) == []


def test_a_query_that_kills_its_process_is_an_error(processes):
    generator = processes(KillingQueries())
    with pytest.raises(TFServingError, match="was killed by signal 9"):
        generator.run(Stage(OpenLoop(100.0), seconds=60.0))


def test_queries_that_cannot_be_made_raise_here(processes):
    with pytest.raises(ConfigError, match="no pictures found"):
        processes(LiveQueries(fails=True))
    with pytest.raises(ConfigError, match="expected 1 to"):
        processes(LiveQueries(), 0)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(double, sent, tmp_path):
    """Ctrl-C reaches the whole foreground group; a kill only the parent."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(path=[BENCH, *filter(None, sys.path)], target=double.target))
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        try:
            pids = [int(pid) for pid in program.stdout.readline().split()]
            assert len(pids) == 2
            assert program.stdout.readline() == "progress\n"
            if sent == signal.SIGINT:
                os.killpg(program.pid, sent)
            else:
                program.kill()
            out, err = program.communicate(timeout=30)
            assert err == ""
            assert ("interrupted" in out) == (sent == signal.SIGINT)
            assert await_end(pids) == []
        finally:
            program.kill()
