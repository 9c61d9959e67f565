"""Read and write ModelServerConfig messages as protobuf text, without losing fields (model_server_config.proto)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from tfs_client._printable import bounded, shown
from tfs_client.errors import ConfigError

if TYPE_CHECKING:
    from google.protobuf.message import Message

_LONGEST_FILE = 16 << 20  # bytes of a model config file: ten thousand models take one or two megabytes
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def parse(text: str | bytes) -> Any:
    """Parse the text of a model config file. Raises ConfigError, with the line."""
    from tfs_client.protos.tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    proto = ModelServerConfig()
    fill(proto, text, "a ModelServerConfig")
    return proto


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a model config file. Raises ConfigError, which names the file."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LONGEST_FILE + 1)  # a device may be endless
    except OSError as error:
        raise ConfigError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from None
    except (ValueError, MemoryError) as error:  # a name with a zero byte; a file larger than the memory
        raise ConfigError(f"cannot read {os.fspath(path)!r}: {error or 'too large'}") from error
    if len(data) > _LONGEST_FILE:
        raise ConfigError(f"{os.fspath(path)}: expected a file of at most {_LONGEST_FILE} bytes, got a larger one")
    return data


def fill(proto: Message, text: str | bytes, what: str) -> None:
    """Read protobuf text into a message; ``what`` names it in errors. Raises ConfigError, with the line."""
    from tfs_client._codec import text_messages
    from tfs_client._codec.text_tokens import TextFormatError

    try:
        text_messages.fill(proto, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    except TextFormatError as error:
        where = f"line {error.line}, column {error.column}"
        raise ConfigError(f"{where}: expected {what} in protobuf text: {bounded(error.reason, 1000)}") from None


def text_of(proto: Message) -> str:
    """Return the message as protobuf text."""
    from google.protobuf import text_format

    from tfs_client.protos._pool import pool

    # Our own pool: the text of a field of type Any must not depend on what else the process has imported.
    text = text_format.MessageToString(proto, as_utf8=True, descriptor_pool=pool())
    # protobuf 4 does not escape control characters in strings, and C++ does not read NUL.
    return _CONTROLS.sub(lambda found: f"\\{ord(found[0]):03o}", text)


def check_known(proto: Message) -> None:
    """Refuse fields of a newer schema, which would be lost in text. Raises ConfigError."""
    known = type(proto).FromString(proto.SerializeToString())
    known.DiscardUnknownFields()
    if known.ByteSize() != proto.ByteSize():
        name = proto.DESCRIPTOR.name
        raise ConfigError(f"the {name} has fields of a newer schema, which would be lost; remove them")


def checked_logging_config(data: bytes) -> bytes:
    from tfs_client.protos.tensorflow_serving.config.logging_config_pb2 import LoggingConfig

    try:
        proto = LoggingConfig.FromString(data)
    except Exception:  # pure-Python protobuf raises more than its own DecodeError
        raise ConfigError(f"expected a serialized LoggingConfig or None, got {shown(data)}") from None
    check_known(proto)
    return proto.SerializeToString(deterministic=True)
