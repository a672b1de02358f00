# SPDX-License-Identifier: ISC
"""Reading the configuration and the certificates again, and stopping, under every circumstance."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import ehlock
import net
import procfs
import pytest
from backend import Backend
from ehlock import Ehlock, global_part, sanitized, section
from load import Load, Sink
from net import wait_until
from pki import Leaf
from smtp_client import Client, context


def service(name, leaf, backend, accept, **more):
    accept = [net.text_of(one) for one in (accept if isinstance(accept, list) else [accept])]
    return section(name, **{"accept": accept, "protocol": "smtp", "spareWorkers": 3,
                            "connect": net.text_of(backend.address), "cert": leaf.cert,
                            "key": leaf.key, **more})


def local():
    return ("127.0.0.1", net.free_port())


def refused(address):
    try:
        net.connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except ConnectionResetError:        # it is being closed
        return False
    return False


def deliver(address, pki, **more):
    with Client.secured(address, context(pki), **more) as client:
        client.send_message()
        client.quit()


def ends(client):
    """What the server says to the end, and how it ended."""
    rest = client.read_to_end()
    return rest, client.end


# -- what changes

@pytest.mark.parametrize("way", ["signal", "command"])
def test_changed_options_hold_for_new_sessions_and_old_ones_go_on(tmp_path, pki, backend, way):
    address = local()
    top = global_part(pid=tmp_path / "pid")
    with Ehlock(tmp_path, top + service("smtp", pki.ecdsa, backend, address)) as proxy:
        with Client(address) as old:
            old.ehlo()
            text = top + service("smtp", pki.ecdsa, backend, address, tlsLevel="encrypt",
                                 hideCapability="/^DSN/")
            if way == "signal":
                assert "1 service" in proxy.reload(text)
            else:
                proxy.rewrite(text)
                done = ehlock.run("--reload", proxy.config)
                assert done.returncode == 0, done.stderr
                proxy.wait_log("reloaded: 1 service")
            with Client(address) as new:
                assert "DSN" not in new.ehlo()
                assert new.command("MAIL FROM:<a@example.org>").code == 530
                new.quit()
            assert "DSN" in old.ehlo()
            old.send_message()
            assert old.starttls(context(pki)), "the old session cannot begin TLS any more"
            assert "DSN" in old.ehlo()
            old.send_message()
            old.quit()
    assert len(backend.messages) == 2


def test_services_that_are_added_open_and_those_that_are_gone_close(tmp_path, pki, backend):
    first, second, path = local(), local(), str(tmp_path / "sock")
    one = service("one", pki.ecdsa, backend, [first, path])
    two = service("two", pki.second, backend, second)
    with Ehlock(tmp_path, global_part() + one) as proxy:
        assert refused(second)
        assert "2 services" in proxy.reload(global_part() + one + two)
        deliver(second, pki, server_hostname="mail.example.net")
        with Client.secured(first, context(pki)) as client:
            assert "1 service" in proxy.reload(global_part() + two)
            wait_until(lambda: refused(first) and refused(path), "the first service is closed")
            assert not os.path.exists(path), "its Unix socket is left behind"
            deliver(second, pki, server_hostname="mail.example.net")
            client.send_message()
            client.quit()
        wait_until(lambda: not proxy.workers("one"), "the workers of the old service end")
    assert len(backend.messages) == 3


def test_session_under_the_old_configuration_is_listed_and_told_to_end_with_the_rest(
        tmp_path, pki, backend):
    address = local()
    text = global_part(TIMEOUTdrain=0) + service("smtp", pki.ecdsa, backend, address)
    with Ehlock(tmp_path, text) as proxy:
        with Client.secured(address, context(pki)) as client:
            proxy.reload()
            os.kill(proxy.pid, signal.SIGUSR2)
            proxy.wait_log(r"before the reload.* busy=1")
            os.kill(proxy.pid, signal.SIGTERM)
            rest, end = ends(client)
            assert rest.startswith(b"421 ") and end == "close_notify", (rest, end)


def test_log_settings_change(tmp_path, pki, backend):
    address, old_log, new_log = local(), tmp_path / "old.log", tmp_path / "new.log"

    def text(log, level):
        return (global_part(output=log, debug=level, foreground="quiet", syslog=False)
                + service("smtp", pki.ecdsa, backend, address))
    config = tmp_path / "c.conf"
    config.write_text(text(old_log, "notice"))
    process = subprocess.Popen([str(ehlock.program()), str(config)], env=ehlock.environment())
    try:
        wait_until(lambda: old_log.exists() and "ready" in old_log.read_text(), "ready")
        with Client(address) as in_flight:
            config.write_text(text(new_log, "info"))
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: new_log.exists() and "reloaded" in new_log.read_text(),
                       "the new file has the news")
            deliver(address, pki)
            wait_until(lambda: "outcome=done" in new_log.read_text(), "summary in the new file")
            assert " connected" in new_log.read_text(), "the level did not change"
            assert " connected" not in old_log.read_text()
            in_flight.quit()
        wait_until(lambda: "outcome=done" in old_log.read_text(), "the old session's summary")

        def keepers_log_to_the_new_file():
            keepers = [pid for pid, (parent, title) in ehlock.processes().items()
                       if parent == process.pid and "keeper" in title]
            try:
                names = [os.readlink(f"/proc/{pid}/fd/{fd}") for pid in keepers
                         for fd in os.listdir(f"/proc/{pid}/fd")]
            except FileNotFoundError:  # that of the old session ends just now
                return False
            return str(new_log) in names and str(old_log) not in names
        wait_until(keepers_log_to_the_new_file, "keepers log where they should")
    finally:
        process.terminate()
        assert process.wait(net.DEADLINE) == 0


# -- listeners that stay

@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_client_that_waits_in_the_queue_is_served_after_the_reload(tmp_path, pki, backend, kind):
    address = local() if kind == "tcp" else str(tmp_path / "sock")
    text = global_part() + service("smtp", pki.ecdsa, backend, address)
    with Ehlock(tmp_path, text) as proxy:
        stopped = proxy.wait_workers(3)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(procfs.stat_of(pid)[0] == "T" for pid in stopped), "stopped workers")
        client = Client(address, greet=False)     # the kernel has it, and nobody has accepted it
        inode = os.stat(address).st_ino if kind == "unix" else procfs.listening(address[1])
        proxy.reload()
        assert client.read_reply().code == 220
        client.quit()
        client.close()
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: all(procfs.is_gone(pid) for pid in stopped), "the end of the old workers")
        if kind == "unix":
            assert os.stat(address).st_ino == inode, "the socket was made anew"
        else:
            assert procfs.listening(address[1]) == inode, "the port was opened anew"
    assert kind == "tcp" or not os.path.exists(address), "the Unix socket is left behind"


def test_listener_stays_through_any_number_of_neighbours(tmp_path, pki, backend):
    """Several listeners wait in another way than one: what they share must suit whoever is left."""
    address, neighbour, path = local(), local(), str(tmp_path / "sock")
    alone = global_part() + service("smtp", pki.ecdsa, backend, address)
    with Ehlock(tmp_path, alone) as proxy:
        inode = procfs.listening(address[1])
        for accept in ([address, neighbour], address, [neighbour, address, path], address):
            proxy.reload(global_part() + service("smtp", pki.ecdsa, backend, accept))
            for one in accept if isinstance(accept, list) else [accept]:
                for _ in range(4):      # more than there are spare workers
                    deliver(one, pki)
            assert procfs.listening(address[1]) == inode
        wait_until(lambda: refused(neighbour), "nobody listens there")
        assert not os.path.exists(path)
        wait_until(lambda: len(proxy.workers()) == 3, "the new workers alone")
        before, start = procfs.cpu_seconds(proxy.workers()), time.monotonic()
        deliver(address, pki)
        assert " accept: " not in proxy.log, proxy.log
        time.sleep(0.5)                 # a span to be measured, not an event to be waited for
        used = procfs.cpu_seconds(proxy.workers()) - before
        assert used < 0.3 * (time.monotonic() - start), f"idle workers used {used} s"


# -- what is wrong

def test_broken_configuration_is_named_and_the_old_one_stays(tmp_path, pki, backend):
    address, other = local(), local()
    good = global_part() + service("smtp", pki.ecdsa, backend, address)
    missing = Leaf(tmp_path / "nowhere.pem", pki.ecdsa.key)
    cases = {
        "an unknown option": (good + "nonsense = 1\n", "nonsense", "nonsense"),
        "a missing certificate": (global_part() + service("smtp", missing, backend, address),
                                  "cert = ", "nowhere.pem"),
        "a key that does not fit": (global_part() + service("smtp", pki.mismatched, backend,
                                                            address), "key = ", "is not the key"),
        "no directory for the log": (global_part(output=tmp_path / "no" / "log") + service(
            "smtp", pki.ecdsa, backend, address), "output = ", "No such file"),
        "an unknown user": (global_part(setuid="nobody-at-all") + service(
            "smtp", pki.ecdsa, backend, address), "setuid = ", "setuid"),
    }
    with Ehlock(tmp_path, good) as proxy:
        before = procfs.descriptors(proxy.pid)
        for what, (text, row, words) in cases.items():
            seen = len(proxy.lines)
            said = proxy.reload(text)
            assert "the old configuration stays" in said, f"{what}: {said}"
            number = [n for n, line in enumerate(text.splitlines(), 1) if line.startswith(row)][-1]
            complaints = [line for line in proxy.lines[seen:]
                          if f"{proxy.config}:{number}:" in line and words in line]
            assert complaints, f"{what}: nothing names line {number}:\n{proxy.log}"
            with Client.secured(address, context(pki)) as client:
                client.quit()
        wait_until(lambda: procfs.descriptors(proxy.pid) == before,
                   "no descriptor is left of what failed")
        assert "2 services" in proxy.reload(good + service("two", pki.ecdsa, backend, other))
        deliver(other, pki)


def test_port_that_is_taken_is_named_and_nothing_of_the_new_configuration_is_left(
        tmp_path, pki, backend):
    address, extra, fresh, taken = local(), local(), local(), local()
    path = str(tmp_path / "sock")
    good = global_part() + service("smtp", pki.ecdsa, backend, address)
    # The service that stays would wait for several listeners: it must not have learned that yet.
    text = (global_part() + service("smtp", pki.rsa, backend, [address, extra, path])
            + service("fresh", pki.ecdsa, backend, fresh)
            + service("late", pki.ecdsa, backend, taken))
    with Ehlock(tmp_path, good) as proxy, net.listen(taken) as holder:
        before = procfs.descriptors(proxy.pid)
        said = proxy.reload(text)
        number = text.splitlines().index(f"accept = {net.text_of(taken)}") + 1
        assert f"{proxy.config}:{number}:" in said and "in use" in said, said
        assert refused(fresh) and refused(extra) and not os.path.exists(path)
        wait_until(lambda: procfs.descriptors(proxy.pid) == before, "no descriptor is left")
        for _ in range(8):
            deliver(address, pki)
        assert " accept: " not in proxy.log, proxy.log
        wait_until(lambda: len(proxy.keepers()) == 1, "the keeper of the old configuration alone")
        holder.close()
        assert "3 services" in proxy.reload(text)
        for one in (address, extra, path, fresh, taken):
            deliver(one, pki)


def test_reload_command_checks_before_it_tells_anybody(tmp_path, pki, backend):
    address = local()
    top = global_part(pid=tmp_path / "pid")
    with Ehlock(tmp_path, top + service("smtp", pki.ecdsa, backend, address)) as proxy:
        proxy.rewrite(top + service("smtp", pki.mismatched, backend, address))
        done = ehlock.run("--reload", proxy.config)
        assert done.returncode == 78 and "is not the key" in done.stderr, done.stderr
        proxy.rewrite(top + "nonsense = 1\n")
        done = ehlock.run("--reload", proxy.config)
        assert done.returncode == 78 and f"{proxy.config}:" in done.stderr, done.stderr
        os.kill(proxy.pid, signal.SIGUSR2)
        proxy.wait_log("idle=")
        assert not proxy.count_log("reloaded"), "it was told all the same"
        deliver(address, pki)


# -- certificates without a signal

class Pair:
    """Certificate and key files that change."""

    def __init__(self, directory, leaf):
        self.leaf = Leaf(Path(directory) / "live.pem", Path(directory) / "live-key.pem")
        self.put_cert(leaf)
        self.put_key(leaf)

    def put_cert(self, leaf):
        self.leaf.cert.write_bytes(leaf.cert.read_bytes())

    def put_key(self, leaf):
        fresh = self.leaf.key.with_suffix(".new")
        shutil.copy(leaf.key, fresh)
        fresh.rename(self.leaf.key)


def unnamed(pki):
    ctx = context(pki)
    ctx.check_hostname = False
    return ctx


def served(address, pki):
    with Client.secured(address, unnamed(pki), server_hostname=None) as client:
        names = client.peer_names
        client.quit()
    return names


def test_changed_certificate_files_are_picked_up_and_never_a_half_pair(tmp_path, pki, backend):
    address, pair = local(), Pair(tmp_path, pki.ecdsa)
    with Ehlock(tmp_path, global_part() + service("smtp", pair.leaf, backend, address)) as proxy:
        assert served(address, pki) == pki.ecdsa.names
        pair.put_cert(pki.second)           # and the key comes much later
        proxy.wait_log(r"cannot be used, the old ones stay: .*is not the key")
        for _ in range(4):
            assert served(address, pki) == pki.ecdsa.names
        with Client.secured(address, unnamed(pki), server_hostname=None) as in_flight:
            pair.put_key(pki.second)
            proxy.wait_log("have been read again")
            for _ in range(8):
                assert served(address, pki) == pki.second.names, "an old worker has served"
            in_flight.send_message()
            in_flight.quit()
        wait_until(lambda: len(proxy.keepers()) == 1, "the old keeper's end")
        # Both at once, with other kinds of keys; sessions never fail in between.
        for leaf in (pki.rsa, pki.ed25519, pki.third):
            pair.put_key(leaf)
            pair.put_cert(leaf)
            wait_until(lambda: served(address, pki) == leaf.names, f"{leaf.names} are served")
        proxy.stop()                        # the last summaries are there
        assert proxy.count_log("outcome=lost") == 0, proxy.log


def test_broken_certificate_file_is_told_and_the_old_one_stays(tmp_path, pki, backend):
    address, pair = local(), Pair(tmp_path, pki.ecdsa)
    with Ehlock(tmp_path, global_part() + service("smtp", pair.leaf, backend, address)) as proxy:
        whole = pki.second.cert.read_bytes()
        number = proxy.text.splitlines().index(f"cert = {pair.leaf.cert}") + 1
        for broken in (b"", whole[:len(whole) // 2]):
            before = proxy.count_log("the old ones stay")
            pair.leaf.cert.write_bytes(broken)
            wait_until(lambda: proxy.count_log("the old ones stay") > before, "a complaint")
            assert f"{proxy.config}:{number}: " in [
                line for line in proxy.lines if "the old ones stay" in line][-1]
            assert served(address, pki) == pki.ecdsa.names
        before = proxy.count_log("the old ones stay")
        pair.leaf.cert.unlink()
        wait_until(lambda: proxy.count_log("the old ones stay") > before, "a complaint")
        assert served(address, pki) == pki.ecdsa.names
        told = proxy.count_log("the old ones stay")
        pair.put_cert(pki.second)
        pair.put_key(pki.second)
        wait_until(lambda: served(address, pki) == pki.second.names, "the new pair is served")
        assert proxy.count_log("the old ones stay") <= told + 1, "the same complaint every second"


def test_keeper_of_the_old_certificates_that_dies_is_replaced_for_their_sessions(
        tmp_path, pki, backend):
    address, pair = local(), Pair(tmp_path, pki.ecdsa)
    with Ehlock(tmp_path, global_part() + service("smtp", pair.leaf, backend, address)) as proxy:
        for begin in (lambda: (pair.put_key(pki.ecdsa), proxy.wait_log("have been read again")),
                      proxy.reload):
            old_keepers = proxy.keepers()
            with Client(address) as client:
                client.ehlo()
                begin()
                wait_until(lambda: set(proxy.keepers()) - set(old_keepers), "a new keeper")
                for pid in set(old_keepers) & set(proxy.keepers()):
                    os.kill(pid, signal.SIGKILL)
                client.starttls(context(pki))
                client.ehlo()
                client.send_message()
                client.quit()


# -- tickets

@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_ticket_from_before_the_reload_is_taken(tmp_path, pki, backend, version):
    address = local()
    chosen = getattr(ssl.TLSVersion, version)
    ctx = context(pki, minimum=chosen, maximum=chosen)
    with Ehlock(tmp_path, global_part() + service("smtp", pki.ecdsa, backend, address)) as proxy:
        with Client.secured(address, ctx) as client:
            client.quit()
            client.read_to_end()
            session = client.tls.session
        proxy.reload()
        with Client.secured(address, ctx, session=session) as client:
            assert client.tls.session_reused, "a full handshake"
            client.quit()


# -- again and again

def test_reload_every_200_ms_under_load_costs_no_session(tmp_path, pki):
    seconds, address = (8 if sanitized() else 60), local()
    with Sink() as sink:
        texts = [global_part(debug="notice") + service("smtp", leaf, sink, address, spareWorkers=8)
                 for leaf in (pki.ecdsa, pki.rsa)]
        with Ehlock(tmp_path, texts[0]) as proxy:
            with Load(address[1], clients=6, seconds=seconds, message=2000) as load:
                turns = 0
                while load.runs:
                    turns += 1
                    proxy.rewrite(texts[turns % 2])
                    proxy.process.send_signal(signal.SIGHUP)
                    time.sleep(0.2)
            result = load.result
            wait_until(lambda: len(proxy.workers()) == 8, "the last workers alone")
            reloads, lost = proxy.count_log("reloaded: "), proxy.count_log("outcome=lost")
            print(f"{result['sessions']} sessions, {reloads} reloads")
            assert result["failed"] == 0, f"{result}\n{lost} lost"
            assert result["truncated"] == result["reset"] == 0, result
            assert lost == 0, proxy.log
            assert proxy.count_log("not reloaded") == 0, proxy.log
            # How many come through depends on the machine; some there must be.
            assert reloads >= 5 and result["sessions"] >= 5 * reloads, (reloads, result)


def test_both_certificates_are_seen_while_they_alternate(tmp_path, pki, backend):
    address, kinds = local(), set()
    texts = [global_part() + service("smtp", leaf, backend, address)
             for leaf in (pki.ecdsa, pki.second)]
    with Ehlock(tmp_path, texts[0]) as proxy:
        for turn in range(1, 11):
            proxy.reload(texts[turn % 2])
            names = served(address, pki)
            kinds.add(tuple(names))
            assert names == (pki.ecdsa, pki.second)[turn % 2].names, f"reload {turn}: the old one"
    assert len(kinds) == 2


def test_200_reloads_leave_nothing_behind(tmp_path, pki, backend):
    address, path = local(), str(tmp_path / "sock")
    rounds = 30 if sanitized() else 200
    texts = [global_part(debug="notice") + service("smtp", pki.ecdsa, backend, address,
                                                   spareWorkers=1),
             global_part(debug="notice") + service("smtp", pki.second, backend, [address, path],
                                                   spareWorkers=1, hideCapability=["/^X/", "/Y$/"])]
    # The master alone ends in a way that the leak checker sees.
    env = {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=16"}
    with Ehlock(tmp_path, texts[0], env=env) as proxy:
        def settled():
            return (len(proxy.workers()) == 1 and len(proxy.keepers()) == 1
                    and not proxy.zombies())
        for turn in range(1, 12):       # memory that is taken once is not a leak
            proxy.reload(texts[turn % 2])
        wait_until(settled, "one worker and one keeper")
        fds = procfs.descriptors(proxy.pid)
        family = len(procfs.children(proxy.pid))
        memory = procfs.status_number(proxy.pid, "RssAnon")
        for turn in range(rounds):
            proxy.reload(texts[turn % 2])
        wait_until(settled, "one worker and one keeper")
        assert procfs.descriptors(proxy.pid) == fds
        assert len(procfs.children(proxy.pid)) == family
        now = procfs.status_number(proxy.pid, "RssAnon")
        print(f"RssAnon {memory} kB, after {rounds} reloads {now} kB; {len(fds)} descriptors")
        if not sanitized():             # which keep what was freed
            assert now - memory < 800, f"{now - memory} kB more after {rounds} reloads"
        served(address, pki)
        served(path, pki)


# -- the end

def test_reload_while_draining_is_declined(tmp_path, pki, backend):
    address = local()
    text = global_part(TIMEOUTdrain=30) + service("smtp", pki.ecdsa, backend, address)
    with Ehlock(tmp_path, text) as proxy:
        with Client.secured(address, context(pki)) as client:
            os.kill(proxy.pid, signal.SIGTERM)
            wait_until(lambda: refused(address), "new clients are refused")
            assert "stopping" in proxy.reload()
            assert refused(address), "it has opened again"
            client.send_message()
            client.quit()
        assert proxy.process.wait(net.DEADLINE) == 0


def test_sigterm_during_a_reload_ends_it(tmp_path, pki, backend):
    address = local()
    text = global_part() + service("smtp", pki.ecdsa, backend, address)
    for pause in (0, 0.005, 0.02, 0.08):
        proxy = Ehlock(tmp_path, text).start()
        family = [proxy.pid, *proxy.descendants()]
        os.kill(proxy.pid, signal.SIGHUP)
        time.sleep(pause)               # where in the reload it falls is the machine's affair
        proxy.stop()
        assert all(procfs.is_gone(pid) for pid in family)
        assert refused(address)


def test_second_sigterm_ends_sessions_at_once(tmp_path, pki, backend):
    address = local()
    text = global_part(TIMEOUTdrain=600) + service("smtp", pki.ecdsa, backend, address)
    with Ehlock(tmp_path, text) as proxy:
        with Client.secured(address, context(pki)) as secured, Client(address) as clear:
            clear.ehlo()
            os.kill(proxy.pid, signal.SIGTERM)
            wait_until(lambda: refused(address), "new clients are refused")
            os.kill(proxy.pid, signal.SIGTERM)
            for client, want in ((secured, "close_notify"), (clear, "fin")):
                rest, end = ends(client)
                assert rest.startswith(b"421 ") and end == want, (rest, end)
        assert proxy.process.wait(net.DEADLINE) == 0


def test_session_that_does_not_listen_is_ended_all_the_same(tmp_path, pki):
    """A client that takes nothing and a backend that says nothing cannot hold the end up."""
    address = local()

    def flood(session, command):
        session.send(b"250-" + b"x" * 900 + b"\r\n")
        return b"250 ok\r\n"
    with Backend(replies={"NOOP": flood}) as backend:
        text = global_part(TIMEOUTdrain=0) + service("smtp", pki.ecdsa, backend, address,
                                                     maxUselessCommands=100000)
        with Ehlock(tmp_path, text) as proxy:
            with Client(address) as client:
                client.sock.settimeout(0.5)
                try:
                    while True:
                        client.send(b"NOOP\r\n" * 1000)
                except socket.timeout:
                    pass
                start = time.monotonic()
                os.kill(proxy.pid, signal.SIGTERM)
                assert proxy.process.wait(60) == 0
                assert time.monotonic() - start < 40


def test_stop_command_waits_for_the_end(tmp_path, pki, backend):
    address, pid_file = local(), tmp_path / "pid"
    text = (global_part(TIMEOUTdrain=600, pid=pid_file)
            + service("smtp", pki.ecdsa, backend, address))
    with Ehlock(tmp_path, text) as proxy:
        pid = proxy.pid
        with Client.secured(address, context(pki)) as client:
            stop = subprocess.Popen([str(ehlock.program()), "--stop", str(proxy.config)],
                                    env=ehlock.environment())
            wait_until(lambda: refused(address), "new clients are refused")
            client.send_message()
            assert stop.poll() is None, "it has not waited for the session"
            client.quit()
        assert stop.wait(net.DEADLINE) == 0
        assert not pid_file.exists()
        # All children are gone when the file is; of the master nothing but its own end is left.
        assert not procfs.children(pid)
    done = ehlock.run("--stop", proxy.config)
    assert done.returncode == 69 and str(pid_file) in done.stderr, done.stderr


# -- the pid file

def test_pid_file_that_was_left_behind_is_not_taken_for_a_running_process(tmp_path, pki, backend):
    address, pid_file = local(), tmp_path / "pid"
    text = global_part(pid=pid_file) + service("smtp", pki.ecdsa, backend, address)
    first = Ehlock(tmp_path, text).start()
    with Client.secured(address, context(pki)) as in_flight:
        os.kill(first.pid, signal.SIGKILL)
        first.process.wait()
        assert int(pid_file.read_text()) == first.pid
        # Somebody else has that number by now, and a worker still serves its session.
        with subprocess.Popen(["sleep", "600"]) as innocent:
            try:
                pid_file.write_text(f"{innocent.pid}\n")
                for word in ("--reload", "--stop"):
                    done = ehlock.run(word, first.config)
                    assert done.returncode == 69, f"{word}: {done.returncode} {done.stderr}"
                    assert str(pid_file) in done.stderr
                assert innocent.poll() is None, "the wrong process was signalled"
                with Ehlock(tmp_path, text) as second:
                    assert int(pid_file.read_text()) == second.pid
                    in_flight.send_message()
                    in_flight.quit()
                    deliver(address, pki)
            finally:
                innocent.kill()
    first.process = None
    assert not pid_file.exists()


def test_running_one_is_never_started_twice_with_one_pid_file(tmp_path, pki, backend):
    address, pid_file = local(), tmp_path / "pid"
    top = global_part(pid=pid_file)
    with Ehlock(tmp_path, top + service("smtp", pki.ecdsa, backend, address)) as proxy:
        other, path = local(), tmp_path / "c.conf"
        path.write_text(top + service("smtp", pki.ecdsa, backend, other))
        done = ehlock.run(path)
        assert done.returncode == 71 and str(pid_file) in done.stderr, done.stderr
        assert refused(other)
        assert int(pid_file.read_text()) == proxy.pid
        deliver(address, pki)
        # The file of another one, in place of ours, is not ours to remove.
        pid_file.unlink()
        with Ehlock(tmp_path, top + service("smtp", pki.ecdsa, backend, other)) as second:
            proxy.stop()
            assert int(pid_file.read_text()) == second.pid
    assert not pid_file.exists()


def test_of_many_that_are_started_at_once_one_is_left(tmp_path, pki, backend):
    pid_file, proxies = tmp_path / "pid", []
    pid_file.write_text("1\n")
    for _ in range(6):
        text = global_part(pid=pid_file) + service("smtp", pki.ecdsa, backend, local())
        proxies.append(Ehlock(tmp_path, text).start(wait=False))
    wait_until(lambda: sum(p.process.poll() is None for p in proxies) == 1
               and any("ready" in p.log for p in proxies), "five of six give up")
    winner = [p for p in proxies if p.process.poll() is None][0]
    assert int(pid_file.read_text()) == winner.pid
    for loser in proxies:
        if loser is not winner:
            loser.wait_log(re.escape(str(pid_file)))
            assert loser.process.returncode == 71, loser.log
            loser.process = None
    winner.stop()
    assert not pid_file.exists()
