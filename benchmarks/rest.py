"""What a prediction over REST costs on top of httpx posting a body that is there already.

0.6 MB of float32, as JSON, to two servers in processes of their own: a bare one, which reads the body, throws it away
and answers with fixed bytes, and the tiny server, which reads the JSON, runs a model and answers with ten numbers.
Calls alternate; the figures are medians, the ratios are to httpx posting the ready-made body.

    python benchmarks/rest.py [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import orjson
from measure import alternating, duration, machine, median
from processes import started

from tfs_client import PredictClient

SHAPE = (1, 224, 224, 3)
PATH = "/v1/models/m:predict"
LIMIT = 1.5

REPLY = b'{"predictions": [[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]]}'
METADATA = b"""{"model_spec": {"name": "m", "version": "1"}, "metadata": {"signature_def": {"signature_def":
{"serving_default": {"inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "224"},
{"size": "224"}, {"size": "3"}]}}}, "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"},
{"size": "10"}]}}}, "method_name": "tensorflow/serving/predict"}}}}}"""


def serve_bare() -> None:
    """Read requests and throw them away; print the port first, end with standard input."""
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while header := stream.readline().strip().lower():
                    if header.startswith(b"content-length:"):
                        length = int(header.partition(b":")[2])
                stream.read(length)
                body = METADATA if line.startswith(b"GET") else REPLY
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

    def accept() -> None:
        while True:
            threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


def serve_tiny() -> None:
    """The tiny server with a model that looks at every value."""
    from tfs_client import TensorSpec
    from tfs_client.testing import FakeServer

    with FakeServer() as server:
        image, scores = TensorSpec("float32", (None, 224, 224, 3)), TensorSpec("float32", (None, 10))
        server.add_model(
            "m", lambda x: np.repeat(x.mean(axis=(1, 2, 3))[:, None], 10, 1), inputs={"x": image}, outputs={"y": scores}
        )
        print(server.rest_url.rpartition(":")[2], flush=True)
        sys.stdin.read()


@contextmanager
def running(kind: str) -> Iterator[str]:
    """A server in a process of its own; yields its URL."""
    with started(__file__, "--serve", kind) as (_, (port,)):
        yield f"http://127.0.0.1:{port}"


def measure(kind: str, rounds: int) -> float:
    """Print the rows of one server; the ratio of predict."""
    x = np.random.default_rng(0).random(SHAPE, np.float32)
    ready = orjson.dumps({"instances": x}, option=orjson.OPT_SERIALIZE_NUMPY)
    with running(kind) as url, PredictClient(url, model="m") as client, httpx.Client(base_url=url) as raw:
        got = client.predict({"x": x}).array
        assert got.shape == (1, 10)
        assert kind == "bare" or np.allclose(got, x.mean())
        names = (
            "httpx, ready-made body",
            "httpx, orjson.dumps",
            "httpx, json.dumps(tolist())",
            "PredictClient.predict",
        )
        times = alternating(
            lambda: orjson.loads(raw.post(PATH, content=ready).content),
            lambda: orjson.loads(
                raw.post(PATH, content=orjson.dumps({"instances": x}, option=orjson.OPT_SERIALIZE_NUMPY)).content
            ),
            lambda: json.loads(raw.post(PATH, content=json.dumps({"instances": x.tolist()})).content),
            lambda: client.predict({"x": x}),
            rounds=rounds,
        )
    print(f"\n{kind} server, {x.nbytes / 1e6:.1f} MB of float32, {len(ready) / 1e6:.1f} MB of JSON")
    floor = median(times[0])
    for name, found in zip(names, times, strict=True):
        print(f"  {name:30} {duration(median(found)):>9}  {median(found) / floor:6.2f}")
    return median(times[3]) / floor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--serve", choices=("bare", "tiny"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve_bare() if options.serve == "bare" else serve_tiny()
    warnings.simplefilter("ignore")  # that it is large is the point
    print(machine("httpx", "orjson", "numpy", "tfs-client"))
    measure("bare", options.rounds)
    ratio = measure("tiny", options.rounds)
    print(f"\npredict against the tiny server: {ratio:.2f} (aimed at: {LIMIT})")
    return None


if __name__ == "__main__":
    main()
