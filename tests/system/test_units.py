# SPDX-License-Identifier: ISC
"""The unit files that are installed: systemd understands them, and they are as closed as promised."""

import os
import re
import subprocess
from pathlib import Path

import ehlock
import net
import pytest
from ehlock import Ehlock, global_part, section
from smtp_client import Client, context

SOURCES = ehlock.ROOT / "scripts" / "systemd"
UNITS = sorted(path.name.removesuffix(".in") for path in SOURCES.iterdir()
               if re.search(r"\.(service|socket)(\.in)?$", path.name))
# Most exposure of each, as systemd-analyze security counts it, 0 to 10.
EXPOSURE = {"ehlock.service": 1.6, "ehlock-inetd@.service": 1.6}


@pytest.fixture
def units(tmp_path):
    """The units with the program where it was built, all in one directory."""
    for name in UNITS:
        source = SOURCES / name
        text = (source if source.exists() else SOURCES / f"{name}.in").read_text()
        (tmp_path / name).write_text(text.replace("@sbindir@/ehlock", str(ehlock.program())))
    return tmp_path


def analyze(directory, *args):
    return subprocess.run(["systemd-analyze", *args], text=True, capture_output=True,
                          cwd=directory, timeout=net.DEADLINE,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:", "LC_ALL": "C"})


@pytest.mark.parametrize("name", UNITS)
def test_unit_is_understood(units, name):
    done = analyze(units, "verify", "--man=no", f"./{name}")
    complaints = [line for line in done.stderr.splitlines() if "ehlock" in line]
    assert done.returncode == 0 and not complaints, done.stderr


@pytest.mark.parametrize("name", sorted(EXPOSURE))
def test_unit_is_as_closed_as_promised(units, name):
    limit = EXPOSURE[name]
    done = analyze(units, "security", "--offline=yes", f"--threshold={limit * 10:.0f}", name)
    assert done.returncode == 0, done.stdout
    got = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])
    assert 0 < got <= limit


def test_unit_for_programs_lets_them_become_others(units):
    text = (units / "ehlock-exec.service").read_text()
    for name in ("User=", "NoNewPrivileges=", "RestrictSUIDSGID=", "SystemCallFilter=",
                 "CapabilityBoundingSet="):
        assert not re.search(rf"^{name}", text, re.M), name


def test_user_of_the_units_is_made_by_sysusers(units, tmp_path):
    text = (SOURCES / "ehlock.sysusers").read_text()
    assert re.search(r"^u ehlock ", text, re.M)
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    done = subprocess.run(["systemd-sysusers", f"--root={root}", SOURCES / "ehlock.sysusers"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ehlock:.*:/:.*nologin$", (root / "etc" / "passwd").read_text(), re.M)


# -- the filter of system calls against what the program does

def members(group):
    """All system calls of a group, and of the groups in it."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True,
                          text=True, check=True)
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    calls = {word for word in words if word and word[0].isalpha()}
    for word in words:
        if word.startswith("@"):
            calls |= members(word)
    return calls


def allowed(text):
    calls = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", text, re.M):
        found = set()
        for word in line.lstrip("~").split():
            found |= members(word) if word.startswith("@") else {word}
        calls = calls - found if line.startswith("~") else calls | found
    return calls


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run it as the user of the unit")
def test_program_makes_no_call_that_the_unit_forbids(units, public_dir, pki, backend):
    """Started as a user of its own, as the unit does, with a session under TLS and a stop."""
    trace = public_dir / "trace"
    for path in (pki.ecdsa.cert, pki.ecdsa.key):
        (public_dir / path.name).write_bytes(path.read_bytes())
        (public_dir / path.name).chmod(0o644)
    public_dir.chmod(0o777)
    address = ("127.0.0.1", net.free_port())
    text = global_part(output=public_dir / "log") + section(
        "smtp", accept=net.text_of(address), connect=net.text_of(backend.address), protocol="smtp",
        cert=public_dir / pki.ecdsa.cert.name, key=public_dir / pki.ecdsa.key.name, spareWorkers=2)
    runs = ["strace", "-f", "-qq", "-o", str(trace), "setpriv", "--reuid=65534", "--regid=65534",
            "--clear-groups", "--no-new-privs"]
    proxy = Ehlock(public_dir, text, args=["-f"], command=runs,
                   env={"NOTIFY_SOCKET": "@nobody-listens", "WATCHDOG_USEC": "1000000"})
    proxy.config.chmod(0o644)
    with proxy:
        with Client.secured(address, context(pki)) as client:
            client.send_message()
            client.quit()
        proxy.summary()
        # strace does not pass signals on.
        master = [pid for pid in proxy.descendants()
                  if "ehlock: master" in ehlock.processes().get(pid, (0, ""))[1]]
        os.kill(master[0], 15)
        proxy.wait_log("stopped")
    lines = trace.read_text().splitlines()
    # What setpriv does before is not ours.
    start = next(n for n, line in enumerate(lines) if re.search(r'execve\("[^"]*/ehlock"', line))
    calls = {match[1] for line in lines[start:]
             for match in [re.match(r"\d+\s+(\w+)\(", line)] if match}
    assert "accept4" in calls and "sendmsg" in calls, "nothing was traced"
    assert calls - allowed((units / "ehlock.service").read_text()) == set()
