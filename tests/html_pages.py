"""Reports, read as HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "img", "input"}  # elements without an end

Attributes = dict[str, str | None]


class Page(HTMLParser):
    """A page.

    Attributes:
        texts: the pieces of text by the classes, or tags, of the elements that contain them.
        found: all elements, as tag and attributes.
        open: the elements that are not closed, which browsers do at the end.
    """

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self.found: list[tuple[str, Attributes]] = []
        self.feed(markup)
        self.close()

    @property
    def state(self) -> str:
        """What the top of the page says about the run."""
        return "".join(self.texts["state"]).strip()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.found.append((tag, found))
        if tag not in VOID:
            self.open.append((tag, found.get("class") or found.get("id") or tag))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            for _, name in self.open:
                self.texts.setdefault(name, []).append(data)


def parsed(path: str | Path) -> Page:
    """Read a report."""
    return Page(Path(path).read_text(encoding="utf-8"))
