# SPDX-License-Identifier: ISC
"""A mail server that wants a login, and really checks it: each mechanism by its RFC, with Python's
own hashes.

    with SaslServer(pki.ecdsa, "SCRAM-SHA-256 PLAIN", user="joe", secret="open sesame") as server:
        ...
        server.ended().events["login"]      # the mechanism by which somebody has come in
"""

import base64
import hashlib
import hmac
import json
import os

from tls_server import TlsServer

NEEDS_LOGIN = b"530 5.7.0 Authentication required\r\n"
REFUSED = b"535 5.7.8 Authentication credentials invalid\r\n"
ACCEPTED = b"235 2.7.0 Welcome\r\n"


def b64(data):
    return base64.b64encode(data)


class Failed(Exception):
    """The login has; its argument is what is said then."""


class SaslServer(TlsServer):
    """mechanisms:  offered under TLS, the only ones that are taken.
    in_clear:    what is offered before TLS.
    quirks:      what it does otherwise than it should: a set of words, see where they are used.
    refusal:     what it says to a login that is wrong."""

    def __init__(self, leaf, mechanisms, user="joe", secret="secret", in_clear="", quirks=(),
                 refusal=REFUSED, iterations=4096, **more):
        super().__init__(leaf, **more)
        self.mechanisms = mechanisms
        self.offered_in_clear = in_clear
        self.user, self.secret_text = user.encode(), secret.encode()
        self.quirks = set(quirks)
        self.refusal = refusal
        self.iterations = iterations
        self.replies.setdefault("AUTH", self._auth)
        self.replies.setdefault("MAIL", self._mail)

    def _ehlo(self, session, line):
        offered = self.mechanisms if session.tls else self.offered_in_clear
        plain, self.keywords = self.keywords, list(self.keywords)
        if offered:
            self.keywords.append(f"AUTH {offered}")
        try:
            return super()._ehlo(session, line)
        finally:
            self.keywords = plain

    def _mail(self, session, line):
        return None if "login" in session.events else NEEDS_LOGIN

    # -- the exchange

    def _auth(self, session, line):
        words = line.split()
        name = words[1].upper().decode()
        if "login" in session.events:
            return b"503 5.5.1 already\r\n"
        if not session.tls or name not in self.mechanisms.split():
            return b"504 5.5.4 no such mechanism\r\n"
        first = base64.b64decode(words[2], validate=True) if len(words) > 2 else None
        session.events.setdefault("attempts", []).append((name, first is not None))
        steps = {"PLAIN": self._plain, "LOGIN": self._login, "CRAM-MD5": self._cram,
                 "SCRAM-SHA-1": self._scram, "SCRAM-SHA-256": self._scram,
                 "XOAUTH2": self._bearer, "OAUTHBEARER": self._bearer}
        try:
            steps[name](session, name, first)
        except Failed as why:
            return why.args[0] if why.args else self.refusal
        session.events["login"] = name
        return ACCEPTED

    def _ask(self, session, challenge):
        """Sends a challenge; the decoded response."""
        session.send(b"334 " + b64(challenge) + b"\r\n")
        line = session.read_line()
        session.commands.append(line.rstrip(b"\r\n"))
        if line == b"*\r\n" or not line:
            raise Failed(b"501 5.7.0 cancelled\r\n")
        return base64.b64decode(line.strip(), validate=True)

    def _initial(self, session, first):
        return first if first is not None else self._ask(session, b"")

    def _must(self, good):
        if not good:
            raise Failed()

    def _plain(self, session, name, first):
        message = self._initial(session, first)
        self._must(message == b"\0" + self.user + b"\0" + self.secret_text)

    def _login(self, session, name, first):
        user = self._ask(session, b"Username:")
        self._must((user, self._ask(session, b"Password:")) == (self.user, self.secret_text))

    def _cram(self, session, name, first):
        challenge = b"<%s@server.example.org>" % os.urandom(8).hex().encode()
        digest = hmac.new(self.secret_text, challenge, hashlib.md5).hexdigest().encode()
        self._must(self._ask(session, challenge) == self.user + b" " + digest)

    def _scram(self, session, name, first):
        """RFC 5802; the quirks are an impostor's."""
        kind = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[name]

        def mac(key, data):
            return hmac.new(key, data, kind).digest()

        message = self._initial(session, first)
        self._must(message.startswith(b"n,,n=" + self.user + b",r="))
        bare = message[3:]
        nonce, salt = bare.split(b"r=")[1] + b64(os.urandom(12)), os.urandom(12)
        if "foreign nonce" in self.quirks:
            nonce = b64(os.urandom(18))
        question = b"r=%s,s=%s,i=%d" % (nonce, b64(salt), self.iterations)
        final = self._ask(session, question)
        without, _, proof = final.rpartition(b",p=")
        if "trusts anybody" in self.quirks:
            return
        salted = hashlib.pbkdf2_hmac(kind, self.secret_text, salt, self.iterations)
        everything = bare + b"," + question + b"," + without
        client = mac(salted, b"Client Key")
        wanted = mac(hashlib.new(kind, client).digest(), everything)
        theirs = bytes(a ^ b for a, b in zip(client, wanted))
        good = b64(theirs) == proof and without == b"c=biws,r=" + nonce
        if not good and "impostor" not in self.quirks:
            if "tells error" in self.quirks:
                self._must(self._ask(session, b"e=invalid-proof") == b"")
            raise Failed()
        signature = mac(mac(salted, b"Server Key"), everything)
        if "impostor" in self.quirks:
            signature = os.urandom(len(signature))
        self._must(self._ask(session, b"v=" + b64(signature)) == b"")

    def _bearer(self, session, name, first):
        message = self._initial(session, first)
        start = b"user=" + self.user if name == "XOAUTH2" else b"n,a=" + self.user + b","
        if message == start + b"\1auth=Bearer " + self.secret_text + b"\1\1":
            return
        why = json.dumps({"status": "401", "schemes": "bearer"}).encode()
        session.events["excuse"] = self._ask(session, why)
        raise Failed()
