"""The readers of files: inputs and outputs of the commands, pictures, warmup records, configurations."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx_files
import tflite_bytes
from google.protobuf import text_format

from tfs_client._codec import onnx_file, text_messages, tflite_file, tfrecord
from tfs_client._codec.text_tokens import TextFormatError
from tfs_client.cli.predict.argument_values import read_input
from tfs_client.cli.predict.bulk.json_lines import JsonLines
from tfs_client.cli.predict.bulk.npz import NpzArchive
from tfs_client.images import ALPHAS, load_image
from tfs_client.model_config import ModelServerConfig
from tfs_client.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tfs_client.protos.tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig as Schema
from tfs_client.server import FunctionServable
from tfs_client.server.backends.flexbuffers import read_strings
from tfs_client.server.batching.parameters import BatchingParameters
from tfs_client.server.embedded import half_plus_two
from tfs_client.server.files.proto_files import check_syntax
from tfs_client.server.lifecycle.warmup import FILE, warm_up

from . import corpus_messages as corpus
from .engine import Reader
from .flexbuffer_maps import written
from .mutations_bytes import changed
from .mutations_files import (
    ALLOWED,
    WORDS,
    Make,
    npy_files,
    npz_files,
    pictures,
    record_files,
    records_of,
    texts,
)
from .mutations_json import Mutations as Json
from .mutations_wire import Mutations as Wire

MEMORY = "/dev/shm"  # files that are written for every input need no disk
PIXELS = 300_000  # of a picture; the command allows more, and takes the time for them

CONFIG = """model_config_list { config { name: "m" base_path: "/models/m" model_platform: "tensorflow"
 model_version_policy { specific { versions: 1 versions: 2 } } version_labels { key: "stable" value: 1 } }
 config { name: 'n' base_path: "/n" model_type: TENSORFLOW logging_config { sampling_config { sampling_rate: 0.5 } } }
 config { name: "o" base_path: "/o" model_platform: "x" model_version_policy { latest { num_versions: 2 } } } }"""
BATCHING = """max_batch_size { value: 128 } batch_timeout_micros { value: 1000 } num_batch_threads { value: 2 }
 max_enqueued_batches { value: 10 } allowed_batch_sizes: 1 allowed_batch_sizes: 128 thread_pool_name { value: "t" }
 pad_variable_length_inputs: true enable_large_batch_splitting { value: false }"""


class Folder:
    """A temporary directory with one file, which is rewritten for each input."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._path: Path | None = None

    def _file(self) -> Path:
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="hostile-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
            (self._path / self._name).parent.mkdir(parents=True, exist_ok=True)
        return self._path / self._name

    def reading(self, read: Callable[[str], Any]) -> Callable[[bytes], Any]:
        """A reader of bytes, given one of files."""

        def of_bytes(data: bytes) -> Any:
            file = self._file()
            file.write_bytes(data)
            return read(os.fspath(file))

        return of_bytes

    def close(self) -> None:
        """Remove it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None


def lazily(build: Callable[[], Make]) -> Make:
    """A maker of inputs that is built when the first one is wanted."""
    built: list[Make] = []

    def make(rng: Random) -> bytes:
        if not built:
            built.append(build())
        return built[0](rng)

    return make


def _of_file(label: str, file: str, make: Any, read: Callable[[str], Any], **more: Any) -> Reader:
    folder = Folder(file)
    return Reader(label, make, folder.reading(read), growth=0, close=folder.close, **more)


def _npy(data: bytes, value: Any, error: Exception | None) -> str:
    try:
        want = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception:  # numpy raises whatever it meets
        return "" if error is not None else "accepted what numpy refuses"
    if error is not None:
        return "" if not isinstance(want, np.ndarray) or not data.startswith(b"\x93NUMPY") else _refusable(want)
    got = value[1]
    same = got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes()
    return "" if same else "other values than numpy's"


def _refusable(want: np.ndarray) -> str:
    """What numpy reads may be refused where no tensor can hold it."""
    return "" if want.dtype.kind not in "biufc" or want.size == 0 or want.dtype.itemsize > 16 else "refused a good file"


def _rows(path: str) -> Any:
    archive = NpzArchive(path)
    try:
        return sorted(archive.held), archive._old and [row.image for row in archive._old.rows()]
    finally:
        archive.close()


def _lines(path: str) -> Any:
    output = JsonLines(path)
    try:
        return sorted(output.held)
    finally:
        output.close()


def _journal_rows(path: str) -> Any:
    from tfs_client.cli.predict.bulk.journal import Journal

    journal = Journal(path, written=set())
    try:
        return [row.image for row in journal.rows()]
    finally:
        journal.close()


def _json_lines(make: Json) -> Any:
    return lambda rng: b"\n".join(make(rng) for _ in range(1 + int(rng.random() * 3))) + (b"\n" * (rng.random() < 0.8))


def _picture(data: bytes) -> Any:
    image = load_image(data, max_pixels=PIXELS, exif=bool(len(data) % 2), alpha=ALPHAS[len(data) % 3])
    return image.mode, image.size


def _of_allowed_format(data: bytes, value: Any, error: Exception | None) -> str:
    if error is not None:
        return ""
    mode, (width, height) = value
    if mode not in ("L", "RGB") or not 0 < width * height <= PIXELS:
        return f"{mode} {width} x {height}"
    found = any(data.startswith(each) for name, each in ALLOWED.items() if name not in ("AVIF", "WEBP"))
    if not (found or data[4:8] == b"ftyp" or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")):
        return f"a format was decoded that is not allowed: {data[:12]!r}"
    return ""


def _records(data: bytes, value: Any, error: Exception | None) -> str:
    want = records_of(data)
    if error is not None:
        return "" if want is None else "refused good records"
    return "" if value == want else "other records"


def _config(data: bytes, value: Any, error: Exception | None) -> str:
    if error is not None:
        return ""
    try:
        proto = text_format.Parse(data.decode(), Schema())
    except (text_format.ParseError, UnicodeDecodeError):
        return ""  # Python's protobuf refuses some of what C++ protobuf accepts
    want = sorted(each.name for each in proto.model_config_list.config)
    return "" if sorted(value.names) == want else f"other models: {value.names}, not {want}"


class _Protoc:
    """C++ protobuf's opinion of a model configuration, where grpcio-tools is installed."""

    def __init__(self) -> None:
        self._protoc: Any = None

    def wrong(self, data: bytes, value: Any, error: Exception | None) -> str:
        if find_spec("grpc_tools") is None:
            return ""
        if self._protoc is None:
            from codec.protoc_encode import Protoc

            self._protoc = Protoc()
        agrees = self._protoc.agrees(value if error is None else Schema(), data, "" if error is None else str(error))
        return "" if agrees else f"C++ protobuf: {self._protoc.read(Schema.DESCRIPTOR.full_name, data)!r}"

    def close(self) -> None:
        if self._protoc is not None:
            self._protoc.close()
            self._protoc = None


def _text(data: bytes) -> Schema:
    proto = Schema()
    text_messages.fill(proto, data)
    return proto


def _warm(servable: FunctionServable) -> Callable[[str], Any]:
    def read(path: str) -> Any:
        warm_up(servable, os.fspath(Path(path).parent.parent))
        return True

    return read


def file_readers() -> list[Reader]:
    """All of them."""
    protoc = _Protoc()
    servable = FunctionServable(half_plus_two.signatures())
    row = {"image": "a.jpg", "model": "m", "version": 3, "outputs": {"y": [1.5]}}
    archive = {
        "names": np.array(["a", "b"]),
        "versions": np.array([1, -1]),
        "y": np.arange(4, dtype="<f4").reshape(2, 2),
    }
    ragged = {
        "names": np.array(["a"]),
        "versions": np.array([1]),
        "z.values": np.arange(3),
        "z.shapes": np.array([[3]]),
    }
    values = Json([[[1, 2.5], [3, 4]], "text", {"b64": "YQ=="}, 1.5, [True, None]])
    return [
        _of_file("npy", "x.npy", npy_files(), lambda path: read_input(f"x=@{path}"), wrong=_npy, cost=2),
        Reader(
            "input-json",
            values,
            lambda data: read_input("x=" + data.decode("utf-8", "surrogateescape").lstrip("@")),
            growth=0,
        ),
        _of_file("npz-resume", "out.npz", npz_files([archive, ragged]), _rows, cost=2),
        _of_file("jsonl-resume", "out.jsonl", _json_lines(Json([row])), _lines),
        _of_file("journal", "out.journal", _journals(), _journal_rows, cost=2),
        Reader("picture", lazily(pictures), _picture, _of_allowed_format, growth=0, cost=8),
        Reader(
            "tfrecord",
            record_files(Wire(corpus.logs(), PredictionLog.DESCRIPTOR)),
            lambda data: list(tfrecord.read(io.BytesIO(data))),
            _records,
        ),
        _of_file("warmup", FILE, record_files(Wire(corpus.logs(), PredictionLog.DESCRIPTOR)), _warm(servable), cost=2),
        _of_file(
            "model-config", "models.config", texts([CONFIG], WORDS), ModelServerConfig.from_file, wrong=_config, cost=2
        ),
        Reader(
            "text-message",
            texts([CONFIG], WORDS),
            _text,
            protoc.wrong,
            growth=0,
            refusals=(TextFormatError,),
            cost=8,
            close=protoc.close,
        ),
        _of_file("batching", "batching.config", texts([BATCHING], WORDS), BatchingParameters.from_file),
        Reader("flexbuffer", _flexbuffers, read_strings, _within_the_data),
        Reader("onnx", _onnx_models, lambda data: onnx_file.read(io.BytesIO(data))),
        Reader("tflite", _lite_models, lambda data: tflite_file.read(io.BytesIO(data))),
        _of_file("proto-text", "session.config", texts([BATCHING, CONFIG], WORDS), _syntax, cost=2),
    ]


def _flexbuffers(rng: Random) -> bytes:
    shared = b"x" * 40
    values = rng.choice(({b"serving_default": rng.randbytes(30), b"b": b""}, dict.fromkeys((b"a", b"b", b"c"), shared)))
    data = written(values, rng.choice((1, 2, 4, 8)) if len(values) < 3 else 1)
    for _ in range(int(rng.random() * 4)):
        data = changed(data, rng)
    return data


def _onnx_models(rng: Random) -> bytes:
    data = onnx_files.model(
        [onnx_files.value("x"), onnx_files.value("w", dims=None)],
        [onnx_files.value("y", onnx_files.INT64, (None, 3))],
        [onnx_files.weight("w", rng.randbytes(30))],
        [rng.randbytes(300)] * 3,
    )
    for _ in range(int(rng.random() * 4)):
        data = changed(data, rng)
    return data


def _lite_models(rng: Random) -> bytes:
    tensors = [tflite_bytes.tensor("x", signature=(-1, 2)), tflite_bytes.tensor("y" * 200, tflite_bytes.INT64)]
    data = tflite_bytes.model(tensors, [0], [1], metadata=rng.randbytes(30), weights=rng.randbytes(99), own=("s",))
    for _ in range(int(rng.random() * 4)):
        data = changed(data, rng)
    return data


def _within_the_data(data: bytes, value: Any, error: Exception | None) -> str:
    return "" if error is not None or sum(map(len, value.values())) <= len(data) else "longer strings than the data"


def _syntax(path: str) -> Any:
    check_syntax(Path(path), "tensorflow.ConfigProto")
    return True


def _journals() -> Any:
    """Journals of a run: records with a name and a PredictResponse, and their checksums."""
    import struct
    import zlib

    reply = Wire(corpus.responses()[:6], corpus.predict_pb2.PredictResponse.DESCRIPTOR)

    def one(rng: Any) -> bytes:
        name = rng.choice((b"a.jpg", b"\xff", b"", b"b" * 300))
        data = struct.pack("<I", len(name) if rng.random() < 0.9 else rng.getrandbits(32)) + name + reply(rng)
        return struct.pack("<II", len(data), zlib.crc32(data)) + data

    def make(rng: Any) -> bytes:
        data = b"".join(one(rng) for _ in range(1 + int(rng.random() * 3)))
        return changed(data, rng) if rng.random() < 0.3 else data

    return make
