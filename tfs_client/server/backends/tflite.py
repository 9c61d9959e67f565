"""TensorFlow Lite models, run by TensorFlow's interpreter (the extra ``tensorflow``).

TensorFlow Serving takes ``model.tflite`` of a version directory, where there is one, instead of the SavedModel when it
is started with ``--prefer_tflite_model``. A model without signatures gets one, ``serving_default``, with the names of
its tensors as aliases, as there (servables/tensorflow/tflite_session.cc).
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfs_client.codec.dtypes import STRING, find
from tfs_client.errors import InternalError, InvalidArgumentError, NotFoundError
from tfs_client.server import regular_files
from tfs_client.server.backends.saved_model import tensorflow
from tfs_client.server.servable import Array
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, TensorSpec

FILE = "model.tflite"
MAX_BYTES = (1 << 31) - 1  # of a flatbuffer


def load(path: str) -> TFLiteServable:
    """Load ``model.tflite`` of a version directory.

    Raises NotFoundError when there is none, FailedPreconditionError without TensorFlow, and InvalidArgumentError for a
    file that is no model.
    """
    file = os.path.join(path, FILE)
    if not os.path.isfile(file):
        raise NotFoundError(f"{file}; No such file or directory")
    lite = tensorflow().lite
    try:
        with warnings.catch_warnings():  # that it will move to a package of its own
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated", UserWarning)
            # Its content, not its path: of a file that is mapped and then written to anew, a read ends the process.
            interpreter = lite.Interpreter(model_content=regular_files.read(file, MAX_BYTES))
        return TFLiteServable(_runners(interpreter))
    except ValueError as error:
        raise InvalidArgumentError(f"Cannot build FlatBufferModel from buffer. {str(error).strip()}") from error


class TFLiteServable:
    """A TensorFlow Lite model in memory. An interpreter does one thing at a time, so calls wait for each other."""

    def __init__(self, runners: Mapping[str, Any]) -> None:
        self._runners = dict(runners)
        self._lock = threading.Lock()
        self._signatures = {
            name: Signature(_specs(runner.get_input_details()), _specs(runner.get_output_details()))
            for name, runner in self._runners.items()
        }

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""
        return self._signatures

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Nothing: TensorFlow Lite knows no inputs that may be left out."""
        return {}

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Run the interpreter, for which inputs may have another size each time. Raises InternalError."""
        try:
            with self._lock:
                answer = self._runners[signature](**inputs)
        except (RuntimeError, ValueError) as error:
            raise InternalError(f"Failed to run interpreter. {str(error).strip()}") from error
        return {alias: answer[alias] for alias in outputs}

    def close(self) -> None:
        """Give the memory back."""
        self._runners.clear()


def _runners(interpreter: Any) -> dict[str, Any]:
    names = interpreter.get_signature_list()
    if not names:
        return {DEFAULT_SIGNATURE: _WholeModel(interpreter)}
    return {name: interpreter.get_signature_runner(name) for name in names}


class _WholeModel:
    """A model without signatures, run as signatures are."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter

    def get_input_details(self) -> dict[str, Any]:
        return {details["name"]: details for details in self._interpreter.get_input_details()}

    def get_output_details(self) -> dict[str, Any]:
        return {details["name"]: details for details in self._interpreter.get_output_details()}

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        interpreter, places = self._interpreter, self.get_input_details()
        for name, array in inputs.items():
            interpreter.resize_tensor_input(places[name]["index"], array.shape)
        interpreter.allocate_tensors()
        for name, array in inputs.items():
            interpreter.set_tensor(places[name]["index"], array)
        interpreter.invoke()
        outputs = self.get_output_details().items()
        return {name: interpreter.get_tensor(details["index"]) for name, details in outputs}


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {alias: _spec(details) for alias, details in sorted(tensors.items())}


def _spec(details: Any) -> TensorSpec:
    # "shape" is the current size, "shape_signature" has -1 for what may vary; old models lack the latter.
    sizes = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    row = STRING if details["dtype"] is np.bytes_ else find(details["dtype"])
    return TensorSpec(row, tuple(map(int, sizes)), tensor_name=details["name"])
