"""The batch calls of the clients, and the check of what they were told."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from tfs_client.defaults import aliases
from tfs_client.errors import ConfigError, TFServingError
from tfs_client.futures import answers_come_here
from tfs_client.results import Prediction
from tfs_client.shown import shown

if TYPE_CHECKING:  # every client has these methods, and most never call them: what they need is imported by the call
    from concurrent.futures import Future

    from typing_extensions import Unpack

    from tfs_client.batching.many import Plan
    from tfs_client.defaults import CallOptions
    from tfs_client.performing import Performer
    from tfs_client.performing_aio import AsyncPerformer
    from tfs_client.settings import Settings

OnError = Literal["raise", "return"]
InFlight = int | Literal["auto"]

BATCH_SIZE = 32
IN_FLIGHT = 4
MAX_DELAY = 3600.0  # seconds


class BatchedCalls:
    """What PredictClient does with many rows, and with many examples."""

    _settings: Settings
    _performer: Performer

    def predict_batched(
        self,
        inputs: Any,
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        shared: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """Run a model on many rows: split along axis 0, sent in parts, and put together again in order.

        Args:
            inputs: as for ``predict``; all of one length along axis 0.
            batch_size: rows in a request, at the most. When the server says that it takes fewer, fewer are sent.
            in_flight: how many requests are under way at once; "auto" finds out how many the server works on. Fewer
                are while the server refuses some.
            shared: inputs that go whole with every request, such as a height and a width.
            options: those of ``predict``; ``timeout`` is that of each request.

        Returns what one request with everything would, for models that compute rows one by one. Where several versions
        answered because they were swapped meanwhile, ``.model.version`` is None.

        While the server is busy, rows wait and are sent again, as long as it answers others, or half a minute.

        Raises what ``predict`` does, telling which rows it was about; requests that are still under way are cancelled.
        SignatureError for inputs that cannot be split, and outputs that cannot be put together.
        """
        from tfs_client.batching.blocking import batched
        from tfs_client.batching.pace import pace_of
        from tfs_client.batching.rows import Rows

        rows, pace = Rows(inputs, shared), pace_of(in_flight)
        call = partial(self._paced, **self._settings.defaults.checked(options))
        return batched(call, rows, checked_batch_size(batch_size), pace, self._check_thread)

    @overload
    def predict_many(
        self,
        examples: Iterable[Any],
        *,
        batch_size: int = ...,
        in_flight: InFlight = ...,
        ordered: bool = ...,
        on_error: Literal["raise"] = ...,
        max_delay: float | None = ...,
        shared: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_many(
        self,
        examples: Iterable[Any],
        *,
        batch_size: int = ...,
        in_flight: InFlight = ...,
        ordered: bool = ...,
        on_error: OnError,
        max_delay: float | None = ...,
        shared: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> Iterator[Prediction | TFServingError]: ...

    def predict_many(
        self,
        examples: Iterable[Any],
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        ordered: bool = True,
        on_error: OnError = "raise",
        max_delay: float | None = None,
        shared: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Iterator[Any]:
        """Run a model on any number of examples, one by one from the outside, in batches on the wire.

        Args:
            examples: an iterable, however long: a list, a generator, a file. Each example is a mapping from input alias
                to array-like, or one array-like, without the batch axis. Those of one shape and dtype share requests.
            batch_size, in_flight, shared, options: as for ``predict_batched``.
            ordered: results come in the order of the examples; otherwise as soon as they are there. Results and errors
                have the place of their example in ``.example``.
            on_error: "raise" raises the first error, in its example's place; "return" gives the errors among the
                results.
            max_delay: seconds after which examples are sent though their batch is not full, for sources that pause. The
                source is then read in a thread of its own; else in the caller's, while requests are under way.

        Returns an iterator with a ``Prediction`` for each example, whose arrays have no batch axis. It works while it
        is asked for results, and never reads more than ``in_flight`` times ``batch_size`` examples ahead of them.
        Closing it cancels what is under way.

        An example that the model refuses fails alone: the others of its request are sent again without it. Those that
        do not fit the signature fail together, by one request: ``mismatch`` of their errors is True. While the
        server is busy (its threads, its queue or a quota are exhausted), examples wait and are sent again, as long as
        it answers others of them, or half a minute. What the source raises comes after the results before.

        Each example is copied before the source is asked for the next, so a source may fill one array again and again.
        The arrays of results are views of the reply to their batch and keep all of it alive.
        """
        from tfs_client.batching.blocking import many

        plan = plan_of(batch_size, in_flight, ordered, on_error, max_delay, shared)
        call = partial(self._paced, **self._settings.defaults.checked(options))
        return many(call, checked_iterable(examples, (Iterable,)), plan, self._check_thread)

    def _paced(self, inputs: Any, *, outputs: Iterable[str] = (), **options: Any) -> Future[Prediction]:
        """``predict_future`` for batches: nobody changes the inputs any more, so that no copy is needed, and while the
        server is busy the batch itself slows down and sends again.
        """
        asked = self._settings.defaults.asked(**options)._replace(paced=True)
        return self._performer.begin(self._performer.flows.predict(inputs, asked, aliases(outputs)))

    def _check_thread(self) -> None:
        """Raise ConfigError in a thread that would wait for ever for an answer."""
        if answers_come_here(self._performer.transport):
            raise ConfigError(
                "this is a callback of a future, in the thread that brings the answers: waiting for more of them here "
                "would never end; hand the work to a thread of your own, or go on with predict_future and callbacks"
            )


class AsyncBatchedCalls:
    """What AsyncPredictClient does with many rows, and with many examples."""

    _settings: Settings
    _performer: AsyncPerformer

    async def predict_batched(
        self,
        inputs: Any,
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        shared: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """The asyncio version of ``PredictClient.predict_batched``.

        It copies the inputs when it first runs, so a task's caller may change them from then on.
        """
        from tfs_client.batching.awaited import batched
        from tfs_client.batching.pace import pace_of
        from tfs_client.batching.rows import Rows

        rows, pace = Rows(inputs, shared, own=True), pace_of(in_flight)
        call = partial(self._paced, **self._settings.defaults.checked(options))
        return await batched(call, rows, checked_batch_size(batch_size), pace)

    @overload
    def predict_many(
        self,
        examples: Iterable[Any] | AsyncIterable[Any],
        *,
        batch_size: int = ...,
        in_flight: InFlight = ...,
        ordered: bool = ...,
        on_error: Literal["raise"] = ...,
        max_delay: float | None = ...,
        shared: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[Prediction]: ...

    @overload
    def predict_many(
        self,
        examples: Iterable[Any] | AsyncIterable[Any],
        *,
        batch_size: int = ...,
        in_flight: InFlight = ...,
        ordered: bool = ...,
        on_error: OnError,
        max_delay: float | None = ...,
        shared: Mapping[str, Any] | None = ...,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[Prediction | TFServingError]: ...

    def predict_many(
        self,
        examples: Iterable[Any] | AsyncIterable[Any],
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        ordered: bool = True,
        on_error: OnError = "raise",
        max_delay: float | None = None,
        shared: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[Any]:
        """Twin of ``PredictClient.predict_many``: an asynchronous iterator, also of asynchronous iterables.

        A source that is not asynchronous is read in the loop, which stands still meanwhile; with ``max_delay`` it is
        read in a thread of its own.
        """
        from tfs_client.batching.awaited import many

        plan = plan_of(batch_size, in_flight, ordered, on_error, max_delay, shared)
        call = partial(self._paced, **self._settings.defaults.checked(options))
        return many(call, checked_iterable(examples, (Iterable, AsyncIterable)), plan)

    async def _paced(self, inputs: Any, *, outputs: Iterable[str] = (), **options: Any) -> Prediction:
        """The asyncio version of ``BatchedCalls._paced``."""
        asked = self._settings.defaults.asked(**options)._replace(paced=True)
        return await self._performer.run(self._performer.flows.predict(inputs, asked, aliases(outputs)))


def plan_of(
    batch_size: object, in_flight: object, ordered: bool, on_error: object, max_delay: object, shared: Any
) -> Plan:
    """How examples are sent. Raises ConfigError for what makes no sense, EncodeError for shared inputs."""
    from tfs_client.batching.many import Plan
    from tfs_client.batching.pace import pace_of
    from tfs_client.codec.snapshots import read_named

    if on_error not in ("raise", "return"):
        raise ConfigError(f"expected on_error='raise' or 'return', got {shown(on_error)}")
    return Plan(
        checked_batch_size(batch_size),
        pace_of(in_flight),
        bool(ordered),
        on_error == "raise",
        None if max_delay is None else checked_delay(max_delay),
        read_named(shared or {}, "shared input", own=True),
    )


def checked_batch_size(size: object) -> int:
    """A number of rows. Raises ConfigError."""
    try:
        rows = 0 if isinstance(size, bool) else operator.index(size)  # type: ignore[arg-type]  # numpy's integers too
    except TypeError:
        rows = 0
    if rows < 1:
        raise ConfigError(f"expected a batch size of at least 1, got {shown(size)}")
    return rows


def checked_delay(seconds: object) -> float:
    """Seconds that may pass. Raises ConfigError."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= MAX_DELAY:
        raise ConfigError(f"expected max_delay in seconds, from 0 to {MAX_DELAY:g}, got {shown(seconds)}")
    return float(seconds)


def checked_iterable(examples: Any, kinds: tuple[type, ...]) -> Any:
    """Something that gives examples, in its own order. Raises ConfigError; EncodeError for a table."""
    from tfs_client.codec.containers import refuse_table, rows

    refuse_table(examples)
    if not isinstance(examples, kinds) or isinstance(examples, (str, bytes, Mapping)):
        raise ConfigError(
            f"expected an iterable of examples, got {type(examples).__name__}"
            + ("; one mapping of whole arrays is for predict_batched" if isinstance(examples, Mapping) else "")
        )
    if isinstance(examples, (set, frozenset)) or getattr(examples, "shape", None) == ():
        raise ConfigError(f"expected ordered examples, got {shown(examples)}; pass a list")
    # A column of Arrow gives its own scalars when iterated over.
    return rows(examples) if hasattr(type(examples), "to_pylist") else examples
