# SPDX-License-Identifier: ISC
"""docs/identity.md as it is written: the commands that lead a backend's answers to foreign addresses
back to this machine (identity = transparent).

    back = LeadBack(namespace)      # before the first backend
    back.port(10025)                # for each of them; more than once does no harm
"""

import re

from ehlock import ROOT

PORT = "10025"      # as the page has it


def page():
    """The commands for a backend on this machine, and those for one on another. Of both: IPv4, IPv6;
    and of each a rule and a route."""
    text = (ROOT / "docs" / "identity.md").read_text()
    commands = re.findall(r"^    (ip .*)$", text, re.M)
    assert len(commands) == 8
    assert ["-6" in command.split() for command in commands] == [False, False, True, True] * 2
    assert [" rule " in command for command in commands] == [True, False] * 4
    return commands[:4], commands[4:]


class LeadBack:
    def __init__(self, namespace):
        self.namespace = namespace
        self.ports = set()
        here, _ = page()
        self.rules, routes = here[::2], here[1::2]
        for command in routes:
            namespace.ip(*command.split()[1:])

    def port(self, port):
        if port in self.ports:
            return
        self.ports.add(port)
        for command in self.rules:
            self.namespace.ip(*(str(port) if word == PORT else word for word in command.split()[1:]))
