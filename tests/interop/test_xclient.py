# SPDX-License-Identifier: ISC
"""Postfix that is told by XCLIENT who the client is, and who of them may relay (test_dovecot.py has
the other one that takes XCLIENT).

The client is on another network. Postfix trusts this machine, so a session in which XCLIENT was not
taken would be one of its own.
"""

import mtas
import pytest
from ehlock import Ehlock
from messages import SENDER
from mtas import DOMAINS, text
from net import free_port, text_of, wait_until
from smtp_client import Client, context
from starters import listening
from test_identity import FAR, NEAR, NEAR6, PATHS, may_relay, networks  # noqa: F401

CLIENT_NAME = "relay.example.net"


class Postfix(mtas.Postfix):
    """On four ports: XCLIENT and who has logged in may relay, the same without IPv6, none, and one that
    trusts this machine by its name."""

    packages = ["postfix", "libsasl2-modules"]
    BY_NAME = "check_client_access,inline:{localhost=OK},reject_unauth_destination"

    def __init__(self, root):
        super().__init__(root)
        self.ipv4_port, self.deaf_port, self.by_name_port = free_port(), free_port(), free_port()

    def start(self):
        self.configure(f"""
            mydestination = {DOMAINS}
            local_recipient_maps =
            home_mailbox = Maildir/
            inet_protocols = all
            smtpd_sasl_auth_enable = yes
            smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
            """)
        trusting = " -o smtpd_authorized_xclient_hosts=127.0.0.1"
        lines = "\n".join([f"127.0.0.1:{self.port} inet n - n - - smtpd{trusting}",
                           f"127.0.0.1:{self.ipv4_port} inet n - n - - smtpd{trusting}"
                           " -o inet_protocols=ipv4",
                           f"127.0.0.1:{self.deaf_port} inet n - n - - smtpd",
                           f"127.0.0.1:{self.by_name_port} inet n - n - - smtpd{trusting}"
                           f" -o smtpd_relay_restrictions={self.BY_NAME}"])
        self.root.write(f"{self.instance}/etc/master.cf", text(self.MASTER, LISTEN=lines))
        self.launch()

    def says_who(self, address):
        return any("reject: RCPT from" in line and f"[{address}]" in line for line in list(self.root.log))


@pytest.fixture(scope="module")
def mta_of(networks, roots):  # noqa: F811
    """mta_of(kind): that mail server, started once."""
    running = {}

    def get(kind):
        if kind not in running:
            running[kind] = kind(roots(f"xclient-{kind.name}", kind.packages))
            networks[0].run(running[kind].start)
        return running[kind]

    return get


@pytest.fixture(scope="session")
def leaves(pki):
    return {"listed": pki.issue("interop-listed", [CLIENT_NAME]),
            "unlisted": pki.issue("interop-unlisted", ["other.example.net"]),
            "expired": pki.issue("interop-expired", [CLIENT_NAME], expired=True),
            "foreign": pki.issue("interop-foreign", [CLIENT_NAME], foreign=True),
            "none": None}


@pytest.fixture
def front(networks, tmp_path, pki, mta_of, request):  # noqa: F811
    """front(kind, port, **options): ehlock with identity = xclient before that mail server."""
    server, _ = networks
    running = []

    def start(kind, port=None, near=NEAR, **options):
        mta = mta_of(kind)
        request.node.used_roots = [mta.root.name]
        address, port = (near, server.run(free_port, near)), port or mta.port
        if options.get("identity") == "transparent":
            server.back.port(port)
            options["connect"] = [f"127.0.0.1:{port}", f"[::1]:{port}"]
        proxy = Ehlock.wrap(tmp_path, ("127.0.0.1", port), pki.ecdsa,
                            accept=None if near == "::" else text_of(address), spareWorkers=2,
                            **{"identity": "xclient", **options})
        proxy.address = address
        running.append(proxy)
        with listening(proxy, server, near):
            server.run(proxy.start)
        return proxy

    yield start
    for proxy in running:
        proxy.stop()


# ---- Postfix


@pytest.mark.parametrize("near,to,far", PATHS)
def test_postfix_knows_the_client(near, to, far, front, networks, mta_of):  # noqa: F811
    proxy = front(Postfix, near=near)
    with networks[1].run(Client, (to, proxy.address[1])) as client:
        assert not [k for k in client.ehlo() if k.startswith("XCLIENT")]
        assert not may_relay(client)
    wait_until(lambda: mta_of(Postfix).says_who(far), f"postfix logs {far}")
    assert "open relay" not in proxy.log
    assert proxy.summary()["outcome"] == "done"


@pytest.mark.parametrize("reconnect", ["no", "yes"])
@pytest.mark.parametrize("implicit", ["no", "yes"])
def test_postfix_knows_the_client_under_tls(implicit, reconnect, front, networks, pki, mta_of):  # noqa: F811
    proxy = front(Postfix, implicitTls=implicit, reconnect=reconnect)
    begin = Client.implicit if implicit == "yes" else Client.secured
    with networks[1].run(begin, proxy.address, context(pki)) as client:
        client.ehlo()
        assert not may_relay(client)
    assert (proxy.summary()["outcome"], proxy.summary()["tls"]) == ("done", "TLS1.3")


def test_postfix_takes_mail(front, networks, pki, mta_of):  # noqa: F811
    proxy, mta = front(Postfix, reconnect="yes"), mta_of(Postfix)
    mta.clear()
    with networks[1].run(Client.secured, proxy.address, context(pki)) as client:
        client.send_message(SENDER, [mta.rcpt], b"Subject: x\r\n\r\ntext\r\n")
        client.quit()
    # How it calls itself, though that was not said by XCLIENT; and no name of this machine.
    assert f"Received: from client.example.org (unknown [{FAR}])".encode() in mta.arrived()[0]


def test_postfix_does_not_take_the_client_for_this_machine_by_its_name(front, networks, mta_of):  # noqa: F811
    """Told of an address alone, it goes on with the name of whom it was talking to."""
    port = mta_of(Postfix).by_name_port
    proxy = front(Postfix, port)
    with networks[1].run(Client, proxy.address) as client:
        client.ehlo()
        assert not may_relay(client)
    with networks[0].run(Client, ("127.0.0.1", port)) as client:    # so it would be
        client.ehlo("mx.example.org")
        assert client.command(f"XCLIENT ADDR={FAR}").code == 220
        client.ehlo()
        assert may_relay(client)


@pytest.mark.parametrize("word", ["HELO=a.example.org", "NAME=[UNAVAILABLE]"])
def test_postfix_takes_one_xclient_only(word, networks, mta_of):  # noqa: F811
    """So what the client says of itself afterwards cannot be told any more (docs/identity.md)."""
    with networks[0].run(Client, mta_of(Postfix).address) as client:
        client.ehlo("mx.example.org")
        assert client.command(f"XCLIENT ADDR={FAR}").code == 220
        assert client.command(f"XCLIENT {word}").code == 550


def test_postfix_without_ipv6_is_not_given_the_client(front, networks, mta_of):  # noqa: F811
    """It refuses the command and would go on, with a client that it takes for this machine."""
    proxy = front(Postfix, mta_of(Postfix).ipv4_port, near=NEAR6)
    with networks[1].run(Client, proxy.address) as client:
        assert (client.greeting.code, client.read_to_end()) == (421, b"")
    proxy.wait_log("is not served: backend refuses XCLIENT: 501 .*inet_protocols = all")


def test_postfix_that_was_not_told_to_listen_is_not_given_the_client(front, networks, mta_of):  # noqa: F811
    proxy = front(Postfix, mta_of(Postfix).deaf_port)
    with networks[1].run(Client, proxy.address) as client:
        assert (client.greeting.code, client.read_to_end()) == (421, b"")
    proxy.wait_log("is not served: backend does not offer XCLIENT.*smtpd_authorized_xclient_hosts")


# ---- relaying by certificate


@pytest.mark.parametrize("name", ["listed", "unlisted", "expired", "foreign", "none"])
@pytest.mark.parametrize("implicit", ["no", "yes"])
def test_postfix_relays_for_the_certificate_on_the_list(implicit, name, front, networks,  # noqa: F811
                                                        pki, leaves):
    proxy = front(Postfix, implicitTls=implicit, reconnect="yes", verifyClient="ask", CAfile=pki.ca,
                  relayAs=f"/^sha256:{pki.digest(leaves['listed'])}$/ {CLIENT_NAME}")
    begin = Client.implicit if implicit == "yes" else Client.secured
    with networks[1].run(begin, proxy.address, context(pki, leaf=leaves[name])) as client:
        client.ehlo()
        assert may_relay(client) == (name == "listed")
    assert proxy.summary()["verified"] == (CLIENT_NAME if name == "listed" else "no")


def test_postfix_logs_the_name(front, networks, pki, leaves, mta_of):  # noqa: F811
    proxy, mta = front(Postfix, reconnect="yes", verifyClient="ask", CAfile=pki.ca,
                       relayAs="/^name:relay\\.example\\.net$/ carrier"), mta_of(Postfix)
    mta.clear()
    with networks[1].run(Client.secured, proxy.address, context(pki, leaf=leaves["listed"])) as client:
        client.send_message(SENDER, [mta.rcpt], b"Subject: x\r\n\r\ntext\r\n")
        client.quit()
    assert mta.arrived()
    wait_until(lambda: mta.root.says("sasl_username=carrier"), "postfix logs the name")
