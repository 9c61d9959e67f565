"""tfs-admin typed-client: write a module with a typed client of a model, or check the one that was written."""

from __future__ import annotations

import keyword
import os
from collections.abc import Mapping

from tfs_client._flows.contracts import changes
from tfs_client._printable import counted, shown
from tfs_client.cli import exits
from tfs_client.cli.admin.server_connection import ServerConnection
from tfs_client.cli.admin.typed_client import committed_module
from tfs_client.cli.admin.typed_client.arguments import TypedClientOptions
from tfs_client.cli.admin.typed_client.committed_module import CommittedModule
from tfs_client.cli.admin.typed_client.module_text import IN_MODULE, default_name, module_text
from tfs_client.cli.replaced_files import replace
from tfs_client.errors import ConfigError
from tfs_client.signatures import Signature, Signatures


def typed_client(options: TypedClientOptions) -> int:
    """Write the module, or compare its signatures."""
    name = _checked_name(options.name)
    committed = committed_module.read(options.output)  # before it is replaced: another file would be lost
    if options.check and committed is None:
        raise ConfigError(f"{options.output!r} does not exist: without --check, it is written")
    found, where = _signatures(options)
    name = name or (committed.name if committed else default_name(found.model))
    text = module_text(found, name)
    if committed is not None and options.check:
        return _compared(options.output, committed, name, found, text, where)
    replace(options.output, [text.encode()])
    exits.show(f"{options.output}: {name} and Async{name}, with {_count(found)} of {where}")
    return exits.OK


def _compared(path: str, committed: CommittedModule, name: str, found: Signatures, text: str, where: str) -> int:
    expected = committed.signatures
    differences = [str(change) for change in changes(expected, found)]
    if expected.model != found.model:
        differences.insert(0, f"another model: expected {shown(expected.model)}, got {shown(found.model)}")
    if committed.name != name:
        differences.insert(0, f"another class: expected {name}, got {committed.name}")
    if differences:
        exits.show("\n".join(f"{path}: {each}" for each in differences))
        return exits.DIFFERENT
    exits.show(f"{path}: has the {_count(found)} of {where}")
    if committed.text != text:
        exits.show_note(
            f"tfs-admin: the code in {path!r} is not what this version writes for these signatures; without --check, "
            "it is written again"
        )
    return exits.OK


def _signatures(options: TypedClientOptions) -> tuple[Signatures, str]:
    """Return the signatures, and where they come from."""
    if not _is_path(options.source):
        if options.model is not None:
            raise ConfigError(f"--model names the model at a path, and {options.source!r} is a model: leave it out")
        connection = ServerConnection(options, model=options.source, version=options.version, label=options.label)
        with connection.connect() as client:
            return _without_internal(client.signatures(), options.source), f"{options.source} at {connection.server}"
    for flag in ("server", "profile", "version", "label"):
        if getattr(options, flag) is not None:
            raise ConfigError(f"{options.source!r} is a path, and --{flag} is for a model of a server: leave it out")
    from tfs_client.server.fakes import read_path

    model = read_path(options.source)
    name = options.model or model.name
    if not name:
        raise ConfigError(f"{options.source!r} does not name its model: add --model NAME")
    return _without_internal(model.signatures, name), f"{name} in {options.source}"


def _is_path(text: str) -> bool:
    """Return whether a text is a path rather than the name of a model. It does not depend on which files exist."""
    return os.sep in text or "/" in text or text in (".", "..") or text.endswith((".json", ".pb", ".onnx", ".tflite"))


def _without_internal(found: Mapping[str, Signature], model: str) -> Signatures:
    """Return the signatures without those that TensorFlow keeps for itself."""
    named = {name: each for name, each in found.items() if not name.startswith("__saved_model_")}
    return Signatures(named, model=model, version=None)


def _checked_name(name: str | None) -> str:
    if name is None:
        return ""
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii() or name.startswith("_"):
        raise ConfigError(f"expected --name as the name of a class, such as ResNet, got {name!r}")
    if name in IN_MODULE or f"Async{name}" in IN_MODULE:
        raise ConfigError(f"--name {name}: the module uses this name for something else; choose another one")
    return name


def _count(found: Signatures) -> str:
    return counted(len(found), "signatures")
