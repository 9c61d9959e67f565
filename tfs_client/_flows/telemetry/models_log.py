"""ModelsLog: what the log says about the versions and signatures of the models that a session calls."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.asked import described
from tfs_client._printable import listed
from tfs_client._transports.log_records import write
from tfs_client.signatures import Signatures
from tfs_client.telemetry.logs import models_log, one_line

PERIOD = 60.0  # seconds
MOST_CHANGES = 4  # of the version of one model that are logged within a period
MOST_FETCHES = 10  # for calls of one model within a period; over REST one is normal
MOST_MODELS = 256  # of which something is remembered

_Key = tuple[str, int | None, str | None]  # model, version and label


@dataclass(eq=False)
class _Model:
    """What the log knows about a model, or a version or label of it.

    Attributes:
        version: the one that answered last; None before the first answer.
        signatures: those fetched last; None before the first look-up.
        changes: when changes of either were logged.
        fetches: when look-ups for calls have ended.
        warned: when the log last warned of them.
    """

    version: int | None = None
    signatures: Signatures | None = None
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_CHANGES))
    fetches: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_FETCHES))
    warned: float = -PERIOD


class ModelsLog:
    """Logs changes of models as the calls notice them.

    Args:
        clock: returns the time in seconds.
    """

    # While a new version is rolled out, replicas may serve different ones, and calls alternate between them; a gateway
    # may have a model of that name for each caller. So only the first changes within a period are logged.

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: dict[_Key, _Model] = {}  # the last used one at the end

    def answered(self, spec: ModelSpec, version: int | None) -> None:
        """A version has answered a prediction; None if the reply does not name it."""
        if version is None:
            return
        model = self._model(spec)
        before, model.version = model.version, version
        if before is None or before == version or not self._may_report(model):
            return
        write(
            models_log,
            logging.INFO,
            "%s: now answered by version %d, before by version %d",
            one_line(described(spec)),
            version,
            before,
            extra={**_fields(spec), "version": version, "before": before},
        )

    def fetched(self, spec: ModelSpec, signatures: Signatures) -> None:
        """Signatures were fetched."""
        known = self._model(spec)
        before, known.signatures = known.signatures, signatures
        fields = {**_fields(spec), "version": signatures.version, "signatures": sorted(map(one_line, signatures))}
        names = one_line(listed(sorted(signatures)))
        model = one_line(described(spec))
        if before is None:
            write(models_log, logging.INFO, "fetched the signatures of %s: %s", model, names, extra=fields)
        elif before != signatures and self._may_report(known):
            write(models_log, logging.INFO, "the signatures of %s changed: %s", model, names, extra=fields)
        elif before == signatures:
            write(models_log, logging.DEBUG, "fetched the signatures of %s again: %s", model, names, extra=fields)

    def looked_up(self, spec: ModelSpec, began: float) -> None:
        """A look-up of signatures for a call has ended. Warns once per period if that happens again and again.

        Of look-ups that overlap, only the first that ends counts: calls that begin at the same time all make one.
        """
        model, now = self._model(spec), self._clock()
        times = model.fetches
        if times and began < times[-1]:
            return
        times.append(now)
        if len(times) < MOST_FETCHES or now - times[0] > PERIOD or now - model.warned < PERIOD:
            return
        model.warned = now
        write(
            models_log,
            logging.WARNING,
            "the signatures of %s were fetched %d times within %.0f s, so calls take longer: check that inputs fit the "
            "signature and that the server accepts the calls; or pass signatures=",
            one_line(described(spec)),
            MOST_FETCHES,
            PERIOD,
            extra={**_fields(spec), "fetches": MOST_FETCHES},
        )

    def _model(self, spec: ModelSpec) -> _Model:
        key = spec.name, spec.version, spec.label
        model = self._models.pop(key) if key in self._models else _Model()
        self._models[key] = model
        if len(self._models) > MOST_MODELS:
            del self._models[next(iter(self._models))]
        return model

    def _may_report(self, model: _Model) -> bool:
        """Whether a change may be logged; if so, it counts."""
        now, changes = self._clock(), model.changes
        if len(changes) == MOST_CHANGES and now - changes[0] <= PERIOD:
            return False
        changes.append(now)
        return True


def _fields(spec: ModelSpec) -> dict[str, object]:
    return {"model": one_line(spec.name), "version": spec.version, "label": spec.label}
