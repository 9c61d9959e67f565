"""AsyncPredictClient: the asyncio version of PredictClient, with the same names and arguments."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from logging import DEBUG
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from tfs_client._calls.inference import Classify, MultiInference, Regress
from tfs_client._calls.predict import Predict
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._codec.snapshots import snapshot
from tfs_client._codec.values import are_arrays
from tfs_client._flows.asked import aliases
from tfs_client._flows.batching.arguments import BATCH_SIZE, IN_FLIGHT, InFlight, OnError, Progress
from tfs_client._flows.batching.request_sender_aio import AsyncRequestSender
from tfs_client._flows.client_options import GivenOptions
from tfs_client._flows.performing_aio import AsyncPerformer
from tfs_client._flows.settings import Settings
from tfs_client._flows.tracebacks import short_tracebacks, shorten
from tfs_client._transports.steps import Send
from tfs_client.errors import CallError, TFServingError
from tfs_client.options import (
    TLS,
    UNSET,
    CallOptions,
    ChannelOptions,
    Keepalive,
    Metadata,
    RequestId,
    RetryPolicy,
    Token,
    Unset,
    checked_timeout,
)
from tfs_client.results import Classification, Health, ModelStatus, Prediction, Regression, Reload
from tfs_client.signatures import GivenSignatures, Signatures, TensorSpec
from tfs_client.telemetry.logs import calls_log, package_log, root_log
from tfs_client.telemetry.records import Hook

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from tfs_client._flows.batching.arguments import ManyOptions
    from tfs_client.model_config import ModelServerConfig
    from tfs_client.recordings.recording import Recording

Inputs = Any  # a mapping from alias to array-like, or one array-like for a model with one input
Examples = Iterable[object] | AsyncIterable[object]


@short_tracebacks(but="predict")  # it does so itself, because a prediction makes no further call
class AsyncPredictClient:
    """Call models in TensorFlow Serving from asyncio, over gRPC or REST.

    Arguments, calls and errors are those of ``PredictClient``. ``token`` may also be a coroutine function;
    ``interceptors`` are those of ``grpc.aio``, or over REST coroutine functions.

    The client can be created without a running loop. The first call in an event loop connects, and each loop has its
    own connection. Cancelling the task of a call cancels the call. Use the client with ``async with``, or await
    ``close()``. Use a client from one thread only.
    """

    def __init__(
        self,
        target: str | Iterable[str] | None = None,
        *,
        profile: str | os.PathLike[str] | None = None,
        model: str | Unset | None = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        validate: bool | Unset = UNSET,
        cast: bool | Unset = UNSET,
        signatures: GivenSignatures | None = None,
        tls: TLS | bool | Unset | None = UNSET,
        proxy: str | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        keepalive: Keepalive | Unset | None = UNSET,
        compression: str | Unset | None = UNSET,
        interceptors: Sequence[Any] = (),
        request_id: RequestId | Unset = UNSET,
        rest_format: str | Unset = UNSET,
        channel_options: ChannelOptions | Unset | None = UNSET,
        max_reply_bytes: int | Unset | None = UNSET,
        max_inflated_bytes: int | Unset | None = UNSET,
        record: str | os.PathLike[str] | Recording | None = None,
        hooks: Hook | Sequence[Hook] = (),
    ) -> None:
        options = GivenOptions(
            profile=profile,
            model=model,
            version=version,
            label=label,
            signature=signature,
            timeout=timeout,
            metadata=metadata,
            validate=validate,
            cast=cast,
            signatures=signatures,
            tls=tls,
            proxy=proxy,
            token=token,
            retry=retry,
            keepalive=keepalive,
            compression=compression,
            interceptors=interceptors,
            request_id=request_id,
            rest_format=rest_format,
            channel_options=channel_options,
            max_reply_bytes=max_reply_bytes,
            max_inflated_bytes=max_inflated_bytes,
            record=record,
            hooks=hooks,
        )
        settings = Settings.of(target, options)
        self._set_up(settings, AsyncPerformer.of(settings, settings.shown("AsyncPredictClient")))

    # --- calls ---------------------------------------------------------------------------------------------------

    async def predict(
        self,
        inputs: Inputs,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        outputs: Iterable[str] = (),
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        compression: str | Unset | None = UNSET,
        validate: bool | Unset = UNSET,
        cast: bool | Unset = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Prediction:
        """The asyncio version of ``PredictClient.predict``.

        The inputs are copied when the coroutine starts; the caller may change them from then on.
        """
        try:
            asked = self._asked(
                model,
                version,
                label,
                signature,
                timeout,
                metadata,
                compression,
                validate,
                cast,
                retry,
                token,
                request_id,
            )
            watched = not self._direct or (calls_log.level or package_log.level or root_log.level) <= DEBUG  # no call
            if asked.retry is not None and type(inputs) is RequestArrays:
                inputs = dict(inputs)  # they may be filled again before a later attempt
            if watched or not are_arrays(inputs) or asked.validate or asked.cast or asked.token is not None:
                flows = self._performer.flows
                return await self._performer.run(
                    flows.predict(flows.handed_over(inputs, asked), asked, aliases(outputs))
                )
            # Most calls take this path: the flow of ``Predicting.predict`` in a straight line. With cold caches, its
            # generators would take as long as reading the reply does (benchmarks/comparison).
            call = Predict(asked.spec, inputs, aliases(outputs))
            performer = self._performer
            exchange = performer.flows.exchange
            try:
                transport = performer.transport or performer.connected()
                send = Send(call.path, call.write(exchange.join), asked.deadline, asked.metadata, asked.compression)
                reply = await transport.call(send)
            except CallError as error:
                return await performer.proceed(performer.flows.again(send, call, asked, error))
            if asked.retry is not None:
                exchange.retries.budget(asked.retry).succeeded()
            prediction = call.read(reply.body)
            reply.request_id, prediction._facts = asked.request_id, reply
            performer.flows.follow(prediction)
            return prediction
        except TFServingError as error:
            shorten(error, error.__traceback__)
            raise

    def predict_future(self, inputs: Inputs, **options: Any) -> Coroutine[Any, Any, Prediction]:
        """Return the coroutine of ``predict``, to be awaited or run as a task. The inputs are copied at once."""
        return self.predict(snapshot(inputs), **options)

    async def empty(
        self,
        inputs: Mapping[str, TensorSpec | tuple[Sequence[int], Any]] | None = None,
        *,
        rows: int | None = None,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        outputs: Iterable[str] = (),
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> RequestArrays:
        """The asyncio version of ``PredictClient.empty``. The arrays are read-only while ``predict`` is under way."""
        asked = self._asked(
            model,
            version,
            label,
            signature,
            timeout=timeout,
            metadata=metadata,
            retry=retry,
            token=token,
            request_id=request_id,
        )
        return await self._performer.run(self._performer.flows.empty(inputs, rows, asked, aliases(outputs)))

    async def predict_batched(
        self,
        inputs: Inputs,
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        shared: Mapping[str, object] | None = None,
        progress: Progress = False,
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """The asyncio version of ``PredictClient.predict_batched``.

        The inputs are copied when the coroutine first runs; the caller may change them after that.
        """
        from tfs_client._flows.batching import performing_aio as performing  # imported by the call, because few need it

        return await performing.predict_batched(
            self._request_sender(options), inputs, batch_size, in_flight, shared, progress
        )

    @overload
    def predict_many(
        self, examples: Examples, *, on_error: Literal["raise"] = ..., **options: Unpack[ManyOptions]
    ) -> AsyncIterator[Prediction]: ...

    @overload
    def predict_many(
        self, examples: Examples, *, on_error: OnError, **options: Unpack[ManyOptions]
    ) -> AsyncIterator[Prediction | TFServingError]: ...

    def predict_many(
        self,
        examples: Iterable[object] | AsyncIterable[object],
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        ordered: bool = True,
        on_error: OnError = "raise",
        max_delay: float | None = None,
        shared: Mapping[str, object] | None = None,
        progress: Progress = False,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[Prediction | TFServingError]:
        """The asyncio version of ``PredictClient.predict_many``: returns an asynchronous iterator.

        ``examples`` may also be an asynchronous iterable. Any other iterable is read in the event loop and blocks it
        while it is read; with ``max_delay`` a separate thread reads it.
        """
        from tfs_client._flows.batching import (  # imported by the call, because few need them
            performing_aio,
            predict_many,
        )

        plan = predict_many.Plan.of(batch_size, in_flight, ordered, on_error, max_delay, shared)
        return performing_aio.predict_many(self._request_sender(options), examples, plan, progress)

    async def classify(
        self,
        examples: Any,
        *,
        context: Any = None,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        compression: str | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Classification:
        """The asyncio version of ``PredictClient.classify``."""
        asked = self._asked(
            model,
            version,
            label,
            signature,
            timeout=timeout,
            metadata=metadata,
            compression=compression,
            retry=retry,
            token=token,
            request_id=request_id,
        )
        flow = self._performer.flows.on_examples(Classify(asked.spec, examples, context), asked)
        return await self._performer.run(flow)

    async def regress(
        self,
        examples: Any,
        *,
        context: Any = None,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        compression: str | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Regression:
        """The asyncio version of ``PredictClient.regress``."""
        asked = self._asked(
            model,
            version,
            label,
            signature,
            timeout=timeout,
            metadata=metadata,
            compression=compression,
            retry=retry,
            token=token,
            request_id=request_id,
        )
        flow = self._performer.flows.on_examples(Regress(asked.spec, examples, context), asked)
        return await self._performer.run(flow)

    async def multi_inference(
        self,
        examples: Any,
        *,
        tasks: Mapping[str, str],
        context: Any = None,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        compression: str | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> dict[str, Classification | Regression]:
        """The asyncio version of ``PredictClient.multi_inference``."""
        asked = self._asked(
            model,
            version,
            label,
            None,
            timeout=timeout,
            metadata=metadata,
            compression=compression,
            retry=retry,
            token=token,
            request_id=request_id,
        )
        call = MultiInference(asked.spec, examples, tasks, context)
        results = await self._performer.run(self._performer.flows.on_examples(call, asked))
        return dict(zip(call.tasks, results, strict=True))

    async def signatures(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        from_server: bool = False,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Signatures:
        """The asyncio version of ``PredictClient.signatures``."""
        asked = self._asked(
            model,
            version,
            label,
            None,
            timeout=timeout,
            metadata=metadata,
            retry=retry,
            token=token,
            request_id=request_id,
        )
        return await self._performer.run(self._performer.flows.signatures(asked, from_server=from_server))

    async def status(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> ModelStatus:
        """The asyncio version of ``PredictClient.status``."""
        asked = self._asked(
            model,
            version,
            UNSET,
            None,
            timeout=timeout,
            metadata=metadata,
            retry=retry,
            token=token,
            request_id=request_id,
        ).unlabelled()
        return await self._performer.run(self._performer.flows.send(GetModelStatus(asked.spec), asked))

    async def is_ready(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> bool:
        """The asyncio version of ``PredictClient.is_ready``."""
        asked = self._asked(
            model,
            version,
            label,
            None,
            timeout=timeout,
            metadata=metadata,
            retry=retry,
            token=token,
            request_id=request_id,
        )
        return await self._performer.run(self._performer.flows.is_ready(asked))

    async def wait_until_ready(
        self,
        timeout: float | None = 30.0,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> None:
        """The asyncio version of ``PredictClient.wait_until_ready``."""
        asked = self._asked(
            model,
            version,
            label,
            None,
            timeout=checked_timeout(timeout),
            metadata=metadata,
            token=token,
            request_id=request_id,
        )
        await self._performer.run(self._performer.flows.wait_until_ready(asked))

    async def reload_config(
        self,
        config: ModelServerConfig,
        *,
        metrics: Sequence[str] = (),
        wait: bool = False,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Reload:
        """The asyncio version of ``PredictClient.reload_config``."""
        flow = self._performer.flows.reload(
            config, metrics, self._of_server(timeout, metadata, retry, token, request_id), wait=wait
        )
        return await self._performer.run(flow)

    async def models(
        self,
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> tuple[str, ...]:
        """The asyncio version of ``PredictClient.models``."""
        return await self._performer.run(
            self._performer.flows.models(self._of_server(timeout, metadata, retry, token, request_id))
        )

    async def current_config(
        self,
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> ModelServerConfig:
        """The asyncio version of ``PredictClient.current_config``."""
        return await self._performer.run(
            self._performer.flows.current_config(self._of_server(timeout, metadata, retry, token, request_id))
        )

    async def health(
        self,
        service: str = "",
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Health:
        """The asyncio version of ``PredictClient.health``."""
        return await self._performer.run(
            self._performer.flows.health(service, self._of_server(timeout, metadata, retry, token, request_id))
        )

    def with_options(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        signature: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        validate: bool | Unset = UNSET,
        cast: bool | Unset = UNSET,
        compression: str | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
        hooks: Hook | Sequence[Hook] | Unset = UNSET,
    ) -> Self:
        """The asyncio version of ``PredictClient.with_options``: not a coroutine, because it makes no call."""
        settings = self._settings.derived(
            hooks,
            model=model,
            version=version,
            label=label,
            signature=signature,
            timeout=timeout,
            metadata=metadata,
            compression=compression,
            validate=validate,
            cast=cast,
            retry=retry,
            token=token,
            request_id=request_id,
        )
        performer = self._performer.with_settings(settings, settings.shown("AsyncPredictClient"))
        client = type(self).__new__(type(self))
        client.__dict__.update(self.__dict__)  # a subclass may have attributes of its own
        client._set_up(settings, performer)
        return client

    async def close(self) -> None:
        """Cancel running calls and release the connections. May be called again.

        With ``record=`` it raises as ``PredictClient.close`` does.
        """
        await self._performer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except TFServingError:  # from a recording
            if error is None:
                raise

    def __del__(self, _warn: Any = warnings.warn, _program_ends: Any = sys.is_finalizing) -> None:
        performer = getattr(self, "_performer", None)  # missing if the constructor failed
        if performer is not None and not (performer.closed or performer.derived or _program_ends()):
            _warn(f"unclosed {self!r}: use it with async with, or await close()", ResourceWarning, source=self)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the configuration; the unpickled client makes its own connection."""
        return _made, (type(self), self._settings)

    def __repr__(self) -> str:
        return self._settings.shown("AsyncPredictClient")

    # --- setting up ----------------------------------------------------------------------------------------------

    def _set_up(self, settings: Settings, performer: AsyncPerformer) -> None:
        self._settings = settings
        self._asked = settings.defaults.asked
        self._of_server = settings.defaults.of_server
        self._direct = settings.direct
        self._performer = performer

    def _request_sender(self, options: CallOptions) -> AsyncRequestSender:
        """Return a sender of requests, for a batch call or a micro batcher."""
        return AsyncRequestSender(self._performer, self._settings.defaults, options)


def _made(kind: type[AsyncPredictClient], settings: Settings) -> AsyncPredictClient:
    client = kind.__new__(kind)
    client._set_up(settings, AsyncPerformer.of(settings, settings.shown("AsyncPredictClient")))
    return client
