"""Secrets: what must never be in a recording, and how texts are written without it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import replace

from tfs_client.errors import RecordingError
from tfs_client.options import MetadataPairs
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.escaped_texts import found_in, unescaped

HIDDEN = "[secret]"
SHORTEST = 4  # characters; replacing a shorter value would garble texts, and hide nothing
SHORTEST_IN_BYTES = 8  # shorter values occur in tensors by chance
_KEYS = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"))
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_WORDS = ("token", "secret", "password", "key", "credential")


def is_secret(key: str) -> bool:
    """Return whether the values of a metadata key are secrets."""
    key = key.lower()
    return key in _KEYS or any(word in key for word in _WORDS)


class Secrets:
    """The secret values that a client has sent, in every form in which they may come back.

    Args:
        values: the values, such as a token.
    """

    # Other threads add values while one reads. Single operations on dicts and sets are atomic.

    def __init__(self, values: Iterable[str | bytes] = ()) -> None:
        self._values: set[str | bytes] = set()
        self._forms: dict[bytes, None] = {}
        for value in values:
            self.add(value)

    def add(self, value: str | bytes) -> None:
        """Learn a value. Of "Bearer x" and "user:password", the parts are secrets, too."""
        if value in self._values:
            return
        for part in (value, *_parts(value)):
            data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
            if len(data) >= SHORTEST:
                self._forms.update(dict.fromkeys((data, *_base64_forms(data), data.hex().encode())))
                if len(plain := unescaped(data)) >= SHORTEST:
                    self._forms[plain] = None
                if isinstance(part, bytes) and not data.isascii():  # a text may have a character for each byte
                    self._forms[data.decode("latin-1").encode()] = None
        self._values.add(value)

    @property
    def longest(self) -> int:
        """The length of the longest form of a secret; 0 without secrets."""
        return max(map(len, tuple(self._forms)), default=0)

    def hidden(self, text: str) -> str:
        """Return a text without the secrets, also where it has them in base64, hexadecimal or with escapes."""
        spans = found_in(text, tuple(self._forms)) if self._forms else []
        for start, stop in reversed(spans):
            text = text[:start] + HIDDEN + text[stop:]
        return text

    def is_in(self, data: bytes) -> bool:
        """Return whether a message contains a secret of at least 8 characters."""
        return any(len(form) >= SHORTEST_IN_BYTES and form in data for form in tuple(self._forms))

    def removed(self, episode: Episode) -> Episode:
        """Return a call without the secrets.

        Raises RecordingError if a request or a reply contains one: its tensors cannot be changed without changing
        the call.
        """
        for key, value in episode.metadata:
            if is_secret(key):
                self.add(value)
        if not self._forms:
            return replace(episode, metadata=without_secrets(episode.metadata))
        for what, data in (("request", episode.request), ("reply", episode.reply)):
            if data is not None and self.is_in(data):
                raise RecordingError(
                    f"the {what} of {episode.method} for model {episode.spec.name!r} contains the client's token or "
                    "another secret of its metadata, and is not recorded; remove it from inputs with redact=, or call "
                    "without record="
                )
        return replace(
            episode,
            metadata=tuple((key, self._without(value)) for key, value in without_secrets(episode.metadata)),
            details=self.hidden(episode.details),
            hint=self.hidden(episode.hint),
        )

    def _without(self, value: str | bytes) -> str | bytes:
        if isinstance(value, str):
            return self.hidden(value)
        return HIDDEN.encode() if any(form in value for form in tuple(self._forms)) else value


def without_secrets(metadata: MetadataPairs) -> MetadataPairs:
    """Return the pairs whose values are not secrets."""
    return tuple((key, value) for key, value in metadata if not is_secret(key))


def _parts(value: str | bytes) -> set[str]:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    scheme, _, rest = value.partition(" ")
    found = {rest} if rest else set()
    if scheme.lower() == "basic":
        try:
            user = b64decode(rest, validate=True).decode()
        except ValueError:
            return found
        found |= {user, user.partition(":")[2]}
    return found


def _base64_forms(value: bytes) -> set[bytes]:
    """Return how the value looks in base64, wherever it begins in the encoded bytes."""
    forms = set()
    for before in range(3):
        text = b64encode(bytes(before) + value).rstrip(b"=")
        # The characters that do not depend on the bytes around the value.
        text = text[(before * 8 + 5) // 6 : (before + len(value)) * 8 // 6]
        forms |= {text, text.translate(_URL_SAFE)}
    return {form for form in forms if len(form) >= SHORTEST}
