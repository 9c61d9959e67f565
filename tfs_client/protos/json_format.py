"""google.protobuf.json_format for messages of this package that hold an ``Any``, such as GetModelMetadataResponse.

Names, arguments and answers are protobuf's. The one difference: an ``Any`` is looked up in the message's own descriptor
pool, not in the default one, unless ``descriptor_pool=`` says otherwise. Messages of other packages are taken too.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from tfs_client.protos._pool import with_pool

__all__ = ["MessageToDict", "MessageToJson", "Parse", "ParseDict"]

M = TypeVar("M", bound=Message)


def MessageToJson(message: Message, *arguments: Any, **options: Any) -> str:
    """The message as JSON text; arguments as protobuf's."""
    return json_format.MessageToJson(message, *arguments, **with_pool(message, options))


def MessageToDict(message: Message, *arguments: Any, **options: Any) -> dict[str, Any]:
    """The message as dicts, lists and plain values; arguments as protobuf's."""
    return json_format.MessageToDict(message, *arguments, **with_pool(message, options))


def Parse(text: bytes | str, message: M, *arguments: Any, **options: Any) -> M:
    """JSON text into the message, which is returned; arguments as protobuf's. Raises ``ParseError``."""
    return json_format.Parse(text, message, *arguments, **with_pool(message, options))


def ParseDict(js_dict: Any, message: M, *arguments: Any, **options: Any) -> M:
    """Dicts, lists and plain values into the message, which is returned. Raises ``ParseError``."""
    return json_format.ParseDict(js_dict, message, *arguments, **with_pool(message, options))


def __getattr__(name: str) -> Any:
    return getattr(json_format, name)  # the errors, above all
