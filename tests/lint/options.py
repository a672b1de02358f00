#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The option table and ehlock.conf(5) say the same: each option has its paragraph and each paragraph
its option, with the same default, limits and words. What stunnel has and we refuse need not be on
the page; what is said there of it must be so.   options.py PAGE ROWS-PROGRAM"""

import pathlib
import re
import subprocess
import sys


def read_rows(program):
    """name -> (kind, default, min, max, words)"""
    rows = {}
    for line in subprocess.run([program], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.splitlines():
        kind, name, default, low, high, words = line.split("\t")
        rows[name] = kind, default, int(low), int(high), words.split()
    return rows


def plain(line):
    """A line of the page without its macros and with its punctuation where it belongs."""
    text = re.sub(r"^\.(Li|Cm|Ar|Fl|Dq|Pa|Ql) ", "", line)
    return re.sub(r" ([,.;:])", r"\1", text)


def read_page(path):
    """Paragraphs of options: name -> (first words, all words); and stunnel's names by subsection."""
    options, stunnel, name, where = {}, {}, None, ""
    for line in path.read_text().replace("\\\n", "").splitlines():
        if line.startswith((".Ss ", ".Sh ")):
            where, name = line[4:], None
        elif line.startswith(".It Cm "):
            name = line[7:].strip()
            if name in options:
                print(f"{name} is described twice")
                sys.exit(1)
            options[name] = ["", ""]
        elif line.startswith(".It Ic "):
            stunnel.setdefault(where, []).extend(line[7:].replace(" ,", "").split())
        elif name:
            if line == ".Pp":
                options[name][1] += "\n"
            elif "\n" not in options[name][1]:
                options[name][0] += plain(line) + " "
            options[name][1] += plain(line) + " "
    return options, stunnel


def troubles_of(row, first, whole):
    """What the paragraph of one option leaves out."""
    kind, default, low, high, words = row
    said = re.search(r"Default(, if .*?)?: ?(.*)", first)
    if kind == "number":
        if not re.search(rf"\b{low} to {high}\b", first):
            yield f"limits are not said to be {low} to {high}"
    if kind == "choice":
        for word in words:
            if not re.search(rf"\b{word}\b", whole):
                yield f"the word {word} is not there"
        listed = first[:said.start()] if said else first
        for word in re.findall(r"[\w-]+", listed):
            if word != "or" and word not in words:
                yield f"{word} is not one of its words"
    if default and not (said and re.match(rf"{re.escape(default)}[,.; ]", said[2] + " ")):
        yield f"its default is not said to be {default}"


def main():
    page, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    rows = read_rows(program)
    options, stunnel = read_page(page)
    ours = {name for name, row in rows.items() if row[0] not in ("nothing", "gone")}
    wrong = [f"{name} is an option and has no paragraph" for name in sorted(ours - set(options))]
    wrong += [f"{name} has a paragraph and is no option" for name in sorted(set(options) - ours)]
    for name in sorted(ours & set(options)):
        wrong += [f"{name}: {what}" for what in troubles_of(rows[name], *options[name])]
    for where, kind in (("Accepted without effect", "nothing"), ("Refused", "gone")):
        names = stunnel.get(where, [])
        if not names:
            wrong.append(f'there is no subsection "{where}"')
        wrong += [f"{name} stands under \"{where}\" and does something else" for name in names
                  if rows.get(name, [None])[0] != kind]
    for what in wrong:
        print(f"{page.name}: {what}")
    print(f"{len(ours)} options, {len(wrong)} wrong")
    return 0 if ours and not wrong else 1


sys.exit(main())
