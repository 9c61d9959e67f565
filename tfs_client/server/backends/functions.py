"""Servables made of Python functions, one for each signature."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tfs_client._codec.casts import surviving_cast
from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client._codec.values import as_array
from tfs_client._printable import shown
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
from tfs_client.options import check_flag
from tfs_client.server.model_failures import text_of
from tfs_client.signatures import PREDICT, Signature, TensorSpec

log: logging.Logger = logging.getLogger(__name__)

# The errors that exceptions of functions become; TensorFlow maps those of its py_function in the same way.
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
        fn: takes the inputs as keyword arguments by alias (numpy arrays; strings as object arrays of bytes) and
            returns a mapping from output alias to array, or the array itself if there is one output.
            An exception that it raises becomes the call's error: a CallError keeps its code and text.
        inputs: TensorSpec by alias of input.
        outputs: TensorSpec by alias of output.
        method_name: the API method that the signature is for.
        defaults: values of inputs that a request may omit.
        check_shapes: refuse inputs whose shapes contradict ``inputs``. The model server does not.
    """

    fn: Callable[..., object]
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = PREDICT
    defaults: Mapping[str, object] = field(default_factory=dict)
    check_shapes: bool = False


class FunctionServable:
    """A servable made of Python functions, one for each signature. They may run in several threads concurrently."""

    def __init__(self, signatures: Mapping[str, FunctionSignature]) -> None:
        if not signatures:
            raise ConfigError("a model needs at least one signature")
        for name, signature in signatures.items():
            _check_specs(name, signature)
            _check_function(name, signature)
        self._functions = {name: signature.fn for name, signature in signatures.items()}
        self._defaults = {name: _defaults(name, signature) for name, signature in signatures.items()}
        checked = (name for name, signature in signatures.items() if signature.check_shapes)
        self.checked_shapes: frozenset[str] = frozenset(checked)
        self._signatures = {name: _signature(name, signature) for name, signature in signatures.items()}

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""
        return self._signatures

    def defaults(self, signature: str) -> Mapping[str, Array]:
        """Return values of the inputs that a request may omit."""
        return self._defaults[signature]

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Call the signature's function, and convert its result to the outputs of the signature."""
        try:
            answer = self._functions[signature](**inputs)
        except CallError:
            raise
        except BaseException as error:  # pytest.fail() in a test's function does not raise an Exception
            log.exception("the function of signature %s failed", signature)
            code = next(code for kind, code in CODES if isinstance(error, kind))
            raise code(text_of(error)) from error
        specs = self._signatures[signature].outputs
        if not isinstance(answer, Mapping):
            if len(specs) != 1:
                got = type(answer).__name__
                raise InternalError(
                    f"expected the outputs of the signature ({', '.join(sorted(specs))}) as a mapping, got one {got}"
                )
            answer = {next(iter(specs)): answer}
        return {alias: _output(answer, alias, specs[alias]) for alias in outputs}


def _output(answer: Mapping[str, object], alias: str, spec: TensorSpec) -> Array:
    if alias not in answer:
        raise InternalError(
            f"the model did not return the output {alias!r} of its signature; it returned "
            f"{', '.join(sorted(map(str, answer))) or 'none'}"
        )
    values = answer[alias]
    try:
        if type(values) is np.ndarray and row_of(values.dtype) is spec.row is not STRING:  # the usual case
            return values
        if values is None:
            raise EncodeError("the function returned None for it")
        if not hasattr(values, "dtype"):
            return as_array(values, spec.row)
        found = as_array(values)
        if not _keeps_kind(found, spec):
            raise EncodeError(f"expected {spec.row.readable} values, got an array of {found.dtype}")
        same = found.dtype.kind == spec.row.dtype.kind and found.dtype.kind in "iuf"
        return surviving_cast(found, spec.row) if same else as_array(found, spec.row)  # integers become rounded floats
    except EncodeError as error:
        raise InternalError(f"the model's output {alias!r} is not {spec}: {error}") from error


def _keeps_kind(array: Array, spec: TensorSpec) -> bool:
    """Return whether a cast to the declared dtype loses at most precision: float64 to float32, but not float to int."""
    if row_of(array.dtype) is STRING or spec.row is STRING:
        return row_of(array.dtype) is spec.row
    return np.can_cast(array.dtype, spec.row.dtype, "same_kind")


def _signature(name: str, signature: FunctionSignature) -> Signature:
    """Return the signature for clients. Tensors get the names that TensorFlow would give them."""

    def named(specs: Mapping[str, TensorSpec], prefix: str) -> dict[str, TensorSpec]:
        return {
            alias: spec if spec.tensor_name else replace(spec, tensor_name=f"{prefix}_{alias}:0")
            for alias, spec in specs.items()
        }

    inputs, outputs = named(signature.inputs, name), named(signature.outputs, f"{name}_out")
    return Signature(inputs, outputs, signature.method_name, optional=frozenset(signature.defaults))


def _check_specs(name: str, signature: FunctionSignature) -> None:
    """Raise ConfigError unless this is a signature, with inputs and outputs as specs by alias."""
    if not isinstance(signature, FunctionSignature):
        raise ConfigError(f"signature {name!r} needs a FunctionSignature, got {shown(signature)}")
    for what, text in (("name", name), ("method name", signature.method_name)):
        if not isinstance(text, str):
            raise ConfigError(f"a signature needs a text as its {what}, got {shown(text)}")
    if not isinstance(signature.defaults, Mapping) or not all(isinstance(alias, str) for alias in signature.defaults):
        raise ConfigError(f"signature {name!r} needs defaults by alias, got {shown(signature.defaults)}")
    check_flag("check_shapes", signature.check_shapes)
    for what, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if not isinstance(specs, Mapping) or not all(isinstance(alias, str) for alias in specs):
            raise ConfigError(
                f"signature {name!r} needs {what} as a mapping from alias to TensorSpec, got {shown(specs)}"
            )
        for alias, spec in specs.items():
            if not isinstance(spec, TensorSpec):
                raise ConfigError(f"{name} {alias!r} needs a TensorSpec(dtype, shape), got {shown(spec)}")


def _check_function(name: str, signature: FunctionSignature) -> None:
    """Raise ConfigError unless the function can be called with the signature's inputs as keyword arguments."""
    if not callable(signature.fn):
        raise ConfigError(f"signature {name!r} needs a function, got {shown(signature.fn)}")
    try:
        parameters = inspect.signature(signature.fn)
    except (TypeError, ValueError):  # a function written in C may not reveal its parameters
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
        own.flags.writeable = False  # all calls share it
        defaults[alias] = own
    return defaults
