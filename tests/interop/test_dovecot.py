# SPDX-License-Identifier: ISC
"""Dovecot that is told who the client is: LMTP and submission, by XCLIENT, by PROXY headers, and by
the address they are connected to from.

It trusts this machine to speak for others, so a session in which it was told nothing would be one of
this machine.
"""

import base64

import mtas
import pytest
from messages import SENDER
from mtas import text
from net import free_port, wait_until
from roots import USER, wait_listening
from smtp_client import Client, context
from test_identity import FAR, FOREIGN, OURS, PATHS, networks  # noqa: F401
from test_xclient import front, mta_of  # noqa: F401
from xclient import attributes, xclient_backend

NAME = "client.example.org"     # as it calls itself
HEADERS = ("proxy", "proxy2")
WORDS = ("xclient", "proxy", "proxy2", "transparent")


class Dovecot(mtas.Mta):
    """Each protocol on two ports, the second of which wants a header. Submission hands mail on to a
    server that takes Dovecot's word for who the client is."""

    name = "dovecot"
    packages = ["dovecot-lmtpd", "dovecot-submissiond"]
    maildir = f"/home/{USER}/Maildir"

    CONF = """
        protocols = lmtp submission
        ssl = no
        base_dir = /run/dovecot-interop
        mail_location = maildir:~/Maildir
        login_trusted_networks = 127.0.0.0/8 ::1
        haproxy_trusted_networks = 127.0.0.0/8
        auth_username_format = %Ln
        disable_plaintext_auth = no
        auth_failure_delay = 0
        log_path = /dev/stderr
        submission_relay_host = 127.0.0.1
        submission_relay_port = @RELAY@
        submission_relay_trusted = yes
        userdb {
          driver = passwd
        }
        passdb {
          driver = static
          args = password=secret
        }
        service lmtp {
          inet_listener lmtp {
            address = 127.0.0.1 ::1
            port = @LMTP@
          }
          inet_listener lmtp_header {
            address = 127.0.0.1
            port = @LMTPHEADER@
            haproxy = yes
          }
        }
        service submission-login {
          inet_listener submission {
            address = 127.0.0.1 ::1
            port = @SUBMISSION@
          }
          inet_listener submission_header {
            address = 127.0.0.1
            port = @SUBMISSIONHEADER@
            haproxy = yes
          }
        }
        """

    def __init__(self, root):
        super().__init__(root)
        self.header_port, self.submission_port = free_port(), free_port()
        self.submission_header_port, self.relay_port = free_port(), free_port()

    def start(self):
        self.root.write("/srv/dovecot.conf", text(
            self.CONF, LMTP=self.port, LMTPHEADER=self.header_port, SUBMISSION=self.submission_port,
            SUBMISSIONHEADER=self.submission_header_port, RELAY=self.relay_port))
        daemon = self.root.spawn("dovecot", "-F", "-c", "/srv/dovecot.conf")
        wait_listening(self.address, daemon)
        wait_listening(("127.0.0.1", self.submission_port), daemon)


@pytest.fixture
def relay(networks, mta_of):  # noqa: F811
    """Where Dovecot's submission hands mail on to."""
    server = xclient_backend(address=("127.0.0.1", mta_of(Dovecot).relay_port))
    networks[0].run(server.start)
    yield server
    server.stop()
    server.check()


def trace_of(mta):
    """The Received header of the one message that has arrived, in one line."""
    head = mta.arrived()[0].decode().split("\r\n\r\n")[0].replace("\r\n\t", " ")
    return next(line for line in head.split("\r\n") if line.startswith("Received:"))


# ---- LMTP


@pytest.mark.parametrize("near,to,far", PATHS)
@pytest.mark.parametrize("word", WORDS)
def test_lmtp_knows_the_client(word, near, to, far, front, networks, mta_of):  # noqa: F811
    mta = mta_of(Dovecot)
    mta.clear()
    proxy = front(Dovecot, mta.header_port if word in HEADERS else mta.port, near=near,
                  identity=word, protocol="lmtp")
    with networks[1].run(Client, (to, proxy.address[1]), lmtp=True) as client:
        assert not [k for k in client.ehlo(NAME) if k.startswith("XCLIENT")]
        client.command(f"MAIL FROM:<{SENDER}>")
        assert client.command(f"RCPT TO:<{FOREIGN}>").code == 550
        client.command("RSET")
        client.send_message(SENDER, [OURS], b"Subject: x\r\n\r\ntext\r\n")
        client.quit()
    # Its own name, though it was not said by XCLIENT.
    assert f"from {NAME} (" in trace_of(mta) and f"{far}])" in trace_of(mta)
    assert proxy.summary()["outcome"] == "done"


@pytest.mark.parametrize("word", WORDS)
def test_lmtp_knows_the_client_after_starttls(word, front, networks, mta_of, pki):  # noqa: F811
    mta = mta_of(Dovecot)
    mta.clear()
    proxy = front(Dovecot, mta.header_port if word in HEADERS else mta.port, identity=word,
                  protocol="lmtp", reconnect="yes")
    with networks[1].run(Client, proxy.address, lmtp=True) as client:
        client.ehlo("in-clear.example.org")
        client.starttls(context(pki))
        client.ehlo(NAME)
        client.send_message(SENDER, [OURS], b"Subject: x\r\n\r\ntext\r\n")
        client.quit()
    assert f"from {NAME} (" in trace_of(mta) and f"{FAR}])" in trace_of(mta)


# ---- submission


def plain(password):
    return "AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{password}".encode()).decode()


@pytest.mark.parametrize("near,to,far", PATHS)
@pytest.mark.parametrize("word", WORDS)
def test_submission_knows_the_client(word, near, to, far, front, networks, mta_of, relay, pki):  # noqa: F811
    """Nobody relays without a login, and what follows a login is the client's."""
    mta = mta_of(Dovecot)
    proxy = front(Dovecot, mta.submission_header_port if word in HEADERS else mta.submission_port,
                  near=near, identity=word, implicitTls="yes")
    with networks[1].run(Client.implicit, (to, proxy.address[1]), context(pki)) as client:
        assert not [k for k in client.ehlo(NAME) if k.startswith("XCLIENT")]
        assert client.command(f"MAIL FROM:<{SENDER}>").code == 530
        assert client.command(plain("wrong")).code == 535
        assert client.command(plain("secret")).code == 235
        client.send_message(SENDER, [FOREIGN], b"Subject: x\r\n\r\ntext\r\n")
        client.quit()
    wait_until(lambda: any(f"rip={far}," in line for line in list(mta.root.log)), f"dovecot logs {far}")
    told = next(attributes(c) for c in relay.commands if c.startswith(b"XCLIENT"))
    assert told["ADDR"] == (f"IPV6:{far}" if ":" in far else far)
    assert (told["HELO"], told["LOGIN"]) == (NAME, USER)
    assert len(relay.messages) == 1
    assert proxy.summary()["outcome"] == "done"


def test_submission_knows_the_client_after_starttls(front, networks, mta_of, relay, pki):  # noqa: F811
    mta = mta_of(Dovecot)
    proxy = front(Dovecot, mta.submission_port, reconnect="yes")
    with networks[1].run(Client, proxy.address) as client:
        client.ehlo("in-clear.example.org")
        client.starttls(context(pki))
        client.ehlo(NAME)
        assert client.command(plain("secret")).code == 235
        client.send_message(SENDER, [FOREIGN], b"Subject: x\r\n\r\ntext\r\n")
        client.quit()
    told = next(attributes(c) for c in relay.commands if c.startswith(b"XCLIENT"))
    assert (told["ADDR"], told["HELO"], told["LOGIN"]) == (FAR, NAME, USER)
