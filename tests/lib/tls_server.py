# SPDX-License-Identifier: ISC
"""A mail server with TLS of its own, for the client side: it remembers what came in clear.

    with TlsServer(pki.ecdsa) as server:
        ...
        session = server.ended()
        session.clear       # every byte before TLS
        session.secret      # every byte after it
        session.sni         # the name the client asked for, or None
"""

import ssl

from backend import Backend

GO_AHEAD = b"220 2.0.0 ready\r\n"


class TlsServer(Backend):
    """leaf:     certificate and key; None: TLS cannot be had.
    offers:    STARTTLS is among the keywords.
    answer:    to STARTTLS; the handshake follows if it is the go-ahead (or begins with it).
    vanishes:  closes instead of the handshake.
    implicit:  TLS from the first byte.
    client_ca: asks for a certificate, and takes those of this authority."""

    def __init__(self, leaf, offers=True, answer=GO_AHEAD, vanishes=False, implicit=False,
                 client_ca=None, maximum=None, **more):
        super().__init__(name="server.example.org",
                         greeting=b"220 server.example.org ESMTP secret-greeting\r\n", **more)
        self.offers = offers
        self.answer = answer
        self.vanishes = vanishes
        self.implicit = implicit
        self.context = self._context(leaf, client_ca, maximum) if leaf else None
        self.replies.setdefault("STARTTLS", self._starttls)
        self.replies.setdefault("EHLO", self._ehlo)

    @staticmethod
    def _context(leaf, client_ca, maximum):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert, leaf.key)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        if maximum:
            context.maximum_version = maximum
        return context

    def serve(self, session):
        session.clear, session.secret_from = b"", 0
        session.sni = session.peer_certificate = session.tls = None
        if self.implicit:
            self._secure(session)
        super().serve(session)

    def _ehlo(self, session, line):
        lines = [f"{self.name} greets you", *self.keywords]
        if self.offers and not session.tls:
            lines.append("STARTTLS")
        text = [f"250-{one}\r\n" for one in lines[:-1]] + [f"250 {lines[-1]}\r\n"]
        return "".join(text).encode()

    def _starttls(self, session, line):
        session.send(self.answer)
        if self.vanishes:
            raise ConnectionError("vanished, as was asked")
        if self.answer.startswith(GO_AHEAD):
            self._secure(session)
        return b""

    def _secure(self, session):
        session.clear = session.received

        def remember(sock, name, context):
            session.sni = name

        self.context.sni_callback = remember
        session.sock = self.context.wrap_socket(session.sock, server_side=True)
        session.tls = session.sock.version()
        session.peer_certificate = session.sock.getpeercert()
        session.secret_from = len(session.received)

    # -- what tests ask

    @staticmethod
    def in_clear(session):
        """What came outside of TLS."""
        return session.clear if session.tls else session.received

    @staticmethod
    def secret(session):
        return session.received[session.secret_from:] if session.tls else b""
