"""Shared code of the examples: a folder for the model's versions, and the tiny server that serves it.

To use TensorFlow Serving instead of the tiny server, start it with the same folder:

    tensorflow_model_server --port=8500 --rest_api_port=8501 --model_name=digits --model_base_path=/models/digits
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfs_client import ModelConfig, ModelServerConfig, PredictClient
from tfs_client.server import Server, ServerConfig
from tfs_client.server.backends import saved_model


@contextmanager
def base_path(description: str | None) -> Iterator[Path]:
    """The folder for the model's versions: from the command line, or a temporary one."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("base_path", nargs="?", type=Path, help="folder for the exported model, which is kept")
    given = parser.parse_args().base_path
    if given is not None:
        yield given.resolve()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "model")


def next_version(base: Path) -> str:
    """A new version folder: 1, or one more than the highest existing version."""
    numbers = [int(folder.name) for folder in base.glob("[0-9]*") if folder.name.isdigit()]
    return str(base / str(max(numbers, default=0) + 1))


@contextmanager
def served(name: str, base: Path) -> Iterator[dict[str, PredictClient]]:
    """Serve the latest version below a base path; yields a gRPC client and a REST client."""
    models = ModelServerConfig([ModelConfig(name, str(base))])
    config = ServerConfig(model_config=models, rest_port=0)
    with (
        Server(config, platforms={"tensorflow": saved_model.load}) as server,
        PredictClient(server.target, model=name) as grpc,
        PredictClient(server.rest_url, model=name) as rest,
    ):
        yield {"gRPC": grpc, "REST": rest}
