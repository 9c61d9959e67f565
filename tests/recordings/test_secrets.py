"""Secrets are recognised in every form, wherever base64 puts them."""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfs_client.recordings.secrets import Secrets, is_secret

VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=30)


@settings(max_examples=40)
@given(VALUES, st.binary(max_size=5), st.binary(max_size=5))
def test_a_secret_is_hidden_in_base64_too(value, before, after):
    secrets = Secrets([value])
    for encode in (b64encode, urlsafe_b64encode):
        text = encode(before + value.encode() + after).decode()
        assert secrets.hidden(text) != text
        assert secrets.is_in(text.encode())
    assert value not in secrets.hidden(f"<{value}>")


@pytest.mark.parametrize(
    "key",
    ["authorization", "Proxy-Authorization", "cookie", "x-api-key", "my-token", "client_secret", "aws-credentials"],
)
def test_keys_of_secrets(key):
    assert is_secret(key)
    assert not is_secret("x-request-id")


def test_the_parts_of_a_header_are_secrets():
    secrets = Secrets(["Bearer tttttttt", f"Basic {b64encode(b'us:pppppppp').decode()}"])
    assert secrets.hidden("tttttttt and pppppppp and us:pppppppp") == "[secret] and [secret] and [secret]"
    assert secrets.hidden("nothing") == "nothing"
    assert Secrets(["abc"]).hidden("abc") == "abc"  # too short to be replaced in texts


ENCODINGS = {
    "percent": lambda text: quote(text, safe=""),
    "each percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "json": json.dumps,
    "json of PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "json, each": lambda text: "".join(f"\\u{ord(each):04X}" for each in text),
    "html": html.escape,
    "repr": lambda text: repr(text.encode()),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "percent in json": lambda text: json.dumps(json.dumps({"url": f"/a?token={quote(text)}"})),
    "base64 in percent": lambda text: quote(b64encode(text.encode())),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("token", ["ab/c+d==\\e&\"f'\u00e9<%41>", "plain-token"])
def test_a_secret_is_hidden_with_escapes(encode, token):
    kept = len(encode("")) + len("/a?token=") * 3  # what the encoding puts around it
    for before, after in (("", ""), ("\u00e4 ", " \u20ac"), ("x=", "\\n")):
        hidden = Secrets([token]).hidden(f"{before}{encode(token)}{after}")
        assert hidden.count("[secret]") == 1
        assert hidden.startswith(before)
        assert hidden.endswith(after)
        assert len(hidden) <= len(before) + len(after) + len("[secret]") + kept


def test_bytes_are_secrets_in_every_form():
    value = b"\xff\x00planted\xe9"
    secrets = Secrets([value])
    for text in (b64encode(value).decode(), value.hex(), repr(value), value.decode("latin-1"), quote(value)):
        assert "[secret]" in secrets.hidden(f"got {text}"), text
        assert "planted" not in secrets.hidden(f"got {text}")
    assert secrets.is_in(b"a" + value)
    assert Secrets([b"Bearer abcdefgh"]).hidden("abcdefgh") == "[secret]"


def test_texts_without_secrets_stay():
    text = "50% of 100%25, C:\\temp \\u00e9 &amp; caf\u00e9"
    assert Secrets(["planted"]).hidden(text) == text
