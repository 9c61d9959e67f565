"""Compare `tfs-predict` on a list of JPEG files with a plain loop, show what a picture costs, and measure the memory.

The plain loop is what services write by hand: in one thread, Pillow opens, converts and resizes 32 pictures, they are
stacked and sent through a bare stub, and the answer is awaited before the next 32. Both ways write an answer per
picture as a JSON line. The tiny server runs in a separate process; its model, the mean colour of every 16th row and
column, costs next to nothing. The pictures are drawn: a few different files under many names (hard links). Rounds
alternate, figures are medians, and every answer is compared. The ratio needs two idle cores; the CPU that the client
uses for a picture, which should be the same in both ways, does not.

    python benchmarks/pictures.py [--sizes 640x480,1920x1440] [--pictures N] [--rounds N] [--memory N]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import grpc
import numpy as np
from measure import alternating, duration, machine, resident_memory
from photographs import photograph
from PIL import Image
from processes import started

from tfs_client import PredictClient, TensorSpec, images
from tfs_client.cli.predict import command
from tfs_client.cli.predict.bulk.json_lines import JsonLines
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.images.scaling import scaled
from tfs_client.protos.tensorflow.core.framework import types_pb2
from tfs_client.protos.tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tfs_client.server import FunctionServable, FunctionSignature, Server

SIDE, BATCH = 224, 32
SPEC = TensorSpec("float32", (None, SIDE, SIDE, 3))
FILES = 8  # different pictures
STAGED = 4  # batches whose stages are measured
STAGES = ("read", "decode", "resize", "scale", "stack", "encode", "wait", "write")


def serve() -> None:
    """Serve the model; prints the port, and stops at the end of standard input."""
    mean = FunctionSignature(
        lambda x: x[:, ::16, ::16].mean((1, 2)), {"x": SPEC}, {"y": TensorSpec("float32", (None, 3))}
    )
    with Server() as server:
        server.add_model("mean", FunctionServable({"serving_default": mean}))
        print(server.port, flush=True)
        sys.stdin.read()


def predict_files(target: str, listed: str, output: str) -> None:
    """Run ``tfs-predict`` on the files in a list."""
    arguments = ["--server", target, "--model", "mean", "--scale", "unit", "--quiet", "--overwrite"]
    with redirect_stdout(io.StringIO()):
        code = command.main([*arguments, "--input-list", listed, "--output", output])
    assert code == 0


def plain_loop(target: str, listed: str, output: str) -> None:
    """Do the same by hand, without this package apart from the messages."""
    names = Path(listed).read_text().splitlines()
    with grpc.insecure_channel(target) as channel, open(output, "w") as file:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for first in range(0, len(names), BATCH):
            some = names[first : first + BATCH]
            batch = np.stack([_plain_picture(name) for name in some])
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "mean"
            tensor = request.inputs["x"]
            tensor.dtype = types_pb2.DT_FLOAT
            for length in batch.shape:
                tensor.tensor_shape.dim.add().size = length
            tensor.tensor_content = batch.tobytes()
            found = stub.Predict(request, timeout=60).outputs["y"]
            values = found.float_val or np.frombuffer(found.tensor_content, np.float32)
            for name, row in zip(some, np.reshape(values, (-1, 3)).tolist(), strict=True):
                file.write(json.dumps({"image": name, "outputs": {"y": {"values": row}}}) + "\n")


def _plain_picture(name: str) -> np.ndarray:
    image = Image.open(name).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / 255


class Way:
    """A way to predict the files in a list, and the seconds of CPU that this process needs for it."""

    def __init__(self, function: Callable[[str, str, str], None], *arguments: str) -> None:
        self._function = function
        self._arguments = arguments
        self.cpu: list[float] = []

    def __call__(self) -> None:
        began = process_time()
        self._function(*self._arguments)
        self.cpu.append(process_time() - began)


def answers(output: str) -> dict[str, list[float]]:
    """Read the answers of a run, by the name of the picture."""
    rows = map(json.loads, Path(output).read_text().splitlines())
    return {row["image"]: row["outputs"]["y"]["values"] for row in rows}


def linked(folder: Path, count: int, size: tuple[int, int]) -> str:
    """Write pictures, give them ``count`` names, and return a file that lists the names."""
    for number in range(FILES):
        (folder / f"{number}.jpg").write_bytes(photograph(*size, seed=number))
    names = [folder / f"picture-{number}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        os.link(folder / f"{number % FILES}.jpg", name)
    listed = folder / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    return str(listed)


def shown(size: tuple[int, int]) -> str:
    """A size, as the first column of a table."""
    return f"{size[0]} x {size[1]}".rjust(12)


def rates(target: str, size: tuple[int, int], count: int, rounds: int) -> None:
    """Print the pictures per second of both ways."""
    with tempfile.TemporaryDirectory() as folder:
        listed = linked(Path(folder), count, size)
        outputs = [f"{folder}/{name}.jsonl" for name in ("plain", "tfs-predict")]
        ways = [Way(plain_loop, target, listed, outputs[0]), Way(predict_files, target, listed, outputs[1])]
        plain, ours = alternating(*ways, rounds=rounds, warmup=1)
        by_hand, found = map(answers, outputs)
        assert len(found) == count
        assert found.keys() == by_hand.keys()
        apart = max(abs(np.subtract(found[name], by_hand[name])).max() for name in found)
        ratio = median(plain) / median(ours)
        per_second = [f"{count / median(times):>11.0f}/s" for times in (plain, ours)]
        cpu = " / ".join(duration(median(way.cpu) / count) for way in ways)
        print(
            f"{shown(size)} {count:>8} {' '.join(per_second)} {ratio:>7.2f} {cpu:>19} {apart * 255:>10.3f}", flush=True
        )


def stages(target: str, size: tuple[int, int]) -> None:
    """Print the time that each stage takes for a picture, one after the other in one thread."""
    taken: dict[str, list[float]] = {}
    limits, floats = images.Limits(), images.plan(SPEC, scale="unit")
    integers = images.plan(TensorSpec("uint8", SPEC.shape))

    def timed(stage: str, function: Callable[[], object]) -> object:
        began = perf_counter()
        value = function()
        taken.setdefault(stage, []).append(perf_counter() - began)
        return value

    with tempfile.TemporaryDirectory() as folder, PredictClient(target, model="mean", timeout=60) as client:
        names = Path(linked(Path(folder), BATCH, size)).read_text().splitlines()
        rows = JsonLines(f"{folder}/rows.jsonl")
        reader = images.AnswerReader(client.signatures().named("serving_default").outputs)
        geometry = floats.geometry(size)
        for turn in range(STAGED + 1):
            tensors = []
            for name in names:
                data = timed("read", lambda name=name: images.read_file(name))
                image = timed("decode", lambda data=data: images.decode(data, limits))
                pixels = timed("resize", lambda image=image: images.to_array(image, integers))
                tensors.append(timed("scale", lambda pixels=pixels: scaled(pixels, floats)))
            batch = timed("stack", lambda tensors=tensors: np.concatenate(tensors))
            prediction = client.predict({"x": batch})
            taken.setdefault("encode", []).append(prediction.timing.encode)
            taken.setdefault("wait", []).append(prediction.timing.wait)
            for name, values in zip(names, prediction["y"], strict=True):
                row = Row(name, prediction.model, {"y": values})
                timed("write", lambda row=row: rows.add(row, reader(row.outputs, geometry)))
            if not turn:  # for warming up
                taken.clear()
        rows.close()
    costs = {stage: median(times) for stage, times in taken.items()}
    for stage in ("stack", "encode", "wait"):
        costs[stage] /= BATCH
    print(f"{shown(size)} " + "".join(f"{duration(costs[stage]):>10}" for stage in STAGES), flush=True)


def memory(target: str, count: int) -> None:
    """Print the memory of one run, in a process of its own, at each tenth of its time."""
    with tempfile.TemporaryDirectory() as folder:
        listed = linked(Path(folder), count, (640, 480))
        with started(__file__, "--run", target, listed, f"{folder}/rows.jsonl") as (_, found):
            print(f"\nmemory of tfs-predict over {count:,} pictures, MB: {' '.join(found)}")
        assert len(answers(f"{folder}/rows.jsonl")) == count


def sampled(function: Callable[[], None]) -> list[int]:
    """Call a function; returns the resident memory of this process, in MB, at each tenth of its time."""
    samples: list[int] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.05):
            samples.append(round(resident_memory() / 1e6))

    thread = threading.Thread(target=sample)
    thread.start()
    function()
    over.set()
    thread.join()
    return [samples[len(samples) * tenth // 10 - 1] for tenth in range(1, 11)]


def sizes(text: str) -> list[tuple[int, int]]:
    """Read sizes such as 640x480,1920x1440."""
    pairs = [size.split("x") for size in text.split(",")]
    return [(int(width), int(height)) for width, height in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=sizes, default=sizes("640x480,1920x1440"), metavar="WxH,...")
    parser.add_argument("--pictures", type=int, default=512, help="per round, of 640 x 480; fewer of larger ones")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--memory", type=int, default=10_000, help="pictures of the run whose memory is shown; 0 for none"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=3, metavar=("TARGET", "LIST", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.run:
        print(*sampled(lambda: predict_files(*options.run)))
        return None
    print(machine("grpcio", "numpy", "pillow", "protobuf", "tfs-client"))
    print(f"model: the mean of some pixels of {SIDE} x {SIDE} x 3 float32; requests of {BATCH} pictures\n")
    with started(__file__, "--serve") as (_, (port,)):
        target = f"127.0.0.1:{port}"
        header = f"{'JPEG':>12} {'pictures':>8} {'plain loop':>13} {'tfs-predict':>13} {'ratio':>7}"
        print(f"{header} {'client CPU of both':>19} {'apart, 255':>10}")
        for size in options.sizes:
            count = max(2 * BATCH, options.pictures * 640 * 480 // (size[0] * size[1]))
            rates(target, size, count, options.rounds)
        print(f"\nper picture, one thread\n{'JPEG':>12} " + "".join(f"{stage:>10}" for stage in STAGES))
        for size in options.sizes:
            stages(target, size)
        if options.memory:
            memory(target, options.memory)
    return None


if __name__ == "__main__":
    main()
