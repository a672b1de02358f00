# SPDX-License-Identifier: ISC
"""The daemon with sockets that a service manager opened, and what it tells that manager."""

import os
import re
import signal
import socket
import stat
import subprocess

import ehlock
import net
import procfs
import pytest
from ehlock import Ehlock, global_part, section
from net import wait_until
from smtp_client import Client, context
from starters import hand_over


def service(pki, backend, name, **more):
    return section(name, **{"protocol": "smtp", "connect": net.text_of(backend.address),
                            "cert": pki.ecdsa.cert, "key": pki.ecdsa.key, "spareWorkers": 2, **more})


@pytest.fixture
def activated(tmp_path):
    """activated(TEXT, SOCKETS, NAMES): the program, not yet started, that will find the sockets."""
    running = []

    def make(text, socks, names=None, env=None):
        variables = {"LISTEN_FDS": str(len(socks)), **(env or {})}
        if names is not None:
            variables["LISTEN_FDNAMES"] = ":".join(names)
        proxy = Ehlock(tmp_path, global_part() + text, args=["-f"], command=hand_over(*socks),
                       pass_fds=[sock.fileno() for sock in socks], env=variables)
        running.append(proxy)
        return proxy

    yield make
    for proxy in running:
        proxy.stop()


def listen(host="127.0.0.1", port=None):
    return net.listen((host, port or net.free_port(host)))


def deliver(address, pki):
    with Client.secured(address, context(pki)) as client:
        client.send_message()
        client.quit()


def refused_start(proxy, status):
    """What it says when it does not start."""
    proxy.start(wait=False)
    assert proxy.process.wait(net.DEADLINE) == status
    proxy._reader.join(net.DEADLINE)
    proxy.process = None
    return proxy.log


# -- whose socket is whose

def test_named_sockets_go_to_the_services_of_their_names(activated, backend, pki):
    with listen() as one, listen() as two, listen() as three:
        text = service(pki, backend, "smtp") + service(pki, backend, "Submission",
                                                       tlsLevel="encrypt")
        proxy = activated(text, [one, two, three], ["smtp", "submission", "SMTP"]).start()
        services = []
        for n, sock in enumerate((one, two, three), 1):
            deliver(sock.getsockname(), pki)
            services.append(proxy.summary(n)["service"])
        assert services == ["smtp", "Submission", "smtp"]
        # The middle one is that service indeed.
        with Client(two.getsockname()) as client:
            client.ehlo()
            assert client.command("MAIL FROM:<a@example.org>").code == 530
            client.quit()


@pytest.mark.parametrize("names", [None, ["unknown", "ehlock.socket"], ["", ""]])
def test_other_sockets_go_by_their_addresses(activated, backend, pki, names):
    with listen() as one, listen() as two:
        text = (service(pki, backend, "a", accept=net.text_of(two.getsockname()))
                + service(pki, backend, "b", accept=net.text_of(one.getsockname())))
        proxy = activated(text, [one, two], names).start()
        deliver(one.getsockname(), pki)
        assert proxy.summary(1)["service"] == "b"
        deliver(two.getsockname(), pki)
        assert proxy.summary(2)["service"] == "a"


def test_name_goes_before_address(activated, backend, pki):
    with listen() as one:
        other = net.free_port()
        text = (service(pki, backend, "a", accept=net.text_of(one.getsockname()))
                + service(pki, backend, "b", accept=f"127.0.0.1:{other}"))
        log = refused_start(activated(text, [one], ["b"]), 71)
        # So a has to bind its address itself, which it cannot, since b has it.
        assert re.search(rf"cannot listen on {re.escape(net.text_of(one.getsockname()))}: .*: "
                         r"another program has it", log)


def test_addresses_that_were_not_handed_over_are_bound(activated, backend, pki):
    with listen() as one:
        own = ("127.0.0.1", net.free_port())
        text = (service(pki, backend, "a", accept=[net.text_of(one.getsockname()), net.text_of(own)])
                + service(pki, backend, "b", accept=f"127.0.0.1:{net.free_port()}"))
        activated(text, [one]).start()
        deliver(one.getsockname(), pki)
        deliver(own, pki)


def test_socket_for_ipv6_and_ipv4_is_found_by_a_port_alone(activated, backend, pki):
    """systemd binds ListenStream=25 like this."""
    port = net.free_port()
    with socket.socket(socket.AF_INET6) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(("::", port))
        one.listen()
        proxy = activated(service(pki, backend, "smtp", accept=[port, f":::{port}"]), [one]).start()
        deliver(("127.0.0.1", port), pki)
        deliver(("::1", port), pki)
        assert proxy.summary()["client"].startswith("127.0.0.1:")


def test_unix_socket_keeps_its_name(activated, backend, pki, public_dir):
    path = str(public_dir / "sock")
    with net.listen(path) as one:
        proxy = activated(service(pki, backend, "smtp", accept=path), [one]).start()
        deliver(path, pki)
        proxy.stop()
        assert stat.S_ISSOCK(os.stat(path).st_mode)


def test_delay_of_small_packets_is_off(activated, backend, pki):
    """Accepted sockets inherit TCP_NODELAY from the one that listens."""
    with listen() as one:
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        activated(service(pki, backend, "smtp"), [one], ["smtp"]).start()
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_clients_wait_while_the_program_is_restarted(activated, backend, pki):
    with listen() as one:
        text = service(pki, backend, "smtp")
        first = activated(text, [one], ["smtp"]).start()
        deliver(one.getsockname(), pki)
        first.stop()
        with Client(one.getsockname(), greet=False) as client:      # nobody is there
            activated(text, [one], ["smtp"]).start()
            assert client.read_reply().code == 220
            client.quit()


def test_worker_has_one_descriptor_of_its_socket_and_none_of_others(activated, backend, pki):
    with listen() as one, listen() as two:
        text = service(pki, backend, "a") + service(pki, backend, "b")
        proxy = activated(text, [one, two], ["a", "b"]).start()
        wait_until(lambda: proxy.workers("a"), "a worker")
        mine, foreign = (f"socket:[{os.fstat(sock.fileno()).st_ino}]" for sock in (one, two))
        for pid in proxy.workers("a"):
            names = procfs.names(pid)
            assert (names.count(mine), names.count(foreign)) == (1, 0)


def test_background_daemon_keeps_its_sockets(tmp_path, backend, pki):
    """LISTEN_PID names the process that goes, not the daemon."""
    pid_file = tmp_path / "pid"
    with listen() as one:
        config = tmp_path / "c.conf"
        config.write_text(global_part(foreground=False, syslog=False, pid=pid_file,
                                      output=tmp_path / "log") + service(pki, backend, "smtp"))
        done = subprocess.run([*hand_over(one), str(ehlock.program()), str(config)],
                              pass_fds=[one.fileno()], timeout=net.DEADLINE,
                              env=ehlock.environment({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"}))
        assert done.returncode == 0
        pid = int(pid_file.read_text())
        try:
            deliver(one.getsockname(), pki)
        finally:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: pid not in ehlock.processes(), "the daemon's end")


# -- what is refused

def test_socket_that_is_nobodys_is_an_error_that_says_what_to_write(activated, backend, pki):
    with listen() as one, listen() as two:
        log = refused_start(activated(service(pki, backend, "smtp"), [one, two], ["smtp", "web"]), 71)
        address = net.text_of(two.getsockname())
        assert f'"web" on {address}' in log
        assert "FileDescriptorName=" in log and f"accept = {address}" in log


def test_service_without_any_socket_is_an_error(activated, backend, pki):
    with listen() as one:
        text = service(pki, backend, "smtp") + service(pki, backend, "other")
        log = refused_start(activated(text, [one], ["smtp"]), 71)
        assert "[other]" in log and "accept =" in log


@pytest.mark.parametrize("kind", ["datagram", "connected", "file"])
def test_descriptor_that_does_not_listen_is_refused(activated, backend, pki, tmp_path, kind):
    with listen() as listener:
        if kind == "datagram":
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
        elif kind == "connected":
            sock = net.connect(listener.getsockname())
        else:
            sock = open(tmp_path / "file", "wb")
        with sock:
            log = refused_start(activated(service(pki, backend, "smtp"), [sock], ["smtp"]), 71)
    assert "descriptor 3" in log and "ListenStream=" in log


@pytest.mark.parametrize("variables", [
    {"LISTEN_FDS": "x"}, {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"},
])
def test_variables_that_make_no_sense_are_refused(activated, backend, pki, variables):
    with listen() as one:
        proxy = activated(service(pki, backend, "smtp", accept=net.free_port()), [one], None,
                          variables)
        assert "LISTEN_FD" in refused_start(proxy, 78)


def test_variables_of_another_process_are_ignored(tmp_path, backend, pki):
    address = ("127.0.0.1", net.free_port())
    env = {"LISTEN_PID": "1", "LISTEN_FDS": "7", "LISTEN_FDNAMES": "a"}
    with Ehlock(tmp_path, global_part() + service(pki, backend, "smtp",
                                                  accept=net.text_of(address)), env=env):
        deliver(address, pki)


# -- systemd's own starter

@pytest.mark.parametrize("named", [True, False])
def test_systemd_socket_activate_starts_it_with_several_sockets(tmp_path, backend, pki, named):
    one, two = ("127.0.0.1", net.free_port()), ("127.0.0.1", net.free_port())
    text = global_part() + service(pki, backend, "smtp", accept=None if named else net.text_of(one))
    text += service(pki, backend, "submission", accept=None if named else net.text_of(two))
    names = ["--fdname=smtp:submission"] if named else []
    passed = [f"--setenv={name}" for name in ehlock.environment() if name.endswith("SAN_OPTIONS")]
    proxy = Ehlock(tmp_path, text, args=["-f"],
                   command=["systemd-socket-activate", "-l", net.text_of(one), "-l",
                            net.text_of(two), *names, *passed])
    proxy.start(wait=False)
    proxy.wait_log("Listening on .* as 4")
    deliver(two, pki)       # it is started only now
    assert proxy.summary(1)["service"] == "submission"
    deliver(one, pki)
    assert proxy.summary(2)["service"] == "smtp"
    proxy.stop()


# -- telling the manager

class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.name = name
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + name[1:] if name.startswith("@") else name)
        self.sock.settimeout(net.DEADLINE)
        self.heard = []

    def wait(self, word):
        """The first message from now on with this line."""
        while True:
            lines = self.sock.recv(4096).decode().split("\n")
            self.heard += lines
            if any(re.fullmatch(word, line) for line in lines):
                return lines

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_manager_is_told_of_start_sessions_and_stop(tmp_path, backend, pki, abstract):
    address = ("127.0.0.1", net.free_port())
    name = f"@ehlock-test-{address[1]}" if abstract else str(tmp_path / "notify")
    text = global_part() + service(pki, backend, "smtp", accept=net.text_of(address))
    with Manager(name) as manager:
        proxy = Ehlock(tmp_path, text, env={"NOTIFY_SOCKET": name}).start(wait=False)
        manager.wait("READY=1")
        with Client(address) as client:     # at once, without waiting for anything else
            manager.wait("STATUS=1 session")
            client.quit()
        assert not [line for line in manager.heard if line.startswith("WATCHDOG")]
        proxy.stop()
        lines = manager.wait("STOPPING=1")
        assert "EXTEND_TIMEOUT_USEC=17000000" in lines      # TIMEOUTdrain is 2 here


def test_watchdog_gets_its_sign_of_life(tmp_path, backend, pki):
    address, name = ("127.0.0.1", net.free_port()), str(tmp_path / "notify")
    text = global_part() + service(pki, backend, "smtp", accept=net.text_of(address))
    with Manager(name) as manager:
        env = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"}
        with Ehlock(tmp_path, text, env=env):
            for _ in range(5):
                manager.wait("WATCHDOG=1")


def test_watchdog_of_another_process_is_not_fed(tmp_path, backend, pki):
    address, name = ("127.0.0.1", net.free_port()), str(tmp_path / "notify")
    text = global_part() + service(pki, backend, "smtp", accept=net.text_of(address))
    with Manager(name) as manager:
        env = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
        proxy = Ehlock(tmp_path, text, env=env).start()
        with Client(address) as client:
            manager.wait("STATUS=1 session")
            client.quit()
        proxy.stop()
        manager.wait("STOPPING=1")
        assert "WATCHDOG=1" not in manager.heard


def test_manager_that_is_not_there_disturbs_nobody(tmp_path, backend, pki):
    address = ("127.0.0.1", net.free_port())
    text = global_part() + service(pki, backend, "smtp", accept=net.text_of(address))
    with Ehlock(tmp_path, text, env={"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        deliver(address, pki)
