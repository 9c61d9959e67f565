"""ModelServerConfig messages as protobuf text, and what must not be lost on the way (model_server_config.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfs_client.errors import ConfigError
from tfs_client.shown import bounded, shown

if TYPE_CHECKING:
    from google.protobuf.message import Message


def parse(text: str) -> Any:
    """The message that a model config file holds. Raises ConfigError, with the line."""
    from tfs_client.protos._pool import pool
    from tfs_client.protos.tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    proto = ModelServerConfig()
    fill(proto, text, "a ModelServerConfig", descriptor_pool=pool())
    return proto


def fill(proto: Message, text: str, what: str, **options: Any) -> None:
    """Read protobuf text into a message; ``what`` names it in errors. Raises ConfigError, with the line."""
    from google.protobuf import text_format

    try:
        text_format.Parse(text, proto, **options)
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        where = "" if line is None else f"line {line}, column {column}: "
        said = bounded(str(error).removeprefix(f"{line}:{column} : "), 1000)
        raise ConfigError(f"{where}expected {what} in protobuf text: {said}") from error
    except Exception as error:  # nested beyond Python's stack, a number of too many digits, half a character
        said = f"{type(error).__name__}: {bounded(str(error), 500)}"
        raise ConfigError(f"expected {what} in protobuf text: {said}") from error


def text_of(proto: Message) -> str:
    """The content of a model config file."""
    from google.protobuf import text_format

    from tfs_client.protos._pool import pool

    # Our own pool: how a field of type Any is written must not depend on what else the process has imported.
    return text_format.MessageToString(proto, as_utf8=True, descriptor_pool=pool())


def check_known(proto: Message) -> None:
    """Refuse fields of a later schema: they would be lost in text."""
    known = type(proto).FromString(proto.SerializeToString())
    known.DiscardUnknownFields()
    if known.ByteSize() != proto.ByteSize():
        name = proto.DESCRIPTOR.name
        raise ConfigError(f"the {name} has fields of a later schema, which would be lost; remove them")


def checked_logging_config(data: bytes) -> bytes:
    from tfs_client.protos.tensorflow_serving.config.logging_config_pb2 import LoggingConfig

    try:
        proto = LoggingConfig.FromString(data)
    except Exception:  # protobuf in Python has more than its own DecodeError
        raise ConfigError(f"expected a serialized LoggingConfig or None, got {shown(data)}") from None
    check_known(proto)
    return proto.SerializeToString(deterministic=True)
