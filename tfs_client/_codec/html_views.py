"""HTML views of results and signatures for notebooks.

A view is one element that needs nothing else: inline styles, no script, no request. Colours are those of the page or
half-transparent greys, so that views are readable on light and dark backgrounds. Tables that are wider than the page
scroll on their own.

Names, labels and texts come from servers and files: they are escaped, their control characters are shown, and their
length is bounded, as is the number of rows. Arrays are summarised, never expanded.
"""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import Any, Protocol

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array
from tfs_client._codec.plain_values import plain
from tfs_client._printable import bounded, counted, printable, short_number

MOST_ROWS = 50  # of a table
MOST_TABLES = 20
MOST_SIDES = 200  # inputs and outputs of all signatures
MOST_EXAMPLES = 10
MOST_CLASSES = 5  # of an example
LONGEST = 100  # characters of a name; as long as the summary of an array
LONGEST_MESSAGE = 1000  # bytes of an error text
LONGEST_START = 160  # characters of it that are always in sight
MOST_RANGED = 1 << 24  # values to search for the smallest and the largest

_LINE = "rgba(128,128,128,.4)"  # visible on white and on black
# Notebooks style tables, too: whatever they may set is set here.
_VIEW = "font-family:inherit;font-size:13px;line-height:1.5;color:inherit;max-width:100%"
_SCROLLS = "overflow-x:auto;max-width:100%;margin:.3em 0 .6em"
_TABLE = "border-collapse:collapse;border:none;margin:0;width:auto;font-size:inherit;color:inherit;table-layout:auto"
_ROW = "background:transparent"
_CELL = (
    "padding:.15em 1em .15em 0;text-align:left;vertical-align:top;border:none;max-width:none;"
    f"border-bottom:1px solid {_LINE};background:transparent;color:inherit"
)
_CODE = "white-space:pre;font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
_WRAPS = "white-space:pre-wrap;overflow-wrap:anywhere"  # after _CODE, too
_FAINT = "opacity:.7"

Row = Sequence[str]  # the markup of its cells


class Signature(Protocol):
    """What a view shows of a signature."""

    @property
    def inputs(self) -> Mapping[str, Any]: ...

    @property
    def outputs(self) -> Mapping[str, Any]: ...

    @property
    def method_name(self) -> str: ...

    @property
    def optional(self) -> Collection[str]: ...


class Model(Protocol):
    """What a view shows of the model that answered."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int | None: ...


class Version(Protocol):
    """What a view shows of a model's version."""

    @property
    def version(self) -> int: ...

    @property
    def state(self) -> Any: ...

    @property
    def code(self) -> Any: ...

    @property
    def message(self) -> str: ...


class Scored(Protocol):
    """What a view shows of a class."""

    @property
    def label(self) -> str: ...

    @property
    def score(self) -> float: ...


def prediction(outputs: Mapping[str, Array], model: Model, signature: str, timing: object, example: int | None) -> str:
    """The outputs of a call: dtype, shape, range and first values of each."""
    facts = [f"signature {name_text(signature)}"] if signature else []
    facts += [] if example is None else [f"example {example}"]
    facts.append(name_text(str(timing)))
    rows = [
        [_name(alias), _code(_dtype(array)), _code(str(array.shape)), _code(_range(array)), _values(array)]
        for alias, array in islice(outputs.items(), MOST_ROWS)
    ]
    table = _table(("output", "dtype", "shape", "range", "values"), rows, len(outputs))
    return _view(f"Prediction of {_versioned(model.name, model.version)}", facts, [table])


def signature(found: Signature) -> str:
    """The inputs and outputs of one signature."""
    facts = [name_text(found.method_name)] if found.method_name else []
    return _view("Signature", facts, [_sides(found, MOST_ROWS)])


def signatures(found: Mapping[str, Signature], model: str, version: int | None, stated: bool) -> str:
    """The signatures of a model, each with its table."""
    parts = []
    most = min(MOST_ROWS, MOST_SIDES // max(1, min(len(found), MOST_TABLES)))
    for name, one in islice(sorted(found.items()), MOST_TABLES):
        parts.append(_heading(_visible(name), [name_text(one.method_name or "no method")]) + _sides(one, most))
    if len(found) > MOST_TABLES:
        parts.append(_more(len(found) - MOST_TABLES))
    facts = [counted(len(found), "signatures"), *(["stated by the client"] if stated else [])]
    return _view(f"Signatures of {_versioned(model, version)}", facts, parts)


def model_status(model: str, versions: Sequence[Version], ready: object) -> str:
    """The versions of a model, with their states and errors."""
    facts = ["ready" if ready else "not ready"]
    if not versions:
        facts.append("the server does not report versions")
    rows = [
        [_code(str(one.version)), _code(str(one.state.name)), _code(str(one.code.name)), _message(one.message)]
        for one in versions[:MOST_ROWS]
    ]
    tables = [_table(("version", "state", "code", "message"), rows, len(versions))] if versions else []
    return _view(_visible(model), facts, tables)


def classification(examples: Sequence[Sequence[Scored]], model: Model) -> str:
    """The classes of each example with the highest scores, each with a bar."""
    rows: list[Row] = []
    for number, classes in enumerate(examples[:MOST_EXAMPLES]):
        best = nlargest(MOST_CLASSES, classes, key=lambda one: _comparable(one.score))
        full = max([1.0, *(abs(one.score) for one in best if math.isfinite(one.score))])
        for at, one in enumerate(best):
            rows.append([_code("" if at else str(number)), _name(one.label or "-"), _score(one.score, full)])
        if len(classes) > len(best):
            rows.append([_code(""), _code(f"… {len(classes) - len(best)} more", faint=True), _code("")])
        if not classes:
            rows.append([_code(str(number)), _code("no classes", faint=True), _code("")])
    table = _table(("example", "class", "score"), rows)
    parts = [table] if rows else []
    if len(examples) > MOST_EXAMPLES:
        parts.append(_more(len(examples) - MOST_EXAMPLES))
    return _view(
        f"Classification of {_versioned(model.name, model.version)}", [counted(len(examples), "examples")], parts
    )


def regression(values: Sequence[float], model: Model) -> str:
    """The value of each example."""
    rows = [[_code(str(number)), _code(f"{value:.6g}")] for number, value in enumerate(values[:MOST_EXAMPLES])]
    tables = [_table(("example", "value"), rows, len(values))] if values else []
    return _view(f"Regression of {_versioned(model.name, model.version)}", [counted(len(values), "examples")], tables)


def name_text(text: str) -> str:
    """Return foreign text as markup in one line: at most 100 characters, control characters shown, escaped."""
    shown = printable(text[: LONGEST + 1]).replace("\n", "\\n").replace("\t", "\\t")
    return html.escape(shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…")


def _visible(name: str) -> str:
    """The markup of a name; one without visible characters is in quotes."""
    return name_text(name if name.strip() else f'"{name}"')


def _versioned(name: str, version: int | None) -> str:
    return f"{_visible(name)} version {'unknown' if version is None else version}"


def _view(title: str, facts: Sequence[str], parts: Sequence[str]) -> str:
    return f'<div style="{_VIEW}">{_heading(title, facts)}{"".join(parts)}</div>'


def _heading(title: str, facts: Sequence[str]) -> str:
    """A heading, from markup."""
    rest = "".join(f' <span style="{_FAINT}">· {fact}</span>' for fact in facts)
    return f'<div style="overflow-wrap:anywhere"><strong>{title}</strong>{rest}</div>'


def _table(columns: Sequence[str], rows: Sequence[Row], count: int = 0) -> str:
    """A table that scrolls on its own; ``count``: how many rows there are, with those that are left out."""
    head = "".join(f'<th style="{_CELL};{_FAINT};font-weight:normal">{name}</th>' for name in columns)
    body = "".join(f'<tr style="{_ROW}">{"".join(row)}</tr>' for row in rows)
    more = _more(count - len(rows)) if count > len(rows) else ""
    table = f'<table style="{_TABLE}"><thead><tr style="{_ROW}">{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div style="{_SCROLLS}">{table}{more}</div>'


def _more(left: int) -> str:
    return f'<div style="{_FAINT}">… {left} more</div>'


def _code(text: str, *, faint: bool = False) -> str:
    style = f"{_CELL};{_CODE};{_FAINT}" if faint else f"{_CELL};{_CODE}"
    return f'<td style="{style}">{name_text(text)}</td>'


def _name(text: str) -> str:
    """A name, which may be long: it wraps instead of moving the other columns out of sight."""
    return f'<td style="{_CELL};{_CODE};{_WRAPS};min-width:8em">{_visible(text)}</td>'


def _message(text: str) -> str:
    """An error text; of a long one its start, which unfolds."""
    whole = html.escape(bounded(text, LONGEST_MESSAGE))
    if len(text) > LONGEST_START or text.count("\n") > 1:
        start = printable(" ".join(text[:LONGEST_START].split()))[: LONGEST_START - 1]
        start = html.escape(f"{start}…")
        whole = f'<details><summary style="cursor:pointer">{start}</summary>{whole}</details>'
    return f'<td style="{_CELL};{_WRAPS};min-width:18em">{whole}</td>'


def _score(score: float, full: float) -> str:
    """A score with a bar, as long as its share of ``full``."""
    share = 0.0 if math.isnan(score) else min(1.0, max(0.0, score / full))
    bar = (
        f'<span style="display:inline-block;width:100px;height:.6em;margin-left:.8em;background:{_LINE}">'
        f'<span style="display:block;width:{100 * share:.1f}%;height:100%;background:currentColor;{_FAINT}"></span>'
        "</span>"
    )
    return f'<td style="{_CELL};{_CODE}">{short_number(score):>8}{bar}</td>'


def _comparable(score: float) -> float:
    return -math.inf if math.isnan(score) else score


def _sides(found: Signature, most: int) -> str:
    sides = [("in", alias, spec) for alias, spec in sorted(found.inputs.items())]
    sides += [("out", alias, spec) for alias, spec in sorted(found.outputs.items())]
    rows = [
        [
            _code(side + (" (optional)" if side == "in" and alias in found.optional else "")),
            _name(alias),
            _code(str(spec)),
        ]
        for side, alias, spec in sides[:most]
    ]
    return _table(("", "name", "dtype and shape"), rows, len(sides))


def _dtype(array: Array) -> str:
    return "string" if array.dtype.kind == "O" else str(array.dtype)


def _values(array: Array) -> str:
    text = expansion.summary(array) if array.size else "none"
    return f'<td style="{_CELL};{_CODE};{_WRAPS};min-width:30em">{name_text(text)}</td>'


def _range(array: Array) -> str:
    """The smallest and the largest value as text; "" for values without an order, and for very many."""
    distinct, _ = expansion.collapsed(array, array)
    if not distinct.size or distinct.size > MOST_RANGED:
        return ""
    numbers = plain(distinct)
    if numbers.dtype.kind not in "biuf":
        return ""
    with np.errstate(invalid="ignore"):
        least, most = np.fmin.reduce(numbers, axis=None), np.fmax.reduce(numbers, axis=None)
        gaps = numbers.dtype.kind == "f" and bool(np.isnan(numbers).any())
    if least != least:
        return "NaN"
    text = _number(least) if least == most else f"{_number(least)} … {_number(most)}"
    return f"{text} and NaN" if gaps else text


def _number(value: Any) -> str:
    return f"{float(value):.4g}" if value.dtype.kind == "f" else str(value)
