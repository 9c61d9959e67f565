"""The arguments of tfs-admin."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from tfs_client._version import __version__
from tfs_client.cli import credentials, exits
from tfs_client.cli.admin_edits import Edit
from tfs_client.cli.argument_parser import ArgumentParser

DEFAULT_SERVER = "localhost:8500"
DEFAULT_TIMEOUT = 30.0  # seconds

# A fixed width, for argparse would import shutil and what hangs on it to find out the terminal's.
_FORMAT: Any = partial(argparse.RawDescriptionHelpFormatter, width=110)

EXAMPLES = """examples:
  tfs-admin status --model resnet
  tfs-admin wait --model resnet --model bert --timeout 120
  tfs-admin signatures --server http://tfs:8501 --model resnet --json
  tfs-admin health --server tfs:8500 --tls --ca authority.pem --token @token.txt
  tfs-admin reload --config models.config --add bert=/models/bert@latest:2 --dry-run
  tfs-admin reload --config models.config --label resnet:stable=3 --yes --wait --save models.config
  TFS_SERVER=tfs:8500 TFS_MODEL=resnet tfs-admin status

"""

TABLE = f"""{exits.TABLE}  6  status: no version is AVAILABLE; health: not SERVING
  7  reload: the question was answered with no, and nothing was sent
  130  interrupted
"""

RELOAD = """Give a server another configuration, in place of all it has.

No server tells its configuration: --config FILE must hold what it has now, or what it is to have. What --add,
--platform, --remove, --serve, --label and --unlabel make of that, in the order given, is shown as a difference against
FILE, and sent."""

RELOAD_EPILOG = f"""examples:
  tfs-admin reload --config models.config
      send the file as it is
  tfs-admin reload --config models.config --add bert=/models/bert --wait --save models.config
      one more model; the file is written anew once the server has taken the configuration
  tfs-admin reload --config models.config --serve resnet@versions:2,3 --wait --save models.config
  tfs-admin reload --config models.config --label resnet:canary=3 --save models.config
      a new version, and once it is AVAILABLE its label: the server refuses both in one go

{TABLE}"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line. Ends like argparse does, by SystemExit, for --help and for wrong arguments."""
    # Common options may stand before the command and after it; a default of theirs there would undo what came before.
    unset = argparse.Namespace(
        server=None,
        timeout=DEFAULT_TIMEOUT,
        tls=False,
        ca=None,
        cert=None,
        key=None,
        authority=None,
        token=None,
        metadata=[],
    )
    return parser().parse_args(argv, unset)


def parser() -> ArgumentParser:
    """The parser; its help shows examples and exit codes."""
    common = _common()
    parser = ArgumentParser(
        prog="tfs-admin",
        description="Look after a TensorFlow Serving server: what it serves, whether it is ready, what it is to serve.",
        epilog=EXAMPLES + TABLE,
        formatter_class=_FORMAT,
        allow_abbrev=False,  # of options that change what a server does, not one is to be guessed
        parents=[common],
    )
    parser.add_argument("-V", action="version", version=f"tfs-admin {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    add = partial(commands.add_parser, formatter_class=_FORMAT, allow_abbrev=False, parents=[common])
    _status(add)
    _signatures(add)
    _wait(add)
    _health(add)
    _reload(add)
    return parser


def _common() -> ArgumentParser:
    parser = ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    where = parser.add_argument_group("which server")
    where.add_argument(
        "--server",
        metavar="TARGET",
        help=f"host:port of the gRPC port (TFS_SERVER; default {DEFAULT_SERVER}); http://host:port of the REST port "
        "does for status, signatures and wait",
    )
    where.add_argument(
        "--timeout", type=float, metavar="S", help=f"seconds in all (default {DEFAULT_TIMEOUT:g}; inf for no limit)"
    )
    credentials.add_arguments(where)
    return parser


def _status(add: Any) -> None:
    text = "The versions of a model that the server knows, highest first. Ends with 0 when one is AVAILABLE."
    parser = add("status", help="the versions of a model and their states", description=text, epilog=TABLE)
    _model(parser)
    _version(parser)
    _json(parser)


def _signatures(add: Any) -> None:
    text = "What a model takes and gives: a line for each input and output of each signature."
    parser = add("signatures", help="what a model takes and gives", description=text, epilog=TABLE)
    _model(parser)
    _version(parser)
    _label(parser)
    _json(parser)


def _wait(add: Any) -> None:
    text = "Return as soon as models are ready; the server may still be starting."
    parser = add("wait", help="until models are ready", description=text, epilog=TABLE)
    parser.add_argument(
        "--model", action="append", help="the model's name (TFS_MODEL); may be given again, to wait for all"
    )
    _version(parser)
    _label(parser)


def _health(add: Any) -> None:
    text = (
        "What gRPC's health service says. TensorFlow Serving has it with --enable_grpc_healthcheck_service, "
        "under the names ModelService and PredictionService."
    )
    parser = add("health", help="what gRPC's health service says", description=text, epilog=TABLE)
    parser.add_argument("service", metavar="SERVICE", nargs="?", default="", help="default: the server as a whole")
    _json(parser)


def _reload(add: Any) -> None:
    parser = add("reload", help="give the server another configuration", description=RELOAD, epilog=RELOAD_EPILOG)
    parser.add_argument("--config", metavar="FILE", required=True, help="a model config file, in protobuf text")

    change = parser.add_argument_group("what changes, in the order given")
    edits: tuple[tuple[str, str, str], ...] = (
        ("add", "NAME=PATH[@POLICY]", "one more model; POLICY is latest:N (default latest:1), all, or versions:1,2"),
        ("platform", "NAME=PLATFORM", "what loads a model; tensorflow for one that was added, unless told otherwise"),
        ("remove", "NAME", "one model less"),
        ("serve", "NAME@POLICY", "other versions of a model"),
        ("label", "NAME:LABEL=VERSION", "a label, new or moved, for a version that is AVAILABLE already"),
        ("unlabel", "NAME:LABEL", "without a label"),
    )
    for kind, form, text in edits:
        edit = partial(Edit, kind)
        change.add_argument(f"--{kind}", metavar=form, dest="edits", action="append", type=edit, default=[], help=text)

    then = parser.add_argument_group("what happens")
    then.add_argument("--dry-run", action="store_true", help="show what changes, and send nothing")
    then.add_argument("--verbose", action="store_true", help="show the whole configuration too")
    then.add_argument(
        "--yes", "-y", action="store_true", help="do not ask; needed where there is no terminal to ask on"
    )
    then.add_argument("--wait", action="store_true", help="until every model is served as configured")
    then.add_argument(
        "--save",
        metavar="FILE",
        help="once the server took it, write the new configuration here; comments are not kept",
    )


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="the model's name (TFS_MODEL)")


def _version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", type=int, metavar="N", help="a model version")


def _label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", metavar="NAME", help="a version label, instead of --version")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
