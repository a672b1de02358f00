# SPDX-License-Identifier: ISC
"""Proxies on the way to a server: they do as RFC 9110 (CONNECT) and RFC 1928, 1929 (SOCKS) say, and
remember what they were asked.

    with SocksProxy(server.address, login=("bob", "secret")) as proxy:
        ...
        proxy.session().events["target"]    # ("mx.example.org", 587), whatever it is connected to
"""

import base64
import socket
import struct
import threading

import net
from backend import _Server


def relay(peer, address, answer, glued):
    """Lets bytes through until both sides have ended. glued: the server's first bytes leave in one
    write with the proxy's answer."""
    far = net.connect(address)
    try:
        peer.send(answer + (far.recv(65536) if glued else b""))
        back = threading.Thread(target=_copy, args=(far, peer.sock), daemon=True)
        back.start()
        _copy(peer.sock, far, peer.buffer)
        back.join(net.DEADLINE)
    finally:
        far.close()


def _copy(source, sink, first=b""):
    try:
        if first:
            sink.sendall(first)
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class WayProxy(_Server):
    """to:       where every connection really goes: an address, or a callable(target).
    login:    (user, password) that it asks for; None: it asks for none.
    glued:    see relay.
    bytewise: its own answers leave byte by byte."""

    def __init__(self, to, login=None, glued=False, bytewise=False, address=None):
        super().__init__(address)
        self.to, self.login, self.glued, self.bytewise = to, login, glued, bytewise

    def place(self, target):
        return self.to(target) if callable(self.to) else self.to

    def answer(self, peer, data):
        for at in range(len(data)) if self.bytewise else ():
            peer.send(data[at:at + 1])
        if not self.bytewise:
            peer.send(data)

    def let_through(self, peer, target, answer):
        peer.events["target"] = target
        peer.keep = False
        if self.bytewise:
            self.answer(peer, answer)
            answer = b""
        relay(peer, self.place(target), answer, self.glued)


class HttpProxy(WayProxy):
    OK = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 way\r\nContent-Length: 7\r\n\r\n"

    def serve(self, peer):
        request = peer.read_until(b"\r\n\r\n")
        peer.events["request"] = request
        lines = request.decode().split("\r\n")
        method, place, version = lines[0].split(" ")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        assert (method, version) == ("CONNECT", "HTTP/1.1") and fields["Host"] == place, request
        if self.login:
            want = base64.b64encode(":".join(self.login).encode()).decode()
            if fields.get("Proxy-Authorization") != "Basic " + want:
                self.answer(peer, b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"way\"\r\n"
                            b"Content-Length: 4\r\n\r\nsorry")
                peer.read_to_end()
                return
        host, _, port = place.rpartition(":")
        self.let_through(peer, (host.strip("[]"), int(port)), self.OK)


class SocksProxy(WayProxy):
    """bound: the address in its reply: kind and bytes."""

    def __init__(self, *args, bound=b"\1\0\0\0\0", **more):
        super().__init__(*args, **more)
        self.bound = bound

    def serve(self, peer):
        version, count = peer.read_exactly(2)
        methods = peer.read_exactly(count)
        assert version == 5, version
        if not self._let_in(peer, methods):
            peer.read_to_end()
            return
        version, command, reserved, kind = peer.read_exactly(4)
        assert (version, command, reserved) == (5, 1, 0)
        peer.events["kind"] = kind
        host = {1: lambda: socket.inet_ntop(socket.AF_INET, peer.read_exactly(4)),
                3: lambda: peer.read_exactly(peer.read_exactly(1)[0]).decode(),
                4: lambda: socket.inet_ntop(socket.AF_INET6, peer.read_exactly(16))}[kind]()
        port, = struct.unpack("!H", peer.read_exactly(2))
        self.let_through(peer, (host, port), b"\5\0\0" + self.bound + b"\0\0")

    def _let_in(self, peer, methods):
        if self.login is None:
            self.answer(peer, b"\5\0" if 0 in methods else b"\5\xff")
            return 0 in methods
        if 2 not in methods:
            self.answer(peer, b"\5\xff")
            return False
        self.answer(peer, b"\5\2")
        assert peer.read_exactly(1) == b"\1"
        said = tuple(peer.read_exactly(peer.read_exactly(1)[0]).decode() for _ in range(2))
        peer.events["login"] = said
        self.answer(peer, b"\1\0" if said == self.login else b"\1\1")
        return said == self.login
