"""The answer that tfs-predict reads from a model's outputs, as the options ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tfs_client._codec.dtypes import Array
from tfs_client.cli import exits
from tfs_client.cli.predict.arguments import PredictOptions, is_given
from tfs_client.cli.predict.inputs import Size
from tfs_client.errors import ConfigError, DecodeError, ImageError
from tfs_client.signatures import TensorSpec

if TYPE_CHECKING:
    from tfs_client.images import Answer, AnswerOptions, Geometry, Labels

Specs = Mapping[str, TensorSpec]

# Tasks whose answers have no place in the picture.
_NOWHERE = {"classify": "a classification", "embed": "an embedding"}
_ASKING = ("labels", "top", "task", "output_name", "softmax", "min_score", "max_detections", "draw")


def is_asked(options: PredictOptions) -> bool:
    """Whether an option needs an answer, so that outputs without one are an error."""
    return any(is_given(options, name) for name in _ASKING)


def has_row_of_scores(outputs: Mapping[str, Array]) -> bool:
    """Whether tensors that no option explains look like a classification of one example.

    That is one row of floats, one for each class, or names and scores of the same shape.
    """
    names = {array.shape for array in outputs.values() if array.dtype.kind == "O" and array.size}
    shapes = [array.shape for array in outputs.values() if array.dtype.kind == "f"]
    return any(shape in names or (len(shape) == 2 and shape[0] == 1 and shape[1] > 1) for shape in shapes)


def labels_of(options: PredictOptions) -> Labels | None:
    """Read the class names of --labels; None without the option. Raises ConfigError."""
    if options.labels is None:
        return None
    from tfs_client import images

    try:
        return images.read_labels(options.labels, offset=options.labels_offset)
    except ConfigError as error:
        raise ConfigError(f"--labels: {error}") from error.__cause__


def answer_options(options: PredictOptions, labels: Labels | None) -> AnswerOptions:
    """Return what answers should contain."""
    from tfs_client import images

    return images.AnswerOptions(
        labels=labels,
        top=options.top,
        softmax=options.softmax,
        min_score=options.min_score,
        max_detections=options.max_detections,
        output=options.output_name or "",
    )


def not_drawn(task: str | None = None) -> ConfigError:
    """Return the error for --draw with outputs of a task that cannot be drawn; None for outputs of another kind."""
    what = "neither" if task is None else _NOWHERE[task]
    return ConfigError(
        f"--draw draws detections and label maps, and the outputs are {what}: leave it out, or say with --task or "
        "--output-name what else they are"
    )


class SingleReader:
    """Reads the outputs of one request as an answer.

    Args:
        options: the command's options.
        labels: class names.
        outputs: the outputs of the signature.
        batch: whether the request has a batch axis; None if only the outputs can show it.
        size: width and height of the tensor of a picture, where it is known.
        picture: whether a picture is sent.

    Raises ConfigError if the signature shows that the outputs are not what the options ask for.
    """

    def __init__(
        self,
        options: PredictOptions,
        labels: Labels | None,
        outputs: Specs,
        *,
        batch: bool | None,
        size: Size | None,
        picture: bool,
    ) -> None:
        from tfs_client import images

        self._asked = is_asked(options)
        self._picture = picture
        shapes = [spec.shape for spec in outputs.values()]
        if batch is not None:
            self._batch = batch and _has_rows(shapes)
        else:
            self._batch = _has_batch(shapes) and (not picture or _needs_rows(outputs, size, options))
        self._specs = outputs
        texts = any(spec.row.name == "string" for spec in outputs.values())
        self._examples_or_classes = batch is None and not picture and options.task is None and not texts
        self._reader = images.AnswerReader(
            _without_batch(outputs) if self._batch else outputs,
            batch=False,
            size=size,
            task=options.task or (None if picture else "classify"),
            options=answer_options(options, labels),
            required=self._asked,
        )
        self._check_drawn(options)

    def _check_drawn(self, options: PredictOptions) -> None:
        """Raise ConfigError if --draw is given and the outputs are known to be nothing that can be drawn."""
        decoder = self._reader.decoder
        if options.draw is not None and decoder is not None and decoder.task in _NOWHERE:
            raise not_drawn(decoder.task)

    def __call__(self, outputs: Mapping[str, Array], geometry: Geometry | None) -> Answer | None:
        """Return the answer; None if the outputs have none and no option asks for it.

        Args:
            geometry: where the picture lies in the tensor; None if no picture was sent, or one of unknown size.

        Raises ConfigError, DecodeError and, if memory runs out, ImageError.
        """
        from tfs_client import images

        try:
            answer = self._reader(self._rows(outputs), geometry or images.Geometry.of((1, 1), None))
        except (ConfigError, DecodeError, ImageError, MemoryError) as error:
            text = str(error) or "not enough memory to read the answer"
            if self._asked and isinstance(error, MemoryError):
                raise ImageError(text) from error
            if self._asked:
                raise
            exits.show_note(f"tfs-predict: warning: the outputs are printed as they are: {text}")
            return None
        if geometry is None and isinstance(answer, images.Detections | images.Segmentation):
            if not self._asked:
                return None
            raise ConfigError(
                "the picture's width and height are unknown, as Pillow does not read its format, and boxes and label "
                "maps need them"
                if self._picture
                else "the outputs are detections or a label map, which need a picture: use --image"
            )
        return answer

    @property
    def assumed(self) -> tuple[str, ...]:
        """What was assumed to read the answer, in sentences."""
        return self._reader.assumed

    def _rows(self, outputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the outputs without the batch axis."""
        if not self._batch:
            if self._asked and self._examples_or_classes:
                self._check_vectors(outputs)
            return outputs
        for alias, array in outputs.items():
            if self._in_batch(alias) and array.ndim and len(array) != 1:
                raise ConfigError(f"expected the outputs for one example, got {len(array)} rows in output {alias!r}")
        return {alias: array[0] if array.ndim and len(array) == 1 else array for alias, array in outputs.items()}

    def _check_vectors(self, outputs: Mapping[str, Array]) -> None:
        """Raise ConfigError for a vector that may have a value for each of several examples, or for each class."""
        for alias, array in outputs.items():
            if self._in_batch(alias) and array.ndim == 1 and len(array) > 1:
                raise ConfigError(
                    f"output {alias!r} is {self._specs[alias]}, and its {len(array)} values may be those of examples "
                    "or of classes: use --task classify if they are the scores of classes"
                )

    def _in_batch(self, alias: str) -> bool:
        spec = self._specs.get(alias)
        return spec is not None and bool(spec.shape) and spec.shape[0] is None  # type: ignore[index]


def _has_batch(shapes: list[tuple[int | None, ...] | None]) -> bool:
    """Whether the shapes of all outputs show a batch axis."""
    return _has_rows(shapes) and all(shape is None or (shape and shape[0] in (None, 1)) for shape in shapes)


def _has_rows(shapes: list[tuple[int | None, ...] | None]) -> bool:
    """Whether an output can hold more than one value for each row: vectors and scalars alone have no batch axis."""
    return any(shape is None or len(shape) > 1 for shape in shapes)


def _needs_rows(outputs: Specs, size: Size | None, options: PredictOptions) -> bool:
    """Whether the outputs for one picture have a layout only without their first axis.

    With it, the scores of detections (1, count) could pass for those of classes, so a place in the picture counts more.
    """
    from tfs_client import images

    whole, rows = (
        images.decoder_for(specs, size=size, task=options.task, output=options.output_name or "")
        for specs in (outputs, _without_batch(outputs))
    )
    return rows is not None and (whole is None or (whole.task in _NOWHERE and rows.task not in _NOWHERE))


def _without_batch(specs: Specs) -> dict[str, TensorSpec]:
    return {
        alias: replace(spec, shape=spec.shape[1:]) if spec.shape and spec.shape[0] in (None, 1) else spec
        for alias, spec in specs.items()
    }
