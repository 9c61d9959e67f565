"""Engines: what makes outcomes of pictures.

An engine is a module with a function ::

    def outcomes(job: Job, names: Iterable[str]) -> Iterator[Outcome]

It gets what is asked of every picture and the names of pictures. It gives a Row or a Failed for each name, once, in any
order (``local`` keeps theirs), as soon as it has it: what was given is written when the next one is asked for. It reads
names and holds pictures within bounds. An error that is no picture's own (``outcomes.fails_alone``) it raises; what was
given before stays, and the run can be resumed. It is closed early, as generators are, when somebody interrupts the run.
It knows nothing of files of results, nor of progress.

``Job`` can be pickled: ``job.client()`` and ``job.preparation(client)`` make in any process what makes inputs of a
picture and sends them. A line here in ``ENGINES``, and its name in ``cli.arguments.ENGINES``, make an engine known.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from tfs_client.batching.pipeline import PATIENCE
from tfs_client.cli.bulk.outcomes import Outcome
from tfs_client.cli.bulk.preparing import Preparation
from tfs_client.client import PredictClient
from tfs_client.error_meanings import Meaning, meaning_of
from tfs_client.errors import CallError
from tfs_client.options import RetryPolicy
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures

ENGINES = {"local": "tfs_client.cli.bulk.local", "ray": "tfs_client.cli.bulk.ray"}


@dataclass(frozen=True)
class Job:
    """What is asked of every picture.

    Attributes:
        target: where the server is, or its replicas.
        model: which model.
        which: the version or the label of it, as a call takes them; neither leaves the choice to the server.
        signature: which signature; None for serving_default.
        secured: tls, token and metadata of the client.
        timeout: seconds for a request, attempts included.
        options: how a picture becomes inputs; the options of the command line that say so.
        given: values of other inputs by alias.
        batch_size: pictures in a request.
        in_flight: requests at a time, or "auto".
    """

    target: str | list[str]
    model: str
    which: Mapping[str, Any]
    signature: str | None
    secured: Mapping[str, Any]
    timeout: float | None
    options: Any
    given: Mapping[str, Any]
    batch_size: int
    in_flight: int | Literal["auto"]

    def client(self) -> PredictClient:
        """A client for it. It waits for a server that is away for a moment."""
        return PredictClient(
            self.target,
            model=self.model,
            signature=self.signature,
            timeout=self.timeout,
            retry=RetryPolicy(),
            **self.which,
            **self.secured,
        )

    def preparation(self, client: PredictClient) -> Preparation:
        """What makes inputs of a picture, as the model's signature wants them."""
        signature = _signatures(client).named(self.signature or DEFAULT_SIGNATURE)
        return Preparation(self.options, self.given, signature)


def _signatures(client: PredictClient) -> Signatures:
    """The model's signatures. A server that is busy is asked again for as long as rows would wait for it."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return client.signatures()
        except CallError as error:
            pause = max(error.retry_after or 0.0, random.uniform(0.05, 0.15))
            if meaning_of(error) is not Meaning.BUSY or time.monotonic() + pause > end:
                raise
        time.sleep(pause)


def engine(name: str) -> Callable[[Job, Iterable[str]], Iterator[Outcome]]:
    """An engine, by its name."""
    outcomes: Callable[[Job, Iterable[str]], Iterator[Outcome]] = import_module(ENGINES[name]).outcomes
    return outcomes
