"""Write or check public_surface.txt: every name that users may import, with its signature.

    python scripts/public_surface.py           write the file
    python scripts/public_surface.py --check   write nothing; show the difference and fail if there is one

The public names are the ``__all__`` of the modules in PUBLIC. All other modules are internal and may change in any
release, whether or not their path has an underscore. Signatures are read from the source, so that the file is the same
under every version of Python.
"""

from __future__ import annotations

import ast
import difflib
import enum
import inspect
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "public_surface.txt"

PUBLIC = (
    "tfs_client",
    "tfs_client.images",
    "tfs_client.protos",
    "tfs_client.protos.json_format",
    "tfs_client.protos.text_format",
    "tfs_client.ray",
    "tfs_client.recordings",
    "tfs_client.server",
    "tfs_client.server.embedded",
    "tfs_client.telemetry",
    "tfs_client.testing",
    "tfs_client.testing.faults",
)

WIDTH = 120

# The special methods that are a way of using an object; the others only refine how it prints, copies and compares.
SPECIAL = {
    f"__{name}__" for name in ("init", "call", "enter", "exit", "aenter", "aexit", "iter", "len", "getitem", "contains")
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def text(node: ast.AST) -> str:
    return ast.unparse(node).replace("lambda :", "lambda:")  # Python 3.10 writes the space


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in SPECIAL


def signature(function: Function) -> str:
    """``def name(arguments) -> result`` with the decorators callers notice; long ones have a line per argument."""
    decorators = [text(decorator) for decorator in function.decorator_list]
    marks = "".join(
        f"@{mark} " for mark in decorators if mark in ("property", "classmethod", "staticmethod", "overload")
    )
    kind = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    result = f" -> {text(function.returns)}" if function.returns else ""
    head, given = f"{marks}{kind} {function.name}", list(arguments(function.args))
    line = f"{head}({', '.join(given)}){result}"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"    {argument},\n" for argument in given)
    return f"{head}(\n{lines}){result}"


def arguments(given: ast.arguments) -> Iterator[str]:
    """Each argument as the source has it, and the marks between them."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    for place, (argument, default) in enumerate(zip(plain, defaults, strict=True)):
        yield one_argument(argument, default)
        if given.posonlyargs and place == len(given.posonlyargs) - 1:
            yield "/"
    if given.vararg or given.kwonlyargs:
        yield f"*{text(given.vararg) if given.vararg else ''}"
    yield from map(one_argument, given.kwonlyargs, given.kw_defaults)
    if given.kwarg:
        yield f"**{text(given.kwarg)}"


def one_argument(argument: ast.arg, default: ast.expr | None) -> str:
    return text(argument) + (f" = {text(default)}" if default else "")


def attributes(constructor: Function) -> Iterator[tuple[str, str]]:
    """The public attributes that a constructor sets, with the types that its source shows."""
    arguments = [*constructor.args.posonlyargs, *constructor.args.args, *constructor.args.kwonlyargs]
    types = {argument.arg: text(argument.annotation) for argument in arguments if argument.annotation}
    for node in ast.walk(constructor):
        if not isinstance(node, (ast.AnnAssign, ast.Assign)):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Attribute) and text(target.value) == "self" and is_public(target.attr):
                if isinstance(node, ast.AnnAssign):
                    kind = text(node.annotation)
                elif isinstance(node.value, ast.Constant):
                    kind = type(node.value.value).__name__
                elif text(node.value) in types:
                    kind = types[text(node.value)]
                else:
                    raise SystemExit(f"annotate the public attribute: {text(node)}")
                yield target.attr, f"{target.attr}: {kind}"


def own_members(cls: type) -> Iterator[tuple[str, str]]:
    """The name and the line of each public member that a class itself defines."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(node, ast.ClassDef)
    overloaded = set()
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(item.name):
            line = signature(item)
            if line.startswith("@overload "):
                overloaded.add(item.name)
            elif item.name in overloaded:
                continue  # the implementation, which callers do not see
            yield item.name, line
            if item.name == "__init__":
                yield from attributes(item)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and is_public(item.target.id):
            default = f" = {text(item.value)}" if item.value else ""
            yield item.target.id, f"{item.target.id}: {text(item.annotation)}{default}"
        elif isinstance(item, ast.Assign) and issubclass(cls, enum.Enum):
            yield from ((text(target), text(item)) for target in item.targets)


def class_lines(cls: type, names: dict[object, str]) -> Iterator[str]:
    """A class with its members; those of public bases are listed there."""
    bases = [base for base in cls.__mro__[1:] if base in names or not base.__module__.startswith("tfs_client")]
    shown = [names.get(base, base.__name__) for base in bases[:1] if base is not object]
    yield f"class {names[cls]}({', '.join(shown)})" if shown else f"class {names[cls]}"
    found: dict[str, list[str]] = {}
    for base in cls.__mro__:
        if base is not cls and (base in names or not base.__module__.startswith("tfs_client")):
            continue
        inner: dict[str, list[str]] = {}
        for name, line in own_members(base):
            inner.setdefault(name, []).append(line)
        found = inner | found
    for lines in found.values():  # in the order of the source, which is that of a dataclass's arguments
        yield from (textwrap.indent(line, "    ") for line in lines)


def annotation(module: ModuleType, name: str) -> str:
    """The type of a constant: as the module's source states it, or that of the value."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.AnnAssign) and text(node.target) == name:
            return text(node.annotation)
    return type(getattr(module, name)).__name__


def name_lines(module: ModuleType, name: str, names: dict[object, str]) -> Iterator[str]:
    value = getattr(module, name)
    if inspect.isclass(value):
        yield from class_lines(value, names)
    elif inspect.isfunction(value):
        nodes = ast.parse(Path(inspect.getfile(value)).read_text(encoding="utf-8")).body
        functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        lines = [signature(node) for node in functions if node.name == value.__name__]
        yield from [line for line in lines if line.startswith("@overload ")] or lines
    else:
        yield f"{name}: {annotation(module, name)}"


def surface() -> str:
    modules = {path: import_module(path) for path in PUBLIC}
    names: dict[object, str] = {}
    for module in modules.values():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                names.setdefault(value, name)
    lines = ["# The names that users may import, by module. Written by scripts/public_surface.py; do not edit."]
    for path, module in modules.items():
        lines += ["", path]
        for name in module.__all__:
            lines += [textwrap.indent(line, "    ") for line in name_lines(module, name, names)]
    return "\n".join(lines) + "\n"


def main() -> int:
    new = surface()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(new, encoding="utf-8", newline="\n")
        return 0
    old = FILE.read_text(encoding="utf-8")
    if new == old:
        return 0
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), FILE.name, "the package"))
    print(
        "\nThe public surface has changed. If that is intended: python scripts/public_surface.py, and commit the file."
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
