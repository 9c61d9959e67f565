"""The sidecar of a recording: one JSON document with a line for each call, which is appended in place.

It holds what a PredictionLog cannot: the order of the calls, their metadata and duration, and failed calls and look-ups
as a whole. The document is valid JSON after each call, because a line is written together with a new closing.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, TypeVar

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import bounded, shown
from tfs_client.errors import DecodeError, StatusCode
from tfs_client.options import MetadataPairs
from tfs_client.recordings.episodes import LOGGED, LOOKUPS, Episode
from tfs_client.recordings.records import answered_version

FORMAT = "tfs_client recording"
VERSION = 1
HEADER = f'{{"format": "{FORMAT}", "version": {VERSION}, "episodes": ['.encode()
CLOSING = b"\n]}\n"
EMPTY = HEADER + CLOSING
_REFORMATTED = rf'\s*{{\s*"format"\s*:\s*"{FORMAT}"\s*,\s*"version"\s*:\s*{VERSION}\b'.encode()

Value = TypeVar("Value")


@dataclass(frozen=True)
class Entry:
    """What the sidecar says about one call.

    Attributes:
        episode: the call; without request and reply if they are in a record.
        record: the number of its record in the TFRecord file; None for a call without one.
        checksum: the masked CRC-32C of that record; None where the file does not say.
        after: for a call without a record, the number of records before it.
    """

    episode: Episode
    record: int | None = None
    checksum: int | None = None
    after: int = 0


# --- writing -----------------------------------------------------------------------------------------------------


def line(entry: Entry) -> bytes:
    """Return the JSON object of a call, in ASCII without line breaks."""
    episode, spec = entry.episode, entry.episode.spec
    found: dict[str, Any] = {"method": episode.method, "model": spec.name}
    found |= {"version": spec.version, "label": spec.label, "signature": spec.signature}
    found["answered"] = answered_version(episode)
    found["metadata"] = [[key, _value(value)] for key, value in episode.metadata]
    found |= {"transport": episode.transport, "seconds": episode.seconds, "time": episode.recorded}
    if entry.record is not None:
        found |= {"record": entry.record, "crc32c": entry.checksum}
        return dumped(found)
    found |= {"after": entry.after, "code": episode.code.name}
    if episode.code is not StatusCode.OK:
        found |= {"details": episode.details, "hint": episode.hint, "attempts": episode.attempts}
        found |= {"unreached": episode.unreached, "retry_after": episode.retry_after}
        found["http_status"] = episode.http_status
    found["request"] = b64encode(episode.request).decode()
    found["reply"] = None if episode.reply is None else b64encode(episode.reply).decode()
    return dumped(found)


def document(lines: list[bytes]) -> bytes:
    """Return the whole document."""
    return HEADER + b",".join(b"\n" + each for each in lines) + CLOSING


def dumped(found: object) -> bytes:
    """Return one entry as a line."""
    return json.dumps(found, allow_nan=False).encode()


def _value(value: str | bytes) -> object:
    return value if isinstance(value, str) else {"b64": b64encode(value).decode()}


# --- reading -----------------------------------------------------------------------------------------------------


@dataclass
class Lines:
    """The entries of a sidecar, up to the first one that cannot be read.

    Attributes:
        entries: each with the offset of its line.
        error: why the rest cannot be read; None if all was read.
        offset: where the rest begins.
    """

    entries: list[tuple[Entry, int]]
    error: str | None = None
    offset: int = 0


def read(data: bytes) -> Lines:
    """Read a sidecar, whether this module wrote it or an editor has changed its line breaks. Never raises."""
    found = _read_lines(data) if data.startswith(HEADER) else None
    if found is not None and found.error is None:
        return found
    try:
        entries = objects(data)
    except DecodeError as error:
        return found or Lines([], str(error), 0)
    whole = Lines([])
    for number, each in enumerate(entries):
        try:
            whole.entries.append((_entry(each), 0))
        except DecodeError as error:
            if found is not None and len(found.entries) == number:
                whole = found  # which has the offsets
            whole.error = f"entry {number}: {error}"
            break
    return whole


def foreign(data: bytes) -> str:
    """Say why this is something else than a sidecar of this version; "" for a sidecar, even if it is damaged."""
    if data.startswith(HEADER) or HEADER.startswith(data):
        return ""
    try:
        objects(data)
    except DecodeError as error:
        return "" if re.match(_REFORMATTED, data) else str(error)
    return ""


def objects(data: bytes) -> list[object]:
    """Return the entries as JSON, unchecked. Raises DecodeError if the document is not a valid sidecar."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise DecodeError(f"expected a JSON document: {bounded(str(error), 200)}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DecodeError(f'expected a JSON document with "format": "{FORMAT}", got {shown(document)}')
    if document.get("version") != VERSION:
        raise DecodeError(
            f"expected version {VERSION} of the format, got {shown(document.get('version'))}; use a newer tfs_client"
        )
    entries = document.get("episodes")
    if not isinstance(entries, list):
        raise DecodeError(f"expected a list of episodes, got {shown(entries)}")
    return entries


def _read_lines(data: bytes) -> Lines:
    """Read a document as this module writes it, line by line, so that a torn one gives all lines before the tear."""
    found, at = Lines([]), len(HEADER)
    if data == EMPTY:
        return found
    end = len(data) - len(CLOSING) if data.endswith(CLOSING) else len(data)
    comma = True  # before the next line
    while at < end and comma and data[at : at + 1] == b"\n":
        stop = data.find(b"\n", at + 1, end)
        text = data[at + 1 : stop if stop >= 0 else end]
        comma = text.endswith(b",")
        try:
            found.entries.append((_entry(json.loads(text.removesuffix(b","))), at + 1))
        except (ValueError, RecursionError, MemoryError) as error:
            found.error, found.offset = f"expected the JSON of a call: {bounded(str(error), 300)}", at + 1
            return found
        at = stop if stop >= 0 else end
    if at < end or end == len(data) or comma:
        found.error, found.offset = "expected ']}' at the end of the document", at
    return found


def _entry(found: Any) -> Entry:
    """Check one JSON object. Raises DecodeError."""
    if not isinstance(found, dict):
        raise DecodeError(f"expected an object for each call, got {shown(found)}")
    method = _typed(found, "method", str, "")
    if method not in (*LOGGED, *LOOKUPS):
        raise DecodeError(f"expected a method among {', '.join((*LOGGED, *LOOKUPS))}, got {shown(method)}")
    version = _typed(found, "version", int, None)
    if version is not None and not 0 <= version < 1 << 63:
        raise DecodeError(f"expected a version number, got {shown(version)}")
    label = _typed(found, "label", str, None)
    spec = ModelSpec(_typed(found, "model", str, ""), version, label, _typed(found, "signature", str, ""))
    common: dict[str, Any] = {
        "metadata": _metadata(found.get("metadata", [])),
        "transport": _typed(found, "transport", str, "grpc"),
        "seconds": _number(found, "seconds", 0.0),
        "recorded": _number(found, "time", 0.0),
    }
    number = _typed(found, "record", int, None)
    if number is not None:
        if method not in LOGGED or number < 0:
            raise DecodeError(f"expected the number of a record of {', '.join(LOGGED)}, got {number} for {method}")
        return Entry(Episode(method, spec, b"", None, **common), number, _typed(found, "crc32c", int, None))
    code = StatusCode.__members__.get(_typed(found, "code", str, ""))
    if code is None:
        raise DecodeError(f"expected the name of a status code, got {shown(found.get('code'))}")
    request, reply = _bytes(found, "request"), _bytes(found, "reply")
    if request is None or (code is StatusCode.OK) != (reply is not None):
        raise DecodeError("expected a request, and a reply exactly if the call succeeded")
    if code is StatusCode.OK and method in LOGGED:
        raise DecodeError(f"expected the number of a record for a successful {method}")
    common |= {
        "details": _typed(found, "details", str, ""),
        "hint": _typed(found, "hint", str, ""),
        "attempts": _typed(found, "attempts", int, 1),
        "unreached": _typed(found, "unreached", bool, False),
        "retry_after": _number(found, "retry_after", None),
        "http_status": _typed(found, "http_status", int, None),
    }
    return Entry(Episode(method, spec, request, reply, code, **common), after=_typed(found, "after", int, 0))


def _typed(found: dict[str, Any], name: str, kind: type[Value], default: Any) -> Any:
    value = found.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise DecodeError(f"expected {name} of type {kind.__name__}, got {shown(value)}")
    return value


def _number(found: dict[str, Any], name: str, default: float | None) -> float | None:
    value = found.get(name)
    if value is None:
        return default
    if type(value) not in (int, float) or not abs(value) < 1e300:
        raise DecodeError(f"expected {name} as a number, got {shown(value)}")
    return float(value)


def _metadata(found: object) -> MetadataPairs:
    if not isinstance(found, list):
        raise DecodeError(f"expected metadata as a list of pairs, got {shown(found)}")
    pairs = []
    for pair in found:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise DecodeError(f"expected metadata as pairs of key and value, got {shown(pair)}")
        key, value = pair
        pairs.append((key, value if isinstance(value, str) else _decoded(value["b64"] if _is_bytes(value) else value)))
    return tuple(pairs)


def _is_bytes(value: object) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"]


def _bytes(found: dict[str, Any], name: str) -> bytes | None:
    value = found.get(name)
    return None if value is None else _decoded(value)


def _decoded(value: object) -> bytes:
    if not isinstance(value, str):
        raise DecodeError(f"expected base64, got {shown(value)}")
    try:
        return b64decode(value, validate=True)
    except ValueError as error:
        raise DecodeError(f"expected base64, got {shown(value)}: {error}") from None
