# SPDX-License-Identifier: ISC
"""Plaintext backends: a well-behaved recording mail server, and one that follows a script.

    with Backend(keywords=["SIZE 1000000", "8BITMIME"]) as backend: ...
        backend.messages[0].body          # exactly as on the wire, dots still doubled

    def scene(peer):
        peer.send(b"220 hello\\r\\n")
        assert peer.expect(b"EHLO").startswith(b"EHLO")
        peer.reset()
    with ScriptedBackend(scene) as backend: ...
"""

import hashlib
import re
import socket
import threading
import traceback
from dataclasses import dataclass, field

import net

KEYWORDS = ["PIPELINING", "SIZE 2000000000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8",
            "CHUNKING"]
END = b"\r\n.\r\n"


@dataclass
class Message:
    sender: bytes = b""
    rcpts: list = field(default_factory=list)
    body: bytes = b""          # between the 354 and CRLF.CRLF, its first CRLF included
    chunks: list = field(default_factory=list)  # of BDAT
    size: int = 0
    sha256: str = ""


class Peer:
    """One accepted connection with lines read from it; shared by both kinds of backend."""

    def __init__(self, sock, number=0):
        self.sock = sock
        self.number = number
        self.buffer = b""
        self.received = b""     # everything, as long as keep is set
        self.keep = True
        self.end = None         # "fin" or "reset" once the other side has ended
        self.commands = []      # lines without CRLF
        self.messages = []
        self.closed = threading.Event()
        self.events = {}        # for hooks that need to remember something
        self.error = None
        net.nodelay(sock)

    def fill(self):
        """Read once more; False at the end of the stream."""
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            self.end = "reset"
            return False
        except OSError:
            self.end = self.end or "closed"
            return False
        if not data:
            self.end = "fin"
            return False
        if self.keep:
            self.received += data
        self.buffer += data
        return True

    def read_line(self):
        """One line with its LF, or what is left at the end of the stream."""
        while b"\n" not in self.buffer:
            if not self.fill():
                rest, self.buffer = self.buffer, b""
                return rest
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def expect(self, start):
        line = self.read_line()
        self.commands.append(line.rstrip(b"\r\n"))
        assert line.upper().startswith(start.upper()), f"wanted {start!r}, got {line!r}"
        return line

    def read_exactly(self, count):
        parts, missing = [], count
        while missing > 0 and (self.buffer or self.fill()):
            parts.append(self.buffer[:missing])
            self.buffer = self.buffer[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def skip(self, count):
        """Read so many bytes and forget them; gives how many there were."""
        missing = count
        while missing > 0 and (self.buffer or self.fill()):
            taken = min(missing, len(self.buffer))
            self.buffer = self.buffer[taken:]
            missing -= taken
        return count - missing

    def read_until(self, end):
        """Everything up to and with the bytes `end`."""
        while end not in self.buffer:
            if not self.fill():
                break
        data, mark, self.buffer = self.buffer.partition(end)
        return data + mark

    def read_to_end(self):
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def send(self, data):
        self.sock.sendall(data)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def reset(self):
        net.reset(self.sock)


class _Server:
    """Accepts connections, one thread for each, until it is left."""

    def __init__(self, address=None, backlog=1024):
        self.address = address or ("127.0.0.1", net.free_port())
        self.backlog = backlog
        self.sessions = []
        self.listener = None
        self._lock = threading.Lock()
        self._threads = []

    def __enter__(self):
        return self.start()

    def start(self):
        self.listener = net.listen(self.address, self.backlog)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is None:
            self.check()
        else:
            for session in self.sessions:
                print(f"backend session {session.number}: end={session.end} "
                      f"received={session.received[:2000]!r} error={session.error}")

    def stop(self):
        if self.listener:
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.listener = None
        for session in list(self.sessions):
            if not session.closed.is_set():
                session.close()
        for thread in list(self._threads):
            thread.join(5)

    def check(self):
        """An assertion that failed in a session's thread fails the test."""
        for session in self.sessions:
            if session.error:
                raise AssertionError(f"backend session {session.number}:\n{session.error}")

    def _accept(self):
        listener = self.listener
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                session = Peer(sock, len(self.sessions))
                self.sessions.append(session)
            thread = threading.Thread(target=self._run, args=(session,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, session):
        try:
            self.serve(session)
        except (ConnectionError, OSError):
            session.end = session.end or "reset"
        except Exception:
            session.error = traceback.format_exc()
        finally:
            session.close()
            session.closed.set()

    def serve(self, session):
        raise NotImplementedError

    # -- what tests ask

    def session(self, number=0):
        """The number-th connection, waited for."""
        net.wait_until(lambda: len(self.sessions) > number, f"backend connection {number}")
        return self.sessions[number]

    def ended(self, number=0):
        """The number-th connection after its end."""
        session = self.session(number)
        assert session.closed.wait(net.DEADLINE), f"backend connection {number} stays open"
        return session

    @property
    def messages(self):
        return [message for session in list(self.sessions) for message in session.messages]

    @property
    def commands(self):
        return [command for session in list(self.sessions) for command in session.commands]


class ScriptedBackend(_Server):
    """Runs scene(peer) on each connection; give several scenes for several connections."""

    def __init__(self, *scenes, address=None):
        super().__init__(address)
        self.scenes = scenes

    def serve(self, session):
        self.scenes[min(session.number, len(self.scenes) - 1)](session)


class Backend(_Server):
    """A mail server that accepts everything and remembers it byte for byte.

    replies: verb -> bytes, or callable(session, line) -> bytes or None for the ordinary answer.
             "354" names the answer to DATA, "." that to the end of data.
    keep:    False stores only size and SHA-256 of bodies and no raw bytes.
    """

    def __init__(self, keywords=None, greeting=b"220 backend.example.org ESMTP ready\r\n",
                 lmtp=False, replies=None, address=None, keep=True, name="backend.example.org"):
        super().__init__(address)
        self.keywords = KEYWORDS if keywords is None else keywords
        self.greeting = greeting
        self.lmtp = lmtp
        self.replies = {k.upper(): v for k, v in (replies or {}).items()}
        self.keep = keep
        self.name = name

    def ehlo_reply(self):
        lines = [f"{self.name} greets you", *self.keywords]
        text = [f"250-{line}\r\n" for line in lines[:-1]] + [f"250 {lines[-1]}\r\n"]
        return "".join(text).encode()

    def serve(self, session):
        session.keep = self.keep
        state = Message()
        session.send(self.greeting)
        while True:
            line = session.read_line()
            if not line.endswith(b"\n"):
                if line:
                    session.commands.append(line)
                return
            command = line[:-2] if line.endswith(b"\r\n") else line
            session.commands.append(command)
            verb = command.split(b" ")[0].upper().decode("latin-1")
            reply = self._custom(verb, session, command)
            if reply is None:
                reply = self._answer(verb, session, command, state)
            elif verb == "MAIL" and reply.startswith(b"2"):
                state.sender = command[5:]
            elif verb == "RCPT" and reply.startswith(b"2"):
                state.rcpts.append(command[5:])
            if verb in ("EHLO", "HELO", "LHLO", "RSET"):
                state.__init__()
            session.send(reply)
            if verb == "QUIT" or reply.startswith(b"421"):
                return
            if verb == "DATA" and reply.startswith(b"354"):
                if not self._data(session, state):
                    return
                verdict = self._verdict(session, state)
                session.messages.append(Message(**vars(state)))     # before anybody can ask
                session.send(verdict)
                state.__init__()

    def _custom(self, verb, session, command):
        custom = self.replies.get(verb)
        return custom(session, command) if callable(custom) else custom

    def _answer(self, verb, session, command, state):
        if verb == ("LHLO" if self.lmtp else "EHLO"):
            return self.ehlo_reply()
        if verb == "HELO" and not self.lmtp:
            return f"250 {self.name}\r\n".encode()
        if verb == "MAIL":
            state.sender = command[5:]
            return b"250 2.1.0 sender ok\r\n"
        if verb == "RCPT":
            state.rcpts.append(command[5:])
            return b"250 2.1.5 recipient ok\r\n"
        if verb == "DATA":
            return b"354 go ahead\r\n" if state.rcpts else b"503 5.5.1 no recipient\r\n"
        if verb == "BDAT":
            return self._bdat(session, command, state)
        if verb in ("RSET", "NOOP", "VRFY", "HELP"):
            return b"250 2.0.0 ok\r\n"
        if verb == "QUIT":
            return b"221 2.0.0 bye\r\n"
        return b"502 5.5.2 what?\r\n"

    def _bdat(self, session, command, state):
        words = command.split()
        count = int(words[1])
        chunk = session.read_exactly(count) if self.keep else session.skip(count)
        if (len(chunk) if self.keep else chunk) < count:
            raise ConnectionError("the client went in the middle of a chunk")
        state.chunks.append(chunk)
        if len(words) > 2:
            if self.keep:
                state.body = b"".join(state.chunks)
            session.messages.append(Message(**vars(state)))
            answer = self._verdict(session, state)
            state.__init__()
            return answer
        return b"250 2.0.0 %d octets\r\n" % count

    def _verdict(self, session, state):
        custom = self._custom(".", session, b".")
        if custom is not None:
            return custom
        if self.lmtp:
            return b"".join(b"250 2.1.5 %s delivered\r\n" % rcpt for rcpt in state.rcpts)
        return b"250 2.0.0 accepted\r\n"

    def _data(self, session, state):
        """Read up to CRLF.CRLF; False when the connection ends before."""
        digest, size, tail = hashlib.sha256(), 0, b"\r\n"   # an empty message is just ".CRLF"
        kept = []
        pending = tail
        while True:
            at = pending.find(END)
            if at >= 0:
                body = pending[:at + 2]
                session.buffer = pending[at + len(END):]
                break
            # All but the last four bytes cannot belong to the end mark.
            body, pending = pending[:-4], pending[-4:]
            digest.update(body)
            size += len(body)
            if self.keep:
                kept.append(body)
            if not session.buffer and not session.fill():
                session.events["unfinished"] = (b"".join(kept) + pending)[2:]
                return False
            pending, session.buffer = pending + session.buffer, b""
        digest.update(body)
        size += len(body)
        kept.append(body)
        state.size = size - 2
        state.sha256 = digest.hexdigest()     # with the leading CRLF, see digest_of()
        state.body = b"".join(kept)[2:] if self.keep else b""
        return True


def digest_of(chunks):
    """The SHA-256 that Message.sha256 has for a body given in pieces."""
    digest = hashlib.sha256(b"\r\n")
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def keywords_of(reply):
    """The keyword lines of an EHLO reply's raw bytes."""
    return [re.sub(rb"^250[ -]", b"", line).decode() for line in reply.split(b"\r\n")[1:] if line]
