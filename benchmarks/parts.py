"""Measure the parts of a prediction of 40 bytes that are not gRPC: where the time on top of a raw call goes.

Predictions alternate at random with raw calls that carry the same bytes, as in ``benchmarks/comparison``, so that both
meet cold caches. "before" lasts until the request is written, "after" from the read reply until ``predict`` returns.
"transport" is the wait for the reply, above a raw call.

    python benchmarks/parts.py [SECONDS]
"""

from __future__ import annotations

import random
import sys
from time import perf_counter

import grpc
import numpy as np
from bare_server import UNLIMITED, running
from measure import duration, machine, median

from tfs_client import PredictClient
from tfs_client._calls.predict import Predict
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec

CONNECTIONS = 6
WARMUP = 10  # calls of each kind on every connection
X = np.zeros(10, np.float32)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 12.0
    reply = predict_messages.write_response(ModelSpec("m", 1, None, "serving_default"), {"y": X + 1})
    request = predict_messages.write_request(ModelSpec("m"), {"x": X})
    times: dict[str, list[float]] = {"raw": [], "predict": [], "before": [], "encode": [], "wait": []}
    times |= {"decode": [], "after": []}
    with running() as target:
        for _ in range(CONNECTIONS):
            with (
                PredictClient(target, model="m") as client,
                grpc.insecure_channel(target, options=UNLIMITED) as channel,
            ):
                channel.unary_unary("/bench/Reply")(reply)
                raw = channel.unary_unary(Predict.path)
                assert np.array_equal(client.predict({"x": X})["y"], X + 1)
                until = perf_counter() + seconds / CONNECTIONS
                turn = 0
                while perf_counter() < until:
                    turn += 1
                    for ours in random.sample((True, False), 2):
                        began = perf_counter()
                        result = client.predict({"x": X}) if ours else raw(request, timeout=30)
                        ended = perf_counter()
                        if turn <= WARMUP:
                            continue
                        times["predict" if ours else "raw"].append(ended - began)
                        if ours:
                            started, written, arrived, read = result._clock
                            times["before"].append(started - began)
                            times["encode"].append(written - started)
                            times["wait"].append(arrived - written)
                            times["decode"].append(read - arrived)
                            times["after"].append(ended - read)
    found = {name: median(values) for name, values in times.items()}
    print(machine("grpcio", "numpy", "tfs-client"))
    print(f"raw gRPC {duration(found['raw'])}, predict {duration(found['predict'])}", end=", ")
    print(f"ratio {found['predict'] / found['raw']:.3f}; {len(times['raw'])} calls of each")
    found["transport"] = found["wait"] - found["raw"]
    for name in ("before", "encode", "transport", "decode", "after"):
        print(f"  {name:10} {duration(found[name]):>8}  {found[name] / found['raw']:.3f} of a raw call")


if __name__ == "__main__":
    main()
