"""PredictionService and ModelService over gRPC: converts bytes by the codec, and errors to status codes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import TYPE_CHECKING, Literal, Protocol

import grpc

from tfs_client._codec import examples as wire_examples
from tfs_client._codec import model_spec, tfs_serve_calls
from tfs_client._codec import predict_messages as wire_predict
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import DeadlineExceededError, InvalidArgumentError, StatusCode
from tfs_client.server.access.admission import Admission
from tfs_client.server.access.security import check_caller
from tfs_client.server.call_deadlines import time_limit
from tfs_client.server.call_hooks import CallHooks
from tfs_client.server.call_record import (
    TOO_LATE,
    CallReport,
    Observer,
    Peers,
    ServedCall,
    finite_timeout,
    notify_observer,
    run_recorded,
)
from tfs_client.server.config import ServerConfig
from tfs_client.server.grpc import reload
from tfs_client.server.grpc.arrivals import Arrivals
from tfs_client.server.grpc.behaviors import Behavior, StreamBehavior, in_threads
from tfs_client.server.grpc.messages import inflated_limit, parse, plain
from tfs_client.server.grpc.overload import EXHAUSTED, BoundedHandlers, GenericRpcHandler, Handler, Queue, Quota
from tfs_client.server.lifecycle.core import ServerCore
from tfs_client.server.methods import Methods
from tfs_client.server.thread_pool import ThreadPool, submitted

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationResult
    from tfs_client.protos.tensorflow_serving.apis.model_pb2 import ModelSpec as ModelSpecProto
    from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionResult

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
MAX_DETAILS = 1024  # bytes of an error text; the model server cuts longer ones (model_servers/grpc_status_util.cc)


class GrpcService:
    """The handlers of both services. They take and return bytes; protobuf reads all messages but those of Predict.

    Attributes:
        admission: refuses every call once it is closed.
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
        hooks: CallHooks | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._methods = methods
        self._hooks, self._peers = hooks, peers
        self._config = config
        self._inflated_limit = inflated_limit(config.channel_arguments)
        self.admission: Admission = Admission()
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
    ) -> tuple[grpc.GenericRpcHandler[Iterator[bytes], bytes], ...]:
        """Return the handlers for a grpc.Server. Methods for which no threads are given run in those of the server.

        Args:
            arrivals: limits the time for which calls wait for their requests; by default a new one.
            threads: the threads of the server; None: any number of calls may wait for them.
            refusals: the threads that refuse calls when those of the server are busy.
            reloads: the threads of HandleReloadConfigRequest, which waits for models.
            lookups: the threads of methods that run no model, so that a busy server still reports its state.
        """
        arrivals = arrivals or Arrivals(self._config.grpc_body_timeout)
        predictions: dict[str, Behavior] = {
            "Predict": self._served("Predict", self._predict),
            "Classify": self._served("Classify", self._classify),
            "Regress": self._served("Regress", self._regress),
            "MultiInference": self._served("MultiInference", self._multi_inference),
        }
        others: dict[str, tuple[ThreadPool | None, Behavior]] = {
            f"/{PREDICTION_SERVICE}/GetModelMetadata": (
                lookups,
                self._served("GetModelMetadata", self._get_model_metadata),
            ),
            f"/{MODEL_SERVICE}/GetModelStatus": (lookups, self._served("GetModelStatus", self._get_model_status)),
            f"/{MODEL_SERVICE}/HandleReloadConfigRequest": (reloads, self._reload),
            f"{tfs_serve_calls.SERVICE}/ListModels": (lookups, self._served("ListModels", self._list_models)),
            f"{tfs_serve_calls.SERVICE}/GetConfig": (lookups, self._served("GetConfig", self._get_config)),
        }
        overload = self._overload(threads)
        handlers = {
            path: grpc.stream_unary_rpc_method_handler(in_threads(pool, self._first(arrivals, path, behavior)))
            for path, (pool, behavior) in others.items()
        }
        refusing = {}
        for name, behavior in predictions.items():
            path = f"/{PREDICTION_SERVICE}/{name}"
            first = self._first(arrivals, path, behavior)
            handlers[path] = grpc.stream_unary_rpc_method_handler(overload.counted(first))
            refusing[path] = self._refusing(name, refusals)
        return (BoundedHandlers(handlers, refusing, overload.admits),)

    def _overload(self, threads: ThreadPool | None) -> Queue | Quota:
        if self._config.thread_pool_exhausted == "refuse" and threads is not None:
            return Quota(threads)
        return Queue(threads, self._config.max_waiting_calls)

    def _refusing(self, name: str, threads: ThreadPool | None) -> Handler:
        """Return a handler that refuses calls of a method. It does not read the request, which only streams allow."""

        def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            call = _arrived(name, context, context.time_remaining())
            call.code, call.details = StatusCode.RESOURCE_EXHAUSTED, EXHAUSTED
            self._report_unread(call, context)
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, EXHAUSTED)

        return grpc.stream_unary_rpc_method_handler(in_threads(threads, refuse))

    def _first(self, arrivals: Arrivals, path: str, behavior: Behavior) -> StreamBehavior:
        """Return a behavior that reads the request. Calls that end while they wait for a thread are reported."""

        def left(context: grpc.ServicerContext) -> None:
            call = _arrived(path.rpartition("/")[2], context, context.time_remaining())
            call.left()
            self._report_unread(call, context)

        return arrivals.first(path, behavior, left)

    def _report_unread(self, call: ServedCall, context: grpc.ServicerContext) -> None:
        """Pass a call that has ended to the observers, although its request was not read."""
        call.peer = self._peer(context)
        if self._began is not None:
            self._began(call)
        notify_observer(self._observer, call)

    def _served(self, name: str, method: Callable[[bytes, ServedCall], bytes]) -> Behavior:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            timeout = context.time_remaining()
            call = _arrived(name, context, timeout)
            recording = self._recording(call, request, context) if self._observer else None
            with self.admission, time_limit(timeout, context.is_active):
                reply = run_recorded(call, lambda: self._admitted(method, request, call))
            if not context.is_active():
                call.left()
            if recording is not None:
                call.bytes_out = len(reply or b"")
                recording.ended()
            if call.code is not StatusCode.OK:
                context.abort(_GRPC_CODES[call.code], _cut(call.details))
            return reply or b""

        return handle

    def _recording(self, call: ServedCall, request: bytes, context: grpc.ServicerContext) -> CallReport:
        assert self._observer is not None
        call.peer, call.bytes_in = self._peer(context), len(request)
        if self._began is not None:
            self._began(call)
        recording = CallReport(self._observer, call)
        if not context.add_callback(recording.left):  # gRPC calls it when the client has gone, or has its answer
            recording.left()
        return recording

    def _peer(self, context: grpc.ServicerContext) -> str:
        peer = context.peer()
        return peer if self._peers is None else self._peers(peer)

    def _admitted(self, method: Callable[[bytes, ServedCall], bytes], request: bytes, call: ServedCall) -> bytes:
        self.admission.check()
        if call.remaining() <= 0:  # its deadline passed while it waited for a thread
            raise DeadlineExceededError(TOO_LATE)
        check_caller(self._config.token, call.metadata)
        reply = method(plain(request, self._inflated_limit), call)
        return reply if self._hooks is None else self._hooks.grpc_reply(call, reply)

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
        # The first task's spec selects the model. If it is absent, it counts as empty, and is never "missing".
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
        from tfs_client.server.signature_messages import signature_def_map

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
            entry.status.SetInParent()  # present even for OK
        return response.SerializeToString()

    def _list_models(self, data: bytes, call: ServedCall) -> bytes:
        return tfs_serve_calls.write(self._core.names())

    def _get_config(self, data: bytes, call: ServedCall) -> bytes:
        return self._core.in_force().SerializeToString()

    def _reload(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        gone = Event()

        def left() -> None:
            gone.set()
            self._core.notify_waiters()

        if not context.add_callback(left):
            gone.set()
        served = self._served(
            "HandleReloadConfigRequest",
            lambda data, call: reload.handle(data, self._core, self._metrics, gone),
        )
        return served(request, context)


class HasModelSpec(Protocol):
    """A request with a ModelSpec."""

    @property
    def model_spec(self) -> ModelSpecProto:
        """The spec."""

    def HasField(self, name: Literal["model_spec"], /) -> bool:
        """Whether the spec is present."""


class UnknownMethods(GenericRpcHandler):
    """Refuses every call, without a text, as gRPC C++ does. It must come after all other handlers.

    Args:
        threads: the threads that refuse calls.
    """

    def __init__(self, threads: ThreadPool) -> None:
        def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

        self._handler = grpc.stream_unary_rpc_method_handler(in_threads(threads, refuse))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Return the handler of a call."""
        return self._handler


def _arrived(name: str, context: grpc.ServicerContext, left: float | None) -> ServedCall:
    """Return the record of a call that has this many seconds left, and that may have waited for its thread."""
    began, timeout = submitted(), finite_timeout(left)
    if timeout is not None:
        timeout += time.monotonic() - began
    return ServedCall(name, metadata=dict(context.invocation_metadata()), timeout=timeout, began=began)


_GRPC_CODES = {StatusCode(code.value[0]): code for code in grpc.StatusCode}


def _fill_classes(result: ClassificationResult, rows: list[list[tuple[str, float]]]) -> None:
    for row in rows:
        classes = result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)


def _fill_values(result: RegressionResult, values: list[float]) -> None:
    for value in values:
        result.regressions.add(value=value)


def _fill_spec(proto: ModelSpecProto, spec: ModelSpec) -> None:
    proto.MergeFromString(model_spec.write(spec))


def _noted(spec: ModelSpec | None, call: ServedCall) -> ModelSpec:
    """Return the request's spec, and record it in the call. All methods but MultiInference require one."""
    if spec is None:
        raise InvalidArgumentError("Missing ModelSpec")
    call.model, call.signature = spec.name, spec.signature
    return spec


def _examples(data: bytes, call: ServedCall) -> tuple[ModelSpec, list[bytes]]:
    """Read the spec and the examples of a Classify or Regress request."""
    spec_data, examples = wire_examples.read_request(data)
    return _noted(None if spec_data is None else model_spec.read(spec_data), call), examples


def _spec_of(request: HasModelSpec) -> ModelSpec | None:
    return model_spec.read(request.model_spec.SerializeToString()) if request.HasField("model_spec") else None


def _cut(details: str) -> str:
    data = details.encode(errors="replace")
    return data.decode() if len(data) <= MAX_DETAILS else data[:MAX_DETAILS].decode(errors="ignore") + "...TRUNCATED"
