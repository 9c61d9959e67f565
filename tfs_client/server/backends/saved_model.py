"""SavedModels, run by TensorFlow (the extra ``tensorflow``).

The model is loaded and run as TensorFlow Serving does it: the graph of the MetaGraphDef with the wanted tags goes into
a session as it is, variables are restored and the init op is run with the paths of the assets; a call feeds and
fetches tensors by the names in the signature. So exports of TensorFlow 1 and 2 are the same thing here, and errors of
ops come with TensorFlow's own code and text.

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
from typing import Any

import numpy as np

from tfs_client.codec import tensors, wire
from tfs_client.codec.dtypes import BY_NUMBER
from tfs_client.errors import StatusCode, call_error
from tfs_client.server.backends import meta_graphs
from tfs_client.server.deadlines import deadline
from tfs_client.server.file_errors import MissingPackageError
from tfs_client.server.servable import Array, Run
from tfs_client.signatures import Signature, TensorSpec

MAX_PREPARED = 64  # combinations of fed and fetched tensors that are kept ready; TensorFlow lets go of none
TIMEOUT = wire.varint(wire.tag(2, wire.VARINT))  # RunOptions.timeout_in_ms
MAX_TIMEOUT = 1e9  # seconds; as good as none, and sure to fit

Fetch = tuple[tuple[str, ...], tuple[str, ...]]  # the names of fed tensors and of fetched ones


def load(path: str, *, tags: Iterable[str] = ("serve",), intra_op: int = 0, inter_op: int = 0) -> SavedModelServable:
    """Load the SavedModel of a version directory.

    Args:
        tags: the MetaGraphDef with exactly these tags is served (``--saved_model_tags``).
        intra_op, inter_op: threads within an op, and for ops side by side; 0 lets TensorFlow choose. They are shared
            by all models of the process, so that those of the first one count.

    Raises CallError with the model server's code and text; FAILED_PRECONDITION without TensorFlow.
    """
    file = meta_graphs.model_file(path)
    tf = tensorflow()
    meta_graph = meta_graphs.meta_graph(file, frozenset(tags))
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra_op, inter_op_parallelism_threads=inter_op)
    session = Session(tf, meta_graph, config)
    try:
        _restore(session, meta_graph, path)
        return SavedModelServable(session, meta_graph.signature_def)
    except BaseException:
        session.close()
        raise


def tensorflow() -> Any:
    """The package. Raises MissingPackageError that tells how to install it."""
    try:
        return import_module("tensorflow")
    except ImportError as error:
        raise MissingPackageError(
            f"running this model needs TensorFlow: pip install 'tfs-client[tensorflow]' ({error})"
        ) from error


class SavedModelServable:
    """A SavedModel in memory. Calls may run in several threads at once, as many as TensorFlow has room for."""

    def __init__(self, session: Session, signature_defs: Mapping[str, Any]) -> None:
        self._session = session
        self._signature_defs = {name: proto.SerializeToString() for name, proto in sorted(signature_defs.items())}
        self._defaults = {name: _defaults(proto) for name, proto in sorted(signature_defs.items())}
        self._signatures = {name: _signature(proto) for name, proto in sorted(signature_defs.items())}

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name; those of TensorFlow 2 include ``__saved_model_init_op``."""
        return self._signatures

    @property
    def signature_defs(self) -> Mapping[str, bytes]:
        """The signatures by name, as serialized SignatureDefs that nothing was done to."""
        return self._signature_defs

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Values of the inputs that a request may leave out, by alias."""
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
            feeds.update({known.inputs[alias].tensor_name: array for alias, array in inputs.items()})
            wanted.append({alias: known.outputs[alias] for alias in outputs})
        fetches = dict.fromkeys(
            spec.tensor_name for specs in wanted for spec in specs.values()
        )  # aliases may share one
        values = self._session.run(feeds, tuple(fetches))
        return [
            {alias: _quantized(values[spec.tensor_name], spec) for alias, spec in specs.items()} for specs in wanted
        ]

    def close(self) -> None:
        """Give the memory back; no call may be running. Twice is once."""
        self._session.close()


class Session:
    """A graph with the state of its variables and tables.

    Runs go below TensorFlow's ``Session.run``, to what that itself calls: nothing in Python looks at shapes before the
    ops do, error texts stay bare, and a call costs 25 µs instead of 160.
    """

    def __init__(self, tf: Any, meta_graph: Any, config: Any) -> None:
        self._tf = tf
        self._options = import_module("tensorflow.core.protobuf.config_pb2").CallableOptions
        self._c_api = import_module("tensorflow.python.client.pywrap_tf_session")
        stripped = meta_graph.meta_info_def.stripped_op_list
        with self._errors(), (graph := tf.Graph()).as_default():
            tf.graph_util.import_graph_def(
                meta_graph.graph_def, name="", producer_op_list=stripped if stripped.op else None
            )
            self._session: Any = tf.compat.v1.Session(graph=graph, config=config)
        graph.finalize()
        self._prepared: dict[Fetch, tuple[list[Any], list[Any]]] = {}

    def run(self, feeds: Mapping[str, Any], fetches: tuple[str, ...]) -> dict[str, Array]:
        """The fetched tensors by name. Raises CallError, also when the call's deadline passes meanwhile."""
        order = tuple(sorted(feeds))
        arrays = [feeds[name] for name in order]
        with self._errors():
            prepared = self._prepared.get((order, fetches)) or self._prepare(order, fetches)
            values = self._run_once(order, fetches, arrays) if prepared is None else self._run(*prepared, arrays)
        return {name: _array(value) for name, value in zip(fetches, values, strict=True)}

    def _prepare(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> tuple[list[Any], list[Any]] | None:
        """The tensors behind the names; None for names that TensorFlow shall refuse, and when enough is kept ready."""
        find = self._session.graph.get_tensor_by_name
        if len(self._prepared) >= MAX_PREPARED:
            return None
        try:
            found = [[find(name)._as_tf_output() for name in names] for names in (feeds, fetches)]
        except (KeyError, ValueError):
            return None
        self._prepared[feeds, fetches] = prepared = found[0], found[1]
        return prepared

    def _run(self, feeds: list[Any], fetches: list[Any], arrays: list[Any]) -> list[Any]:
        """Run within the call's deadline. TensorFlow stops between two ops; an op that has begun runs to its end."""
        limit, options = deadline(), None
        if limit is not None:
            left = math.ceil(min(max(limit - time.monotonic(), 0.001), MAX_TIMEOUT) * 1000)
            # RunOptions with nothing but that: making the message would take as long as a small model runs.
            options = self._c_api.TF_NewBufferFromString(TIMEOUT + wire.varint(left))
        try:
            values: list[Any] = self._session._call_tf_sessionrun(
                options, dict(zip(feeds, arrays, strict=True)), fetches, [], None
            )
            return values
        finally:
            if options is not None:
                self._c_api.TF_DeleteBuffer(options)

    def run_once(self, feeds: Mapping[str, Any], target: str) -> None:
        """Run an op for its effect, and keep nothing of the preparations. Raises CallError."""
        with self._errors():
            self._run_once(tuple(feeds), (), list(feeds.values()), (target,))

    def _run_once(
        self, feeds: tuple[str, ...], fetches: tuple[str, ...], arrays: list[Any], targets: tuple[str, ...] = ()
    ) -> Any:
        """Run by a callable of TensorFlow's, which is gone afterwards with all its preparations."""
        options = self._options(feed=feeds, fetch=fetches, target=targets)
        return self._session._make_callable_from_options(options)(*arrays)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._tf.errors.OpError as error:
            raise call_error(StatusCode(error.error_code), error.message) from error

    def close(self) -> None:
        """Free variables, tables and the graph."""
        self._prepared.clear()
        if self._session is not None:
            self._session.close()
            self._session = None
            gc.collect()  # graphs hold themselves in cycles, and a model's constants with them


def _restore(session: Session, meta_graph: Any, path: str) -> None:
    """Fill variables and tables, as far as there are any."""
    assets = {name: _text(file) for name, file in meta_graphs.assets(meta_graph, path).items()}
    saver = meta_graph.saver_def
    variables = os.path.join(path, "variables", "variables")
    if saver.restore_op_name and os.path.exists(f"{variables}.index"):
        session.run_once({saver.filename_tensor_name: _text(variables), **assets}, saver.restore_op_name)
    if init_op := meta_graphs.init_op(meta_graph, path):
        session.run_once(assets, init_op)


def _signature(proto: Any) -> Signature:
    return Signature(_specs(proto.inputs), _specs(proto.outputs), proto.method_name, optional=frozenset(proto.defaults))


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {alias: _spec(info) for alias, info in sorted(infos.items())}


def _spec(info: Any) -> TensorSpec:
    row = BY_NUMBER.get(info.dtype % 100, BY_NUMBER[0])  # 100 and more are references, and fetched as values
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)
    return TensorSpec(row, sizes, tensor_name=info.name)


def _defaults(proto: Any) -> dict[str, Array]:
    return {alias: tensors.read(value.SerializeToString()) for alias, value in proto.defaults.items()}


def _array(value: Any) -> Array:
    return _text(value) if isinstance(value, (bytes, str)) else np.asarray(value)


def _quantized(array: Array, spec: TensorSpec) -> Array:
    """TensorFlow hands out plain integers for quantized ones; what they are is in the signature alone."""
    return array.view(spec.dtype) if isinstance(spec.dtype, np.dtype) and spec.dtype.fields else array


def _text(value: str | bytes) -> Array:
    """A single string; left to itself, numpy would drop zero bytes at its end."""
    array = np.empty((), object)
    array[()] = value.encode() if isinstance(value, str) else value
    return array
