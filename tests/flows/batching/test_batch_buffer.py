"""BatchBuffer: rows are copied once, and sent as slices if they are consecutive."""

from __future__ import annotations

import gc
import weakref
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfs_client._codec.values import Untyped
from tfs_client._flows.batching import batch_buffer
from tfs_client._flows.batching.batch_buffer import BatchBuffer, BatchMemory, request_inputs
from tfs_client._flows.batching.example_rows import read_example
from tfs_client.errors import EncodeError, SignatureError

DTYPES = st.sampled_from(["f4", ">f8", "i8", "u1", "?", "c8", "O", "S3"])
SHAPES = st.sampled_from([(), (1,), (0,), (3, 2)])


class Row(NamedTuple):
    buffer: BatchBuffer
    at: int


def append(buffer, example):
    return Row(buffer, buffer.append(read_example(example)))


def appended(examples, rows=8, memory=None):
    """The rows of examples, all of one kind, in one buffer."""
    buffer = BatchBuffer(rows, memory or BatchMemory())
    return [append(buffer, example) for example in examples]


def filled(number, dtype, shape):
    array = np.empty(shape, dtype)
    array[...] = str(number).encode() if array.dtype.kind in "OS" else number % 100
    return array


@given(st.data(), st.integers(1, 40), st.integers(1, 50), DTYPES, SHAPES, st.booleans())
def test_any_rows_in_any_order_equal_a_stack_of_them(data, count, expected, dtype, shape, tiny):
    """Rows are appended, some are left out, the rest is split: as after cancellations and retries in halves."""
    memory = BatchMemory()
    if tiny:
        memory._known = 1  # the buffer doubles as often as possible
    originals = [{"x": filled(number, dtype, shape), "k": np.float32(number)} for number in range(count)]
    buffer, rows = BatchBuffer(expected, memory), []
    for example in originals:
        scratch = {alias: np.array(value) for alias, value in example.items()}
        rows.append(append(buffer, scratch))
        scratch["x"][...] = b"" if dtype in ("O", "S3") else 0  # the caller may change it now
        scratch["k"][...] = -1
    kept = data.draw(st.lists(st.sampled_from(range(count)), min_size=1, unique=True))
    kept = sorted(kept) if data.draw(st.booleans()) else kept
    cut = data.draw(st.integers(0, len(kept)))
    for part in (kept[:cut], kept[cut:]):
        if part:
            found = request_inputs([rows[number] for number in part], {"s": 7})
            assert found.pop("s") == 7
            for alias, array in found.items():
                wanted = np.stack([originals[number][alias] for number in part])
                assert array.dtype == wanted.dtype
                assert array.tolist() == wanted.tolist()


@given(st.lists(st.integers(-(1 << 62), 1 << 62) | st.floats(width=32), min_size=1, max_size=30), st.data())
def test_python_numbers_are_sent_exactly_and_integers_as_integers_where_they_are_alone(values, data):
    groups = {}
    for value in values:
        example = read_example({"x": value})
        group = groups.setdefault(example.kind, (BatchBuffer(4, BatchMemory()), []))
        group[1].append((value, Row(group[0], group[0].append(example))))
    for _, pairs in groups.values():
        chosen = data.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=8))
        found = request_inputs([row for _, row in chosen], {})["x"]
        assert isinstance(found, Untyped)
        numbers = [value for value, _ in chosen]
        whole = all(isinstance(value, int) for value in numbers)
        assert found.array.dtype == (np.int64 if whole else np.float64)
        assert [int(value) if whole else float(value) for value in found.array] == pytest.approx(
            numbers, rel=0, abs=0, nan_ok=True
        )


def test_consecutive_rows_are_a_slice_and_others_one_copy():
    rows = appended([np.full(3, number, "f4") for number in range(6)])
    whole = rows[0].buffer._columns[""]._array
    assert np.shares_memory(request_inputs(rows[1:5], {}), whole)
    assert request_inputs(rows[1:5], {}).flags.c_contiguous
    gathered = request_inputs([rows[0], rows[2], rows[5]], {})
    assert not np.shares_memory(gathered, whole)
    assert gathered[:, 0].tolist() == [0, 2, 5]


def test_rows_of_several_buffers_are_joined():
    first, second = (appended([{"x": number}, {"x": number + 1}]) for number in (1, 5))
    found = request_inputs([first[1], *second], {})
    assert isinstance(found["x"], Untyped)
    assert found["x"].array.tolist() == [2, 5, 6]


def test_returned_arrays_keep_their_values_while_the_buffer_grows():
    memory = BatchMemory()
    memory._known = 1
    buffer = BatchBuffer(2, memory)
    rows = [append(buffer, np.float32(number)) for number in range(2)]
    early = request_inputs(rows, {})
    rows += [append(buffer, np.float32(number)) for number in range(2, 50)]
    assert early.tolist() == [0, 1]
    assert request_inputs(rows, {}).tolist() == list(range(50))


def test_a_huge_batch_size_reserves_little_until_a_batch_has_needed_more(monkeypatch):
    monkeypatch.setattr(batch_buffer, "RESERVE", 64)
    memory = BatchMemory()
    row = np.zeros(4, "f4")  # 16 bytes

    def sizes(count):
        buffer = BatchBuffer(100_000, memory)
        found = []
        for _ in range(count):
            buffer.append(read_example(row))
            found.append(len(buffer._columns[""]._array))
        return sorted(set(found))

    assert sizes(20) == [4, 8, 16, 32]
    assert sizes(20) == [32]


def test_a_row_larger_than_the_reserve_fits(monkeypatch):
    monkeypatch.setattr(batch_buffer, "RESERVE", 8)
    rows = appended([np.full(100, number, "f4") for number in range(3)])
    assert request_inputs(rows, {})[:, 99].tolist() == [0, 1, 2]


def test_a_row_that_does_not_fit_into_memory_leaves_the_others_unchanged():
    class Scarce(BatchMemory):
        def larger(self, array, used, rows):
            if array.dtype == np.float64:
                raise MemoryError("no more")
            return super().larger(array, used, rows)

    memory = Scarce()
    memory._known = 1
    buffer = BatchBuffer(4, memory)
    rows = [append(buffer, {"a": 1, "b": np.float64(2)})]
    with pytest.raises(EncodeError, match="MemoryError: no more"):
        buffer.append(read_example({"a": 3.5, "b": np.float64(4)}))
    found = request_inputs(rows, {})
    assert (found["a"].array.tolist(), found["a"].array.dtype) == ([1], np.int64)
    assert found["b"].tolist() == [2]


def test_the_buffer_is_freed_with_its_last_row():
    rows = appended([np.zeros(2, "f4"), np.zeros(2, "f4")])
    gone = weakref.ref(rows[0].buffer)
    del rows[0]
    gc.collect()
    assert gone() is not None
    rows.clear()
    gc.collect()
    assert gone() is None


def test_strings_are_unchanged():
    rows = appended([{"s": text} for text in ("a", b"b\0", "ü", np.str_("yy"))])
    assert request_inputs(rows, {})["s"].tolist() == ["a", b"b\0", "ü", "yy"]
    lists = appended([["a", "b"], np.array([b"c", "d"], object)])
    assert request_inputs(lists, {}).tolist() == [["a", "b"], [b"c", "d"]]


def test_shared_inputs_need_names():
    with pytest.raises(SignatureError, match="expected examples that are mappings"):
        request_inputs(appended([1.0]), {"k": 1})


def test_examples_share_a_batch_regardless_of_the_order_of_their_names():
    first, second = {"a": 1, "b": 2.0}, {"b": 3.0, "a": 4}
    assert read_example(first).kind == read_example(second).kind
    found = request_inputs(appended([first, second]), {"k": 9})
    assert found["k"] == 9
    assert (found["a"].array.tolist(), found["b"].array.tolist()) == ([1, 4], [2, 3])


@pytest.mark.parametrize(
    "values",
    [
        (np.float32(1), np.float64(1)),
        ([1.0], [1.0, 2.0]),
        ({"a": 1}, {"a": [1]}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, 1),
        (1, True),
        (1, np.int64(1)),
        (1.0, (1 << 53) + 1),
        (1, 1 << 63),
    ],
    ids=["dtypes", "shapes", "named shapes", "names", "bare and named", "bools", "numpy's", "no float", "no int64"],
)
def test_examples_that_cannot_share_a_batch_have_different_kinds(values):
    first, second = map(read_example, values)
    assert first.kind != second.kind


def test_python_numbers_have_one_kind_if_floats_hold_them_exactly():
    assert len({read_example(value).kind for value in (1, 2.5, -(1 << 53), float("nan"))}) == 1


def test_strings_of_any_length_have_one_kind():
    kinds = {read_example({"s": text}).kind for text in ("a", "long one", b"bytes", np.bytes_(b"x"), np.str_("yy"))}
    assert len(kinds) == 1


@pytest.mark.parametrize("error", [RuntimeError("of its own"), MemoryError(), RecursionError()])
@pytest.mark.parametrize("named", [True, False])
def test_any_error_of_a_conversion_becomes_an_encode_error(error, named):
    class Peculiar:
        def __array__(self, dtype=None, copy=None):
            raise error

    with pytest.raises(EncodeError, match=type(error).__name__) as caught:
        read_example({"x": Peculiar()} if named else Peculiar())
    assert caught.value.__cause__ is error


def test_an_interrupt_in_a_conversion_is_raised():
    class Interrupted:
        def __array__(self, dtype=None, copy=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_example({"x": Interrupted()})
