# SPDX-License-Identifier: ISC
"""client = yes: real programs that have a password and no TLS, and servers that want to see what they
say in clear.

    here (the programs, ehlock) ---cable--- there (the server)

The cable is read along. Whatever the server tries, there is no MAIL, RCPT, AUTH or line of the message
on it, and the program knows that its message has not been sent. tests/system/test_tricks.py has more
tricks, with a client of ours.
"""

import clients
import netns
import pytest
from backend import KEYWORDS
from clients import CLEAR, Job
from ehlock import Ehlock, global_part, section
from messages import (assert_readable, assert_same, assert_same_body, message, readable,
                      received_text)
from net import free_port, text_of
from roots import NAME
from sniffer import Sniffer
from tls_server import GO_AHEAD, TlsServer

KINDS = [kind for kind in clients.ALL if CLEAR in kind.ways]
QUEUES = [kind for kind in KINDS if kind.queue]
LOGIN = ("scanner", "of-no-use-to-you")
HOST, PROXY = "192.0.2.7", "proxy.example.org"


def let_in(session, line):
    """AUTH PLAIN or LOGIN, with or without an initial response: every password is welcome."""
    words = line.upper().split()
    for _ in range({b"PLAIN": 1, b"LOGIN": 2}[words[1]] - len(words[2:])):
        session.send(b"334 \r\n")
        session.commands.append(session.read_line().rstrip(b"\r\n"))
    return b"235 2.7.0 welcome\r\n"


def servers_of(pki):
    def server(leaf, **trick):
        return TlsServer(leaf, address=(HOST, free_port()), keywords=[*KEYWORDS, "AUTH PLAIN LOGIN"],
                         replies={"AUTH": let_in}, **trick)

    return {
        "honest": server(pki.ecdsa),
        "strips": server(pki.ecdsa, offers=False, answer=b"502 5.5.1 what?\r\n"),
        "refuses": server(pki.ecdsa, answer=b"454 4.7.0 not now\r\n"),
        "injects": server(pki.ecdsa, answer=GO_AHEAD + b"250-server.example.org\r\n"
                                                       b"250 AUTH PLAIN LOGIN\r\n"),
        "impostor": server(pki.foreign),
    }


TRICKS = ["strips", "refuses", "injects", "impostor"]


class Field:
    """One program with a service for each server."""

    def __init__(self, pki, directory):
        self.pki = pki
        self.here, self.there = netns.Namespace(), netns.Namespace()
        self.here.join(self.there, ("192.0.2.1/24", f"{HOST}/24"))
        self.servers, self.ports = servers_of(pki), {}
        text = global_part(client=True, protocol="smtp", CAfile=pki.ca, checkHost=NAME, spareWorkers=1,
                           hostname=PROXY)
        for name, server in self.servers.items():
            self.there.run(server.start)
            self.ports[name] = free_port()
            text += section(name, accept=f"127.0.0.1:{self.ports[name]}",
                            connect=text_of(server.address))
        self.proxy = Ehlock(directory, text)
        self.here.run(self.proxy.start)

    def close(self):
        self.proxy.stop()
        for server in self.servers.values():
            server.stop()
        for space in (self.here, self.there):
            space.close()

    def send(self, kind, root, name):
        """Has the program send to this server; the job, what it says, what was on the cable, what it said
        to ehlock and heard of it, and the server's session."""
        ca = root.write("/srv/ca.pem", self.pki.other_ca.read_bytes())     # of no use to it
        job = Job(self.ports[name], CLEAR, ca, message(kind.lines), host="localhost",
                  login=LOGIN)
        server = self.servers[name]
        before = len(server.sessions)
        with Sniffer(self.here, "cable") as cable, Sniffer(self.here, "lo") as own:
            done = self.here.run(kind(root).send, job)
            session = server.ended(before)
        return job, done, cable.bytes_of(HOST), own.bytes_of("127.0.0.1"), session


@pytest.fixture(scope="module")
def field(pki, tmp_path_factory):
    reason = netns.why_impossible()
    if reason:
        pytest.skip(reason)
    it = Field(pki, tmp_path_factory.mktemp("field"))
    yield it
    it.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_honest_server_hears_all_under_tls(kind, field, root_of, request):
    """So that silence elsewhere means something: this program does log in, and it does send, and what it
    says would be found on the cable if it were there, because it is found before ehlock."""
    root = root_of(kind)
    request.node.used_roots = [root.name]
    job, done, cable, own, session = field.send(kind, root, "honest")
    assert done.ok, done.output
    arrived = received_text(session.messages[0])
    if kind.own_header:
        assert_same_body(arrived, job.body)
    else:
        assert_same(arrived, job.message, kind.added)
    assert [command for command in session.commands if command.upper().startswith(b"AUTH")]
    assert b"STARTTLS\r\n" in cable and readable(cable, LOGIN) == []
    assert_readable(own, job)


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_hostile_server_hears_nothing(kind, trick, field, root_of, request):
    root = root_of(kind)
    request.node.used_roots = [root.name]
    _, done, cable, _, session = field.send(kind, root, trick)
    assert not done.ok, done.output
    assert b"STARTTLS\r\n" in cable and readable(cable, LOGIN) == []
    assert set(session.commands) <= {f"EHLO {PROXY}".encode(), b"STARTTLS", b"QUIT"}, session.commands
    if kind.queue:
        waiting = kind(root).kept()
        assert any(b"An ordinary line.\n" in file for file in waiting), waiting


@pytest.mark.parametrize("kind", QUEUES, ids=lambda kind: kind.name)
def test_message_waits_until_the_server_can_be_trusted(kind, field, root_of, request):
    root = root_of(kind)
    request.node.used_roots = [root.name]
    server = field.servers["refuses"]
    refusal, before = server.answer, len(server.messages)
    job, done, *_ = field.send(kind, root, "refuses")
    assert not done.ok, done.output
    server.answer = GO_AHEAD
    try:
        done = field.here.run(kind(root).flush)
    finally:
        server.answer = refusal
    assert done.ok, done.output
    [arrived] = server.messages[before:]
    assert_same(received_text(arrived), job.message, kind.added)
    assert kind(root).kept() == []
