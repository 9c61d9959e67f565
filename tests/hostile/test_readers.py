"""Every reader on a few seeded inputs; `make fuzz` runs many more."""

import logging
import os

import pytest

from .engine import Tally, feed, judged, run
from .planted import PATCHES, ROOT
from .readers import all_readers

INPUTS = int(os.environ.get("HOSTILE_INPUTS", "1000"))
READERS = {reader.name: reader for reader in all_readers()}


@pytest.fixture(autouse=True)
def short_log():
    """The server's parts log what they refuse."""
    log = logging.getLogger("tfs_client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


@pytest.mark.parametrize("name", READERS)
def test_hostile_inputs_give_a_result_or_an_error_of_this_package(name):
    reader = READERS[name]
    try:
        tally = run(reader, seed=0, inputs=INPUTS // reader.cost)
    finally:
        reader.close()
    assert tally.results
    assert sum(tally.refused.values())
    assert not tally.faults, "\n".join(
        f"{fault.kind}: {fault.what}\n{fault.data.hex()}" for fault in tally.faults.values()
    )


def test_the_same_seed_gives_the_same_inputs():
    reader = READERS["tensor"]
    first, second = (run(reader, seed=3, inputs=200) for _ in range(2))
    assert (first.results, first.refused) == (second.results, second.refused)


# --- the harness itself: what is at fault is seen


def seen(read, wrong=lambda data, value, error: "", data=b"abc"):
    """The kinds of fault of one input."""
    from dataclasses import replace

    tally = Tally("x", 0)
    tally.inputs = 64
    with judged():
        feed(replace(READERS["tensor"], read=read, wrong=wrong), data, tally)
    return {fault.kind for fault in tally.faults.values()}


def fail(error):
    def read(data):
        raise error

    return read


def test_foreign_exceptions_warnings_wrong_values_memory_and_texts_are_faults():
    import warnings

    from tfs_client.errors import DecodeError

    class Long(DecodeError):
        def __str__(self):
            return "x" * 5000 + "\x1b"

    assert seen(fail(KeyError("x"))) == {"foreign"}
    assert seen(fail(RecursionError())) == {"foreign"}
    assert seen(lambda data: warnings.warn("x", stacklevel=1)) == {"warning"}
    assert seen(lambda data: data, lambda data, value, error: "another value") == {"wrong"}
    assert seen(lambda data: bytearray(3 << 20)) == {"memory"}
    assert seen(fail(Long("x"))) == {"text"}
    assert seen(fail(DecodeError("x"))) == set()


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_the_faults_to_plant_still_fit_the_source(patch):
    assert (ROOT / "tfs_client" / patch.file).read_text().count(patch.old) == 1
