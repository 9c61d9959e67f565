"""Routing of request lines to the methods of the API.

Source: model_servers/http_rest_api_util.cc and http_rest_api_handler.cc. The patterns match the raw path with the
query; names are decoded after the match. The patterns ignore case, but the name of the method must be in lower case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from tfs_client._codec.model_spec import ModelSpec
from tfs_client.errors import InvalidArgumentError

_OF_VERSION = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
POST = re.compile(rf"/v1/models/(?P<model>[^/:]+){_OF_VERSION}:(?P<verb>classify|regress|predict)", re.I)
GET = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_OF_VERSION}(?:/(?P<verb>metadata))?", re.I)
PREFIX = re.compile(r"/v1/.*", re.I)

# Characters that a URI must not contain; "#" is accepted, as clients do send fragments.
_UNCLEAN = re.compile(r"[^!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~]|%(?![0-9A-Fa-f]{2})")

METHODS = {"predict": "Predict", "classify": "Classify", "regress": "Regress"}


class NoVersion(InvalidArgumentError):
    """A version number that no model can have. The response has an empty body."""


@dataclass(frozen=True)
class Route:
    """The API method and the model of a request line.

    Attributes:
        method: the API method, e.g. "Predict".
        spec: the model and its version.
    """

    method: str
    spec: ModelSpec


def target_of(raw_path: bytes, query: bytes) -> str:
    """Return the path with the query as the client wrote it; of an absolute URL only the part after the authority."""
    text = raw_path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
    return re.sub(r"^https?://[^/?#]*", "", text, count=1, flags=re.I) or "/"


def is_clean(target: str) -> bool:
    """Return whether a path is valid in a URI (RFC 3986)."""
    return not _UNCLEAN.search(target)


def is_api(target: str) -> bool:
    """Return whether a path belongs to the API."""
    return PREFIX.fullmatch(target) is not None


def route(http_method: str, target: str) -> Route:
    """Route a request line. Raises InvalidArgumentError with the model server's text."""
    found = {"POST": POST, "GET": GET}[http_method].fullmatch(target) if http_method in ("POST", "GET") else None
    method = _method(http_method, found["verb"]) if found else None
    if found is None or method is None:
        raise InvalidArgumentError(f"Malformed request: {http_method} {target}")
    if not found["model"]:
        raise InvalidArgumentError("Missing model name in request.")
    label = None if found["label"] is None else _decoded(found["label"])
    return Route(method, ModelSpec(_decoded(found["model"]), _version(found["version"]), label))


def _method(http_method: str, verb: str | None) -> str | None:
    if http_method == "POST":
        return METHODS.get(verb or "")
    return "GetModelMetadata" if verb == "metadata" else "GetModelStatus"


def _decoded(name: str) -> str:
    return unquote(name, errors="surrogateescape")


def _version(digits: str | None) -> int | None:
    if digits is None:
        return None
    number = digits.lstrip("0") or "0"
    if len(number) > 19 or int(number) >> 63:
        raise NoVersion(f"Failed to convert version: {digits} to numeric.")
    return int(number)
