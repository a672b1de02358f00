# SPDX-License-Identifier: ISC
"""TLS from the first byte: without a protocol, with one, and both kinds of client on one port."""

import random
import ssl
import threading
import time

import net
import pytest
from backend import KEYWORDS, Backend, ScriptedBackend
from smtp_client import Client, Closed, context


def echo(peer):
    while peer.fill():
        peer.send(peer.buffer)
        peer.buffer = b""


# -- no protocol: bytes both ways

def plain_service(wrap, backend, **more):
    return wrap(backend, protocol=None, **more)


@pytest.mark.parametrize("size", [1, 16384, 16385, 65536, 5_000_003])
def test_bytes_pass_both_ways_unchanged(wrap, pki, size):
    data = random.Random(size).randbytes(size)
    with ScriptedBackend(echo) as backend:
        client = Client.implicit(plain_service(wrap, backend).address, context(pki), greet=False)
        with client:
            # Encrypting and sending in one thread, reading in the other: no record is shared.
            wire = client.encrypt(data)
            sender = threading.Thread(target=client.sock.sendall, args=(wire,))
            sender.start()
            got = b""
            while len(got) < size:
                more = client.receive()
                assert more, client.end
                got += more
            sender.join()
            assert got == data


def test_server_that_speaks_first_is_heard(wrap, pki):
    with ScriptedBackend(lambda peer: peer.send(b"* OK hello\r\n")) as backend:
        client = Client.implicit(plain_service(wrap, backend).address, context(pki), greet=False)
        with client:
            assert client.read_to_end() == b"* OK hello\r\n"
            assert client.end == "close_notify"


def test_end_of_the_clients_side_reaches_the_backend_and_its_answer_comes_back(wrap, pki):
    def scene(peer):
        got = peer.read_to_end()
        assert peer.end == "fin"
        peer.send(b"you said " + got)

    with ScriptedBackend(scene) as backend:
        client = Client.implicit(plain_service(wrap, backend).address, context(pki), greet=False)
        with client:
            client.send(b"everything")
            client._flush()
            # close_notify of a half-closing client: write side only.
            try:
                client.tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            client._flush()
            try:
                rest = client.read_to_end()
            except ssl.SSLError:
                rest = b""      # OpenSSL reads no data after its own close_notify
        session = backend.ended()
        assert session.received == b"everything" and session.error is None
        assert rest in (b"you said everything", b"")


def test_backend_that_is_down_ends_the_connection_in_order(wrap, pki):
    proxy = plain_service(wrap, ("127.0.0.1", net.free_port()))
    with Client(proxy.address, greet=False) as client:
        try:
            client.handshake(context(pki))
            assert client.read_to_end() == b""
        except Closed:
            pass
    assert proxy.summary()["outcome"] != "done"


def test_clear_client_of_an_implicit_service_gets_nothing_of_the_backend(wrap, backend):
    proxy = wrap(backend, implicitTls="yes")
    with Client(proxy.address, greet=False) as client:
        client.send_wire(b"EHLO client.example.org\r\n")
        rest = client.read_to_end()
        assert b"220" not in rest and b"250" not in rest
    assert b"EHLO client.example.org" not in backend.commands
    assert proxy.summary()["outcome"] != "done"


# -- with a protocol

def test_implicit_smtp_is_filtered_like_starttls(wrap, pki):
    keywords = ["SIZE 1", "STARTTLS", "XCLIENT NAME", "AUTH PLAIN SCRAM-SHA-1-PLUS", "DSN"]
    with Backend(keywords=keywords) as backend:
        client = Client.implicit(wrap(backend, implicitTls="yes").address, context(pki))
        with client:
            assert client.greeting.raw == backend.greeting
            assert client.ehlo() == ["SIZE 1", "AUTH PLAIN", "DSN"]
            assert client.command("STARTTLS").code == 503
            assert client.command("XCLIENT ADDR=1.2.3.4").code == 550
            client.send_message(body=b"implicit\r\n")
            client.quit()
        assert backend.messages[0].body == b"implicit\r\n"


def test_implicit_smtp_satisfies_tls_level_encrypt(wrap, backend, pki):
    proxy = wrap(backend, implicitTls="yes", tlsLevel="encrypt")
    with Client.implicit(proxy.address, context(pki)) as client:
        client.ehlo()
        client.send_message()
        client.quit()
    assert len(backend.messages) == 1


def test_implicit_lmtp_works(wrap, pki):
    with Backend(lmtp=True) as backend:
        proxy = wrap(backend, implicitTls="yes", protocol="lmtp")
        with Client.implicit(proxy.address, context(pki), lmtp=True) as client:
            assert client.ehlo() == KEYWORDS
            client.send_message(rcpts=["a@example.org", "b@example.org"])
            client.quit()


# -- both on one port

def test_auto_serves_both_kinds_of_client_on_one_port(wrap, backend, pki):
    proxy = wrap(backend, implicitTls="auto")
    for _ in range(2):
        with Client.implicit(proxy.address, context(pki)) as client:
            assert client.ehlo() == KEYWORDS
            client.send_message(body=b"implicit\r\n")
            client.quit()
        with Client.secured(proxy.address, context(pki)) as client:
            client.send_message(body=b"starttls\r\n")
            client.quit()
        with Client(proxy.address) as client:
            client.ehlo()
            client.send_message(body=b"clear\r\n")
            client.quit()
    assert [m.body for m in backend.messages] == [b"implicit\r\n", b"starttls\r\n", b"clear\r\n"] * 2


def test_auto_waits_so_long_and_no_longer_for_a_client_that_says_nothing(wrap, backend):
    proxy = wrap(backend, implicitTls="auto", implicitTlsWait=600)
    start = time.monotonic()
    with Client(proxy.address) as client:
        waited = time.monotonic() - start
        assert 0.55 < waited < 5
        client.quit()


def test_auto_takes_a_tls_client_that_starts_within_the_wait(wrap, backend, pki):
    proxy = wrap(backend, implicitTls="auto", implicitTlsWait=15000)
    with Client(proxy.address, greet=False) as client:
        time.sleep(0.5)
        start = time.monotonic()
        client.handshake(context(pki))
        assert client.read_reply().code == 220
        assert time.monotonic() - start < 10, "waited on after the first byte"
        client.quit()


def test_auto_goes_by_the_first_byte_alone(wrap, backend, pki):
    """A ClientHello that comes byte by byte is a TLS client all the same."""
    proxy = wrap(backend, implicitTls="auto")
    with Client.implicit(proxy.address, context(pki), piece=1) as client:
        client.quit()


def test_auto_gives_an_early_talker_in_clear_its_greeting_first(wrap, backend):
    proxy = wrap(backend, implicitTls="auto", implicitTlsWait=15000)
    with Client(proxy.address, greet=False) as client:
        start = time.monotonic()
        client.send_line("EHLO hasty.example.org")
        assert client.read_reply().code == 220
        assert time.monotonic() - start < 10, "waits although the client has spoken"
        assert client.read_reply().code == 250
        client.quit()


def test_service_without_auto_greets_at_once(wrap, backend):
    with Client(wrap(backend).address) as client:
        client.quit()
    proxy = wrap(backend)
    best = 9
    for _ in range(20):
        start = time.monotonic()
        with Client(proxy.address) as client:
            best = min(best, time.monotonic() - start)
            client.quit()
    assert best < 0.1


def test_tls_client_of_a_starttls_service_is_not_served(wrap, backend, pki):
    proxy = wrap(backend)
    with Client(proxy.address, greet=False) as client:
        with pytest.raises((ssl.SSLError, Closed)):
            client.handshake(context(pki))
    assert proxy.summary()
