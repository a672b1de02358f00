# SPDX-License-Identifier: ISC
"""tlsLevel = none | may | encrypt."""

import pytest
from backend import KEYWORDS, Backend
from smtp_client import Client, context

REFUSED = ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA", "BDAT 3 LAST",
           "VRFY bob", "EXPN list", "ETRN example.org", "AUTH PLAIN AGEAYg==", "FOO"]


@pytest.mark.parametrize("line", REFUSED)
def test_encrypt_refuses_command_in_clear_with_530(wrap, backend, line):
    with Client(wrap(backend, tlsLevel="encrypt").address) as client:
        client.ehlo()
        client.send_line(line)
        if line.startswith("BDAT"):
            client.send(b"abc")
        assert client.read_reply().raw.startswith(b"530 5.7.0 ")
        # What follows is still understood: nothing was mistaken for something else.
        client.quit()
    assert backend.ended().commands[0] == b"EHLO client.example.org"
    assert line.encode() not in backend.commands
    assert not backend.messages


@pytest.mark.parametrize("line", ["EHLO x.example.org", "HELO x.example.org", "NOOP", "RSET", "HELP"])
def test_encrypt_allows_harmless_command_in_clear(wrap, backend, line):
    with Client(wrap(backend, tlsLevel="encrypt").address) as client:
        assert client.command(line).code == 250
        client.quit()


def test_encrypt_without_enhanced_codes_at_backend_uses_plain_530(wrap):
    with Backend(keywords=["SIZE 1", "DSN"]) as backend:
        with Client(wrap(backend, tlsLevel="encrypt").address) as client:
            client.ehlo()
            reply = client.command("MAIL FROM:<a@example.org>")
            assert reply.code == 530 and not reply.text.startswith("5.7.0")
            client.quit()


def test_encrypt_refuses_a_pipelined_group_reply_by_reply(wrap, backend):
    with Client(wrap(backend, tlsLevel="encrypt").address) as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nQUIT\r\n")
        assert [client.read_reply().code for _ in range(4)] == [530, 530, 530, 221]
    assert not [c for c in backend.ended().commands if c.startswith((b"MAIL", b"RCPT", b"DATA"))]


def test_encrypt_lets_everything_pass_under_tls(wrap, backend, pki):
    with Client.secured(wrap(backend, tlsLevel="encrypt").address, context(pki)) as client:
        assert client.keywords == KEYWORDS
        client.send_message()
        client.quit()
    assert len(backend.messages) == 1


def test_may_is_the_default_and_serves_both_kinds(wrap, backend, pki):
    proxy = wrap(backend, tlsLevel=None)
    with Client(proxy.address) as client:
        client.ehlo()
        client.send_message(body=b"clear\r\n")
        client.quit()
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message(body=b"secured\r\n")
        client.quit()
    assert [m.body for m in backend.messages] == [b"clear\r\n", b"secured\r\n"]


def test_none_offers_no_tls_and_passes_mail(wrap, backend):
    with Client(wrap(backend, tlsLevel="none").address) as client:
        assert "STARTTLS" not in client.ehlo()
        assert client.command("STARTTLS").code >= 500
        client.send_message(body=b"clear\r\n")
        client.quit()
    assert backend.messages[0].body == b"clear\r\n"
