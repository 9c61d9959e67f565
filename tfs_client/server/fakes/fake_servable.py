"""FakeServable: signatures without a model behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfs_client._codec.dtypes import Array
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, EncodeError, InvalidArgumentError
from tfs_client.options import check_flag
from tfs_client.server.backends.functions import FunctionServable, FunctionSignature
from tfs_client.server.fakes.answers import Answer, SignatureAnswer
from tfs_client.server.fakes.exported_models import ExportedModel
from tfs_client.server.fakes.output_shapes import UNNAMED
from tfs_client.signatures import Signature


class FakeServable(FunctionServable):
    """A servable that has the signatures of a model, refuses what the model refuses, and makes up its answers.

    Args:
        model: the signatures.
        answer: "zeros", "random", or a function that takes the name of the signature and the inputs by alias, and
            returns a mapping from output alias to array, or the array itself if there is one output.
        seed: changes random answers. The same inputs get the same answer in every process.
        check_shapes: refuse inputs whose shapes contradict the signature. In a real model, an op refuses most of them.

    Raises ConfigError for signatures that cannot be served.

    Attributes:
        functions: the signatures as functions, by name.
        signature_defs: the serialized SignatureDefs of the model, by name; None if it has none.
    """

    def __init__(
        self, model: ExportedModel, answer: Answer = "zeros", *, seed: int = 0, check_shapes: bool = True
    ) -> None:
        check_flag("check_shapes", check_shapes)
        # The names of tensors in a SavedModel; other forms of signatures may lack them. Those of sparse and composite
        # tensors, which consist of several, are empty.
        self._tensors = {name: _tensor_names(each) for name, each in model.signatures.items() if model.signature_defs}
        self.functions: dict[str, FunctionSignature] = {
            name: FunctionSignature(
                SignatureAnswer(name, signature, answer, seed, names=model.axis_names.get(name, UNNAMED)),
                dict(sorted(signature.inputs.items())),  # the first that is wrong is reported, as in TensorFlow
                dict(sorted(signature.outputs.items())),
                signature.method_name,
                model.defaults.get(name, {}),
                check_shapes and "" not in self._tensors.get(name, ({}, {}))[0].values(),
            )
            for name, signature in model.signatures.items()
        }
        self.signature_defs: Mapping[str, bytes] | None = model.signature_defs
        try:
            super().__init__(self.functions)
        except EncodeError as error:  # a default of another dtype than its input
            raise ConfigError(f"model {shown(model.name)} cannot be served: {error}") from error

    def run(self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Mapping[str, Array]:
        """Make up the outputs. Raises CallError."""
        specs = self.signatures[signature].inputs
        fed: set[str] = set()
        for alias in inputs:
            name = specs[alias].tensor_name
            if name in fed:
                raise InvalidArgumentError(f'Endpoint "{name}" fed more than once.')
            fed.add(name)
        if signature in self._tensors:
            ours, theirs = self._tensors[signature]
            _check_tensors([ours[alias] for alias in inputs], [theirs[alias] for alias in outputs])
        return super().run(signature, inputs, outputs)


def _tensor_names(signature: Signature) -> tuple[dict[str, str], dict[str, str]]:
    """Return the names of the tensors behind inputs and outputs, by alias."""
    inputs, outputs = signature.inputs.items(), signature.outputs.items()
    return {alias: spec.tensor_name for alias, spec in inputs}, {alias: spec.tensor_name for alias, spec in outputs}


def _check_tensors(fed: Sequence[str], fetched: Sequence[str]) -> None:
    """Refuse tensors as TensorFlow does before it runs the graph."""
    if "" in fed or "" in fetched:
        raise InvalidArgumentError(
            "Tensor :0, specified in either feed_devices or fetch_devices was not found in the Graph"
        )
    if both := set(fed) & set(fetched):
        raise InvalidArgumentError(f"{min(both)} is both fed and fetched.")
