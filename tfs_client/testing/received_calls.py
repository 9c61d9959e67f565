"""ReceivedCalls: the calls that a fake server has received, and assertions about them."""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client.options import Metadata
from tfs_client.server import ServedCall, Server
from tfs_client.testing.call_log import LOOKUPS, CallLog
from tfs_client.testing.fake_ports import FakePorts
from tfs_client.testing.verification import assertions
from tfs_client.testing.verification.call_patterns import CallPattern
from tfs_client.testing.verification.known_models import KnownModels


class ReceivedCalls:
    """The calls of a fake server, which inherits the methods that list and assert them.

    Args:
        server: the server that has answered them.
        log: where they are recorded.
        ports: the ports that they came through.
        known: the models that they can be of.
    """

    def __init__(self, server: Server, log: CallLog, ports: FakePorts, known: KnownModels) -> None:
        self.server: Server = server
        self._log = log
        self._ports = ports
        self._known = known

    @property
    def calls(self) -> list[ServedCall]:
        """The Predict, Classify, Regress, MultiInference and HandleReloadConfigRequest calls that have ended so far,
        in the order in which they ended. Status and metadata calls are in ``lookups``.

        A call that its client has abandoned counts as ended, with DEADLINE_EXCEEDED or CANCELLED, even if the model's
        function is still running. Reading this property waits for calls whose deadline is about to pass, so that such
        a call is listed as soon as its client has raised.
        """
        return self._ended(lookups=False)

    @property
    def lookups(self) -> list[ServedCall]:
        """The GetModelMetadata, GetModelStatus, ListModels and GetConfig calls that have ended so far.

        Clients call GetModelMetadata by themselves when they need a model's signature, or to explain a refusal.
        """
        return self._ended(lookups=True)

    def _ended(self, *, lookups: bool) -> list[ServedCall]:
        for _ in range(2):  # the relay passes on the end of a client, and afterwards that it is gone
            if self._log.has_running("rest"):
                self._ports.relay.catch_up()
                self.server._catch_up()
        self._log.wait_for_departed(self._ports.relay.has_departed)
        self._log.wait_for_due_calls()
        return self._log.ended_calls(lookups=lookups)

    def clear_calls(self) -> None:
        """Forget calls and lookups, and the tensors that they hold; for servers that several tests share."""
        self._log.clear()

    def assert_called(
        self,
        model: str | None = None,
        *,
        times: int | None = None,
        method: str | None = None,
        signature: str | None = None,
        version: int | None = None,
        transport: str | None = None,
        metadata: Metadata | None = None,
        rtol: float = 0.0,
        atol: float = 0.0,
        inputs: Mapping[str, object] | None = None,
        **arrays: object,
    ) -> None:
        """Raise AssertionError unless a call matches. It shows the calls that came nearest, and how they differ.

        ::

            server.assert_called("double", x=[1.0, 2.0], rtol=1e-6)

        Failed calls count too. Look-ups (see ``lookups``) count only if ``method`` names one.

        Args:
            model, signature: those that the call asks for; None stands for any.
            times: how many calls must match; None: at least one.
            method: the API method, such as "Predict".
            version: the version that answers.
            transport: "grpc" or "rest".
            metadata: pairs that the call sends, among others. Messages never show their values.
            rtol, atol: floats may differ by ``atol + rtol * abs(expected)``; NaN equals NaN.
            inputs: inputs by alias, for aliases that are not identifiers or are parameters here.
            **arrays: inputs by alias. Calls may have other inputs. Arrays and Python values are compared by value, in
                the dtype that the call has.

        Raises ConfigError and EncodeError for invalid arguments. With ``times=0`` raises ConfigError for what no call
        can match, as ``assert_not_called`` does.
        """
        __tracebackhide__ = True
        pattern = CallPattern.of(
            model,
            signature=signature,
            version=version,
            method=method,
            transport=transport,
            metadata=metadata,
            rtol=rtol,
            atol=atol,
            inputs=inputs,
            arrays=arrays,
        )
        assertions.assert_called(self._ended(lookups=method in LOOKUPS), pattern, times, self._known)

    def assert_called_once_with(
        self,
        model: str | None = None,
        *,
        method: str | None = None,
        signature: str | None = None,
        version: int | None = None,
        transport: str | None = None,
        metadata: Metadata | None = None,
        rtol: float = 0.0,
        atol: float = 0.0,
        inputs: Mapping[str, object] | None = None,
        **arrays: object,
    ) -> None:
        """Raise AssertionError unless there was exactly one call, and it has these inputs and metadata.

        Model, signature, version, method and transport select the calls that are counted. The arguments are those of
        ``assert_called``.
        """
        __tracebackhide__ = True
        pattern = CallPattern.of(
            model,
            signature=signature,
            version=version,
            method=method,
            transport=transport,
            metadata=metadata,
            rtol=rtol,
            atol=atol,
            inputs=inputs,
            arrays=arrays,
        )
        assertions.assert_called_once_with(self._ended(lookups=method in LOOKUPS), pattern)

    def assert_not_called(
        self,
        model: str | None = None,
        *,
        method: str | None = None,
        signature: str | None = None,
        version: int | None = None,
        transport: str | None = None,
        metadata: Metadata | None = None,
        rtol: float = 0.0,
        atol: float = 0.0,
        inputs: Mapping[str, object] | None = None,
        **arrays: object,
    ) -> None:
        """Raise AssertionError if a call matches. The arguments are those of ``assert_called``.

        Raises ConfigError for what no call can match, because the assertion could not fail: a model, version or
        signature that the server never had, an input that its signatures do not have, and values that an input cannot
        have. Calls that the server has received are possible, even if it has refused them.
        """
        __tracebackhide__ = True
        pattern = CallPattern.of(
            model,
            signature=signature,
            version=version,
            method=method,
            transport=transport,
            metadata=metadata,
            rtol=rtol,
            atol=atol,
            inputs=inputs,
            arrays=arrays,
        )
        assertions.assert_not_called(self._ended(lookups=method in LOOKUPS), pattern, self._known)
