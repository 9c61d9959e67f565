"""The text of the generated module: the contract, the outputs of each signature, and a class for each style of calling.

Foreign text is in it only as the identifiers, literals and docstrings that ``python_names`` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfs_client.cli.admin.typed_client.layout import INDENT, Group
from tfs_client.cli.admin.typed_client.python_names import class_name, identifiers, in_docs, literal
from tfs_client.signatures import CLASSIFY, REGRESS, Signature, Signatures, TensorSpec

MODEL, SIGNATURES = "MODEL", "SIGNATURES"

# Names that the module uses, so that nothing of the model gets them.
IN_MODULE = frozenset(
    [
        "MODEL",
        "SIGNATURES",
        "Options",
        "Examples",
        "Mapping",
        "Sequence",
        "dataclass",
        "TYPE_CHECKING",
        "TypedDict",
        "Unpack",
        "np",
        "ArrayLike",
        "NDArray",
        "AsyncPredictClient",
        "Classification",
        "PredictClient",
        "Prediction",
        "Regression",
        "Signature",
        "TensorSpec",
        "check_signatures",
        "annotations",
        "bool",
        "bytes",
        "dict",
        "float",
        "int",
        "str",
        "object",
    ]
)
IN_METHODS = frozenset(["self", "sent", "reply", "options", "version", "label", "timeout", "metadata", "compression"])
METHODS = frozenset({"check"})
OF_CLASSES = frozenset(name for name in dir(type) if not name.startswith("_"))
"""Attributes of every class, such as ``mro``: a dataclass would take them for the defaults of its fields."""

RESULTS = {CLASSIFY: ("classify", "Classification"), REGRESS: ("regress", "Regression")}

NUMPY = {
    name: f"np.{name}"
    for size in (8, 16, 32, 64)
    for name in (f"int{size}", f"uint{size}", f"float{size}")
    if name != "float8"
} | {"bool": "np.bool_", "string": "np.object_", "complex64": "np.complex64", "complex128": "np.complex128"}


@dataclass(frozen=True)
class Method:
    """A signature, and the names that the code gives to it."""

    signature: str
    spec: Signature
    name: str
    outputs: str  # the class of its outputs

    @property
    def on_examples(self) -> bool:
        """Whether the signature is for Classify or Regress."""
        return self.spec.method_name in RESULTS

    @property
    def result(self) -> str:
        """The class that the method returns."""
        return RESULTS[self.spec.method_name][1] if self.on_examples else self.outputs

    def inputs(self) -> Iterator[tuple[str, str, TensorSpec, bool]]:
        """Yield alias, argument, spec and whether it is optional; the required ones first."""
        names = identifiers(self.spec.inputs, "input", IN_MODULE | IN_METHODS)
        for optional in (False, True):
            for alias, name in names.items():
                if (alias in self.spec.optional) is optional:
                    yield alias, name, self.spec.inputs[alias], optional


def module_text(found: Signatures, name: str) -> str:
    """Return the module. The same signatures always give the same text.

    Args:
        found: the signatures, with the model's name.
        name: the name of the class.
    """
    own = {name, f"Async{name}"}
    classes = {signature: f"{class_name(signature)}Outputs" for signature in sorted(found)}
    outputs = _different(classes, IN_MODULE | own)
    names = identifiers(found, "signature", IN_MODULE | METHODS | own | {*outputs.values()})
    methods = [Method(signature, found[signature], names[signature], outputs[signature]) for signature in sorted(found)]
    blocks = [
        [*_header(found.model, name), *_imports(methods), *_contract(found)],
        *([["Examples = Sequence[Mapping[str, object] | bytes] | Mapping[str, object]"]] if _some(methods) else []),
        _options(),
        *(_outputs_class(method) for method in methods if not method.on_examples),
        _client_class(name, methods, f"Async{name}", asyncio=False),
        _client_class(f"Async{name}", methods, name, asyncio=True),
        *(_outputs_function(method) for method in methods if not method.on_examples),
    ]
    return "\n\n\n".join("\n".join(block) for block in blocks) + "\n"


def default_name(model: str) -> str:
    """Return the class's name for a model."""
    (name,) = _different({model: f"{class_name(model)}Client"}, IN_MODULE).values()
    return name


def _different(wanted: Mapping[str, str], reserved: frozenset[str] | set[str]) -> dict[str, str]:
    """Return the wanted names, with a number where several texts want the same one."""
    taken = {*reserved}
    found = {}
    for text, name in wanted.items():
        number, free = 2, name
        while free in taken:
            number, free = number + 1, f"{name}{number}"
        found[text] = free
        taken.add(free)
    return found


def _some(methods: list[Method]) -> bool:
    return any(method.on_examples for method in methods)


def _header(model: str, name: str) -> list[str]:
    return [
        f'"""A typed client of the model \'{in_docs(model)}\', written by tfs-admin typed-client: do not edit it.',
        "",
        "With ``signatures=``, calls do not ask the server for them. ``check`` does::",
        "",
        "    with PredictClient(",
        '        "localhost:8500", model=MODEL, signatures=SIGNATURES',
        "    ) as client:",
        f"        typed = {name}(client)",
        "        typed.check()",
        '"""',
        "",
    ]


def _imports(methods: list[Method]) -> list[str]:
    tensors = [method for method in methods if not method.on_examples]
    examples = _some(methods)
    arrays = [
        *(["ArrayLike"] if any(method.spec.inputs for method in tensors) else []),
        *(["NDArray"] if any(method.spec.outputs for method in tensors) else []),
    ]
    numpy = [
        *(["import numpy as np"] if "NDArray" in arrays else []),
        *([f"from numpy.typing import {', '.join(arrays)}"] if arrays else []),
    ]
    ours = {"AsyncPredictClient", "PredictClient", "Signature", "check_signatures"}
    ours |= {method.result for method in methods if method.on_examples}
    ours |= {"Prediction"} if tensors else set()
    ours |= {"TensorSpec"} if any(method.spec.inputs or method.spec.outputs for method in methods) else set()
    return [
        "from __future__ import annotations",
        "",
        f"from collections.abc import Mapping{', Sequence' if examples else ''}",
        *(["from dataclasses import dataclass"] if tensors else []),
        "from typing import TYPE_CHECKING, TypedDict",
        "",
        *([*numpy, ""] if numpy else []),
        *Group("from tfs_client import (", sorted(ours), ")").exploded(""),
        "",
        "if TYPE_CHECKING:",
        "    from typing_extensions import Unpack",
        "",
    ]


def _contract(found: Signatures) -> list[str]:
    entries = [
        Group(f"{literal(name)}: Signature(", [*_signature_arguments(found[name])], ")") for name in sorted(found)
    ]
    return [
        f"{MODEL} = {literal(found.model)}",
        "",
        *Group(f"{SIGNATURES}: dict[str, Signature] = {{", entries, "}").exploded(""),
        '"""The signatures for which this module was written."""',
    ]


def _signature_arguments(signature: Signature) -> Iterator[str | Group]:
    for side, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        yield Group(f"{side}={{", [_spec(alias, specs[alias]) for alias in sorted(specs)], "}")
    yield f"method_name={literal(signature.method_name)}"
    if signature.optional:
        names = Group("{", [literal(alias) for alias in sorted(signature.optional)], "}")
        yield Group("optional=frozenset(", [names], ")")


def _spec(alias: str, spec: TensorSpec) -> Group:
    shape = "None" if spec.shape is None else Group("(", [str(size) for size in spec.shape], ")", one_comma=True)
    return Group(f"{literal(alias)}: TensorSpec(", [literal(spec.dtype_name), shape], ")")


def _options() -> list[str]:
    return [
        "class Options(TypedDict, total=False):",
        '    """The options of a call; see ``PredictClient.predict``."""',
        "",
        "    version: int | None",
        "    label: str | None",
        "    timeout: float | None",
        "    metadata: Mapping[str, str | bytes] | None",
        "    compression: str | None",
    ]


def _outputs_names(method: Method) -> dict[str, str]:
    return identifiers(method.spec.outputs, "output", IN_MODULE | OF_CLASSES)


def _outputs_class(method: Method) -> list[str]:
    lines = [
        "@dataclass(frozen=True, eq=False)",
        f"class {method.outputs}:",
        f'    """The outputs of the signature \'{in_docs(method.signature)}\'."""',
    ]
    for alias, name in _outputs_names(method).items():
        spec = method.spec.outputs[alias]
        lines += [
            "",
            f"    {name}: NDArray[{NUMPY.get(spec.dtype_name, 'np.generic')}]",
            f'    """{_described(alias, name, spec)}."""',
        ]
    return lines


def _described(alias: str, name: str, spec: TensorSpec) -> str:
    """Return dtype and shape for a docstring; the alias too where the code has another name for it."""
    values = f"{spec}, as bytes" if spec.dtype_name == "string" else str(spec)
    return values if alias == name else f"{values}, '{in_docs(alias)}'"


def _outputs_function(method: Method) -> list[str]:
    name = f"_{method.name}"
    values = [f"reply[{literal(alias)}]" for alias in _outputs_names(method)]
    return [
        f"def {name}(reply: Prediction) -> {method.outputs}:",
        f"    {SIGNATURES}[{literal(method.signature)}].check_outputs(reply)",
        *Group(f"return {method.outputs}(", values, ")").lines(INDENT),
    ]


def _client_class(name: str, methods: list[Method], sibling: str, *, asyncio: bool) -> list[str]:
    client = "AsyncPredictClient" if asyncio else "PredictClient"
    start, wait = ("async def", "await ") if asyncio else ("def", "")
    found = f"{wait}self._client.signatures(model=self._model, from_server=True)"
    lines = [
        f"class {name}:",
        f'    """The model\'s signatures as methods, called by {"an" if asyncio else "a"} {client}.',
        "",
        "    Args:",
        "        client: a client of a server that has the model.",
        "        model: the name under which the server has it.",
        '    """',
        "",
        f"    def __init__(self, client: {client}, *, model: str = {MODEL}) -> None:",
        "        self._client = client",
        "        self._model = model",
        "",
        f"    {start} check(self) -> None:",
        '        """Ask the server for its signatures, and raise SignatureError if they have changed."""',
        f"        found = {found}",
        f"        check_signatures(found, {SIGNATURES})",
    ]
    for method in methods:
        write = _on_examples if method.on_examples else _on_tensors
        lines += ["", *write(method, sibling if asyncio else "", start, wait)]
    return lines


def _on_tensors(method: Method, sibling: str, start: str, wait: str) -> list[str]:
    inputs = list(method.inputs())
    arguments = [
        "self",
        *(["*"] if inputs else []),
        *(f"{name}: ArrayLike{' | None = None' if optional else ''}" for _, name, _, optional in inputs),
        "**options: Unpack[Options]",
    ]
    lines = [*Group(f"{start} {method.name}(", arguments, f") -> {method.result}:").exploded(INDENT)]
    if sibling:
        lines.append(f'        """The asyncio version of ``{sibling}.{method.name}``."""')
    else:
        lines += [
            f'        """Call the signature \'{in_docs(method.signature)}\'.',
            "",
            "        Args:",
            *(
                f"            {name}: {_argument(alias, name, spec, optional)}."
                for alias, name, spec, optional in inputs
            ),
            "            options: see Options.",
            "",
            "        Raises what ``PredictClient.predict`` raises; SignatureError for inputs and",
            "        outputs that do not fit the signature.",
            '        """',
        ]
    given = Group("{", [f"{literal(alias)}: {name}" for alias, name, _, _ in inputs], "}")
    call = ["sent", "model=self._model", f"signature={literal(method.signature)}", "**options"]
    return [
        *lines,
        *Group(f"sent = {SIGNATURES}[{literal(method.signature)}].cast_inputs(", [given], ")").lines(INDENT * 2),
        *Group(f"reply = {wait}self._client.predict(", call, ")").exploded(INDENT * 2),
        f"        return _{method.name}(reply)",
    ]


def _argument(alias: str, name: str, spec: TensorSpec, optional: bool) -> str:
    return f"{_described(alias, name, spec)}{'; None for the default in the model' if optional else ''}"


def _on_examples(method: Method, sibling: str, start: str, wait: str) -> list[str]:
    call, result = RESULTS[method.spec.method_name]
    arguments = [
        "self",
        "examples: Examples",
        "*",
        "context: Mapping[str, object] | None = None",
        "**options: Unpack[Options]",
    ]
    about = f"The asyncio version of ``{sibling}.{method.name}``."
    if not sibling:
        about = f"Call the signature '{in_docs(method.signature)}'; see ``PredictClient.{call}``."
    passed = ["examples", "context=context", "model=self._model", f"signature={literal(method.signature)}", "**options"]
    return [
        *Group(f"{start} {method.name}(", arguments, f") -> {result}:").exploded(INDENT),
        f'        """{about}"""',
        *Group(f"return {wait}self._client.{call}(", passed, ")").exploded(INDENT * 2),
    ]
