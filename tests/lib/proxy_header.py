# SPDX-License-Identifier: ISC
"""The PROXY protocol, as seen by a backend that takes it and by a balancer that speaks it."""

import socket
import struct
from dataclasses import dataclass, field

from backend import Backend

MAGIC = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
ALPN, AUTHORITY, UNIQUE_ID, SSL = 1, 2, 5, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER, SSL_SIGNATURE, SSL_KEY = 0x21, 0x22, 0x23, 0x24, 0x25


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def tlvs(data):
    """type -> value; fails on what does not fit, and on two of a kind."""
    found = {}
    while data:
        kind, length = struct.unpack(">BH", data[:3])
        assert len(data) >= 3 + length, "a TLV over the end"
        assert kind not in found, f"two TLVs of type {kind:#x}"
        found[kind], data = data[3:3 + length], data[3 + length:]
    return found


def _family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def v1(source, destination=("192.0.2.200", 25)):
    kind = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {kind} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def v2(source, destination=("192.0.2.200", 25), more=b""):
    family = _family(source[0])
    ends = (socket.inet_pton(family, source[0]) + socket.inet_pton(family, destination[0])
            + struct.pack(">HH", source[1], destination[1]) + more)
    return (MAGIC + struct.pack(">BBH", PROXY, 0x21 if family == socket.AF_INET6 else 0x11, len(ends))
            + ends)


def v2_local():
    return MAGIC + struct.pack(">BBH", LOCAL, 0, 0)


@dataclass
class Header:
    raw: bytes
    command: int = PROXY
    family: str = "UNKNOWN"
    source: tuple = None
    destination: tuple = None
    tlvs: dict = field(default_factory=dict)

    @property
    def ssl(self):
        """(client bits, verify, inner TLVs), or None."""
        value = self.tlvs.get(SSL)
        if value is None:
            return None
        client, verify = struct.unpack(">BI", value[:5])
        return client, verify, tlvs(value[5:])


def parse_v1(raw):
    words = raw.decode("ascii").removesuffix("\r\n").split(" ")
    assert words[0] == "PROXY" and raw.endswith(b"\r\n"), raw
    if words[1] == "UNKNOWN":
        assert len(words) == 2, raw
        return Header(raw)
    _, family, source, destination, source_port, destination_port = words
    return Header(raw, PROXY, family, (source, int(source_port)),
                  (destination, int(destination_port)))


def parse_v2(raw):
    command, pair, length = struct.unpack(">BBH", raw[12:16])
    body = raw[16:]
    assert raw[:12] == MAGIC and len(body) == length, raw
    if pair == 0:
        return Header(raw, command, "UNSPEC", tlvs=tlvs(body))
    family, name, size = {0x11: (socket.AF_INET, "TCP4", 4), 0x21: (socket.AF_INET6, "TCP6", 16)}[pair]
    ports = struct.unpack(">HH", body[2 * size:2 * size + 4])
    return Header(raw, command, name, (socket.inet_ntop(family, body[:size]), ports[0]),
                  (socket.inet_ntop(family, body[size:2 * size]), ports[1]),
                  tlvs(body[2 * size + 4:]))


class HeaderBackend(Backend):
    """A mail server that greets when it has read a header, and not before."""

    def __init__(self, version, **more):
        super().__init__(**more)
        self.version = version

    def serve(self, session):
        if self.version == 1:
            header = parse_v1(session.read_line())
        else:
            fixed = session.read_exactly(16)
            header = parse_v2(fixed + session.read_exactly(struct.unpack(">H", fixed[14:])[0]))
        assert session.buffer == b"", "something came with the header"
        session.events["header"] = header
        super().serve(session)

    def header(self, number=0):
        return self.session(number).events["header"]
