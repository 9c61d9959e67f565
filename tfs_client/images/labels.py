"""Class names: read from files, and matched to the classes of a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tfs_client._printable import shown
from tfs_client.errors import ConfigError
from tfs_client.images.argument_checks import is_whole

IMAGENET = "imagenet"

# Names, in lower case, of a class 0 that models may lack.
BACKGROUND = ("background", "__background__", "???", "dummy", "n/a", "none", "unlabeled", "unlabelled", "void")

_MAX_BYTES = 1 << 24  # of a file of class names
_OTHER_MODEL = "are these the names of another model?"


@dataclass(frozen=True)
class Labels:
    """The names of a model's classes.

    Attributes:
        names: the name of each label by its number. Files that are lists start at 0.
        offset: added to a model's class to find its label: 1 skips a first label "background" that the model lacks,
            -1 is for a model that has a class 0 "background" that the file lacks. None, if it is not given, counts as
            0, except for layouts that number their classes from 1: for these a file without numbers is then taken to
            start at class 1, which ``AnswerReader.assumed`` says.
        source: the file, for error texts.
        numbered: whether the file itself numbers its names, as CSV with a column of numbers does.

    Raises ConfigError without names, for anything but texts by whole numbers from 0, and for anything but a whole
    number of -1 or more as offset.
    """

    names: Mapping[int, str]
    offset: int | None = None
    source: str = ""
    numbered: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.names, Mapping):
            raise ConfigError(f"expected names by number, as by dict(enumerate(names)), got {shown(self.names)}")
        if not self.names:
            raise ConfigError("expected class names, got none")
        for number, name in self.names.items():
            if not (is_whole(number) and number >= 0 and isinstance(name, str)):
                raise ConfigError(f"expected names by whole numbers from 0, got {shown(name)} by {shown(number)}")
        if self.offset is not None and not (is_whole(self.offset) and self.offset >= -1):
            raise ConfigError(f"expected an offset of labels of -1 or more, got {shown(self.offset)}")

    def name(self, number: int) -> str | None:
        """Return the name of a model's class; None if the file has no name for it."""
        if number < 0:
            return None
        if number + self._shift == -1:
            return "background"
        return self.names.get(number + self._shift)

    def required_name(self, number: int) -> str:
        """Return the name of a model's class. Raises ConfigError if the file has no name for it."""
        name = self.name(number)
        if name is None:
            first, last = self._range
            remedy = _OTHER_MODEL
            if number + self._shift == last + 1 and number > 0 and self._shift in (0, 1):
                remedy = f"if the model counts its classes from 1, use {option(self._shift - 1)}; or {remedy}"
            which = f", which is label {number + self._shift} with {option(self._shift)}" if self._shift else ""
            if self._shift and number in self.names:
                remedy = f"leave out the offset; or {_OTHER_MODEL}"
            raise ConfigError(
                f"expected a name for class {number}{which}, got the names {first} to {last}{self._of_source()}: "
                f"{remedy}"
            )
        return name

    def check(self, classes: int) -> None:
        """Raise ConfigError unless there is exactly one name for each of the model's classes, 0 to ``classes`` - 1.

        A class 0 may lack a name if the file numbers its names from 1.
        """
        first, last = self._range
        count = len(self.names)
        fits = last + 1 - self._shift == classes and (first == 0 or (first == 1 and self._shift in (0, 1)))
        if fits and last + 1 - first == count:
            return
        numbers = f", numbered {first} to {last}" if self.numbered and first else ""
        raise ConfigError(
            f"expected {classes + self._shift} class names, as the model has {_counted(classes)}"
            f"{f' and the offset is {self._shift}' if self._shift else ''}, got {count}{numbers}{self._of_source()}: "
            f"{self._remedy(classes)}"
        )

    def _remedy(self, classes: int) -> str:
        first, last = self._range
        if last + 1 - first != len(self.names):
            missing = next(number for number in range(first, last) if number not in self.names)
            return f"number {missing} lacks a name; are these the names of another model, or of objects to detect?"
        needed = last + 1 - classes  # the offset with which the last name is that of the last class
        if needed == 0 and first == 0:
            return f"use {option(0)}"
        if needed == 1 and first == 1:
            return f"if label 1 is the model's class 0, use {option(1)}"
        if needed == 1 and first == 0:
            name = self.names[0]
            if name.casefold() in BACKGROUND:
                return f"the first label is {shown(name)}: if the model lacks this class, use {option(1)}"
            return f"if the model lacks the first label, {shown(name)}, use {option(1)}; or {_OTHER_MODEL}"
        if needed == -1 and first == 0:
            return f"if the model's class 0 is 'background', use {option(-1)}; or {_OTHER_MODEL}"
        return _OTHER_MODEL

    @property
    def _shift(self) -> int:
        return self.offset or 0

    def _of_source(self) -> str:
        return f" in {shown(self.source)}" if self.source else ""

    @cached_property
    def _range(self) -> tuple[int, int]:
        return min(self.names), max(self.names)


def read_labels(source: str | os.PathLike[str], *, offset: int | None = None) -> Labels:
    r"""Read class names from a file.

    The content shows the format; the suffix decides where the content does not.

    - Text with one name per line, starting with class 0. Lines that are all numbered ("0: cat", "0 cat"), from 0 or 1
      and without gaps, in any order, keep their numbers. Empty lines at the end are ignored, others are refused.
    - CSV, separated by commas, semicolons or tabs (.csv, .tsv, or any file whose first line is a header such as
      "id,name"). A column of numbers has a header such as id or index, the column of names one such as name or label.
      Rows may be in any order. Without a column of numbers they start at class 0.
    - JSON: ``["cat", …]``, ``{"0": "cat", …}``, ``{"0": ["n02123045", "tabby"], …}`` as for Keras' networks,
      ``{"cat": 0, …}`` as ``class_indices`` of Keras' generators, or ``[{"id": 0, "name": "cat"}, …]``.
    - Label maps of TensorFlow's Object Detection API (.pbtxt): the ids with display_name, or name.

    Text is UTF-8, UTF-16 with a byte order mark, or else Latin-1. Lines end in \n, \r\n or \r.
    Spaces around names are removed.

    Args:
        source: a path; or "imagenet" for the 1,000 classes of ImageNet (ILSVRC 2012), which come with the package.
            "./imagenet" is a file of this name.
        offset: see ``Labels``.

    Raises ConfigError for files that are unreadable, broken, larger than 16 MB or 262,144 names, or that could be read
    in two ways.
    """
    from tfs_client.images import imagenet
    from tfs_client.images.label_files.content import parse

    if source == IMAGENET:
        return Labels(dict(enumerate(imagenet.names())), offset, IMAGENET)
    try:
        path = os.fsdecode(source)
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        hint = f"; built-in list: {IMAGENET}" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"cannot read {shown(source)}: {why or error}{hint}") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{shown(path)}: expected at most {_MAX_BYTES} bytes of class names, got more")
    try:
        names, numbered = parse(data, os.path.splitext(path)[1])
    except ConfigError as error:
        raise ConfigError(f"{shown(path)}: {error}") from None
    except (MemoryError, RecursionError):
        raise ConfigError(f"{shown(path)}: expected class names that fit into memory") from None
    return Labels(names, offset, path, numbered)


def option(offset: int) -> str:
    """Return an offset as errors advise it, for Python and for the command."""
    return f"offset={offset} (--labels-offset {offset})"


def _counted(classes: int) -> str:
    return f"{classes} {'class' if classes == 1 else 'classes'}"
