"""StageMetrics: the metrics page of a server before and after each stage, or why it cannot be read."""

from __future__ import annotations

from tfs_client.cli.bench.server_metrics.exposition import Exposition
from tfs_client.cli.bench.server_metrics.scraper import Scraper
from tfs_client.cli.bench.server_metrics.served import Restarted, Served, served
from tfs_client.errors import TFServingError


class StageMetrics:
    """Scrapes a server's page around the stages of a run. A page that cannot be read never ends the run.

    Args:
        scraper: reads the page.
        model: the name of the model that is called.
        transport: "grpc" or "rest".
    """

    def __init__(self, scraper: Scraper, model: str, transport: str) -> None:
        self._scraper = scraper
        self._model = model
        self._transport = transport
        self._before: Exposition | str = "the page was not read before the stage"

    @property
    def url(self) -> str:
        """The page."""
        return self._scraper.url

    def before(self) -> None:
        """Read the page before a stage."""
        self._before = self._page()

    def after(self) -> Served | str:
        """Read the page after a stage. Returns what the server did meanwhile, or why that is unknown."""
        before, after = self._before, self._page()
        if isinstance(before, str):
            return before
        if isinstance(after, str):
            return after
        try:
            return served(before, after, self._model, self._transport)
        except Restarted:
            return f"the counts of {self.url} fell during the stage: the server was restarted, or several share the URL"

    def close(self) -> None:
        """Close the connection."""
        self._scraper.close()

    def _page(self) -> Exposition | str:
        try:
            return self._scraper.scrape()
        except TFServingError as error:
            return str(error)
