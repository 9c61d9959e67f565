"""Outcomes: whether two calls ended alike, whichever transports they used."""

from __future__ import annotations

from tfs_client.errors import StatusCode
from tfs_client.recordings.differences import Difference
from tfs_client.signatures import Signature, Signatures

_REST_CODES = {
    StatusCode.FAILED_PRECONDITION: StatusCode.INVALID_ARGUMENT,
    StatusCode.OUT_OF_RANGE: StatusCode.INVALID_ARGUMENT,
    StatusCode.ALREADY_EXISTS: StatusCode.ABORTED,
    StatusCode.UNKNOWN: StatusCode.INTERNAL,
    StatusCode.DATA_LOSS: StatusCode.INTERNAL,
}
"""The codes that a client over REST sees as another one."""


def same_status(expected: tuple[StatusCode, str], got: tuple[StatusCode, str], *, same_transport: bool) -> bool:
    """Return whether two calls ended alike, by their codes and details.

    Between gRPC and REST, texts differ, and one status of REST stands for several codes.
    """
    if same_transport:
        return expected == got
    return _REST_CODES.get(expected[0], expected[0]) is _REST_CODES.get(got[0], got[0])


def signature_differences(expected: Signatures, got: Signatures) -> list[Difference]:
    """Compare the signatures of a model by name, whatever the order of their inputs and outputs.

    Dtypes, shapes, optional inputs and API methods must be equal; the tensors in the graph may have other names.
    """
    found = []
    for name in sorted({*expected, *got}):
        before, now = expected.get(name), got.get(name)
        if before != now:
            found.append(
                Difference(f"signature {name!r}", f"recorded {signature_text(before)}, got {signature_text(now)}")
            )
    return found


def signature_text(signature: Signature | None) -> str:
    """Return everything that is compared, in one order: servers list inputs and outputs in any."""
    if signature is None:
        return "none"
    ordered = Signature(
        dict(sorted(signature.inputs.items())),
        dict(sorted(signature.outputs.items())),
        signature.method_name,
        optional=signature.optional,
    )
    optional = f", optional {', '.join(sorted(signature.optional))}" if signature.optional else ""
    return f"{ordered}{optional} [{signature.method_name}]"
