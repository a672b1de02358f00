# SPDX-License-Identifier: ISC
"""Real mail servers without TLS, each delivering to a place that a test can read.

    mta = Postfix(root)
    mta.start()
    mta.address                 # where it speaks SMTP in clear
    mta.arrived(count)          # the messages since the last clear(), lines ending in CRLF
"""

import re
import textwrap

from messages import crlf
from net import DEADLINE, free_port, wait_until
from roots import HOST, USER, wait_listening

DOMAINS = f"{HOST}, example.org"


def text(template, **values):
    """A configuration file: indentation removed, @NAME@ replaced."""
    result = textwrap.dedent(template).lstrip("\n")
    for name, value in values.items():
        result = result.replace(f"@{name}@", str(value))
    assert not re.search("@[A-Z]+@", result), result
    return result


class Mta:
    name = None
    packages = []
    host = "127.0.0.1"      # where it listens; not all of them can be asked to do it elsewhere
    rcpt = f"{USER}@{HOST}"
    maildir = None          # inside of the root
    trace = ()              # header fields that this server documents to put in front
    binary = True           # carries bytes above 127 that are not UTF-8
    pipelining = True
    chunking = False
    user = None             # name and password of one who may authenticate
    hidden = ()             # keywords that it must offer in clear and that nobody may see through us

    def __init__(self, root):
        self.root = root
        self.port = free_port()

    @property
    def address(self):
        return (self.host, self.port)

    def start(self):
        raise NotImplementedError

    def files(self):
        """Delivered files, oldest first."""
        directory = self.root.path(self.maildir) / "new"
        if not directory.is_dir():
            return []
        return sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)

    def clear(self):
        for path in self.files():
            path.unlink()

    def read(self, path):
        return crlf(path.read_bytes())

    def arrived(self, count=1, timeout=DEADLINE):
        wait_until(lambda: len(self.files()) >= count, f"{self.name} delivers {count} message(s)",
                   timeout)
        return [self.read(path) for path in self.files()]


class Postfix(Mta):
    name = "postfix"
    packages = ["postfix"]
    maildir = f"/home/{USER}/Maildir"
    trace = ("return-path", "x-original-to", "delivered-to", "received")
    chunking = True
    hidden = ("XCLIENT", "XFORWARD")
    instance = "/srv/postfix"

    MAIN = """
        compatibility_level = 3.6
        queue_directory = @DIR@/spool
        data_directory = @DIR@/data
        mail_owner = postfix
        setgid_group = postdrop
        daemon_directory = /usr/lib/postfix/sbin
        command_directory = /usr/sbin
        meta_directory = /etc/postfix
        shlib_directory = /usr/lib/postfix
        myhostname = @HOST@
        mynetworks = 127.0.0.0/8
        inet_interfaces = @ADDRESS@
        inet_protocols = ipv4
        smtpd_tls_security_level = none
        smtp_dns_support_level = disabled
        smtp_host_lookup = native
        alias_maps =
        alias_database =
        biff = no
        """

    MASTER = """
        @LISTEN@
        pickup unix n - n 60 1 pickup
        cleanup unix n - n - 0 cleanup
        qmgr unix n - n 300 1 qmgr
        rewrite unix - - n - - trivial-rewrite
        bounce unix - - n - 0 bounce
        defer unix - - n - 0 bounce
        trace unix - - n - 0 bounce
        smtp unix - - n - - smtp
        relay unix - - n - - smtp
        error unix - - n - - error
        retry unix - - n - - error
        local unix - n n - - local
        anvil unix - - n - 1 anvil
        scache unix - - n - 1 scache
        proxymap unix - - n - - proxymap
        tlsmgr unix - - n 1000? 1 tlsmgr
        showq unix n - n - - showq
        verify unix - - n - 1 verify
        """

    def start(self):
        self.configure(f"""
            mydestination = {DOMAINS}
            local_recipient_maps =
            home_mailbox = Maildir/
            smtp_tls_security_level = none
            smtpd_authorized_xclient_hosts = 127.0.0.1
            smtpd_authorized_xforward_hosts = 127.0.0.1
            """)
        self.launch()

    # What "postfix start" would make, along with a check that takes seconds.
    QUEUE = """
        cd @DIR@/spool
        mkdir -m 700 active bounce corrupt defer deferred flush hold incoming private saved trace
        mkdir -m 710 public
        mkdir -m 730 maildrop
        mkdir pid
        chown postfix * ../data
        chgrp postdrop public maildrop
        chown root pid
        """

    def launch(self):
        daemon = self.root.spawn("/usr/lib/postfix/sbin/master", "-c", f"{self.instance}/etc", "-d")
        wait_listening(self.address, daemon)
        return daemon

    def configure(self, more):
        directory = self.root.mkdir(self.instance)
        self.root.mkdir(f"{directory}/spool")
        self.root.mkdir(f"{directory}/data")
        self.root.run("sh", "-ec", text(self.QUEUE, DIR=directory))
        self.root.write(f"{directory}/etc/main.cf",
                        text(self.MAIN, DIR=directory, HOST=HOST, ADDRESS=self.host) + text(more))
        self.root.write(f"{directory}/etc/master.cf",
                        text(self.MASTER, LISTEN=f"{self.host}:{self.port} inet n - n - - smtpd"))


class Exim(Mta):
    name = "exim"
    packages = ["exim4-daemon-light"]
    maildir = "/srv/exim/mail"
    trace = ("return-path", "envelope-to", "delivery-date", "received")
    chunking = True
    hidden = ("PIPECONNECT",)
    user = ("tester", "a secret")

    CONF = r"""
        primary_hostname = @HOST@
        domainlist local_domains = @DOMAINS@
        daemon_smtp_ports = @PORT@
        local_interfaces = @ADDRESS@
        spool_directory = /srv/exim/spool
        log_file_path = syslog
        syslog_timestamp = false
        tls_advertise_hosts =
        pipelining_connect_advertise_hosts = *
        rfc1413_query_timeout = 0s
        keep_environment =
        acl_smtp_rcpt = rcpt
        acl_smtp_data = accept
        trusted_users = root
        never_users =
        begin acl
        rcpt:
          accept domains = +local_domains
          accept authenticated = *
          deny message = relay not permitted
        begin routers
        store:
          driver = accept
          domains = +local_domains
          transport = store
        begin transports
        store:
          driver = appendfile
          directory = /srv/exim/mail
          maildir_format
          create_directory
          user = Debian-exim
          group = Debian-exim
          delivery_date_add
          envelope_to_add
          return_path_add
        begin authenticators
        plain:
          driver = plaintext
          public_name = PLAIN
          server_advertise_condition = yes
          server_set_id = $auth2
          server_condition = ${if and{{eq{$auth2}{@USER@}}{eq{$auth3}{@PASS@}}}}
        """

    def start(self):
        self.root.mkdir("/srv/exim")
        for name in ("mail", "spool"):
            self.root.mkdir(f"/srv/exim/{name}", owner="Debian-exim:Debian-exim", mode=0o750)
        self.root.write("/etc/exim4/exim4.conf",
                        text(self.CONF, HOST=HOST, ADDRESS=self.host, DOMAINS=DOMAINS.replace(", ", " : "),
                             PORT=self.port, USER=self.user[0], PASS=self.user[1]))
        daemon = self.root.spawn("exim4", "-bdf", "-oP", "/srv/exim/pid")
        wait_listening(self.address, daemon)


class Sendmail(Mta):
    name = "sendmail"
    packages = ["sendmail-bin", "sensible-mda", "m4"]
    maildir = "/srv/sendmail/mail"
    trace = ("return-path", "received")

    # The local mailer is a program of ours that stores its input as it is.
    MC = """
        divert(-1)
        include(`/usr/share/sendmail/cf/m4/cf.m4')
        divert(0)
        OSTYPE(`linux')dnl
        undefine(`confHOST_STATUS_DIRECTORY')dnl
        define(`QUEUE_DIR', `/var/lib/interop/mq')dnl
        define(`confPID_FILE', `/var/lib/interop/pid')dnl
        define(`STATUS_FILE', `/var/lib/interop/stat')dnl
        define(`confDOMAIN_NAME', `@HOST@')dnl
        define(`confDELIVERY_MODE', `interactive')dnl
        define(`confQUEUE_LA', `1000')dnl
        define(`confREFUSE_LA', `1000')dnl
        define(`confDELAY_LA', `1000')dnl
        define(`ALIAS_FILE', `text:/var/lib/interop/aliases')dnl
        define(`LOCAL_MAILER_PATH', `/srv/sendmail/store')dnl
        define(`LOCAL_MAILER_ARGS', `store $u')dnl
        define(`LOCAL_MAILER_FLAGS', `Pn9')dnl
        FEATURE(`no_default_msa')dnl
        FEATURE(`nocanonify')dnl
        FEATURE(`accept_unresolvable_domains')dnl
        DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port=@PORT@')dnl
        LOCAL_DOMAIN(`@DOMAINS@')dnl
        MAILER(local)dnl
        MAILER(smtp)dnl
        """

    STORE = """
        #!/bin/sh
        cd /srv/sendmail/mail || exit 75
        umask 022
        cat >tmp/$$ && mv tmp/$$ new/$$.$(date +%s%N)
        """

    def start(self):
        directory = self.root.mkdir("/var/lib/interop")
        self.root.mkdir(f"{directory}/mq", mode=0o700)
        for name in ("", "/new", "/tmp"):
            self.root.mkdir(f"{self.maildir}{name}", mode=0o777)
        self.root.write("/srv/sendmail/store", text(self.STORE), 0o755)
        self.root.write(f"{directory}/aliases", "")
        self.root.write(f"{directory}/sm.mc", text(self.MC, HOST=HOST, PORT=self.port,
                                                   DOMAINS=DOMAINS.replace(",", "")))
        cf = self.root.run("m4", f"{directory}/sm.mc").stdout
        self.root.write(f"{directory}/sm.cf", cf)
        daemon = self.root.spawn("/usr/libexec/sendmail/sendmail", "-C", f"{directory}/sm.cf",
                                 "-bD")
        wait_listening(self.address, daemon)


class OpenSmtpd(Mta):
    name = "opensmtpd"
    pipelining = False
    env = None
    packages = ["opensmtpd"]
    maildir = f"/home/{USER}/Maildir"
    trace = ("return-path", "delivered-to", "received")

    CONF = """
        listen on @ADDRESS@ port @PORT@ hostname @HOST@
        action "store" maildir "/home/@USER@/Maildir"
        match from any for domain { "@HOST@", "example.org" } action "store"
        """

    def start(self):
        self.root.write("/srv/smtpd.conf", text(self.CONF, ADDRESS=self.host, PORT=self.port,
                                                HOST=HOST, USER=USER))
        daemon = self.root.spawn("smtpd", "-d", "-f", "/srv/smtpd.conf", env=self.env)
        wait_listening(self.address, daemon)


class Courier(Mta):
    name = "courier"
    packages = ["courier-mta"]
    maildir = f"/home/{USER}/Maildir"
    trace = ("return-path", "delivered-to", "received")

    def ports(self):
        return self.port

    def start(self):
        settings = self.root.path("/etc/courier/esmtpd").read_text().splitlines()
        replaced = {"PORT": self.ports(), "ADDRESS": "127.0.0.1", "COURIERTLS": "",
                    "ESMTPDSTART": "YES", "BLACKLISTS": "", "BOFHCHECKDNS": 0, "TARPIT": 0,
                    "MAXPERC": 40, "MAXPERIP": 40,
                    "TCPDOPTS": '"-stderrlogger=/usr/sbin/courierlogger -nodnslookup'
                                ' -noidentlookup"'}
        kept = [line for line in settings if line.split("=")[0] not in replaced]
        self.root.write("/etc/courier/esmtpd",
                        "\n".join(kept + [f"{k}={v}" for k, v in replaced.items()]) + "\n")
        self.root.write("/etc/courier/me", HOST + "\n")
        self.root.write("/etc/courier/locals", f"localhost\n{HOST}\nexample.org\n")
        self.root.write("/etc/courier/esmtpacceptmailfor.dir/interop", f"{HOST}\nexample.org\n")
        self.root.write("/etc/courier/bofh", "opt BOFHBADMIME=accept\nopt BOFHSPFMAILFROM=off\n")
        self.root.write("/etc/courier/defaultdelivery", "./Maildir\n")
        self.root.run("makeacceptmailfor")
        self.root.run("makesmtpaccess")
        self.root.run("su", USER, "-c", f"rm -rf {self.maildir}; maildirmake {self.maildir}")
        self.root.run("authdaemond", "start")
        self.root.run("courier", "start")
        self.root.run("esmtpd", "start")
        wait_listening(self.address)


class Aiosmtpd(Mta):
    name = "aiosmtpd"
    packages = ["python3-aiosmtpd"]
    pipelining = False
    maildir = "/srv/aiosmtpd"

    HANDLER = """
        import os

        class Store:
            @classmethod
            def from_cli(cls, parser, *args):
                return cls()

            def __init__(self):
                self.number = 0

            async def handle_DATA(self, server, session, envelope):
                self.number += 1
                with open(f"tmp-{self.number}", "wb") as file:
                    file.write(envelope.content)
                os.rename(f"tmp-{self.number}", f"new/{self.number}")
                return "250 2.0.0 stored"
        """

    def start(self):
        self.root.mkdir(self.maildir)
        self.root.mkdir(f"{self.maildir}/new")
        self.root.write(f"{self.maildir}/store.py", text(self.HANDLER))
        daemon = self.root.spawn(
            "sh", "-c", f"cd {self.maildir} && exec /usr/bin/python3 -m aiosmtpd -n"
            f" -l 127.0.0.1:{self.port} -c store.Store", env={"PYTHONPATH": self.maildir})
        wait_listening(self.address, daemon)

    def read(self, path):
        return path.read_bytes()    # as on the wire, dots single


class SmtpSink(Mta):
    name = "smtp-sink"
    packages = Postfix.packages
    maildir = "/srv/sink"
    trace = ("x-client-addr", "x-client-proto", "x-helo-args", "x-mail-args", "x-rcpt-args",
             "received")

    def start(self):
        self.root.mkdir(self.maildir, mode=0o777)
        self.root.mkdir(f"{self.maildir}/new", mode=0o777)
        daemon = self.root.spawn("smtp-sink", "-u", "postfix", "-R", self.maildir, "-d", "new/%s.",
                                 f"127.0.0.1:{self.port}", "100")
        wait_listening(self.address, daemon)

    def read(self, path):
        data = super().read(path)
        assert data.endswith(b"\r\n\r\n"), "smtp-sink ends each file with an empty line"
        return data[:-2]


ALL = [Postfix, Exim, Sendmail, OpenSmtpd, Courier, Aiosmtpd, SmtpSink]
