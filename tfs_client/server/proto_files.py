"""Files of protobuf text, and the errors that the model server tells of them (util/proto_util.h)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TypeVar

from tfs_client.errors import InvalidArgumentError
from tfs_client.server import regular_files
from tfs_client.server.file_errors import file_error
from tfs_client.shown import bounded

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

log = logging.getLogger("tfs_client.server")

Path = str | os.PathLike[str]

LIMIT = 16 << 20  # bytes of such a file: ten thousand models take one or two megabytes


def read(path: Path) -> str:
    """The content of a file. Raises CallError."""
    try:
        return regular_files.read(path, LIMIT).decode()
    except OSError as error:
        raise file_error(error, os.fspath(path)) from None
    except UnicodeDecodeError:
        raise _invalid(path) from None


def message(path: Path, kind: type[M]) -> M:
    """The message in a file. Raises CallError; the place where it is no such message goes to the log."""
    from tfs_client.protos._pool import pool

    proto = kind()
    _parse(path, proto, proto.DESCRIPTOR.full_name, descriptor_pool=pool())
    return proto


def check_syntax(path: Path, name: str) -> None:
    """Refuse a file that is no protobuf text, whatever its fields are; the message ``name`` is not one of ours.

    Raises CallError.
    """
    from google.protobuf.empty_pb2 import Empty

    _parse(path, Empty(), name, allow_unknown_field=True, allow_unknown_extension=True)


def _parse(path: Path, proto: Message, name: str, **options: object) -> None:
    from google.protobuf import text_format

    text = read(path)
    try:
        text_format.Parse(text, proto, **options)  # type: ignore[arg-type]
    except Exception as error:  # mostly ParseError; a RecursionError where messages are nested too deeply
        log.error("Error parsing text-format %s: %s", name, bounded(str(error)))
        raise _invalid(path) from None


def _invalid(path: Path) -> InvalidArgumentError:
    return InvalidArgumentError(f"Invalid protobuf file: '{os.fspath(path)}'")
