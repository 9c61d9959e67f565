"""Reports in a browser: they are drawn as intended, need no network, and run nothing that a name or label contains."""

from __future__ import annotations

import numpy as np
import pytest
from peers import chromium
from PIL import Image

from tfs_client.cli.predict.html_report import HtmlReport
from tfs_client.images import (
    Class,
    Classification,
    Detection,
    Detections,
    Embedding,
    Geometry,
    Mask,
    Segmentation,
    Share,
)

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        chromium.program() is None, reason="no Chromium on PATH; scripts/install_chromium.sh installs it"
    ),
]

HOSTILE = (
    "</script><img src=x onerror=\"document.title='run'\">.jpg",
    '"><svg onload="document.title=\'run\'">',
    "'><style>body{display:none}</style><!--",
    '<a href="https://example.com/">x</a>&lt;&amp;',
    "<iframe src='https://example.com/'></iframe>",
)
SIZE = (640, 480)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for all tests of this file."""
    found = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def picture(size=SIZE, colour="#7fa8c9"):
    """A picture of one colour."""
    return Image.new("RGB", size, colour)


@pytest.fixture
def opened(tmp_path, browser):
    """Write a report with a function, open it, and check that it made no request and that nothing complained."""

    def open_report(fill, **options):
        path = tmp_path / "report.html"
        with HtmlReport(str(path), title="resnet version 3", facts={"Preparation": "pictures"}, **options) as report:
            fill(report)
        browser.view(1280)
        browser.open(path)
        assert browser.complaints() == []
        assert browser.requests() == [path.as_uri()]
        return browser

    return open_report


def test_bars_are_as_wide_as_the_probabilities(opened):
    classes = [Class("dog", 0.75), Class("cat", 0.2), Class("bird", 0.05)]

    page = opened(lambda report: report.add("a.jpg", picture(), Classification(classes, True, "scores")))

    widths = page.evaluate(
        "[...document.querySelectorAll('.bar')].map(bar => "
        "bar.querySelector('rect').getBoundingClientRect().width / bar.getBoundingClientRect().width)"
    )
    assert widths == pytest.approx([0.75, 0.2, 0.05], abs=1e-3)
    assert page.evaluate("getComputedStyle(document.querySelector('.bar rect')).fill") == "rgb(23, 102, 194)"


def test_every_thumbnail_is_decoded_in_its_proportions(opened):
    sizes = [(640, 480), (480, 640), (5000, 2), (1, 1), (28, 28), (321, 123)]

    def fill(report):
        for number, size in enumerate(sizes):
            report.add(f"{number}.jpg", picture(size), None)

    page = opened(fill)

    found = page.evaluate("[...document.querySelectorAll('.picture img')].map(i => [i.naturalWidth, i.naturalHeight])")
    assert found == [[320, 240], [240, 320], [320, 1], [1, 1], [28, 28], [320, 123]]


def test_boxes_and_masks_lie_over_their_objects(opened):
    mask = Mask(np.ones((3, 4), bool), (160, 120, 320, 240))
    objects = Detections(
        [Detection("dog", 0.9, 0, (160, 120, 320, 240), mask), Detection("cat", 0.8, 1, (400, 0, 640, 480))],
        SIZE,
        "yolov8",
    )

    page = opened(lambda report: report.add("a.jpg", picture(), objects))

    places = page.evaluate(
        """[...document.querySelectorAll('.picture rect[stroke]')].map(rect => {
            const whole = document.querySelector('.picture > img').getBoundingClientRect();
            const [x, y, width, height] = ['x', 'y', 'width', 'height'].map(name => rect[name].baseVal.value);
            const matrix = rect.getScreenCTM();
            const from = new DOMPoint(x, y).matrixTransform(matrix);
            const to = new DOMPoint(x + width, y + height).matrixTransform(matrix);
            return [(from.x - whole.x) / whole.width, (from.y - whole.y) / whole.height,
                    (to.x - whole.x) / whole.width, (to.y - whole.y) / whole.height];
        })"""
    )
    assert places == [  # the best one is drawn last
        pytest.approx([0.625, 0, 1, 1], abs=2e-3),
        pytest.approx([0.25, 0.25, 0.5, 0.5], abs=2e-3),
    ]
    assert covered(page) == [80, 60, 159, 119]


def covered(page):
    """The edges of the coloured part of the first mask, in pixels of the thumbnail."""
    return page.evaluate(
        """(() => {
            const image = document.querySelector('img.over');
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
            const xs = [], ys = [];
            for (let i = 0; i < pixels.length / 4; i++)
                if (pixels[4 * i + 3]) { xs.push(i % canvas.width); ys.push(Math.floor(i / canvas.width)); }
            const least = values => values.reduce((a, b) => Math.min(a, b));
            const most = values => values.reduce((a, b) => Math.max(a, b));
            return [least(xs), least(ys), most(xs), most(ys)];
        })()"""
    )


def test_a_label_map_colours_what_its_legend_names(opened):
    labels = np.zeros((64, 64), np.int64)
    labels[:, 32:] = 12  # the right half, also of the border above and below the picture
    shares = [Share("background", 0.5, 0), Share("dog", 0.5, 12)]
    answer = Segmentation(labels, shares, Geometry.of(SIZE, (64, 64), "pad"), "map")

    page = opened(lambda report: report.add("a.jpg", picture(), answer))

    assert covered(page) == [160, 0, 319, 239]
    assert page.evaluate("[...document.querySelectorAll('.rows .name')].map(row => row.textContent)") == [
        "background",
        "dog",
    ]


def test_boxes_and_masks_can_be_hidden(opened):
    objects = Detections([Detection("dog", 0.9, 0, (0, 0, 9, 9))], SIZE, "yolov8")

    page = opened(lambda report: report.add("a.jpg", picture(), objects))

    assert page.evaluate("document.querySelector('svg.over').checkVisibility()")
    page.evaluate("document.querySelector('#plain').click()")
    assert not page.evaluate("document.querySelector('svg.over').checkVisibility()")


def test_hostile_names_and_labels_are_shown_and_do_nothing(opened):
    def fill(report):
        for text in HOSTILE:
            report.add(text, picture(), Classification([Class(text, 0.5)], True, text), line=text)
            box = Detection(text, 0.5, 0, (0, 0, 9, 9))
            report.add(text, picture(), Detections([box], SIZE, text))
            report.add(text, text, None, outputs={text: np.array([text.encode()], object)})
            report.failed(text, text)

    page = opened(fill)

    assert page.evaluate("document.title") == "resnet version 3"
    assert page.evaluate("document.querySelectorAll('script, iframe, style, a[href^=http]').length") == 1  # our style
    assert page.evaluate("[...document.images].every(image => image.src.startsWith('data:image/'))")
    rows = page.evaluate("[...document.querySelectorAll('ol.rows .name')].map(row => row.textContent)")
    assert rows == [text for text in HOSTILE for _ in range(2)]
    failures = page.evaluate("[...document.querySelectorAll('#failures li')].map(item => item.textContent)")
    assert failures == [f"{text} {text}" for text in HOSTILE]


def test_failures_are_counted_at_the_top_and_listed_at_the_end(opened):
    def fill(report):
        report.failed("bad.jpg", "it cannot be decoded")
        report.add("good.jpg", picture(), Embedding(np.ones(4, np.float32), "vector"))

    page = opened(fill, before=3)

    assert page.evaluate("document.querySelector('#state').innerText") == (
        "1 picture; 1 failed; 3 pictures of earlier runs not shown."
    )
    assert page.evaluate("document.querySelector('#state a').getAttribute('href')") == "#failures"
    assert page.evaluate("document.querySelector('#failures li').textContent") == "bad.jpg it cannot be decoded"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window_and_its_text_is_readable(opened, width, dark):
    long = "a" * 200 + "/" + "b" * 200 + ".jpg"
    classes = Classification([Class("c" * 300, 0.5), Class("dog", 0.3)], True, "d" * 200)

    def fill(report):
        report.add(long, picture(), classes, line="e" * 300)
        report.failed(long, "f" * 300)

    page = opened(fill)
    page.view(width, dark=dark)

    assert page.evaluate("document.documentElement.scrollWidth") == width
    contrasts = page.evaluate(
        """(() => {
            const light = colour => {
                const parts = colour.match(/[0-9.]+/g).slice(0, 3).map(value => {
                    const part = value / 255;
                    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const ground = element => {
                const colour = getComputedStyle(element).backgroundColor;
                return colour === 'rgba(0, 0, 0, 0)' ? ground(element.parentElement) : colour;
            };
            return ['h1', '#state', '#state a', 'dt', 'dd', 'h2', '.folder', '.line', '.kind', '.name', '.value',
                    '#failures h2', '#failures li', 'footer'].map(selector => {
                const element = document.querySelector(selector);
                const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            });
        })()"""
    )
    assert min(contrasts) >= 4.5, contrasts


def test_the_report_of_a_killed_run_shows_the_pictures_before(tmp_path, browser):
    path = tmp_path / "report.html"
    report = HtmlReport(str(path), title="resnet", facts={})
    report.add("a.jpg", picture(), None)
    report.add("b.jpg", picture(), None)
    killed = tmp_path / "killed.html"
    killed.write_bytes(path.read_bytes()[:-30])  # in the middle of the second picture
    report.close()

    browser.open(killed)

    assert browser.complaints() == []
    assert browser.evaluate("document.querySelector('#state').innerText").startswith("The run has not finished")
    assert browser.evaluate("[...document.querySelectorAll('.picture img')].map(i => i.naturalWidth)") == [320]
