# SPDX-License-Identifier: ISC
"""The processes: background and foreground, signals, rights, deaths."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import ehlock
import net
import procfs
import pytest
from ehlock import Ehlock, global_part, section
from net import wait_until
from smtp_client import Client, context

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change identities")


def service(pki, backend, port, **more):
    return section("smtp", **{"accept": f"127.0.0.1:{port}", "protocol": "smtp",
                              "connect": net.text_of(backend.address), "cert": pki.ecdsa.cert,
                              "key": pki.ecdsa.key, **more})


def status_of(pid):
    """/proc/PID/status as a dictionary."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}


def gone(*pids):
    return not [pid for pid in pids if pid in ehlock.processes()]


# -- background

def test_background_daemon_writes_its_pid_serves_and_cleans_up(tmp_path, pki, backend):
    port, pid_file, log = net.free_port(), tmp_path / "ehlock.pid", tmp_path / "ehlock.log"
    config = tmp_path / "c.conf"
    config.write_text(global_part(foreground=False, pid=pid_file, output=log, syslog=False)
                      + service(pki, backend, port))
    done = ehlock.run(config)       # returns although the daemon goes on: it holds no pipe of ours
    assert done.returncode == 0, done.stderr
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), "pid file"))
    try:
        # The start has returned, so the service is there: no retry.
        with Client.secured(("127.0.0.1", port), context(pki)) as client:
            client.send_message()
            client.quit()
        assert os.getsid(pid) != os.getsid(0), "still in our session"
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        wait_until(lambda: "outcome=done" in log.read_text(), "summary line in the log file")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: gone(pid), "the daemon's end")
    assert not pid_file.exists()
    assert len(backend.messages) == 1


def test_background_start_that_fails_tells_its_parent(tmp_path, pki, backend):
    port = net.free_port()
    config = tmp_path / "c.conf"
    config.write_text(global_part(foreground=False, syslog=False, pid=tmp_path / "p")
                      + service(pki, backend, port))
    with net.listen(("127.0.0.1", port)):
        done = ehlock.run(config)
    assert done.returncode != 0 and str(port) in done.stderr
    assert not (tmp_path / "p").exists()


def test_foreground_option_overrides_the_file(tmp_path, pki, backend):
    port = net.free_port()
    text = global_part(foreground=False, syslog=False) + service(pki, backend, port)
    with Ehlock(tmp_path, text, args=["-f"]):
        with Client(("127.0.0.1", port)) as client:
            client.quit()


# -- signals

@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_everything_in_order(wrap, backend, signum):
    proxy = wrap(backend)
    family = [proxy.pid, *proxy.descendants()]
    with Client(proxy.address) as client:
        client.quit()
    proxy.stop(signum)
    assert gone(*family)
    with pytest.raises(ConnectionRefusedError):
        net.connect(proxy.address)


def test_session_that_ends_in_the_drain_time_is_not_disturbed(tmp_path, pki, backend):
    port = net.free_port()
    text = global_part(TIMEOUTdrain=60) + service(pki, backend, port)
    with Ehlock(tmp_path, text) as proxy:
        with Client.secured(("127.0.0.1", port), context(pki)) as client:
            client.envelope()
            os.kill(proxy.pid, signal.SIGTERM)

            def refused():
                try:
                    net.connect(("127.0.0.1", port)).close()
                except ConnectionRefusedError:
                    return True
                return False
            wait_until(refused, "new clients are refused")
            assert client.command("DATA").code == 354
            client.send(b"late\r\n.\r\n")
            assert client.read_reply().code in (250, 421)
            start = time.monotonic()
            try:
                client.send_line("QUIT")
                client.read_to_end()
            except OSError:
                pass
        proxy.process.wait(20)
        assert time.monotonic() - start < 20, "waits on although nobody is left"
    assert backend.messages[0].body == b"late\r\n"


@pytest.mark.parametrize("secured", [False, True], ids=["clear", "secured"])
def test_session_that_outlives_the_drain_time_gets_421(tmp_path, pki, backend, secured):
    port = net.free_port()
    text = global_part(TIMEOUTdrain=1) + service(pki, backend, port)
    with Ehlock(tmp_path, text) as proxy:
        address = ("127.0.0.1", port)
        with Client.secured(address, context(pki)) if secured else Client(address) as client:
            os.kill(proxy.pid, signal.SIGTERM)
            rest = client.read_to_end()
            assert re.match(rb"421 \S+.* ", rest), rest
            assert client.end == ("close_notify" if secured else "fin")


# -- deaths

def test_killed_worker_costs_its_own_session_only(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as survivor:
        killed = {pid for pid in proxy.workers() if not holds_session(pid)}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        # In the kernel, one that is not quite dead can still take a connection.
        net.wait_until(lambda: not killed & set(ehlock.processes()), "they are dead")
        for _ in range(5):
            with Client.secured(proxy.address, context(pki)) as client:
                client.send_message()
                client.quit()
        survivor.send_message()
        survivor.quit()
    assert len(backend.messages) == 6
    proxy.wait_log(r"(?i)killed|signal 9|SIGKILL")


def holds_session(pid):
    """True when the process holds an established TCP connection."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    established = {row.split()[9] for row in rows if row.split()[3] == "01"}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        match = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        if match and match.group(1) in established:
            return True
    return False


def test_killed_master_takes_its_family_along_and_a_new_one_can_start(tmp_path, pki, backend):
    port = net.free_port()
    text = global_part() + service(pki, backend, port)
    first = Ehlock(tmp_path, text).start()
    family = first.descendants()
    assert family
    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    wait_until(lambda: gone(*family), "the orphans' end")
    first.process = None
    with Ehlock(tmp_path, text):
        with Client.secured(("127.0.0.1", port), context(pki)) as client:
            client.quit()


def test_deaths_are_heard_of_though_the_starter_ignores_them(tmp_path, pki, backend):
    """The kernel would reap them by itself."""
    port = net.free_port()
    with Ehlock(tmp_path, global_part() + service(pki, backend, port, maxConnections=2),
                command=["env", "--ignore-signal=CHLD"]) as proxy:
        for n in range(12):             # more than there are places
            with Client.secured(("127.0.0.1", port), context(pki)) as client:
                client.quit()
            proxy.summary(n + 1)
        keeper, = proxy.keepers()
        os.kill(keeper, signal.SIGKILL)
        proxy.wait_log(rf"keeper {keeper} was killed by signal 9")


def test_spare_workers_are_refilled(wrap, backend):
    proxy = wrap(backend, spareWorkers=None)
    wait_until(lambda: len(proxy.workers()) == 8, "eight spare workers")
    clients = [Client(proxy.address) for _ in range(5)]
    wait_until(lambda: len(proxy.workers()) == 13, "five busy and eight spare")
    for client in clients:
        client.quit()
        client.close()
    wait_until(lambda: len(proxy.workers()) == 8, "eight spare again")


def worker_pids(proxy, count):
    proxy.summary(count)
    return [re.search(r"ehlock\[(\d+)\]", line).group(1)
            for line in proxy.lines if " outcome=" in line]


@pytest.mark.parametrize("limit", [1, 3])
def test_worker_serves_so_many_connections_and_no_more(wrap, backend, limit):
    proxy = wrap(backend, connectionsPerWorker=limit, spareWorkers=1)
    for _ in range(12):
        with Client(proxy.address) as client:
            client.quit()
            client.read_to_end()
    pids = worker_pids(proxy, 12)
    assert max(pids.count(pid) for pid in pids) == limit


# -- rights

@needs_root
def test_workers_and_keeper_have_no_rights_at_all(tmp_path, pki, backend):
    port, jail = net.free_port(), tmp_path / "jail"
    jail.mkdir()
    tmp_path.chmod(0o755)
    text = (global_part(setuid="nobody", setgid="nogroup", chroot=jail)
            + service(pki, backend, port))
    with Ehlock(tmp_path, text) as proxy:
        with Client.secured(("127.0.0.1", port), context(pki)) as client:
            children = proxy.workers() + proxy.keepers()
            assert proxy.keepers() and proxy.workers()
            for pid in children:
                status = status_of(pid)
                assert "0" not in status["Uid"].split(), ehlock.processes()[pid]
                assert "0" not in status["Gid"].split()
                assert "0" not in status["Groups"].split()
                assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
                assert status["NoNewPrivs"] == "1"
                assert os.readlink(f"/proc/{pid}/root") != "/"
            client.send_message()
            client.quit()


@needs_root
def test_root_without_setuid_does_not_serve_as_root(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        for pid in proxy.workers() + proxy.keepers():
            assert "0" not in status_of(pid)["Uid"].split(), ehlock.processes()[pid]
        client.quit()


@needs_root
def test_service_runs_unprivileged_when_not_started_by_root(tmp_path, pki, backend):
    tmp_path.chmod(0o777)
    port = net.free_port()
    text = global_part() + service(pki, backend, port)
    for path in [tmp_path, *tmp_path.parents]:
        if path != Path("/") and path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    readable = tmp_path / "pki"
    readable.mkdir()
    for source in (pki.ecdsa.cert, pki.ecdsa.key):
        copy = readable / source.name
        copy.write_bytes(source.read_bytes())
        copy.chmod(0o644)
    text = text.replace(str(pki.ecdsa.cert.parent), str(readable))
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with Ehlock(tmp_path, text, command=command) as proxy:
        with Client.secured(("127.0.0.1", port), context(pki)) as client:
            for pid in proxy.workers() + proxy.keepers():
                assert status_of(pid)["NoNewPrivs"] == "1"
            client.send_message()
            client.quit()
    assert len(backend.messages) == 1


def test_children_hold_no_descriptor_they_have_no_use_for(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        for pid in proxy.workers() + proxy.keepers():
            names = procfs.names(pid)
            files = [name for name in names
                     if name.startswith("/") and not name.startswith(("/dev/null", "/dev/urandom",
                                                                     "/dev/random"))]
            assert files == [], ehlock.processes()[pid]
        client.quit()


# -- syslog

@needs_root
def test_syslog_gets_the_summary_line_and_no_secret(tmp_path, pki, backend):
    port, path = net.free_port(), tmp_path / "log.sock"
    received = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    received.bind(str(path))
    path.chmod(0o666)
    received.settimeout(net.DEADLINE)
    text = global_part(syslog=True, service="ehlock-test") + service(pki, backend, port)
    # A mount of our own over /dev/log that nobody else sees.
    created = not os.path.exists("/dev/log")
    if created:
        Path("/dev/log").touch()
    try:
        command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /dev/log && exec "$@"', str(path)]
        with Ehlock(tmp_path, text, command=command):
            with Client.secured(("127.0.0.1", port), context(pki)) as client:
                client.send_message()
                client.quit()
            lines = []
            while not [line for line in lines if b"outcome=done" in line]:
                lines.append(received.recv(65536))
    finally:
        received.close()
        if created:
            os.unlink("/dev/log")
    assert re.match(rb"<\d+>.*ehlock-test", lines[-1])
    priority = int(re.match(rb"<(\d+)>", lines[-1]).group(1))
    assert priority & 7 in (5, 6), "notice or informational"
