"""The command line of tfs-admin. The options of each command are in its folder, such as ``status/arguments.py``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfs_client import __version__
from tfs_client.cli.admin.common_arguments import ServerOptions, add_server, exit_codes, server_defaults
from tfs_client.cli.argument_parser import FORMATTER, ArgumentParser

if TYPE_CHECKING:
    from tfs_client.cli.admin.cassette.arguments import CassetteOptions
    from tfs_client.cli.admin.config.arguments import ConfigOptions
    from tfs_client.cli.admin.health.arguments import HealthOptions
    from tfs_client.cli.admin.record.arguments import RecordOptions
    from tfs_client.cli.admin.reload.arguments import ReloadOptions
    from tfs_client.cli.admin.replay.arguments import ReplayOptions
    from tfs_client.cli.admin.signatures.arguments import SignaturesOptions
    from tfs_client.cli.admin.status.arguments import StatusOptions
    from tfs_client.cli.admin.typed_client.arguments import TypedClientOptions
    from tfs_client.cli.admin.wait.arguments import WaitOptions
    from tfs_client.cli.admin.warmup.arguments import WarmupOptions

    Options = (
        StatusOptions
        | SignaturesOptions
        | WaitOptions
        | HealthOptions
        | ConfigOptions
        | ReloadOptions
        | RecordOptions
        | ReplayOptions
        | TypedClientOptions
        | WarmupOptions
        | CassetteOptions
    )

COMMANDS = {
    "status": "list the versions of models and their states",
    "signatures": "list the inputs and outputs of a served or an exported model",
    "wait": "wait until models are ready",
    "health": "query gRPC's health service",
    "config": "print every option of a client, and where it comes from",
    "reload": "replace the server's configuration",
    "record": "record the calls of a server's callers, as a proxy in front of it",
    "replay": "send recorded calls to a server, and compare the replies",
    "cassette": "show, compare or scrub recordings of calls",
    "warmup": "write the requests that a server runs when it loads a version",
    "typed-client": "write a Python module with a typed client of a model",
}
"""The commands, each with its line in the help."""

EXAMPLES = """examples:
  tfs-admin status --model resnet
  tfs-admin status --config models.config
  tfs-admin wait --model resnet --model bert --timeout 120
  tfs-admin signatures --server http://tfs:8501 --model resnet --json
  tfs-admin signatures models/resnet --json > resnet.json
  tfs-admin health --server tfs:8500 --tls --ca authority.pem --token @token.txt
  tfs-admin reload --config models.config --add bert=/models/bert@latest:2 --dry-run
  tfs-admin reload --config models.config --label resnet:stable=3 --yes --wait --save models.config
  tfs-admin cassette show calls.tfrecord
  tfs-admin warmup /models/resnet --from calls.tfrecord --limit 100
  tfs-admin typed-client resnet --server tfs:8500 -o resnet_client.py
  TFS_SERVER=tfs:8500 TFS_MODEL=resnet tfs-admin status
  tfs-admin config --profile staging

"""

CODES = """\
  6    status: a model has no AVAILABLE version; health: not SERVING
  7    reload: declined; nothing was sent
  9    replay, cassette diff, typed-client --check: they differ; warmup: a server would refuse requests
"""


class CommandParser(ArgumentParser):
    """The parser of one command. It gets its options when it first parses: most of the modules stay unread."""

    def __init__(self, *, command: str = "", **arguments: Any) -> None:
        super().__init__(**arguments, formatter_class=FORMATTER, allow_abbrev=False)
        self._command = command

    def fill(self) -> None:
        """Add the command's options."""
        command, self._command = self._command, ""
        if command:
            import_module(f"tfs_client.cli.admin.{command.replace('-', '_')}.arguments").add(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the options, then parse."""
        self.fill()
        return super().parse_known_args(args, namespace)


def parse(argv: Sequence[str] | None) -> Options:
    """Read a command line. Exits as argparse does, by SystemExit, for --help and for wrong arguments."""
    whole = parser()
    defaults = server_defaults()
    values = vars(whole.parse_args(argv, Namespace(**defaults)))
    options = values.pop("options")
    if not issubclass(options, ServerOptions):
        for name, default in defaults.items():
            if values.pop(name) != default:
                whole.error(f"{values['command']} calls no server: leave --{name} out")
    made: Options = options(**values)
    return made


def parser() -> ArgumentParser:
    """Return the parser; its help shows examples and exit codes."""
    parser = ArgumentParser(
        prog="tfs-admin",
        description="Manage a TensorFlow Serving server: status, readiness, signatures, configuration. Record and "
        "replay its calls, write warmup requests and typed clients.",
        epilog=EXAMPLES + exit_codes(CODES),
        formatter_class=FORMATTER,
        allow_abbrev=False,  # options that change what a server does must not be guessed
    )
    add_server(parser)
    parser.add_argument("-V", action="version", version=f"tfs-admin {__version__}", help="print the version and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, title="commands", parser_class=CommandParser
    )
    for command, summary in COMMANDS.items():
        commands.add_parser(command, help=summary, command=command)
    return parser
