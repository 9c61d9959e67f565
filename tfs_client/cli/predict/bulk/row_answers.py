"""The answers for rows: what the outputs of a model say about a picture."""

from __future__ import annotations

from collections.abc import Callable

from tfs_client.cli import exits
from tfs_client.cli.predict.answer_reading import answer_options, is_asked, not_drawn
from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.cli.predict.bulk.outcomes import Row
from tfs_client.cli.predict.bulk.picture_inputs import PictureInputs
from tfs_client.cli.predict.option_words import as_options
from tfs_client.errors import ConfigError, DecodeError, ImageError
from tfs_client.images import Answer, AnswerReader, Detections, Geometry, Labels, Preparation, Segmentation
from tfs_client.images.decoders import specs_of
from tfs_client.images.label_maps import MAP_SIDE
from tfs_client.images.registry import candidates_of, decoder_for

Readers = Callable[[str | None], AnswerReader]


class RowAnswers:
    """Reads the outputs of rows.

    Args:
        readers: returns a reader of the model's outputs, for a task or for the one that the outputs show.
        plan: the preparation of the pictures; None if their files were sent.
        task: the task that the options name; None without any.
        top: the number of labels of a row.
        output: the alias of the output that the options name; "" without any.
        drawn: whether answers are drawn.
        quiet: whether nothing is said about what the reader assumes. Otherwise it is, with the first answer.

    Raises ConfigError if the signature shows that the outputs are not what the options ask for.

    Attributes:
        readable: whether a row could be read, in this run or in the one that it continues. So the options fit the
            model, and an answer that contradicts them is the fault of its picture.
    """

    def __init__(
        self,
        readers: Readers,
        plan: Preparation | None,
        *,
        task: str | None,
        top: int,
        output: str = "",
        drawn: bool = False,
        quiet: bool = False,
    ) -> None:
        self._readers = readers
        self._reader = readers(task)
        self._plan = plan
        self._open = task is None and self._reader.decoder is None and (plan is None or plan.size is None)
        self._output = output
        self._drawn = drawn
        self._silent = quiet
        self.top: int = top
        self.readable: bool = False
        if drawn and self._reader.decoder is not None and self._reader.decoder.task not in ("detect", "segment"):
            raise not_drawn(self._reader.decoder.task)

    def of(self, row: Row) -> Answer | None:
        """Return the answer for a row; None if its outputs do not have a known layout and no option asks for one.

        Raises DecodeError and ImageError for a row whose outputs cannot be read or contradict the options; ConfigError
        if the options do not fit the model, as far as the first row shows.
        """
        try:
            answer = self._read(row)
        except ConfigError as error:
            if self.readable:
                raise DecodeError(str(error)) from error
            raise ConfigError(f"{row.image}: {error}") from error
        except MemoryError as error:
            raise ImageError("not enough memory to read the outputs") from error
        self.readable = True
        return answer

    def _read(self, row: Row) -> Answer | None:
        size = row.size or (1, 1)
        geometry = Geometry.unknown(size) if self._plan is None else self._plan.geometry(size)
        unknown = self._open and row.size is not None and self._reader.decoder is None
        if unknown and _is_tiny_map(row, geometry, self._output):
            self._reader = self._readers("segment")
        answer = self._reader(row.outputs, geometry)
        for sentence in () if self._silent else self._reader.assumed:
            exits.show_note(f"tfs-predict: warning: {as_options(sentence)}")
        self._silent = True
        if row.size is None and isinstance(answer, Detections | Segmentation):
            raise ImageError(
                "its width and height are unknown, as Pillow does not read its format, and boxes and masks need them"
            )
        if self._drawn and not isinstance(answer, Detections | Segmentation):
            raise not_drawn()
        return answer


def _is_tiny_map(row: Row, geometry: Geometry, output: str) -> bool:
    """Whether a picture is too small for its label map to be recognised, which is that of the other pictures.

    The first row decides how all rows are read. So it must not depend on the size of the first picture.
    """
    target = geometry.target
    if min(target) >= MAP_SIDE:
        return False
    specs = specs_of(row.outputs)
    found = decoder_for(specs, size=target, output=output)
    map_ = decoder_for(specs, size=target, task="segment", output=output)
    if map_ is None or (found is not None and found.task == "detect"):
        return False
    maps = candidates_of(map_, specs, target, explicit=True, output=output)
    return any(row.outputs[alias].shape[:2] == target[::-1] for alias in maps)


def row_answers(options: PredictOptions, labels: Labels | None, picture_inputs: PictureInputs) -> RowAnswers:
    """Return what reads the outputs of rows.

    Raises ConfigError if the signature shows that the outputs are not what the options ask for.
    """
    chosen = answer_options(options, labels)
    plan = picture_inputs.plan

    def reader(task: str | None) -> AnswerReader:
        return AnswerReader(
            picture_inputs.row_specs(),
            batch=False,
            size=None if plan is None else plan.size,
            task=task,
            options=chosen,
            required=is_asked(options),
        )

    return RowAnswers(
        reader,
        plan,
        task=options.task,
        top=chosen.top,
        output=chosen.output,
        drawn=options.draw is not None,
        quiet=options.quiet,
    )
