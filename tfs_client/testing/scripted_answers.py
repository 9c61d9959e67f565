"""Scripted answers: what single calls are answered with, instead of by the model's function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import counted, listed, shown
from tfs_client.errors import (
    CallError,
    ConfigError,
    InternalError,
    SignatureError,
    StatusCode,
    call_error,
)
from tfs_client.server import FunctionSignature, ServedCall
from tfs_client.server.backends.functions import CODES, FunctionServable
from tfs_client.server.call_hooks import HttpReply
from tfs_client.server.lifecycle.manager import Manager
from tfs_client.server.model_failures import details_of, text_of
from tfs_client.server.servable import Servable
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, shape_text
from tfs_client.testing.call_log import LOOKUPS
from tfs_client.testing.verification.assertions import nearest_first
from tfs_client.testing.verification.call_patterns import CallPattern, describe
from tfs_client.testing.verification.expected_values import copied, misfit
from tfs_client.testing.verification.failure_texts import numbered

MOST_SHOWN = 3  # expectations in the text of a refused call


class Expectation:
    """An answer for certain calls of a model. ``FakeServer.expect`` makes it.

    Attributes:
        times: how many calls it answers; None for any number.
        used: how many calls it has answered.
    """

    def __init__(
        self,
        pattern: CallPattern,
        answer: FunctionSignature,
        times: int | None,
        discard: Callable[[Expectation], None],
    ) -> None:
        self.times: int | None = times
        self.used: int = 0
        self._pattern = pattern
        self._answer = answer
        self._discard = discard

    def remove(self) -> None:
        """Remove it: it answers no more calls, and ``check`` does not report it. No-op if that is done already."""
        self._discard(self)

    def __str__(self) -> str:
        used = "any number of times" if self.times is None else f"used {self.used} of {counted(self.times, 'times')}"
        return f"{self._pattern}, {used}"

    def __repr__(self) -> str:
        return f"<Expectation: {self}>"

    def _mismatches(self, call: ServedCall, inputs: Mapping[str, Array]) -> list[str]:
        reasons = self._pattern.mismatches(call, inputs)
        return reasons if self.times is None or self.used < self.times else [*reasons, "it was used already"]

    def _is_unused(self) -> bool:
        return self.times is not None and self.used < self.times


class ScriptedAnswers:
    """The expectations of a fake server, in order. CallHooks that answer calls before the model does. Thread-safe."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._expectations: list[Expectation] = []
        self._models: set[str] = set()  # those for which calls were expected
        self._pending: dict[object, ServedCall] = {}  # calls of those models that were not answered yet
        self._unexpected: list[tuple[ServedCall, str]] = []

    def expect(self, pattern: CallPattern, returns: object, times: int | None) -> Expectation:
        """Add an expectation. ``pattern`` has a model. See ``FakeServer.expect``."""
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise ConfigError(f"expected times= of 1 or more, or None for any number, got {shown(times)}")
        if pattern.model is None:
            raise ConfigError("expected the name of a model, got None")
        name = pattern.signature or DEFAULT_SIGNATURE
        signature, checks_shapes = self._signature(pattern.model, pattern.version, name)
        _check_inputs(pattern, signature, checks_shapes=checks_shapes)
        answer = FunctionSignature(_function(returns, signature), signature.inputs, signature.outputs)
        FunctionServable({DEFAULT_SIGNATURE: answer})  # refuses a function that does not take the inputs
        expectation = Expectation(pattern, answer, times, self._remove)
        with self._lock:
            self._models.add(pattern.model)
            self._expectations.append(expectation)
        return expectation

    def _remove(self, expectation: Expectation) -> None:
        with self._lock:
            self._expectations = [each for each in self._expectations if each is not expectation]
            self._models = {each._pattern.model for each in self._expectations if each._pattern.model is not None}

    def _signature(self, model: str, version: int | None, name: str) -> tuple[Signature, bool]:
        """Return a signature, and whether the server refuses shapes that contradict it."""
        try:
            with self._manager.handle(ModelSpec(model, version)) as handle:
                signatures = handle.servable.signatures
                checked = getattr(handle.servable, "checked_shapes", ())
        except CallError as error:
            which = f"model {model!r}" if version is None else f"model {model!r} version {version}"
            raise ConfigError(
                f"{which} has no signatures yet: {error.details}; add them first, with "
                f"add_model({model!r}, inputs=..., outputs=...)"
            ) from None
        if name not in signatures:
            raise ConfigError(f"model {model!r} has no signature {name!r}; expected {listed(sorted(signatures))}")
        return signatures[name], name in checked

    # --- the server's calls ------------------------------------------------------------------------------------------

    def arrived(self, call: ServedCall, spec: ModelSpec, note_inputs: Callable[[], None]) -> None:
        """See CallHooks."""

    def servable(self, call: ServedCall, servable: Servable) -> Servable:
        """Return a servable that looks for an expectation before it runs."""
        if call.method in LOOKUPS:
            return servable
        with self._lock:
            if call.model in self._models:
                self._pending[call.key] = call
        return _Scripted(servable, call, self)

    def grpc_reply(self, call: ServedCall, reply: bytes) -> bytes:
        """See CallHooks."""
        return reply

    def rest_reply(self, call: ServedCall, reply: HttpReply) -> HttpReply:
        """See CallHooks."""
        return reply

    def answer_of(self, call: ServedCall, signature: str, inputs: Mapping[str, Array]) -> FunctionSignature | None:
        """Use up the first expectation that matches a run, and return its answer; None if none does."""
        run = _run_of(call, signature)
        with self._lock:
            self._pending.pop(call.key, None)
            known = [each for each in self._expectations if each._pattern.model == call.model]
            reasons = []
            for each in known:
                reasons.append(each._mismatches(run, inputs))
                if not reasons[-1]:
                    each.used += 1
                    return each._answer
            if call.model in self._models:
                self._unexpected.append((call, _nearest(known, reasons)))
            return None

    def refusal(self, call: ServedCall, signature: str, inputs: Mapping[str, Array]) -> CallError:
        """Return the error for a run of a model without a function that no expectation answers."""
        run = _run_of(call, signature)
        with self._lock:
            known = [each for each in self._expectations if each._pattern.model == call.model]
            nearest = _nearest(known, [each._mismatches(run, inputs) for each in known])
            if call.model not in self._models:
                self._unexpected.append((call, nearest))
        return InternalError(f"this fake model has no function, and {nearest}")

    # --- checks ------------------------------------------------------------------------------------------------------

    def unexpected(self) -> list[str]:
        """Return the calls that no expectation has answered, of models that have expectations or no function."""
        with self._lock:
            refused = [(call, "it was refused before expectations were looked at") for call in self._pending.values()]
            found = sorted([*self._unexpected, *refused], key=lambda each: each[0].began)
        return [f"{describe(call)}\n{reason}" for call, reason in found]

    def unused(self) -> list[Expectation]:
        """Return the expectations that could have answered more calls."""
        with self._lock:
            return [each for each in self._expectations if each._is_unused()]

    def clear(self) -> None:
        """Remove all expectations, and forget unexpected calls."""
        with self._lock:
            self._expectations.clear()
            self._models.clear()
            self._pending.clear()
            self._unexpected.clear()


class WithoutFunctionError(InternalError):
    """Raised by the function of a model that has none. The client gets a better text."""


def no_function(**inputs: Array) -> object:
    """Stand in for the function of a model that only answers as scripted."""
    raise WithoutFunctionError("this fake model has no function")


class _Scripted:
    """A servable for one call: expectations come first, then the model."""

    def __init__(self, servable: Servable, call: ServedCall, answers: ScriptedAnswers) -> None:
        self._servable = servable
        self._call = call
        self._answers = answers
        self.checked_shapes: Collection[str] = getattr(servable, "checked_shapes", frozenset())

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return self._servable.signatures

    def defaults(self, signature: str) -> Mapping[str, Array]:
        return self._servable.defaults(signature)

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        answer = self._answers.answer_of(self._call, signature, inputs)
        if answer is not None:
            own = self._servable.signatures[signature]  # another version may have another signature
            answer = FunctionSignature(answer.fn, own.inputs, own.outputs)
            return FunctionServable({signature: answer}).run(signature, inputs, outputs)
        try:
            return self._servable.run(signature, inputs, outputs)
        except WithoutFunctionError:
            raise self._answers.refusal(self._call, signature, inputs) from None


def _function(returns: object, signature: Signature) -> Callable[..., object]:
    """Return the function that gives an answer."""
    if isinstance(returns, BaseException):
        code, text = _status(returns)

        def fail(**inputs: Array) -> object:
            raise call_error(code, text)  # a new one for every call: raising adds to its traceback

        return fail
    if isinstance(returns, type) and issubclass(returns, BaseException):
        name = returns.__name__
        raise ConfigError(f"expected an exception to raise, got the class {name}: pass {name}(...)")
    if callable(returns):
        return returns
    outputs = _outputs(returns, signature)

    def constant(**inputs: Array) -> object:
        return outputs

    return constant


def _status(error: BaseException) -> tuple[StatusCode, str]:
    if isinstance(error, CallError):
        return error.code, details_of(error)
    code = next(code for kind, code in CODES if isinstance(error, kind))
    return code("").code, text_of(error)


def _outputs(returns: object, signature: Signature) -> dict[str, Array]:
    """Return copies of outputs as arrays of the signature. Raises SignatureError for those that do not fit."""
    specs = signature.outputs
    if isinstance(returns, Mapping) and (unknown := sorted(map(str, set(returns) - set(specs)))):
        raise SignatureError(
            f"the signature does not have the output {listed([*map(shown, unknown)])}; expected {listed(sorted(specs))}"
        )
    answer = FunctionServable({DEFAULT_SIGNATURE: FunctionSignature(lambda: returns, {}, specs)})
    try:
        outputs = answer.run(DEFAULT_SIGNATURE, {}, [*specs])
    except InternalError as error:
        raise SignatureError(f"returns= does not fit the signature: {error.details}") from None
    for alias, spec in specs.items():
        if not spec.accepts(outputs[alias].shape):
            raise SignatureError(f"output {alias!r} expects {spec}, got the shape {shape_text(outputs[alias].shape)}")
    return {alias: copied(array) for alias, array in outputs.items()}


def _check_inputs(pattern: CallPattern, signature: Signature, *, checks_shapes: bool) -> None:
    """Raise SignatureError for inputs that no call with this signature has."""
    for alias, value in pattern.inputs.items():
        if alias not in signature.inputs:
            known = listed(sorted(signature.inputs))
            raise SignatureError(f"the signature does not have the input {alias!r}; expected {known}")
        if wrong := misfit(value, signature.inputs[alias], checks_shapes=checks_shapes):
            raise SignatureError(f"input {alias!r} {wrong}")


def _run_of(call: ServedCall, signature: str) -> ServedCall:
    """Return the record of a call as that of one run: a MultiInference call runs several signatures."""
    return call if signature == (call.signature or DEFAULT_SIGNATURE) else replace(call, signature=signature)


def _nearest(expectations: Sequence[Expectation], reasons: Sequence[Sequence[str]]) -> str:
    """Return in words which expectations came nearest, and why they do not match."""
    if not expectations:
        return "no calls of it are expected"
    texts = ["\n".join([str(expectations[place]), *reasons[place]]) for place in nearest_first(reasons)]
    return f"no expectation matches:\n{numbered(texts, MOST_SHOWN)}"
