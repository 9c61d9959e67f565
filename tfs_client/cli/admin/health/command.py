"""tfs-admin health: the status that gRPC's health service reports."""

from __future__ import annotations

from tfs_client.cli import exits
from tfs_client.cli.admin import report
from tfs_client.cli.admin.health.arguments import HealthOptions
from tfs_client.cli.admin.server_connection import ServerConnection
from tfs_client.errors import NotFoundError, UnimplementedError


def health(options: HealthOptions) -> int:
    """Show the status that the health service reports."""
    with ServerConnection(options, one="health", grpc=True).connect() as client:
        try:
            found = client.health(options.service)
        except UnimplementedError as error:
            error.hint = error.hint or "Start the server with --enable_grpc_healthcheck_service to offer health checks."
            raise
        except NotFoundError as error:
            error.hint = "The services are ModelService and PredictionService."
            raise
    exits.show(report.health(options.service, found, as_json=options.json))
    return exits.OK if found.name == "SERVING" else exits.NOT_READY
