"""Count what the client's own part of a prediction executes, for a request of 40 bytes: figures without a clock.

The counts are of calls of the package's Python functions, and of C functions that these call; each resumption of a
generator or coroutine is a call. gRPC's functions do not count. With another checkout, the counts are that checkout's.

    python benchmarks/counts.py [CHECKOUT]
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

TREE = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parent.parent).resolve()
if not (TREE / "tfs_client" / "__init__.py").is_file():
    sys.exit(f"expected a checkout with tfs_client/, got {str(TREE)!r}")
sys.path.insert(0, str(TREE))

import bare_server  # noqa: E402
import grpc  # noqa: E402
import numpy as np  # noqa: E402
from measure import machine  # noqa: E402

from tfs_client import AsyncPredictClient, PredictClient  # noqa: E402
from tfs_client._codec import predict_messages  # noqa: E402
from tfs_client._codec.model_spec import ModelSpec  # noqa: E402

PACKAGE = str(TREE / "tfs_client")
INPUTS = {"x": np.zeros(10, np.float32)}
WARM = 5  # predictions before the one that counts


class Counts:
    """Calls of the package's functions, and of C functions by them, in all threads."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.python = self.c = 0

    def count(self, frame: FrameType, event: str, argument: Any) -> None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            self.python += event == "call"
            self.c += event == "c_call"


@contextmanager
def counting() -> Iterator[Counts]:
    found = Counts()
    threading.setprofile(found.count)  # gRPC starts the thread that delivers replies with the first future under way
    sys.setprofile(found.count)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def blocking(target: str) -> Counts:
    with PredictClient(target, model="m", timeout=30) as client, counting() as found:
        for _ in range(WARM + 1):
            found.reset()
            client.predict(INPUTS)
        return found


def future(target: str) -> Counts:
    least: list[tuple[int, int]] = []
    with PredictClient(target, model="m", timeout=30) as client, counting() as found:
        for _ in range(WARM + 5):
            ended = threading.Event()
            found.reset()
            client.predict_future(INPUTS).add_done_callback(lambda future, ended=ended: ended.set())  # type: ignore[misc]
            ended.wait(30)
            least.append((found.python, found.c))
    # What gRPC's thread does after a call may count for the next one; the least is what every call does.
    found.python, found.c = min(least)
    return found


def in_asyncio(target: str) -> Counts:
    async def main() -> Counts:
        async with AsyncPredictClient(target, model="m", timeout=30) as client:
            with counting() as found:
                for _ in range(WARM + 1):
                    found.reset()
                    await client.predict(INPUTS)
                return found

    return asyncio.run(main())


def main() -> None:
    reply = predict_messages.write_response(ModelSpec("m", 1, None, "serving_default"), INPUTS)
    print(machine("grpcio", "numpy", "protobuf"))
    with bare_server.running() as target:
        with grpc.insecure_channel(target) as channel:
            channel.unary_unary("/bench/Reply")(reply, timeout=60)
        styles: dict[str, Callable[[str], Counts]] = {
            "predict": blocking,
            "predict_future": future,
            "predict in asyncio": in_asyncio,
        }
        for name, run in styles.items():
            counts = run(target)
            print(f"{name:20} {counts.python:3} Python calls, {counts.c:3} C calls")


if __name__ == "__main__":
    main()
