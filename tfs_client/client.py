"""PredictClient: blocking calls, and futures."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from tfs_client.calls import Call
from tfs_client.calls.inference import Classify, MultiInference, Regress
from tfs_client.calls.metadata import GetModelMetadata
from tfs_client.calls.predict import Predict
from tfs_client.calls.status import GetModelStatus
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.defaults import Defaults, aliases, described
from tfs_client.errors import (
    CallError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    SignatureError,
    TFServingError,
    UnavailableError,
)
from tfs_client.options import (
    DEFAULT_TIMEOUT,
    UNSET,
    ChannelOptions,
    Deadline,
    Metadata,
    MetadataPairs,
    Unset,
    checked_channel_options,
    checked_target,
    checked_timeout,
)
from tfs_client.results import Classification, ModelStatus, Prediction, Regression
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures

Result = TypeVar("Result")
Inputs = Any  # a mapping from alias to array-like, or one array-like for a model with one input

BLAME_TIMEOUT = 2.0  # seconds for asking what a refused request should have looked like
POLL_INTERVAL = 0.1  # seconds between two looks at a server that is not ready
NOT_YET = (UnavailableError, NotFoundError)  # what a server that is starting says
NO_ANSWER = "no server answered"


class PredictClient:
    """Calls models in TensorFlow Serving over gRPC.

    Args:
        target: ``"host:port"``, ``"dns:///name:port"`` or ``"unix:/path"``; the server's gRPC port, usually 8500.
        model: the model that calls are for, unless they name another.
        version: a version number; None leaves the choice to the server (the highest that is ready).
        label: a version label, such as "stable"; not together with ``version``.
        signature: the signature to run; None means ``serving_default``.
        timeout: seconds a call may take in all; None means no limit.
        metadata: pairs sent with every call.
        channel_options: gRPC channel arguments, e.g. ``{"grpc.keepalive_time_ms": 10_000}``. They come on top of the
            client's own, which allow messages of any size.

    The connection is made by the first call, and made again when it is lost. Use the client as a context manager, or
    call ``close()``. All methods may be called from any thread. A pickled client is made anew from its
    configuration.

    Per call, ``model``, ``version``, ``label``, ``signature``, ``timeout`` and ``metadata`` take the place of the
    client's. A call that names another model does not inherit version, label and signature, which belong to the first.

    Raises ConfigError for options that make no sense; the calls raise CallError with a class for each status code.
    """

    def __init__(
        self,
        target: str,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        metadata: Metadata | None = None,
        channel_options: ChannelOptions | None = None,
    ) -> None:
        self._closed = True  # until there is something to close
        self.target = checked_target(target)
        self._defaults = Defaults.of(model, version, label, signature, timeout, metadata)
        self._channel_options = checked_channel_options(channel_options)
        self._signatures: dict[tuple[str, int | None, str | None], Signatures] = {}  # see _key

        from tfs_client.transports.grpc import GrpcTransport  # imports grpc, which takes its time

        self._transport = GrpcTransport(self.target, self._channel_options)
        self._closed = False

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
    ) -> Prediction:
        """Run a model.

        Args:
            inputs: arrays by input alias; or a single array for a signature with one input, whose name and dtype then
                come from the model's signature (asked for once, then remembered). Arrays keep their dtype; Python
                numbers become int32 or float32, strings become bytes.
            outputs: aliases of the outputs to compute and send; none means all.

        Returns the outputs as a mapping from alias to read-only array, with ``.model`` and ``.array``.

        Raises EncodeError and SignatureError for inputs that cannot be sent, CallError for what the server or the way
        to it refuses, DecodeError for a reply that makes no sense.
        """
        call, limit, pairs = self._prepare(inputs, model, version, label, signature, outputs, timeout, metadata)
        try:
            prediction = call.read(self._transport.call(call.path, call.write(self._transport.join), limit, pairs))
        except CallError as error:
            self._signatures.pop(_key(call.spec), None)  # perhaps the model changed: ask anew
            if isinstance(error, (InvalidArgumentError, FailedPreconditionError)):
                error.hint = self._blame(call, limit, pairs)
            raise
        if self._signatures:
            self._follow(call.spec, prediction.model.version)
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
    ) -> Future[Prediction]:
        """Like ``predict``, but returns at once with a ``concurrent.futures.Future``.

        Its ``cancel()`` reaches the server; ``as_completed`` and ``wait`` work. Bad inputs raise here; what happens
        later is raised by ``result()``. Callbacks added to it run in a thread of gRPC and should be short.
        """
        call, limit, pairs = self._prepare(inputs, model, version, label, signature, outputs, timeout, metadata)

        def read(reply: bytes) -> Prediction:
            prediction = call.read(reply)
            self._follow(call.spec, prediction.model.version)
            return prediction

        def forget() -> None:
            self._signatures.pop(_key(call.spec), None)  # as in predict

        return self._transport.start(call.path, call.write(), limit, pairs, read, forget)

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
    ) -> Classification:
        """Classes and scores for examples.

        Args:
            examples: a list with a mapping from feature to value for each example, or a list of serialized
                tf.Examples, or one mapping from feature to a column with a value for each example. Integers and bools
                become int64 features, floats float features, text and bytes bytes features; None leaves one out.
            context: features that all examples share; an example's own feature of the same name counts.

        Raises EncodeError, which names the example and the feature, for what no example can hold.
        """
        spec = self._defaults.resolve(model, version, label, signature)
        return self._send(
            Classify(spec, examples, context), self._defaults.limit(timeout), self._defaults.pairs(metadata)
        )

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
    ) -> Regression:
        """A value for each example; examples and context are those of ``classify``."""
        spec = self._defaults.resolve(model, version, label, signature)
        return self._send(
            Regress(spec, examples, context), self._defaults.limit(timeout), self._defaults.pairs(metadata)
        )

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
    ) -> dict[str, Classification | Regression]:
        """Several signatures of a model on the same examples, in one call.

        Args:
            examples, context: those of ``classify``.
            tasks: for each signature "classify" or "regress".

        Returns a result for each signature. One that fails fails the whole call.
        """
        spec = self._defaults.resolve(model, version, label, None)
        call = MultiInference(spec, examples, tasks, context)
        results = self._send(call, self._defaults.limit(timeout), self._defaults.pairs(metadata))
        return dict(zip(tasks, results, strict=True))

    def signatures(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        label: str | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> Signatures:
        """The model's signatures by name, asked from the server; ``print`` shows them as a table."""
        spec = self._defaults.resolve(model, version, label, None)
        return self._fetch_signatures(spec, self._defaults.limit(timeout), self._defaults.pairs(metadata))

    def status(
        self,
        *,
        model: str | Unset = UNSET,
        version: int | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        metadata: Metadata | Unset | None = UNSET,
    ) -> ModelStatus:
        """The states of the model's versions: all that the server has seen, or the one asked for.

        Raises NotFoundError when the server never saw the model, or the version.
        """
        spec = replace(self._defaults.resolve(model, version, UNSET, None), label=None, signature="")
        return self._send(GetModelStatus(spec), self._defaults.limit(timeout), self._defaults.pairs(metadata))

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
        spec = self._defaults.resolve(model, version, label, None)
        return not self._not_ready(spec, self._defaults.limit(timeout), self._defaults.pairs(metadata))

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
        spec, pairs = self._defaults.resolve(model, version, label, None), self._defaults.pairs(metadata)
        deadline = Deadline.after(checked_timeout(timeout))
        reason = NO_ANSWER
        while found := self._not_ready(spec, deadline.remaining(), pairs, wait_for_ready=True):
            if found != NO_ANSWER:  # the last look has little time: what an earlier one saw says more
                reason = found
            if deadline.passed():
                raise DeadlineExceededError(
                    f"{described(spec)} at {self.target} was not ready within {timeout} s: {reason}",
                    "wait_until_ready",
                )
            time.sleep(min(POLL_INTERVAL, deadline.remaining() or POLL_INTERVAL))

    # --- life ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel the calls under way and release the connection. May be called again."""
        if not self._closed:
            self._closed = True
            self._transport.close()

    def __enter__(self) -> PredictClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not getattr(self, "_closed", True):
            _warn(f"unclosed {self!r}: use it as a context manager or call close()", ResourceWarning, source=self)
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """A client is pickled by its configuration; where it is unpickled it makes a connection of its own."""
        spec = self._defaults.spec
        given = {
            "model": spec.name,
            "version": spec.version,
            "label": spec.label,
            "signature": spec.signature,
            "timeout": self._defaults.timeout,
            "metadata": self._defaults.metadata,
            "channel_options": self._channel_options,
        }
        return _made, (type(self), self.target, given)

    def __repr__(self) -> str:
        name = self._defaults.spec.name
        model = f", model={name!r}" if name else ""
        return f"PredictClient({self.target!r}{model})"

    # --- what calls have in common -------------------------------------------------------------------------------

    def _prepare(
        self,
        inputs: Inputs,
        model: str | Unset,
        version: int | Unset | None,
        label: str | Unset | None,
        signature: str | Unset | None,
        outputs: Iterable[str],
        timeout: float | Unset | None,
        metadata: Metadata | Unset | None,
    ) -> tuple[Predict, float | None, MetadataPairs]:
        spec = self._defaults.resolve(model, version, label, signature)
        limit, pairs = self._defaults.limit(timeout), self._defaults.pairs(metadata)
        if type(inputs) is not dict and not isinstance(inputs, Mapping):
            deadline = Deadline.after(limit)
            inputs = self._bound(inputs, spec, deadline, pairs)
            limit = deadline.remaining()
        return Predict(spec, inputs, aliases(outputs)), limit, pairs

    def _send(
        self, call: Call[Result], limit: float | None, pairs: MetadataPairs, *, wait_for_ready: bool | None = None
    ) -> Result:
        reply = self._transport.call(call.path, call.write(), limit, pairs, wait_for_ready=wait_for_ready)
        return call.read(reply)

    def _fetch_signatures(
        self, spec: ModelSpec, limit: float | None, pairs: MetadataPairs, *, wait_for_ready: bool | None = None
    ) -> Signatures:
        call = GetModelMetadata(replace(spec, signature=""))
        found = self._send(call, limit, pairs, wait_for_ready=wait_for_ready)
        self._signatures[_key(spec)] = found
        return found

    def _bound(self, values: Any, spec: ModelSpec, deadline: Deadline, pairs: MetadataPairs) -> dict[str, Any]:
        """A single value by the name, and in the dtype, that the model's signature has for it."""
        name = spec.signature or DEFAULT_SIGNATURE
        if known := self._signatures.get(_key(spec)):
            with suppress(SignatureError):  # perhaps the model changed: only fresh signatures can tell
                return known.named(name).bind(values)
        return self._fetch_signatures(spec, deadline.remaining(), pairs).named(name).bind(values)

    def _blame(self, call: Predict, limit: float | None, pairs: MetadataPairs) -> str:
        """What the model's signature says to a request that the server refused; empty when it says nothing."""
        left = BLAME_TIMEOUT if limit is None else min(BLAME_TIMEOUT, limit - call.elapsed())
        if left > 0:
            with suppress(TFServingError):  # the refusal is what counts
                return call.blame(self._fetch_signatures(call.spec, left, pairs))
        return ""

    def _follow(self, spec: ModelSpec, version: int | None) -> None:
        """Forget signatures of a version that no longer answers."""
        known = self._signatures.get(_key(spec))
        if known is not None and version is not None and known.version not in (None, version):
            self._signatures.pop(_key(spec), None)

    def _not_ready(
        self, spec: ModelSpec, limit: float | None, pairs: MetadataPairs, *, wait_for_ready: bool | None = None
    ) -> str:
        """Why the model cannot answer yet; empty when it can."""
        try:
            if spec.label is not None:  # the status call knows no labels, the metadata call does
                self._fetch_signatures(spec, limit, pairs, wait_for_ready=wait_for_ready)
                return ""
            status = self._send(GetModelStatus(spec), limit, pairs, wait_for_ready=wait_for_ready)
        except DeadlineExceededError:
            return NO_ANSWER
        except NOT_YET as error:
            return error.details
        except InvalidArgumentError as error:
            if spec.label is None:
                raise
            return error.details  # a label that the server does not know yet
        return "" if status.available else "; ".join(map(str, status.versions)) or "it has no versions"


def _made(kind: type[PredictClient], target: str, given: dict[str, Any]) -> PredictClient:
    return kind(target, **given)


def _key(spec: ModelSpec) -> tuple[str, int | None, str | None]:
    return spec.name, spec.version, spec.label
