"""Which method of the API a request line is for.

Source: model_servers/http_rest_api_util.cc and http_rest_api_handler.cc. The patterns see the raw path with the query;
names are decoded once they have matched. Case does not count for the patterns, but for the method it does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from tfs_client.codec.model_spec import ModelSpec
from tfs_client.errors import InvalidArgumentError

_OF_VERSION = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
POST = re.compile(rf"/v1/models/(?P<model>[^/:]+){_OF_VERSION}:(?P<verb>classify|regress|predict)", re.I)
GET = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_OF_VERSION}(?:/(?P<verb>metadata))?", re.I)
PREFIX = re.compile(r"/v1/.*", re.I)

# Of the characters that may not stand in a URI; "#" may, once it has been sent.
_UNCLEAN = re.compile(r"[^!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~]|%(?![0-9A-Fa-f]{2})")

METHODS = {"predict": "Predict", "classify": "Classify", "regress": "Regress"}


class NoVersion(InvalidArgumentError):
    """A version number that no model can have; the answer to it has no body."""


@dataclass(frozen=True)
class Route:
    """What a request line asks for.

    Attributes:
        method: the API method, e.g. "Predict".
        spec: which model and version it is for.
    """

    method: str
    spec: ModelSpec


def target_of(raw_path: bytes, query: bytes) -> str:
    """The path with the query, as the client wrote it; of a whole URL only what follows the authority."""
    text = raw_path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
    return re.sub(r"^https?://[^/?#]*", "", text, count=1, flags=re.I) or "/"


def is_clean(target: str) -> bool:
    """Whether a path could stand in a URI (RFC 3986)."""
    return not _UNCLEAN.search(target)


def is_api(target: str) -> bool:
    """Whether the API answers for a path at all."""
    return PREFIX.fullmatch(target) is not None


def route(http_method: str, target: str) -> Route:
    """What is asked for. Raises InvalidArgumentError with the model server's text."""
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
