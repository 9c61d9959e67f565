"""ServerCore: which configurations it accepts, and how it applies them, with the model server's texts."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout  # its own class before Python 3.11
from threading import Event

import pytest
from model_dirs import TextPlatform, put

from tfs_client import AllVersions, ConfigError, Latest, ModelConfig, ModelServerConfig, SpecificVersions, StatusCode
from tfs_client._codec.config_text import parse
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import CallError
from tfs_client.server import ServerConfig
from tfs_client.server.lifecycle import model_list
from tfs_client.server.lifecycle.core import ServerCore
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.lifecycle.model_list import ListedModel

# --- what a configuration says ---------------------------------------------------------------------------------------


def models_of(*configs):
    return model_list.read(parse(f"model_config_list {{ {' '.join(f'config {{ {config} }}' for config in configs)} }}"))


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", Latest(1)),
        ("model_version_policy {}", Latest(1)),
        ("model_version_policy { latest {} }", Latest(1)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { all {} }", AllVersions()),
        ("model_version_policy { specific { versions: 7 versions: 2 versions: 7 } }", (2, 7)),
        ("model_version_policy { specific {} }", ()),
    ],
)
def test_policies(policy, versions):
    assert models_of(policy)[0].versions == versions


def test_other_fields_are_read_unchanged():
    assert models_of('name: "m" base_path: "p" model_type: TENSORFLOW version_labels { key: "a" value: 1 }') == (
        ListedModel("m", "p", "", Latest(1), {"a": 1}, 1, False),
    )
    assert models_of("logging_config {}")[0].logged


def test_a_missing_list_differs_from_an_empty_list():
    assert model_list.read(parse("")) is None
    assert model_list.read(parse("model_config_list {}")) == ()


def test_custom_configurations_are_not_supported():
    with pytest.raises(CallError) as caught:
        model_list.read(parse('custom_model_config { type_url: "a/b" }'))
    assert (caught.value.code, caught.value.details) == (
        StatusCode.INVALID_ARGUMENT,
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    )


def refusal(check, *args, **options):
    with pytest.raises(CallError) as caught:
        check(*args, **options)
    return f"{caught.value.code.name}: {caught.value.details}"


M = ListedModel("m", "/m")
FIELDS = "ModelServerConfig::model_type (deprecated)", "ModelServerConfig::model_platform"


def test_names_must_be_unique_and_paths_absolute():
    check = model_list.check_names_and_paths
    assert refusal(check, (M, M)) == "INVALID_ARGUMENT: Illegal to list model m multiple times in config list"
    for path in ("", "m", "./m", "c://m"):
        assert refusal(check, (ListedModel("m", path),)) == (
            f"INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()={path}"
        )
    for path in ("/", "/m", "gs://bucket/m", "file:///m"):
        check((ListedModel("m", path),))
    assert "multiple times" in refusal(
        check, (ListedModel("m", "x"), ListedModel("m", "x"))
    )  # names are looked at first


def test_a_model_needs_a_name():
    assert refusal(model_list.check_names_and_paths, (M, ListedModel("", "/x"))) == (
        "INVALID_ARGUMENT: Expected every model to have a name; that of base path '/x' has none"
    )


def test_unreadable_base_paths_are_refused():
    model_list.check_readable([M, ListedModel("n", "file:///n")])
    assert refusal(model_list.check_readable, [M, ListedModel("n", "s3://bucket/n")]) == (
        "UNIMPLEMENTED: File system scheme 's3' not implemented (file: 's3://bucket/n')"
    )
    assert refusal(model_list.check_readable, [ListedModel("n", "/x\0y")]) == (
        "INVALID_ARGUMENT: Expected model n to have a base path without NUL characters"
    )


def test_code_comes_only_from_known_base_paths():
    code = ListedModel("n", "/n", "python")
    assert model_list.code_paths([M, code]) == {"/n"}
    model_list.check_code([M, code], ["/n"])
    assert refusal(model_list.check_code, [M, code], ["/m"]).startswith(
        "PERMISSION_DENIED: Model n has platform python, so the server would run the code in /n. "
    )


@pytest.mark.parametrize(
    ("model_type", "platform", "expected"),
    [
        (0, "tensorflow", "tensorflow"),
        (0, "other", "other"),
        (1, "", "tensorflow"),
        (1, "x", f"INVALID_ARGUMENT: Illegal setting both {FIELDS[0]} and {FIELDS[1]}, model name is m"),
        (0, "", f"INVALID_ARGUMENT: Illegal setting neither {FIELDS[0]} nor {FIELDS[1]}, model name is m"),
        (2, "", "INVALID_ARGUMENT: ModelServerConfig::model_type choice 2 not supported."),
    ],
)
def test_the_platform_and_its_deprecated_twin(model_type, platform, expected):
    model = ListedModel("m", "/m", platform, model_type=model_type)
    if expected == platform or not expected.startswith("INVALID"):
        assert model_list.platform_of(model) == expected
    else:
        assert refusal(model_list.platform_of, model) == expected


def test_a_platform_cannot_change():
    other = ListedModel("m", "/m", "other")
    model_list.check_platforms_kept((M,), (M, ListedModel("n", "/n", "")))  # what is new is not looked at yet
    assert refusal(model_list.check_platforms_kept, (M,), (other,)) == (
        "INVALID_ARGUMENT: Illegal to change a model's platform. "
        "For model m platform was tensorflow and new platform requested is other"
    )


def test_an_unavailable_platform_is_refused():
    assert refusal(model_list.check_supported, [ListedModel("m", "/m", "caffe2")], ["tensorflow"]) == (
        "INVALID_ARGUMENT: Model m requests unsupported platform caffe2"
    )


def test_request_logging_is_not_offered():
    model_list.check_not_logged([M])
    assert refusal(model_list.check_not_logged, [ListedModel("m", "/m", logged=True)]) == (
        "INVALID_ARGUMENT: No request-logger-creator provided."
    )


@pytest.mark.parametrize(
    ("known", "version", "allow", "accepted"),
    [
        ({}, 1, False, True),
        ({}, 2, False, False),
        ({"a": 1}, 2, False, False),
        ({"a": 2}, 2, False, False),
        ({}, 2, True, True),
        ({"a": 2}, 2, True, True),
        ({"a": 1}, 2, True, False),
        ({"a": 2}, 1, True, True),
        ({"b": 1}, 2, True, True),
    ],
)
def test_labels_need_a_version_that_serves(known, version, allow, accepted):
    """Version 1 of the model serves."""

    def check():
        return model_list.checked_labels(
            (ListedModel("m", "/m", labels={"a": version}),),
            lambda name, number: number == 1,
            {"m": known},
            allow_unavailable=allow,
        )

    if accepted:
        assert check() == {"m": {"a": version}}
    else:
        assert refusal(check) == (
            f"FAILED_PRECONDITION: Request to assign label to version {version} of model m, "
            "which is not currently available for inference"
        )


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_config_file_that_cannot_be_read(tmp_path, caplog):
    missing, broken = tmp_path / "missing", tmp_path / "broken"
    broken.write_text("model_config_list { nonsense: 1 }")
    assert refusal(model_list.read_file, missing) == f"NOT_FOUND: {missing}; No such file or directory"
    assert refusal(model_list.read_file, broken) == f"INVALID_ARGUMENT: Invalid protobuf file: '{broken}'"
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:29: Message type" in caplog.text
    broken.write_bytes(b"\xff\xfe")
    assert refusal(model_list.read_file, str(broken)) == f"INVALID_ARGUMENT: Invalid protobuf file: '{broken}'"


def test_of_several_faults_in_a_file_the_first_is_logged(tmp_path, caplog):
    file = tmp_path / "models.config"
    file.write_text("model_config_list {\n config { name: '\\C' }\n config { name: '\\D' }\n}")
    assert refusal(model_list.read_file, file) == f"INVALID_ARGUMENT: Invalid protobuf file: '{file}'"
    assert caplog.messages == [
        "Error parsing text-format tensorflow.serving.ModelServerConfig: "
        "2:19: Invalid escape sequence in string literal."
    ]


# --- the start -------------------------------------------------------------------------------------------------------


class Cores:
    """Makes cores that load text models from below a directory."""

    def __init__(self, base):
        self.base = base
        self.platform = TextPlatform()
        self.made = []

    def __call__(self, *models, **options):
        if models:
            options["model_config"] = ModelServerConfig(models)
        config = ServerConfig(**{"file_system_poll_wait_seconds": 0.01, "max_num_load_retries": 0} | options)
        manager = Manager(retries=config.load_retries, load_threads=config.num_load_threads)
        core = ServerCore(config, manager, platforms={"tensorflow": self.platform})
        core.manager = manager
        self.made.append(core)
        return core

    def model(self, name, *versions, text="", **options):
        for version in versions:
            put(self.base / name, version, text)
        return ModelConfig(name, str(self.base / name), **options)


@pytest.fixture
def cores(tmp_path):
    cores = Cores(tmp_path)
    yield cores
    for gate in cores.platform.gates.values():
        gate.set()
    for core in cores.made:
        assert core.stop(10)


def serving(core, name):
    with core.manager.handle(ModelSpec(name)) as handle:
        return handle.version


def test_the_start_returns_when_every_model_serves(cores, caplog):
    with caplog.at_level(logging.INFO, "tfs_client.server"):
        core = cores(cores.model("a", 1, 2), cores.model("b", 7))
        core.start()
    assert (serving(core, "a"), serving(core, "b")) == (2, 7)
    assert caplog.messages[:4] == [
        "The ports open once every model of the configuration is served",
        "Adding/updating models.",
        " (Re-)adding model: a",
        " (Re-)adding model: b",
    ]
    assert caplog.messages[-1] == "Finished adding/updating models"


def test_a_start_that_flushes_no_caches_logs_its_end(cores, caplog):
    with caplog.at_level(logging.INFO, "tfs_client.server"):
        cores(cores.model("m", 1), flush_filesystem_caches=False).start()
    assert caplog.messages[-2:] == ["Finished adding/updating models", "Finished reloading config"]


@pytest.mark.parametrize(
    ("policy", "expected"), [(AllVersions(), [3, 2, 1]), (Latest(2), [3, 2]), (SpecificVersions(1, 3), [3, 1])]
)
def test_policies_of_a_model(cores, policy, expected):
    core = cores(cores.model("m", 1, 2, 3, versions=policy))
    core.start()
    assert core.manager.wait_until(
        lambda: [known.version for known in core.manager.status(ModelSpec("m")) if known.state == 30] == expected, 10
    )


def test_the_start_waits_for_a_slow_load_without_a_limit(cores):
    core = cores(cores.model("m", 1), start_wait=0.01)
    gate = cores.platform.gate(cores.base / "m" / "1")
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(core.start)
        assert cores.platform.entered[str(cores.base / "m" / "1")].wait(10)
        with pytest.raises(FutureTimeout):
            starting.result(0.05)
        gate.set()
        starting.result(10)
    assert serving(core, "m") == 1


def test_the_start_fails_with_a_broken_model(cores):
    core = cores(cores.model("good", 1), cores.model("bad", 3, text="broken"), cores.model("worse", 4, text="broken"))
    assert refusal(core.start) == (
        "UNKNOWN: 2 servable(s) did not become available: {"
        "{{name: bad version: 3} due to error: INVALID_ARGUMENT: the model is broken}, "
        "{{name: worse version: 4} due to error: INVALID_ARGUMENT: the model is broken}, }"
    )


def test_the_highest_finished_version_decides(cores):
    model = cores.model("m", 1, versions=AllVersions())
    put(cores.base / "m", 2, "broken")
    assert "{name: m version: 2}" in refusal(cores(model).start)


@pytest.mark.parametrize("versions", [[], None])
def test_a_wait_that_the_model_server_would_never_end_is_limited(cores, versions):
    core = cores(ModelConfig("m", str(cores.base / "m")), start_wait=0.03)
    if versions is not None:
        (cores.base / "m").mkdir()
    assert refusal(core.start) == (
        "DEADLINE_EXCEEDED: No version of 1 model(s) was found within 0.03 seconds: "
        f"{{name: m base_path: {cores.base / 'm'}}}"
    )


def test_unreadable_base_paths_end_the_start_at_once(cores):
    assert refusal(cores(ModelConfig("m", "s3://bucket/m")).start).startswith("UNIMPLEMENTED: File system scheme 's3'")


def test_a_model_added_in_code_cannot_be_configured(cores):
    core = cores(cores.model("m", 2))
    core.manager.add("m", 1, cores.platform(str(put(cores.base / "other", 1))))
    assert refusal(core.start).startswith("INVALID_ARGUMENT: Illegal to configure model m: ")
    assert serving(core, "m") == 1


def test_the_start_can_return_without_waiting(cores):
    assert "was found within 0 seconds" in refusal(cores(ModelConfig("m", "/nowhere"), start_wait=0).start)


def test_the_wait_ends_when_the_version_appears(cores):
    core = cores(ModelConfig("m", str(cores.base / "m")))
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(core.start)
        put(cores.base / "m", 1)
        starting.result(10)
    assert serving(core, "m") == 1


def test_a_wait_ends_when_the_server_stops(cores):
    core = cores(ModelConfig("m", "/nowhere"))
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(core.start)
        core.manager.wait_until(lambda: core._source is not None, 1)
        core.stop_waiting()
        with pytest.raises(CallError, match="UNAVAILABLE: the server is stopping"):
            starting.result(10)


def test_one_poll_finds_existing_versions(cores):
    core = cores(cores.model("m", 1), file_system_poll_wait_seconds=0)
    core.start()
    assert serving(core, "m") == 1
    put(cores.base / "m", 2)
    assert refusal(core.reload, ModelServerConfig([cores.model("m"), cores.model("n", 1)])) == (
        "DEADLINE_EXCEEDED: No version of 1 model(s) was found "
        "and file_system_poll_wait_seconds does not allow another look: "
        f"{{name: n base_path: {cores.base / 'n'}}}"
    )
    assert serving(core, "m") == 1


def test_without_polls_no_model_is_found_and_the_start_does_not_wait(cores):
    assert "does not allow another look" in refusal(cores(cores.model("m", 1), file_system_poll_wait_seconds=-1).start)


@pytest.mark.parametrize("text", ["", "model_config_list {}"])
def test_a_server_without_models_starts(cores, text, tmp_path, caplog):
    (tmp_path / "models.config").write_text(text)
    core = cores(model_config_file=tmp_path / "models.config")
    with caplog.at_level(logging.INFO):
        core.start()
    assert ("Taking no action for empty config." in caplog.messages) == (not text)
    assert ("The configuration is empty" in caplog.text) == (not text)
    core.reload(ModelServerConfig([cores.model("m", 1)]))
    assert serving(core, "m") == 1


def test_the_first_models_of_a_server_started_without_models_are_called_servables(cores):
    bad = cores.model("bad", 1, text="broken")
    without_config, empty_list = cores(), cores(model_config=ModelServerConfig())
    for core, what in ((without_config, "servable"), (empty_list, "model")):
        core.start()
        assert refusal(core.reload, ModelServerConfig([bad])).startswith(f"UNKNOWN: 1 {what}(s) did not become")


def test_the_advice_about_labels_at_the_start_is_not_logged_for_reloads(cores, caplog):
    model = cores.model("m", 1)
    core = cores(model)
    core.start()
    labelled = ModelServerConfig([model]).label("m", "stable", 2)
    assert refusal(core.reload, labelled).startswith("FAILED_PRECONDITION: Request to assign label")
    assert "A server that starts with labels" not in caplog.text


def test_labels_at_the_start_are_refused_unless_they_are_allowed_in_advance(cores, caplog):
    model = cores.model("m", 1, labels={"stable": 1})
    assert refusal(cores(model).start).startswith("FAILED_PRECONDITION: Request to assign label to version 1")
    advice = caplog.records[-1]
    assert advice.levelname == "WARNING"
    assert advice.message.startswith("A server that starts with labels needs --allow_version_labels_for_unavailable")
    core = cores(model, allow_version_labels_for_unavailable_models=True)
    core.start()
    with core.manager.handle(ModelSpec("m", label="stable")) as handle:
        assert handle.version == 1


@pytest.mark.parametrize("polls", [0.01, 0], ids=["again and again", "once"])
def test_a_stop_does_not_wait_for_a_file_system_that_hangs(cores, monkeypatch, polls):
    model = cores.model("m", 1)
    core, listdir, inside, leave = cores(model, file_system_poll_wait_seconds=polls), os.listdir, Event(), Event()

    def hang(path):
        inside.set()
        assert leave.wait(20)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", hang)
    with ThreadPoolExecutor(2) as pool:
        try:
            starting = pool.submit(core.start)
            assert inside.wait(10)
            reloading = pool.submit(core.reload, ModelServerConfig([model]))
            began = time.monotonic()
            core.stop(0.1)
            assert time.monotonic() - began < 5
        finally:
            leave.set()
        for waiting in (starting, reloading):
            assert refusal(waiting.result, 10) == "UNAVAILABLE: the server is stopping"
    with pytest.raises(CallError, match="Could not find any versions"):  # what it has found in the end comes too late
        core.manager.status(ModelSpec("m"))


def test_a_core_may_start_again_after_a_stop(cores):
    core = cores(cores.model("m", 1))
    for _ in range(2):
        core.start()
        assert serving(core, "m") == 1
        assert core.stop(10)
        assert core.stop(10)
        assert [known.state.name for known in core.manager.status(ModelSpec("m"))] == ["END"]
    assert refusal(core.reload, ModelServerConfig()) == "UNAVAILABLE: the server is stopping"


def test_a_stopped_core_leaves_no_threads(cores, tmp_path):
    before = set(threading.enumerate())
    (tmp_path / "models.config").write_text(ModelServerConfig([cores.model("m", 1)]).to_text())
    core = cores(model_config_file=tmp_path / "models.config", model_config_file_poll_wait_seconds=0.01)
    core.start()
    assert core.stop(10)
    assert set(threading.enumerate()) <= before


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"model_config": "models.config"},
        {"model_config": ModelServerConfig(), "model_config_file": "models.config"},
        {"model_config_file": 5},
        {"model_config_file": ""},
        {"port": None},
        {"port": None, "grpc_socket_path": ""},
        {"model_config_file_poll_wait_seconds": "1"},
        {"file_system_poll_wait_seconds": float("nan")},
        {"file_system_poll_wait_seconds": None},
        {"num_load_threads": -1},
        {"num_unload_threads": 1.5},
        {"max_num_load_retries": -1},
        {"load_retry_interval": "1"},
        {"allow_version_labels_for_unavailable_models": 1},
        {"allow_python_reload": "python"},
        {"start_wait": -1},
        {"reload_wait": float("nan")},
        {"drain_seconds": -1},
        {"enable_grpc_healthcheck_service": "yes"},
        {"tls": True},
        {"token": ""},
        {"token": "a b"},
        {"token": "\u00e9"},
        {"token": 5},
    ],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        ServerConfig(**options)


def test_a_token_is_never_shown():
    assert "secret" not in repr(ServerConfig(token="secret"))
