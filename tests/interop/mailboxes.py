# SPDX-License-Identifier: ISC
"""Real POP3 servers without TLS, each with the mailbox of one user; and two of
ManageSieve, Dovecot and Cyrus.

    server = Popa3d(root)
    server.start()
    server.address
    server.put(message)         # into the mailbox, in the place of what was there
"""

from messages import lf
from mtas import text
from net import free_port
from roots import USER, wait_listening

PASSWORD = "correct-horse"


class PopServer:
    name = None
    packages = []
    maildir = f"/home/{USER}/Maildir"
    has_capa = True
    mechanism = None            # of AUTH, beside USER
    shows_xclient = False

    def __init__(self, root):
        self.root = root
        self.port = free_port()

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def set_password(self):
        self.root.run("chpasswd", input=f"{USER}:{PASSWORD}".encode())

    def put(self, *messages):
        for sub in ("new", "cur", "tmp"):
            self.root.mkdir(f"{self.maildir}/{sub}", mode=0o700)
        for number, message in enumerate(messages):
            self.root.write(f"{self.maildir}/new/1.{number}.host", lf(message), 0o600)
        self.root.run("chown", "-R", USER, self.maildir)


class Popa3d(PopServer):
    """Has neither TLS nor CAPA. It serves one connection, which tcpserver gives it."""
    name = "popa3d"
    packages = ["popa3d", "ucspi-tcp"]
    has_capa = False

    def start(self):
        self.set_password()
        daemon = self.root.spawn("tcpserver", "-HRl0", *map(str, self.address), "/usr/sbin/popa3d")
        wait_listening(self.address, daemon)

    def put(self, *messages):
        mbox = b"".join(b"From alice@example.org Tue Nov 24 02:49:57 2026\n" + lf(message) + b"\n"
                        for message in messages)
        self.root.write(f"/var/mail/{USER}", mbox, 0o660, owner=f"{USER}:mail")


class Dovecot(PopServer):
    """On two ports, the second of which wants a PROXY header."""
    name = "dovecot-pop3"
    packages = ["dovecot-pop3d"]
    mechanism = "PLAIN"
    shows_xclient = True

    CONF = """
        protocols = pop3
        ssl = @SSL@
        base_dir = /run/dovecot-interop
        mail_location = maildir:~/Maildir
        login_trusted_networks = @TRUSTED@
        haproxy_trusted_networks = 127.0.0.0/8
        disable_plaintext_auth = no
        auth_failure_delay = 0
        log_path = /dev/stderr
        userdb {
          driver = passwd
        }
        passdb {
          driver = static
          args = password=@PASSWORD@
        }
        service pop3-login {
          inet_listener pop3 {
            address = 127.0.0.1
            port = @PORT@
          }
          inet_listener pop3_header {
            address = 127.0.0.1
            port = @HEADER@
            haproxy = yes
          }
          inet_listener pop3s {
            address = 127.0.0.1
            port = @SECURE@
            ssl = @IMPLICIT@
          }
        }
        """
    ssl = "no"
    trusted = "127.0.0.0/8"

    def __init__(self, root):
        super().__init__(root)
        self.header_port, self.secure_port = free_port(), free_port()

    def start(self):
        secure = self.ssl != "no"
        self.root.write("/srv/dovecot.conf", text(
            self.CONF, SSL=self.ssl, PORT=self.port, HEADER=self.header_port, SECURE=self.secure_port,
            IMPLICIT="yes" if secure else "no", TRUSTED=self.trusted, PASSWORD=PASSWORD))
        daemon = self.root.spawn("dovecot", "-F", "-c", "/srv/dovecot.conf")
        wait_listening(self.address, daemon)


class SecureDovecot(Dovecot):
    """Takes no password without TLS; its certificate is put into the root before it starts."""
    name = "dovecot-pop3-tls"
    trusted = ""
    ssl = "required"
    CONF = Dovecot.CONF.replace("ssl = @SSL@", """ssl = @SSL@
        ssl_cert = </srv/cert.pem
        ssl_key = </srv/key.pem""")


class DovecotSieve(Dovecot):
    """The same for scripts."""
    name = "dovecot-sieve"
    packages = ["dovecot-managesieved"]
    CONF = Dovecot.CONF.replace("pop3-login", "managesieve-login").replace("pop3", "sieve")


class SecureDovecotSieve(SecureDovecot):
    name = "dovecot-sieve-tls"
    packages = ["dovecot-managesieved"]
    CONF = SecureDovecot.CONF.replace("pop3-login", "managesieve-login").replace("pop3", "sieve")


class CyrusSieve(PopServer):
    """Scripts of Cyrus, which takes any password. Who has no mailbox has none."""
    name = "cyrus-sieve"
    packages = ["cyrus-imapd"]
    daemon = "/usr/lib/cyrus/bin"
    in_clear = "allowplaintext: yes"
    more = in_clear

    CONF = """
        configdirectory: /srv/cyrus
        partition-default: /srv/cyrus/spool
        defaultpartition: default
        sievedir: /srv/cyrus/sieve
        sasl_pwcheck_method: alwaystrue
        sasl_mech_list: PLAIN
        admins: cyrus
        @MORE@
        """
    SERVICES = """
        START {
          recover cmd="ctl_cyrusdb -C /srv/imapd.conf -r"
        }
        SERVICES {
          imap cmd="imapd -C /srv/admin.conf" listen="127.0.0.1:@IMAP@" prefork=0
          sieve cmd="timsieved -C /srv/imapd.conf" listen="127.0.0.1:@PORT@" prefork=0
        }
        EVENTS {
        }
        """

    def start(self):
        imap = ("127.0.0.1", free_port())
        self.root.write("/srv/imapd.conf", text(self.CONF, MORE=self.more))
        self.root.write("/srv/admin.conf", text(self.CONF, MORE=self.in_clear))
        self.root.write("/srv/cyrus.conf", text(self.SERVICES, IMAP=imap[1], PORT=self.port))
        self.root.run("mkdir", "-p", "/srv/cyrus/spool", "/srv/cyrus/sieve", "/run/cyrus/socket")
        self.root.run("chown", "-R", "cyrus:mail", "/srv/cyrus", "/run/cyrus")
        daemon = self.root.spawn(f"{self.daemon}/master", "-C", "/srv/imapd.conf", "-M", "/srv/cyrus.conf",
                                 "-p", "/run/cyrus/master.pid")
        wait_listening(self.address, daemon)
        self.create_mailbox(imap)

    def create_mailbox(self, imap):
        self.root.run("bash", "-c", f"exec 3<>/dev/tcp/{imap[0]}/{imap[1]}; read -r <&3; "
                      rf"printf 'a LOGIN cyrus x\r\nb CREATE user/{USER}\r\nc LOGOUT\r\n' >&3; "
                      "grep '^b OK' <&3")


class SecureCyrusSieve(CyrusSieve):
    """Takes no password without TLS; its certificate is put into the root before it starts."""
    name = "cyrus-sieve-tls"
    more = "allowplaintext: no\ntls_server_cert: /srv/cert.pem\ntls_server_key: /srv/key.pem"

    def start(self):
        self.root.run("chown", "cyrus", "/srv/cert.pem", "/srv/key.pem")
        super().start()


class Courier(PopServer):
    name = "courier-pop3"
    packages = ["courier-pop"]

    def start(self):
        self.set_password()
        config = self.root.path("/etc/courier/pop3d")
        config.write_text(config.read_text().replace("\nPORT=110", f"\nPORT={self.port}").replace(
            "\nADDRESS=0", "\nADDRESS=127.0.0.1").replace("\nMAXPERIP=4", "\nMAXPERIP=40"))
        self.root.run("mkdir", "-p", "/run/courier/authdaemon")
        self.root.run("chown", "-R", "courier:courier", "/run/courier")
        self.root.run("/usr/sbin/authdaemond", "start")
        self.root.run("/usr/sbin/pop3d", "start")
        wait_listening(self.address)


ALL = [Popa3d, Dovecot, Courier]
