# SPDX-License-Identifier: ISC
"""Real mail servers without TLS behind ehlock: what they say and what they get stays the same."""

import base64

import pytest

import mtas
from messages import LINES, SENDER, assert_all_same, assert_same, large, message, short, stuffed
from smtp_client import Client, context

# Never shown to the public, whoever the backend is.
ALWAYS_HIDDEN = {"STARTTLS", "XCLIENT", "XFORWARD", "PIPECONNECT", "X_PIPE_CONNECT", "REQUIRETLS"}


@pytest.fixture(scope="module", params=mtas.ALL, ids=lambda mta: mta.name)
def running(request, roots):
    """One real server, started once for all tests of this file."""
    kind = request.param
    root = roots(kind.name, kind.packages)
    mta = kind(root)
    mta.start()
    return mta


@pytest.fixture
def mta(running, request):
    request.node.used_roots = [running.root.name]
    running.clear()
    return running


@pytest.fixture
def proxy(mta, wrap):
    return wrap(mta)


def verb(keyword):
    return keyword.partition(" ")[0].partition("=")[0].upper()


def direct_keywords(mta):
    with Client(mta.address) as client:
        keywords = client.ehlo()
        client.quit()
    return keywords


def whole_message(mta):
    return message(None if mta.binary else LINES)


def test_greeting_is_the_backends_own(mta, proxy):
    with Client(mta.address) as client:
        own = client.greeting
    with Client(proxy.address) as client:
        # Some greetings contain the time or a queue identifier.
        assert client.greeting.code == own.code == 220
        assert client.greeting.text.split()[:2] == own.text.split()[:2]


def test_ehlo_keywords_are_the_backends_own_with_starttls_in_clear(mta, proxy):
    own = direct_keywords(mta)
    assert not {verb(k) for k in own} & {"STARTTLS"}, "this backend was to have no TLS"
    assert set(mta.hidden) <= {verb(k) for k in own}, "this backend was to offer what we hide"
    with Client(proxy.address) as client:
        seen = client.ehlo()
    assert [verb(k) for k in seen].count("STARTTLS") == 1
    want = [k for k in own if verb(k) not in ALWAYS_HIDDEN | {"AUTH"}]
    assert [k for k in seen if k != "STARTTLS"] == want


def test_ehlo_keywords_are_the_backends_own_without_starttls_after_tls(mta, proxy, pki):
    own = direct_keywords(mta)
    with Client.secured(proxy.address, context(pki)) as client:
        seen = client.keywords
        client.quit()
    assert seen == [k for k in own if verb(k) not in ALWAYS_HIDDEN]


def test_message_through_tls_arrives_byte_for_byte(mta, proxy, pki):
    sent = whole_message(mta)
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message(SENDER, [mta.rcpt], stuffed(sent))
        client.quit()
    assert_same(mta.arrived()[0], sent, mta.trace)
    summary = proxy.summary()
    assert (summary["outcome"], summary["tls"]) == ("done", "TLS1.3")
    assert (summary["mail"], summary["rcpt"], summary["accepted"]) == ("1", "1", "1")


def test_message_without_tls_arrives_byte_for_byte(mta, proxy):
    sent = whole_message(mta)
    with Client(proxy.address) as client:
        client.ehlo()
        client.send_message(SENDER, [mta.rcpt], stuffed(sent))
        client.quit()
    assert_same(mta.arrived()[0], sent, mta.trace)
    assert (proxy.summary()["outcome"], proxy.summary()["tls"]) == ("done", "-")


def test_several_messages_in_one_session_arrive(mta, proxy, pki):
    sent = [short(n) for n in range(5)]
    with Client.secured(proxy.address, context(pki)) as client:
        for one in sent:
            client.send_message(SENDER, [mta.rcpt], stuffed(one))
        client.quit()
    assert_all_same(mta.arrived(len(sent)), sent, mta.trace)


def test_pipelined_groups_arrive(mta, proxy, pki):
    """Two transactions whose commands come in groups (RFC 2920). Through us that works with servers
    that do not offer it as well, because they are given one command at a time."""
    assert ("PIPELINING" in {verb(k) for k in direct_keywords(mta)}) == mta.pipelining
    sent = [message(LINES), short(1)]
    group = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{mta.rcpt}>\r\nDATA\r\n".encode()
    with Client.secured(proxy.address, context(pki)) as client:
        client.send(group)
        assert [client.read_reply().code for _ in range(3)] == [250, 250, 354]
        client.send(stuffed(sent[0]) + b".\r\n" + group)
        assert [client.read_reply().code for _ in range(4)] == [250, 250, 250, 354]
        client.send(stuffed(sent[1]) + b".\r\nQUIT\r\n")
        assert [client.read_reply().code for _ in range(2)] == [250, 221]
    assert_all_same(mta.arrived(2), sent, mta.trace)


def test_large_message_arrives_byte_for_byte(mta, proxy, pki):
    sent = large()
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message(SENDER, [mta.rcpt], stuffed(sent))
        client.quit()
    assert_same(mta.arrived()[0], sent, mta.trace)


def test_message_in_chunks_arrives_byte_for_byte(mta, proxy, pki):
    """BDAT (RFC 3030). To servers that do not offer it we do not pass it, either."""
    sent = whole_message(mta)
    head, tail = sent[:1000], sent[1000:]
    with Client.secured(proxy.address, context(pki)) as client:
        assert ("CHUNKING" in {verb(k) for k in client.keywords}) == mta.chunking
        client.envelope(SENDER, [mta.rcpt])
        client.send(b"BDAT %d\r\n" % len(head) + head)
        first = client.read_reply().code
        client.send(b"BDAT %d LAST\r\n" % len(tail) + tail)
        last = client.read_reply().code
        client.quit()
    assert (first, last) == ((250, 250) if mta.chunking else (503, 503))
    if mta.chunking:
        assert_same(mta.arrived()[0], sent, mta.trace)
    assert proxy.summary()["accepted"] == str(int(mta.chunking))


def test_auth_is_hidden_in_clear_and_reaches_the_server_under_tls(mta, proxy, pki):
    shown = [k for k in direct_keywords(mta) if verb(k) == "AUTH"]
    assert shown or not mta.user
    right = base64.b64encode("\0".join(("", *(mta.user or ("x", "y")))).encode()).decode()
    wrong = base64.b64encode(b"\0tester\0another secret").decode()
    with Client(proxy.address) as client:
        assert not [k for k in client.ehlo() if verb(k) == "AUTH"]
        assert client.command(f"AUTH PLAIN {right}").code == 530
        client.quit()
    with Client.secured(proxy.address, context(pki)) as client:
        assert [k for k in client.keywords if verb(k) == "AUTH"] == shown
        if mta.user:
            assert client.command(f"AUTH PLAIN {wrong}").code == 535
            assert client.command(f"AUTH PLAIN {right}").code == 235
        client.quit()


def test_refused_recipient_is_the_backends_own_words(mta, proxy, pki):
    """An invalid address: the reply through us is the same as without us."""
    def answer(client):
        client.command(f"MAIL FROM:<{SENDER}>")
        reply = client.command("RCPT TO:<not an address")
        client.quit()
        return reply.code

    with Client(mta.address) as client:
        client.ehlo()
        want = answer(client)
    with Client.secured(proxy.address, context(pki)) as client:
        assert answer(client) == want
