"""CallHooks: what a test double may do to calls that the server answers; servers without one pay nothing for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tfs_client._codec.dtypes import Array
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.results import VersionStatus
from tfs_client.server.call_record import ServedCall
from tfs_client.server.predict_checks import PredictRequest
from tfs_client.server.servable import Servable

Classes = list[list[tuple[str, float]]]
"""Label and score of every class of every example."""

Values = list[float]
"""The value of every example."""


class HttpReply(NamedTuple):
    """A response over REST: its HTTP status, body and media type."""

    status: int
    content: bytes
    media_type: str


class StandIn(Protocol):
    """Answers one call in place of the versions that are served. Its methods raise CallError for a failed call."""

    def predict(self, read: Callable[[Servable], PredictRequest]) -> tuple[Mapping[str, Array], ModelSpec]:
        """Return the outputs and the version that answered. ``read`` makes the request, by a servable's signatures."""

    def classify(self, examples: Sequence[bytes]) -> tuple[Classes, ModelSpec]:
        """Return the classes and the version that answered."""

    def regress(self, examples: Sequence[bytes]) -> tuple[Values, ModelSpec]:
        """Return the values and the version that answered."""

    def multi_inference(
        self, tasks: Sequence[tuple[str, str, str]], examples: Sequence[bytes]
    ) -> list[tuple[Classes | None, Values, ModelSpec]]:
        """Return for every task (model, signature, method) its classes, or None and its values, and what answered."""

    def look_up(self) -> None:
        """Raise CallError if GetModelMetadata fails; otherwise the version that is served has the signatures."""

    def status(self) -> tuple[VersionStatus, ...] | None:
        """Return the states of versions; None for those of the versions that are served."""


class CallHooks(Protocol):
    """Called at fixed points of every call with a model spec, in the thread that serves the call unless noted.

    The record says what is known so far: method, transport, metadata, peer and timeout from the beginning, model and
    signature since ``arrived``.
    """

    def arrived(self, call: ServedCall, spec: ModelSpec, note_inputs: Callable[[], None]) -> None:
        """Note a call, before the model is looked up. May wait, or raise CallError to refuse the call.

        ``note_inputs`` records the inputs of Predict in ``call``, which otherwise happens after this.
        """

    def stand_in(self, call: ServedCall, spec: ModelSpec) -> StandIn | None:
        """Return what answers the call in place of the versions that are served; None for those versions."""

    def servable(self, call: ServedCall, servable: Servable) -> Servable:
        """Return the servable to run: the one that was found, or another one for this call."""

    def grpc_reply(self, call: ServedCall, reply: bytes) -> bytes:
        """Return the message to send over gRPC. Only called if the call succeeded; may wait."""

    def rest_reply(self, call: ServedCall, reply: HttpReply) -> HttpReply:
        """Return the response to send over REST, for errors too. Called on the event loop: must not wait."""
