"""Masking: error texts without the secrets of the client that receives them, for hooks and logs.

A server or a proxy may quote in its error what it was sent: a token, a password, the inputs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tfs_client._flows.contradictions import REQUEST_ID
from tfs_client._transports.connection import Connection
from tfs_client.options import MetadataPairs

if TYPE_CHECKING:
    from tfs_client.recordings.secrets import Secrets

LONGEST = 8000  # characters at either end of a text; log messages and attributes are shorter
ESCAPED = 8  # characters of an escaped character, at most
LONG = 8  # characters of a metadata value that hardly occurs in a text by chance
INPUT = "[input]"

# How TensorFlow Serving's REST API begins to quote a part of the request (util/json_tensor.cc).
_QUOTES = re.compile(r"JSON (?:Value|object): (?=[\[{\"0-9tfn-])")


class Masking:
    """Removes the secrets of one client from texts.

    Args:
        connection: how the client reaches its server; the URLs may hold passwords.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: tuple[str, ...] | None = None

    def masked(self, text: str, metadata: MetadataPairs = ()) -> str:
        """A text without the secrets that a call has sent: its metadata, token included, passwords and quoted inputs.

        Both ends of a long text are returned.
        """
        if not text:
            return text
        from tfs_client.recordings.secrets import Secrets, is_secret  # few calls fail

        if self._known is None:
            self._known = self._passwords()
        secrets = Secrets(self._known)
        for key, value in metadata:
            if key != REQUEST_ID and (is_secret(key) or len(value) >= LONG):
                secrets.add(value)
        margin = ESCAPED * secrets.longest
        if len(text) > 2 * (LONGEST + margin):
            return _ends(text, secrets, margin)
        found = without_inputs(secrets.hidden(text))
        return found if len(found) <= 2 * LONGEST else f"{found[:LONGEST]} … {found[-LONGEST:]}"

    def _passwords(self) -> tuple[str, ...]:
        """The credentials in the URLs of the server and the proxy, as they are sent."""
        from tfs_client._transports.proxies import grpc_route, rest_route  # few calls fail

        target = self._connection.target
        route = rest_route(self._connection) if target.rest else grpc_route(self._connection)
        found: list[str] = []
        if target.user:
            parts = urlsplit(target.addresses[0])
            user, password = parts.username or "", parts.password or ""
            found += [password, unquote(password), f"{unquote(user)}:{unquote(password)}"]
        if route.proxy is not None and route.proxy.password:
            found += [route.proxy.password, f"{route.proxy.user}:{route.proxy.password}"]
        return tuple(found)


def _ends(text: str, secrets: Secrets, margin: int) -> str:
    """Both ends of a text, masked. What is cut within ``margin`` characters of a cut may be a part of a secret."""
    first = without_inputs(secrets.hidden(text[: LONGEST + margin])[: -margin or None])
    if _QUOTES.search(text) is not None:
        return f"{first} …"  # the other end may belong to an input
    return f"{first} … {secrets.hidden(text[-LONGEST - margin :])[margin:]}"


def without_inputs(text: str) -> str:
    """A text of TensorFlow Serving's REST API without the parts of the request that it quotes."""
    found = _QUOTES.search(text)
    if found is None:
        return text
    from json import JSONDecoder  # slow to import

    pieces: list[str] = []
    at = 0
    while found is not None:
        pieces += text[at : found.end()], INPUT
        try:
            _, at = JSONDecoder(strict=False).raw_decode(text, found.end())
        except (ValueError, RecursionError):  # it was cut: where it ends is not known
            return "".join(pieces)
        found = _QUOTES.search(text, at)
    return "".join((*pieces, text[at:]))
