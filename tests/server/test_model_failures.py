"""Models whose code raises every kind of exception: a load fails, a call is answered, and the server keeps running."""

from __future__ import annotations

import numpy as np
import pytest
from model_dirs import TextPlatform, put
from served_models import FAST, until

from tfs_client import (
    CallError,
    ModelConfig,
    ModelServerConfig,
    NotFoundError,
    PredictClient,
    StatusCode,
    TensorSpec,
    UnavailableError,
)
from tfs_client.server import FunctionServable, FunctionSignature, Server, ServerConfig
from tfs_client.server.batching import BatchingServable
from tfs_client.server.model_failures import LONGEST, text_of

X = {"x": TensorSpec("float32", (None,))}


class HostileError(Exception):
    def __str__(self):
        raise SystemExit("no text")


class OddError(OSError):
    errno = "none"


RAISED = {
    "exit": (SystemExit(3), "SystemExit: 3"),
    "interrupt": (KeyboardInterrupt(), "KeyboardInterrupt: "),
    "generator": (GeneratorExit("x"), "GeneratorExit: x"),
    "hostile": (HostileError(), "HostileError: (its text cannot be shown)"),
    "long": (ValueError("y" * 1_000_000), "ValueError: yyy"),
    "details": (NotFoundError(ValueError("not a text")), "ValueError: not a text"),
    "long details": (UnavailableError("z" * 1_000_000), "zzz"),
    "no text": (UnavailableError(None), "None"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One that tries to load them all, with a good model among them."""
    base = tmp_path_factory.mktemp("models")
    good = TextPlatform()

    def load(path):
        name = path.split("/")[-2].replace("-", " ")
        if name == "odd":
            raise OddError("of a file")
        if name in RAISED:
            raise RAISED[name][0]
        return good(path)

    for name in RAISED | {"good": 0, "odd": 0}:
        put(base / name.replace(" ", "-"), 1)
    config = ModelServerConfig([ModelConfig("good", str(base / "good"))])
    with Server(ServerConfig(model_config=config, **FAST), platforms={"tensorflow": load}) as server:
        names = [name.replace(" ", "-") for name in RAISED]
        models = [*config, *(ModelConfig(name, str(base / name)) for name in (*names, "odd"))]
        with pytest.raises(CallError, match="did not become available"):
            server.core.reload(ModelServerConfig(models))
        yield server


@pytest.fixture(scope="module")
def client(server):
    with PredictClient(server.target, timeout=20, retry=None) as client:
        yield client


@pytest.mark.parametrize("name", RAISED)
def test_every_exception_of_a_load_fails_it(client, name):
    (status,) = client.status(model=name.replace(" ", "-")).versions
    assert status.state.name == "END"
    assert status.message.startswith(RAISED[name][1])
    assert len(status.message) <= LONGEST


def test_an_error_of_a_file_without_a_number(client):
    (status,) = client.status(model="odd").versions
    assert (status.code, status.message[-9:]) == (StatusCode.UNKNOWN, "of a file")


def test_other_models_are_served_despite_failed_loads(client):
    assert client.predict({}, model="good").array.item() == b"1"


@pytest.mark.parametrize("batched", [False, True], ids=["plain", "batched"])
@pytest.mark.parametrize("name", RAISED)
def test_every_exception_of_a_call_is_answered(server, client, name, batched):
    def fail(x):
        raise RAISED[name][0]

    servable = FunctionServable({"serving_default": FunctionSignature(fail, X, X)})
    model = f"fails-{len(name)}-{batched}"
    with BatchingServable(servable) as batching:
        server.add_model(model, batching if batched else servable)
        with pytest.raises(CallError) as caught:
            client.predict({"x": np.float32([1])}, model=model)
        server.manager.remove(model, 1)
    assert caught.value.details.startswith(RAISED[name][1])
    assert len(caught.value.details) <= LONGEST
    assert client.predict({}, model="good").array.item() == b"1"


def test_the_text_of_an_exception():
    assert text_of(ValueError("a\x1b[31m")) == "ValueError: a\\x1b[31m"


def test_a_base_path_that_the_system_cannot_encode_delays_no_other_model(server, tmp_path, monkeypatch):
    """Some encodings of file names do not have every character; each poll meets such a path again."""
    import os

    listdir = os.listdir

    def latin(path):
        str(path).encode("latin-1")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", latin)
    put(tmp_path / "late", 1)
    models = [ModelConfig("a", "/\u043c"), ModelConfig("late", str(tmp_path / "late"))]
    with Server(
        ServerConfig(model_config=ModelServerConfig(), reload_wait=0.05, **FAST),
        platforms={"tensorflow": TextPlatform()},
    ) as other:
        with pytest.raises(CallError, match="name: a base_path"):
            other.core.reload(ModelServerConfig(models))
        until(lambda: other.manager.is_available("late", 1))


def test_a_base_path_beyond_the_systems_limit(server):
    with pytest.raises(CallError, match="a base path of at most 4096 bytes, got one of 5000"):
        server.core.reload(ModelServerConfig([ModelConfig("long-path", "/" * 5000)]))
