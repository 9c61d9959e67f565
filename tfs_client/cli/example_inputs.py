"""Inputs of strings that are tf.Examples, for which random values cannot be generated."""

from __future__ import annotations

from tfs_client._codec.dtypes import STRING
from tfs_client.signatures import CLASSIFY, REGRESS, Signatures

EXAMPLES_TENSOR, EXAMPLES_ALIAS = "input_example_tensor:0", "examples"  # of Estimators


def examples_input(model: Signatures, name: str) -> str:
    """Return the input of a signature that takes tf.Examples; "" for none.

    Only the graph says what strings mean. Signatures that classify or regress take Examples, and so do others that feed
    the same tensor, and those with the names that Estimators give.
    """
    tensors = {EXAMPLES_TENSOR}
    for each in model.values():
        if each.method_name in (CLASSIFY, REGRESS):
            tensors |= {spec.tensor_name for spec in each.inputs.values() if spec.row is STRING}
    for alias, spec in model[name].inputs.items():
        if spec.row is STRING and (alias == EXAMPLES_ALIAS or spec.tensor_name in tensors):
            return alias
    return ""
