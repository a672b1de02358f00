# SPDX-License-Identifier: ISC
"""trace = yes: one Received header in front of each message (RFC 5321 §4.4, RFC 3848)."""

import email
import email.policy
import email.utils
import re
import ssl
import time

import pytest
from backend import Backend
from ehlock import run, section
from smtp_client import Client, context

FORM = re.compile(
    r"from (?P<helo>\S+)( \((?P<address>\[[^\]]+\])\))?( \(helo=(?P<remark>[^()]*)\))? "
    r"by (?P<by>\S+) \(ehlock\) with (?P<word>\w+)"
    r"( \(version=(?P<version>\S+) cipher=(?P<cipher>\S+) bits=(?P<bits>\d+)\))?; (?P<date>.*)")

BODY = b"Subject: x\r\nFrom: a@example.org\r\n\r\ntext\r\n"


@pytest.fixture
def proxy(wrap, backend):
    return wrap(backend, trace="yes")


def cut(message, body, separated=False):
    """The header's parts; behind it must be exactly the body (and an empty line in between)."""
    got = message.body
    rest = (b"\r\n" if separated else b"") + body
    assert got.endswith(rest), got
    header = got[:len(got) - len(rest)]
    assert header.startswith(b"Received: from ") and header.endswith(b"\r\n")
    lines = header[:-2].split(b"\r\n")
    assert all(line.startswith(b"\t") for line in lines[1:]) and b"\n" not in b"".join(lines)
    assert all(len(line) <= 78 for line in lines)
    parsed = email.message_from_bytes(header, policy=email.policy.default)
    assert parsed.keys() == ["Received"] and not parsed.defects
    match = FORM.fullmatch(b" ".join(line.strip() for line in lines)[len(b"Received: "):].decode())
    assert match, header
    parts = match.groupdict()
    when = email.utils.parsedate_to_datetime(parts["date"])
    assert when.utcoffset().total_seconds() == 0 and abs(when.timestamp() - time.time()) < 120
    return parts


def bdat(client, data, last=True):
    client.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
    return client.read_reply()


def test_there_is_no_header_unless_it_is_asked_for(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        client.send_message(body=BODY)
        client.quit()
    assert backend.messages[0].body == BODY


@pytest.mark.parametrize("version, word", [(ssl.TLSVersion.TLSv1_2, "TLS1.2"),
                                           (ssl.TLSVersion.TLSv1_3, "TLS1.3")])
def test_header_tells_the_tls_that_was_used(proxy, backend, pki, version, word):
    ctx = context(pki, minimum=version, maximum=version)
    with Client.secured(proxy.address, ctx) as client:
        bits = client.tls.cipher()[2]
        client.send_message(body=BODY)
        client.quit()
    parts = cut(backend.messages[0], BODY)
    assert (parts["helo"], parts["address"]) == ("client.example.org", "[127.0.0.1]")
    assert (parts["word"], parts["version"], int(parts["bits"])) == ("ESMTPS", word, bits)
    summary = proxy.summary()
    assert (parts["version"], parts["cipher"]) == (summary["tls"], summary["cipher"])


def test_header_in_clear_tells_of_no_tls(proxy, backend):
    with Client(proxy.address) as client:
        client.ehlo()
        client.send_message(body=BODY)
        client.quit()
    parts = cut(backend.messages[0], BODY)
    assert (parts["word"], parts["version"], parts["remark"]) == ("ESMTP", None, None)


def test_header_with_tls_from_the_first_byte(wrap, backend, pki):
    with Client.implicit(wrap(backend, trace="yes", implicitTls="yes").address,
                         context(pki)) as client:
        client.ehlo()
        client.send_message(body=BODY)
        client.quit()
    parts = cut(backend.messages[0], BODY)
    assert parts["word"] == "ESMTPS" and parts["version"]


def test_header_names_this_machine_as_the_administrator_does(tmp_path, backend, pki):
    from ehlock import Ehlock
    with Ehlock.wrap(tmp_path, backend.address, pki.ecdsa, globals_={"hostname": "mx.example.org"},
                     trace="yes") as proxy:
        with Client(proxy.address) as client:
            client.ehlo()
            client.send_message(body=BODY)
            client.quit()
    assert cut(backend.messages[0], BODY)["by"] == "mx.example.org"


def test_lmtp_has_its_own_word(wrap, pki):
    with Backend(lmtp=True) as backend:
        proxy = wrap(backend, protocol="lmtp", trace="yes")
        with Client.secured(proxy.address, context(pki), lmtp=True) as client:
            client.send_message(rcpts=["a@example.org", "b@example.org"], body=BODY)
            client.quit()
    assert cut(backend.messages[0], BODY)["word"] == "LMTPS"


def test_authenticated_client_is_told_apart(wrap, pki):
    with Backend(keywords=["AUTH PLAIN"], replies={"AUTH": b"235 2.7.0 ok\r\n"}) as backend:
        with Client.secured(wrap(backend, trace="yes").address, context(pki)) as client:
            assert client.command("AUTH PLAIN AGEAYg==").code == 235
            client.send_message(body=BODY)
            client.quit()
    assert cut(backend.messages[0], BODY)["word"] == "ESMTPSA"


BODIES = [b"", b"\r\n", b"..\r\n", b"..\r\n..\r\n", b"x\r\n", b"Subject: x\r\n\r\n..\r\n.. \r\n",
          b"A" * 200_000 + b"\r\n", b"Received: from x by y; z\r\n\r\ntext\r\n",
          b"~" + bytes(b for b in range(256) if b not in b"\r\n") + b"\r\n"]


@pytest.mark.parametrize("mode", [None, "normalize", "pass"])
def test_messages_of_one_session_arrive_byte_exact_behind_their_headers(wrap, backend, pki, mode):
    bodies = [body for body in BODIES if mode != "normalize" or b"\0" not in body]
    with Client.secured(wrap(backend, trace="yes", bareNewline=mode).address,
                        context(pki)) as client:
        for body in bodies:
            client.send_message(body=body)
        client.quit()
    assert len(backend.messages) == len(bodies)
    for message, body in zip(backend.messages, bodies):
        cut(message, body)


def test_bare_newlines_pass_byte_exact_where_they_may(wrap, backend, pki):
    body = b"one\ntwo\n.\nthree\r.\rfour\r\n"
    with Client.secured(wrap(backend, trace="yes", bareNewline="pass").address,
                        context(pki)) as client:
        client.send_message(body=body)
        client.quit()
    cut(backend.messages[0], body)


@pytest.mark.parametrize("body", [b" ; evil\r\n", b"\tx\r\n", b". x\r\n", b"\0 x\r\n", b"\r x\r\n",
                                  b"\n x\r\n"])
def test_message_cannot_go_on_with_our_header(proxy, backend, pki, body):
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message(body=body)
        client.quit()
    cut(backend.messages[0], body, separated=True)


@pytest.mark.parametrize("name, remark", [
    ("a) by evil (b", "a??by?evil??b"), ("a\rBcc: x", None), ("müll.example", "m??ll.example"),
    ("a;b", "a?b"), ("x" * 600, "x" * 60), ("\x1b[31m", "?[31m")])
def test_hostile_hello_stays_in_its_comment(wrap, backend, pki, name, remark):
    with Client(wrap(backend, trace="yes").address) as client:
        reply = client.command(f"EHLO {name}")
        if reply.code != 250:   # a bare CR is no command at all
            assert remark is None and reply.code == 500
            return
        client.send_message(body=BODY)
        client.quit()
    parts = cut(backend.messages[0], BODY)
    assert (parts["helo"], parts["remark"]) == ("[127.0.0.1]", remark)


def test_first_chunk_is_larger_by_the_header(proxy, backend, pki):
    chunks = [b"Subject: x\r\n", b"\r\n.\r\nQUIT\r\n", bytes(range(256)) * 300, b""]
    with Client.secured(proxy.address, context(pki)) as client:
        for _ in range(2):
            client.envelope()
            for chunk in chunks:
                assert bdat(client, chunk, last=chunk == b"").code == 250
        client.quit()
    for message in backend.messages:
        cut(message, b"".join(chunks))
        assert message.chunks[0].endswith(chunks[0]) and message.chunks[1:] == chunks[1:]
    sizes = [int(line.split()[1]) for line in backend.commands if line.startswith(b"BDAT")]
    assert sizes == [len(chunk) for message in backend.messages for chunk in message.chunks]


def test_chunks_and_data_in_one_session_each_have_their_header(proxy, backend, pki):
    with Client.secured(proxy.address, context(pki)) as client:
        client.envelope()
        assert bdat(client, b"").code == 250
        client.send_message(body=BODY)
        client.envelope()
        assert bdat(client, b"", last=False).code == 250
        assert bdat(client, b" x\r\n").code == 250
        client.quit()
    cut(backend.messages[0], b"")
    cut(backend.messages[1], BODY)
    cut(backend.messages[2], b" x\r\n", separated=True)


def test_pipelined_transactions_are_answered_in_order(proxy, backend, pki):
    envelope = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"
    with Client.secured(proxy.address, context(pki)) as client:
        client.send((envelope + b"BDAT 3\r\nabcBDAT 2 LAST\r\nde") * 2 + envelope + b"DATA\r\n")
        codes = [client.read_reply().code for _ in range(11)]
        assert codes == [250] * 10 + [354]
        client.send(b"text\r\n.\r\nMAIL FROM:<c@example.org>\r\nQUIT\r\n")
        assert [client.read_reply().code for _ in range(3)] == [250, 250, 221]
    cut(backend.messages[0], b"abcde")
    cut(backend.messages[1], b"abcde")
    cut(backend.messages[2], b"text\r\n")


def test_message_byte_by_byte_has_its_header(wrap, backend):
    with Client(wrap(backend, trace="yes").address, piece=1) as client:
        client.ehlo()
        client.send_message(body=b"..\r\nx\r\n")
        client.envelope()
        assert bdat(client, b"\tx\r\n").code == 250
        client.quit()
    cut(backend.messages[0], b"..\r\nx\r\n")
    cut(backend.messages[1], b"\tx\r\n", separated=True)


def test_client_that_goes_before_the_message_begins_leaves_none(proxy, backend):
    with Client(proxy.address) as client:
        client.ehlo()
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b"x")
    assert proxy.summary()["outcome"] == "lost"
    assert backend.ended().messages == []


def test_lookalike_right_behind_the_header_is_refused(proxy, backend, pki):
    with Client.secured(proxy.address, context(pki)) as client:
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b".\nMAIL FROM:<evil@example.org>\r\n")
        assert client.read_reply().code == 521
    assert backend.ended().messages == []
    assert b"evil" not in backend.ended().received


def test_counters_in_the_log_are_the_clients(wrap, backend):
    counts = []
    for trace in ("no", "yes"):
        proxy = wrap(backend, trace=trace)
        with Client(proxy.address) as client:
            client.ehlo()
            client.send_message(body=BODY)
            client.quit()
        counts.append((proxy.summary()["in"], proxy.summary()["out"]))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("protocol", [None, "smtp"])
def test_trace_needs_a_protocol(tmp_path, pki, protocol):
    path = tmp_path / "ehlock.conf"
    path.write_text(section("x", accept="127.0.0.1:2525", connect="127.0.0.1:25",
                            cert=pki.ecdsa.cert, key=pki.ecdsa.key, protocol=protocol, trace="yes"))
    done = run("--check", path)
    assert (done.returncode, "trace = yes" in done.stderr) == ((78, True) if protocol is None
                                                               else (0, False))
