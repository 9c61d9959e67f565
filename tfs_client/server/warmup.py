"""Warmup: recorded requests that a version answers before it serves, so that its first callers need not wait.

The records lie in the version's directory, one PredictionLog each. They take the same way through the server as calls
do, but for whom they were meant does not matter: the version that is being loaded runs them.
Source: servables/tensorflow/saved_model_warmup.cc and saved_model_warmup_util.cc.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tfs_client.codec import examples as wire_examples
from tfs_client.codec import predict as wire_predict
from tfs_client.codec import tfrecord
from tfs_client.errors import DataLossError, DecodeError, InvalidArgumentError, UnimplementedError
from tfs_client.server import inference, regular_files
from tfs_client.server.messages import parse
from tfs_client.server.predict import predict
from tfs_client.server.servable import Servable
from tfs_client.server.served import ServedCall
from tfs_client.signatures import CLASSIFY

log = logging.getLogger(__name__)

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000
MAX_SHOWN = 1000  # bytes of a record that cannot be read

Ended = Callable[[str, str, int, float], None]
"""Gets the version directory, "OK" or the status of a broken file, the number of records, and the seconds it took."""

Ran = Callable[[str, str, float], None]
"""Gets the model that a record names, the API method, and the seconds for which the model has run."""


def warm_up(
    servable: Servable,
    path: str,
    *,
    iterations: int = 1,
    method_name_check: bool = False,
    ended: Ended | None = None,
    ran: Ran | None = None,
) -> None:
    """Run the warmup records of a version directory on its servable, in order. Without a file nothing is done.

    Args:
        path: the version directory.
        iterations: how often each record is run (``--num_request_iterations_for_warmup``; 0 or less counts as 1).
        method_name_check: refuse signatures made for another method, as calls would be.
        ended: called when the file was read to its end, or could not be read further.
        ran: called for every request that was run.

    Raises CallError: that of the first record that fails, DATA_LOSS for a file that is broken, INVALID_ARGUMENT for
    what is no PredictionLog and for more than 1000 records. OSError for a file that cannot be read.
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


def run(servable: Servable, log_: Any, *, method_name_check: bool = False, ran: Ran | None = None) -> None:
    """Run the request of one PredictionLog; without a request there is nothing to do, and that is no error.

    Raises CallError as the call would, and UNIMPLEMENTED for logs of sessions and of streams.
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


def _run_file(run_log: Callable[[Any], None], path: str, iterations: int) -> tuple[int, DecodeError | None]:
    """Run every record of a file: how many there were, and what is wrong with the one after them."""
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
            prediction_log = _parsed(record, path)
            for _ in range(iterations):
                run_log(prediction_log)
            count += 1
            if count > MAX_RECORDS:  # only noticed once it has run, as in the model server
                raise InvalidArgumentError(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")


def _parsed(record: bytes, path: str) -> Any:
    from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    try:
        return parse(PredictionLog, record)
    except DecodeError as error:
        said = record[:MAX_SHOWN].decode(errors="replace")
        raise InvalidArgumentError(f"Failed to parse warmup record: {said} from {path}") from error


Checks = dict[str, bool]


def _predict(servable: Servable, request: Any, call: ServedCall, checks: Checks) -> None:
    predict(servable, wire_predict.read_request(request.SerializeToString()), call, **checks)


def _classify(servable: Servable, request: Any, call: ServedCall, checks: Checks) -> None:
    name, examples = request.model_spec.signature_name, _examples(request)
    outputs = inference.check_classify(inference.found(servable, name), **checks)
    with call.running():
        answer = inference.run(servable, name, examples, outputs)
    inference.classes_of(answer, len(examples))


def _regress(servable: Servable, request: Any, call: ServedCall, checks: Checks) -> None:
    name, examples = request.model_spec.signature_name, _examples(request)
    outputs = inference.check_regress(inference.found(servable, name), **checks)
    with call.running():
        answer = inference.run(servable, name, examples, outputs)
    inference.values_of(answer, len(examples))


def _multi_inference(servable: Servable, request: Any, call: ServedCall, checks: Checks) -> None:
    tasks = [(task.model_spec.name, task.model_spec.signature_name, task.method_name) for task in request.tasks]
    checked, examples = inference.checked_tasks(servable, tasks, **checks), _examples(request)
    with call.running():
        answers = inference.run_all(servable, {name: outputs for name, _, outputs in checked}, examples)
    for (_, method, _), answer in zip(checked, answers, strict=True):
        (inference.classes_of if method == CLASSIFY else inference.values_of)(answer, len(examples))


def _examples(request: Any) -> list[bytes]:
    return wire_examples.read_input(request.input.SerializeToString())


RUNNERS: dict[str, tuple[str, Callable[[Servable, Any, ServedCall, Checks], None]]] = {
    "predict_log": ("Predict", _predict),
    "classify_log": ("Classify", _classify),
    "regress_log": ("Regress", _regress),
    "multi_inference_log": ("MultiInference", _multi_inference),
}
