# SPDX-License-Identifier: ISC
"""Who the client is: told to the backend (identity), and heard from a balancer (acceptProxy)."""

import socket
from pathlib import Path

import pytest

import net
import netns
import proxy_header
from backend import Backend, ScriptedBackend
from ehlock import ROOT, Ehlock
from leadback import LeadBack, page
from pki import NAME
from proxy_header import HeaderBackend
from smtp_client import Client, context
from starters import listening

CLIENT = ("198.51.100.7", 4444)


@pytest.fixture
def v1_backend():
    with HeaderBackend(1) as server:
        yield server


@pytest.fixture
def v2_backend():
    with HeaderBackend(2) as server:
        yield server


def deliver(client):
    client.ehlo()
    client.send_message()
    client.quit()


# ---- told to the backend


def test_proxy_is_a_v1_header_before_the_greeting(v1_backend, wrap):
    proxy = wrap(v1_backend, identity="proxy")
    with Client(proxy.address, source="127.0.0.5") as client:
        port = client.sock.getsockname()[1]
        deliver(client)
    raw = v1_backend.header().raw
    assert raw == f"PROXY TCP4 127.0.0.5 127.0.0.1 {port} {proxy.address[1]}\r\n".encode()
    assert v1_backend.ended().commands[0].startswith(b"EHLO")
    assert len(v1_backend.messages) == 1
    assert "id" not in proxy.summary() and "via" not in proxy.summary()


def test_proxy2_is_a_v2_header_before_the_greeting(v2_backend, wrap):
    proxy = wrap(v2_backend, identity="proxy2")
    with Client(proxy.address, source="127.0.0.5") as client:
        port = client.sock.getsockname()[1]
        deliver(client)
    header = v2_backend.header()
    assert (header.command, header.family) == (proxy_header.PROXY, "TCP4")
    assert (header.source, header.destination) == (("127.0.0.5", port), proxy.address)
    assert set(header.tlvs) == {proxy_header.UNIQUE_ID}
    assert header.tlvs[proxy_header.UNIQUE_ID].decode() == proxy.summary()["id"] != ""


def test_ids_of_two_sessions_differ(v2_backend, wrap):
    proxy = wrap(v2_backend, identity="proxy2", connectionsPerWorker=10, spareWorkers=1)
    for _ in range(2):
        with Client(proxy.address) as client:
            client.quit()
    assert proxy.summary(1)["id"] != proxy.summary(2)["id"]


@pytest.mark.parametrize("implicit", ["yes", "auto"])
def test_implicit_tls_is_in_the_v2_header(implicit, v2_backend, wrap, pki):
    proxy = wrap(v2_backend, identity="proxy2", implicitTls=implicit)
    with Client.implicit(proxy.address, context(pki, alpn=["smtp"])) as client:
        cipher = client.tls.cipher()[0]
        deliver(client)
    header = v2_backend.header()
    assert header.tlvs[proxy_header.ALPN] == b"smtp"
    assert header.tlvs[proxy_header.AUTHORITY] == NAME.encode()
    bits, verify, inner = header.ssl
    assert (bits, verify) == (1, 1)     # TLS, and no certificate that was verified
    assert cipher == "TLS_AES_128_GCM_SHA256"
    assert inner == {proxy_header.SSL_VERSION: b"TLSv1.3", proxy_header.SSL_CIPHER: b"AES-128-GCM",
                     proxy_header.SSL_SIGNATURE: b"ECDSA-SHA256", proxy_header.SSL_KEY: b"EC256"}


def test_rsa_key_is_named_in_the_v2_header(v2_backend, wrap, pki):
    proxy = wrap(v2_backend, pki.rsa, identity="proxy2", implicitTls="yes")
    with Client.implicit(proxy.address, context(pki)) as client:
        client.quit()
    inner = v2_backend.header().ssl[2]
    assert inner[proxy_header.SSL_KEY] == b"RSA2048"


def test_resumed_tls_is_in_the_v2_header_without_a_certificate(v2_backend, wrap, pki):
    proxy = wrap(v2_backend, identity="proxy2", implicitTls="yes")
    ctx = context(pki)
    with Client.implicit(proxy.address, ctx) as client:
        client.quit()
        session = client.tls.session
    assert proxy.summary(1)["resumed"] == "no"
    with Client.implicit(proxy.address, ctx, session=session) as client:
        client.quit()
    assert proxy.summary(2)["resumed"] == "yes"
    assert set(v2_backend.header(1).ssl[2]) == {proxy_header.SSL_VERSION, proxy_header.SSL_CIPHER}


def test_starttls_is_not_in_the_v2_header(v2_backend, wrap, pki):
    """It comes later: only `reconnect` can tell."""
    proxy = wrap(v2_backend, identity="proxy2")
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message()
        client.quit()
    assert v2_backend.header().ssl is None
    assert len(v2_backend.sessions) == 1


@pytest.mark.parametrize("version,identity,family", [(1, "proxy", "TCP6"), (2, "proxy2", "TCP6")])
def test_ipv6_client(version, identity, family, wrap):
    address = ("::1", net.free_port("::1"))
    with HeaderBackend(version) as backend:
        wrap(backend, identity=identity, accept=net.text_of(address))
        with Client(address) as client:
            port = client.sock.getsockname()[1]
            deliver(client)
        header = backend.header()
    assert (header.family, header.source, header.destination) == (family, ("::1", port), address)


@pytest.mark.parametrize("version,identity,family", [(1, "proxy", "UNKNOWN"),
                                                     (2, "proxy2", "UNSPEC")])
def test_client_of_a_unix_socket_is_unknown(version, identity, family, wrap, public_dir):
    with HeaderBackend(version) as backend:
        wrap(backend, identity=identity, accept=public_dir / "clients")
        with Client(str(public_dir / "clients")) as client:
            deliver(client)
        header = backend.header()
    assert (header.family, header.source, header.command) == (family, None, proxy_header.PROXY)


def test_backend_that_is_a_unix_socket_is_told(wrap, public_dir):
    with HeaderBackend(1, address=str(public_dir / "mta")) as backend:
        proxy = wrap(backend, identity="proxy")
        with Client(proxy.address, source="127.0.0.5") as client:
            deliver(client)
        assert backend.header().source[0] == "127.0.0.5"


def test_service_without_protocol_tells_too(v1_backend, wrap, pki):
    proxy = wrap(v1_backend, identity="proxy", protocol=None)
    with Client.implicit(proxy.address, context(pki), source="127.0.0.5") as client:
        deliver(client)
    assert v1_backend.header().source[0] == "127.0.0.5"


def test_second_backend_is_told_when_the_first_is_down(v1_backend, wrap):
    proxy = wrap(v1_backend, identity="proxy",
                 connect=[f"127.0.0.1:{net.free_port()}", net.text_of(v1_backend.address)])
    with Client(proxy.address) as client:
        deliver(client)
    assert len(v1_backend.sessions) == 1 and v1_backend.header().family == "TCP4"


def test_identity_none_tells_nothing(backend, wrap):
    proxy = wrap(backend, identity="none")
    with Client(proxy.address) as client:
        deliver(client)
    assert backend.ended().received.startswith(b"EHLO")


# ---- a new connection after STARTTLS


def test_reconnect_tells_of_starttls(v2_backend, wrap, pki):
    proxy = wrap(v2_backend, identity="proxy2", reconnect="yes")
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message()
        client.quit()
    first, second = v2_backend.ended(0), v2_backend.ended(1)
    assert first.commands == [b"EHLO client.example.org", b"QUIT"]
    assert second.commands[0] == b"EHLO client.example.org"
    assert second.messages and not first.messages
    before, after = v2_backend.header(0), v2_backend.header(1)
    assert before.ssl is None
    assert after.ssl[0] == 1 and after.ssl[2][proxy_header.SSL_VERSION] == b"TLSv1.3"
    assert after.tlvs[proxy_header.AUTHORITY] == NAME.encode()
    assert after.source == before.source
    assert after.tlvs[proxy_header.UNIQUE_ID] == before.tlvs[proxy_header.UNIQUE_ID]
    assert proxy.summary()["outcome"] == "done"


def test_reconnect_needs_no_identity(backend, wrap, pki):
    proxy = wrap(backend, reconnect="yes")
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message()
        client.quit()
    assert backend.ended(0).commands == [b"EHLO client.example.org", b"QUIT"]
    assert len(backend.ended(1).messages) == 1


def test_no_reconnect_without_starttls(backend, wrap, pki):
    proxy = wrap(backend, reconnect="yes", implicitTls="auto")
    with Client.implicit(proxy.address, context(pki)) as client:
        deliver(client)
    with Client(proxy.address) as client:
        deliver(client)
    assert len(backend.sessions) == 2


def test_reconnect_goes_to_the_same_backend(wrap, pki):
    with Backend(name="one") as one, Backend(name="two") as two:
        proxy = wrap(one, reconnect="yes", failover="rr",
                     connect=[net.text_of(one.address), net.text_of(two.address)])
        for _ in range(2):
            with Client.secured(proxy.address, context(pki)) as client:
                client.quit()
        assert (len(one.sessions), len(two.sessions)) == (2, 2)
        assert one.ended(1).commands[-1] == two.ended(1).commands[-1] == b"QUIT"


def greet_and_answer(peer):
    peer.send(b"220 hello\r\n")
    while peer.read_line().startswith(b"EHLO"):
        peer.send(b"250 hello\r\n")


@pytest.mark.parametrize("greeting", [b"421 busy\r\n", b"554 no\r\n", b"250 odd\r\n", b"nonsense\r\n",
                                      b""])
def test_second_greeting_that_is_not_220_is_421(greeting, wrap, pki):
    with ScriptedBackend(greet_and_answer, lambda peer: peer.send(greeting)) as backend:
        proxy = wrap(backend, reconnect="yes")
        with Client(proxy.address) as client:
            client.ehlo()
            client.starttls(context(pki))
            reply = client.read_reply()
            assert (reply.code, client.read_to_end()) == (421, b"")
        assert proxy.summary()["outcome"] == "lost"
        assert len(backend.sessions) == 2


def test_backend_that_is_gone_after_tls_is_421(wrap, pki):
    with ScriptedBackend(greet_and_answer) as backend:
        proxy = wrap(backend, reconnect="yes")
        with Client(proxy.address) as client:
            client.ehlo()
            client.command("STARTTLS")
            backend.listener.shutdown(socket.SHUT_RDWR)     # nobody listens there any more
            client.handshake(context(pki))
            reply = client.read_reply()
            assert (reply.code, client.read_to_end()) == (421, b"")
        assert "backend" in proxy.summary()["reason"]


# ---- heard from a balancer


class Balancer(Client):
    """Speaks with a header in front of everything, in the same write as what comes first."""

    def __init__(self, address, header, **more):
        self.header = header
        super().__init__(address, greet=False, **more)

    def send_wire(self, data):
        header, self.header = self.header, b""
        super().send_wire(header + data)


def announced(proxy, header, **more):
    """A connection on which the header has been sent and a greeting come."""
    client = Balancer(proxy.address, header, **more)
    client.send_wire(b"")
    client.greeting = client.read_reply()
    return client


HEADERS = {
    "v1": (proxy_header.v1(CLIENT), "198.51.100.7:4444"),
    "v2": (proxy_header.v2(CLIENT), "198.51.100.7:4444"),
    "v1-IPv6": (proxy_header.v1(("2001:db8::7", 4444), ("2001:db8::1", 25)), "[2001:db8::7]:4444"),
    "v2-IPv6": (proxy_header.v2(("2001:db8::7", 4444), ("2001:db8::1", 25)), "[2001:db8::7]:4444"),
    "v2-TLVs": (proxy_header.v2(CLIENT, more=proxy_header.tlv(0xe0, b"x" * 300)), "198.51.100.7:4444"),
    "v2-mapped": (proxy_header.v2(("::ffff:198.51.100.7", 4444), ("::ffff:192.0.2.1", 25)),
                  "198.51.100.7:4444"),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("piece", [None, 1, 7])
def test_header_names_the_client(name, piece, backend, wrap):
    header, want = HEADERS[name]
    proxy = wrap(backend, acceptProxy="127.0.0.0/8")
    with announced(proxy, header, piece=piece, source="127.0.0.5") as client:
        balancer = client.sock.getsockname()
        deliver(client)
    summary = proxy.summary()
    assert (summary["client"], summary["via"]) == (want, net.text_of(balancer))
    assert summary["outcome"] == "done"
    assert len(backend.messages) == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("implicit", ["yes", "auto"])
def test_client_hello_behind_the_header_is_not_lost(version, implicit, backend, wrap, pki):
    proxy = wrap(backend, acceptProxy="127.0.0.1", implicitTls=implicit)
    with Balancer(proxy.address, HEADERS[version][0]) as client:
        client.handshake(context(pki))
        client.greeting = client.read_reply()
        deliver(client)
    assert (proxy.summary()["client"], proxy.summary()["tls"]) == ("198.51.100.7:4444", "TLS1.3")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_commands_behind_the_header_are_not_lost(version, backend, wrap, pki):
    proxy = wrap(backend, acceptProxy="127.0.0.1")
    with Balancer(proxy.address, HEADERS[version][0]) as client:
        client.send_wire(b"EHLO early.example.org\r\n")
        assert [client.read_reply().code for _ in range(2)] == [220, 250]
        client.starttls(context(pki))
        deliver(client)
    assert backend.ended().commands[0] == b"EHLO early.example.org"


@pytest.mark.parametrize("header", [proxy_header.v2_local(), b"PROXY UNKNOWN\r\n",
                                    b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n"],
                         ids=["LOCAL", "UNKNOWN", "UNKNOWN-with-addresses"])
def test_balancer_that_speaks_for_itself_is_the_client(header, v1_backend, wrap):
    proxy = wrap(v1_backend, acceptProxy="127.0.0.1", identity="proxy")
    with announced(proxy, header) as client:
        own = client.sock.getsockname()
        deliver(client)
    assert proxy.summary()["client"] == net.text_of(own)
    assert "via" not in proxy.summary()
    assert v1_backend.header().source == own


def test_who_is_not_listed_cannot_announce_anybody(v1_backend, wrap):
    """Its header is only a wrong command, and the backend hears whose it is."""
    proxy = wrap(v1_backend, acceptProxy=["127.0.0.1", "127.0.2.0/24"], identity="proxy")
    with Client(proxy.address, source="127.0.0.5") as client:     # greeted without a header
        assert client.command(proxy_header.v1(CLIENT)[:-2]).code == 502
        deliver(client)
    assert proxy.summary()["client"].startswith("127.0.0.5:")
    assert "via" not in proxy.summary()
    assert v1_backend.header().source[0] == "127.0.0.5"


def test_what_the_balancer_says_is_passed_on(v2_backend, wrap):
    proxy = wrap(v2_backend, acceptProxy="127.0.0.1", identity="proxy2")
    header = proxy_header.v2(CLIENT, more=proxy_header.tlv(proxy_header.UNIQUE_ID, b"from-\0-lb"))
    with announced(proxy, header) as client:
        deliver(client)
    told = v2_backend.header()
    assert (told.source, told.destination) == (CLIENT, ("192.0.2.200", 25))
    assert told.tlvs == {proxy_header.UNIQUE_ID: b"from-\0-lb"}


def test_mapped_address_of_a_client_is_told_as_ipv4(v1_backend, wrap):
    proxy = wrap(v1_backend, acceptProxy="127.0.0.1", identity="proxy")
    with announced(proxy, HEADERS["v2-mapped"][0]) as client:
        deliver(client)
    assert v1_backend.header().raw == b"PROXY TCP4 198.51.100.7 192.0.2.1 4444 25\r\n"


BAD = {
    "SMTP": b"EHLO client.example.org\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "bare LF": HEADERS["v1"][0].replace(b"\r\n", b"\n"),
    "v1 without an end": b"PROXY UNKNOWN " + b"x" * 200,
    "v1 of 108 bytes": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v2 of another version": proxy_header.MAGIC + b"\x31\x11\0\x0c" + b"\0" * 12,
    "v2 of 4097 bytes": proxy_header.MAGIC + b"\x21\x11\x0f\xf1" + b"\0" * 4081,
    "v2 TLV over the end": proxy_header.v2(CLIENT, more=b"\x05\x00\xff"),
}


def refused(proxy, backend):
    summary = proxy.summary()
    assert summary["step"] == "reading the PROXY header"
    assert "via" not in summary and summary["client"].startswith("127.0.0.1:")
    assert not backend.sessions, "the backend was bothered"
    return summary["reason"]


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("piece", [None, 1])
def test_listed_peer_without_a_good_header_is_closed(name, piece, backend, wrap):
    proxy = wrap(backend, acceptProxy="127.0.0.1")
    client = Client(proxy.address, greet=False)
    with client:
        try:
            for at in range(0, len(BAD[name]), piece or len(BAD[name])):
                client.sock.sendall(BAD[name][at:at + (piece or len(BAD[name]))])
        except OSError:
            pass    # closed before the last byte
        assert client.read_to_end() == b""
    assert "peer began otherwise" in refused(proxy, backend)
    assert proxy.summary()["outcome"] == "refused"


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 192.0.2.1 ", proxy_header.MAGIC + b"\x21\x11\0\x0c"])
def test_header_that_does_not_come_is_not_waited_for(begun, backend, wrap):
    proxy = wrap(backend, acceptProxy="127.0.0.1", TIMEOUTpretls=1)
    with Client(proxy.address, greet=False) as client:
        client.sock.sendall(begun)
        assert client.read_to_end() == b""
    assert "took too long" in refused(proxy, backend)


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 192.0.2.1 ", proxy_header.MAGIC])
def test_peer_that_closes_within_the_header(begun, backend, wrap):
    proxy = wrap(backend, acceptProxy="127.0.0.1")
    with Client(proxy.address, greet=False) as client:
        client.sock.sendall(begun)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == b""
    assert "closed the connection" in refused(proxy, backend)


def test_limit_counts_announced_clients(backend, wrap):
    proxy = wrap(backend, acceptProxy="127.0.0.1", maxConnectionsPerClient=1)
    other = proxy_header.v1(("198.51.100.8", 4444))
    with announced(proxy, HEADERS["v1"][0]) as first, announced(proxy, other) as second:
        assert (first.greeting.code, second.greeting.code) == (220, 220)
        with announced(proxy, proxy_header.v1((CLIENT[0], 5555))) as third:
            assert third.greeting.code == 421
        first.quit()
        assert proxy.summary(2)["client"] == "198.51.100.7:4444"
        with announced(proxy, HEADERS["v1"][0]) as fourth:
            assert fourth.greeting.code == 220
    assert proxy.summary(1)["client"] == "198.51.100.7:5555"


def test_limit_on_all_connections_comes_after_the_header(backend, wrap):
    proxy = wrap(backend, acceptProxy="127.0.0.1", maxConnections=1)
    with announced(proxy, HEADERS["v1"][0]):
        with announced(proxy, HEADERS["v2"][0]) as second:
            assert second.greeting.code == 421


# ---- the client's own address


@pytest.fixture
def networks():
    reason = netns.why_impossible()
    if reason:
        pytest.skip(reason)
    with netns.Namespace() as server, netns.Namespace() as far:
        server.join(far, ("192.0.2.1/24", "192.0.2.50/24"), ("2001:db8::1/64", "2001:db8::50/64"))
        yield server, far


class PeerBackend(Backend):
    """Remembers from where it was connected to."""

    def serve(self, session):
        session.events["peer"] = session.sock.getpeername()[:2]
        super().serve(session)


# Where ehlock listens, where the client goes, who that is, and where the backend is. The last client
# comes by IPv4 to a socket of IPv6.
NEAR, FAR, NEAR6, FAR6 = "192.0.2.1", "192.0.2.50", "2001:db8::1", "2001:db8::50"
SAME_KIND = [pytest.param(NEAR, NEAR, FAR, "127.0.0.1", id="ipv4"),
             pytest.param(NEAR6, NEAR6, FAR6, "::1", id="ipv6"),
             pytest.param("::", NEAR6, FAR6, "::1", id="ipv6-dual-stack"),
             pytest.param("::", NEAR, FAR, "127.0.0.1", id="v4-mapped")]
OTHER_KIND = [pytest.param(NEAR, NEAR, "::1", id="ipv4"),
              pytest.param(NEAR6, NEAR6, "127.0.0.1", id="ipv6"),
              pytest.param("::", NEAR6, "127.0.0.1", id="ipv6-dual-stack"),
              pytest.param("::", NEAR, "::1", id="v4-mapped")]


@pytest.fixture
def field(networks, tmp_path, pki):
    """field(near, *hosts, **options): ehlock, and a backend on each of these addresses of its machine,
    all on the same port."""
    server, _ = networks
    back = LeadBack(server)
    running = []

    def start(near, *hosts, **options):
        port = server.run(net.free_port, hosts[0])
        back.port(port)
        backends = []
        for host in hosts:
            backends.append(PeerBackend(address=(host, port)))
            server.run(backends[-1].start)
            running.append(backends[-1])
        address = (near, server.run(net.free_port, near))
        settings = {"identity": "transparent", "spareWorkers": 2,
                    "accept": None if near == "::" else net.text_of(address),
                    "connect": [net.text_of(backend.address) for backend in backends], **options}
        proxy = Ehlock.wrap(tmp_path, backends[0].address, pki.ecdsa, **settings)
        proxy.address = address
        running.append(proxy)
        with listening(proxy, server, near):
            server.run(proxy.start)
        return proxy, *backends

    yield start
    for one in reversed(running):
        one.stop()


@pytest.mark.parametrize("near,to,far_address,loopback", SAME_KIND)
def test_transparent_shows_the_clients_own_address(near, to, far_address, loopback, networks, field,
                                                   pki):
    proxy, backend = field(near, loopback, reconnect="yes")
    for _ in range(3):
        with networks[1].run(Client, (to, proxy.address[1])) as client:
            client.ehlo()
            client.starttls(context(pki))
            deliver(client)
    assert "open relay" not in proxy.log
    proxy.stop()
    backend.stop()
    backend.check()
    assert len(backend.messages) == 3
    assert [s.events["peer"][0] for s in backend.sessions] == [far_address] * 6


@pytest.mark.parametrize("near,to,far_address,loopback", SAME_KIND)
def test_transparent_leads_each_client_to_its_kind_of_backend(near, to, far_address, loopback, networks,
                                                              field):
    """Whichever line stands first. The other backend does not even see a connection."""
    proxy, *backends = field(near, "::1" if loopback == "127.0.0.1" else "127.0.0.1", loopback)
    for _ in range(2):
        with networks[1].run(Client, (to, proxy.address[1])) as client:
            deliver(client)
    proxy.stop()
    assert not backends[0].sessions
    assert [s.events["peer"][0] for s in backends[1].sessions] == [far_address] * 2
    assert len(backends[1].messages) == 2


@pytest.mark.parametrize("near,to,loopback", OTHER_KIND)
def test_transparent_never_connects_in_our_own_name(near, to, loopback, networks, field):
    """A client of the one kind, and there is a backend of the other only."""
    proxy, backend = field(near, loopback)
    with networks[1].run(Client, (to, proxy.address[1])) as client:
        assert (client.greeting.code, client.read_to_end()) == (421, b"")
    summary = proxy.summary()
    proxy.stop()
    assert summary["reason"] == (f"backend {net.text_of(backend.address)}: the client's address is not "
                                 "of this kind (IPv4, IPv6)"), summary
    assert summary["outcome"] == "lost" and summary["backend"] == "-", summary
    assert not backend.sessions


def test_transparent_client_with_a_link_local_address(networks, field):
    """It means something on its cable only, where the backend is not. It gets no other name."""
    server, far = networks
    for place, address in ((server, "fe80::1"), (far, "fe80::50")):
        place.ip("addr", "add", f"{address}/64", "dev", "cable", "nodad")
    proxy, *backends = field("::", "::1", "127.0.0.1")
    scope = far.run(socket.if_nametoindex, "cable")
    sock = far.run(socket.socket, socket.AF_INET6)
    sock.settimeout(net.DEADLINE)
    far.run(sock.connect, ("fe80::1", proxy.address[1], 0, scope))
    with Client.over(sock) as client:
        assert (client.greeting.code, client.read_to_end()) == (421, b"")
    summary = proxy.summary()
    proxy.stop()
    assert "[::1]:" in summary["reason"] and "not of this kind" in summary["reason"], summary
    assert [backend.sessions for backend in backends] == [[], []]


@pytest.fixture
def house(networks):
    """The machine with ehlock is the router of another one, as docs/identity.md wants it."""
    server, _ = networks
    with netns.Namespace() as other:
        server.join(other, ("10.0.0.1/24", "10.0.0.2/24"), ("fd00::1/64", "fd00::2/64"), cable="lan")
        other.ip("route", "add", "default", "via", "10.0.0.1")
        other.ip("-6", "route", "add", "default", "via", "fd00::1")
        for kind in ("ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"):
            server.run(Path(f"/proc/sys/net/{kind}").write_text, "1")
        for command in page()[1]:
            server.ip(*command.split()[1:])
        yield other


@pytest.mark.parametrize("near,far_address,inside", [(NEAR, FAR, "10.0.0.2"), (NEAR6, FAR6, "fd00::2")])
def test_transparent_to_another_machine(near, far_address, inside, networks, house, tmp_path, pki):
    server, far = networks
    backend = PeerBackend(address=(inside, 25))
    house.run(backend.start)
    address = (near, server.run(net.free_port, near))
    proxy = Ehlock.wrap(tmp_path, backend.address, pki.ecdsa, accept=net.text_of(address),
                        identity="transparent", spareWorkers=2)
    try:
        server.run(proxy.start)
        with far.run(Client.secured, address, context(pki)) as client:
            deliver(client)
    finally:
        proxy.stop()
        backend.stop()
    backend.check()
    assert [s.events["peer"][0] for s in backend.sessions] == [far_address]
    assert len(backend.messages) == 1


@pytest.mark.parametrize("near,inside", [(NEAR, "10.0.0.2"), (NEAR6, "fd00::2")])
def test_server_on_another_machine_is_for_ehlock_alone(near, inside, networks, house):
    """Its answers are not passed on any more, those from its other ports are."""
    far = networks[1]
    far.ip("route", "add", f"{inside}/{128 if ':' in inside else 32}", "via", near)
    with house.run(net.listen, (inside, 25)), house.run(net.listen, (inside, 26)):
        far.run(net.connect, (inside, 26)).close()
        with pytest.raises(TimeoutError):
            far.run(net.connect, (inside, 25), timeout=1)


def test_manual_has_the_commands_of_the_page():
    manual = (ROOT / "docs" / "ehlock.conf.5").read_text().splitlines()
    assert [command for command in page()[0][:2] if command not in manual] == []


def test_transparent_worker_has_no_rights(networks, tmp_path, pki):
    server, _ = networks
    address = ("192.0.2.1", server.run(net.free_port, "192.0.2.1"))
    proxy = Ehlock.wrap(tmp_path, ("127.0.0.1", 1), pki.ecdsa, accept=net.text_of(address),
                        identity="transparent", spareWorkers=1)
    server.run(proxy.start)
    net.wait_until(proxy.workers, "a worker")

    def rights():
        status = open(f"/proc/{proxy.workers()[0]}/status").read()
        return {line.split()[0]: line.split()[1] for line in status.splitlines() if line[:3] == "Cap"}
    net.wait_until(lambda: rights()["CapEff:"] == "0" * 16, "the worker is in jail")
    assert rights()["CapPrm:"] == rights()["CapAmb:"] == "0" * 16
    proxy.stop()


def test_transparent_worker_with_many_sessions(networks, field):
    """A worker ends when its sockets are used up, and the next has its own."""
    proxy, backend = field(NEAR, "127.0.0.1", spareWorkers=1, connectionsPerWorker=1000)
    for _ in range(140):
        with networks[1].run(Client, proxy.address) as client:
            client.quit()
    proxy.stop()
    assert {s.events["peer"][0] for s in backend.sessions} == {FAR}
    assert len(backend.sessions) == 140
