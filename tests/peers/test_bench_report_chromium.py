"""Reports of tfs-bench in a browser: on wide and narrow pages, light and dark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from peers import chromium

from tfs_client.cli.bench.report.html import page

sys.path.append(str(Path(__file__).parent.parent / "cli" / "bench" / "report"))
import bench_results

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        chromium.program() is None, reason="no Chromium on PATH; scripts/install_chromium.sh installs it"
    ),
]

HOSTILE = "</svg><script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser for all tests of this file."""
    found = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(params=["steps", "comparison"])
def opened(request, browser, tmp_path):
    """A page, with hostile texts in it, that made no request and of which nothing complained."""
    results = getattr(bench_results, request.param)()
    results.notes.append(HOSTILE)
    path = tmp_path / "report.html"
    page.write(str(path), results)
    browser.open(path)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.evaluate("document.title").startswith("Load test of resnet")
    return browser


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_cut_off_or_overlaps(opened, width, dark):
    opened.view(width, dark=dark)

    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert (
        opened.evaluate("""[...document.querySelectorAll('figure > svg text')].filter(one => {
            const [own, all] = [one.getBoundingClientRect(), one.ownerSVGElement.getBoundingClientRect()];
            return own.left < all.left - 1 || own.right > all.right + 1 || own.top < all.top - 1
                || own.bottom > all.bottom + 1;
        }).map(one => one.textContent)""")
        == []
    )
    assert (
        opened.evaluate("""[...document.querySelectorAll('figure > svg')].flatMap(chart => {
            const labels = [...chart.querySelectorAll('text:not(.mark)')].map(one => [one.textContent,
                one.getBoundingClientRect()]);
            return labels.flatMap(([name, own], at) => labels.slice(at + 1).filter(([, other]) =>
                own.left < other.right - 1 && other.left < own.right - 1
                && own.top < other.bottom - 3 && other.top < own.bottom - 3).map(([other]) => name + ' ' + other));
        })""")
        == []
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_stand_out_from_the_card(opened, dark):
    opened.view(1280, dark=dark)

    contrasts = opened.evaluate("""(() => {
        const light = colour => {
            const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(value => {
                const part = value / 255;
                return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = light(getComputedStyle(document.querySelector('figure')).backgroundColor);
        return [...document.querySelectorAll('figure text, rect[class^=s], polyline')].map(one => {
            const style = getComputedStyle(one);
            const own = light(style.fill === 'none' ? style.stroke : style.fill);
            return (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
        });
    })()""")
    assert len(contrasts) > 10
    assert min(contrasts) >= 4.5
