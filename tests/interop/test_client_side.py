# SPDX-License-Identifier: ISC
"""client = yes: real programs that speak in clear, and real servers that take mail under TLS only."""

import re

import pytest

import clients
import ehlock
import mtas
from clients import CLEAR, Job
from messages import assert_same, assert_same_body, message
from pki import pin_of
from roots import NAME

SENDERS = [clients.Ssmtp, clients.Nullmailer, clients.Msmtp, clients.Snail, clients.Swaks,
           clients.Curl, clients.Smtplib]


class TlsPostfix(mtas.Postfix):
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


class TlsExim(mtas.Exim):
    name = "exim-tls"
    CONF = mtas.Exim.CONF.replace("tls_advertise_hosts =", """tls_advertise_hosts = *
        tls_certificate = /srv/cert.pem
        tls_privatekey = /srv/key.pem""").replace(
            "accept domains = +local_domains", """deny !encrypted = *
          accept domains = +local_domains""")


@pytest.fixture(scope="module", params=[TlsPostfix, TlsExim], ids=lambda kind: kind.name)
def server(request, roots, pki):
    """A real server that refuses recipients in clear, started once for all clients."""
    kind = request.param
    root = roots(kind.name, kind.packages)
    owner = "Debian-exim:Debian-exim" if kind is TlsExim else None
    root.write("/srv/cert.pem", pki.ecdsa.cert.read_bytes())
    root.write("/srv/key.pem", pki.ecdsa.key.read_bytes(), mode=0o600, owner=owner)
    mta = kind(root)
    mta.start()
    return mta


@pytest.fixture(scope="module")
def root_of(roots):
    made = {}

    def get(client):
        name = "ssmtp" if client is clients.Ssmtp else "clients"
        if name not in made:
            made[name] = roots(name, client.packages)
        return made[name]

    return get


@pytest.mark.parametrize("kind", SENDERS, ids=lambda kind: kind.name)
def test_message_of_a_program_without_tls_arrives_byte_for_byte(kind, server, root_of, wrap, pki,
                                                               request):
    root = root_of(kind)
    request.node.used_roots = [root.name, server.root.name]
    server.clear()
    proxy = wrap(server, client=True, cert=None, key=None, CAfile=pki.ca, checkHost=NAME)
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


def test_server_of_another_authority_gets_nothing(server, root_of, wrap, pki, request):
    root = root_of(clients.Msmtp)
    request.node.used_roots = [root.name, server.root.name]
    server.clear()
    proxy = wrap(server, client=True, cert=None, key=None, CAfile=pki.other_ca, checkHost=NAME)
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
    assert f"  pin      {pin_of(pki.ecdsa, True)}\n" in done.stdout
    assert re.search(r"^S: 221 ", done.stdout, re.M)
    if isinstance(server, TlsPostfix):
        ca = server.root.write("/srv/probe-ca.pem", pki.ca.read_bytes())
        assert f"spki-sha256:{fingerprint_by_postfix(server, ca)}\n" in done.stdout
    done = probe(server, "--CAfile", pki.other_ca)
    assert done.returncode == 1 and "certificate-not-trusted" in done.stdout.splitlines()[-1]
