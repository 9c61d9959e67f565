"""Whether a call can match a pattern: an assertion that nothing does must be able to fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError
from tfs_client.server import ServedCall
from tfs_client.signatures import DEFAULT_SIGNATURE
from tfs_client.testing.verification import expected_values
from tfs_client.testing.verification.call_patterns import CallPattern
from tfs_client.testing.verification.expected_values import Value
from tfs_client.testing.verification.known_models import KnownModels, KnownSignature

MODEL_FREE = ("HandleReloadConfigRequest", "ListModels", "GetConfig")  # methods of the server as a whole
MOST_REASONS = 3


def check_possible(pattern: CallPattern, calls: Sequence[ServedCall], known: KnownModels) -> None:
    """Raise ConfigError if no call can match a pattern, because of a mistake in it.

    What a client has sent in one of the calls is possible, even if the server refuses it.

    Args:
        calls: those that the server has received.
        known: the models that calls can be of.
    """
    _check_method(pattern)
    model = pattern.model
    of_model = [call for call in calls if model in (None, call.model)]
    if model is not None and not of_model and model not in known.names():
        raise _cannot_fail(f"the server never had the model {shown(model)}; models: {listed(sorted(known.names()))}")
    versions = known.versions(model)
    if pattern.version is not None and versions and pattern.version not in versions:
        raise _cannot_fail(f"{_whose(model)} version {pattern.version}; versions: {listed(_texts(versions))}")
    signatures = known.signatures(model, pattern.version)
    if signatures is None:
        return
    if (name := pattern.signature) is not None:
        names = {each.name for each in signatures} | {call.signature or DEFAULT_SIGNATURE for call in of_model}
        if (name or DEFAULT_SIGNATURE) not in names:
            raise _cannot_fail(f"{_whose(model)} signature {shown(name)}; signatures: {listed(sorted(names))}")
        signatures = [each for each in signatures if each.name == (name or DEFAULT_SIGNATURE)]
    received = [call for call in calls if pattern.selects(call)]
    for alias, value in pattern.inputs.items():
        _check_input(alias, value, signatures, received)


def _check_method(pattern: CallPattern) -> None:
    method = pattern.method
    if pattern.inputs and method not in (None, "Predict"):
        raise _cannot_fail(f"the inputs of {method} calls are not recorded: leave the inputs out, or method=")
    if method in MODEL_FREE and (pattern.model, pattern.version, pattern.signature) != (None, None, None):
        raise _cannot_fail(f"{method} calls do not name a model: leave model, version and signature out")


def _check_input(
    alias: str, value: Value, signatures: Sequence[KnownSignature], received: Sequence[ServedCall]
) -> None:
    specs = [(spec, each.checks_shapes) for each in signatures for name, spec in each.inputs if name == alias]
    arrays = [call.inputs[alias] for call in received if alias in call.inputs]
    if not specs and not arrays:
        aliases = {name for each in signatures for name, _ in each.inputs}
        raise _cannot_fail(f"no signature has the input {shown(alias)}; inputs: {listed(sorted(aliases))}")
    reasons = {expected_values.misfit(value, spec, checks_shapes=checks_shapes): None for spec, checks_shapes in specs}
    if "" not in reasons and not any(expected_values.is_comparable(value, array) for array in arrays):
        texts = [each for each in reasons if each] or ["has another dtype or shape"]
        raise _cannot_fail(f"input {alias!r} {'; or '.join(texts[:MOST_REASONS])}")


def _cannot_fail(reason: str) -> ConfigError:
    return ConfigError(f"no call can match, so this assertion cannot fail: {reason}")


def _whose(model: str | None) -> str:
    return "no model has the" if model is None else f"model {shown(model)} has no"


def _texts(numbers: Iterable[int]) -> list[str]:
    return [str(number) for number in sorted(numbers)]
