"""The configuration and rules for Prometheus: the page that they name is scraped, and has the series that they use."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from deployment_files import EXAMPLES, MANIFESTS, SERVERS, documents, unit_command

from tfs_client import PredictClient, StatusCode, TensorSpec
from tfs_client.cli.serve import flag_files
from tfs_client.server import FunctionSignature, Server, ServerConfig
from tfs_client.server.metric_types import exported_name
from tfs_client.server.server_metrics import ServerMetrics

FOLDER = EXAMPLES / "prometheus"
TOKEN = "secret"


def jobs() -> dict[str, dict[str, Any]]:
    """The scrape configurations by the name of their job."""
    import yaml

    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    return {job["job_name"]: job for job in config["scrape_configs"]}


def rules() -> list[dict[str, Any]]:
    """The recording and alerting rules."""
    import yaml

    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return list(group["rules"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with a token and the monitoring file of the examples, which has served a call."""
    path = flag_files.metrics_path(str(FOLDER / "monitoring.config"))
    vector = TensorSpec("float32", (None,))
    with Server(ServerConfig(rest_port=0, token=TOKEN, metrics_path=path)) as server:
        double = FunctionSignature(lambda x: {"y": 2 * x}, {"x": vector}, {"y": vector})
        server.add_model("double", {"serving_default": double})
        with PredictClient(server.target, model="double", token=TOKEN) as client:
            client.predict([1.0])
        yield server


def scrape(server: Server, job: dict[str, Any], token: str | None) -> httpx.Response:
    """What a job gets from a server that is not at the address of its target."""
    url = f"{job['scheme']}://{server.rest_url.partition('://')[2]}{job['metrics_path']}"
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}  # "authorization" is of type Bearer
    return httpx.get(url, headers=headers, trust_env=False)


def test_a_scrape_gets_the_page_only_with_the_token(server: Server) -> None:
    job = jobs()["tfs-serve"]
    assert set(job["authorization"]) == {"credentials_file"}
    page = scrape(server, job, TOKEN)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/plain")
    assert ':tensorflow:serving:request_count{model_name="double",status="OK"} 1\n' in page.text
    assert scrape(server, job, None).status_code == 401


@pytest.mark.peer
def test_prometheus_can_read_the_page(server: Server) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    families = {
        family.name: family
        for family in text_string_to_metric_families(scrape(server, jobs()["tfs-serve"], TOKEN).text)
    }
    (sample,) = families[":tensorflow:serving:request_count"].samples
    assert (sample.labels, sample.value) == ({"model_name": "double", "status": "OK"}, 1)
    buckets = [sample for sample in families[":tensorflow:serving:request_latency"].samples if "le" in sample.labels]
    assert (buckets[-1].labels["le"], buckets[-1].value) == ("+Inf", 1)


def test_the_targets_are_the_ports_of_the_other_examples() -> None:
    assert "--rest_api_port=8501" in unit_command()
    assert jobs()["tfs-serve"]["static_configs"] == [{"targets": ["localhost:8501"]}]
    (names,) = jobs()["tfs-serve-replicas"]["dns_sd_configs"]
    services = {documents(path)["Service"]["metadata"]["name"]: documents(path)["Service"]["spec"] for path in SERVERS}
    assert set(names["names"]) == set(services)
    for service in services.values():
        assert {"name": "rest", "port": names["port"], "targetPort": "rest"} in service["ports"]


def test_all_jobs_and_monitoring_files_have_one_path(tmp_path: Path) -> None:
    paths = {job["metrics_path"] for job in jobs().values()}
    configs = [documents(path).get("ConfigMap", {"data": {}})["data"] for path in MANIFESTS]
    texts = [text for data in configs for text in data.values()]
    assert len(texts) == len(SERVERS)
    for text in texts:
        (tmp_path / "monitoring.config").write_text(text)
        paths.add(flag_files.metrics_path(str(tmp_path / "monitoring.config")))
    assert paths == {flag_files.METRICS_PATH}


def test_the_rules_use_series_labels_and_codes_that_exist() -> None:
    metrics = {exported_name(metric.name): set(metric.labels) for metric in ServerMetrics().all}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    target = {"job", "instance"}
    for rule in rules():
        series = set(re.findall(r"[a-z_]*:[a-z0-9_:]+", rule["expr"])) - recorded
        assert {name.removesuffix("_bucket") for name in series} <= set(metrics), rule
        for labels in re.findall(r"by \(([a-z_, ]+)\)", rule["expr"]):
            known = set().union(target, {"le"}, *(metrics[name.removesuffix("_bucket")] for name in series))
            assert set(labels.split(", ")) <= known
        for codes in re.findall(r'status=~"([A-Z_|]+)"', rule["expr"]):
            assert set(codes.split("|")) <= {code.name for code in StatusCode}


@pytest.fixture
def promtool(tmp_path: Path) -> Any:
    """Runs promtool in a folder with the examples' files; gives its output and exit code."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool, of the package prometheus")
    for name in ("prometheus.yml", "rules.yml"):
        shutil.copy(FOLDER / name, tmp_path)
    shutil.copy(Path(__file__).parent / "rules.test.yml", tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    return run


def test_promtool_accepts_the_configuration(promtool: Any, tmp_path: Path) -> None:
    file, token = tmp_path / "prometheus.yml", tmp_path / "token"
    token.write_text(TOKEN)
    file.write_text(file.read_text().replace("/etc/prometheus/tfs-serve.token", str(token)))  # it looks for the file
    code, output = promtool("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    assert code == 0, output


def test_the_rules_fire_when_they_should(promtool: Any) -> None:
    code, output = promtool("test", "rules", "rules.test.yml")
    assert code == 0, output
