"""The replies to GET: the states of versions, and signatures, laid out as protobuf's JSON printer does it.

Source: model_servers/http_rest_api_util.cc (ToJsonString), which prints the metadata's two messages one by one and
joins them by hand.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tfs_client.codec import tensors
from tfs_client.results import VersionStatus
from tfs_client.server.manager import Handle
from tfs_client.server.servable import Array
from tfs_client.signatures import Signature, TensorSpec


def status(versions: Iterable[VersionStatus]) -> bytes:
    """A GetModelStatusResponse."""
    entries = [
        {
            "version": str(entry.version),
            "state": entry.state.name,
            "status": {"error_code": entry.code.name, "error_message": entry.message},
        }
        for entry in versions
    ]
    return _printed({"model_version_status": entries}).encode()


def metadata(handle: Handle) -> bytes:
    """A GetModelMetadataResponse with every signature; it names the version, and never a label."""
    spec = {"name": handle.name, "signature_name": "", "version": str(handle.version)}
    signatures = {
        name: _signature(signature, handle.servable.defaults(name))
        for name, signature in handle.servable.signatures.items()
    }
    return (
        f'{{\n"model_spec":{_printed(spec)},\n"metadata": '
        f'{{"signature_def": {_printed({"signature_def": signatures})}}}\n}}\n'
    ).encode()


def _printed(message: Any) -> str:
    """JSON with one space of indentation and a line feed at the end."""
    text = json.dumps(message, indent=1, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e") + "\n"


def _signature(signature: Signature, defaults: Mapping[str, Array]) -> dict[str, Any]:
    return {
        "inputs": {alias: _info(spec) for alias, spec in signature.inputs.items()},
        "outputs": {alias: _info(spec) for alias, spec in signature.outputs.items()},
        "method_name": signature.method_name,
        "defaults": {alias: _tensor(array) for alias, array in defaults.items()},
    }


def _info(spec: TensorSpec) -> dict[str, Any]:
    sizes = [-1 if size is None else size for size in spec.shape or ()]
    return {
        "dtype": spec.row.enum_name,
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": spec.shape is None,
        },
        "name": spec.tensor_name,
    }


def _tensor(array: Array) -> Any:
    """A default, as the message that it is."""
    from google.protobuf import json_format

    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

    options: dict[str, Any] = {"preserving_proto_field_name": True}
    # The option has another name since protobuf 5.26.
    for name in ("always_print_fields_with_no_presence", "including_default_value_fields"):
        if name in inspect.signature(json_format.MessageToDict).parameters:
            options[name] = True
            break
    return json_format.MessageToDict(TensorProto.FromString(tensors.write(array, typed=True)), **options)
