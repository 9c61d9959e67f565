"""ModelSpec: the model, version and signature of a call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tfs_client._codec import wire

_NAME = wire.tag(1, wire.LENGTH)
_VERSION = wire.tag(2, wire.LENGTH)
_SIGNATURE = wire.tag(3, wire.LENGTH)
_LABEL = wire.tag(4, wire.LENGTH)
_VALUE = wire.tag(1, wire.VARINT)


@dataclass(frozen=True)
class ModelSpec:
    """The ``model_spec`` of requests and replies (tensorflow_serving/apis/model.proto).

    Attributes:
        name: the servable's name.
        version: a version number, or None.
        label: a version label, or None; never together with ``version``.
        signature: a signature name, or "" for ``serving_default``.
    """

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = ""


@lru_cache(maxsize=256)
def write(spec: ModelSpec) -> bytes:
    """Return the message's bytes."""
    out = wire.delimited(1, wire.utf8(spec.name, "a model name")) if spec.name else b""
    if spec.version is not None:
        wrapped = b"\x08" + wire.signed_varint(spec.version) if spec.version else b""
        out += wire.delimited(2, wrapped)
    if spec.signature:
        out += wire.delimited(3, wire.utf8(spec.signature, "a signature name"))
    if spec.label is not None:
        out += wire.delimited(4, wire.utf8(spec.label, "a version label"))
    return out


def read(data: bytes) -> ModelSpec:
    """Read the message. Of version and label, the last one on the wire counts. Raises DecodeError."""
    return _read_known(data) if len(data) <= 512 else _read(data)  # large messages of untrusted peers are not cached


@lru_cache(maxsize=256)
def _read_known(data: bytes) -> ModelSpec:
    return _read(data)


def _read(data: bytes) -> ModelSpec:
    name = signature = ""
    version: int | None = None
    label: str | None = None
    for tag, start, stop in wire.fields(data, 0, len(data)):
        if tag == _NAME:
            name = wire.text(data, start, stop, "the model's name")
        elif tag == _SIGNATURE:
            signature = wire.text(data, start, stop, "the signature's name")
        elif tag == _LABEL:
            version, label = None, wire.text(data, start, stop, "the version label")
        elif tag == _VERSION:
            version, label = version or 0, None  # a version given twice is merged
            for inner, value, _ in wire.fields(data, start, stop):
                if inner == _VALUE:
                    version = wire.to_signed(value)
    return ModelSpec(name, version, label, signature)
