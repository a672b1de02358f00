# SPDX-License-Identifier: ISC
"""Real mail clients, each sending one message by its own command line.

    client = Curl(root)
    done = client.send(Job(port=4465, way=IMPLICIT, ca="/srv/ca.pem", message=message()))
    done.ok, done.output        # what the client itself says about it

What a client checks of a certificate is in its class, and the tests show that it is so.
"""

import re
import threading
from dataclasses import dataclass

from messages import BINARY, LINES, RCPT, SENDER, lf, stuffed
from net import wait_until
from roots import NAME

STARTTLS, IMPLICIT, CLEAR = "starttls", "implicit", "clear"

# They all fit into one root; those that are mail servers as well exclude one another.
PACKAGES = ["swaks", "libnet-ssleay-perl", "openssl", "gnutls-bin", "curl", "msmtp", "mutt",
            "s-nail", "nullmailer", "esmtp", "python3"]

TRUST, HOSTNAME = "trust", "name"


@dataclass
class Job:
    port: int
    way: str            # STARTTLS, IMPLICIT or CLEAR
    ca: str             # file of trusted certificates, inside of the root
    message: bytes      # lines end in CRLF
    host: str = NAME
    login: tuple = None     # name and password that it is told to log in with

    @property
    def body(self):
        return self.message.partition(b"\r\n\r\n")[2]


@dataclass
class Done:
    ok: bool
    output: str


class Client:
    name = None
    packages = PACKAGES
    ways = (STARTTLS, IMPLICIT)
    verifies = (TRUST, HOSTNAME)    # what of a certificate it checks when told to be strict
    lines = None                    # of the message that it can carry; None: all there are
    added = ()                      # header fields that it documents to put in front
    own_header = False              # writes the whole header itself
    queue = None                    # where it keeps a message that it could not yet send

    def __init__(self, root):
        self.root = root

    def send(self, job):
        raise NotImplementedError

    def run(self, *args, input=b""):
        done = self.root.run(*args, input=input, check=False)
        return Done(done.returncode == 0, done.stdout.decode(errors="backslashreplace"))

    def kept(self):
        """The files of its queue; an empty one is no message."""
        files = [path for path in self.root.path(self.queue).rglob("*") if path.is_file()]
        return [path.read_bytes() for path in files if path.stat().st_size]


class Swaks(Client):
    """--tls-verify is about the issuer; this version does not compare names."""
    name = "swaks"
    ways = (STARTTLS, IMPLICIT, CLEAR)
    verifies = (TRUST,)

    def send(self, job):
        tls = {STARTTLS: ["--tls", "--tls-verify"], IMPLICIT: ["--tls-on-connect", "--tls-verify"],
               CLEAR: []}[job.way]
        login = ["--auth", "PLAIN", "--auth-user", job.login[0], "--auth-password",
                 job.login[1]] if job.login else []
        file = self.root.write("/srv/message", stuffed(job.message) + b".\r\n")
        return self.run("swaks", "--server", job.host, "--port", job.port, "--helo",
                        "client.example.org", "--from", SENDER, "--to", RCPT, "--no-data-fixup",
                        "--data", f"@{file}", "--suppress-data", "--tls-ca-path", job.ca, *tls,
                        *login)


class Curl(Client):
    name = "curl"
    ways = (STARTTLS, IMPLICIT, CLEAR)

    def send(self, job):
        scheme = "smtps" if job.way == IMPLICIT else "smtp"
        tls = ["--ssl-reqd"] if job.way == STARTTLS else []
        login = ["--user", ":".join(job.login)] if job.login else []
        file = self.root.write("/srv/message", job.message)
        return self.run("curl", "-sSv", "--cacert", job.ca, "--mail-from", SENDER, "--mail-rcpt",
                        RCPT, "-T", file, *tls, *login,
                        f"{scheme}://{job.host}:{job.port}/client.example.org")


class Msmtp(Client):
    name = "msmtp"
    ways = (STARTTLS, IMPLICIT, CLEAR)

    def send(self, job):
        tls = {STARTTLS: ["--tls=on", "--tls-starttls=on"],
               IMPLICIT: ["--tls=on", "--tls-starttls=off"], CLEAR: ["--tls=off"]}[job.way]
        login = ["--auth=plain", f"--user={job.login[0]}",
                 f"--passwordeval=echo {job.login[1]}"] if job.login else []
        return self.run("msmtp", f"--host={job.host}", f"--port={job.port}", f"--from={SENDER}",
                        f"--tls-trust-file={job.ca}", *tls, *login, RCPT, input=lf(job.message))


class Smtplib(Client):
    name = "smtplib"
    ways = (STARTTLS, IMPLICIT, CLEAR)

    SCRIPT = """
import smtplib, ssl, sys
way, host, port, ca, sender, rcpt, *login = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if way == "implicit":
    server = smtplib.SMTP_SSL(host, int(port), context=context)
else:
    server = smtplib.SMTP(host, int(port))
if way == "starttls":
    server.starttls(context=context)
if login:
    server.login(*login)
refused = server.sendmail(sender, [rcpt], sys.stdin.buffer.read(), ["BODY=8BITMIME"])
server.quit()
sys.exit(len(refused))
"""

    def send(self, job):
        return self.run("/usr/bin/python3", "-c", self.SCRIPT, job.way, job.host, job.port, job.ca,
                        SENDER, RCPT, *(job.login or ()), input=job.message)


class _Line(Client):
    """A program that carries lines: we do the talking. Each command waits for its answer."""
    ready = None            # what it prints when TLS is up, if that can be seen
    verbose = "stdout"

    def command(self, job):
        raise NotImplementedError

    def send(self, job):
        process = self.root.popen(*self.command(job))
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        with process:
            try:
                said = self._converse(process, job)
            except BrokenPipeError:
                said = [b"(closed)"]
            process.stdin = None
        reader.join()
        codes = [line[:3] for line in said if re.match(rb"\d{3} ", line)]
        output = b"".join(said + errors).decode(errors="backslashreplace")
        return Done(codes[-5:] == [b"250", b"250", b"354", b"250", b"221"], output)

    def _converse(self, process, job):
        said = []

        def hear():
            """Up to the last line of a reply; false at the end."""
            for line in process.stdout:
                said.append(line)
                if re.match(rb"\d{3} ", line):
                    return int(line[:3]) < 400
            return False

        def tell(data):
            process.stdin.write(data)
            process.stdin.flush()
            return hear()

        if self.ready:
            for line in process.stdout:
                said.append(line)
                if self.ready in line:
                    break
        commands = [b"EHLO client.example.org\r\n", f"MAIL FROM:<{SENDER}> BODY=8BITMIME\r\n".encode(),
                    f"RCPT TO:<{RCPT}>\r\n".encode(), b"DATA\r\n", stuffed(job.message) + b".\r\n",
                    b"QUIT\r\n"]
        if job.way == IMPLICIT and not hear():
            return said
        for command in commands:
            if not tell(command):
                break
        process.stdin.close()
        said.extend(process.stdout)
        return said


class OpensslClient(_Line):
    name = "openssl-s_client"

    def command(self, job):
        starttls = ["-starttls", "smtp", "-name", "client.example.org"] if job.way == STARTTLS else []
        # -quiet: Q and R at the beginning of a line are text.
        return ["openssl", "s_client", "-quiet", "-connect", f"{job.host}:{job.port}", "-CAfile",
                job.ca, "-verify_hostname", job.host, "-verify_return_error", *starttls]


class GnutlsClient(_Line):
    name = "gnutls-cli"
    ready = b"Simple Client Mode"

    def command(self, job):
        starttls = ["--starttls-proto=smtp"] if job.way == STARTTLS else []
        return ["gnutls-cli", f"--x509cafile={job.ca}", f"--port={job.port}", *starttls, job.host]


# Mail programs encode a text with longer lines as quoted-printable.
_SHORT_LINES = [line for line in LINES if len(line) < 900]


def _url(job):
    scheme = "smtps" if job.way == IMPLICIT else "smtp"
    login = ":".join(job.login) + "@" if job.login else ""
    return f"{scheme}://{login}{job.host}:{job.port}"


class Mutt(Client):
    name = "mutt"
    ways = (STARTTLS, IMPLICIT, CLEAR)
    own_header = True
    lines = _SHORT_LINES

    def send(self, job):
        tls = "no" if job.way == CLEAR else "yes"
        self.root.write("/srv/muttrc", f"""
set smtp_url = "{_url(job)}/"
set ssl_starttls = {tls}
set ssl_force_tls = {tls}
set certificate_file = {job.ca}
set from = {SENDER}
set use_envelope_from = yes
set envelope_from_address = {SENDER}
set hidden_host = yes
set copy = no
set allow_8bit = yes
set charset = utf-8
set send_charset = utf-8
""")
        return self.run("mutt", "-n", "-F", "/srv/muttrc", "-s", "a message", RCPT,
                        input=lf(job.body))


class Snail(Client):
    name = "s-nail"
    ways = (STARTTLS, IMPLICIT, CLEAR)
    own_header = True
    lines = _SHORT_LINES

    def send(self, job):
        starttls = ["smtp-use-starttls"] if job.way == STARTTLS else []
        settings = ["v15-compat=yes", f"mta={_url(job)}", *starttls,
                    f"smtp-auth={'plain' if job.login else 'none'}", f"tls-ca-file={job.ca}", "tls-ca-no-defaults",
                    "tls-verify=strict", f"from={SENDER}", "hostname=client.example.org",
                    "ttycharset=utf-8", "sendcharsets=utf-8", "mime-encoding=8b", "sendwait"]
        options = [part for one in settings for part in ("-S", one)]
        return self.run("s-nail", "-:/", *options, "-s", "a message", RCPT,
                        input=lf(job.body))


class Nullmailer(Client):
    name = "nullmailer"
    ways = (STARTTLS, IMPLICIT, CLEAR)
    added = ("received",)
    queue = "/var/spool/nullmailer/queue"

    def send(self, job):
        tls = {STARTTLS: "--starttls", IMPLICIT: "--ssl", CLEAR: ""}[job.way]
        trust = f"--x509cafile={job.ca}" if tls else ""
        login = "--user={} --pass={}".format(*job.login) if job.login else ""
        self.root.write("/etc/nullmailer/remotes",
                        f"{job.host} smtp --port={job.port} {tls} {trust} {login}\n")
        self.root.run("find", self.queue, "-type", "f", "-delete")
        self.root.run("nullmailer-inject", "-f", SENDER, RCPT, input=lf(job.message))
        return self.flush()

    def flush(self):
        start = len(self.root.log)
        daemon = self.root.spawn("nullmailer-send")

        def said(text):
            return any(text in line for line in self.root.log[start:])

        try:
            wait_until(lambda: said("Sent file") or said("Sending failed"), "nullmailer has tried")
        finally:
            daemon.stop()
        return Done(said("Sent file"), "\n".join(self.root.log[start:]))


class Ssmtp(Client):
    """Verifies nothing, whatever it is told."""
    name = "ssmtp"
    packages = ["ssmtp"]
    ways = (STARTTLS, IMPLICIT, CLEAR)
    verifies = ()
    added = ("received",)

    def send(self, job):
        tls, starttls = {STARTTLS: ("YES", "YES"), IMPLICIT: ("YES", "NO"),
                         CLEAR: ("NO", "NO")}[job.way]
        login = "AuthUser={}\nAuthPass={}\n".format(*job.login) if job.login else ""
        self.root.write("/etc/ssmtp/ssmtp.conf", f"mailhub={job.host}:{job.port}\nUseTLS={tls}\n"
                        f"UseSTARTTLS={starttls}\nTLS_CA_File={job.ca}\nFromLineOverride=YES\n"
                        f"hostname=client.example.org\n{login}")
        return self.run("ssmtp", "-v", "-f", SENDER, RCPT, input=lf(job.message))


class Dma(Client):
    """Verifies nothing; and sends a password in clear if told INSECURE."""
    name = "dma"
    packages = ["dma"]
    ways = (STARTTLS, IMPLICIT, CLEAR)
    verifies = ()
    lines = [line for line in LINES + BINARY if len(line) <= 997]   # it takes no longer ones
    added = ("received",)
    queue = "/var/spool/dma"

    def send(self, job):
        tls = {STARTTLS: "SECURETRANSFER\nSTARTTLS\n", IMPLICIT: "SECURETRANSFER\n",
               CLEAR: "INSECURE\n"}[job.way]
        login = "{0}|{host}:{1}\n".format(*job.login, host=job.host) if job.login else ""
        self.root.write("/etc/dma/auth.conf", login)
        self.root.write("/etc/dma/dma.conf", f"SMARTHOST {job.host}\nPORT {job.port}\n{tls}"
                        "AUTHPATH /etc/dma/auth.conf\nMAILNAME client.example.org\nNULLCLIENT\n")
        self.root.run("find", self.queue, "-type", "f", "-delete")
        self.root.run("dma", "-bq", "-i", "-f", SENDER, RCPT, input=lf(job.message))
        return self.flush()

    def flush(self):
        """It would try again by itself, after some minutes."""
        start = len(self.root.log)
        daemon = self.root.spawn("dma", "-D", "-q")

        def said(*texts):
            return any(text in line for line in self.root.log[start:] for text in texts)

        try:
            wait_until(lambda: said("delivery successful", "delivery deferred", "delivery failed"),
                       "dma has tried")
        finally:
            daemon.stop()
        return Done(said("delivery successful"), "\n".join(self.root.log[start:]))


class Esmtp(Client):
    name = "esmtp"
    ways = (STARTTLS, CLEAR)

    def send(self, job):
        tls = "disabled" if job.way == CLEAR else "required"
        login = 'username="{}"\npassword="{}"\n'.format(*job.login) if job.login else ""
        self.root.write("/srv/esmtprc", f"hostname={job.host}:{job.port}\nstarttls={tls}\n"
                        f"helo=client.example.org\n{login}")
        return self.run("env", f"SSL_CERT_FILE={job.ca}", "esmtp", "-v", "-C", "/srv/esmtprc", "-f",
                        SENDER, RCPT, input=lf(job.message))


ALL = [Swaks, OpensslClient, GnutlsClient, Curl, Msmtp, Smtplib, Mutt, Snail, Nullmailer, Ssmtp, Dma,
       Esmtp]
