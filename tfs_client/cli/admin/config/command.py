"""tfs-admin config: show the configuration, and everything that is wrong with it."""

from __future__ import annotations

from dataclasses import replace

from tfs_client._flows.configuration.resolved import Configuration
from tfs_client.cli import exits
from tfs_client.cli.admin.config import report
from tfs_client.cli.admin.config.arguments import ConfigOptions
from tfs_client.cli.configuration import client_of, configuration
from tfs_client.cli.credentials import WORDS
from tfs_client.errors import ConfigError


def config(options: ConfigOptions) -> int:
    """Print the options and their sources, or the problems."""
    found, problems = _read(options)
    if problems:
        if options.json:
            exits.show(report.as_json(found, problems))
        for problem in problems:
            exits.show_error("tfs-admin", problem, exits.USAGE)
        if not options.json and found.looked_at is not None:
            exits.show_note(f"tfs-admin: {report.profile_line(found.looked_at)}")
        return exits.USAGE
    exits.show(report.as_json(found, ()) if options.json else report.as_table(found))
    return exits.OK


def _read(options: ConfigOptions) -> tuple[Configuration, list[str]]:
    """Return the configuration and all its problems, in the words of the command."""
    problems: list[str] = []
    try:
        found = _configuration(options)
    except ConfigError as error:  # of --token, --metadata, --cert or --key: without them, the rest is checked, too
        problems.append(exits.text_of(error, WORDS))
        found = _configuration(replace(options, token=None, metadata=None, cert=None, key=None))
    problems += (exits.text_of(ConfigError(problem), WORDS) for problem in found.problems)
    if not problems:
        try:
            client_of(found).close()  # it does not connect
        except ConfigError as error:
            problems.append(exits.text_of(error, WORDS))
    return found, problems


def _configuration(options: ConfigOptions) -> Configuration:
    return configuration(
        options,
        server=options.server,
        model=options.model or None,
        version=options.version,
        label=options.label,
        signature=options.signature,
        timeout=options.timeout,
    )
