"""tfs-admin warmup: the files that it writes run in a server, and errors are found before one has to load them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_signatures import export

from tfs_client import Signature, TensorSpec
from tfs_client._codec import examples as codec
from tfs_client._codec import model_spec, predict_messages, tfrecord, wire
from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import StatusCode
from tfs_client.recordings import Episode, RecordingFile, records
from tfs_client.server import FunctionServable, FunctionSignature
from tfs_client.server.lifecycle import warmup

PAIRS, VECTOR, TEXT = TensorSpec("float32", (None, 2)), TensorSpec("float32", (None,)), TensorSpec("string", (None,))
PREDICT = Signature({"x": PAIRS}, {"y": VECTOR})
TEXTS = Signature({"text": TEXT, "top": TensorSpec("int64", ())}, {"y": TEXT}, optional=frozenset({"top"}))
CLASSIFY = Signature({"inputs": TEXT}, {"scores": PAIRS}, "tensorflow/serving/classify")
SIGNATURES = {"serving_default": PREDICT, "texts": TEXTS, "classify": CLASSIFY}
FILE = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The directory of a model with one version, 3."""
    return export(tmp_path / "m" / "3", SIGNATURES).parent


def warmed(version: Path, signatures: Mapping[str, Signature] = SIGNATURES) -> list[dict[str, Any]]:
    """The inputs with which a server runs the model when it loads the version."""
    seen: list[dict[str, Any]] = []

    def function(signature: Signature) -> FunctionSignature:
        def run(**inputs: Any) -> dict[str, Any]:
            seen.append(inputs)
            rows = len(next(iter(inputs.values())))
            made = {"float32": np.zeros((rows, 2), np.float32), "string": np.full(rows, b"", object)}
            return {
                alias: made[spec.dtype_name][:, 0] if spec == VECTOR else made[spec.dtype_name]
                for alias, spec in signature.outputs.items()
            }

        defaults = {alias: np.int64(5) for alias in signature.optional}
        return FunctionSignature(run, signature.inputs, signature.outputs, signature.method_name, defaults)

    servable = FunctionServable({name: function(each) for name, each in signatures.items()})
    warmup.warm_up(servable, str(version))
    return seen


def predicted(x: Any, *, model: str = "m", signature: str = "", code: StatusCode = StatusCode.OK) -> Episode:
    spec = ModelSpec(model, signature=signature)
    reply = predict_messages.write_response(spec, {"y": np.zeros(1, np.float32)}) if code is StatusCode.OK else None
    request = predict_messages.write_request(spec, {"x": np.array(x, np.float32)})
    return Episode("Predict", spec, request, reply, code, metadata=(("a", "b"),))


def classified(*examples: dict[str, object]) -> Episode:
    spec = ModelSpec("m", signature="classify")
    written = codec.write_input(codec.serialized(list(examples)), None)
    return Episode("Classify", spec, wire.delimited(1, model_spec.write(spec)) + wire.delimited(2, written), b"")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "calls.tfrecord"
    calls = [predicted([[1, 2]]), predicted([[3, 4]], code=StatusCode.INTERNAL), classified({"a": 1.0})]
    RecordingFile.write(path, [*calls, predicted([[5, 6], [7, 8]])])
    return path


# Writing.


def test_requests_of_a_recording_run_when_the_version_is_loaded(run: Any, model: Path, recording: Path) -> None:
    ran = run("warmup", model, "--from", recording)
    assert (ran.code, ran.err) == (0, "tfs-admin: left out: 1 failed call\n")
    assert ran.out == f"{model}/3/{FILE}: 3 requests (Classify 'classify': 1, Predict 'serving_default': 2)\n"
    first, examples, last = warmed(model / "3")
    assert (first["x"].tolist(), last["x"].tolist()) == ([[1, 2]], [[5, 6], [7, 8]])
    assert len(examples["inputs"]) == 1


def test_replies_are_left_out(run: Any, model: Path, recording: Path) -> None:
    assert run("warmup", model, "--from", recording).code == 0
    with (model / "3" / FILE).open("rb") as file:
        assert [records.read(record).reply for record in tfrecord.read(file)] == [None] * 3


def test_inputs_of_files(run: Any, model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2]], np.float64))
    (tmp_path / "x.json").write_text(json.dumps([{"x": [[3, 4]]}, {"x": [[5, 6], [7, 8]]}]))
    ran = run("warmup", model, "--inputs", tmp_path / "x.npy", tmp_path / "x.json")
    assert (ran.code, ran.err) == (0, "")
    assert [call["x"].tolist() for call in warmed(model / "3")] == [[[1, 2]], [[3, 4]], [[5, 6], [7, 8]]]


def test_strings_and_optional_inputs_in_json(run: Any, model: Path, tmp_path: Path) -> None:
    values = {"text": ["größe", {"b64": base64.b64encode(b"\xff\x00").decode()}], "top": 3}
    (tmp_path / "x.json").write_text(json.dumps(values))
    assert run("warmup", model, "--inputs", tmp_path / "x.json", "--signature", "texts").code == 0
    (call,) = warmed(model / "3")
    assert call["text"].tolist() == ["größe".encode(), b"\xff\x00"]
    assert call["top"] == 3


def test_a_request_made_from_the_signature(run: Any, model: Path) -> None:
    assert run("warmup", model / "3", "--from-signature").out.endswith(": 1 request (Predict 'serving_default': 1)\n")
    assert [call["x"].tolist() for call in warmed(model / "3")] == [[[0, 0]]]
    arguments = ["--from-signature", "--fill", "random", "--batch-size", 4, "--overwrite"]
    found = []
    for seed in (1, 1, 2):
        assert run("warmup", model, *arguments, "--seed", seed).code == 0
        found += [call["x"] for call in warmed(model / "3")]
    assert found[0].shape == (4, 2)
    assert ((found[0] >= 0) & (found[0] < 1)).all()
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_made_up_values_are_said_aloud_and_random_integers_are_small(run: Any, tmp_path: Path) -> None:
    ids = Signature({"ids": TensorSpec("int64", (None, 50))}, {"y": VECTOR})
    folder = export(tmp_path / "m", {"serving_default": ids})
    ran = run("warmup", folder, "--from-signature", "--fill", "random")
    assert ran.code == 0
    assert "the values are made up; if an op of the model refuses them, a server does not load the version" in ran.line
    (call,) = warmed(folder, {"serving_default": ids})
    assert set(call["ids"].flat) == {0, 1}


@pytest.mark.parametrize(
    ("signatures", "text"),
    [
        ({"serving_default": CLASSIFY}, "input 'inputs' of signature 'serving_default' takes tf.Examples"),
        (
            {"serving_default": Signature({"examples": TEXT}, {"y": VECTOR})},
            "Examples.*: use --from or --inputs",
        ),
        (
            {
                "serving_default": Signature({"t": TensorSpec("string", (None,), tensor_name="e:0")}, {"y": VECTOR}),
                "r": Signature(
                    {"inputs": TensorSpec("string", (None,), tensor_name="e:0")},
                    {"outputs": VECTOR},
                    "tensorflow/serving/regress",
                ),
            },
            "input 't' of signature 'serving_default' takes tf.Examples",
        ),
    ],
    ids=["classify", "an Estimator's name", "the tensor of another signature"],
)
def test_examples_are_not_made_up(run: Any, tmp_path: Path, signatures: Any, text: str) -> None:
    folder = export(tmp_path / "m", signatures)
    ran = run("warmup", folder, "--from-signature")
    assert (ran.code, ran.out) == (2, "")
    assert re.search(text, ran.line)
    assert not (folder / FILE).exists()


def test_sparse_inputs_are_refused(run: Any, tmp_path: Path) -> None:
    folder = export(tmp_path / "m", {"serving_default": PREDICT}, sparse=("x",))
    ran = run("warmup", folder, "--from-signature")
    assert (ran.code, ran.out) == (2, "")
    assert "input 'x' is a sparse or composite tensor, and a server cannot feed it" in ran.line
    (tmp_path / "x.json").write_text('{"x": [[1, 2]]}')
    ran = run("warmup", folder, "--inputs", tmp_path / "x.json")
    assert ran.code == 9
    assert "Tensor :0, specified in either feed_devices or fetch_devices was not found" in ran.out
    assert not (folder / FILE).exists()


def test_no_requests_replace_no_file(run: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    (tmp_path / "y.json").write_text('{"x": [[1, 2]]}')
    assert run("warmup", model, "--inputs", tmp_path / "y.json").code == 0
    for files in (["x.json"], ["y.json", "x.json"]):
        ran = run("warmup", model, "--overwrite", "--inputs", *(tmp_path / name for name in files))
        assert (ran.code, ran.out) == (2, "")
        assert "x.json': expected at least one request, got an empty list" in ran.line
    assert len(warmed(model / "3")) == 1


def test_standard_output_is_not_a_file(run: Any, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("warmup", model, "--from-signature", "-o", "-")
    assert ran.code == 2
    assert "cannot write '-': expected the name of a file; ./- is a file with this name" in ran.err
    assert not (tmp_path / "-").exists()
    assert run("warmup", model, "--from-signature", "-o", "./-").code == 0
    assert (tmp_path / "-").exists()


def test_sizes_that_the_signature_leaves_open_are_said_aloud(run: Any, tmp_path: Path) -> None:
    wide = TensorSpec("uint8", (None, None, None, 3))
    folder = export(tmp_path / "m", {"serving_default": Signature({"image": wide}, {"y": VECTOR})})
    ran = run("warmup", folder, "--from-signature", "--batch-size", 2)
    assert ran.code == 0
    assert "'image' expects (?, ?, ?, 3), and gets (2, 1, 1, 3); use --inputs for other sizes" in ran.err


def test_another_file_and_no_model(run: Any, recording: Path, tmp_path: Path) -> None:
    ran = run("warmup", "-o", tmp_path / "new" / "w", "--from", recording, "--limit", 1)
    assert ran.code == 0
    assert ran.out.endswith("1 request (Predict 'serving_default': 1); not checked, because no model is given\n")
    assert "--limit 1: the first 1 of 3 requests" in ran.err
    assert (tmp_path / "new" / "w").stat().st_size > 0


def test_an_existing_file_stays_without_overwrite(run: Any, model: Path, recording: Path) -> None:
    (model / "3" / FILE).parent.mkdir()
    (model / "3" / FILE).write_bytes(b"old")
    ran = run("warmup", model, "--from", recording)
    assert ran.code == 2
    assert "exists: use --overwrite to replace it" in ran.line
    assert (model / "3" / FILE).read_bytes() == b"old"
    assert run("warmup", model, "--from", recording, "--overwrite").code == 0
    assert len(warmed(model / "3")) == 3
    assert [path.name for path in (model / "3" / FILE).parent.iterdir()] == ["tf_serving_warmup_requests"]


def test_requests_that_a_server_would_refuse_are_not_written(run: Any, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "calls"
    wrong = predicted([[1, 2, 3]])
    RecordingFile.write(path, [predicted([[1, 2]]), wrong, predicted([[1, 2]], signature="none"), classified()])
    ran = run("warmup", model, "--from", path)
    assert (ran.code, ran.err) == (9, "tfs-admin: a server would refuse these requests; nothing is written\n")
    second, third, fourth = ran.out.splitlines()
    first = len(tfrecord.framed(records.write(Episode("Predict", wrong.spec, predicted([[1, 2]]).request, None))))
    assert second.startswith(f"{path}: record 1 at offset {first}: INVALID_ARGUMENT: ")
    assert second.endswith("('x' expects float32 (?, 2), got float32 (1, 3): expected size 2 on axis 1, got 3)")
    assert "record 2" in third
    assert 'INVALID_ARGUMENT: Serving signature key "none" not found' in third or "FAILED_PRECONDITION" in third
    assert "record 3" in fourth
    assert "INVALID_ARGUMENT: Input is empty." in fourth
    assert not (model / "3" / FILE).exists()


def test_more_requests_than_a_server_accepts(run: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([{"x": [[1, 2]]}] * 1001))
    ran = run("warmup", model, "--inputs", tmp_path / "x.json")
    assert ran.code == 2
    assert "expected at most 1000 requests" in ran.line
    assert "--limit 1000 takes the first 1000" in ran.line
    assert run("warmup", model, "--inputs", tmp_path / "x.json", "--limit", 1000).code == 0
    assert len(warmed(model / "3")) == 1000


def test_a_recording_of_several_models_needs_a_name(run: Any, model: Path, tmp_path: Path) -> None:
    RecordingFile.write(tmp_path / "calls", [predicted([[1, 2]]), predicted([[3, 4]], model="n")])
    ran = run("warmup", model, "--from", tmp_path / "calls")
    assert ran.code == 2
    assert "has calls of several models: m, n; choose one with --model NAME" in ran.line
    ran = run("warmup", model, "--from", tmp_path / "calls", "--model", "n")
    assert (ran.code, ran.err) == (0, "tfs-admin: left out: 1 call of other models\n")
    assert [call["x"].tolist() for call in warmed(model / "3")] == [[[3, 4]]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[1]", "expected an object from input to values"),
        ('{"x": {"b64": 1}}', "expected values, or"),
        ('{"x": {"b64": "?"}}', "expected base64"),
        ('{"x": [[1, "a"]]}', "'x'"),
        ('{"z": [[1, 2]]}', "'z' is not an input"),
        ('{"x": [[1, 2, 3]]}', "expected size 2 on axis 1, got 3"),
        ("{}", "'x' is missing"),
        ('{"x": ' + "[" * 100_000, "JSON"),
    ],
)
def test_wrong_inputs_name_the_file(run: Any, model: Path, tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "x.json").write_text(content)
    ran = run("warmup", model, "--inputs", tmp_path / "x.json")
    assert (ran.code, ran.out) == (2, "")
    assert text in ran.line
    assert "x.json" in ran.line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--from-signature"], "expected MODEL_DIR, or -o FILE"),
        (["-o", "w", "--from-signature"], "give its MODEL_DIR"),
        (["m", "--from-signature", "--limit", "3"], "--limit does not apply to --from-signature"),
        (["m", "--inputs", "x.npy", "--fill", "random"], "--fill random does not apply to --inputs"),
        (["m", "--check", "--overwrite"], "--overwrite does not apply to --check"),
        (["m", "--from", "x", "--limit", "1001"], "expected --limit from 1 to 1000"),
        (["m", "--from-signature", "--batch-size", "0"], "expected --batch-size of 1 or more"),
        (["m"], "one of the arguments --from --inputs --from-signature --check is required"),
        (["--server", "x:1", "m", "--check"], "unrecognized arguments"),
        (["nothing", "--check"], "expected the directory of a SavedModel, got"),
    ],
)
def test_contradictory_options(run: Any, arguments: list[str], text: str) -> None:
    ran = run("warmup", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert text in ran.line


def test_options_of_a_server_before_the_command_are_refused(run: Any, model: Path) -> None:
    ran = run("--server", "x:1", "warmup", model, "--check")
    assert ran.code == 2
    assert "warmup calls no server: leave --server out" in ran.line


# Checking.


def test_a_good_file_is_summarized(run: Any, model: Path, recording: Path) -> None:
    assert run("warmup", model, "--from", recording).code == 0
    summary = "3 requests (Classify 'classify': 1, Predict 'serving_default': 2)"
    ran = run("warmup", model, "--check")
    assert (ran.code, ran.out, ran.err) == (0, f"{model}/3/{FILE}: {summary}\n", "")
    ran = run("warmup", "--check", "-o", recording)
    assert (ran.code, ran.out) == (
        0,
        f"{recording}: {summary}; signatures are not checked, because no model is given\n",
    )


def test_errors_have_their_offset(run: Any, model: Path, tmp_path: Path) -> None:
    logs = [records.write(predicted(x)) for x in ([[1, 2]], [[1, 2, 3]], [[1, 2]])]
    frames = [tfrecord.framed(log) for log in logs]
    path = tmp_path / "w"
    path.write_bytes(frames[0] + tfrecord.framed(b"\xff\xff") + frames[1] + frames[2][:-1])
    ran = run("warmup", model, "--check", "-o", path)
    assert (ran.code, ran.err) == (9, "")
    summary, unreadable, wrong, damaged = ran.out.splitlines()
    end = len(frames[0]) + len(tfrecord.framed(b"\xff\xff"))
    assert summary.startswith(f"{path}: 3 requests (Predict 'serving_default': 2)")
    assert unreadable.startswith(f"{path}: record 1 at offset {len(frames[0])}: ")
    assert wrong.startswith(f"{path}: record 2 at offset {end}: INVALID_ARGUMENT: ")
    assert damaged.startswith(f"{path}: damaged at offset {end + len(frames[1])}: truncated record")


def test_a_request_that_cannot_be_read_is_an_error(run: Any, model: Path, tmp_path: Path) -> None:
    broken = wire.delimited(6, wire.delimited(1, model_spec.write(ModelSpec("m")) + b"\xff"))
    (tmp_path / "w").write_bytes(tfrecord.framed(broken))
    ran = run("warmup", model, "--check", "-o", tmp_path / "w")
    assert (ran.code, ran.err) == (9, "")
    assert "record 0 at offset 0: " in ran.out


def test_a_damaged_recording_is_not_written(run: Any, model: Path, recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-3])
    ran = run("warmup", model, "--from", recording)
    assert (ran.code, ran.out) == (1, "")
    assert "is damaged at offset" in ran.line
    assert not (model / "3" / FILE).exists()


def test_a_header_that_is_cut_off_is_an_error(run: Any, tmp_path: Path) -> None:
    frame = tfrecord.framed(records.write(predicted([[1, 2]])))
    (tmp_path / "w").write_bytes(frame + frame[:5])
    ran = run("warmup", "--check", "-o", tmp_path / "w")
    assert ran.code == 9
    assert f"damaged at offset {len(frame)}: the last record is cut off after 5 bytes" in ran.out


def test_too_many_records_are_an_error(run: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(tfrecord.framed(records.write(predicted([[1, 2]]))) * 1001)
    ran = run("warmup", model, "--check", "-o", tmp_path / "w")
    assert ran.code == 9
    assert "1001 requests: a server refuses a version with more than 1000" in ran.out
