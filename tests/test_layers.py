"""The layers: imports go downwards only, also those inside functions.

    cli -> testing -> ray -> client, aio, images, server -> _flows -> recordings, telemetry
        -> _calls, _transports -> signatures, results, options, model_config -> _codec -> errors -> _printable -> protos

Read from the source, not from what happens to be imported.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import tfs_client

ROOT = Path(tfs_client.__file__).parent
GENERATED = {"tensorflow", "tensorflow_serving", "google", "grpc"}

LAYERS = (
    {"protos", "_printable"},
    {"errors"},
    {"_codec"},
    {"signatures", "results", "options", "model_config"},
    {"_calls", "_transports"},
    {"recordings", "telemetry"},
    {"_flows"},
    {"client", "aio", "images", "server"},
    {"ray"},
    {"testing"},
    {"cli"},
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

# What the server may use besides its own modules.
SERVER_MAY = {
    "server",
    "_codec",
    "protos",
    "signatures",
    "results",
    "options",
    "errors",
    "_printable",
    "model_config",
}

# The same inside the server: its modules and folders from the bottom to the top.
SERVER_LAYERS = (
    {"servable", "model_failures", "metric_types", "thread_pool"},
    {"call_record", "files", "signature_messages", "predict_checks"},
    {"access", "call_deadlines", "call_hooks", "inference_checks"},
    {"batching", "config"},
    {"backends", "server_metrics"},
    {"embedded", "fakes", "lifecycle"},
    {"methods"},
    {"grpc"},
    {"rest"},
    {"server"},
    {""},
)
SERVER_LEVEL = {part: level for level, parts in enumerate(SERVER_LAYERS) for part in parts}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not (parts[0] == "protos" and len(parts) > 1 and parts[1] in GENERATED):
            yield ".".join(("tfs_client", *parts)).removesuffix(".__init__"), path


SOURCES = dict(modules())


@cache
def tree_of(name):
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")  # where statements may be


def statements(tree, checking):
    """The tree's statements; without what stands under ``if TYPE_CHECKING`` unless ``checking``."""
    yield tree
    for block in BLOCKS:
        if block == "body" and not checking and getattr(getattr(tree, "test", None), "id", "") == "TYPE_CHECKING":
            continue
        for child in getattr(tree, block, ()):
            yield from statements(child, checking)


@cache
def imports(name, *, checking=True):
    """Everything that a module imports, as full names; ``from a import b`` gives ``a.b`` where that is a module."""
    found = set()
    for node in statements(tree_of(name), checking):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: relative imports hide what is imported"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in SOURCES or f"{node.module}" == "tfs_client" else node.module)
    return frozenset(found)


def part_of(module):
    """The part of the package that a module belongs to; "" for the package itself."""
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def own_imports(name):
    return {module for module in imports(name) if module.split(".")[0] == "tfs_client"}


INNER = sorted(name for name in SOURCES if name != "tfs_client")


def test_every_part_has_a_layer():
    assert {part_of(name) for name in INNER} <= set(LEVEL)


def inside(part):
    return [name for name in INNER if part_of(name) == part]


def test_imports_go_downwards():
    for name in INNER:
        part = part_of(name)
        for module in own_imports(name):
            other = part_of(module)
            if other in (part, "__version__"):
                continue
            assert other in LEVEL, f"{name} imports {module}: import from the module that has it, not from the package"
            assert LEVEL[other] < LEVEL[part], f"{name} imports {module}"


def test_the_server_shares_only_codec_and_values_with_the_client():
    for name in inside("server"):
        assert {part_of(module) for module in own_imports(name)} <= SERVER_MAY, name


def part_of_the_server(module):
    """The module or folder of the server that a module belongs to; "" for the package itself."""
    return [*module.split("."), ""][2]


def test_imports_inside_the_server_go_downwards():
    for name in inside("server"):
        part = part_of_the_server(name)
        for module in own_imports(name):
            other = part_of_the_server(module)
            if part_of(module) == "server" and other != part:
                assert SERVER_LEVEL[other] < SERVER_LEVEL[part], f"{name} imports {module}"


def test_flows_do_not_import_batching():
    for name in inside("_flows"):
        if not name.startswith("tfs_client._flows.batching"):
            assert not {module for module in imports(name) if module.startswith("tfs_client._flows.batching")}, name


def external(name):
    return {module.split(".")[0] for module in imports(name)}


def test_the_codec_knows_no_network():
    for name in inside("_codec"):
        assert not external(name) & {"grpc", "httpx", "socket", "asyncio", "threading"}, name


def test_transports_know_no_tensor():
    for name in inside("_transports"):
        assert "numpy" not in external(name), name
        own = own_imports(name) - {
            "tfs_client._codec.inflating",
            "tfs_client._codec.reply_facts",
            "tfs_client._codec.request_memory",
        }
        assert not {part_of(module) for module in own} & {"_codec", "signatures", "_calls", "protos"}, name


def test_one_module_imports_the_http_library():
    """Of httpcore below it two know the interface of its connections."""
    assert {name for name in SOURCES if "httpx" in external(name)} == {"tfs_client._transports.http_client"}
    assert {name.rpartition(".")[2] for name in SOURCES if "httpcore" in external(name)} == {
        "handshakes",
        "host_names",
        "http_deadlines",
    }


def test_errors_import_the_standard_library_only():
    assert external("tfs_client.errors") <= {"__future__", "collections", "enum", "functools", "typing", "tfs_client"}
    assert external("tfs_client._printable") <= {"__future__", "collections", "itertools", "re", "reprlib", "typing"}


def test_the_package_itself_imports_nothing_when_imported():
    at_import = imports("tfs_client", checking=False)
    assert {module.split(".")[0] for module in at_import} <= {"__future__", "importlib", "typing", "tfs_client"}
    assert "tfs_client" not in {module.split(".")[0] for module in at_import}


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


def test_no_module_is_a_collection_of_utilities():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not {name for name in SOURCES if drawers & {part.strip("_") for part in name.split(".")}}


def test_no_module_exceeds_400_lines():
    lengths = {name: path.read_text(encoding="utf-8").count("\n") for name, path in modules()}
    # Mostly signatures and docstrings.
    longest = {"tfs_client.client": 910, "tfs_client.aio": 650, "tfs_client.results": 430}
    assert {name: length for name, length in lengths.items() if length > longest.get(name, 400)} == {}
