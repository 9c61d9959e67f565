"""HTML views: foreign text stays text, sizes are bounded, and nothing is expanded."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfs_client import (
    Classification,
    ClassScore,
    ModelStatus,
    ModelVersion,
    Prediction,
    Regression,
    Signature,
    Signatures,
    State,
    StatusCode,
    TensorSpec,
    VersionStatus,
)
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._printable import printable

TAGS = {"div", "span", "strong", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
BOUND = 250_000  # characters of any view

# Markup, control characters, an override of the reading direction, a lone surrogate.
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "'\"><img src=x onerror=alert(1)>",
            "a&lt;b",
            "\x1b[31m\x00\u202e",
            "\ud800",
            "\U000e0041" * 99,
            "line\nline\ttab",
            "-->",
        ]
    ),
    st.integers(90, 5000).map(lambda size: "<b>" * size),
)


class Page(HTMLParser):
    """Reads a view: its tags and attributes, the text of its cells, and whether its elements are closed."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.attributes, self.text, self.cells = set(), set(), "", []
        self._open = []
        self.feed(markup)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self._open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self._open:
            self.cells[-1] += data


def read(value):
    """The view of a value, checked for what holds for every view."""
    markup = value._repr_html_()
    page = Page(markup)
    assert page.tags <= TAGS
    assert page.attributes <= {"style"}
    assert len(markup) < BOUND
    assert page.text == printable(page.text)
    markup.encode()
    return page


def prediction(outputs, name="resnet", **options):
    spec = ModelSpec(name, 3, None, "serving_default")
    return Prediction(outputs, answered=spec, asked=spec, clock=(0.0, 0.001, 0.011, 0.0115), **options)


def in_one_line(text):
    text = printable(text).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= 100 else text[:99] + "…"


def visible(name):
    return in_one_line(name if name.strip() else f'"{name}"')


@settings(max_examples=15, deadline=None)
@given(HOSTILE, HOSTILE)
@example("", " ")
def test_foreign_text_is_shown_as_text(text, other):
    spec = TensorSpec("float32", (None, 2))
    signature = Signature({text: spec}, {"y": spec}, other, optional=frozenset([text]))
    model = ModelVersion(other, 3, text)
    status = VersionStatus(3, State.END, StatusCode.INTERNAL, text)
    alias, name = visible(text), visible(other)

    found = read(prediction({text: np.ones(2), "s": np.array([text.encode(errors="replace")], object)}, other))
    assert alias in found.cells
    assert name in found.text
    found = read(Signatures({text: signature}, model=other, version=3))
    assert alias in found.cells
    assert name in found.text
    assert alias in read(signature).cells
    assert name in read(ModelStatus(other, (status,))).text
    assert alias in read(Classification(((ClassScore(text, 0.5),),), model)).cells or not text
    assert name in read(Regression((1.0,), model)).text


def test_a_prediction_shows_dtypes_shapes_ranges_and_values():
    found = read(
        prediction(
            {
                "scores": np.array([[0.25, 0.75]], np.float32),
                "gaps": np.array([1.0, np.nan, np.inf]),
                "none": np.zeros((0, 3), np.int32),
                "nan": np.full(2, np.nan),
                "same": np.int64(7).reshape(()),
                "yes": np.array([True, False]),
                "half": np.array([1.5, 2.5], ml_dtypes.bfloat16),
                "complex": np.array([1j]),
                "text": np.array([b"a\x00"], object),
            },
            example=4,
        )
    )

    rows = [found.cells[at : at + 4] for at in range(0, len(found.cells), 5)]
    assert rows == [
        ["scores", "float32", "(1, 2)", "0.25 … 0.75"],
        ["gaps", "float64", "(3,)", "1 … inf and NaN"],
        ["none", "int32", "(0, 3)", ""],
        ["nan", "float64", "(2,)", "NaN"],
        ["same", "int64", "()", "7"],
        ["yes", "bool", "(2,)", "False … True"],
        ["half", "bfloat16", "(2,)", "1.5 … 2.5"],
        ["complex", "complex128", "(1,)", ""],
        ["text", "string", "(1,)", ""],
    ]
    assert found.cells[4] == "[[0.25 0.75]]"
    assert found.cells[-1] == "[b'a\\x00']"
    for fact in ("resnet version 3", "signature serving_default", "example 4", "wait 10.00 ms"):
        assert fact in found.text


def test_a_broadcast_output_is_not_expanded():
    huge = np.broadcast_to(np.float32(0.5), (1 << 20, 1 << 20, 1 << 10))

    assert read(prediction({"y": huge})).cells[2:4] == ["(1048576, 1048576, 1024)", "0.5"]


def test_long_views_say_how_much_they_leave_out():
    model = ModelVersion("m", 1, "")
    spec = TensorSpec("float32")
    many = tuple(ClassScore(f"class {at}", at / 1000) for at in range(1000))

    assert "… 950 more" in read(prediction({f"y{at}": np.ones(1) for at in range(1000)})).text
    found = read(Classification((many,) * 1000, model))
    assert found.cells[:2] == ["0", "class 999"]
    assert "… 995 more" in found.cells
    assert "… 990 more" in found.text
    assert "… 990 more" in read(Regression((1.5,) * 1000, model)).text
    signature = Signature({f"x{at}": spec for at in range(1000)}, {})
    assert "… 950 more" in read(signature).text
    found = read(Signatures({f"s{at}": signature for at in range(30)}, model="m", version=None))
    assert "… 990 more" in found.text
    assert "… 10 more" in found.text
    versions = tuple(VersionStatus(at, State.END, StatusCode.OK, "x" * 5000) for at in range(1000, 0, -1))
    assert "… 950 more" in read(ModelStatus("m", versions)).text


@pytest.mark.parametrize(("ready", "words"), [(True, "ready"), (False, "not ready")])
def test_a_status_without_versions_says_so(ready, words):
    found = read(ModelStatus("m", (), ready))

    assert f"· {words}" in found.text
    assert "the server does not report versions" in found.text


def test_a_status_shows_states_and_errors():
    versions = (
        VersionStatus(4, State.END, StatusCode.INTERNAL, "no such file"),
        VersionStatus(3, State.AVAILABLE, StatusCode.OK, ""),
    )

    assert read(ModelStatus("m", versions)).cells == [
        *("4", "END", "INTERNAL", "no such file"),
        *("3", "AVAILABLE", "OK", ""),
    ]


@pytest.mark.parametrize(
    ("score", "text", "share"),
    [
        (math.nan, "nan", 0),
        (math.inf, "inf", 100),
        (-math.inf, "-inf", 0),
        (-3.0, "-3.0000", 0),
        (1e308, "1e+308", 100),
        (1e-9, "1e-09", 0),
        (0.25, "0.2500", 25),
    ],
)
def test_any_score_has_a_short_text_and_a_bar(score, text, share):
    classes = (ClassScore("odd", score), ClassScore("usual", 0.5))

    markup = Classification((classes, ()), ModelVersion("m", 1, ""))._repr_html_()

    cells = Page(markup).cells
    at = cells.index("odd")
    assert cells[at + 1].strip() == text
    widths = [float(part.split("%")[0]) for part in markup.split("display:block;width:")[1:]]
    assert len(widths) == 2
    assert widths[cells.index("odd") > cells.index("usual")] == share
    assert "no classes" in markup
    assert str(Classification((classes,), ModelVersion("m", 1, ""))).endswith(f"odd {text}, usual 0.5000")
    assert str(Regression((score,), ModelVersion("m", 1, ""))).endswith(f": {text}")


def test_a_long_name_of_a_model_leaves_its_version_in_sight():
    model = ModelVersion("m" * 200, 3, "")

    for value in (prediction({}, "m" * 200), Regression((), model), Classification((), model)):
        assert f"of {'m' * 99}… version 3" in read(value).text


def test_long_error_texts_unfold():
    text = "cannot load\n" + "no such file; " * 40 + "\u061cend"
    versions = (VersionStatus(2, State.END, StatusCode.INTERNAL, text), VersionStatus(1, State.END, StatusCode(0), "x"))

    found = read(ModelStatus("m", versions))

    start, whole = found.cells[3].split("…")
    assert start == (text.replace("\n", " "))[:159]
    assert whole == text.replace("\u061c", r"\u061c")
    assert found.cells[7] == "x"


def test_optional_inputs_are_marked():
    spec = TensorSpec("int64", ())
    found = read(Signature({"x": spec, "k": spec}, {"y": spec}, optional=frozenset("k")))

    assert found.cells == ["in (optional)", "k", "int64 scalar", "in", "x", "int64 scalar", "out", "y", "int64 scalar"]
