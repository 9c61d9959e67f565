"""Files of protobuf text, and the model server's errors about them (util/proto_util.h)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tfs_client._printable import bounded
from tfs_client.errors import InvalidArgumentError
from tfs_client.server.files import file_uris

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

log: logging.Logger = logging.getLogger("tfs_client.server")

Path = str | os.PathLike[str]

LIMIT = 16 << 20  # bytes of such a file; ten thousand models take one or two megabytes


def message(path: Path, kind: type[M]) -> M:
    """Read the message in a file. Raises CallError; the position of a syntax error is logged."""
    from tfs_client._codec import text_messages

    proto = kind()
    _read(path, proto.DESCRIPTOR.full_name, lambda text: text_messages.fill(proto, text))
    return proto


def check_syntax(path: Path, name: str) -> None:
    """Refuse a file that is not protobuf text, without checking its fields; the message ``name`` is not one of ours.

    Raises CallError.
    """
    from tfs_client._codec import text_messages

    _read(path, name, text_messages.check_syntax)


def _read(path: Path, name: str, parse: Callable[[bytes], None]) -> None:
    from tfs_client._codec.text_tokens import TextFormatError

    content = file_uris.read(path, LIMIT)
    try:
        parse(content)
    except TextFormatError as error:
        log.error("Error parsing text-format %s: %s", name, bounded(str(error)))
        raise InvalidArgumentError(f"Invalid protobuf file: '{os.fspath(path)}'") from None
