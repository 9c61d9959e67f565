"""A typed client of the model 'demo', written by tfs-admin typed-client: do not edit it.

With ``signatures=``, calls do not ask the server for them. ``check`` does::

    with PredictClient(
        "localhost:8500", model=MODEL, signatures=SIGNATURES
    ) as client:
        typed = DemoClient(client)
        typed.check()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfs_client import (
    AsyncPredictClient,
    Classification,
    PredictClient,
    Prediction,
    Regression,
    Signature,
    TensorSpec,
    check_signatures,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

MODEL = "demo"

SIGNATURES: dict[str, Signature] = {
    "classify": Signature(
        inputs={"inputs": TensorSpec("string", (None,))},
        outputs={"scores": TensorSpec("float32", (None, 2))},
        method_name="tensorflow/serving/classify",
    ),
    "regress-it": Signature(
        inputs={"inputs": TensorSpec("string", (None,))},
        outputs={"outputs": TensorSpec("float32", (None,))},
        method_name="tensorflow/serving/regress",
    ),
    "serving_default": Signature(
        inputs={
            "factor": TensorSpec("float32", ()),
            "x": TensorSpec("float32", (None, 2)),
        },
        outputs={
            "name": TensorSpec("string", (None,)),
            "sum": TensorSpec("float32", (None,)),
        },
        method_name="tensorflow/serving/predict",
        optional=frozenset({"factor"}),
    ),
}
"""The signatures for which this module was written."""


Examples = Sequence[Mapping[str, object] | bytes] | Mapping[str, object]


class Options(TypedDict, total=False):
    """The options of a call; see ``PredictClient.predict``."""

    version: int | None
    label: str | None
    timeout: float | None
    metadata: Mapping[str, str | bytes] | None
    compression: str | None


@dataclass(frozen=True, eq=False)
class ServingDefaultOutputs:
    """The outputs of the signature 'serving_default'."""

    name: NDArray[np.object_]
    """string (?,), as bytes."""

    sum: NDArray[np.float32]
    """float32 (?,)."""


class DemoClient:
    """The model's signatures as methods, called by a PredictClient.

    Args:
        client: a client of a server that has the model.
        model: the name under which the server has it.
    """

    def __init__(self, client: PredictClient, *, model: str = MODEL) -> None:
        self._client = client
        self._model = model

    def check(self) -> None:
        """Ask the server for its signatures, and raise SignatureError if they have changed."""
        found = self._client.signatures(model=self._model, from_server=True)
        check_signatures(found, SIGNATURES)

    def classify(
        self,
        examples: Examples,
        *,
        context: Mapping[str, object] | None = None,
        **options: Unpack[Options],
    ) -> Classification:
        """Call the signature 'classify'; see ``PredictClient.classify``."""
        return self._client.classify(
            examples,
            context=context,
            model=self._model,
            signature="classify",
            **options,
        )

    def regress_it(
        self,
        examples: Examples,
        *,
        context: Mapping[str, object] | None = None,
        **options: Unpack[Options],
    ) -> Regression:
        """Call the signature 'regress-it'; see ``PredictClient.regress``."""
        return self._client.regress(
            examples,
            context=context,
            model=self._model,
            signature="regress-it",
            **options,
        )

    def serving_default(
        self,
        *,
        x: ArrayLike,
        factor: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> ServingDefaultOutputs:
        """Call the signature 'serving_default'.

        Args:
            x: float32 (?, 2).
            factor: float32 scalar; None for the default in the model.
            options: see Options.

        Raises what ``PredictClient.predict`` raises; SignatureError for inputs and
        outputs that do not fit the signature.
        """
        sent = SIGNATURES["serving_default"].cast_inputs({"x": x, "factor": factor})
        reply = self._client.predict(
            sent,
            model=self._model,
            signature="serving_default",
            **options,
        )
        return _serving_default(reply)


class AsyncDemoClient:
    """The model's signatures as methods, called by an AsyncPredictClient.

    Args:
        client: a client of a server that has the model.
        model: the name under which the server has it.
    """

    def __init__(self, client: AsyncPredictClient, *, model: str = MODEL) -> None:
        self._client = client
        self._model = model

    async def check(self) -> None:
        """Ask the server for its signatures, and raise SignatureError if they have changed."""
        found = await self._client.signatures(model=self._model, from_server=True)
        check_signatures(found, SIGNATURES)

    async def classify(
        self,
        examples: Examples,
        *,
        context: Mapping[str, object] | None = None,
        **options: Unpack[Options],
    ) -> Classification:
        """The asyncio version of ``DemoClient.classify``."""
        return await self._client.classify(
            examples,
            context=context,
            model=self._model,
            signature="classify",
            **options,
        )

    async def regress_it(
        self,
        examples: Examples,
        *,
        context: Mapping[str, object] | None = None,
        **options: Unpack[Options],
    ) -> Regression:
        """The asyncio version of ``DemoClient.regress_it``."""
        return await self._client.regress(
            examples,
            context=context,
            model=self._model,
            signature="regress-it",
            **options,
        )

    async def serving_default(
        self,
        *,
        x: ArrayLike,
        factor: ArrayLike | None = None,
        **options: Unpack[Options],
    ) -> ServingDefaultOutputs:
        """The asyncio version of ``DemoClient.serving_default``."""
        sent = SIGNATURES["serving_default"].cast_inputs({"x": x, "factor": factor})
        reply = await self._client.predict(
            sent,
            model=self._model,
            signature="serving_default",
            **options,
        )
        return _serving_default(reply)


def _serving_default(reply: Prediction) -> ServingDefaultOutputs:
    SIGNATURES["serving_default"].check_outputs(reply)
    return ServingDefaultOutputs(reply["name"], reply["sum"])
