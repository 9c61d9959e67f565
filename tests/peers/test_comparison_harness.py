"""The harness of benchmarks/comparison, from its command to its results; and that it rejects wrong clients."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
HARNESS = ROOT / "benchmarks" / "comparison"

# A checkout whose client sends the right request, but returns another answer, and does not serve ``python -c``.
WRONG = """
import sys
import grpc
import numpy as np

if sys.argv[0] == "-c":
    raise ImportError("the checkout is imported")
AsyncPredictClient = Prediction = None


class PredictClient:
    def __init__(self, target, **options):
        self._channel = grpc.insecure_channel(target)

    def predict(self, inputs):
        return {"y": np.zeros((1, 10), np.float32)}

    def close(self):
        self._channel.close()
"""


def harness(*arguments):
    command = [sys.executable, str(HARNESS), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, check=False)


def checkout(directory, source):
    (directory / "tfs_client").mkdir(parents=True)
    (directory / "tfs_client" / "__init__.py").write_text(source)
    return directory


# Two that answer correctly at first. The numbers are those of the harness.
LATER = """
    calls = 0

    def predict(self, inputs):
        self.calls += 1
        if self.calls > 12:
            {then}
        return {{"y": np.random.default_rng(1).random((1, 10), np.float32)}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A quick run of three rows, beside clients that are wrong, come from elsewhere, or fail later."""
    folder = tmp_path_factory.mktemp("trees")
    wrong = checkout(folder / "wrong" / "same_name", WRONG)
    other = checkout(folder / "other" / "same_name", WRONG + "\n__file__ = '/elsewhere/tfs_client/__init__.py'\n")
    breaks = checkout(folder / "breaks", WRONG + LATER.format(then="raise RuntimeError('broken')"))
    drifts = checkout(folder / "drifts", WRONG + LATER.format(then="return {'y': np.zeros((1, 10), np.float32)}"))
    output = folder / "results" / "new"
    rows = ["--only", "sync/40 B, small", "--only", "rest/40 B", "--only", "process/import"]
    trees = [option for tree in (wrong, other, breaks, drifts) for option in ("--tree", tree)]
    done = harness("--quick", *rows, *trees, "--output", output)
    results = json.loads((output / "comparison.json").read_text())
    names = {"wrong": f"tfs_client ({wrong})", "other": f"tfs_client ({other})"}
    return SimpleNamespace(done=done, results=results, output=output, **names)


def test_a_row_compares_the_client_with_raw_grpc(run):
    row, _, _ = run.results["rows"]
    assert (row["group"], row["name"], row["floor"]) == ("sync", "40 B, small", "raw grpcio")
    assert row["results"]["raw grpcio"]["ratio"] == 1
    own = row["results"]["tfs_client"]
    assert own["calls"] == row["results"]["raw grpcio"]["calls"] >= 6
    assert own["interval"] is None  # a quick run has too few connections
    assert 0.3 < own["ratio"] < 10
    assert run.results["libraries"]["tfs_client"]["packages"]["grpcio"]


def test_a_client_with_wrong_answers_is_not_measured_and_fails_the_run(run):
    row, _, _ = run.results["rows"]
    assert run.wrong not in row["results"]
    assert "WrongAnswerError: expected float32 (1, 10)" in row["failed"][run.wrong]
    assert run.done.returncode == 1, run.done.stderr
    assert f"sync/40 B, small: {run.wrong}" in run.done.stderr


def test_the_floor_over_rest_sends_what_the_client_sends(run):
    _, row, _ = run.results["rows"]  # the harness compares the bytes, and a client that sent others would have failed
    assert row["floor"] == "raw httpx"
    assert not {"tfs_client", "raw httpx"} & row["failed"].keys()
    assert row["results"]["tfs_client"]["ratio"] > 0.3


@pytest.mark.parametrize(("name", "reason"), [("breaks", "RuntimeError: broken"), ("drifts", "WrongAnswerError")])
def test_a_client_that_fails_while_it_is_timed_is_left_out_and_fails_the_run(name, reason, run):
    row, _, _ = run.results["rows"]
    assert f"tfs_client ({name})" not in row["results"]
    assert reason in row["failed"][f"tfs_client ({name})"]
    assert row["results"]["tfs_client"]["calls"] >= 6
    assert f"sync/40 B, small: tfs_client ({name})" in run.done.stderr


def test_clients_that_do_not_take_part_in_a_row_are_named_with_the_reason(run):
    row, _, _ = run.results["rows"]
    assert "over REST only" in row["unsupported"]["raw httpx"]


def test_whole_processes_import_the_checkout_whatever_the_current_directory_is(run):
    _, _, row = run.results["rows"]
    assert "the checkout is imported" in row["failed"][run.wrong]
    assert row["results"]["tfs_client"]["median"] > 0


def test_a_client_that_is_not_imported_from_its_checkout_is_not_measured_and_fails_the_run(run):
    expected = f"expected tfs_client of {run.other[12:-1]}, got /elsewhere/tfs_client/__init__.py"
    assert run.results["libraries"][run.other] == {"failed": expected}
    assert f"{run.other}: {expected}" in run.done.stderr
    assert f"- {run.other}: failed, {expected}" in (run.output / "comparison.md").read_text()


def test_a_checkout_is_given_once(tmp_path):
    tree = checkout(tmp_path / "tree", WRONG)
    done = harness("--tree", tree, "--tree", f"{tree}/.")
    assert done.returncode == 2
    assert f"--tree: expected different checkouts, got '{tree}' twice" in done.stderr


@pytest.mark.parametrize("directory", [".", "missing"])
def test_a_directory_without_the_package_is_no_checkout(directory, tmp_path):
    done = harness("--tree", tmp_path / directory, "--output", tmp_path / "results")
    assert done.returncode == 2
    assert f"--tree: expected a checkout with tfs_client/, got '{tmp_path / directory}'" in done.stderr
    assert not (tmp_path / "results").exists()


def test_the_results_are_written_as_tables_and_as_a_picture(run):
    text = (run.output / "comparison.md").read_text()
    assert "| 40 B, small |" in text
    assert "\n- raw grpcio: Python" in text
    assert "\n- httpx, json: Python" in text
    assert "WrongAnswerError" in text
    assert (run.output / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_of_the_last_run_are_printed_again(run):
    done = harness("--markdown", "--output", run.output)
    assert done.returncode == 0
    assert done.stdout == (run.output / "comparison.md").read_text()


def test_the_tables_list_no_library_without_a_row(run):
    results = run.results | {"rows": run.results["rows"][:1]}
    (run.output.parent / "one").mkdir()
    (run.output.parent / "one" / "comparison.json").write_text(json.dumps(results))
    text = harness("--markdown", "--output", run.output.parent / "one").stdout
    assert "\n- raw grpcio: Python" in text
    assert "\n- raw httpx" not in text


def test_a_pattern_without_rows_is_an_error():
    done = harness("--only", "nothing")
    assert done.returncode == 2
    assert "no row matches 'nothing'" in done.stderr


COVERAGE = """
import numpy as np
from comparison import figures
from comparison.figures import ratio

figures.RESAMPLES = 150  # less exact, in less time

generator = np.random.default_rng(0)


def times(connections):
    return [[generator.lognormal(0, 0.1)] for _ in range(connections)]


intervals = [ratio(times(8), times(8))["interval"] for _ in range(60)]
print(sum(low <= 1 <= high for low, high in intervals))
base = times(8)
print(ratio(base, base), ratio(times(7), times(7))["interval"])
"""


def test_intervals_need_connections_enough_to_hold_the_ratio():
    command = [sys.executable, "-c", COVERAGE]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT / "benchmarks")
    held, others = ran.stdout.splitlines()
    assert int(held) >= 52  # of 60 intervals of 95 %; two connections hold 30
    assert others == "{'ratio': 1.0, 'interval': None} None"
