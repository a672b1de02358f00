# SPDX-License-Identifier: ISC
"""client = yes: real programs that speak in clear, and real servers that take mail under TLS only."""

import re

import pytest

import clients
import ehlock
import mtas
from backend import Backend
from clients import CLEAR, Job
from messages import assert_same, assert_same_body, message, received_text
from pki import pin_of
from roots import NAME, wait_listening

SENDERS = [kind for kind in clients.ALL if CLEAR in kind.ways]
LOGIN = ("joe", "correct horse = battery, staple")


class TlsOnly(mtas.Mta):
    login = None        # name and password with which alone it takes mail
    leaf = None         # its certificate
    directory = None    # for what runs beside it
    others = ()

    def stop(self):
        for other in self.others:
            other.stop()


class TlsPostfix(TlsOnly, mtas.Postfix):
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


class TlsExim(TlsOnly, mtas.Exim):
    name = "exim-tls"
    CONF = mtas.Exim.CONF.replace("tls_advertise_hosts =", """tls_advertise_hosts = *
        tls_certificate = /srv/cert.pem
        tls_privatekey = /srv/key.pem""").replace(
            "accept domains = +local_domains", """deny !encrypted = *
          accept domains = +local_domains""")


class TlsOpenSmtpd(TlsOnly, mtas.OpenSmtpd):
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


class DovecotSubmission(TlsOnly):
    """Takes mail of those who log in, and hands it on to a server of ours."""
    name = "dovecot-submission"
    packages = ["dovecot-lmtpd", "dovecot-submissiond"]
    trace = ("received",)
    login = LOGIN

    CONF = """
        protocols = submission
        ssl = required
        ssl_cert = </srv/cert.pem
        ssl_key = </srv/key.pem
        base_dir = /run/dovecot-interop
        mail_location = maildir:~/Maildir
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
            address = 127.0.0.1
            port = @PORT@
          }
        }
        """

    def start(self):
        self.relay = Backend().start()
        self.others = [self.relay]
        self.root.write("/srv/users", "{}:{{PLAIN}}{}\n".format(*LOGIN))
        self.root.write("/srv/dovecot.conf",
                        mtas.text(self.CONF, PORT=self.port, RELAY=self.relay.address[1]))
        wait_listening(self.address, self.root.spawn("dovecot", "-F", "-c", "/srv/dovecot.conf"))

    def clear(self):
        self.relay.sessions.clear()

    def files(self):
        return self.relay.messages

    def read(self, message):
        return received_text(message)


SERVERS = [TlsPostfix, TlsExim, TlsOpenSmtpd, DovecotSubmission]


@pytest.fixture(scope="module", params=SERVERS, ids=lambda kind: kind.name)
def server(request, roots, pki, tmp_path_factory):
    """A real server that takes no mail in clear, started once for all clients."""
    kind = request.param
    root = roots(kind.name, kind.packages)
    owner = "Debian-exim:Debian-exim" if kind is TlsExim else None
    mta = kind(root)
    mta.leaf, mta.directory = pki.ecdsa, tmp_path_factory.mktemp("server")
    root.write("/srv/cert.pem", mta.leaf.cert.read_bytes())
    root.write("/srv/key.pem", mta.leaf.key.read_bytes(), mode=0o600, owner=owner)
    mta.start()
    yield mta
    mta.stop()


@pytest.fixture
def dial(server, wrap, tmp_path):
    """dial(ca): ehlock between programs without TLS and the server, which it knows by this authority."""
    def start(ca):
        server.clear()
        login = {}
        if server.login:
            file = tmp_path / "password"
            file.write_text(server.login[1] + "\n")
            login = {"protocolUsername": server.login[0], "protocolPasswordFile": file}
        return wrap(server, client=True, cert=None, key=None, CAfile=ca, checkHost=NAME, **login)
    return start


@pytest.mark.parametrize("kind", SENDERS, ids=lambda kind: kind.name)
def test_message_of_a_program_without_tls_arrives_byte_for_byte(kind, server, root_of, dial, pki,
                                                               request):
    root = root_of(kind)
    request.node.used_roots = [root.name, server.root.name]
    proxy = dial(pki.ca)
    ca = root.write("/srv/ca.pem", pki.other_ca.read_bytes())    # of no use to it
    job = Job(proxy.address[1], CLEAR, ca, message(kind.lines), host="localhost")
    done = kind(root).send(job)
    assert done.ok, done.output
    arrived = server.arrived()[0]
    if kind.own_header:
        assert_same_body(arrived, job.body)
    else:
        assert_same(arrived, job.message, {*server.trace, *kind.added})
    summary = proxy.summary()
    assert summary["outcome"] == "done" and summary["accepted"] == "1", summary
    assert summary["server_tls"] == "TLS1.3" and summary["verified"] == NAME, summary
    assert (summary.get("login", "-") != "-") == bool(server.login), summary


def test_server_of_another_authority_gets_nothing(server, root_of, dial, pki, request):
    root = root_of(clients.Msmtp)
    request.node.used_roots = [root.name, server.root.name]
    proxy = dial(pki.other_ca)
    job = Job(proxy.address[1], CLEAR, "/dev/null", message(), host="localhost")
    done = clients.Msmtp(root).send(job)
    assert not done.ok and "certificate-not-trusted" in done.output, done.output
    assert proxy.summary()["mail"] == "0" and server.files() == []


# -- ehlock probe

def probe(server, *args):
    return ehlock.run("probe", f"127.0.0.1:{server.port}", "--match", NAME, *args)


def fingerprint_by_postfix(server, ca):
    """SHA-256 of the server's key, and that it is verified, by Postfix's program for the question."""
    done = server.root.run("posttls-finger", "-c", "-l", "secure", "-F", ca, "-d", "sha256",
                           f"[127.0.0.1]:{server.port}", NAME)
    said = done.stdout.decode()
    assert "Verified TLS connection established" in said, said
    return re.search(r"pkey_fingerprint=([0-9A-F:]+)", said)[1].replace(":", "").lower()


def test_probe_of_a_real_server(server, pki, request):
    request.node.used_roots = [server.root.name]
    done = probe(server, "--CAfile", pki.ca)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "levels that it satisfies: none may encrypt verify secure\n" in done.stdout
    assert f"  pin      {pin_of(server.leaf, True)}\n" in done.stdout
    assert re.search(r"^S: 221 ", done.stdout, re.M)
    if isinstance(server, TlsPostfix):
        ca = server.root.write("/srv/probe-ca.pem", pki.ca.read_bytes())
        assert f"spki-sha256:{fingerprint_by_postfix(server, ca)}\n" in done.stdout
    done = probe(server, "--CAfile", pki.other_ca)
    assert done.returncode == 1 and "certificate-not-trusted" in done.stdout.splitlines()[-1]
