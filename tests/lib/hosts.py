# SPDX-License-Identifier: ISC
"""Names with several addresses, for a program started with an /etc/hosts of its own.

    command = hosts.command(tmp_path, {"both.example.org": ["127.0.0.2", "::1"]})
    hosts.order(command, "both.example.org")    # as the program will see them
    Ehlock(tmp_path, text, command=command)
"""

import os
import subprocess

_RUN = 'mount --make-rprivate / && mount --bind "$0" /etc/hosts && exec "$@"'


def command(directory, names):
    """What is put in front of a program's own command."""
    path = directory / "hosts"
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{address} {name}" for name, addresses in names.items() for address in addresses]
    path.write_text("".join(line + "\n" for line in lines))
    path.chmod(0o644)
    return ["unshare", "--mount", "sh", "-c", _RUN, str(path)]


def order(prefix, name):
    done = subprocess.run([*prefix, "getent", "ahosts", name], capture_output=True, text=True,
                          check=True)
    return [line.split()[0] for line in done.stdout.splitlines() if "STREAM" in line]


def why_impossible():
    """The reason for which there can be no such names here, or None."""
    return None if os.geteuid() == 0 else "needs root, for an /etc/hosts of its own"
