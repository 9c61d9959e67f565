"""CallMatcher: which calls a rule of a fake server is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.recordings.episodes import LOOKUPS
from tfs_client.server.call_record import ServedCall
from tfs_client.signatures import DEFAULT_SIGNATURE

TransportName: TypeAlias = Literal["grpc", "rest"]

INFERENCE = ("Predict", "Classify", "Regress", "MultiInference")


@dataclass(frozen=True)
class CallMatcher:
    """Decides which calls a rule is for. None matches every model, signature or transport, and every inference method.

    Attributes:
        model: the requested model.
        method: the API method.
        signature: the requested signature.
        transport: "grpc" or "rest".
    """

    model: str | None = None
    method: str | None = None
    signature: str | None = None
    transport: TransportName | None = None

    def __post_init__(self) -> None:
        for what, value in (("a model", self.model), ("a signature", self.signature)):
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"expected the name of {what} as a str, got {shown(value)}")
        if self.method not in (None, *INFERENCE, *LOOKUPS):
            raise ConfigError(f"expected a method: {', '.join((*INFERENCE, *LOOKUPS))}; got {shown(self.method)}")
        if self.transport not in (None, "grpc", "rest"):
            raise ConfigError(f"expected the transport 'grpc' or 'rest', got {shown(self.transport)}")
        if self.signature is not None and self.method in LOOKUPS:
            raise ConfigError(f"{self.method} names no signature: leave signature={shown(self.signature)} out")
        if self.method == "MultiInference" and self.transport == "rest":
            raise ConfigError("REST has no MultiInference: leave transport='rest' out")

    def matches(self, call: ServedCall, spec: ModelSpec) -> bool:
        """Return whether the rule is for this call."""
        return (
            self.model in (None, spec.name)
            and (call.method in INFERENCE if self.method is None else call.method == self.method)
            and self.signature in (None, spec.signature or DEFAULT_SIGNATURE)
            and self.transport in (None, call.transport)
        )

    def matches_lookup(self, call: ServedCall, spec: ModelSpec) -> bool:
        """Return whether the call looks up something of a model whose inference calls the rule is for."""
        return (
            self.method is None
            and call.method in LOOKUPS
            and self.model in (None, spec.name)
            and self.transport in (None, call.transport)
        )

    def __str__(self) -> str:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return "".join(f", {name}={value!r}" for name, value in given.items())
