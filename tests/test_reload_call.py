"""HandleReloadConfigRequest: the request, the reply, and the models still pending after it."""

from __future__ import annotations

import dataclasses
import pickle

import grpc
import pytest

from tfs_client._calls.reload import ReloadConfig, failed, pending
from tfs_client.errors import ConfigError, DecodeError, EncodeError, FailedPreconditionError, StatusCode, UnknownError
from tfs_client.model_config import AllVersions, Latest, ModelConfig, ModelServerConfig, SpecificVersions
from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tfs_client.protos.tensorflow_serving.apis.model_service_pb2 import DESCRIPTOR as SERVICE
from tfs_client.results import ModelStatus, Reload, State, VersionStatus

CONFIG = ModelServerConfig([ModelConfig("m", "/m", labels={"stable": 1})])
COUNT = "/tensorflow/serving/request_count"


def reply(**fields) -> bytes:
    return ReloadConfigResponse(**fields).SerializeToString()


def test_the_path_is_that_of_the_schema():
    method = SERVICE.services_by_name["ModelService"].methods_by_name[ReloadConfig.method]
    assert ReloadConfig.path == f"/{method.containing_service.full_name}/{method.name}"


def test_the_request_has_configuration_and_metric_names():
    request = ReloadConfigRequest.FromString(ReloadConfig(CONFIG, [COUNT]).write())
    assert ModelServerConfig.from_proto(request.config) == CONFIG
    assert list(request.metric_names) == [COUNT]


def test_an_empty_configuration_is_sent_as_an_empty_list():
    request = ReloadConfigRequest.FromString(ReloadConfig(ModelServerConfig()).write())
    assert request.config.WhichOneof("config") == "model_config_list"


@pytest.mark.parametrize("config", [None, "model_config_list {}", [ModelConfig("m", "/m")]])
def test_only_configurations_are_sent(config):
    with pytest.raises(ConfigError, match="expected a ModelServerConfig, got"):
        ReloadConfig(config)


@pytest.mark.parametrize("metrics", [COUNT, [1]])
def test_metrics_are_a_list_of_names(metrics):
    with pytest.raises(ConfigError, match="expected a list of metric names"):
        ReloadConfig(CONFIG, metrics)


def test_the_reply_gives_the_metrics_by_name():
    metrics = [{"name": COUNT, "int64_value_increase": 3}, {"name": "/none", "int64_value_increase": 0}, {"name": "x"}]
    result = ReloadConfig(CONFIG).read(reply(status={}, metric=metrics))
    assert result == Reload({COUNT: 3, "/none": 0, "x": 0})
    assert str(result) == f"reloaded\n  /none +0\n  {COUNT} +3\n  x +0"


def test_an_empty_reply_is_a_success():
    assert ReloadConfig(CONFIG).read(b"") == Reload({})


def test_a_result_is_frozen_and_survives_pickle():
    result = Reload({COUNT: 3})
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.metrics = {}


def test_a_status_in_the_reply_is_the_error():
    text = "Request to assign label to version 2 of model m, which is not currently available for inference"
    with pytest.raises(FailedPreconditionError, match=text) as caught:
        ReloadConfig(CONFIG).read(reply(status={"error_code": 9, "error_message": text}))
    assert caught.value.method == "HandleReloadConfigRequest"


def test_a_status_without_a_name_is_unknown():
    with pytest.raises(UnknownError, match="odd"):
        ReloadConfig(CONFIG).read(reply(status={"error_code": 20, "error_message": "odd"}))


def test_invalid_bytes_are_refused():
    with pytest.raises(DecodeError, match="not a ReloadConfigResponse"):
        ReloadConfig(CONFIG).read(b"\xff")


def test_the_call_goes_over_grpc(raw_server):
    def serve(request: bytes, context: grpc.ServicerContext) -> bytes:
        (name,) = ReloadConfigRequest.FromString(request).metric_names
        return reply(metric=[{"name": name, "int64_value_increase": 1}])

    call = ReloadConfig(CONFIG, (COUNT,))
    with grpc.insecure_channel(raw_server(HandleReloadConfigRequest=serve)) as channel:
        assert call.read(channel.unary_unary(call.path)(call.write(), timeout=20)).metrics == {COUNT: 1}


# What is still to come.

OK = (StatusCode.OK, "")
BAD = (StatusCode.NOT_FOUND, "no file")


def status(*versions) -> ModelStatus:
    """A status of (number, state) or (number, (code, text)), the latter for a version that failed."""
    entries = [
        VersionStatus(number, State.END, *what) if isinstance(what, tuple) else VersionStatus(number, what, *OK)
        for number, what in versions
    ]
    return ModelStatus("m", tuple(sorted(entries, key=lambda entry: -entry.version)))


def served(versions=None, labels=None) -> ModelServerConfig:
    return ModelServerConfig([ModelConfig("m", "/m", versions=versions, labels=labels or {})])


START, LOADING, AVAILABLE, UNLOADING, END = State.START, State.LOADING, State.AVAILABLE, State.UNLOADING, State.END
SPECIFIC = served(SpecificVersions(1, 2))


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (served(), status((1, AVAILABLE))),
        (served(Latest(2)), status((1, AVAILABLE))),
        (served(Latest(2)), status((3, BAD), (2, LOADING), (1, AVAILABLE))),
        (served(AllVersions()), status((2, AVAILABLE), (1, AVAILABLE))),
        (served(AllVersions()), status((3, UNLOADING), (2, AVAILABLE), (1, END))),
        (SPECIFIC, status((2, AVAILABLE), (1, AVAILABLE))),
        (SPECIFIC, status((4, BAD), (3, LOADING), (2, AVAILABLE), (1, AVAILABLE))),
        (served(labels={"stable": 1}), status((2, LOADING), (1, AVAILABLE))),
        (ModelServerConfig(), None),
    ],
)
def test_nothing_is_pending_when_everything_wanted_is_available(config, found):
    assert pending(config, {"m": found}) == {}
    assert failed(config, {"m": found}) == {}


@pytest.mark.parametrize(
    ("config", "found", "why"),
    [
        (served(), None, "no version is known to the server"),
        (served(AllVersions()), status(), "no version is known to the server"),
        (SPECIFIC, None, "version 1 is not known to the server; version 2 is not known to the server"),
        (SPECIFIC, status((2, LOADING), (1, AVAILABLE)), "version 2 is LOADING"),
        (SPECIFIC, status((2, END), (1, UNLOADING)), "version 1 is UNLOADING; version 2 is END"),
        (served(), status((2, START), (1, LOADING)), "version 2 is START; version 1 is LOADING"),
        (served(), status((2, START), (1, BAD)), "version 2 is START"),
        (served(), status((2, END), (1, BAD)), "version 2 is END"),
        (served(AllVersions()), status((2, LOADING), (1, AVAILABLE)), "version 2 is LOADING"),
        (served(AllVersions()), status((2, UNLOADING), (1, END)), "version 2 is UNLOADING"),
        (
            served(labels={"stable": 2, "canary": 2}),
            status((2, LOADING), (1, AVAILABLE)),
            "version 2 (label canary, stable) is LOADING",
        ),
        (served(labels={"old": 1}), status((2, AVAILABLE)), "version 1 (label old) is not known to the server"),
        (served(labels={"old": 1}), status((1, LOADING)), "version 1 (label old) is LOADING"),
        (
            served(SpecificVersions(1), labels={"old": 1}),
            status((1, START)),
            "version 1 (label old) is START",
        ),
    ],
)
def test_loading_versions_are_pending_and_have_not_failed(config, found, why):
    assert pending(config, {"m": found}) == {"m": why}
    assert failed(config, {"m": found}) == {}


@pytest.mark.parametrize(
    ("config", "found", "why"),
    [
        (served(), status((1, BAD)), "version 1 failed (NOT_FOUND: no file)"),
        (served(Latest(2)), status((2, BAD), (1, END)), "version 2 failed (NOT_FOUND: no file)"),
        (served(AllVersions()), status((2, BAD), (1, AVAILABLE)), "version 2 failed (NOT_FOUND: no file)"),
        (
            served(AllVersions()),
            status((2, BAD), (1, BAD)),
            "version 2 failed (NOT_FOUND: no file); version 1 failed (NOT_FOUND: no file)",
        ),
        (SPECIFIC, status((2, BAD), (1, AVAILABLE)), "version 2 failed (NOT_FOUND: no file)"),
        (
            served(labels={"stable": 2}),
            status((2, BAD), (1, AVAILABLE)),
            "version 2 (label stable) failed (NOT_FOUND: no file)",
        ),
    ],
)
def test_a_wanted_version_that_failed_is_distinguished(config, found, why):
    assert failed(config, {"m": found}) == {"m": why}
    assert pending(config, {"m": found}) == {"m": why}


def test_failed_names_only_what_failed():
    found = {"m": status((2, BAD), (1, LOADING))}
    assert pending(SPECIFIC, found) == {"m": "version 1 is LOADING; version 2 failed (NOT_FOUND: no file)"}
    assert failed(SPECIFIC, found) == {"m": "version 2 failed (NOT_FOUND: no file)"}


def test_models_without_a_status_are_not_known():
    assert pending(served(), {}) == {"m": "no version is known to the server"}


def test_models_beyond_the_configuration_do_not_matter():
    assert pending(served(), {"m": status((1, AVAILABLE)), "other": None}) == {}


def test_names_of_metrics_are_text_that_utf8_can_hold():
    with pytest.raises(EncodeError, match="a metric name"):
        ReloadConfig(ModelServerConfig([]), ["\ud800"])
