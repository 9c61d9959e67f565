"""AnswerReader: from a model's outputs to the answer for each picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError
from tfs_client.images.decoders import (
    TASKS,
    AnswerOptions,
    Decoder,
    Outputs,
    Specs,
    assumed_by,
    specs_of,
    without_batch,
)
from tfs_client.images.geometry import Geometry, Size
from tfs_client.images.prediction_checks import check_outputs, check_specs
from tfs_client.images.registry import candidates_of, decoder_for

if TYPE_CHECKING:
    from tfs_client.images.answers import Answer

_NOUNS = {"classify": "a classification", "detect": "detections", "segment": "a label map", "embed": "an embedding"}

_EXPECTED = {
    "detect": "; expected, for example, detection_boxes and detection_scores, or one output (4 + classes, anchors): "
    "leave out task= (--task)"
}

# The options that apply to each task.
_APPLY = {
    "classify": {"labels", "top", "softmax", "output"},
    "detect": {"labels", "min_score", "max_detections", "iou", "output"},
    "segment": {"labels", "top", "output"},
    "embed": {"output"},
}


class AnswerReader:
    """Reads the outputs of a model as answers.

    Args:
        specs: the outputs of the model's signature.
        batch: whether their first axis is the batch.
        size: width and height of the tensor that is sent; None if pictures keep theirs.
        task: one of ``TASKS``; None for the one that the outputs show.
        options: what the answers should contain.
        required: whether outputs that cannot be read as an answer are an error, also if no option asks for one.
            Otherwise they have no answer.

    Raises ConfigError for an unknown task or output, for options that do not apply to the task, if several outputs
    could be meant, and for labels that do not fit the model. What the signature does not show is checked with the first
    outputs.

    Attributes:
        decoder: reads the outputs; None as long as the signature and the outputs have not shown which one does.
        assumed: what the decoder takes for granted, because neither the model nor the options decide it, and what
            settles it, in sentences. Empty as long as ``decoder`` is None.
    """

    def __init__(
        self,
        specs: Specs,
        *,
        batch: bool = True,
        size: Size | None = None,
        task: str | None = None,
        options: AnswerOptions | None = None,
        required: bool = True,
    ) -> None:
        check_specs(specs)
        if task is not None and task not in TASKS:
            raise ConfigError(f"expected task as one of {', '.join(TASKS)}, got {shown(task)}")
        self._options = options or AnswerOptions()
        if self._options.output and self._options.output not in specs:
            raise ConfigError(f"unknown output {self._options.output!r}; the outputs are: {_listed(specs)}")
        self.assumed: tuple[str, ...] = ()
        self._task = task
        self._required = required or bool(self._options.given)
        if task is not None:
            self._check_options(task)
        one = without_batch(specs) if batch else specs
        known = all(spec.shape is not None and None not in spec.shape for spec in one.values())
        self.decoder: Decoder | None = self._chosen(one, size) if known else None

    def __call__(self, outputs: Outputs, geometry: Geometry) -> Answer | None:
        """Return the answer for the outputs of one picture, without the batch axis; None if they have none.

        Raises ConfigError as the constructor does, DecodeError for outputs that do not have the layout.
        """
        check_outputs(outputs)
        if self.decoder is None:
            self.decoder = self._chosen(specs_of(outputs), geometry.target, known=geometry.known)
        return None if self.decoder is None else self.decoder.decode(outputs, geometry, self._options)

    def _chosen(self, specs: Specs, size: Size | None, *, known: bool = True) -> Decoder | None:
        output, explicit = self._options.output, self._task is not None
        decoder = decoder_for(specs, size=size, task=self._task, output=output)
        if decoder is None:
            if not self._required:
                return None
            what = _NOUNS[self._task] if self._task else "a classification, detections or a label map"
            if output:
                raise ConfigError(f"output {output!r} does not show {what}: {specs[output]}")
            text = f"the outputs do not show {what}: {_listed(specs)}"
            raise ConfigError(f"{text}{_EXPECTED.get(self._task, '')}" if self._task else text)
        candidates = candidates_of(decoder, specs, size, explicit=explicit, output=output)
        if len(candidates) > 1:
            if not self._required:
                return None
            several = _listed({alias: specs[alias] for alias in candidates})
            raise ConfigError(
                f"several outputs could be {_NOUNS[decoder.task]}: {several}; name one with output= (--output-name)"
            )
        self._check_options(decoder.task)
        self._options = self._options.of_output(candidates[0])
        classes = decoder.classes(specs, size if known else None, self._options)
        if self._options.labels is not None and classes is not None:
            self._options.labels.check(classes)
        self.assumed = assumed_by(decoder, specs, self._options)
        return decoder

    def _check_options(self, task: str) -> None:
        """Raise ConfigError for an option that does not apply to the task."""
        for name in sorted(self._options.given - _APPLY[task]):
            remedy = "leave it out" if self._task else "leave it out, or say with task= (--task) what the outputs are"
            if (task, name) == ("detect", "top"):
                remedy += "; max_detections= (--max-detections) limits them"
            flag = "" if name == "iou" else f" (--{name.replace('_', '-')})"
            raise ConfigError(f"the option {name}{flag} does not apply to {_NOUNS[task]}: {remedy}")


def _listed(specs: Specs) -> str:
    return listed([f"{alias}: {spec}" for alias, spec in sorted(specs.items())])
