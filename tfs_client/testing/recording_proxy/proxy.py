"""RecordingProxy: the ports in front of a server, and the recorder behind them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from tfs_client._codec.model_spec import ModelSpec
from tfs_client._transports.connection import Connection
from tfs_client._transports.targets import checked_target
from tfs_client.client import PredictClient
from tfs_client.errors import ConfigError, DecodeError
from tfs_client.options import TLS, MetadataPairs
from tfs_client.recordings import records
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.secrets import Secrets, is_secret
from tfs_client.server.access.addresses import bracketed
from tfs_client.server.config import ServerConfig
from tfs_client.server.grpc.listening import listen
from tfs_client.server.server import rest_host
from tfs_client.server.thread_pool import ThreadPool
from tfs_client.signatures import Signatures
from tfs_client.testing.recording_proxy.grpc_forwarding import Channel, ForwardedCall, GrpcForwarding, with_added
from tfs_client.testing.recording_proxy.recorder import Counts, NotRecorded, Recorder

if TYPE_CHECKING:
    from tfs_client.server.rest.host import AsgiHost
    from tfs_client.testing.recording_proxy.rest_forwarding import ForwardedExchange

log: logging.Logger = logging.getLogger(__name__)

MOST_CALLS = 1024  # that are forwarded at the same time over gRPC; each takes a thread while it waits
SETTLE_SECONDS = 30.0  # for calls that wait for the disk at the end


@dataclass(frozen=True)
class Upstream:
    """The server behind the proxy.

    Attributes:
        grpc: the target of its gRPC port; None to forward REST only.
        rest: the URL of its REST port; None to forward gRPC only.
        tls: secures its gRPC port, and a REST port with https.
        metadata: pairs for calls whose callers do not send the same keys, such as a token.

    Raises ConfigError.
    """

    grpc: str | None = None
    rest: str | None = None
    tls: TLS | None = None
    metadata: MetadataPairs = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.grpc is None and self.rest is None:
            raise ConfigError("expected the gRPC port of a server, its REST port, or both")
        for target, rest in ((self.grpc, False), (self.rest, True)):
            if target is not None and checked_target(target).rest is not rest:
                raise ConfigError(
                    f"expected {'http://host:port' if rest else 'host:port of a gRPC port'}, got {target}"
                )

    def connection(self, target: str) -> Connection:
        """Return how to reach one of the ports."""
        found = checked_target(target)
        plain = found.rest and not found.secure  # TensorFlow Serving has no TLS for REST
        return Connection(found, tls=None if plain else self.tls)


class RecordingProxy:
    """Forwards the calls of both ports unchanged, and records them. A context manager.

    Args:
        upstream: the server.
        append: writes an episode; called in one thread. Its errors are counted, and fail no call.
        config: the addresses to listen on: ``host``, ``port`` and ``rest_port``.
        models: record the calls of these models only; empty: of all.
        look_up_seconds: the time limit of a look-up of signatures.
        report: takes a text about the file when it can no longer be written.
    """

    def __init__(
        self,
        upstream: Upstream,
        append: Callable[[Episode], None],
        config: ServerConfig,
        *,
        models: Collection[str] = (),
        look_up_seconds: float = 30.0,
        report: Callable[[str], None] = log.error,
    ) -> None:
        self._upstream = upstream
        self._config = config
        self._models = frozenset(models)
        self._own_secrets = tuple(value for key, value in upstream.metadata if is_secret(key))
        self._look_up_seconds = look_up_seconds
        self._recorder = Recorder(append, report)
        self._channel: Channel | None = None
        self._server: grpc.Server | None = None
        self._threads: ThreadPool | None = None
        self._port: int | None = None
        self._rest: AsgiHost | None = None
        self._look_ups: PredictClient | None = None

    @property
    def counts(self) -> Counts:
        """What has passed so far."""
        return self._recorder.counts

    @property
    def target(self) -> str:
        """The gRPC address for callers; "" without one."""
        return "" if self._port is None else f"{bracketed(self._config.host)}:{self._port}"

    @property
    def rest_url(self) -> str:
        """The REST address for callers; "" without one."""
        return "" if self._rest is None else f"http://{bracketed(self._config.host)}:{self._rest.port}"

    def start(self) -> None:
        """Open the ports. Raises ConfigError if an address cannot be bound, or packages are missing."""
        try:
            if self._upstream.grpc is not None:
                self._start_grpc(self._upstream.grpc)
            if self._upstream.rest is not None:
                self._start_rest(self._upstream.rest)
        except BaseException:
            self.stop(0)
            raise

    def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, finish running ones for ``grace`` seconds, and write what waits for the disk."""
        grace = self._config.shutdown_grace if grace is None else grace
        stopped = None if self._server is None else self._server.stop(grace)
        if self._rest is not None:
            self._rest.stop(grace)
        if stopped is not None:
            stopped.wait()
        if not self._recorder.close(SETTLE_SECONDS):
            self._recorder.leave_out("the disk was too slow at the end")
        if self._channel is not None:
            self._channel.close()
        if self._look_ups is not None:
            self._look_ups.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self._server = self._rest = self._channel = self._look_ups = self._threads = None

    def wait_until_written(self, patience: float) -> bool:
        """Wait until all calls that have arrived are written or left out. Returns False after ``patience`` seconds."""
        return self._recorder.wait_until_written(patience)

    def _start_grpc(self, target: str) -> None:
        options: dict[str, int | str] = {
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": -1,
            "grpc.per_message_decompression": 0,  # see grpc_forwarding.py
            "grpc.so_reuseport": 0,
        }
        options |= self._config.bounds.grpc_arguments()
        self._channel = Channel(self._upstream.connection(target), self._upstream.metadata)
        self._threads = ThreadPool(MOST_CALLS, "tfs-admin-record-call")
        self._server = grpc.server(self._threads, options=list(options.items()))
        forwarding = GrpcForwarding(self._channel, self._recorder.passing, self._called, self._recorder.leave_out)
        self._server.add_generic_rpc_handlers((forwarding,))
        self._port = listen(self._server, self._config, None)
        self._server.start()

    def _start_rest(self, url: str) -> None:
        rest_host()  # raises ConfigError if packages are missing
        from tfs_client.server.rest.host import AsgiHost
        from tfs_client.testing.recording_proxy.rest_episodes import RestEpisodes, query_secrets
        from tfs_client.testing.recording_proxy.rest_forwarding import RestForwarding

        episodes = RestEpisodes(self._signatures)

        def exchanged(exchange: ForwardedExchange) -> None:
            size = len(exchange.body) + len(exchange.reply)
            secrets = query_secrets(exchange.target)
            self._recorder.record(size, lambda: self._wanted(episodes.episode_of(exchange), secrets))

        app = RestForwarding(
            self._upstream.connection(url),
            self._upstream.metadata,
            self._config.rest_max_body,
            self._recorder.passing,
            exchanged,
            self._recorder.leave_out,
        )
        self._rest = AsgiHost(app, self._config, self._config.rest_port or 0, close=app.close)
        self._rest.start()

    def _called(self, call: ForwardedCall) -> None:
        self._recorder.record(len(call.request) + len(call.reply or b""), lambda: self._wanted(_episode_of(call)))

    def _wanted(self, episode: Episode, secrets: Iterable[str] = ()) -> Episode:
        """Return the episode to record, without secrets. Raises NotRecorded, and RecordingError for a secret in it."""
        if self._models and episode.spec.name not in self._models:
            raise NotRecorded("other models")
        return Secrets((*self._own_secrets, *secrets)).removed(episode)

    def _signatures(self, asked: ModelSpec, headers: MetadataPairs) -> Signatures:
        """Ask the server for signatures, with the caller's authorization if it sends one."""
        if self._look_ups is None:
            target = self._upstream.grpc or self._upstream.rest
            assert target is not None
            connection = self._upstream.connection(target)
            self._look_ups = PredictClient(target, tls=connection.tls, timeout=self._look_up_seconds)
        own = tuple(pair for pair in headers if pair[0] == "authorization")
        return self._look_ups.signatures(
            model=asked.name,
            version=asked.version,
            label=asked.label,
            metadata=with_added(own, self._upstream.metadata),
        )

    def __enter__(self) -> RecordingProxy:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _episode_of(call: ForwardedCall) -> Episode:
    """Return the episode of a gRPC call. Raises NotRecorded if its request is not a message of the method."""
    try:
        spec = records.spec_of_request(call.method, call.request)
    except DecodeError as error:
        raise NotRecorded(f"a request of {call.method} cannot be read: {error}") from error
    return Episode(
        call.method,
        spec,
        call.request,
        call.reply,
        call.code,
        call.details,
        call.metadata,
        "grpc",
        call.seconds,
        call.ended,
    )
