"""FakeModels: what a fake server serves: functions, fakes of exported models, and models of recordings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import ConfigError, NotFoundError
from tfs_client.recordings.matching import MATCH, Rules
from tfs_client.server import FunctionSignature, Server, fakes
from tfs_client.server.fakes import Answer, ExportedModel
from tfs_client.server.lifecycle.loader_harness import check_id
from tfs_client.signatures import DEFAULT_SIGNATURE, PREDICT, GivenSignatures, TensorSpec
from tfs_client.testing.faults.model_states import ModelStates
from tfs_client.testing.replay.recorded_calls import RecordedCalls
from tfs_client.testing.replay.replays import Replays
from tfs_client.testing.scripted_answers import no_function
from tfs_client.testing.verification.known_models import KnownModels

if TYPE_CHECKING:
    from typing_extensions import Self


class FakeModels:
    """The models of a fake server, which inherits the methods that add and remove them.

    Args:
        server: the server that serves them.
        replays: the recordings that answer calls of their models.
        states: the states of versions, which faults may have unloaded.
        known: remembers their signatures.
        check_shapes: whether functions refuse inputs whose shapes contradict the signature.
    """

    def __init__(
        self, server: Server, replays: Replays, states: ModelStates, known: KnownModels, *, check_shapes: bool
    ) -> None:
        self.server: Server = server
        self.states: ModelStates = states
        self._replays = replays
        self._known = known
        self._check_shapes = check_shapes
        self._lock = threading.Lock()
        self._models: dict[tuple[str, int], dict[str, FunctionSignature]] = {}

    def add_model(
        self,
        name: str,
        fn: Callable[..., object] | None = None,
        *,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        version: int = 1,
        signature: str = DEFAULT_SIGNATURE,
        method_name: str = PREDICT,
        defaults: Mapping[str, object] | None = None,
        check_shapes: bool | None = None,
    ) -> Self:
        """Serve a function as a model. Further calls add versions to the model, or signatures to a version.

        A version that faults or states have ended is replaced, with all its signatures.

        Args:
            name: the model's name.
            fn: takes the inputs as keyword arguments by alias and returns a mapping from output alias to array, or the
                array itself if there is one output. An exception that it raises becomes the call's error. None: the
                model only answers calls that ``expect`` has announced, and others fail with INTERNAL.
            inputs, outputs: TensorSpec by alias.
            version: the model version.
            signature: the signature's name.
            method_name: the API method that the signature is for.
            defaults: values of inputs that a request may omit.
            check_shapes: refuse inputs whose shapes contradict ``inputs``; by default as the server is configured.

        Returns the server itself. Raises ConfigError if the version already has this signature.
        """
        check_id(name, version)
        with self._lock:
            self._replays.check_free(name)
            signatures = self._models.get((name, version), {}) if self._has(name, version) else {}
            if signature in signatures:
                raise ConfigError(f"model {name!r} version {version} already has a signature {signature!r}")
            check = self._check_shapes if check_shapes is None else check_shapes
            function = no_function if fn is None else fn
            values = {} if defaults is None else defaults
            added = FunctionSignature(function, inputs, outputs, method_name, values, check)
            signatures = {**signatures, signature: added}
            self.server.add_model(name, signatures, version=version)
            self.states.forget(name, version)
            self._models[name, version] = signatures
            self._known.add(name, version, signatures)
        return self

    def add_saved_model(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        version: int | None = None,
        tags: Collection[str] = ("serve",),
        answer: Answer = "zeros",
        seed: int = 0,
        check_shapes: bool | None = None,
    ) -> Self:
        """Serve a fake of an exported model, made from its signatures; the runtime, graph and weights are not needed.

        The fake refuses what the model refuses: unknown signatures, inputs and outputs, missing inputs, wrong dtypes,
        and wrong shapes.

        Args:
            path: the folder of a SavedModel, a folder with numbered versions of it, the highest of which is served, as
                the model server does by default, or the file ``saved_model.pb``; the same for ``model.onnx`` and
                ``model.tflite``. Or a file with signatures as JSON: the reply of GET /v1/models/NAME/metadata, or the
                output of ``tfs-admin signatures --json``.
            name: the model's name; by default that of the folder above a numbered version, else of the folder itself;
                for JSON, the one in it.
            version: the version; by default the folder's number, or the one in the JSON, or 1.
            tags: the tags of the graph in a SavedModel, exactly, as the model server's ``--saved_model_tags``.
            answer: "zeros": zeros, empty strings and False. "random": floats in [0, 1), integers from 0 to 99, words
                and booleans, where the same inputs give the same outputs. Or a function that takes the signature's
                name and the inputs by alias, and returns a mapping from output alias to array, or the array itself if
                there is one output; an exception that it raises becomes the call's error.
            seed: changes random answers.
            check_shapes: refuse inputs whose shapes contradict the signature; by default as the server is configured.

        Sizes that the signature leaves open follow the inputs: an axis is as long as the open axis of an input with the
        same name, if the model names its sizes, else as the same open axis of an input, and 1 otherwise.

        Returns the server itself. Raises ConfigError for a model that cannot be read, with the offset for a damaged
        file, and for a version that is already served.
        """
        return self._add_fake(fakes.read_path(path, tags=tags), name, version, answer, seed, check_shapes)

    def add_signatures(
        self,
        signatures: GivenSignatures,
        *,
        name: str | None = None,
        version: int | None = None,
        answer: Answer = "zeros",
        seed: int = 0,
        check_shapes: bool | None = None,
    ) -> Self:
        """Serve a fake that has these signatures.

        Args:
            signatures: Signatures, or a mapping from name to Signature; the JSON of /metadata or of
                ``tfs-admin signatures``, as text, bytes or parsed; or a path, as for ``add_saved_model``. Only
                /metadata and SavedModels have the values of optional inputs: otherwise a function gets zeros for those
                that a request leaves out.

        The other arguments, the result and the errors are those of ``add_saved_model``. ``name`` is required where the
        signatures do not name their model.
        """
        return self._add_fake(fakes.read_model(signatures), name, version, answer, seed, check_shapes)

    def _add_fake(
        self,
        model: ExportedModel,
        name: str | None,
        version: int | None,
        answer: Answer,
        seed: int,
        check_shapes: bool | None,
    ) -> Self:
        check = self._check_shapes if check_shapes is None else check_shapes
        servable = fakes.FakeServable(model, answer, seed=seed, check_shapes=check)
        name = name or model.name
        if version is None:
            version = 1 if model.version is None else model.version
        if not name:
            raise ConfigError("expected a name for the model, got signatures without one; add name=")
        check_id(name, version)
        with self._lock:
            self._replays.check_free(name)
            if (name, version) in self._models and self._has(name, version):
                raise ConfigError(f"model {name!r} version {version} is already served; add name= or version=")
            self.server.add_model(name, servable, version=version)
            self.states.forget(name, version)
            self._models[name, version] = servable.functions
            self._known.add(name, version, servable.functions)
        return self

    def replay(
        self,
        path: str | os.PathLike[str],
        *,
        match: Sequence[str] = MATCH,
        rtol: float = 0.0,
        atol: float = 0.0,
        inputs: Sequence[str] | None = None,
        metadata: Sequence[str] = (),
        repeats: bool = True,
    ) -> Self:
        """Answer all calls of the models in a recording, over gRPC and REST, as they were answered when recorded.

        Failed calls fail again with the recorded code and text. A call that was recorded several times gets the replies
        in their order, and then the last one again (see ``repeats``). Any other call of these models fails with
        FAILED_PRECONDITION; the text shows the nearest recorded call and how it differs. Versions, labels and
        signatures come from recorded calls of GetModelMetadata, or from the recorded tensors, whose first axis is then
        open.

        A call gets all outputs that it asks for; over REST, calls ask for all. So a recorded call with ``outputs=``
        answers a call without only if recorded metadata shows that the signature has no other outputs.

        Args:
            path: the file that ``record=`` of a client or ``tfs-admin record`` has written.
            match: what must match besides the method: some of "model", "version" (and label), "signature", "outputs"
                (those asked for) and "inputs".
            rtol, atol: floats in inputs may differ by ``atol + rtol * abs(recorded)``.
            inputs: the only inputs to compare; of calls on examples, the only features.
            metadata: keys of the calls' metadata whose values must be equal, too.
            repeats: whether the last matching recorded call answers again when all are used up, as a client that
                retries needs. Without, each answers once, and further calls fail with FAILED_PRECONDITION. Look-ups of
                signatures and states always repeat. ``Recording`` has the other default, because retries are not calls
                there.

        Returns the server itself. Raises RecordingError for a file that cannot be opened, or without replies, as a
        warmup file has; DecodeError for a damaged one; ConfigError for invalid arguments, and a model served already.
        """
        recording = RecordedCalls(path, Rules(match, rtol, atol, inputs, metadata), repeats=repeats)
        with self._lock:
            served = sorted({name for name, _ in self._models} & recording.models.names)
            if served:
                raise ConfigError(f"model {served[0]!r} is served already, and is in {recording.path!r} too")
            self._replays.add(recording)
        return self

    @property
    def models(self) -> list[str]:
        """The names of the models, in order, without those whose versions have all been unloaded or have failed."""
        with self._lock:
            served = self.server.manager.served_names()
            return sorted({name for name, _ in self._models if name in served} | self._replays.names)

    def remove_model(self, name: str, version: int = 1) -> None:
        """Stop serving a version. Running calls finish first. ``reset`` does not bring it back."""
        check_id(name, version)
        with self._lock:
            unloaded = (name, version) in self._models and not self._has(name, version)
        if not unloaded:  # by a fault or state
            self.server.manager.remove(name, version)
        with self._lock:
            self._models.pop((name, version), None)
            self.states.forget(name, version)

    def _has(self, name: str, version: int) -> bool:
        """Whether a version serves, or will once its load ends: a fault may have unloaded it."""
        return self.server.manager.has_servable(name, version)

    def set_label(self, name: str, label: str, version: int) -> None:
        """Assign a version label to a version, whatever its state.

        Raises ConfigError for a version that the server has never had.
        """
        try:
            self.server.manager.status(ModelSpec(name, version))
        except NotFoundError:
            which = f"label {label!r}: model {name!r} has no version {version}"
            raise ConfigError(f"{which}; add it first, with add_model(..., version={version})") from None
        self.server.manager.set_label(name, label, version)
