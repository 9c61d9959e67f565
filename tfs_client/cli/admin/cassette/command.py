"""tfs-admin cassette: show, compare and scrub recordings."""

from __future__ import annotations

import re
from collections import Counter

from tfs_client._printable import counted, listed, shown
from tfs_client.cli import exits
from tfs_client.cli.admin.cassette.arguments import (
    CassetteDiffOptions,
    CassetteOptions,
    CassetteScrubOptions,
    CassetteShowOptions,
)
from tfs_client.cli.admin.common_arguments import TOLERANCES
from tfs_client.errors import ConfigError
from tfs_client.recordings.recording_file import DamagedRecordingError, RecordingFile


def cassette(options: CassetteOptions) -> int:
    """Run the command on recordings."""
    match options.action:
        case "show":
            return show(options)
        case "diff":
            return diff(options)
        case "scrub":
            return scrub(options)


def show(options: CassetteShowOptions) -> int:
    """List the calls of a recording. Raises DecodeError for a damaged one, after its readable calls are listed."""
    from tfs_client.cli.admin.cassette import listing

    damage = None
    try:
        episodes = RecordingFile.read(options.file).episodes
    except DamagedRecordingError as error:
        episodes, damage = error.episodes, error
    write = listing.as_json if options.json else listing.table
    exits.show(write(episodes, values=options.inputs))
    if damage is not None:
        raise damage
    return exits.OK


def diff(options: CassetteDiffOptions) -> int:
    """Compare two recordings."""
    from tfs_client.cli.admin.cassette import comparison
    from tfs_client.cli.admin.replay import report
    from tfs_client.cli.admin.replay.replayed_calls import selected
    from tfs_client.cli.json_output import dumps
    from tfs_client.recordings.differences import check_tolerances

    check_tolerances(options.rtol, options.atol, TOLERANCES)
    files = [RecordingFile.read(path) for path in (options.a, options.b)]
    (a, left_a), (b, left_b) = (selected(file.episodes, replies=True) for file in files)
    counts: Counter[str] = Counter(same=0, changed=0, missing=0, added=0)
    kinds = {comparison.ONLY_IN_A: "missing", comparison.ONLY_IN_B: "added"}
    header = options.json
    for call in comparison.comparisons(a, b, rtol=options.rtol, atol=options.atol, any_version=options.any_version):
        counts[kinds.get(call.differences[0].reason, "changed") if call.differences else "same"] += 1
        if options.json:
            exits.show(report.line(call))
        elif call.differences:
            exits.show(report.rows(call) if header else f"{report.HEADER}\n{report.rows(call)}")
            header = True
    left = Counter(left_a) + Counter(left_b)
    if options.json:
        exits.show(dumps({**counts, "left_out": dict(left)}))
    else:
        exits.show(", ".join(f"{count} {kind}" for kind, count in counts.items()))
        for reason, count in left.items():
            exits.show(f"left out: {counted(count, reason)}")
    return exits.OK if counts.total() == counts["same"] else exits.DIFFERENT


def scrub(options: CassetteScrubOptions) -> int:
    """Write a recording without what is to be removed, and report what was."""
    from tfs_client.cli.admin.cassette.scrubbing import Scrubber

    output = options.output or options.file
    if options.output is not None and RecordingFile(output).exists:
        raise ConfigError(f"{output!r} exists: choose another file, or replace the recording with --in-place")
    scrubber = Scrubber(
        metadata={key.lower() for key in options.keys},
        all_metadata=options.all_metadata,
        inputs=options.input,
        keep=options.keep_input or None,
        patterns=[_pattern(text) for text in options.details],
    )
    if not (options.keys or options.all_metadata or options.input or options.keep_input or options.details):
        raise ConfigError("expected what to remove: --metadata, --all-metadata, --input, --keep-input or --details")
    recorded = RecordingFile.read(options.file).episodes
    episodes = [scrubber.scrubbed(number, episode) for number, episode in enumerate(recorded)]
    if unknown := [name for name in (*options.input, *options.keep_input) if name not in scrubber.seen]:
        # With a wrong name, values that were to be removed would stay.
        raise ConfigError(f"expected inputs of the recording, got {shown(unknown[0])}; it has {_named(scrubber.seen)}")
    try:
        RecordingFile.write(output, episodes)
    except OSError as error:
        raise ConfigError(f"cannot write {output!r}: {error.strerror or error}") from None
    exits.show(f"{output}: {counted(len(episodes), 'calls')}")
    for what, number in sorted(scrubber.removed.items()):
        exits.show(f"removed: {what}, of {counted(number, 'calls')}")
    for key in sorted({*map(str.lower, options.keys)}):
        if f"metadata {shown(key)}" not in scrubber.removed:
            exits.show_note(f"tfs-admin: no call has metadata {shown(key)}")
    for note in scrubber.left:
        exits.show_note(f"tfs-admin: warning: {note}")
    return exits.OK


def _named(names: set[str]) -> str:
    return listed([shown(name) for name in sorted(names)])


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"--details {shown(text)} is not a regular expression: {error}") from None
