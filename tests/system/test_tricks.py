# SPDX-License-Identifier: ISC
"""client = yes against every trick for SMTP of "Why TLS Is Better Without STARTTLS" (USENIX Security
2021) and of the test cases that its authors have published (EAST), and some more.

Each is a server, or somebody in front of one, that would rather be spoken to in clear, or have what it
says in clear taken for something said under TLS. It offers AUTH, and ehlock has a password for it
(level secure) or a client that logs in without waiting (level encrypt).
"""

import base64
import re
import socket

import net
import pytest
from backend import KEYWORDS
from ehlock import Ehlock, global_part, section
from net import text_of
from pki import NAME
from smtp_client import Client
from tls_server import GO_AHEAD, TlsServer

PROXY = "proxy.example.org"
USER, PASSWORD = "secret-user", "secret-password"
UNKNOWN = b"502 5.5.1 what?\r\n"
ENDLESS = 70000     # more than maxReplySize
LOGIN_OFFERED = b"250-server.example.org\r\n250 AUTH PLAIN LOGIN\r\n"
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"         # handshake_failure
WARNING = b"\x15\x03\x03\x00\x02\x01\x00"       # close_notify


def instead_of_a_server_hello(data):
    """Waits until TLS has begun on our side, and answers that."""
    def starttls(session, line):
        session.send(GO_AHEAD)
        while not session.buffer and session.fill():
            pass
        session.buffer = b""
        session.send(data)
        return b""
    return starttls


class Trickster(TlsServer):
    """Begins TLS behind any answer, if the other side does, and goes on in clear if it does not."""

    def _starttls(self, session, line):
        session.send(self.answer)
        if session.sock.recv(1, socket.MSG_PEEK) == b"\x16":
            self._secure(session)
        return b""


def trick(answer=GO_AHEAD, offers=True, greeting=None, **replies):
    return {"answer": answer, "offers": offers, "greeting": greeting, "replies": replies}


STRIPPING = {
    "not-offered-and-unknown": trick(UNKNOWN, offers=False),
    "offered-and-unknown": trick(UNKNOWN),
    "not-an-extended-server": trick(UNKNOWN, EHLO=b"502 5.5.1 what?\r\n"),
    "no-keywords-at-all": trick(UNKNOWN, EHLO=b"250 server.example.org\r\n"),
    "keyword-overwritten": trick(UNKNOWN, EHLO=b"250-server.example.org\r\n250-XXXXXXXA\r\n"
                                               b"250 AUTH PLAIN LOGIN\r\n"),
    "ehlo-refused-for-now": trick(EHLO=b"451 4.3.0 later\r\n"),
    **{f"starttls-answered-{code}": trick(b"%d no\r\n" % code) for code in (421, 454, 500, 501, 530,
                                                                              554)},
}

WRONG_CODES = {
    **{f"starttls-answered-{code}": trick(b"%d go on\r\n" % code)
       for code in (200, 221, 235, 250, 334, 354)},
    **{f"greeted-with-{code}": trick(greeting=b"%d welcome\r\n" % code)
       for code in (221, 235, 250, 334, 354, 421, 500, 530, 554)},
    **{f"ehlo-answered-{code}": trick(EHLO=b"%d-server.example.org\r\n%d STARTTLS\r\n" % (code, code))
       for code in (220, 221, 235, 354)},
    **{f"helo-answered-{code}": trick(UNKNOWN, EHLO=b"500 what?\r\n", HELO=b"%d go on\r\n" % code)
       for code in (220, 221, 235, 354, 500, 530)},
    "greeted-with-two-codes": trick(greeting=b"554-no service\r\n220 welcome\r\n"),
    "greeted-as-logged-in": trick(greeting=b"* PREAUTH server.example.org ready\r\n"),
}

GO_AHEADS = {
    "of-two-lines": trick(b"220-ready\r\n220 to start TLS\r\n"),
    "without-a-cr": trick(b"220 ready\n" + LOGIN_OFFERED),
    "without-an-lf": trick(b"220 ready\r" + LOGIN_OFFERED),
    "without-a-blank": trick(b"220ready\r\n"),
    "behind-a-nul": trick(b"\0" + GO_AHEAD),
    "behind-a-refusal": trick(b"454 4.7.0 not now\r\n" + GO_AHEAD),
}

INJECTIONS = {
    "keywords-behind-the-go-ahead": trick(GO_AHEAD + LOGIN_OFFERED),
    "second-go-ahead": trick(GO_AHEAD + GO_AHEAD),
    "half-a-line-behind-the-go-ahead": trick(GO_AHEAD + b"250"),
    "success-behind-the-go-ahead": trick(GO_AHEAD + b"235 2.7.0 welcome\r\n" + LOGIN_OFFERED),
    "clear-text-for-a-server-hello": trick(STARTTLS=instead_of_a_server_hello(LOGIN_OFFERED)),
    "alert-and-clear-text": trick(STARTTLS=instead_of_a_server_hello(ALERT + LOGIN_OFFERED)),
    "warning-and-clear-text": trick(STARTTLS=instead_of_a_server_hello(WARNING + LOGIN_OFFERED)),
    "go-ahead-behind-the-keywords": trick(
        b"", EHLO=b"250-server.example.org\r\n250 STARTTLS\r\n" + GO_AHEAD),
    "all-answers-behind-the-greeting": trick(
        b"", greeting=b"220 server.example.org\r\n250-server.example.org\r\n250 STARTTLS\r\n"
                      + GO_AHEAD, EHLO=b""),
    "tls-before-the-greeting": trick(greeting=WARNING + b"220 server.example.org\r\n"),
}

ENDLESS_ONES = {
    "greeting": trick(greeting=b"220-x\r\n" * (ENDLESS // 7)),
    "keywords": trick(EHLO=b"250-STARTTLS\r\n" * (ENDLESS // 14)),
    "go-ahead": trick(b"220-ready\r\n" * (ENDLESS // 11)),
    "refusal": trick(b"454-not now\r\n" * (ENDLESS // 13)),
}

TRICKS = {f"{word}-{name}": value for word, tricks in (
    ("stripping", STRIPPING), ("wrong-code", WRONG_CODES), ("go-ahead", GO_AHEADS),
    ("injection", INJECTIONS), ("endless", ENDLESS_ONES)) for name, value in tricks.items()}


def server_of(pki, answer, offers, greeting, replies):
    server = Trickster(pki.ecdsa, answer=answer, offers=offers,
                       keywords=[*KEYWORDS, "AUTH PLAIN LOGIN"],
                       replies={"AUTH": b"235 2.7.0 welcome\r\n", **replies})
    server.greeting = greeting or server.greeting
    return server


class Field:
    """One program with two services for each trick."""

    def __init__(self, directory, pki):
        self.servers = {name: server_of(pki, **it) for name, it in {"none": trick(), **TRICKS}.items()}
        self.ports = {}
        password = directory / "password"
        password.write_text(PASSWORD + "\n")
        levels = {"secure": {"checkHost": NAME, "protocolUsername": USER,
                             "protocolPasswordFile": password}, "encrypt": {}}
        text = global_part(CAfile=pki.ca, protocol="smtp", spareWorkers=1, maxConnections=3,
                           client=True, hostname=PROXY)
        for name, server in self.servers.items():
            server.start()
            for level, options in levels.items():
                self.ports[level, name] = net.free_port()
                text += section(f"{level}.{name}", tlsLevel=level, connect=text_of(server.address),
                                accept=f"127.0.0.1:{self.ports[level, name]}", **options)
        self.proxy = Ehlock(directory, text)
        self.proxy.start()

    def close(self):
        self.proxy.stop()
        for server in self.servers.values():
            server.stop()


@pytest.fixture(scope="module")
def field(pki, tmp_path_factory):
    it = Field(tmp_path_factory.mktemp("field"), pki)
    yield it
    it.close()


def patient(client):
    """Waits for the greeting, and sends its message if it is let in. What it was told."""
    greeting = client.read_reply()
    if greeting.code == 220:
        client.ehlo()
        client.send_message("secret-sender@example.org", ["secret-rcpt@example.org"],
                            b"Subject: secret-subject\r\n\r\nsecret-body\r\n")
        client.quit()
        return greeting.raw
    return greeting.raw + client.read_to_end()


def hasty(client):
    """Says all that it has to say before it has heard anything, a password among it."""
    login = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
    client.send(b"EHLO secret-name\r\nAUTH PLAIN " + login + b"\r\n"
                b"MAIL FROM:<secret-sender@example.org>\r\nRCPT TO:<secret-rcpt@example.org>\r\n"
                b"DATA\r\nSubject: secret-subject\r\n\r\nsecret-body\r\n.\r\nQUIT\r\n")
    return client.read_to_end()


CLIENTS = {"secure": patient, "encrypt": hasty}


def run(field, level, name):
    """What the client was told, and the server's session after its end."""
    server = field.servers[name]
    before = len(server.sessions)
    with Client(("127.0.0.1", field.ports[level, name]), greet=False) as client:
        told = CLIENTS[level](client)
    return told, server.ended(before)


@pytest.mark.parametrize("level", CLIENTS)
def test_without_a_trick_the_message_passes(field, level):
    """So that the refusals below are not everybody's."""
    told, session = run(field, level, "none")
    assert told.startswith(b"220 " + PROXY.encode()) and b"secret" not in told, told
    assert [message.body for message in session.messages] == [b"Subject: secret-subject\r\n\r\n"
                                                              b"secret-body\r\n"]
    assert [command for command in session.commands if command.startswith(b"AUTH PLAIN ")]
    assert TlsServer.in_clear(session).startswith(f"EHLO {PROXY}\r\nSTARTTLS\r\n".encode())


@pytest.mark.parametrize("name", TRICKS)
@pytest.mark.parametrize("level", CLIENTS)
def test_trick_is_of_no_use(field, level, name):
    told, session = run(field, level, name)
    assert re.fullmatch(rb"421 [^\r\n]+\r\n", told) and b"secret" not in told, told
    assert session.messages == []
    in_clear = re.split(rb"[\x14-\x17]\x03", session.received)[0]
    hello = PROXY.encode()
    assert re.fullmatch(rb"(EHLO %b\r\n)?(HELO %b\r\n)?(STARTTLS\r\n)?(QUIT\r\n)?" % (hello, hello),
                        in_clear), in_clear
    assert b"secret" not in session.received
