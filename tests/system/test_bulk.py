# SPDX-License-Identifier: ISC
"""A very large message, and very many sessions."""

import re
import threading
from pathlib import Path

import ehlock
import net
import pytest
from backend import Backend, digest_of
from net import wait_until
from smtp_client import Client, context, stuffed

BLOCK = (b"The quick brown fox jumps over the lazy dog, again and again.\r\n" * 1000
         + b"..a dot in front\r\n")
GIGABYTE = 1 << 30


def memory_kb(pid):
    """The peak of the resident memory."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
def test_gigabyte_passes_and_the_workers_memory_stays_flat(wrap, pki, verb):
    with Backend(keep=False) as backend:
        proxy = wrap(backend, spareWorkers=1)
        with Client.secured(proxy.address, context(pki)) as client:
            client.envelope()
            wait_until(lambda: len(proxy.workers()) >= 2, "the busy worker and a spare one")
            workers = proxy.workers()
            count = GIGABYTE // len(BLOCK) + 1
            if verb == "DATA":
                assert client.command("DATA").code == 354
            else:
                client.send(b"BDAT %d LAST\r\n" % (count * len(BLOCK)))
            early = 0
            for number in range(count):
                client.send(BLOCK)
                if number == 200:       # 13 MB: every buffer has its size by now
                    early = {pid: memory_kb(pid) for pid in workers}
            late = {pid: memory_kb(pid) for pid in workers}
            if verb == "DATA":
                client.send(b".\r\n")
            assert client.read_reply().code == 250
            client.quit()
        message = backend.messages[0]
        if verb == "DATA":
            assert message.size == count * len(BLOCK) >= GIGABYTE
            assert message.sha256 == digest_of(BLOCK for _ in range(count))
        else:
            assert message.chunks == [count * len(BLOCK)]
        growth = max(late[pid] - early[pid] for pid in workers)
        # The quarantine of the address sanitizer keeps freed blocks for a while.
        assert growth < (65536 if ehlock.sanitized() else 256), f"{growth} kB"
        assert int(proxy.summary()["in"]) >= GIGABYTE


def test_five_hundred_sessions_at_once_all_succeed(wrap, backend, pki):
    number = 500
    proxy = wrap(backend, spareWorkers=8, maxConnections=number)
    ctx = context(pki)
    clients, errors = [], []
    lock = threading.Lock()

    def begin(name):
        try:
            client = Client.secured(proxy.address, ctx, timeout=3 * net.DEADLINE)
            with lock:
                clients.append((name, client))
        except BaseException as error:
            errors.append(error)

    def finish(name, client):
        try:
            with client:
                client.send_message(body=b"session %d\r\n" % name)
                client.quit()
        except BaseException as error:
            errors.append(error)

    def all_at_once(target, arguments):
        threads = [threading.Thread(target=target, args=args) for args in arguments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_at_once(begin, [(n,) for n in range(number)])
    assert not errors, errors[:3]
    # All are open now, each with TLS and a backend connection of its own.
    assert len(clients) == len([s for s in backend.sessions if not s.closed.is_set()]) == number
    all_at_once(finish, clients)
    assert not errors, errors[:3]
    assert {m.body for m in backend.messages} == {b"session %d\r\n" % n for n in range(number)}
    wait_until(lambda: len(proxy.workers()) == 8, "only spare workers are left", 60)


def test_hundred_handshakes_at_the_same_instant_all_succeed(wrap, backend, pki):
    """All of them ask the keeper for its slowest signature at once."""
    number = 100
    proxy = wrap(backend, leaf=pki.rsa, spareWorkers=number, maxConnections=number)
    ctx = context(pki)
    clients = [Client(proxy.address) for _ in range(number)]
    errors = []
    for client in clients:
        client.ehlo()
        assert client.command("STARTTLS").code == 220
    gate = threading.Barrier(number)

    def shake(client):
        try:
            gate.wait()
            with client:
                client.handshake(ctx)
                client.ehlo()
                client.quit()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=shake, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, (len(errors), errors[:3])


def test_message_of_many_megabytes_passes_in_normalize_mode(wrap, pki):
    body = stuffed(BLOCK[:-len(b"..a dot in front\r\n")] * 300)
    with Backend(keep=False) as backend:
        with Client.secured(wrap(backend, bareNewline="normalize").address, context(pki)) as client:
            client.send_message(body=body)
            client.quit()
        assert backend.messages[0].sha256 == digest_of([body])
