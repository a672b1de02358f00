# SPDX-License-Identifier: ISC
"""via: a server reached through real proxies, which look its name up."""

import pytest

import net
from messages import message
from roots import NAME, USER, wait_listening
from smtp_client import Client, stuffed
from tls_server import TlsServer

PASSWORD = "open-sesame"
PACKAGES = ["tinyproxy", "microsocks", "dante-server"]


class Tinyproxy:
    scheme = "http"
    wrong = "it does not take this user and password (401)"
    missing = "it wants a login (407): write viaUsername and viaPasswordFile"
    unreachable = "it has failed, or cannot reach the server (500)"
    forbidden = "it does not allow this connection (403)"

    def __init__(self, root, allowed):
        self.root, self.address = root, ("127.0.0.1", net.free_port())
        conf = root.write("/srv/tinyproxy.conf", f"""User nobody
Group nogroup
Listen {self.address[0]}
Port {self.address[1]}
Timeout 60
LogLevel Info
BasicAuth {USER} {PASSWORD}
""" + "".join(f"ConnectPort {port}\n" for port in allowed))
        self.daemon = root.spawn("tinyproxy", "-d", "-c", conf)


class Microsocks:
    scheme = "socks5"
    wrong = "it does not take this user and password"
    missing = "it wants a login: write viaUsername and viaPasswordFile"
    unreachable = "it was refused by the server (5)"
    forbidden = None        # it has no rules

    def __init__(self, root, allowed):
        self.root, self.address = root, ("127.0.0.1", net.free_port())
        self.daemon = root.spawn("microsocks", "-i", self.address[0], "-p", self.address[1],
                                 "-u", USER, "-P", PASSWORD)


class Dante:
    scheme = "socks5"
    wrong = "it does not take this user and password"
    missing = "it wants a login: write viaUsername and viaPasswordFile"
    unreachable = "it was refused by the server (5)"
    forbidden = "it does not allow this connection (2)"

    def __init__(self, root, allowed):
        self.root, self.address = root, ("127.0.0.1", net.free_port())
        root.run("chpasswd", input=f"{USER}:{PASSWORD}\n".encode())
        passes = "".join(f"socks pass {{ from: 0/0 to: 0/0 port = {port}\n command: connect }}\n"
                         for port in allowed)
        conf = root.write("/srv/danted.conf", f"""logoutput: stderr
internal: {self.address[0]} port = {self.address[1]}
external: lo
clientmethod: none
socksmethod: username
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
{passes}""")
        self.daemon = root.spawn("danted", "-f", conf)


@pytest.fixture(scope="module")
def server(pki):
    with TlsServer(pki.ecdsa) as it:
        yield it


@pytest.fixture(scope="module", params=[Tinyproxy, Microsocks, Dante],
                ids=lambda kind: kind.__name__.lower())
def proxy(request, roots, server):
    dead = net.free_port()
    it = request.param(roots("ways", PACKAGES), [server.address[1], dead])
    it.dead = dead
    wait_listening(it.address, it.daemon)
    yield it
    it.daemon.stop()


@pytest.fixture
def ways(wrap, proxy, server, pki, tmp_path):
    """ways(password, port) starts the program with a server behind the proxy."""
    def start(password=PASSWORD, port=None):
        path = tmp_path / "password"
        path.write_text(f"{password}\n")
        path.chmod(0o600)
        there = type("There", (), {"address": (NAME, port or server.address[1])})
        return wrap(there, client=True, cert=None, key=None, CAfile=pki.ca,
                    via=f"{proxy.scheme}://{net.text_of(proxy.address)}",
                    viaUsername=password and USER, viaPasswordFile=password and path)
    return start


def refusal(ours):
    with Client(ours.address) as client:
        assert client.greeting.code == 421, client.greeting
    return ours.summary()["reason"]


def test_message_arrives_through_the_proxy_under_tls(ways, server, proxy, request):
    request.node.used_roots = [proxy.root.name]
    before = len(server.messages)
    ours, body = ways(), message()
    with Client(ours.address) as client:
        client.ehlo()
        client.send_message(body=stuffed(body))
        client.quit()
    summary = ours.summary()
    assert summary["outcome"] == "done" and summary["verified"] == NAME, summary
    assert [m.body for m in server.messages[before:]] == [stuffed(body)]
    assert server.sessions[-1].sni == NAME and server.sessions[-1].clear.startswith(b"EHLO")


def test_wrong_password_is_told(ways, proxy, request):
    request.node.used_roots = [proxy.root.name]
    ours = ways("wrong")
    assert proxy.wrong in refusal(ours)
    assert "wrong" not in ours.log


def test_missing_login_is_told(ways, proxy, request):
    request.node.used_roots = [proxy.root.name]
    assert proxy.missing in refusal(ways(None))


def test_server_that_is_down_is_told(ways, proxy, request):
    request.node.used_roots = [proxy.root.name]
    assert proxy.unreachable in refusal(ways(port=proxy.dead))


def test_forbidden_port_is_told(ways, proxy, request):
    if proxy.forbidden is None:
        return
    request.node.used_roots = [proxy.root.name]
    assert proxy.forbidden in refusal(ways(port=net.free_port()))
