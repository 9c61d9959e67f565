"""Signatures as JSON, field by field as protobuf prints SignatureDefs (tensorflow/core/protobuf/meta_graph.proto)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from tfs_client.protos.tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tfs_client.server.metadata import signature_def_map
from tfs_client.server.servable import Servable

# Fields at their defaults are printed too; the option has another name since protobuf 5.26.
_ALL = {"always_print_fields_with_no_presence", "including_default_value_fields"}
OPTIONS: dict[str, Any] = {
    "preserving_proto_field_name": True,
    **dict.fromkeys(_ALL & inspect.signature(json_format.MessageToDict).parameters.keys(), True),
}


def signatures(servable: Servable) -> dict[str, Any]:
    """Every signature of a servable; names and aliases are sorted."""
    found = signature_def_map(servable).signature_def
    return {name: _signature(found[name]) for name in sorted(found)}


def _signature(proto: SignatureDef) -> dict[str, Any]:
    return {
        "inputs": _messages(proto.inputs),
        "outputs": _messages(proto.outputs),
        "method_name": proto.method_name,
        "defaults": _messages(proto.defaults),
    }


def _messages(protos: Mapping[str, Message]) -> dict[str, Any]:
    return {alias: json_format.MessageToDict(protos[alias], **OPTIONS) for alias in sorted(protos)}
