"""Certificates for tests, created for every run: valid ones, and one of each kind that must be refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache

import trustme

HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Certificates:
    """The certificates of one run.

    Attributes:
        ca: the authority that the tests trust.
        server: for the host the tests connect to.
        renamed: valid, but for another host, ``other.example``.
        expired: for the right host, until yesterday.
        foreign: for the right host, from the untrusted authority ``foreign_ca``.
        client: a client's own; ``foreign_client`` is from the other authority.
    """

    ca: bytes
    server: Pair
    renamed: Pair
    expired: Pair
    foreign_ca: bytes
    foreign: Pair
    client: Pair
    foreign_client: Pair


@cache
def certificates() -> Certificates:
    """Those of this run."""
    ca, other = trustme.CA(organization_name="Trusted"), trustme.CA(organization_name="Foreign")
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    expired = ca.issue_cert(*HOSTS, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    return Certificates(
        ca=ca.cert_pem.bytes(),
        server=_pair(ca.issue_cert(*HOSTS)),
        renamed=_pair(ca.issue_cert("other.example")),
        expired=_pair(expired),
        foreign_ca=other.cert_pem.bytes(),
        foreign=_pair(other.issue_cert(*HOSTS)),
        client=_pair(ca.issue_cert("client@example.org")),
        foreign_client=_pair(other.issue_cert("client@example.org")),
    )


def _pair(leaf: trustme.LeafCert) -> Pair:
    return Pair(b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes())
