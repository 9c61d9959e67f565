"""Drawings: for each picture a file with its boxes, names and masks, in a folder.

A drawing is named after its picture. Pictures of the same name in different folders get different drawings, because the
names contain a part of the hash of the whole path: ``pupper-1f4be07ab9.jpg``. So names do not depend on the other
pictures of a run, and a later run replaces no drawing of another picture.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable

from PIL import Image

from tfs_client.cli.predict.bulk.picture_sources import SUFFIXES
from tfs_client.cli.predict.bulk.safe_files import replacing
from tfs_client.errors import ConfigError, ImageError, TFServingError
from tfs_client.images import Answer, Detections, Segmentation, draw

LONGEST_NAME = 60  # characters of a picture's name; up to 240 bytes, and file systems allow 255
HASH = 10  # hexadecimal digits
QUALITY = 90  # of JPEG
_AS_JPEG = (".jpg", ".jpeg", ".jfif")

Opened = Callable[[str], Image.Image]


class Drawings:
    """A folder of drawings, which is created.

    Args:
        folder: the folder's path.
        opened: loads a picture as the model saw it, by its name. Raises ImageError.

    Raises ConfigError if the folder cannot be created.
    """

    def __init__(self, folder: str, opened: Opened) -> None:
        self._folder = folder
        self._opened = opened
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--draw: cannot create the folder {folder!r}: {error.strerror or error}") from None

    def has(self, name: str) -> bool:
        """Return whether the folder has a drawing of a picture."""
        return os.path.lexists(self._path(name))

    def add(self, name: str, answer: Answer | None) -> None:
        """Draw on a picture. A drawing that exists is replaced, at once.

        Raises ImageError for a picture that cannot be drawn on; OSError if drawings cannot be written.
        """
        assert isinstance(answer, Detections | Segmentation), "whoever reads answers checks that they can be drawn"
        path = self._path(name)
        try:
            data = _encoded(draw(self._opened(name), answer), path)
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError(f"cannot draw on {name!r}: not enough memory") from error
        except (OSError, ValueError, TFServingError) as error:
            raise ImageError(f"cannot draw on {name!r}: {error}") from error
        try:
            with replacing(path) as file:
                file.write(data)
        except TFServingError as error:  # something that is not a file is in the way
            raise ImageError(f"cannot draw on {name!r}: {error}") from error
        except OSError as error:
            if error.errno == errno.EISDIR:
                raise ImageError(f"cannot draw on {name!r}: {path!r} is a folder") from error
            raise OSError(f"--draw: cannot write to the folder {self._folder!r}: {error.strerror or error}") from error

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, file_name(name))


def file_name(name: str) -> str:
    """Return the file name of a picture's drawing. JPEG files become JPEG, other pictures PNG, which loses nothing."""
    stem, suffix = os.path.splitext(os.path.basename(name))
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:HASH]
    readable = re.sub(r"[^\w.-]+", "_", os.fsencode(stem).decode("utf-8", "replace")).strip("._-")
    return f"{readable[:LONGEST_NAME] or 'picture'}-{digest}{'.jpg' if suffix.lower() in _AS_JPEG else '.png'}"


def check_folder(folder: str, *, may_hold: bool) -> None:
    """Raise ConfigError if drawings cannot be written to a folder, or if it has other files.

    Args:
        folder: the path; it need not exist, but the folder that it is in.
        may_hold: whether the folder may contain files, such as those of an earlier run.
    """
    if not os.path.lexists(folder):
        if os.path.splitext(folder)[1].lower() in SUFFIXES:
            raise ConfigError(f"--draw: expected a folder, as there are several pictures, got the file {folder!r}")
        parent = os.path.dirname(os.path.realpath(folder))
        if not os.path.isdir(parent):
            raise ConfigError(f"--draw: cannot create {folder!r}: the folder {parent!r} does not exist")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise ConfigError(f"--draw: cannot create {folder!r}: no permission to write to {parent!r}")
        return
    if not os.path.isdir(folder):
        raise ConfigError(f"--draw: expected a folder, as there are several pictures, got the file {folder!r}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"--draw: cannot write to the folder {folder!r}: no permission")
    with os.scandir(folder) as entries:
        if not may_hold and next(entries, None) is not None:
            raise ConfigError(
                f"--draw: the folder {folder!r} is not empty: use another one, --resume to continue a run, or "
                "--overwrite to replace the drawings of the same pictures"
            )


def check_apart(folder: str, names: Iterable[str], sources: Iterable[str]) -> None:
    """Raise ConfigError if drawings would lie among the pictures, where the next run would take them for pictures."""
    place = os.path.join(os.path.realpath(folder), "")
    for source in sources:
        if os.path.isdir(source) and place.startswith(os.path.join(os.path.realpath(source), "")):
            raise ConfigError(f"--draw: {folder!r} lies in the folder of pictures {source!r}: use another folder")
    for name in names:
        if name.startswith(place) or os.path.abspath(name).startswith(place):
            raise ConfigError(f"--draw: the picture {name!r} lies in {folder!r}: use another folder for drawings")


def _encoded(image: Image.Image, path: str) -> bytes:
    """Return the content of a picture file, in memory: so an error of writing it is not one of the encoder."""
    data = io.BytesIO()
    if path.endswith(".jpg"):
        image.save(data, "JPEG", quality=QUALITY)
    else:
        image.save(data, "PNG")
    return data.getvalue()
