"""Warmup: run recorded requests on a version before it serves, so that its first callers do not have to wait.

The records are in the version directory, each a PredictionLog. They pass the same checks as calls. The model that they
name is ignored: they run on the version that is being loaded.
Source: servables/tensorflow/saved_model_warmup.cc and saved_model_warmup_util.cc.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tfs_client._codec import examples as wire_examples
from tfs_client._codec import field_limits, protobuf_messages, regular_files, tfrecord
from tfs_client._codec import predict_messages as wire_predict
from tfs_client.errors import DataLossError, DecodeError, InvalidArgumentError, UnimplementedError
from tfs_client.server import inference_checks
from tfs_client.server.call_record import ServedCall
from tfs_client.server.predict_checks import predict
from tfs_client.server.servable import Servable
from tfs_client.signatures import CLASSIFY

if TYPE_CHECKING:
    from tfs_client.protos.tensorflow_serving.apis.classification_pb2 import ClassificationRequest
    from tfs_client.protos.tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
    from tfs_client.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest
    from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
    from tfs_client.protos.tensorflow_serving.apis.regression_pb2 import RegressionRequest

log: logging.Logger = logging.getLogger(__name__)

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000
MAX_SHOWN = 1000  # bytes of a record that cannot be read

Ended = Callable[[str, str, int, float], None]
"""Takes the version directory, "OK" or the status of a corrupt file, the number of records, and the seconds it took."""

Ran = Callable[[str, str, float], None]
"""Takes the model that a record names, the API method, and the seconds for which the model ran."""


def warm_up(
    servable: Servable,
    path: str,
    *,
    iterations: int = 1,
    method_name_check: bool = False,
    ended: Ended | None = None,
    ran: Ran | None = None,
) -> None:
    """Run the warmup records of a version directory on its servable, in order. No-op without a file.

    Args:
        path: the version directory.
        iterations: the number of runs of each record (``--num_request_iterations_for_warmup``; 0 or less counts as 1).
        method_name_check: refuse signatures that are meant for another method, as for calls.
        ended: called when the file has been read to its end, or up to a corrupt record.
        ran: called for every request that has run.

    Raises CallError: that of the first record that fails, DATA_LOSS for a corrupt file, INVALID_ARGUMENT for a record
    that is not a PredictionLog and for more than 1000 records. Raises OSError for a file that cannot be read.
    """
    file = os.path.join(path, FILE)
    if not os.path.exists(file):
        log.info("No warmup data file found at %s", file)
        return
    options = f"num_request_iterations {{ value: {iterations} }}" if iterations > 0 else ""
    log.info("Starting to read warmup data for model at %s with model-warmup-options %s", file, options)
    start = time.monotonic()
    count, broken = _run_file(
        partial(run, servable, method_name_check=method_name_check, ran=ran), file, max(iterations, 1)
    )
    seconds = time.monotonic() - start
    if ended is not None:
        ended(path, "OK" if broken is None else f"DATA_LOSS: {broken}", count, seconds)
    if broken is not None:
        raise DataLossError(f"{broken}. Please verify your warmup data is in TFRecord format.")
    log.info(
        "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
        "Elapsed time (microseconds): %d.",
        file,
        count,
        seconds * 1e6,
    )


def run(servable: Servable, log_: PredictionLog, *, method_name_check: bool = False, ran: Ran | None = None) -> None:
    """Run the request of one PredictionLog. No-op for a log without a request.

    Raises CallError as the call would; UNIMPLEMENTED for logs of sessions and of streams.
    """
    kind = log_.WhichOneof("log_type")
    if kind is None:
        return
    if kind not in RUNNERS:
        number = log_.DESCRIPTOR.fields_by_name[kind].number
        raise UnimplementedError(f"Unsupported log_type for warmup: {number}")
    method, runner = RUNNERS[kind]
    request, call = getattr(log_, kind).request, ServedCall(method)
    runner(servable, request, call, {"method_name_check": method_name_check})
    if ran is not None and call.run_seconds is not None:
        spec = request.tasks[0].model_spec if method == "MultiInference" else request.model_spec
        ran(spec.name, method, call.run_seconds)


def _run_file(run_log: Callable[[PredictionLog], None], path: str, iterations: int) -> tuple[int, DecodeError | None]:
    """Run every record of a file. Returns their number, and the error of a corrupt record after them."""
    count = 0
    with regular_files.opened(path) as file:
        records = tfrecord.read(file)
        while True:
            try:
                record = next(records, None)
            except DecodeError as error:
                return count, error
            if record is None:
                return count, None
            prediction_log = parsed(record, path)
            for _ in range(iterations):
                run_log(prediction_log)
            count += 1
            if count > MAX_RECORDS:  # checked after it has run, as in the model server
                raise InvalidArgumentError(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")


def parsed(record: bytes, path: str) -> PredictionLog:
    """Parse a record of the file at ``path``. Raises InvalidArgumentError, with the server's text."""
    from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    try:
        field_limits.check_fields(record, {}, "the record")
        found: PredictionLog = protobuf_messages.parse(PredictionLog, record, "the record")
        return found
    except DecodeError as error:
        said = record[:MAX_SHOWN].decode(errors="replace")
        raise InvalidArgumentError(f"Failed to parse warmup record: {said} from {path}") from error


Checks = dict[str, bool]


def _predict(servable: Servable, request: PredictRequest, call: ServedCall, checks: Checks) -> None:
    predict(servable, wire_predict.read_request(request.SerializeToString()), call, **checks)


def _classify(servable: Servable, request: ClassificationRequest, call: ServedCall, checks: Checks) -> None:
    name, examples = request.model_spec.signature_name, _examples(request)
    outputs = inference_checks.check_classify(inference_checks.found(servable, name), **checks)
    with call.running():
        answer = inference_checks.run(servable, name, examples, outputs)
    inference_checks.classes_of(answer, len(examples))


def _regress(servable: Servable, request: RegressionRequest, call: ServedCall, checks: Checks) -> None:
    name, examples = request.model_spec.signature_name, _examples(request)
    outputs = inference_checks.check_regress(inference_checks.found(servable, name), **checks)
    with call.running():
        answer = inference_checks.run(servable, name, examples, outputs)
    inference_checks.values_of(answer, len(examples))


def _multi_inference(servable: Servable, request: MultiInferenceRequest, call: ServedCall, checks: Checks) -> None:
    tasks = [(task.model_spec.name, task.model_spec.signature_name, task.method_name) for task in request.tasks]
    checked, examples = inference_checks.checked_tasks(servable, tasks, **checks), _examples(request)
    with call.running():
        answers = inference_checks.run_all(servable, {name: outputs for name, _, outputs in checked}, examples)
    for (_, method, _), answer in zip(checked, answers, strict=True):
        (inference_checks.classes_of if method == CLASSIFY else inference_checks.values_of)(answer, len(examples))


def _examples(request: ClassificationRequest | RegressionRequest | MultiInferenceRequest) -> list[bytes]:
    return wire_examples.read_input(request.input.SerializeToString())


RUNNERS: dict[str, tuple[str, Callable[[Servable, Any, ServedCall, Checks], None]]] = {
    "predict_log": ("Predict", _predict),
    "classify_log": ("Classify", _classify),
    "regress_log": ("Regress", _regress),
    "multi_inference_log": ("MultiInference", _multi_inference),
}
