"""Interpreters of a TensorFlow Lite model, one for each concurrent call.

Source: servables/tensorflow/tflite_interpreter_pool.cc, tflite_session.cc (SetInputAndInvokeMiniBatch).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, LifoQueue
from types import ModuleType

from tfs_client._codec.dtypes import STRING, Array
from tfs_client._printable import bounded
from tfs_client.errors import InternalError
from tfs_client.server.backends.saved_model import as_array
from tfs_client.server.backends.tflite_examples import INVOKE_FAILED, ExampleParser
from tfs_client.server.backends.tflite_model import LiteTensor
from tfs_client.server.call_deadlines import check_call, deadline

ALLOCATION_FAILED = "Failed to allocate tensors"
RESIZE_FAILED = "Failed to resize input tensor"
MAX_SIZE = (1 << 31) - 1  # of an axis
POLL = 0.1  # seconds between two checks for clients that disconnect while they wait for an interpreter

Values = Mapping[int, Array]  # by the number of the tensor


class LiteInterpreter:
    """One interpreter, which runs one call at a time in the thread of the call.

    Args:
        lite: the module ``tf.lite``.
        content: the model.
        inputs: its inputs, without those that ``parse`` computes.
        parse: computes the other inputs; None if the model has no such inputs.

    Raises InternalError if the model has an op that the interpreter lacks, or is invalid otherwise.
    """

    def __init__(
        self, lite: ModuleType, content: bytes, inputs: Sequence[LiteTensor], parse: ExampleParser | None = None
    ) -> None:
        try:
            with warnings.catch_warnings():  # tf.lite.Interpreter is deprecated
                warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
                self._interpreter = lite.Interpreter(model_content=content, num_threads=1)
        except ValueError as error:
            raise InternalError(f"Cannot build Interpreter from buffer. {_said(error)}") from error
        self._inputs = sorted(inputs, key=lambda tensor: tensor.index)
        self._parse = parse
        self._shapes: dict[int, tuple[int, ...]] = {}  # of the inputs; empty if they are unknown
        if self._inputs and self._inputs[0].row is STRING:
            self._interpreter.resize_tensor_input(self._inputs[0].index, (1,))
        self._allocate()

    def run(self, feeds: Values, fetches: Iterable[int]) -> dict[int, Array]:
        """Compute tensors. Inputs that are not fed are zeros, not earlier values. Raises InternalError."""
        values = {
            tensor.index: feeds[tensor.index] if tensor.index in feeds else tensor.zeros() for tensor in self._inputs
        }
        if self._parse is not None:
            values.update(self._parse(values))
        self._fit({index: value.shape for index, value in values.items()})
        try:
            for index, value in values.items():
                self._interpreter.set_tensor(index, value)
            self._interpreter.invoke()
            return {index: as_array(self._interpreter.get_tensor(index)) for index in fetches}  # copies
        except (RuntimeError, ValueError) as error:
            self._shapes.clear()
            raise InternalError(f"{INVOKE_FAILED}. {_said(error)}") from error

    def _fit(self, shapes: Mapping[int, tuple[int, ...]]) -> None:
        """Resize the inputs for a call."""
        changed = {index: shape for index, shape in shapes.items() if self._shapes.get(index) != shape}
        if not changed:
            return
        self._shapes.clear()
        for index, shape in changed.items():
            if max(shape, default=0) > MAX_SIZE:
                raise InternalError(f"{RESIZE_FAILED}: expected sizes up to {MAX_SIZE}, got shape {shape}")
            try:
                self._interpreter.resize_tensor_input(index, shape)
            except (RuntimeError, ValueError) as error:
                raise InternalError(f"{RESIZE_FAILED}. {_said(error)}") from error
        self._allocate()
        self._shapes.update(shapes)

    def _allocate(self) -> None:
        try:
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InternalError(f"{ALLOCATION_FAILED}. {_said(error)}") from error


class InterpreterPool:
    """Lends interpreters, each of which runs one call at a time. The last one returned is lent first."""

    def __init__(self, interpreters: Iterable[LiteInterpreter]) -> None:
        self._idle: LifoQueue[LiteInterpreter] = LifoQueue()
        for interpreter in interpreters:
            self._idle.put(interpreter)

    @contextmanager
    def interpreter(self) -> Iterator[LiteInterpreter]:
        """Lend an idle interpreter within the block.

        Waits for one until the call's deadline. Raises DeadlineExceededError, or CancelledError if the client is gone.
        """
        interpreter = self._next()
        try:
            yield interpreter
        finally:
            self._idle.put(interpreter)

    def _next(self) -> LiteInterpreter:
        while True:
            check_call()
            limit = deadline()
            try:
                return self._idle.get(timeout=POLL if limit is None else min(POLL, max(0.0, limit - time.monotonic())))
            except Empty:
                continue

    def close(self) -> None:
        """Free the interpreters; no call may be running."""
        while not self._idle.empty():
            self._idle.get()


def _said(error: Exception) -> str:
    return bounded(str(error).strip())
