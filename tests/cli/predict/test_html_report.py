from __future__ import annotations

import base64
import io
import os
import re

import numpy as np
import pytest
from html_pages import parsed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfs_client._printable import printable
from tfs_client.cli.predict import html_page
from tfs_client.cli.predict.arguments import parse
from tfs_client.cli.predict.command import main
from tfs_client.cli.predict.html_report import STATE, HtmlReport, check
from tfs_client.cli.predict.report_facts import facts_of
from tfs_client.cli.predict.thumbnails import LEAST_SIDE, SIDE, thumbnail
from tfs_client.errors import ConfigError
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

PICTURE = Image.new("RGB", (64, 48), "#336699")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "report.html")


def written(path, fill, **options):
    """A report that a function fills, parsed."""
    with HtmlReport(path, title="resnet version 3", facts={"Model": "resnet"}, **options) as report:
        fill(report)
    return parsed(path)


def test_a_report_has_all_kinds_of_answers_and_closes_every_element(path):
    size = PICTURE.size
    labels = np.zeros(size[::-1], np.int32)
    labels[:10] = 3
    box = Detection("dog", 0.9, 1, (1, 2, 30, 40), Mask(labels > 0, (0, 0, *size)))
    shares = [Share("sky", 0.8, 0), Share("sea", 0.2, 3)]

    def fill(report):
        report.add("a.jpg", PICTURE, Classification([Class("cat", 0.9), Class("dog", 0.1)], True, "scores"))
        report.add("b.jpg", PICTURE, Classification([Class("cat", -2.0), Class("dog", float("nan"))], False, "logits"))
        report.add("c.jpg", PICTURE, Detections([box] * 12, size, "yolov8"))
        report.add("d.jpg", PICTURE, Detections([], size, "yolov8"))
        report.add("e.jpg", PICTURE, Segmentation(labels, shares, Geometry.of(size, size), "map"))
        report.add("f.jpg", PICTURE, Embedding(np.arange(4, dtype=np.float32), "vector"))
        report.add("g.jpg", "it cannot be decoded", None, outputs={"x": np.zeros((2, 3), np.float32)})
        report.failed("h.jpg", "no answer")

    page = written(path, fill)

    assert page.open == []
    assert page.state == "7 pictures; 1 failed."
    assert page.texts["value"] == [
        *("90.0%", "10.0%", "-2", "nan"),
        *["0.90"] * 12,
        *("80.0%", "20.0%", "3.742", "float32 (2, 3)"),
    ]
    assert "it cannot be decoded" in page.texts["missing"]
    assert page.texts["b"] == ["h.jpg"]


@settings(max_examples=15, deadline=None)
@given(name=st.text(min_size=1, max_size=20), label=st.text(max_size=20), output=st.text(max_size=20))
def test_any_text_is_shown_as_it_is(tmp_path_factory, name, label, output):
    path = str(tmp_path_factory.mktemp("report") / "report.html")
    answer = Classification([Class(label, 0.5)], True, output)

    page = written(path, lambda report: report.add(name, PICTURE, answer))

    def shown(text):
        return printable(text).replace("\n", "\\n").replace("\t", "\\t")

    assert page.open == []
    assert "".join(page.texts.get("h2", [])).strip() == shown(name).strip()
    assert "".join(page.texts.get("name", [])).strip() == shown(label).strip()
    assert [attributes["alt"] for tag, attributes in page.found if tag == "img"] == [shown(name)]


@pytest.mark.parametrize(
    ("corners", "names", "rows"),
    [
        (((20, 20), (20, 120), (200, 200)), ["cat 0.90", "cat 0.90", "cat 0.90"], ["cat", "cat", "cat"]),
        (((20, 60), (60, 65)), ["1", "2"], ["1 cat", "2 cat"]),  # the names would overlap
        (((20, 60), (200, 60)), ["cat 0.90", "cat 0.90"], ["cat", "cat"]),
        (((20, 239),), ["cat 0.90"], ["cat"]),
        (((-40, 60),), ["1"], ["1 cat"]),  # the name would begin outside of the picture
    ],
    ids=str,
)
def test_boxes_have_names_where_these_fit(path, corners, names, rows):
    items = [Detection("cat", 0.9, 1, (left, top, left + 30, top + 30)) for left, top in corners]
    answer = Detections(items, (320, 240), "yolov8")

    page = written(path, lambda report: report.add("a.jpg", Image.new("RGB", (320, 240)), answer))

    assert sorted(page.texts["text"]) == names
    assert page.texts["name"] == rows


@pytest.mark.parametrize(
    ("score", "shown"), [(1.0, "100.0%"), (0.9999, ">99.9%"), (0.9994, "99.9%"), (0.0004, "<0.1%"), (0.0, "0.0%")]
)
def test_only_certain_probabilities_are_shown_as_certain(path, score, shown):
    answer = Classification([Class("cat", score)], True, "scores")

    page = written(path, lambda report: report.add("a.jpg", PICTURE, answer))

    assert "".join(page.texts["value"]) == shown


def test_a_name_that_is_not_utf8_is_escaped(path):
    page = written(path, lambda report: report.add(os.fsdecode(b"a\xff.jpg"), PICTURE, None))

    assert page.texts["h2"] == ["a\\udcff.jpg"]


def test_the_page_forbids_scripts_and_requests(path):
    page = written(path, lambda report: report.add("a.jpg", PICTURE, None))

    policies = [found["content"] for tag, found in page.found if tag == "meta" and "http-equiv" in found]
    assert re.fullmatch(
        "default-src 'none'; img-src data:; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'", *policies
    )
    assert all("style" not in attributes for _, attributes in page.found)


def test_a_report_is_replaced_by_the_next_one(path):
    written(path, lambda report: report.add("a.jpg", PICTURE, None))

    page = written(path, lambda report: report.add("b.jpg", PICTURE, None))

    assert page.texts["h2"] == ["b.jpg"]


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>\n<html>mine", b"GIF89a", html_page.MARK[:20].encode()])
def test_another_file_is_left_unchanged_unless_it_is_to_be_overwritten(path, content):
    with open(path, "wb") as file:
        file.write(content)

    with pytest.raises(ConfigError, match="was not written by tfs-predict"):
        HtmlReport(path, title="t", facts={})
    with open(path, "rb") as file:
        assert file.read() == content

    assert written(path, lambda report: None, overwrite=True).texts["h1"] == ["resnet version 3"]


@pytest.mark.parametrize("name", ["report.jpg", "report", "html"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"expected a file with the suffix \.html or \.htm"):
        HtmlReport(str(tmp_path / name), title="t", facts={}, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "folder.html").mkdir()

    with pytest.raises(ConfigError, match=r"the folder '.*missing' does not exist"):
        check(str(tmp_path / "missing" / "report.html"))
    with pytest.raises(ConfigError, match="it is a folder"):
        check(str(tmp_path / "folder.html"))
    check(str(tmp_path / "report.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_facts_are_the_options_that_shape_the_answers():
    arguments = "--image a.jpg --model resnet --token secret --server host:1 --min-score 0 --softmax --labels names.txt"
    options = parse(arguments.split())

    facts = facts_of(options, model="resnet version 3", preparation="pictures → 224x224")

    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d{4}", facts.pop("Written"))
    assert facts == {
        "Model": "resnet version 3, signature serving_default",
        "Preparation": "pictures → 224x224",
        "Options": "--labels names.txt --softmax --min-score 0.0",
    }


def test_a_report_that_another_run_writes_is_refused(path):
    with HtmlReport(path, title="t", facts={}), pytest.raises(ConfigError, match="another run is writing it"):
        HtmlReport(path, title="t", facts={})


def test_the_report_of_a_run_that_ended_early_says_so(path):
    def broken(report):
        report.add("a.jpg", PICTURE, None)
        report.failed("b.jpg", "no")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(path, broken)

    page = parsed(path)
    assert page.state == "The run ended early. 1 picture; 1 failed."
    assert page.open == []
    assert page.texts["b"] == ["b.jpg"]


def test_the_state_fits_into_the_place_that_is_kept_for_it(path):
    report = HtmlReport(path, title="t", facts={}, before=10**18)
    report._shown = report._failed = 10**18

    assert len(("The run ended early. " + report._state()).encode()) <= STATE
    report._shown = report._failed = 0
    report.close()


def test_many_failures_are_all_listed(path):
    text = "x" * 3000

    def fill(report):
        for number in range(500):
            report.failed(f"{number}.jpg", text)

    page = written(path, fill)

    assert page.texts["b"] == [f"{number}.jpg" for number in range(500)]
    assert page.open == []


def test_outputs_that_declare_a_huge_shape_cost_nothing(path):
    huge = np.broadcast_to(np.float32(1.5), (1 << 20, 1 << 20))

    page = written(path, lambda report: report.add("a.jpg", PICTURE, None, outputs={"x": huge}))

    assert page.texts["place"] == ["1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, …"]


def decoded(uri):
    kind, data = re.fullmatch("data:image/(jpeg|png);base64,(.+)", uri).groups()
    return kind, base64.b64decode(data)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_thumbnail_has_the_proportions_of_its_picture(width, height):
    found = thumbnail(Image.new("L", (width, height), 200))

    assert max(found.size) == min(SIDE, max(width, height))
    scale = max(found.size) / max(width, height)
    assert found.size == (max(1, round(width * scale)), max(1, round(height * scale)))
    factor = found.shown[0] // found.size[0]
    assert found.shown == (factor * found.size[0], factor * found.size[1])
    assert max(found.shown) <= max(LEAST_SIDE, max(found.size))
    with Image.open(io.BytesIO(decoded(found.uri)[1])) as image:
        assert image.size == found.size


def test_a_thumbnail_has_no_metadata():
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (80, 100, 3), np.uint8))
    for picture in (photo, PICTURE.copy()):
        exif = Image.Exif()
        exif[0x010F] = "a maker of cameras"
        picture.info = {"exif": exif.tobytes(), "comment": b"secret comment", "icc_profile": b"secret profile"}

        kind, data = decoded(thumbnail(picture).uri)

        assert kind == ("jpeg" if picture is photo else "png")
        assert b"secret" not in data
        assert b"maker" not in data


def test_the_command_writes_a_report_of_its_picture(path, tmp_path, capsys):
    picture = tmp_path / "a & b.png"
    PICTURE.save(picture)

    code = main(["--image", str(picture), "--embedded", "--model", "segment", "--task", "segment", "--html", path])

    assert (code, capsys.readouterr().err) == (0, "")
    page = parsed(path)
    assert page.texts["h1"] == ["segment version 1"]
    assert page.texts["h2"] == [f"{tmp_path}/", "a & b.png"]
    assert "--task segment" in page.texts["dd"]
    assert any(found.startswith("picture 64x48 → ") for found in page.texts["dd"])
    assert [attributes.get("class") for tag, attributes in page.found if tag == "img"] == ["tiny", "over tiny"]
