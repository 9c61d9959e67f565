"""The load generator that the options ask for: in this process, or in several."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing

from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.bench.engine import IN_FLIGHT, PATIENCE, Engine
from tfs_client.cli.bench.queries import Queries
from tfs_client.cli.bench.stages import Generator
from tfs_client.cli.bench.target import BenchTarget

SPARE = 5.0  # seconds after the timeout of a request until it is given up


def generator(options: BenchOptions, queries: Queries, target: BenchTarget) -> AbstractContextManager[Generator]:
    """Return a generator, which is closed at the end of the context. Raises ConfigError.

    One process needs no second one: the report of progress takes about a millisecond of each quarter of a second from
    the requests. A client process would take as long to send it to this one.
    """
    make_client = target.make_client()
    in_flight = IN_FLIGHT if options.max_in_flight is None else options.max_in_flight
    patience = PATIENCE if target.timeout is None else max(PATIENCE, target.timeout + SPARE)
    if options.processes == 1:
        return closing(Engine(queries, make_client, in_flight=in_flight, patience=patience))
    from tfs_client.cli.bench.processes import Processes

    return closing(Processes(queries, make_client, options.processes, in_flight=in_flight, patience=patience))
