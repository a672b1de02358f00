# SPDX-License-Identifier: ISC
"""client = yes: clients in clear, TLS to the server, and nobody trusted who should not be."""

import os
import re
import smtplib
import socket
import ssl

import ehlock
import net
import pytest
from ehlock import Ehlock, global_part, section
from net import text_of
from pki import NAME, pin_of
from smtp_client import Client
from starters import Starter
from test_keys import found_in, patterns_of
from tls_server import GO_AHEAD, TlsServer

LEVELS = ["none", "may", "encrypt", "fingerprint", "verify", "secure"]
NEEDS_TLS = {"encrypt", "fingerprint", "verify", "secure"}
VERIFIES = {"verify", "secure"}


# -- every level against every defect

def servers_of(pki):
    return {
        "good": TlsServer(pki.ecdsa),
        "expired": TlsServer(pki.expired),
        "wrong-name": TlsServer(pki.second),
        "self-signed": TlsServer(pki.lonely),
        "untrusted": TlsServer(pki.foreign),
        "stripped": TlsServer(pki.ecdsa, offers=False, answer=b"502 5.5.1 what?\r\n"),
        "hidden": TlsServer(pki.ecdsa, offers=False),
        "refusing": TlsServer(pki.ecdsa, answer=b"454 4.7.0 secret-refusal\r\n"),
        "surplus": TlsServer(pki.ecdsa, answer=GO_AHEAD + b"250 injected\r\n"),
        "vanishing": TlsServer(pki.ecdsa, vanishes=True),
        "silent-go": TlsServer(pki.ecdsa, answer=b"220-two\r\n220 lines\r\n"),
    }


CERTIFICATES = {"good": None, "expired": "certificate-expired",
                "wrong-name": "certificate-host-mismatch", "self-signed": "certificate-not-trusted",
                "untrusted": "certificate-not-trusted"}


def expected(level, defect):
    """None: the message passes; else how the sentence in the 421 begins."""
    if level == "none":
        return None
    if defect in CERTIFICATES:
        return CERTIFICATES[defect] if level in VERIFIES else None
    if defect == "stripped":
        return "starttls-not-supported" if level in NEEDS_TLS else None
    if defect == "hidden":
        return None
    return {"refusing": "starttls-not-supported", "surplus": "validation-failure",
            "vanishing": "validation-failure", "silent-go": ""}[defect]


class Field:
    """One program with a service for each level and defect."""

    def __init__(self, directory, pki):
        self.servers = servers_of(pki)
        self.ports = {}
        text = global_part(CAfile=pki.ca, protocol="smtp", spareWorkers=1,
                           maxConnections=3, client=True, hostname="proxy.example.org")
        for server in self.servers.values():
            server.start()
        for level in LEVELS:
            for defect, server in self.servers.items():
                self.ports[level, defect] = net.free_port()
                pin = pin_of(self.leaf(pki, defect)) if level == "fingerprint" else None
                text += section(f"{level}.{defect}", tlsLevel=level, verifyPeer=pin,
                                checkHost=NAME if level in VERIFIES else None,
                                accept=f"127.0.0.1:{self.ports[level, defect]}",
                                connect=text_of(server.address))
        self.proxy = Ehlock(directory, text)

    @staticmethod
    def leaf(pki, defect):
        return {"expired": pki.expired, "wrong-name": pki.second, "self-signed": pki.lonely,
                "untrusted": pki.foreign}.get(defect, pki.ecdsa)

    def summary(self, level, defect):
        name = f"{level}.{defect}"
        return net.wait_until(lambda: next((s for s in self.proxy.summaries()
                                            if s["service"] == name), None), f"summary of {name}")


@pytest.fixture(scope="module")
def field(pki, tmp_path_factory):
    it = Field(tmp_path_factory.mktemp("field"), pki)
    it.proxy.start()
    yield it
    it.proxy.stop()
    for server in it.servers.values():
        server.stop()


def try_message(address, body=b"Subject: secret-subject\r\n\r\nsecret-body\r\n"):
    """Sends one; the greeting, and whether it passed."""
    with Client(address) as client:
        if client.greeting.code != 220:
            assert client.read_to_end() == b""
            return client.greeting
        client.ehlo()
        client.send_message("secret-sender@example.org", ["secret-rcpt@example.org"], body)
        client.quit()
        return client.greeting


def holds_nothing_of_the_client(data):
    return b"secret" not in data and not re.search(rb"(?i)^(MAIL|RCPT|DATA|AUTH|BDAT)", data, re.M)


@pytest.mark.parametrize("defect", list(CERTIFICATES) + ["stripped", "hidden", "refusing", "surplus",
                                                         "vanishing", "silent-go"])
@pytest.mark.parametrize("level", LEVELS)
def test_level_against_defect(field, level, defect):
    server = field.servers[defect]
    before = len(server.sessions)
    greeting = try_message(("127.0.0.1", field.ports[level, defect]))
    word = expected(level, defect)
    session = server.ended(before)
    summary = field.summary(level, defect)
    in_clear, secret = server.in_clear(session), server.secret(session)
    assert summary["level"] == level
    if level in NEEDS_TLS or (level == "may" and defect in CERTIFICATES):
        assert holds_nothing_of_the_client(in_clear), in_clear
    if word is None:
        assert greeting.code == 220
        assert [m.body for m in session.messages] == [b"Subject: secret-subject\r\n\r\nsecret-body"
                                                      b"\r\n"]
        assert summary["outcome"] == "done"
        assert (summary["server_tls"] != "-") == bool(session.tls)
        assert bool(session.tls) == (level in NEEDS_TLS or
                                     level == "may" and defect in CERTIFICATES)
        return
    assert greeting.code == 421, greeting
    assert word in greeting.text and "secret" not in greeting.text, greeting
    assert word in summary["reason"], summary
    assert session.messages == [] and holds_nothing_of_the_client(in_clear + secret)
    if defect in CERTIFICATES:
        assert secret == b"QUIT\r\n"
        assert summary["outcome"] == "refused" and summary["verdict"] not in ("ok", "none")


def test_verified_name_is_in_the_log(field):
    try_message(("127.0.0.1", field.ports["secure", "good"]))
    summary = field.summary("secure", "good")
    assert summary["verdict"] == "ok" and summary["verified"] == NAME
    assert summary["offered"] == "yes" and summary["server_tls"].startswith("TLS1.3")


# -- sentences

def flaws(pki):
    """Leaf, options and sentence of each defect that a server's certificate can be made with here;
    tests/unit/test_verify.c has all others."""
    def issue(stem, *names, **more):
        return pki.issue(f"flaw-{stem}", list(names or (NAME,)), **more)

    orphan, unasked = issue("orphan", chained=True), issue("client", usage="clientAuth")
    orphan.cert.write_bytes(orphan.cert.read_bytes().split(b"-----END CERTIFICATE-----\n")[0] +
                            b"-----END CERTIFICATE-----\n")
    by_leaf, revoked = issue("by-leaf", issuer=(pki.ecdsa.cert, pki.ecdsa.key)), issue("revoked")
    by_leaf.cert.write_bytes(by_leaf.cert.read_bytes() + pki.ecdsa.cert.read_bytes())
    return {
        "expired": (pki.expired, {}, f"the certificate of {NAME} expired on 2020-02-01 00:00:00 UTC"),
        "of-another": (pki.second, {}, f"the certificate is for mail.example.net and not for {NAME}"),
        "of-another-address": (pki.second, {"checkHost": None, "checkIP": "192.0.2.1"},
                               "the certificate is for mail.example.net and not for 192.0.2.1"),
        "without-alternatives": (issue("plain", alternatives=False), {},
                                 f"the certificate is for no name (its common name, {NAME}, does not "
                                 f"count) and not for {NAME}"),
        "foreign": (pki.foreign, {}, f"the certificate of {NAME} was issued by CN=Foreign Authority, who "
                                     "is neither trusted nor among the certificates sent"),
        "self-signed": (pki.lonely, {}, f"the certificate of {NAME} is self-signed"),
        "without-intermediate": (orphan, {}, f"the certificate of {NAME} was issued by CN=Test "
                                             "Intermediate, who is neither trusted"),
        "for-clients": (unasked, {}, f"the certificate of {NAME} is not meant for a TLS server"),
        "by-no-ca": (by_leaf, {}, f"the chain of the certificate of {NAME} has a certificate in it that "
                                  "was signed by no CA"),
        "revoked": (revoked, {"CRLfile": pki.crl("flaw", revoked)},
                    f"the certificate of {NAME} has been revoked"),
        "not-pinned": (pki.ecdsa, {"verifyPeer": pin_of(pki.second)},
                       f"the certificate is none of those pinned: it is {pin_of(pki.ecdsa)}"),
    }


def test_every_defect_has_its_own_sentence_for_the_client_and_in_the_log(tmp_path, pki):
    cases = flaws(pki)
    servers = {name: TlsServer(leaf).start() for name, (leaf, _, _) in cases.items()}
    ports = {name: net.free_port() for name in cases}
    text = global_part(client=True, protocol="smtp", tlsLevel="secure", spareWorkers=1) + "".join(
        section(name, accept=f"127.0.0.1:{ports[name]}", connect=text_of(servers[name].address),
                **{"CAfile": pki.ca, "checkHost": NAME, **options})
        for name, (_, options, _) in cases.items())
    told = {}
    with Ehlock(tmp_path, text) as proxy:
        for number, (name, (_, _, sentence)) in enumerate(cases.items(), 1):
            greeting = try_message(("127.0.0.1", ports[name]))
            told[name] = proxy.summary(number)["reason"]
            assert sentence in told[name], (name, told[name])
            assert greeting.code == 421 and sentence in greeting.text, greeting
    for server in servers.values():
        assert not server.messages
        server.stop()
    assert len(set(told.values())) == len(cases)


# -- one service at a time

@pytest.fixture
def dial(tmp_path, pki):
    """dial(server, **options): a client service in front of it; connect is by name."""
    running = []

    def start(server, by="localhost", **options):
        options = {"spareWorkers": 1, "client": True, "CAfile": pki.ca, "leaf": None, **options}
        leaf = options.pop("leaf")
        connect = options.pop("connect", f"{by}:{server.address[1]}")
        proxy = Ehlock.wrap(tmp_path, server.address, leaf, connect=connect, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()


def test_default_is_secure_with_the_name_of_connect(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server)
        assert try_message(proxy.address).code == 220
        assert server.ended().sni == "localhost"
    summary = proxy.summary()
    assert summary["level"] == "secure" and summary["verified"] == "localhost"


def test_session_of_a_single_process_asks_for_tls(tmp_path, pki):
    with TlsServer(pki.ecdsa) as server:
        config = tmp_path / "one.conf"
        config.write_text(global_part() + section(
            "out", client=True, protocol="smtp", accept="127.0.0.1:1", CAfile=pki.ca,
            connect=f"localhost:{server.address[1]}"))
        with Starter("tcpserver", tmp_path, config) as starter:
            assert try_message(starter.address).code == 220
        assert len(server.ended().messages) == 1 and server.ended().tls


def test_default_refuses_a_server_of_another_name(dial, pki):
    with TlsServer(pki.expired) as server:      # whose name would be another as well
        proxy = dial(server)
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "certificate-expired" in greeting.text
    with TlsServer(pki.second) as server:
        proxy = dial(server)
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "certificate-host-mismatch" in greeting.text


def test_address_in_the_certificate_is_found_by_check_ip(dial, pki):
    with TlsServer(pki.numbered) as server:
        proxy = dial(server, by="127.0.0.1", checkIP="127.0.0.1")
        assert try_message(proxy.address).code == 220
        assert server.ended().sni is None
    with TlsServer(pki.chained) as server:
        proxy = dial(server, by="127.0.0.1", checkIP="127.0.0.1")
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "certificate-host-mismatch" in greeting.text


def test_one_of_several_names_is_enough(dial, pki):
    with TlsServer(pki.second) as server:
        proxy = dial(server, checkHost=["mx.example.org", "mail.example.net"])
        assert try_message(proxy.address).code == 220
    assert proxy.summary()["verified"] == "mail.example.net"


@pytest.mark.parametrize("options, seen", [
    ({"sni": "asked.example.org"}, "asked.example.org"),
    ({"by": "127.0.0.1", "checkHost": NAME}, NAME),
    ({"by": "127.0.0.1", "checkHost": NAME, "sni": "127.0.0.1"}, None),
    ({"tlsPolicy": "/^localhost:/ secure servername=ruled.example.org"}, "ruled.example.org"),
])
def test_name_that_the_server_is_asked_for(dial, pki, options, seen):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server, **options)
        assert try_message(proxy.address).code == 220
        assert server.ended().sni == seen


@pytest.mark.parametrize("of_key", [False, True])
def test_pin_is_enough_for_a_certificate_that_nobody_signed(dial, pki, of_key):
    with TlsServer(pki.lonely) as server:
        proxy = dial(server, by="127.0.0.1", CAfile=None,
                     verifyPeer=[pin_of(pki.rsa), pin_of(pki.lonely, of_key)])
        assert try_message(proxy.address).code == 220
    assert proxy.summary()["level"] == "fingerprint"


def test_pin_of_another_is_refused(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server, verifyPeer=pin_of(pki.rsa))
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "certificate-not-trusted" in greeting.text
        assert server.secret(server.ended()) == b"QUIT\r\n"
    assert proxy.summary()["verdict"] == "pin-mismatch"


def test_verify_peer_yes_takes_the_certificates_of_the_file(dial, pki, tmp_path):
    known = tmp_path / "known.pem"
    known.write_bytes(pki.lonely.cert.read_bytes() + pki.rsa.cert.read_bytes())
    with TlsServer(pki.lonely) as server, TlsServer(pki.ecdsa) as other:
        proxy = dial(server, CAfile=known, verifyPeer="yes")
        assert try_message(proxy.address).code == 220
        proxy = dial(other, CAfile=known, verifyPeer="yes")
        assert "certificate-not-trusted" in try_message(proxy.address).text


def test_secure_with_a_pin_demands_both(dial, pki):
    with TlsServer(pki.expired) as server:
        proxy = dial(server, tlsLevel="secure", checkHost=NAME, verifyPeer=pin_of(pki.expired))
        assert "certificate-expired" in try_message(proxy.address).text
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server, tlsLevel="secure", verifyPeer=pin_of(pki.rsa))
        assert "certificate-not-trusted" in try_message(proxy.address).text


# -- falling back

def clears(server, number):
    return server.in_clear(server.ended(number))


@pytest.mark.parametrize("trouble", [
    {"answer": b"454 4.7.0 not now\r\n"}, {"vanishes": True}, {"answer": b"220-a\r\n220 b\r\n"},
    {"answer": GO_AHEAD + b"250 injected\r\n"},
])
@pytest.mark.parametrize("said", ["option", "rule"])
def test_fall_back_goes_on_in_clear(dial, pki, trouble, said):
    options = {"option": {"tlsLevel": "may", "fallBack": True},
               "rule": {"tlsPolicy": "/./ may fallBack=yes"}}[said]
    with TlsServer(pki.ecdsa, **trouble) as server:
        proxy = dial(server, CAfile=None, **options)
        assert try_message(proxy.address).code == 220
        proxy.summary()
        assert len(server.messages) == 1 and not server.sessions[-1].tls
    assert proxy.summary()["reason"]


def test_may_never_falls_back_from_a_handshake_without_leave(dial, pki):
    with TlsServer(pki.ecdsa, vanishes=True) as server:
        proxy = dial(server, CAfile=None, tlsLevel="may")
        assert try_message(proxy.address).code == 421
        proxy.summary()
        assert len(server.sessions) == 1
        assert holds_nothing_of_the_client(clears(server, 0))


# -- the table of destinations

def test_first_rule_that_fits_decides(dial, pki):
    with TlsServer(pki.lonely) as server:
        proxy = dial(server, tlsPolicy=[
            "/^elsewhere:/ none", r"/^localhost:\d+$/ encrypt", "/./ secure"])
        assert try_message(proxy.address).code == 220
        assert server.ended().tls
    assert proxy.summary()["level"] == "encrypt"


def test_rule_may_be_stricter_than_the_service(dial, pki):
    with TlsServer(pki.lonely) as server:
        proxy = dial(server, tlsLevel="may", CAfile=None,
                     tlsPolicy=f"/^localhost/ secure match={NAME} CAfile={pki.ca}")
        assert "certificate-not-trusted" in try_message(proxy.address).text


def test_rule_names_and_pins(dial, pki):
    with TlsServer(pki.second) as server:
        rule = f"/^localhost/ verify match=other.example.org:mail.example.net " \
               f"pin={pin_of(pki.second)} pin={pin_of(pki.rsa)}"
        proxy = dial(server, tlsPolicy=rule)
        assert try_message(proxy.address).code == 220
    assert proxy.summary()["verified"] == "mail.example.net"


def test_rule_asks_for_a_newer_version(dial, pki):
    with TlsServer(pki.ecdsa, maximum=ssl.TLSVersion.TLSv1_2) as server:
        proxy = dial(server, tlsPolicy="/./ secure minimum=TLS1.3")
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "validation-failure" in greeting.text
        proxy = dial(server, tlsPolicy="/./ secure minimum=TLS1.2 priority=NORMAL")
        assert try_message(proxy.address).code == 220
    assert proxy.summary()["server_tls"] == "TLS1.2"


def test_second_destination_has_its_own_level(dial, pki, tmp_path):
    dead = net.free_port()
    with TlsServer(pki.lonely) as server:
        proxy = dial(server, connect=[f"127.0.0.1:{dead}", text_of(server.address)],
                     checkHost=NAME, tlsPolicy=f"/:{server.address[1]}$/ encrypt")
        assert try_message(proxy.address).code == 220
    assert proxy.summary()["level"] == "encrypt"
    with TlsServer(pki.lonely) as server:
        proxy = dial(server, connect=[f"127.0.0.1:{dead}", text_of(server.address)],
                     checkHost=NAME, tlsPolicy=f"/:{dead}$/ encrypt")
        assert try_message(proxy.address).code == 421
    assert proxy.summary()["level"] == "secure"


# -- TLS from the first byte, and no protocol

def test_implicit_tls_towards_the_server(dial, pki):
    with TlsServer(pki.ecdsa, implicit=True) as server:
        proxy = dial(server, implicitTls="yes")
        assert try_message(proxy.address).text.endswith("secret-greeting")
        assert server.in_clear(server.ended()) == b""
        assert len(server.messages) == 1
    assert proxy.summary()["verified"] == "localhost"


@pytest.mark.parametrize("leaf, word", [("foreign", "certificate-not-trusted"),
                                        ("second", "certificate-host-mismatch")])
def test_implicit_tls_to_an_untrusted_server_says_nothing(dial, pki, leaf, word):
    with TlsServer(getattr(pki, leaf), implicit=True) as server:
        proxy = dial(server, implicitTls="yes")
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and word in greeting.text
        session = server.ended()
        assert session.received == b""
    assert proxy.summary()["outcome"] == "refused"


def test_implicit_tls_to_a_server_in_clear_fails(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server, implicitTls="yes", TIMEOUThandshake=20)
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "validation-failure" in greeting.text


def echo(session):
    data = session.read_until(b"end\n")
    session.send(b"you said " + data)
    session.read_to_end()


class EchoServer(TlsServer):
    ragged = False      # ends without close_notify

    def serve(self, session):
        session.clear, session.secret_from = b"", 0
        session.sni = session.peer_certificate = session.tls = None
        self._secure(session)
        echo(session)
        if not self.ragged:
            session.sock.unwrap()


def talk(address, data):
    with net.connect(address) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            more = sock.recv(65536)
            if not more:
                return answer
            answer += more


def test_without_protocol_bytes_pass_to_a_verified_server(dial, pki):
    with EchoServer(pki.ecdsa) as server:
        proxy = dial(server, protocol=None)
        assert talk(proxy.address, b"a\0b\nend\n") == b"you said a\0b\nend\n"
        assert server.ended().sni == "localhost"
    assert proxy.summary()["outcome"] == "done"


@pytest.mark.parametrize("leaf", ["foreign", "second", "lonely"])
def test_without_protocol_no_byte_passes_to_an_untrusted_server(dial, pki, leaf):
    with EchoServer(getattr(pki, leaf)) as server:
        proxy = dial(server, protocol=None)
        assert talk(proxy.address, b"secret\nend\n") == b""
        assert server.ended().received == b""
    assert proxy.summary()["reason"].startswith("certificate-")


# -- our own certificate

def test_certificate_is_shown_to_a_server_that_asks(dial, pki):
    leaf = pki.second
    with TlsServer(pki.ecdsa, client_ca=pki.ca) as server:
        proxy = dial(server, leaf=leaf)
        assert try_message(proxy.address).code == 220
        certificate = server.ended().peer_certificate
        assert ("DNS", "mail.example.net") in certificate["subjectAltName"]


# An Ed25519 key signs in TLS 1.3 only (certs/keeper.h).
@pytest.mark.parametrize("kind, maximum", [("ecdsa", ssl.TLSVersion.TLSv1_2),
                                           ("ecdsa", ssl.TLSVersion.TLSv1_3),
                                           ("rsa", ssl.TLSVersion.TLSv1_2),
                                           ("rsa", ssl.TLSVersion.TLSv1_3),
                                           ("ed25519", ssl.TLSVersion.TLSv1_3)])
def test_key_of_a_client_is_in_the_keeper_only(dial, pki, kind, maximum):
    leaf = getattr(pki, kind)
    patterns = patterns_of(leaf)
    with TlsServer(pki.second, client_ca=pki.ca, maximum=maximum) as server:
        proxy = dial(server, leaf=leaf, checkHost="mail.example.net")
        with Client(proxy.address) as client:
            client.ehlo()
            client.send_message()
            assert server.session().peer_certificate
            assert any(found_in(pid, patterns) for pid in proxy.keepers())
            for pid in [*proxy.workers(), proxy.pid]:
                assert found_in(pid, patterns) == set(), ehlock.processes().get(pid)
            client.quit()


def test_without_a_certificate_nothing_is_shown(dial, pki):
    with TlsServer(pki.ecdsa, client_ca=pki.ca) as server:
        proxy = dial(server)
        assert try_message(proxy.address).code == 220
        assert not server.ended().peer_certificate


# -- clients of all kinds

def test_smtplib_in_clear(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server)
        with smtplib.SMTP(*proxy.address, timeout=net.DEADLINE) as client:
            assert client.ehlo()[0] == 250 and not client.has_extn("starttls")
            client.sendmail("a@example.org", ["b@example.org"], "Subject: x\r\n\r\n.dot\r\n")
        assert server.messages[0].body == b"Subject: x\r\n\r\n..dot\r\n"


def test_client_that_knows_only_helo(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server)
        with Client(proxy.address) as client:
            assert client.command("HELO old").code == 250
            client.send_message(body=b"old\r\n")
            client.quit()
        session = server.ended()
        assert session.tls and b"HELO old" in server.secret(session)
        assert b"old" not in server.in_clear(session)


def test_client_that_pipelines_and_talks_too_early(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server)
        with Client(proxy.address, greet=False) as client:
            client.send(b"EHLO secret-name\r\nMAIL FROM:<secret@example.org>\r\n"
                        b"RCPT TO:<b@example.org>\r\nDATA\r\n")
            assert [client.read_reply().code for _ in range(5)] == [220, 250, 250, 250, 354]
            client.send(b"x\r\n.\r\nQUIT\r\n")
            assert [client.read_reply().code for _ in range(2)] == [250, 221]
        assert holds_nothing_of_the_client(server.in_clear(server.ended()))


def test_starttls_of_the_client_is_not_offered_and_not_taken(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server)
        with Client(proxy.address) as client:
            assert not [line for line in client.ehlo() if line.upper().startswith("STARTTLS")]
            assert client.command("STARTTLS").code >= 500
            client.quit()


def test_password_does_not_go_to_a_server_in_clear(dial, pki):
    with TlsServer(pki.ecdsa, offers=False, keywords=["AUTH PLAIN"]) as server:
        proxy = dial(server, CAfile=None, tlsLevel="may")
        with Client(proxy.address) as client:
            client.ehlo()
            assert client.command("AUTH PLAIN AHNlY3JldABzZWNyZXQ=").code == 454
            client.quit()
        assert b"AHNl" not in server.ended().received


def test_client_that_vanishes_during_the_handshake_costs_nothing(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server)
        Client(proxy.address, greet=False).abort()
        proxy.summary()
        assert try_message(proxy.address).code == 220


def test_server_that_is_not_there(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        pass
    proxy = dial(server)
    greeting = try_message(proxy.address)
    assert greeting.code == 421
    assert proxy.summary()["outcome"] == "lost"


def test_server_that_vanishes_under_tls(dial, pki):
    def gone(session, line):
        raise ConnectionError("as was asked")
    with TlsServer(pki.ecdsa, replies={"MAIL": gone}) as server:
        proxy = dial(server)
        with Client(proxy.address) as client:
            client.ehlo()
            assert client.command("MAIL FROM:<a@example.org>").code == 421
    assert proxy.summary()["outcome"] == "lost"


def test_changed_ca_file_is_noticed(dial, pki, tmp_path):
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(pki.other_ca.read_bytes())
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server, CAfile=trusted)
        assert try_message(proxy.address).code == 421
        fresh = tmp_path / "fresh.pem"
        fresh.write_bytes(pki.ca.read_bytes())
        os.rename(fresh, trusted)
        proxy.wait_log("read again")
        net.wait_until(lambda: try_message(proxy.address).code == 220, "the new authority counts")


@pytest.mark.skipif(not os.path.exists("/etc/ssl/certs/ca-certificates.crt"),
                    reason="this machine has no store of certificates")
def test_store_of_the_system_fits_into_a_worker(dial, pki):
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server, CAfile=None)
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "certificate-not-trusted" in greeting.text


# -- memory

def test_server_that_no_longer_offers_tls_is_warned_of_once(dial, pki, tmp_path):
    memory = tmp_path / "memory"
    with TlsServer(pki.ecdsa) as server:
        name = f"localhost:{server.address[1]}"
        proxy = dial(server, CAfile=None, tlsLevel="may", globals_={"tlsMemory": memory})

        def remembered(word):
            return memory.exists() and f"\n{name} {word} " in memory.read_text()

        try_message(proxy.address)
        net.wait_until(lambda: remembered("yes"), "the server is remembered")
        server.offers = False
        try_message(proxy.address)
        proxy.wait_log(f"warn.*server={re.escape(name)} has offered TLS .* no longer does")
        net.wait_until(lambda: remembered("no"), "the change is written")
        server.offers = True
        written = memory.stat().st_mtime_ns
        try_message(proxy.address)
        proxy.wait_log("offers TLS again")
        net.wait_until(lambda: remembered("yes"), "the change is written")
        assert memory.stat().st_mtime_ns > written
        assert len([line for line in proxy.lines if "no longer does" in line]) == 1


def test_memory_survives_a_restart(dial, pki, tmp_path):
    memory = tmp_path / "memory"
    with TlsServer(pki.ecdsa, offers=False) as server:
        name = f"localhost:{server.address[1]}"
        memory.write_text(f"# mine\nother.example.org:25 no 5\n{name} yes 1700000000\n")
        proxy = dial(server, CAfile=None, tlsLevel="may", globals_={"tlsMemory": memory})
        try_message(proxy.address)
        proxy.wait_log("no longer does")
        net.wait_until(lambda: f"{name} no " in memory.read_text(), "the change is written")
        assert "\nother.example.org:25 no 5\n" in memory.read_text()


def test_server_that_is_down_is_no_change(dial, pki, tmp_path):
    memory = tmp_path / "memory"
    dead = net.free_port()
    text = f"localhost:{dead} yes 1700000000\n"
    memory.write_text(text)
    with TlsServer(pki.ecdsa) as server:
        proxy = dial(server, CAfile=None, tlsLevel="may", globals_={"tlsMemory": memory},
                     connect=f"localhost:{dead}")
        assert try_message(proxy.address).code == 421
        proxy.summary()
        proxy.stop()
    assert memory.read_text() == text and "no longer" not in proxy.log


@pytest.mark.parametrize("line", ["nonsense", "a yes", "a perhaps 1", "a yes 1 2", "x" * 400 + " yes 1"])
def test_memory_that_cannot_be_understood_is_told_at_start(tmp_path, pki, line):
    memory, path = tmp_path / "memory", tmp_path / "x.conf"
    memory.write_text(f"good:25 yes 1\n{line}\n")
    path.write_text(global_part(tlsMemory=memory) + section(
        "out", client=True, accept=f"127.0.0.1:{net.free_port()}", protocol="smtp",
        connect="localhost:587", CAfile=pki.ca))
    done = ehlock.run(path)
    assert done.returncode == 78 and f"{memory}:2 " in done.stderr
    assert memory.read_text().startswith("good:25 yes 1\n")


# -- warnings

def test_door_open_to_the_network_is_warned_of(tmp_path, pki):
    path = tmp_path / "open.conf"
    path.write_text(section("out", client=True, accept="0.0.0.0:2525", protocol="smtp",
                            connect="localhost:587", CAfile=pki.ca))
    done = ehlock.run("--check", path)
    assert done.returncode == 0 and f"{path}:3: " in done.stdout + done.stderr
    assert "everybody who can reach this address" in done.stdout + done.stderr
    assert "open relay" not in done.stdout + done.stderr


def test_server_that_ends_without_close_notify_is_told_apart(dial, pki):
    """A server that ends without close_notify may have lost bytes on the way."""
    with EchoServer(pki.ecdsa) as server:
        server.ragged = True
        proxy = dial(server, protocol=None)
        assert talk(proxy.address, b"end\n") == b"you said end\n"
    assert proxy.summary()["outcome"] == "lost"
    assert "without a TLS close_notify" in proxy.summary()["reason"]


def test_show_config_can_be_read_again(tmp_path, pki):
    path, again = tmp_path / "a.conf", tmp_path / "b.conf"
    path.write_text(section("out", client=True, accept="127.0.0.1:2525", protocol="smtp",
                            connect="localhost:587", CAfile=pki.ca, verifyPeer=pin_of(pki.rsa)))
    shown = ehlock.run("--show-config", path).stdout
    again.write_text(shown)
    assert ehlock.run("--show-config", again).stdout == shown
    assert "tlsLevel = fingerprint\n" in shown
