# SPDX-License-Identifier: ISC
"""The log: one line for each session, words an administrator understands, no secret."""

import base64
import re
import ssl

import net
import pytest
from backend import Backend
from smtp_client import Client, Closed, context

KEYS = {"service", "client", "backend", "tls", "cipher", "group", "resumed", "sni", "outcome",
        "step", "mail", "rcpt", "accepted", "in", "out", "seconds"}


def session(client, **envelope):
    client.send_message(**envelope)
    client.quit()
    client.read_to_end()


def test_summary_of_a_tls_session_tells_everything(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        port = client.sock.getsockname()[1]
        session(client, rcpts=["a@example.org", "b@example.org"], body=b"x" * 5000 + b"\r\n")
    summary = proxy.summary()
    assert KEYS <= set(summary), KEYS - set(summary)
    assert summary["service"] == "smtp"
    assert summary["client"] == f"127.0.0.1:{port}"
    assert summary["backend"] == net.text_of(backend.address)
    assert summary["tls"] == "TLS1.3" and "AES" in summary["cipher"]
    assert summary["sni"] == "mx.example.org" and summary["resumed"] == "no"
    assert summary["outcome"] == "done"
    assert (summary["mail"], summary["rcpt"], summary["accepted"]) == ("1", "2", "1")
    assert 5000 < int(summary["in"]) < 8000
    assert 100 < int(summary["out"]) < 5000
    assert 0 <= float(summary["seconds"]) < 20


def test_summary_of_a_clear_session_has_dashes_for_tls(wrap, backend):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        session(client)
    summary = proxy.summary()
    assert [summary[key] for key in ("tls", "cipher", "group", "sni")] == ["-"] * 4
    assert summary["resumed"] in ("-", "no")
    assert summary["outcome"] == "done"


def test_counts_are_of_what_the_backend_accepted(wrap, pki):
    replies = {"RCPT": lambda peer, line: b"550 no\r\n" if b"bad" in line else None,
               ".": lambda peer, line: b"550 spam\r\n" if peer.messages else None}
    with Backend(replies=replies) as backend:
        proxy = wrap(backend)
        with Client.secured(proxy.address, context(pki)) as client:
            for _ in range(2):
                client.command("MAIL FROM:<a@example.org>")
                for rcpt in ("bad@example.org", "good@example.org", "fine@example.org"):
                    client.command(f"RCPT TO:<{rcpt}>")
                client.command("DATA")
                client.send(b"x\r\n.\r\n")
                client.read_reply()
            client.quit()
    summary = proxy.summary()
    assert (summary["mail"], summary["rcpt"], summary["accepted"]) == ("2", "4", "1")


def test_every_session_has_exactly_one_summary_whatever_its_end(wrap, backend, pki):
    proxy = wrap(backend)

    def connect_only():
        Client(proxy.address, greet=False).close()

    def reset_at_once():
        Client(proxy.address).abort()

    def quits():
        with Client(proxy.address) as client:
            client.quit()

    def breaks_handshake():
        with Client(proxy.address) as client:
            client.ehlo()
            client.command("STARTTLS")
            client.send_wire(b"nonsense\r\n\r\n")
            client.read_to_end()

    def vanishes_in_handshake():
        with Client(proxy.address) as client:
            client.ehlo()
            client.command("STARTTLS")

    def vanishes_in_data():
        with Client.secured(proxy.address, context(pki)) as client:
            client.envelope()
            client.command("DATA")

    ends = [connect_only, reset_at_once, quits, breaks_handshake, vanishes_in_handshake,
            vanishes_in_data]
    for number, end in enumerate(ends, 1):
        end()
        summary = proxy.summary(number)
        assert summary["outcome"] and summary["step"], (end.__name__, summary)
        if summary["outcome"] != "done":
            assert summary["reason"], (end.__name__, summary)
    with Client(proxy.address) as client:
        client.quit()
    proxy.summary(len(ends) + 1)
    proxy.stop()
    assert len(proxy.summaries()) == len(ends) + 1


SECRETS = ["c2VjcmV0LXBhc3N3b3Jk", "AGJvYgBzZWNyZXQtcGFzc3dvcmQ=", "secret-password",
           "secret-sender", "secret-recipient", "secret-subject"]


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.parametrize("clear", [False, True])
def test_secrets_are_never_in_the_log(wrap, pki, level, clear):
    def auth(peer, line):
        if b"LOGIN" in line:
            peer.send(b"334 UGFzc3dvcmQ6\r\n")
            peer.read_line()
        return b"535 5.7.8 no\r\n"

    assert base64.b64decode(SECRETS[0]) == b"secret-password"
    with Backend(keywords=["AUTH PLAIN LOGIN", "SIZE 1"], replies={"AUTH": auth}) as backend:
        proxy = wrap(backend, authBeforeTls=clear, globals_={"debug": level})
        client = Client(proxy.address) if clear else Client.secured(proxy.address, context(pki))
        with client:
            client.ehlo()
            client.command(f"AUTH PLAIN {SECRETS[1]}")
            client.command("AUTH LOGIN")
            client.command(SECRETS[0])
            client.command("auth plain secret-password")
            client.command("AUTHX secret-password")
            client.command("LOGIN bob secret-password")
            client.command("PASS secret-password")
            session(client, sender="secret-sender@example.org",
                    rcpts=["secret-recipient@example.org"],
                    body=b"Subject: secret-subject\r\n\r\n")
    proxy.summary()
    proxy.stop()
    for secret in SECRETS[:3]:
        assert secret not in proxy.log
    assert "secret-subject" not in proxy.log
    assert not [line for line in proxy.summaries() if "secret" in str(line)]


def test_auth_refused_in_clear_does_not_leave_the_password_in_the_log(wrap, backend):
    proxy = wrap(backend, globals_={"debug": "debug"})
    with Client(proxy.address) as client:
        client.ehlo()
        assert client.command(f"AUTH PLAIN {SECRETS[1]}").code == 530
        client.quit()
    proxy.summary()
    assert SECRETS[1] not in proxy.log


NASTY = ["\x1b[2Jcleared", "\x07bell", "\x7fdelete", "tab\there", "\x9bcsi",
         'quote" outcome=done x="', "back\\slash", "r\x08\x08\x08over"]


def assert_clean(proxy):
    for line in proxy.lines:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", line.replace("\t", "")), repr(line)


@pytest.mark.parametrize("text", NASTY)
def test_control_characters_of_the_client_are_escaped(wrap, backend, text):
    proxy = wrap(backend, globals_={"debug": "debug"})
    with Client(proxy.address) as client:
        client.send_line(f"EHLO {text}")
        client.read_reply()
        client.send_line(f"FOO{text} x")
        client.read_reply()
        client.send_line(f"MAIL FROM:<{text}@example.org>")
        client.read_reply()
        client.abort()
    summary = proxy.summary()
    proxy.stop()
    assert_clean(proxy)
    assert summary["outcome"] != "done" and len(proxy.summaries()) == 1


@pytest.mark.parametrize("text", NASTY)
def test_control_characters_of_the_backend_are_escaped(wrap, text):
    greeting = b"554 " + text.encode() + b"\r\n"
    with Backend(greeting=greeting) as backend:
        proxy = wrap(backend, globals_={"debug": "debug"})
        with Client(proxy.address) as client:
            client.quit()
    proxy.summary()
    assert_clean(proxy)
    with Backend(greeting=text.encode() + b" no reply at all\r\n") as backend:
        proxy = wrap(backend, globals_={"debug": "debug"})
        with Client(proxy.address, greet=False) as client:
            client.read_to_end()
    proxy.summary()
    assert_clean(proxy)


def test_nasty_server_name_is_escaped(wrap, backend, pki):
    """SNI is the peer's text too. Python refuses such names, so the ClientHello is mended."""
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        assert client.command("STARTTLS").code == 220
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        ctx = context()
        tls = ctx.wrap_bio(incoming, outgoing, server_hostname="aaaa-bbbb.example.org")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        assert hello.count(b"aaaa-bbbb") == 1
        client.send_wire(hello.replace(b"aaaa-bbbb", b'a\x1b[2J" o='))
        client._receive_wire()
    proxy.stop()
    assert_clean(proxy)
    assert len(proxy.summaries()) == 1


def refused(proxy, ctx, **more):
    with Client(proxy.address) as client:
        client.ehlo()
        with pytest.raises((ssl.SSLError, Closed)):
            client.starttls(ctx, **more)


def test_client_without_common_suite_is_explained(wrap, backend, pki):
    proxy = wrap(backend)
    refused(proxy, context(None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2,
                           ciphers="ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"))
    assert re.search(r"cipher|suite|common", proxy.summary()["reason"], re.I)


def test_client_that_speaks_something_else_is_explained(wrap, backend):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        client.command("STARTTLS")
        client.send_wire(b"MAIL FROM:<a@example.org>\r\n")
        client.read_to_end()
    assert re.search(r"TLS|clear|plain|packet|record|unexpected", proxy.summary()["reason"])


def test_client_that_hangs_up_in_the_handshake_is_explained(wrap, backend):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        client.command("STARTTLS")
    assert re.search(r"clos|hung up|gone|end of", proxy.summary()["reason"], re.I)
    assert "handshake" in proxy.summary()["step"].lower()


def test_ordinary_session_logs_no_error(wrap, backend):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.quit()
    proxy.summary()
    proxy.stop()
    assert not [line for line in proxy.lines if re.search(r"\b(err|error|crit)\b: ", line)]


def test_output_file_gets_the_log(wrap, backend, tmp_path):
    path = tmp_path / "out.log"
    proxy = wrap(backend, globals_={"output": path})
    with Client(proxy.address) as client:
        client.quit()
    net.wait_until(lambda: path.exists() and "outcome=done" in path.read_text(), "summary in file")
    assert proxy
