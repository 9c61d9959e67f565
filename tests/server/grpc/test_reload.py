"""HandleReloadConfigRequest and the polled config file: codes, texts, their order, and what stays as it was."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from model_dirs import put
from served_models import Starter, until

from tfs_client import (
    AbortedError,
    AllVersions,
    CallError,
    ConfigError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    Latest,
    ModelConfig,
    ModelServerConfig,
    NotFoundError,
    PermissionDeniedError,
    PredictClient,
    SpecificVersions,
    UnknownError,
)
from tfs_client._codec.config_text import parse
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tfs_client.server import Server

RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


@pytest.fixture
def serve(tmp_path):
    starter = Starter(tmp_path)
    yield starter
    starter.close()


@pytest.fixture
def raw(serve, connect, refused):
    """Send a configuration in protobuf text; return the refusal, or None if it was accepted."""

    def send(served, text):
        request = ReloadConfigRequest(config=parse(text)).SerializeToString()
        return refused(connect(served.server.target).raw, RELOAD, request)

    return send


# --- models that come and go -----------------------------------------------------------------------------------------


def test_a_new_model_is_served_when_the_call_returns(serve):
    served = serve(serve.model("m", 1))
    served.reload(served.config.add(serve.model("n", 5)))
    assert (served.said("m"), served.said("n")) == ("1", "5")


def test_a_model_that_is_left_out_is_unloaded(serve):
    served = serve(serve.model("m", 1), serve.model("n", 1))
    served.reload(served.config.remove("n"))
    served.until({1: "END"}, "n")
    with pytest.raises(NotFoundError, match=r"Latest\(n\)"):
        served.said("n")
    assert served.said("m") == "1"


def test_an_empty_list_unloads_everything(serve):
    served = serve(serve.model("m", 1))
    served.reload(ModelServerConfig())
    served.until({1: "END"})


def test_a_model_can_be_restored_while_it_is_unloading(serve):
    """The model server takes the end of the old version for a failure of the new one."""
    served = serve(serve.model("m", 1))
    with ThreadPoolExecutor(1) as pool:
        with served.server.manager.handle(ModelSpec("m")):
            served.reload(ModelServerConfig())
            served.until({1: "UNLOADING"})
            coming_back = pool.submit(served.reload, served.config)
            assert served.server.manager.wait_until(lambda: bool(served.server.manager.aspired("m")), 10)
            assert not coming_back.done()
        coming_back.result(10)
    assert served.states() == {1: "AVAILABLE"}


def test_the_same_configuration_again_changes_nothing(serve):
    served = serve(serve.model("m", 1))
    served.reload(served.config)
    assert served.said() == "1"
    assert served.platform.loads[str(served.base / "m" / "1")] == 1


def test_policies_change_with_the_next_poll(serve):
    served = serve(serve.model("m", 1, 2, 3))
    for policy, expected in [
        (AllVersions(), {3, 2, 1}),
        (Latest(2), {3, 2}),
        (SpecificVersions(1), {1}),
        (Latest(), {3}),
    ]:
        served.reload(served.config.serve("m", policy))
        served.until_available(*expected)


def test_a_base_path_changes_with_the_next_poll_but_loads_no_version_again(serve):
    served = serve(serve.model("m", 1))
    serve.model("elsewhere", 1, 2, text="elsewhere")
    elsewhere = ModelConfig("m", str(served.base / "elsewhere"), versions=AllVersions())
    served.reload(ModelServerConfig([elsewhere]))
    served.until_available(1, 2)
    assert (served.said(version=1), served.said(version=2)) == ("1", "elsewhere")


def test_concurrent_reloads_run_one_after_the_other(serve):
    served = serve(serve.model("m", 1))
    slow, fast = serve.model("slow", 1), serve.model("fast", 1)
    gate = served.platform.gate(served.base / "slow" / "1")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(served.reload, served.config.add(slow))
        assert served.platform.entered[str(served.base / "slow" / "1")].wait(10)
        second = pool.submit(served.reload, served.config.add(fast))
        assert served.said() == "1"  # calls go on meanwhile
        assert not second.done()
        gate.set()
        first.result(10)
        second.result(10)
    assert served.said("fast") == "1"


# --- labels ----------------------------------------------------------------------------------------------------------


def test_a_label_is_assigned_to_a_serving_version_and_can_move(serve):
    served = serve(serve.model("m", 1, 2, versions=AllVersions()))
    served.until_available(1, 2)
    for version in (1, 2, 1):
        served.reload(served.config.label("m", "stable", version))
        assert served.said(label="stable") == str(version)
    served.reload(served.config)
    with pytest.raises(InvalidArgumentError, match="Unrecognized servable version label: stable"):
        served.said(label="stable")


def test_a_label_of_a_version_that_does_not_serve_refuses_the_whole_configuration(serve):
    served = serve(serve.model("m", 1))
    labelled = served.config.label("m", "stable", 1)
    served.reload(labelled)
    with pytest.raises(FailedPreconditionError) as caught:
        served.reload(labelled.label("m", "next", 2).add(serve.model("n", 1)))
    assert caught.value.details == (
        "Request to assign label to version 2 of model m, which is not currently available for inference"
    )
    assert served.said(label="stable") == "1"
    assert served.states("n") == {}


def test_a_list_refused_because_of_a_label_is_accepted_once_the_version_serves(serve):
    served = serve(serve.model("m", 1))
    labelled = served.config.label("m", "next", 2)
    with pytest.raises(FailedPreconditionError):
        served.reload(labelled)
    put(served.base / "m", 2)
    served.until_available(2)
    for _ in range(2):  # the second time it is equal to the one in force
        served.reload(labelled)
        assert served.said(label="next") == "2"


def test_a_label_that_was_moved_elsewhere_moves_back_with_an_equal_list(serve):
    served = serve(serve.model("m", 1, 2, versions=AllVersions()))
    served.until_available(1, 2)
    labelled = served.config.label("m", "stable", 1)
    served.reload(labelled)
    served.server.manager.set_label("m", "stable", 2)
    served.reload(labelled)
    assert served.said(label="stable") == "1"


def test_a_label_may_precede_its_version_if_allowed(serve):
    served = serve(serve.model("m", 1), allow_version_labels_for_unavailable_models=True)
    served.reload(served.config.label("m", "next", 2))
    with pytest.raises(NotFoundError, match=r"Specific\(m, 2\)"):
        served.said(label="next")
    put(served.base / "m", 2)
    served.until({2: "AVAILABLE", 1: "END"})
    assert served.said(label="next") == "2"
    with pytest.raises(FailedPreconditionError):  # it exists, and would move to a version that does not serve
        served.reload(served.config.label("m", "next", 3))


# --- refusals, in their order ----------------------------------------------------------------------------------------

UNSUPPORTED = (
    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
)
LABEL = 'version_labels { key: "l" value: 9 }'


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("", "INVALID_ARGUMENT", UNSUPPORTED),
        ('custom_model_config { type_url: "a/b" }', "INVALID_ARGUMENT", UNSUPPORTED),
        ('config { name: "n" } config { name: "n" }', "INVALID_ARGUMENT", "Illegal to list model n multiple times"),
        ('config { name: "m" base_path: "x" }', "INVALID_ARGUMENT", "Expected model m to have an absolute path or URI"),
        ('config { name: "m" base_path: "/x" }', "INVALID_ARGUMENT", "Illegal setting neither ModelServerConfig"),
        (
            f'config {{ name: "m" base_path: "/x" model_platform: "other" {LABEL} }}',
            "INVALID_ARGUMENT",
            "Illegal to change a model's platform. For model m platform was tensorflow",
        ),
        (
            f'config {{ name: "n" base_path: "/x" {LABEL} }}',
            "FAILED_PRECONDITION",
            "Request to assign label to version 9 of model n",
        ),
        ('config { name: "n" base_path: "/x" }', "INVALID_ARGUMENT", "Illegal setting neither ModelServerConfig"),
        (
            'config { name: "n" base_path: "/x" model_platform: "caffe2" }',
            "INVALID_ARGUMENT",
            "Model n requests unsupported platform caffe2",
        ),
        ('config { base_path: "/x" }', "INVALID_ARGUMENT", "Expected every model to have a name"),
        (
            'config { name: "n" base_path: "s3://b/n" model_platform: "tensorflow" }',
            "UNIMPLEMENTED",
            "File system scheme 's3' not implemented (file: 's3://b/n')",
        ),
        (
            'config { name: "n" base_path: "/x" model_platform: "python" }',
            "PERMISSION_DENIED",
            "Model n has platform python, so the server would run the code in /x. ",
        ),
    ],
)
def test_refusals_change_nothing(serve, raw, text, code, expected, caplog):
    served = serve(serve.model("m", 1))
    text = f"model_config_list {{ {text} }}" if text.startswith("config") else text
    got, details = raw(served, text)
    assert got == code
    assert details.startswith(expected)
    assert served.said() == "1"
    assert f"ReloadConfig failed: {details}" in caplog.messages
    served.reload(served.config)


def test_a_refused_configuration_is_logged_with_the_one_in_force(serve, raw, caplog):
    served = serve(serve.model("m", 1))
    refused = served.config.label("m", "next\n", 2)
    assert raw(served, refused.to_text())
    text = "Request to assign label to version 2 of model m, which is not currently available for inference"
    first = caplog.messages.index(text)
    old, new, last = caplog.messages[first + 1 : first + 4]
    assert parse(old.removeprefix("Old config: ")) == served.config.to_proto()
    assert parse(new.removeprefix("New config: ")) == refused.to_proto()
    assert 'key: "next\\n"' in new
    assert last == f"ReloadConfig failed: {text}"


@pytest.mark.parametrize("path", ["relative", "s3://bucket/n", "{outside}"])
def test_a_list_refused_because_of_a_path_is_logged_with_the_one_in_force(serve, raw, caplog, tmp_path_factory, path):
    served = serve(serve.model("m", 1), model_roots=[tmp_path_factory.mktemp("roots")])
    outside = tmp_path_factory.mktemp("outside")
    refused = served.config.add(ModelConfig("n", "/n")).to_text().replace("/n", path.format(outside=outside))
    _, details = raw(served, refused)
    first = caplog.messages.index(details)
    old, new, last = caplog.messages[first + 1 : first + 4]
    assert parse(old.removeprefix("Old config: ")) == served.config.to_proto()
    assert parse(new.removeprefix("New config: ")) == parse(refused)
    assert last == f"ReloadConfig failed: {details}"


@pytest.mark.parametrize("text", ["", 'custom_model_config { type_url: "a/b" }'])
def test_after_a_list_only_another_list_is_accepted(serve, tmp_path, caplog, text):
    file = tmp_path / "models.config"
    file.write_text(ModelServerConfig([serve.model("m", 1)]).to_text())
    served = serve(model_config=None, model_config_file=file)
    file.write_text(text)
    served.server.core.read_file_again()
    why = "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another."
    until(lambda: f"PollFilesystemAndReloadConfig failed to ReloadConfig: {why}" in caplog.messages)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [error.partition(" ")[0] for error in errors] == [
        "Cannot",
        "Old",
        "New",
        "PollFilesystemAndReloadConfig",
    ]
    assert errors[2].strip() == f"New config: {text}".strip().replace('{ type_url: "a/b" }', '{\n  type_url: "a/b"\n}')
    assert served.said() == "1"


@pytest.mark.parametrize("platform", ["caffe2", ""])
def test_a_corrected_list_is_accepted_after_a_refused_one(serve, raw, platform):
    """The model server compares the next list with it: there a platform cannot be corrected."""
    served = serve(serve.model("m", 1))
    good = served.config.add(serve.model("n", 1))
    assert raw(served, good.to_text().replace('"tensorflow"', f'"{platform}"'))
    served.reload(good)
    assert served.said("n") == "1"


def test_a_refused_list_moves_no_label(serve, raw):
    served = serve(serve.model("m", 1))
    served.reload(served.config.label("m", "stable", 1))
    assert raw(served, 'model_config_list { config { name: "n" base_path: "/x" model_platform: "caffe2" } }')
    assert served.said(label="stable") == "1"


def test_a_failing_new_model_is_reported_and_the_others_are_switched(serve):
    served = serve(serve.model("m", 1))
    with pytest.raises(UnknownError) as caught:
        served.reload(ModelServerConfig([serve.model("bad", 3, text="broken"), serve.model("good", 1)]))
    assert caught.value.details == (
        "1 model(s) did not become available: {"
        "{{name: bad version: 3} due to error: INVALID_ARGUMENT: the model is broken}, }"
    )
    assert served.said("good") == "1"
    served.until({1: "END"})


def test_waiting_for_a_new_model_without_versions_ends(serve):
    served = serve(serve.model("m", 1), reload_wait=0.05)
    with pytest.raises(CallError, match=r"No version of 1 model\(s\) was found within 0.05 seconds: {name: ghost"):
        served.reload(served.config.add(ModelConfig("ghost", "/nowhere")))
    assert served.said() == "1"
    served.reload(served.config)


def test_a_reload_that_has_failed_fails_again_until_its_models_are_served(serve):
    served = serve(serve.model("m", 1), reload_wait=0.05)
    ghost = ModelConfig("ghost", str(served.base / "ghost"))
    for _ in range(2):
        with pytest.raises(DeadlineExceededError, match="name: ghost"):
            served.reload(served.config.add(ghost))
    put(served.base / "m", 2)
    served.until_available(2)  # the others do not mind
    put(served.base / "ghost", 1, "broken")
    served.until({1: "END"}, "ghost")
    for _ in range(2):
        with pytest.raises(UnknownError, match="name: ghost version: 1"):
            served.reload(served.config.add(ghost))
    put(served.base / "ghost", 2)
    served.until({1: "END", 2: "AVAILABLE"}, "ghost")
    served.reload(served.config.add(ghost))


def test_waiting_reloads_do_not_block_other_calls(serve, connect):
    served = serve(serve.model("m", 1), threads=1, reload_wait=300)
    reload = connect(served.server.target).channel.unary_unary(RELOAD)
    request = ReloadConfigRequest(config=served.config.add(ModelConfig("ghost", "/nowhere")).to_proto())
    waiting = [reload.future(request.SerializeToString(), timeout=20) for _ in range(3)]
    until(lambda: served.watches("ghost"))
    assert served.said() == "1"
    for each in waiting:  # the first one waits for its models no longer; the others were never begun
        each.cancel()
    served.reload(served.config)
    assert not served.watches("ghost")


def test_a_reload_stops_waiting_at_its_deadline(serve):
    served = serve(serve.model("m", 1), reload_wait=300)
    with pytest.raises(DeadlineExceededError):
        served.client.reload_config(served.config.add(ModelConfig("ghost", "/nowhere")), timeout=0.2)
    served.reload(served.config)


def test_request_logging_is_refused_after_the_models_are_switched(serve, raw):
    served = serve(serve.model("m", 1))
    put(served.base / "n", 1)
    config = f'config {{ name: "n" base_path: "{served.base}/n" model_platform: "tensorflow" logging_config {{}} }}'
    assert raw(served, f"model_config_list {{ {config} }}") == (
        "INVALID_ARGUMENT",
        "No request-logger-creator provided.",
    )
    assert served.said("n") == "1"
    served.until({1: "END"})


def test_invalid_bytes_are_an_error(serve, connect, refused):
    served = serve(serve.model("m", 1))
    assert refused(connect(served.server.target).raw, RELOAD, b"\xff" * 9)[0] == "INTERNAL"


# --- code ------------------------------------------------------------------------------------------------------------


def test_code_comes_only_from_base_paths_of_the_servers_own_configuration(serve):
    served = serve(serve.model("m", 1, platform="python"))
    same_path = ModelConfig("same", str(served.base / "m"), platform="python")
    served.reload(served.config.label("m", "stable", 1).add(same_path))
    assert served.said("same", version=1) == served.said(label="stable") == "1"
    with pytest.raises(PermissionDeniedError, match="start the server with --allow_python_reload"):
        served.reload(served.config.add(serve.model("n", 1, platform="python")))
    served.reload(ModelServerConfig())
    served.reload(served.config)
    assert served.platform.loads.keys() == {str(served.base / "m" / "1")}


@pytest.mark.parametrize("form", ["{}/", "file://{}", "{}/."])
def test_a_reload_may_write_a_base_path_that_contains_code_differently(serve, form):
    served = serve(serve.model("m", 1, platform="python"))
    same_path = ModelConfig("same", form.format(served.base / "m"), platform="python")
    served.reload(served.config.add(same_path))
    assert served.said("same") == "1"


def test_code_may_come_from_any_path_if_allowed(serve):
    served = serve(serve.model("m", 1), allow_python_reload=True)
    served.reload(served.config.add(serve.model("n", 5, platform="python")))
    assert served.said("n") == "5"


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_base_paths_in_the_config_file_may_contain_code(serve, tmp_path, form):
    file = tmp_path / "models.config"
    config = ModelServerConfig([serve.model("m", 1)])
    file.write_text(config.to_text())
    served = serve(model_config=None, model_config_file=form.format(file), model_config_file_poll_wait_seconds=0.01)
    more = config.add(serve.model("n", 5, platform="python"))
    replace(file, more.to_text())
    served.until_available(5, model="n")
    served.reload(more)
    replace(file, config.to_text())
    served.until({5: "END"}, "n")
    with pytest.raises(PermissionDeniedError):
        served.reload(more)


# --- models added by the program -------------------------------------------------------------------------------------


def test_a_reload_leaves_models_added_in_code_alone(serve):
    served = serve(serve.model("m", 1))
    along = served.platform(str(put(served.base / "elsewhere", 1, "along")))
    served.server.add_model("along", along)
    with pytest.raises(InvalidArgumentError, match="Illegal to configure model along: "):
        served.reload(served.config.add(serve.model("along", 1, 2)))
    served.reload(ModelServerConfig())
    served.until({1: "END"})
    assert served.said("along") == "along"
    served.reload(served.config)
    with pytest.raises(ConfigError, match="comes from the server's configuration"):
        served.server.add_model("m", along, version=2)
    assert served.said("m") == "1"


# --- the reply -------------------------------------------------------------------------------------------------------


def test_the_reply_has_a_status_and_the_growth_of_metrics(serve, connect):
    served = serve(serve.model("m", 1))
    served.said()
    gate = served.platform.gate(put(served.base / "n", 1))
    calls, unknown = "/tensorflow/serving/request_count", "/no/such"
    config = served.config.add(ModelConfig("n", str(served.base / "n"))).to_proto()
    request = ReloadConfigRequest(config=config, metric_names=[calls, unknown, calls])
    connection = connect(served.server.target)
    with ThreadPoolExecutor(1) as executor:
        reply = executor.submit(connection.raw, RELOAD, request.SerializeToString())
        until(lambda: served.states("n") == {1: "LOADING"})
        for _ in range(7):
            served.said()
        gate.set()
        response = ReloadConfigResponse.FromString(reply.result(20))
    assert response.HasField("status")
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert {metric.name: metric.int64_value_increase for metric in response.metric} == {calls: 7, unknown: 0}


def test_a_server_without_metrics_reports_no_growth():
    with Server() as server, PredictClient(server.target) as client:
        assert client.reload_config(ModelServerConfig(), metrics=["/x"]).metrics == {"/x": 0}


def test_entries_are_logged(serve, caplog):
    served = serve(serve.model("m", 1))
    with caplog.at_level(logging.INFO, "tfs_client.server"):
        served.reload(served.config)
    assert caplog.messages[0] == (
        f"\nConfig entry\n\tindex : 0\n\tpath : {served.base}/m\n\tname : m\n\tplatform : tensorflow"
    )


def test_an_entry_cannot_look_like_other_lines_of_the_log(serve, raw, caplog):
    served = serve(serve.model("m", 1))
    with caplog.at_level(logging.INFO, "tfs_client.server"):
        assert raw(served, 'model_config_list { config { name: "a\\n2026: I x]" base_path: "/" } }')
    assert "\tname : a\\n2026: I x]\n" in caplog.messages[0]


def test_a_waiting_reload_ends_when_the_server_stops(serve):
    served = serve(serve.model("m", 1))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(served.reload, served.config.add(ModelConfig("ghost", "/nowhere")))
        until(lambda: served.watches("ghost"))
        started = time.monotonic()
        served.server.stop()
        assert time.monotonic() - started < 5
        with pytest.raises(CallError, match="the server is stopping"):
            waiting.result(10)


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_relative_config_file_path_is_resolved_once(serve, tmp_path, monkeypatch, caplog):
    """Code of a model may change the working directory; nor does a pipe in place of the file hold anything up."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "models.config"
    config = ModelServerConfig([serve.model("m", 1)])
    file.write_text(config.to_text())
    served = serve(model_config=None, model_config_file="models.config", model_config_file_poll_wait_seconds=0.01)
    monkeypatch.chdir("/")
    file.unlink()
    os.mkfifo(file)
    until(lambda: "expected a regular file, got a named pipe" in caplog.text)
    replace(file, config.add(serve.model("n", 5)).to_text())
    served.until_available(5, model="n")


def test_a_config_file_is_polled(serve, tmp_path, caplog):
    file = tmp_path / "models.config"
    config = ModelServerConfig([serve.model("m", 1)])
    file.write_text(config.to_text())
    served = serve(model_config=None, model_config_file=file, model_config_file_poll_wait_seconds=0.01)
    assert served.said() == "1"
    replace(file, config.add(serve.model("n", 5)).label("m", "stable", 1).to_text())
    served.until_available(5, model="n")
    assert served.said(label="stable") == "1"
    replace(file, "nonsense")
    until(lambda: f"Failed to read ModelServerConfig file: Invalid protobuf file: '{file}'" in caplog.messages)
    replace(file, config.label("m", "stable", 9).to_text())
    refused = "Request to assign label to version 9 of model m, which is not currently available for inference"
    until(lambda: f"PollFilesystemAndReloadConfig failed to ReloadConfig: {refused}" in caplog.messages)
    file.unlink()
    until(lambda: f"Failed to read ModelServerConfig file: {file}; No such file or directory" in caplog.messages)
    assert (served.said("m"), served.said("n")) == ("1", "5")


def test_a_wrong_config_file_can_be_corrected_while_the_server_waits_for_its_models(serve, tmp_path):
    file = tmp_path / "models.config"
    config = ModelServerConfig([serve.model("m", 1)])
    replace(file, config.to_text())
    served = serve(
        model_config=None,
        model_config_file=file,
        model_config_file_poll_wait_seconds=0.01,
        max_num_load_retries=5,
        load_retry_interval=3600,
    )
    replace(file, config.add(serve.model("bad", 1, text="broken")).add(ModelConfig("ghost", "/nowhere")).to_text())
    served.until({1: "LOADING"}, "bad")
    replace(file, config.add(serve.model("good", 5)).to_text())
    served.until_available(5, model="good")
    served.until({1: "END"}, "bad")
    assert not served.watches("ghost")


def test_a_polled_model_that_fails_to_load_is_reported_as_soon_as_known(serve, tmp_path, caplog):
    file = tmp_path / "models.config"
    config = ModelServerConfig([serve.model("m", 1)])
    replace(file, config.to_text())
    served = serve(model_config=None, model_config_file=file, model_config_file_poll_wait_seconds=0.01)
    replace(file, config.add(serve.model("bad", 1, text="broken")).to_text())
    failed = (
        "PollFilesystemAndReloadConfig failed to ReloadConfig: 1 model(s) did not become available: "
        "{{{name: bad version: 1} due to error: INVALID_ARGUMENT: the model is broken}, }"
    )
    until(lambda: failed in caplog.messages)
    assert served.said() == "1"


def test_a_reload_stops_waiting_for_models_that_a_newer_configuration_omits(serve):
    served = serve(serve.model("m", 1), reload_wait=300)
    other = served.config.add(serve.model("n", 1))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(served.reload, other.add(ModelConfig("ghost", "/nowhere")))
        until(lambda: served.watches("ghost"))
        served.server.core.reload(other)
        with pytest.raises(AbortedError, match=r"this call waits for: {name: ghost base_path: /nowhere}"):
            waiting.result(10)
    assert served.said("n") == "1"


def test_a_config_file_that_is_not_polled_is_read_again_on_request(serve, tmp_path, caplog):
    file = tmp_path / "models.config"
    config = ModelServerConfig([serve.model("m", 1)])
    file.write_text(config.to_text())
    served = serve(model_config=None, model_config_file=file)
    for number in range(3):
        config = config.add(serve.model(f"n{number}", 5))
        replace(file, config.to_text())
        for _ in range(3):
            served.server.core.read_file_again()
        served.until_available(5, model=f"n{number}")
    file.write_text("nonsense")
    served.server.core.read_file_again()
    until(lambda: f"Failed to read ModelServerConfig file: Invalid protobuf file: '{file}'" in caplog.messages)
    assert served.said() == "1"


def test_a_config_file_is_read_once_unless_polling_is_on(serve, tmp_path):
    file = tmp_path / "models.config"
    file.write_text(ModelServerConfig([serve.model("m", 1)]).to_text())
    served = serve(model_config=None, model_config_file=str(file))
    file.write_text("")
    assert served.said() == "1"
    assert not [thread for thread in threading.enumerate() if thread.name == "tfs-config-file"]


def replace(file, text):
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)
