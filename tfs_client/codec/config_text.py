"""ModelServerConfig messages as protobuf text, and what must not be lost on the way (model_server_config.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.text_format import ParseError


def parse(text: str) -> Any:
    """The message that a model config file holds. Raises ConfigError, with the line."""
    from google.protobuf import text_format

    from tfs_client.protos._pool import pool
    from tfs_client.protos.tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    proto = ModelServerConfig()
    try:
        text_format.Parse(text, proto, descriptor_pool=pool())
    except text_format.ParseError as error:
        raise ConfigError(_explained(error)) from None
    return proto


def text_of(proto: Message) -> str:
    """The content of a model config file."""
    from google.protobuf import text_format

    from tfs_client.protos._pool import pool

    # Our own pool: how a field of type Any is written must not depend on what else the process has imported.
    return text_format.MessageToString(proto, as_utf8=True, descriptor_pool=pool())


def _explained(error: ParseError) -> str:
    line, column = error.GetLine(), error.GetColumn()
    where = "" if line is None else f"line {line}, column {column}: "
    said = str(error).removeprefix(f"{line}:{column} : ")
    return f"{where}expected a ModelServerConfig in protobuf text: {said}"


def check_known(proto: Message) -> None:
    """Refuse fields of a later schema: they would be lost in text."""
    known = type(proto).FromString(proto.SerializeToString())
    known.DiscardUnknownFields()
    if known.ByteSize() != proto.ByteSize():
        name = proto.DESCRIPTOR.name
        raise ConfigError(f"the {name} has fields of a later schema, which would be lost; remove them")


def checked_logging_config(data: bytes) -> bytes:
    from google.protobuf.message import DecodeError

    from tfs_client.protos.tensorflow_serving.config.logging_config_pb2 import LoggingConfig

    try:
        proto = LoggingConfig.FromString(data)
    except (DecodeError, TypeError):
        raise ConfigError(f"expected a serialized LoggingConfig or None, got {data!r}") from None
    check_known(proto)
    return proto.SerializeToString(deterministic=True)
