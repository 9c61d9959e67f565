"""tfs-admin status: the versions of one model, or of all models of a server or a model config file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_client._transports.deadline import Deadline
from tfs_client.cli import exits
from tfs_client.cli.admin.server_connection import ServerConnection
from tfs_client.cli.admin.status.arguments import StatusOptions
from tfs_client.cli.credentials import WORDS
from tfs_client.errors import ConfigError, NotFoundError, UnimplementedError

if TYPE_CHECKING:
    from tfs_client.client import PredictClient


def status(options: StatusOptions) -> int:
    """Show the versions and their states. A model that the server does not know counts as not ready."""
    sources = {"model": options.model, "config": options.config, "all": options.all}
    given = [flag for flag, value in sources.items() if value]
    if len(given) > 1:
        raise ConfigError(f"--{given[0]} and --{given[1]} cannot be combined: use one of them")
    connection = ServerConnection(options, model=options.model, version=options.version, one="status")
    if connection.model and not (options.config or options.all):
        return _one(options, connection)
    if options.version is not None:
        raise ConfigError("--version applies to a single model: use --model NAME")
    return _all(options, connection)


def _one(options: StatusOptions, connection: ServerConnection) -> int:
    from tfs_client.cli.admin import report  # imported late, here and below: it imports numpy
    from tfs_client.results import ModelStatus

    with connection.connect() as client:
        try:
            found = client.status()
        except NotFoundError as error:
            if options.json:
                exits.show(report.status(ModelStatus(connection.model, ()), as_json=True))
            return exits.show_error("tfs-admin", exits.text_of(error, WORDS), exits.NOT_READY)
    exits.show(report.status(found, as_json=options.json))
    return exits.OK if found.ready else exits.NOT_READY


def _all(options: StatusOptions, connection: ServerConnection) -> int:
    from tfs_client.cli.admin import report
    from tfs_client.model_config import ModelServerConfig
    from tfs_client.results import ModelStatus

    deadline = Deadline.after(connection.timeout)
    names = ModelServerConfig.from_file(options.config).names if options.config else None
    found = []
    with connection.connect() as client:
        for model in _listed(client, deadline) if names is None else names:
            try:
                found.append(client.status(model=model, version=None, timeout=deadline.remaining()))
            except NotFoundError:
                found.append(ModelStatus(model, ()))
    if found or options.json:
        exits.show(report.statuses(found, as_json=options.json))
    else:
        exits.show_note(f"tfs-admin: {options.config or connection.server} has no models")
    return exits.OK if all(model.ready for model in found) else exits.NOT_READY


def _listed(client: PredictClient, deadline: Deadline) -> tuple[str, ...]:
    """Return the names of the server's models. Raises ConfigError for a server that does not list them."""
    try:
        return client.models(timeout=deadline.remaining())
    except UnimplementedError as error:
        raise ConfigError(
            f"no model given: {error.details}. Use --model NAME (TFS_MODEL), or --config FILE for all models of a "
            "model config file"
        ) from error
