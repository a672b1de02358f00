# SPDX-License-Identifier: ISC
"""POP3: a recording server with a mailbox, in clear or with TLS of its own, and a client of lines.

    with PopServer([message]) as server: ...
        server.commands
    with PopClient(address) as client:
        client.stls(context(pki))
        client.login()
        assert client.retr(1) == message
"""

from backend import _Server
from smtp_client import Client, Closed, stuffed
from tls_server import TlsServer

CAPABILITIES = ["TOP", "UIDL", "USER", "SASL PLAIN", "RESP-CODES", "PIPELINING"]
USER, PASSWORD = "joe", "correct horse"
TIMESTAMP = b"<1896.697170952@backend.example.org>"


class PopServer(_Server):
    """capabilities: None: CAPA is not known.
    replies:  verb -> bytes, or callable(session, line) -> bytes or None for the ordinary answer.
    leaf:     certificate and key, for STLS; offers: it is among the capabilities; answer: to STLS;
              implicit: TLS from the first byte; vanishes: closes instead of the handshake."""

    def __init__(self, messages=(), capabilities=CAPABILITIES, replies=None, address=None,
                 greeting=b"+OK backend ready " + TIMESTAMP + b"\r\n", leaf=None, offers=True,
                 answer=b"+OK go ahead\r\n", implicit=False, vanishes=False):
        super().__init__(address)
        self.messages_to_give = list(messages)
        self.capabilities = capabilities
        self.replies = replies or {}
        self.greeting = greeting
        self.offers = offers
        self.answer = answer
        self.implicit = implicit
        self.vanishes = vanishes
        self.context = TlsServer._context(leaf, None, None) if leaf else None

    def serve(self, session):
        session.tls = session.user = None
        session.logged_in = False
        session.clear = b""
        if self.implicit:
            self._secure(session)
        session.send(self.greeting)
        while not self.greeting.startswith(b"-"):
            line = session.read_line()
            if not line.endswith(b"\n"):
                if line:
                    session.commands.append(line)
                return
            command = line[:-2] if line.endswith(b"\r\n") else line
            session.commands.append(command)
            verb = command.split(b" ")[0].upper().decode("latin-1")
            custom = self.replies.get(verb)
            reply = custom(session, command) if callable(custom) else custom
            if reply is None:
                reply = self._answer(session, verb, command)
            session.send(reply)
            if verb == "QUIT":
                return

    def _secure(self, session):
        session.clear = session.received
        session.sock = self.context.wrap_socket(session.sock, server_side=True)
        session.tls = session.sock.version()
        session.received = b""

    def _stls(self, session):
        if not self.context:
            return b"-ERR no TLS\r\n"
        session.send(self.answer)
        if self.vanishes:
            raise ConnectionError("vanished, as was asked")
        if self.answer.startswith(b"+OK"):
            self._secure(session)
        return b""

    def _answer(self, session, verb, command):
        if verb == "QUIT":
            return b"+OK bye\r\n"
        if verb == "CAPA" and self.capabilities is not None:
            offered = ["STLS"] if self.context and self.offers and not session.tls else []
            return ("\r\n".join(["+OK list", *offered, *self.capabilities, "."]) + "\r\n").encode()
        if verb == "STLS" and not session.logged_in:
            return self._stls(session)
        if session.logged_in:
            return self._transaction(verb, command)
        return self._login(session, verb, command)

    def _login(self, session, verb, command):
        rest = command[len(verb) + 1:].decode("utf-8", "replace")
        if verb == "USER":
            session.user = rest
            return b"+OK\r\n"
        if verb == "PASS":
            session.logged_in = (session.user, rest) == (USER, PASSWORD)
            return b"+OK welcome\r\n" if session.logged_in else b"-ERR [AUTH] no\r\n"
        if verb == "APOP":
            session.logged_in = True
            return b"+OK welcome\r\n"
        return b"-ERR what?\r\n"

    def _transaction(self, verb, command):
        sizes = [len(message) for message in self.messages_to_give]
        if verb == "STAT":
            return b"+OK %d %d\r\n" % (len(sizes), sum(sizes))
        if verb == "LIST":
            lines = [b"%d %d\r\n" % (n + 1, size) for n, size in enumerate(sizes)]
            return b"+OK\r\n" + b"".join(lines) + b".\r\n"
        if verb == "RETR":
            return b"+OK\r\n" + stuffed(self.messages_to_give[int(command[5:]) - 1]) + b".\r\n"
        return b"-ERR what?\r\n"


class PopClient(Client):
    """Answers are lines without CRLF."""

    def read_reply(self):
        line = self.read_line()
        assert line.endswith(b"\r\n"), f"a line must end in CRLF: {line!r}"
        assert line.startswith((b"+OK", b"-ERR", b"+ ", b"+\r")), f"not an answer: {line!r}"
        return line[:-2].decode("utf-8", "backslashreplace")

    def read_list(self):
        lines = []
        while not lines or lines[-1] != b".\r\n":
            lines.append(self.read_line())
        return lines[:-1]

    def capa(self):
        """The capabilities."""
        answer = self.command("CAPA")
        assert answer.startswith("+OK"), answer
        return [line[:-2].decode() for line in self.read_list()]

    def stls(self, ctx, **more):
        answer = self.command("STLS")
        assert answer.startswith("+OK"), answer
        return self.handshake(ctx, **more)

    def login(self, user=USER, password=PASSWORD):
        assert self.command(f"USER {user}").startswith("+OK")
        answer = self.command(f"PASS {password}")
        assert answer.startswith("+OK"), answer

    def retr(self, number):
        """A message as it was before its dots were doubled."""
        answer = self.command(f"RETR {number}")
        assert answer.startswith("+OK"), answer
        return b"".join(line[1:] if line.startswith(b".") else line for line in self.read_list())

    def quit(self):
        answer = self.command("QUIT")
        assert answer.startswith("+OK"), answer
        return answer


__all__ = ["CAPABILITIES", "Closed", "PASSWORD", "PopClient", "PopServer", "TIMESTAMP", "USER"]
