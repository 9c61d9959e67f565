"""Classifications and embeddings: the right output, the right names, and honest scores."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client import ConfigError, DecodeError, TensorSpec
from tfs_client.images import (
    AnswerOptions,
    AnswerReader,
    Classification,
    Embedding,
    Geometry,
    Labels,
    classify,
    decoder_for,
    register,
)
from tfs_client.images.classification import Scores

GEOMETRY = Geometry.of((40, 30), (32, 32))
ANIMALS = Labels(dict(enumerate(["cat", "dog", "fox", "owl"])), source="animals.txt")
ROW = np.float32([0.1, 0.2, 0.6, 0.1])


def texts(*values: str | bytes) -> np.ndarray[Any, Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def rows(found: Classification) -> list[tuple[str, float]]:
    return [(each.label, round(each.score, 4)) for each in found.classes]


def specs(**shapes: tuple[int | None, ...]) -> dict[str, TensorSpec]:
    return {alias: TensorSpec("float32", (None, *shape)) for alias, shape in shapes.items()}


def test_the_best_classes_come_first_and_equal_scores_in_order() -> None:
    found = classify({"p": ROW[np.newaxis]}, labels=ANIMALS, top=4)
    assert rows(found) == [("fox", 0.6), ("dog", 0.2), ("cat", 0.1), ("owl", 0.1)]
    assert [each.number for each in found.classes] == [2, 1, 0, 3]
    assert found.output == "p"
    assert found.probabilities


def test_classes_without_names_are_numbered() -> None:
    assert rows(classify({"p": ROW}, top=1)) == [("class 2", 0.6)]
    assert rows(classify({"p": ROW[:3]}, labels=Labels({1: "cat", 2: "dog"}, numbered=True), top=3))[2] == (
        "class 0",
        0.1,
    )


@pytest.mark.parametrize(
    ("prediction", "index", "want"),
    [
        ({"p": ROW}, 0, "class 2"),
        ({"p": np.stack([ROW, ROW[::-1]])}, 1, "class 1"),
        ({"p": ROW.reshape(1, 1, 1, 4)}, 0, "class 2"),
        ({"p": np.stack([ROW, ROW[::-1]]).reshape(2, 4, 1, 1)}, 1, "class 1"),
        ({"p": np.stack([ROW, ROW[::-1]]), "confidence": np.float32([1, 2])}, 1, "class 1"),
        ({"p": ROW, "attention": np.zeros((7, 7), np.float32)}, 0, "class 2"),
        ({"p": ROW[np.newaxis], "count": np.int64(3)}, 0, "class 2"),
    ],
)
def test_outputs_with_and_without_a_batch_axis(prediction: Mapping[str, Any], index: int, want: str) -> None:
    assert classify(prediction, index=index, top=1).classes[0].label == want


def test_pictures_beyond_the_batch_are_refused() -> None:
    for index in (-1, 2):
        with pytest.raises(ConfigError, match=f"index below 2, the number of pictures in the batch, got {index}"):
            classify({"p": np.stack([ROW, ROW])}, index=index)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float16", 1e-3), ("float32", 1e-6), ("float64", 1e-6), (ml_dtypes.bfloat16, 1e-2)]
)
def test_probabilities_of_any_float_dtype_are_recognised(dtype: Any, tolerance: float) -> None:
    exact = np.random.default_rng(0).dirichlet(np.ones(1000)).astype(dtype)
    found = classify({"p": exact[np.newaxis]}, top=1)
    assert found.probabilities
    assert found.classes[0].score == pytest.approx(float(exact.astype(np.float64).max()), rel=tolerance)


@pytest.mark.parametrize(
    "scores", [[0.9, 0.8, 0.1], [1.2, -0.2, 0.0], [0.5, 0.4, 0.0], [np.nan, 0.5, 0.5], [5.0, 1.0, 0.0]]
)
def test_scores_that_are_no_probabilities_are_not_called_so(scores: list[float]) -> None:
    assert not classify({"p": np.float32([scores])}).probabilities


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20))
def test_softmax_turns_logits_into_probabilities(logits: list[float]) -> None:
    array = np.float32([logits])
    if classify({"p": array}).probabilities:
        return
    found = classify({"p": array}, softmax=True, top=len(logits))
    powers = [np.exp(np.float64(value) - max(logits)) for value in array[0]]
    assert found.probabilities
    assert [each.score for each in sorted(found.classes, key=lambda each: each.number or 0)] == pytest.approx(
        [power / sum(powers) for power in powers]
    )


def test_softmax_is_not_applied_twice() -> None:
    with pytest.raises(ConfigError, match="output 'p' has probabilities already"):
        classify({"p": ROW}, softmax=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_softmax_of_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(DecodeError, match=r"expected logits in output 'p' for softmax, got (nan|inf) among them"):
        classify({"p": np.float32([1, value, 3])}, softmax=True)
    assert classify({"p": np.float32([1, -np.inf, 3])}, softmax=True).classes[-1].score == 0


def test_nan_is_never_the_best_score() -> None:
    found = classify({"p": np.float32([np.nan, 1, 2, np.nan])})
    assert [each.number for each in found.classes] == [2, 1, 0, 3]
    with pytest.raises(DecodeError, match="output 'p' has only NaN"):
        classify({"p": np.float32([np.nan, np.nan])})


def test_models_may_return_names_themselves() -> None:
    found = classify({"classes": texts(b"cat", b"d\xffg")[np.newaxis], "scores": np.float32([[0.2, 0.7]])})
    assert rows(found) == [("d\\xffg", 0.7), ("cat", 0.2)]
    assert found.output == "scores"
    assert found.classes[0].number is None


def test_names_are_found_for_the_output_that_is_meant() -> None:
    outputs = {"classes": texts("cat", "dog"), "scores": np.float32([0.2, 0.7]), "logits": np.float32([1, 2, 3])}
    assert rows(classify(outputs, output="scores", top=1)) == [("dog", 0.7)]
    assert rows(classify(outputs, output="logits", top=1)) == [("class 2", 3)]
    with pytest.raises(ConfigError, match=r"output 'classes' does not show a classification: string \(2,\)"):
        classify(outputs, output="classes")


def test_two_outputs_of_names_need_a_choice() -> None:
    outputs = {"ids": texts("n1", "n2"), "names": texts("cat", "dog"), "scores": np.float32([0.2, 0.7])}
    with pytest.raises(ConfigError, match=r"several outputs could be a classification: ids: string \(2,\), names:"):
        classify(outputs)
    assert rows(classify(outputs, output="names", top=1)) == [("dog", 0.7)]


@pytest.mark.parametrize(
    ("options", "cause"),
    [({"labels": ANIMALS}, "labels .* contradict the model"), ({"softmax": True}, "softmax .* needs")],
)
def test_names_of_the_model_contradict_labels_and_softmax(options: dict[str, Any], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        classify({"classes": texts("cat", "dog"), "scores": np.float32([0.2, 0.7])}, **options)


def test_several_vectors_need_a_choice() -> None:
    outputs = specs(embedding=(8,), p=(4,))
    with pytest.raises(
        ConfigError, match=r"embedding: float32 \(8,\), p: float32 \(4,\); name one with output= \(--output-"
    ):
        AnswerReader(outputs, options=AnswerOptions(labels=ANIMALS), required=False)
    reader = AnswerReader(outputs, options=AnswerOptions(labels=ANIMALS, output="p"))
    answer = reader({"embedding": np.ones(8, np.float32), "p": ROW}, GEOMETRY)
    assert isinstance(answer, Classification)
    assert answer.classes[0].label == "fox"


def test_one_vector_among_other_outputs_needs_no_choice() -> None:
    outputs = specs(p=(4,), features=(7, 7, 64), count=())
    reader = AnswerReader(outputs, options=AnswerOptions(labels=ANIMALS))
    assert reader.decoder is not None
    assert reader.decoder.name == "scores"


def test_labels_are_checked_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match=r"expected 1000 class names.* got 4 in 'animals.txt'"):
        AnswerReader(specs(p=(1000,)), options=AnswerOptions(labels=ANIMALS))


def test_labels_are_checked_with_every_output_if_the_signature_does_not_show_their_number() -> None:
    reader = AnswerReader(specs(p=(None,)), options=AnswerOptions(labels=ANIMALS))
    assert reader.decoder is None
    assert reader({"p": ROW}, GEOMETRY) is not None
    for wrong in (ROW[:3], np.zeros(5, np.float32)):
        with pytest.raises(ConfigError, match=r"expected [35] class names"):
            reader({"p": wrong}, GEOMETRY)


def test_later_outputs_of_another_layout_are_errors() -> None:
    reader = AnswerReader(specs(p=(4,)))
    for wrong, cause in (
        ({}, "expected the output 'p', got none"),
        ({"p": np.zeros((7, 7), np.float32)}, r"expected a vector in output 'p', got shape \(7, 7\)"),
        ({"p": np.zeros(0, np.float32)}, "expected a vector"),
        ({"p": texts("a", "b")}, "expected scores in output 'p', got string"),
        ({"p": np.broadcast_to(np.float32(1), (1 << 40,))}, "declares float32"),
    ):
        with pytest.raises(DecodeError, match=cause):
            reader(wrong, GEOMETRY)


def test_quantised_scores_are_read_if_the_task_says_so() -> None:
    outputs = {"p": TensorSpec("uint8", (None, 4))}
    assert AnswerReader(outputs, required=False).decoder is None
    answer = AnswerReader(outputs, task="classify")({"p": np.uint8([1, 3, 3, 255])}, GEOMETRY)
    assert isinstance(answer, Classification)
    assert [(each.number, each.score) for each in answer.classes] == [(3, 255), (1, 3), (2, 3), (0, 1)]
    assert not answer.probabilities
    with pytest.raises(ConfigError, match=r"softmax .* quantised scores"):
        AnswerReader(outputs, task="classify", options=AnswerOptions(softmax=True))


@pytest.mark.parametrize("shape", [(1,), (), (2, 3), (4, 1, 2)])
def test_other_shapes_are_no_classification(shape: tuple[int, ...]) -> None:
    assert AnswerReader(specs(p=shape), required=False).decoder is None
    with pytest.raises(
        ConfigError, match="the outputs do not show a classification, detections or a label map: p: float32"
    ):
        AnswerReader(specs(p=shape))


@pytest.mark.parametrize("shape", [(1,), (8,), (1, 1, 8)])
def test_a_vector_is_an_embedding_if_the_task_says_so(shape: tuple[int, ...]) -> None:
    reader = AnswerReader(specs(v=shape), task="embed")
    answer = reader({"v": np.full(shape, 2, ml_dtypes.bfloat16)}, GEOMETRY)
    assert isinstance(answer, Embedding)
    assert answer.output == "v"
    assert answer.vector.dtype == np.float32
    assert answer.vector.tolist() == [2.0] * shape[-1]
    assert answer.norm == pytest.approx(2 * shape[-1] ** 0.5)


def test_embeddings_need_a_choice_among_vectors() -> None:
    with pytest.raises(ConfigError, match="several outputs could be an embedding"):
        AnswerReader(specs(a=(8,), b=(4,)), task="embed")
    assert AnswerReader(specs(a=(8,), b=(4,)), task="embed", options=AnswerOptions(output="b")).decoder is not None


@pytest.mark.parametrize(
    ("task", "options", "cause"),
    [
        ("embed", {"labels": ANIMALS}, r"labels \(--labels\) does not apply to an embedding: leave it out$"),
        ("embed", {"top": 5}, r"top \(--top\) does not apply"),
        ("classify", {"min_score": 0.25}, r"min_score \(--min-score\) does not apply to a classification"),
        ("classify", {"max_detections": 100}, r"max_detections \(--max-detections\) does not apply"),
        ("detect", {"softmax": True}, r"softmax \(--softmax\) does not apply to detections"),
        ("detect", {"top": 5}, "top .* does not apply to detections"),
        ("segment", {"iou": 0.45}, "option iou does not apply to a label map"),
        (None, {"iou": 0.5}, r"option iou does not apply to a classification: .*say with task= \(--task\)"),
    ],
)
def test_options_that_do_not_apply_to_the_task_are_errors(
    task: str | None, options: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ConfigError, match=cause):
        AnswerReader(specs(p=(4,)), task=task, options=AnswerOptions(**options))


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"top": 0}, "expected top as a whole number above 0, got 0"),
        ({"top": 2.5}, "expected top as a whole number above 0, got 2.5"),
        ({"max_detections": -1}, "expected max_detections as a whole number above 0, got -1"),
        ({"min_score": 1.5}, "expected min_score from 0 to 1, got 1.5"),
        ({"iou": float("nan")}, "expected iou from 0 to 1, got nan"),
        ({"top": True}, "expected top as a whole number above 0, got True"),
        ({"softmax": "no"}, "expected softmax as True or False, got 'no'"),
        ({"labels": ["cat"]}, r"expected labels as images\.read_labels\(path\) or .*, got \['cat'\]"),
    ],
)
def test_options_out_of_range_are_errors(options: dict[str, Any], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        AnswerOptions(**options)


def test_options_know_what_is_given_and_survive_pickling() -> None:
    options = AnswerOptions(labels=ANIMALS, top=5)
    assert options.given == {"labels", "top"}
    assert options == AnswerOptions(labels=ANIMALS)
    again = pickle.loads(pickle.dumps(options.of_output("p")))
    assert (again.output, again.given, again.labels.name(2)) == ("p", {"labels", "top"}, "fox")


def test_an_unknown_task_or_output_is_an_error() -> None:
    with pytest.raises(ConfigError, match="expected task as one of classify, detect, segment, embed, got 'guess'"):
        AnswerReader(specs(p=(4,)), task="guess")
    for outputs in (None, "p", {"p": "float32"}, np.zeros((1, 4))):
        with pytest.raises(ConfigError, match="expected the outputs of a signature, a TensorSpec by alias, got"):
            AnswerReader(outputs)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"unknown output 'q'; the outputs are: p: float32 \(\?, 4\)"):
        AnswerReader(specs(p=(4,)), options=AnswerOptions(output="q"))
    with pytest.raises(ConfigError, match=r"output 'p' does not show a label map: float32 \(4,\)"):
        AnswerReader(specs(p=(4,)), task="segment", options=AnswerOptions(output="p"))


def test_decoders_of_unknown_tasks_are_refused() -> None:
    class Guess:
        name = "guess"
        task = "guess"

    with pytest.raises(ConfigError, match=r"a decoder whose task is one of .*, got 'guess'"):
        register(Guess())  # type: ignore[arg-type]
    Guess.task = "classify"
    for wrong, why in (
        (None, "got None without candidates, classes, decode, name, task"),
        (Guess(), "Guess object .*without candidates, classes, decode"),
        (Scores, "Scores'> which is a class: register an instance"),
    ):
        with pytest.raises(ConfigError, match=why):
            register(wrong)  # type: ignore[arg-type]
    assert decoder_for({"p": TensorSpec("float32", (4,))}, size=None) is not None
