"""Views in a notebook, drawn by a browser: on wide and narrow pages, with light and dark themes."""

from __future__ import annotations

import pytest
from peers import chromium

nbconvert = pytest.importorskip("nbconvert")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        chromium.program() is None, reason="no Chromium on PATH; scripts/install_chromium.sh installs it"
    ),
]

SETUP = """
import numpy as np
from tfs_client import (
    AsyncPredictClient, Classification, ClassScore, ModelStatus, ModelVersion, PredictClient, Regression, Signature,
    Signatures, State, StatusCode, TensorSpec, VersionStatus,
)
from tfs_client.testing import FakeServer

LONG = "a_name_that_is_much_longer_than_a_column_" * 5
MARKUP = "</td><script>document.title = 'run'</script>"

def scores(x):
    labels = np.array([b"tabby cat", b"\\x1b[31mred"], object)
    return {"scores": x / 8, "labels": labels, LONG: np.full(3, np.nan, np.float32), MARKUP: np.zeros((4, 4, 4))}

server = FakeServer().__enter__()
any_shape = TensorSpec("float32", None)
outputs = {"scores": any_shape, "labels": TensorSpec("string", None), LONG: any_shape,
           MARKUP: TensorSpec("float64", None)}
server.add_model("resnet", scores, inputs={"x": any_shape}, outputs=outputs)
client = PredictClient(server.target, model="resnet")
"""

# A cell for each view, and texts that its output must show.
VIEWS = {
    'client.predict({"x": np.arange(8, dtype=np.float32)})': [
        "Prediction of resnet version 1",
        "float32(8,)0 … 0.875",
        "tabby cat",
        r"\x1b[31mred",
        "NaN",
        MARKUP := "</td><script>document.title = 'run'</script>",
    ],
    """one = Signature({LONG: TensorSpec("float32", (None, 224, 224, 3)), "k": TensorSpec("int32", ())},
                {MARKUP: TensorSpec("string", (None,))}, optional=frozenset("k"))
Signatures({"serving_default": one, LONG: one}, model="resnet", version=3)""": [
        "Signatures of resnet version 3",
        "float32 (?, 224, 224, 3)",
        "in (optional)",
        MARKUP,
    ],
    "one": ["Signature", "string (?,)"],
    """ModelStatus("resnet", (
    VersionStatus(4, State.END, StatusCode.INTERNAL, "cannot load /models/resnet/4: " + "no such file; " * 40),
    VersionStatus(3, State.AVAILABLE, StatusCode.OK, ""),
))""": ["resnet · ready", "4ENDINTERNALcannot load", "3AVAILABLEOK"],
    """many = tuple(ClassScore(f"class {number}", number / 1000) for number in range(1000))
Classification((many, (ClassScore(LONG, 0.7), ClassScore(MARKUP, 0.3)), *((many,) * 998)), ModelVersion("m", 1, ""))
""": ["class 999", "0.9990", "… 995 more", "… 990 more", MARKUP],
    'Regression((0.5, 1.5), ModelVersion("half_plus_two", 1, ""))': ["Regression of half_plus_two", "1.5"],
}
PROGRESS = {
    'client.predict_batched({"x": np.zeros(100, np.float32)}, outputs=["scores"], progress=True)["scores"].shape': (
        "100 of 100"
    ),
    'len(list(client.predict_many(({"x": np.float32(n)} for n in range(70)), outputs=["scores"], progress=True)))': (
        "70 rows"
    ),
    """async def last():
    async with AsyncPredictClient(server.target, model="resnet") as client:
        return [found async for found in client.predict_many(
            [{"x": np.float32(n)} for n in range(50)], outputs=["scores"], progress=True)][-1].example
await last()""": "50 of 50",
}


@pytest.fixture(scope="module")
def notebook():
    """A notebook with a cell for each view and each progress display, executed."""
    cells = [SETUP, *VIEWS, *PROGRESS, "client.close(); server.__exit__(None, None, None)"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells])
    from nbconvert.preprocessors import ExecutePreprocessor

    ExecutePreprocessor(timeout=60, kernel_name="python3").preprocess(made)
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for all tests of this file."""
    found = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def opened(notebook, browser, tmp_path):
    """Open the notebook as a page with a theme."""

    def open_page(theme):
        exporter = nbconvert.HTMLExporter(template_name="lab", theme=theme)
        exporter.mathjax_url = exporter.require_js_url = exporter.mermaid_js_url = ""  # no other host
        path = tmp_path / f"{theme}.html"
        path.write_text(exporter.from_notebook_node(notebook)[0], encoding="utf-8")
        browser.open(path)
        return browser

    return open_page


def texts(page):
    """The text of every output that has HTML."""
    return page.evaluate("[...document.querySelectorAll('.jp-RenderedHTMLCommon > div')].map(one => one.textContent)")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_views_fit_the_page_and_are_readable(opened, width, theme):
    page = opened(theme)
    page.view(width, dark=theme == "dark")

    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = [text for text in texts(page) if text.strip()]
    for expected in VIEWS.values():
        shown = found.pop(0)
        for text in expected:
            assert text in shown
    # Whatever is wider than the page is inside an element that scrolls.
    cut = page.evaluate(
        """[...document.querySelectorAll('.jp-RenderedHTMLCommon > div *')].filter(one =>
            one.getBoundingClientRect().right > innerWidth && !one.closest('[style*="overflow-x:auto"]')).length"""
    )
    assert cut == 0
    hidden = page.evaluate(
        """[...document.querySelectorAll('.jp-RenderedHTMLCommon > div *')].filter(one =>
            one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === 'hidden').length"""
    )
    assert hidden == 0
    assert page.evaluate("document.title") != "run"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_background(opened, theme):
    page = opened(theme)
    page.view(1280, dark=theme == "dark")

    contrasts = page.evaluate(
        """(() => {
            const parts = colour => colour.match(/[0-9.]+/g).map(Number);
            const light = colour => {
                const [r, g, b] = colour.map(value => {
                    const part = value / 255;
                    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ground = element => {
                if (!element) return [255, 255, 255];
                const colour = parts(getComputedStyle(element).backgroundColor);
                return colour.length === 4 && colour[3] === 0 ? ground(element.parentElement) : colour.slice(0, 3);
            };
            return [...document.querySelectorAll('.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th')].map(one => {
                const [own, below] = [parts(getComputedStyle(one).color), ground(one)];
                const opacity = Number(getComputedStyle(one).opacity) * (own[3] ?? 1);
                const mixed = below.map((value, at) => value + (own[at] - value) * opacity);
                const [a, b] = [light(mixed), light(below)];
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            });
        })()"""
    )

    assert len(contrasts) > 50
    assert min(contrasts) >= 4.5


def test_bars_are_as_wide_as_the_scores(opened):
    page = opened("light")

    widths = page.evaluate(
        "[...document.querySelectorAll('span[style*=\"display:block\"]')].map(bar => "
        "bar.getBoundingClientRect().width / bar.parentElement.getBoundingClientRect().width)"
    )

    assert widths[:7] == pytest.approx([0.999, 0.998, 0.997, 0.996, 0.995, 0.7, 0.3], abs=0.01)


def test_progress_is_one_output_without_warnings(notebook):
    cells = notebook.cells[1 + len(VIEWS) : 1 + len(VIEWS) + len(PROGRESS)]

    for cell, text in zip(cells, PROGRESS.values(), strict=True):
        display, result = cell.outputs  # nothing on standard error
        assert display.output_type == "display_data"
        assert text in display.data["text/plain"]
        assert "<progress value=" in display.data["text/html"]
        assert result.output_type == "execute_result"
