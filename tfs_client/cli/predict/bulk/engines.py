"""Engines: they produce the outcomes of pictures.

An engine is a module with a function ::

    def outcomes(job: Job, names: Iterable[str]) -> Iterator[Outcome]

For each name it yields one Row or one Failed, in any order (``local`` keeps the order of the names), as soon as it is
known: an outcome is written when the next one is requested. It reads ahead of the outcomes, and holds pictures, within
bounds. It raises errors that concern more than one picture (``outcomes.fails_alone``); earlier outcomes remain, and the
run can be resumed. An interrupted run closes it early, like any generator. It knows nothing about result files and
progress.

``Job`` can be pickled: in any process, ``job.client()`` and ``job.picture_inputs(client)`` create what converts
pictures and sends them. To add an engine, add it to ``ENGINES`` here and its name to ``cli.predict.arguments.ENGINES``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

from tfs_client._flows.batching.pipeline import PATIENCE
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.cli.predict.bulk.outcomes import Outcome
from tfs_client.cli.predict.bulk.picture_inputs import PictureInputs
from tfs_client.client import PredictClient
from tfs_client.errors import CallError
from tfs_client.options import RetryPolicy
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures

ENGINES = {"local": "tfs_client.cli.predict.bulk.local_engine", "ray": "tfs_client.cli.predict.bulk.ray_engine"}


@dataclass(frozen=True)
class Job:
    """What an engine needs to predict pictures.

    Attributes:
        options: the command's options: version, label and signature of the model, and how to convert pictures.
        target: the server, or its replicas.
        model: the model's name.
        client_options: other options of the client, such as tls, token and metadata.
        timeout: seconds for a request, including retries; None for no limit.
        given: values of other inputs by alias.
        batch_size: pictures per request.
        in_flight: concurrent requests, or "auto".
    """

    options: PredictOptions
    target: str | list[str]
    model: str
    client_options: Mapping[str, Any]
    timeout: float | None
    given: Mapping[str, object]
    batch_size: int
    in_flight: int | Literal["auto"]

    def client(self) -> PredictClient:
        """Create a client. It waits for a server that is temporarily unreachable."""
        return PredictClient(
            self.target,
            model=self.model,
            version=self.options.version,
            label=self.options.label,
            signature=self.options.signature,
            timeout=self.timeout,
            **{"retry": RetryPolicy(), **self.client_options},
        )

    def picture_inputs(self, client: PredictClient) -> PictureInputs:
        """Create what converts pictures to inputs of the model's signature."""
        signature = _signatures(client).named(self.options.signature or DEFAULT_SIGNATURE)
        return PictureInputs(self.options, self.given, signature)


def _signatures(client: PredictClient) -> Signatures:
    """Fetch the model's signatures. Retries a busy server for as long as rows would be retried."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return client.signatures()
        except CallError as error:
            pause = max(error.retry_after or 0.0, random.uniform(0.05, 0.15))
            if meaning_of(error) is not Meaning.BUSY or time.monotonic() + pause > end:
                raise
        time.sleep(pause)


class Outcomes(Protocol):
    """The function of an engine."""

    def __call__(self, job: Job, names: Iterable[str], /) -> Iterator[Outcome]:
        """Yield an outcome for each name."""


def engine(name: str) -> Outcomes:
    """Import an engine by its name and return its function."""
    outcomes: Outcomes = import_module(ENGINES[name]).outcomes
    return outcomes
