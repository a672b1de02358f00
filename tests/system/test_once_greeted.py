# SPDX-License-Identifier: ISC
"""Backends that answer 503 to a second EHLO, as OpenSMTPD does. RFC 3207 §4.2 has clients say it
again after TLS: it is said to a new connection then."""

import socket

import pytest
from backend import Backend, ScriptedBackend
from smtp_client import Client, Closed, context

TOO_LATE = b"503 5.5.1 Invalid command: Already identified\r\n"


class OnceGreeted(Backend):
    """Knows one hello a connection."""

    def __init__(self, **more):
        super().__init__(replies={"EHLO": self.once, "HELO": self.once}, **more)

    def once(self, session, line):
        if "hello" in session.events:
            return TOO_LATE
        session.events["hello"] = line
        return None


@pytest.fixture
def once():
    with OnceGreeted() as server:
        yield server


def test_message_after_tls_arrives_over_a_new_connection(wrap, once, pki):
    proxy = wrap(once)
    with Client(proxy.address) as client:
        keywords = client.ehlo("before.example.org")
        client.starttls(context(pki))
        assert client.ehlo("after.example.org") == [k for k in keywords if k != "STARTTLS"]
        client.send_message()
        client.quit()
    old, new = once.ended(0), once.ended(1)
    assert old.commands == [b"EHLO before.example.org", b"RSET", b"EHLO after.example.org", b"QUIT"]
    assert new.commands[0] == b"EHLO after.example.org"
    assert (len(old.messages), len(new.messages)) == (0, 1)
    summary = proxy.summary()
    assert (summary["outcome"], summary["accepted"]) == ("done", "1")


def test_helo_after_tls_goes_to_a_new_connection(wrap, once, pki):
    with Client(wrap(once).address) as client:
        client.ehlo()
        client.starttls(context(pki))
        assert client.command("HELO after.example.org").code == 250
        client.send_message()
        client.quit()
    assert len(once.ended(1).messages) == 1


def test_second_ehlo_in_clear_gets_the_backends_503(wrap, once):
    with Client(wrap(once).address) as client:
        client.ehlo("one.example.org")
        assert client.command("EHLO two.example.org").raw == TOO_LATE
        client.send_message()
        client.quit()
    assert len(once.sessions) == 1


def test_second_ehlo_under_tls_gets_the_backends_503(wrap, once, pki):
    with Client(wrap(once).address) as client:
        client.ehlo("one.example.org")
        client.starttls(context(pki))
        client.ehlo("two.example.org")
        assert client.command("EHLO three.example.org").raw == TOO_LATE
        client.quit()
    once.ended(1)
    assert len(once.sessions) == 2


def test_503_to_the_very_first_ehlo_is_passed_on(wrap, pki):
    with Backend(replies={"EHLO": TOO_LATE}) as backend:
        with Client(wrap(backend).address) as client:
            client.starttls(context(pki))
            assert client.command("EHLO after.example.org").raw == TOO_LATE
            client.quit()
        assert len(backend.sessions) == 1


def first_connection(peer):
    peer.send(b"220 hello\r\n")
    peer.expect(b"EHLO")
    peer.send(b"250 hello\r\n")
    peer.expect(b"RSET")
    peer.send(b"250 ok\r\n")
    peer.expect(b"EHLO")
    peer.send(TOO_LATE)
    peer.expect(b"QUIT")


def second_hello_is_answered_421(proxy, pki):
    with Client(proxy.address) as client:
        client.ehlo()
        client.starttls(context(pki))
        assert client.command("EHLO after.example.org").code == 421
        with pytest.raises(Closed):
            client.read_reply()


@pytest.mark.parametrize("greeting", [b"554 no\r\n", b"421 busy\r\n", b"250 what?\r\n", b"hello\r\n",
                                      b""])
def test_second_connection_without_a_greeting_is_421(wrap, pki, greeting):
    with ScriptedBackend(first_connection, lambda peer: peer.send(greeting)) as backend:
        proxy = wrap(backend)
        second_hello_is_answered_421(proxy, pki)
    summary = proxy.summary()
    assert (summary["outcome"], summary["step"]) == ("lost", "reading the backend's second greeting")


def test_second_connection_refused_is_421(wrap, pki):
    def scene(peer):
        backend.listener.shutdown(socket.SHUT_RDWR)
        first_connection(peer)

    with ScriptedBackend(scene) as backend:
        proxy = wrap(backend)
        second_hello_is_answered_421(proxy, pki)
    assert "refused" in proxy.summary()["reason"]
