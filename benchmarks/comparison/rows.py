"""Rows: what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reply = Literal["small", "content", "typed"]
Style = Literal["sync", "futures", "asyncio"]
Server = Literal["grpc", "rest", "tiny"]

PICTURE = (224, 224, 3)
SCORES = (1, 10)


@dataclass(frozen=True)
class Call:
    """A call: one input, one output.

    Attributes:
        shape, dtype: of the input; "string" is words of bytes.
        reply: "small", ten float32; or the input itself, as "content" (raw bytes, little endian) or "typed" (the
            repeated fields that TensorFlow Serving uses by default).
        server: "grpc" is a bare gRPC server, "rest" a bare HTTP server, "tiny" the tiny server over REST.
        output: the shape of a "small" reply.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    reply: Reply = "small"
    style: Style = "sync"
    server: Server = "grpc"
    output: tuple[int, ...] = SCORES


@dataclass(frozen=True)
class Row:
    """One line of the results.

    Attributes:
        group, name: how ``--only`` and the tables name it.
        call: what is sent and answered.
        in_flight: calls under way at a time; None times single calls, one after the other.
        pictures: pictures in each request, for rows that count them.
        memory: measure the peak memory of a new process instead of time.
    """

    group: str
    name: str
    call: Call
    in_flight: int | None = None
    pictures: int | None = None
    memory: bool = False

    @property
    def title(self) -> str:
        """Group and name."""
        return f"{self.group}/{self.name}"


SIZES = {
    "40 B": (10,),
    "0.6 MB": (1, *PICTURE),
    "4.8 MB": (8, *PICTURE),
    "19 MB": (32, *PICTURE),
    "64 MB": (106, *PICTURE),
}
REPLIES: tuple[Reply, ...] = ("small", "content", "typed")
DTYPES = {
    "int64, 100,000": ((100_000,), "int64"),
    "strings, 10,000": ((10_000,), "string"),
    "uint8, 32 pictures": ((32, *PICTURE), "uint8"),
    "half, 1 picture": ((1, *PICTURE), "float16"),
}
IN_FLIGHT: dict[Style, tuple[int, ...]] = {
    "sync": (1, 4, 8, 16, 64),  # the number of threads
    "futures": (1, 4, 16, 64),
    "asyncio": (1, 4, 16, 64),
}


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def rows() -> list[Row]:
    """All rows of calls, in the order of the tables. ``whole_processes.py`` has those of whole processes."""
    found = [
        Row("sync", f"{size}, {reply}", Call(shape, reply=reply)) for size, shape in SIZES.items() for reply in REPLIES
    ]
    found += [
        Row("asyncio", f"{size}, {reply}", Call(shape, reply=reply, style="asyncio"))
        for size, shape in SIZES.items()
        for reply in REPLIES
    ]
    found += [
        Row("dtypes", f"{name}, {reply}", Call(shape, dtype, reply))
        for name, (shape, dtype) in DTYPES.items()
        for reply in REPLIES[1:]
        if (dtype, reply) != ("string", "content")  # strings have one encoding
    ]
    found += [
        Row("batching", _pictures(n), Call((n, *PICTURE), reply="typed", output=(n, 1000)), pictures=n)
        for n in (1, 2, 4, 8, 16, 32, 64)
    ]
    found += [
        Row("in-flight", f"{size}, {style}, {n}", Call(SIZES[size], style=style), in_flight=n)
        for size in ("40 B", "0.6 MB")
        for style, levels in IN_FLIGHT.items()
        for n in levels
    ]
    found += [
        Row("rest", "40 B", Call((1, 10), server="rest")),
        Row("rest", "0.6 MB", Call(SIZES["0.6 MB"], server="rest")),
        Row("rest", "0.6 MB, tiny server", Call(SIZES["0.6 MB"], server="tiny")),
    ]
    found.append(Row("memory", "19 MB, content", Call(SIZES["19 MB"], reply="content"), memory=True))
    return found
