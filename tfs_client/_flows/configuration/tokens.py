"""Tokens from outside the program: a text, or ``@FILE`` for the content of a file. No error shows one."""

from __future__ import annotations

from tfs_client._printable import shown
from tfs_client.errors import ConfigError

LONGEST = 1 << 16  # characters; larger than the headers that any server accepts


def token_of(text: str) -> str:
    """Return a token, or the content of the file that ``@FILE`` names. Raises ConfigError."""
    return read_file(text[1:]) if text.startswith("@") else checked(text)


def read_file(path: str) -> str:
    """Return the token in a file, without surrounding whitespace. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as file:  # also a pipe, such as a shell's <(...)
            text = file.read(LONGEST + 1).strip()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or bytes that are not UTF-8
        why = "it is not text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {shown(path)}: {why}") from None
    return checked(text)


def checked(token: str) -> str:
    """Return a token that can be sent as a header. Raises ConfigError."""
    # gRPC rejects a token of two lines too, but its error only says that metadata is invalid.
    if not (token and token.isascii() and token.isprintable()) or len(token) > LONGEST:
        raise ConfigError("expected a line of printable ASCII text")
    return token
