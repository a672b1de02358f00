# SPDX-License-Identifier: ISC
"""docs/security.md shows each claim by a command: they are run here, and print what stands there."""

import re
import subprocess

import ehlock
import pytest
from ehlock import Ehlock, global_part, section
from net import free_port, text_of, wait_until

PAGE = ehlock.ROOT / "docs" / "security.md"


def commands():
    """(command, expected output) of every indented line that begins with "$ "."""
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], []))
        elif found and found[-1] is not None and (line.startswith("    ") or not line):
            found[-1][1].append(line[4:])
        elif found:
            found.append(None)
    return [(command, "\n".join(lines).strip()) for command, lines in filter(None, found)]


@pytest.fixture(scope="module")
def running(tmp_path_factory, pki):
    directory = tmp_path_factory.mktemp("page")
    pid_file = directory / "pid"
    service = section("smtp", accept=text_of(("127.0.0.1", free_port())),
                      connect="127.0.0.1:10025", protocol="smtp", spareWorkers=2,
                      cert=pki.ecdsa.cert, key=pki.ecdsa.key)
    with Ehlock(directory, global_part(pid=pid_file) + service) as proxy:
        wait_until(lambda: proxy.workers() and proxy.keepers(), "keeper and workers")
        proxy.pid_file = pid_file
        yield proxy


def shell(running, command):
    page = PAGE.read_text()
    head = "\n".join(re.findall(r"^    ([A-Z]+=.*)$", page, re.M))
    head = head.replace("/run/ehlock.pid", str(running.pid_file))
    done = subprocess.run(["bash", "-c", f"{head}\n{command}"], capture_output=True, text=True,
                          check=False)
    return (done.stdout + done.stderr).strip()


def comparable(running, text):
    """Without what differs from machine to machine: numbers of processes, a random name."""
    for pid in running.keepers():
        text = text.replace(f"/{pid}/", "/KEEPER/")
    text = re.sub(r"/proc/\d+/", "/proc/WORKER/", text)
    text = re.sub(r"ehlock-\w{6}", "ehlock-XXXXXX", text)
    return sorted(line.rstrip() for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("command,expected", commands(), ids=[c[:50] for c, _ in commands()])
def test_claim(running, command, expected):
    assert comparable(running, shell(running, command)) == comparable(running, expected)


def test_there_are_claims():
    assert len(commands()) >= 7
