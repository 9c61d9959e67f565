"""The container and the manifests among the examples: what can be said of them without running them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tfs_client.cli import admin_arguments, serve_flags
from tfs_client.testing import FakeServer

EXAMPLES = Path(__file__).parent.parent / "examples"
DOCKERFILE = EXAMPLES / "container" / "Dockerfile"
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
SERVERS = [path for path in MANIFESTS if path.name.endswith("-serving.yaml")]
INSTRUCTION = re.compile(r"(ARG|CMD|COPY|ENTRYPOINT|EXPOSE|FROM|HEALTHCHECK|RUN|USER|WORKDIR) (\S.*)")

by_name = pytest.mark.parametrize("path", SERVERS, ids=lambda path: path.name)


def instructions() -> dict[str, list[str]]:
    """The Dockerfile's instructions by name, continued lines joined."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE.read_text()).splitlines():
        if line and not line.startswith("#"):
            matched = INSTRUCTION.fullmatch(line)
            assert matched, line
            found.setdefault(matched[1], []).append(matched[2])
    return found


def documents(path: Path) -> dict[str, Any]:
    """The manifests in a file by kind."""
    import yaml  # here, so that an environment without it can still collect the peer tests

    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text())}


def container(path: Path) -> dict[str, Any]:
    """The one container of the Deployment in a file."""
    (found,) = documents(path)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_tfs_serve_reads_the_arguments_of_the_container() -> None:
    made = instructions()
    arguments = serve_flags.read([*json.loads(*made["ENTRYPOINT"])[1:], *json.loads(*made["CMD"])])
    assert (arguments.unknown, arguments.wrong) == ([], [])
    assert (arguments.values.port, arguments.values.rest_api_port) == (8500, 8501)
    assert arguments.values.enable_grpc_healthcheck_service


def test_tfs_serve_has_the_flags_that_the_pages_name() -> None:
    text = "\n".join(path.read_text() for path in (EXAMPLES / "README.md", EXAMPLES / "serving.py", *SERVERS))
    named = re.findall(r"--([a-z]+_[a-z_]+)", text)  # others are docker's and pip's
    assert {"model_name", "model_base_path", "enable_grpc_healthcheck_service"} <= set(named)
    assert set(named) <= {flag.name for flag in serve_flags.FLAGS}


def test_the_container_runs_the_server_as_somebody_who_is_not_root() -> None:
    made = instructions()
    assert json.loads(*made["ENTRYPOINT"])[:2] == ["tfs-serve", "--host=0.0.0.0"]
    assert [int(user) > 0 for user in made["USER"]] == [True]
    assert made["EXPOSE"] == ["8500 8501"]


def test_the_container_copies_what_there_is_and_lets_in() -> None:
    root, ignored = EXAMPLES.parent, (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text()
    sources = [name for line in instructions()["COPY"] for name in line.split()[:-1]]
    assert "tfs_client" in sources
    for name in sources:
        assert (root / name).exists(), name
        assert f"!{name}\n" in ignored, name


def test_the_extras_that_the_container_installs_exist() -> None:
    (extras,) = (line.removeprefix("EXTRAS=") for line in instructions()["ARG"])
    project = (EXAMPLES.parent / "pyproject.toml").read_text()
    for extra in (extras, "tensorflow"):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def test_the_health_check_asks_the_port_that_is_opened() -> None:
    (line,) = instructions()["HEALTHCHECK"]
    command = json.loads(line.partition("CMD ")[2])
    options = admin_arguments.parse(command[1:])
    assert command[:2] == ["tfs-admin", "health"]
    assert options.server == "localhost:8500"


@by_name
def test_a_service_is_headless_and_finds_its_server(path: Path) -> None:
    made = documents(path)
    service, deployment = made["Service"]["spec"], made["Deployment"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["selector"] == deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container(path)["ports"]}
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports == {"grpc": 8500, "rest": 8501}


@by_name
def test_a_server_is_ready_once_its_health_service_says_so(path: Path) -> None:
    server = container(path)
    for kind in ("startupProbe", "readinessProbe"):
        probe = server[kind]
        if "exec" in probe:
            assert admin_arguments.parse(probe["exec"]["command"][1:]).server == "localhost:8500"
        else:
            assert probe["grpc"] == {"port": 8500}
    entrypoint = json.loads(*instructions()["ENTRYPOINT"]) if server["image"] == "tiny-serving" else []
    arguments = serve_flags.read([*entrypoint[1:], *server["args"]])
    assert not arguments.unknown
    assert arguments.values.enable_grpc_healthcheck_service


@by_name
def test_what_a_server_mounts_is_declared(path: Path) -> None:
    volumes = documents(path)["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert [mount["name"] for mount in container(path)["volumeMounts"]] == [volume["name"] for volume in volumes]


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
