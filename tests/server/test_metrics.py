"""Metrics, and the page that shows them; its layout is also tested by test_rest_vectors.py."""

from __future__ import annotations

import re
import threading

import pytest

from tfs_client.errors import StatusCode
from tfs_client.server.batching import BatchRun
from tfs_client.server.call_record import ServedCall
from tfs_client.server.metric_types import Counter, Histogram, page
from tfs_client.server.server_metrics import LATENCY, MAX_UNKNOWN_MODELS, ServerMetrics


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


@pytest.mark.parametrize(("value", "shown"), [("a\nb 1", "a\\nb 1"), ("\udcff", "?"), ("\\n", "\\\\n")])
def test_a_label_cannot_break_the_page(value, shown):
    counter = Counter("/c", ("x",))
    counter.add(value)
    assert page([counter]).encode().decode() == f'# TYPE :c counter\n:c{{x="{shown}"}} 1\n'


def test_limits_have_six_digits_at_most():
    histogram = Histogram("/h", (), LATENCY)
    histogram.add(5)
    text = page([histogram])
    assert 'le="10"' in text
    assert 'le="18"' in text
    assert 'le="1.05756e+08"' in text or 'le="1.0576e+08"' in text or "e+0" in text
    assert text.count("_bucket") == 34


def test_metrics_never_counted_are_still_on_the_page():
    lines = ServerMetrics().page().splitlines()
    assert "# TYPE :tensorflow:serving:request_log_count counter" in lines
    assert "# TYPE :tensorflow:serving:mlmd_map gauge" in lines


def test_the_runtime_series_appears_once():
    series = re.findall(r"^# TYPE (\S+)", ServerMetrics().page(), re.MULTILINE)
    others = [name for name in series if not name.startswith(":tensorflow:serving:")]
    assert others == [":tensorflow:cc:saved_model:load_attempt_count"]


def test_the_name_of_a_known_model_uses_no_place_of_unknown_ones():
    metrics = ServerMetrics()
    for number in range(MAX_UNKNOWN_MODELS + 1):
        metrics.ended(ServedCall("Predict", f"m{number}", code=StatusCode.NOT_FOUND))
        metrics.ended(ServedCall("Predict", f"m{number}", 1))
    metrics.ended(ServedCall("Predict", "stranger", code=StatusCode.NOT_FOUND))
    assert 'request_count{model_name="stranger",status="NOT_FOUND"} 1\n' in metrics.page()
    assert 'model_name=""' not in metrics.page()


def call(method, code=StatusCode.OK, transport="grpc"):
    return ServedCall(method, "m", code=code, transport=transport, seconds=0.001)


def test_calls_are_counted_and_timed_as_the_model_server_does():
    metrics = ServerMetrics()
    metrics.ended(call("Predict"))
    metrics.ended(call("Predict", StatusCode.NOT_FOUND))
    metrics.ended(call("GetModelStatus"))  # over gRPC not counted
    metrics.ended(call("GetModelStatus", transport="rest"))
    metrics.ended(call("Regress", transport="rest"))
    text = metrics.page()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 3\n' in text
    assert ':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1\n' in text
    for api, entry in (("Predict", "GRPC"), ("", "REST"), ("regress", "REST")):
        series = f'model_name="m",API="{api}",entrypoint="{entry}"'
        assert f":tensorflow:serving:request_latency_count{{{series}}} 1\n" in text
    assert "# TYPE :tensorflow:serving:batching_session:wrapped_run_count counter\n" in text


def test_growth_is_reported_by_name_and_unknown_names_do_not_grow():
    metrics = ServerMetrics()
    names = ["/tensorflow/serving/request_count", "/no/such", "/tensorflow/serving/request_latency"]
    before = metrics.values(names)
    for _ in range(3):
        metrics.ended(call("Predict"))
    after = metrics.values(names)
    assert {name: after[name] - before[name] for name in names} == {names[0]: 3, names[1]: 0, names[2]: 0}


def test_threads_do_not_lose_counts():
    counter = Counter("/c", ("x",))
    threads = [threading.Thread(target=lambda: [counter.add("a") for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.first() == 8000


def test_runs_of_the_model_are_timed_even_if_the_call_fails_later():
    metrics = ServerMetrics()
    ran = call("Predict", StatusCode.INTERNAL)
    with ran.running():
        pass
    with pytest.raises(KeyError), (failed := call("Predict")).running():
        raise KeyError
    metrics.ended(ran)
    metrics.ended(failed)
    assert ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 1\n' in metrics.page()


def test_examples_of_multi_inference_are_counted():
    metrics = ServerMetrics()
    for count in (2, 3):
        several = call("MultiInference")
        several.examples = count
        with several.running():
            pass
        metrics.ended(several)
    text = metrics.page()
    assert ':tensorflow:serving:request_example_count_total{model="m"} 5\n' in text
    assert ':tensorflow:serving:request_example_counts_sum{model="m"} 5\n' in text
    runs = ':tensorflow:serving:runtime_latency_count{model_name="m",API="MultiInference",runtime="TF1"}'
    assert f"{runs} 2\n" in text
    assert "request_count{" not in text


def test_a_batch_whose_calls_are_all_late_counts_only_its_wait():
    metrics = ServerMetrics()
    metrics.batched(BatchRun(sizes=(1, 2), executed=0, waited=(0.1, 0.2), tensors=1))
    text = metrics.page()
    assert 'batching_session:queuing_latency_count{thread_pool_name=""} 2\n' in text
    assert "wrapped_run_count{" not in text
    assert "input_batch_size_count{" not in text


def test_every_input_of_every_call_in_a_batch_is_counted():
    metrics = ServerMetrics()
    metrics.batched(BatchRun(sizes=(1, 2), executed=4, waited=(0.1, 0.2), tensors=3))
    text = metrics.page()
    for line in (
        "wrapped_run_count{} 1",
        'padding_size_sum{execution_batch_size="4"} 1',
        "processed_batch_size_sum{} 4",
        "input_batch_size_count{} 6",
        "input_batch_size_sum{} 9",
    ):
        assert f":tensorflow:serving:batching_session:{line}\n" in text
