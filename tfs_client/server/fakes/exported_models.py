"""The signatures of an exported model, read without its runtime.

========================  ===================================================================================
``saved_model.pb``        as the model server: the first graph with exactly the tags, by default "serve" alone
``*.tflite``              as the model server with ``--prefer_tflite_model``, but variable sizes stay unknown
``*.onnx``                one signature ``serving_default``, of the graph's inputs and outputs
JSON                      the reply of /metadata, or the output of ``tfs-admin signatures --json``
========================  ===================================================================================
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfs_client._codec import expansion, model_folders, regular_files, tensors
from tfs_client._codec.axis_names import AxisNames
from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client._codec.model_folders import SAVED_MODEL
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.signature_defs import SignatureInfo, TensorInfo
from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError, TFServingError
from tfs_client.signatures import (
    DEFAULT_SIGNATURE,
    PREDICT,
    GivenSignatures,
    Signature,
    Signatures,
    TensorSpec,
    shape_text,
    signature_of,
)

if TYPE_CHECKING:
    from tfs_client.server.backends.tflite_model import LiteTensor

SERVE = frozenset({"serve"})  # the tags of the model server's default
FILES = (SAVED_MODEL, "model.onnx", "model.tflite")  # of a folder, the preferred one first
MAX_JSON = 1 << 26  # bytes


@dataclass(frozen=True)
class ExportedModel:
    """What is known of a model without running it.

    Attributes:
        name: the model's name; "" if neither file nor folder has one.
        version: the version; None if neither file nor folder has one.
        signatures: the signatures by name.
        defaults: by signature, the values of inputs that a request may omit. Zeros if only the aliases are known: JSON
            of ``tfs-admin signatures`` and Signatures do not have the values.
        signature_defs: the serialized SignatureDefs by name; None unless the model has them.
        axis_names: by signature, the names that the model gives to open sizes.
    """

    name: str
    version: int | None
    signatures: Mapping[str, Signature]
    defaults: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    signature_defs: Mapping[str, bytes] | None = None
    axis_names: Mapping[str, AxisNames] = field(default_factory=dict)


def read_path(
    path: str | os.PathLike[str], *, tags: Collection[str] = SERVE, prefer_tflite: bool = False
) -> ExportedModel:
    """Read the signatures of a model in a file or folder. A folder with numbered versions stands for the highest.

    Args:
        tags: the tags of the graph in a SavedModel, exactly; none means "serve".
        prefer_tflite: of a folder, read ``model.tflite`` if it has both.

    A folder gives the model its name: the one above a numbered version, else the model's own. Files with other names
    than the usual ones, and JSON that does not name its model, are named after the file.

    Raises ConfigError, which names the file and, for a damaged one, the offset.
    """
    where = shown(os.fspath(path))
    try:
        found = model_folders.find(path, sorted(FILES, key="model.tflite".__ne__) if prefer_tflite else FILES)
        model = _read(found.path, _checked_tags(tags))
    except TFServingError as error:
        raise ConfigError(f"{where} cannot be read as a model: {error}") from error
    except OSError as error:
        raise ConfigError(f"{where} cannot be read as a model: {error.strerror or error}") from error
    except Exception as error:  # e.g. a name with a zero byte
        raise ConfigError(f"{where} cannot be read as a model: {error}") from error
    usual = found.path.name in FILES
    return ExportedModel(
        model.name or (found.name if usual else found.path.stem),
        model.version if model.version is not None else found.version if usual else None,
        model.signatures,
        model.defaults,
        model.signature_defs,
        model.axis_names,
    )


def _checked_tags(tags: Collection[str]) -> frozenset[str]:
    if isinstance(tags, str):
        raise ConfigError(f"expected tags as a collection of texts, got the text {shown(tags)}")
    return frozenset(tags) or SERVE


def _read(file: Path, tags: frozenset[str]) -> ExportedModel:
    if file.suffix == ".pb":
        return _of_saved_model(file, tags)
    if tags != SERVE:
        raise ConfigError(f"{file.name} has no graphs with tags: the tags {listed(sorted(tags))} are for a SavedModel")
    return _READERS.get(file.suffix, _of_json_file)(file)


def read_model(given: GivenSignatures) -> ExportedModel:
    """Read signatures in any form that a client accepts as ``signatures=``, or a path as ``read_path`` does.

    Raises ConfigError for signatures that cannot be read.
    """
    if isinstance(given, Signatures):
        return _of_signatures(given, given.model, given.version)
    if isinstance(given, Mapping):
        if given and all(isinstance(value, Signature) for value in given.values()):
            return _of_signatures(given, "", None)
        return _of_reply(given)
    if isinstance(given, (bytes, bytearray, memoryview)) or (isinstance(given, str) and given.lstrip()[:1] == "{"):
        return _of_json(given.encode("utf-8", "surrogatepass") if isinstance(given, str) else bytes(given))
    if isinstance(given, (str, os.PathLike)):
        return read_path(given)
    raise ConfigError(
        "expected signatures as Signatures, the JSON of /metadata or of tfs-admin signatures, or the path of a model, "
        f"got {type(given).__name__}"
    )


def _of_saved_model(path: Path, tags: frozenset[str]) -> ExportedModel:
    from tfs_client._codec import saved_model_file, signature_defs

    with regular_files.opened(path, buffered=False) as file:
        found = saved_model_file.read(file, tags)
    if found is None:
        names = f"tag{'s' * (len(tags) > 1)} {', '.join(map(shown, sorted(tags)))}"
        raise ConfigError(f"expected a graph with the {names} and no others, got none")
    infos = {name: found[name].info for name in sorted(found)}
    model = _of_infos(ModelSpec("", None), infos)
    axis_names = {name: signature_defs.axis_names(found[name].data) for name in infos}
    return replace(model, signature_defs={name: found[name].data for name in infos}, axis_names=axis_names)


def _of_tflite(path: Path) -> ExportedModel:
    from tfs_client._codec import signature_defs
    from tfs_client.server.backends import tflite_model

    with regular_files.opened(path, buffered=False) as file:
        model = tflite_model.read_model(file)
    infos = {}
    for name, proto in sorted(model.signature_defs.items()):
        data = proto.SerializeToString()
        inputs, outputs, method, defaults = signature_defs.signature(data, 0, len(data))
        if not model.from_metadata:
            inputs, outputs = _variable(inputs, model.inputs), _variable(outputs, model.outputs)
        infos[name] = inputs, outputs, method, defaults
    return _of_infos(ModelSpec("", None), infos)


def _variable(infos: dict[str, TensorInfo], lite_tensors: Mapping[str, LiteTensor]) -> dict[str, TensorInfo]:
    """Replace the sizes that the file says are variable by unknown ones."""

    def shape(name: str, sizes: tuple[int | None, ...] | None) -> tuple[int | None, ...] | None:
        return tuple(None if size < 0 else size for size in lite_tensors[name].signature) or sizes

    return {alias: (row, shape(name, sizes), name) for alias, (row, sizes, name) in infos.items()}


def _of_onnx(path: Path) -> ExportedModel:
    from tfs_client._codec import onnx_file

    with regular_files.opened(path, buffered=False) as file:
        inputs, outputs, names = onnx_file.read(file)
    infos = {DEFAULT_SIGNATURE: (inputs, outputs, PREDICT, dict[str, bytes]())}
    return replace(_of_infos(ModelSpec("", None), infos), axis_names={DEFAULT_SIGNATURE: names})


def _of_json_file(path: Path) -> ExportedModel:
    data = regular_files.read(path, MAX_JSON)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell writes it for ``> FILE``
        data = data.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
    return _of_json(data.removeprefix(codecs.BOM_UTF8))


_READERS: Mapping[str, Callable[[Path], ExportedModel]] = {
    ".tflite": _of_tflite,
    ".onnx": _of_onnx,
}


_EXPECTED = "expected signatures as JSON"


def _of_json(data: bytes) -> ExportedModel:
    from tfs_client._codec import json_text

    try:
        return _of_reply(json_text.loads(data))
    except TFServingError as error:
        why = str(error)
        raise ConfigError(why if why.startswith(_EXPECTED) else f"{_EXPECTED}: {why}") from error


def _of_reply(reply: object) -> ExportedModel:
    from tfs_client._codec import signature_json

    try:
        spec, infos = signature_json.read(reply, shown(reply))
        return _of_infos(spec, signature_json.with_default_values(reply, infos))
    except TFServingError as error:
        raise ConfigError(str(error)) from error


def _of_infos(spec: ModelSpec, infos: Mapping[str, SignatureInfo]) -> ExportedModel:
    signatures = {name: signature_of(info) for name, info in infos.items()}
    defaults = {
        name: {
            alias: _default(alias, signatures[name].inputs[alias], data)
            for alias, data in info[3].items()
            if alias in signatures[name].inputs  # TensorFlow ignores others
        }
        for name, info in infos.items()
    }
    return _some(ExportedModel(spec.name, spec.version, signatures, defaults))


def _of_signatures(given: Mapping[str, Signature], name: str, version: int | None) -> ExportedModel:
    defaults = {
        each: {alias: _default(alias, spec) for alias, spec in signature.inputs.items() if alias in signature.optional}
        for each, signature in given.items()
    }
    return _some(ExportedModel(name, version, dict(given), defaults))


def _some(model: ExportedModel) -> ExportedModel:
    if not model.signatures:
        raise ConfigError("expected at least one signature, got none")
    return model


def _default(alias: str, spec: TensorSpec, data: bytes = b"") -> Array:
    """Return the default of an input: its TensorProto, or zeros, with 1 for unknown sizes, if the value is unknown.

    TensorFlow loads a model with a default that does not fit, and fails the calls that need it.
    """
    try:
        array = tensors.read(data) if data else _zeros(spec)
        expansion.check_copy(array, f"the default of input {shown(alias)}")
        if (row := row_of(array.dtype)) is not spec.row or not spec.accepts(array.shape):
            raise ConfigError(f"expected {spec}, got {row.readable} {shape_text(array.shape)}")
    except (TFServingError, ValueError) as error:  # ValueError: no array has that many values
        raise ConfigError(f"the default of input {shown(alias)} cannot be used: {error}") from error
    return array


def _zeros(spec: TensorSpec) -> Array:
    zero = np.full((), b"", object) if spec.row is STRING else np.zeros((), spec.row.dtype)
    return np.broadcast_to(zero, tuple(1 if size is None else size for size in spec.shape or ()))
