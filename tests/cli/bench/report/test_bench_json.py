"""The results of tfs-bench as JSON."""

from __future__ import annotations

import json
import math
import os
from collections import Counter

import pytest
from bench_results import comparison, measured, run, served, steps

from tfs_client.cli.bench.measured import Measured
from tfs_client.cli.bench.report import json_report
from tfs_client.cli.bench.report.run_results import KneeResult, Results, StageResult
from tfs_client.cli.bench.stages import ClosedLoop, OpenLoop, RecordedPace, Stage
from tfs_client.errors import ConfigError

CLOSED = Stage(ClosedLoop(2), 10.0, warmup=1.0, bound=0.1)


def read(results):
    """What a program reads; NaN, which JSON lacks, would raise."""
    return json.loads(json_report.dumped(results), parse_constant=pytest.fail)


def test_a_stage_with_all_its_keys():
    found = measured([0.001, 0.003], errors=Counter({"INTERNAL": 1}), sent=3, wrong=1, good=1, unsent=4)
    found.samples = {"INTERNAL": "boom\x7f", "wrong": "'y' differs"}
    (stage,) = read(Results(run(), [StageResult(CLOSED, found, "a", "held", served())]))["stages"]

    latency = stage.pop("latency")
    (low, high, count), (_, last, _) = latency.pop("buckets")
    assert (low <= 0.001 < high, count, last > 0.003) == (True, 1, True)
    near = {key: pytest.approx(value, rel=1e-3) for key, value in {"mean": 0.002, "min": 0.001, "max": 0.003}.items()}
    near |= {f"p{each}": pytest.approx(0.003, rel=1e-3) for each in ("75", "90", "95", "99", "99.9", "99.99")}
    assert latency == {"count": 2, "p50": pytest.approx(0.001, rel=1e-3), **near}
    server = stage.pop("server")
    del stage["slices"]
    assert [stage.pop(key)["count"] for key in ("service", "encode", "wait", "decode")] == [2, 2, 2, 2]
    assert stage == {
        "label": "a",
        "verdict": "held",
        "load": {"kind": "closed", "concurrency": 2},
        "seconds": 10.0,
        "warmup": 1.0,
        "bound": 0.1,
        "seed": 0,
        "measured_seconds": 10.0,
        "sent": 3,
        "unsent": 4,
        "answered": 2,
        "arrived": 2,
        "arrived_good": 1,
        "backlog_seconds": 0.0,
        "rows": 2,
        "good": 1,
        "wrong": 1,
        "wrong_sample": "'y' differs",
        "errors": {"INTERNAL": {"count": 1, "sample": "boom\\x7f"}},
        "throughput": 0.2,
        "goodput": 0.1,
        "cpu_seconds": 0.5,
        "cpu_seconds_per_request": pytest.approx(0.5 / 3),
        "server_unknown": None,
    }
    assert server["requests"] == {"OK": 100}
    assert server["latency"]["p50"] == [0.001, 0.0018]
    assert server["latency"]["p99"] == [0.0018, None]
    assert server["queuing"] is None


def test_the_run_and_its_machine():
    read_run = read(Results(run(parameters={"rate": [1, 2], "bound": math.inf}), interrupted=True, notes=["a note"]))

    machine = read_run["run"].pop("machine")
    assert machine["cpus"] == os.cpu_count()
    assert set(machine["packages"]) == {"tfs-client", "grpcio", "numpy", "protobuf", "httpx"}
    assert read_run == {
        "schema": "tfs-bench/1",
        "run": {
            "started": "2026-01-02T03:04:05+00:00",
            "target": "localhost:8500",
            "transport": "grpc",
            "model": "resnet",
            "version": 3,
            "signature": "",
            "requests": "8 distinct requests of 1 row",
            "parameters": {"rate": [1, 2], "bound": None},
        },
        "stages": [],
        "knee": None,
        "comparison": None,
        "notes": ["a note", "the run was interrupted; its last stage is incomplete"],
        "interrupted": True,
    }


@pytest.mark.parametrize(
    ("load", "keys"),
    [
        (OpenLoop(5), {"kind": "open", "rate": 5, "end_rate": None, "arrivals": "poisson"}),
        (OpenLoop(5, "fixed", 9), {"kind": "open", "rate": 5, "end_rate": 9, "arrivals": "fixed"}),
        (RecordedPace(2), {"kind": "recorded", "factor": 2}),
    ],
)
def test_an_empty_stage_has_null_for_what_is_unknown(load, keys):
    (stage,) = read(Results(run(), [StageResult(Stage(load, 1.0), Measured(), unknown="no page")]))["stages"]

    assert stage["load"] == keys
    assert stage["latency"] == {**dict.fromkeys(stage["latency"]), "count": 0, "buckets": []}
    assert stage["cpu_seconds_per_request"] is None
    assert (stage["server"], stage["server_unknown"]) == (None, "no page")


def test_slices_show_the_course():
    (stage,) = read(Results(run(), [StageResult(CLOSED, measured([0.001, 0.003], seconds=4.0))]))["stages"]

    assert [(part["start"], part["seconds"], part["answered"]) for part in stage["slices"]] == [
        (0.0, 1.0, 1),
        (1.0, 1.0, 0),
        (2.0, 1.0, 1),
    ]
    assert [part["p99"] for part in stage["slices"]] == [
        pytest.approx(0.001, rel=0.05),
        None,
        pytest.approx(0.003, rel=0.05),
    ]


def test_a_search_and_a_comparison():
    knee = read(steps())["knee"]
    compared = read(comparison())["comparison"]
    unknown = read(Results(run(), knee=KneeResult("rate", 0.1, 0.99, None, 8.0, (None, math.inf))))["knee"]

    assert knee == {
        "over": "rate",
        "bound": 0.1,
        "quantile": 0.99,
        "held": 50.0,
        "failed": 75.0,
        "certainly_held": 50.0,
        "certainly_failed": 75.0,
        "exhausted": False,
    }
    assert (unknown["held"], unknown["certainly_failed"]) == (None, None)
    assert (compared["base"], compared["target"], compared["worse"]) == ("localhost:8600", "localhost:8500", True)
    assert (compared["pairs"], compared["confidence"]) == (8, 0.95)
    assert compared["block"]["load"] == {"kind": "closed", "concurrency": 4}
    assert compared["changes"][0] == {
        "name": "median latency",
        "unit": "seconds",
        "base": 0.0051,
        "target": 0.0056,
        "change": 0.098,
        "low": 0.061,
        "high": 0.135,
        "decides": True,
    }


def test_the_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    json_report.write(str(path), Results(run()))

    assert json.loads(path.read_text())["schema"] == json_report.SCHEMA
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match="cannot write"):
        json_report.write(str(tmp_path / "missing" / "results.json"), Results(run()))
