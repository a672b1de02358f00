# SPDX-License-Identifier: ISC
"""Hostile code inside a worker and inside the keeper: each attempt fails, and the log tells.

The program is tests/hostile, which is ehlock with attacks linked in place of its sessions.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

import audit
import ehlock
import net
import procfs
import pytest
from backend import ScriptedBackend
from ehlock import Ehlock
from net import text_of, wait_until
from smtp_client import Client, context

HOSTILE = ehlock.program().parent / "tests" / "hostile" / "ehlock-hostile"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

# What ends whoever tries it, by the name that the log has.
FORBIDDEN = {
    "open-file": "openat", "open-root": "openat", "create-file": "openat",
    "open-memory": "openat", "run-program": "execve", "run-by-descriptor": "execveat",
    "kill": "kill", "stop-thread": "tgkill", "trace": "ptrace", "read-memory": "process_vm_readv",
    "new-namespace": "clone", "share-memory": "clone", "fork-by-clone3": "clone3",
    "lift-another-limit": "prlimit64", "become-root": "setuid", "leave-root-directory": "chroot",
    "executable-memory": "mmap", "make-executable": "mprotect", "allow-tracing": "prctl",
    "catch-the-catcher": "rt_sigaction", "other-socket": "socket", "listen": "bind",
    "connect-by-mptcp": "socket", "connect-by-sending": "sendto",
    "connect-by-a-message": "sendmsg", "datagram-pair": "socketpair",
    "make-everybody-wait": "fcntl", "send-elsewhere": "sendto",
}
# What a keeper cannot do either, though workers can, or have been forbidden in another way.
KEEPERS_TOO = {**FORBIDDEN, "connect": "socket", "listen": "socket", "fork-bomb": "clone",
               "connect-by-sending": "socket", "connect-by-a-message": "socket",
               "raise-limit-and-fork": "prlimit64", "shut-keys": "shutdown"}

NONSENSE = {
    "ask-nonsense": "a request that is not a signature",
    "ask-text": "a request to sign what is no TLS handshake",
    "ask-strange-key": "a request for a key that the service does not have",
    "ask-strange-hash": "a request to sign what is no TLS handshake",
    "ask-wrong-length": "a request whose length is wrong",
    "ask-too-long": "a request of the wrong size or without one descriptor",
    "ask-without-descriptor": "a request of the wrong size or without one descriptor",
    "ask-ten-thousand-times": "more requests than it can have sessions",
}


class Hostile(Ehlock):
    """The same program, with somebody else inside."""

    def start(self, wait=True):
        honest = os.environ.get("EHLOCK")
        os.environ["EHLOCK"] = str(HOSTILE)
        try:
            return super().start(wait)
        finally:
            if honest is None:
                del os.environ["EHLOCK"]
            else:
                os.environ["EHLOCK"] = honest


@pytest.fixture(params=["root", "nobody"])
def hostile(request, public_dir, pki, backend):
    """hostile(env, option=value) starts it, as root and as an ordinary user; address is where to attack."""
    running = []

    def start(env=None, **options):
        key = public_dir / "key.pem"
        shutil.copy(pki.ecdsa.key, key)
        cert = public_dir / "cert.pem"
        shutil.copy(pki.ecdsa.cert, cert)
        proxy = Hostile.wrap(public_dir, backend.address, None, cert=cert, key=key, spareWorkers=2,
                             **options)
        proxy.env = env
        if request.param == "nobody":
            os.chown(key, 65534, 65534)
            proxy.command = NOBODY
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.kill()


def attack(proxy, name, number=0):
    """What the attacker reports: an errno's name, "refused"; "" when it was ended."""
    with net.connect(proxy.address) as sock:
        sock.sendall(f"{name} {number}\n".encode())
        answer = b""
        while data := sock.recv(1000):
            answer += data
    return answer.decode().strip()


def target_of(proxy, name):
    """The number that an attack needs: the master, a sibling, a socket family."""
    if name == "kill":
        return proxy.pid
    if name in ("trace", "read-memory", "open-memory", "stop-thread"):
        return wait_until(lambda: proxy.workers(), "workers")[-1]
    return 16 if name == "other-socket" else 7      # AF_NETLINK


@pytest.mark.parametrize("name", FORBIDDEN)
def test_worker_that_tries_what_is_forbidden_is_ended(hostile, name):
    proxy = hostile()
    assert attack(proxy, name, target_of(proxy, name)) == ""
    proxy.wait_log(rf"process \d+ tried {FORBIDDEN[name]}\d*, which is forbidden")
    proxy.wait_log(r"service=smtp client=127\.0\.0\.1:\d+ worker \d+ ended with status 71")
    assert proxy.process.poll() is None
    assert attack(proxy, "ask-once") == "succeeded"    # the next client is served


def test_worker_reaches_no_port_but_its_backends(hostile, backend):
    proxy = hostile()
    with net.listen(("127.0.0.1", 0)) as other:
        assert attack(proxy, "connect", other.getsockname()[1]) == "EACCES"
    assert attack(proxy, "connect", backend.address[1]) == "succeeded"


def test_connection_that_is_refused_is_in_the_audit_log(hostile):
    """Of the kernel: it is Landlock that refuses it. Where the kernel cannot log it, nobody can."""
    if audit.why_impossible():
        return
    with net.listen(("127.0.0.1", 0)) as other, audit.AuditLog() as log:
        port = other.getsockname()[1]
        assert attack(hostile(), "connect", port) == "EACCES"
        assert log.has(f"blockers=net.connect_tcp daddr=127.0.0.1 dest={port}")


def test_worker_with_a_proxy_reaches_that_and_no_backend(hostile, backend):
    with net.listen(("127.0.0.1", 0)) as way:
        proxy = hostile(via=f"socks5://{net.text_of(way.getsockname())}")
        assert attack(proxy, "connect", backend.address[1]) == "EACCES"
        assert attack(proxy, "connect", way.getsockname()[1]) == "succeeded"


def test_worker_cannot_cancel_the_sessions_of_others(hostile):
    proxy = hostile()
    assert attack(proxy, "cancel-everybody") == "EINVAL"


@pytest.mark.parametrize("how", ["SHUT_RD", "SHUT_RDWR"])
def test_worker_cannot_end_what_it_does_not_send(hostile, how):
    proxy = hostile()
    assert attack(proxy, "shut-listener", getattr(socket, how)) == ""
    proxy.wait_log(r"process \d+ tried shutdown, which is forbidden")
    assert attack(proxy, "ask-once") == "succeeded"


def test_worker_in_its_last_session_has_no_listener(hostile):
    """Those with more than one to come do, and the listener stands what they may do to it."""
    assert attack(hostile(), "take-client") == "EBADF"
    proxy = hostile(connectionsPerWorker=2)
    assert attack(proxy, "take-client") == "EAGAIN"
    assert attack(proxy, "shut-listener", socket.SHUT_WR) in ("succeeded", "EBADF", "ENOTCONN")
    for _ in range(6):
        assert attack(proxy, "ask-once") == "succeeded"


def test_worker_that_shuts_the_way_to_the_keys_shuts_it_for_a_moment(hostile, backend, pki):
    proxy = hostile()
    assert attack(proxy, "shut-keys") == "succeeded"
    proxy.wait_log("keeper: a worker has gone astray and has shut the way to the keys")
    proxy.wait_log("there is another way to the keys")
    wait_until(lambda: attack(proxy, "ask-once") == "succeeded", "signatures")
    wait_until(lambda: len(proxy.keepers()) == 1, "the old keeper's end")
    assert proxy.count_log("shut the way") == 1, proxy.log


def test_keeper_that_is_made_to_ask_is_not_believed_to_be_shut_out(hostile):
    proxy = hostile()
    keepers = proxy.keepers()
    assert attack(proxy, "have-a-keeper-ask") == "succeeded"
    proxy.wait_log("keeper: process \\d+ was refused a request of the wrong size")
    assert attack(proxy, "ask-once") == "succeeded"
    time.sleep(1.5)                     # the master has looked after them
    assert proxy.keepers() == keepers and proxy.count_log("another way") == 0


@pytest.mark.parametrize("byte", [0, 255])
def test_master_survives_what_a_worker_writes_into_shared_memory(hostile, byte):
    """It may keep others from being served; a reload has counters of its own."""
    proxy = hostile(maxConnections=5)
    assert attack(proxy, "spoil-counters", byte) == "succeeded"
    proxy.process.send_signal(signal.SIGUSR2)
    proxy.wait_log(r"service=smtp idle=")
    assert proxy.process.poll() is None
    assert len(proxy.workers()) <= 5 + 2
    proxy.reload()
    assert attack(proxy, "ask-once") == "succeeded"


def test_worker_cannot_have_all_memory(hostile):
    assert attack(hostile(), "all-memory") == "ENOMEM"


@pytest.mark.parametrize("name,error", [("fork-bomb", "EAGAIN"), ("raise-limit-and-fork", "EPERM")])
def test_worker_cannot_have_children(hostile, name, error):
    """Its zygote can, in the same jail, so the call is on its list."""
    assert attack(hostile(), name) == error


def test_worker_cannot_have_all_descriptors(hostile):
    assert attack(hostile(), "all-descriptors") == "EMFILE"


@pytest.mark.parametrize("name", NONSENSE)
def test_who_asks_the_keeper_for_nonsense_is_ended(hostile, name):
    proxy = hostile()
    assert attack(proxy, name, 7) in ("", "refused")
    proxy.wait_log(rf"keeper: process \d+ was refused {NONSENSE[name]}")
    proxy.wait_log(r"worker \d+ has gone astray and is ended")
    assert attack(proxy, "ask-once") == "succeeded"


@pytest.mark.parametrize("name", KEEPERS_TOO)
def test_keeper_that_tries_what_is_forbidden_is_ended(hostile, name):
    proxy = hostile({"HOSTILE_KEEPER": name})
    proxy.wait_log(rf"process \d+ tried {KEEPERS_TOO[name]}\d*, which is forbidden")
    proxy.wait_log(r"keeper \d+ ended with status 71")
    assert "ATTACK SUCCEEDED" not in proxy.log
    assert proxy.process.poll() is None


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(re.findall(r"^(\w+):\s*(.*)$", f.read(), re.M))


@pytest.mark.parametrize("kind", ["worker", "keeper", "resolver", "zygote"])
def test_what_the_kernel_says_of_a_jailed_process(wrap, backend, pki, kind):
    # a name that libunbound answers by itself
    more = {"connect": [net.text_of(backend.address), "name.invalid:25"], "delay": True} \
        if kind == "resolver" else {}
    proxy = wrap(backend, **more)
    with Client.secured(proxy.address, context(pki)):
        pids = {"worker": proxy.workers, "keeper": proxy.keepers,
                "resolver": proxy.resolvers, "zygote": proxy.zygotes}[kind]()
        assert pids
        wait_until(lambda: all(status_of(pid)["Seccomp"] == "2" for pid in pids), "they are jailed")
        for pid in pids:
            status = status_of(pid)
            assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
            assert status["CapEff"] == status["CapPrm"] == status["CapBnd"].replace("f", "0") \
                or int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
            assert set(status["Uid"].split()) != {"0"}
            assert os.readlink(f"/proc/{pid}/root") != "/"
            limits = open(f"/proc/{pid}/limits").read()
            assert bool(re.search(r"Max processes +0 +0", limits)) == (kind != "zygote")
            assert re.search(r"Max core file size +0 +0", limits)


def test_named_descriptors_and_no_others_are_open(wrap, backend, pki):
    proxy = wrap(backend, globals_={"output": "/dev/null"})
    with Client.secured(proxy.address, context(pki)):
        zygotes = proxy.zygotes()
        for pid in [*proxy.workers(), *proxy.keepers(), *zygotes]:
            strange = [n for n in procfs.names(pid) if not re.match(
                r"socket:|pipe:|anon_inode:\[(eventfd|eventpoll|timerfd)\]|/dev/null", n)
                and not (pid in zygotes and n == "anon_inode:[landlock-ruleset]")]
            assert not strange, strange


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_probe_is_jailed_when_it_meets_a_server(user):
    with ScriptedBackend(lambda peer: peer.read_to_end()) as server:
        probe = subprocess.Popen(
            [*(NOBODY if user == "nobody" else []), str(ehlock.program()), "probe",
             text_of(server.address), "--level", "may"],
            stdout=subprocess.PIPE, env=ehlock.environment())
        try:
            server.session()
            family = [pid for pid, (parent, _) in ehlock.processes().items()
                      if probe.pid in (pid, parent)]
            assert status_of(probe.pid)["Seccomp"] == "2"
            for pid in family:      # its keeper as well, which nobody has to wait for
                status = wait_until(lambda: status_of(pid)["Seccomp"] == "2" and status_of(pid),
                                    "the jail of the keeper")
                assert status["NoNewPrivs"] == "1"
                assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
                assert "0" not in status["Uid"].split()
                assert (os.readlink(f"/proc/{pid}/root") == "/") == (user == "nobody")
        finally:
            server.stop()
            said, _ = probe.communicate(timeout=net.DEADLINE)
    assert probe.returncode == 2 and said.startswith(b"NO ANSWER: "), said
    wait_until(lambda: not set(family) & set(ehlock.processes()), "the keeper is gone")


# -- who asks for tokens

# Each knows its own token, and would tell others, or more, to who could change what it sees.
TELLER = """#!/bin/sh
[ -z "$TCPREMOTEIP$SSL_TLS_SNI" ] && [ $# = 1 ] || exec echo token-99
echo "token-$1"
"""


@pytest.fixture(params=["root", "nobody"])
def tellers(request, public_dir, pki):
    """Three services: one whose token is number 1, one with number 2, one that has none."""
    teller = public_dir / "teller"
    teller.write_text(TELLER)
    teller.chmod(0o755)
    shutil.copy(pki.ca, public_dir / "ca.pem")
    text = ehlock.global_part()
    places = {}
    for number in (1, 2, None):
        places[number] = ("127.0.0.1", net.free_port())
        more = {"protocolUsername": "joe", "protocolTokenProgram": f"{teller} {number}"}
        text += ehlock.section(f"out-{number}", accept=text_of(places[number]), client=True,
                               protocol="smtp", connect="localhost:1", spareWorkers=2,
                               CAfile=public_dir / "ca.pem", **(more if number else {}))
    proxy = Hostile(public_dir, text)
    if request.param == "nobody":
        proxy.command = NOBODY
    proxy.start()

    def attack_service(number, name, argument=0):
        proxy.address = places[number]
        return attack(proxy, name, argument)

    yield proxy, attack_service
    proxy.kill()


def test_worker_is_told_the_token_of_its_own_service_and_no_other(tellers):
    _, attack_service = tellers
    for name in ("take-token", "take-token-as-somebody"):
        told = {number: [attack_service(number, name, wanted) for wanted in (1, 2, 99)]
                for number in (1, 2, None)}
        assert told == {1: ["succeeded", "refused", "refused"],
                        2: ["refused", "succeeded", "refused"],
                        None: ["refused", "refused", "refused"]}


@pytest.mark.parametrize("name, fault", [
    ("spawn-another-type", "its type"), ("spawn-with-an-option", "the server name"),
    ("spawn-on-tcp", "the kind of its descriptors")])
def test_who_asks_the_spawner_for_nonsense_gets_no_program(tellers, name, fault):
    proxy, attack_service = tellers
    assert attack_service(1, name) == "refused"
    proxy.wait_log(f"service=out-1 a request for a program was refused, {fault} is wrong")
    assert attack_service(1, "spawn") == "succeeded"


def test_worker_that_shuts_the_way_to_programs_shuts_it_for_its_service(tellers):
    proxy, attack_service = tellers
    assert attack_service(1, "shut-programs") == "succeeded"
    proxy.wait_log("service=out-1 a worker has gone astray and has shut the way to the program")
    assert attack_service(1, "spawn") == "refused"
    assert attack_service(2, "spawn") == "succeeded"
    assert proxy.count_log("has gone astray") == 1, proxy.log
    proxy.reload()
    assert attack_service(1, "spawn") == "succeeded"
