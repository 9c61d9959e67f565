"""tfs-admin cassette: recordings are listed, compared and scrubbed, and damaged ones lose nothing."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfs_client._codec import examples as codec
from tfs_client._codec import model_spec, predict_messages, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import StatusCode
from tfs_client.protos.tensorflow.core.example.example_pb2 import Example
from tfs_client.recordings import Episode, RecordingFile
from tfs_client.recordings.contents import examples_of, inputs_of

USER = (("x-user", "ada-lovelace"), ("x-trace", "1"))
SPEC = ModelSpec("m", label="stable")


def predicted(x: Any, y: Any, *, spec: ModelSpec = SPEC, **parts: Any) -> Episode:
    reply = predict_messages.write_response(ModelSpec(spec.name, 3), {"y": np.array(y, np.float32)})
    text = np.array([b"secret text"], object)
    request = predict_messages.write_request(spec, {"x": np.array(x, np.float32), "text": text}, ("y",))
    return Episode("Predict", spec, request, reply, **{"metadata": USER, "seconds": 0.0125, **parts})


def failed(x: Any, details: str) -> Episode:
    call = predicted(x, [0])
    return Episode("Predict", SPEC, call.request, None, StatusCode.NOT_FOUND, details, USER)


def classified(*examples: dict[str, object]) -> Episode:
    spec = ModelSpec("m", signature="classify")
    written = codec.write_input(codec.serialized(list(examples)), None)
    return Episode("Classify", spec, wire.delimited(1, model_spec.write(spec)) + wire.delimited(2, written), None)


CALLS = [
    predicted([[1, 2]], [3]),
    failed([[5, 6]], "no model for ada-lovelace (ada@example.org)\x1b[2J"),
    classified({"age": [36, 37], "name": "ada"}),
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    RecordingFile.write(tmp_path / "a", CALLS)
    return tmp_path / "a"


# Show.


def test_a_recording_is_a_table(run: Any, recording: Path) -> None:
    ran = run("cassette", "show", recording)
    assert (ran.code, ran.err) == (0, "")
    header, *rows = [re.split("  +", line) for line in ran.out.splitlines()]
    assert header == ["N", "METHOD", "MODEL", "VERSION", "SIGNATURE", "INPUTS", "OUTCOME", "MS"]
    inputs = "text string (1,), x float32 (1, 2)"
    error = "NOT_FOUND: no model for ada-lovelace (ada@example.org)\\x1b[2J"
    assert rows == [
        ["0", "Predict", "m", "stable 3", "serving_default", inputs, "OK", "12.5"],
        ["1", "Predict", "m", "stable -", "serving_default", inputs, error, "-"],
        ["2", "Classify", "m", "-", "classify", "1 example", "no reply", "-"],
    ]


def test_values_are_shown_shortened(run: Any, recording: Path) -> None:
    lines = run("cassette", "show", recording, "--inputs").out.splitlines()
    assert lines[2:4] == ["     text: [b'secret text']", "     x: [[1. 2.]]"]
    assert lines[-2:] == ["     age[0]: [36 37]", "     name[0]: [b'ada']"]


def test_a_recording_as_json(run: Any, recording: Path) -> None:
    first, second, third = json.loads(run("cassette", "show", recording, "--json", "--inputs").out)
    assert first["inputs"]["x"] == {"dtype": "float32", "shape": [1, 2], "values": "[[1. 2.]]"}
    assert (first["label"], first["answered"], first["reply"], first["seconds"]) == ("stable", 3, True, 0.0125)
    assert (second["code"], second["details"]) == ("NOT_FOUND", CALLS[1].details)
    assert first["metadata"] == [["x-user", "ada-lovelace"], ["x-trace", "1"]]
    assert third["inputs"]["age[0]"]["shape"] == [2]


def test_calls_before_the_damage_are_listed(run: Any, recording: Path) -> None:
    size = recording.stat().st_size
    os.truncate(recording, size - 3)
    ran = run("cassette", "show", recording)
    assert ran.code == 1
    assert ran.out.count("Predict") == 2
    assert "is damaged at offset" in ran.line
    assert ". In Python, RecordingFile.write(path, error.episodes) keeps the calls that can be read; or " in ran.line


def test_long_names_are_shortened(run: Any, tmp_path: Path) -> None:
    RecordingFile.write(tmp_path / "a", [predicted([[1]], [1], spec=ModelSpec("m" * 5000))] * 2)
    header, *rows = run("cassette", "show", tmp_path / "a").out.splitlines()
    assert all("m" * 117 + "..." in row for row in rows)
    assert max(map(len, [header, *rows])) < 300


def test_a_missing_file(run: Any, tmp_path: Path) -> None:
    ran = run("cassette", "show", tmp_path / "none")
    assert (ran.code, ran.out) == (2, "")
    assert "No such file" in ran.line


# Diff.


def compared(run: Any, folder: Path, a: list[Episode], b: list[Episode], *arguments: object) -> Any:
    RecordingFile.write(folder / "a", a)
    RecordingFile.write(folder / "b", b)
    return run("cassette", "diff", folder / "a", folder / "b", *arguments)


def test_equal_recordings_in_another_order(run: Any, tmp_path: Path) -> None:
    ran = compared(run, tmp_path, CALLS, CALLS[::-1])
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "2 same, 0 changed, 0 missing, 0 added\nleft out: 2 requests without a recorded reply\n"


def test_changed_missing_and_added_calls(run: Any, tmp_path: Path) -> None:
    old = [predicted([[1, 2]], [3, 4]), predicted([[5, 6]], [7]), failed([[9, 9]], "gone")]
    new = [predicted([[1, 2]], [3, 4.001]), predicted([[0, 0]], [7]), failed([[9, 9]], "lost")]
    ran = compared(run, tmp_path, old, new)
    assert ran.code == 9
    header, changed, added, error, missing, summary = ran.out.splitlines()
    assert header.split() == ["CALL", "METHOD", "MODEL", "OUTPUT", "INDEX", "DIFFERENCE"]
    assert changed.split()[:5] == ["0", "Predict", "m:stable", "y", "[1]"]
    assert "expected 4.0, got 4.00" in changed
    assert added.split()[0] == "1"
    assert added.endswith("is only in B")
    assert error.endswith("expected NOT_FOUND: gone, got NOT_FOUND: lost")
    assert missing.endswith("is only in A")
    assert summary == "0 same, 2 changed, 1 missing, 1 added"
    found = [json.loads(line) for line in compared(run, tmp_path, old, new, "--json").out.splitlines()]
    assert [call["same"] for call in found[:-1]] == [False] * 4
    assert found[-1] == {"same": 0, "changed": 2, "missing": 1, "added": 1, "left_out": {}}


def test_a_tolerance(run: Any, tmp_path: Path) -> None:
    old, new = [predicted([[1, 2]], [4])], [predicted([[1, 2]], [4.001])]
    assert compared(run, tmp_path, old, new, "--rtol", 1e-2).code == 0
    assert compared(run, tmp_path, old, new, "--atol", 1e-5).code == 9
    assert "expected --rtol as a number" in compared(run, tmp_path, old, new, "--rtol=-1").line


def test_calls_of_different_versions(run: Any, tmp_path: Path) -> None:
    old = [predicted([[1, 2]], [4], spec=ModelSpec("m", 1))]
    new = [predicted([[1, 2]], [4], spec=ModelSpec("m", 2))]
    assert compared(run, tmp_path, old, new).out.endswith("0 same, 0 changed, 1 missing, 1 added\n")
    assert compared(run, tmp_path, old, new, "--any-version").code == 0


# Scrub.


def scrubbed(run: Any, recording: Path, *arguments: object) -> tuple[Any, list[Episode]]:
    out = recording.with_name("out")
    ran = run("cassette", "scrub", recording, "-o", out, *arguments)
    assert ran.code == 0, ran.err
    return ran, list(RecordingFile.read(out).episodes)


def test_metadata_and_its_values_in_texts_are_removed(run: Any, recording: Path) -> None:
    ran, calls = scrubbed(run, recording, "--metadata", "X-User", "--details", r"[\w.]+@[\w.]+")
    out = recording.with_name("out")
    assert [call.metadata for call in calls] == [(("x-trace", "1"),), (("x-trace", "1"),), ()]
    assert calls[1].details == "no model for [secret] ([removed])\x1b[2J"
    assert ran.out == (
        f"{out}: 3 calls\nremoved: metadata 'x-user', of 2 calls\nremoved: parts of error texts, of 1 call\n"
    )
    written = out.read_bytes() + out.with_name("out.json").read_bytes()
    assert b"ada-lovelace" not in written
    assert b"example.org" not in written
    assert [call.request for call in calls] == [call.request for call in CALLS]


def test_all_metadata(run: Any, recording: Path) -> None:
    _, calls = scrubbed(run, recording, "--all-metadata")
    assert [call.metadata for call in calls] == [()] * 3


def test_binary_metadata_is_removed_from_texts(run: Any, tmp_path: Path) -> None:
    call = failed([[5, 6]], r"who is YWRhLWJ5dGVz, or b'ada-bytes\xff'?")
    call = replace(call, metadata=(("x-u-bin", b"ada-bytes"), ("x-u-bin", b"ada-bytes\xff")))
    RecordingFile.write(tmp_path / "a", [call])
    _, calls = scrubbed(run, tmp_path / "a", "--metadata", "x-u-bin")
    assert calls[0].details == "who is [secret], or b'[secret]'?"


def test_inputs_are_replaced(run: Any, recording: Path) -> None:
    ran, calls = scrubbed(run, recording, "--input", "text", "--input", "name")
    for call, before in zip(calls[:2], CALLS, strict=False):
        inputs = inputs_of(call)
        assert inputs["text"].tolist() == [b""]
        np.testing.assert_array_equal(inputs["x"], inputs_of(before)["x"])
        assert predict_messages.read_request(call.request).outputs == ["y"]
        assert call.reply == before.reply
    (example,) = examples_of(calls[2].request)
    features = Example.FromString(example).features.feature
    assert list(features["name"].bytes_list.value) == [b""]
    assert list(features["age"].int64_list.value) == [36, 37]
    assert "removed: input 'text', of 2 calls\n" in ran.out
    assert b"secret text" not in recording.with_name("out").read_bytes()


def test_all_other_inputs_are_replaced(run: Any, recording: Path) -> None:
    _, calls = scrubbed(run, recording, "--keep-input", "x", "--keep-input", "age")
    assert inputs_of(calls[0])["text"].tolist() == [b""]
    assert inputs_of(calls[0])["x"].tolist() == [[1, 2]]
    assert inputs_of(calls[2])["name[0]"].tolist() == [b""]
    assert inputs_of(calls[2])["age[0]"].tolist() == [36, 37]


@pytest.mark.parametrize("flag", ["--input", "--keep-input"])
def test_an_unknown_input_stops_the_command(run: Any, recording: Path, flag: str) -> None:
    ran = run("cassette", "scrub", recording, "--in-place", flag, "txet")
    assert (ran.code, ran.out) == (2, "")
    assert "expected inputs of the recording, got 'txet'; it has 'age', 'name', 'text', 'x'" in ran.line
    assert list(RecordingFile.read(recording).episodes) == CALLS


def test_in_place(run: Any, recording: Path) -> None:
    for _ in range(2):
        ran = run("cassette", "scrub", recording, "--in-place", "--metadata", "x-user")
        assert ran.code == 0
    assert ran.out == f"{recording}: 3 calls\n"
    assert ran.err == "tfs-admin: no call has metadata 'x-user'\n"
    assert b"ada-lovelace" not in recording.with_name("a.json").read_bytes()


def test_a_removed_value_in_a_reply_is_a_warning(run: Any, tmp_path: Path) -> None:
    reply = predict_messages.write_response(SPEC, {"y": np.array([b"hello ada-lovelace"], object)})
    call = predicted([[1, 2]], [1])
    RecordingFile.write(tmp_path / "a", [Episode("Predict", SPEC, call.request, reply, metadata=USER)])
    ran, _ = scrubbed(run, tmp_path / "a", "--all-metadata")
    assert "call 0 still has the value of removed metadata in its request or reply" in ran.line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--metadata", "x"], "one of the arguments -o/--output --in-place is required"),
        (["--in-place"], "expected what to remove"),
        (["-o", "a", "--metadata", "x"], "exists: choose another file"),
        (["--in-place", "--details", "("], "--details '(' is not a regular expression"),
        (["--in-place", "--input", "x", "--keep-input", "y"], "not allowed with argument"),
    ],
)
def test_options_that_do_not_fit(
    run: Any, recording: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str
) -> None:
    monkeypatch.chdir(recording.parent)
    ran = run("cassette", "scrub", "a", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert text in ran.line


def test_a_damaged_recording_is_not_scrubbed(run: Any, recording: Path) -> None:
    os.truncate(recording, recording.stat().st_size - 3)
    ran = run("cassette", "scrub", recording, "--in-place", "--all-metadata")
    assert (ran.code, ran.out) == (1, "")
    assert "is damaged at offset" in ran.line
