# SPDX-License-Identifier: ISC
"""BDAT: exactly n octets, nothing in them looked at (RFC 3030)."""

import random

import pytest
from backend import Backend
from smtp_client import Client, context


@pytest.fixture
def client(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        client.envelope()
        yield client


def bdat(client, data, last=True):
    client.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
    return client.read_reply()


@pytest.mark.parametrize("data", [
    b"x",
    b"\r\n.\r\n",
    b".\r\n",
    b"a\r\n.\r\nSTARTTLS\r\nQUIT\r\nXCLIENT ADDR=1.2.3.4\r\n",
    b"bare\nlf\n.\nand\rcr\r.\r",
    bytes(range(256)) * 10,
    b"BDAT 5 LAST\r\nhello",
    b"\0" * 100,
])
def test_chunk_arrives_byte_exact(client, backend, data):
    assert bdat(client, data).code == 250
    assert client.command("NOOP").code == 250
    client.quit()
    assert [m.body for m in backend.messages] == [data]


def test_chunk_arrives_byte_exact_in_clear(wrap, backend):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        client.envelope()
        assert bdat(client, b"\r\n.\r\nSTARTTLS\r\n").code == 250
        client.quit()
    assert [m.body for m in backend.messages] == [b"\r\n.\r\nSTARTTLS\r\n"]


@pytest.mark.parametrize("size", [16383, 16384, 16385, 65535, 65536, 65537, 3_000_000])
def test_chunk_of_any_size_arrives_byte_exact(client, backend, size):
    data = random.Random(size).randbytes(size)
    assert bdat(client, data).code == 250
    client.quit()
    assert [m.body for m in backend.messages] == [data]


def test_many_chunks_make_one_message(client, backend):
    chunks = [random.Random(n).randbytes(n * 37 % 5000) for n in range(50)]
    for chunk in chunks:
        assert bdat(client, chunk, last=False).code == 250
    assert bdat(client, b"").code == 250
    client.quit()
    assert [m.chunks for m in backend.messages] == [[*chunks, b""]]


def test_pipelined_chunks_are_answered_in_order(client, backend):
    client.send(b"BDAT 3\r\nabcBDAT 0\r\nBDAT 4\r\n\r\n.\nBDAT 2 LAST\r\nyzNOOP\r\nQUIT\r\n")
    assert [client.read_reply().code for _ in range(6)] == [250, 250, 250, 250, 250, 221]
    assert [m.body for m in backend.messages] == [b"abc\r\n.\nyz"]


def test_chunk_in_pieces_arrives_byte_exact(client, backend):
    data = b"BDAT 20 LAST\r\n01234567\r\n.\r\n89abcde"
    for cut in range(len(data)):
        if cut:
            client.envelope()
        client.send(data[:cut])
        client.send(data[cut:])
        assert client.read_reply().code == 250
    client.quit()
    assert {m.body for m in backend.messages} == {b"01234567\r\n.\r\n89abcde"}


def test_lower_case_bdat_and_last_are_understood(client, backend):
    client.send(b"bdat 5 last\r\n\r\n.\r\n")
    assert client.read_reply().code == 250
    assert client.command("NOOP").code == 250
    assert [m.body for m in backend.messages] == [b"\r\n.\r\n"]


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1 LAST", b"BDAT 1x LAST", b"BDAT 0x10",
                                  b"BDAT 99999999999999999999999 LAST", b"BDAT 5 FIRST",
                                  b"BDAT +5 LAST", b"BDAT 5 LAST more"])
def test_malformed_bdat_is_501_and_reaches_nobody(client, backend, line):
    """Where the chunk ends is unknown, so nothing behind it may be understood as a command."""
    client.send(line + b"\r\nMAIL FROM:<smuggled@example.org>\r\n")
    assert client.read_reply().code == 501
    client.read_to_end()
    assert client.end == "close_notify"
    assert not [c for c in backend.ended().commands if b"smuggled" in c or c.startswith(b"BDAT")]


def test_chunk_refused_by_backend_is_eaten_and_the_session_goes_on(wrap, pki):
    def refuse(peer, line):
        peer.read_exactly(int(line.split()[1]))
        return b"552 5.3.4 too large\r\n"

    with Backend(replies={"BDAT": refuse}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            client.envelope()
            assert bdat(client, b"QUIT\r\n" * 1000).code == 552
            assert client.command("RSET").code == 250
            client.quit()


def test_bdat_without_chunking_offered_does_not_let_the_chunk_become_commands(wrap, pki):
    """A backend that does not know BDAT would read the chunk as commands: smuggling."""
    chunk = b"MAIL FROM:<smuggled@example.org>\r\nRCPT TO:<b@example.org>\r\n"
    with Backend(keywords=["SIZE 1", "DSN"], replies={"BDAT": b"500 what?\r\n"}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            client.envelope()
            assert bdat(client, chunk).code >= 500
            assert client.command("NOOP").code == 250
            client.quit()
        assert not [c for c in backend.commands if b"smuggled" in c]
