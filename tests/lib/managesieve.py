# SPDX-License-Identifier: ISC
"""ManageSieve: a recording server with scripts, in clear or with TLS of its own, and a client of lines.

    with SieveServer() as server: ...
        server.ended().commands
    with SieveClient(address) as client:
        client.starttls(context(pki))
        client.login()
        client.put("name", script)
        assert client.get("name") == script
"""

import base64
import re

from backend import _Server
from smtp_client import Client, Closed
from tls_server import TlsServer

CAPABILITIES = ['"IMPLEMENTATION" "test"', '"SASL" "PLAIN LOGIN"', '"SIEVE" "fileinto vacation"',
                '"VERSION" "1.0"']
USER, PASSWORD = "joe", "correct horse"
LITERAL = re.compile(rb"\{(\d+)\+?\}\r?\n$")


def plain(user=USER, password=PASSWORD):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def text_of_string(token):
    """What a string is, quoted or with its literal behind it."""
    if token.startswith(b"{"):
        return token.partition(b"\r\n")[2]
    return re.sub(rb"\\(.)", rb"\1", token[1:-1])


class SieveServer(_Server):
    """capabilities: lines of the list.
    replies:  verb -> bytes, or callable(session, line) -> bytes or None for the ordinary answer.
    greeting: in the place of capabilities and OK.
    leaf:     certificate and key, for STARTTLS; offers: it is among the capabilities; answer: to
              STARTTLS; implicit: TLS from the first byte; vanishes: closes instead of the handshake;
              silent: says nothing after TLS."""

    def __init__(self, capabilities=CAPABILITIES, replies=None, address=None, greeting=None, leaf=None,
                 offers=True, answer=b'OK "go ahead"\r\n', implicit=False, vanishes=False,
                 silent=False):
        super().__init__(address)
        self.capabilities = capabilities
        self.replies = replies or {}
        self.greeting = greeting
        self.offers = offers
        self.answer = answer
        self.implicit = implicit
        self.vanishes = vanishes
        self.silent = silent
        self.scripts = {}
        self.context = TlsServer._context(leaf, None, None) if leaf else None

    def serve(self, session):
        session.tls = None
        session.logged_in = False
        session.clear = b""
        if self.implicit:
            self._secure(session)
        session.send(self._list(session, "ready") if self.greeting is None else self.greeting)
        while self.greeting is None or b"OK" in self.greeting:
            command = self._read_command(session)
            if command is None:
                return
            verb = re.split(rb"[ \r]", command)[0].upper().decode("latin-1")
            custom = self.replies.get(verb)
            reply = custom(session, command) if callable(custom) else custom
            session.send(self._answer(session, verb, command) if reply is None else reply)
            if verb == "LOGOUT":
                return

    def _list(self, session, text):
        offered = ['"STARTTLS"'] if self.context and self.offers and not session.tls else []
        return ("\r\n".join([*self.capabilities, *offered, f'OK "{text}"']) + "\r\n").encode()

    def _read_command(self, session):
        """A command with its literals; it is kept without its line end."""
        command = b""
        while True:
            line = session.read_line()
            if not line.endswith(b"\n"):
                if command + line:
                    session.commands.append(command + line)
                return None
            command += line
            literal = LITERAL.search(line)
            if not literal:
                session.commands.append(command[:-2])
                return command[:-2]
            command += session.read_exactly(int(literal[1]))

    def _secure(self, session):
        session.clear = session.received
        session.sock = self.context.wrap_socket(session.sock, server_side=True)
        session.tls = session.sock.version()
        session.received = b""

    def _starttls(self, session):
        if not self.context:
            return b'NO "no TLS"\r\n'
        session.send(self.answer)
        if self.vanishes:
            raise ConnectionError("vanished, as was asked")
        if not self.answer.startswith(b"OK"):
            return b""
        self._secure(session)
        return b"" if self.silent else self._list(session, "TLS")

    def _answer(self, session, verb, command):
        if verb == "LOGOUT":
            return b'OK "bye"\r\n'
        if verb == "CAPABILITY":
            return self._list(session, "done")
        if verb == "NOOP":
            tag = text_of_string(command[5:])
            return b"OK (TAG {%d}\r\n%s) \"done\"\r\n" % (len(tag), tag) if tag else b"OK\r\n"
        if verb == "STARTTLS" and not session.logged_in:
            return self._starttls(session)
        if verb == "AUTHENTICATE":
            return self._login(session, command)
        return self._script(verb, command) if session.logged_in else b'NO "what?"\r\n'

    def _login(self, session, command):
        _, _, response = command[len("AUTHENTICATE "):].partition(b" ")
        if not response:
            session.send(b'""\r\n')
            response = self._read_command(session)
        session.logged_in = text_of_string(response) == plain().encode()
        return b'OK "welcome"\r\n' if session.logged_in else b'NO "wrong"\r\n'

    def _script(self, verb, command):
        name, _, rest = command[len(verb) + 1:].partition(b" ")
        if verb == "PUTSCRIPT":
            self.scripts[name] = text_of_string(rest)
            return b"OK\r\n"
        if verb == "GETSCRIPT" and name in self.scripts:
            return b"{%d}\r\n%s\r\nOK\r\n" % (len(self.scripts[name]), self.scripts[name])
        return b'NO "what?"\r\n'


class SieveClient(Client):
    """An answer is its last line, with its literals and without CRLF; what came before it, lines of a
    list or a script, is in .lines."""

    def _read_whole(self):
        line = self.read_line()
        while LITERAL.search(line):
            missing = int(LITERAL.search(line)[1])
            while len(self.buffer) < missing:
                data = self.receive()
                if not data:
                    raise Closed(self.end, line + self.buffer)
                self.buffer += data
            line += self.buffer[:missing]
            self.buffer = self.buffer[missing:]
            line += self.read_line()
        assert line.endswith(b"\r\n"), f"a line must end in CRLF: {line!r}"
        return line[:-2]

    def read_reply(self):
        self.lines = []
        while True:
            line = self._read_whole()
            if line.startswith((b"OK", b"NO", b"BYE")) or line == b'""':
                return line.decode("utf-8", "backslashreplace")
            assert line.startswith((b'"', b"{")), f"not an answer: {line!r}"
            self.lines.append(line)

    @property
    def capabilities(self):
        return [line.decode() for line in self.lines]

    def capability(self):
        answer = self.command("CAPABILITY")
        assert answer.startswith("OK"), answer
        return self.capabilities

    def starttls(self, ctx, **more):
        """What comes unasked after TLS is in .lines."""
        answer = self.command("STARTTLS")
        assert answer.startswith("OK") and not self.lines, answer
        tls = self.handshake(ctx, **more)
        answer = self.read_reply()
        assert answer.startswith("OK"), answer
        return tls

    def login(self, user=USER, password=PASSWORD):
        answer = self.command(f'AUTHENTICATE "PLAIN" "{plain(user, password)}"')
        assert answer.startswith("OK"), answer

    def put(self, name, script):
        self.send(b'PUTSCRIPT "%s" {%d+}\r\n%s\r\n' % (name.encode(), len(script), script))
        answer = self.read_reply()
        assert answer.startswith("OK"), answer

    def get(self, name):
        answer = self.command(f'GETSCRIPT "{name}"')
        assert answer.startswith("OK"), answer
        return text_of_string(self.lines[0])

    def logout(self):
        answer = self.command("LOGOUT")
        assert answer.startswith(("OK", "BYE")), answer
        return answer


__all__ = ["CAPABILITIES", "Closed", "PASSWORD", "SieveClient", "SieveServer", "USER", "plain"]
