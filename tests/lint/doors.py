#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The doors between the rooms: who includes what (docs/hacking.md).   doors.py ROOT"""

import pathlib
import re
import sys

# room -> the rooms whose headers it may include
ROOMS = {
    "protocols": {"protocols"},
    "certs": {"certs"},
    "proxy": {"proxy", "protocols", "certs"},
}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]*)')


def trouble(room, path, bracket, header):
    """What is wrong with one include, or None."""
    if bracket == '"':
        if header.split("/")[0] not in ROOMS[room] or "/" not in header or ".." in header:
            return f"{room}/ may include headers of {', '.join(sorted(ROOMS[room]))} only"
    elif header.startswith("gnutls/"):
        if room != "certs" or path.suffix != ".c":
            return "GnuTLS is seen in certs/*.c only"
    elif header.startswith("pcre2"):
        if (room, path.name) != ("protocols", "match.c"):
            return "pcre2 is seen in protocols/match.c only"
    elif header.startswith("gsasl"):
        if (room, path.name) != ("protocols", "sasl.c"):
            return "GNU SASL is seen in protocols/sasl.c only"
    elif header.split("/")[0] in ROOMS:
        return "headers of ours stand between quotes"
    return None


def main():
    root = pathlib.Path(sys.argv[1])
    seen = wrong = 0
    for room in ROOMS:
        for path in sorted((root / room).glob("**/*.[ch]")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                include = INCLUDE.match(line)
                if not include:
                    continue
                seen += 1
                what = trouble(room, path, *include.groups())
                if what:
                    wrong += 1
                    print(f"{path}:{number}: {include[2]}: {what}")
    print(f"{seen} includes, {wrong} wrong")
    return 0 if seen and not wrong else 1


sys.exit(main())
