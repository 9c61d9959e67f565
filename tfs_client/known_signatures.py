"""KnownSignatures: what a client knows of its models' signatures, where from, and how inputs are bound by them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

from tfs_client.calls import BlamableCall
from tfs_client.calls.metadata import GetModelMetadata
from tfs_client.calls.predict import Predict
from tfs_client.codec.model_spec import ModelSpec
from tfs_client.codec.values import Untyped
from tfs_client.defaults import Asked, described
from tfs_client.error_meanings import Meaning, meaning_of
from tfs_client.errors import (
    CallError,
    DecodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    SignatureError,
    TFServingError,
    UnimplementedError,
)
from tfs_client.exchanges import Exchange
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, Signatures
from tfs_client.steps import Flow

BLAME_TIMEOUT = 2.0  # seconds for asking what a refused request should have looked like
ABSENCE_AGE = 60.0  # seconds after which a server that had no metadata is asked for them again
REFUSED = (InvalidArgumentError, FailedPreconditionError)  # how a server refuses inputs, or a signature

_STATE_THEM = "If the server has no metadata, pass the model's signatures with signatures=."


class StatedSignatures(NamedTuple):
    """Signatures that the user stated, and the model that they are for."""

    model: str
    signatures: Signatures


class KnownSignatures:
    """The signatures that one client knows: those that were stated, and those that the server gave.

    For a model whose signatures were stated the server is never asked.

    Args:
        exchange: how the server is asked.
        age: seconds for which signatures may be used without a look; None where replies name the version.
        stated: signatures from the user; None without.
    """

    def __init__(self, exchange: Exchange, age: float | None = None, stated: StatedSignatures | None = None) -> None:
        self._exchange = exchange
        self._age = age
        self._stated = stated
        # By model, version and label; with the time when they were seen.
        self._seen: dict[Any, tuple[Signatures, float]] = {}
        self._absent: dict[Any, float] = {}  # when the server was found to have no metadata

    # --- knowing -------------------------------------------------------------------------------------------------

    def stated(self, asked: Asked) -> Signatures | None:
        """Those that the user stated for the call's model."""
        stated = self._stated
        return stated.signatures if stated is not None and stated.model == asked.spec.name else None

    def known(self, asked: Asked) -> Signatures | None:
        """Those that were stated, or were seen before and may still hold."""
        if (stated := self.stated(asked)) is not None:
            return stated
        signatures, seen = self._seen.get(_key(asked.spec), (None, 0.0))
        if signatures is not None and self._age is not None and time.monotonic() - seen > self._age:
            return None
        return signatures

    def is_fresh(self, asked: Asked) -> bool:
        """Whether those that are known need no second look: they were stated, or seen since the call began."""
        return self.stated(asked) is not None or self._seen_at(asked) >= asked.deadline.started

    def find(self, asked: Asked) -> Flow[Signatures | None]:
        """Those that are known, else those that the server gives; None where it has no metadata."""
        known = self.known(asked)
        return known if known is not None else (yield from self._ask(asked))

    def fetch(self, asked: Asked, *, wait_for_ready: bool | None = None) -> Flow[Signatures]:
        """Those that hold now, from the server, and remembered.

        Raises what the server answers, also where that means that it has no metadata.
        """
        if (stated := self.stated(asked)) is not None:
            return stated
        key = _key(asked.spec)
        call = GetModelMetadata(replace(asked.spec, signature=""))
        try:
            found: Signatures = yield from self._exchange.send(call, asked, wait_for_ready=wait_for_ready)
        except (CallError, DecodeError) as error:
            if _says_absent(error, rest=self._exchange.rest):
                self._absent[key] = time.monotonic()
                _add_hint(error, _STATE_THEM)
            raise
        self._absent.pop(key, None)
        self._seen[key] = found, time.monotonic()
        return found

    def follow(self, prediction: Prediction) -> None:
        """Forget signatures of a version that no longer answers."""
        if self._seen:
            spec, version = prediction.asked, prediction.model.version
            known, _ = self._seen.get(_key(spec), (None, 0.0))
            if known is not None and version is not None and known.version not in (None, version):
                self._seen.pop(_key(spec), None)

    def doubt(self, error: CallError, asked: Asked) -> None:
        """A prediction failed: perhaps the model changed, so ask anew next time."""
        if meaning_of(error) in (Meaning.BUSY, Meaning.TOO_LARGE):  # neither says anything about the model
            return
        key = _key(asked.spec)
        if self._seen_at(asked) < asked.deadline.started:
            self._seen.pop(key, None)
        if not isinstance(error, REFUSED):  # perhaps the model was not there, rather than its metadata
            self._absent.pop(key, None)

    def forget(self) -> None:
        """The server got another configuration."""
        self._seen.clear()
        self._absent.clear()

    # --- applying ------------------------------------------------------------------------------------------------

    def bound(self, values: Any, asked: Asked) -> Flow[dict[str, Any]]:
        """Inputs by name, each in the dtype of the signature where it had none, or where the call casts.

        Known signatures count where the values fit them, else fresh ones. Without metadata names and dtypes stay as
        they are. Raises SignatureError for values that do not fit, and for one without a name that needs one.
        """
        if (known := self.known(asked)) is not None:
            with suppress(SignatureError):  # perhaps the model changed: fresh signatures decide
                signature = _signature(known, values, asked)
                if signature is not None:
                    return _bind(signature, values, asked)
        with named(asked):
            fresh = yield from self._ask(asked)
        if fresh is None:
            return self._nameless(values, asked)
        signature = _signature(fresh, values, asked)
        return dict(values) if signature is None else _bind(signature, values, asked)

    def validated(self, call: Predict, asked: Asked) -> Flow[None]:
        """Raise SignatureError for inputs that do not fit the signature."""
        known = self.known(asked)
        if known is not None and not call.blame(known):
            return
        with named(asked):
            fresh = yield from self._ask(asked)
        if fresh is None:
            raise _of_all_rows(
                f"the inputs cannot be checked: the server has no metadata of {described(asked.spec)}; leave out "
                "validate=True, or state the signatures with signatures="
            )
        if difference := call.blame(fresh):
            error = SignatureError(f"the inputs do not fit {described(asked.spec)}. {difference}")
            error.mismatch = bool(call.blame(fresh, any_rows=True))
            raise error

    def blame(self, call: Predict | BlamableCall[Any], asked: Asked) -> Flow[str]:
        """What the model's signature says to a request that the server refused; empty when it says nothing."""
        with suppress(Exception):  # the refusal is what counts, and a token's function may fail too
            if self._seen_at(asked) >= asked.deadline.started:
                return call.blame(self._seen[_key(asked.spec)][0])
            if not asked.deadline.passed() and not self._is_absent(asked):
                soon = asked._replace(deadline=asked.deadline.sooner(BLAME_TIMEOUT))
                return call.blame((yield from self.fetch(soon)))
        return ""

    def single_input(self, asked: Asked) -> Flow[str]:
        """The only required input, for error texts: by its name where the signature can be had."""
        with suppress(Exception):  # another error is what counts
            soon = asked._replace(deadline=asked.deadline.sooner(BLAME_TIMEOUT))
            found = yield from self.find(soon)
            if found is not None:
                (alias,) = found.named(asked.spec.signature or DEFAULT_SIGNATURE).required
                return f"input {alias!r}"
        return "the input"

    # --- inside --------------------------------------------------------------------------------------------------

    def _ask(self, asked: Asked) -> Flow[Signatures | None]:
        """Those that hold now; None where the server has no metadata, as far as was seen a short while ago."""
        if self._is_absent(asked):
            return None
        try:
            return (yield from self.fetch(asked))
        except (CallError, DecodeError):
            if self._is_absent(asked):
                return None
            raise

    def _is_absent(self, asked: Asked) -> bool:
        seen = self._absent.get(_key(asked.spec))
        if seen is None:
            return False
        return seen >= asked.deadline.started or time.monotonic() - seen <= ABSENCE_AGE

    def _seen_at(self, asked: Asked) -> float:
        """When the signatures of the call's model were last asked for."""
        return self._seen.get(_key(asked.spec), (None, 0.0))[1]

    def _nameless(self, values: Any, asked: Asked) -> dict[str, Any]:
        if isinstance(values, Mapping):
            return dict(values)
        if self._exchange.rest:  # a model with one input takes it without its name
            from tfs_client.codec.rest_json import UNNAMED  # few call over REST

            return {UNNAMED: values}
        raise _of_all_rows(
            f"expected inputs by name, got a single value; the server has no metadata of {described(asked.spec)}: "
            "give a mapping from alias to array, or state the signatures with signatures="
        )


@contextmanager
def named(asked: Asked) -> Iterator[None]:
    """Puts the call's request id on its error."""
    try:
        yield
    except CallError as error:
        error.request_id = asked.request_id
        raise


def _signature(signatures: Signatures, values: Any, asked: Asked) -> Signature | None:
    """The call's signature; None where it is missing and inputs have names: the server refuses such calls itself."""
    name = asked.spec.signature or DEFAULT_SIGNATURE
    return signatures.get(name) if isinstance(values, Mapping) else signatures.named(name)


def _bind(signature: Signature, values: Any, asked: Asked) -> dict[str, Any]:
    if isinstance(values, Mapping):
        return signature.typed(values, cast=asked.cast)
    return signature.bind(values, cast=asked.cast)


def _says_absent(error: CallError | DecodeError, *, rest: bool) -> bool:
    """Whether the answer to a request for metadata means that the server has none.

    A gateway may let other calls pass and answer this one with a page, "not found" or "forbidden"; where it refuses
    those too, their own error comes to light. That the model is not there, or not yet, is something else: TensorFlow
    Serving says so over gRPC by NOT_FOUND, and over REST by its text (core/basic_manager.cc).
    """
    if isinstance(error, DecodeError):
        return error.foreign
    if isinstance(error, NotFoundError):
        return rest and not error.details.startswith("Servable not found for request")
    if isinstance(error, InvalidArgumentError):  # before version 1.12 TensorFlow Serving's REST had no such path
        return rest and error.details.startswith("Malformed request")
    return isinstance(error, (UnimplementedError, PermissionDeniedError))


def _add_hint(error: CallError | DecodeError, hint: str) -> None:
    if isinstance(error, CallError):
        error.hint = f"{error.hint}\n{hint}".strip()
    else:
        error.args = (f"{error.args[0]}\n{hint}", *error.args[1:])


def _of_all_rows(text: str) -> TFServingError:
    """A SignatureError that is about every row alike, so that batches need not look for the one at fault."""
    error = SignatureError(text)
    error.mismatch = True
    return error


def _key(spec: ModelSpec) -> tuple[str, int | None, str | None]:
    return spec.name, spec.version, spec.label


def is_untyped(values: Any) -> bool:
    """Whether any input waits for its dtype."""
    return any(type(value) is Untyped for value in values.values())
