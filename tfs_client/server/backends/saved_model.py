"""SavedModels, run by TensorFlow (the extra ``tensorflow``).

The model is loaded and run as in TensorFlow Serving: the graph of the MetaGraphDef with the given tags is imported into
a session unchanged, the variables are restored, and the init op runs with the paths of the assets; a call feeds and
fetches tensors by the names in the signature. So exports of TensorFlow 1 and 2 are handled alike, and errors of ops
have TensorFlow's code and text.

Source: tensorflow/cc/saved_model/loader.cc.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfs_client._codec import tensors, wire
from tfs_client._codec.dtypes import BY_NUMBER, Array
from tfs_client.errors import InvalidArgumentError, StatusCode, call_error
from tfs_client.server.backends import meta_graphs, op_libraries
from tfs_client.server.backends.session_options import SessionOptions, disable_xla
from tfs_client.server.call_deadlines import deadline
from tfs_client.server.files.file_errors import MissingPackageError
from tfs_client.server.servable import Run
from tfs_client.signatures import Signature, TensorSpec

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

MAX_PREPARED = 64  # combinations of fed and fetched tensors to keep ready; TensorFlow never frees any
SERVE = frozenset({"serve"})
TIMEOUT = wire.varint(wire.tag(2, wire.VARINT))  # RunOptions.timeout_in_ms
MAX_TIMEOUT = 1e9  # seconds; practically no limit, and fits the field

Fetch = tuple[tuple[str, ...], tuple[str, ...]]  # the names of fed tensors and of fetched ones


def load(
    path: str,
    *,
    tags: Iterable[str] = ("serve",),
    options: SessionOptions = SessionOptions(),  # noqa: B008  frozen
) -> SavedModelServable:
    """Load the SavedModel of a version directory.

    Args:
        tags: the tags of the MetaGraphDef to serve, exactly; none means "serve" (``--saved_model_tags``).
        options: the options of the session that runs the model.

    Raises CallError with the model server's code and text; FAILED_PRECONDITION without TensorFlow.
    """
    file = meta_graphs.model_file(path)
    tf = tensorflow()
    meta_graph = meta_graphs.meta_graph(file, frozenset(tags) or SERVE)
    if not options.xla:
        disable_xla(tf)
    config = options.config_proto()
    session = op_libraries.with_text_ops(tf, lambda: Session(tf, meta_graph, config))
    try:
        _restore(session, meta_graph, path)
        return SavedModelServable(session, meta_graph.signature_def)
    except BaseException:
        session.close()
        raise


def tensorflow() -> ModuleType:
    """Import TensorFlow. Raises MissingPackageError, which says how to install it."""
    try:
        return import_module("tensorflow")
    except ImportError as error:
        raise MissingPackageError(
            f"running this model needs TensorFlow: pip install 'tfs-client[tensorflow]' ({error})"
        ) from error


class SavedModelServable:
    """A loaded SavedModel. Calls may run in several threads concurrently."""

    def __init__(self, session: Session, signature_defs: Mapping[str, SignatureDef]) -> None:
        self._session = session
        self._signature_defs = {name: proto.SerializeToString() for name, proto in sorted(signature_defs.items())}
        self._defaults = {name: defaults_of(proto) for name, proto in sorted(signature_defs.items())}
        self._signatures = {name: signature_of(proto) for name, proto in sorted(signature_defs.items())}

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name; those of TensorFlow 2 include ``__saved_model_init_op``."""
        return self._signatures

    @property
    def signature_defs(self) -> Mapping[str, bytes]:
        """The signatures by name, as unmodified serialized SignatureDefs."""
        return self._signature_defs

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Return values of the inputs that a request may omit, by alias."""
        return self._defaults[signature]

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Feed the inputs and fetch the outputs. Raises CallError with the code and text of the op that failed."""
        return self.run_together([Run(signature, inputs, outputs)])[0]

    def run_together(self, runs: Sequence[Run]) -> Sequence[Mapping[str, Array]]:
        """Feed the inputs of several signatures and fetch the outputs of all, in one run of the graph."""
        feeds: dict[str, Array] = {}
        wanted: list[dict[str, TensorSpec]] = []
        for signature, inputs, outputs in runs:
            known = self._signatures[signature]
            feeds.update(_feeds(known, inputs))
            wanted.append({alias: known.outputs[alias] for alias in outputs})
        fetches = dict.fromkeys(
            spec.tensor_name for specs in wanted for spec in specs.values()
        )  # aliases may share one
        values = self._session.run(feeds, tuple(fetches))
        return [
            {alias: _quantized(values[spec.tensor_name], spec) for alias, spec in specs.items()} for specs in wanted
        ]

    def close(self) -> None:
        """Free the memory; no call may be running. Calling it again has no effect."""
        self._session.close()


class Session:
    """A graph with the state of its variables and tables.

    Runs bypass TensorFlow's ``Session.run`` and call the function below it: no Python code checks shapes before the ops
    do, error texts are those of the ops alone, and a call costs 25 µs instead of 160.
    """

    def __init__(self, tf: ModuleType, meta_graph: Any, config: Message) -> None:
        self._tf = tf
        self._options = import_module("tensorflow.core.protobuf.config_pb2").CallableOptions
        self._c_api = import_module("tensorflow.python.client.pywrap_tf_session")
        with self._errors(), (graph := tf.Graph()).as_default():
            _import(tf, meta_graph)
            self._session: Any = tf.compat.v1.Session(graph=graph, config=config)
            self._session._extend_graph()  # places the ops on devices now, not with the first run
        graph.finalize()
        self._prepared: dict[Fetch, tuple[list[object], list[object]]] = {}

    def run(self, feeds: Mapping[str, object], fetches: tuple[str, ...]) -> dict[str, Array]:
        """Return the fetched tensors by name. Raises CallError, also when the call's deadline passes during the run."""
        order = tuple(sorted(feeds))
        arrays = [feeds[name] for name in order]
        with self._errors():
            prepared = self._prepared.get((order, fetches)) or self._prepare(order, fetches)
            values = self._run_once(order, fetches, arrays) if prepared is None else self._run(*prepared, arrays)
        return {name: as_array(value) for name, value in zip(fetches, values, strict=True)}

    def _prepare(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> tuple[list[object], list[object]] | None:
        """Look up the tensors by name; None for unknown names, which TensorFlow refuses, and beyond MAX_PREPARED."""
        find = self._session.graph.get_tensor_by_name
        if len(self._prepared) >= MAX_PREPARED:
            return None
        try:
            found: list[list[object]] = [[find(name)._as_tf_output() for name in names] for names in (feeds, fetches)]
        except (KeyError, ValueError):
            return None
        self._prepared[feeds, fetches] = prepared = found[0], found[1]
        return prepared

    def _run(self, feeds: list[object], fetches: list[object], arrays: list[object]) -> Sequence[object]:
        """Run within the call's deadline. TensorFlow stops only between two ops."""
        left, options = _milliseconds_left(), None
        if left:
            # Serialized RunOptions with this one field: a message object would take as long as a small model runs.
            options = self._c_api.TF_NewBufferFromString(TIMEOUT + wire.varint(left))
        try:
            values: list[object] = self._session._call_tf_sessionrun(
                options, dict(zip(feeds, arrays, strict=True)), fetches, [], None
            )
            return values
        finally:
            if options is not None:
                self._c_api.TF_DeleteBuffer(options)

    def run_once(self, feeds: Mapping[str, object], target: str) -> None:
        """Run an op for its effect, without keeping the prepared call. Raises CallError."""
        with self._errors():
            self._run_once(tuple(feeds), (), list(feeds.values()), (target,))

    def _run_once(
        self, feeds: tuple[str, ...], fetches: tuple[str, ...], arrays: list[object], targets: tuple[str, ...] = ()
    ) -> Sequence[object]:
        """Run with a callable of TensorFlow, which frees its preparations with itself."""
        options = self._options(feed=feeds, fetch=fetches, target=targets)
        options.run_options.timeout_in_ms = _milliseconds_left()
        values: list[object] = self._session._make_callable_from_options(options)(*arrays)
        return values

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._tf.errors.OpError as error:
            raise call_error(StatusCode(error.error_code), error.message) from error
        except UnicodeDecodeError as error:
            # TensorFlow loses the code of an error whose text quotes bytes that are not UTF-8, which come from inputs.
            raise InvalidArgumentError(error.object.decode(errors="replace")) from error

    def close(self) -> None:
        """Free variables, tables and the graph."""
        self._prepared.clear()
        if self._session is not None:
            self._session.close()
            self._session = None
            gc.collect()  # graphs are in reference cycles, and hold the model's constants


def _import(tf: ModuleType, meta_graph: Any) -> None:
    """Import the graph of a model into the current graph. Raises OpError, and InvalidArgumentError."""
    ops = meta_graph.meta_info_def.stripped_op_list
    try:
        tf.graph_util.import_graph_def(meta_graph.graph_def, name="", producer_op_list=ops if ops.op else None)
    except ValueError as error:  # TensorFlow's Python code makes it of INVALID_ARGUMENT
        raise InvalidArgumentError(str(error)) from error


def _milliseconds_left() -> int:
    """Return the time until the call's deadline, at least 1; 0 for a call without a deadline."""
    limit = deadline()
    if limit is None:
        return 0
    return math.ceil(min(max(limit - time.monotonic(), 0.001), MAX_TIMEOUT) * 1000)


def _feeds(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays by the name of the tensor that takes each."""
    feeds: dict[str, Array] = {}
    for alias, array in inputs.items():
        name = signature.inputs[alias].tensor_name
        if name in feeds:
            raise InvalidArgumentError(f'Endpoint "{name}" fed more than once.')
        feeds[name] = array
    return feeds


def _restore(session: Session, meta_graph: Any, path: str) -> None:
    """Restore the variables and initialize the tables, if there are any."""
    assets = {name: _text(file) for name, file in meta_graphs.assets(meta_graph, path).items()}
    saver = meta_graph.saver_def
    variables = os.path.join(path, "variables", "variables")
    if saver.restore_op_name and os.path.exists(f"{variables}.index"):
        session.run_once({saver.filename_tensor_name: _text(variables), **assets}, saver.restore_op_name)
    if init_op := meta_graphs.init_op(meta_graph, path):
        session.run_once(assets, init_op)


def signature_of(proto: SignatureDef) -> Signature:
    """Return the signature that a SignatureDef describes."""
    return Signature(_specs(proto.inputs), _specs(proto.outputs), proto.method_name, optional=frozenset(proto.defaults))


def _specs(infos: Mapping[str, TensorInfo]) -> dict[str, TensorSpec]:
    return {alias: _spec(info) for alias, info in sorted(infos.items())}


def _spec(info: TensorInfo) -> TensorSpec:
    row = BY_NUMBER.get(info.dtype % 100, BY_NUMBER[0])  # 100 and more are references, which are fetched as values
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    return TensorSpec(row, sizes, tensor_name=info.name)


def defaults_of(proto: SignatureDef) -> dict[str, Array]:
    """Return the values of a SignatureDef's optional inputs, by alias."""
    return {alias: tensors.read(value.SerializeToString()) for alias, value in proto.defaults.items()}


def as_array(value: object) -> Array:
    """Return the value of a tensor as an array; TensorFlow returns scalars in other types."""
    return _text(value) if isinstance(value, (bytes, str)) else np.asarray(value)


def _quantized(array: Array, spec: TensorSpec) -> Array:
    """Restore the quantized dtype of the signature: TensorFlow returns plain integers."""
    return array.view(spec.dtype) if isinstance(spec.dtype, np.dtype) and spec.dtype.fields else array


def _text(value: str | bytes) -> Array:
    """Return a single string as an object array: numpy's type for bytes would drop zero bytes at its end."""
    array = np.empty((), object)
    array[()] = value.encode() if isinstance(value, str) else value
    return array
