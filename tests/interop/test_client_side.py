# SPDX-License-Identifier: ISC
"""client = yes: real programs that speak in clear, and real servers that take mail under TLS only.

    here (the programs, ehlock) ---cable--- there (the server)

The cable is read along. When ehlock refuses a server, there is no MAIL, RCPT, AUTH or line of the
message on it; where a message passes in clear, before ehlock or with tlsLevel = none, the same eyes
find all of it.
"""

import re
from dataclasses import dataclass

import pytest

import clients
import ehlock
import mtas
import netns
from backend import Backend
from clients import CLEAR, Job
from ehlock import Ehlock, global_part, section
from messages import (LINES, RCPT, SENDER, assert_readable, assert_same, assert_same_body, message,
                      readable, received_text, stuffed)
from net import free_port, text_of, wait_until
from pki import pin_of
from roots import NAME, wait_listening
from smtp_client import Client
from sniffer import Sniffer

SENDERS = [kind for kind in clients.ALL if CLEAR in kind.ways]
LOGIN = ("joe", "correct-horse-battery-staple")
HERE, THERE = "192.0.2.1", "192.0.2.7"


class Server:
    """What these have in common; mixed into servers that have no TLS, or some."""
    host = THERE
    login = None        # name and password with which alone it takes mail
    others = ()         # what runs beside it

    def stop(self):
        for other in self.others:
            other.stop()


class TlsPostfix(Server, mtas.Postfix):
    name = "postfix-tls"

    def start(self):
        self.configure(f"""
            mydestination = {mtas.DOMAINS}
            local_recipient_maps =
            home_mailbox = Maildir/
            smtp_tls_security_level = none
            smtpd_tls_security_level = encrypt
            smtpd_tls_cert_file = /srv/cert.pem
            smtpd_tls_key_file = /srv/key.pem
            """)
        self.launch()


class TlsExim(Server, mtas.Exim):
    name = "exim-tls"
    CONF = mtas.Exim.CONF.replace("tls_advertise_hosts =", """tls_advertise_hosts = *
        tls_certificate = /srv/cert.pem
        tls_privatekey = /srv/key.pem""").replace(
            "accept domains = +local_domains", """deny !encrypted = *
          accept domains = +local_domains""")


class TlsOpenSmtpd(Server, mtas.OpenSmtpd):
    """OpenSMTPD 6.8 keeps the key in another process, and puts the methods that ask for a signature on
    what EVP_PKEY_get1_RSA() and EVP_PKEY_get1_EC_KEY() give it. With OpenSSL 3 that is a copy, and the
    key that signs, of a provider, has no private half: "missing private key", whatever is configured
    (https://github.com/OpenSMTPD/OpenSMTPD/issues/1171, mended in 7.3). OpenSSL reads keys without its
    providers where an engine has methods for their kind, so it is given one."""
    name = "opensmtpd-tls"
    packages = [*mtas.OpenSmtpd.packages, "libengine-pkcs11-openssl"]
    env = {"OPENSSL_CONF": "/srv/openssl.cnf"}

    OPENSSL = """
        openssl_conf = init
        [init]
        engines = engines
        [engines]
        pkcs11 = pkcs11
        [pkcs11]
        engine_id = pkcs11
        default_algorithms = PKEY
        init = 0
        """

    CONF = """
        pki @NAME@ cert "/srv/cert.pem"
        pki @NAME@ key "/srv/key.pem"
        """ + mtas.OpenSmtpd.CONF.replace("hostname @HOST@", "hostname @HOST@ tls-require pki @NAME@")
    CONF = CONF.replace("@NAME@", NAME)

    def start(self):
        self.root.write("/srv/openssl.cnf", mtas.text(self.OPENSSL))
        super().start()


class DovecotSubmission(Server, mtas.Mta):
    """Takes mail of those who log in, and hands it on to a server of ours."""
    name = "dovecot-submission"
    packages = ["dovecot-lmtpd", "dovecot-submissiond"]
    trace = ("received",)
    login = LOGIN
    tls = "required"

    CONF = """
        protocols = submission
        ssl = @TLS@
        disable_plaintext_auth = no
        ssl_cert = </srv/cert.pem
        ssl_key = </srv/key.pem
        base_dir = /run/dovecot-interop
        mail_location = maildir:~/Maildir
        auth_mechanisms = plain login
        auth_failure_delay = 0
        log_path = /dev/stderr
        submission_relay_host = 127.0.0.1
        submission_relay_port = @RELAY@
        userdb {
          driver = passwd
        }
        passdb {
          driver = passwd-file
          args = scheme=plain /srv/users
        }
        service submission-login {
          inet_listener submission {
            address = @ADDRESS@
            port = @PORT@
          }
        }
        """

    def start(self):
        self.relay = Backend().start()
        self.others = [self.relay]
        self.root.write("/srv/users", "{}:{{PLAIN}}{}\n".format(*LOGIN))
        self.root.write("/srv/dovecot.conf",
                        mtas.text(self.CONF, TLS=self.tls, ADDRESS=self.host, PORT=self.port,
                                  RELAY=self.relay.address[1]))
        wait_listening(self.address, self.root.spawn("dovecot", "-F", "-c", "/srv/dovecot.conf"))

    def clear(self):
        self.relay.sessions.clear()

    def files(self):
        return self.relay.messages

    def read(self, message):
        return received_text(message)


class ClearPostfix(Server, mtas.Postfix):
    pass


class ClearExim(Server, mtas.Exim):
    pass


class ClearOpenSmtpd(Server, mtas.OpenSmtpd):
    pass


class ClearDovecot(DovecotSubmission):
    tls = "no"


SERVERS = [TlsPostfix, TlsExim, TlsOpenSmtpd, DovecotSubmission]
CLEAR_SERVERS = [ClearPostfix, ClearExim, ClearOpenSmtpd, ClearDovecot]


@dataclass
class Sent:
    job: Job
    done: clients.Done  # what the program says about it
    cable: bytes        # what was to be read on the cable
    own: bytes          # what the program said to ehlock and heard of it
    summary: dict


class Field:
    """One server, and ehlock with a service for each way in which it can be judged."""

    def __init__(self, kind, root, leaf, pki, directory):
        self.here, self.there = netns.Namespace(), netns.Namespace()
        self.here.join(self.there, (f"{HERE}/24", f"{THERE}/24"))
        self.server, self.leaf, self.pki = kind(root), leaf, pki
        owner = "Debian-exim:Debian-exim" if isinstance(self.server, mtas.Exim) else None
        root.write("/srv/cert.pem", leaf.cert.read_bytes())
        root.write("/srv/key.pem", leaf.key.read_bytes(), mode=0o600, owner=owner)
        self.there.run(self.server.start)
        password = directory / "password"
        password.write_text(LOGIN[1] + "\n")
        login = {"protocolUsername": LOGIN[0], "protocolPasswordFile": password}
        good = {"CAfile": pki.ca, "checkHost": NAME}
        services = {
            "good": {**good, **(login if self.server.login else {})},
            "own-login": good,
            "authority": {**good, "CAfile": pki.other_ca},
            "name": {**good, "checkHost": "mail.example.net"},
            "pin": {"tlsLevel": "fingerprint", "verifyPeer": pin_of(pki.second, True)},
            "none": {"tlsLevel": "none", "authBeforeTls": True},
        }
        self.ports = {name: free_port() for name in services}
        self.proxy = Ehlock(directory, global_part(client=True, protocol="smtp", spareWorkers=1) + "".join(
            section(name, accept=f"127.0.0.1:{self.ports[name]}", connect=text_of(self.server.address),
                    **options) for name, options in services.items()))
        self.here.run(self.proxy.start)

    def close(self):
        self.proxy.stop()
        self.server.stop()
        for space in (self.here, self.there):
            space.close()

    def send(self, kind, root, service, login=None):
        """Has the program send by this service."""
        self.server.clear()
        ca = root.write("/srv/ca.pem", self.pki.other_ca.read_bytes())     # of no use to it
        job = Job(self.ports[service], CLEAR, ca, message(kind.lines), host="localhost", login=login)
        before = len(self.summaries(service))
        with Sniffer(self.here, "cable") as cable, Sniffer(self.here, "lo") as own:
            done = self.here.run(kind(root).send, job)
            summary = self.next_summary(service, before)
        return Sent(job, done, cable.bytes_of(THERE), own.bytes_of("127.0.0.1"), summary)

    def summaries(self, service):
        return [summary for summary in self.proxy.summaries() if summary["service"] == service]

    def next_summary(self, service, before):
        """That of the one session that there is now beside those before."""
        [summary] = wait_until(lambda: self.summaries(service)[before:], f"the summary of {service}")
        return summary


@pytest.fixture(scope="module")
def field_of(roots, pki, tmp_path_factory):
    """field_of(kind, leaf): a server with this certificate, started once for all who ask for it."""
    reason = netns.why_impossible()
    if reason:
        pytest.skip(reason)
    made = {}

    def get(kind, leaf):
        if (kind, leaf.cert) not in made:
            root = roots(f"{kind.__name__}-{leaf.cert.stem}", kind.packages)
            made[kind, leaf.cert] = Field(kind, root, leaf, pki, tmp_path_factory.mktemp("field"))
        return made[kind, leaf.cert]

    yield get
    for field in made.values():
        field.close()


@pytest.fixture(params=SERVERS, scope="module", ids=lambda kind: kind.name)
def field(request, field_of, pki):
    """A real server that takes no mail in clear."""
    return field_of(request.param, pki.ecdsa)


def assert_refused(field, sent, reason):
    """Nobody has learned anything, and the program knows that its message was not sent."""
    assert not sent.done.ok, sent.done.output
    assert reason in sent.summary["reason"] and sent.summary["mail"] == "0", sent.summary
    assert b"EHLO" in sent.cable and readable(sent.cable, LOGIN) == []
    assert re.search(rf"^421 4\.7\.\d \S+ {reason}".encode(), sent.own, re.M), sent.own
    assert field.server.files() == []


@pytest.mark.parametrize("kind", SENDERS, ids=lambda kind: kind.name)
def test_message_of_a_program_without_tls_arrives_byte_for_byte(kind, field, root_of, request):
    root = root_of(kind)
    request.node.used_roots = [root.name, field.server.root.name]
    sent = field.send(kind, root, "good")
    assert sent.done.ok, sent.done.output
    arrived = field.server.arrived()[0]
    if kind.own_header:
        assert_same_body(arrived, sent.job.body)
    else:
        assert_same(arrived, sent.job.message, {*field.server.trace, *kind.added})
    summary = sent.summary
    assert summary["outcome"] == "done" and summary["accepted"] == "1", summary
    assert summary["server_tls"] == "TLS1.3" and summary["verified"] == NAME, summary
    assert (summary.get("login", "-") != "-") == bool(field.server.login), summary
    assert b"STARTTLS" in sent.cable and readable(sent.cable, LOGIN) == []
    assert_readable(sent.own, sent.job)


@pytest.mark.parametrize("hello", ["HELO", "EHLO"])
def test_server_hears_the_name_of_the_client_who_may_know_helo_only(hello, field, request):
    request.node.used_roots = [field.server.root.name]
    field.server.clear()
    sent, before = message(LINES), len(field.summaries("good"))
    with Sniffer(field.here, "cable") as cable:
        with field.here.run(Client, ("127.0.0.1", field.ports["good"])) as client:
            assert client.command(f"{hello} old-fax.example.org").code == 250
            client.send_message(SENDER, [RCPT], stuffed(sent))
            client.quit()
        field.next_summary("good", before)
    arrived = field.server.arrived()[0]
    assert_same(arrived, sent, field.server.trace)
    assert re.search(rb"(?i)^Received: from .*\bold-fax\.example\.org\b", arrived, re.M), arrived
    assert b"STARTTLS" in cable.bytes_of(THERE) and b"old-fax" not in cable.bytes_of(THERE)


@pytest.mark.parametrize("kind", SENDERS, ids=lambda kind: kind.name)
def test_server_of_another_authority_gets_nothing(kind, field, root_of, request):
    root = root_of(kind)
    request.node.used_roots = [root.name, field.server.root.name]
    sent = field.send(kind, root, "authority", field.server.login)
    assert_refused(field, sent, "certificate-not-trusted")
    assert b"STARTTLS" in sent.cable
    if kind.queue:
        waiting = kind(root).kept()
        assert any(b"An ordinary line.\n" in file for file in waiting), waiting


@pytest.mark.parametrize("service, reason", [("name", "certificate-host-mismatch"),
                                             ("pin", "certificate-not-trusted")])
def test_server_that_is_not_the_one_gets_nothing(service, reason, field, root_of, request):
    root = root_of(clients.Msmtp)
    request.node.used_roots = [root.name, field.server.root.name]
    assert_refused(field, field.send(clients.Msmtp, root, service, field.server.login), reason)


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_server_with_an_expired_certificate_gets_nothing(kind, field_of, root_of, pki, request):
    root, field = root_of(clients.Msmtp), field_of(kind, pki.expired)
    request.node.used_roots = [root.name, field.server.root.name]
    assert_refused(field, field.send(clients.Msmtp, root, "good", field.server.login),
                   "certificate-expired")


@pytest.mark.parametrize("kind", CLEAR_SERVERS, ids=lambda kind: kind.name)
def test_server_without_tls_gets_nothing_unless_none_is_demanded(kind, field_of, root_of, pki, request):
    """With tlsLevel = none the same message, and the password with it, passes over the same cable and
    is found there."""
    root, field = root_of(clients.Msmtp), field_of(kind, pki.ecdsa)
    request.node.used_roots = [root.name, field.server.root.name]
    assert_refused(field, field.send(clients.Msmtp, root, "good", field.server.login),
                   "starttls-not-supported")
    sent = field.send(clients.Msmtp, root, "none", field.server.login)
    assert sent.done.ok and sent.summary["server_tls"] == "-", sent
    assert_same(field.server.arrived()[0], sent.job.message, field.server.trace)
    assert_readable(sent.cable, sent.job)


@pytest.mark.parametrize("kind", SENDERS, ids=lambda kind: kind.name)
def test_password_of_the_program_itself_goes_under_tls(kind, field_of, root_of, pki, request):
    root, field = root_of(kind), field_of(DovecotSubmission, pki.ecdsa)
    request.node.used_roots = [root.name, field.server.root.name]
    sent = field.send(kind, root, "own-login", LOGIN)
    assert sent.done.ok and field.server.files(), sent.done.output
    assert b"STARTTLS" in sent.cable and readable(sent.cable, LOGIN) == []
    assert_readable(sent.own, sent.job)


# -- ehlock probe

def probe(field, *args):
    return field.here.run(ehlock.run, "probe", text_of(field.server.address), "--match", NAME, *args)


def fingerprint_by_postfix(field, ca):
    """SHA-256 of the server's key, and that it is verified, by Postfix's program for the question."""
    done = field.there.run(field.server.root.run, "posttls-finger", "-c", "-l", "secure", "-F", ca, "-d",
                           "sha256", f"[{THERE}]:{field.server.port}", NAME)
    said = done.stdout.decode()
    assert "Verified TLS connection established" in said, said
    return re.search(r"pkey_fingerprint=([0-9A-F:]+)", said)[1].replace(":", "").lower()


def test_probe_of_a_real_server(field, pki, request):
    request.node.used_roots = [field.server.root.name]
    done = probe(field, "--CAfile", pki.ca)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "levels that it satisfies: none may encrypt verify secure\n" in done.stdout
    assert f"  pin      {pin_of(field.leaf, True)}\n" in done.stdout
    assert re.search(r"^S: 221 ", done.stdout, re.M)
    if isinstance(field.server, TlsPostfix):
        ca = field.server.root.write("/srv/probe-ca.pem", pki.ca.read_bytes())
        assert f"spki-sha256:{fingerprint_by_postfix(field, ca)}\n" in done.stdout
    done = probe(field, "--CAfile", pki.other_ca)
    assert done.returncode == 1 and "certificate-not-trusted" in done.stdout.splitlines()[-1]
