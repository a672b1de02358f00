# SPDX-License-Identifier: ISC
"""What is sent in clear around STARTTLS counts for nothing after it (CVE-2011-0411)."""

import ssl

import pytest
from backend import Backend, ScriptedBackend
from smtp_client import Client, Closed, context

INJECTED = [
    b"RSET\r\n",
    b"EHLO injected.example.org\r\n",
    b"MAIL FROM:<injected@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n",
    b"NOOP injected",
    b"\r\n",
    b"I",
    b"\x16",
    b"QUIT\r\n",
]


def assert_no_tls(client, pki):
    """After the 220 comes an alert or the end, but no TLS and no word of SMTP."""
    if not client.buffer:
        with pytest.raises((ssl.SSLError, Closed)):
            client.handshake(context(pki))
        return
    rest = client.read_to_end()
    assert rest.startswith(b"\x15\x03") and len(rest) == 7, rest


@pytest.mark.parametrize("bytes_behind", INJECTED)
def test_bytes_behind_starttls_break_the_handshake_and_reach_nobody(wrap, backend, pki, bytes_behind):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        client.send(b"STARTTLS\r\n" + bytes_behind)
        assert client.read_reply().code == 220
        assert_no_tls(client, pki)
    commands = backend.ended().commands
    assert commands == [b"EHLO client.example.org", b"RSET"]
    assert proxy.summary()["outcome"] != "done"


@pytest.mark.parametrize("bytes_behind", INJECTED)
def test_bytes_behind_starttls_in_a_packet_of_their_own_do_not_count_either(wrap, backend, pki,
                                                                           bytes_behind):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        client.send(b"STARTTLS\r\n")
        client.send(bytes_behind)
        assert client.read_reply().code == 220
        assert_no_tls(client, pki)
    assert backend.ended().commands == [b"EHLO client.example.org", b"RSET"]


def test_group_with_injection_is_answered_up_to_starttls_only(wrap, backend, pki):
    with Client(wrap(backend).address) as client:
        client.send(b"EHLO client.example.org\r\nSTARTTLS\r\nEHLO injected.example.org\r\n")
        assert [client.read_reply().code for _ in range(2)] == [250, 220]
        assert_no_tls(client, pki)
    assert not [c for c in backend.ended().commands if b"injected" in c]


def test_client_hello_in_the_packet_of_starttls_belongs_to_the_handshake(wrap, backend, pki):
    """What follows STARTTLS is not thrown away: a hasty client gets its TLS (RFC 9051 §6.2.1)."""
    with Client(wrap(backend).address) as client:
        client.ehlo()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context(pki).wrap_bio(incoming, outgoing, server_hostname="mx.example.org")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        client.send_wire(b"STARTTLS\r\n" + outgoing.read())
        assert client.read_line().startswith(b"220 ")
        incoming.write(client.buffer)
        client.buffer = b""
        client.tls, client._incoming, client._outgoing = tls, incoming, outgoing
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(client._receive_wire())
        client._flush()
        client.ehlo()
        client.send_message(body=b"hasty\r\n")
        client.quit()
    assert backend.messages[0].body == b"hasty\r\n"


def test_backends_words_behind_its_rset_reply_do_not_appear_under_tls(wrap, pki):
    def rset(peer, line):
        return b"250 2.0.0 ok\r\n250 injected\r\n"

    with Backend(replies={"RSET": rset}) as backend:
        with Client(wrap(backend).address) as client:
            client.ehlo()
            client.send_line("STARTTLS")
            reply = client.read_reply()
            if reply.code == 220:
                client.handshake(context(pki))
                client.send_line("EHLO client.example.org")
            assert b"injected" not in client.buffer + client.read_to_end()


def test_backend_that_speaks_out_of_turn_does_not_shift_the_replies(wrap, pki):
    """A second reply to one command must not become the answer to the next."""
    def scene(peer):
        peer.send(b"220 hi\r\n")
        peer.expect(b"EHLO")
        peer.send(b"250-hi\r\n250 DSN\r\n")
        peer.expect(b"NOOP")
        peer.send(b"250 noop\r\n250 shifted\r\n")
        peer.read_to_end()

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend).address) as client:
            client.ehlo()
            assert client.command("NOOP").text == "noop"
            client.send_line("MAIL FROM:<a@example.org>")
            rest = client.read_to_end()
            assert rest.startswith(b"421 ") and b"shifted" not in rest
            assert client.end == "fin"
