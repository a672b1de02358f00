# SPDX-License-Identifier: ISC
"""Descriptors, memory, processes, disk, syslogd: what is lacking costs no more than it must, and
when it is there again everything goes on by itself."""

import errno
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import ehlock
import net
import procfs
import pytest
from backend import Backend, ScriptedBackend
from ehlock import Ehlock, global_part, sanitized, section
from net import wait_until
from smtp_client import Client, Closed, context

NO_MORE = 1     # byte of memory: to the kernel 0 is no limit as long as the hard one is kept

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can limit and mount")


def service(leaf, backend, address, name="smtp", **more):
    return section(name, **{"accept": net.text_of(address), "protocol": "smtp", "spareWorkers": 3,
                            "connect": net.text_of(backend.address), "cert": leaf.cert,
                            "key": leaf.key, **more})


def local():
    return ("127.0.0.1", net.free_port())


def deliver(address, pki, timeout=net.DEADLINE):
    with Client.secured(address, context(pki), timeout=timeout) as client:
        client.send_message()
        client.quit()


def family_of(proxy):
    return [proxy.pid, *proxy.descendants()]


def assert_calm(proxy, seconds=1.5):
    """For a while nobody spins, neither in the processor nor in the log."""
    wait_until(lambda: not proxy.zombies(), "those before are counted")
    before, lines, start = procfs.cpu_seconds(family_of(proxy)), len(proxy.lines), time.monotonic()
    time.sleep(seconds)                     # the span that is measured
    used = procfs.cpu_seconds(family_of(proxy)) - before
    seconds, more = time.monotonic() - start, proxy.lines[lines:]
    assert used < 0.4 * seconds, f"{used:.2f} s of CPU time in {seconds} s"
    assert len(more) < 10 * seconds, "much in the log:\n" + "\n".join(more)


def for_everybody(directory, leaf):
    """A copy of the files that an unprivileged user can read."""
    for source in (leaf.cert, leaf.key):
        shutil.copy(source, directory / source.name)
        (directory / source.name).chmod(0o644)
    return type(leaf)(directory / leaf.cert.name, directory / leaf.key.name, leaf.names)


def as_user(uid):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


# -- descriptors

@needs_root
def test_unprivileged_program_works_within_a_low_limit_of_descriptors(public_dir, pki, backend):
    address, leaf = local(), for_everybody(public_dir, pki.ecdsa)
    text = global_part() + service(leaf, backend, address)
    command = ["prlimit", "--nofile=40:40", *as_user(64901)]
    with Ehlock(public_dir, text, command=command) as proxy:
        for _ in range(6):
            deliver(address, pki)
        for pid in proxy.workers():
            assert procfs.prlimit(pid, resource.RLIMIT_NOFILE)[1] <= 40
        proxy.stop()                        # deaths are heard of a moment later
        assert "error" not in proxy.log, proxy.log


def test_start_without_descriptors_is_refused_with_a_reason(tmp_path, pki, backend):
    path = tmp_path / "c.conf"
    path.write_text(global_part() + "".join(
        service(pki.ecdsa, backend, local(), name=f"s{n}") for n in range(8)))
    for limit in range(6, 28, 4):
        done = subprocess.run(["prlimit", f"--nofile={limit}:{limit}", str(ehlock.program()),
                               str(path)], capture_output=True, text=True, timeout=net.DEADLINE,
                              env=ehlock.environment())
        assert done.returncode in (71, 78), f"limit {limit}: {done.returncode} {done.stderr}"
        assert "open files" in done.stderr, f"limit {limit}: {done.stderr}"


@needs_root
def test_master_without_descriptors_declines_to_reload_and_goes_on(tmp_path, pki, backend):
    address = local()
    text = global_part() + service(pki.ecdsa, backend, address)
    with Ehlock(tmp_path, text) as proxy:
        proxy.reload()
        wait_until(lambda: len(proxy.keepers()) == 1 and not proxy.zombies(),
                   "the new keeper alone")
        before = procfs.descriptors(proxy.pid)
        highest = max(int(fd) for fd in os.listdir(f"/proc/{proxy.pid}/fd"))
        # Each of these is too few at another point of the reload.
        for room in range(0, len(before) + 2, 3):
            with procfs.Limit([proxy.pid], resource.RLIMIT_NOFILE, highest + 1 + room):
                said = proxy.reload()
            if "not reloaded" in said:
                wait_until(lambda: procfs.descriptors(proxy.pid) == before,
                           f"nothing is left behind with room for {room}")
                assert room or "open files" in proxy.log
            deliver(address, pki)
        assert "1 service" in proxy.reload()
        deliver(address, pki)


@needs_root
def test_worker_without_descriptors_lets_clients_wait_or_answers_421(tmp_path, pki, backend):
    address = local()
    with Ehlock(tmp_path, global_part() + service(pki.ecdsa, backend, address)) as proxy:
        # Each worker tries once in vain: it is in accept(2) already, and its descriptor is spent.
        old = proxy.wait_workers(3)
        with procfs.Limit(old, resource.RLIMIT_NOFILE, 3):
            with Client(address, greet=False) as client:
                assert_calm(proxy)
                client.sock.settimeout(0.2)
                try:
                    rest = client.read_to_end()
                    assert rest == b"" or rest.startswith(b"421 "), rest
                except socket.timeout:
                    pass                    # it waits in the queue
        deliver(address, pki)
        # Enough for the client, and not for the backend.
        old += proxy.workers()
        proxy.reload()
        wait_until(lambda: len(proxy.workers()) == 3 and not set(old) & set(proxy.workers()),
                   "new workers")
        poor = proxy.workers()
        for pid in poor:
            used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
            free = [fd for fd in range(max(used) + 2) if fd not in used]
            hard = procfs.prlimit(pid, resource.RLIMIT_NOFILE)[1]
            procfs.prlimit(pid, resource.RLIMIT_NOFILE, (free[0] + 1, hard))
        with Client(address, greet=False) as client:
            assert client.read_to_end().startswith(b"421 "), "a worker with one descriptor"
        proxy.wait_log("backend .*: Too many open files")
        while set(poor) & set(proxy.workers()):     # the others are as poor, and they go
            Client(address, greet=False).close()
        deliver(address, pki)


# -- memory

def test_endless_reply_costs_its_session_only(tmp_path, pki):
    address = local()

    def scene(peer):
        peer.send(b"220 ready\r\n")
        peer.keep = False
        peer.expect(b"EHLO")
        try:
            while True:
                peer.send(b"250-" + b"x" * 8000 + b"\r\n")
        except OSError:
            pass
    with ScriptedBackend(scene) as backend:
        text = global_part() + service(pki.ecdsa, backend, address, maxReplySize=16777216)
        with Ehlock(tmp_path, text) as proxy:
            for _ in range(2):
                with Client(address) as client:
                    client.send_line("EHLO client.example.org")
                    rest = client.read_to_end()
                    assert b"421 " in rest[-200:], rest[-200:]
            proxy.stop()                    # deaths are heard of a moment later
            assert "killed" not in proxy.log and "ended with status" not in proxy.log, proxy.log


if not sanitized():     # sanitizers take terabytes of address space before anything begins
    @needs_root
    def test_worker_without_memory_costs_its_session_only(tmp_path, pki, backend):
        address = local()
        with Ehlock(tmp_path, global_part() + service(pki.ecdsa, backend, address)) as proxy:
            poor = proxy.wait_workers(3)
            with procfs.Limit(poor, resource.RLIMIT_DATA, NO_MORE):
                def one_more_served():
                    """Not by a poor worker each time: those that follow the dead are not poor."""
                    try:
                        with Client(address, greet=False) as client:
                            client.read_reply()
                            client.ehlo()
                            client.starttls(context(pki))
                    except (Closed, OSError, AssertionError):
                        pass                # how far a worker comes on what it has is its luck
                    return not set(poor) & set(proxy.workers())
                wait_until(one_more_served, "the end of the poor ones")
                assert_calm(proxy)
            for _ in range(4):
                deliver(address, pki)

    @needs_root
    @pytest.mark.parametrize("secured", (False, True))
    def test_client_of_a_worker_without_memory_is_told_421(tmp_path, pki, secured):
        """It has half a megabyte from the start; the reply to the first DATA is longer than that."""
        address = local()

        def long_reply(session, command):
            return (b"354-" + b"x" * 990 + b"\r\n") * 2000 + b"354 go ahead\r\n" \
                if session.number == 0 else None
        with Backend(replies={"DATA": long_reply}) as backend, Ehlock(
                tmp_path, global_part() + service(pki.ecdsa, backend, address, spareWorkers=1,
                                                  bareNewline="normalize", maxReplySize=4194304)
        ) as proxy:
            worker, = proxy.wait_workers(1)
            with Client(address) as client:
                client.ehlo()
                if secured:
                    client.starttls(context(pki))
                    client.ehlo()
                with procfs.Limit([worker], resource.RLIMIT_DATA, NO_MORE):
                    for command in ("MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>"):
                        assert client.command(command).code == 250
                    client.send_line("DATA")
                    replies = client.read_to_end().splitlines()
            assert replies[-1].startswith(b"421 4.3.2 "), replies
            assert b"Out of memory" in replies[-1]
            line = proxy.summary()
            assert (line["outcome"], line["reason"]) == ("lost", "out of memory")
            assert backend.messages == []
            deliver(address, pki)

    @needs_root
    def test_master_without_memory_declines_to_reload_and_goes_on(tmp_path, pki, backend):
        address = local()
        cert, key = tmp_path / "live.pem", tmp_path / "live-key.pem"
        shutil.copy(pki.ecdsa.cert, cert)
        shutil.copy(pki.ecdsa.key, key)
        leaf = type(pki.ecdsa)(cert, key, pki.ecdsa.names)
        with Ehlock(tmp_path, global_part() + service(leaf, backend, address)) as proxy:
            size = procfs.status_number(proxy.pid, "VmSize") * 1024
            with procfs.Limit([proxy.pid], resource.RLIMIT_AS, size):
                assert "out of memory" in proxy.reload()
                for pid in proxy.keepers():
                    os.kill(pid, signal.SIGKILL)
                shutil.copy(pki.ecdsa.key, key)
                proxy.wait_log("no keeper, so no new TLS sessions: out of memory")
                with Client(address) as client:
                    client.ehlo()
                    assert client.command("STARTTLS").code == 454
                    client.send_message()
                    client.quit()
                assert_calm(proxy)
            wait_until(proxy.keepers, "a keeper again")
            proxy.wait_log("there is a keeper again")
            # Those that inherited the limit have to go first.
            wait_until(lambda: all(procfs.prlimit(pid, resource.RLIMIT_AS)[0] != size
                                   for pid in poor_or_none(proxy, address)), "workers without it")
            deliver(address, pki)
            assert "1 service" in proxy.reload()
            deliver(address, pki)

    def poor_or_none(proxy, address):
        """The workers, after one more of them was used up."""
        with Client(address, greet=False) as client:
            client.read_to_end() if client.send_line("QUIT") else None
        return proxy.workers()


# -- processes

@needs_root
def test_full_process_table_lets_clients_wait_and_is_over_when_it_is_over(public_dir, pki,
                                                                                 backend):
    uid = 64902     # whose processes are ours alone: the limit counts those of the user
    address, leaf = local(), for_everybody(public_dir, pki.ecdsa)
    text = global_part() + service(leaf, backend, address)
    with Ehlock(public_dir, text, command=as_user(uid)) as proxy:
        with procfs.Limit([proxy.pid, *proxy.zygotes()], resource.RLIMIT_NPROC, 1):
            for _ in range(3):              # those who are there already serve
                deliver(address, pki)
            proxy.wait_log(r"service=smtp fork: Resource temporarily unavailable")
            waiting = Client(address, greet=False)
            assert "not reloaded" in proxy.reload()
            for pid in proxy.keepers():
                os.kill(pid, signal.SIGKILL)
            proxy.wait_log("no keeper")
            assert_calm(proxy)
        assert waiting.read_reply().code == 220
        waiting.quit()
        waiting.close()
        proxy.wait_log("there is a keeper again")
        deliver(address, pki)
        assert "1 service" in proxy.reload()
        wait_until(lambda: len(proxy.workers()) == 3, "all spare workers")
        deliver(address, pki)


# -- disk and pipes

@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_log_that_takes_nothing_stops_nobody(tmp_path, pki, backend):
    address = local()
    text = global_part(output="/dev/full") + service(pki.ecdsa, backend, address)
    with Ehlock(tmp_path, text) as proxy:
        for _ in range(5):
            deliver(address, pki)
        assert_calm(proxy)


@needs_root
def test_full_disk_loses_lines_and_nothing_else(tmp_path, pki, backend):
    disk, address = tmp_path / "disk", local()
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        log, ballast = disk / "log", disk / "ballast"
        text = global_part(output=log) + service(pki.ecdsa, backend, address)
        with Ehlock(tmp_path, text) as proxy:
            deliver(address, pki)
            with open(ballast, "wb", 0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
            size = -1
            while size != log.stat().st_size:           # the last page fills up, too
                size = log.stat().st_size
                for _ in range(8):
                    deliver(address, pki)
            assert_calm(proxy)
            ballast.unlink()
            before = log.read_text().count("outcome=done")
            deliver(address, pki)
            wait_until(lambda: log.read_text().count("outcome=done") > before, "a new line")
            for line in log.read_text().splitlines()[-1:]:
                assert re.match(r"\d{4}-\d\d-\d\dT\S+Z ehlock\[\d+\]: \w+: service=", line), line
    finally:
        subprocess.run(["umount", disk], check=True)


def test_reader_of_standard_error_that_does_not_read_stops_nobody(tmp_path, pki, backend):
    address, config = local(), tmp_path / "c.conf"
    config.write_text(global_part() + service(pki.ecdsa, backend, address))
    out, inlet = os.pipe()
    flags = fcntl.fcntl(inlet, fcntl.F_GETFL)
    fcntl.fcntl(inlet, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        while True:
            os.write(inlet, b"x" * 65536)
    except BlockingIOError:
        pass
    fcntl.fcntl(inlet, fcntl.F_SETFL, flags)
    process = subprocess.Popen([str(ehlock.program()), str(config)], stderr=inlet,
                               stdin=subprocess.DEVNULL, env=ehlock.environment())
    os.close(inlet)
    try:
        wait_until(lambda: procfs.listening(address[1]), "it listens")
        for _ in range(6):
            deliver(address, pki)
        process.send_signal(signal.SIGHUP)
        for _ in range(6):
            deliver(address, pki)
        # When somebody reads again the lines come again.
        text = b""
        os.set_blocking(out, False)

        def reads():
            nonlocal text
            try:
                text += os.read(out, 1 << 20).replace(b"x" * 64, b"")
            except BlockingIOError:
                deliver(address, pki)
            return b"outcome=done" in text
        wait_until(reads, "a line in the pipe")
        process.send_signal(signal.SIGTERM)
        assert process.wait(net.DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(out)


# -- syslog

class Syslogd:
    """Listens where a private /dev/log points to."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = None

    def start(self, backlog_only=False):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self.socket.settimeout(net.DEADLINE)
        return self

    def stop(self):
        self.socket.close()
        os.unlink(self.path)

    def wait_for(self, pattern):
        while True:
            line = self.socket.recv(65536)
            if re.search(pattern, line):
                return line

    def drain(self):
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(65536)
        except BlockingIOError:
            self.socket.settimeout(net.DEADLINE)


def with_private_dev(tmp_path):
    """A command prefix for a /dev of one's own, in which log leads to tmp_path/log."""
    (tmp_path / "dev").mkdir()
    return ["unshare", "-m", "sh", "-c",
            'mount -t tmpfs none "$0/dev" && '
            'cp -a /dev/null /dev/zero /dev/random /dev/urandom "$0/dev" && '
            'ln -s "$0/log" "$0/dev/log" && mount --bind "$0/dev" /dev && exec "$@"', str(tmp_path)]


@needs_root
@pytest.mark.parametrize("per_worker", [1, 100])
def test_syslogd_that_is_gone_and_comes_back_gets_new_lines(tmp_path, pki, backend, per_worker):
    address, syslogd = local(), Syslogd(tmp_path / "log")
    text = global_part(syslog=True) + service(pki.ecdsa, backend, address,
                                              connectionsPerWorker=per_worker)
    with Ehlock(tmp_path, text, command=with_private_dev(tmp_path)) as proxy:
        master = proxy.pid
        deliver(address, pki)               # nobody has ever listened
        syslogd.start()
        proxy.wait_log("there is a new syslogd")
        syslogd.wait_for(rb"there is a new syslogd")
        for _ in range(2):
            with Client.secured(address, context(pki)) as in_flight:
                syslogd.stop()
                for _ in range(4):
                    deliver(address, pki)
                assert_calm(proxy)
                before = proxy.count_log("there is a new syslogd")
                syslogd.start()
                wait_until(lambda: proxy.count_log("there is a new syslogd") > before,
                           "the new syslogd is noticed")
                in_flight.send_message()
                in_flight.quit()
            syslogd.wait_for(rb"there is a new syslogd")
            deliver(address, pki)
            syslogd.wait_for(rb"outcome=done")
        # Workers that serve many sessions stay after a peak of busy ones.
        wait_until(lambda: len(proxy.workers()) <= 6 and len(proxy.keepers()) == 1,
                   "those with the old connection are gone")
        assert proxy.pid == master
        proxy.stop()                        # deaths are heard of a moment later
        assert not re.search("astray|killed|ended with status", proxy.log), proxy.log


@needs_root
def test_syslogd_that_does_not_read_stops_nobody(tmp_path, pki, backend):
    address, syslogd = local(), Syslogd(tmp_path / "log").start()
    text = global_part(syslog=True) + service(pki.ecdsa, backend, address)
    with Ehlock(tmp_path, text, command=with_private_dev(tmp_path)) as proxy:
        for _ in range(20):                 # a queue of this kind holds about ten lines
            with Client(address) as client:
                client.quit()
        assert_calm(proxy)
        deliver(address, pki)
        syslogd.drain()
        deliver(address, pki)
        syslogd.wait_for(rb"outcome=done")
    syslogd.stop()
