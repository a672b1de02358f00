# SPDX-License-Identifier: ISC
"""Real mail servers without TLS behind ehlock: what they say and what they get stays the same."""

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
