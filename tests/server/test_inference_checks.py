"""Classify, Regress and MultiInference: refusals that options of the server make, and how the model is run.

The other refusals of servables/tensorflow/classifier.cc, regressor.cc and multi_inference.cc are in
tests/test_inference.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from tfs_client import InvalidArgumentError, PredictClient, TensorSpec
from tfs_client.server import FunctionServable, FunctionSignature, Server, ServerConfig
from tfs_client.signatures import CLASSIFY, REGRESS

EXAMPLES = [{"x": 1.0}, {"x": 2.0}]
STRINGS = TensorSpec("string", (None,), tensor_name="examples:0")
SCORES, VALUES = TensorSpec("float32", (None, 1)), TensorSpec("float32", (None,))


def regression(spec=STRINGS, method=REGRESS, fn=lambda inputs: np.arange(len(inputs), dtype=np.float32)):
    return FunctionSignature(fn, {"inputs": spec}, {"outputs": VALUES}, method)


def classification(spec=STRINGS, method=CLASSIFY, fn=lambda inputs: np.ones((len(inputs), 1), np.float32)):
    return FunctionSignature(fn, {"inputs": spec}, {"scores": SCORES}, method)


def serving(servable, **options):
    server = Server(ServerConfig(**options))
    server.add_model("m", servable)
    return server


WAYS = {
    "classify": lambda client, signature: client.classify(EXAMPLES, signature=signature),
    "regress": lambda client, signature: client.regress(EXAMPLES, signature=signature),
    "tasks classify": lambda client, signature: client.multi_inference(EXAMPLES, tasks={signature: "classify"}),
    "tasks regress": lambda client, signature: client.multi_inference(EXAMPLES, tasks={signature: "regress"}),
}
NOT_CLASSIFY = "Expected classification signature method_name to be tensorflow/serving/classify. Was: "
NOT_REGRESS = "Expected regression signature method_name to be tensorflow/serving/regress. Was: "


@pytest.mark.parametrize(
    ("way", "signature", "text"),
    [
        ("classify", "c_as_r", NOT_CLASSIFY + "tensorflow/serving/regress"),
        ("classify", "two_inputs", NOT_CLASSIFY + "odd"),
        ("regress", "r_as_c", NOT_REGRESS + "tensorflow/serving/classify"),
        ("regress", "two_inputs", NOT_REGRESS + "odd"),
        ("tasks classify", "c_as_r", NOT_CLASSIFY + "tensorflow/serving/regress"),
        ("tasks regress", "r_as_c", NOT_REGRESS + "tensorflow/serving/classify"),
    ],
    ids=["9.4", "9.4 before 5a", "10.4", "10.4 before 5a", "11.2 classify", "11.2 regress"],
)
def test_with_the_method_name_check_a_signature_refuses_other_methods(way, signature, text):
    servable = FunctionServable(
        {
            "c_as_r": classification(method=REGRESS),
            "r_as_c": regression(method=CLASSIFY),
            "two_inputs": FunctionSignature(
                lambda inputs, b: inputs, {"inputs": STRINGS, "b": STRINGS}, {"outputs": STRINGS}, "odd"
            ),
        }
    )
    for check in (True, False):
        with serving(servable, method_name_check=check) as server, PredictClient(server.target, model="m") as client:
            if check or signature == "two_inputs":
                with pytest.raises(InvalidArgumentError) as caught:
                    WAYS[way](client, signature)
                assert caught.value.details == (text if check else "Expected one input Tensor.")
            else:
                assert WAYS[way](client, signature)


@pytest.mark.parametrize("way", WAYS)
def test_with_the_method_name_check_signatures_answer_their_own_method(way):
    servable = FunctionServable({"classify": classification(), "regress": regression()})
    with serving(servable, method_name_check=True) as server, PredictClient(server.target, model="m") as client:
        assert WAYS[way](client, way.removeprefix("tasks "))


class Together(FunctionServable):
    """Can compute several signatures in one execution, and notes what it is asked for."""

    def __init__(self, signatures):
        super().__init__(signatures)
        self.asked = []

    def run_together(self, runs):
        self.asked.append([(run.signature, list(run.outputs)) for run in runs])
        assert len({id(run.inputs["inputs"]) for run in runs}) == 1  # the same array for all
        return [self.run(*run) for run in runs]


@pytest.mark.parametrize("kind", [Together, FunctionServable])
def test_multi_inference_runs_its_tasks_together_if_the_servable_can(kind):
    servable = kind({"c": classification(), "r": regression()})
    with serving(servable) as server, PredictClient(server.target, model="m") as client:
        found = client.multi_inference(EXAMPLES, tasks={"r": "regress", "c": "classify"})
    assert list(found) == ["r", "c"]
    assert found["r"].values == (0, 1)
    assert [row[0].score for row in found["c"].classes] == [1, 1]
    if kind is Together:
        assert servable.asked == [[("r", ["outputs"]), ("c", ["scores"])]]


def test_multi_inference_checks_results_after_all_tasks_have_run():
    def fails(inputs):
        raise ValueError("the second one")

    short = regression(fn=lambda inputs: np.zeros(1, np.float32))
    servable = FunctionServable({"short": short, "fails": classification(fn=fails)})
    with serving(servable) as server, PredictClient(server.target, model="m") as client:
        with pytest.raises(InvalidArgumentError, match="ValueError: the second one"):
            client.multi_inference(EXAMPLES, tasks={"short": "regress", "fails": "classify"})
        with pytest.raises(InvalidArgumentError, match=r"Input batch size did not match output batch size: 2 vs\. 1"):
            client.multi_inference(EXAMPLES, tasks={"short": "regress"})


@pytest.mark.parametrize(("name", "rank"), [("a:0", 0), ("z:0", 1)])
def test_inputs_of_all_tasks_rank_together_by_their_tensors(name, rank):
    floats = TensorSpec("float32", (None,), tensor_name=name)
    servable = FunctionServable({"good": classification(), "floats": regression(floats)})
    with (
        serving(servable) as server,
        PredictClient(server.target, model="m") as client,
        pytest.raises(InvalidArgumentError) as caught,
    ):
        client.multi_inference(EXAMPLES, tasks={"good": "classify", "floats": "regress"})
    assert caught.value.details == f"Expects arg[{rank}] to be float but string is provided"
