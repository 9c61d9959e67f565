"""Whole tables are refused alike by every call and style; their columns, rows and arrays are accepted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calling import GRPC, STYLES, Awaited, calling
from labelled import Labelled

from tfs_client import EncodeError, InvalidArgumentError, MicroBatcher, PredictClient, TensorSpec, serialized_examples
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.server.embedded import MODELS
from tfs_client.testing import FakeServer

VECTOR = TensorSpec("float32", (None,))


class Frame:
    """Looks like a table, for tests without pandas."""

    columns = ("x",)

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ones((2, 1), np.float32)

    def itertuples(self) -> Any:
        return iter([(1.0,), (1.0,)])


@pytest.fixture
def server(fake_server: FakeServer) -> FakeServer:
    fake_server.server.add_model("half", MODELS["half_plus_two"]())
    fake_server.add_model("double", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    fake_server.add_model("taxi", miles, inputs={"examples": TensorSpec("string", (None,))}, outputs={"y": VECTOR})
    return fake_server


def miles(examples: Any) -> Any:
    read = [Example.FromString(example).features.feature["miles"].float_list.value[0] for example in examples]
    return np.array(read, np.float32)


def many(client: Any, examples: Any) -> Any:
    """``predict_many`` itself, which looks at its arguments before it is iterated over."""
    own = client.client if isinstance(client, Awaited) else client
    return own.predict_many(examples, model="double")


def calls(client: Any) -> dict[str, Any]:
    return {
        "predict": lambda table: client.predict(table, model="double"),
        "predict_batched": lambda table: client.predict_batched(table, model="double"),
        "predict_many": lambda table: many(client, table),
        "classify": lambda table: client.classify(table, model="half", signature="classify_x_to_y"),
        "regress": lambda table: client.regress(table, model="half", signature="regress_x_to_y"),
    }


def refusals(client: Any, table: Any) -> set[str]:
    texts = set()
    for call in calls(client).values():
        with pytest.raises(EncodeError) as caught:
            call(table)
        texts.add(str(caught.value))
    return texts


@pytest.mark.parametrize("style", STYLES)
def test_every_call_refuses_a_table_with_one_text(server: FakeServer, style: str) -> None:
    with calling(style, server, timeout=20) as client:
        (text,) = refusals(client, Frame())
    assert text.startswith("expected inputs or examples, got the table Frame, which is ambiguous")
    assert "dict(df)" in text
    assert server.calls == []


@pytest.mark.parametrize("style", GRPC)
def test_multi_inference_and_single_examples_refuse_a_table(server: FakeServer, style: str) -> None:
    with calling(style, server, timeout=20, model="half") as client:
        with pytest.raises(EncodeError, match="got the table Frame"):
            client.multi_inference(Frame(), tasks={"regress_x_to_y": "regress"})
        with pytest.raises(EncodeError, match=r"example 0: expected a mapping from feature to value, .* got Frame"):
            client.regress([Frame()])


def test_a_batcher_refuses_a_table(server: FakeServer) -> None:
    with (
        PredictClient(server.target, model="double") as client,
        MicroBatcher(client) as batcher,
        pytest.raises(EncodeError, match="got the table Frame"),
    ):
        batcher.predict(Frame())


@pytest.mark.parametrize("style", STYLES)
def test_columns_are_read_by_position_not_by_label(server: FakeServer, style: str) -> None:
    column = Labelled([2.0, 10.0, 6.0], labels=[2, 0, 1])
    with calling(style, server, model="half", timeout=20) as client:
        assert client.regress({"x": column}, signature="regress_x_to_y").values == (3.0, 7.0, 5.0)
        classified = client.classify({"x": column}, signature="classify_x_to_y")
        assert [row[0].score for row in classified.classes] == [3.0, 7.0, 5.0]
        assert client.regress([{"x": Labelled([2.0], ["a"])}], signature="regress_x_to_y").values == (3.0,)
        context = client.regress([{}], context={"x": Labelled([2.0], ["a"])}, signature="regress_x_to_y")
        assert context.values == (3.0,)
        if style in GRPC:
            tasks = {"regress_x_to_y": "regress"}
            assert client.multi_inference({"x": column}, tasks=tasks)["regress_x_to_y"].values == (3.0, 7.0, 5.0)


@pytest.mark.parametrize("style", STYLES)
def test_models_of_serialized_examples_accept_the_output_of_serialize_examples(server: FakeServer, style: str) -> None:
    rows = [{"miles": 1.5}, {"miles": 3.0}]
    message = Example.FromString(serialized_examples(rows)[0])
    with calling(style, server, model="taxi", timeout=20) as client:
        assert client.predict({"examples": serialized_examples(rows)})["y"].tolist() == [1.5, 3.0]
        assert client.predict(serialized_examples({"miles": [1.5, 3.0]}))["y"].tolist() == [1.5, 3.0]
        assert client.predict({"examples": [message]})["y"].tolist() == [1.5]
        assert client.predict([message])["y"].tolist() == [1.5]
        batched = client.predict_batched({"examples": serialized_examples(rows)}, batch_size=1)
        assert batched["y"].tolist() == [1.5, 3.0]


def test_serialized_examples_and_messages_may_be_single_examples(server: FakeServer) -> None:
    found = serialized_examples([{"miles": 1.5}, {"miles": 3.0}])
    examples = [{"examples": found[0]}, {"examples": Example.FromString(found[1])}]
    with PredictClient(server.target, model="taxi", timeout=20) as client, MicroBatcher(client) as batcher:
        assert [p["y"].item() for p in client.predict_many(examples)] == [1.5, 3.0]
        assert [batcher.predict(example)["y"].item() for example in examples] == [1.5, 3.0]


def test_an_example_that_is_a_table_is_refused(server: FakeServer) -> None:
    with PredictClient(server.target, model="double", timeout=20) as client:
        for example in (Frame(), {"x": np.float32(1)}):
            found = list(client.predict_many([example], on_error="return"))
            assert isinstance(found[0], EncodeError) == isinstance(example, Frame)


@pytest.mark.parametrize("style", STYLES)
def test_refusals_name_the_function_that_serializes_examples(server: FakeServer, style: str) -> None:
    with calling(style, server, model="taxi", timeout=20) as client:
        for inputs, error in (
            ({"examples": [{"miles": 1.5}]}, EncodeError),
            ({"examples": {"miles": [1.5]}}, EncodeError),
            ([{"miles": 1.5}], ValueError),
            ({"miles": np.float32([1.5])}, InvalidArgumentError),
        ):
            with pytest.raises(error, match="serialized_examples"):
                client.predict(inputs)
        with pytest.raises(InvalidArgumentError, match=r"predict\({'examples': serialized_examples\(examples\)}\)"):
            client.classify([{"miles": 1.5}])
        with pytest.raises(InvalidArgumentError, match=r"predict\({'examples': serialized_examples\(examples\)}\)"):
            client.regress([{"miles": 1.5}])
        if style in GRPC:
            with pytest.raises(InvalidArgumentError, match="serialized_examples"):
                client.multi_inference([{"miles": 1.5}], tasks={"serving_default": "regress"})


# --- the packages themselves ----------------------------------------------------------------------------------------


@pytest.mark.peer
@pytest.mark.parametrize("style", STYLES)
def test_frames_are_refused_alike_and_the_suggested_alternatives_work(server: FakeServer, style: str) -> None:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import xarray as xr

    numbers = np.float32([2.0, 10.0, 6.0])
    tables = {
        "df": (pd.DataFrame({"x": numbers}, index=[2, 2, 0]), pl.DataFrame({"x": numbers})),
        "table": (pa.table({"x": numbers}), pa.record_batch({"x": numbers})),
        "ds": (xr.Dataset({"x": ("t", numbers)}),),
    }
    with calling(style, server, timeout=20) as client:
        for name, kinds in tables.items():
            for table in kinds:
                (text,) = refusals(client, table)
                columns, rows, array = ways_out(text, {name: table, "numpy": np, "dtype": "float32"})
                for inputs in ("predict", "predict_batched"):
                    assert calls(client)[inputs](columns)["y"].tolist() == [4.0, 20.0, 12.0]
                assert array.tolist() == numbers.reshape(3, 1).tolist()
                assert [row["x"] for row in rows] == numbers.tolist()
                for examples in (columns, rows):
                    assert calls(client)["regress"](examples).values == (3.0, 7.0, 5.0)
                    scores = [row[0].score for row in calls(client)["classify"](examples).classes]
                    assert scores == [3.0, 7.0, 5.0]


def ways_out(text: str, names: dict[str, Any]) -> list[Any]:
    """What the three ways that a refusal names give."""
    found = []
    for before in ("its columns by name, ", "its rows by name, ", "one array of rows and columns, "):
        expression = text.partition(before)[2].partition(";")[0]
        found.append(eval(expression, dict(names)))
    return found


@pytest.mark.peer
@pytest.mark.parametrize("style", STYLES)
def test_columns_of_sorted_filtered_and_sampled_frames_keep_their_order(server: FakeServer, style: str) -> None:
    import pandas as pd

    frame = pd.DataFrame({"id": ["p", "q", "r", "q"], "x": [2.0, 10.0, 6.0, 4.0]})
    frames = [
        frame.sort_values("x"),
        frame[::-1],
        frame[frame.x > 3],
        frame.set_index("id"),
        frame.set_index(["id", "x"], drop=False),
        frame.sample(4, random_state=3),
        frame.astype({"x": "Float64"}).sort_values("x"),
        frame.iloc[:0],
    ]
    with calling(style, server, model="half", timeout=20) as client:
        for some in frames[:-1]:
            wanted = tuple(float(value) / 2 + 2 for value in some.x.tolist())
            assert client.regress({"x": some.x}, signature="regress_x_to_y").values == wanted
            assert client.regress({"x": some[["x"]]}, signature="regress_x_to_y").values == wanted
            assert client.regress(some[["x"]].to_dict("records"), signature="regress_x_to_y").values == wanted
        with pytest.raises(InvalidArgumentError, match="mpty"):
            client.regress({"x": frames[-1].x}, signature="regress_x_to_y")


@pytest.mark.peer
def test_a_frame_as_one_feature_has_one_row_for_each_example(server: FakeServer) -> None:
    import pandas as pd

    server.server.add_model("digits", MODELS["digits"]())
    pixels = np.random.default_rng(0).random((64, 64))
    frame = pd.DataFrame(pixels, index=np.arange(64)[::-1])
    with PredictClient(server.target, model="digits", signature="classify", timeout=20) as client:
        assert client.classify({"image": frame}).classes == client.classify({"image": pixels}).classes
