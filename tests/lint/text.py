#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What holds of every file: it says its licence, no line ends with blanks, the last one ends, and no
path of the machine it was written on is in it.   text.py ROOT"""

import pathlib
import re
import subprocess
import sys

LICENSED = {".c", ".h", ".py", ".sh", ".build", ".1", ".5", ".8", ".dict"}
NO_TEXT = "tests/fuzz/corpus/"
SAYS = re.compile(r"^[CBSP][:|] ")  # in a transcript, a blank at the end is part of what is said
SHARED = {"/", "/home", "/root", "/tmp", "/var/tmp", "/usr/src", "/opt", "/srv"}


def tree_files(root):
    git = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "--cached", "--others",
         "--exclude-standard"], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False)
    names = git.stdout.splitlines() or [str(p.relative_to(root)) for p in root.rglob("*")]
    return [n for n in names
            if (root / n).is_file() and not re.match(r"build|\.git/|.*__pycache__", n)]


def own_paths(root):
    """Where this tree lies, and the directory around it unless everybody has one of that name."""
    places = [p for p in (root, root.parent) if str(p) not in SHARED]
    return re.compile("|".join(rf"(?<![\w.-]){re.escape(str(p))}(?![\w.-])" for p in places)
                      or r"(?!)")


def troubles_of(name, text, paths):
    lines = text.splitlines()
    licensed = pathlib.Path(name).suffix in LICENSED or text.startswith("#!")
    if licensed and not any("SPDX-License-Identifier: ISC" in line for line in lines[:3]):
        yield 1, "no SPDX line at the top"
    if text and not text.endswith("\n"):
        yield len(lines), "the last line does not end"
    for number, line in enumerate(lines, 1):
        spoken = name.startswith("tests/dialogue/") and SAYS.match(line)
        if line != line.rstrip() and not spoken:
            yield number, "blanks at the end of the line"
        if paths.search(line):
            yield number, "a path of this machine"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    paths, seen, wrong = own_paths(root), 0, 0
    for name in tree_files(root):
        if name.startswith(NO_TEXT):
            continue
        seen += 1
        for number, what in troubles_of(name, (root / name).read_text(), paths):
            wrong += 1
            print(f"{name}:{number}: {what}")
    print(f"{seen} files, {wrong} wrong")
    return 0 if seen and not wrong else 1


sys.exit(main())
