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

from messages import LINES, RCPT, SENDER, lf, stuffed
from net import wait_until
from roots import NAME

STARTTLS, IMPLICIT, CLEAR = "starttls", "implicit", "clear"

# They all fit into one root; those that are mail servers as well exclude one another.
PACKAGES = ["swaks", "libnet-ssleay-perl", "openssl", "gnutls-bin", "curl", "msmtp", "mutt",
            "s-nail", "nullmailer", "python3"]

TRUST, HOSTNAME = "trust", "name"


@dataclass
class Job:
    port: int
    way: str            # STARTTLS, IMPLICIT or CLEAR
    ca: str             # file of trusted certificates, inside of the root
    message: bytes      # lines end in CRLF
    host: str = NAME

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

    def __init__(self, root):
        self.root = root

    def send(self, job):
        raise NotImplementedError

    def run(self, *args, input=b""):
        done = self.root.run(*args, input=input, check=False)
        return Done(done.returncode == 0, done.stdout.decode(errors="backslashreplace"))


class Swaks(Client):
    """--tls-verify is about the issuer; this version does not compare names."""
    name = "swaks"
    ways = (STARTTLS, IMPLICIT, CLEAR)
    verifies = (TRUST,)

    def send(self, job):
        tls = {STARTTLS: ["--tls", "--tls-verify"], IMPLICIT: ["--tls-on-connect", "--tls-verify"],
               CLEAR: []}[job.way]
        file = self.root.write("/srv/message", stuffed(job.message) + b".\r\n")
        return self.run("swaks", "--server", job.host, "--port", job.port, "--helo",
                        "client.example.org", "--from", SENDER, "--to", RCPT, "--no-data-fixup",
                        "--data", f"@{file}", "--suppress-data", "--tls-ca-path", job.ca, *tls)


class Curl(Client):
    name = "curl"
    ways = (STARTTLS, IMPLICIT, CLEAR)

    def send(self, job):
        scheme = "smtps" if job.way == IMPLICIT else "smtp"
        tls = ["--ssl-reqd"] if job.way == STARTTLS else []
        file = self.root.write("/srv/message", job.message)
        return self.run("curl", "-sSv", "--cacert", job.ca, "--mail-from", SENDER, "--mail-rcpt",
                        RCPT, "-T", file, *tls, f"{scheme}://{job.host}:{job.port}/client.example.org")


class Msmtp(Client):
    name = "msmtp"
    ways = (STARTTLS, IMPLICIT, CLEAR)

    def send(self, job):
        tls = {STARTTLS: ["--tls=on", "--tls-starttls=on"],
               IMPLICIT: ["--tls=on", "--tls-starttls=off"], CLEAR: ["--tls=off"]}[job.way]
        return self.run("msmtp", f"--host={job.host}", f"--port={job.port}", f"--from={SENDER}",
                        f"--tls-trust-file={job.ca}", *tls, RCPT, input=lf(job.message))


class Smtplib(Client):
    name = "smtplib"
    ways = (STARTTLS, IMPLICIT, CLEAR)

    SCRIPT = """
import smtplib, ssl, sys
way, host, port, ca, sender, rcpt = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if way == "implicit":
    server = smtplib.SMTP_SSL(host, int(port), context=context)
else:
    server = smtplib.SMTP(host, int(port))
if way == "starttls":
    server.starttls(context=context)
refused = server.sendmail(sender, [rcpt], sys.stdin.buffer.read(), ["BODY=8BITMIME"])
server.quit()
sys.exit(len(refused))
"""

    def send(self, job):
        return self.run("/usr/bin/python3", "-c", self.SCRIPT, job.way, job.host, job.port, job.ca,
                        SENDER, RCPT, input=job.message)


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


class Mutt(Client):
    name = "mutt"
    own_header = True
    lines = _SHORT_LINES

    def send(self, job):
        scheme = "smtps" if job.way == IMPLICIT else "smtp"
        self.root.write("/srv/muttrc", f"""
set smtp_url = "{scheme}://{job.host}:{job.port}/"
set ssl_starttls = yes
set ssl_force_tls = yes
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
    own_header = True
    lines = _SHORT_LINES

    def send(self, job):
        scheme = "smtps" if job.way == IMPLICIT else "smtp"
        starttls = ["smtp-use-starttls"] if job.way == STARTTLS else []
        settings = ["v15-compat=yes", f"mta={scheme}://{job.host}:{job.port}", *starttls,
                    "smtp-auth=none", f"tls-ca-file={job.ca}", "tls-ca-no-defaults",
                    "tls-verify=strict", f"from={SENDER}", "hostname=client.example.org",
                    "ttycharset=utf-8", "sendcharsets=utf-8", "mime-encoding=8b", "sendwait"]
        options = [part for one in settings for part in ("-S", one)]
        return self.run("s-nail", "-:/", *options, "-s", "a message", RCPT,
                        input=lf(job.body))


class Nullmailer(Client):
    name = "nullmailer"
    added = ("received",)

    def send(self, job):
        tls = {STARTTLS: "--starttls", IMPLICIT: "--ssl", CLEAR: ""}[job.way]
        trust = f"--x509cafile={job.ca}" if tls else ""
        self.root.write("/etc/nullmailer/remotes",
                        f"{job.host} smtp --port={job.port} {tls} {trust}\n")
        self.root.run("find", "/var/spool/nullmailer/queue", "-type", "f", "-delete")
        self.root.run("nullmailer-inject", "-f", SENDER, RCPT, input=lf(job.message))
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
        self.root.write("/etc/ssmtp/ssmtp.conf", f"mailhub={job.host}:{job.port}\nUseTLS={tls}\n"
                        f"UseSTARTTLS={starttls}\nTLS_CA_File={job.ca}\nFromLineOverride=YES\n"
                        "hostname=client.example.org\n")
        return self.run("ssmtp", "-v", "-f", SENDER, RCPT, input=lf(job.message))


ALL = [Swaks, OpensslClient, GnutlsClient, Curl, Msmtp, Smtplib, Mutt, Snail, Nullmailer, Ssmtp]
