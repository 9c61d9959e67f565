"""The options of a command are complete: the parser fills every field, and every option has a field."""

from __future__ import annotations

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from dataclasses import fields

import pytest

from tfs_client.cli.admin import arguments as admin
from tfs_client.cli.admin.common_arguments import ServerOptions
from tfs_client.cli.bench import arguments as bench
from tfs_client.cli.predict import arguments as predict
from tfs_client.cli.serve.flags import FLAGS, Flag, FlagValues, read

COMMON = ["--server", "tfs:8500", "--timeout", "5", "--tls", "--token", "abc", "--metadata", "a=b"]
REQUIRED = {
    "record": ["-o", "calls"],
    "reload": ["--config", "models.config"],
    "replay": ["calls", "--against", "tfs:8500"],
    "typed-client": ["m", "-o", "m.py"],
}
TYPES = {"bool": bool, "int32": int, "int64": int, "float": float, "string": str, "strings": tuple}


def destinations(parser: ArgumentParser) -> set[str]:
    return {action.dest for action in parser._actions} - {"help", "V"}


def names(options: type) -> set[str]:
    return {option.name for option in fields(options)}


def admin_parsers(parser: ArgumentParser, name: str = "") -> Iterator[tuple[str, ArgumentParser]]:
    """The parser of each command of tfs-admin, also of commands with commands."""
    if isinstance(parser, admin.CommandParser):
        parser.fill()
    commands = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    if not commands:
        yield name.strip(), parser
    for action in commands:
        for command, inner in action.choices.items():
            yield from admin_parsers(inner, f"{name} {command}")


ADMIN = dict(admin_parsers(admin.parser()))
CALLING = [name for name, parser in ADMIN.items() if issubclass(parser.get_default("options"), ServerOptions)]


def test_every_option_of_tfs_predict_is_a_field() -> None:
    assert destinations(predict.parser()) == names(predict.PredictOptions)


def test_every_option_of_tfs_bench_is_a_field() -> None:
    assert destinations(bench.parser()) == names(bench.BenchOptions)


@pytest.mark.parametrize("command", ADMIN)
def test_every_option_of_a_tfs_admin_command_is_a_field(command: str) -> None:
    options = ADMIN[command].get_default("options")
    words = {"command", "action"} if " " in command else {"command"}
    assert destinations(ADMIN[command]) | words == names(options)


def test_every_command_of_tfs_admin_is_described() -> None:
    described = [
        name for name, parser in ADMIN.items() if parser.description and "exit codes:" in (parser.epilog or "")
    ]
    assert described == [*ADMIN]
    assert {name.split()[0] for name in ADMIN} == admin.COMMANDS.keys()


def test_commands_list_the_exit_codes_that_apply() -> None:
    def codes(parser: ArgumentParser) -> list[int]:
        table = (parser.epilog or "").partition("exit codes:\n")[2]
        return [int(line.split()[0]) for line in table.splitlines() if line]

    found = {name: codes(parser) for name, parser in ADMIN.items()}
    files, server = [0, 1, 2], [0, 1, 2, 3, 4, 5]
    own = {"status": 6, "health": 6, "reload": 7, "replay": 9, "typed-client": 9, "warmup": 9, "cassette diff": 9}
    assert found.pop("record") == files
    for name, listed in found.items():
        shared = files if name.split()[0] in ("cassette", "config", "warmup") else server
        assert listed == [*shared, *([own[name]] if name in own else []), 130], name
    assert codes(admin.parser()) == [*server, 6, 7, 9, 130]


@pytest.mark.parametrize(
    "command", [name for name in ADMIN if issubclass(ADMIN[name].get_default("options"), ServerOptions)]
)
@pytest.mark.parametrize("first", [True, False], ids=["before the command", "after the command"])
def test_common_options_may_precede_or_follow_the_command(command: str, first: bool) -> None:
    own = [*command.split(), *REQUIRED.get(command, ())]
    options = admin.parse([*COMMON, *own] if first else [*own, *COMMON])
    assert type(options) is ADMIN[command].get_default("options")
    assert options.command == command
    assert (options.server, options.timeout, options.tls) == ("tfs:8500", 5.0, True)
    assert (options.token, options.metadata) == ("abc", ["a=b"])


def test_options_do_not_show_secrets() -> None:
    options = predict.parse(["--token", "secret-token", "--metadata", "key=secret-value"])
    assert "secret" not in repr(options)


def test_the_default_of_every_flag_has_the_type_of_its_kind() -> None:
    assert names(FlagValues) == {flag.name for flag in FLAGS}
    assert [flag.name for flag in FLAGS if type(flag.default) is not TYPES[flag.kind]] == []


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_a_flag_sets_its_own_value_only(flag: Flag) -> None:
    name, kind = flag.name, flag.kind
    text = {"bool": "true", "float": "0.25", "string": "x", "strings": "x"}.get(kind, "7")
    value = {"true": True, "0.25": 0.25, "7": 7, "x": ("x",) if kind == "strings" else "x"}[text]
    values = read([f"--{name}={text}"]).values
    assert getattr(values, name) == value
    assert {other.name for other in FLAGS if getattr(values, other.name) != other.default} <= {name}
