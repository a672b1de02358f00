# SPDX-License-Identifier: ISC
"""Mail data: byte for byte, whatever it holds, and where it ends (RFC 5321 §4.1.1.4)."""

import random

import pytest
from backend import Backend
from smtp_client import Client, context, stuffed

SIZES = sorted({n for base in (0, 1, 512, 1024, 4096, 8192, 16384, 32768, 65536, 131072)
                for n in (base - 5, base - 4, base - 3, base - 2, base - 1, base, base + 1, base + 2)
                if n >= 2} | {1_000_003})


def line_text(size, seed=0):
    """A body of exactly this size that ends in CRLF, with lines of many lengths."""
    rng = random.Random(f"{size}/{seed}")
    out = bytearray()
    while len(out) < size - 2:
        room = size - 2 - len(out)
        length = min(rng.choice((0, 1, 2, 70, 76, 990)), room)
        out += bytes(rng.choices(b"abcdefghij .\x80\xff\t", k=length))
        if len(out) <= size - 4:
            out += b"\r\n"
        elif len(out) < size - 2:
            out += b"x" * (size - 2 - len(out))
    return bytes(out) + b"\r\n"



def test_every_size_around_block_boundaries_arrives_byte_exact(wrap, backend, pki):
    bodies = [line_text(size) for size in SIZES]
    assert [len(body) for body in bodies] == SIZES
    wire = [stuffed(body) for body in bodies]
    with Client.secured(wrap(backend).address, context(pki)) as client:
        for body in wire:
            client.send_message(body=body)
        client.quit()
    assert [m.body for m in backend.messages] == wire


def test_every_size_arrives_byte_exact_in_clear(wrap, backend):
    wire = [stuffed(line_text(size, "clear")) for size in SIZES]
    with Client(wrap(backend).address) as client:
        client.ehlo()
        for body in wire:
            client.send_message(body=body)
        client.quit()
    assert [m.body for m in backend.messages] == wire


# What no MTA minds: a dot between NULs, however, is refused (see LOOKALIKES).
ALL_BYTES = bytes(b for b in range(256) if b not in b"\r\n")
PECULIAR = {
    "empty": b"",
    "empty line": b"\r\n",
    "one dot": b"..\r\n",
    "dots only": b"..\r\n..\r\n..\r\n",
    "two dots": b"...\r\n",
    "dot at the end of a line": b"x.\r\n",
    "dots at the beginnings of lines": b"x\r\n..x\r\n.. \r\n",
    "empty lines": b"\r\n\r\n\r\n",
    "one long line": b"a" * 100000 + b"\r\n",
    "all bytes": ALL_BYTES * 300 + b"\r\n",
    "commands": b"QUIT\r\nSTARTTLS\r\nMAIL FROM:<x@y>\r\nXCLIENT ADDR=1.2.3.4\r\nEHLO x\r\n",
    "dot and command": b"..\r\nMAIL FROM:<x@y>\r\n",
}


@pytest.mark.parametrize("kind", PECULIAR)
def test_peculiar_body_arrives_byte_exact(wrap, backend, pki, kind):
    body = PECULIAR[kind]
    with Client.secured(wrap(backend).address, context(pki)) as client:
        client.send_message(body=body)
        assert client.command("NOOP").code == 250
        client.quit()
    assert [m.body for m in backend.messages] == [body]


# Bare newlines that no MTA takes for the end of the message.
HARMLESS = [b"a\nb\r\n", b"a\rb\r\n", b"a\n\nb\r\n", b"a\r\rb\r\n", b"a\n.b\r\n", b"a\n..\nb\r\n",
            b"a\r\n.b\n\r\n", b"a.\nb\r\n", b"\n\r\n", b"a\r\r\n", b"a\0b\r\n", b"\0\r\n\0\r\n"]

# A dot alone between two of these is an end of data for one MTA or another.
LOOKALIKES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r",
              b"\r.\n", b"\r\n.\0\r\n", b"\r\n\0.\r\n"]
SMUGGLED = b"MAIL FROM:<admin@victim.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nevil\r\n"


@pytest.mark.parametrize("mode", [None, "refuse", "pass"])
@pytest.mark.parametrize("body", HARMLESS)
def test_harmless_bare_newline_arrives_byte_exact(wrap, backend, pki, body, mode):
    with Client.secured(wrap(backend, bareNewline=mode).address, context(pki)) as client:
        client.send_message(body=body)
        client.quit()
    assert [m.body for m in backend.messages] == [body]


@pytest.mark.parametrize("mode", [None, "refuse"])
@pytest.mark.parametrize("lookalike", LOOKALIKES)
def test_lookalike_is_refused_and_the_message_abandoned(wrap, backend, pki, lookalike, mode):
    proxy = wrap(backend, bareNewline=mode)
    with Client.secured(proxy.address, context(pki)) as client:
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b"text" + lookalike + SMUGGLED + b"\r\n.\r\n")
        assert client.read_reply().code == 521
        client.read_to_end()
        assert client.end == "close_notify"
    assert backend.ended().messages == []
    assert lookalike not in backend.ended().received
    assert b"evil" not in backend.ended().received
    assert proxy.summary()["outcome"] == "refused"


def test_lookalike_at_the_very_beginning_is_refused(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b".\n" + SMUGGLED + b"\r\n.\r\n")
        assert client.read_reply().code == 521
    assert backend.ended().messages == []


@pytest.mark.parametrize("where", [16382, 16383, 16384, 16385, 65533, 65534, 65535, 65536, 131072])
def test_lookalike_across_a_block_boundary_is_refused(wrap, backend, pki, where):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b"x" * where + b"\n.\n" + SMUGGLED + b"\r\n.\r\n")
        assert client.read_reply().code == 521
    assert backend.ended().messages == []


def test_lookalike_in_pieces_is_refused_wherever_it_is_cut(wrap, backend, pki):
    for lookalike in LOOKALIKES[:3]:
        for cut in range(1, len(lookalike)):
            number = len(backend.sessions)
            with Client.secured(wrap(backend).address, context(pki)) as client:
                client.envelope()
                assert client.command("DATA").code == 354
                client.send(b"text" + lookalike[:cut])
                # The part before the cut has arrived: what precedes the look-alike is there.
                client.send(lookalike[cut:] + b"more\r\n.\r\n")
                assert client.read_reply().code == 521
            assert backend.ended(number).messages == []


@pytest.mark.parametrize("lookalike", LOOKALIKES)
def test_lookalike_passes_byte_exact_when_the_administrator_wants_it(wrap, backend, pki, lookalike):
    body = b"text" + lookalike + b"more\r\n"
    with Client.secured(wrap(backend, bareNewline="pass").address, context(pki)) as client:
        client.send_message(body=body)
        client.quit()
    assert [m.body for m in backend.messages] == [body]


@pytest.mark.parametrize("lookalike", LOOKALIKES)
def test_normalized_lookalike_is_text_for_every_backend(wrap, backend, pki, lookalike):
    with Client.secured(wrap(backend, bareNewline="normalize").address, context(pki)) as client:
        client.send_message(body=b"text" + lookalike + b"more\r\n")
        assert client.command("NOOP").code == 250
        client.quit()
    body = b"\r\n" + backend.messages[0].body
    assert len(backend.messages) == 1
    assert body.startswith(b"\r\ntext") and body.endswith(b"more\r\n")
    assert not [bad for bad in LOOKALIKES if bad in body]


def test_normalize_turns_bare_lf_into_crlf(wrap, backend, pki):
    with Client.secured(wrap(backend, bareNewline="normalize").address, context(pki)) as client:
        client.send_message(body=b"one\ntwo\n\nthree\r\n" + b"y" * 70000 + b"\nend\r\n")
        client.quit()
    assert backend.messages[0].body == (
        b"one\r\ntwo\r\n\r\nthree\r\n" + b"y" * 70000 + b"\r\nend\r\n")


def test_normalize_leaves_a_clean_message_alone(wrap, backend, pki):
    clean = [b"a" + bytes(range(14, 256)) + b"\r\n..\r\n\r\n", b"", b"..\r\n", b"z" * 200000 + b"\r\n"]
    with Client.secured(wrap(backend, bareNewline="normalize").address, context(pki)) as client:
        for body in clean:
            client.send_message(body=body)
        client.quit()
    assert [m.body for m in backend.messages] == clean


def test_end_of_data_is_found_wherever_it_is_cut(wrap, backend, pki):
    """Each piece is a TLS record of its own, and the backend has seen the part before it."""
    end = b"line\r\n.\r\n"
    with Client.secured(wrap(backend).address, context(pki)) as client:
        for first in range(1, len(end)):
            for second in range(first, len(end)):
                client.envelope()
                assert client.command("DATA").code == 354
                for piece in (end[:first], end[first:second], end[second:]):
                    if piece:
                        client.send(piece)
                assert client.read_reply().code == 250
                assert client.command("NOOP").code == 250
        client.quit()
    assert {m.body for m in backend.messages} == {b"line\r\n"}


def test_eight_mebibytes_of_random_bytes_arrive_byte_exact(wrap, backend, pki):
    data = random.Random(8).randbytes(8 << 20)
    body = stuffed(data.translate(None, b"\r\0").replace(b"\n", b"\r\n")) + b"\r\n"
    with Client.secured(wrap(backend).address, context(pki)) as client:
        client.send_message(body=body)
        client.quit()
    assert backend.messages[0].body == body


@pytest.mark.parametrize("code", [b"451 4.3.0 no space\r\n", b"554-5.5.0 no\r\n554 5.5.0 valid\r\n"])
def test_data_refused_by_backend_is_passed_on_and_the_session_goes_on(wrap, pki, code):
    with Backend(replies={"DATA": code}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            client.envelope()
            assert client.command("DATA").raw == code
            assert client.command("RSET").code == 250
            client.quit()


@pytest.mark.parametrize("verdict", [b"550 5.7.1 spam\r\n", b"250-2.0.0 a\r\n250 2.0.0 b\r\n",
                                     b"452 4.2.2 full\r\n"])
def test_verdict_on_the_message_is_passed_on_unchanged(wrap, pki, verdict):
    with Backend(replies={".": verdict}) as backend:
        proxy = wrap(backend)
        with Client.secured(proxy.address, context(pki)) as client:
            client.envelope()
            assert client.command("DATA").code == 354
            client.send(b"x\r\n.\r\n")
            assert client.read_reply().raw == verdict
            client.quit()
        assert proxy.summary()["accepted"] == ("1" if verdict.startswith(b"2") else "0")


def test_body_pipelined_behind_data_is_not_taken_for_commands(wrap, backend, pki):
    """A client that does not wait for the 354; what it sends is message all the same."""
    with Client.secured(wrap(backend).address, context(pki)) as client:
        client.envelope()
        client.send(b"DATA\r\nQUIT\r\nSTARTTLS\r\n.\r\nNOOP\r\n")
        assert [client.read_reply().code for _ in range(3)] == [354, 250, 250]
        client.quit()
    assert backend.messages[0].body == b"QUIT\r\nSTARTTLS\r\n"


def test_large_reply_arrives_byte_exact(wrap, pki):
    reply = b"".join(b"214-%05d %s\r\n" % (n, b"h" * (n % 400)) for n in range(310)) + b"214 end\r\n"
    assert 50000 < len(reply) < 65536
    with Backend(replies={"HELP": reply}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            assert client.command("HELP").raw == reply
            client.quit()


def test_client_that_vanishes_in_the_body_leaves_no_message(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b"half a message\r\n")
    assert backend.ended().messages == []
    assert proxy.summary()["outcome"] == "lost"
