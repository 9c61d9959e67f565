"""HtmlReport: pictures and what a model said about them, in one HTML file.

The file needs nothing else: thumbnails are data URIs, boxes are SVG, and it has no scripts. It grows picture by
picture, so memory does not limit it, and the report of a run that was killed is readable up to its last picture. Only
two things come at the end: the list of failures, which waits in a temporary file, and the state of the run at the top
of the page, whose place is kept free.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO

from PIL import Image

from tfs_client import __version__
from tfs_client._codec.dtypes import Array
from tfs_client.cli.html_document import LONGEST_NAME, text
from tfs_client.cli.predict import html_answers, html_page
from tfs_client.cli.predict.bulk.append_files import AppendFile
from tfs_client.cli.predict.bulk.safe_files import open_existing
from tfs_client.cli.predict.html_page import name_html
from tfs_client.cli.predict.thumbnails import thumbnail
from tfs_client.errors import ConfigError
from tfs_client.images import Answer

SUFFIXES = (".html", ".htm")
STATE = 400  # bytes at the top of the page for the state of the run
MEMORY = 1 << 20  # bytes of failures that wait in memory; more are kept in a temporary file
LONGEST_ERROR = 4000

RUNNING = "The run has not finished, or was killed. The report ends with its last picture."


class HtmlReport:
    """A report, written picture by picture.

    Args:
        path: the file. It is created, or replaced as ``check`` allows.
        title: the heading of the page.
        facts: names and values for the table below the heading, such as the model and the preparation.
        before: the number of pictures with results of earlier runs, which the report does not show.
        overwrite: whether a file that is not a report is replaced.

    Raises ConfigError for a file that must not be replaced or that another run is writing, OSError for one that cannot
    be written.
    """

    def __init__(
        self, path: str, *, title: str, facts: Mapping[str, str], before: int = 0, overwrite: bool = False
    ) -> None:
        check(path, overwrite=overwrite)
        self.path = path
        self._before = before
        self._shown = self._failed = 0
        self._file = AppendFile(path, follow_link=True)
        self._open = True
        self._failures: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY)  # noqa: SIM115  (close() closes it)
        try:
            self._file.keep(0)
            first, rest = (part.encode() for part in html_page.head(title, facts))
            self._place = len(first)
            self._file.add(first + _padded(RUNNING) + rest)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> HtmlReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self.close()

    def add(
        self,
        name: str,
        image: Image.Image | str,
        answer: Answer | None,
        *,
        line: str = "",
        outputs: Mapping[str, Array] | None = None,
    ) -> None:
        """Add a picture.

        Args:
            name: the picture's name.
            image: the picture, or a smaller copy; or the reason why it cannot be shown.
            answer: what the model said; boxes and masks refer to the whole picture.
            line: how the picture was prepared, if that differs from picture to picture.
            outputs: the model's outputs, which are listed if they have no answer.
        """
        picture, numbered = (_missing(image), False) if isinstance(image, str) else _picture(name, image, answer)
        below = f'<p class="line">{text(line, LONGEST_ERROR)}</p>\n' if line else ""
        rows = html_answers.listed(answer, outputs or {}, numbered=numbered)
        self._write(f"<article>\n<h2>{name_html(name)}</h2>\n{picture}{below}{rows}</article>\n")
        self._shown += 1

    def failed(self, name: str, error: str) -> None:
        """Add a picture that failed, with its error."""
        self._failures.write(f"<li><b>{name_html(name)}</b> {text(error, LONGEST_ERROR)}</li>\n".encode())
        self._failed += 1

    def finish(self, note: str = "") -> None:
        """Complete the report of a run that succeeded; ``note`` goes to the end of the page."""
        self._end("", note)
        self._release()

    def close(self) -> None:
        """Close the file. Without ``finish``, the page says that the run ended early. Idempotent."""
        if self._open:
            try:
                with suppress(OSError):  # the disk is full, which add() has reported
                    self._end("The run ended early. ", "")
            finally:
                self._release()

    def _end(self, how: str, note: str) -> None:
        self._write("</section>\n")
        if self._failed:
            self._write(f'<section id="failures">\n<h2>Failures ({self._failed})</h2>\n<ul>\n')
            self._failures.seek(0)
            for part in iter(lambda: self._failures.read(MEMORY), b""):
                self._file.add(part)
            self._write("</ul>\n</section>\n")
        end = f"{text(note, LONGEST_NAME)}. " if note else ""
        self._write(f"</main>\n<footer>{end}Written by tfs-predict {text(__version__)}.</footer>\n</body>\n</html>\n")
        self._file.rewrite(self._place, _padded(how + self._state()))

    def _release(self) -> None:
        self._open = False
        self._failures.close()
        self._file.close()

    def _state(self) -> str:
        parts = [_counted(self._shown)]
        if self._failed:
            parts.append(f'<a href="#failures">{self._failed} failed</a>')
        if self._before:
            parts.append(f"{_counted(self._before)} of earlier runs not shown")
        return "; ".join(parts) + "."

    def _write(self, markup: str) -> None:
        self._file.add(markup.encode())


def _picture(name: str, image: Image.Image, answer: Answer | None) -> tuple[str, bool]:
    """Return the thumbnail with the answer over it, and whether boxes have numbers."""
    try:
        small = thumbnail(image)
        numbered = html_answers.is_numbered(answer, small)
        over = html_answers.drawn(answer, small, numbered=numbered)
    except Exception as error:  # of Pillow's encoders, or no memory: the rest of the report is worth having
        return _missing(f"no thumbnail: {error or 'not enough memory'}"), False
    kind = ' class="tiny"' if small.shown != small.size else ""
    size = f'width="{small.shown[0]}" height="{small.shown[1]}"'
    img = f'<img{kind} src="{small.uri}" {size} alt="{text(name, LONGEST_NAME)}">'
    return f'<figure class="picture">{img}\n{over}</figure>\n', numbered


def _missing(why: str) -> str:
    return f'<p class="missing">{text(why, LONGEST_ERROR)}</p>\n'


def check(path: str, *, overwrite: bool = False) -> None:
    """Raise ConfigError for a path where a report cannot be written, or must not replace what is there."""
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise ConfigError(f"--html: expected a file with the suffix {' or '.join(SUFFIXES)}, got {path!r}")
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        raise ConfigError(f"--html: cannot write {path!r}: the folder {folder!r} does not exist")
    if os.path.isdir(place) or not os.access(place if os.path.exists(place) else folder, os.W_OK):
        raise ConfigError(
            f"--html: cannot write {path!r}: {'it is a folder' if os.path.isdir(place) else 'no permission'}"
        )
    if not overwrite and not _is_report(place):
        raise ConfigError(
            f"--html: {path!r} was not written by tfs-predict and is left unchanged: use another file, or remove it"
        )


def _is_report(place: str) -> bool:
    """Whether a file is a report, is empty or does not exist."""
    try:
        with open_existing(place) as file:
            begin = file.read(len(html_page.MARK))
    except FileNotFoundError:
        return True
    except OSError as error:
        raise ConfigError(f"--html: cannot read {place!r}: {error.strerror or error}") from None
    return begin in (b"", html_page.MARK.encode())


def _padded(state: str) -> bytes:
    return state.encode().ljust(STATE)


def _counted(pictures: int) -> str:
    return f"{pictures} picture{'s' * (pictures != 1)}"
