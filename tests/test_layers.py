"""The layers: imports go downwards only, also those inside functions.

    cli, testing -> ray -> client, aio, columns, images, server -> batching -> settings, flows, exchanges
        -> calls, transports, defaults, retries, futures -> codec, signatures, results, options, errors, … -> protos

Read from the source, not from what happens to be imported.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tfs_client

ROOT = Path(tfs_client.__file__).parent
GENERATED = {"tensorflow", "tensorflow_serving", "google"}

LAYERS = (
    {"protos"},
    {
        "codec",
        "signatures",
        "results",
        "options",
        "targets",
        "proxy_urls",
        "steps",
        "daemons",
        "forks",
        "timers",
        "within",
        "inflating",
        "version_policy",
        "errors",
        "shown",
    },
    {"model_config", "error_meanings"},
    {"calls", "transports", "defaults", "retries", "futures", "rest_futures"},
    {
        "contradictions",
        "exchanges",
        "known_signatures",
        "given_signatures",
        "flows",
        "settings",
        "performing",
        "performing_aio",
    },
    {"batching"},
    {"client", "aio", "images", "server", "columns"},
    {"ray"},
    {"cli", "testing"},
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

# Within the layers of plain values and of flows: who may import which sibling.
SIBLINGS = {
    "shown": set(),
    "errors": {"shown"},
    "codec": {"errors", "shown"},
    "targets": {"errors", "shown"},
    "proxy_urls": {"errors", "shown", "targets"},
    "options": {"errors", "shown", "targets", "proxy_urls"},
    "steps": {"options"},
    "daemons": set(),
    "forks": {"errors", "shown"},
    "timers": {"daemons", "forks"},
    "within": set(),
    "inflating": {"errors"},
    "version_policy": {"errors", "shown"},
    "results": {"errors", "shown", "codec"},
    "signatures": {"errors", "shown", "codec"},
    "exchanges": set(),
    "known_signatures": {"exchanges"},
    "given_signatures": set(),
    "flows": {"exchanges", "known_signatures"},
    "contradictions": set(),
    "settings": {"contradictions", "exchanges", "known_signatures", "given_signatures", "flows"},
    "performing": {"settings"},
    "performing_aio": {"settings"},
}
SERVER_MAY = {
    "server",
    "codec",
    "protos",
    "signatures",
    "results",
    "options",
    "inflating",
    "errors",
    "shown",
    "model_config",
    "version_policy",
}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not (parts[0] == "protos" and len(parts) > 1 and parts[1] in GENERATED):
            yield ".".join(("tfs_client", *parts)).removesuffix(".__init__"), path


SOURCES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules()}


def nodes(tree, checking):
    """The tree's nodes; without what stands under ``if TYPE_CHECKING`` unless ``checking``."""
    if not checking and isinstance(tree, ast.If) and getattr(tree.test, "id", "") == "TYPE_CHECKING":
        for child in tree.orelse:
            yield from nodes(child, checking)
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from nodes(child, checking)


def imports(name, *, checking=True):
    """Everything that a module imports, as full names; ``from a import b`` gives ``a.b`` where that is a module."""
    found = set()
    for node in nodes(SOURCES[name], checking):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: relative imports hide what is imported"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in SOURCES or f"{node.module}" == "tfs_client" else node.module)
    return found


def part_of(module):
    """The part of the package that a module belongs to; "" for the package itself."""
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def own_imports(name):
    return {module for module in imports(name) if module.split(".")[0] == "tfs_client"}


INNER = sorted(name for name in SOURCES if name not in ("tfs_client", "tfs_client._version"))


def test_every_part_has_a_layer():
    assert {part_of(name) for name in INNER} <= set(LEVEL)


@pytest.mark.parametrize("name", INNER)
def test_imports_go_downwards(name):
    part = part_of(name)
    for module in own_imports(name):
        other = part_of(module)
        if other in (part, "_version"):
            continue
        assert other in LEVEL, f"{name} imports {module}: import from the module that has it, not from the package"
        if LEVEL[other] == LEVEL[part] and part in SIBLINGS:
            assert other in SIBLINGS[part], f"{name} imports {module}"
        else:
            assert LEVEL[other] < LEVEL[part], f"{name} imports {module}"


@pytest.mark.parametrize("name", [name for name in INNER if part_of(name) == "server"])
def test_the_server_shares_only_codec_and_values_with_the_client(name):
    assert {part_of(module) for module in own_imports(name)} <= SERVER_MAY


def external(name):
    return {module.split(".")[0] for module in imports(name)}


@pytest.mark.parametrize("name", [name for name in INNER if part_of(name) == "codec"])
def test_the_codec_knows_no_network(name):
    assert not external(name) & {"grpc", "httpx", "socket", "asyncio", "threading"}


@pytest.mark.parametrize("name", [name for name in INNER if part_of(name) == "transports"])
def test_transports_know_no_tensor(name):
    assert "numpy" not in external(name)
    assert not {part_of(module) for module in own_imports(name)} & {"codec", "signatures", "calls", "protos"}


def test_one_module_imports_the_http_library():
    """Of httpcore below it two know the interface of its connections."""
    assert {name for name in SOURCES if "httpx" in external(name)} == {"tfs_client.transports.http_client"}
    assert {name.rpartition(".")[2] for name in SOURCES if "httpcore" in external(name)} == {"handshakes", "punctual"}


def test_errors_import_the_standard_library_only():
    assert external("tfs_client.errors") <= {"__future__", "collections", "enum", "functools", "typing", "tfs_client"}
    assert external("tfs_client.shown") <= {"__future__", "collections", "itertools", "re", "reprlib", "typing"}


def test_the_package_itself_imports_nothing_when_imported():
    at_import = imports("tfs_client", checking=False)
    assert {module.split(".")[0] for module in at_import} <= {"__future__", "importlib", "typing", "tfs_client"}
    assert {module for module in at_import if module.startswith("tfs_client")} == {"tfs_client._version"} or {
        part_of(module) for module in at_import if module.startswith("tfs_client")
    } <= {"_version"}


def test_there_are_no_import_cycles():
    graph = {
        name: {module for module in imports(name, checking=False) if module in SOURCES} - {name} for name in SOURCES
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for module in sorted(graph[name]):
            visit(module)
        done.add(path.pop())

    for name in INNER:
        visit(name)


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not {name for name in SOURCES if drawers & {part.strip("_") for part in name.split(".")}}


def test_no_module_grows_beyond_reading_in_one_sitting():
    lengths = {name: path.read_text(encoding="utf-8").count("\n") for name, path in modules()}
    assert {name: length for name, length in lengths.items() if length > 500} == {}
