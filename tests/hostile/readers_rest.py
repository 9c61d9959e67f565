"""The readers of REST's JSON, the client's and the server's, each against plain loops over Python's own json."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfs_client import TensorSpec
from tfs_client._calls.inference import Classify, Regress
from tfs_client._calls.metadata import GetModelMetadata
from tfs_client._calls.predict import Predict
from tfs_client._calls.served_models import ListModels
from tfs_client._calls.status import GetModelStatus
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.given_signatures import stated
from tfs_client.results import State
from tfs_client.server import FunctionServable, FunctionSignature
from tfs_client.server.rest import example_requests, predict_requests
from tfs_client.signatures import Signature, Signatures

from . import reference_json as reference
from .engine import Reader
from .mutations_json import Mutations
from .reference_json import Rejected, same

SPEC = ModelSpec("m")
PLAIN = {"float32": "f", "float64": "d", "int32": "i", "int64": "l", "bool": "b", "string": "s", "uint8": "u"}
DTYPES = {name: np.dtype(object if name == "string" else name) for name in PLAIN}
VALUES: dict[str, list[Any]] = {
    "f": [[1.5, -2.0], [0.25, 1e10]],
    "d": [[1.5], [2.25]],
    "i": [1, -2],
    "l": [[3, 4], [5, 1 << 40]],
    "b": [True, False],
    "s": ["ab", {"b64": "YQ=="}],
    "u": [255, 0],
}
GROWTH = 90  # bytes for each byte of JSON: Python's objects, and the lists that hold them


def _signatures(outputs: dict[str, Any]) -> Signatures:
    signature = Signature({"x": TensorSpec("float32", (None,))}, outputs)
    return Signatures({"serving_default": signature}, model="m", version=1)


def _specs(names: list[str], shape: Any = None) -> dict[str, TensorSpec]:
    return {PLAIN[name]: TensorSpec(name, shape) for name in names}


class Predictions:
    """Replies of Predict, by the signature of the outputs."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._known = _signatures(_specs(names))
        aliases = [PLAIN[name] for name in names]
        rows = [{alias: VALUES[alias][at] for alias in aliases} for at in range(2)]
        if len(names) == 1:
            forms: list[dict[str, Any]] = [
                {"predictions": VALUES[aliases[0]]},
                {"outputs": VALUES[aliases[0]]},
                {"predictions": rows},
            ]
        else:
            forms = [{"predictions": rows}, {"outputs": {alias: VALUES[alias] for alias in aliases}}]
        self.make = Mutations(forms)

    def read(self, data: bytes) -> Any:
        return Predict(SPEC, {}).read_rest(data, self._known)

    def wrong(self, data: bytes, value: Any, error: Exception | None) -> str:
        if error is not None:
            return ""
        try:
            reply = reference.parsed(data)
        except Rejected:
            return "accepted something that is not JSON"
        row = "predictions" in reply
        found = reply["predictions" if row else "outputs"]
        for name in self._names:
            alias = PLAIN[name]
            try:
                want = reference.whole(_of(found, alias, row, len(self._names) == 1), DTYPES[name])
            except (Rejected, KeyError, TypeError):
                return f"accepted something that is not a {name}"
            if not same(value[alias], want):
                return f"other values: {value[alias]!r}, not {want!r}"
        return ""


def _of(found: Any, alias: str, row: bool, single: bool) -> Any:
    """The values of an output; a single one may have its name or not."""
    if (
        row
        and isinstance(found, list)
        and found
        and all(isinstance(each, dict) and [*each] == [alias] for each in found)
    ):
        return [each[alias] for each in found]
    if not row and isinstance(found, dict) and [*found] == [alias]:
        return found[alias]
    if single:
        return found
    return [each[alias] for each in found] if row else found[alias]


def _unsigned(data: bytes, value: Any, error: Exception | None) -> str:
    if error is not None:
        return ""
    try:
        reply = reference.parsed(data)
    except Rejected:
        return "accepted something that is not JSON"
    found = reply["predictions" if "predictions" in reply else "outputs"]
    for alias, array in value.items():
        named = isinstance(found, dict) and not ([*found] == ["b64"] and isinstance(found["b64"], str))
        rows = isinstance(found, list) and found and isinstance(found[0], dict) and alias in found[0]
        values = found[alias] if named else [each[alias] for each in found] if rows else found
        try:
            want = reference.whole(values, array.dtype)
        except Rejected:
            return f"accepted {alias} as {array.dtype}"
        if not same(array, want):
            return f"other values of {alias}: {array!r}, not {want!r}"
    return ""


def _status(data: bytes, value: Any, error: Exception | None) -> str:
    if error is not None:
        return ""
    try:
        reply = reference.parsed(data)
    except Rejected:
        return "accepted something that is not JSON"
    entries = reply.get("model_version_status", reply.get("modelVersionStatus"))
    if entries is None:
        return ""
    if len(value.versions) != len(entries):
        return f"{len(value.versions)} versions, not {len(entries)}"
    numbers = sorted(int(entry.get("version") or 0) for entry in entries)
    if numbers != sorted(each.version for each in value.versions):
        return "other versions"
    states = sorted(str(State.__members__.get(str(entry.get("state") or ""), State.UNKNOWN)) for entry in entries)
    return "" if states == sorted(str(each.state) for each in value.versions) else "other states"


def _classified(data: bytes, value: Any, error: Exception | None) -> str:
    if error is not None:
        return ""
    rows = reference.parsed(data)["results"]
    want = [[(label, float(np.float32(score))) for label, score in row] for row in rows]
    got = [[(each.label, each.score) for each in row] for row in value.classes]
    return "" if repr(got) == repr(want) else f"other classes: {got}, not {want}"


def _regressed(data: bytes, value: Any, error: Exception | None) -> str:
    if error is not None:
        return ""
    with np.errstate(all="ignore"):
        want = [float(np.float32(each)) for each in reference.parsed(data)["results"]]
    return "" if repr(list(value.values)) == repr(want) else f"other values: {value.values}, not {want}"


def _contract() -> dict[str, Any]:
    tensor = {"dtype": "float32", "shape": [None, 2], "tensor": "x:0"}
    signature = {"method": "m", "inputs": {"x": tensor | {"optional": True}}, "outputs": {"y": tensor}}
    return {"model": "m", "version": 3, "signatures": {"serving_default": signature, "other": signature}}


def _signature_json() -> dict[str, Any]:
    def infos(*aliases: str) -> dict[str, Any]:
        dims = [{"size": "-1", "name": ""}, {"size": "2", "name": ""}]
        return {
            alias: {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": dims if alias != "z" else [], "unknown_rank": alias == "z"},
                "name": f"{alias}:0",
            }
            for alias in aliases
        }

    return {
        "model_spec": {"name": "m", "signature_name": "", "version": "3"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": infos("x", "w"),
                        "outputs": infos("y", "z"),
                        "method_name": "tensorflow/serving/predict",
                        "defaults": {},
                    }
                }
            }
        },
    }


# --- the server's


def servable() -> FunctionServable:
    """A model with an input of every dtype, and one with a single input for each."""
    everything = FunctionSignature(lambda **inputs: {}, _specs(list(PLAIN)), {"y": TensorSpec("float32", None)})
    singles = {
        name: FunctionSignature(lambda **inputs: {}, _specs([name]), {"y": TensorSpec("float32", None)})
        for name in PLAIN
    }
    return FunctionServable({"serving_default": everything, **singles})


class Requests:
    """Bodies of Predict requests, to a signature."""

    def __init__(self, signature: str) -> None:
        self._names = [signature] if signature in PLAIN else [name for name in PLAIN if name != "uint8"]
        aliases = [PLAIN[name] for name in (self._names if signature in PLAIN else PLAIN)]
        self._spec = ModelSpec("m", signature=signature if signature in PLAIN else "")
        self._servable = servable()
        rows = [{alias: VALUES[alias][at] for alias in aliases} for at in range(2)]
        forms: list[Any] = [{"instances": rows}, {"inputs": {alias: VALUES[alias] for alias in aliases}}]
        if len(aliases) == 1:
            forms += [{"instances": VALUES[aliases[0]]}, {"inputs": VALUES[aliases[0]], "signature_name": "s"}]
        self._single = len(aliases) == 1
        self.make = Mutations(forms)

    def read(self, data: bytes) -> Any:
        root = predict_requests.read_body(data)
        predict_requests.signature_name(root)
        return predict_requests.predict_request(root, self._spec, self._servable).inputs

    def wrong(self, data: bytes, value: Any, error: Exception | None) -> str:
        if error is not None:
            return ""
        try:
            root = reference.parsed(data, reference.first_members)
        except Rejected:
            return ""  # what follows the value, a BOM and names such as Inf are allowed: test_rest_json.py covers it
        row = "instances" in root
        found = root["instances" if row else "inputs"]
        if row and isinstance(found, list) and any(isinstance(each, reference.Twice) for each in found):
            return ""  # the model server takes the values of both
        for name in self._names:
            alias = PLAIN[name]
            try:
                want = reference.whole(_of(found, alias, row, self._single), DTYPES[name])
            except (Rejected, KeyError, TypeError):
                continue  # base64 without padding, names given twice, and other liberties of the model server
            if want.size and not same(value[alias], want):
                return f"other values of {alias}: {value[alias]!r}, not {want!r}"
        return ""


def read_examples(data: bytes) -> Any:
    """The body of a Classify request."""
    return example_requests.examples_request(predict_requests.read_body(data), "classify").joined


def rest_readers() -> list[Reader]:
    """All of them."""
    found = []
    for label, names in (("one", ["float32"]), ("strings", ["string"]), ("all", list(PLAIN))):
        of = Predictions(names)
        found.append(Reader(f"rest-predict-{label}", of.make, of.read, of.wrong, growth=GROWTH))
    metadata = Mutations([_signature_json()])
    status = {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
            {"version": "1", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "gone"}},
        ]
    }
    found += [
        Reader(
            "rest-unsigned", Mutations(_unsigned_forms()), Predict(SPEC, {}).read_unsigned, _unsigned, growth=GROWTH
        ),
        Reader("rest-metadata", metadata, GetModelMetadata(SPEC).read_rest, growth=GROWTH),
        Reader("signatures-json", metadata, lambda data: stated(data, "m"), growth=GROWTH),
        Reader("contract-json", Mutations([_contract()]), lambda data: stated(data, "m"), growth=GROWTH),
        Reader(
            "rest-status", Mutations([status, {"ready": True}]), GetModelStatus(SPEC).read_rest, _status, growth=GROWTH
        ),
        Reader("rest-models", Mutations([{"models": ["cat", "dog"]}]), ListModels().read_rest, growth=GROWTH),
        Reader(
            "rest-classify",
            Mutations([{"results": [[["cat", 0.5], ["dog", 0.25]], [["cat", 1]]]}]),
            Classify(SPEC, []).read_rest,
            _classified,
            growth=GROWTH,
        ),
        Reader(
            "rest-regress",
            Mutations([{"results": [1.5, 2, -3e10]}]),
            Regress(SPEC, []).read_rest,
            _regressed,
            growth=GROWTH,
        ),
    ]
    for signature in ("all", "float32", "int64", "string"):
        of_server = Requests(signature)
        found.append(
            Reader(f"server-predict-{signature}", of_server.make, of_server.read, of_server.wrong, growth=0, cost=2)
        )
    bodies = {"context": {"q": ["a"]}, "examples": [{"x": [1.5, 2], "n": 3, "s": ["a", {"b64": "YQ=="}]}, {"x": 1.5}]}
    found.append(
        Reader(
            "server-examples", Mutations([bodies, {"examples": [{}], "signature_name": "s"}]), read_examples, growth=0
        )
    )
    return found


def _unsigned_forms() -> list[Any]:
    rows = [{"f": 1.5, "s": "a"}, {"f": 2.5, "s": "b"}]
    return [
        {"predictions": rows},
        {"predictions": [[1.5, 2], [3, 4]]},
        {"outputs": {"f": [1, 2], "s": ["a"], "b": [True]}},
        {"outputs": [1, 2, 1 << 63]},
    ]
