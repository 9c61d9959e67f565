"""The calls of a recording as a table or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array, row_of
from tfs_client._printable import bounded, counted, listed, shown
from tfs_client.cli.json_output import dumps
from tfs_client.cli.tables import aligned
from tfs_client.errors import StatusCode, TFServingError
from tfs_client.recordings.contents import ON_EXAMPLES, examples_of, inputs_of
from tfs_client.recordings.episodes import LOGGED, Episode
from tfs_client.recordings.records import answered_version
from tfs_client.signatures import DEFAULT_SIGNATURE, shape_text

HEADER = ("N", "METHOD", "MODEL", "VERSION", "SIGNATURE", "INPUTS", "OUTCOME", "MS")
LONGEST_TEXT = 60  # characters of an error in the table
LONGEST_CELL = 120


def table(episodes: Sequence[Episode], *, values: bool) -> str:
    """Return a line for each call; with ``values``, followed by a line for each of its inputs."""
    lines = aligned([HEADER, *(_row(number, episode) for number, episode in enumerate(episodes))]).split("\n")
    if not values:
        return "\n".join(lines)
    found = lines[:1]
    for line, episode in zip(lines[1:], episodes, strict=True):
        found += [line, *_values(episode)]
    return "\n".join(found)


def as_json(episodes: Sequence[Episode], *, values: bool) -> str:
    """Return the calls as a list in JSON."""
    return dumps([_object(number, episode, values) for number, episode in enumerate(episodes)])


def _row(number: int, episode: Episode) -> tuple[str, ...]:
    signature = episode.spec.signature or DEFAULT_SIGNATURE if episode.method in LOGGED else "-"
    outcome = episode.code.name
    if episode.code is not StatusCode.OK:
        outcome += f": {bounded(episode.details, LONGEST_TEXT)}"
    elif episode.reply is None:
        outcome = "no reply"
    cells = (
        str(number),
        episode.method,
        episode.spec.name,
        _version(episode),
        "-" if episode.method == "MultiInference" else signature,
        _layout(episode),
        outcome,
        f"{episode.seconds * 1e3:.1f}" if episode.seconds else "-",
    )
    # All rows are as wide as the widest: one long name must not multiply the size of the table.
    return tuple(cell if len(cell) <= LONGEST_CELL else f"{cell[: LONGEST_CELL - 3]}..." for cell in cells)


def _version(episode: Episode) -> str:
    answered, spec = answered_version(episode), episode.spec
    version = spec.version if answered is None else answered
    number = "-" if version is None else str(version)
    return number if spec.label is None else f"{spec.label} {number}"


def _layout(episode: Episode) -> str:
    try:
        if episode.method in ON_EXAMPLES:
            return counted(len(examples_of(episode.request)), "examples")
        inputs = inputs_of(episode)
    except TFServingError:
        return "unreadable"
    described = [
        f"{alias} {row_of(array.dtype).readable} {shape_text(array.shape)}" for alias, array in sorted(inputs.items())
    ]
    return listed(described) if described else "-"


def _values(episode: Episode) -> Iterator[str]:
    try:
        for alias, array in sorted(inputs_of(episode).items()):
            yield f"     {bounded(alias, 80)}: {expansion.summary(array)}"
    except TFServingError as error:
        yield f"     {error}"


def _object(number: int, episode: Episode, values: bool) -> dict[str, object]:
    spec = episode.spec
    found: dict[str, object] = {"call": number, "method": episode.method, "model": spec.name}
    found |= {"version": spec.version, "label": spec.label, "signature": spec.signature}
    found["answered"] = answered_version(episode)
    try:
        found["inputs"] = {alias: _input(array, values) for alias, array in sorted(inputs_of(episode).items())}
    except TFServingError as error:
        found |= {"inputs": None, "error": str(error)}
    found |= {"code": episode.code.name, "details": episode.details, "reply": episode.reply is not None}
    found["metadata"] = [[key, value if isinstance(value, str) else shown(value)] for key, value in episode.metadata]
    return found | {"transport": episode.transport, "seconds": episode.seconds, "time": episode.recorded}


def _input(array: Array, values: bool) -> Mapping[str, object]:
    found: dict[str, object] = {"dtype": row_of(array.dtype).readable, "shape": list(array.shape)}
    return found | {"values": expansion.summary(array)} if values else found
