"""FakeServer: a tiny server for tests, made of Python functions, that remembers its calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from tfs_client.errors import ConfigError
from tfs_client.server import FunctionSignature, ServedCall, Server, ServerConfig
from tfs_client.signatures import DEFAULT_SIGNATURE, PREDICT, TensorSpec
from tfs_client.testing.call_log import CallLog


class FakeServer:
    """Answers like TensorFlow Serving, with functions in place of models, on loopback and a free port.

    ::

        with FakeServer() as server:
            server.add_model(
                "double", lambda x: 2 * x,
                inputs={"x": TensorSpec("float32", (None,))}, outputs={"y": TensorSpec("float32", (None,))},
            )
            client = PredictClient(server.target, model="double")    # or server.rest_url

    Args:
        config: options of the server behind it.
        check_shapes: refuse inputs of Predict whose shapes contradict the signature, with INVALID_ARGUMENT and the text
            of TensorFlow's sessions. A real model refuses most of them in an op of its own, which a function does not
            have. ``add_model`` can say otherwise for one signature.
    """

    def __init__(self, config: ServerConfig | None = None, *, check_shapes: bool = True) -> None:
        self._check_shapes = check_shapes
        self._log = CallLog()
        self._lock = threading.Lock()
        self._models: dict[tuple[str, int], dict[str, FunctionSignature]] = {}
        # Nothing of the server may lead back to here: one that is forgotten could not be collected, nor warn.
        self.server = Server(config, observer=self._log.ended, began=self._log.began)

    def add_model(
        self,
        name: str,
        fn: Callable[..., Any],
        *,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        version: int = 1,
        signature: str = DEFAULT_SIGNATURE,
        method_name: str = PREDICT,
        defaults: Mapping[str, Any] | None = None,
        check_shapes: bool | None = None,
    ) -> FakeServer:
        """Serve a function as a model; calling it again adds a version, or a signature to a version.

        Args:
            name: the model's name.
            fn: gets the inputs as keyword arguments by alias and returns a mapping from output alias to array, or the
                only output's array. An exception it raises is the call's error.
            inputs, outputs: TensorSpec by alias.
            version: the model version.
            signature: the signature's name.
            method_name: the API method the signature is meant for.
            defaults: values of inputs that a request may leave out.
            check_shapes: refuse inputs whose shapes contradict ``inputs``; the server's setting unless given.

        Returns the server itself. Raises ConfigError when the signature is there already.
        """
        with self._lock:
            signatures = self._models.get((name, version), {})
            if signature in signatures:
                raise ConfigError(f"model {name!r} version {version} has a signature {signature!r} already")
            check = self._check_shapes if check_shapes is None else check_shapes
            added = FunctionSignature(fn, inputs, outputs, method_name, defaults or {}, check)
            signatures = {**signatures, signature: added}
            self.server.add_model(name, signatures, version=version)
            self._models[name, version] = signatures
        return self

    def remove_model(self, name: str, version: int = 1) -> None:
        """Stop serving a version; running calls finish first."""
        with self._lock:
            self._models.pop((name, version), None)
        self.server.manager.remove(name, version)

    def set_label(self, name: str, label: str, version: int) -> None:
        """Let a version label stand for a version."""
        self.server.manager.set_label(name, label, version)

    @property
    def target(self) -> str:
        """What PredictClient takes as its target."""
        return self.server.target

    @property
    def rest_url(self) -> str:
        """What a REST client takes as its target. The REST side opens when it is first asked for.

        Raises ClosedError when the server is not running, ConfigError without the packages of the extra ``server``.
        """
        return self.server.open_rest()

    @property
    def calls(self) -> list[ServedCall]:
        """The calls that have ended so far, in the order of their ends: Predict, Classify, Regress, MultiInference and
        HandleReloadConfigRequest. Status and metadata are in ``lookups``.

        A call that its client has given up has ended, with DEADLINE_EXCEEDED or CANCELLED, even while the model's
        function still runs. Calls whose deadline is about to pass are waited for, so that such a call is there as soon
        as its client has raised.
        """
        return self._ended(lookups=False)

    @property
    def lookups(self) -> list[ServedCall]:
        """The calls of GetModelMetadata and GetModelStatus that have ended so far.

        Clients make the first of these themselves: for a model's signature, when they need it, or to explain a refusal.
        """
        return self._ended(lookups=True)

    def _ended(self, *, lookups: bool) -> list[ServedCall]:
        if self._log.has_running("rest"):
            self.server.catch_up()
        self._log.settle()
        return self._log.ended_calls(lookups=lookups)

    def clear_calls(self) -> None:
        """Forget calls and lookups, and with them the tensors they hold; for servers that many tests share."""
        self._log.clear()

    def start(self) -> FakeServer:
        """Open the port; returns once it answers."""
        self.server.start()
        return self

    def stop(self) -> None:
        """Finish running calls and close the port. May be called again."""
        self.server.stop()

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
