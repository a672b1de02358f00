# SPDX-License-Identifier: ISC
"""via: servers that are reached through a proxy, and proxies that do otherwise than they should."""

import re
import signal
import time

import pytest

import ehlock
import net
from backend import Backend, ScriptedBackend
from ehlock import Ehlock, global_part, section
from net import text_of
from pki import NAME
from proxy_header import HeaderBackend
from smtp_client import Client, context
from test_keys import found_in
from tls_server import TlsServer
from ways import HttpProxy, SocksProxy

SCHEMES = {"http": HttpProxy, "socks5": SocksProxy}
LOGIN = ("bob", "a-password:with a colon")
NOBODY = ("127.0.0.1", 1)       # where proxies connect to that never come so far


def url(proxy, scheme=None):
    kind = scheme or next(name for name, kind in SCHEMES.items() if isinstance(proxy, kind))
    return f"{kind}://{text_of(proxy.address)}"


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text(LOGIN[1] + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def server(pki):
    with TlsServer(pki.ecdsa) as it:
        yield it


@pytest.fixture
def client_side(wrap, pki):
    """client_side(proxy) starts the program, whose server has a name that nobody here knows."""
    def start(proxy, scheme=None, **options):
        return wrap((NAME, 587), **{"client": True, "cert": None, "key": None, "CAfile": pki.ca,
                                    "via": url(proxy, scheme), **options})
    return start


def deliver(address, body=b"Subject: x\r\n\r\ntext\r\n"):
    with Client(address) as client:
        assert client.greeting.code == 220, client.greeting
        client.ehlo()
        client.send_message(body=body)
        client.quit()


# ---- as it should be

@pytest.mark.parametrize("manner", ["plain", "login", "glued", "bytewise"])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_mail_passes_and_the_server_is_judged_by_its_own_name(scheme, manner, server, client_side,
                                                              password):
    login = LOGIN if manner == "login" else None
    with SCHEMES[scheme](server.address, login=login, glued=manner == "glued",
                         bytewise=manner == "bytewise") as proxy:
        said = {"viaUsername": LOGIN[0], "viaPasswordFile": password} if login else {}
        ours = client_side(proxy, **said)
        deliver(ours.address)
        assert proxy.session().events["target"] == (NAME, 587)
        session, summary = server.ended(), ours.summary()
    assert session.sni == NAME and len(server.messages) == 1
    assert session.clear.startswith(b"EHLO"), session.clear     # not a byte of ours to the proxy
    assert summary["outcome"] == "done" and summary["verified"] == NAME, summary
    assert (summary["backend"], summary["through"]) == (f"{NAME}:587", url(proxy))
    assert LOGIN[1] not in ours.log and "a-password" not in ours.log


@pytest.mark.parametrize("bound", [b"\4" + bytes(16), b"\3\4name", b"\3\0", b"\3\xff" + b"x" * 255],
                         ids=["ipv6", "name", "empty", "longest"])
def test_address_that_a_proxy_has_connected_from_is_passed_over(bound, server, client_side):
    with SocksProxy(server.address, bound=bound, glued=True) as proxy:
        deliver(client_side(proxy).address)
    assert len(server.messages) == 1


@pytest.mark.parametrize("target", ["192.0.2.9", "2001:db8::9"])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_addresses_are_asked_for_as_addresses(scheme, target, server, client_side):
    kind = SCHEMES[scheme.replace("5h", "5")]
    with kind(server.address) as proxy:
        deliver(client_side(proxy, scheme, connect=text_of((target, 25)), checkHost=NAME).address)
        events = proxy.session().events
    assert events["target"] == (target, 25)
    if kind is SocksProxy:
        assert events["kind"] == (4 if ":" in target else 1)
    else:
        assert events["request"].startswith(f"CONNECT {text_of((target, 25))} HTTP".encode())


def test_login_is_said_to_a_socks_proxy_that_asks_only(server, client_side, password):
    with SocksProxy(server.address) as proxy:
        deliver(client_side(proxy, viaUsername=LOGIN[0], viaPasswordFile=password).address)
        assert "login" not in proxy.session().events


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_backend_of_a_server_is_told_who_the_client_is(scheme, wrap, pki):
    with HeaderBackend(1) as backend, SCHEMES[scheme](backend.address, glued=False) as proxy:
        ours = wrap(("backend.invalid", 25), via=url(proxy), identity="proxy")
        with Client(ours.address, source="127.0.0.5") as client:
            client.ehlo()
            client.starttls(context(pki))
            client.ehlo()
            client.send_message()
            client.quit()
        assert backend.header().raw.startswith(b"PROXY TCP4 127.0.0.5 ")
        assert len(backend.messages) == 1


def test_new_connection_after_starttls_goes_the_same_way(wrap, backend, pki):
    with HttpProxy(backend.address) as proxy:
        ours = wrap(("backend.invalid", 25), via=url(proxy), reconnect=True)
        with Client(ours.address) as client:
            client.ehlo()
            client.starttls(context(pki))
            client.ehlo()
            client.send_message()
            client.quit()
        assert len(proxy.sessions) == len(backend.sessions) == 2


def test_bytes_without_a_protocol_pass(wrap, pki, backend):
    """What the server says in one piece with the proxy's answer is the first thing the client reads."""
    with SocksProxy(backend.address, glued=True) as proxy:
        ours = wrap(("backend.invalid", 25), via=url(proxy), protocol=None)
        with Client.implicit(ours.address, context(pki)) as client:
            assert client.greeting.code == 220
            client.quit()


# ---- several servers

@pytest.mark.parametrize("failover", ["prio", "rr"])
def test_next_server_is_tried_when_the_proxy_cannot_reach_one(failover, server, client_side):
    def place(target):
        if target[0] == NAME:
            return server.address
        raise ConnectionRefusedError       # and the proxy closes

    with SocksProxy(place) as proxy:
        ours = client_side(proxy, failover=failover, checkHost=NAME,
                           connect=["dead.invalid:25", f"{NAME}:587"])
        for _ in range(4):
            deliver(ours.address)
        assert {s["backend"] for s in ours.summaries()} == {f"{NAME}:587"}
        asked = [s.events["target"][0] for s in proxy.sessions]
    assert asked.count(NAME) == 4
    assert asked.count("dead.invalid") == (4 if failover == "prio" else 2)


def test_proxy_that_is_down_is_tried_once(client_side):
    dead = HttpProxy(NOBODY)        # never started
    ours = client_side(dead, checkHost=NAME, connect=["a.invalid:25", "b.invalid:25"])
    with Client(ours.address) as client:
        assert client.greeting.code == 421
        assert "reached" in client.greeting.text
    assert ours.summary()["reason"] == \
        f"backend a.invalid:25: proxy {text_of(dead.address)}: Connection refused"


# ---- as it should not be

def http(answer, end=None):
    def scene(peer):
        peer.read_until(b"\r\n\r\n")
        peer.send(answer)
        (end or peer.read_to_end)()
    return scene


def socks(*answers, end=None):
    """An answer to the greeting, and one to all that follows it."""
    def scene(peer):
        for answer in answers:
            peer.fill()
            peer.send(answer)
        if end != "close":
            peer.read_to_end()
    return scene


def hello_then_close(peer):
    peer.send(b"220 mail.example.org ESMTP\r\n")
    peer.read_to_end()


def close(peer):
    peer.fill()


def reset(peer):
    peer.fill()
    peer.reset()


def trickle(first, then):
    """Never ends, and always has news."""
    def scene(peer):
        peer.fill()
        peer.send(first)
        while True:
            peer.send(then)
            time.sleep(0.02)
    return scene


def endless(peer):
    peer.read_until(b"\r\n\r\n")
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.send(b"X: " + b"x" * 4000)


def silent(peer):
    peer.read_to_end()


NO_HTTP, NO_SOCKS = "it does not speak HTTP", "it does not speak SOCKS version 5"
REFUSED = b"\5%c\0\1\0\0\0\0\0\0"
HOSTILE = {
    "http-forbidden": (http(b"HTTP/1.1 403 Forbidden\r\n\r\n"),
                       "it does not allow this connection (403)"),
    "http-login": (http(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"),
                   "it wants a login (407): write viaUsername and viaPasswordFile"),
    "http-digest": (http(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=x\r\n\r\n"),
                    "it wants a login by another way than Basic (407)"),
    "http-method": (http(b"HTTP/1.0 405 Method\r\n\r\n"), "it does not do CONNECT (405)"),
    "http-gateway": (http(b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>secret-page</html>"),
                     "it cannot reach the server (502)"),
    "http-unauthorized": (http(b"HTTP/1.0 401 Unauthorized\r\n\r\n"), "it wants a login (401)"),
    "http-failed": (http(b"HTTP/1.0 500 x\r\n\r\n"),
                    "it has failed, or cannot reach the server (500)"),
    "http-redirect": (http(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"),
                      "it does not make the connection (302)"),
    "http-no-success": (http(b"HTTP/1.1 300 x\r\n\r\n220 secret ESMTP\r\n"),
                        "it does not make the connection (300)"),
    "http-mail-server": (hello_then_close, NO_HTTP),
    "http-bare-lf": (http(b"HTTP/1.1 200 OK\n\n220 secret ESMTP\r\n"), NO_HTTP),
    "http-nul": (http(b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n220 secret ESMTP\r\n"), NO_HTTP),
    "http-folded": (http(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n220 secret ESMTP\r\n"), NO_HTTP),
    "http-switching": (http(b"HTTP/1.1 101 x\r\n\r\n220 secret ESMTP\r\n"), NO_HTTP),
    "http-endless": (endless, NO_HTTP),
    "http-trickle": (trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x"), "it took too long"),
    "http-close": (close, "it closed the connection"),
    "http-half": (lambda peer: (peer.fill(), peer.send(b"HTTP/1.1 200 OK\r\n")),
                  "it closed the connection"),
    "http-reset": (reset, "Connection reset by peer"),
    "http-silent": (silent, "it took too long"),
    "socks-none-fits": (socks(b"\5\xff"),
                        "it wants a login: write viaUsername and viaPasswordFile"),
    "socks-login": (socks(b"\5\2"), "it wants a login: write viaUsername and viaPasswordFile"),
    "socks-method": (socks(b"\5\1"), NO_SOCKS),
    "socks-version": (socks(b"\4\0"), NO_SOCKS),
    "socks-http": (socks(b"HTTP/1.1 400 Bad Request\r\n\r\n"), NO_SOCKS),
    "socks-mail-server": (hello_then_close, NO_SOCKS),
    "socks-early": (socks(b"\5\0" + REFUSED % 0 + b"220 secret ESMTP\r\n"),
                    "it speaks out of turn"),
    "socks-twice": (socks(b"\5\0\5\0"), "it speaks out of turn"),
    "socks-kind": (socks(b"\5\0", b"\5\0\0\7\0\0\0\0\0\0"), NO_SOCKS),
    "socks-reply-version": (socks(b"\5\0", b"\0\0\0\1\0\0\0\0\0\0"), NO_SOCKS),
    "socks-close": (close, "it closed the connection"),
    "socks-half": (socks(b"\5\0", b"\5\0\0\3\xffx", end="close"), "it closed the connection"),
    "socks-silent": (socks(b"\5\0"), "it took too long"),
    "socks-1": (socks(b"\5\0", REFUSED % 1), "it has failed (1, general failure)"),
    "socks-2": (socks(b"\5\0", REFUSED % 2), "it does not allow this connection (2)"),
    "socks-3": (socks(b"\5\0", REFUSED % 3), "it cannot reach the network of the server (3)"),
    "socks-4": (socks(b"\5\0", REFUSED % 4),
                "it cannot reach the server, or does not find its name (4)"),
    "socks-5": (socks(b"\5\0", REFUSED % 5), "it was refused by the server (5)"),
    "socks-6": (socks(b"\5\0", REFUSED % 6), "it got no answer from the server in time (6)"),
    "socks-7": (socks(b"\5\0", b"\5\7"), "it does not do CONNECT (7)"),
    "socks-8": (socks(b"\5\0", REFUSED % 8), "it does not take addresses of this kind (8)"),
    "socks-9": (socks(b"\5\0", REFUSED % 9), "it has failed, in a way that RFC 1928"),
}


class Field:
    """One program with a service for each of these proxies."""

    def __init__(self, directory, pki):
        self.proxies, self.ports = {}, {}
        text = global_part(protocol="smtp", spareWorkers=1, maxConnections=3, client=True,
                           CAfile=pki.ca, TIMEOUTconnect=1)
        for name, (scene, _) in HOSTILE.items():
            self.proxies[name] = ScriptedBackend(scene).start()
            self.ports[name] = net.free_port()
            scheme = "http" if name.startswith("http") else "socks5"
            text += section(name, accept=f"127.0.0.1:{self.ports[name]}", connect=f"{NAME}:587",
                            via=f"{scheme}://{text_of(self.proxies[name].address)}")
        self.program = Ehlock(directory, text)

    def summary(self, name):
        return net.wait_until(lambda: next((s for s in self.program.summaries()
                                            if s["service"] == name), None), f"summary of {name}")


@pytest.fixture(scope="module")
def field(pki, tmp_path_factory):
    it = Field(tmp_path_factory.mktemp("field"), pki)
    it.program.start()
    yield it
    it.program.stop()
    for proxy in it.proxies.values():
        proxy.stop()


@pytest.mark.parametrize("name", list(HOSTILE))
def test_proxy_that_does_not_connect_is_told_of_in_one_sentence(field, name):
    with Client(("127.0.0.1", field.ports[name])) as client:
        assert client.greeting.code == 421, client.greeting
        assert "secret" not in client.greeting.text
        assert client.read_to_end() == b""
    proxy = field.proxies[name]
    summary = field.summary(name)
    assert summary["reason"].startswith(
        f"backend {NAME}:587: proxy {text_of(proxy.address)}: {HOSTILE[name][1]}"), summary
    assert summary["outcome"] == "lost" and summary["backend"] == "-"
    assert "secret" not in field.program.log


def test_wrong_password_is_told_and_not_shown(client_side, password):
    for kind, code in ((HttpProxy, " (407)"), (SocksProxy, "")):
        with kind(NOBODY, login=("bob", "another")) as proxy:
            ours = client_side(proxy, viaUsername=LOGIN[0], viaPasswordFile=password)
            with Client(ours.address) as client:
                assert client.greeting.code == 421
            assert ours.summary()["reason"].endswith(
                f": it does not take this user and password{code}")
            assert "a-password" not in ours.log


def test_stopping_does_not_wait_for_a_proxy(client_side):
    with ScriptedBackend(silent) as proxy:
        ours = client_side(proxy, "socks5", TIMEOUTconnect=3600)
        with Client(ours.address, greet=False) as client:
            proxy.session()
            ours.stop(signal.SIGTERM)
            assert client.read_reply().code == 421
        assert "Operation canceled" in ours.summary()["reason"]


# ---- secrets, and what is read when

def test_password_is_in_the_memory_of_its_own_workers_only(tmp_path, pki, server, password):
    other = net.free_port()
    secret = {"password": LOGIN[1].encode()}
    with HttpProxy(server.address, login=LOGIN) as proxy, Backend() as backend:
        common = {"spareWorkers": 1, "protocol": "smtp", "cert": pki.ecdsa.cert,
                  "key": pki.ecdsa.key}
        port = net.free_port()
        ours = Ehlock(tmp_path, global_part() + section(
            "out", **{**common, "cert": None, "key": None}, client=True, CAfile=pki.ca,
            accept=f"127.0.0.1:{port}", connect=f"{NAME}:587", via=url(proxy),
            viaUsername=LOGIN[0], viaPasswordFile=password) + section(
            "in", **common, accept=f"127.0.0.1:{other}", connect=text_of(backend.address)))
        with ours:
            deliver(("127.0.0.1", port))
            with Client(("127.0.0.1", port)) as one, Client(("127.0.0.1", other)) as two:
                one.ehlo()
                two.ehlo()
                # The test can fail: the search finds it where it must be.
                assert any(found_in(pid, secret) for pid in ours.workers("out"))
                for pid in ours.workers("in") + ours.keepers():
                    assert found_in(pid, secret) == set()
                one.quit()
                two.quit()


def test_changed_password_is_read_on_reload(client_side, server, password):
    with SocksProxy(server.address, login=("bob", "new one")) as proxy:
        ours = client_side(proxy, viaUsername="bob", viaPasswordFile=password)
        with Client(ours.address) as client:
            assert client.greeting.code == 421
        password.write_text("new one\n")
        ours.reload()
        deliver(ours.address)


@pytest.mark.parametrize("content,words", [(None, "No such file"), ("", "holds nothing"),
                                           ("a\nb\n", "more than one line"),
                                           ("x" * 256, "more than 255 bytes")])
def test_check_reads_the_password(tmp_path, content, words):
    path, config = tmp_path / "password", tmp_path / "ehlock.conf"
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    config.write_text(section("out", client=True, accept="127.0.0.1:2525", connect=f"{NAME}:25",
                              protocol="smtp", via="http://127.0.0.1:3128", viaUsername="bob",
                              viaPasswordFile=path))
    done = ehlock.run("--check", config)
    assert done.returncode == 78
    assert re.search(rf"ehlock.conf:8: viaPasswordFile: .*{words}", done.stderr), done.stderr


def test_readable_password_is_warned_of_and_never_shown(tmp_path, password):
    password.chmod(0o644)
    config = tmp_path / "ehlock.conf"
    config.write_text(section("out", client=True, accept="127.0.0.1:2525", connect=f"{NAME}:25",
                              protocol="smtp", via="socks5://127.0.0.1:1080", viaUsername="bob",
                              viaPasswordFile=password))
    done = ehlock.run("--check", config)
    assert done.returncode == 0 and "everybody on this machine can read" in done.stderr
    assert "a-password" not in done.stderr + done.stdout
    assert "a-password" not in ehlock.run("--show-config", config).stdout


# ---- ehlock probe

@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_probe_goes_the_same_way_to_each_server(scheme, server, pki, tmp_path, password):
    config = tmp_path / "ehlock.conf"
    with SCHEMES[scheme](server.address, login=LOGIN) as proxy:
        config.write_text(section(
            "out", client=True, accept="127.0.0.1:2525", connect=["other.invalid:25", f"{NAME}:587"],
            protocol="smtp", CAfile=pki.ca, checkHost=NAME, via=url(proxy), viaUsername=LOGIN[0],
            viaPasswordFile=password))
        args = ("probe", "--config", config, "--service", "out")
        done = ehlock.run(*args, "--all", "-4")
        assert done.returncode == 0, done.stdout + done.stderr
        assert [s.events["target"] for s in proxy.sessions] == [("other.invalid", 25), (NAME, 587)]
        assert "a-password" not in done.stdout + done.stderr
        assert ehlock.run(*args, "-6").returncode == 2      # the proxy has no such address
        assert len(proxy.sessions) == 2
