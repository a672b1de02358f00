# SPDX-License-Identifier: ISC
"""The process that forks the workers of a service: what it is for, and what its end costs."""

import os
import signal
import time

import net
import procfs
import pytest
from ehlock import Ehlock, global_part, section
from load import Load, Sink
from net import DEADLINE, free_port, wait_until
from smtp_client import Client, context


def deliver(address, pki):
    with Client.secured(address, context(pki)) as client:
        client.send_message()
        client.quit()


def test_every_service_has_one_and_its_workers_are_its_children(tmp_path, pki, backend):
    common = {"connect": net.text_of(backend.address), "protocol": "smtp",
              "cert": pki.ecdsa.cert, "key": pki.ecdsa.key, "spareWorkers": 3}
    text = global_part() + "".join(
        section(name, accept=net.text_of(("127.0.0.1", free_port())), **common)
        for name in ("a", "b"))
    with Ehlock(tmp_path, text) as proxy:
        for name in ("a", "b"):
            wait_until(lambda: len(proxy.workers(name)) == 3, "its workers")
            zygote, = proxy.zygotes(name)
            assert set(procfs.children(zygote)) == set(proxy.workers(name))
        family = proxy.descendants()
        proxy.stop()
        assert all(procfs.is_gone(pid) for pid in family)


@pytest.mark.skipif(os.geteuid() != 0, reason="transparent sockets need root")
def test_workers_with_sockets_of_root_are_forked_by_the_master(wrap, backend):
    proxy = wrap(backend, identity="transparent", spareWorkers=2)
    wait_until(lambda: len(proxy.workers()) == 2, "its workers")
    assert proxy.zygotes() == []
    assert set(proxy.workers()) < set(procfs.children(proxy.pid))


@pytest.mark.parametrize("per_worker", [1, 10])
def test_its_death_costs_no_session(wrap, backend, pki, per_worker):
    proxy = wrap(backend, spareWorkers=3, connectionsPerWorker=per_worker)
    with Client.secured(proxy.address, context(pki)) as client:
        idle, (zygote,) = set(proxy.workers()), proxy.zygotes()
        os.kill(zygote, signal.SIGKILL)
        proxy.wait_log(rf"service=smtp zygote {zygote} was killed by signal 9 \(Killed\)")
        deliver(proxy.address, pki)
        wait_until(lambda: proxy.zygotes() and proxy.zygotes() != [zygote], "another one")
        wait_until(lambda: len(idle & set(proxy.workers())) == 1, "its idle workers end")
        client.send_message()
        client.quit()
    assert proxy.summary(2)["outcome"] == "done"
    wait_until(lambda: not idle & set(proxy.workers()) and len(proxy.workers()) >= 3,
               "the new workers alone")
    wait_until(lambda: not proxy.zombies(), "the last zombie's end")
    assert proxy.count_log("error:") == 1


def test_one_that_stands_still_is_replaced(wrap, backend, pki):
    """The master waits for it, ten seconds; clients wait meanwhile, or meet those who are there."""
    proxy = wrap(backend, spareWorkers=1)
    zygote, = proxy.zygotes()
    os.kill(zygote, signal.SIGSTOP)
    deliver(proxy.address, pki)
    with Client(proxy.address, greet=False, timeout=3 * DEADLINE) as client:
        assert client.read_reply().code == 220
        client.quit()
    proxy.wait_log(rf"service=smtp zygote {zygote} was killed by signal 9")
    assert proxy.process.poll() is None and zygote not in proxy.zygotes()


def test_crash_of_a_worker_is_in_the_log_though_nobody_comes(wrap, backend):
    proxy = wrap(backend, spareWorkers=2)
    wait_until(lambda: len(proxy.workers()) == 2, "its workers")
    time.sleep(1.5)                 # all that the start had to do is done
    victim = proxy.workers()[0]
    os.kill(victim, signal.SIGKILL)
    proxy.wait_log(rf"service=smtp client=- worker {victim} was killed by signal 9")
    wait_until(lambda: len(proxy.workers()) == 2 and not proxy.zombies(), "another worker")


def test_places_of_workers_that_have_ended_are_free_at_once(wrap, backend, pki):
    """Nobody has heard of their ends when they are needed."""
    proxy = wrap(backend, spareWorkers=1, maxConnections=1)
    begin = time.monotonic()
    for n in range(1, 21):
        with Client(proxy.address) as client:
            client.quit()
        assert proxy.summary(n)["outcome"] == "done"
    assert time.monotonic() - begin < 10, "somebody was waited for each time"


def test_all_spare_workers_are_there_from_the_start(wrap, backend):
    """More than there are in one order."""
    zygote, = wrap(backend, spareWorkers=70).zygotes()
    assert len(procfs.children(zygote)) == 70


def test_master_that_stands_still_for_a_moment_keeps_it(tmp_path, pki):
    """Its waiting is interrupted then, though it has no handler (signal(7))."""
    with Sink() as sink, Ehlock.wrap(tmp_path, sink.address, pki.ecdsa, spareWorkers=1) as proxy:
        zygotes = proxy.zygotes()
        with Load(proxy.address[1], clients=8, seconds=3):
            for _ in range(300):
                os.kill(proxy.pid, signal.SIGSTOP)
                os.kill(proxy.pid, signal.SIGCONT)
                time.sleep(0.01)            # where it is then is what is tried
        assert proxy.zygotes() == zygotes


def test_workers_after_a_reload_that_failed_have_the_log_that_is_there(tmp_path, pki, backend):
    address, broken = ("127.0.0.1", free_port()), tmp_path / "broken.pem"
    log = tmp_path / "log"
    good = global_part(output=log) + section(
        "smtp", accept=net.text_of(address), protocol="smtp", spareWorkers=1,
        connect=net.text_of(backend.address), cert=pki.ecdsa.cert, key=pki.ecdsa.key)
    with Ehlock(tmp_path, good) as proxy:
        log.rename(tmp_path / "log.1")
        broken.write_text("no certificate\n")
        proxy.rewrite(good.replace(str(pki.ecdsa.cert), str(broken)))
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.exists() and "not reloaded" in log.read_text(), "the refusal")
        for _ in range(5):
            deliver(address, pki)
        wait_until(lambda: log.read_text().count("outcome=") == 5, "the sessions' lines")


def test_reload_and_new_certificates_make_a_new_one(wrap, backend, pki):
    proxy = wrap(backend, spareWorkers=2)
    old = proxy.zygotes()
    proxy.reload()
    wait_until(lambda: len(proxy.zygotes()) == 1 and old[0] not in proxy.zygotes(), "another one")
    old = proxy.zygotes()
    proxy.process.send_signal(signal.SIGUSR1)       # the log is opened again: all are replaced
    wait_until(lambda: len(proxy.zygotes()) == 1 and old[0] not in proxy.zygotes(), "another one")
    deliver(proxy.address, pki)


def test_it_ends_with_the_master(wrap, backend):
    proxy = wrap(backend, spareWorkers=2)
    family = proxy.zygotes() + proxy.workers()
    assert len(family) >= 2
    os.kill(proxy.pid, signal.SIGKILL)
    wait_until(lambda: all(procfs.is_gone(pid) for pid in family), "all of them")
    proxy.kill()
