"""Classify, Regress and MultiInference as the model server does them: the same checks, order and texts.

Source: servables/tensorflow/classifier.cc, regressor.cc and multi_inference.cc. Every method feeds the serialized
examples, as one vector of strings, to the signature's only input.

The texts for a run with missing tensors, or with too many rows in a valid shape, are not implemented: a run returns all
outputs or fails, here as in the model server, so these errors cannot occur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfs_client._codec.dtypes import STRING, Array, row_of
from tfs_client.errors import InvalidArgumentError, UnimplementedError
from tfs_client.server.predict_checks import check_dtypes
from tfs_client.server.servable import Run, Servable, run_together
from tfs_client.signatures import CLASSIFY, DEFAULT_SIGNATURE, REGRESS, Signature

INPUT, CLASSES, SCORES, OUTPUT = "inputs", "classes", "scores", "outputs"
FLOAT = row_of(np.dtype(np.float32))


def found(servable: Servable, name: str) -> Signature:
    """Return the signature of a Classify or Regress call."""
    signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise InvalidArgumentError(f"No signature was found with the name: {name or DEFAULT_SIGNATURE}")
    return signature


def check_classify(signature: Signature, *, method_name_check: bool) -> list[str]:
    """Return the outputs to fetch. Refuses a signature that cannot classify."""
    if method_name_check and signature.method_name != CLASSIFY:
        raise InvalidArgumentError(
            f"Expected classification signature method_name to be {CLASSIFY}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise InvalidArgumentError("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise InvalidArgumentError(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUT not in signature.inputs:
        raise InvalidArgumentError(f"No classification inputs found in SignatureDef: {debug_text(signature)}")
    fetched = [alias for alias in (CLASSES, SCORES) if alias in signature.outputs]
    if not fetched:
        raise InvalidArgumentError(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {debug_text(signature)}"
        )
    return fetched


def check_regress(signature: Signature, *, method_name_check: bool) -> list[str]:
    """Return the outputs to fetch. Refuses a signature that cannot regress."""
    if method_name_check and signature.method_name != REGRESS:
        raise InvalidArgumentError(
            f"Expected regression signature method_name to be {REGRESS}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise InvalidArgumentError("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise InvalidArgumentError("Expected one output Tensor.")
    if INPUT not in signature.inputs:
        raise InvalidArgumentError(f"No regression inputs found in SignatureDef: {debug_text(signature)}")
    if OUTPUT not in signature.outputs:
        raise InvalidArgumentError(f"No regression outputs found in SignatureDef: {debug_text(signature)}")
    return [OUTPUT]


def run(servable: Servable, name: str, examples: Sequence[bytes], outputs: Sequence[str]) -> Mapping[str, Array]:
    """Feed the examples to the signature's input."""
    return run_all(servable, {name or DEFAULT_SIGNATURE: outputs}, examples)[0]


def run_all(
    servable: Servable, wanted: Mapping[str, Sequence[str]], examples: Sequence[bytes]
) -> Sequence[Mapping[str, Array]]:
    """Feed the same examples to several signatures in one execution. ``wanted`` has the outputs to fetch of each.

    Servables that run one signature at a time run one execution for each.
    """
    if not examples:
        raise InvalidArgumentError("Input is empty.")
    vector = np.empty(len(examples), object)
    vector[:] = examples
    specs = {name: servable.signatures[name].inputs[INPUT] for name in wanted}
    fed = {spec.tensor_name or name: spec for name, spec in specs.items()}
    check_dtypes(Signature(fed, {}), dict.fromkeys(fed, vector))
    return run_together(servable, [Run(name, {INPUT: vector}, outputs) for name, outputs in wanted.items()])


def classes_of(answer: Mapping[str, Array], count: int) -> list[list[tuple[str, float]]]:
    """Return label and score of every class of every example. Checks on classes come first, then those on scores."""
    classes, scores = answer.get(CLASSES), answer.get(SCORES)
    for array, row, what in ((classes, STRING, CLASSES), (scores, FLOAT, SCORES)):
        if array is None:
            continue
        if array.ndim != 2:
            raise InvalidArgumentError(
                f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}"
            )
        if row_of(array.dtype) is not row:
            got = row_of(array.dtype).enum_name
            raise InvalidArgumentError(f"Expected {what} Tensor of {row.enum_name}. Got: {got}")
        if len(array) != count:
            raise InvalidArgumentError(f"Expected {what} output batch size of {count}. Got: {len(array)}")
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise InvalidArgumentError(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    width = (classes if classes is not None else scores).shape[1]  # type: ignore[union-attr]
    labels = [[""] * width] * count if classes is None else [[text(value) for value in row] for row in classes.tolist()]
    values = [[0.0] * width] * count if scores is None else scores.tolist()
    return [list(zip(*pair, strict=True)) for pair in zip(labels, values, strict=True)]


def values_of(answer: Mapping[str, Array], count: int) -> list[float]:
    """Return the value of every example."""
    array = answer[OUTPUT]
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise InvalidArgumentError(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            f"but got {shape_text(array.shape)}"
        )
    if len(array) != count:
        raise InvalidArgumentError(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if row_of(array.dtype) is not FLOAT:
        raise InvalidArgumentError(f"Expected output Tensor of DT_FLOAT.  Got: {row_of(array.dtype).enum_name}")
    values: list[float] = array.reshape(-1).tolist()
    return values


def text(value: object) -> str:
    """Return a label as text. A string field cannot hold labels that are not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def shape_text(shape: tuple[int, ...]) -> str:
    """Format a shape as TensorFlow does: ``[3,2]``."""
    return "[" + ",".join(map(str, shape)) + "]"


def debug_text(signature: Signature) -> str:
    """Format the signature as protobuf text. Clients compare only prefixes of the errors that contain it."""
    from tfs_client.server.signature_messages import signature_def

    return str(signature_def(signature))


# The methods of MultiInference tasks, with the check of each.
Checks = Callable[..., list[str]]
TASKS: Mapping[str, Checks] = {CLASSIFY: check_classify, REGRESS: check_regress}


def checked_tasks(
    servable: Servable, tasks: Sequence[tuple[str, str, str]], *, method_name_check: bool
) -> list[tuple[str, str, list[str]]]:
    """Check the tasks (model, signature, method) in order. Returns signature, method and outputs of each."""
    checked: list[tuple[str, str, list[str]]] = []
    for model, name, method in tasks:
        name = name or DEFAULT_SIGNATURE
        if not model:
            raise InvalidArgumentError("Found ModelSpec with an empty model name.")
        if model != tasks[0][0]:
            raise InvalidArgumentError("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if any(name == known for known, _, _ in checked):
            raise InvalidArgumentError(f"Duplicate evaluation of signature: {name}")
        signature = servable.signatures.get(name)
        if signature is None:
            raise InvalidArgumentError(f"Requested signature not found in model graph: {name}")
        if method not in TASKS:
            raise UnimplementedError(f"Unsupported signature method_name: {method}")
        checked.append((name, method, TASKS[method](signature, method_name_check=method_name_check)))
    return checked
