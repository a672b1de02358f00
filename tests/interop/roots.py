# SPDX-License-Identifier: ISC
"""Private root filesystems, so that mail servers which exclude one another live side by side.

    root = Root("exim", ["exim4-daemon-light"])
    root.start()                        # an overlay over this machine's root, the packages in it
    root.write("/srv/exim.conf", text)
    root.run("exim4", "-bV")
    daemon = root.spawn("exim4", "-bdf")
    root.stop()

Each root is an overlay whose upper part is a tmpfs, in mount, process and host-name namespaces of
its own, held by one process that lives as long as its standard input: when the tests end, however
they end, every process in it is killed and every mount is gone. The network is this machine's.

Installing takes most of the time. What it changed is kept as a file in the directory of archives:
another root with the same packages, in this run or in the next one with the same directory, is
made from that file in a second.
"""

import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import ehlock
from net import DEADLINE, wait_until

HOST = "legacy.example.org"     # the name of the machine inside of a root
NAME = "mx.example.org"         # the name in the certificate
USER = "joe"                    # who receives mail

# What the holder does. /mnt is only changed in its own mount namespace.
_HOLDER = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 interop /mnt
mkdir /mnt/upper /mnt/work /mnt/root
if [ -e "$2" ]; then tar -C /mnt/upper --xattrs --xattrs-include='*' -xf "$2"; fi
mount -t overlay interop -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
R=/mnt/root
cp --remove-destination "$(readlink -f /etc/resolv.conf)" $R/etc/resolv.conf 2>/dev/null || true
mount -t proc proc $R/proc
mount -t tmpfs -o mode=755 dev $R/dev
for d in null zero full random urandom tty; do
    : > $R/dev/$d
    mount --bind /dev/$d $R/dev/$d
done
mkdir $R/dev/shm $R/dev/pts
mount -t tmpfs -o mode=1777 shm $R/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 pts $R/dev/pts
ln -s pts/ptmx $R/dev/ptmx
ln -s /proc/self/fd $R/dev/fd
ln -s /proc/self/fd/0 $R/dev/stdin
ln -s /proc/self/fd/1 $R/dev/stdout
ln -s /proc/self/fd/2 $R/dev/stderr
mount -t tmpfs -o mode=1777 tmp $R/tmp
hostname "$1"
exec chroot $R /bin/bash -c 'echo up; read -r _ || true'
"""

_HOSTS = f"""127.0.0.1 localhost
127.0.0.1 {HOST} legacy
127.0.0.1 {NAME}
"""

# No service may start by itself; no manual pages, no fsync, no index of manual pages.
_POLICY = "#!/bin/sh\nexit 101\n"
_DPKG = "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\nforce-unsafe-io\n"

_APT = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Acquire::Retries=3",
        "-o", "APT::Keep-Downloaded-Packages=false", "-o", "DPkg::Lock::Timeout=300",
        "-o", "Dpkg::Options::=--force-confnew"]

# Roots of this run: their logs are printed when a test fails.
instances = []


class Daemon:
    """A program running inside of a root; its output goes to the root's log."""

    def __init__(self, root, process, pid, name):
        self.root = root
        self.process = process
        self.pid = pid          # as seen inside
        self.name = name

    def stop(self, signal="TERM"):
        if self.process.poll() is None:
            self.root.run("kill", f"-{signal}", str(self.pid), check=False)
        self.process.wait(DEADLINE)


def why_impossible():
    """The reason for which there can be no roots here, or None."""
    if os.geteuid() != 0:
        return "needs root, for mounts and for mail servers"
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "bash", "-ec",
                            "mount --make-rprivate /; mount -t tmpfs t /mnt; mkdir /mnt/u /mnt/w /mnt/r;"
                            "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"],
                           capture_output=True, text=True, timeout=DEADLINE)
    if probe.returncode:
        return f"no overlay over the root filesystem: {probe.stderr.strip()}"
    return None


class Root:
    def __init__(self, name, packages, archives):
        self.name = name
        self.packages = packages
        self.archive = Path(archives) / ("+".join(packages) + ".tar")
        self.holder = None
        self.log = []
        self._syslog = None

    # -- life

    def start(self):
        instances.append(self)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
             "bash", "-c", _HOLDER, "holder", HOST, self.archive],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        said = self.holder.stdout.readline()
        assert said == b"up\n", f"no root for {self.name}: {said + self.holder.stdout.read()!r}"
        self._pid = next(pid for pid, (parent, _) in ehlock.processes().items()
                         if parent == self.holder.pid)
        self._listen_to_syslog()
        if not self.archive.exists():
            self._furnish()
            self._keep()
        return self

    def _furnish(self):
        self.write("/etc/hosts", _HOSTS)
        self.write("/etc/mailname", HOST + "\n")
        self.write("/usr/sbin/policy-rc.d", _POLICY, 0o755)
        self.write("/etc/dpkg/dpkg.cfg.d/interop", _DPKG)
        self.path("/var/lib/man-db/auto-update").unlink(missing_ok=True)
        self._install()
        if self.run("id", USER, check=False).returncode:
            self.run("useradd", "-m", "-s", "/bin/sh", USER)
        # From here on nothing may depend on anything outside of this machine.
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"
                   "services: files\nprotocols: files\nethers: files\nrpc: files\n")

    def _keep(self):
        """Keep the difference from this machine's own root for the next root of this kind."""
        unfinished = self.archive.with_suffix(".part")
        subprocess.run(["nsenter", "--target", str(self._pid), "--mount", "tar", "-C", "/mnt/upper",
                        "--xattrs", "--xattrs-include=*", "-cf", "-", "."],
                       stdout=unfinished.open("wb"), check=True, timeout=120)
        unfinished.rename(self.archive)

    def _install(self):
        for attempt in (1, 2):
            done = self.run(*_APT, "install", *self.packages, check=False, timeout=480,
                            env={"DEBIAN_FRONTEND": "noninteractive"})
            if done.returncode == 0:
                return
            if attempt == 1:    # perhaps only the lists of packages are old or missing
                self.run(*_APT, "update", timeout=480)
        raise AssertionError(f"{self.name}: cannot install {self.packages}:\n"
                             f"{done.stdout.decode(errors='replace')[-4000:]}")

    def stop(self):
        if self.holder is None:
            return
        self.holder.stdin.close()
        try:
            self.holder.wait(DEADLINE)
        finally:
            self.holder.kill()
            self.holder.stdout.close()
            if self._syslog:
                self._syslog.shutdown(socket.SHUT_RDWR)
                self._syslog.close()
            self.holder = None
            instances.remove(self)

    # -- files

    def path(self, inside):
        """The path by which this process reaches a file of the root."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def write(self, inside, content, mode=0o644, owner=None):
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        if owner:
            self.run("chown", owner, inside)
        return inside

    def mkdir(self, inside, mode=0o755, owner=None):
        """An empty directory."""
        path = self.path(inside)
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
        path.chmod(mode)
        if owner:
            self.run("chown", owner, inside)
        return inside

    # -- programs

    def _command(self, args):
        return ["nsenter", "--target", str(self._pid), "--mount", "--uts", "--ipc", "--pid", "--root",
                "--wdns=/", *map(str, args)]

    def _env(self, extra):
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME": "/root", "LC_ALL": "C.UTF-8"}
        for name, value in os.environ.items():
            if name.lower() in ("http_proxy", "https_proxy", "no_proxy"):
                env[name] = value
        env.update(extra or {})
        return env

    def run(self, *args, input=b"", check=True, timeout=60, env=None):
        """A program to its end, which comes after timeout seconds at the latest."""
        done = subprocess.run(
            self._command(["timeout", "-k", "5", timeout, *args]), input=input,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._env(env), cwd="/")
        output = done.stdout.decode(errors="backslashreplace")
        self.log.append(f"$ {' '.join(map(str, args))}  [{done.returncode}]")
        self.log.extend(output.splitlines()[-40:])
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {args} ended with {done.returncode}:\n{output[-3000:]}")
        return done

    def popen(self, *args, env=None):
        """A program with pipes to talk through."""
        return subprocess.Popen(self._command(["timeout", "-k", "5", 60, *args]),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=self._env(env), cwd="/")

    def spawn(self, *args, env=None):
        """A daemon that stays in the foreground, at the head of a process group."""
        process = subprocess.Popen(
            self._command(["setsid", "sh", "-c", 'echo $$; exec "$@"', "sh", *args]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self._env(env), cwd="/")
        pid = int(process.stdout.readline())
        daemon = Daemon(self, process, pid, args[0])
        threading.Thread(target=self._collect, args=(daemon,), daemon=True).start()
        return daemon

    def _collect(self, daemon):
        for line in daemon.process.stdout:
            self.log.append(f"{daemon.name}: {line.decode(errors='backslashreplace').rstrip()}")
        daemon.process.stdout.close()

    def _listen_to_syslog(self):
        path = self.path("/dev/log")
        self._syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._syslog.bind(str(path))
        path.chmod(0o666)
        threading.Thread(target=self._read_syslog, args=(self._syslog,), daemon=True).start()

    def _read_syslog(self, sock):
        while True:
            try:
                data = sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            self.log.append(data.decode(errors="backslashreplace").rstrip("\n\0"))

    def says(self, text):
        return any(text in line for line in list(self.log))

    def report(self, most=120):
        return "\n".join(self.log[-most:])


def wait_listening(address, daemon=None):
    """Wait until somebody listens there (or the daemon has died, which fails)."""
    def look():
        if daemon and daemon.process.poll() is not None:
            raise AssertionError(f"{daemon.name} ended at start:\n{daemon.root.report()}")
        with socket.socket() as probe:
            return probe.connect_ex(address) == 0
    wait_until(look, f"somebody listens on {address}")
