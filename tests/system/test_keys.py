# SPDX-License-Identifier: ISC
"""Private keys live in the keeper and nowhere else."""

import os
import re
import signal
import ssl
import time

import ehlock
import procfs
import pytest
from net import wait_until
from pki import private_numbers
from smtp_client import Client, Closed, context


def memory_of(pid):
    """Every readable page of a process, one mapping at a time."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps.read().splitlines():
            fields = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)", line)
            start, end = int(fields[1], 16), int(fields[2], 16)
            if "r" not in fields[3] or fields[4] in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            # The shadow memory of sanitizers is terabytes of nothing.
            if end - start > 1 << 32:
                continue
            position = start
            while position < end:
                try:
                    mem.seek(position)
                    data = mem.read(min(end - position, 16 << 20))
                except (OSError, OverflowError, ValueError):
                    break
                if not data:
                    break
                yield data
                position += len(data)


def patterns_of(leaf):
    """Each secret number as it may lie in memory: as in the file, and in the order of limbs."""
    wanted = {}
    for name, value in private_numbers(leaf.key).items():
        # The middle of a long number: its ends may be cut or padded in one form or another.
        core = value[4:28] if len(value) >= 32 else value
        wanted[f"{name} big-endian"] = core
        wanted[f"{name} little-endian"] = core[::-1]
    pem = leaf.key.read_bytes().split(b"\n")
    wanted["PEM text"] = pem[len(pem) // 2 - 1][:40] or pem[1][:40]
    return wanted


def found_in(pid, patterns):
    hits = set()
    for data in memory_of(pid):
        hits |= {name for name, pattern in patterns.items() if pattern in data}
    return hits


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519", "pkcs1", "sec1", "combined"])
def test_key_bytes_are_in_the_keeper_and_in_no_other_process(wrap, backend, pki, kind):
    leaf = getattr(pki, kind)
    proxy = wrap(backend, leaf=leaf, spareWorkers=2, connectionsPerWorker=10)
    patterns = patterns_of(leaf)
    with Client.secured(proxy.address, context(pki)) as first, \
            Client.secured(proxy.address, context(pki)) as second:
        first.send_message()
        first.envelope()
        workers, keepers = proxy.workers(), proxy.keepers()
        assert len(workers) >= 2 and keepers
        # The test can fail: the search finds the key where it must be.
        assert any(found_in(pid, patterns) for pid in keepers)
        for pid in [*workers, proxy.pid]:
            assert found_in(pid, patterns) == set(), ehlock.processes().get(pid)
        first.command("NOOP")
        second.quit()


def test_every_process_that_is_not_the_keeper_is_searched_with_many_certificates(wrap, backend, pki):
    leaves = [pki.ecdsa, pki.rsa, pki.second, pki.ed25519]
    proxy = wrap(backend, cert=[leaf.cert for leaf in leaves], key=[leaf.key for leaf in leaves])
    patterns = {f"{leaf.cert.stem} {name}": value for leaf in leaves
                for name, value in patterns_of(leaf).items()}
    with Client.secured(proxy.address, context(pki)) as client:
        keepers = proxy.keepers()
        seen = set().union(*(found_in(pid, patterns) for pid in keepers))
        assert {name.split()[0] for name in seen} == {leaf.cert.stem for leaf in leaves}
        for pid in {*proxy.descendants(), proxy.pid} - set(keepers):
            assert found_in(pid, patterns) == set(), ehlock.processes().get(pid)
        client.quit()


def test_worker_has_no_key_file_open(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)):
        for pid in proxy.workers():
            names = procfs.names(pid)
            assert not [name for name in names if name.endswith((".pem", ".conf"))], names


def test_killed_keeper_is_replaced_and_handshakes_go_on(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as live:
        old = proxy.keepers()
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: proxy.keepers() and not set(proxy.keepers()) & set(old), "a new keeper")

        def secured():
            try:
                with Client.secured(proxy.address, context(pki)) as client:
                    client.send_message()
                    client.quit()
                return True
            except (AssertionError, OSError, Closed):   # ssl.SSLError is an OSError
                return False
        wait_until(secured, "handshakes after the keeper's death")
        # A session that has its keys already does not notice.
        live.send_message()
        live.quit()


def test_keeper_that_hangs_costs_the_handshake_its_time_and_no_more(wrap, backend, pki):
    proxy = wrap(backend, TIMEOUThandshake=2)
    keepers = proxy.keepers()
    for pid in keepers:
        os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with Client(proxy.address) as client:
            client.ehlo()
            reply = client.command("STARTTLS")
            if reply.code == 220:
                with pytest.raises((ssl.SSLError, Closed)):
                    client.handshake(context(pki))
            else:
                assert reply.code == 454
        assert time.monotonic() - start < 7
    finally:
        for pid in keepers:
            os.kill(pid, signal.SIGCONT)
    with Client.secured(proxy.address, context(pki)) as client:
        client.quit()
