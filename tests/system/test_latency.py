# SPDX-License-Identifier: ISC
"""No stall anywhere: one write per turn, no Nagle, no delayed acknowledgement waited for."""

import time

import ehlock
import pytest
from smtp_client import Client, context

# The sanitizers and Python's own time are in it; 40 ms is what one stall costs.
LIMIT = 0.080 if ehlock.sanitized() else 0.020
ROUNDS = 25


def usual(session):
    """Seconds: what a fifth of the rounds are faster than. A stall is in every round, and what a busy
    machine adds is not."""
    times = []
    for _ in range(ROUNDS):
        start = time.monotonic()
        session()
        times.append(time.monotonic() - start)
    return sorted(times)[ROUNDS // 5]


@pytest.mark.parametrize("reuse", [1, 100])
def test_lock_step_session_under_tls_takes_no_stall(wrap, backend, pki, reuse):
    proxy = wrap(backend, connectionsPerWorker=reuse)
    ctx = context(pki)

    def session():
        with Client.secured(proxy.address, ctx) as client:
            client.send_message(body=b"Subject: x\r\n\r\ntext\r\n")
            client.quit()
            client.read_to_end()

    assert usual(session) < LIMIT


def test_lock_step_session_in_clear_takes_no_stall(wrap, backend):
    proxy = wrap(backend)

    def session():
        with Client(proxy.address) as client:
            client.ehlo()
            client.send_message(body=b"Subject: x\r\n\r\ntext\r\n")
            client.quit()
            client.read_to_end()

    assert usual(session) < LIMIT


def test_end_of_message_in_a_packet_of_its_own_takes_no_stall(wrap, backend, pki):
    """Two small writes in a row are what Nagle's algorithm and delayed ACKs punish."""
    proxy = wrap(backend, connectionsPerWorker=100)
    with Client.secured(proxy.address, context(pki)) as client:
        def transaction():
            client.envelope()
            client.command("DATA")
            client.send(b"text\r\n")
            client.send(b".\r\n")
            assert client.read_reply().code == 250
        assert usual(transaction) < LIMIT
        client.quit()


def test_chunks_and_their_commands_take_no_stall(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        def transaction():
            client.envelope()
            for part in (b"BDAT 3000\r\n", b"x" * 3000, b"BDAT 0 LAST\r\n"):
                client.send(part)
            assert [client.read_reply().code for _ in range(2)] == [250, 250]
        assert usual(transaction) < LIMIT
        client.quit()
