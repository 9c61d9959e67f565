"""SavedModels, run by TensorFlow (the extra ``tensorflow``).

The model is loaded and run as TensorFlow Serving does it: the graph of the MetaGraphDef with the wanted tags goes into
a session as it is, variables are restored and the init op is run with the paths of the assets; a call feeds and
fetches tensors by the names in the signature. So exports of TensorFlow 1 and 2 are the same thing here, and errors of
ops come with TensorFlow's own code and text.

Source: tensorflow/cc/saved_model/reader.cc, loader.cc and loader_util.cc.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from tfs_client.codec import tensors
from tfs_client.codec.dtypes import BY_NUMBER
from tfs_client.errors import (
    DataLossError,
    FailedPreconditionError,
    NotFoundError,
    StatusCode,
    UnimplementedError,
    call_error,
)
from tfs_client.server.servable import Array
from tfs_client.signatures import Signature, TensorSpec

BINARY, TEXT, SESSION_BUNDLE = "saved_model.pb", "saved_model.pbtxt", "export.meta"
INIT_OP = "__saved_model_init_op"
MAX_CALLABLES = 64  # combinations of signature and wanted outputs that are kept ready


def load(path: str, *, tags: Iterable[str] = ("serve",), intra_op: int = 0, inter_op: int = 0) -> SavedModelServable:
    """Load the SavedModel of a version directory.

    Args:
        tags: the MetaGraphDef with exactly these tags is served (``--saved_model_tags``).
        intra_op, inter_op: threads within an op, and for ops side by side; 0 lets TensorFlow choose. They are shared
            by all models of the process, so that those of the first one count.

    Raises CallError with the model server's code and text; FAILED_PRECONDITION without TensorFlow.
    """
    file = _model_file(path)
    tf = tensorflow()
    meta_graph = _meta_graph(file, frozenset(tags))
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra_op, inter_op_parallelism_threads=inter_op)
    session = Session(tf, meta_graph, config)
    try:
        _restore(session, meta_graph, path)
        return SavedModelServable(session, meta_graph.signature_def)
    except BaseException:
        session.close()
        raise


def tensorflow() -> Any:
    """The package. Raises FailedPreconditionError that tells how to install it."""
    try:
        return import_module("tensorflow")
    except ImportError as error:
        raise FailedPreconditionError(
            f"running this model needs TensorFlow: pip install 'tfs-client[tensorflow]' ({error})"
        ) from error


class SavedModelServable:
    """A SavedModel in memory. Calls may run in several threads at once, as many as TensorFlow has room for."""

    def __init__(self, session: Session, signature_defs: Mapping[str, Any]) -> None:
        self._session = session
        self._defaults = {name: _defaults(proto) for name, proto in sorted(signature_defs.items())}
        self._signatures = {name: _signature(proto) for name, proto in sorted(signature_defs.items())}

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name; those of TensorFlow 2 include ``__saved_model_init_op``."""
        return self._signatures

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Values of the inputs that a request may leave out, by alias."""
        return self._defaults[signature]

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Feed the inputs and fetch the outputs. Raises CallError with the code and text of the op that failed."""
        known = self._signatures[signature]
        feeds = {known.inputs[alias].tensor_name: array for alias, array in inputs.items()}
        names = [known.outputs[alias].tensor_name for alias in outputs]
        values = self._session.run(feeds, tuple(dict.fromkeys(names)))  # aliases may share a tensor
        return {alias: values[name] for alias, name in zip(outputs, names, strict=True)}

    def close(self) -> None:
        """Give the memory back."""
        self._session.close()


class Session:
    """A graph with the state of its variables and tables.

    Runs through TensorFlow's callables, the way of the C++ loader: nothing in Python looks at shapes before the ops
    do, error texts stay bare, and a call costs 20 µs instead of 160.
    """

    def __init__(self, tf: Any, meta_graph: Any, config: Any) -> None:
        self._tf = tf
        self._options = import_module("tensorflow.core.protobuf.config_pb2").CallableOptions
        stripped = meta_graph.meta_info_def.stripped_op_list
        with self._errors(), (graph := tf.Graph()).as_default():
            tf.graph_util.import_graph_def(
                meta_graph.graph_def, name="", producer_op_list=stripped if stripped.op else None
            )
            self._session = tf.compat.v1.Session(graph=graph, config=config)
        graph.finalize()
        self._callable = lru_cache(MAX_CALLABLES)(self._make_callable)

    def run(self, feeds: Mapping[str, Any], fetches: tuple[str, ...]) -> dict[str, Array]:
        """The fetched tensors by name. Raises CallError."""
        order = sorted(feeds)
        with self._errors():
            values = self._callable(tuple(order), fetches, ())(*[feeds[name] for name in order])
        return {name: _array(value) for name, value in zip(fetches, values, strict=True)}

    def run_once(self, feeds: Mapping[str, Any], target: str) -> None:
        """Run an op for its effect, and keep nothing of the preparations. Raises CallError."""
        with self._errors():
            self._make_callable(tuple(feeds), (), (target,))(*feeds.values())

    def _make_callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...], targets: tuple[str, ...]) -> Any:
        return self._session._make_callable_from_options(self._options(feed=feeds, fetch=fetches, target=targets))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._tf.errors.OpError as error:
            raise call_error(StatusCode(error.error_code), error.message) from error

    def close(self) -> None:
        """Free variables, tables and the graph."""
        self._callable.cache_clear()
        self._session.close()
        del self._session, self._callable
        gc.collect()  # graphs hold themselves in cycles, and a model's constants with them


# --- reading and restoring -----------------------------------------------------------------------------------------


def _model_file(path: str) -> str:
    for name in (BINARY, TEXT):
        if os.path.isfile(file := os.path.join(path, name)):
            return file
    if os.path.exists(os.path.join(path, SESSION_BUNDLE)):
        raise UnimplementedError("Session Bundle is deprecated and removed.")
    raise NotFoundError(
        f"Specified file path does not appear to contain a SavedModel bundle (should have a file called `{BINARY}`)\n"
        f"Specified file path: {path}"
    )


def _meta_graph(file: str, tags: frozenset[str]) -> Any:
    """The first MetaGraphDef that has exactly these tags."""
    for meta_graph in _saved_model(file).meta_graphs:
        if tags == set(meta_graph.meta_info_def.tags):
            return meta_graph
    raise NotFoundError(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. "
        "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


def _saved_model(file: str) -> Any:
    from google.protobuf import message, text_format

    saved_model = import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
    with open(file, "rb") as opened:
        data = opened.read()
    kind = "text" if file.endswith(TEXT) else "binary"
    try:
        if kind == "text":
            text_format.Parse(data.decode(), saved_model)
        else:
            saved_model.ParseFromString(data)
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise DataLossError(f"Can't parse {file} as {kind} proto") from error
    return saved_model


def _restore(session: Session, meta_graph: Any, path: str) -> None:
    """Fill variables and tables, as far as there are any."""
    assets = {
        asset.tensor_info.name: _text(os.path.join(path, "assets", asset.filename)) for asset in _assets(meta_graph)
    }
    saver = meta_graph.saver_def
    variables = os.path.join(path, "variables", "variables")
    if saver.restore_op_name and os.path.exists(f"{variables}.index"):
        session.run_once({saver.filename_tensor_name: _text(variables), **assets}, saver.restore_op_name)
    if init_op := _init_op(meta_graph, path):
        session.run_once(assets, init_op)


def _assets(meta_graph: Any) -> list[Any]:
    """Which tensors want the path of which file: TensorFlow 2 says it in a field, TensorFlow 1 in a collection."""
    if meta_graph.asset_file_def:
        return list(meta_graph.asset_file_def)
    asset_file_def = import_module("tensorflow.core.protobuf.meta_graph_pb2").AssetFileDef
    packed = meta_graph.collection_def["saved_model_assets"].any_list.value
    return [asset_file_def.FromString(each.value) for each in packed]


def _init_op(meta_graph: Any, path: str) -> str:
    """The op to run before the first call: that of the init signature, or else of a collection; "" for none."""
    if INIT_OP in meta_graph.signature_def:
        outputs = meta_graph.signature_def[INIT_OP].outputs
        if INIT_OP not in outputs:
            raise FailedPreconditionError(f"Could not find output {INIT_OP}")
        return str(outputs[INIT_OP].name)
    for key in ("saved_model_main_op", "legacy_init_op"):
        if key in meta_graph.collection_def:
            ops = meta_graph.collection_def[key].node_list.value
            if len(ops) != 1:
                raise FailedPreconditionError(f"Expected exactly one main op in : {path}")
            return str(ops[0])
    return ""


# --- TensorFlow's values as ours -----------------------------------------------------------------------------------


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


def _text(value: str | bytes) -> Array:
    """A single string; left to itself, numpy would drop zero bytes at its end."""
    array = np.empty((), object)
    array[()] = value.encode() if isinstance(value, str) else value
    return array
