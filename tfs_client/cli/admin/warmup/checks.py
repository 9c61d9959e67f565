"""Whether a server would run warmup requests: the server's own checks, on a servable without a model behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from tfs_client._codec import predict_messages, tfrecord
from tfs_client._printable import counted, shown
from tfs_client.errors import CallError, DecodeError, TFServingError
from tfs_client.recordings import records
from tfs_client.recordings.episodes import Episode
from tfs_client.server.fakes import ExportedModel, FakeServable
from tfs_client.server.lifecycle import warmup
from tfs_client.signatures import DEFAULT_SIGNATURE


@dataclass(frozen=True)
class Problem:
    """An error in a warmup file.

    Attributes:
        record: the position of the record, from 0; None for an error of the whole file.
        offset: where the record begins, in bytes.
        text: what is wrong.
    """

    record: int | None
    offset: int
    text: str

    def __str__(self) -> str:
        place = "" if self.record is None else f"record {self.record} at offset {self.offset}: "
        return f"{place}{self.text}"


@dataclass
class Findings:
    """The records of a file by method and signature, and its errors."""

    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The number of requests in words."""
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(self.kinds.items()))
        return f"{counted(self.count, 'requests')}{f' ({kinds})' * bool(kinds)}"


def check_file(file: BinaryIO, model: ExportedModel | None) -> Findings:
    """Check a warmup file, up to a damaged record."""

    def read(found: Findings) -> Iterator[bytes]:
        offset = 0
        try:
            for record in tfrecord.read(file):
                offset += tfrecord.HEADER + len(record) + tfrecord.FOOTER
                yield record
        except DecodeError as error:
            found.problems.append(Problem(None, offset, f"damaged at offset {offset}: {error}"))
            return
        if rest := file.seek(0, 2) - offset:
            text = f"damaged at offset {offset}: the last record is cut off after {rest} bytes"
            found.problems.append(Problem(None, offset, text))

    found = Findings()
    return _checked(read(found), model, found)


def check_records(logs: Iterable[bytes], model: ExportedModel | None) -> Findings:
    """Check serialized PredictionLogs."""
    return _checked(logs, model, Findings())


def _checked(logs: Iterable[bytes], model: ExportedModel | None, found: Findings) -> Findings:
    servable = None if model is None else FakeServable(model)
    offset = 0
    for log in logs:
        try:
            episode = records.read(log)
            found.kinds[f"{episode.method} {_signature(episode)}"] += 1
            if servable is not None:
                warmup.run(servable, warmup.parsed(log, "the file"))
        except CallError as error:
            found.problems.append(Problem(found.count, offset, _refusal(error, log, model)))
        except TFServingError as error:
            found.problems.append(Problem(found.count, offset, str(error)))
        found.count += 1
        offset += tfrecord.HEADER + len(log) + tfrecord.FOOTER
    if found.count > warmup.MAX_RECORDS:
        text = f"{found.count} requests: a server refuses a version with more than {warmup.MAX_RECORDS}"
        found.problems.append(Problem(None, 0, text))
    return found


def _signature(episode: Episode) -> str:
    return "" if episode.method == "MultiInference" else shown(episode.spec.signature or DEFAULT_SIGNATURE)


def _refusal(error: CallError, log: bytes, model: ExportedModel | None) -> str:
    """Return why the server would refuse a request; for Predict with the difference from the signature."""
    text = f"{error.code.name}: {error.details}"
    try:
        episode = records.read(log)
        name = episode.spec.signature or DEFAULT_SIGNATURE
        if model is None or episode.method != "Predict" or name not in model.signatures:
            return text
        request = predict_messages.read_request(episode.request)
        difference = model.signatures[name].mismatch({alias: request.tensor(alias) for alias in request.inputs})
    except TFServingError:  # the text says it
        return text
    return f"{text} ({difference})" if difference else text
