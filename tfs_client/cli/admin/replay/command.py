"""tfs-admin replay: send recorded requests to a server, compare the replies, and report the differences."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from tfs_client._printable import counted
from tfs_client.cli import exits
from tfs_client.cli.admin.common_arguments import TOLERANCES
from tfs_client.cli.admin.replay import report
from tfs_client.cli.admin.replay.arguments import ReplayOptions
from tfs_client.cli.admin.replay.replayed_calls import (
    ReplayedCall,
    Replayer,
    compared,
    in_order,
    recorded,
    selected,
)
from tfs_client.cli.admin.server_connection import ServerConnection
from tfs_client.errors import ConfigError
from tfs_client.recordings.differences import check_tolerances
from tfs_client.recordings.recording_file import RecordingFile

MOST_CONCURRENT = 256
INTERVAL = 0.5  # seconds between two updates of the progress


def replay(options: ReplayOptions) -> int:
    """Replay a recording. Raises TFServingError, also for a server that cannot be reached."""
    models = _models(options.model or ())
    _check(options)
    episodes = RecordingFile.read(options.file).episodes
    calls, left = selected(episodes, list(models), replies=options.baseline is None)
    if not calls:
        hint = ""
        if "requests without a recorded reply" in left:
            hint = "; --baseline TARGET takes the expected replies from a server"
        reasons = ", ".join(counted(count, reason) for reason, count in left.items()) or "no calls at all"
        raise ConfigError(f"{options.file}: expected calls to compare, got {reasons}{hint}")
    began = time.monotonic()
    counts: Counter[str] = Counter()
    seconds: list[float] = []
    before: list[float] = []
    with ExitStack() as stack:
        ask = _replayer(options, models, options.version, stack)
        base = None
        if options.baseline is not None:
            base = _replayer(replace(options, server=options.baseline), models, options.baseline_version, stack)

        def run(place: int) -> ReplayedCall:
            number, episode = calls[place]
            expected = recorded(episode) if base is None else base.outcome(episode)
            got = ask.outcome(episode)
            spec = ask.spec_of(episode)
            return compared(number, episode, spec, expected, got, rtol=options.rtol, atol=options.atol)

        with _Progress(len(calls)) as progress:
            for call in in_order(len(calls), run, options.concurrency):
                counts["different" if call.differences else "same"] += 1
                seconds.append(call.got.seconds)
                before.append(call.expected.seconds)
                progress.clear()
                if options.json:
                    exits.show(report.line(call))
                elif call.differences:
                    if counts["different"] == 1:
                        exits.show(report.HEADER)
                    exits.show(report.rows(call))
                progress.update(sum(counts.values()), counts["different"])
    whole = report.Summary(
        counts["same"], counts["different"], dict(left), seconds, before, time.monotonic() - began, options.concurrency
    )
    exits.show(whole.as_json() if options.json else str(whole))
    return exits.DIFFERENT if counts["different"] else exits.OK


def _check(options: ReplayOptions) -> None:
    if not options.server:  # the usual default could be any server: it would get recorded calls
        raise ConfigError("expected --against TARGET, the server to send the calls to")
    if not 1 <= options.concurrency <= MOST_CONCURRENT:
        raise ConfigError(f"expected --concurrency from 1 to {MOST_CONCURRENT}, got {options.concurrency}")
    check_tolerances(options.rtol, options.atol, TOLERANCES)
    if options.baseline is None and options.baseline_version is not None:
        raise ConfigError("--baseline-version needs --baseline TARGET")


def _models(given: Sequence[str]) -> dict[str, str]:
    """Return the new name of each model that is replayed. Raises ConfigError."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, other = text.partition("=")
        if not name or (equals and not other):
            raise ConfigError(f"expected --model NAME or NAME=OTHER, got {text!r}")
        found[name] = other or name
    return found


def _replayer(options: ReplayOptions, models: Mapping[str, str], version: int | None, stack: ExitStack) -> Replayer:
    connection = ServerConnection(options)
    client = stack.enter_context(connection.connect())
    return Replayer(client, rest=connection.rest, models=models, version=version)


class _Progress:
    """The number of calls on standard error, if it is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = sys.stderr is not None and sys.stderr.isatty()
        self._last = 0.0
        self._drawn = False

    def update(self, done: int, different: int) -> None:
        """Show the numbers from time to time."""
        now = time.monotonic()
        if self._shown and now - self._last > INTERVAL:
            self._last = now
            self._drawn = True
            sys.stderr.write(f"\r{done} of {self._total} calls, {different} different")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line before others are printed."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
