"""What fakes answer: names, dtypes and shapes of the signature, zeros or random values or a function's."""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import (
    ConfigError,
    InvalidArgumentError,
    OutOfRangeError,
    ResourceExhaustedError,
    Signature,
    TensorSpec,
)
from tfs_client._codec.axis_names import AxisNames
from tfs_client._codec.dtypes import ROWS
from tfs_client.server import signature_messages
from tfs_client.server.fakes import ExportedModel, FakeServable, read_model
from tfs_client.server.fakes.output_shapes import output_shapes

X = TensorSpec("float32", (None, 2))


def servable(signature, answer="zeros", **options):
    return FakeServable(read_model({"s": signature}), answer, **options)


def run(signature, inputs, answer="zeros", **options):
    return servable(signature, answer, **options).run("s", inputs, list(signature.outputs))


def shapes(outputs, names=((), ()), **inputs):
    """Output shapes for inputs, each a pair of declared shape and shape; ``names`` of input and output axes."""
    signature = Signature(
        {alias: TensorSpec("float32", declared) for alias, (declared, _) in inputs.items()},
        {str(number): TensorSpec("float32", shape) for number, shape in enumerate(outputs)},
    )
    given = {alias: np.zeros(shape, np.float32) for alias, (_, shape) in inputs.items()}
    ins, outs = (
        dict(zip(side, each, strict=False)) for side, each in zip((inputs, signature.outputs), names, strict=True)
    )
    return list(output_shapes(signature, given, AxisNames(ins, outs)).values())


def test_the_first_axis_follows_the_batch_of_the_inputs():
    assert shapes([(None, 3), (None,), (4,), ()], x=((None, 2), (5, 2))) == [(5, 3), (5,), (4,), ()]
    assert shapes([(None, 3)], scale=((), ()), fixed=((7, 2), (7, 2)), x=((None, 2), (5, 2))) == [(5, 3)]
    assert shapes([(None, 3)], x=((None, 2), (0, 2))) == [(0, 3)]
    assert shapes([(None, 3)], x=(None, (6, 1, 1))) == [(6, 3)]


def test_without_a_batch_the_first_axis_has_size_1():
    assert shapes([(None, 3)], x=((4, 2), (4, 2))) == [(1, 3)]
    assert shapes([(None, 3)]) == [(1, 3)]


def test_another_open_axis_follows_the_same_axis_of_an_input():
    assert shapes([(None, None, 8)], ids=((None, None), (2, 9)), x=((None, None, 3), (2, 7, 3))) == [(2, 7, 8)]
    assert shapes([(None, None)], ids=((None, None), (2, 9))) == [(2, 9)]
    assert shapes([(None, None, 4)], x=((None, 2), (2, 2))) == [(2, 1, 4)]
    assert shapes([(None, None)], x=((None, 2), (3, 2))) == [(3, 1)]


def test_another_open_axis_follows_an_input_with_another_number_of_axes():
    assert shapes([(None, None, 3)], b=((None, None), (2, 7))) == [(2, 7, 3)]
    assert shapes([(None, None, 3)], b=((None, None), (2, 7)), c=((None, None, 4), (2, 5, 4))) == [(2, 5, 3)]
    assert shapes([(None, None, 3)], v=(None, (2, 6))) == [(2, 6, 3)]
    assert shapes([(None, None, None)], b=((None, None), (2, 7))) == [(2, 7, 1)]


def test_sizes_with_the_same_name_are_equal():
    ids = ((None, None), (2, 7))
    assert shapes([(None, None, 3)], ([("batch", "seq")], [("seq", "batch", "")]), ids=ids) == [(7, 2, 3)]
    assert shapes([(None, None)], ([("batch", "seq")], [("batch", "other")]), ids=ids) == [(2, 7)]
    assert shapes([(None,)], ([("batch", "seq")], [("seq",)]), ids=((None, 4), (2, 4))) == [(2,)]


def test_an_unknown_rank_follows_an_input_of_unknown_rank():
    assert shapes([None], x=(None, (2, 3, 4))) == [(2, 3, 4)]
    assert shapes([None], x=((None, 2), (5, 2))) == [(5,)]
    assert shapes([None], x=((2,), (2,))) == [()]
    assert shapes([None, None], a=(None, (1, 2)), **{"1": (None, (3,))}) == [(3,), (3,)]
    assert shapes([None, None], **{"1": (None, (1, 2)), "0": (None, (3,))}) == [(3,), (1, 2)]


def test_classes_and_scores_have_the_same_sizes():
    examples = {"inputs": TensorSpec("string", (None,))}
    for classes, scores, width in (((None, None), (None, 5), 5), (None, (None, None), 1), ((None, 3), None, 3)):
        signature = Signature(
            examples, {"classes": TensorSpec("string", classes), "scores": TensorSpec("float32", scores)}
        )
        found = output_shapes(signature, {"inputs": np.array([b"a", b"b"], object)})
        assert found == {"classes": (2, width), "scores": (2, width)}


def can_be_answered(row):
    try:
        return row.dtype is not None and row.number > 0
    except Exception:
        return False


@pytest.mark.parametrize("row", [row for row in ROWS if can_be_answered(row)], ids=lambda row: row.name)
@pytest.mark.parametrize("answer", ["zeros", "random"])
def test_every_dtype_is_answered(row, answer):
    signature = Signature({"x": X}, {"y": TensorSpec(row, (None, 40)), "one": TensorSpec(row, ())})
    found = run(signature, {"x": np.ones((2, 2), np.float32)}, answer)
    assert found["y"].dtype == row.dtype
    assert (found["y"].shape, found["one"].shape) == ((2, 40), ())
    if row.name == "string":
        assert all(isinstance(value, bytes) for value in found["y"].flat)
        values = np.array([len(value) for value in found["y"].flat])
    else:
        values = found["y"][row.name] if row.dtype.fields else found["y"]
        values = np.asarray(np.abs(values) if row.dtype.kind == "c" else values, np.float64)
    assert (len(set(values.flat)) > 1) is (answer == "random")
    if answer == "random" and row.dtype.kind in "fV" and not row.dtype.fields and "int" not in row.name:
        assert (values >= 0).all()
        assert (values < 1).all()
    if answer == "zeros":
        assert not values.any()


def test_an_op_without_outputs_is_refused_as_by_the_runtime():
    signature = Signature({}, {"init": TensorSpec("invalid", tensor_name="NoOp")})
    with pytest.raises(OutOfRangeError, match="output 'init' is an op without outputs: 'NoOp'"):
        run(signature, {})


@pytest.mark.parametrize("name", ["resource", "variant"])
def test_outputs_that_no_reply_can_hold_are_refused(name):
    signature = Signature({}, {"y": TensorSpec(name, ())})
    with pytest.raises(InvalidArgumentError, match="a fake cannot answer output 'y'"):
        run(signature, {})


def test_an_answer_that_no_reply_can_hold_is_refused_before_it_is_made():
    signature = Signature({"x": TensorSpec("float32", (None,))}, {"y": TensorSpec("float32", (None, 1 << 30))})
    with pytest.raises(ResourceExhaustedError, match="it would have 12884901888 bytes"):
        run(signature, {"x": np.zeros(3, np.float32)}, "random")


def test_random_answers_depend_on_seed_inputs_signature_and_nothing_else():
    outputs = {"y": TensorSpec("float32", (None, 4)), "z": TensorSpec("int64", (None,))}
    signature = Signature({"x": X, "t": TensorSpec("string", (None,))}, outputs)
    inputs = {"x": np.ones((2, 2), np.float32), "t": np.array([b"a", b"bc"], object)}
    first = run(signature, inputs, "random", seed=5)
    again = servable(signature, "random", seed=5).run("s", dict(reversed(inputs.items())), ["z"])
    assert again["z"].tolist() == first["z"].tolist()
    changes = [
        {"seed": 6},
        {"x": np.float32([[1, 1], [1, 2]])},
        {"t": np.array([b"ab", b"c"], object)},
    ]
    for change in changes:
        seed = change.pop("seed", 5)
        assert run(signature, inputs | change, "random", seed=seed)["y"].tolist() != first["y"].tolist()
    other = FakeServable(read_model({"other": signature}), "random", seed=5).run("other", inputs, ["y"])
    assert other["y"].tolist() != first["y"].tolist()


def test_random_answers_are_the_same_in_every_process():
    signature = Signature({"x": X}, {"y": TensorSpec("int32", (4,)), "w": TensorSpec("string", (2,))})
    found = run(signature, {"x": np.zeros((1, 2), np.float32)}, "random", seed=1)
    assert found["y"].tolist() == [16, 70, 4, 63]
    assert found["w"].tolist() == [b"alpha", b"foxtrot"]


def test_a_function_answers_for_every_signature():
    calls = []

    def answer(name, inputs):
        calls.append((name, sorted(inputs)))
        return {"y": inputs["x"].sum(1), "unasked": 1}

    signature = Signature({"x": X}, {"y": TensorSpec("float32", (None,))})
    assert run(signature, {"x": np.float32([[1, 2]])}, answer)["y"].tolist() == [3]
    assert calls == [("s", ["x"])]

    def fail(name, inputs):
        raise ValueError("no such class")

    with pytest.raises(InvalidArgumentError, match="no such class"):
        run(signature, {"x": np.float32([[1, 2]])}, fail)


@pytest.mark.parametrize("answer", ["ones", None, 0])
def test_other_answers_are_refused(answer):
    with pytest.raises(ConfigError, match="expected answer='zeros', 'random' or a function, got"):
        servable(Signature({}, {}), answer)


def saved(signature):
    """A fake of a SavedModel with this signature."""
    proto = signature_messages.signature_def(signature)
    return FakeServable(ExportedModel("m", 1, {"s": signature}, signature_defs={"s": proto.SerializeToString()}))


def test_a_sparse_tensor_of_a_saved_model_is_refused_as_by_tensorflow():
    dense, sparse = TensorSpec("float32", (None, 2), tensor_name="x:0"), TensorSpec("float32", (None, 2))
    text = "Tensor :0, specified in either feed_devices or fetch_devices was not found in the Graph"
    for shape in ((3, 2), (3, 5)):
        with pytest.raises(InvalidArgumentError, match=text):
            saved(Signature({"a": sparse}, {"y": dense})).run("s", {"a": np.ones(shape, np.float32)}, ["y"])
    assert saved(Signature({"a": sparse}, {"y": dense})).checked_shapes == set()
    fake = saved(Signature({}, {"y": sparse, "z": dense}))
    assert list(fake.run("s", {}, ["z"])) == ["z"]
    with pytest.raises(InvalidArgumentError, match=text):
        fake.run("s", {}, ["y", "z"])
    assert run(Signature({"a": sparse}, {"y": sparse}), {"a": np.ones((3, 2), np.float32)})["y"].shape == (3, 2)


def test_an_output_that_is_an_input_is_refused_as_by_tensorflow():
    spec = TensorSpec("float32", (None, 2), tensor_name="x:0")
    with pytest.raises(InvalidArgumentError, match=r"x:0 is both fed and fetched\."):
        saved(Signature({"a": spec}, {"y": spec})).run("s", {"a": np.ones((1, 2), np.float32)}, ["y"])


def test_inputs_are_in_the_order_of_their_aliases():
    assert list(servable(Signature({"h": X, "a": X}, {"z": X, "b": X})).signatures["s"].inputs) == ["a", "h"]


def test_inputs_that_are_the_same_tensor_are_refused_as_by_the_model():
    spec = TensorSpec("float32", (None, 2), tensor_name="x:0")
    with pytest.raises(InvalidArgumentError, match=r'Endpoint "x:0" fed more than once\.'):
        run(Signature({"a": spec, "b": spec}, {"y": X}), dict.fromkeys("ab", np.ones((1, 2), np.float32)))


def test_inputs_named_like_arguments_of_python_are_answered():
    signature = Signature({"self": X, "class": X, "a-b": X}, {"y": X})
    assert run(signature, dict.fromkeys(signature.inputs, np.ones((3, 2), np.float32)))["y"].shape == (3, 2)
