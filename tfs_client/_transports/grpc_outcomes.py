"""Outcomes of failed gRPC calls, including calls and errors that interceptors put in place of gRPC's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import grpc

from tfs_client._transports.grpc_metadata import result_of
from tfs_client._transports.reply import pairs
from tfs_client.errors import CallError, ReplyMetadata, StatusCode, TFServingError


class Outcome(NamedTuple):
    """How a call failed.

    Attributes:
        code: its status; UNKNOWN if the call does not report one.
        details: its text.
        initial, trailing: its metadata.
    """

    code: StatusCode
    details: str
    initial: Iterable[tuple[str, str | bytes]]
    trailing: Iterable[tuple[str, str | bytes]]


def outcome(ended: object) -> Outcome:
    """Read the outcome of a failed call from the call object or from the error that gRPC raised."""
    names = ("code", "details", "initial_metadata", "trailing_metadata")
    code, details, initial, trailing = (result_of(ended, name) for name in names)
    status = StatusCode(code.value[0]) if isinstance(code, grpc.StatusCode) else StatusCode.UNKNOWN
    if details is None and not hasattr(ended, "details"):
        details = str(ended)
    return Outcome(status, str(details or ""), initial or (), trailing or ())


def with_facts(made: TFServingError, ended: Outcome, peer: str) -> TFServingError:
    """Our error of a call, with the metadata of its reply and the address of the server."""
    if isinstance(made, CallError):
        made.metadata = ReplyMetadata(pairs(ended.initial), pairs(ended.trailing))
        made.peer = "" if made.unreached else peer
    return made
