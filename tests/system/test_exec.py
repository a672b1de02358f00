# SPDX-License-Identifier: ISC
"""Programs as backends: what they are given, what becomes of them, and who starts them."""

import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import ehlock
import net
import procfs
import pytest
from ehlock import Ehlock, global_part, section
from net import wait_until
from smtp_client import Client, Closed, context

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change identities")

PYTHON = "/usr/bin/python3"

# A mail server, or what the words behind its name make of it.
PROGRAM = r'''
import json, os, resource, signal, sys, time

def say(line):
    os.write(1, line.encode() + b"\r\n")

def facts():
    """Everything about this process that a test asks for."""
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
    def target(fd):
        try:
            return os.readlink("/proc/self/fd/%d" % fd)
        except OSError:                 # that of the listing itself
            return None
    umask = os.umask(0)
    return {
        "pid": os.getpid(), "pgid": os.getpgid(0), "sid": os.getsid(0), "cwd": os.getcwd(),
        "argv": open("/proc/self/cmdline", "rb").read().decode().split("\0")[:-1],
        "env": dict(line.split("=", 1) for line in
                    open("/proc/self/environ", "rb").read().decode().split("\0")[:-1]),
        "fds": {fd: target(fd) for fd in fds if target(fd)}, "umask": umask,
        "uids": status["Uid"].split(), "gids": status["Gid"].split(),
        "groups": os.getgroups(), "nnp": status["NoNewPrivs"].strip(),
        "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
        "nofile": list(resource.getrlimit(resource.RLIMIT_NOFILE)), "root": os.readlink("/proc/self/root"),
        "blocking": os.get_blocking(0),
    }

words = sys.argv[1:]
if "report" in words:
    os.write(1, json.dumps(facts()).encode() + b"\n")
    sys.exit(0)
if "deaf" in words:                     # ends at nothing but SIGKILL, and is not alone
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while os.fork() == 0:
        time.sleep(300)
if "sleepy" in words:                   # ignores the end of its input, but not SIGTERM
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if "die" in words:
    os.kill(os.getpid(), signal.SIGUSR1)
if "status" in words:
    sys.exit(int(words[words.index("status") + 1]))

if "greet" in words:
    for variable in facts()["env"].items():
        say("220-%s=%s" % variable)
say("220 program.example.org %d" % os.getpid())
message = False
for line in iter(sys.stdin.buffer.readline, b""):
    verb = line.strip().upper()[:4].decode("latin-1")
    if message:
        if line == b".\r\n":
            message = False
            say("250 2.0.0 taken")
    elif verb == "EHLO":
        say("250-program.example.org")
        say("250 8BITMIME")
    elif verb == "DATA":
        message = True
        say("354 go ahead")
    elif verb == "QUIT":
        say("221 2.0.0 bye")
        if "background" in words and os.fork() == 0:    # as MTAs deliver
            os.close(0)
            os.close(1)
            time.sleep(300)
        if not {"deaf", "sleepy"} & set(words):
            break
    else:
        say("250 2.0.0 ok")
while {"deaf", "sleepy"} & set(words):
    time.sleep(1)
'''


@pytest.fixture
def program(public_dir):
    """program(*words) gives exec and execArgs for the script."""
    path = public_dir / "program.py"
    path.write_text(PROGRAM)
    path.chmod(0o755)

    def options(*words, argv0="program"):
        args = " ".join([argv0, "-E", "-s", "-S", str(path), *words])
        return {"exec": PYTHON, "execArgs": args, "connect": None}

    return options


@pytest.fixture
def start(tmp_path, pki):
    """start(**options) starts ehlock with a program as its backend."""
    running = []

    def go(globals_=None, **options):
        options = {"spareWorkers": 3, "TIMEOUTclose": 1, **options}
        proxy = Ehlock.wrap(tmp_path, "unused", pki.ecdsa, globals_, **options)
        running.append(proxy)
        return proxy.start()

    yield go
    for proxy in running:
        proxy.stop()


def pid_of(client):
    return int(client.greeting.text.split()[1])


def alive(pid):
    return pid in ehlock.processes()


def group(pgid):
    """The living processes of a process group."""
    found = []
    for pid in ehlock.processes():
        try:
            if os.getpgid(pid) == pgid:
                found.append(pid)
        except ProcessLookupError:
            pass
    return found


def spawners(proxy):
    return proxy._titled("spawner")


def read_report(data):
    report = json.loads(data)
    report["fds"] = {int(fd): target for fd, target in report["fds"].items()}
    return report


def report_through_tls(proxy, pki, **more):
    with Client.implicit(proxy.address, context(pki), greet=False, **more) as client:
        data = client.read_to_end()
        port = client.sock.getsockname()[1] if client.sock.family != socket.AF_UNIX else None
    return read_report(data), port


# -- a session

def test_message_goes_through_a_program(start, program, pki):
    proxy = start(**program())
    with Client.secured(proxy.address, context(pki)) as client:
        assert client.greeting.text.startswith("program.example.org")
        assert client.keywords == ["8BITMIME"]
        client.send_message(body=b"line\r\n..dot\r\n" * 20000)
        client.quit()
    summary = proxy.summary()
    assert (summary["outcome"], summary["accepted"]) == ("done", "1")
    assert summary["backend"] == f"exec:{PYTHON}"
    proxy.wait_log(r"info: service=smtp client=127\.0\.0\.1:\d+ pid=\d+ seconds=\S+ the program "
                   "ended with status 0$")


def test_client_that_vanishes_ends_the_program_by_the_end_of_its_input(start, program):
    proxy = start(**program(), TIMEOUTclose=60)
    with Client(proxy.address) as client:
        pid = pid_of(client)
        assert alive(pid)
        client.abort()
    wait_until(lambda: not alive(pid), "the program's end")
    proxy.wait_log("the program ended with status 0$")


def test_program_that_ends_in_the_middle_is_a_421(start, program):
    proxy = start(**program())
    with Client(proxy.address) as client:
        os.kill(pid_of(client), signal.SIGKILL)
        assert client.read_to_end().startswith(b"421 ")
    proxy.wait_log(r"warning: .* the program was ended by signal 9 \(Killed\)$")


def test_many_sessions_at_once(start, program, pki):
    proxy = start(**program(), maxConnections=60)
    clients, errors = [], []

    def one():
        try:
            client = Client.secured(proxy.address, context(pki))
            client.send_message()
            clients.append(client)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    pids = {pid_of(client) for client in clients}
    assert len(pids) == 50 and all(map(alive, pids))
    for client in clients:
        client.quit()
        client.close()
    wait_until(lambda: not any(map(alive, pids)), "all programs end")
    # No descriptor of a session is left in the spawner.
    [spawner] = spawners(proxy)
    with Client(proxy.address) as client:
        client.quit()
    wait_until(lambda: len(os.listdir(f"/proc/{spawner}/fd")) < 12, "descriptors are closed")


# -- what a program is given

def test_program_has_three_descriptors_and_nothing_of_ours(start, program, pki):
    proxy = start(protocol=None, **program("report"))
    report, _ = report_through_tls(proxy, pki)
    assert set(report["fds"]) == {0, 1, 2}
    assert report["fds"][0] == report["fds"][1] and report["fds"][0].startswith("socket:")
    assert report["fds"][2] == "/dev/null"
    assert report["blocking"]
    assert report["pid"] == report["pgid"] == report["sid"]
    assert (report["cwd"], report["umask"], report["root"]) == ("/", 0o022, "/")
    assert (report["ignored"] & ~(1 << signal.SIGPIPE - 1) & ~(1 << 24), report["blocked"]) == (0, 0)
    assert report["nnp"] == "0", "set-gid programs would not work"
    own = Path(f"/proc/{proxy.pid}/limits").read_text()
    assert re.search(r"Max open files\s+%d\s+%d\s" % tuple(report["nofile"]), own)


def test_arguments_are_quoted_as_in_a_shell_and_filled_in(start, program, pki):
    words = r"""report 'a  b' "c\"d" e\ f '' -x${TCPREMOTEIP}.${TCPREMOTEPORT} '${PROTO}' $(id)"""
    proxy = start(protocol=None, **program(words.replace("$(id)", r"\$\(id\) *")))
    report, port = report_through_tls(proxy, pki)
    assert report["argv"][0] == "program"
    assert report["argv"][5:] == ["report", "a  b", 'c"d', "e f", "", f"-x127.0.0.1.{port}",
                                  "${PROTO}", "$(id)", "*"]


def test_without_arguments_the_program_gets_its_path(start, public_dir, pki):
    script = public_dir / "my program"
    script.write_text('#!/bin/sh\nprintf "%s|%d" "$0" $#\n')
    script.chmod(0o755)
    proxy = start(protocol=None, connect=None, exec=script)
    with Client.implicit(proxy.address, context(pki), greet=False) as client:
        assert client.read_to_end() == f"{script}|0".encode()


def test_environment_of_a_session_that_is_not_yet_secured(start, program):
    """With STARTTLS the program runs before TLS begins: it cannot know of it."""
    proxy = start(**program("greet"))
    with Client(proxy.address) as client:
        env = dict(line.split("=", 1) for line in client.greeting.lines[:-1])
        port = str(client.sock.getsockname()[1])
        client.quit()
    assert env.pop("PATH").startswith("/usr/local/sbin:")
    assert env == {"PROTO": "TCP", "TCPREMOTEIP": "127.0.0.1", "TCPREMOTEPORT": port,
                   "TCPLOCALIP": "127.0.0.1", "TCPLOCALPORT": str(proxy.address[1]),
                   "REMOTE_HOST": "127.0.0.1", "REMOTE_PORT": port}


def test_environment_of_a_session_that_begins_with_tls(start, program, pki):
    proxy = start(protocol=None, **program("report"))
    report, port = report_through_tls(proxy, pki)
    env = report["env"]
    assert set(env) == {"PATH", "PROTO", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP",
                        "TCPLOCALPORT", "REMOTE_HOST", "REMOTE_PORT", "SSL_PROTOCOL", "SSL_CIPHER",
                        "SSL_TLS_SNI", "SSL_SESSION_RESUMED"}
    assert env["TCPREMOTEPORT"] == env["REMOTE_PORT"] == str(port)
    assert env["SSL_PROTOCOL"] == "TLSv1.3"
    assert env["SSL_CIPHER"] == proxy.summary()["cipher"]
    assert env["SSL_TLS_SNI"] == proxy.summary()["sni"]
    assert env["SSL_SESSION_RESUMED"] == "Initial"


def test_ipv6_client(start, program, pki):
    address = ("::1", net.free_port("::1"))
    proxy = start(accept=net.text_of(address), protocol=None, **program("report"))
    proxy.address = address
    report, _ = report_through_tls(proxy, pki)
    assert report["env"]["PROTO"] == "TCP"
    assert report["env"]["TCPREMOTEIP"] == report["env"]["TCPLOCALIP"] == "::1"


def test_client_of_a_unix_socket(start, program, pki, public_dir):
    proxy = start(accept=public_dir / "sock", protocol=None, **program("report", "x${TCPREMOTEIP}y"))
    proxy.address = str(public_dir / "sock")
    report, _ = report_through_tls(proxy, pki)
    assert report["env"]["PROTO"] == "UNIX"
    assert not [name for name in report["env"] if name.startswith(("TCP", "REMOTE"))]
    assert report["argv"][-1] == "xy"


# -- whose program it is

@needs_root
def test_program_runs_as_the_user_of_setuid(start, program, pki):
    proxy = start(globals_={"setuid": "nobody"}, protocol=None, **program("report"))
    report, _ = report_through_tls(proxy, pki)
    assert set(report["uids"]) == {"65534"} and set(report["gids"]) == {"65534"}


@needs_root
def test_program_runs_as_another_user_with_its_groups(start, program, pki):
    proxy = start(protocol=None, execUser="daemon", **program("report"))
    report, _ = report_through_tls(proxy, pki)
    assert set(report["uids"]) == {"1"} and set(report["gids"]) == {"1"}
    assert report["groups"] == os.getgrouplist("daemon", 1)


@needs_root
def test_program_runs_as_root_only_when_that_is_written(start, program, pki):
    proxy = start(protocol=None, execUser="root", **program("report"))
    report, _ = report_through_tls(proxy, pki)
    assert set(report["uids"]) == {"0"}


@needs_root
def test_only_the_spawner_keeps_rights(start, program, pki):
    proxy = start(**program())
    [spawner] = wait_until(lambda: spawners(proxy), "the spawner")
    listening = {row.split()[9] for row in Path(f"/proc/{spawner}/net/tcp").read_text().splitlines()[1:]
                 if row.split()[3] == "0A"}
    wait_until(lambda: not [name for name in procfs.names(spawner)
                            if name.startswith("/") and name != "/dev/null"
                            or name.startswith("socket:") and name[8:-1] in listening],
               "neither files nor listening sockets in the spawner")
    with Client.secured(proxy.address, context(pki)):       # the keepers are at work
        pass
    for pid in proxy.workers() + proxy.keepers():
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"CapEff:\s+0+\n", status) and re.search(r"NoNewPrivs:\s+1", status)
        assert os.readlink(f"/proc/{pid}/root") != "/", "workers need no file system for a program"


def test_without_exec_there_is_no_spawner(wrap, backend):
    assert spawners(wrap(backend)) == []


@needs_root
def test_program_of_somebody_who_is_not_root(tmp_path, pki, program, public_dir):
    port = net.free_port()
    readable = public_dir / "pki"
    readable.mkdir()
    for source in (pki.ecdsa.cert, pki.ecdsa.key):
        (readable / source.name).write_bytes(source.read_bytes())
        (readable / source.name).chmod(0o644)
    text = global_part() + section("smtp", accept=f"127.0.0.1:{port}",
                                   cert=readable / pki.ecdsa.cert.name,
                                   key=readable / pki.ecdsa.key.name, **program("report"))
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    proxy = Ehlock(public_dir, text, command=command)
    proxy.address = ("127.0.0.1", port)
    with proxy:
        report, _ = report_through_tls(proxy, pki)
        assert set(report["uids"]) == {"65534"} and report["nnp"] == "0"


# -- how programs end

@pytest.mark.parametrize("status", [1, 75, 255])
def test_exit_status_is_in_the_log(start, program, status):
    proxy = start(**program("status", str(status)))
    with Client(proxy.address, greet=False) as client:
        assert client.read_to_end().startswith(b"421 ")
    proxy.wait_log(f"notice: service=smtp client=.* the program ended with status {status}$")


def test_signal_is_in_the_log(start, program):
    proxy = start(**program("die"))
    with Client(proxy.address, greet=False) as client:
        assert client.read_to_end().startswith(b"421 ")
    proxy.wait_log(r"warning: .* the program was ended by signal 10 \(User defined signal 1\)$")


def test_program_that_ignores_the_end_of_its_input_gets_sigterm(start, program):
    proxy = start(**program("sleepy"))
    with Client(proxy.address) as client:
        pid = pid_of(client)
        client.quit()
    proxy.wait_log("notice: .* the program ended with status 0 when it was told to$")
    assert not alive(pid)


def test_program_that_ignores_sigterm_too_is_killed_with_its_group(start, program):
    proxy = start(**program("deaf"))
    with Client(proxy.address) as client:
        pid = pid_of(client)
        assert wait_until(lambda: len(group(pid)) == 2, "program and child") and alive(pid)
        client.abort()
    proxy.wait_log(r"warning: .* the program was ended by signal 9 \(Killed\), because it did not "
                   "end with its session$")
    wait_until(lambda: group(pid) == [], "nothing of the group is left")


def test_what_a_program_leaves_in_the_background_is_let_be(start, program):
    proxy = start(**program("background"))
    with Client(proxy.address) as client:
        pid = pid_of(client)
        client.quit()
    proxy.wait_log("the program ended with status 0$")
    [delivery] = group(pid)
    proxy.stop(leave=[delivery])
    try:
        assert group(pid) == [delivery]
    finally:
        os.kill(delivery, signal.SIGKILL)


def test_no_program_stays_a_zombie(start, program):
    proxy = start(**program(), connectionsPerWorker=100, spareWorkers=1)
    for _ in range(5):
        with Client(proxy.address) as client:
            client.quit()
    proxy.summary(5)
    [spawner] = spawners(proxy)

    def zombies():
        count = 0
        for entry in Path("/proc").iterdir():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                count += state == "Z" and int(parent) == spawner
            except (OSError, ValueError):
                pass
        return count
    wait_until(lambda: zombies() == 0, "zombies are reaped")


# -- programs that cannot be started

def test_program_that_goes_away_is_a_421_with_its_reason_in_the_log(start, public_dir):
    script = public_dir / "program"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    proxy = start(connect=None, exec=script)
    script.unlink()
    with Client(proxy.address, greet=False) as client:
        assert client.read_to_end().startswith(b"421 ")
    summary = proxy.summary()
    assert (summary["outcome"], summary["step"]) == ("lost", "starting the program")
    assert summary["reason"] == f"backend exec:{script}: No such file or directory"
    proxy.wait_log(f"error: .* could not be started: {script}: No such file or directory")


def test_sessions_above_the_limit_of_programs_wait_for_a_program_to_end(start, program):
    """maxConnections sessions, but the last one's program takes its time to end."""
    proxy = start(**program("sleepy"), maxConnections=1, TIMEOUTclose=2)
    with Client(proxy.address) as client:
        first = pid_of(client)
        client.quit()
        client.read_to_end()
    proxy.summary()
    with Client(proxy.address) as client:
        assert pid_of(client) != first and not alive(first)
        client.quit()


# -- deaths of ours

def test_killed_spawner_costs_no_session(start, program, pki):
    proxy = start(**program())
    [first] = wait_until(lambda: spawners(proxy), "the spawner")
    with Client.secured(proxy.address, context(pki)) as survivor:
        os.kill(first, signal.SIGKILL)
        with Client.secured(proxy.address, context(pki)) as client:
            client.send_message()
            client.quit()
        survivor.send_message()
        survivor.quit()
        pid = pid_of(survivor)
    wait_until(lambda: not alive(pid), "its program ends at the end of its input")
    [second] = spawners(proxy)
    assert second != first
    proxy.wait_log("error: the spawner died")


def test_stop_leaves_nothing_behind(start, program):
    proxy = start(globals_={"TIMEOUTdrain": 1}, **program("deaf"), TIMEOUTclose=60)
    with Client(proxy.address) as client, Client(proxy.address) as other:
        pids = [pid_of(client), pid_of(other)]
        other.abort()
        began = time.monotonic()
        proxy.stop()
        took = time.monotonic() - began
        assert client.read_to_end().startswith(b"421 ")
    assert not [pid for program_pid in pids for pid in group(program_pid)]
    assert took < 15, "a program that does not listen delays the stop for too long"
    assert [line for line in proxy.lines if "ended by signal 9" in line]


def test_after_a_killed_master_spawner_and_program_end_with_the_session(start, program):
    proxy = start(**program("deaf"))
    family = proxy.descendants()
    with Client(proxy.address) as client:
        pid = pid_of(client)
        os.kill(proxy.pid, signal.SIGKILL)
        proxy.process.wait()
        with pytest.raises(TimeoutError):
            client.sock.settimeout(1)
            client.read_line()
        assert alive(pid)
    wait_until(lambda: not [p for p in family + group(pid) if alive(p)], "everything ends")
    proxy.process = None


def test_log_file_is_opened_again(tmp_path, program, pki):
    log, port = tmp_path / "ehlock.log", net.free_port()
    text = global_part(output=log, syslog=False, foreground="quiet") + section(
        "smtp", accept=f"127.0.0.1:{port}", protocol="smtp", cert=pki.ecdsa.cert,
        key=pki.ecdsa.key, **program("status", "9"))
    proxy = Ehlock(tmp_path, text).start(wait=False)
    wait_until(lambda: log.exists() and "ready" in log.read_text(), "ready")
    log.rename(tmp_path / "old.log")
    os.kill(proxy.pid, signal.SIGUSR1)
    wait_until(log.exists, "the new file")
    with pytest.raises(Closed), Client(("127.0.0.1", port)) as client:
        client.read_reply()
    wait_until(lambda: "ended with status 9" in log.read_text(), "the spawner's line in the new file")
    proxy.stop()


# -- the configuration

def check(tmp_path, pki, globals_=None, **options):
    """Line number -> complaint."""
    text = global_part(**(globals_ or {})) + section(
        "smtp", **{"accept": "127.0.0.1:10025", "protocol": "smtp", "cert": pki.ecdsa.cert,
                   "key": pki.ecdsa.key, **options})
    path = tmp_path / "c.conf"
    path.write_text(text)
    done = ehlock.run("--check", path)
    rows = text.splitlines()
    found = {}
    for line in done.stderr.splitlines():
        match = re.search(rf"(error|warning): {re.escape(str(path))}:(\d+): (.*)", line)
        if match:
            found[rows[int(match.group(2)) - 1].split(" = ")[0]] = match.group(3)
    return done.returncode, found


WRONG = [
    ("exec and connect", {"exec": "/bin/cat", "connect": "127.0.0.1:25"}, "exec", "connect"),
    ("exec and local", {"exec": "/bin/cat", "local": "127.0.0.1"}, "local", "exec"),
    ("exec and failover", {"exec": "/bin/cat", "failover": "prio"}, "failover", "exec"),
    ("execArgs alone", {"connect": "127.0.0.1:25", "execArgs": "cat"}, "execArgs", "exec = PROGRAM"),
    ("execUser alone", {"connect": "127.0.0.1:25", "execUser": "mail"}, "execUser", "exec = PROGRAM"),
    ("open quote", {"exec": "/bin/cat", "execArgs": "cat 'x"}, "execArgs", "partner"),
    ("unknown variable", {"exec": "/bin/cat", "execArgs": "cat ${HOME}"}, "execArgs", "${HOME}"),
    ("bare dollar", {"exec": "/bin/cat", "execArgs": "cat $TCPREMOTEIP"}, "execArgs", "${NAME}"),
    ("no such program", {"exec": "/nonexistent/x"}, "exec", "No such file"),
    ("a directory", {"exec": "/bin"}, "exec", "directory"),
    ("not executable", {"exec": "/etc/passwd"}, "exec", "Permission denied"),
]


@pytest.mark.parametrize("options,row,words", [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_is_wrong_is_told_with_its_line(tmp_path, pki, options, row, words):
    status, found = check(tmp_path, pki, **options)
    assert status == 78 and row in found, found
    assert found[row].startswith(row) and words in found[row]


@needs_root
@pytest.mark.parametrize("user,words", [("no-such-user", "no user"), ("nobody", "cannot be started")])
def test_user_that_cannot_run_the_program_is_told(tmp_path, pki, public_dir, user, words):
    script = public_dir / "program"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    status, found = check(tmp_path, pki, exec=script, execUser=user)
    assert status == 78
    assert words in found["execUser" if "no user" in words else "exec"]


def test_good_configuration_has_no_complaint(tmp_path, pki):
    status, found = check(tmp_path, pki, exec="/bin/cat", execArgs="cat -u")
    assert (status, found) == (0, {})


@pytest.mark.parametrize("args,warned", [(None, True), ("cat ${TCPREMOTEPORT}", True),
                                         ("cat ${TCPREMOTEIP}", False), ("cat ${REMOTE_HOST}", False)])
def test_program_that_is_not_told_who_the_client_is_is_a_warning(tmp_path, pki, args, warned):
    status, found = check(tmp_path, pki, accept="10025", exec="/bin/cat", execArgs=args)
    assert status == 0
    assert ("open relay" in found.get("accept", "")) == warned
