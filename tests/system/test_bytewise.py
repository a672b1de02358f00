# SPDX-License-Identifier: ISC
"""The same result however the bytes are cut up, and no harm from a client that vanishes."""

import ssl

import ehlock
import pytest
from backend import Backend
from net import wait_until
from smtp_client import Client, context

HEAD = b"EHLO client.example.org\r\n"
MAIL = (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
        b"Subject: x\r\n\r\n..\r\nend\r\n.\r\n")
CHUNK = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nBDAT 9 LAST\r\n\r\n.\r\n\nxyz"
QUIT = b"QUIT\r\n"
DIALOGUE = HEAD + MAIL + CHUNK + QUIT
CODES = [250, 250, 250, 354, 250, 250, 250, 250, 221]
BODIES = [b"Subject: x\r\n\r\n..\r\nend\r\n", b"\r\n.\r\n\nxyz"]


@pytest.fixture
def proxy(wrap, backend):
    return wrap(backend, spareWorkers=6, connectionsPerWorker=20)


def in_one_piece(address):
    with Client(address) as client:
        client.send(DIALOGUE)
        return client.read_to_end()


def test_clear_dialogue_byte_by_byte_gives_the_same_bytes(proxy, backend):
    whole = in_one_piece(proxy.address)
    with Client(proxy.address, piece=1) as client:
        client.send(DIALOGUE)
        assert client.read_to_end() == whole
        assert client.end == "fin"
    assert [m.body for m in backend.messages] == BODIES * 2


def test_clear_dialogue_cut_at_every_position_gives_the_same_bytes(proxy, backend):
    whole = in_one_piece(proxy.address)
    for cut in range(1, len(DIALOGUE)):
        with Client(proxy.address) as client:
            client.send(DIALOGUE[:cut])
            # What the first part is answered with has come before the second part goes.
            done = DIALOGUE[:cut].count(b"\r\n")
            if DIALOGUE[:cut].endswith(b"\r\n") and done <= 3:
                got = b""
                while len(got) < len(b"\r\n".join(whole.split(b"\r\n")[:done])):
                    got += client.receive()
                client.buffer = got
            client.send(DIALOGUE[cut:])
            assert client.read_to_end() == whole, cut
    assert [m.body for m in backend.messages] == BODIES * len(DIALOGUE)


def test_tls_session_byte_by_byte_gives_the_same_result(proxy, backend, pki):
    with Client(proxy.address, piece=1) as client:
        client.ehlo()
        client.starttls(context(pki))
        client.send(DIALOGUE)
        assert [client.read_reply().code for _ in CODES] == CODES
        assert client.read_to_end() == b"" and client.end == "close_notify"
    assert [m.body for m in backend.messages] == BODIES


def test_each_plaintext_byte_in_a_record_of_its_own_gives_the_same_result(proxy, backend, pki):
    with Client.secured(proxy.address, context(pki)) as client:
        wire = b"".join(client.encrypt(DIALOGUE[n:n + 1]) for n in range(len(DIALOGUE)))
        client.send_wire(wire)
        assert [client.read_reply().code for _ in CODES] == CODES
    assert [m.body for m in backend.messages] == BODIES


def test_tls_dialogue_cut_at_every_position_gives_the_same_result(proxy, backend, pki):
    """Every position is the border of two TLS records."""
    ctx = context(pki)
    step = 3 if ehlock.sanitized() else 1
    count = 0
    for cut in range(1, len(DIALOGUE), step):
        with Client.secured(proxy.address, ctx) as client:
            client.send(DIALOGUE[:cut])
            client.send(DIALOGUE[cut:])
            assert [client.read_reply().code for _ in CODES] == CODES, cut
            count += 1
    assert [m.body for m in backend.messages] == BODIES * count


def test_handshake_cut_at_every_position_gives_the_same_result(proxy, backend, pki):
    """The ClientHello in two packets; the first comes together with STARTTLS when cut is 0."""
    ctx = context(pki)
    cut, length = 0, 1
    while cut < length:
        with Client(proxy.address) as client:
            client.ehlo()
            assert client.command("STARTTLS").code == 220
            send = client.send_wire
            sent = []

            def split(data):
                if not sent and cut:
                    sent.append(len(data))
                    send(data[:cut])
                    send(data[cut:])
                else:
                    send(data)
            client.send_wire = split
            client.handshake(ctx)
            client.send_wire = send
            assert client.command("HELO x").code == 250
            client.quit()
            length = sent[0] if sent else length
        cut += 1 if cut < 12 else 11
        length = max(length, cut + 1) if cut == 1 else length
    assert length > 200


# -- clients that vanish

def assert_unharmed(proxy, backend, sessions):
    """Every session has ended, its backend connection too, no worker is left hanging or crashed."""
    proxy.summary(sessions)
    wait_until(lambda: all(s.closed.is_set() for s in backend.sessions), "backend sessions end")
    wait_until(lambda: len(proxy.workers()) == 6, "only spare workers are left")
    proxy.check_health()
    with Client(proxy.address) as client:
        client.ehlo()
        client.send_message()
        client.quit()


@pytest.mark.parametrize("how", ["fin", "reset", "half"])
def test_clear_client_vanishing_at_every_position_does_no_harm(wrap, backend, how):
    proxy = wrap(backend, spareWorkers=6)
    for cut in range(len(DIALOGUE)):
        client = Client(proxy.address, greet=cut % 2 == 0)
        client.send(DIALOGUE[:cut])
        if how == "half":
            client.half_close()
            client.read_to_end()
            assert client.end == "fin", (cut, client.end)
        client.abort() if how == "reset" else client.close()
    assert_unharmed(proxy, backend, len(DIALOGUE))
    # Only what was complete has been delivered.
    bodies = {m.body for m in backend.messages[:-1]}
    assert bodies <= set(BODIES)


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_tls_client_vanishing_at_every_position_does_no_harm(wrap, backend, pki, how):
    proxy = wrap(backend, spareWorkers=6)
    ctx = context(pki)
    cuts = range(0, len(DIALOGUE), 5 if ehlock.sanitized() else 2)
    for cut in cuts:
        client = Client.secured(proxy.address, ctx)
        records = client.encrypt(DIALOGUE[:cut]) if cut else b""
        # Every other time the last record is torn as well.
        client.send_wire(records[:-3] if cut % 4 else records)
        client.abort() if how == "reset" else client.close()
    assert_unharmed(proxy, backend, len(cuts))
    assert {m.body for m in backend.messages[:-1]} <= set(BODIES)


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_client_vanishing_at_every_position_of_the_handshake_does_no_harm(wrap, backend, how):
    proxy = wrap(backend, spareWorkers=6)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(incoming, outgoing, server_hostname="mx.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    cuts = [*range(12), *range(12, len(hello), 9), len(hello)]
    for cut in cuts:
        client = Client(proxy.address)
        client.send(b"STARTTLS\r\n")
        assert client.read_reply().code == 220
        client.send_wire(hello[:cut])
        client.abort() if how == "reset" else client.close()
    assert_unharmed(proxy, backend, len(cuts))


def test_client_that_never_reads_is_given_up(wrap, pki):
    """Replies that nobody takes must not hold a worker for ever."""
    big = b"".join(b"214-" + b"h" * 500 + b"\r\n" for _ in range(120)) + b"214 end\r\n"
    with Backend(replies={"HELP": big}) as backend:
        proxy = wrap(backend, TIMEOUTidle=1, TIMEOUTclose=1, spareWorkers=6,
                     maxUselessCommands=100000)
        with Client(proxy.address) as client:
            client.sock.settimeout(0.5)
            try:
                for _ in range(400):
                    client.send(b"HELP\r\n" * 20)
            except OSError:
                pass
            proxy.summary(1)
        assert_unharmed(proxy, backend, 1)
