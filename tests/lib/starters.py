# SPDX-License-Identifier: ISC
"""Everything that can start the program for a client: inetd, xinetd, tcpserver, systemd.

    with Starter("tcpserver", directory, config) as starter:
        with Client(starter.address) as client: ...
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import net
from ehlock import environment, program

NAMES = ["openbsd-inetd", "xinetd", "tcpserver", "systemd Accept=yes", "systemd inetd"]

# Replaces itself by a command that finds the given descriptors at 3 and behind, as from systemd.
_HAND_OVER = """
import fcntl, os, sys
fds = [int(word) for word in sys.argv[1].split(",")]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def hand_over(*socks):
    """The words in front of a command that inherits these sockets; LISTEN_FDS is the caller's."""
    return [sys.executable, "-c", _HAND_OVER, ",".join(str(sock.fileno()) for sock in socks)]


def inherit_dual_stack(proxy, namespace, service, port):
    """Lets it inherit a socket of [::] that takes IPv4 as well, as service managers make them. The
    socket is returned, to be closed when it has started."""
    sock = namespace.run(socket.create_server, ("::", port), family=socket.AF_INET6,
                         dualstack_ipv6=True)
    proxy.command, proxy.pass_fds = hand_over(sock), [sock.fileno()]
    proxy.env = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": service}
    proxy.address = ("::", sock.getsockname()[1])
    return sock


@contextlib.contextmanager
def listening(proxy, namespace, near, service="smtp", port=0):
    """Around its start: where it listens. `near` "::" is such a socket."""
    if near != "::":
        yield
        return
    with inherit_dual_stack(proxy, namespace, service, port):
        yield


def xinetd():
    """It cannot be installed beside another inetd, so it may have been unpacked somewhere."""
    return os.environ.get("EHLOCK_XINETD") or shutil.which("xinetd")


class Starter:
    """args: further words behind the configuration. env: for systemd and tcpserver, which pass
    theirs on."""

    def __init__(self, kind, directory, config, args=(), env=None):
        self.kind = kind
        self.address = ("127.0.0.1", net.free_port())
        self.command = [str(program()), "--inetd", str(config), *args]
        self.directory = Path(directory)
        self.env = environment(env)
        self.log = None
        self.process = None

    def _inetd(self):
        config = self.directory / "inetd.conf"
        config.write_text(f"127.0.0.1:{self.address[1]} stream tcp nowait.10000 root "
                          f"{self.command[0]} ehlock {' '.join(self.command[1:])}\n")
        return ["/usr/sbin/inetd", "-i", str(config)]

    def _xinetd(self):
        config = self.directory / "xinetd.conf"
        config.write_text(
            "service ehlock\n{\n type = UNLISTED\n socket_type = stream\n protocol = tcp\n"
            f" wait = no\n user = root\n bind = 127.0.0.1\n port = {self.address[1]}\n cps = 0 1\n"
            f" server = {self.command[0]}\n server_args = {' '.join(self.command[1:])}\n}}\n")
        return [xinetd(), "-dontfork", "-f", str(config),
                "-pidfile", str(self.directory / "xinetd.pid")]

    def _words(self):
        host, port = self.address[0], str(self.address[1])
        if self.kind == "openbsd-inetd":
            return self._inetd()
        if self.kind == "xinetd":
            return self._xinetd()
        if self.kind == "tcpserver":
            return ["tcpserver", "-HRl0", host, port, *self.command]
        passed = [f"--setenv={name}" for name in self.env if name.endswith("SAN_OPTIONS")]
        inetd = ["--inetd"] if self.kind == "systemd inetd" else []
        return ["systemd-socket-activate", "--accept", *inetd, *passed,
                "-l", net.text_of(self.address), *self.command]

    def __enter__(self):
        self.log = open(self.directory / "starter.log", "wb")
        self.process = subprocess.Popen(self._words(), stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, env=self.env, start_new_session=True)
        net.wait_until(self._listens, f"{self.kind} listens")
        return self

    def _listens(self):
        # Looking it up starts no session, as a connection would.
        want = f"0100007F:{self.address[1]:04X} 00000000:0000 0A"
        assert self.process.poll() is None, (self.directory / "starter.log").read_text()
        return want in Path("/proc/net/tcp").read_text()

    def __exit__(self, *exception):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(net.DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Single:
    """The program started on one end of a connection; .address is not needed, .sock is the client's.

    stderr: "client" makes the connection standard error too, as inetd does; else a file."""

    def __init__(self, config, *args, stderr=None, env=None, sock=None, command=()):
        if sock is None:
            listener = net.listen(("127.0.0.1", 0))
            self.sock = net.connect(listener.getsockname())
            inner, _ = listener.accept()
            listener.close()
        else:
            self.sock, inner = sock
        self.local = inner.getsockname()
        self.process = subprocess.Popen(
            [*command, str(program()), "--inetd", *map(str, [config, *args])], stdin=inner,
            stdout=inner, stderr=inner if stderr == "client" else stderr or subprocess.PIPE,
            env=environment(env), start_new_session=True)
        inner.close()

    def wait(self):
        """Exit status and what was written to standard error."""
        try:
            _, log = self.process.communicate(timeout=net.DEADLINE)
        finally:
            self.sock.close()
        return self.process.returncode, (log or b"").decode()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()


def pair():
    """Two ends of a connection that says nothing about who is there."""
    one, other = socket.socketpair()
    one.settimeout(net.DEADLINE)
    return one, other
