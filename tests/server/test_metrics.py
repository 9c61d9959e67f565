"""Metrics, and the page that shows them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tfs_client.errors import StatusCode
from tfs_client.server.measures import LATENCY, Measures
from tfs_client.server.metrics import Counter, Gauge, Histogram, page
from tfs_client.server.served import ServedCall

VECTORS = json.loads((Path(__file__).parent / "rest_vectors.json").read_text(encoding="utf-8"))


def made(metric):
    values = tuple(metric["labels"].values())
    if metric["type"] == "histogram":
        limits = [limit for limit in metric["bucket_limits"] if limit != "+Inf"]
        histogram = Histogram(metric["name"], list(metric["labels"]), limits)
        for sample in metric["samples"]:
            histogram.add(sample, *values)
        return histogram
    if metric["type"] == "gauge":
        gauge = Gauge(metric["name"], list(metric["labels"]))
        gauge.set(metric["value"], *values)
        return gauge
    counter = Counter(metric["name"], list(metric["labels"]))
    counter.add(*values, by=metric["value"])
    return counter


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["kind"] == "prometheus"], ids=lambda vector: vector["id"])
def test_the_page_is_laid_out_as_the_model_servers(vector):
    assert vector["expect_text_contains"] in page([made(metric) for metric in vector["metrics"]])


def test_a_metric_without_samples_shows_its_type_and_one_without_labels_its_braces():
    counter = Counter("/a/b")
    assert page([counter]) == "# TYPE :a:b counter\n"
    counter.add()
    assert page([counter]) == "# TYPE :a:b counter\n:a:b{} 1\n"


def test_a_sample_that_equals_a_limit_belongs_to_the_next_bucket():
    histogram = Histogram("/h", ("x",), [1, 2])
    for sample in (1, 2, 0.5):
        histogram.add(sample, "v")
    lines = page([histogram]).splitlines()
    assert [line.rpartition(" ")[2] for line in lines[1:4]] == ["1", "2", "3"]


def test_limits_have_six_digits_at_most():
    histogram = Histogram("/h", (), LATENCY)
    histogram.add(5)
    text = page([histogram])
    assert 'le="10"' in text
    assert 'le="18"' in text
    assert 'le="1.05756e+08"' in text or 'le="1.0576e+08"' in text or "e+0" in text
    assert text.count("_bucket") == 34


def call(method, code=StatusCode.OK, transport="grpc"):
    return ServedCall(method, "m", code=code, transport=transport, seconds=0.001)


def test_calls_are_counted_and_timed_as_the_model_server_does():
    measures = Measures()
    measures.ended(call("Predict"))
    measures.ended(call("Predict", StatusCode.NOT_FOUND))
    measures.ended(call("GetModelStatus"))  # over gRPC not counted
    measures.ended(call("GetModelStatus", transport="rest"))
    measures.ended(call("Regress", transport="rest"))
    text = measures.page()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 3\n' in text
    assert ':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1\n' in text
    for api, entry in (("Predict", "GRPC"), ("", "REST"), ("regress", "REST")):
        series = f'model_name="m",API="{api}",entrypoint="{entry}"'
        assert f":tensorflow:serving:request_latency_count{{{series}}} 1\n" in text
    assert "# TYPE :tensorflow:serving:batching_session:wrapped_run_count counter\n" in text


def test_growth_is_told_by_name_and_unknown_names_do_not_grow():
    measures = Measures()
    names = ["/tensorflow/serving/request_count", "/no/such", "/tensorflow/serving/request_latency"]
    before = measures.values(names)
    for _ in range(3):
        measures.ended(call("Predict"))
    assert measures.increases(before) == {names[0]: 3, names[1]: 0, names[2]: 0}


def test_threads_do_not_lose_counts():
    counter = Counter("/c", ("x",))
    threads = [threading.Thread(target=lambda: [counter.add("a") for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value("a") == 8000
