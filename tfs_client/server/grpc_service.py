"""PredictionService and ModelService over gRPC: bytes to the codec, errors to status codes."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import grpc

from tfs_client.codec import examples as wire_examples
from tfs_client.codec import model_spec
from tfs_client.codec import predict as wire_predict
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import DeadlineExceededError, InvalidArgumentError, StatusCode
from tfs_client.server import reload
from tfs_client.server.access.arrivals import Arrivals
from tfs_client.server.access.overload import EXHAUSTED, BoundedHandlers, no_waiting
from tfs_client.server.admission import Admission
from tfs_client.server.config import ServerConfig
from tfs_client.server.core import ServerCore
from tfs_client.server.deadlines import time_limit
from tfs_client.server.messages import inflated_limit, parse, plain
from tfs_client.server.methods import Methods
from tfs_client.server.own_threads import Behavior, in_threads
from tfs_client.server.security import check_caller
from tfs_client.server.served import TOO_LATE, Observer, Recording, ServedCall, finite, observe, settle
from tfs_client.server.thread_pool import ThreadPool

PREDICTION_SERVICE = "/tensorflow.serving.PredictionService"
MODEL_SERVICE = "/tensorflow.serving.ModelService"
MAX_DETAILS = 1024  # bytes of an error text; the model server cuts longer ones (model_servers/grpc_status_util.cc)


class GrpcService:
    """The handlers of both services. They take and give bytes; messages other than Predict's go through protobuf.

    Attributes:
        admission: closed, every call is refused.
    """

    def __init__(
        self,
        methods: Methods,
        config: ServerConfig,
        observer: Observer | None = None,
        *,
        began: Observer | None = None,
        core: ServerCore,
        metrics: reload.Metrics | None = None,
    ) -> None:
        self._methods = methods
        self._config = config
        self._inflated_limit = inflated_limit(config.channel_arguments)
        self.admission = Admission()
        self._observer = observer
        self._began = began
        self._core = core
        self._metrics = metrics or reload.no_metrics

    def handlers(
        self,
        *,
        arrivals: Arrivals | None = None,
        threads: ThreadPool | None = None,
        refusals: ThreadPool | None = None,
        reloads: ThreadPool | None = None,
        lookups: ThreadPool | None = None,
    ) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
        """What a grpc.Server takes. Without threads of their own methods run in those of the server.

        Args:
            arrivals: limits the time for which calls may wait for their requests; by default one of their own does.
            threads: the server's; None: calls may wait without a bound.
            refusals: those that refuse calls while too many wait for the server's.
            reloads: the threads of HandleReloadConfigRequest, which waits.
            lookups: those of what runs no model: a busy server shall still tell its state.
        """
        arrivals = arrivals or Arrivals(self._config.grpc_body_timeout)
        predictions: dict[str, Behavior] = {
            "Predict": self._served("Predict", self._predict),
            "Classify": self._served("Classify", self._classify),
            "Regress": self._served("Regress", self._regress),
            "MultiInference": self._served("MultiInference", self._multi_inference),
        }
        others: dict[str, tuple[ThreadPool | None, Behavior]] = {
            f"{PREDICTION_SERVICE}/GetModelMetadata": (
                lookups,
                self._served("GetModelMetadata", self._get_model_metadata),
            ),
            f"{MODEL_SERVICE}/GetModelStatus": (lookups, self._served("GetModelStatus", self._get_model_status)),
            f"{MODEL_SERVICE}/HandleReloadConfigRequest": (reloads, self._reload),
        }
        behaviors = {f"{PREDICTION_SERVICE}/{name}": (None, one) for name, one in predictions.items()} | others
        handlers = {
            path: grpc.stream_unary_rpc_method_handler(in_threads(pool, arrivals.first(path, behavior)))
            for path, (pool, behavior) in behaviors.items()
        }
        refusing = {f"{PREDICTION_SERVICE}/{name}": self._refusing(name, refusals) for name in predictions}
        waiting = no_waiting if threads is None else threads.waiting
        return (BoundedHandlers(handlers, refusing, waiting, self._config.max_waiting_calls),)

    def _refusing(self, name: str, threads: ThreadPool | None) -> Any:
        """A handler that refuses calls of a method. It leaves the request unread, as only streams of them can be."""

        def refuse(requests: Any, context: grpc.ServicerContext) -> bytes:
            metadata = dict(context.invocation_metadata())
            call = ServedCall(name, metadata=metadata, code=StatusCode.RESOURCE_EXHAUSTED, details=EXHAUSTED)
            if self._began is not None:
                self._began(call)
            observe(self._observer, call)
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, EXHAUSTED)

        return grpc.stream_unary_rpc_method_handler(in_threads(threads, refuse))

    def _served(self, name: str, method: Callable[[bytes, ServedCall], bytes]) -> Behavior:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            timeout = context.time_remaining()
            call = ServedCall(name, metadata=dict(context.invocation_metadata()), timeout=finite(timeout))
            recording = self._recording(call, context) if self._observer else None
            with self.admission, time_limit(timeout, context.is_active):
                reply = settle(call, lambda: self._admitted(method, request, call))
            if not context.is_active():
                call.left()
            if recording is not None:
                recording.ended()
            if call.code is not StatusCode.OK:
                context.abort(_GRPC_CODES[call.code], _cut(call.details))
            return reply or b""

        return handle

    def _recording(self, call: ServedCall, context: grpc.ServicerContext) -> Recording:
        assert self._observer is not None
        if self._began is not None:
            self._began(call)
        recording = Recording(self._observer, call)
        if not context.add_callback(recording.left):  # called by gRPC when the client has gone, or has its answer
            recording.left()
        return recording

    def _admitted(self, method: Callable[[bytes, ServedCall], bytes], request: bytes, call: ServedCall) -> bytes:
        self.admission.check()
        if call.timeout is not None and call.timeout <= 0:  # while it waited for a thread
            raise DeadlineExceededError(TOO_LATE)
        check_caller(self._config.token, call.metadata)
        return method(plain(request, self._inflated_limit), call)

    def _predict(self, data: bytes, call: ServedCall) -> bytes:
        request = wire_predict.read_request(data)
        answer, who = self._methods.predict(_noted(request.spec, call), lambda servable: request, call)
        request.good(call.inputs)
        return wire_predict.write_response(who, answer, typed=not self._config.tensor_content)

    def _classify(self, data: bytes, call: ServedCall) -> bytes:
        from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResponse

        response = ClassificationResponse()
        rows, who = self._methods.classify(*_examples(data, call), call)
        _fill_classes(response.result, rows)
        _fill_spec(response.model_spec, who)
        return response.SerializeToString()

    def _regress(self, data: bytes, call: ServedCall) -> bytes:
        from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResponse

        response = RegressionResponse()
        values, who = self._methods.regress(*_examples(data, call), call)
        _fill_values(response.result, values)
        _fill_spec(response.model_spec, who)
        return response.SerializeToString()

    def _multi_inference(self, data: bytes, call: ServedCall) -> bytes:
        from tfs_client.protos.tensorflow_serving.apis.inference_pb2 import (
            MultiInferenceRequest,
            MultiInferenceResponse,
        )

        request, response = parse(MultiInferenceRequest, data), MultiInferenceResponse()
        # The first task's spec chooses the model; without one it counts as empty, and is never "missing".
        spec = _noted((_spec_of(request.tasks[0]) if request.tasks else None) or ModelSpec(""), call)
        tasks = [(task.model_spec.name, task.model_spec.signature_name, task.method_name) for task in request.tasks]

        def read() -> list[bytes]:
            return wire_examples.read_input(request.input.SerializeToString())

        for rows, values, who in self._methods.multi_inference(spec, tasks, read, call):
            result = response.results.add()
            if rows is not None:
                _fill_classes(result.classification_result, rows)
            else:
                _fill_values(result.regression_result, values)
            _fill_spec(result.model_spec, who)
        return response.SerializeToString()

    def _get_model_metadata(self, data: bytes, call: ServedCall) -> bytes:
        from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import (
            GetModelMetadataRequest,
            GetModelMetadataResponse,
        )
        from tfs_client.server.metadata import signature_def_map

        request = parse(GetModelMetadataRequest, data)
        spec = _noted(_spec_of(request), call)
        if not request.metadata_field:
            raise InvalidArgumentError("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise InvalidArgumentError(f"Metadata field {name} is not supported")
        with self._methods.found(spec, call) as handle:
            response = GetModelMetadataResponse()
            response.model_spec.name = handle.name
            response.model_spec.version.value = handle.version
            response.metadata["signature_def"].Pack(signature_def_map(handle.servable))
        return response.SerializeToString()

    def _get_model_status(self, data: bytes, call: ServedCall) -> bytes:
        from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import (
            GetModelStatusRequest,
            GetModelStatusResponse,
        )

        request = parse(GetModelStatusRequest, data)
        spec = _noted(_spec_of(request), call)
        response = GetModelStatusResponse()
        for status in self._methods.status(spec, call):
            entry = response.model_version_status.add(version=status.version, state=int(status.state))
            entry.status.error_code = int(status.code)  # type: ignore[assignment]
            entry.status.error_message = status.message
            entry.status.SetInParent()  # present even when it says OK
        return response.SerializeToString()

    def _reload(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        gone = Event()

        def left() -> None:
            gone.set()
            self._core.look_again()

        if not context.add_callback(left):
            gone.set()
        served = self._served(
            "HandleReloadConfigRequest",
            lambda data, call: reload.handle(data, self._core, self._metrics, gone),
        )
        return served(request, context)


_GRPC_CODES = {StatusCode(code.value[0]): code for code in grpc.StatusCode}


def _fill_classes(result: Any, rows: list[list[tuple[str, float]]]) -> None:
    for row in rows:
        classes = result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)


def _fill_values(result: Any, values: list[float]) -> None:
    for value in values:
        result.regressions.add(value=value)


def _fill_spec(proto: Any, spec: ModelSpec) -> None:
    proto.MergeFromString(model_spec.write(spec))


def _noted(spec: ModelSpec | None, call: ServedCall) -> ModelSpec:
    """The request's spec, written down in the record of the call. Every method but MultiInference insists on one."""
    if spec is None:
        raise InvalidArgumentError("Missing ModelSpec")
    call.model, call.signature = spec.name, spec.signature
    return spec


def _examples(data: bytes, call: ServedCall) -> tuple[ModelSpec, list[bytes]]:
    """What Classify and Regress are for, and the examples."""
    spec_data, examples = wire_examples.read_request(data)
    return _noted(None if spec_data is None else model_spec.read(spec_data), call), examples


def _spec_of(request: Any) -> ModelSpec | None:
    return model_spec.read(request.model_spec.SerializeToString()) if request.HasField("model_spec") else None


def _cut(details: str) -> str:
    data = details.encode(errors="replace")
    return data.decode() if len(data) <= MAX_DETAILS else data[:MAX_DETAILS].decode(errors="ignore") + "...TRUNCATED"
