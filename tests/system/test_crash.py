# SPDX-License-Identifier: ISC
"""Processes die at any moment: what that costs, and what is left behind."""

import itertools
import os
import random
import signal
import threading
import time

import net
import procfs
import pytest
from ehlock import Ehlock, global_part, processes, sanitized, section
from load import Load, Sink
from net import wait_until
from smtp_client import Client, context

SECONDS = 15 if sanitized() else 60


def service(pki, backend, address, name="smtp", **more):
    return section(name, **{"accept": net.text_of(address), "protocol": "smtp", "spareWorkers": 4,
                            "connect": net.text_of(backend.address), "cert": pki.ecdsa.cert,
                            "key": pki.ecdsa.key, **more})


def local():
    return ("127.0.0.1", net.free_port())


class Clients:
    """Sessions one after the other in some threads; remembers which failed, by their ports."""

    def __init__(self, address, pki, threads):
        self.address, self.context = address, context(pki)
        self.stopping, self.done, self.failed = threading.Event(), 0, {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * net.DEADLINE)

    def run(self):
        while not self.stopping.is_set():
            step, port = "connect", 0
            try:
                with Client(self.address, greet=False, timeout=60) as client:
                    port, step = client.sock.getsockname()[1], "greeting"
                    client.read_reply()
                    step = "EHLO"
                    client.ehlo()
                    step = "handshake"
                    client.starttls(self.context)
                    step = "message"
                    client.ehlo()
                    client.send_message()
                    client.quit()
                with self.lock:
                    self.done += 1
            except Exception as error:      # whatever it is, somebody has to answer for it
                with self.lock:
                    self.failed[port] = f"{step}: {error!r}"


def kill_looking(pid, port):
    """kill -9, but first see which client the process holds, while it stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: (procfs.stat_of(pid) or "Z")[0] in "tTZ", "it stands still")
    held = procfs.peers(pid, port)
    os.kill(pid, signal.SIGKILL)
    return held


def test_kill_of_any_child_costs_the_sessions_of_that_child_only(tmp_path, pki):
    address, dice = local(), random.Random(1)
    turns = itertools.cycle(["worker"] * 4 + ["keeper"] + ["worker"] * 4 + ["zygote"])
    explained, most_zombies = set(), 0
    kills = {"worker": 0, "keeper": 0, "zygote": 0}
    with Sink() as sink, Ehlock(tmp_path, global_part(debug="notice") + service(
            pki, sink, address)) as proxy, Clients(address, pki, 6) as clients:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            kind = next(turns)
            victims = {"worker": proxy.workers, "keeper": proxy.keepers,
                       "zygote": proxy.zygotes}[kind]()
            try:
                if victims:
                    explained |= kill_looking(dice.choice(victims), address[1])
                    kills[kind] += 1
            except ProcessLookupError:
                pass                        # it has ended by itself
            most_zombies = max(most_zombies, len(proxy.zombies()))
            time.sleep(0.1)
        clients.stopping.set()
        for thread in clients.threads:
            thread.join(2 * net.DEADLINE)
        print(f"{clients.done} sessions, {len(clients.failed)} failed, {kills} killed, "
              f"{len(explained)} of them with a client, {most_zombies} zombies at most")
        riddles = {port: why for port, why in clients.failed.items() if port not in explained}
        assert not riddles, f"failed without a kill of their worker: {riddles}\n{proxy.log}"
        assert kills["worker"] > SECONDS / 2 and kills["keeper"] > 1 and kills["zygote"] > 1, kills
        assert clients.failed, "no session was hit: the test shows nothing"
        assert clients.done > SECONDS, f"{clients.done} sessions came through"
        assert most_zombies < 30, f"{most_zombies} zombies"
        # And then everything is as before.
        wait_until(lambda: len(proxy.workers()) == 4 and len(proxy.keepers()) >= 1, "all are back")
        wait_until(lambda: not proxy.zombies(), "the last zombie's end")
        with Client.secured(address, context(pki)) as client:
            client.send_message()
            client.quit()


def test_keeper_killed_in_a_handshake_costs_nothing(tmp_path, pki, backend):
    address = local()
    with Ehlock(tmp_path, global_part() + service(pki, backend, address)) as proxy:
        for _ in range(3):
            keepers = proxy.keepers()
            for pid in keepers:
                os.kill(pid, signal.SIGSTOP)
            with Client(address) as client:
                client.ehlo()
                assert client.command("STARTTLS").code == 220
                ended = threading.Event()

                def kill_when_it_waits():
                    # The worker has asked when it sleeps in poll(2) and its client has no answer.
                    time.sleep(0.3)
                    for pid in keepers:
                        os.kill(pid, signal.SIGKILL)
                    ended.set()
                threading.Thread(target=kill_when_it_waits, daemon=True).start()
                client.handshake(context(pki))
                assert ended.is_set(), "the handshake did without a keeper"
                client.ehlo()
                client.send_message()
                client.quit()
            wait_until(proxy.keepers, "another keeper")


@pytest.mark.parametrize("kind", ["zygote", "worker"])
def test_who_dies_at_once_is_forked_more_and_more_slowly(tmp_path, pki, backend, kind):
    address = local()
    with Ehlock(tmp_path, global_part() + service(pki, backend, address)) as proxy:
        killed, end = set(), time.monotonic() + 5
        while time.monotonic() < end:
            for pid in set(proxy.zygotes() if kind == "zygote" else proxy.workers()) - killed:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                except ProcessLookupError:
                    pass
            time.sleep(0.005)
        proxy.wait_log(rf"service=smtp .*{kind} \d+ was killed by signal 9 \(Killed\)")
        proxy.wait_log(r"service=smtp workers fail at once: the next is started in \d+ ms")
        # Workers: four at the start, and four when the master has heard of it, once a second at most.
        assert 4 <= len(killed) < (20 if kind == "zygote" else 40), f"{len(killed)} were forked"
        used = procfs.cpu_seconds([proxy.pid])
        assert used < 5, f"the master used {used} s"
        # Recovery comes by itself.
        with Client.secured(address, context(pki)) as client:
            client.send_message()
            client.quit()
        wait_until(lambda: len(proxy.workers()) == 4 and not proxy.zombies(), "all spare workers")


@pytest.mark.parametrize("per_worker", [1, 100])
def test_master_is_the_same_after_very_many_sessions(tmp_path, pki, per_worker):
    """EHLOCK_TEST_SESSIONS=100000 makes them so many."""
    wanted = int(os.environ.get("EHLOCK_TEST_SESSIONS", 0))
    options = {"sessions": wanted} if wanted else {"seconds": 3 if sanitized() else 8}
    address = local()
    with Sink() as sink, Ehlock(tmp_path, global_part(debug="notice") + service(
            pki, sink, address, spareWorkers=8, connectionsPerWorker=per_worker)) as proxy:
        # Workers that serve many sessions stay after a peak, those of ended sessions included.
        most = 8 if per_worker == 1 else 64

        def settled():
            return 8 <= len(proxy.workers()) <= most and not proxy.zombies()
        with Load(address[1], clients=8, sessions=80):
            pass                            # what is taken once is taken now
        wait_until(settled, "spare workers alone")
        fds = procfs.descriptors(proxy.pid)
        memory = procfs.status_number(proxy.pid, "RssAnon")
        with Load(address[1], clients=8, **options) as load:
            pass
        wait_until(settled, "spare workers alone")
        after = procfs.status_number(proxy.pid, "RssAnon")
        print(f"{per_worker} per worker: {load.result['sessions']} sessions in "
              f"{load.result['seconds']} s, RssAnon {memory} kB, then {after} kB, "
              f"{len(fds)} descriptors, {len(proxy.keepers())} keepers")
        assert load.result["failed"] == 0, load.result
        assert load.result["truncated"] == load.result["reset"] == 0, load.result
        assert procfs.descriptors(proxy.pid) == fds
        assert after - memory < (4000 if sanitized() else 200), f"{memory} kB, then {after} kB"
        zygote, = proxy.zygotes()
        wait_until(lambda: set(procfs.children(proxy.pid)) == {zygote, *proxy.keepers()}
                   and set(procfs.children(zygote)) == set(proxy.workers()),
                   "nobody else is left")


@pytest.mark.parametrize("secured", [True, False], ids=["secured", "clear"])
def test_killed_master_leaves_sessions_to_their_end_and_its_addresses_to_the_next(
        tmp_path, pki, backend, secured):
    address, path, pid_file = local(), str(tmp_path / "sock"), tmp_path / "pid"
    text = (global_part(pid=pid_file) + service(pki, backend, address)
            + service(pki, backend, path, name="unix"))
    first = Ehlock(tmp_path, text).start()
    family = first.descendants()
    with Client.secured(address, context(pki)) if secured else Client(address) as client:
        if not secured:
            client.ehlo()
        client.envelope()
        os.kill(first.pid, signal.SIGKILL)
        first.process.wait()
        with Ehlock(tmp_path, text) as second:      # at once
            for one in (address, path):
                with Client.secured(one, context(pki)) as other:
                    other.send_message()
                    other.quit()
            wait_until(lambda: sum(pid in processes() for pid in family) == 1,
                       "nobody is left of the first but the worker with the session")
            assert client.command("DATA").code == 354
            client.send(b"late\r\n.\r\n")
            assert client.read_reply().code == 250
            client.quit()
            client.close()
            wait_until(lambda: not any(pid in processes() for pid in family), "its end")
            assert int(pid_file.read_text()) == second.pid
    first.process = None
    assert b"late\r\n" in [message.body for message in backend.messages]


def test_killed_master_can_be_started_again_at_once_again_and_again(tmp_path, pki, backend):
    address, pid_file = local(), tmp_path / "pid"
    text = global_part(pid=pid_file) + service(pki, backend, address, spareWorkers=30)
    for _ in range(3 if sanitized() else 6):
        proxy = Ehlock(tmp_path, text).start()
        with Client(address) as client:
            client.quit()
        os.kill(proxy.pid, signal.SIGKILL)
        proxy.process.wait()
        proxy.process = None
    with Ehlock(tmp_path, text):
        with Client.secured(address, context(pki)) as client:
            client.send_message()
            client.quit()
