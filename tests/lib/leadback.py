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
    """The commands of the page that are for each backend, and those that are for all of them."""
    text = (ROOT / "docs" / "identity.md").read_text()
    commands = re.findall(r"^    (ip .*)$", text, re.M)
    rules = [command for command in commands if PORT in command.split()]
    routes = [command for command in commands if command not in rules]
    assert [" -6 " in command for command in rules + routes] == [False, True] * 2, commands
    return rules, routes


class LeadBack:
    def __init__(self, namespace):
        self.namespace = namespace
        self.ports = set()
        self.rules, routes = page()
        for command in routes:
            namespace.ip(*command.split()[1:])

    def port(self, port):
        if port in self.ports:
            return
        self.ports.add(port)
        for command in self.rules:
            self.namespace.ip(*(str(port) if word == PORT else word for word in command.split()[1:]))
