"""Contracts: the signatures for which code was written, compared with those that a server has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError, SignatureError
from tfs_client.signatures import Signature, Signatures, TensorSpec


@dataclass(frozen=True)
class Change:
    """One difference between the expected signatures and those found.

    Attributes:
        text: the difference in words.
        harmless: whether calls that fit the expected signatures do not notice it.
    """

    text: str
    harmless: bool = False

    def __str__(self) -> str:
        return self.text


def check_signatures(found: Mapping[str, Signature], expected: Mapping[str, Signature]) -> None:
    """Check that a model has the signatures for which a program was written.

    What the program does not notice may be new: signatures, outputs, inputs with a default. ::

        check_signatures(client.signatures(from_server=True), SIGNATURES)

    Args:
        found: the signatures of the model, as ``client.signatures(from_server=True)`` returns them.
        expected: the signatures that the program relies on, by name.

    Raises SignatureError, which names every difference; ConfigError if ``found`` come from the client's ``signatures=``
    option, because comparing them says nothing about the server.
    """
    if isinstance(found, Signatures) and found.stated:
        raise ConfigError(
            "expected the server's signatures, got those of the client's signatures= option: ask the server, with "
            "client.signatures(from_server=True)"
        )
    harmful = [str(change) for change in changes(expected, found) if not change.harmless]
    if harmful:
        raise SignatureError(f"the model's signatures have changed: {'; '.join(harmful)}")


def changes(expected: Mapping[str, Signature], found: Mapping[str, Signature]) -> list[Change]:
    """Return all differences, by signature and alias. The names of tensors in the graph do not count."""
    every: list[Change] = []
    for name in sorted({*expected, *found}):
        what = f"signature {shown(name)}"
        if name not in found:
            every.append(Change(f"{what} is missing; the signatures: {listed(sorted(found))}"))
        elif name not in expected:
            every.append(Change(f"{what} is new", harmless=True))
        else:
            every += _of_signature(what, expected[name], found[name])
    return every


def _of_signature(what: str, expected: Signature, found: Signature) -> Iterator[Change]:
    if expected.method_name != found.method_name:
        names = f"expected {shown(expected.method_name)}, got {shown(found.method_name)}"
        yield Change(f"{what}: another method name: {names}")
    yield from _of_specs(f"{what}, input", expected.inputs, found.inputs, new_is_harmless=found.optional)
    yield from _of_specs(f"{what}, output", expected.outputs, found.outputs, new_is_harmless={*found.outputs})
    for alias in sorted(expected.inputs.keys() & found.inputs.keys()):
        if alias in expected.optional and alias not in found.optional:
            yield Change(f"{what}, input {shown(alias)} has lost its default: expected an optional input")
        elif alias not in expected.optional and alias in found.optional:
            yield Change(f"{what}, input {shown(alias)} has a default now", harmless=True)


def _of_specs(
    what: str,
    expected: Mapping[str, TensorSpec],
    found: Mapping[str, TensorSpec],
    *,
    new_is_harmless: set[str] | frozenset[str],
) -> Iterator[Change]:
    for alias in sorted({*expected, *found}):
        if alias not in found:
            yield Change(f"{what} {shown(alias)} is missing: expected {expected[alias]}")
        elif alias not in expected:
            yield Change(f"{what} {shown(alias)} is new: {found[alias]}", harmless=alias in new_is_harmless)
        elif expected[alias] != found[alias]:
            yield Change(f"{what} {shown(alias)}: expected {expected[alias]}, got {found[alias]}")
