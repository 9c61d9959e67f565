"""Signatures as JSON, with the fields that protobuf prints for SignatureDefs (core/protobuf/meta_graph.proto)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tfs_client.server.servable import Servable
from tfs_client.server.signature_messages import signature_def_map

# Fields with default values are printed too; the option was renamed in protobuf 5.26.
_ALL = {"always_print_fields_with_no_presence", "including_default_value_fields"}
OPTIONS: dict[str, Any] = {
    "preserving_proto_field_name": True,
    **dict.fromkeys(_ALL & inspect.signature(json_format.MessageToDict).parameters.keys(), True),
}


def signatures(servable: Servable) -> dict[str, object]:
    """Return every signature of a servable, with names and aliases in order."""
    found = signature_def_map(servable).signature_def
    return {name: _signature(found[name]) for name in sorted(found)}


def _signature(proto: SignatureDef) -> dict[str, object]:
    return {
        "inputs": _messages(proto.inputs),
        "outputs": _messages(proto.outputs),
        "method_name": proto.method_name,
        "defaults": _messages(proto.defaults),
    }


def _messages(protos: Mapping[str, Message]) -> dict[str, object]:
    return {alias: json_format.MessageToDict(protos[alias], **OPTIONS) for alias in sorted(protos)}
