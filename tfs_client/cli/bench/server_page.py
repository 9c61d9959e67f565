"""The metrics page of the server under load: the one that --metrics names, or that of a REST target."""

from __future__ import annotations

from collections.abc import Sequence

from tfs_client._printable import listed
from tfs_client._transports.targets import checked_target
from tfs_client.cli.bench.arguments import BenchOptions
from tfs_client.cli.bench.server_metrics.scraper import Scraper
from tfs_client.cli.bench.server_metrics.stage_metrics import StageMetrics
from tfs_client.cli.bench.target import BenchTarget
from tfs_client.cli.configuration import target_of
from tfs_client.errors import ConfigError
from tfs_client.options import TLS


def metrics_of(options: BenchOptions, target: BenchTarget, models: Sequence[str]) -> StageMetrics | None:
    """Return what reads the page around each stage; None without a page.

    The target's credentials only go to the target itself. The figures are those of one model.

    Raises ConfigError for a URL that cannot be used, and for --metrics with several models.
    """
    transport = "rest" if target.rest else "grpc"
    if len(models) > 1:
        if options.metrics is not None:
            raise ConfigError(f"--metrics shows one model, and the recording calls {listed(models)}: use --model NAME")
        return None
    (model,) = models
    if options.metrics is not None:
        return StageMetrics(Scraper(options.metrics), model, transport)
    servers = target_of(target.configuration)
    addresses = checked_target(servers).addresses
    if not target.rest or len(addresses) > 1 or options.compare is not None:
        return None
    found = target.configuration.options()
    pairs = tuple(found.get("metadata", ()))
    if token := found.get("token"):
        pairs = (*pairs, ("authorization", f"Bearer {token}"))
    tls = found.get("tls")
    url = servers if isinstance(servers, str) else servers[0]
    return StageMetrics(Scraper(url, tls=tls if isinstance(tls, TLS) else None, metadata=pairs), model, transport)
