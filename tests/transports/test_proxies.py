"""Proxies, by option and by environment, for every way of calling; the same rules over gRPC and REST."""

from __future__ import annotations

import pickle

import pytest
from calling import GRPC, REST, STYLES, calling
from certificates import certificates
from proxy import VARIABLES, proxying
from scripted import MODEL, ServerTls, serving, target_of
from tcp import nobody

from tfs_client import TLS, ConfigError, Keepalive, PredictClient, TFServingError, UnavailableError
from tfs_client._flows.settings import Settings
from tfs_client._transports.connection import Connection
from tfs_client._transports.proxies import excepted, grpc_route, rest_route
from tfs_client._transports.proxy_urls import proxy_url
from tfs_client._transports.targets import checked_target

X = {"x": [1.0]}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The environment of the test run has no influence."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def proxy():
    with proxying() as proxy:
        yield proxy


@pytest.fixture
def dead():
    """The URL of a proxy that is not there."""
    with nobody() as port:
        yield f"http://127.0.0.1:{port}"


def predict(style, target, **options):
    with calling(style, target, model=MODEL, **{"timeout": 20, **options}) as client:
        return client.predict(X).array.tolist()


# --- the option --------------------------------------------------------------------------------------------------


def test_every_call_uses_the_given_proxy_and_ignores_the_environment(style, proxy, monkeypatch):
    monkeypatch.setenv("no_proxy", "*, localhost, 127.0.0.1")
    with serving(style) as server:
        target = target_of(style, server.port)
        assert predict(style, target, proxy=f"http://me:se%2Fcret@localhost:{proxy.port}") == [2]
    assert proxy.heads
    for head in proxy.heads:
        assert f"localhost:{server.port}" in head.split("\r\n")[0]
        assert "proxy-authorization: basic bwu6c2uvy3jlda==" in head  # me:se/cret, in lower case as the rest


def test_none_disables_proxies_and_ignores_the_environment(style, dead, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "grpc_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    with serving(style) as server:
        assert predict(style, target_of(style, server.port), proxy=None) == [2]


def test_connections_with_keepalive_use_the_proxy(style, proxy):
    with serving(style) as server:
        target = target_of(style, server.port)
        assert predict(style, target, proxy=f"http://127.0.0.1:{proxy.port}", keepalive=Keepalive()) == [2]
    assert proxy.heads


def test_tls_passes_through_the_proxy_to_the_server(style, proxy):
    made = certificates()
    with serving(style, tls=ServerTls(made.server)) as server:
        target = target_of(style, server.port, secure=True)
        url = f"http://127.0.0.1:{proxy.port}"
        assert predict(style, target, proxy=url, tls=TLS(ca=made.ca)) == [2]
        assert all(head.startswith(f"connect localhost:{server.port}") for head in proxy.heads)
    with serving(style, tls=ServerTls(made.renamed)) as server:
        target = target_of(style, server.port, secure=True)
        with pytest.raises(UnavailableError, match="is for another name"):
            predict(style, target, proxy=url, tls=TLS(ca=made.ca))
        renamed = TLS(ca=made.ca, authority="other.example")
        if style in GRPC:
            assert predict(style, target, proxy=url, tls=renamed) == [2]
        else:
            with pytest.raises(ConfigError, match="by the host alone, not by TLS"):
                predict(style, target, proxy=url, tls=renamed)


@pytest.mark.parametrize("style", GRPC)
def test_each_replica_is_reached_through_the_proxy(style, proxy):
    with serving(style) as one, serving(style) as two:
        targets = [f"localhost:{one.port}", f"127.0.0.1:{two.port}"]
        with calling(style, targets, model=MODEL, timeout=20, proxy=f"http://localhost:{proxy.port}") as client:
            for number in range(2000):
                assert client.predict(X).array.tolist() == [2]
                if number > 20 and one.calls and two.calls:
                    break
        assert one.calls
        assert two.calls
    assert {head.split("\r\n")[0].split()[1].rpartition(":")[2] for head in proxy.heads} == {
        str(one.port),
        str(two.port),
    }


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("proxy:3128", "the URL has no scheme"),
        ("ftp://proxy", "its scheme is ftp://"),
        ("http://", "no host"),
        ("http://me:secret@proxy:port", "no host and port"),
        ("http://me:se/cret@proxy:3128", "no host and port|more than a host"),
        ("http://me:secret@proxy:3128/path", "more than a host"),
        ("http://me:secret@pro xy:3128", "no host and port"),
        ("", "no scheme"),
        (True, "got bool"),
        (3128, "got int"),
    ],
)
def test_an_invalid_proxy_url_is_refused_without_showing_it(style, proxy, words):
    with pytest.raises(ConfigError, match=words) as caught, calling(style, target_of(style, 9), proxy=proxy):
        pass
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["https", "socks5", "socks5h"])
def test_grpc_supports_only_http_proxies(scheme):
    with pytest.raises(ConfigError, match=f"gRPC takes http://.*its scheme is {scheme}://"):
        PredictClient("localhost:8500", proxy=f"{scheme}://proxy:1")


def test_a_unix_socket_is_never_reached_through_a_proxy():
    with pytest.raises(ConfigError, match="proxy= and the target unix:/tmp/socket contradict each other"):
        PredictClient("unix:/tmp/socket", proxy="http://proxy:1")


def test_a_proxy_without_an_address_is_refused_for_replicas():
    with pytest.raises(ConfigError, match=r"the proxy http://nowhere\.invalid:1 cannot be resolved"):
        PredictClient(["127.0.0.1:1", "127.0.0.1:2"], proxy="http://nowhere.invalid:1")


def test_passwords_of_proxies_and_targets_are_never_shown(style):
    with nobody() as port:
        secret = f"http://me:secret@127.0.0.1:{port}"
        with calling(style, target_of(style, 9), model=MODEL, timeout=20, proxy=secret) as client:
            with pytest.raises(
                TFServingError, match=rf"goes through the proxy http://127.0.0.1:{port} \(set by proxy=\)"
            ) as caught:
                client.predict(X)
            client = client.client if hasattr(client, "client") else client
            assert "secret" not in str(caught.value) + repr(client) + repr(client._settings)
    target = checked_target("http://me:secret@host:1")
    assert "secret" not in repr(target) + str(target) + repr(Connection(target))


# --- the environment ---------------------------------------------------------------------------------------------


def set_proxy(monkeypatch, url):
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.setenv("ALL_PROXY", url)


def test_the_environment_names_the_proxy(style, proxy, monkeypatch):
    set_proxy(monkeypatch, f"http://me:secret@127.0.0.1:{proxy.port}")
    with serving(style) as server:
        assert predict(style, target_of(style, server.port)) == [2]
    assert proxy.heads
    assert all("proxy-authorization: basic " in head for head in proxy.heads)


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(
    "exceptions",
    ["127.0.0.0/8", "10.0.0.0/8, 127.0.0.1", "[::1],fd00::/8,127.0.0.1", "*", "x.example,http://127.0.0.1"],
)
def test_hosts_in_no_proxy_are_reached_directly(style, dead, variable, exceptions, monkeypatch):
    set_proxy(monkeypatch, dead)
    monkeypatch.setenv(variable, exceptions)
    with serving(style) as server:
        host = "127.0.0.1"
        if style in GRPC and "://" in exceptions:
            pytest.skip("a gRPC target has no scheme")
        assert predict(style, target_of(style, server.port, host=host)) == [2]


@pytest.mark.parametrize("style", GRPC)
def test_replicas_in_no_proxy_are_reached_directly(style, dead, proxy, monkeypatch):
    with serving(style) as one, serving(style) as two:
        targets = [f"127.0.0.1:{one.port}", f"localhost:{two.port}"]
        set_proxy(monkeypatch, dead)
        monkeypatch.setenv("no_proxy", "127.0.0.0/8,localhost")
        assert predict(style, targets) == [2]
        monkeypatch.setenv("no_proxy", "")
        set_proxy(monkeypatch, f"http://localhost:{proxy.port}")
        assert predict(style, targets) == [2]
    assert proxy.heads


STRANGE = (
    "socks5://127.0.0.1:9",
    "socks5h://127.0.0.1:9",
    "carrier-pigeon://somewhere",
    "http://[::1",
    "http://me:se/cret@proxy:3128",
    "not a url",
)


@pytest.mark.parametrize("url", STRANGE)
def test_a_proxy_for_other_hosts_is_ignored(style, url, monkeypatch):
    set_proxy(monkeypatch, url)
    monkeypatch.setenv("no_proxy", "[::1], fe80::1%eth0, ::1/129, 1.2.3.4/99, [, ]:1, exa mple, localhost")
    with serving(style) as server:
        assert predict(style, target_of(style, server.port)) == [2]


@pytest.mark.parametrize("url", STRANGE)
@pytest.mark.parametrize("style", REST)
def test_an_unusable_proxy_fails_the_call(style, url, monkeypatch):
    pytest.importorskip("httpx")
    if url.startswith("socks"):
        try:
            import socksio  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("with socksio it can be used")
    set_proxy(monkeypatch, url)
    monkeypatch.delenv("http_proxy")
    with (
        calling(style, target_of(style, 9), model=MODEL) as client,
        pytest.raises(ConfigError, match=r"cannot be used \(ALL_PROXY\).*NO_PROXY") as caught,
    ):
        client.predict(X)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("style", GRPC)
@pytest.mark.parametrize("url", STRANGE)
def test_grpc_ignores_a_proxy_that_it_cannot_use(style, url, monkeypatch):
    set_proxy(monkeypatch, url)
    with serving(style) as server:
        assert predict(style, target_of(style, server.port)) == [2]


# --- the rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port", "exceptions", "expected"),
    [
        ("a.example", 80, "", False),
        ("a.example", 80, "*", True),
        ("a.example", 80, "b.example, A.EXAMPLE", True),
        ("x.a.example", 80, "a.example", True),
        ("xa.example", 80, "a.example", False),
        ("x.a.example", 80, ".a.example", True),
        ("a.example", 80, ".a.example", False),
        ("x.a.example", 80, "*.a.example", True),
        ("a.example", 80, "a.example:80", True),
        ("a.example", 80, "a.example:81", False),
        ("a.example", 80, "http://a.example", True),
        ("a.example", 80, "http://a.example:80/", True),
        ("a.example", 80, "https://a.example", False),
        ("a.example", 80, "all://a.example", True),
        ("10.1.2.3", 80, "10.0.0.0/8", True),
        ("10.1.2.3", 80, "10.1.2.9/24", True),
        ("11.1.2.3", 80, "10.0.0.0/8", False),
        ("10.1.2.3", 80, "10.1.2.3:80", True),
        ("10.1.2.3", 80, "10.1.2.3:81", False),
        ("10.1.2.3", 80, "1.2.3", False),
        ("::1", 80, "[::1]", True),
        ("::1", 80, "[::1]:80", True),
        ("::1", 80, "[::1]:81", False),
        ("::1", 80, "0:0:0:0:0:0:0:1", True),
        ("0:0::1", 80, "::1", True),
        ("fd12::5", 80, "fd00::/8", True),
        ("fd12::5", 80, "[fd00::]/8", True),
        ("fe12::5", 80, "fd00::/8", False),
        ("10.1.2.3", 80, "::/0", False),
        ("fd12::5", 80, "0.0.0.0/0", False),
        ("::ffff:10.1.2.3", 80, "10.0.0.0/8", True),
        ("fe80::1%eth0", 80, "fe80::/10", True),
        ("a.example", 80, "10.0.0.0/8,::1/129,1.2.3.4/99,[,]", False),
    ],
)
def test_which_hosts_no_proxy_matches(host, port, exceptions, expected):
    assert excepted(host, port, exceptions, "http") is expected


def test_the_variables_of_rest_are_those_of_the_scheme_and_then_all(monkeypatch):
    def proxy_of(target):
        route = rest_route(Connection(checked_target(target)))
        return route.proxy and route.proxy.host, route.variable

    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("HTTPS_PROXY", "secure:2")  # without a scheme it is http://
    assert proxy_of("http://host:8501") == ("all", "ALL_PROXY")
    assert proxy_of("https://host") == ("secure", "HTTPS_PROXY")
    monkeypatch.setenv("NO_PROXY", "host:443")
    assert proxy_of("https://host") == (None, "")
    assert proxy_of("http://host:8501") == ("all", "ALL_PROXY")


def test_the_variables_of_grpc_are_its_own_and_an_empty_one_means_none(monkeypatch):
    def proxy_of(target="host:8500", **options):
        route = grpc_route(Connection(checked_target(target), **options))
        return route.proxy and route.proxy.host, route.variable

    assert proxy_of() == (None, "")
    monkeypatch.setenv("http_proxy", "http://plain:1")
    assert proxy_of() == ("plain", "http_proxy")
    monkeypatch.setenv("https_proxy", "http://secure:1")
    assert proxy_of() == ("secure", "https_proxy")
    assert proxy_of("unix:/tmp/socket") == (None, "")
    assert proxy_of(channel_options={"grpc.enable_http_proxy": 0}) == (None, "")
    monkeypatch.setenv("no_proxy", "st")  # gRPC's own rule: whatever a name ends in
    assert proxy_of() == (None, "")
    monkeypatch.setenv("no_grpc_proxy", "other")
    assert proxy_of() == ("secure", "https_proxy")
    assert proxy_of(["host:1", "other:2"]) == ("secure", "https_proxy")
    assert proxy_of(["x.other:1", "other:2"]) == (None, "")
    assert proxy_of("dns:///other:1") == proxy_of("dns://8.8.8.8/other:1") == (None, "")
    monkeypatch.setenv("grpc_proxy", "")
    assert proxy_of() == (None, "")


def test_a_url_is_read_and_written():
    found = proxy_url("HTTP://me:p%40ss@[::1]:3128/", ("http",))
    assert found == ("http", "::1", 3128, "me", "p@ss")
    assert (str(found), repr(found), found.with_password) == (
        "http://[::1]:3128",
        "http://[::1]:3128",
        "http://me:p%40ss@[::1]:3128",
    )
    assert proxy_url("socks5://host", ("socks5",)).address == "host:1080"


def test_a_pickled_client_keeps_its_proxy():
    with (
        PredictClient("localhost:1", proxy="http://me:secret@host:1") as client,
        pickle.loads(pickle.dumps(client)) as other,
    ):
        assert other._settings.connection.proxy == "http://me:secret@host:1"


def test_settings_show_no_token():
    with PredictClient("localhost:1", token="secret") as client:
        assert isinstance(client._settings, Settings)
        assert "secret" not in repr(client._settings)
