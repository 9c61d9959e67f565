"""BatchingParameters: how calls are batched, under TensorFlow Serving's names, and the file that says so.

Source: servables/tensorflow/session_bundle_config.proto for the names, bundle_factory_util.cc and
shared_batch_scheduler.h for defaults, checks and texts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfs_client.codec.config_text import fill
from tfs_client.errors import ConfigError, InvalidArgumentError
from tfs_client.server import regular_files
from tfs_client.server.file_errors import file_error
from tfs_client.server.threads import MAX_THREADS
from tfs_client.shown import shown

if TYPE_CHECKING:
    from google.protobuf.message import Message

log = logging.getLogger(__name__)

LIMIT = 1 << 20  # bytes of a batching parameters file
MAX_SIZE = (1 << 31) - 1  # rows
MAX_NAME = 256  # characters

NAME = "model_server_batch_threads"
NAME_IN_FILES = "batch_threads"  # a file that is silent about the name gets the scheduler's own default


@dataclass(frozen=True, kw_only=True)
class BatchingParameters:
    """How calls are batched.

    Attributes:
        max_batch_size: rows of the largest call; also of the largest batch, unless large ones are split.
        batch_timeout_micros: how long an open batch waits for more, counted from its first call. With 0, calls meet
            only while all threads are busy.
        max_enqueued_batches: how many batches may wait in a queue, the open one included and running ones not.
            0 counts as 1, unless large batches are split.
        num_batch_threads: how many batches run at the same time, of all queues together; at most 4096.
        thread_pool_name: what the threads' names begin with.
        allowed_batch_sizes: a batch is filled up, with copies of a row, to the first of these that is large enough.
            In increasing order, which TensorFlow Serving does not check either; the last one must be max_batch_size.
        pad_variable_length_inputs: pad axes other than the first to the longest in the batch, instead of refusing.
        enable_large_batch_splitting: split calls over batches of at most max_execution_batch_size rows.
        max_execution_batch_size: rows of the largest batch, when splitting; None means max_batch_size.

    Raises ConfigError, with TensorFlow Serving's text, for what fails a load there. Two settings with which it starts
    are refused too: negative sizes, which it takes for huge ones, and a max_execution_batch_size below 1 when
    splitting, with which it would refuse every call. So are sizes of more than 2**31 - 1 rows.
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
        self._check_upwards()
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

    def _check_upwards(self) -> None:
        """Numbers with which the model server would crash, or run out of memory, later."""
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
        """What the scheduler checks when a queue is made, in its order (AddQueueAfterRewritingOptions)."""
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
        """How long an open batch waits for more, in seconds."""
        return self.batch_timeout_micros / 1e6

    def executed_size(self, rows: int) -> int:
        """With how many rows a batch of ``rows`` is run."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> BatchingParameters:
        """Read a batching parameters file, protobuf text of a BatchingParameters message.

        Raises CallError with the code and text that the start of a server, or the load of a version, fails with:
        NotFoundError and its like for a file that cannot be read, else InvalidArgumentError.
        """
        name = os.fspath(path)
        try:
            proto = _parsed(regular_files.read(path, LIMIT).decode())
        except OSError as error:
            raise file_error(error, name) from error
        except (ConfigError, UnicodeDecodeError) as error:
            # The model server too says the place in its log alone.
            log.error("Error parsing text-format tensorflow.serving.BatchingParameters: %s", error)
            raise InvalidArgumentError(f"Invalid protobuf file: '{name}'") from error
        try:
            return cls.from_proto(proto)
        except ConfigError as error:
            raise InvalidArgumentError(str(error)) from error

    @classmethod
    def from_text(cls, text: str) -> BatchingParameters:
        """Read the content of such a file. Raises ConfigError, with the line where it is no such message."""
        return cls.from_proto(_parsed(text))

    @classmethod
    def from_proto(cls, proto: Message) -> BatchingParameters:
        """Read a BatchingParameters message.

        Raises ConfigError also for splitting with neither max_batch_size nor max_execution_batch_size: TensorFlow
        Serving takes the latter for 0 then.
        """
        message: Any = proto
        said: dict[str, Any] = {"thread_pool_name": NAME_IN_FILES}
        said |= {name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)}
        said["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
        said["pad_variable_length_inputs"] = message.pad_variable_length_inputs
        if said.get("enable_large_batch_splitting"):
            said.setdefault("max_execution_batch_size", said.get("max_batch_size", 0))
        return cls(**said)


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


def _parsed(text: str) -> Message:
    from tfs_client.protos.tensorflow_serving.servables.tensorflow.session_bundle_config_pb2 import (
        BatchingParameters as Schema,
    )

    proto = Schema()
    fill(proto, text, "BatchingParameters")
    return proto
