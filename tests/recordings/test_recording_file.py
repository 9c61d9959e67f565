"""Recording files: calls survive writing, appending, concurrent appending and damage."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_calls import MIXED, failed, predicted

from tfs_client import ConfigError, DecodeError, RecordingError
from tfs_client._codec import tfrecord, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.model_spec import write as write_spec
from tfs_client.errors import StatusCode
from tfs_client.recordings import DamagedRecordingError, Episode, RecordingFile, sidecar
from tfs_client.recordings.episodes import LOOKUPS

TEXT = st.text(max_size=12)
NUMBERS = st.floats(-1e9, 1e9)
SPECS = st.builds(
    ModelSpec, st.text(min_size=1, max_size=8), st.none() | st.integers(0, 2**63 - 1), st.none(), TEXT
) | st.builds(ModelSpec, st.just("m"), st.none(), TEXT)
COMMON = {
    "metadata": st.lists(st.tuples(TEXT, TEXT) | st.tuples(TEXT, st.binary(max_size=5)), max_size=3).map(tuple),
    "transport": st.sampled_from(["grpc", "rest"]),
    "seconds": NUMBERS,
    "recorded": NUMBERS,
}
LOGGED = st.sampled_from(["Predict", "Classify", "Regress"])
GOOD = st.builds(
    lambda method, spec, rest, reply, more: Episode(
        method, spec, wire.delimited(1, write_spec(spec)) + wire.delimited(2, rest), reply, **more
    ),
    LOGGED,
    SPECS,
    st.binary(max_size=40),
    st.none() | st.binary(max_size=40),
    st.fixed_dictionaries(COMMON),
)
LOOKED_UP = st.builds(
    Episode, st.sampled_from(LOOKUPS), SPECS, st.binary(max_size=20), st.binary(max_size=20), **COMMON
)
FAILED = st.builds(
    Episode,
    st.sampled_from(["Predict", "MultiInference", *LOOKUPS]),
    SPECS,
    st.binary(max_size=20),
    st.none(),
    st.sampled_from([code for code in StatusCode if code is not StatusCode.OK]),
    st.text(max_size=30),
    **COMMON,
    hint=TEXT,
    attempts=st.integers(1, 5),
    unreached=st.booleans(),
    retry_after=st.none() | NUMBERS,
    http_status=st.none() | st.integers(100, 599),
)
EPISODES = st.lists(GOOD | LOOKED_UP | FAILED, max_size=6)
FEW = settings(max_examples=15)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "calls.tfrecord")


def appended(path, episodes):
    file = RecordingFile(path)
    for episode in episodes:
        file.append(episode)


def read(path):
    return list(RecordingFile.read(path).episodes)


def damage(path):
    with pytest.raises(DamagedRecordingError, match="damaged at offset") as caught:
        RecordingFile.read(path)
    return caught.value


def test_a_record_that_is_cut_off_is_described(path):
    RecordingFile.write(path, [predicted(1)])
    whole = Path(path).read_bytes()
    for size, text in (
        (len(whole) - 3, f"the record is cut off: expected {len(whole)} bytes, got {len(whole) - 3}"),
        (7, "the header of a record is cut off: expected 12 bytes, got 7"),
    ):
        Path(path).write_bytes(whole[:size])
        assert f"is damaged at offset 0: {text}. " in str(damage(path))
    Path(path).write_bytes(whole + whole[:-1])
    assert f"expected {len(whole)} bytes, got {len(whole) - 1}; 1 call can be read. " in str(damage(path))
    with pytest.raises(DamagedRecordingError, match=f"expected {len(whole)} bytes, got {len(whole) - 1}"):
        RecordingFile(path).append(predicted(2))


@FEW
@given(EPISODES)
def test_calls_survive_writing_and_appending(episodes):
    with tempfile.TemporaryDirectory() as folder:
        whole, one_by_one = f"{folder}/whole", f"{folder}/one_by_one"
        RecordingFile.write(whole, episodes)
        assert read(whole) == episodes
        appended(one_by_one, episodes)
        if episodes:
            assert read(one_by_one) == episodes
        for ending in ("", ".json") if episodes else ():
            assert Path(one_by_one + ending).read_bytes() == Path(whole + ending).read_bytes()


def test_the_sidecar_is_valid_json_after_each_call(path):
    for count, episode in enumerate(MIXED, 1):
        RecordingFile(path).append(episode)
        document = json.loads(Path(f"{path}.json").read_bytes())
        assert document["format"] == "tfs_client recording"
        assert len(document["episodes"]) == count
        assert document["episodes"][-1]["version"] == episode.spec.version
    assert len(Path(f"{path}.json").read_bytes().splitlines()) == len(MIXED) + 2


def test_a_plain_tfrecord_file_is_a_recording(path):
    RecordingFile.write(path, MIXED)
    os.remove(f"{path}.json")
    assert [episode.spec.version for episode in read(path)] == [0, 2, 3]
    RecordingFile(path).append(failed(9))
    assert [episode.spec.version for episode in read(path)] == [0, 2, 3, 9]


def test_a_record_without_an_entry_keeps_its_place(path):
    RecordingFile.write(path, MIXED)
    document = json.loads(Path(f"{path}.json").read_bytes())
    del document["episodes"][2]
    Path(f"{path}.json").write_text(json.dumps(document, indent=2))
    assert [episode.spec.version for episode in read(path)] == [0, 1, 2, 3, 4]


def test_a_sidecar_that_an_editor_has_reformatted_is_read_and_appended_to(path):
    RecordingFile.write(path, MIXED)
    place = Path(f"{path}.json")
    place.write_text(json.dumps(json.loads(place.read_bytes()), indent=2))
    assert read(path) == MIXED
    RecordingFile(path).append(failed(7))
    assert read(path) == [*MIXED, failed(7)]


def test_a_tfrecord_file_cut_anywhere_loses_nothing_before_the_cut(path):
    RecordingFile.write(path, MIXED)
    data = Path(path).read_bytes()
    ends = [0]
    for episode in (MIXED[0], MIXED[2], MIXED[3]):
        ends.append(ends[-1] + len(tfrecord.framed(wire.delimited(6, wire.delimited(1, episode.request) + b"\x12\0"))))
    assert ends[-1] == len(data)
    for cut in range(len(data)):
        Path(path).write_bytes(data[:cut])
        error = damage(path)
        whole = sum(end <= cut for end in ends[1:])
        assert error.offset == ends[whole]
        assert f"offset {ends[whole]}" in str(error)
        assert error.path == path
        records = {0: 0, 2: 1, 3: 2}
        assert list(error.episodes) == [e for at, e in enumerate(MIXED) if records.get(at, -1) < whole]


def test_a_sidecar_cut_anywhere_loses_nothing_before_the_cut(path):
    RecordingFile.write(path, MIXED)
    place = Path(f"{path}.json")
    data = place.read_bytes()
    starts = [at + 1 for at in range(len(data)) if data[at : at + 1] == b"\n"][: len(MIXED)]
    ends = [data.find(b"\n", start) - (start != starts[-1]) for start in starts]  # the end of the JSON, before a comma
    for cut in {*range(1, len(data) - 1, 9), *(end + step for end in ends for step in (-1, 0, 1, 2))}:
        place.write_bytes(data[:cut])
        error = damage(path)
        assert error.offset <= cut
        whole = [episode for end, episode in zip(ends, MIXED, strict=True) if end <= cut]
        kept = [e for e in error.episodes if e in whole]
        assert kept == whole
        assert {e.spec.version for e in error.episodes} >= {0, 2, 3}  # records need no entry
    place.write_bytes(data[:-1])  # valid JSON without the last line break
    assert read(path) == MIXED


@pytest.mark.parametrize("ending", ["", ".json"])
def test_a_torn_append_is_reported_by_the_next_one(path, ending):
    appended(path, MIXED)
    with open(path + ending, "r+b") as file:
        file.truncate(os.path.getsize(path + ending) - 3)
    before = [Path(path + each).read_bytes() for each in ("", ".json")]
    with pytest.raises(DamagedRecordingError) as caught:
        RecordingFile(path).append(predicted(5))
    assert caught.value.path == path + ending
    assert [Path(path + each).read_bytes() for each in ("", ".json")] == before
    RecordingFile.write(path, damage(path).episodes)
    RecordingFile(path).append(predicted(5))
    assert read(path)[-1] == predicted(5)


def test_a_program_killed_between_record_and_entry_loses_nothing(path):
    appended(path, MIXED)
    with open(path, "ab") as file:
        file.write(tfrecord.framed(wire.delimited(6, wire.delimited(1, predicted(5).request) + b"\x12\0")))
    assert read(path) == [*MIXED, predicted(5)]
    RecordingFile(path).append(predicted(6))
    assert read(path) == [*MIXED, predicted(5), predicted(6)]


def test_an_append_that_fails_leaves_the_files_as_they_were(path, monkeypatch):
    appended(path, MIXED)
    before = [Path(path + each).read_bytes() for each in ("", ".json")]
    os.chmod(f"{path}.json", 0o400)
    if os.access(f"{path}.json", os.W_OK):  # root may write anything
        os.remove(f"{path}.json")
        os.mkdir(f"{path}.json")
    with pytest.raises(OSError, match="json"):
        RecordingFile(path).append(predicted(5))
    assert Path(path).read_bytes() == before[0]


def test_files_that_do_not_belong_together_are_noticed(path):
    RecordingFile.write(path, MIXED)
    with open(path, "wb") as file:
        tfrecord.write(
            file, [wire.delimited(6, wire.delimited(1, predicted(n).request) + b"\x12\0") for n in (0, 9, 3)]
        )
    error = damage(path)
    assert error.path == f"{path}.json"
    assert "not the one of this entry" in str(error)
    assert [e.spec.version for e in error.episodes] == [0, 1, 9, 3, 4]


@pytest.mark.parametrize("size", [20, 1 << 17])
def test_a_flipped_bit_is_noticed(path, size):
    RecordingFile.write(path, [predicted(0, size), predicted(1, size)])
    data = bytearray(Path(path).read_bytes())
    data[-10] ^= 1
    Path(path).write_bytes(data)
    assert [e.spec.version for e in damage(path).episodes] == [0]


def test_threads_lose_nothing(path):
    files = [RecordingFile(path), RecordingFile(path)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: files[n % 2].append(predicted(n) if n % 3 else failed(n)), range(60)))
    assert sorted(episode.spec.version for episode in read(path)) == list(range(60))


APPENDING = """
import sys
sys.path.insert(0, {tests!r})
from recorded_calls import failed, predicted
from tfs_client.recordings import RecordingFile
start = int(sys.argv[2])
file = RecordingFile(sys.argv[1])
for number in range(start, start + 20):
    file.append(predicted(number) if number % 3 else failed(number))
"""


def test_processes_lose_nothing(path):
    program = APPENDING.format(tests=str(Path(__file__).parent.parent))
    running = [subprocess.Popen([sys.executable, "-c", program, path, str(start)]) for start in (0, 20)]
    here = RecordingFile(path)
    for number in range(40, 60):
        here.append(predicted(number))
    assert [process.wait(60) for process in running] == [0, 0]
    assert sorted(episode.spec.version for episode in read(path)) == list(range(60))


def test_an_append_during_a_rewrite_is_not_lost(path):
    RecordingFile.write(path, MIXED)
    with ThreadPoolExecutor(2) as pool:
        rewriting = pool.submit(lambda: [RecordingFile.write(path, MIXED) for _ in range(20)])
        appending = pool.submit(appended, path, [predicted(9)] * 20)
        rewriting.result(60), appending.result(60)
    found = read(path)  # whole, whichever came last
    assert found[:5] == MIXED
    assert set(map(repr, found[5:])) <= {repr(predicted(9))}


def test_a_rewritten_file_keeps_its_permissions_and_links(path, tmp_path):
    RecordingFile.write(path, MIXED)
    os.chmod(path, 0o640)
    link = str(tmp_path / "link")
    os.symlink(path, link)
    os.symlink(f"{path}.json", f"{link}.json")
    RecordingFile.write(link, MIXED[:1])
    assert os.path.islink(link)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    assert read(path) == MIXED[:1]
    assert sorted(os.listdir(tmp_path)) == ["calls.tfrecord", "calls.tfrecord.json", "link", "link.json"]


@pytest.mark.parametrize(
    "entry",
    [
        {"method": "Foo"},
        {"method": "Predict", "record": True},
        {"method": "Predict", "record": -1},
        {"method": "Predict", "code": "OK", "request": ""},
        {"method": "GetModelStatus", "code": "OK", "request": ""},
        {"method": "GetModelStatus", "code": "NOT_FOUND", "request": "%%%"},
        {"method": "Predict", "code": "NOT_FOUND", "request": "", "seconds": float("nan")},
        {"method": "Predict", "code": "NOT_FOUND", "request": "", "metadata": [["a"]]},
        {"method": "Predict", "code": "NOT_FOUND", "request": "", "metadata": [["a", 5]]},
        {"method": "Predict", "code": "NOT_FOUND", "request": "", "version": -1},
        {"method": "Predict", "code": "NOPE", "request": ""},
        {"method": "GetModelMetadata", "record": 0},
        5,
        [],
    ],
    ids=str,
)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_hostile_entry_is_refused(path, entry, indent):
    Path(path).touch()
    lines = ",\n".join([json.dumps(json.loads(sidecar.line(sidecar.Entry(failed(0))))), json.dumps(entry)])
    text = f"{sidecar.HEADER.decode()}\n{lines}{sidecar.CLOSING.decode()}"
    Path(f"{path}.json").write_text(text if indent is None else text.replace("\n", "\n\n"))
    assert list(damage(path).episodes) == [failed(0)]


@pytest.mark.parametrize(
    "text", ["[", "{}", "[" * 100_000, '{"format": "tfs_client recording", "version": 2}\n]}\n', "\0", "x\n]}\n"]
)
def test_a_file_of_something_else_is_neither_read_nor_changed(path, text):
    Path(f"{path}.json").write_text(text)
    for episode in (predicted(0), failed(1)):
        for use in (
            RecordingFile.read,
            lambda path, episode=episode: RecordingFile(path).append(episode),
            lambda path, episode=episode: RecordingFile.write(path, [episode]),
        ):
            with pytest.raises(RecordingError, match="is not the sidecar of the recording") as caught:
                use(path)
            assert len(str(caught.value)) < 2000
    assert Path(f"{path}.json").read_text() == text
    assert os.listdir(os.path.dirname(path)) == ["calls.tfrecord.json"]


def test_a_file_of_something_else_is_not_replaced_by_a_recording(path):
    Path(path).write_bytes(b"precious weights")
    with pytest.raises(RecordingError, match="is not replaced, because it is not a TFRecord file"):
        RecordingFile.write(path, MIXED)
    assert Path(path).read_bytes() == b"precious weights"


@pytest.mark.parametrize("text", ["{", sidecar.HEADER.decode()[:-3], '{ "format":"tfs_client recording","version":1,'])
def test_a_damaged_sidecar_may_be_replaced(path, text):
    Path(path).touch()
    Path(f"{path}.json").write_text(text)
    assert damage(path).path == f"{path}.json"
    RecordingFile.write(path, MIXED)
    assert read(path) == MIXED


def test_a_wrong_entry_in_a_document_of_one_line_is_named(path):
    Path(path).touch()
    Path(f"{path}.json").write_text(f"{sidecar.HEADER.decode()}{json.dumps({'method': 'Foo'})}]}}")
    assert "entry 0: expected a method among" in str(damage(path))


# --- writes that fail or are interrupted -------------------------------------------------------------------------


@contextlib.contextmanager
def limited(size):
    """No file may grow beyond this size, as if the disk were full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(path):
    folder = Path(path).parent
    return {place.name: place.read_bytes() for place in folder.iterdir()}


@pytest.mark.parametrize(("room", "size"), [(0, 20), (300, 650), (200, 20)], ids=["none", "record", "sidecar"])
def test_a_full_disk_changes_nothing(path, room, size):
    with limited(room), pytest.raises(OSError, match="File too large"):
        RecordingFile(path).append(predicted(0, size))
    assert contents(path) == {}
    with limited(0), pytest.raises(OSError, match="File too large"):
        RecordingFile(path).append(failed(0))
    assert contents(path) == {}
    with limited(room), pytest.raises(OSError, match="File too large"):
        RecordingFile.write(path, [predicted(0, size)] * 3)
    assert contents(path) == {}
    RecordingFile.write(path, MIXED)
    before = contents(path)
    with limited(room), pytest.raises(OSError, match="File too large"):
        RecordingFile.write(path, [predicted(0, size)] * 3)
    assert contents(path) == before


def test_empty_files_are_as_good_as_none(path):
    Path(path).touch()
    Path(f"{path}.json").touch()
    assert not RecordingFile(path).exists
    assert read(path) == []
    appended(path, MIXED)
    assert RecordingFile(path).exists
    assert read(path) == MIXED


def interrupted(action, at):
    """Interrupt an action at the n-th line of this package's code; return whether it ran so long.

    It runs in a thread, which takes with it whatever the interpreter still knows about the interrupt.
    """
    left, caught = [at], []

    def trace(frame, event, _):
        if "/tfs_client/recordings/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    def run():
        sys.settrace(trace)
        try:
            action()
        except KeyboardInterrupt:
            caught.append(True)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return bool(caught)


# An interrupt between opening a file and the ``with`` block leaves the file to the garbage collector.
UNCLOSED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@UNCLOSED
@pytest.mark.parametrize("episode", [predicted(5), failed(5)], ids=["record", "entry alone"])
@pytest.mark.parametrize("start", [[], MIXED[:3]], ids=["new", "old"])
def test_an_interrupted_append_loses_nothing(path, start, episode):
    for at in range(10_000):
        for place in Path(path).parent.iterdir():
            place.unlink()
        appended(path, start)
        more = interrupted(lambda: RecordingFile(path).append(episode), at)
        found = read(path) if os.path.exists(path) else []
        assert found in ([*start, episode], start), at
        RecordingFile(path).append(failed(6))
        assert read(path) == [*found, failed(6)]
        if not more:
            break
    assert at > 30
    assert found == [*start, episode]


@UNCLOSED
def test_an_interrupted_replacement_leaves_the_old_calls_or_the_new_ones(path):
    new = [failed(7), predicted(8)]
    for at in range(10_000):
        RecordingFile.write(path, MIXED)
        more = interrupted(lambda: RecordingFile.write(path, new), at)
        found = read(path)
        assert found in (MIXED, new), at
        RecordingFile(path).append(failed(6))
        assert read(path) == [*found, failed(6)]
        assert sorted(contents(path)) == ["calls.tfrecord", "calls.tfrecord.json"]
        if not more:
            break
    assert at > 50
    assert found == new


def test_a_program_killed_before_a_replacement_has_changed_nothing(path):
    RecordingFile.write(path, MIXED)
    for ending in ("", ".json"):
        Path(f"{path}{ending}.unfinished").write_bytes(b"torn")
        assert read(path) == MIXED
    RecordingFile(path).append(failed(5))
    RecordingFile.write(path, read(path)[1:])
    assert read(path) == [*MIXED[1:], failed(5)]
    assert sorted(contents(path)) == ["calls.tfrecord", "calls.tfrecord.json"]


def half_replaced(path, old, new):
    """Leave the files as a program does that is killed between the two renames."""
    RecordingFile.write(path, new)
    os.replace(f"{path}.json", f"{path}.json.unfinished")
    RecordingFile.write(f"{path}.old", old)
    os.replace(f"{path}.old.json", f"{path}.json")
    os.unlink(f"{path}.old")
    assert read(path) == new


def test_a_replacement_that_fails_keeps_one_that_is_half_done(path):
    new = [failed(7), predicted(8)]
    half_replaced(path, MIXED, new)
    with limited(300), pytest.raises(OSError, match="too large"):
        RecordingFile.write(path, [predicted(n) for n in range(20)])
    assert read(path) == new


def test_what_a_killed_program_has_left_goes_with_the_recording(path):
    half_replaced(path, MIXED, [failed(7), predicted(8)])
    os.unlink(path)
    os.unlink(f"{path}.json")
    assert not RecordingFile(path).exists
    RecordingFile(path).append(predicted(5))
    assert read(path) == [predicted(5)]


def test_files_that_cannot_be_opened_are_named(path):
    os.mkdir(path)
    with pytest.raises(RecordingError, match=r"calls\.tfrecord' cannot be read: \w"):
        RecordingFile.read(path)
    with pytest.raises(OSError, match=r"calls\.tfrecord"):
        RecordingFile(path).append(failed(0))
    for wrong in ("a\0b", "", b"bytes", 5):
        with pytest.raises(ConfigError, match="expected the path"):
            RecordingFile(wrong)


@given(st.binary(max_size=60))
@FEW
def test_any_bytes_are_read_or_refused(data):
    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/calls").write_bytes(data)
        Path(f"{folder}/calls.json").write_bytes(sidecar.HEADER + data)
        with pytest.raises(DecodeError):
            RecordingFile.read(f"{folder}/calls")
        Path(f"{folder}/calls").write_bytes(tfrecord.framed(data))
        os.remove(f"{folder}/calls.json")
        with contextlib.suppress(DecodeError):
            assert len(RecordingFile.read(f"{folder}/calls").episodes) == 1


def test_a_missing_recording(path):
    with pytest.raises(RecordingError, match=r"the recording '.*' cannot be read: No such file or directory$"):
        RecordingFile.read(path)
    assert not RecordingFile(path).exists


@pytest.mark.parametrize(
    "episode",
    [
        Episode("Health", ModelSpec("m"), b"", b""),
        Episode("GetModelStatus", ModelSpec("m"), b"", None),
        Episode("Predict", ModelSpec("m"), b"", b"", StatusCode.NOT_FOUND),
    ],
)
def test_calls_that_the_format_cannot_hold_are_refused(path, episode):
    with pytest.raises(ConfigError, match="expected"):
        RecordingFile(path).append(episode)
    with pytest.raises(ConfigError, match="expected"):
        RecordingFile.write(path, [episode])
    assert not os.path.exists(path)


def test_the_error_survives_pickling(path):
    RecordingFile.write(path, MIXED)
    with open(path, "r+b") as file:
        file.truncate(30)
    error = damage(path)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.offset, copy.episodes) == (str(error), error.offset, error.episodes)


@pytest.mark.parametrize("beside", ["", ".json"], ids=["TFRecord", "sidecar"])
def test_what_is_not_a_regular_file_is_neither_read_nor_replaced(tmp_path, beside):
    path = tmp_path / "calls"
    pipe = Path(f"{path}{beside}")
    os.mkfifo(pipe)  # a device would be lost in the same way, and only root can make one
    for use, error in (
        (lambda: RecordingFile.read(path), RecordingError),
        (lambda: RecordingFile.write(path, [predicted(1)]), OSError),
        (lambda: RecordingFile(path).append(predicted(1)), OSError),
    ):
        with pytest.raises(error, match="expected a regular file, got a named pipe"):
            use()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]
