"""The options of ``tfs-admin reload``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tfs_client.cli.admin.common_arguments import ServerOptions, add_server, describe, exit_codes
from tfs_client.cli.admin.reload.edits import Edit
from tfs_client.cli.argument_parser import ArgumentParser

DESCRIPTION = """Replace the whole configuration of a server.

--config FILE holds the server's current configuration, or the new one. --add, --platform, --remove, --serve,
--label and --unlabel change it, in the order given, and the result is sent. The changes are shown first:
relative to the server's configuration if it reports one, as tfs-serve does; otherwise relative to FILE.
Warnings name models whose versions the server has never reported or could not load, and labels that it would
refuse; --dry-run shows them too.

The previous configuration is saved next to FILE, as FILE.before-DATE-TIME. If the reload fails after the server
may have accepted the new one, the error names that file and the command that restores it. The file is removed
if nothing changed, and when --wait ends with every model served. TensorFlow Serving does not report its
configuration: there, FILE is taken as the previous one if options change it; otherwise the previous one is
unknown and is not saved."""

EPILOG = """examples:
  tfs-admin reload --config models.config
      send the file unchanged
  tfs-admin reload --config models.config --add bert=/models/bert --wait --save models.config
      add a model, and rewrite the file once the server has accepted the configuration
  tfs-admin reload --config models.config --serve resnet@versions:2,3 --wait --save models.config
  tfs-admin reload --config models.config --label resnet:canary=3 --save models.config
      add a version, and label it once it is AVAILABLE: the server refuses both in one reload

"""


@dataclass(frozen=True)
class ReloadOptions(ServerOptions):
    """The options of ``tfs-admin reload``."""

    command: Literal["reload"]
    config: str
    edits: Sequence[Edit]
    dry_run: bool
    verbose: bool
    yes: bool
    wait: bool
    save: str | None


def add(parser: ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    describe(parser, ReloadOptions, DESCRIPTION, EPILOG + exit_codes("  7    declined; nothing was sent\n"))
    add_server(parser)
    parser.add_argument("--config", metavar="FILE", required=True, help="model config file in protobuf text")

    change = parser.add_argument_group("changes, applied in the order given")
    edits: tuple[tuple[str, str, str], ...] = (
        ("add", "NAME=PATH[@POLICY]", "add a model; POLICY is latest:N (default: latest:1), all, or versions:1,2"),
        ("platform", "NAME=PLATFORM", "set the platform of a model (default for an added model: tensorflow)"),
        ("remove", "NAME", "remove a model"),
        ("serve", "NAME@POLICY", "change the version policy of a model"),
        ("label", "NAME:LABEL=VERSION", "add or move a label; the version must already be AVAILABLE"),
        ("unlabel", "NAME:LABEL", "remove a label"),
    )
    for kind, form, text in edits:
        edit = partial(Edit, kind)
        change.add_argument(f"--{kind}", metavar=form, dest="edits", action="append", type=edit, default=[], help=text)

    action = parser.add_argument_group("action")
    action.add_argument("--dry-run", action="store_true", help="show changes and warnings; send nothing")
    action.add_argument("--verbose", action="store_true", help="also show the whole configuration")
    action.add_argument(
        "--yes", "-y", action="store_true", help="do not ask for confirmation; required without a terminal on stdin"
    )
    action.add_argument("--wait", action="store_true", help="wait until every model is served as configured")
    action.add_argument(
        "--save",
        metavar="FILE",
        help="write the new configuration to FILE once the server has accepted it; comments are not kept",
    )
