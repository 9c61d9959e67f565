"""Files of protobuf text, and the errors that the model server tells of them (util/proto_util.h)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, TypeVar

from tfs_client.errors import InvalidArgumentError
from tfs_client.server.file_errors import file_error

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

log = logging.getLogger("tfs_client.server")

Path = str | os.PathLike[str]


def read(path: Path) -> str:
    """The content of a file. Raises CallError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
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

    try:
        text_format.Parse(read(path), proto, **options)  # type: ignore[arg-type]
    except (text_format.ParseError, RecursionError) as error:  # unknown messages may nest as deep as they like
        log.error("Error parsing text-format %s: %s", name, error)
        raise _invalid(path) from None


def _invalid(path: Path) -> InvalidArgumentError:
    return InvalidArgumentError(f"Invalid protobuf file: '{os.fspath(path)}'")
