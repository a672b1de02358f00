# SPDX-License-Identifier: ISC
"""The messages that are sent, and what may be different about them when they arrive."""

import base64
import re

SENDER = "alice@example.org"
RCPT = "joe@legacy.example.org"

HEADER = (b"Date: Tue, 24 Nov 2026 02:49:57 +0000\r\n"
          b"From: Alice <alice@example.org>\r\n"
          b"To: Joe <joe@legacy.example.org>\r\n"
          b"Message-ID: <interop@example.org>\r\n"
          b"Subject: a message with all that is hard to carry\r\n"
          b"MIME-Version: 1.0\r\n"
          b"Content-Type: text/plain; charset=utf-8\r\n"
          b"Content-Transfer-Encoding: 8bit\r\n"
          b"\r\n")

# Lines that somebody on the way might take for something else, or find too long (RFC 5321 allows
# 998 octets before the CRLF), or not seven bits wide.
LINES = [
    b"An ordinary line.",
    b"",
    b".",
    b"..",
    b".a dot at the beginning",
    b"...three",
    b". ",
    b"",
    b"",
    b"QUIT",
    b"RSET",
    b"DATA",
    b"STARTTLS",
    b"Q",
    b"R",
    b"From here on it gets long",
    b">From there",
    b"x" * 998,
    b"." + b"y" * 996,
    b"\ttabs\tand blanks at the end \t ",
    "Grüße aus Zürich, добрый день, 日本語, 🔒".encode(),
    b"=3D=20=",
    b"--",
    b"-- ",
    b"the last line but some empty ones",
    b"",
    b"",
]

# Bytes above 127 that are not UTF-8; for those who promise to carry 8 bits whatever they are.
BINARY = [b"\xe9t\xe9 \x80\xff\xfe latin", bytes(range(128, 256))]


def body(lines=None):
    return b"".join(line + b"\r\n" for line in (LINES + BINARY if lines is None else lines))


def message(lines=None):
    """The whole message, lines ending in CRLF, dots not doubled."""
    return HEADER + body(lines)


def short(number):
    """One of several messages. Not all seven bits wide: some servers would relabel it then."""
    return message([b".", "№ %d".encode() % number])


def large(count=40000):
    """Some 3 MB, dots at the beginnings of lines now and then."""
    return message([b"%s%d \xe2\x80\x93 %s" % (b"." * (n % 7 == 0), n, b"z" * (n % 130))
                    for n in range(count)])


def crlf(data):
    """Lines as a mailbox stores them, with LF, as they were on the wire."""
    assert b"\r" not in data, "CR in a mailbox"
    return data.replace(b"\n", b"\r\n")


def lf(data):
    return data.replace(b"\r\n", b"\n")


def stuffed(data):
    """Double the dots at the beginnings of lines."""
    return (b"\r\n" + data).replace(b"\r\n.", b"\r\n..")[2:]


def unstuffed(data):
    return (b"\r\n" + data).replace(b"\r\n..", b"\r\n.")[2:]


def received_text(arrived):
    """The text of a message that a recorder has, which has dots doubled if it came by DATA."""
    return arrived.body if arrived.chunks else unstuffed(arrived.body)


def readable(data, login=None):
    """What of a mail is there in clear for everybody who sees the data: commands and header fields,
    addresses, lines of the message, and the name and password of who logs in."""
    found = re.findall(rb"(?im)^(?:MAIL|RCPT|DATA|BDAT|AUTH|Received:|Subject:)(?=\s).*", data)
    words = [SENDER.encode(), RCPT.encode(), *(line for line in message().split(b"\r\n") if len(line) > 12)]
    if login:
        words += [login[1].encode(), *(base64.b64encode("\0".join(parts).encode())
                                       for parts in (login[:1], login[1:], ("", *login)))]
    return found + [word for word in words if word in data]


def assert_readable(data, job):
    """The mail of this job is in these data in clear, and readable() does find it: commands, the login
    if there was one, and every line of the body that is long enough to be looked for."""
    found = readable(data, job.login)
    verbs = [b"MAIL", b"RCPT"] + ([b"AUTH"] if job.login else [])
    missing = [verb for verb in verbs if not any(word.upper().startswith(verb) for word in found)]
    missing += [line for line in job.body.split(b"\r\n") if len(line) > 12 and line not in found]
    assert not missing, missing


def header_names(block):
    """Names of the fields in a block of header lines; fails on anything that is no header."""
    names = []
    for line in block.split(b"\r\n")[:-1]:
        if line[:1] in (b" ", b"\t"):
            assert names, f"a continuation without beginning: {line!r}"
            continue
        match = re.match(rb"([!-9;-~]+):", line)
        assert match, f"not a header field: {line!r}"
        names.append(match.group(1).decode().lower())
    return names


def assert_same(arrived, sent, trace):
    """What arrived is what was sent, behind header fields of these names and no others."""
    if not arrived.endswith(sent):
        raise AssertionError("the message changed on its way: " + _difference(arrived, sent))
    added = header_names(arrived[:len(arrived) - len(sent)])
    assert set(added) <= set(trace), f"unexpected header fields {added}"


def assert_all_same(arrived, sent, trace):
    """The same for several messages, which may have overtaken one another."""
    assert len(arrived) == len(sent), f"{len(arrived)} messages instead of {len(sent)}"
    for one in sent:
        assert_same(next((a for a in arrived if a.endswith(one)), arrived[0]), one, trace)


def assert_same_body(arrived, body_sent):
    """For clients that write the header themselves: the body, byte for byte."""
    _, _, body_arrived = arrived.partition(b"\r\n\r\n")
    if body_arrived != body_sent:
        raise AssertionError("the body changed on its way: " + _difference(body_arrived, body_sent))


def _difference(arrived, sent):
    """Where they part, seen from the end, because the beginning has trace headers."""
    ours, theirs = sent.split(b"\r\n"), arrived.split(b"\r\n")
    for back in range(1, len(ours) + 1):
        if back > len(theirs) or ours[-back] != theirs[-back]:
            got = theirs[-back] if back <= len(theirs) else None
            return (f"line {len(ours) - back + 1} of {len(ours)}: sent {ours[-back][:120]!r} "
                    f"({len(ours[-back])}), arrived {got and got[:120]!r} ({got and len(got)})")
    return "something else"
