"""KnownSignatures: the signatures that a client has cached or was given, and binding inputs by them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from logging import INFO
from typing import Any, NamedTuple

from tfs_client._calls import BlamableCall
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.snapshots import Read
from tfs_client._codec.values import Untyped
from tfs_client._flows.asked import Asked, described
from tfs_client._flows.callers import Credentials, credentials_of
from tfs_client._flows.exchanges import Exchange
from tfs_client._flows.telemetry.models_log import ModelsLog
from tfs_client._transports.error_meanings import Meaning, meaning_of
from tfs_client._transports.steps import Flow
from tfs_client.errors import (
    CallError,
    DecodeError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RecordingError,
    SignatureError,
    TFServingError,
    UnimplementedError,
)
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE, Signatures
from tfs_client.telemetry.logs import models_log, package_log, root_log

BLAME_TIMEOUT = 2.0  # seconds to fetch the signature that a refused request is compared with
ABSENCE_AGE = 60.0  # seconds after which a server that had no metadata is asked again
_Key = tuple[str, int | None, str | None]  # model, version and label
MOST_ABSENT = 64  # of the models and credentials for which that is remembered
REFUSED = (InvalidArgumentError, FailedPreconditionError)  # how a server refuses inputs or a signature

Values = dict[str, Read] | Read  # inputs by name, or the single value of a model with one input

_FORBIDDEN = "The caller may lack the permission to read the model's metadata."
_STATE_THEM = "If the server has no metadata, pass the model's signatures with signatures=."


class StatedSignatures(NamedTuple):
    """Signatures that the user passed with ``signatures=``, and their model."""

    model: str
    signatures: Signatures


class KnownSignatures:
    """The signatures of one caller: stated by the user, or fetched from the server and cached.

    The server is never asked for signatures that the user stated.

    Args:
        exchange: makes calls.
        age: seconds for which fetched signatures are used; None for no limit, where replies name the version.
        stated: the user's signatures, if any.
        derived: the signatures of a model as the calls of a recording show them, for one without look-ups. It also
            gets the error of the look-up. They are not cached.
        log: logs versions and signatures; all callers of a session share it.
    """

    def __init__(
        self,
        exchange: Exchange,
        age: float | None = None,
        stated: StatedSignatures | None = None,
        derived: Callable[[ModelSpec, RecordingError], Signatures | None] | None = None,
        log: ModelsLog | None = None,
    ) -> None:
        self._exchange = exchange
        self._age = age
        self._stated = stated
        self._derived = derived
        # With the time when they were fetched.
        self._seen: dict[_Key, tuple[Signatures, float]] = {}
        # When the server reported that it has no metadata: to these credentials, because it may mean only them.
        self._absent: dict[tuple[_Key, Credentials], float] = {}
        self._log = log or ModelsLog()

    # --- knowing -------------------------------------------------------------------------------------------------

    def stated(self, asked: Asked) -> Signatures | None:
        """The signatures that the user stated for the call's model."""
        stated = self._stated
        return stated.signatures if stated is not None and stated.model == asked.spec.name else None

    def known(self, asked: Asked) -> Signatures | None:
        """The stated signatures, or those fetched before that may still hold."""
        if (stated := self.stated(asked)) is not None:
            return stated
        signatures, seen = self._seen.get(_key(asked.spec), (None, 0.0))
        if signatures is not None and self._age is not None and time.monotonic() - seen > self._age:
            return None
        return signatures

    def is_fresh(self, asked: Asked) -> bool:
        """Whether the known signatures are up to date: stated, or fetched since the call began."""
        return self.stated(asked) is not None or self._seen_at(asked) >= asked.deadline.started

    def find(self, asked: Asked) -> Flow[Signatures | None]:
        """The known signatures, or fetched ones; None if the server has no metadata."""
        known = self.known(asked)
        return known if known is not None else (yield from self._ask(asked))

    def fetch(self, asked: Asked, *, wait_for_ready: bool | None = None, requested: bool = False) -> Flow[Signatures]:
        """Fetch the signatures from the server, unless the user stated them, and cache them.

        ``requested``: the user asked for them; otherwise a call that needs them does. Raises the server's error, also
        if it means that the server has no metadata.
        """
        if (stated := self.stated(asked)) is not None:
            return stated
        key = _key(asked.spec)
        call = GetModelMetadata(replace(asked.spec, signature=""))
        began = time.monotonic()
        try:
            found: Signatures = yield from self._exchange.send(call, asked, wait_for_ready=wait_for_ready)
        except (CallError, DecodeError) as error:
            if self._says_absent(error):
                self._note_absence(error, asked)
                forbidden = isinstance(error, PermissionDeniedError)
                _add_hint(error, f"{_FORBIDDEN} {_STATE_THEM}" if forbidden else _STATE_THEM)
            raise
        finally:
            if not requested:
                self._log.looked_up(asked.spec, began)
        self._absent.pop(_caller_key(asked), None)
        self._seen[key] = found, time.monotonic()
        self._log.fetched(asked.spec, found)
        return found

    def follow(self, prediction: Prediction) -> None:
        """Forget the signatures of a version that no longer answers."""
        if (models_log.level or package_log.level or root_log.level) <= INFO:  # no call without logging
            self._log.answered(prediction.asked, prediction.model.version)
        if self._seen:
            spec, version = prediction.asked, prediction.model.version
            known, _ = self._seen.get(_key(spec), (None, 0.0))
            if known is not None and version is not None and known.version not in (None, version):
                self._seen.pop(_key(spec), None)

    def doubt(self, error: CallError, asked: Asked) -> None:
        """A prediction failed, possibly because the model changed: fetch its signatures again next time."""
        if meaning_of(error) in (Meaning.BUSY, Meaning.TOO_LARGE):  # neither is about the model
            return
        key = _key(asked.spec)
        if self._seen_at(asked) < asked.deadline.started:
            self._seen.pop(key, None)
        if not isinstance(error, REFUSED):  # perhaps the model was missing, not its metadata
            self._absent.pop(_caller_key(asked), None)

    def forget(self) -> None:
        """Forget everything fetched, because the server's configuration changed."""
        self._seen.clear()
        self._absent.clear()

    # --- applying ------------------------------------------------------------------------------------------------

    def bound(self, values: Values, asked: Asked) -> Flow[dict[str, Read]]:
        """Name the inputs and give them the signature's dtypes, where they have none or the call casts.

        Known signatures are used if the values fit them, otherwise fresh ones. If the server has no metadata, names and
        dtypes stay as they are. Raises SignatureError for values that do not fit, and for a single value that no
        signature names.
        """
        if (known := self.known(asked)) is not None:
            with suppress(SignatureError):  # the model may have changed: fresh signatures decide
                if (bound := _bind(known, values, asked)) is not None:
                    return bound
        with named(asked):
            fresh = yield from self._ask(asked)
        bound = None if fresh is None else _bind(fresh, values, asked)
        return self._unbound(values, asked) if bound is None else bound

    def validated(self, call: Predict, asked: Asked) -> Flow[None]:
        """Raise SignatureError for inputs that do not fit the signature."""
        known = self.known(asked)
        if known is not None and not call.blame(known):
            return
        with named(asked):
            fresh = yield from self._ask(asked)
        if fresh is None:
            raise _of_all_rows(
                f"the inputs cannot be checked: the server has no metadata of {described(asked.spec)} that "
                "this caller may read; leave out validate=True, or pass the signatures with signatures="
            )
        if difference := call.blame(fresh):
            error = SignatureError(f"the inputs do not fit {described(asked.spec)}. {difference}")
            error.mismatch = bool(call.blame(fresh, any_rows=True))
            raise error

    def blame(self, call: Predict | BlamableCall[Any], asked: Asked) -> Flow[str]:
        """Compare a refused request with the model's signature. Returns the difference; "" for none or no signature."""
        with suppress(Exception):  # the refusal matters more; and a token function may fail, too
            if self._seen_at(asked) >= asked.deadline.started:
                return call.blame(self._seen[_key(asked.spec)][0])
            if not asked.deadline.passed() and not self._is_absent(asked):
                soon = asked._replace(deadline=asked.deadline.sooner(BLAME_TIMEOUT))
                return call.blame((yield from self.fetch(soon)))
        return ""

    def single_input(self, asked: Asked) -> Flow[str]:
        """The only required input, for error texts: by name if the signature is available."""
        with suppress(Exception):  # the caller's error matters more
            soon = asked._replace(deadline=asked.deadline.sooner(BLAME_TIMEOUT))
            found = yield from self.find(soon)
            if found is not None:
                (alias,) = found.named(asked.spec.signature or DEFAULT_SIGNATURE).required
                return f"input {alias!r}"
        return "the input"

    # --- inside --------------------------------------------------------------------------------------------------

    def _ask(self, asked: Asked) -> Flow[Signatures | None]:
        """Fetch the signatures; None if the server has no metadata, or had none a short while ago."""
        if self._is_absent(asked):
            return None
        try:
            return (yield from self.fetch(asked))
        except (CallError, DecodeError) as error:
            if self._says_absent(error):
                return None
            raise
        except RecordingError as error:
            return None if self._derived is None else self._derived(asked.spec, error)

    def _says_absent(self, error: CallError | DecodeError) -> bool:
        # A recorded error of REST means the same where it answers a call over gRPC.
        return _says_absent(error, rest=self._exchange.rest or getattr(error, "http_status", None) is not None)

    def _note_absence(self, error: CallError | DecodeError, asked: Asked) -> None:
        key = _caller_key(asked)
        if isinstance(error, PermissionDeniedError) and callable(key[1]):
            return  # the function may return the token of another user for the next call
        self._absent.pop(key, None)
        self._absent[key] = time.monotonic()
        for oldest in list(self._absent)[:-MOST_ABSENT]:
            self._absent.pop(oldest, None)

    def _is_absent(self, asked: Asked) -> bool:
        seen = self._absent.get(_caller_key(asked))
        if seen is None:
            return False
        return seen >= asked.deadline.started or time.monotonic() - seen <= ABSENCE_AGE

    def _seen_at(self, asked: Asked) -> float:
        """When the signatures of the call's model were fetched; 0 for never."""
        return self._seen.get(_key(asked.spec), (None, 0.0))[1]

    def _unbound(self, values: Values, asked: Asked) -> dict[str, Read]:
        if isinstance(values, dict):
            return dict(values)
        if self._exchange.rest:  # a model with one input accepts it without its name
            from tfs_client._codec.rest_json import UNNAMED  # not needed over gRPC

            return {UNNAMED: values}
        raise _of_all_rows(
            f"expected inputs by name, got a single value; the server has no metadata of {described(asked.spec)} "
            "that this caller may read: pass a mapping from alias to array, or pass the signatures with signatures="
        )


@contextmanager
def named(asked: Asked) -> Iterator[None]:
    """Put the call's request id on its error."""
    try:
        yield
    except CallError as error:
        error.request_id = asked.request_id
        raise


def _bind(signatures: Signatures, values: Values, asked: Asked) -> dict[str, Read] | None:
    """Inputs by name and in the dtypes of the call's signature. Raises SignatureError for values that do not fit it.

    None for named inputs of an unknown signature: the server itself refuses such calls.
    """
    name = asked.spec.signature or DEFAULT_SIGNATURE
    if not isinstance(values, dict):
        return {**signatures.named(name).bind(values, cast=asked.cast)}
    signature = signatures.get(name)
    return None if signature is None else signature.typed(values, cast=asked.cast)


def _says_absent(error: CallError | DecodeError, *, rest: bool) -> bool:
    """Whether the error of a metadata call means that the server has no metadata.

    A gateway may forward other calls and answer this one with a page, "not found" or "forbidden"; if it refuses the
    others too, their own errors show it. A model that is missing or still loading is a different case: TensorFlow
    Serving reports it over gRPC by NOT_FOUND, and over REST by its text (core/basic_manager.cc).
    """
    if isinstance(error, DecodeError):
        return error.foreign
    if isinstance(error, NotFoundError):
        return rest and not error.details.startswith("Servable not found for request")
    if isinstance(error, InvalidArgumentError):  # TensorFlow Serving before 1.12 does not have this path
        return rest and error.details.startswith("Malformed request")
    return isinstance(error, (UnimplementedError, PermissionDeniedError))


def _add_hint(error: CallError | DecodeError, hint: str) -> None:
    if isinstance(error, CallError):
        error.hint = f"{error.hint}\n{hint}".strip()
    else:
        error.args = (f"{error.args[0]}\n{hint}", *error.args[1:])


def _of_all_rows(text: str) -> TFServingError:
    """A SignatureError that applies to every row, so that batches do not search for a single bad row."""
    error = SignatureError(text)
    error.mismatch = True
    return error


def _key(spec: ModelSpec) -> _Key:
    return spec.name, spec.version, spec.label


def _caller_key(asked: Asked) -> tuple[_Key, Credentials]:
    return _key(asked.spec), credentials_of(asked)


def is_untyped(values: Mapping[str, Read]) -> bool:
    """Whether any input has no dtype yet."""
    return any(type(value) is Untyped for value in values.values())
