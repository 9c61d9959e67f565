"""Reloads, step by step: the request, and the wait until all of it is served."""

from __future__ import annotations

import pytest
from driving import GRPC, Client, Driven, metadata

from tfs_client import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ModelConfig,
    ModelServerConfig,
    NotFoundError,
    Signature,
    TensorSpec,
)
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.reload import ReloadConfig
from tfs_client._calls.status import GetModelStatus
from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tfs_client.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigResponse

CONFIG = ModelServerConfig([ModelConfig("a", "/models/a"), ModelConfig("b", "/models/b")])
DONE = ReloadConfigResponse().SerializeToString()
START, LOADING, AVAILABLE, END = 10, 20, 30, 50


def status(state, code=0):
    response = GetModelStatusResponse()
    response.model_version_status.add(version=1, state=state).status.error_code = code
    return response.SerializeToString()


def reload(client, *, wait, **options):
    return Driven(client.flows.reload(CONFIG, (), client.asked(**options), wait=wait))


def test_without_wait_it_is_one_call():
    call = reload(Client(GRPC), wait=False)
    assert call.sent.address == ReloadConfig.path
    call.answer(DONE)
    assert call.step is None
    assert dict(call.result.metrics) == {}


def test_with_wait_status_is_polled_until_every_model_is_served():
    call = reload(Client(GRPC), wait=True)
    call.answer(DONE)
    for a, b in ((NotFoundError("a"), status(LOADING)), (status(AVAILABLE), status(LOADING))):
        assert call.sent.address == GetModelStatus.path
        call.answer(a)
        call.answer(b)
        assert call.slept > 0
        call.answer(None)
    call.answer(status(AVAILABLE))
    call.answer(status(AVAILABLE))
    assert call.step is None


def test_a_model_that_fails_to_load_ends_the_wait():
    call = reload(Client(GRPC), wait=True)
    call.answer(DONE)
    call.answer(status(AVAILABLE))
    with pytest.raises(FailedPreconditionError, match=r"could not load b: version 1 failed"):
        call.answer(status(END, code=2))


def test_the_error_of_a_wait_names_the_models_that_are_missing():
    call = reload(Client(GRPC), wait=True, timeout=1e-9)
    call.answer(DONE)
    call.answer(status(AVAILABLE))
    with pytest.raises(DeadlineExceededError, match="did not serve b: version 1 is LOADING"):
        call.answer(status(LOADING))


def test_a_refused_configuration_ends_without_waiting():
    call = reload(Client(GRPC), wait=True)
    with pytest.raises(InvalidArgumentError):
        call.answer(InvalidArgumentError("no"))


def test_signatures_are_forgotten_after_a_reload():
    client = Client(GRPC, model="a")
    spec = TensorSpec("float32", (None,))
    ask = Driven(client.flows.predict([1.0], client.asked()))
    ask.answer(metadata(Signature({"x": spec}, {"y": spec})))
    assert Driven(client.flows.predict([1.0], client.asked())).sent.address != GetModelMetadata.path
    reload(client, wait=False).answer(DONE)
    assert Driven(client.flows.predict([1.0], client.asked())).sent.address == GetModelMetadata.path
