"""tfs-admin signatures: the inputs and outputs of a model."""

from __future__ import annotations

from tfs_client.cli import exits
from tfs_client.cli.admin import report
from tfs_client.cli.admin.common_arguments import server_defaults
from tfs_client.cli.admin.server_connection import ServerConnection, models_of
from tfs_client.cli.admin.signatures.arguments import SignaturesOptions
from tfs_client.errors import ConfigError
from tfs_client.signatures import Signatures


def signatures(options: SignaturesOptions) -> int:
    """Show the inputs and outputs of a model."""
    found = _served(options) if options.path is None else _exported(options, options.path)
    exits.show(report.signatures(found, as_json=options.json))
    return exits.OK


def _served(options: SignaturesOptions) -> Signatures:
    connection = ServerConnection(options, model=options.model, version=options.version, label=options.label)
    models_of((), connection.model)
    with connection.connect() as client:
        return client.signatures()


def _exported(options: SignaturesOptions, path: str) -> Signatures:
    defaults = {**server_defaults(), "model": None, "version": None, "label": None}
    for name, default in defaults.items():
        if getattr(options, name) != default:
            raise ConfigError(f"--{name} is for a served model, and PATH for an exported one: leave one of them out")
    from tfs_client.server.fakes import read_path  # imports numpy and grpc

    model = read_path(path)
    return Signatures(model.signatures, model=model.name, version=model.version)
