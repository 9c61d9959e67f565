"""Options are checked when given, and the texts say what was expected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfs_client import TLS, ConfigError, RetryPolicy, StatusCode
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.targets import Target, checked_target
from tfs_client.options import UNSET, checked_channel_options, checked_metadata, checked_timeout


@pytest.mark.parametrize(
    "target",
    [
        "localhost:8500",
        "10.0.0.1:1",
        "[::1]:65535",
        "tf-serving.models.svc.cluster.local:8500",
        "under_score:8500",
        "dns:svc:8500",
        "dns:///svc:8500",
        "dns://8.8.8.8/svc:8500",
        "dns:///[::1]:8500",
        "unix:/run/serving.sock",
        "unix:relative.sock",
        "unix:///run/serving.sock",
        "unix-abstract:name",
        "ipv4:10.0.0.1:8500,10.0.0.2:8500",
        "ipv6:[::1]:8500",
        "xds:///svc",
    ],
)
def test_targets_that_grpc_understands_are_unchanged(target):
    assert checked_target(target) == Target((target,))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "expected host:port"),
        ("  ", "expected host:port"),
        (None, "expected host:port"),
        (8500, "expected host:port"),
        (b"localhost:8500", "expected host:port"),
        ("localhost", "the gRPC port is usually 8500"),
        ("a:1,b:2", "or a list of host:port, got 'a:1,b:2'; pass several targets as a list"),
        ("grpc://a:1,grpc://b:2", "pass several targets as a list"),
        ("localhost:", "the gRPC port is usually 8500"),
        (":8500", "the gRPC port is usually 8500"),
        ("localhost:http", "expected host:port"),
        ("localhost:8500/v1", "expected host:port"),
        ("::1:8500", "expected host:port"),
        (" localhost:8500", "expected host:port"),
        ("localhost:8500\n", "expected host:port"),
        ("local host:8500", "expected host:port"),
        ("localhost:٨٥٠٠", "expected host:port"),
        ("localhost:0", "expected a port from 1 to 65535"),
        ("localhost:65536", "expected a port from 1 to 65535"),
        ("dns:///svc", "expected host:port"),
        ("grpc://localhost", "expected grpc://host:port, got 'grpc://localhost'; the gRPC port is usually 8500"),
        ("grpcs://localhost:8500/x", "expected grpcs://host:port"),
        ("grpcs://localhost:0", "expected a port from 1 to 65535"),
        ("grpc://dns:///svc:8500", "expected grpc://host:port"),
        ("grpc://me@host:8500", "got user@host"),
        (["grpc://a:1", "b:2"], "expected replicas with the same scheme, got 'grpc://a:1' and 'b:2'"),
        (["grpc://a:1", "grpcs://b:2"], "expected replicas with the same scheme"),
    ],
)
def test_targets_that_grpc_would_misread_are_refused(target, message):
    with pytest.raises(ConfigError, match=message):
        checked_target(target)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (None, None),
        (math.inf, None),
        (1e10, None),
        (1e300, None),
        (1e9, 1e9),
        (np.float64(2), 2.0),
    ],
)
def test_timeouts_are_seconds_or_none(timeout, seconds):
    assert checked_timeout(timeout) == seconds


@pytest.mark.parametrize("timeout", [0, -1, math.nan, -math.inf, "5", True, [1]])
def test_other_timeouts_are_refused(timeout):
    with pytest.raises(ConfigError, match="expected a timeout in seconds above 0, or None for no limit, got"):
        checked_timeout(timeout)


@pytest.mark.parametrize(
    ("metadata", "pairs"),
    [
        (None, ()),
        ({}, ()),
        ([], ()),
        ({"a": "b"}, (("a", "b"),)),
        ([("a", "1"), ("a", "2")], (("a", "1"), ("a", "2"))),
        ((pair for pair in [("a", "1")]), (("a", "1"),)),
        ([["a", "1"]], (("a", "1"),)),
        ({"x-y_z.0": "", "raw-bin": b"\x00"}, (("x-y_z.0", ""), ("raw-bin", b"\x00"))),
    ],
)
def test_metadata_becomes_pairs(metadata, pairs):
    assert checked_metadata(metadata) == pairs


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"Upper": "x"}, "lower-case letters"),
        ({"": "x"}, "lower-case letters"),
        ({":path": "x"}, "lower-case letters"),
        ({"a b": "x"}, "lower-case letters"),
        ({"a\n": "x"}, "lower-case letters"),
        ({1: "x"}, "lower-case letters"),
        ({"a": b"x"}, "expected text, because only keys that end in -bin take bytes, got bytes"),
        ({"a-bin": "x"}, "expected bytes, because its key ends in -bin, got str"),
        ({"a": "ä"}, "printable ASCII"),
        ({"a": "line\nbreak"}, "printable ASCII"),
        ({"a": 1}, "expected text.*got int"),
        ({"a": None}, "expected text.*got NoneType"),
        ({"a-bin": None}, "expected bytes.*got NoneType"),
        ("ab", "expected metadata as a mapping or as pairs"),
        ([("a",)], "expected metadata as a mapping or as pairs"),
        ([("a", "b", "c")], "expected metadata as a mapping or as pairs"),
        (5, "expected metadata as a mapping or as pairs"),
    ],
)
def test_metadata_that_grpc_cannot_send_is_refused(metadata, message):
    with pytest.raises(ConfigError, match=message):
        checked_metadata(metadata)


def test_channel_options_become_a_mapping():
    assert checked_channel_options(None) == {}
    assert checked_channel_options({"grpc.a": 1, "grpc.b": "x"}) == {"grpc.a": 1, "grpc.b": "x"}
    assert checked_channel_options([("grpc.a", -1), ("grpc.b", b"x")]) == {"grpc.a": -1, "grpc.b": b"x"}


@pytest.mark.parametrize(
    "options", [{"grpc.a": 1.5}, {1: 1}, {"grpc.a": None}, {"grpc.a": 1 << 31}, 5, [("grpc.a",)], "text"]
)
def test_channel_options_that_grpc_cannot_take_are_refused(options):
    with pytest.raises(ConfigError, match="expected channel options"):
        checked_channel_options(options)


def test_a_deadline_gives_what_remains_and_never_less_than_a_millisecond():
    deadline = Deadline.after(60)
    assert 59 < deadline.remaining() <= 60
    assert not deadline.passed()
    over = Deadline(-1)
    assert over.remaining() == 0.001
    assert over.passed()


def test_without_a_limit_everything_remains():
    deadline = Deadline.after(None)
    assert deadline.remaining() is None
    assert not deadline.passed()


def test_unset_prints_its_name():
    assert repr(UNSET) == "UNSET"


@pytest.mark.parametrize("ca", [5, 0, True, object(), "", "/nowhere.pem", "a\0b"])
def test_certificates_that_are_not_paths_are_refused_and_no_descriptor_is_used(ca):
    with pytest.raises(
        ConfigError, match=r"expected ca as a PEM file or its bytes|cannot read the PEM file .* \(ca\): No such file"
    ):
        TLS(ca=ca)


def test_a_certificate_needs_its_key():
    with pytest.raises(ConfigError, match="got only one of them"):
        TLS(certificate=b"-----BEGIN CERTIFICATE-----")
    with pytest.raises(ConfigError, match="begins with '-----BEGIN'"):
        TLS(ca=b"no pem")
    assert "secret" not in repr(TLS(certificate=b"-----BEGIN ", key=b"-----BEGIN secret"))


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 1},
        {"attempts": 6},
        {"initial_backoff": 0.001},
        {"max_backoff": 0},
        {"initial_backoff": 2.0, "max_backoff": 1.0},
        {"multiplier": 0.5},
        {"codes": ()},
        {"codes": [StatusCode.OK]},
        {"codes": [StatusCode.DEADLINE_EXCEEDED]},
        {"codes": 5},
        {"budget": 0},
        {"refill": -1},
    ],
)
def test_invalid_retry_policies_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        RetryPolicy(**options)


def test_codes_of_a_policy_may_be_numbers_or_names_of_codes():
    assert RetryPolicy(codes=[14, StatusCode.ABORTED]).codes == {StatusCode.UNAVAILABLE, StatusCode.ABORTED}


def test_targets_know_whether_they_are_rest_and_how_they_may_be_shown():
    rest = checked_target("https://me:secret@gateway/tfs/")
    assert rest.rest
    assert rest.secure
    assert rest.addresses == ("https://me:secret@gateway/tfs",)
    assert str(rest) == "https://gateway/tfs"
    replicas = checked_target(["a:1", "b:2", "a:1"])
    assert (replicas.addresses, replicas.rest) == (("a:1", "b:2"), False)


@pytest.mark.parametrize(
    "target",
    [
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h/v1/models/m",
        "http://h?x=1",
        "http://h h",
        [],
        [5],
        ["unix:/a"],
        ["http://h:1"],
    ],
)
def test_other_targets_are_refused(target):
    with pytest.raises(ConfigError, match="expected"):
        checked_target(target)
