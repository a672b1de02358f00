# SPDX-License-Identifier: ISC
"""Real POP3 clients, each fetching one message by its own command line.

    client = Curl(root)
    done = client.fetch(Errand(port=4995, way=IMPLICIT, ca="/srv/ca.pem"))
    done.ok, done.output        # what the client itself says about it
    done.message                # what it has fetched, lines ending in CRLF; None: nothing
"""

import re
import threading
from dataclasses import dataclass

from clients import CLEAR, HOSTNAME, IMPLICIT, STARTTLS, TRUST
from mailboxes import PASSWORD
from messages import crlf, unstuffed
from roots import NAME, USER

PACKAGES = ["fetchmail", "mpop", "curl", "getmail6", "openssl", "gnutls-bin"]
OUT = "/srv/fetched"


@dataclass
class Errand:
    port: int
    way: str            # STARTTLS, IMPLICIT or CLEAR
    ca: str             # file of trusted certificates, inside of the root
    host: str = NAME


@dataclass
class Done:
    ok: bool
    output: str
    message: bytes = None


class Fetcher:
    name = None
    ways = (STARTTLS, IMPLICIT, CLEAR)
    verifies = (TRUST, HOSTNAME)    # what of a certificate it checks
    added = ()                      # header fields that it documents to put in front

    def __init__(self, root):
        self.root = root

    def fetch(self, errand):
        raise NotImplementedError

    def run(self, *args, env=None):
        done = self.root.run(*args, check=False, env=env)
        return Done(done.returncode == 0, done.stdout.decode(errors="backslashreplace"))

    def fetched(self, directory):
        files = [path for path in self.root.path(directory).rglob("*") if path.is_file()]
        return crlf(files[0].read_bytes()) if files else None


class Curl(Fetcher):
    name = "curl"

    def fetch(self, errand):
        scheme = "pop3s" if errand.way == IMPLICIT else "pop3"
        needs = ["--ssl-reqd"] if errand.way == STARTTLS else []
        self.root.mkdir(OUT)
        done = self.run("curl", "-sS", *needs, "--cacert", errand.ca, "--user", f"{USER}:{PASSWORD}",
                        "--output", f"{OUT}/message", f"{scheme}://{errand.host}:{errand.port}/1")
        path = self.root.path(f"{OUT}/message")
        done.message = path.read_bytes() if done.ok and path.exists() else None
        return done


class Mpop(Fetcher):
    name = "mpop"

    def fetch(self, errand):
        tls = "off" if errand.way == CLEAR else "on"
        starttls = "on" if errand.way == STARTTLS else "off"
        self.root.mkdir(OUT)
        for sub in ("new", "cur", "tmp"):
            self.root.mkdir(f"{OUT}/{sub}")
        more = f"tls_trust_file {errand.ca}\ntls_starttls {starttls}\n" if tls == "on" else ""
        self.root.write("/srv/mpoprc", f"account default\nhost {errand.host}\nport {errand.port}\n"
                        f"user {USER}\npassword {PASSWORD}\nauth {'user' if tls == 'off' else 'on'}\n"
                        f"tls {tls}\n{more}keep on\nreceived_header off\nuidls_file /srv/uidls\n"
                        f"delivery maildir {OUT}\n", 0o600)
        self.root.path("/srv/uidls").unlink(missing_ok=True)
        done = self.run("mpop", "-C", "/srv/mpoprc", "--debug")
        done.message = self.fetched(OUT)
        return done


class Fetchmail(Fetcher):
    """Asks CAPA, and takes STLS where it is; told to, only so."""
    name = "fetchmail"

    def fetch(self, errand):
        self.root.mkdir(OUT)
        self.root.mkdir("/srv/fetchmail", 0o700)
        tls = {STARTTLS: "sslproto TLS1.2+ sslcertck", IMPLICIT: "ssl sslproto TLS1.2+ sslcertck",
               CLEAR: "sslproto ''"}[errand.way]
        cert = f"sslcertfile {errand.ca}" if errand.way != CLEAR else ""
        self.root.write("/srv/fetchmail/rc", f"set invisible\npoll {errand.host} service {errand.port} "
                        f"proto pop3 user {USER} password \"{PASSWORD}\" {tls} {cert} keep no rewrite "
                        f"fetchall mda \"cat >{OUT}/message\"\n", 0o600)
        done = self.run("fetchmail", "-v", "-f", "/srv/fetchmail/rc", "--pidfile", "/srv/fetchmail/pid",
                        "-i", "/srv/fetchmail/ids", env={"FETCHMAILHOME": "/srv/fetchmail"})
        done.message = self.fetched(OUT)
        return done


class Getmail(Fetcher):
    """Knows no STLS."""
    name = "getmail6"
    ways = (IMPLICIT, CLEAR)
    added = ("return-path", "delivered-to", "received")

    def fetch(self, errand):
        kind = "SimplePOP3SSLRetriever" if errand.way == IMPLICIT else "SimplePOP3Retriever"
        trust = f"ca_certs = {errand.ca}\n" if errand.way == IMPLICIT else ""
        self.root.mkdir("/srv/getmail", 0o700)
        self.root.mkdir(OUT, owner=USER)
        for sub in ("new", "cur", "tmp"):
            self.root.mkdir(f"{OUT}/{sub}", owner=USER)
        self.root.write("/srv/getmail/rc", f"[retriever]\ntype = {kind}\nserver = {errand.host}\n"
                        f"port = {errand.port}\nusername = {USER}\npassword = {PASSWORD}\n{trust}"
                        f"[destination]\ntype = Maildir\npath = {OUT}/\nuser = {USER}\n"
                        "[options]\nread_all = true\ndelete = false\ndelivered_to = false\n"
                        "received = false\n", 0o600)
        done = self.run("getmail", "--getmaildir=/srv/getmail", "--rcfile=rc")
        done.message = self.fetched(OUT)
        return done


class _Line(Fetcher):
    """A program that carries lines: we do the talking. Each command waits for its answer."""
    ways = (STARTTLS, IMPLICIT)
    ready = None            # what it prints when TLS is up, if that can be seen

    def command(self, errand):
        raise NotImplementedError

    def fetch(self, errand):
        process = self.root.popen(*self.command(errand))
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        said = []
        with process:
            try:
                message = self._converse(process, errand, said)
            except BrokenPipeError:
                message = None
            process.stdin = None
        reader.join()
        output = b"".join(said + errors).decode(errors="backslashreplace")
        return Done(message is not None, output, message)

    def _converse(self, process, errand, said):
        def hear():
            for line in process.stdout:
                said.append(line)
                if re.match(rb"\+OK|-ERR", line):
                    return line.startswith(b"+OK")
            return False

        def tell(line):
            process.stdin.write(line.encode() + b"\r\n")
            process.stdin.flush()
            return hear()

        for line in process.stdout if self.ready else ():
            said.append(line)
            if self.ready in line:
                break
        if errand.way == IMPLICIT and not hear():
            return None
        if not (tell(f"USER {USER}") and tell(f"PASS {PASSWORD}") and tell("RETR 1")):
            return None
        lines = []
        for line in process.stdout:
            if line in (b".\r\n", b".\n"):
                break
            lines.append(line)
        tell("QUIT")
        process.stdin.close()
        return unstuffed(b"".join(lines))


class OpensslClient(_Line):
    name = "openssl-s_client"

    def command(self, errand):
        starttls = ["-starttls", "pop3"] if errand.way == STARTTLS else []
        # -quiet: Q and R at the beginning of a line are text.
        return ["openssl", "s_client", "-quiet", "-connect", f"{errand.host}:{errand.port}", "-CAfile",
                errand.ca, "-verify_hostname", errand.host, "-verify_return_error", *starttls]


class GnutlsClient(_Line):
    name = "gnutls-cli"
    ready = b"Simple Client Mode"

    def command(self, errand):
        starttls = ["--starttls-proto=pop3"] if errand.way == STARTTLS else []
        return ["gnutls-cli", f"--x509cafile={errand.ca}", f"--port={errand.port}", *starttls,
                errand.host]


ALL = [Curl, Mpop, Fetchmail, Getmail, OpensslClient, GnutlsClient]
