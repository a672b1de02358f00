# SPDX-License-Identifier: ISC
"""Command pipelining (RFC 2920)."""

import time

import pytest
from backend import Backend
from smtp_client import Client, context

GROUP = (b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\n"
         b"RCPT TO:<d@example.org>\r\nDATA\r\n")


@pytest.fixture(params=["clear", "secured"])
def client(request, wrap, backend, pki):
    address = wrap(backend).address
    if request.param == "clear":
        client = Client(address)
        client.ehlo()
    else:
        client = Client.secured(address, context(pki))
    with client:
        yield client


def test_group_is_answered_in_order(client, backend):
    client.send(GROUP)
    assert [client.read_reply().code for _ in range(5)] == [250, 250, 250, 250, 354]
    client.send(b"text\r\n.\r\nQUIT\r\n")
    assert [client.read_reply().code for _ in range(2)] == [250, 221]
    assert len(backend.messages[0].rcpts) == 3


def test_replies_to_a_group_leave_in_one_write(client):
    client.send(GROUP)
    first = client.receive()
    assert first.count(b"\r\n") == 5 and first.endswith(b"354 go ahead\r\n")


def test_two_whole_transactions_in_one_write(client, backend):
    whole = GROUP + b"one\r\n.\r\n" + GROUP + b"two\r\n.\r\n" + b"QUIT\r\n"
    client.send(whole)
    codes = [client.read_reply().code for _ in range(13)]
    assert codes == [250, 250, 250, 250, 354, 250] * 2 + [221]
    assert [m.body for m in backend.messages] == [b"one\r\n", b"two\r\n"]


def test_refusals_in_a_group_keep_their_places(wrap, pki):
    def rcpt(peer, line):
        return b"550 5.1.1 no " + line[-3:-1] + b"\r\n" if b"bad" in line else None

    with Backend(replies={"RCPT": rcpt, "DATA": b"503 5.5.1 nobody\r\n"}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            client.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<bad@xb1>\r\nFOO\r\nSTARTTLS\r\n"
                        b"XCLIENT ADDR=1.2.3.4\r\nRCPT TO:<bad@xb2>\r\nDATA\r\nQUIT\r\n")
            replies = [client.read_reply() for _ in range(8)]
        assert [r.code for r in replies] == [250, 550, 502, 503, 550, 550, 503, 221]
        assert replies[1].text.endswith("b1") and replies[5].text.endswith("b2")


def test_starttls_may_be_the_last_of_a_group(wrap, backend, pki):
    with Client(wrap(backend).address) as client:
        client.send(b"EHLO client.example.org\r\nRSET\r\nNOOP\r\nSTARTTLS\r\n")
        assert [client.read_reply().code for _ in range(4)] == [250, 250, 250, 220]
        client.handshake(context(pki))
        client.ehlo()
        client.send_message()
        client.quit()
    assert len(backend.messages) == 1


def test_thousand_recipients_in_one_write(client, backend):
    rcpts = b"".join(b"RCPT TO:<user%d@example.org>\r\n" % n for n in range(1000))
    client.send(b"MAIL FROM:<a@example.org>\r\n" + rcpts + b"DATA\r\n")
    assert [client.read_reply().code for _ in range(1002)] == [250] * 1001 + [354]
    client.send(b"text\r\n.\r\n")
    assert client.read_reply().code == 250
    client.quit()
    assert backend.messages[0].rcpts == [b"TO:<user%d@example.org>" % n for n in range(1000)]


def test_client_that_reads_nothing_until_it_has_sent_all_is_served(wrap, backend, pki):
    """Neither side may wait for the other for ever."""
    with Client(wrap(backend).address) as client:
        rounds = 300
        client.ehlo()
        client.send((GROUP + b"x" * 3000 + b"\r\n.\r\n") * rounds)
        codes = [client.read_reply().code for _ in range(6 * rounds)]
        assert codes == [250, 250, 250, 250, 354, 250] * rounds
        client.quit()
    assert len(backend.messages) == rounds


def test_replies_to_a_group_leave_one_by_one_where_the_backend_is_slow(wrap):
    """Five minutes of patience are for each (RFC 5321 §4.5.3.2), not for a hundred recipients."""
    def slow(peer, line):
        time.sleep(2)

    with Backend(replies={"RCPT": slow}) as backend, Client(wrap(backend).address) as client:
        client.ehlo()
        client.send(b"MAIL FROM:<a@example.org>\r\n"
                    + b"RCPT TO:<b@example.org>\r\n" * 5 + b"NOOP\r\n")
        assert client.read_reply().code == 250
        first = time.monotonic()
        assert [client.read_reply().code for _ in range(6)] == [250] * 6
        assert time.monotonic() - first > 2, "all at once, after ten seconds"
        client.quit()
