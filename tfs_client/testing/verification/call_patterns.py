"""CallPattern: what a call must look like, and in words why one does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tfs_client._codec.dtypes import Array
from tfs_client._codec.values import converted
from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError, StatusCode
from tfs_client.options import Metadata, checked_metadata
from tfs_client.recordings.differences import check_tolerances
from tfs_client.server import ServedCall
from tfs_client.server.call_record import UNREAD
from tfs_client.signatures import DEFAULT_SIGNATURE
from tfs_client.testing.call_log import LOOKUPS
from tfs_client.testing.verification.expected_values import Value, mismatch, snapshot, summary

METHODS = ("Predict", "Classify", "Regress", "MultiInference", "HandleReloadConfigRequest", *sorted(LOOKUPS))
TRANSPORTS = ("grpc", "rest")
UNKNOWN_INPUTS = "its inputs are not known: it failed before they could be read"
MOST_INPUTS = 5  # in the line of a call


@dataclass(frozen=True)
class CallPattern:
    """What calls must have in common with it. None, and names that it leaves out, stand for anything.

    Attributes:
        model, signature, version, method, transport: compared with those of the record of a call; the version is the
            one that answered.
        metadata: pairs that the call must have, among others. Keys are in lower case.
        inputs: inputs that the call must have, among others. Values are compared in the dtype that the call has.
        rtol, atol: floats may differ by ``atol + rtol * abs(expected)``.
    """

    model: str | None = None
    signature: str | None = None
    version: int | None = None
    method: str | None = None
    transport: str | None = None
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    inputs: Mapping[str, Value] = field(default_factory=dict)
    rtol: float = 0.0
    atol: float = 0.0

    @classmethod
    def of(
        cls,
        model: str | None,
        *,
        signature: str | None = None,
        version: int | None = None,
        method: str | None = None,
        transport: str | None = None,
        metadata: Metadata | None = None,
        rtol: float = 0.0,
        atol: float = 0.0,
        inputs: Mapping[str, object] | None = None,
        arrays: Mapping[str, object] = MappingProxyType({}),
    ) -> CallPattern:
        """Return the pattern of what a user has passed, with copies of the inputs.

        Args:
            inputs, arrays: inputs by alias, in two parts.

        Raises ConfigError for arguments of the wrong kind, for a method or transport that does not exist and for
        invalid tolerances, EncodeError for inputs that no tensor can hold.
        """
        for name, value in (("model", model), ("signature", signature)):
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"expected {name}= to be a name, got {shown(value)}")
        if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
            raise ConfigError(f"expected version= to be a number such as 1, got {shown(version)}")
        _check_choice("method", method, METHODS)
        _check_choice("transport", transport, TRANSPORTS)
        check_tolerances(rtol, atol)
        given = converted(_joined(inputs, arrays), snapshot)
        pairs = dict(checked_metadata(_lower_case(metadata)))
        return cls(model, signature, version, method, transport, pairs, given, rtol, atol)

    def selects(self, call: ServedCall) -> bool:
        """Return whether model, signature, version, method and transport match."""
        return not self._other_call(call)

    def mismatches(self, call: ServedCall, inputs: Mapping[str, Array] | None = None) -> list[str]:
        """Return in words all that does not match; an empty list if the call matches.

        Args:
            inputs: the inputs of the call, if its record does not have them yet.
        """
        reasons = self._other_call(call)
        for key, value in self.metadata.items():
            if key not in call.metadata:
                reasons.append(f"metadata {key!r} was not sent")
            elif _bytes(call.metadata[key]) != _bytes(value):
                reasons.append(f"metadata {key!r} has another value")  # neither value: it may be a secret
        if inputs is None and self.inputs and call.method != "Predict":
            return [*reasons, f"its inputs are not recorded: expected Predict, got {call.method}"]
        if inputs is None and self.inputs and call.inputs is UNREAD and call.code is not StatusCode.OK:
            return [*reasons, UNKNOWN_INPUTS]
        inputs = call.inputs if inputs is None else inputs
        for alias, expected in self.inputs.items():
            if alias not in inputs:
                reasons.append(f"input {alias!r} was not sent; got {listed(sorted(inputs))}")
            else:
                reasons += mismatch(alias, expected, inputs[alias], self.rtol, self.atol)
        return reasons

    def may_match(self, call: ServedCall) -> bool:
        """Return whether only the inputs could tell if a call matches, and they are not known."""
        return self.mismatches(call) == [UNKNOWN_INPUTS]

    def _other_call(self, call: ServedCall) -> list[str]:
        signature = None if self.signature is None else self.signature or DEFAULT_SIGNATURE
        pairs = (
            ("model", self.model, call.model),
            ("version", self.version, call.version),
            ("signature", signature, call.signature or DEFAULT_SIGNATURE),
            ("method", self.method, call.method),
            ("transport", self.transport, call.transport),
        )
        return [f"expected {name} {want!r}, got {shown(got)}" for name, want, got in pairs if want not in (None, got)]

    def __str__(self) -> str:
        return self.text()

    def text(self, count: int = 1) -> str:
        """Return the pattern in words, for a number of calls."""
        words = [self.method] if self.method else []
        words += ["call" if count == 1 else "calls"]
        words += [f"of model {self.model!r}"] if self.model is not None else []
        words += [f"version {self.version}"] if self.version is not None else []
        words += [f"signature {self.signature!r}"] if self.signature is not None else []
        words += [f"over {self.transport}"] if self.transport is not None else []
        details = [f"{alias}={summary(value)}" for alias, value in self.inputs.items()]
        details += [f"metadata {listed(sorted(self.metadata))}"] if self.metadata else []
        return " ".join(words) + (f" with {', '.join(details)}" if details else "")


def describe(call: ServedCall) -> str:
    """Return a call in one line: what was asked for, its inputs, and its error if it failed."""
    words = [call.method, f"of model {shown(call.model)}"]
    words += [f"version {call.version}"] if call.version is not None else []
    words += [f"signature {shown(call.signature)}"] if call.signature not in ("", DEFAULT_SIGNATURE) else []
    words += [f"over {call.transport}"]
    inputs = [f"{alias}={summary(call.inputs[alias])}" for alias in list(call.inputs)[:MOST_INPUTS]]
    inputs += ["…"] if len(call.inputs) > MOST_INPUTS else []
    inputs += [f"{call.examples} examples"] if call.examples else []
    error = "" if call.code is StatusCode.OK else f"; it failed with {call.code.name}: {shown(call.details, 200)}"
    return " ".join(words) + (f" with {', '.join(inputs)}" if inputs else "") + error


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise ConfigError(f"expected {name}= to be one of {', '.join(choices)}, got {shown(value)}")


def _lower_case(metadata: Metadata | None) -> Metadata | None:
    """Return metadata with keys in lower case, as they are sent; what is not metadata is left for the check."""
    pairs = metadata.items() if isinstance(metadata, Mapping) else metadata
    if not isinstance(pairs, Iterable):
        return metadata
    return [(each[0].lower(), each[1]) if _has_key(each) else each for each in pairs]


def _has_key(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)


def _joined(inputs: Mapping[str, object] | None, arrays: Mapping[str, object]) -> dict[str, object]:
    if inputs is not None and not isinstance(inputs, Mapping):
        raise ConfigError(f"expected inputs= as a mapping from alias to values, got {shown(inputs)}")
    if twice := sorted(set(inputs or {}) & set(arrays)):
        raise ConfigError(f"the input {listed(twice)} is given twice, in inputs= and by name")
    return {**(inputs or {}), **arrays}


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
