"""What a prediction costs on top of raw gRPC that carries the same bytes.

For every size of request and kind of reply: PredictClient.predict, from array to array, against a bare
``channel.unary_unary`` call with a ready-made request whose reply is thrown away. One server, in a process of its own,
answers both with the same bytes; calls alternate; the figure is the ratio of the medians.

    python benchmarks/overhead.py [--quick]
"""

from __future__ import annotations

import argparse
from time import perf_counter

import grpc
import numpy as np
from bare_server import UNLIMITED, running
from measure import alternating, duration, machine, median

from tfs_client import PredictClient
from tfs_client.calls.predict import Predict
from tfs_client.codec import predict
from tfs_client.codec.model_spec import ModelSpec

SHAPES = {"40 B": (10,), "0.6 MB": (1, 224, 224, 3), "4.8 MB": (8, 224, 224, 3), "19 MB": (32, 224, 224, 3)}
REPLIES = ("small", "content", "typed")
LIMIT = 1.08  # what the project promises, in every row


def rows(target: str, seconds: float) -> list[tuple[str, str, int, float, float]]:
    """One row for each size and reply: names, rounds, median seconds of raw gRPC and of predict."""
    found = []
    generator = np.random.default_rng(0)
    with PredictClient(target, model="m") as client, grpc.insecure_channel(target, options=UNLIMITED) as channel:
        raw, set_reply = channel.unary_unary(Predict.path), channel.unary_unary("/bench/Reply")
        for size, shape in SHAPES.items():
            x = generator.random(shape, np.float32)
            request = predict.write_request(ModelSpec("m"), {"x": x})
            for kind in REPLIES:
                y = x if kind != "small" else generator.random((1, 10), np.float32)
                spec = ModelSpec("m", 1, None, "serving_default")
                set_reply(predict.write_response(spec, {"y": y}, typed=kind != "content"))
                assert np.array_equal(client.predict({"x": x}).array, y)

                def ours(x: np.ndarray = x) -> None:
                    client.predict({"x": x})

                def floor(request: bytes = request) -> None:
                    raw(request, timeout=30)

                started = perf_counter()
                ours()
                rounds = max(30, min(3000, int(seconds / 2 / (perf_counter() - started))))
                base, own = alternating(floor, ours, rounds=rounds, warmup=10)
                found.append((size, kind, rounds, median(base), median(own)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a second for each row instead of four")
    quick = parser.parse_args().quick
    print(machine("grpcio", "numpy", "tfs-client"))
    print(f"{'request':>8}  {'reply':8} {'rounds':>6} {'raw gRPC':>10} {'predict':>10}  ratio")
    worst = 0.0
    with running() as target:
        for size, kind, rounds, base, own in rows(target, 1.0 if quick else 4.0):
            worst = max(worst, own / base)
            print(f"{size:>8}  {kind:8} {rounds:6} {duration(base):>10} {duration(own):>10}  {own / base:.3f}")
    print(f"worst row: {worst:.3f} (promised: {LIMIT})")


if __name__ == "__main__":
    main()
