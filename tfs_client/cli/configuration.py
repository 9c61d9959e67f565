"""The configuration of a command: its options, and what the environment and a profile add to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfs_client.cli import credentials
from tfs_client.cli.credentials import CredentialOptions
from tfs_client.errors import ConfigError
from tfs_client.options import DEFAULT_TIMEOUT, checked_timeout

if TYPE_CHECKING:
    from tfs_client._flows.configuration.resolved import Configuration
    from tfs_client.client import PredictClient

DEFAULT_SERVER = "localhost:8500"
DEFAULT = "default"  # the source of a value that nobody has set

NO_MODEL = "no model given: use --model NAME, set TFS_MODEL, or set model in the profile (tfs-admin config shows it)"


def configuration(options: CredentialOptions, *, server: str | None, **own: object) -> Configuration:
    """Return a command's configuration; values that are None were not given. Its problems are not raised yet.

    Variables apply even with ``--server``, and so does a profile that is not for another server. Without any server, it
    is localhost.

    Raises ConfigError for options that cannot be used.
    """
    from tfs_client._flows.configuration.keys import replicas  # imported late: --help needs none of it
    from tfs_client._flows.configuration.resolved import Configuration, Found

    found = credentials.arguments(options)
    found |= {key: value for key, value in own.items() if value is not None}
    if server is not None:
        found["server"] = replicas(server)
    read = Configuration(found, options.profile)
    if not read.problems:
        read.found.setdefault("server", Found(DEFAULT_SERVER, DEFAULT))
    return read


def timeout_of(found: Configuration) -> float | None:
    """Return the time limit in seconds, 30 by default; None for no limit. Raises ConfigError."""
    return checked_timeout(found.found["timeout"].value) if "timeout" in found.found else DEFAULT_TIMEOUT


def text_of(target: str | Iterable[str]) -> str:
    """Return a target as ``--server`` takes it."""
    return target if isinstance(target, str) else ",".join(target)


def target_of(found: Configuration) -> str | list[str]:
    """Return the target, or the list of replicas."""
    target = found.target
    return target if isinstance(target, str) else list(target)


def client_of(found: Configuration) -> PredictClient:
    """Return a client. Raises ConfigError, which names the sources of values that contradict each other."""
    from tfs_client._flows.settings import Settings
    from tfs_client.client import PredictClient  # imports numpy, and creating one imports grpc or httpx

    try:
        return PredictClient(found.target, **found.options())
    except ConfigError as error:
        raise found.explained(error, Settings.checked) from None
