"""tfs-admin record: forward a server's calls and append them to a file, until a signal ends the recording."""

from __future__ import annotations

import os

from tfs_client._printable import counted
from tfs_client.cli import exits
from tfs_client.cli.admin.record.arguments import RecordOptions
from tfs_client.cli.admin.server_connection import ServerConnection
from tfs_client.cli.signals import Signals
from tfs_client.errors import ConfigError
from tfs_client.options import TLS, checked_metadata
from tfs_client.recordings.recording_file import RecordingFile
from tfs_client.server import ServerConfig
from tfs_client.testing.recording_proxy.proxy import RecordingProxy, Upstream
from tfs_client.testing.recording_proxy.recorder import Counts


def record(options: RecordOptions) -> int:
    """Forward and record until SIGINT or SIGTERM."""
    connection = ServerConnection(options, one="record")
    connection.connect().close()  # it does not connect, but checks the options
    upstream = _upstream(options, connection)
    file = RecordingFile(options.output)
    for path in (file.path, file.sidecar):
        if not options.append and os.path.exists(path):
            raise ConfigError(f"{path} exists: use another name for -o, or --append to add to it")
        _check_writable(path)
    config = ServerConfig(host=options.host, port=options.port or 0, rest_port=options.rest_port)
    with Signals() as signals:
        proxy = RecordingProxy(
            upstream,
            file.append,
            config,
            models=options.model or (),
            look_up_seconds=float("inf") if connection.timeout is None else connection.timeout,
            report=lambda text: exits.show_note(f"tfs-admin: {text}"),
        )
        with proxy:
            for ours, theirs in ((proxy.target, upstream.grpc), (proxy.rest_url, upstream.rest)):
                if theirs is not None:
                    exits.show(f"recording to {options.output}: {ours} forwards to {theirs}")
            signals.events.get()
            signals.stopping = True
    exits.show(summary(options.output, proxy.counts))
    return exits.FAILED if proxy.counts.write_errors else exits.OK


def summary(path: str, counts: Counts) -> str:
    """Return what was recorded and what was not, with the reasons."""
    failed = f", {counts.failed} of them failed" if counts.failed else ""
    rest = f"; {counts.not_recorded} not recorded:" if counts.not_recorded else ""
    lines = [f"{path}: {counted(counts.recorded, 'calls')} recorded{failed}{rest}"]
    for reason, count in (counts.left_out + counts.write_errors).most_common():
        lines.append(f"  {count}: {reason}")
    return "\n".join(lines)


def _check_writable(path: str) -> None:
    """Raise ConfigError for a file that cannot be written, before any call is forwarded."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ConfigError(f"cannot write {path!r}: expected a folder {folder!r}")
    if os.path.isdir(path):
        raise ConfigError(f"cannot write {path!r}: it is a folder")
    place = path if os.path.exists(path) else folder
    if not os.access(place, os.W_OK):
        raise ConfigError(f"cannot write {path!r}: no permission to write {place!r}")


def _upstream(options: RecordOptions, connection: ServerConnection) -> Upstream:
    server, rest = connection.server, options.rest_server
    grpc: str | None = server
    if connection.rest:
        if rest is not None:
            raise ConfigError(f"expected the gRPC port with --server, got {server}; --rest-server has the REST port")
        grpc, rest = None, server
    if grpc is None and options.port is not None:
        raise ConfigError("--port is for gRPC, and --server is a REST port: add the gRPC port, or use --rest-port")
    if rest is None and options.rest_port is not None:
        raise ConfigError("--rest-port needs the server's REST port: add --rest-server http://host:8501")
    if rest is not None and rest is not server:
        connection.configuration.check_rest_server(rest)
    found = connection.configuration.options()
    pairs = checked_metadata(found.get("metadata"))
    if (token := found.get("token")) is not None:
        pairs = (*pairs, ("authorization", f"Bearer {token}"))
    tls = TLS() if found.get("tls") is True else found.get("tls") or None
    return Upstream(grpc, rest, tls, pairs)
