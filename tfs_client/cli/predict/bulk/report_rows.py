"""The report of a run: its pictures, which are loaded again for their thumbnails, and its failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PIL import Image

from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.cli.predict.bulk.outcomes import Failed, Row
from tfs_client.cli.predict.html_report import HtmlReport
from tfs_client.cli.predict.report_facts import facts_of
from tfs_client.errors import ImageError
from tfs_client.images import Answer


class ReportRows:
    """Rows and failures in an HTML page.

    Args:
        path: the file of the page.
        options: the command's options.
        model: the model's name.
        preparation: what happens to the pictures, in one line.
        before: the number of pictures that earlier runs have predicted.
        opened: loads a picture as the model saw it, by its name. Raises ImageError.

    Raises ConfigError and OSError as ``HtmlReport`` does.
    """

    def __init__(
        self,
        path: str,
        options: PredictOptions,
        *,
        model: str,
        preparation: str,
        before: int,
        opened: Callable[[str], Image.Image],
    ) -> None:
        self._opened = opened
        facts = facts_of(options, model=model, preparation=preparation)
        self._report = HtmlReport(path, title=model, facts=facts, before=before, overwrite=options.overwrite)

    def add(self, name: str, row: Row, answer: Answer | None) -> None:
        """Add a picture. One that cannot be loaded again has its answer, and the reason in place of the thumbnail."""
        image: Image.Image | str
        try:
            image = self._opened(name)
            line = f"{image.width}x{image.height} pixels"
        except (ImageError, MemoryError) as error:
            image, line = f"no thumbnail: {error or 'not enough memory'}", ""
        self._report.add(row.image, image, answer, line=line, outputs=row.outputs)

    def failed(self, failure: Failed) -> None:
        """Add a picture that failed."""
        self._report.failed(failure.image, failure.text)

    def finish(self, versions: Iterable[str]) -> None:
        """Complete the page, which names the versions of the model that answered."""
        answered = ", ".join(sorted(versions))
        self._report.finish(f"Answered by {answered}" if answered else "")

    def close(self) -> None:
        """Close the file. Without ``finish``, the page says that the run ended early. Idempotent."""
        self._report.close()
