# SPDX-License-Identifier: ISC
"""protocol = lmtp (RFC 2033)."""

import time

import pytest
from backend import KEYWORDS, Backend, ScriptedBackend
from smtp_client import Client, context


def lmtp_backend(**more):
    return Backend(lmtp=True, **more)


def test_lhlo_reply_gets_starttls_and_loses_it_under_tls(wrap, pki):
    with lmtp_backend() as backend:
        with Client(wrap(backend, protocol="lmtp").address, lmtp=True) as client:
            assert client.ehlo()[0:1] == ["STARTTLS"] or "STARTTLS" in client.ehlo()
            client.starttls(context(pki))
            assert client.ehlo() == KEYWORDS
            client.quit()
        assert backend.commands[-3:] == [b"RSET", b"LHLO client.example.org", b"QUIT"]


def test_one_reply_for_each_recipient_after_data(wrap, pki):
    with lmtp_backend() as backend:
        with Client.secured(wrap(backend, protocol="lmtp").address, context(pki), lmtp=True) as client:
            client.envelope(rcpts=["one@example.org", "two@example.org", "three@example.org"])
            assert client.command("DATA").code == 354
            client.send(b"text\r\n.\r\n")
            texts = [client.read_reply().text for _ in range(3)]
            assert ["one" in texts[0], "two" in texts[1], "three" in texts[2]] == [True] * 3
            assert client.command("NOOP").text.endswith("ok")
            client.quit()
        assert backend.messages[0].body == b"text\r\n"


def test_replies_are_counted_by_accepted_recipients_only(wrap, pki):
    def rcpt(peer, line):
        return b"550 5.1.1 unknown\r\n" if b"bad" in line else None

    with lmtp_backend(replies={"RCPT": rcpt}) as backend:
        with Client.secured(wrap(backend, protocol="lmtp").address, context(pki), lmtp=True) as client:
            assert client.command("MAIL FROM:<a@example.org>").code == 250
            assert client.command("RCPT TO:<good@example.org>").code == 250
            assert client.command("RCPT TO:<bad@example.org>").code == 550
            assert client.command("RCPT TO:<fine@example.org>").code == 250
            client.send(b"DATA\r\ntext\r\n.\r\nNOOP\r\n")
            codes = [client.read_reply() for _ in range(4)]
            assert [reply.code for reply in codes] == [354, 250, 250, 250]
            assert "good" in codes[1].text and "fine" in codes[2].text
            assert "delivered" not in codes[3].text
            client.quit()


def test_recipients_of_an_earlier_transaction_do_not_count(wrap, pki):
    with lmtp_backend() as backend:
        with Client.secured(wrap(backend, protocol="lmtp").address, context(pki), lmtp=True) as client:
            client.envelope(rcpts=["one@example.org", "two@example.org"])
            assert client.command("RSET").code == 250
            client.send_message(rcpts=["three@example.org"])
            client.send_message(rcpts=["four@example.org", "five@example.org"])
            assert "ok" in client.command("NOOP").text
            client.quit()


def test_mixed_verdicts_are_passed_on_in_order(wrap, pki):
    verdicts = b"250 2.1.5 in\r\n550-5.7.1 no\r\n550 5.7.1 way\r\n452 4.2.2 full\r\n"
    with lmtp_backend(replies={".": verdicts}) as backend:
        with Client.secured(wrap(backend, protocol="lmtp").address, context(pki), lmtp=True) as client:
            client.envelope(rcpts=["a@example.org", "b@example.org", "c@example.org"])
            assert client.command("DATA").code == 354
            client.send(b".\r\n")
            assert b"".join(client.read_reply().raw for _ in range(3)) == verdicts
            client.quit()


def test_one_reply_for_each_recipient_after_last_chunk(wrap, pki):
    with lmtp_backend() as backend:
        with Client.secured(wrap(backend, protocol="lmtp").address, context(pki), lmtp=True) as client:
            client.envelope(rcpts=["one@example.org", "two@example.org"])
            client.send(b"BDAT 3\r\nabcBDAT 3 LAST\r\ndef")
            replies = [client.read_reply() for _ in range(3)]
            assert [r.code for r in replies] == [250, 250, 250]
            assert "one" in replies[1].text and "two" in replies[2].text
            assert client.command("NOOP").code == 250
            client.quit()
        assert backend.messages[0].body == b"abcdef"


@pytest.mark.parametrize("line", ["EHLO client.example.org", "HELO client.example.org"])
def test_smtp_hello_is_refused_and_offers_nothing(wrap, line):
    with lmtp_backend() as backend:
        with Client(wrap(backend, protocol="lmtp").address, lmtp=True) as client:
            reply = client.command(line)
            assert reply.code in (500, 502) and "STARTTLS" not in reply.text
            client.ehlo()
            client.quit()


def test_lmtp_hello_is_refused_by_smtp(wrap, backend):
    with Client(wrap(backend).address) as client:
        reply = client.command("LHLO client.example.org")
        assert reply.code in (500, 502) and "STARTTLS" not in reply.text
        client.ehlo()
        client.quit()


def test_lmtp_through_a_unix_socket_backend(wrap, pki, public_dir):
    with lmtp_backend(address=str(public_dir / "lmtp.sock")) as backend:
        with Client.secured(wrap(backend, protocol="lmtp").address, context(pki), lmtp=True) as client:
            client.send_message(body=b"unix\r\n")
            client.quit()
        assert backend.messages[0].body == b"unix\r\n"


def test_reply_for_a_recipient_does_not_wait_for_the_next(wrap):
    """The backend takes its time for each: the client's patience is for one."""
    def scene(peer):
        peer.send(b"220 lmtp\r\n")
        for verb, reply in ((b"LHLO", b"250 lmtp\r\n"), (b"MAIL", b"250 ok\r\n"),
                            (b"RCPT", b"250 ok\r\n"), (b"RCPT", b"250 ok\r\n"),
                            (b"DATA", b"354 go\r\n"), (b".\r\n", b"250 one\r\n")):
            peer.expect(verb)
            peer.send(reply)
        time.sleep(3)
        peer.send(b"250 two\r\n")
        peer.expect(b"QUIT")
        peer.send(b"221 bye\r\n")

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend, protocol="lmtp").address, lmtp=True) as client:
            client.ehlo()
            client.envelope(rcpts=["one@example.org", "two@example.org"])
            assert client.command("DATA").code == 354
            client.send(b".\r\n")
            assert client.read_reply().text == "one"
            first = time.monotonic()
            assert client.read_reply().text == "two"
            assert time.monotonic() - first > 1
            client.quit()
