"""The registry of decoders. Users may add their own.

Built-in decoders are imported when outputs come up that they may recognise: most processes meet one layout, and a
command that reads one picture should not wait for the others (benchmarks/cold_start.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from tfs_client._printable import listed, shown
from tfs_client.errors import ConfigError
from tfs_client.images.decoders import TASKS, Decoder, Specs

# The built-in decoders, in the order in which they are asked: name, task, module, class, and the least number of axes
# that one of the outputs has.
_BUILT_IN = (
    ("object-detection-api", "detect", "object_detection_api", "ObjectDetectionApi", 2),
    ("yolov8", "detect", "yolov8", "YoloV8", 2),
    ("label-map", "segment", "label_maps", "LabelMap", 2),
    ("classes and scores", "classify", "classification", "NamedScores", 0),
    ("scores", "classify", "classification", "Scores", 0),
    ("vector", "embed", "embedding", "Vector", 0),
)
_registered: list[Decoder] = []


def register(decoder: Decoder) -> None:
    """Add a decoder. It is asked before those that were added earlier. A name that exists is replaced.

    Raises ConfigError for a decoder of an unknown task, and for an object that is not a decoder.
    """
    task = getattr(decoder, "task", None)
    if isinstance(task, str) and task not in TASKS:
        raise ConfigError(f"expected a decoder whose task is one of {', '.join(TASKS)}, got {shown(task)}")
    methods = ("candidates", "classes", "decode")
    wrong = [name for name in methods if not callable(getattr(decoder, name, None))]
    wrong += [name for name in ("name", "task") if not isinstance(getattr(decoder, name, None), str)]
    if isinstance(decoder, type) or wrong:
        why = "which is a class: register an instance" if isinstance(decoder, type) else f"without {listed(wrong)}"
        raise ConfigError(f"expected a decoder (see images.Decoder), got {shown(decoder)} {why}")
    _registered[:] = [decoder, *(other for other in _registered if other.name != decoder.name)]


def _decoders(specs: Specs, task: str | None) -> Iterator[Decoder]:
    """Yield the decoders of a task that may recognise outputs."""
    yield from (decoder for decoder in _registered if task in (None, decoder.task))
    replaced = {decoder.name for decoder in _registered}
    axes = max((99 if spec.shape is None else len(spec.shape) for spec in specs.values()), default=0)
    for name, own_task, module, cls, least_axes in _BUILT_IN:
        if name not in replaced and task in (None, own_task) and axes >= least_axes:
            decoder: Decoder = getattr(import_module(f"tfs_client.images.{module}"), cls)()
            yield decoder


def decoder_for(
    specs: Specs, *, size: tuple[int, int] | None, task: str | None = None, output: str = ""
) -> Decoder | None:
    """Return the decoder for outputs, by their names, dtypes and shapes; None if none recognises them.

    Args:
        specs: the outputs of one picture, without the batch axis.
        size: width and height of the tensor that was sent; None if pictures keep theirs.
        task: one of ``TASKS``; None for any, of which only outputs that can hardly be anything else are recognised.
        output: the alias of the output that is meant; "" for any.
    """
    for decoder in _decoders(specs, task):
        if candidates_of(decoder, specs, size, explicit=task is not None, output=output):
            return decoder
    return None


def candidates_of(
    decoder: Decoder, specs: Specs, size: tuple[int, int] | None, *, explicit: bool, output: str = ""
) -> list[str]:
    """Return a decoder's candidates; if the output is given, only that.

    A decoder may prefer other outputs to the one that is given. So it is also asked for this one alone.
    """
    found = decoder.candidates(specs, size, explicit=explicit)
    if output and output not in found and output in specs:
        found = decoder.candidates({output: specs[output]}, size, explicit=explicit)
    return [alias for alias in found if output in ("", alias)]
