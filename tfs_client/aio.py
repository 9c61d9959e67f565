"""AsyncPredictClient: the asyncio version of PredictClient, with the same names and arguments."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfs_client.batching.calls import AsyncBatchedCalls
from tfs_client.calls.inference import Classify, MultiInference, Regress
from tfs_client.calls.predict import Predict
from tfs_client.calls.status import GetModelStatus
from tfs_client.codec.snapshots import snapshot
from tfs_client.codec.values import are_arrays
from tfs_client.defaults import aliases
from tfs_client.errors import CallError
from tfs_client.options import (
    DEFAULT_TIMEOUT,
    MAX_INFLATED,
    TLS,
    UNSET,
    ChannelOptions,
    Keepalive,
    Metadata,
    RetryPolicy,
    Token,
    Unset,
    checked_timeout,
)
from tfs_client.performing_aio import AsyncPerformer
from tfs_client.results import Classification, Health, ModelStatus, Prediction, Regression, Reload
from tfs_client.settings import Settings
from tfs_client.signatures import GivenSignatures, Signatures
from tfs_client.steps import Send

if TYPE_CHECKING:
    from tfs_client.model_config import ModelServerConfig

Inputs = Any  # a mapping from alias to array-like, or one array-like for a model with one input


class AsyncPredictClient(AsyncBatchedCalls):
    """Calls models in TensorFlow Serving from asyncio, over gRPC or REST.

    Arguments, calls and errors are those of ``PredictClient``; ``token`` may also be a coroutine function, and
    interceptors are those of ``grpc.aio``, or over REST coroutine functions.

    No loop needs to run where it is made. The connection is made by the first call and belongs to its loop; a call in
    another loop makes another. Cancelling the task of a call cancels the call. Use the client with ``async with``, or
    await ``close()``. Calls of one client belong in one thread.
    """

    def __init__(
        self,
        target: str | Iterable[str],
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        metadata: Metadata | None = None,
        validate: bool = False,
        cast: bool = False,
        signatures: GivenSignatures | None = None,
        tls: TLS | bool | None = None,
        proxy: str | Unset | None = UNSET,
        token: Token | None = None,
        retry: RetryPolicy | None = None,
        keepalive: Keepalive | None = None,
        compression: str | None = None,
        interceptors: Sequence[Any] = (),
        request_id: bool | Callable[[], str] = False,
        rest_format: str = "auto",
        channel_options: ChannelOptions | None = None,
        max_reply_bytes: int | None = None,
        max_inflated_bytes: int | None = MAX_INFLATED,
    ) -> None:
        settings = Settings.of(
            target,
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
        )
        self._set_up(settings)

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
    ) -> Prediction:
        """The asyncio version of ``PredictClient.predict``.

        The inputs are copied when the coroutine first runs; the caller may change them after that.
        """
        asked = self._asked(model, version, label, signature, timeout, metadata, compression, validate, cast)
        if not self._direct or not are_arrays(inputs) or asked.validate or asked.cast:
            flows = self._performer.flows
            return await self._performer.run(flows.predict(flows.handed_over(inputs, asked), asked, aliases(outputs)))
        # The way most calls go is the flow's in a straight line: between cold caches its generators would take as long
        # as reading the reply does (benchmarks/overhead.py).
        call = Predict(asked.spec, inputs, aliases(outputs))
        performer = self._performer
        transport = performer.transport or performer.connected()
        send = Send(call.path, call.write(transport.join), asked.deadline, asked.metadata, asked.compression)
        try:
            reply = await transport.call(send)
        except CallError as error:
            return await performer.run(performer.flows.again(send, call, asked, error))
        if (budget := performer.flows.exchange.budget) is not None:
            budget.succeeded()
        prediction = call.read(reply)
        performer.flows.follow(prediction)
        return prediction

    def predict_future(self, inputs: Inputs, **options: Any) -> Coroutine[Any, Any, Prediction]:
        """The coroutine of ``predict``: await it, or make a task of it. The inputs are copied at once."""
        return self.predict(snapshot(inputs), **options)

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
    ) -> Classification:
        """Awaited twin of ``PredictClient.classify``."""
        asked = self._asked(model, version, label, signature, timeout, metadata, compression)
        return await self._performer.run(
            self._performer.flows.on_examples(Classify(asked.spec, examples, context), asked)
        )

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
    ) -> Regression:
        """Awaited twin of ``PredictClient.regress``."""
        asked = self._asked(model, version, label, signature, timeout, metadata, compression)
        return await self._performer.run(
            self._performer.flows.on_examples(Regress(asked.spec, examples, context), asked)
        )

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
    ) -> dict[str, Classification | Regression]:
        """Awaited twin of ``PredictClient.multi_inference``."""
        asked = self._asked(model, version, label, None, timeout, metadata, compression)
        call = MultiInference(asked.spec, examples, tasks, context)
        results = await self._performer.run(self._performer.flows.on_examples(call, asked))
        return dict(zip(call.tasks, results, strict=True))

    async def signatures(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> Signatures:
        """Awaited twin of ``PredictClient.signatures``."""
        return await self._performer.run(
            self._performer.flows.signatures(self._asked(model, version, label, None, timeout, metadata))
        )

    async def status(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> ModelStatus:
        """Awaited twin of ``PredictClient.status``."""
        asked = self._asked(model, version, UNSET, None, timeout, metadata).unlabelled()
        return await self._performer.run(self._performer.flows.send(GetModelStatus(asked.spec), asked))

    async def is_ready(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> bool:
        """Awaited twin of ``PredictClient.is_ready``."""
        return await self._performer.run(
            self._performer.flows.is_ready(self._asked(model, version, label, None, timeout, metadata))
        )

    async def wait_until_ready(
        self,
        timeout: float | None = 30.0,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> None:
        """Awaited twin of ``PredictClient.wait_until_ready``."""
        asked = self._asked(model, version, label, None, checked_timeout(timeout), metadata)
        await self._performer.run(self._performer.flows.wait_until_ready(asked))

    async def reload_config(
        self,
        config: ModelServerConfig,
        *,
        metrics: Sequence[str] = (),
        wait: bool = False,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> Reload:
        """Awaited twin of ``PredictClient.reload_config``."""
        return await self._performer.run(
            self._performer.flows.reload(config, metrics, self._any_model(timeout, metadata), wait=wait)
        )

    async def health(
        self,
        service: str = "",
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> Health:
        """Awaited twin of ``PredictClient.health``."""
        return await self._performer.run(self._performer.flows.health(service, self._any_model(timeout, metadata)))

    async def close(self) -> None:
        """Cancel calls that are under way and release the connection. May be called again."""
        await self._performer.close()

    async def __aenter__(self) -> AsyncPredictClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self, _warn: Any = warnings.warn, _program_ends: Any = sys.is_finalizing) -> None:
        performer = getattr(self, "_performer", None)  # None where making the client failed
        if performer is not None and not performer.closed and not _program_ends():
            _warn(f"unclosed {self!r}: use it with async with, or await close()", ResourceWarning, source=self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A client is pickled by its configuration; where it is unpickled it makes a connection of its own."""
        return _made, (type(self), self._settings)

    def __repr__(self) -> str:
        return self._settings.shown("AsyncPredictClient")

    # --- setting up ----------------------------------------------------------------------------------------------

    def _set_up(self, settings: Settings) -> None:
        self._settings = settings
        self._asked = settings.defaults.asked
        self._any_model = settings.defaults.of_server
        self._direct = settings.direct
        self._performer = AsyncPerformer(settings, repr(self))


def _made(kind: type[AsyncPredictClient], settings: Settings) -> AsyncPredictClient:
    client = kind.__new__(kind)
    client._set_up(settings)
    return client
