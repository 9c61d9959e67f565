"""TensorFlow Lite models, run by TensorFlow's interpreter (the extra ``tensorflow``).

With ``--prefer_tflite_model`` TensorFlow Serving loads ``model.tflite`` of a version directory, if it exists, instead
of the SavedModel. ``tflite_model`` derives the signatures.
Source: servables/tensorflow/tflite_session.cc.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence

from tfs_client._codec import regular_files
from tfs_client._codec.dtypes import STRING, Array
from tfs_client._printable import listed, shown
from tfs_client.errors import InvalidArgumentError, NotFoundError
from tfs_client.server.backends.saved_model import defaults_of, signature_of, tensorflow
from tfs_client.server.backends.session_options import SessionOptions
from tfs_client.server.backends.tflite_examples import ExampleParser, extract
from tfs_client.server.backends.tflite_interpreters import InterpreterPool, LiteInterpreter
from tfs_client.server.backends.tflite_model import LiteModel, LiteTensor, read_model
from tfs_client.server.batching import BatchingParameters, BatchingServable
from tfs_client.server.files.file_errors import MissingPackageError
from tfs_client.server.servable import Servable
from tfs_client.signatures import Signature

log: logging.Logger = logging.getLogger("tfs_client.server")

FILE = "model.tflite"
MAX_BYTES = (1 << 31) - 1  # of a flatbuffer
MAX_ROWS = 500  # of a call that is split (kInitialBatchSize)


def load(
    path: str,
    *,
    pools: int = 1,
    interpreters_per_pool: int = 1,
    options: SessionOptions = SessionOptions(),  # noqa: B008  frozen
) -> Servable:
    """Load ``model.tflite`` of a version directory.

    Args:
        pools: the number of concurrent calls, each in a separate interpreter (``--num_tflite_pools``).
        interpreters_per_pool: the number of parts into which a call of 500 rows is split, which run concurrently;
            1: calls are not split (``--num_tflite_interpreters_per_pool``).
        options: the options of TensorFlow's session, which parses tf.Examples.

    Raises NotFoundError if the file does not exist, MissingPackageError if TensorFlow or its interpreter is not
    installed, and CallError with the model server's code and text for other failures.
    """
    file = os.path.join(path, FILE)
    if not os.path.isfile(file):
        raise NotFoundError(f"{file}; No such file or directory")
    tf = tensorflow()
    if not hasattr(tf, "lite"):
        raise MissingPackageError(
            f"TensorFlow {tf.__version__} does not have tf.lite, which runs {FILE}; use an older one"
        )
    # The interpreter gets the content, not the path: it would map the file, and crash if that is overwritten.
    content = regular_files.read(file, MAX_BYTES)
    model = read_model(io.BytesIO(content))
    inputs = [*model.inputs.values()]
    splitting = _splitting(inputs, pools, interpreters_per_pool) if interpreters_per_pool > 1 else None
    content, ops = extract(content)
    parse = ExampleParser(tf, ops, options.config_proto()) if ops else None
    try:
        pool = InterpreterPool(LiteInterpreter(tf.lite, content, inputs, parse) for _ in range(pools))
        servable = TFLiteServable(model, pool, parse)
    except BaseException:
        if parse is not None:
            parse.close()
        raise
    _log_signatures(file, model)
    return servable if splitting is None else BatchingServable(servable, splitting)


class TFLiteServable:
    """A loaded TensorFlow Lite model. As many calls run concurrently as there are interpreters."""

    def __init__(self, model: LiteModel, pool: InterpreterPool, parse: ExampleParser | None) -> None:
        self._inputs, self._outputs = model.inputs, model.outputs
        self._signature_defs = {name: proto.SerializeToString() for name, proto in sorted(model.signature_defs.items())}
        self._defaults = {name: defaults_of(proto) for name, proto in sorted(model.signature_defs.items())}
        self._signatures = {name: signature_of(proto) for name, proto in sorted(model.signature_defs.items())}
        self._pool, self._parse = pool, parse

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""
        return self._signatures

    @property
    def signature_defs(self) -> Mapping[str, bytes]:
        """The signatures by name, as serialized SignatureDefs."""
        return self._signature_defs

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Return values of the inputs that a request may omit, by alias."""
        return self._defaults[signature]

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Run an interpreter. The sizes of inputs may differ from call to call. Raises CallError."""
        known = self._signatures[signature]
        feeds: dict[int, Array] = {}
        for alias, array in inputs.items():
            tensor = self._inputs[known.inputs[alias].tensor_name]
            feeds[tensor.index] = _vector(alias, array) if tensor.row is STRING else array
        fetches = {alias: self._outputs[known.outputs[alias].tensor_name].index for alias in outputs}
        with self._pool.interpreter() as interpreter:
            values = interpreter.run(feeds, set(fetches.values()))
        return {alias: values[index] for alias, index in fetches.items()}

    def close(self) -> None:
        """Free the memory; no call may be running."""
        self._pool.close()
        if self._parse is not None:
            self._parse.close()


def _vector(alias: str, array: Array) -> Array:
    """Return strings as a vector. The model server keeps as many strings as there are rows, and drops the others."""
    if not array.ndim or array.size != len(array):
        raise InvalidArgumentError(
            f"input {shown(alias)}: expected one string for each row, because TensorFlow Lite models take strings as a "
            f"vector, got shape {array.shape}"
        )
    return array.reshape(-1)


def _splitting(inputs: Sequence[LiteTensor], pools: int, interpreters_per_pool: int) -> BatchingParameters:
    """Return the parameters that split calls among the interpreters of a pool (TfLiteSession::Create)."""
    rows = inputs[0].sizes[0] if len(inputs) == 1 and inputs[0].sizes else 1
    return BatchingParameters(
        max_batch_size=MAX_ROWS,
        num_batch_threads=pools,
        max_enqueued_batches=100 * pools,
        enable_large_batch_splitting=True,
        max_execution_batch_size=rows if rows > 1 else -(-MAX_ROWS // interpreters_per_pool),
    )


def _log_signatures(file: str, model: LiteModel) -> None:
    if model.from_metadata:
        return
    log.warning("No signature def found in TFLite model. Generating one.")
    (made,) = model.signature_defs.values()
    if model.own_signatures:
        log.warning(
            "%s: TensorFlow Serving does not read the signatures in the flatbuffer (%s), only the metadata "
            "signature_defs_metadata. The inputs are %s, and the outputs %s",
            file,
            _listed(model.own_signatures),
            _listed(sorted(made.inputs)),
            _listed(sorted(made.outputs)),
        )
    named = {info.name for infos in (made.inputs, made.outputs) for info in infos.values()}
    if hidden := [name for name in (*model.inputs, *model.outputs) if name not in named]:
        log.warning("%s: calls cannot name %s, because another tensor has the same alias", file, _listed(hidden))


def _listed(names: Iterable[str]) -> str:
    return listed([shown(name) for name in names])
