"""Scraper: reads the metrics page of a server, in bounded time and memory."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.rest import RestTransport
from tfs_client._transports.steps import Send
from tfs_client._transports.targets import Target, without_password
from tfs_client.cli.bench.server_metrics.exposition import Exposition, parse
from tfs_client.cli.bench.server_metrics.served import NAMES
from tfs_client.errors import CallError, ConfigError, NotFoundError, TFServingError
from tfs_client.options import TLS, Limits, MetadataPairs

PATH = "/monitoring/prometheus/metrics"  # TensorFlow Serving's default
LARGEST = 16 << 20  # bytes of a page: about a thousand models
SECONDS = 5.0  # for a page
ENABLE = "start the server with --monitoring_config_file and --rest_api_port, or name another page with --metrics"
OTHER = "--metrics names another page"
_SERVER = r"[^/]+:[0-9]+(/.*)?"  # a server without a scheme


class Scraper:
    """Reads one page of metrics again and again.

    Args:
        url: the page, as http:// or https://, or as host:port for http://; without a path, TensorFlow Serving's
            default is used.
        tls: how a connection to https:// is secured; None for the defaults.
        metadata: headers of the requests, such as those with a token.

    Raises ConfigError for a URL that cannot be used.
    """

    def __init__(self, url: str, *, tls: TLS | None = None, metadata: MetadataPairs = ()) -> None:
        if "://" not in url and re.fullmatch(_SERVER, url):
            url = f"http://{url}"
        parts = urlsplit(url)
        if parts.scheme.lower() not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ConfigError(f"--metrics: expected host:port or http://host:port{PATH}, got {without_password(url)!r}")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ConfigError(f"--metrics: expected a URL of printable ASCII without spaces, got {url!r}")
        server = f"{parts.scheme.lower()}://{parts.netloc}"
        path = parts.path if parts.path.strip("/") else PATH
        secure = server.startswith("https:")
        self.url: str = without_password(server + path)
        self._address = f"GET {path}"
        self._metadata = metadata
        limits = Limits(reply=LARGEST, inflated=LARGEST)
        target = Target((server,), rest=True)
        self._transport = RestTransport(Connection(target, tls=tls if secure else None, limits=limits))

    def scrape(self) -> Exposition:
        """Read the page. Raises TFServingError, with the reason, if that is not possible."""
        try:
            reply = self._transport.call(Send(self._address, b"", Deadline.after(SECONDS), self._metadata))
        except NotFoundError:
            raise TFServingError(f"the server has no page {self.url}: {ENABLE}") from None
        except CallError as error:
            raise TFServingError(f"cannot read the metrics page {self.url}: {error.details}; {OTHER}") from None
        found = parse(reply.body.decode("utf-8", "replace"), NAMES)
        if not found.samples and b"# TYPE " not in reply.body:
            raise TFServingError(f"{self.url} is not a page of metrics in Prometheus's text format; {OTHER}")
        return found

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()
