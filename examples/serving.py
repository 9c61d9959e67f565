"""What the examples share: a folder for the model's versions, and the tiny server that serves it.

In the place of the tiny server, TensorFlow Serving would be started on the same folder:

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
    """The folder that the command line names for the model's versions; without one a temporary folder."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("base_path", nargs="?", type=Path, help="where the model is exported; kept afterwards")
    given = parser.parse_args().base_path
    if given is not None:
        yield given.resolve()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "model")


def next_version(base: Path) -> str:
    """A version folder that does not exist yet: 1, or one more than the highest there is."""
    numbers = [int(folder.name) for folder in base.glob("[0-9]*") if folder.name.isdigit()]
    return str(base / str(max(numbers, default=0) + 1))


@contextmanager
def served(name: str, base: Path) -> Iterator[dict[str, PredictClient]]:
    """Serve the latest version below a base path; yields a client for each way of calling it."""
    models = ModelServerConfig([ModelConfig(name, str(base))])
    config = ServerConfig(model_config=models, rest_port=0)
    with (
        Server(config, platforms={"tensorflow": saved_model.load}) as server,
        PredictClient(server.target, model=name) as grpc,
        PredictClient(server.rest_url, model=name) as rest,
    ):
        yield {"gRPC": grpc, "REST": rest}
