"""The server's own metrics, before and after a stage."""

from __future__ import annotations

import math
import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import PredictClient, TensorSpec
from tfs_client.cli.bench.server_metrics.exposition import parse
from tfs_client.cli.bench.server_metrics.scraper import PATH, Scraper
from tfs_client.cli.bench.server_metrics.served import (
    BATCHES,
    LATENCY,
    NAMES,
    REQUESTS,
    Restarted,
    Served,
    served,
)
from tfs_client.cli.bench.server_metrics.stage_metrics import StageMetrics
from tfs_client.errors import ConfigError, TFServingError
from tfs_client.server import ServerConfig
from tfs_client.testing import FakeServer

EMPTY = parse("", NAMES)


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("m 3", {}, 3.0),
        ("m{} 3", {}, 3.0),
        ('m{a="b",} 1.5e+06 1700000000', {"a": "b"}, 1.5e6),
        (r'm{ a = "quo\"te\\ \n" , b="}" } 2', {"a": 'quo"te\\ \n', "b": "}"}, 2.0),
    ],
)
def test_a_line_of_the_page_is_read(line, labels, value):
    assert list(parse(f"# TYPE m counter\nother 5\n{line}\n", ["m"]).series("m")) == [(labels, value)]


@pytest.mark.parametrize(
    "line", ["m", "m{", 'm{a="b} 3', "m{} x", "m{} NaN", "m{} 1_0", "m{} 1 2 3", f"m {'1' * 70000}"]
)
def test_lines_that_cannot_be_read_are_counted(line):
    page = parse(f"{line}\nm 7\n", ["m"])

    assert page.unread == 1
    assert page.example
    assert list(page.series("m")) == [({}, 7.0)]


@given(st.text(st.sampled_from('m{}",\\= \n1ab\x1b')))
@settings(max_examples=60)
def test_any_page_is_read(text):
    page = parse(text, ["m"])

    assert page.unread >= 0
    assert page.example.isprintable()


def page(*samples):
    """A page with a histogram of latencies, each in microseconds, in buckets up to 10, 100 and without a limit."""
    lines = [f'{REQUESTS}{{model_name="m",status="OK"}} {len(samples)}']
    labels = 'model_name="m",API="Predict",entrypoint="GRPC"'
    for limit in (10, 100, math.inf):
        edge = "+Inf" if limit == math.inf else limit
        lines.append(f'{LATENCY}_bucket{{{labels},le="{edge}"}} {sum(one < limit for one in samples)}')
    lines += [f"{LATENCY}_sum{{{labels}}} {sum(samples):g}", f"{LATENCY}_count{{{labels}}} {len(samples)}"]
    return parse("\n".join(lines), NAMES)


def test_the_difference_of_two_pages_is_what_was_served():
    found = served(page(5, 50), page(5, 50, 50, 70, 500), "m", "grpc")

    assert found.requests == {"OK": 3}
    assert found.latency.count == 3
    assert found.latency.mean == pytest.approx(620e-6 / 3)
    assert found.latency.quantile(0.5) == pytest.approx((10e-6, 100e-6))
    assert found.latency.quantile(0.99) == pytest.approx((100e-6, math.inf))
    assert found.batches is None
    assert found.notes == ()


def test_other_models_and_transports_do_not_count():
    other = served(EMPTY, page(5, 50), "another", "grpc")

    assert (other.requests, other.latency) == ({}, None)
    assert other.notes == ("the metrics page does not mention the model",)
    assert served(EMPTY, page(5, 50), "m", "rest").latency is None


def test_a_mean_that_rounding_hides_is_unknown():
    texts = [
        f'{LATENCY}_bucket{{model_name="m",le="+Inf"}} {count}\n{LATENCY}_sum{{model_name="m"}} {total:g}\n'
        for count, total in ((10**6, 123456e6), (10**6 + 10, 123456e6 + 50_000))
    ]

    found = served(*(parse(text, NAMES) for text in texts), "m", "grpc").latency

    assert found.count == 10
    assert math.isnan(found.mean)


@pytest.mark.parametrize("after", [page(5), EMPTY])
def test_counts_that_fall_are_a_restart(after):
    with pytest.raises(Restarted):
        served(page(5, 50), after, "m", "grpc")


def test_lines_that_cannot_be_read_are_noted():
    broken = parse(f"{BATCHES} x\x1b\n", NAMES)

    (note, _) = served(EMPTY, broken, "m", "grpc").notes

    assert "1 line that cannot be read" in note
    assert "\x1b" not in note


@pytest.fixture(scope="module")
def server():
    with FakeServer(ServerConfig(metrics_path=PATH)) as server:
        spec = TensorSpec("float32", (None,))
        server.add_model("m", lambda x: {"y": x}, inputs={"x": spec}, outputs={"y": spec})
        yield server


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_server_counts_the_calls_of_a_stage(server, transport):
    metrics = StageMetrics(Scraper(server.rest_url), "m", transport)
    target = server.target if transport == "grpc" else server.rest_url
    with PredictClient(target, model="m") as client:
        client.predict({"x": np.zeros(2, np.float32)})
        metrics.before()
        for _ in range(3):
            client.predict({"x": np.zeros(2, np.float32)})
        found = metrics.after()
    metrics.close()

    assert isinstance(found, Served)
    assert found.requests == {"OK": 3}
    assert found.latency.count == found.runtime.count == 3
    assert 0 < found.runtime.mean <= found.latency.mean < 10


def test_a_missing_page_is_a_reason(server):
    scraper = Scraper(f"{server.rest_url}/another")
    with pytest.raises(TFServingError, match=r"no page http://.*/another: start .* --monitoring_config_file"):
        scraper.scrape()
    metrics = StageMetrics(scraper, "m", "grpc")
    metrics.before()

    assert "no page" in metrics.after()
    metrics.close()


def test_a_page_of_something_else_is_a_reason(server):
    scraper = Scraper(f"{server.rest_url}/v1/models/m")

    with pytest.raises(TFServingError, match="not a page of metrics"):
        scraper.scrape()
    scraper.close()


def test_a_server_that_is_gone_is_a_reason():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        scraper = Scraper(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(
            TFServingError, match=f"cannot read the metrics page http://127.*{PATH}: .*; --metrics names"
        ):
            scraper.scrape()
    scraper.close()


@pytest.mark.parametrize(
    "url", ["host", "host:port", "grpc://h:1", "http://", "http://h/m?x=1", "http://h/ü", "http://h/a b"]
)
def test_other_urls_are_refused(url):
    with pytest.raises(ConfigError, match="--metrics: expected"):
        Scraper(url)


@pytest.mark.parametrize("url", ["host:8501", "http://host:8501", "http://host:8501/", f"host:8501{PATH}"])
def test_the_page_has_a_default_path(url):
    scraper = Scraper(url)

    assert scraper.url == f"http://host:8501{PATH}"
    scraper.close()


def test_passwords_are_not_shown():
    scraper = Scraper("http://user:secret@host:8501/metrics")

    assert "secret" not in scraper.url
    scraper.close()
