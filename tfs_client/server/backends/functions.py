"""Servables made of Python functions: each signature has the function that computes it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfs_client.codec.dtypes import STRING, row_of
from tfs_client.codec.values import as_array
from tfs_client.errors import (
    CallError,
    ConfigError,
    EncodeError,
    InternalError,
    InvalidArgumentError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnimplementedError,
    UnknownError,
)
from tfs_client.server.failures import text_of
from tfs_client.server.servable import Array
from tfs_client.shown import shown
from tfs_client.signatures import PREDICT, Signature, TensorSpec

log = logging.getLogger(__name__)

# What an exception of the function becomes on the wire; TensorFlow treats those of its py_function alike.
CODES: tuple[tuple[type[BaseException], Callable[[str], CallError]], ...] = (
    (ValueError, InvalidArgumentError),
    (TypeError, InvalidArgumentError),
    (StopIteration, OutOfRangeError),
    (MemoryError, ResourceExhaustedError),
    (NotImplementedError, UnimplementedError),
    (BaseException, UnknownError),
)


@dataclass(frozen=True)
class FunctionSignature:
    """A signature and the function behind it.

    Args:
        fn: gets the inputs as keyword arguments by alias (numpy arrays; strings as object arrays of bytes) and
            returns a mapping from output alias to array, or the array itself when there is one output.
            An exception it raises is the call's error: a CallError keeps its code and text.
        inputs, outputs: TensorSpec by alias.
        method_name: the API method the signature is meant for.
        defaults: values of inputs that a request may leave out.
        check_shapes: refuse inputs whose shapes are not those of ``inputs``. The model server does not.
    """

    fn: Callable[..., Any]
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = PREDICT
    defaults: Mapping[str, Any] = field(default_factory=dict)
    check_shapes: bool = False


class FunctionServable:
    """A servable made of Python functions, one for each signature. The functions may run in several threads at once."""

    def __init__(self, signatures: Mapping[str, FunctionSignature]) -> None:
        if not signatures:
            raise ConfigError("a model needs at least one signature")
        for name, signature in signatures.items():
            _check_function(name, signature)
        self._functions = {name: signature.fn for name, signature in signatures.items()}
        self._defaults = {name: _defaults(name, signature) for name, signature in signatures.items()}
        self.checked_shapes = frozenset(name for name, signature in signatures.items() if signature.check_shapes)
        self._signatures = {name: _signature(name, signature) for name, signature in signatures.items()}

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""
        return self._signatures

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Values of the inputs that a request may leave out."""
        return self._defaults[signature]

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Call the signature's function, and make of its answer what the signature promises."""
        try:
            answer = self._functions[signature](**inputs)
        except CallError:
            raise
        except BaseException as error:  # pytest.fail() in a test's function is no Exception
            log.exception("the function of signature %s failed", signature)
            code = next(code for kind, code in CODES if isinstance(error, kind))
            raise code(text_of(error)) from error
        specs = self._signatures[signature].outputs
        if not isinstance(answer, Mapping):
            if len(specs) != 1:
                got = type(answer).__name__
                raise InternalError(f"the model promises the outputs {', '.join(sorted(specs))} and returned one {got}")
            answer = {next(iter(specs)): answer}
        return {alias: _output(answer, alias, specs[alias]) for alias in outputs}


def _output(answer: Mapping[str, Any], alias: str, spec: TensorSpec) -> Array:
    if alias not in answer:
        raise InternalError(
            f"the model promises the output {alias!r} and returned {', '.join(sorted(answer)) or 'none'}"
        )
    values = answer[alias]
    try:
        if type(values) is np.ndarray and row_of(values.dtype) is spec.row is not STRING:  # as it nearly always is
            return values
        if values is None:
            raise EncodeError("the function returned None for it")
        if isinstance(values, np.ndarray) and not _keeps_kind(values, spec):
            raise EncodeError(f"expected values for {spec.row.name}, got an array of {values.dtype}")
        return as_array(values, spec.row)
    except EncodeError as error:
        raise InternalError(f"the model's output {alias!r} is not {spec}: {error}") from error


def _keeps_kind(array: Array, spec: TensorSpec) -> bool:
    """Whether a cast to the promised dtype loses precision at the most: float64 to float32, but not float to int."""
    if row_of(array.dtype) is STRING or spec.row is STRING:
        return row_of(array.dtype) is spec.row
    return np.can_cast(array.dtype, spec.row.dtype, "same_kind")


def _signature(name: str, signature: FunctionSignature) -> Signature:
    """The signature as clients see it; tensors get the names that TensorFlow would give them."""

    def named(specs: Mapping[str, TensorSpec], prefix: str) -> dict[str, TensorSpec]:
        return {
            alias: spec if spec.tensor_name else replace(spec, tensor_name=f"{prefix}_{alias}:0")
            for alias, spec in specs.items()
        }

    for specs in (signature.inputs, signature.outputs):
        for alias, spec in specs.items():
            if not isinstance(spec, TensorSpec):
                raise ConfigError(f"{name} {alias!r} needs a TensorSpec(dtype, shape), got {shown(spec)}")
    inputs, outputs = named(signature.inputs, name), named(signature.outputs, f"{name}_out")
    return Signature(inputs, outputs, signature.method_name, optional=frozenset(signature.defaults))


def _check_function(name: str, signature: FunctionSignature) -> None:
    """Raise ConfigError for what cannot be called with the signature's inputs as keyword arguments."""
    if not callable(signature.fn):
        raise ConfigError(f"signature {name!r} needs a function, got {shown(signature.fn)}")
    try:
        parameters = inspect.signature(signature.fn)
    except (TypeError, ValueError):  # built in C, and it does not say
        return
    try:
        parameters.bind(**dict.fromkeys(signature.inputs))
    except TypeError as error:
        aliases = ", ".join(signature.inputs) or "no inputs"
        raise ConfigError(
            f"signature {name!r}: its function takes {parameters} and would be called with {aliases}: {error}"
        ) from None


def _defaults(name: str, signature: FunctionSignature) -> dict[str, Array]:
    unknown = set(signature.defaults) - set(signature.inputs)
    if unknown:
        raise ConfigError(f"signature {name!r} has defaults for inputs it does not have: {', '.join(sorted(unknown))}")
    defaults = {}
    for alias, value in signature.defaults.items():
        own = as_array(value, signature.inputs[alias].row).copy()
        own.flags.writeable = False  # every call gets this one
        defaults[alias] = own
    return defaults
