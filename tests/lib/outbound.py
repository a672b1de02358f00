# SPDX-License-Identifier: ISC
"""docs/outbound.md as it is written: what it tells administrators is what the tests do."""

import re
import subprocess
import textwrap

from ehlock import ROOT


def worker_user():
    """Whom ehlock's workers become without setuid."""
    known = subprocess.run(["getent", "passwd", "ehlock"], capture_output=True).returncode == 0
    return "ehlock" if known else "nobody"


def page():
    """The rules for the packet filter (REDIRECT, TPROXY, REDIRECT on a router) and the commands beside
    them (of TPROXY). The one thing that is changed is the user, where there is none of that name."""
    text = (ROOT / "docs" / "outbound.md").read_text()
    blocks = "\n".join(textwrap.dedent(block)
                       for block in re.findall(r"(?:^(?:    .*)?\n)+", text, re.M))
    tables = re.findall(r"^table .*?^}\n", blocks, re.M | re.S)
    commands = re.findall(r"^ip .*", blocks, re.M)
    assert len(tables) == 3 and len(commands) == 4
    return [rules.replace('"ehlock"', f'"{worker_user()}"') for rules in tables], commands


def doors():
    """Where ehlock accepts on a router with REDIRECT."""
    section = (ROOT / "docs" / "outbound.md").read_text().split("without root: REDIRECT")[1]
    found = re.findall(r"^    accept += (\S+)$", section.split("\n## ")[0], re.M)
    assert len(found) == 2
    return found


def load(namespace, rules):
    """Give them to the packet filter of the namespace."""
    namespace.run(subprocess.run, ["nft", "-f", "-"], input=rules, text=True, check=True)


def unload(namespace, family, table):
    namespace.run(subprocess.run, ["nft", "delete", "table", family, table], check=True)
