"""The queries that the options ask for, and what to say about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tfs_client._codec.dtypes import Array, row_of
from tfs_client._printable import bounded, counted, listed
from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.bench.query_sources.predictions import PredictQueries
from tfs_client.cli.bench.query_sources.random_inputs import RandomInputs
from tfs_client.cli.bench.query_sources.recorded_queries import RecordedQueries, read_recording
from tfs_client.cli.input_files import requests_in
from tfs_client.cli.predict.argument_values import read_input
from tfs_client.cli.predict.inputs import given_inputs
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures, shape_text

MOST_INPUTS = 5  # in the line
LONGEST_NAME = 60  # bytes of a name there


@dataclass(frozen=True)
class Chosen:
    """What is sent.

    Attributes:
        queries: the queries.
        line: what they are, in one line.
        notes: what was left out, or assumed.
        random: whether some values were chosen at random, which the model may refuse.
        models: the models that a recording calls; empty for the one of the options.
    """

    queries: PredictQueries | RecordedQueries
    line: str
    notes: Sequence[str] = ()
    random: bool = False
    models: Sequence[str] = ()

    def at_version(self, version: int | None) -> Chosen:
        """Return the same for another version of the model, which only the calls of a recording name themselves."""
        if not isinstance(self.queries, RecordedQueries):
            return self
        return replace(self, queries=replace(self.queries, version=version))


def chosen(options: BenchOptions, signatures: Callable[[], Signatures]) -> Chosen:
    """Prepare the queries.

    Args:
        options: the command's options.
        signatures: returns the model's signatures; a recording does not need them.

    Raises TFServingError for options, files and pictures that cannot be used.
    """
    if options.recording is not None:
        return _recorded(options, options.recording)
    model = signatures()
    name = options.signature or DEFAULT_SIGNATURE
    signature = model.named(name)
    if options.inputs:
        found = [inputs for path in options.inputs for inputs in requests_in(path, signature)]
        return Chosen(PredictQueries(found), _line(found, f"from {counted(len(options.inputs), 'files')}"))
    given = dict(map(read_input, options.input))
    if options.image:
        from tfs_client.cli.bench.query_sources.pictures import PictureRequests

        rows = 1 if options.rows is None else options.rows
        pictures = PictureRequests(options, given, signature, rows, options.distinct)
        notes = [pictures.warning] if pictures.warning else []
        return Chosen(PredictQueries(pictures.requests), _line(pictures.requests, pictures.line), notes)
    fixed = given_inputs(given, signature)
    made = RandomInputs(options.rows, dict(options.shape), options.distinct, options.integers, options.seed)
    found = made.requests(model, name, fixed)
    random = [alias for alias in found[0] if alias not in fixed]
    what = f"random values for {listed(random)}" if fixed and random else "random values" if random else "given values"
    return Chosen(PredictQueries(found), _line(found, what), random=bool(random))


def _recorded(options: BenchOptions, path: str) -> Chosen:
    queries, left = read_recording(path, options.model, options.version)
    counts: dict[str, int] = {}
    for episode in queries.episodes:
        counts[episode.method] = counts.get(episode.method, 0) + 1
    methods = ", ".join(f"{count} {method}" for method, count in counts.items())
    notes = [f"left out: {counted(count, reason)}" for reason, count in left.items()]
    return Chosen(
        queries, f"{counted(len(queries.episodes), 'recorded calls')} ({methods})", notes, models=queries.model_names
    )


def _line(requests: Sequence[Mapping[str, Array]], what: str) -> str:
    shown = [
        f"{bounded(alias, LONGEST_NAME)} {row_of(array.dtype).readable} {shape_text(array.shape)}"
        for alias, array in list(requests[0].items())[:MOST_INPUTS]
    ]
    if (more := len(requests[0]) - MOST_INPUTS) > 0:
        shown.append(f"and {counted(more, 'more inputs')}")
    count = "1 request" if len(requests) == 1 else f"{len(requests)} different requests"
    return f"{count}, {what}: {', '.join(shown)}"
