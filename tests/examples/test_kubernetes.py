"""The manifests among the examples: they fit together, suit the servers' flags, and follow the published schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deployment_files import (
    EXAMPLES,
    MANIFESTS,
    SERVERS,
    container,
    documents,
    entrypoint_arguments,
    image_environment,
    pod,
    stop_seconds,
)

from tfs_client.cli.admin import arguments
from tfs_client.cli.serve import flags as serve_flags
from tfs_client.testing import FakeServer

TINY = EXAMPLES / "kubernetes" / "tiny-serving.yaml"

by_name = pytest.mark.parametrize("path", SERVERS, ids=lambda path: path.name)


def flags(path: Path, folder: Path) -> Any:
    """The values of the flags with which a manifest starts its server. Both images have the same entrypoint."""
    server = container(path)
    environment = image_environment() | {variable["name"]: variable["value"] for variable in server["env"]}
    arguments = serve_flags.read(entrypoint_arguments(folder, *server["args"], **environment))
    assert (arguments.unknown, arguments.wrong) == ([], [])
    if server["image"] != "tiny-serving":
        assert not [flag.name for flag in serve_flags.read(server["args"]).given if flag.use is serve_flags.Use.OWN]
    return arguments.values


@pytest.mark.peer
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_follows_the_published_schemas(path: Path) -> None:
    import kubernetes_validate

    versions = ["1.27", kubernetes_validate.latest_version()]  # 1.27: the first in which gRPC probes are stable
    for document in documents(path).values():
        for version in versions:
            kubernetes_validate.validate(document, version, strict=True)


@by_name
def test_a_service_is_headless_and_finds_its_server(path: Path) -> None:
    made = documents(path)
    service, deployment = made["Service"]["spec"], made["Deployment"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["selector"] == deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container(path)["ports"]}
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports


@by_name
def test_a_server_opens_the_ports_that_its_manifest_names(path: Path, tmp_path: Path) -> None:
    started = flags(path, tmp_path)
    ports = {port["name"]: port["containerPort"] for port in container(path)["ports"]}
    assert ports == {"grpc": started.port, "rest": started.rest_api_port}


@by_name
def test_a_server_is_ready_once_its_health_service_says_so(path: Path, tmp_path: Path) -> None:
    started, server = flags(path, tmp_path), container(path)
    assert started.enable_grpc_healthcheck_service
    for kind in ("startupProbe", "readinessProbe"):
        probe = server[kind]
        if "exec" in probe:
            options = arguments.parse(probe["exec"]["command"][1:])
            assert options.server == f"localhost:{started.port}"
            assert options.timeout < probe["timeoutSeconds"]
        else:
            assert probe["grpc"] == {"port": started.port}


@by_name
def test_the_model_lies_on_the_volume(path: Path, tmp_path: Path) -> None:
    started = flags(path, tmp_path)
    assert (started.model_name, started.model_base_path) == ("digits", "/models/digits")
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in container(path)["volumeMounts"]


@by_name
def test_every_mount_is_declared(path: Path) -> None:
    assert [mount["name"] for mount in container(path)["volumeMounts"]] == [
        volume["name"] for volume in pod(path)["volumes"]
    ]


@by_name
def test_the_monitoring_file_is_in_the_mounted_config_map(path: Path, tmp_path: Path) -> None:
    config = documents(path)["ConfigMap"]
    (volume,) = (volume for volume in pod(path)["volumes"] if "configMap" in volume)
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    (place,) = (mount["mountPath"] for mount in container(path)["volumeMounts"] if mount["name"] == volume["name"])
    (name,) = config["data"]
    assert flags(path, tmp_path).monitoring_config_file == f"{place}/{name}"


def test_the_tiny_server_has_the_time_for_an_orderly_stop(tmp_path: Path) -> None:
    started = flags(TINY, tmp_path)
    assert started.drain_seconds > 0
    assert pod(TINY)["terminationGracePeriodSeconds"] > stop_seconds(started)


def test_the_model_server_is_not_stopped_before_clients_have_left(tmp_path: Path) -> None:
    path = EXAMPLES / "kubernetes" / "tensorflow-serving.yaml"
    sleep, duration = container(path)["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert 0 < int(duration) < pod(path).get("terminationGracePeriodSeconds", 30)  # 30: Kubernetes' default


def test_the_client_names_a_service_and_its_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    client = container(EXAMPLES / "kubernetes" / "client.yaml")
    (variable,) = client["env"]
    services = [documents(path)["Service"]["metadata"]["name"] for path in SERVERS]
    assert variable["value"] in [f"dns:///{name}:8500" for name in services]
    (code,) = client["args"]
    run_once(code, variable["name"])
    assert "Prediction of digits version 1" in capsys.readouterr().out


def run_once(code: str, variable: str) -> None:
    """Run the client's code against a model of that face, as far as its first pause."""
    from tfs_client import TensorSpec

    with FakeServer() as server, pytest.MonkeyPatch.context() as patch:
        image, scores = TensorSpec("float32", (None, 8, 8)), TensorSpec("float32", (None,))
        server.add_model("digits", lambda image: image.sum(axis=(1, 2)), inputs={"image": image}, outputs={"y": scores})
        patch.setenv(variable, server.target)
        with pytest.raises(KeyboardInterrupt):
            exec(compile(code.replace("time.sleep(1)", "raise KeyboardInterrupt"), "client.yaml", "exec"), {})
