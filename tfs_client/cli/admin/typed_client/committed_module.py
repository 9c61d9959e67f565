"""The contract in a module that has been written before, read from its source: the module is not run."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfs_client._codec import regular_files
from tfs_client._printable import bounded
from tfs_client.cli.admin.typed_client.module_text import MODEL, SIGNATURES
from tfs_client.errors import ConfigError, InvalidArgumentError, TFServingError
from tfs_client.signatures import Signature, Signatures, TensorSpec

CALLABLE: dict[str, Callable[..., Any]] = {"Signature": Signature, "TensorSpec": TensorSpec, "frozenset": frozenset}

MAX_BYTES = 1 << 26

EXPECTED = "expected a module that tfs-admin typed-client has written"


@dataclass(frozen=True)
class CommittedModule:
    """A module that has been written before.

    Attributes:
        text: its source.
        name: the name of its client's class.
        signatures: the contract in it.
    """

    text: str
    name: str
    signatures: Signatures


def read(path: str) -> CommittedModule | None:
    """Read a generated module; None if the file does not exist, or is empty. Raises ConfigError for other files."""
    try:
        # Editors may have added a byte order mark, and changed the ends of lines.
        text = regular_files.read(path, MAX_BYTES).decode("utf-8-sig").replace("\r\n", "\n")
        if not text:
            return None
        return _module(text)
    except FileNotFoundError:
        return None
    except KeyError as error:
        raise ConfigError(f"{EXPECTED}, and {path!r} does not define {error}") from None
    except InvalidArgumentError as error:
        raise ConfigError(f"{EXPECTED}: {error.details}") from error
    except (OSError, UnicodeDecodeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{EXPECTED}, and {path!r} cannot be read: {bounded(str(error), 300)}") from error
    except (TFServingError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{EXPECTED}, and {path!r} has other constants: {bounded(str(error), 300)}") from error


def _module(text: str) -> CommittedModule:
    tree = ast.parse(text)
    values = dict(_assigned(tree))
    signatures = values[SIGNATURES]
    if not all(isinstance(each, Signature) for each in signatures.values()):
        raise TypeError(f"{SIGNATURES} has other values than signatures")
    classes = [statement.name for statement in tree.body if isinstance(statement, ast.ClassDef)]
    names = [name for name in classes if f"Async{name}" in classes]
    if len(names) != 1:
        raise KeyError("a client and its asyncio version")
    return CommittedModule(text, names[0], Signatures(signatures, model=str(values[MODEL]), version=None))


def _assigned(tree: ast.Module) -> list[tuple[str, Any]]:
    """Return the values of the two constants of the contract."""
    found = []
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in (MODEL, SIGNATURES) and statement.value is not None:
                found.append((target.id, _value(statement.value)))
    return found


def _value(node: ast.expr) -> Any:
    """Return the value of a literal, or of a call of one of the classes of signatures."""
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError("expected a literal mapping")
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLABLE:
        named = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
        return CALLABLE[node.func.id](*map(_value, node.args), **named)
    return ast.literal_eval(node)
