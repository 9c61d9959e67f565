"""Contradictions between the arguments of tfs-predict: options that exclude each other, or would have no effect."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields

from tfs_client.cli.credentials import CredentialOptions
from tfs_client.cli.predict.arguments import InputOptions, PredictOptions, is_bulk, is_given
from tfs_client.errors import ConfigError

PREPARATION_OPTIONS = (
    "preset",
    "size",
    "scale",
    "layout",
    "dtype",
    "resize",
    "fit",
    "pad_value",
    "exif",
    "alpha",
    "bgr",
    "mean",
    "std",
)
"""The options that say how the pixels of a picture become numbers."""

_CREDENTIALS = tuple(option.name for option in fields(CredentialOptions))
_NOT_DRAWN = ("classify", "embed")


def check(options: PredictOptions) -> None:
    """Raise ConfigError for arguments that contradict each other, and for those that would have no effect."""
    if options.embedded:
        _check_apart(options, "--embedded", _CREDENTIALS, "--embedded does not connect to a server")
        if options.version not in (None, 1):
            raise ConfigError(f"--embedded: the demo models have version 1 only, got --version {options.version}")
        if options.label is not None:
            raise ConfigError("--embedded: the demo models have no version labels (class names: --labels)")
    if options.encoded:
        _check_apart(options, "--encoded", PREPARATION_OPTIONS, "the file's bytes are sent unchanged")
    names = [argument.partition("=")[0] for argument in options.input]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--input {twice[0]} appears more than once: use it once")
    if options.image_input in names:
        raise ConfigError(f"--image-input and --input both set {options.image_input!r}: use one of them")
    if options.image is None and not options.input_list and options.input:
        _check_without_picture(options)
    if options.labels_offset is not None and options.labels is None:
        raise ConfigError("--labels-offset shifts class names: use --labels too")
    if options.draw is not None:
        _check_draw(options, options.draw)
    if options.html is not None and not is_bulk(options):
        from tfs_client.cli.predict import html_report

        html_report.check(options.html)
    if options.preset is not None:
        from tfs_client.images.presets import preset_of

        preset_of(options.preset)


def _check_apart(options: PredictOptions, flag: str, others: Iterable[str], why: str) -> None:
    if found := first_given(options, others):
        raise ConfigError(f"{flag} and {found} cannot be combined ({why}): use one of them")


def first_given(options: InputOptions, names: Iterable[str]) -> str:
    """Return the flag of the first of these options that the command line has; "" without any."""
    return next(("--" + name.replace("_", "-") for name in names if is_given(options, name)), "")


def _check_without_picture(options: PredictOptions) -> None:
    others = (*PREPARATION_OPTIONS, "image_input", "formats", "max_pixels", "encoded", "draw", "html")
    if found := first_given(options, others):
        raise ConfigError(f"{found} applies to pictures: use --image too")
    if options.task in ("detect", "segment"):
        raise ConfigError(f"--task {options.task} applies to pictures: use --image too")


def _check_draw(options: PredictOptions, path: str) -> None:
    if options.task in _NOT_DRAWN:
        raise ConfigError(
            f"--draw draws detections and label maps, which --task {options.task} does not give: use one of them"
        )
    if is_bulk(options):
        return
    if os.path.isdir(path) or path.endswith(("/", os.sep)):
        raise ConfigError(f"--draw: expected a file such as out.png for a single picture, got the folder {path!r}")
    if options.image and _is_same(path, options.image[0]):
        raise ConfigError(f"--draw: {path!r} is the picture itself, which would be replaced: use another file")
    if options.html is not None and _is_same(path, options.html):
        raise ConfigError(f"--draw and --html: expected different files, got {path!r} for both")
    from PIL import Image

    known = Image.registered_extensions()  # imports all of Pillow's formats
    suffix = os.path.splitext(path)[1].lower()
    if known.get(suffix) not in Image.SAVE:
        raise ConfigError(f"--draw: expected a file whose suffix names a picture format, such as .png, got {path!r}")
    _check_writable(path)


def _check_writable(path: str) -> None:
    """Raise ConfigError for a drawing that could not be written after the prediction."""
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        raise ConfigError(f"--draw: cannot write {path!r}: the folder {folder!r} does not exist")
    if os.path.exists(place) and not os.access(place, os.W_OK):
        raise ConfigError(f"--draw: cannot write {path!r}: no permission")
    if not os.access(folder, os.W_OK | os.X_OK):  # a new file is written there, and replaces the old one
        raise ConfigError(f"--draw: cannot write {path!r}: no permission to write to {folder!r}")


def _is_same(path: str, other: str) -> bool:
    """Whether two paths name the same file; it need not exist."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
