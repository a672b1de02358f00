# SPDX-License-Identifier: ISC
"""Real mail clients in front of ehlock: each sends a message whole, and knows whom it speaks to."""

import pytest

import clients
from clients import CLEAR, HOSTNAME, IMPLICIT, STARTTLS, TRUST, Job
from messages import RCPT, SENDER, assert_same, assert_same_body, message, received_text


def pairs(kinds_of):
    """Parameters: each client with each of kinds_of(client)."""
    return [pytest.param(client, kind, id=f"{client.name}-{kind}")
            for client in clients.ALL for kind in kinds_of(client)]


def not_verified(client):
    return [check for check in (TRUST, HOSTNAME) if check not in client.verifies]


@pytest.fixture
def send(request, root_of, pki):
    """send(client, way, proxy): the message that was sent, and what the client said."""
    def run(kind, way, proxy, ca=None):
        root = root_of(kind)
        request.node.used_roots = [root.name]
        file = root.write("/srv/ca.pem", (ca or pki.ca).read_bytes())
        job = Job(proxy.address[1], way, file, message(kind.lines))
        return job, kind(root).send(job)

    return run


def assert_arrived(kind, recorder, job):
    assert len(recorder.messages) == 1
    arrived = recorder.messages[0]
    assert arrived.sender.split()[0] == f"FROM:<{SENDER}>".encode()
    assert [rcpt.split()[0] for rcpt in arrived.rcpts] == [f"TO:<{RCPT}>".encode()]
    if kind.own_header:
        assert_same_body(received_text(arrived), job.body)
    else:
        assert_same(received_text(arrived), job.message, kind.added)


@pytest.mark.parametrize("kind,way", pairs(lambda client: [w for w in client.ways if w != CLEAR]))
def test_message_arrives_byte_for_byte_under_tls(kind, way, send, wrap, recorder):
    proxy = wrap(recorder, implicitTls=way == IMPLICIT)
    job, done = send(kind, way, proxy)
    assert done.ok, done.output
    assert_arrived(kind, recorder, job)
    summary = proxy.summary()
    assert (summary["tls"], summary["accepted"]) == ("TLS1.3", "1")
    assert summary["outcome"] == "done", summary


@pytest.mark.parametrize("kind,check", pairs(lambda client: client.verifies))
def test_verifying_client_refuses(kind, check, send, wrap, recorder, pki):
    """So that "verified" is known to be true: a certificate of another name, or of an authority
    that the client does not trust, and otherwise the same command."""
    proxy = wrap(recorder, leaf=pki.second if check == HOSTNAME else None)
    _, done = send(kind, STARTTLS, proxy, ca=pki.other_ca if check == TRUST else None)
    assert not done.ok, done.output
    assert "certificate" in done.output.lower(), done.output
    assert not recorder.messages
    assert proxy.summary()["mail"] == "0"


@pytest.mark.parametrize("kind,check", pairs(not_verified))
def test_client_that_does_not_verify_goes_on(kind, check, send, wrap, recorder, pki):
    """swaks (names), ssmtp and dma (anything) are not able to refuse; nothing can be concluded from
    their success but that TLS works."""
    proxy = wrap(recorder, leaf=pki.second if check == HOSTNAME else None)
    job, done = send(kind, STARTTLS, proxy, ca=pki.other_ca if check == TRUST else None)
    assert done.ok, done.output
    assert_arrived(kind, recorder, job)


@pytest.mark.parametrize("kind,way", pairs(lambda client: [w for w in client.ways if w == CLEAR]))
def test_client_without_tls_goes_on_in_clear_where_it_may(kind, way, send, wrap, recorder):
    proxy = wrap(recorder, tlsLevel="may")
    job, done = send(kind, way, proxy)
    assert done.ok, done.output
    assert_arrived(kind, recorder, job)
    assert proxy.summary()["tls"] == "-"


@pytest.mark.parametrize("kind,way", pairs(lambda client: [w for w in client.ways if w == CLEAR]))
def test_client_without_tls_is_told_530_where_it_must(kind, way, send, wrap, recorder):
    proxy = wrap(recorder, tlsLevel="encrypt")
    _, done = send(kind, way, proxy)
    assert not done.ok
    assert "530" in done.output
    assert not recorder.messages
