"""PredictClient: blocking calls, and futures."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfs_client.batching.calls import BatchedCalls
from tfs_client.calls.inference import Classify, MultiInference, Regress
from tfs_client.calls.predict import Predict
from tfs_client.calls.status import GetModelStatus
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
from tfs_client.performing import Performer
from tfs_client.results import Classification, Health, ModelStatus, Prediction, Regression, Reload
from tfs_client.settings import Settings
from tfs_client.signatures import GivenSignatures, Signatures
from tfs_client.steps import Send

if TYPE_CHECKING:
    from tfs_client.model_config import ModelServerConfig

Inputs = Any  # a mapping from alias to array-like, or one array-like for a model with one input


class PredictClient(BatchedCalls):
    """Calls models in TensorFlow Serving, over gRPC or REST.

    Args:
        target: over gRPC ``"host:port"``, ``"dns:///name:port"`` or ``"unix:/path"``, the server's gRPC port, usually
            8500; or a list of ``"host:port"``, replicas that share the calls. Over REST ``"http://host:port"`` or
            ``"https://…"``, usually port 8501.
        model: the model that calls are for, unless they name another.
        version: a version number; None leaves the choice to the server (the highest that is ready).
        label: a version label, such as "stable"; not together with ``version``.
        signature: the signature to run; None means ``serving_default``.
        timeout: seconds a call may take in all, retries included; None means no limit.
        metadata: pairs sent with every call; HTTP headers over REST.
        validate: check the inputs of predict against the model's signature before they are sent.
        cast: cast input arrays to the signature's dtypes where every value survives.
        signatures: those of ``model``, for servers that have no metadata, which are then never asked for: Signatures,
            the JSON of ``/metadata`` (text, bytes, or parsed), or the path of a SavedModel's folder.
        tls: True for TLS with the authorities that the system trusts, or a TLS with certificates of yours.
        proxy: the URL of the proxy to use, as in ``"http://user:password@host:3128"``, or None for no proxy; by default
            the environment's settings apply.
        token: sent with every call as a bearer token; or a function that gives it, called for every call.
        retry: which failed calls are tried again; None for none.
        keepalive: how quiet connections are looked after; None when they are not.
        compression: of requests: "gzip", "deflate" (gRPC only) or None.
        interceptors: gRPC's own client interceptors, or OpenTelemetry's; over REST functions that get each
            httpx.Request before it goes.
        request_id: True sends a new ``x-request-id`` with every call; or a function that gives it. Errors tell it.
        rest_format: "row", "columnar", or "auto" for the one that fits.
        channel_options: gRPC channel arguments, e.g. ``{"grpc.max_receive_message_length": 1 << 26}``. They come on
            top of the client's own, which allow messages of any size.
        max_reply_bytes: the most bytes that a reply may have; None for no limit.
        max_inflated_bytes: the most bytes that a compressed reply may inflate to, 100 MiB by default; None for no
            limit, which lets a few kilobytes from a server fill the memory.

    The connection is made by the first call, and made again when it is lost. Use the client as a context manager, or
    call ``close()``. All methods may be called from any
    thread. A pickled client is made anew from its configuration; a forked process makes a
    connection of its own.

    Per call, ``model``, ``version``, ``label``, ``signature``, ``timeout``, ``metadata``, ``compression``,
    ``validate`` and ``cast`` take the place of the client's. A call that names another model does not inherit
    version, label and signature, which belong to the first.

    Raises ConfigError for options that make no sense; the calls raise CallError with a class for each status code:
    ResourceExhaustedError for a reply over these limits.
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

    def predict(
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
        """Run a model.

        Args:
            inputs: arrays by input alias; or a single array for a signature with one input, whose name and dtype then
                come from the model's signature (asked for once, then remembered). Arrays keep their dtype, strings
                become bytes. Python numbers, and lists of them, have no dtype: they get that of the signature, or where
                the server has no metadata, int32 (int64 or uint64 when too large) and float32.
            cast: arrays get the signature's dtype too, where every value survives: integers must be in range and
                exact, floats may lose digits but not become infinite, and become integers only when they are whole.
            outputs: aliases of the outputs to compute and send; none means all.

        Returns the outputs as a mapping from alias to read-only array, with ``.model`` and ``.array``.

        A whole table, such as a pandas.DataFrame, is refused with the ways to say what it means: its columns could be
        inputs by name, or one axis of a single input. As the value of one input it is an array of rows and columns.

        Raises EncodeError and SignatureError for inputs that cannot be sent, CallError for what the server or the way
        to it refuses, DecodeError for a reply that makes no sense.
        """
        asked = self._asked(model, version, label, signature, timeout, metadata, compression, validate, cast)
        if not self._direct or not are_arrays(inputs) or asked.validate or asked.cast:
            return self._performer.run(self._performer.flows.predict(inputs, asked, aliases(outputs)))
        # The way most calls go is the flow's in a straight line: between cold caches its generators would take as long
        # as reading the reply does (benchmarks/overhead.py).
        call = Predict(asked.spec, inputs, aliases(outputs))
        performer = self._performer
        transport = performer.transport or performer.connected()
        send = Send(call.path, call.write(transport.join), asked.deadline, asked.metadata, asked.compression)
        try:
            reply = transport.call(send)
        except CallError as error:
            return performer.run(performer.flows.again(send, call, asked, error))
        if (budget := performer.flows.exchange.budget) is not None:
            budget.succeeded()
        prediction = call.read(reply)
        performer.flows.follow(prediction)
        return prediction

    def predict_future(
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
    ) -> Future[Prediction]:
        """Like ``predict``, but returns at once with a ``concurrent.futures.Future``.

        ``as_completed`` and ``wait`` work. Over gRPC ``cancel()`` reaches the server, and callbacks run in the thread
        that brings all answers: they should be short, and wait for no other future. ``predict`` works in them, while
        the batch calls raise ConfigError. Over REST a few threads make the calls, and one under way cannot be
        cancelled. What keeps the first message from being sent raises here; what happens later is raised by
        ``result()``. The inputs are copied, so you may change them as soon as this returns.
        """
        asked = self._asked(model, version, label, signature, timeout, metadata, compression, validate, cast)
        inputs = self._performer.flows.handed_over(inputs, asked)
        return self._performer.begin(self._performer.flows.predict(inputs, asked, aliases(outputs)))

    def classify(
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
        """Classes and scores for examples.

        Args:
            examples: a list with a mapping from feature to value for each example, or a list of serialized
                tf.Examples, or one mapping from feature to a column with a value for each example. Integers and bools
                become int64 features, floats float features, text and bytes bytes features; None leaves one out.
                Columns may be those of pandas, Polars, Arrow or xarray: rows are positions, whatever their labels, and
                what is marked as missing is left out. A whole table is refused: ``dict(df)`` gives its columns.
            context: features that all examples share; an example's own feature of the same name counts.

        Raises EncodeError, which names the example and the feature, for what no example can hold.
        """
        asked = self._asked(model, version, label, signature, timeout, metadata, compression)
        return self._performer.run(self._performer.flows.on_examples(Classify(asked.spec, examples, context), asked))

    def regress(
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
        """A value for each example; examples and context are those of ``classify``."""
        asked = self._asked(model, version, label, signature, timeout, metadata, compression)
        return self._performer.run(self._performer.flows.on_examples(Regress(asked.spec, examples, context), asked))

    def multi_inference(
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
        """Several signatures of a model on the same examples, in one call. REST does not have it.

        Args:
            examples, context: those of ``classify``.
            tasks: for each signature "classify" or "regress".

        Returns a result for each signature. One that fails fails the whole call.
        """
        asked = self._asked(model, version, label, None, timeout, metadata, compression)
        call = MultiInference(asked.spec, examples, tasks, context)
        results = self._performer.run(self._performer.flows.on_examples(call, asked))
        return dict(zip(call.tasks, results, strict=True))

    def signatures(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> Signatures:
        """The model's signatures by name; ``print`` shows them as a table.

        They come from the server, or from ``signatures=`` if the client has that option.
        """
        return self._performer.run(
            self._performer.flows.signatures(self._asked(model, version, label, None, timeout, metadata))
        )

    def status(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> ModelStatus:
        """The states of the model's versions: all that the server has seen, or the one asked for.

        A server of KServe's v1 protocol reports no versions: ``versions`` is empty, and ``ready`` what the server says.

        Raises NotFoundError when the server never saw the model, or the version; UnavailableError from KServe for a
        model that is not ready.
        """
        asked = self._asked(model, version, UNSET, None, timeout, metadata).unlabelled()
        return self._performer.run(self._performer.flows.send(GetModelStatus(asked.spec), asked))

    def is_ready(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> bool:
        """Whether the server can be reached and a version of the model (or the one asked for) answers calls.

        Errors that time does not heal, such as a refused token, are raised.
        """
        return self._performer.run(
            self._performer.flows.is_ready(self._asked(model, version, label, None, timeout, metadata))
        )

    def wait_until_ready(
        self,
        timeout: float | None = 30.0,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> None:
        """Return as soon as ``is_ready``; the server may still be starting.

        Args:
            timeout: seconds to wait in all; None waits for ever.

        Raises DeadlineExceededError, which says what was missing last.
        """
        asked = self._asked(model, version, label, None, checked_timeout(timeout), metadata)
        self._performer.run(self._performer.flows.wait_until_ready(asked))

    def reload_config(
        self,
        config: ModelServerConfig,
        *,
        metrics: Sequence[str] = (),
        wait: bool = False,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> Reload:
        """Give the server another configuration, in place of all it has. REST does not have it.

        Args:
            config: the models to serve from now on; those left out are unloaded. ``config.difference(base)`` tells
                what changes against another configuration.
            metrics: names of metrics whose growth during the reload is to be told.
            wait: return only when every model is served as the configuration says.
            timeout: seconds for all of it. The server answers when all new models are loaded, and never for a base
                path that holds no version.

        Raises InvalidArgumentError and FailedPreconditionError for a configuration that the server refuses, and for
        one whose models cannot be loaded.
        """
        return self._performer.run(
            self._performer.flows.reload(config, metrics, self._any_model(timeout, metadata), wait=wait)
        )

    def health(
        self,
        service: str = "",
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> Health:
        """What gRPC's health service says of a service; "" stands for the whole server.

        TensorFlow Serving has it with ``--enable_grpc_healthcheck_service``, under the names ``ModelService`` and
        ``PredictionService``. Raises UnimplementedError for a server without it, and over REST; NotFoundError for a
        service that it does not know.
        """
        return self._performer.run(self._performer.flows.health(service, self._any_model(timeout, metadata)))

    def close(self) -> None:
        """Cancel calls that are under way and release the connection. May be called again."""
        self._performer.close()

    def __enter__(self) -> PredictClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Any = warnings.warn, _program_ends: Any = sys.is_finalizing) -> None:
        # It does not close: that takes locks, which whoever let go of the client may hold, and waits for threads, which
        # do not run any more when the program ends. gRPC and the sockets release the connection themselves.
        performer = getattr(self, "_performer", None)  # None where making the client failed
        if performer is not None and not performer.closed and not _program_ends():
            _warn(f"unclosed {self!r}: use it as a context manager or call close()", ResourceWarning, source=self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A client is pickled by its configuration; where it is unpickled it makes a connection of its own."""
        return _made, (type(self), self._settings)

    def __repr__(self) -> str:
        return self._settings.shown("PredictClient")

    # --- setting up ----------------------------------------------------------------------------------------------

    def _set_up(self, settings: Settings) -> None:
        self._settings = settings
        self._asked = settings.defaults.asked
        self._any_model = settings.defaults.of_server
        self._direct = settings.direct
        self._performer = Performer(settings, repr(self))


def _made(kind: type[PredictClient], settings: Settings) -> PredictClient:
    client = kind.__new__(kind)
    client._set_up(settings)
    return client
