# SPDX-License-Identifier: ISC
"""What /proc says of processes, and limits set from outside. Root may ask about everybody."""

import os
import resource
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def stat_of(pid):
    """The fields of /proc/PID/stat behind the name, the state first; None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def children(pid):
    """pid -> state ("Z" is a zombie) of the direct children."""
    found = {}
    for entry in os.listdir("/proc"):
        fields = stat_of(entry) if entry.isdigit() else None
        if fields and int(fields[1]) == pid:
            found[int(entry)] = fields[0]
    return found


def zombies(pid):
    return [child for child, state in children(pid).items() if state == "Z"]


def is_gone(pid):
    fields = stat_of(pid)
    return fields is None or fields[0] == "Z"


def cpu_seconds(pids):
    """What these processes have used so far, their dead children included."""
    total = 0
    for pid in pids:
        fields = stat_of(pid)
        if fields:
            total += sum(map(int, fields[11:15]))
    return total / TICKS


def names(pid):
    """What each open descriptor is, as the kernel calls it; what is just being closed is left out."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return found


def descriptors(pid):
    """What each descriptor is, without numbers: a sorted list."""
    return sorted("deleted" if name.endswith(" (deleted)") else name.partition("[")[0]
                  for name in names(pid))


def status_number(pid, name):
    """A number of /proc/PID/status, such as RssAnon (kB)."""
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith(name + ":"):
            return int(row.split()[1])
    raise KeyError(name)


def sockets(pid):
    """The inodes of the sockets a process has open."""
    found = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
            if name.startswith("socket:["):
                found.add(name[8:-1])
    except OSError:
        pass
    return found


def listening(port):
    """The inodes of the sockets that listen on a TCP port."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}


def peers(pid, port):
    """The remote ports of connections to our TCP port that the process has open."""
    own = sockets(pid)
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].split(":")[1], 16) for row in rows
            if row[9] in own and row[3] != "0A" and int(row[1].split(":")[1], 16) == port}


def prlimit(pid, what, limits=None):
    """resource.prlimit; done as the user of that process, because that needs no capability."""
    out, inlet = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(*[status_number(pid, "Gid")] * 3)
            os.setresuid(*[status_number(pid, "Uid")] * 3)
            old = resource.prlimit(pid, what, *([limits] if limits else []))
            os.write(inlet, f"{old[0]} {old[1]}".encode())
        finally:
            os._exit(0)
    os.close(inlet)
    with os.fdopen(out) as answer:
        numbers = answer.read().split()
    os.waitpid(child, 0)
    assert len(numbers) == 2, f"prlimit of {pid} failed"
    return int(numbers[0]), int(numbers[1])


class Limit:
    """with Limit(pids, resource.RLIMIT_NOFILE, 10): the soft limit of running processes."""

    def __init__(self, pids, what, number):
        self.pids, self.what, self.number = pids, what, number
        self.before = {}

    def __enter__(self):
        for pid in self.pids:
            self.before[pid] = prlimit(pid, self.what)
            prlimit(pid, self.what, (self.number, self.before[pid][1]))
        return self

    def __exit__(self, *exception):
        for pid, old in self.before.items():
            if not is_gone(pid):
                try:
                    prlimit(pid, self.what, old)
                except AssertionError:
                    assert is_gone(pid)     # it went in the meantime
