"""Drives flows by hand: a test looks at each step and answers it with a literal. No transport, no thread, no clock."""

from __future__ import annotations

import inspect
from typing import Any, cast

from tfs_client import PredictClient, Signature
from tfs_client._flows.client_options import GivenOptions
from tfs_client._flows.flows import Flows
from tfs_client._flows.session_flows import SessionFlows
from tfs_client._flows.settings import Settings
from tfs_client._transports.reply import Reply
from tfs_client._transports.steps import Flow, Send, Sleep, Step
from tfs_client.protos.tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from tfs_client.server.signature_messages import signature_def

GRPC, REST = "localhost:8500", "http://localhost:8501"
DEFAULTS = {name: one.default for name, one in inspect.signature(PredictClient).parameters.items() if name != "target"}


def settings_of(target: str | list[str], **options: Any) -> Settings:
    """The settings of a client with these options."""
    return Settings.of(target, cast(GivenOptions, {**DEFAULTS, "model": "m", **options}))


class Client:
    """The flows of a client, and what its calls ask."""

    def __init__(self, target: str | list[str], **options: Any) -> None:
        settings = settings_of(target, **options)
        self._set_up(settings, SessionFlows(settings))

    def derived(self, **options: Any) -> Client:
        """A client that ``with_options`` returns."""
        client = Client.__new__(Client)
        client._set_up(self._settings.derived((), **options), self._session)
        return client

    def _set_up(self, settings: Settings, session: SessionFlows) -> None:
        self._settings, self._session = settings, session
        self.flows: Flows = session.of(settings)
        self.asked = settings.defaults.asked


class Driven:
    """A flow under way.

    Attributes:
        step: the step that waits for its answer; None when the flow is over.
        result: what the flow returned.
    """

    step: Step | None
    result: Any = None

    def __init__(self, flow: Flow[Any]) -> None:
        self._flow = flow
        self._advance(None)

    def answer(self, outcome: Any) -> None:
        """Answer the step: bytes are a reply, an exception is a failure. Raises what the flow raises."""
        self._advance(outcome)

    def close(self) -> None:
        """End the flow, as the cancellation of a future does."""
        self._flow.close()

    @property
    def sent(self) -> Send:
        """The step, which is a request."""
        assert isinstance(self.step, Send)
        return self.step

    @property
    def slept(self) -> float:
        """The seconds of the step, which is a pause."""
        assert isinstance(self.step, Sleep)
        return self.step.seconds

    def _advance(self, outcome: Any) -> None:
        outcome = Reply(outcome) if isinstance(outcome, bytes) else outcome
        try:
            self.step = self._flow.throw(outcome) if isinstance(outcome, BaseException) else self._flow.send(outcome)
        except StopIteration as end:
            self.step, self.result = None, end.value


def metadata(signature: Signature, version: int = 1) -> bytes:
    """A reply of GetModelMetadata over gRPC."""
    found = SignatureDefMap()
    found.signature_def["serving_default"].CopyFrom(signature_def(signature))
    response = GetModelMetadataResponse()
    response.model_spec.name = "m"
    response.model_spec.version.value = version
    response.metadata["signature_def"].Pack(found)
    return response.SerializeToString()


def metadata_json(dtype: str = "DT_FLOAT", version: int = 1, batch: int = -1) -> bytes:
    """A reply of GetModelMetadata over REST: the input "x" and the output "y", both vectors of a dtype."""
    shape = f'{{"dim": [{{"size": "{batch}"}}], "unknown_rank": false}}'
    info = f'{{"dtype": "{dtype}", "tensor_shape": {shape}, "name": "n:0"}}'
    return (
        f'{{"model_spec": {{"name": "m", "signature_name": "", "version": "{version}"}}, '
        '"metadata": {"signature_def": {"signature_def": {"serving_default": '
        f'{{"inputs": {{"x": {info}}}, "outputs": {{"y": {info}}}, "method_name": ""}}}}}}}}}}'
    ).encode()


def status_json(*versions: tuple[int, str, str]) -> bytes:
    """A reply of GetModelStatus over REST: for each version its number, state and error text."""
    entries = ", ".join(
        f'{{"version": "{number}", "state": "{state}", '
        f'"status": {{"error_code": "{"UNKNOWN" if message else "OK"}", "error_message": "{message}"}}}}'
        for number, state, message in versions
    )
    return f'{{"model_version_status": [{entries}]}}'.encode()
