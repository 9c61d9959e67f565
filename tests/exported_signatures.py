"""saved_model.pb with signatures and an empty graph, as far as it is read without TensorFlow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from tfs_client import Signature
from tfs_client._codec import wire
from tfs_client.server import signature_messages


def export(folder: Path, signatures: Mapping[str, Signature], sparse: Collection[str] = ()) -> Path:
    """Write the file into a new folder; returns the folder. ``sparse`` are inputs without a tensor."""
    graph = wire.delimited(1, wire.delimited(4, b"serve"))
    for name, signature in signatures.items():
        proto = signature_messages.signature_def(signature)
        for prefix, infos in (("in", proto.inputs), ("out", proto.outputs)):
            for alias, info in infos.items():
                info.name = "" if alias in sparse else info.name or f"{prefix}_{alias}:0"
        for alias in signature.optional:
            proto.defaults[alias].dtype = proto.inputs[alias].dtype
            proto.defaults[alias].tensor_shape.SetInParent()
        graph += wire.delimited(5, wire.delimited(1, name.encode()) + wire.delimited(2, proto.SerializeToString()))
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + wire.delimited(2, graph))
    return folder
