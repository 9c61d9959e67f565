"""FakeServer: the tiny server as a test double: its models, calls, faults, expectations and checks, put together."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypedDict

from tfs_client.options import Metadata, check_flag, checked_kind
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.matching import MATCH
from tfs_client.server import Server, ServerConfig
from tfs_client.server.fakes import Answer
from tfs_client.signatures import DEFAULT_SIGNATURE, GivenSignatures
from tfs_client.testing.call_log import CallLog
from tfs_client.testing.fake_models import FakeModels
from tfs_client.testing.fake_ports import FakePorts
from tfs_client.testing.faults.hooks import FaultHooks
from tfs_client.testing.faults.model_states import ModelStates
from tfs_client.testing.faults.rules import Faults
from tfs_client.testing.hook_chain import HookChain
from tfs_client.testing.received_calls import ReceivedCalls
from tfs_client.testing.replay.replays import Replays
from tfs_client.testing.scripted_answers import Expectation, ScriptedAnswers
from tfs_client.testing.verification.call_patterns import CallPattern
from tfs_client.testing.verification.known_models import KnownModels
from tfs_client.testing.verification.strict_checks import Checks
from tfs_client.testing.verification.unserved_calls import UnservedCalls

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class FakeServerOptions(TypedDict, total=False):
    """The arguments of FakeServer, for the methods that make one."""

    config: ServerConfig | None
    check_shapes: bool
    connection_faults: bool
    port: int | None
    rest_port: int | None
    strict: bool


class FakeServer(FakeModels, ReceivedCalls):
    """A server that answers like TensorFlow Serving, with functions as models, on a free port of the loopback address.

    ::

        with FakeServer() as server:
            server.add_model(
                "double", lambda x: 2 * x,
                inputs={"x": TensorSpec("float32", (None,))}, outputs={"y": TensorSpec("float32", (None,))},
            )
            client = PredictClient(server.target, model="double")    # or server.rest_url

    Args:
        config: the options of the underlying server.
        check_shapes: refuse Predict inputs whose shapes contradict the signature, with INVALID_ARGUMENT and the text
            of TensorFlow's sessions. In a real model an op refuses most of them; a function has no such op.
            ``add_model`` can override this for one signature.
        connection_faults: put a relay in front of the ports, which faults of connections need. It is a thread of this
            process; ``target``, ``rest_url`` and fixed ports are the relay's. A UNIX socket is served without it.
        port, rest_port: fixed ports, as in ``config``. With a ``rest_port`` REST opens at the start.
        strict: call ``check`` when the context manager exits without an exception, and at the end of a test that uses
            the fixture.

    Attributes:
        server: the server itself. Its own ports are behind the relay.
        strict: as above; may be changed at any time.
        faults: faults of the next calls, of a share of them, or until they are removed.
        states: puts versions into states: loading, failed, unloading.

    A server that is stopped and started again uses the same ports, even if it chose them itself.

    Raises ConfigError for arguments of other types, and if ``port`` or ``rest_port`` contradicts ``config``.
    """

    def __init__(
        self,
        config: ServerConfig | None = None,
        *,
        check_shapes: bool = True,
        connection_faults: bool = True,
        port: int | None = None,
        rest_port: int | None = None,
        strict: bool = False,
    ) -> None:
        for name, flag in (
            ("check_shapes", check_shapes),
            ("connection_faults", connection_faults),
            ("strict", strict),
        ):
            check_flag(name, flag)
        checked_kind("config", config, ServerConfig)
        self.strict: bool = strict
        log = CallLog()
        self._hooks = HookChain()
        ports = FakePorts(config or ServerConfig(), port, rest_port, relayed=connection_faults)
        # The server must not refer to this object: an unclosed one could neither be collected nor warn.
        server = Server(
            ports.server_config,
            observer=self._hooks.ended,
            began=log.began,
            hooks=self._hooks,
            peers=ports.relay.client_of,
        )
        ports.relay.stop_with(server)
        replays = Replays(server.manager)
        known = KnownModels(server.manager, replays)
        states = ModelStates(server.manager)
        FakeModels.__init__(self, server, replays, states, known, check_shapes=check_shapes)
        ReceivedCalls.__init__(self, server, log, ports, known)
        self.faults: Faults = Faults(self.states, ports.relay)
        self._fault_hooks = FaultHooks(self.faults, self.states, ports.relay)
        self._answers = ScriptedAnswers(server.manager)
        self._unserved = UnservedCalls(server.manager, self._replays.has)
        # Faults come first, so that calls which they refuse reach no other hook; answers early, so that servables of
        # other hooks wrap theirs; and what looks for mistakes last, so that it sees only calls that none has refused.
        for hooks in (self._fault_hooks, self._answers, self._unserved):
            self._hooks.add(hooks)
        self._hooks.add_stand_ins(self._replays)
        self._hooks.add_observer(self._fault_hooks.ended)  # before a client can know that the call has ended
        self._hooks.add_observer(log.ended)
        self._checks = Checks()
        self._checks.add("calls that the server cannot answer", self._unserved.calls)
        self._checks.add("unexpected calls", self._answers.unexpected)
        self._checks.add("unused expectations", self._answers.unused)
        self._checks.add("unused faults", self.faults.unused)
        self._checks.add("steps that could not be played", self.faults.failed)
        self._checks.add("calls that no recording has", self._replays.missing)
        self._checks.add("unused recorded calls", self._replays.unused_texts)
        for part in (log, self._unserved, self._answers, self.faults, self._replays):
            self._checks.add_clear(part.clear)
        self._checks.add_clear(self.states.restore)

    @classmethod
    def from_saved_model(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        version: int | None = None,
        tags: Collection[str] = ("serve",),
        answer: Answer = "zeros",
        seed: int = 0,
        **options: Unpack[FakeServerOptions],
    ) -> Self:
        """Make a server with a fake of an exported model; see ``add_saved_model``.

        The result is not started: use it as a context manager or call ``start``.
        ``options`` are those of FakeServer.
        """
        server = cls(**options)
        return server.add_saved_model(path, name=name, version=version, tags=tags, answer=answer, seed=seed)

    @classmethod
    def from_signatures(
        cls,
        signatures: GivenSignatures,
        *,
        name: str | None = None,
        version: int | None = None,
        answer: Answer = "zeros",
        seed: int = 0,
        **options: Unpack[FakeServerOptions],
    ) -> Self:
        """Make a server with a fake that has these signatures; see ``add_signatures``.

        The result is not started: use it as a context manager or call ``start``.
        ``options`` are those of FakeServer.
        """
        return cls(**options).add_signatures(signatures, name=name, version=version, answer=answer, seed=seed)

    @classmethod
    def from_recording(
        cls,
        path: str | os.PathLike[str],
        *,
        match: Sequence[str] = MATCH,
        rtol: float = 0.0,
        atol: float = 0.0,
        inputs: Sequence[str] | None = None,
        metadata: Sequence[str] = (),
        repeats: bool = True,
        **options: Unpack[FakeServerOptions],
    ) -> Self:
        """Make a server that answers from a recording; see ``replay``.

        The result is not started: use it as a context manager or call ``start``.
        ``options`` are those of FakeServer.
        """
        server = cls(**options)
        return server.replay(path, match=match, rtol=rtol, atol=atol, inputs=inputs, metadata=metadata, repeats=repeats)

    @property
    def target(self) -> str:
        """The target for PredictClient over gRPC."""
        return self._ports.target(self.server)

    @property
    def rest_url(self) -> str:
        """The target for PredictClient over REST. The first access opens the REST port.

        Raises ClosedError if the server is not running, ConfigError if the packages of the extra ``server`` are
        missing.
        """
        return self._ports.rest_url(self.server)

    def expect(
        self,
        model: str,
        returns: object,
        *,
        inputs: Mapping[str, object] | None = None,
        signature: str | None = None,
        version: int | None = None,
        metadata: Metadata | None = None,
        times: int | None = 1,
        rtol: float = 0.0,
        atol: float = 0.0,
    ) -> Expectation:
        """Answer the next matching calls of a model as given, instead of by its function.

        Expectations are tried in the order they were added; each answers ``times`` calls of Predict, Classify or
        Regress, or tasks of MultiInference. Requests are checked against the signature first, and faults apply first.

        Args:
            model: a model that is served; ``add_model`` without a function adds one that only answers as expected.
            returns: the outputs, by alias or as one array if there is one output; a function that takes the inputs as
                ``add_model`` describes; or an exception, which becomes the error of the call (a CallError keeps its
                code and text).
            inputs: values that inputs must have, by alias, compared in the dtype of the input. Calls may have other
                inputs. Classify and Regress have one input, "inputs", of serialized Examples.
            signature: the signature to answer; "serving_default" by default.
            version: answer only calls that this version would answer.
            metadata: pairs that calls must send, among others.
            times: how many calls to answer; None for any number, including none.
            rtol, atol: inputs of floats may differ by ``atol + rtol * abs(expected)``.

        Returns the expectation: ``used`` counts its calls, ``remove`` takes it back. Raises SignatureError for inputs
        or outputs that do not fit the signature, ConfigError for a model or signature that is not served.
        """
        name = signature or DEFAULT_SIGNATURE
        pattern = CallPattern.of(
            model, signature=name, version=version, metadata=metadata, rtol=rtol, atol=atol, inputs=inputs
        )
        return self._answers.expect(pattern, returns, times)

    def check(self) -> None:
        """Raise AssertionError, with a list, if calls or scripts are left over.

        These are: calls of models, versions or signatures that the server does not have; calls that no expectation has
        answered, of models for which there are expectations or which have no function; expectations that were not used
        as often as they say; faults that have had no effect, or fewer effects than ``times=``, also if their ``with``
        block has ended; sequences that are not over, and steps that could not be played; calls that no recording has;
        and recorded calls that were not made.
        """
        __tracebackhide__ = True
        self._checks.check()

    def unused_recordings(self) -> list[Episode]:
        """Return the recorded calls of models that have not answered any call, in order. ``check`` reports them."""
        return self._replays.unused()

    def reset(self) -> None:
        """Clear calls, lookups and pending findings, and remove expectations and faults.

        Models stay, and serve again if faults or states have unloaded them, let them fail, or hold them LOADING or
        UNLOADING. Those that ``remove_model`` has removed do not come back. ``strict`` stays as it is.

        For servers that several tests share.
        """
        self._checks.clear()

    def start(self) -> Self:
        """Open the port, and return once it answers. REST is opened too if it has a fixed port or was open before.

        Raises ConfigError if a port cannot be bound, ClosedError in a forked process if the server was started before
        the fork.
        """
        self.server._check_process()
        self._fault_hooks.start()
        self._ports.start(self.server)
        return self

    def stop(self) -> None:
        """Finish running calls and close the ports. Calling it again has no effect.

        Pauses of faults end at once, and states of versions that were to last for some seconds are over. In a forked
        process this has no effect on a server that was started before the fork: it belongs to the parent.
        """
        if self.server._is_of_parent():
            return
        self._fault_hooks.stop()
        self._ports.stop(self.server)
        self.states.finish_timed()

    def restart(self) -> Self:
        """Stop and start again on the same ports, so that clients can reconnect. Models, calls and faults stay."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self.strict and kind is None and not self.server._is_of_parent():
            __tracebackhide__ = True
            self.check()
