"""The options of ``tfs-admin cassette``, whose commands show, compare and scrub recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tfs_client.cli.admin.common_arguments import add_json, add_tolerances, describe, exit_codes
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = "Show, compare or scrub recordings of calls. Warmup files are recordings, too."

SHOW = """List the calls of a recording: number, method, model, version, signature, inputs, outcome, milliseconds.

The version is the one that answered, or the one that was asked for; a label is shown with it. Of a damaged file, the
calls before the damage are listed, and the exit code is 1."""

DIFF = """Compare two recordings. Each call of B is matched with one of A that has the same method, model, version,
signature and inputs. Differences are changed outputs, by output and index, calls that are only in A, and calls that
are only in B. Calls of GetModelStatus and requests without a reply are left out."""

SCRUB = """Remove sensitive data from a recording, and list what was removed. Replies are kept.

--metadata removes the pairs with these keys, and their values from error texts. Authorization, cookies and keys such
as x-api-token are always removed. --input replaces the values of inputs, and of features of examples, with zeros
or empty strings of the same shape; --keep-input keeps an input and replaces all others. --details removes what
matches a regular expression from error texts."""

USAGE = "wrong arguments, or a file that cannot be opened"

EPILOG = """examples:
  tfs-admin cassette show calls.tfrecord --inputs
  tfs-admin cassette diff before.tfrecord after.tfrecord --rtol 1e-4
  tfs-admin cassette scrub calls.tfrecord -o clean.tfrecord --metadata x-user --input image
  tfs-admin cassette scrub calls.tfrecord --in-place --all-metadata --details '[\\w.]+@[\\w.]+'

"""


@dataclass(frozen=True)
class CassetteShowOptions:
    """The options of ``tfs-admin cassette show``."""

    command: Literal["cassette"]
    action: Literal["show"]
    file: str
    inputs: bool
    json: bool


@dataclass(frozen=True)
class CassetteDiffOptions:
    """The options of ``tfs-admin cassette diff``."""

    command: Literal["cassette"]
    action: Literal["diff"]
    a: str
    b: str
    rtol: float
    atol: float
    any_version: bool
    json: bool


@dataclass(frozen=True)
class CassetteScrubOptions:
    """The options of ``tfs-admin cassette scrub``."""

    command: Literal["cassette"]
    action: Literal["scrub"]
    file: str
    output: str | None
    in_place: bool
    keys: Sequence[str]
    all_metadata: bool
    input: Sequence[str]
    keep_input: Sequence[str]
    details: Sequence[str]


CassetteOptions = CassetteShowOptions | CassetteDiffOptions | CassetteScrubOptions


def add(parser: ArgumentParser) -> None:
    """Add the commands to the parser of the command."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG + _codes("  9    diff: the recordings differ\n")
    actions = parser.add_subparsers(
        dest="action", metavar="COMMAND", required=True, title="commands", parser_class=type(parser)
    )
    _show(actions.add_parser("show", help="list the calls of a recording"))
    _diff(actions.add_parser("diff", help="compare two recordings"))
    _scrub(actions.add_parser("scrub", help="remove metadata, inputs and texts from a recording"))


def _show(parser: ArgumentParser) -> None:
    describe(parser, CassetteShowOptions, SHOW, _codes())
    parser.add_argument("file", metavar="FILE", help="a recording, or a warmup file")
    parser.add_argument("--inputs", action="store_true", help="also print the values of inputs, shortened")
    add_json(parser)


def _diff(parser: ArgumentParser) -> None:
    describe(parser, CassetteDiffOptions, DIFF, _codes("  9    the recordings differ\n"))
    parser.add_argument("a", metavar="A", help="the recording with the expected replies")
    parser.add_argument("b", metavar="B", help="the recording to compare with it")
    add_tolerances(parser)
    parser.add_argument("--any-version", action="store_true", help="match calls of different versions and labels")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each call, and for the summary")


def _scrub(parser: ArgumentParser) -> None:
    describe(parser, CassetteScrubOptions, SCRUB, EPILOG + _codes())
    parser.add_argument("file", metavar="FILE", help="a recording")
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("-o", "--output", metavar="OUT", help="the recording to write, which must not exist")
    to.add_argument("--in-place", action="store_true", help="replace FILE")
    parser.add_argument(  # not "metadata", which is an option of servers
        "--metadata",
        dest="keys",
        metavar="KEY",
        action="append",
        default=[],
        help="remove metadata with this key; repeat for more",
    )
    parser.add_argument("--all-metadata", action="store_true", help="remove all metadata")
    inputs = parser.add_mutually_exclusive_group()
    _names(inputs, "--input", "NAME", "replace the values of this input; repeat for more")
    _names(inputs, "--keep-input", "NAME", "keep this input and replace all others; repeat for more")
    _names(parser, "--details", "REGEX", "remove what matches from error texts; repeat for more")


def _names(group: Any, flag: str, metavar: str, text: str) -> None:
    group.add_argument(flag, metavar=metavar, action="append", default=[], help=text)


def _codes(more: str = "") -> str:
    return exit_codes(more, usage=USAGE, server=False)
