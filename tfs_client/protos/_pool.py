"""The private descriptor pool behind the generated modules.

Descriptors carry no check of the runtime's version, so one compiled schema serves every protobuf release; and a pool
of our own cannot collide with TensorFlow's registrations in the default one.
"""

from __future__ import annotations

import copyreg
import threading
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

_SCHEMA = Path(__file__).with_name("schema.binpb")

# Held while anything is built: the pure-Python runtime would make two classes for one message if two threads raced.
_lock = threading.RLock()
_pool: descriptor_pool.DescriptorPool | None = None


def pool() -> descriptor_pool.DescriptorPool:
    """The pool that holds the whole schema, built on the first call."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = _load()
        return _pool


def with_pool(message: Message, options: dict[str, Any]) -> dict[str, Any]:
    """Options of protobuf's formatters, with the message's own pool unless they name one."""
    return {"descriptor_pool": message.DESCRIPTOR.file.pool, **options}


def file(path: str) -> FileDescriptor:
    """The descriptor of a schema file, by its path below ``protos/``."""
    return pool().FindFileByName(path)


def message(name: str, module: str) -> type[Message]:
    """The class of a top-level message, by its full name. It will say that it comes from ``module``."""
    with _lock:
        return _class(pool().FindMessageTypeByName(name), module, "")


def enum(name: str) -> EnumTypeWrapper:
    """The wrapper of a top-level enum, by its full name."""
    return EnumTypeWrapper(pool().FindEnumTypeByName(name))


def _load() -> descriptor_pool.DescriptorPool:
    built = descriptor_pool.DescriptorPool()
    # protoc lists every file after the ones it imports, which is the order a pool wants them in.
    for entry in descriptor_pb2.FileDescriptorSet.FromString(_SCHEMA.read_bytes()).file:
        built.AddSerializedFile(entry.SerializeToString())
    return built


def _class(descriptor: Descriptor, module: str, outer: str) -> type[Message]:
    made = message_factory.GetMessageClass(descriptor)
    # pickle finds a class by these two names, and a class made from a descriptor has neither.
    made.__module__ = module
    made.__qualname__ = outer + descriptor.name
    if outer:
        copyreg.pickle(made, _reduce)
    for nested in descriptor.nested_types:
        setattr(made, nested.name, _class(nested, module, made.__qualname__ + "."))
    return made


def _reduce(nested: Message) -> tuple[type[Message], tuple[()], dict[str, bytes]]:
    # Message.__reduce__ looks a nested class up in the default pool, by its full name.
    return type(nested), (), {"serialized": nested.SerializePartialToString()}
