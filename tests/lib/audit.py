# SPDX-License-Identifier: ISC
"""The kernel's audit log, which has what Landlock denies: read along, without auditd."""

import ctypes
import os
import socket
import struct
import time

NETLINK_AUDIT, AUDIT_GET, AUDIT_SET, LANDLOCK_ACCESS = 9, 1000, 1001, 1423
READ_ALONG = 1          # the multicast group
LANDLOCK_LOGS = 7       # the ABI of Linux 6.15


def landlock_abi():
    return ctypes.CDLL(None).syscall(444, None, 0, 1)


def ask(kind, body=b""):
    """The answer to a request: its type and what is in it."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT) as sock:
        sock.settimeout(5)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, 5 if body else 1, 1, 0) + body)
        answer = sock.recv(8192)
    return struct.unpack_from("=H", answer, 4)[0], answer[16:]


def is_enabled():
    return struct.unpack_from("=I", ask(AUDIT_GET)[1], 4)[0]


def enable(on):
    error = struct.unpack_from("=i", ask(AUDIT_SET, struct.pack("=11I", 1, on, *9 * [0]))[1])[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def why_impossible():
    """Why this machine cannot show what Landlock denies; None: it can."""
    if landlock_abi() < LANDLOCK_LOGS:
        return "Landlock logs nothing before Linux 6.15"
    try:
        enable(is_enabled())
    except OSError as error:
        return f"no audit: {error}"
    return None


class AuditLog:
    """with AuditLog() as log: ...; log.has(TEXT) waits for a record of Landlock with it."""

    def __enter__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)    # SO_RCVBUFFORCE
        self.sock.bind((0, READ_ALONG))
        self.sock.settimeout(0.2)
        self.before = is_enabled()
        enable(1)
        return self

    def has(self, text, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                record = self.sock.recv(16384)
            except TimeoutError:
                continue
            kind = struct.unpack_from("=H", record, 4)[0]
            if kind == LANDLOCK_ACCESS and text in record[16:].decode(errors="replace"):
                return True
        return False

    def __exit__(self, *_):
        enable(self.before)
        self.sock.close()
