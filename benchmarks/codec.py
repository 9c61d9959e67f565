"""Compare reading and writing tensors, without a network, with protobuf and, if it is installed, with TensorFlow.

The codec reads a reply from its bytes to an array. With TensorFlow, this means parsing the message and calling
make_ndarray; the table shows both parts, and the ratios to make_ndarray alone and to both together.

    python benchmarks/codec.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import alternating, duration, machine, median

from tfs_client._codec import tensors

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto
except ImportError:
    tf = None
    from tfs_client.protos.tensorflow.core.framework.tensor_pb2 import TensorProto  # type: ignore[assignment]

COUNT = 1_000_000


def cases() -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {
        "float_val": generator.random(COUNT, np.float32),
        "double_val": generator.random(COUNT),
        "int64_val, 21 classes (a segmentation map)": generator.integers(0, 21, COUNT),
        "int64_val, 1000 classes (ImageNet)": generator.integers(0, 1000, COUNT),
        "int64_val, random 31-bit": generator.integers(0, 1 << 31, COUNT),
        "int64_val, random 63-bit": generator.integers(0, (1 << 63) - 1, COUNT),
        "int64_val, random signed 64-bit": generator.integers(-(1 << 63), (1 << 63) - 1, COUNT),
        "int_val, random int32": generator.integers(-(1 << 31), (1 << 31) - 1, COUNT).astype(np.int32),
        "bool_val": generator.random(COUNT) < 0.5,
        "half_val": generator.random(COUNT).astype(np.float16),
        "string_val, 100 000 words": np.array([b"word %d" % n for n in range(COUNT // 10)], object),
    }


def main() -> None:
    print(machine("numpy", "protobuf", "tensorflow", "tensorflow-cpu"))
    print(f"{COUNT:,} values in typed fields, from bytes to array")
    print(f"{'':44} {'write':>8} {'read':>8} {'parse':>8} {'make_ndarray':>12}  {'ratio':>7} {'ratio, both':>11}")
    for name, array in cases().items():
        data = tensors.write(array, typed=True)
        assert np.array_equal(tensors.read(data), array)
        functions: list[Callable[[], Any]] = [
            lambda array=array: tensors.write(array, typed=True),  # type: ignore[misc]
            lambda data=data: tensors.read(data),  # type: ignore[misc]
            lambda data=data: TensorProto.FromString(data),  # type: ignore[misc]
        ]
        if tf is not None:
            message = TensorProto.FromString(data)
            assert np.array_equal(tf.make_ndarray(message), array)
            functions.append(lambda message=message: tf.make_ndarray(message))  # type: ignore[misc]
        medians = [median(times) for times in alternating(*functions, rounds=11, at_least=2e-3)]
        write, read, parse = medians[:3]
        line = f"{name:44} {duration(write):>8} {duration(read):>8} {duration(parse):>8}"
        if tf is not None:
            theirs = medians[3]
            line += f" {duration(theirs):>12}  {theirs / read:7.1f} {(theirs + parse) / read:11.1f}"
        print(line)


if __name__ == "__main__":
    main()
