"""The client libraries that take part, and where they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comparison.rows import SCORES, Call, Row


@dataclass(frozen=True)
class Library:
    """A client library, or a way of using one.

    Attributes:
        name: in the results.
        module, arguments: its program in ``clients/``.
        environment: a name in ``environments.py``.
        packages: whose installed size is its size.
        kserve: it speaks KServe's protocol.
        tree: a checkout of tfs_client to run, instead of the one that the harness imports.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    environment: str = "base"
    packages: tuple[str, ...] = ()
    kserve: bool = False
    tree: Path | None = None


RAW_GRPC = Library("raw grpcio", "raw_grpc", packages=("grpcio",))
RAW_HTTPX = Library("raw httpx", "raw_httpx", ("ready",), packages=("httpx",))
OWN = Library("tfs_client", "own", ("arrays",), packages=("tfs-client",))
BASE = (
    RAW_GRPC,
    RAW_HTTPX,
    OWN,
    Library("tfs_client, empty", "own", ("empty",)),
    Library("httpx, orjson", "raw_httpx", ("orjson",)),
    Library("httpx, json", "raw_httpx", ("json",)),
)
PEERS = (
    Library(
        "tensorflow-serving-api",
        "tensorflow_client",
        environment="tensorflow",
        packages=("tensorflow-serving-api", "tensorflow"),
    ),
    Library("ovmsclient", "ovms", environment="ovmsclient", packages=("ovmsclient",)),
    Library("tritonclient", "triton", environment="tritonclient", packages=("tritonclient",), kserve=True),
)


def other_trees(paths: Sequence[Path]) -> list[Library]:
    """tfs_client of other checkouts, each named after its folder, or after its path if two folders have one name."""
    folders = [path.name for path in paths]
    return [
        Library(f"tfs_client ({path.name if folders.count(path.name) == 1 else path})", "own", ("arrays",), tree=path)
        for path in paths
    ]


def excluded(library: Library, call: Call) -> str | None:
    """Why a row is not for a library that could run it; None if it is."""
    if library.kserve and call.reply == "typed" and call.dtype != "string" and call.output == SCORES:
        return "its protocol answers with raw values, as in the row 'content'"
    return None


def floor(row: Row) -> Library:
    """What the row compares with."""
    return RAW_GRPC if row.call.server == "grpc" else RAW_HTTPX
