# SPDX-License-Identifier: ISC
"""protocolUsername: programs that know neither TLS nor AUTH, and a real server that demands both:
Postfix, with Dovecot's SASL behind it."""

import base64
import hashlib
import hmac
import json
import re
import socket
import threading

import clients
import ehlock
import mtas
import net
import pytest
from clients import CLEAR, Job
from messages import assert_same_body, message, readable
from mtas import DOMAINS, text
from net import free_port, wait_until
from roots import NAME

USER, PASSWORD, KEY = "joe@example.org", "correct horse = battery, staple", b"signing key of the issuer"
PASSWORDS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]
TOKENS = ["OAUTHBEARER", "XOAUTH2"]


def token(key=KEY):
    """A JSON web token (RFC 7519) for the user."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = part(json.dumps({"sub": USER, "email": USER, "iat": 1600000000,
                            "exp": 4000000000}).encode())
    signature = hmac.new(key, head + b"." + body, hashlib.sha256).digest()
    return (head + b"." + body + b"." + part(signature)).decode()


class Tap:
    """Stands between ehlock and the server, and remembers what it sees of ehlock."""

    def __init__(self, to):
        self.address = ("127.0.0.1", free_port())
        self.to = to
        self.seen = []
        self.listener = net.listen(self.address)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.to)
            self.seen.append(b"")
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source, sink, upwards):
        try:
            while data := source.recv(65536):
                if upwards:
                    self.seen[-1] += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        """A thread left in accept() would take the connections of whoever gets the descriptor next."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


class Submission(mtas.Postfix):
    name = "postfix-submission"
    packages = ["postfix", "dovecot-core"]

    DOVECOT = """
        protocols =
        ssl = no
        base_dir = /run/dovecot-interop
        log_path = /dev/stderr
        auth_verbose = yes
        auth_failure_delay = 0
        auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
        passdb {
          driver = oauth2
          mechanisms = oauthbearer xoauth2
          args = /srv/oauth2.conf
        }
        passdb {
          driver = passwd-file
          mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
          args = scheme=plain /srv/users
        }
        userdb {
          driver = static
          args = uid=nobody gid=nogroup home=/nonexistent
        }
        service anvil {
          unix_listener anvil-auth-penalty {
            mode = 0
          }
        }
        service auth {
          unix_listener /srv/sasl {
            mode = 0666
          }
        }
        """

    OAUTH = """
        introspection_mode = local
        local_validation_key_dict = fs:posix:prefix=/srv/keys/
        username_attribute = sub
        """

    def start(self):
        self.root.write("/srv/dovecot.conf", text(self.DOVECOT))
        self.root.write("/srv/oauth2.conf", text(self.OAUTH))
        self.root.write("/srv/keys/default/HS256/default", base64.b64encode(KEY))
        self.root.write("/srv/users", f"{USER}:{{PLAIN}}{PASSWORD}\n")
        self.root.spawn("dovecot", "-F", "-c", "/srv/dovecot.conf")
        wait_until(lambda: self.root.path("/srv/sasl").exists(), "Dovecot has made its socket")
        self.configure(f"""
            mydestination = {DOMAINS}
            local_recipient_maps =
            home_mailbox = Maildir/
            smtp_tls_security_level = none
            smtpd_tls_security_level = encrypt
            smtpd_tls_cert_file = /srv/cert.pem
            smtpd_tls_key_file = /srv/key.pem
            smtpd_sasl_auth_enable = yes
            smtpd_sasl_type = dovecot
            smtpd_sasl_path = /srv/sasl
            smtpd_sasl_authenticated_header = yes
            smtpd_tls_auth_only = yes
            smtpd_recipient_restrictions = permit_sasl_authenticated, reject
            """)
        self.launch()


@pytest.fixture(scope="module")
def server(roots, pki):
    root = roots(Submission.name, Submission.packages)
    root.write("/srv/cert.pem", pki.ecdsa.cert.read_bytes())
    root.write("/srv/key.pem", pki.ecdsa.key.read_bytes(), mode=0o600)
    mta = Submission(root)
    mta.start()
    tap = Tap(mta.address)
    mta.tap = tap
    yield mta
    tap.stop()


@pytest.fixture(scope="module")
def sender(roots):
    return roots("clients", clients.PACKAGES)


@pytest.fixture
def dial(wrap, pki, tmp_path, server):
    """dial(secret, **options): ehlock that logs in to the server, by what is in a file."""
    def start(secret, kind="protocolPasswordFile", **options):
        path = tmp_path / "secret"
        path.write_text(secret + "\n")
        server.clear()
        server.tap.seen.clear()
        return wrap(server.tap, client=True, cert=None, key=None, checkHost=NAME,
                    protocolUsername=USER, **{kind: path, "CAfile": pki.ca, **options})
    return start


def job_for(proxy, kind):
    return Job(proxy.address[1], CLEAR, "/dev/null", message(kind.lines), host="localhost")


def assert_only_under_tls(server):
    """Nobody on the way has seen more than how TLS was asked for; what came under TLS."""
    [seen] = server.tap.seen
    in_clear, _, under_tls = seen.partition(b"\x16\x03")
    assert re.fullmatch(rb"EHLO \S+\r\nSTARTTLS\r\n", in_clear), in_clear
    assert readable(seen, (USER, PASSWORD)) == [] and USER.encode() not in seen
    return under_tls


def assert_delivered(proxy, server, job, mechanism):
    arrived = server.arrived()[0]
    assert_same_body(arrived, job.body)
    assert f"(Authenticated sender: {USER})".encode() in arrived
    assert proxy.summary()["login"] == mechanism
    assert len(assert_only_under_tls(server)) > 1000


@pytest.mark.parametrize("mechanism", PASSWORDS + TOKENS)
def test_program_without_auth_gets_its_message_through(dial, server, sender, mechanism, request):
    request.node.used_roots = [server.root.name, sender.name]
    by_token = mechanism in TOKENS
    proxy = dial(token() if by_token else PASSWORD,
                 "protocolTokenFile" if by_token else "protocolPasswordFile",
                 protocolAuthentication=mechanism)
    job = job_for(proxy, clients.Swaks)
    done = clients.Swaks(sender).send(job)
    assert done.ok and "AUTH" not in done.output, done.output
    assert_delivered(proxy, server, job, mechanism)


def test_nullmailer_by_the_strongest(dial, server, sender, request):
    request.node.used_roots = [server.root.name, sender.name]
    proxy = dial(PASSWORD)
    job = job_for(proxy, clients.Nullmailer)
    done = clients.Nullmailer(sender).send(job)
    assert done.ok, done.output
    assert_delivered(proxy, server, job, "SCRAM-SHA-256")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN", "XOAUTH2"])
def test_wrong_secret_is_told_as_temporary(dial, server, sender, mechanism, request):
    request.node.used_roots = [server.root.name, sender.name]
    by_token = mechanism in TOKENS
    proxy = dial(token(b"another key") if by_token else "wrong",
                 "protocolTokenFile" if by_token else "protocolPasswordFile",
                 protocolAuthentication=mechanism)
    done = clients.Swaks(sender).send(job_for(proxy, clients.Swaks))
    assert not done.ok and "421 4.7.0 " in done.output, done.output
    assert f"login by {mechanism} was refused: 535 " in proxy.summary()["reason"]
    assert server.files() == []
    assert_only_under_tls(server)


def test_server_of_another_authority_hears_no_secret(dial, server, sender, pki, request):
    request.node.used_roots = [server.root.name, sender.name]
    proxy = dial(PASSWORD, CAfile=pki.other_ca)
    done = clients.Swaks(sender).send(job_for(proxy, clients.Swaks))
    assert not done.ok and "certificate-not-trusted" in done.output, done.output
    assert proxy.summary()["login"] == "none" and server.files() == []
    assert_only_under_tls(server)


@pytest.mark.parametrize("mechanism", PASSWORDS + TOKENS)
def test_probe_tries_the_login(dial, server, mechanism, request):
    request.node.used_roots = [server.root.name]
    for good in (True, False):
        secret = (token() if good else token(b"another key")) if mechanism in TOKENS else \
            PASSWORD if good else "wrong"
        proxy = dial(secret, "protocolTokenFile" if mechanism in TOKENS else "protocolPasswordFile",
                     protocolAuthentication=mechanism)
        done = ehlock.run("probe", "--config", proxy.config, "--service", "smtp", "--login")
        assert done.returncode == (0 if good else 1), done.stdout + done.stderr
        told = f"login: pass ({mechanism})\n" if good else \
            f"login: FAIL: login by {mechanism} was refused: 535 5.7.8 Error: authentication failed: "
        assert told in done.stdout, done.stdout
        assert secret not in done.stdout and USER not in done.stdout
        proxy.stop()
        assert_only_under_tls(server)
