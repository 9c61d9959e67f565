"""PredictClient: blocking calls and futures."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from logging import DEBUG
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from tfs_client._calls.inference import Classify, MultiInference, Regress
from tfs_client._calls.predict import Predict
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec.request_arrays import RequestArrays
from tfs_client._codec.values import are_arrays
from tfs_client._flows.asked import aliases
from tfs_client._flows.batching.arguments import BATCH_SIZE, IN_FLIGHT, InFlight, OnError, Progress
from tfs_client._flows.batching.request_sender import RequestSender
from tfs_client._flows.client_options import GivenOptions
from tfs_client._flows.performing import Performer
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


@short_tracebacks(but="predict")  # it does so itself, because a prediction makes no further call
class PredictClient:
    """Call models in TensorFlow Serving, over gRPC or REST.

    Args:
        target: the server. Over gRPC ``"host:port"``, ``"grpc://host:port"``, ``"grpcs://host:port"`` (with TLS),
            ``"dns:///name:port"`` or ``"unix:/path"`` with the gRPC port, usually 8500; or a list of ``"host:port"``,
            replicas that share the calls. Over REST ``"http://host:port"`` or ``"https://…"``, usually with port 8501.
            None for the server of ``TFS_SERVER`` or of a profile.
        profile: the profile to read unset options from: NAME for the table ``[NAME]`` of ``tfs_client/profiles.toml``
            in the user's configuration directory; ``"PATH.toml"``, or ``"PATH.toml#NAME"`` for a table of it.
        model: the default model of the calls; None, the default, if every call names its model.
        version: a version number; None, the default, leaves the choice to the server (the highest version that is
            ready).
        label: a version label, such as "stable"; excludes ``version``; None by default.
        signature: the signature to run; None, the default, means ``serving_default``.
        timeout: the time limit of a call in seconds, including retries; 30 by default, None for no limit.
        metadata: key-value pairs sent with every call; HTTP headers over REST. None by default.
        validate: check the inputs of predict against the model's signature before they are sent; False by default.
        cast: cast input arrays to the signature's dtypes where the cast is safe; False by default; see ``predict``.
        signatures: the signatures of ``model``, for servers without metadata; the server is then never asked for them.
            Signatures, the JSON of ``/metadata`` (text, bytes, or parsed), or the path of a SavedModel's directory.
        tls: True for TLS with the authorities that the system trusts; a TLS for your own certificates; None, the
            default, for what the target says: TLS with ``grpcs://`` and ``https://``.
        proxy: the URL of a proxy, such as ``"http://user:password@host:3128"``; None for no proxy. By default the
            environment's settings apply.
        token: a bearer token to send with every call, or a function that returns one and is called for every call;
            None, the default, for no token.
        retry: which failed calls are retried; None, the default, for no retries.
        keepalive: keepalive pings, which detect dead connections; None, the default, for none.
        compression: compression of requests: "gzip", "deflate" (gRPC only), or None, the default.
        interceptors: client interceptors of gRPC or OpenTelemetry; over REST functions that receive each httpx.Request
            before it is sent.
        request_id: True to send a new ``x-request-id`` with every call, a string as the id of every call, or a function
            that returns one; False, the default, for none. Predictions and errors report it.
        rest_format: "row", "columnar", or "auto", the default, for the format that fits.
        channel_options: gRPC channel arguments, e.g. ``{"grpc.max_receive_message_length": 1 << 26}``. They override
            the client's own, which allow messages of any size. None by default.
        max_reply_bytes: the largest reply to accept, in bytes; None, the default, for no limit.
        max_inflated_bytes: the largest size that a compressed reply may inflate to, 100 MiB by default; None for no
            limit, which lets a server fill the memory with a few kilobytes.
        record: a file in which the calls are recorded, and which answers them from the next run on, without a server;
            or a ``tfs_client.recordings.Recording`` with other options.
        hooks: a function that receives a record of every start, attempt and end of a call, or a sequence of such
            functions; see ``tfs_client.telemetry``.

    Without a target, the environment is read too: ``TFS_SERVER``, ``TFS_MODEL``, ``TFS_TIMEOUT``, ``TFS_TOKEN``,
    ``TFS_CA`` and ``TFS_PROFILE``; and the profile ``[default]``, if it exists and no other is named. Arguments take
    precedence over variables, variables over the profile. With a target, only a profile that ``profile`` names is read.
    None is a value and takes precedence, too. UNSET stands for arguments that were not passed.

    The first call connects, and later calls reconnect when the connection was lost. Use the client as a context
    manager, or call ``close()``. Clients are thread-safe. Pickling a client pickles its configuration; the copy, like
    the client in a forked process, makes its own connection.

    The options ``model``, ``version``, ``label``, ``signature``, ``timeout``, ``metadata``, ``compression``,
    ``validate``, ``cast``, ``retry``, ``token`` and ``request_id`` can be overridden per call, and for many calls by
    ``with_options``. A call that names another model does not inherit version, label and signature. Metadata of a call
    is added by key.

    Raises ConfigError for invalid options. Calls raise CallError, with a subclass for each status code:
    ResourceExhaustedError for a reply over ``max_reply_bytes`` or ``max_inflated_bytes``.
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
        self._set_up(settings, Performer.of(settings, settings.shown("PredictClient")))

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
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Prediction:
        """Run a model.

        Args:
            inputs: a mapping from input alias to array; or, for a signature with one input, a single array, which gets
                its name and dtype from the model's signature (fetched once, then cached). Arrays keep their dtype;
                strings become bytes. Python numbers and lists of them have no dtype: they get the signature's, or
                int32 (int64 or uint64 when too large) and float32 if the server has no metadata.
            cast: cast arrays to the signature's dtype, too, where the cast is safe: integers must be in range and
                exact; floats may be rounded, but not become infinite; only whole floats become integers.
            outputs: aliases of the outputs to compute and send; none means all.
            retry: which failures of this call are retried; None for no retries. Calls with equal policies share a
                budget.
            metadata: key-value pairs for this call. The signatures are the client's: if a server chooses the model by a
                header, use ``with_options``.
            token: a bearer token, or a function that returns one; None for no token and no authorization.
            request_id: the ``x-request-id`` to send, such as the id of the request your service is handling; True for a
                new one, False for none.

        Returns the outputs as a mapping from alias to read-only array, with ``.model`` and ``.array``, and facts of the
        reply.

        A whole table, such as a pandas.DataFrame, is ambiguous: its columns could be named inputs, or one axis of a
        single input. It is refused, and the error shows how to express either. As the value of one input it is an array
        of rows and columns.

        Raises EncodeError and SignatureError for inputs that cannot be sent, CallError when the server refuses the call
        or cannot be reached, DecodeError for a malformed reply.
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
            if watched or not are_arrays(inputs) or asked.validate or asked.cast or asked.token is not None:
                return self._performer.run(self._performer.flows.predict(inputs, asked, aliases(outputs)))
            # Most calls take this path: the flow of ``Predicting.predict`` in a straight line. With cold caches, its
            # generators would take as long as reading the reply does (benchmarks/comparison).
            call = Predict(asked.spec, inputs, aliases(outputs))
            performer = self._performer
            exchange = performer.flows.exchange
            try:
                transport = performer.transport or performer.connected()
                send = Send(call.path, call.write(exchange.join), asked.deadline, asked.metadata, asked.compression)
                reply = transport.call(send)
            except CallError as error:
                return performer.proceed(performer.flows.again(send, call, asked, error))
            if asked.retry is not None:
                exchange.retries.budget(asked.retry).succeeded()
            prediction = call.read(reply.body)
            reply.request_id, prediction._facts = asked.request_id, reply
            performer.flows.follow(prediction)
            return prediction
        except TFServingError as error:
            shorten(error, error.__traceback__)
            raise

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
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Future[Prediction]:
        """Like ``predict``, but return a ``concurrent.futures.Future`` at once.

        ``as_completed`` and ``wait`` work. Over gRPC, ``cancel()`` cancels the call on the server, too. Callbacks run
        in the thread that receives all replies: they should be short and must not wait for other futures; ``predict``
        works in them, but batch calls raise ConfigError. Over REST, a few threads make the calls, and a running call
        cannot be cancelled. Errors before the first message is sent are raised here, later ones by ``result()``. The
        inputs are copied: you may change them as soon as this returns.
        """
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
        flows = self._performer.flows
        watched = not self._direct or (calls_log.level or package_log.level or root_log.level) <= DEBUG
        if watched or not are_arrays(inputs) or asked.validate or asked.cast or asked.token is not None:
            flow = flows.predict(flows.handed_over(inputs, asked), asked, aliases(outputs))
        else:
            flow = flows.straight(inputs, asked, aliases(outputs))
        return self._performer.begin(flow)

    def empty(
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
        """Make writable arrays for a request that ``predict`` sends without copying them.

        ``batch = client.empty(rows=32)``, then fill ``batch["image"]`` in place and call ``predict(batch)``, again and
        again. The arrays lie in the bytes of the request, so large inputs are written once. See ``RequestArrays`` for
        when they may be filled again, and for what makes ``predict`` copy them after all.

        Args:
            inputs: a mapping from input alias to a pair of shape and dtype, such as ``{"image": ((32, 224, 224, 3),
                "uint8")}``, or to a ``TensorSpec``. None takes the required inputs of the model's signature, which is
                fetched once.
            rows: the size of the first axis where a signature or a TensorSpec leaves it open.
            model, version, label, signature, outputs: the same values as in the later calls; the other options apply to
                fetching the signature.

        Over REST, requests are JSON and ``predict`` treats them as ordinary arrays.

        Raises EncodeError for shapes and dtypes that no tensor can have, SignatureError for sizes that are not stated,
        and what ``signatures`` raises.
        """
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
        return self._performer.run(self._performer.flows.empty(inputs, rows, asked, aliases(outputs)))

    def predict_batched(
        self,
        inputs: Inputs,
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        shared: Mapping[str, object] | None = None,
        progress: Progress = False,
        **options: Unpack[CallOptions],
    ) -> Prediction:
        """Run a model on many rows: split the inputs along axis 0, send the parts, and join the outputs in order.

        Args:
            inputs: as for ``predict``; all have the same length along axis 0.
            batch_size: maximum rows in a request. When the server reports a lower limit, requests shrink to it.
            in_flight: maximum number of requests under way at once; "auto" finds out how many the server works on.
                Fewer are sent while the server refuses some.
            shared: inputs that are sent whole with every request, such as a height and a width.
            progress: True shows the progress on standard error, or below the cell of a notebook; a function is called
                with the number of rows done and the number of all rows, which is None if unknown.
            options: those of ``predict``; they apply to each request: ``timeout`` limits each, each has its attempts by
                ``retry``, and all have the same ``request_id`` if it is a string.

        Returns what one request with all rows would, for models that compute each row independently.
        ``.model.version`` is None when several versions answered because the server replaced one during the call.

        While the server is busy, rows wait and are sent again, as long as it answers other rows, or for half a minute.

        Raises what ``predict`` raises; the error names the failed rows. Requests still under way are cancelled. Raises
        SignatureError for inputs that cannot be split and outputs that cannot be joined.
        """
        from tfs_client._flows.batching import performing  # imported by the call, because few programs need it

        return performing.predict_batched(
            self._request_sender(options), inputs, batch_size, in_flight, shared, progress
        )

    @overload
    def predict_many(
        self,
        examples: Iterable[object],
        *,
        on_error: Literal["raise"] = ...,
        **options: Unpack[ManyOptions],
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_many(
        self,
        examples: Iterable[object],
        *,
        on_error: OnError,
        **options: Unpack[ManyOptions],
    ) -> Iterator[Prediction | TFServingError]: ...

    def predict_many(
        self,
        examples: Iterable[object],
        *,
        batch_size: int = BATCH_SIZE,
        in_flight: InFlight = IN_FLIGHT,
        ordered: bool = True,
        on_error: OnError = "raise",
        max_delay: float | None = None,
        shared: Mapping[str, object] | None = None,
        progress: Progress = False,
        **options: Unpack[CallOptions],
    ) -> Iterator[Prediction | TFServingError]:
        """Run a model on any number of examples: one by one for the caller, in batches on the wire.

        Args:
            examples: an iterable of any length: a list, a generator, a file. Each example is a mapping from input alias
                to array-like, or one array-like, without the batch axis. Examples of the same shape and dtype share
                requests.
            batch_size, in_flight, shared, progress, options: as for ``predict_batched``.
            ordered: yield results in the order of the examples; otherwise as soon as they arrive. Results and errors
                have the position of their example in ``.example``.
            on_error: "raise" raises the first error at its example's position; "return" yields errors among the
                results.
            max_delay: seconds after which examples are sent even if their batch is not full, for sources that pause.
                A separate thread then reads the source; otherwise the caller's thread does, while requests are under
                way.

        Returns an iterator with a ``Prediction`` for each example, whose arrays have no batch axis. It works while
        results are requested, and reads at most ``in_flight`` times ``batch_size`` examples ahead of them. Closing it
        cancels requests that are under way.

        An example that the model refuses fails alone: the others of its request are sent again without it. Examples
        that do not fit the signature fail together, after one request, and ``mismatch`` of their errors is True. While
        the server is busy (its threads, its queue or a quota are exhausted), examples wait and are sent again, as long
        as it answers others, or for half a minute. An error that the source raises comes after the results of the
        examples before it.

        Each example is copied before the next is read, so a source may refill one array. The arrays of results are
        views of the reply to their batch and keep all of it alive.
        """
        from tfs_client._flows.batching import (  # imported by the call, because few programs need them
            performing,
            predict_many,
        )

        plan = predict_many.Plan.of(batch_size, in_flight, ordered, on_error, max_delay, shared)
        return performing.predict_many(self._request_sender(options), examples, plan, progress)

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
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Classification:
        """Classify examples.

        Args:
            examples: a list with a mapping from feature to value for each example, a list of serialized tf.Examples, or
                one mapping from feature to a column with a value for each example. Integers and bools become int64
                features, floats float features, text and bytes bytes features; None omits a feature. Columns of pandas,
                Polars, Arrow and xarray work: rows go by position, not by label, and missing values are omitted. A
                whole table is refused: pass its columns with ``dict(df)``.
            context: features that all examples share; an example's own feature of the same name takes precedence.

        Returns the classes and scores of each example.

        Raises EncodeError, which names the example and the feature, for values that an example cannot hold.
        """
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
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Regression:
        """Compute a value for each example. ``examples`` and ``context`` are as for ``classify``."""
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
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> dict[str, Classification | Regression]:
        """Run several signatures of a model on the same examples in one call. Not available over REST.

        Args:
            examples, context: as for ``classify``.
            tasks: a mapping from signature to "classify" or "regress".

        Returns a mapping from signature to result. If one signature fails, the whole call fails.
        """
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
        results = self._performer.run(self._performer.flows.on_examples(call, asked))
        return dict(zip(call.tasks, results, strict=True))

    def signatures(
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
        """Return the model's signatures by name; ``print`` shows them as a table.

        They come from the server, or from the client's ``signatures=`` option.

        Args:
            from_server: ask the server also if the client has ``signatures=``, for example to compare both with
                ``check_signatures``. The client continues to use its own.
        """
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
        return self._performer.run(self._performer.flows.signatures(asked, from_server=from_server))

    def status(
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
        """Return the states of the model's versions: of all that the server has seen, or of ``version``.

        A server that speaks KServe's v1 protocol does not report versions: ``versions`` is empty, and ``ready`` is what
        the server says.

        Raises NotFoundError if the server has never seen the model or the version; UnavailableError, from KServe, for a
        model that is not ready.
        """
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
        return self._performer.run(self._performer.flows.send(GetModelStatus(asked.spec), asked))

    def is_ready(
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
        """Return whether the server is reachable and the model (or the given version of it) answers calls.

        Errors that waiting cannot fix, such as a refused token, are raised.
        """
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
        return self._performer.run(self._performer.flows.is_ready(asked))

    def wait_until_ready(
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
        """Wait until ``is_ready``; the server may still be starting.

        Args:
            timeout: how long to wait in seconds; None for no limit.

        It takes no ``retry``, because it polls until the deadline.

        Raises DeadlineExceededError, which says why the model was not ready; FailedPreconditionError as soon as the
        server reports that it could not load the model (or the given version) and is not loading another version. With
        several replicas the wait continues, because another replica may still load it.
        """
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
        self._performer.run(self._performer.flows.wait_until_ready(asked))

    def reload_config(
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
        """Replace the server's whole configuration. Not available over REST.

        Args:
            config: the models to serve from now on; models that it omits are unloaded. ``config.difference(base)``
                shows what changes relative to another configuration.
            metrics: names of metrics whose increase during the reload the server reports.
            wait: return only when every model is served as configured.
            timeout: the limit in seconds, waiting included. The server answers when all new models are loaded, and
                never for a base path without versions.

        Raises InvalidArgumentError and FailedPreconditionError for a configuration that the server refuses, or whose
        models cannot be loaded.
        """
        return self._performer.run(
            self._performer.flows.reload(
                config, metrics, self._of_server(timeout, metadata, retry, token, request_id), wait=wait
            )
        )

    def models(
        self,
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> tuple[str, ...]:
        """Return the names of the models of a ``tfs-serve`` server: those configured, and others that it serves.

        Raises UnimplementedError for other servers: TensorFlow Serving does not list its models.
        """
        return self._performer.run(
            self._performer.flows.models(self._of_server(timeout, metadata, retry, token, request_id))
        )

    def current_config(
        self,
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> ModelServerConfig:
        """Return the configuration of a ``tfs-serve`` server, in the form that ``reload_config`` takes. Not over REST.

        Raises UnimplementedError for other servers: TensorFlow Serving does not report its configuration.
        """
        return self._performer.run(
            self._performer.flows.current_config(self._of_server(timeout, metadata, retry, token, request_id))
        )

    def health(
        self,
        service: str = "",
        *,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
        retry: RetryPolicy | Unset | None = UNSET,
        token: Token | Unset | None = UNSET,
        request_id: RequestId | Unset = UNSET,
    ) -> Health:
        """Return what gRPC's health service reports for a service; "" means the whole server.

        TensorFlow Serving offers it with ``--enable_grpc_healthcheck_service``, for the services ``ModelService`` and
        ``PredictionService``. Raises UnimplementedError if the server does not offer it, and over REST; NotFoundError
        for an unknown service.
        """
        return self._performer.run(
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
        """Return a client with other options, which shares this client's connection. ::

            vision = client.with_options(model="vision", timeout=2.0, metadata={"x-team": "vision"})

        Args:
            metadata: added to this client's, by key. With an authorization it replaces this client's token; ``token``
                in turn replaces an authorization in this client's metadata.
            hooks: replace this client's; ``()`` removes them.

        The other options mean the same as for a client; omitted ones keep their value. Another model does not inherit
        version, label and signature, and ``signatures=`` of this client stays with its model.

        Both clients use one connection and, for equal policies, one retry budget. They share the signatures that they
        fetch if they send the same token and metadata, apart from request ids and trace headers. Such a client costs
        little, even one per request, and need not be closed. After it is closed, its new calls and further requests of
        a batch raise ClosedError; its calls in progress finish, and other clients continue. Closing this client closes
        the connection: then the calls of all clients raise ClosedError. A copy in another process (by pickle) has its
        own connection.

        Raises ConfigError for invalid or contradictory options, ClosedError if this client is closed.
        """
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
        performer = self._performer.with_settings(settings, settings.shown("PredictClient"))
        client = type(self).__new__(type(self))
        client.__dict__.update(self.__dict__)  # a subclass may have attributes of its own
        client._set_up(settings, performer)
        return client

    def close(self) -> None:
        """Cancel running calls and release the connection. Calling it again does nothing.

        With a ``record=`` of mode "verify", raises RecordingError for calls that the recording does not have, and for
        recorded ones that were not made; see Recording. A context manager that an exception leaves does not.
        """
        self._performer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except TFServingError:  # from a recording
            if error is None:
                raise

    def __del__(self, _warn: Any = warnings.warn, _program_ends: Any = sys.is_finalizing) -> None:
        # Closing takes locks, which the code that dropped the last reference may hold, and waits for threads, which no
        # longer run when the program ends. So this only warns; gRPC and the sockets release the connection themselves.
        performer = getattr(self, "_performer", None)  # missing if the constructor failed
        if performer is not None and not (performer.closed or performer.derived or _program_ends()):
            _warn(f"unclosed {self!r}: use it as a context manager or call close()", ResourceWarning, source=self)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the configuration; the unpickled client makes its own connection."""
        return _made, (type(self), self._settings)

    def __repr__(self) -> str:
        return self._settings.shown("PredictClient")

    # --- setting up ----------------------------------------------------------------------------------------------

    def _set_up(self, settings: Settings, performer: Performer) -> None:
        self._settings = settings
        self._asked = settings.defaults.asked
        self._of_server = settings.defaults.of_server
        self._direct = settings.direct
        self._performer = performer

    def _request_sender(self, options: CallOptions) -> RequestSender:
        """Return a sender of requests, for a batch call or a micro batcher."""
        return RequestSender(self._performer, self._settings.defaults, options)


def _made(kind: type[PredictClient], settings: Settings) -> PredictClient:
    client = kind.__new__(kind)
    client._set_up(settings, Performer.of(settings, settings.shown("PredictClient")))
    return client
