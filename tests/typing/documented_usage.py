"""Documented usage as type checkers see it. Checked by test_typing.py with mypy and pyright; it is never run."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typed_model import AsyncDemoClient, DemoClient, ServingDefaultOutputs
from typing_extensions import assert_type

from tfs_client import (
    AsyncMicroBatcher,
    AsyncPredictClient,
    CallError,
    Classification,
    Health,
    Keepalive,
    Latest,
    MicroBatcher,
    ModelConfig,
    ModelServerConfig,
    ModelStatus,
    ModelVersion,
    NotFoundError,
    PredictClient,
    Prediction,
    Regression,
    Reload,
    RetryPolicy,
    Signature,
    Signatures,
    SpecificVersions,
    StatusCode,
    TensorSpec,
    TFServingError,
    Timing,
    make_ndarray,
    make_tensor_proto,
)
from tfs_client.protos.tensorflow_serving.apis import predict_pb2
from tfs_client.recordings import Recording, RecordingFile
from tfs_client.server import FunctionServable, FunctionSignature, Server, ServerConfig
from tfs_client.testing import FakeServer

rows = np.array([[1, 2], [3, 5]], np.float32)


def predictions() -> None:
    with PredictClient("localhost:8500", model="m", timeout=1.5, retry=RetryPolicy(), keepalive=Keepalive()) as client:
        assert_type(client, PredictClient)
        prediction = client.predict({"x": rows, "factor": 2.0}, outputs=["y"], version=3)
        assert_type(prediction, Prediction)
        assert_type(prediction.model, ModelVersion)
        assert_type(prediction.timing, Timing)
        prediction["y"].mean(axis=0)
        assert_type(client.predict(rows), Prediction)
        assert_type(client.predict([[1, 2]]), Prediction)
        assert_type(client.predict_future({"x": rows}), Future[Prediction])
        assert_type(client.predict_batched({"x": rows}, batch_size=8, in_flight="auto"), Prediction)
        other = client.with_options(model="n", retry=None, token=lambda: "t", request_id="r", hooks=())
        assert_type(other, PredictClient)
        client.predict({"x": rows}, retry=RetryPolicy(), token=None, request_id=True)
        client.predict_batched({"x": rows}, retry=None, token="t", request_id="r")
        client.status(retry=RetryPolicy(), token="t", request_id="r")
        client.with_options(proxy=None)  # expected error: it belongs to the connection
        client.wait_until_ready(retry=RetryPolicy())  # expected error: it polls until the deadline
        client.predict({"x": rows}, timout=1)  # expected error: no such option
        client.predict({"x": rows}, version="3")  # expected error: a version is a number


class OwnClient(PredictClient):
    """A subclass."""


class OwnAsyncClient(AsyncPredictClient):
    """A subclass."""


def subclasses() -> None:
    with OwnClient("localhost:8500") as client:
        assert_type(client, OwnClient)
        assert_type(client.with_options(model="n"), OwnClient)


async def asyncio_subclasses() -> None:
    async with OwnAsyncClient("localhost:8500") as client:
        assert_type(client, OwnAsyncClient)


def streams(client: PredictClient) -> None:
    for prediction in client.predict_many(({"x": row} for row in rows), batch_size=2):
        assert_type(prediction, Prediction)
    for outcome in client.predict_many([rows[0]], on_error="return"):
        assert_type(outcome, Prediction | TFServingError)
    with MicroBatcher(client, max_batch_size=4, timeout=1) as batcher:
        assert_type(batcher.predict({"x": rows[0]}), Prediction)
        assert_type(batcher.submit({"x": rows[0]}), Future[Prediction])


def other_calls(client: PredictClient) -> None:
    assert_type(client.classify([{"x": 1.0}]), Classification)
    assert_type(client.regress([{"x": 1.0}]), Regression)
    assert_type(client.multi_inference([{"x": 1.0}], tasks={"a": "classify"}), dict[str, Classification | Regression])
    assert_type(client.signatures(), Signatures)
    assert_type(client.signatures()["serving_default"], Signature)
    assert_type(client.signatures()["serving_default"].inputs["x"], TensorSpec)
    assert_type(client.status(), ModelStatus)
    assert_type(client.health(), Health)
    assert_type(client.is_ready(), bool)
    assert_type(client.models(), tuple[str, ...])
    policy = SpecificVersions(1, 2)
    config = ModelServerConfig(
        [ModelConfig("m", "/models/m", versions=policy), ModelConfig("n", "/n", versions=Latest(2))]
    )
    assert_type(client.reload_config(config, wait=True), Reload)


def failures(client: PredictClient) -> None:
    try:
        client.predict(rows)
    except NotFoundError as error:
        assert_type(error.code, StatusCode)
        assert_type(error.details, str)
    except CallError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.http_status, int | None)


async def asyncio_calls() -> None:
    async with AsyncPredictClient("http://localhost:8501", model="m") as client:
        assert_type(client.with_options(timeout=None, metadata={"a": "b"}), AsyncPredictClient)
        assert_type(await client.predict({"x": rows}), Prediction)
        async for prediction in client.predict_many([{"x": rows[0]}]):
            assert_type(prediction, Prediction)
        async with AsyncMicroBatcher(client) as batcher:
            assert_type(await batcher.predict({"x": rows[0]}), Prediction)
        print(client.predict(rows).array)  # expected error: the call is not awaited


def messages() -> None:
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(make_tensor_proto(rows))
    make_ndarray(request.inputs["x"]).mean()
    assert_type(request.model_spec.name, str)


def servers() -> None:
    vector = TensorSpec("float32", (None,))
    with FakeServer() as fake:
        assert_type(fake.add_model("m", lambda x: 2 * x, inputs={"x": vector}, outputs={"y": vector}), FakeServer)
        assert_type(fake.target, str)
        assert_type(fake.calls[0].code, StatusCode)
    signature = FunctionSignature(lambda x: 2 * x, {"x": vector}, {"y": vector})
    with Server(ServerConfig(port=0)) as server:
        server.add_model("m", FunctionServable({"serving_default": signature}))
        assert_type(server.port, int)


def typed_clients(client: PredictClient) -> None:
    demo = DemoClient(client)
    outputs = demo.serving_default(x=[[1, 2]], factor=2, timeout=1, version=3)
    assert_type(outputs, ServingDefaultOutputs)
    assert_type(outputs.sum, NDArray[np.float32])
    assert_type(outputs.name, NDArray[np.object_])
    assert_type(demo.serving_default(x=rows).sum, NDArray[np.float32])
    assert_type(demo.classify([{"a": 1.0}]), Classification)
    assert_type(demo.regress_it({"a": [1.0, 2.0]}, context={"b": 1}), Regression)
    print(outputs.scores)  # expected error: no such output
    demo.serving_default(y=rows)  # expected error: no such input
    demo.serving_default(factor=2)  # expected error: x is missing
    demo.serving_default(x=rows, timout=1)  # expected error: no such option
    outputs.sum = rows  # expected error: outputs are frozen


async def typed_asyncio_clients(client: AsyncPredictClient) -> None:
    demo = AsyncDemoClient(client)
    assert_type(await demo.serving_default(x=rows), ServingDefaultOutputs)
    assert_type(await demo.classify([{"a": 1.0}]), Classification)
    print((await demo.serving_default(x=rows)).scores)  # expected error: no such output
    print(demo.serving_default(x=rows).sum)  # expected error: the call is not awaited


def without_names(inputs: Mapping[str, Any], method: str, model: str) -> Mapping[str, Any]:
    return {alias: array for alias, array in inputs.items() if alias != "name"}


def recorded() -> None:
    recording = Recording("calls.tfrecord", mode="verify", rtol=1e-4, inputs=("x",), redact=without_names)
    with recording, PredictClient("localhost:8500", model="m", record=recording) as client:
        client.predict({"x": rows})
        recording.check()
    versions: list[int | None] = [episode.spec.version for episode in RecordingFile.read("calls.tfrecord").episodes]
    print(versions)
