# SPDX-License-Identifier: ISC
"""Real mail servers that send: a message is put into their queue, and they deliver it through ehlock
to a server whose certificate they must verify.

    with Postfix(root, job) as sender:
        sender.submit()
        sender.wait_says(sender.sent)       # or sender.refused
        assert sender.says(sender.verified)
"""

import re

import mtas
from clients import IMPLICIT
from messages import SENDER, lf
from mtas import text
from net import DEADLINE, wait_until
from roots import HOST, NAME

RCPT = "bob@example.net"


class Sender:
    name = None
    packages = []
    added = ("received",)   # header fields that it documents to put in front
    sent = refused = verified = None        # regular expressions for its log

    def __init__(self, root, job):
        self.root = root
        self.job = job
        self.begin = len(root.log)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError

    def submit(self):
        self.root.run("/usr/sbin/sendmail", "-i", "-f", SENDER, RCPT, input=lf(self.job.message))

    def says(self, pattern):
        return any(re.search(pattern, line) for line in self.root.log[self.begin:])

    def wait_says(self, pattern):
        wait_until(lambda: self.says(pattern), f"{self.name} says {pattern}", 2 * DEADLINE)


class Postfix(Sender):
    """smtp(8) at level secure, as RFC 3207 clients should be configured between partners."""
    name = "postfix"
    packages = mtas.Postfix.packages
    sent = r"status=sent"
    refused = r"status=deferred \(Server certificate not (verified|trusted)\)"
    verified = rf"Verified TLS connection established to {NAME}\[127\.0\.0\.1\]:\d+: TLSv1\.3"

    def __init__(self, root, job):
        super().__init__(root, job)
        self.mta = mtas.Postfix(root)

    def start(self):
        self.mta.configure(f"""
            mydestination =
            default_transport = smtp:[{self.job.host}]:{self.job.port}
            smtp_tls_security_level = secure
            smtp_tls_wrappermode = {"yes" if self.job.way == IMPLICIT else "no"}
            smtp_tls_CAfile = {self.job.ca}
            smtp_tls_loglevel = 1
            """)
        self.daemon = self.mta.launch()

    def stop(self):
        self.daemon.stop()

    def submit(self):
        self.root.run("sendmail", "-C", f"{self.mta.instance}/etc", "-i", "-f", SENDER, RCPT,
                      input=lf(self.job.message))


class Exim(Sender):
    """With tls_verify_hosts and hosts_require_tls: the one without the other goes on in clear."""
    name = "exim"
    packages = mtas.Exim.packages
    sent = rf"=> {RCPT} "
    refused = rf"== {RCPT} .*TLS session: \(certificate verification failed\)"
    verified = rf"=> {RCPT} .*H={NAME} \[127\.0\.0\.1\].* X=TLS1\.3:\S+ CV=yes"

    CONF = r"""
        primary_hostname = @HOST@
        spool_directory = /srv/exim/spool
        log_file_path = syslog
        syslog_timestamp = false
        keep_environment =
        trusted_users = root
        never_users =
        begin routers
        smarthost:
          driver = manualroute
          route_list = * @NAME@ byname
          transport = smarthost
          self = send
        begin transports
        smarthost:
          driver = smtp
          port = @PORT@
          protocol = @PROTOCOL@
          hosts_require_tls = *
          tls_verify_hosts = *
          tls_verify_cert_hostnames = *
          tls_verify_certificates = @CA@
        begin retry
        * * F,1h,15m
        """

    def start(self):
        self.root.mkdir("/srv/exim")
        self.root.mkdir("/srv/exim/spool", owner="Debian-exim:Debian-exim", mode=0o750)
        self.root.write("/etc/exim4/exim4.conf", text(
            self.CONF, HOST=HOST, NAME=self.job.host, PORT=self.job.port, CA=self.job.ca,
            PROTOCOL="smtps" if self.job.way == IMPLICIT else "smtp"))

    def stop(self):
        """Each message is delivered by a process of its own."""


class OpenSmtpd(Sender):
    """A relay with smtp+tls:// or smtps:// verifies the certificate; with smtp:// it does not."""
    name = "opensmtpd"
    packages = mtas.OpenSmtpd.packages
    added = ("received", "content-disposition")
    sent = r'mta delivery .* result="Ok"'
    refused = r"mta error reason=SSL certificate check failed"
    verified = r'mta server-cert-check result="success"'

    CONF = """
        listen on socket
        action "relay" relay host @RELAY@
        match from local for any action "relay"
        """

    def start(self):
        self.root.run("rm", "-rf", "/var/spool/smtpd")
        self.root.run("cp", self.job.ca, "/etc/ssl/certs/ca-certificates.crt")
        scheme = "smtps" if self.job.way == IMPLICIT else "smtp+tls"
        self.root.write("/etc/smtpd.conf", text(
            self.CONF, RELAY=f'"{scheme}://{self.job.host}:{self.job.port}"'))
        self.daemon = self.root.spawn("smtpd", "-d", "-f", "/etc/smtpd.conf")
        wait_until(lambda: self.root.run("smtpctl", "show", "status", check=False).returncode == 0,
                   "smtpd answers")

    def stop(self):
        self.daemon.stop()


ALL = [Postfix, Exim, OpenSmtpd]
