"""Records: calls as PredictionLogs (tensorflow_serving/apis/prediction_log.proto), read and written without protobuf.

Requests and replies are copied as they are, so a record holds the very bytes of the call.
"""

from __future__ import annotations

from tfs_client._codec import model_spec, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import shown
from tfs_client.errors import DecodeError, StatusCode, reads
from tfs_client.recordings.episodes import LOGGED, Episode

_FIELDS = {"Classify": 2, "Regress": 3, "MultiInference": 4, "Predict": 6}  # of PredictionLog
_METHODS = {wire.tag(number, wire.LENGTH): method for method, number in _FIELDS.items()}
_OTHERS = {wire.tag(5, wire.LENGTH): "session_run_log", wire.tag(7, wire.LENGTH): "predict_streamed_log"}
_1, _2 = wire.tag(1, wire.LENGTH), wire.tag(2, wire.LENGTH)

_SPEC_OF_REPLY = {"Predict": _2, "Classify": _2, "Regress": _2, "GetModelMetadata": _1}


def is_record(episode: Episode) -> bool:
    """Return whether the call is a record of the TFRecord file; others are in the sidecar alone."""
    return episode.method in LOGGED and episode.code is StatusCode.OK


def write(episode: Episode) -> bytes:
    """Return the PredictionLog of a call."""
    log = wire.delimited(1, episode.request)
    if episode.reply is not None:
        log += wire.delimited(2, episode.reply)
    return wire.delimited(_FIELDS[episode.method], log)


@reads("the record")
def read(record: bytes) -> Episode:
    """Read a PredictionLog. Raises DecodeError, also for logs that do not hold one call."""
    method, found = "", (0, 0)
    for tag, start, stop in wire.fields(record, 0, len(record)):
        if tag in _METHODS:
            method, found = _METHODS[tag], (start, stop)
        elif tag in _OTHERS:
            raise DecodeError(f"expected a PredictionLog of {', '.join(LOGGED)}, got a {_OTHERS[tag]}")
    if not method:
        raise DecodeError(f"expected a PredictionLog of {', '.join(LOGGED)}, got {shown(record)}")
    request, reply = b"", None
    for tag, start, stop in wire.fields(record, *found):
        if tag == _1:
            request = record[start:stop]
        elif tag == _2:
            reply = record[start:stop]
    return Episode(method, spec_of_request(method, request), request, reply)


def spec_of_request(method: str, request: bytes) -> ModelSpec:
    """Return the model of a request; of MultiInference, that of its first task, without a signature.

    Raises DecodeError.
    """
    if method != "MultiInference":
        return _spec_at(request, _1)
    task = next((request[start:stop] for tag, start, stop in wire.fields(request, 0, len(request)) if tag == _1), b"")
    spec = _spec_at(task, _1)
    return ModelSpec(spec.name, spec.version, spec.label)


def answered_version(episode: Episode) -> int | None:
    """Return the version that answered; None if the reply does not name it, or cannot be read."""
    tag = _SPEC_OF_REPLY.get(episode.method)
    if episode.reply is None or tag is None:
        return None
    try:
        return _spec_at(episode.reply, tag).version
    except DecodeError:
        return None


def _spec_at(message: bytes, wanted: int) -> ModelSpec:
    found: list[tuple[int, int]] = []
    for tag, start, stop in wire.fields(message, 0, len(message)):
        if tag == wanted:
            wire.add_piece(found, start, stop)
            if wanted == _1:  # of a request or a task, where other fields have other numbers
                break
    whole, start, stop = wire.joined(message, found)
    return model_spec.read(whole[start:stop])
