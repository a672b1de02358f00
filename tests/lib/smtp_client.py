# SPDX-License-Identifier: ISC
"""A mail client at the level of lines and bytes, with TLS under the caller's control.

    with Client(address) as client:
        client.ehlo()
        client.starttls(context(pki))
        client.send_message("a@example.org", ["b@example.org"], b"text\\r\\n")
"""

import socket
import ssl
import warnings
from dataclasses import dataclass

import net
from pki import NAME

RECORD = 16384


@dataclass
class Reply:
    code: int
    lines: list     # texts without code and CRLF
    raw: bytes

    @property
    def text(self):
        return "\n".join(self.lines)

    def __repr__(self):
        return f"Reply({self.raw!r})"


def context(pki=None, minimum=None, maximum=None, alpn=None, ciphers=None, leaf=None):
    """A verifying client's TLS settings; without a PKI nothing is verified. `leaf` is its own
    certificate, for a server that asks."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if pki is None:
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
    else:
        ctx.load_verify_locations(cafile=str(pki.ca))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)     # old versions, to be refused
        if minimum:
            ctx.minimum_version = minimum
        if maximum:
            ctx.maximum_version = maximum
    if leaf:
        ctx.load_cert_chain(leaf.cert, leaf.key)
    if alpn:
        ctx.set_alpn_protocols(alpn)
    if ciphers:
        ctx.set_ciphers(ciphers)
    return ctx


class Closed(Exception):
    """The server ended the connection where more was expected; .how tells in which way."""

    def __init__(self, how, got=b""):
        super().__init__(f"closed ({how}) after {got!r}")
        self.how = how
        self.got = got


class Client:
    """greet=True reads the greeting; piece=n writes at most n bytes at a time to the socket."""

    def __init__(self, address, greet=True, piece=None, timeout=net.DEADLINE, source=None,
                 lmtp=False, sock=None):
        self.sock = sock or net.connect(address, timeout, source)
        self.piece = piece
        self.lmtp = lmtp
        self.buffer = b""
        self.tls = None             # ssl.SSLObject once TLS is active
        self._incoming = self._outgoing = None
        self.end = None             # "close_notify", "fin" or "reset"
        self.greeting = None
        try:
            if greet:
                self.greeting = self.read_reply()
        except BaseException:
            self.sock.close()
            raise

    @classmethod
    def over(cls, sock, **more):
        """A client on a connection that is there already."""
        return cls(None, sock=sock, **more)

    @classmethod
    def implicit(cls, address, ctx, server_hostname=NAME, session=None, greet=True, **more):
        client = cls(address, greet=False, **more)
        try:
            client.handshake(ctx, server_hostname, session)
            if greet:
                client.greeting = client.read_reply()
        except BaseException:
            client.sock.close()
            raise
        return client

    @classmethod
    def secured(cls, address, ctx, server_hostname=NAME, session=None, **more):
        """Connected, STARTTLS done, EHLO said under TLS; the keywords are in .keywords."""
        client = cls(address, **more)
        try:
            client.ehlo()
            client.starttls(ctx, server_hostname, session)
            client.keywords = client.ehlo()
        except BaseException:
            client.sock.close()
            raise
        return client

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.sock.close()

    def abort(self):
        """Vanish with RST."""
        net.reset(self.sock)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    # -- bytes

    def send_wire(self, data):
        """Bytes onto the socket as they are, TLS or not."""
        if self.piece is None:
            self.sock.sendall(data)
            return
        for start in range(0, len(data), self.piece):
            self.sock.sendall(data[start:start + self.piece])

    def send(self, data):
        """Bytes to the server, through TLS when it is active."""
        if self.tls is None:
            self.send_wire(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), RECORD):
            self.tls.write(view[start:start + RECORD])
            if self._outgoing.pending >= 4 * RECORD:
                self.send_wire(self._outgoing.read())
        self.send_wire(self._outgoing.read())

    def encrypt(self, data):
        """The TLS records for data, not sent: for a caller who wants to cut them up."""
        for start in range(0, len(data), RECORD):
            self.tls.write(data[start:start + RECORD])
        return self._outgoing.read()

    def receive(self):
        """Some bytes; b"" at the end, and then .end tells which kind of end."""
        if self.tls is None:
            return self._receive_wire()
        while True:
            try:
                data = self.tls.read(65536)
                if data:
                    return data
                self.end = "close_notify"
                return b""
            except ssl.SSLWantReadError:
                data = self._receive_wire()
                if not data:
                    return b""
                self._incoming.write(data)
            except ssl.SSLZeroReturnError:
                self.end = "close_notify"
                return b""

    def _receive_wire(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.end = "reset"
            return b""
        if not data:
            self.end = "fin"
        return data

    # -- lines

    def send_line(self, line):
        self.send((line if isinstance(line, bytes) else line.encode("utf-8")) + b"\r\n")

    def read_line(self):
        while b"\n" not in self.buffer:
            data = self.receive()
            if not data:
                raise Closed(self.end, self.buffer)
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def read_reply(self):
        raw, lines = b"", []
        while True:
            line = self.read_line()
            raw += line
            assert line.endswith(b"\r\n"), f"a reply line must end in CRLF: {line!r}"
            assert line[:3].isdigit() and line[3:4] in (b" ", b"-", b"\r"), f"not a reply: {line!r}"
            lines.append(line[4:-2].decode("utf-8", "backslashreplace"))
            if line[3:4] != b"-":
                return Reply(int(line[:3]), lines, raw)

    def command(self, line):
        self.send_line(line)
        return self.read_reply()

    def read_to_end(self):
        """Everything the server still says until it closes; .end tells how."""
        data, self.buffer = self.buffer, b""
        while True:
            more = self.receive()
            if not more:
                return data
            data += more

    # -- TLS

    def handshake(self, ctx, server_hostname=NAME, session=None):
        """Start TLS now. What was read from the server before belongs to nobody: must be empty."""
        assert self.buffer == b"", f"bytes in clear behind the start of TLS: {self.buffer!r}"
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ctx.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname,
                           session=session)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                data = self._receive_wire()
                if not data:
                    raise Closed(self.end)
                self._incoming.write(data)
            except ssl.SSLError:
                self._flush()   # our alert
                raise
        self.tls = tls
        self._flush()
        return tls

    def _flush(self):
        data = self._outgoing.read()
        if data:
            try:
                self.send_wire(data)
            except OSError:
                pass    # how the connection ended is learned by reading

    def starttls(self, ctx, server_hostname=NAME, session=None):
        """STARTTLS, 220, handshake."""
        reply = self.command("STARTTLS")
        assert reply.code == 220, f"STARTTLS refused: {reply}"
        return self.handshake(ctx, server_hostname, session)

    def close_notify(self):
        """Say close_notify, and nothing more; the connection stays to be read from."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()

    @property
    def peer_names(self):
        """DNS names of the server's certificate; needs a verifying context."""
        return [value for kind, value in self.tls.getpeercert().get("subjectAltName", ())
                if kind == "DNS"]

    # -- mail

    def hello(self):
        return "LHLO" if self.lmtp else "EHLO"

    def ehlo(self, name="client.example.org"):
        """EHLO (or LHLO); gives the list of keyword lines."""
        reply = self.command(f"{self.hello()} {name}")
        assert reply.code == 250, f"EHLO refused: {reply}"
        return reply.lines[1:]

    def envelope(self, sender="a@example.org", rcpts=("b@example.org",)):
        reply = self.command(f"MAIL FROM:<{sender}>")
        assert reply.code == 250, f"MAIL refused: {reply}"
        for rcpt in rcpts:
            reply = self.command(f"RCPT TO:<{rcpt}>")
            assert reply.code == 250, f"RCPT refused: {reply}"

    def send_message(self, sender="a@example.org", rcpts=("b@example.org",), body=b"text\r\n"):
        """A whole transaction; body is as on the wire, dots doubled, ends in CRLF or is empty."""
        self.envelope(sender, rcpts)
        reply = self.command("DATA")
        assert reply.code == 354, f"DATA refused: {reply}"
        self.send(body + b".\r\n")
        replies = [self.read_reply() for _ in (rcpts if self.lmtp else [0])]
        assert all(reply.code == 250 for reply in replies), f"message refused: {replies}"
        return replies[-1]

    def quit(self):
        reply = self.command("QUIT")
        assert reply.code == 221, f"QUIT: {reply}"
        return reply


def stuffed(body):
    """Double the dots at the beginnings of lines."""
    return (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:]
