"""BatchingParameters: the options of batching, under TensorFlow Serving's names, and the file that sets them.

Source: servables/tensorflow/session_bundle_config.proto for the names, bundle_factory_util.cc and
shared_batch_scheduler.h for defaults, checks and texts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfs_client._codec.config_text import fill
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server.files import proto_files
from tfs_client.server.thread_pool import MAX_THREADS

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_SIZE = (1 << 31) - 1  # rows
MAX_NAME = 256  # characters

NAME = "model_server_batch_threads"
NAME_IN_FILES = "batch_threads"  # the scheduler's default, for a file that does not set the name


@dataclass(frozen=True, kw_only=True)
class BatchingParameters:
    """The options of batching.

    Attributes:
        max_batch_size: the rows of the largest call; also of the largest batch, unless large calls are split.
        batch_timeout_micros: how long an open batch waits for further calls, counted from its first call. With 0, calls
            share a batch only while all threads are busy.
        max_enqueued_batches: how many batches may wait in a queue, including the open one but not running ones.
            0 counts as 1, unless large calls are split.
        num_batch_threads: how many batches of all queues run concurrently; at most 4096.
        thread_pool_name: the prefix of the threads' names.
        allowed_batch_sizes: a batch is filled up, with copies of a row, to the first of these sizes that is large
            enough. They must increase, which TensorFlow Serving does not check either; the last one must be
            max_batch_size.
        pad_variable_length_inputs: pad axes other than the first to the longest in the batch; otherwise calls whose
            sizes differ fail.
        enable_large_batch_splitting: split calls into batches of at most max_execution_batch_size rows.
        max_execution_batch_size: the rows of the largest batch, when splitting; None means max_batch_size.

    Raises ConfigError, with TensorFlow Serving's text, for values with which a model fails to load there. Two settings
    that it accepts are refused too: negative sizes, which it treats as huge ones, and a max_execution_batch_size below
    1 when splitting, with which it would refuse every call. So are sizes of more than 2**31 - 1 rows.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    thread_pool_name: str = NAME
    allowed_batch_sizes: Sequence[int] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_batch_sizes", tuple(self.allowed_batch_sizes))
        self._check_types()
        if self.num_batch_threads < 1:
            raise ConfigError(f"num_batch_threads must be positive; was {shown(self.num_batch_threads)}")
        self._check_maxima()
        if self.allowed_batch_sizes and self.allowed_batch_sizes[-1] != self.max_batch_size:
            raise ConfigError(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{self.allowed_batch_sizes[-1]}; expected {self.max_batch_size}"
            )
        self._check_queue()

    def _check_types(self) -> None:
        for name in ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"):
            _check(name, getattr(self, name), int)
        for size in self.allowed_batch_sizes:
            _check("allowed_batch_sizes", size, int)
        if self.max_execution_batch_size is not None:
            _check("max_execution_batch_size", self.max_execution_batch_size, int)
        for name in ("pad_variable_length_inputs", "enable_large_batch_splitting"):
            _check(name, getattr(self, name), bool)
        _check("thread_pool_name", self.thread_pool_name, str)

    def _check_maxima(self) -> None:
        """Check for numbers with which the model server would later crash, or run out of memory."""
        if self.num_batch_threads > MAX_THREADS:
            raise ConfigError(f"num_batch_threads must be at most {MAX_THREADS}; was {shown(self.num_batch_threads)}")
        sizes = {"max_batch_size": self.max_batch_size, "max_execution_batch_size": self.max_execution_batch_size or 0}
        sizes |= {"allowed_batch_sizes": max((abs(size) for size in self.allowed_batch_sizes), default=0)}
        for name, size in sizes.items():
            if abs(size) > MAX_SIZE:
                raise ConfigError(f"{name} must be at most {MAX_SIZE}; was {shown(size)}")
        for name in ("batch_timeout_micros", "max_enqueued_batches"):
            if abs(getattr(self, name)) >= 1 << 63:
                raise ConfigError(f"expected {name} as an integer of 64 bits, got {shown(getattr(self, name))}")
        if len(self.thread_pool_name) > MAX_NAME:
            raise ConfigError(
                f"thread_pool_name must have at most {MAX_NAME} characters; has {len(self.thread_pool_name)}"
            )

    def _check_queue(self) -> None:
        """Run the scheduler's checks for a new queue, in its order (AddQueueAfterRewritingOptions)."""
        if self.max_batch_size < 1:
            raise ConfigError(f"input_batch_size_limit must be positive; was {self.max_batch_size}")
        if self.batch_timeout_micros < 0:
            raise ConfigError(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.max_enqueued_batches < (1 if self.enable_large_batch_splitting else 0):
            raise ConfigError(f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}")
        if self.enable_large_batch_splitting and self.execution_limit > self.max_batch_size:
            raise ConfigError(
                "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
                "max_execution_batch_size."
            )
        if self.execution_limit < 1:
            raise ConfigError(f"max_execution_batch_size must be positive; was {self.execution_limit}")

    @property
    def execution_limit(self) -> int:
        """The rows of the largest batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    @property
    def enqueued_limit(self) -> int:
        """How many batches may wait in a queue."""
        return max(1, self.max_enqueued_batches)

    @property
    def timeout(self) -> float:
        """How long an open batch waits for further calls, in seconds."""
        return self.batch_timeout_micros / 1e6

    def executed_size(self, rows: int) -> int:
        """Return the number of rows that the model gets for a batch of ``rows``."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BatchingParameters:
        """Read a batching parameters file, protobuf text of a BatchingParameters message.

        Raises CallError with the code and text with which the start of a server, or the load of a version, fails:
        NotFoundError or another error of the file system for a file that cannot be read, else InvalidArgumentError.
        """
        proto = proto_files.message(path, _schema())
        try:
            return cls.from_proto(proto)
        except ConfigError as error:
            raise InvalidArgumentError(str(error)) from error

    @classmethod
    def from_text(cls, text: str) -> BatchingParameters:
        """Read the content of such a file. Raises ConfigError, with the line of the error."""
        proto = _schema()()
        fill(proto, text, "BatchingParameters")
        return cls.from_proto(proto)

    @classmethod
    def from_proto(cls, proto: Message) -> BatchingParameters:
        """Read a BatchingParameters message.

        Raises ConfigError also for splitting with neither max_batch_size nor max_execution_batch_size: TensorFlow
        Serving then sets the latter to 0.
        """
        message: Any = proto
        given: dict[str, Any] = {"thread_pool_name": NAME_IN_FILES}
        given |= {name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)}
        given["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
        given["pad_variable_length_inputs"] = message.pad_variable_length_inputs
        if given.get("enable_large_batch_splitting"):
            given.setdefault("max_execution_batch_size", given.get("max_batch_size", 0))
        return cls(**given)


_WRAPPED = (
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "thread_pool_name",
    "enable_large_batch_splitting",
    "max_execution_batch_size",
)


def _check(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"expected {name} of type {kind.__name__}, got {shown(value)}")


def _schema() -> type[Message]:
    from tfs_client.protos.tensorflow_serving.servables.tensorflow import session_bundle_config_pb2

    return session_bundle_config_pb2.BatchingParameters
