"""Writes the models that TensorFlow Serving's own documentation and tests begin with. Needs TensorFlow.

Usage: python scripts/export_half_plus_two.py models. It writes

    models/half_plus_two/00000123   y = x / 2 + 2, with signatures for Predict, Classify and Regress; TensorFlow 1
    models/half_plus_two/00000124   y = x / 2 + 3
    models/tf2/1                    a tf.function; y = x / 2 + offset, where the offset is 2 unless it is sent
    models/tflite/1                 a TensorFlow Lite model: model.tflite
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


def half_plus_two(path: Path, offset: float = 2.0) -> None:
    """The classic: variables, an asset and an init op, and Examples that the graph itself parses."""
    builder = v1.saved_model.Builder(str(path))
    with v1.Session(graph=tf.Graph()) as session, tempfile.TemporaryDirectory() as folder:
        signatures = _classic_signatures(offset)
        init_op = _asset(Path(folder, "foo.txt"))
        session.run(v1.global_variables_initializer())
        assets = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)
        builder.add_meta_graph_and_variables(session, ["serve"], signatures, assets, main_op=init_op)
        builder.save()


def _classic_signatures(offset: float) -> dict[str, Any]:
    a, b, c = (v1.Variable(value, name=name) for name, value in (("a", 0.5), ("b", offset), ("c", 3.0)))
    examples = v1.placeholder(tf.string, name="tf_example")
    # The op of that time: it takes the examples for a vector, though the placeholder promises nothing.
    parsed = tf.raw_ops.ParseExample(
        serialized=examples,
        names=tf.constant([], tf.string),
        sparse_keys=[],
        dense_keys=["x", "x2"],
        dense_defaults=[tf.constant([], tf.float32), tf.constant([0.0])],
        sparse_types=[],
        dense_shapes=[[1], [1]],
    )
    x, x2 = (tf.identity(values, name) for values, name in zip(parsed.dense_values, ("x", "x2"), strict=True))
    y, y2, y3 = tf.identity(a * x + b, "y"), tf.identity(a * x + c, "y2"), tf.identity(a * x2 + c, "y3")
    return {
        "serving_default": _signature({"x": x}, {"y": y}, PREDICT),
        "classify_x_to_y": _signature({"inputs": examples}, {"scores": y}, CLASSIFY),
        "classify_x2_to_y3": _signature({"inputs": x2}, {"scores": y3}, CLASSIFY),
        "regress_x_to_y": _signature({"inputs": examples}, {"outputs": y}, REGRESS),
        "regress_x_to_y2": _signature({"inputs": examples}, {"outputs": y2}, REGRESS),
        "regress_x2_to_y3": _signature({"inputs": x2}, {"outputs": y3}, REGRESS),
    }


def _signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
    sides = [
        {alias: v1.saved_model.build_tensor_info(tensor) for alias, tensor in side.items()}
        for side in (inputs, outputs)
    ]
    return v1.saved_model.build_signature_def(*sides, method)


def _asset(file: Path) -> Any:
    """An op that reads a file which comes with the model."""
    file.write_text("asset-file-contents")
    name = v1.constant(str(file), name="asset_path")
    v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, name)
    content = v1.Variable("", name="asset_content", trainable=False, collections=[])
    return v1.group(content.assign(tf.io.read_file(name)))


class Half(tf.Module):
    """y = x / 2 + offset."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.Variable(0.5)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, x: Any, offset: Any = tf.constant(2.0)) -> Any:  # noqa: B008, the default becomes the signature's
        return {"y": self.factor * x + offset}


def tf2(path: Path) -> None:
    """A TensorFlow 2 export, with an input that may be left out."""
    model = Half()
    tf.saved_model.save(model, str(path), signatures=model.__call__)


def tflite(path: Path) -> None:
    """A TensorFlow Lite model with one signature, for vectors of any length."""
    half = tf.function(lambda x: {"y": 0.5 * x + 2.0}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([half.get_concrete_function()], tf.Module())
    path.mkdir(parents=True)
    (path / "model.tflite").write_bytes(converter.convert())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the models are written; the versions must not exist yet")
    folder = parser.parse_args().folder
    half_plus_two(folder / "half_plus_two" / "00000123")
    half_plus_two(folder / "half_plus_two" / "00000124", offset=3.0)
    tf2(folder / "tf2" / "1")
    tflite(folder / "tflite" / "1")


if __name__ == "__main__":
    main()
