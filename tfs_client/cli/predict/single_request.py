"""The request for one picture, or for tensors, and what is made of its reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfs_client._codec.dtypes import Array
from tfs_client.cli.predict.answer_reading import SingleReader, has_row_of_scores, is_asked, not_drawn
from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.cli.predict.inputs import given_inputs
from tfs_client.cli.predict.sent_picture import SentPicture, picture_input, sent_picture
from tfs_client.errors import SignatureError
from tfs_client.results import Prediction
from tfs_client.signatures import Signature, TensorSpec

if TYPE_CHECKING:
    from tfs_client.images import Answer, Labels


class SingleRequest:
    """A request.

    Args:
        options: the command's options.
        labels: class names.
        given: values of inputs by alias.
        data: the bytes of the picture's file; None without a picture.
        signature: the model's signature.

    Raises ConfigError, SignatureError and ImageError for options, values and pictures that do not fit the signature.

    Attributes:
        inputs: what is sent.
        picture: the picture among it; None without one.
    """

    def __init__(
        self,
        options: PredictOptions,
        labels: Labels | None,
        given: Mapping[str, object],
        data: bytes | None,
        signature: Signature,
    ) -> None:
        self._options = options
        self._name = options.image[0] if options.image else ""
        self.inputs: dict[str, Array] = given_inputs(given, signature)
        self.picture: SentPicture | None = None
        if data is not None:
            into = picture_input(options, signature, self.inputs)
            self.picture = sent_picture(options, self._name, data, into, signature, self.inputs)
            self.inputs |= self.picture.inputs
        if mismatch := signature.mismatch(self.inputs):
            raise SignatureError(f"the inputs do not fit the model: {mismatch}")
        self._reader: SingleReader | None = None
        if self.picture is not None or is_asked(options):
            self._reader = self._new_reader(labels, signature.outputs)

    def _new_reader(self, labels: Labels | None, outputs: Mapping[str, TensorSpec]) -> SingleReader:
        if self.picture is None:
            return SingleReader(self._options, labels, outputs, batch=None, size=None, picture=False)
        into, geometry = self.picture.into, self.picture.geometry
        batch = None if into.spec.shape == () else into.batch  # a scalar does not show whether the outputs have one
        size = None if geometry is None or into.preparation is None else geometry.target
        return SingleReader(self._options, labels, outputs, batch=batch, size=size, picture=True)

    def answer(self, prediction: Prediction) -> Answer | None:
        """Return the answer; None if the outputs have none and no option asks for it.

        Raises ConfigError, DecodeError.
        """
        if self._reader is None:  # tensors, which only need the import of tfs_client.images if they look like scores
            if not has_row_of_scores(prediction):
                return None
            from tfs_client.images.decoders import specs_of

            self._reader = self._new_reader(None, specs_of(prediction))
        return self._reader(prediction, None if self.picture is None else self.picture.geometry)

    @property
    def assumed(self) -> tuple[str, ...]:
        """What was assumed to read the answer, in sentences."""
        return () if self._reader is None else self._reader.assumed

    def draw(self, path: str, answer: Answer | None) -> None:
        """Draw the answer on the picture. Raises ConfigError for answers that have no place in it, ImageError."""
        from tfs_client import images

        assert self.picture is not None
        assert self.picture.image is not None
        if not isinstance(answer, images.Detections | images.Segmentation):
            raise not_drawn()
        images.save_picture(images.draw(self.picture.image, answer), path)

    def write_report(self, path: str, prediction: Prediction, answer: Answer | None) -> None:
        """Write the picture and its answer as an HTML page. Raises ConfigError, OSError."""
        from tfs_client.cli.predict.html_report import HtmlReport
        from tfs_client.cli.predict.report_facts import facts_of

        assert self.picture is not None
        assert self.picture.image is not None
        model = str(prediction.model)
        facts = facts_of(self._options, model=model, preparation=self.picture.line)
        with HtmlReport(path, title=model, facts=facts) as report:
            report.add(self._name, self.picture.image, answer, outputs=prediction)
