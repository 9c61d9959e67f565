"""Progress of the batch calls: counts, a function, lines, a bar on a terminal; and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import subprocess
import sys
from collections import deque
from functools import partial

import numpy as np
import pytest
from batch_models import BAD, many

from tfs_client import AsyncPredictClient, ConfigError, PredictClient, TFServingError, UnavailableError
from tfs_client._flows.batching.batch_steps import Begin, Ended
from tfs_client._flows.batching.concurrency_limit import concurrency_limit
from tfs_client._flows.batching.predict_batched import batched_flow
from tfs_client._flows.batching.progress.bar import Bar
from tfs_client._flows.batching.progress.choice import display_for
from tfs_client._flows.batching.progress.counts import INTERVAL, Counts, Lines, reported
from tfs_client._flows.batching.rows import Rows


def rows(count):
    return {"x": np.arange(count, dtype=np.float32)}


def examples(count):
    return [{"x": np.float32(number)} for number in range(count)]


def test_a_function_gets_the_rows_of_predict_batched(any_client):
    seen = []

    any_client.predict_batched(
        rows(100), model="picky", batch_size=30, progress=lambda done, total: seen.append((done, total))
    )

    assert seen[0] == (0, 100)
    assert seen[-1] == (100, 100)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {total for _, total in seen} == {100}


@pytest.mark.parametrize(("source", "total"), [(list, 40), (iter, None)])
def test_a_function_gets_the_examples_of_predict_many(any_client, source, total):
    seen = []
    given = examples(39)
    given.insert(7, {"x": np.float32(BAD)})

    found = many(
        any_client,
        source(given),
        model="picky",
        batch_size=8,
        on_error="return",
        progress=lambda done, total: seen.append((done, total)),
    )

    assert len(found) == 40
    assert seen[0] == (0, total)
    assert seen[-1] == (40, total)


def test_an_error_of_the_function_ends_the_call(models):
    def refuse(done, total):
        raise RuntimeError("enough")

    with PredictClient(models.target, model="picky") as client:
        for call in (
            lambda: client.predict_batched(rows(9), progress=refuse),
            lambda: list(client.predict_many(examples(9), progress=refuse)),
        ):
            with pytest.raises(RuntimeError, match="enough"):
                call()


@pytest.mark.parametrize("progress", [1, "yes", None])
def test_other_values_are_refused_before_anything_is_sent(progress):
    with PredictClient("127.0.0.1:1", model="m") as client:
        for call in (
            lambda: client.predict_batched(rows(9), progress=progress),
            lambda: client.predict_many(examples(9), progress=progress),
        ):
            with pytest.raises(ConfigError, match="expected progress as True, False or a function"):
                call()


async def awaited(done, total):
    """A function that nothing would await."""


class Awaited:
    async def __call__(self, done, total):
        """The same as an object."""


@pytest.mark.parametrize("progress", [awaited, Awaited(), partial(awaited), lambda *counts: awaited(*counts)])
def test_async_functions_are_refused(models, progress):
    with PredictClient(models.target, model="picky") as client:
        for call in (
            lambda: client.predict_batched(rows(9), progress=progress),
            lambda: list(client.predict_many(examples(9), progress=progress)),
        ):
            with pytest.raises(ConfigError, match="expected progress as a function that is not async"):
                call()


def test_lines_know_what_waits_and_what_is_open():
    now, out = 0.0, io.StringIO()
    lines = Lines(out, lambda: now, "rows")

    lines.update(Counts(done=1))
    now += INTERVAL
    lines.update(Counts(done=50, failed=2, waiting=64))
    now += INTERVAL
    lines.update(Counts(200, done=50))

    assert out.getvalue().splitlines() == [
        "52 rows, 2 failed, 64 waiting for the busy server, 5.0 rows/s",
        "50 of 200, 2.5 rows/s, 1 min 0 s left",
    ]


def test_rows_that_a_busy_server_refused_are_counted_as_waiting():
    seen = []

    class Noted:
        def update(self, counts):
            seen.append(counts.waiting)

        def close(self):
            seen.append(None)

    inbox, counts = deque(), Counts(6)
    flow = reported(
        batched_flow(Rows(rows(6), None), 3, concurrency_limit(2), inbox, lambda: 0.0, counts), counts, Noted()
    )
    begun = [next(flow), next(flow)]
    assert all(isinstance(step, Begin) for step in begun)
    busy = UnavailableError("busy", "Predict")
    busy.retry_after = 1.0
    inbox.append(Ended(begun[1].job, None, busy))
    next(flow)
    next(flow)
    flow.close()

    assert seen[-2:] == [3, None]


def test_a_file_gets_no_bar(models, capfd):
    with PredictClient(models.target, model="picky") as client:
        client.predict_batched(rows(9), progress=True)
        assert len(list(client.predict_many(examples(9), progress=True))) == 9

    assert capfd.readouterr() == ("", "")


def test_a_closed_standard_error_does_no_harm(models, monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        with PredictClient(models.target, model="picky") as client:
            assert len(client.predict_batched(rows(9), progress=True)["y"]) == 9


def test_a_terminal_that_goes_away_does_no_harm(models, monkeypatch):
    class Gone(io.StringIO):
        def isatty(self):
            return True

        def write(self, text):
            raise OSError("gone")

    monkeypatch.setattr(sys, "stderr", Gone())
    with PredictClient(models.target, model="picky") as client:
        assert len(client.predict_batched(rows(9), progress=True)["y"]) == 9


def test_without_rich_a_terminal_gets_an_error(monkeypatch):
    attached(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich.progress", None)

    with pytest.raises(ConfigError, match=r"pip install 'tfs-client\[progress\]'"):
        display_for(True)


def test_rich_is_imported_for_a_bar_alone(models, monkeypatch):
    for name in ("rich", "rich.progress", "rich.console"):
        monkeypatch.setitem(sys.modules, name, None)  # an import fails
    with PredictClient(models.target, model="picky") as client:
        assert len(client.predict_batched(rows(9))["y"]) == 9
        assert len(client.predict_batched(rows(9), progress=True)["y"]) == 9  # standard error is a file


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
PATIENCE = 60  # seconds that the test should not need
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def attached(monkeypatch):
    """A terminal that is standard error from now on."""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    for name, value in {"TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return found


def test_a_bar_shows_rows_failures_and_the_rate(models, monkeypatch):
    terminal = attached(monkeypatch)
    given = [*examples(39), {"x": np.float32(BAD)}]
    with PredictClient(models.target, model="picky") as client:
        results = client.predict_many(given, on_error="return", progress=True)
        assert terminal.getvalue() == ""  # it begins with the first result
        assert len(list(results)) == 40

    text = terminal.getvalue()
    assert "40/40" in text
    assert "1 failed" in text
    assert "rows/s" in text
    assert text.index(HIDE) < text.index(SHOW)
    assert not text.endswith(HIDE)


def ends(client):
    """How a call may end before its last row: by an error, by the caller, by an interrupt."""

    def source(kind):
        yield from examples(3)
        raise kind

    def closed():
        results = client.predict_many(examples(500), batch_size=2, progress=True)
        next(results)
        results.close()

    def dropped():
        next(client.predict_many(examples(500), batch_size=2, progress=True))

    return [
        lambda: list(client.predict_many(source(ValueError("no")), progress=True)),
        lambda: list(client.predict_many(source(KeyboardInterrupt()), progress=True)),
        lambda: client.predict_batched({"x": np.full(9, BAD, np.float32)}, progress=True),
        closed,
        dropped,
    ]


@pytest.mark.parametrize("end", range(5))
def test_the_cursor_comes_back_however_the_call_ends(models, monkeypatch, end):
    terminal = attached(monkeypatch)
    out = sys.stdout
    with PredictClient(models.target, model="picky") as client, contextlib.suppress(Exception, KeyboardInterrupt):
        ends(client)[end]()

    text = terminal.getvalue()
    assert text.count(HIDE) == text.count(SHOW) == 1
    assert text.index(HIDE) < text.index(SHOW)
    assert (sys.stdout, sys.stderr) == (out, terminal)


def test_a_call_within_a_call_draws_no_second_bar(models, monkeypatch):
    terminal = attached(monkeypatch)
    with PredictClient(models.target, model="picky") as client:

        def source():
            for number in client.predict_batched(rows(9), progress=True)["y"]:
                yield {"x": number}

        assert len(list(client.predict_many(source(), progress=True))) == 9
        assert terminal.getvalue().count(HIDE) == 1
        client.predict_batched(rows(9), progress=True)  # the next call has a bar again

    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 2


def test_calls_by_turns_draw_one_bar(models, monkeypatch):
    terminal = attached(monkeypatch)
    out = sys.stdout
    with PredictClient(models.target, model="picky") as client:
        begun = [client.predict_many(examples(40), batch_size=8, progress=True) for _ in range(2)]
        assert [len(list(turns)) for turns in zip(*zip(*begun, strict=True), strict=True)] == [40, 40]

    text = terminal.getvalue()
    assert text.count(HIDE) == text.count(SHOW) == 1
    assert (sys.stdout, sys.stderr) == (out, terminal)


def test_the_end_of_the_program_ends_the_bar():
    script = (
        "from tfs_client._flows.batching.progress import bar, counts; "
        "begun = bar.Bar('rows'); begun.update(counts.Counts(9, done=4))"
    )
    environment = {**os.environ, "TERM": "xterm", "FORCE_COLOR": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, env=environment, timeout=PATIENCE
    )

    text = ran.stderr.decode()
    assert text.count(HIDE) == text.count(SHOW) == 1
    assert text.index(HIDE) < text.index(SHOW)


@pytest.mark.parametrize(("width", "has_bar"), [(20, False), (80, True)])
def test_a_narrow_terminal_keeps_the_counts(monkeypatch, width, has_bar):
    terminal = attached(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(width))
    bar = Bar("rows")
    bar.update(Counts(100_000, done=4000))
    bar.update(Counts(100_000, done=4000, failed=1))
    bar.close()

    drawn = [line for line in ESCAPES.sub("\n", terminal.getvalue()).splitlines() if "/100000" in line]
    assert drawn
    assert max(map(len, drawn)) <= width
    assert any(character in terminal.getvalue() for character in "━╸╺") == has_bar


def test_a_narrow_terminal_cuts_the_text_about_failures(monkeypatch):
    terminal = attached(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    bar = Bar("rows")
    bar.update(Counts(1000, done=400, failed=3, waiting=64))
    bar.close()

    assert " 403/1000 3 failed, 64 waiting for the … " in f" {' '.join(ESCAPES.sub('', terminal.getvalue()).split())} "


def test_a_bar_within_the_users_own_display(models, monkeypatch):
    terminal = attached(monkeypatch)
    rich_console, rich_live = pytest.importorskip("rich.console"), pytest.importorskip("rich.live")
    with (
        rich_live.Live("mine", console=rich_console.Console(stderr=True), auto_refresh=False),
        PredictClient(models.target, model="picky") as client,
    ):
        assert len(client.predict_batched(rows(9), progress=True)["y"]) == 9

    assert "9/9" in terminal.getvalue()


def test_asyncio_shows_a_bar_too(models, monkeypatch):
    terminal = attached(monkeypatch)

    async def call():
        async with AsyncPredictClient(models.target, model="picky") as client:
            await client.predict_batched(rows(9), progress=True)
            results = client.predict_many(examples(9), batch_size=2, progress=True)
            await anext(results)
            await results.aclose()

    asyncio.run(call())

    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_leaves_the_bar_alone(models, monkeypatch):
    terminal = attached(monkeypatch)
    with PredictClient(models.target, model="picky") as client:
        results = client.predict_many(examples(500), batch_size=2, progress=True)
        next(results)
        before = terminal.getvalue()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with contextlib.suppress(TFServingError):
                    next(results)
                code = 0 if terminal.getvalue() == before else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        results.close()
