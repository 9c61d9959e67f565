"""google.protobuf.text_format for messages of this package that hold an ``Any``, such as GetModelMetadataResponse.

Names, arguments and answers are protobuf's. The one difference: an ``Any`` is looked up in the message's own descriptor
pool, not in the default one, unless ``descriptor_pool=`` says otherwise. Messages of other packages are taken too.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from tfs_client.protos._pool import with_pool

__all__ = ["Merge", "MessageToString", "Parse", "PrintMessage"]

M = TypeVar("M", bound=Message)


def MessageToString(message: Message, *arguments: Any, **options: Any) -> str:
    """The message as text; arguments as protobuf's."""
    return text_format.MessageToString(message, *arguments, **with_pool(message, options))


def PrintMessage(message: Message, out: Any, *arguments: Any, **options: Any) -> None:
    """Write the message as text to a file; arguments as protobuf's."""
    text_format.PrintMessage(message, out, *arguments, **with_pool(message, options))


def Parse(text: bytes | str, message: M, *arguments: Any, **options: Any) -> M:
    """Text into the message, which is returned; fields may be there once. Raises ``ParseError``."""
    return text_format.Parse(text, message, *arguments, **with_pool(message, options))


def Merge(text: bytes | str, message: M, *arguments: Any, **options: Any) -> M:
    """Text into the message, which is returned; of a field that is there twice the last counts."""
    return text_format.Merge(text, message, *arguments, **with_pool(message, options))


def __getattr__(name: str) -> Any:
    return getattr(text_format, name)  # the errors, above all
