# SPDX-License-Identifier: ISC
"""Real mail servers that trust 127.0.0.1, behind ehlock on 127.0.0.1: who they take a client for.

Each row of docs/identity.md is tried here. The client is on another network, the mail server has
what its manual calls ordinary: it takes mail for its own domains from anybody, and for all others
from this machine.
"""

import ipaddress

import pytest

import ehlock
import mtas
import netns
from ehlock import Ehlock
from leadback import LeadBack
from messages import SENDER
from mtas import DOMAINS, text
from net import free_port, text_of, wait_until
from roots import HOST, USER, wait_listening
from smtp_client import Client, context
from starters import listening

NEAR, FAR = "192.0.2.1", "192.0.2.50"
NEAR6, FAR6 = "2001:db8::1", "2001:db8::50"
EXTRA = "192.0.2.9"             # another address of the machine with the mail server
# Where it listens, where the client goes, and who that is: IPv4, IPv6, and IPv4 on a socket of IPv6.
PATHS = [pytest.param(NEAR, NEAR, FAR, id="ipv4"), pytest.param(NEAR6, NEAR6, FAR6, id="ipv6"),
         pytest.param("::", NEAR, FAR, id="v4-mapped")]
OURS = f"{USER}@{HOST}"
FOREIGN = "victim@example.com"

# Of each server: names(address) gives what stands in the line of its log that says who the client is.


def says_who(mta, address, since=0):
    return any(all(word in line for word in mta.names(address)) for line in list(mta.root.log)[since:])


class Postfix(mtas.Postfix):
    words = ("proxy", "proxy2", "transparent")
    trusts_all_own_addresses = False

    def __init__(self, root):
        super().__init__(root)
        self.header_port = free_port()      # where a header is wanted
        self.postscreen_port = free_port()  # the same, by postscreen
        self.bare_postscreen_port = free_port()     # postscreen, and no header
        self.ipv4_port = free_port()        # a header is wanted, and IPv6 is not known

    def start(self):
        self.configure(f"""
            mydestination = {DOMAINS}
            local_recipient_maps =
            home_mailbox = Maildir/
            inet_protocols = all
            mynetworks = 127.0.0.0/8, [::1]/128
            inet_interfaces = 127.0.0.1, ::1
            """)
        lines = (f"127.0.0.1:{self.port} inet n - n - - smtpd\n"
                 f"[::1]:{self.port} inet n - n - - smtpd\n"
                 f"127.0.0.1:{self.header_port} inet n - n - - smtpd"
                 " -o smtpd_upstream_proxy_protocol=haproxy\n"
                 f"127.0.0.1:{self.ipv4_port} inet n - n - - smtpd"
                 " -o smtpd_upstream_proxy_protocol=haproxy -o inet_protocols=ipv4"
                 " -o inet_interfaces=127.0.0.1 -o mynetworks=127.0.0.0/8\n"
                 f"127.0.0.1:{self.postscreen_port} inet n - n - 1 postscreen"
                 " -o postscreen_upstream_proxy_protocol=haproxy -o postscreen_greet_wait=1s\n"
                 + "".join(f"{host}:{self.bare_postscreen_port} inet n - n - 1 postscreen"
                           " -o postscreen_cache_map= -o postscreen_greet_wait=1s\n"
                           for host in ("127.0.0.1", "[::1]")) +
                 "smtpd pass - - n - - smtpd")
        self.root.write(f"{self.instance}/etc/master.cf", text(self.MASTER, LISTEN=lines))
        self.root.run("postfix", "-c", f"{self.instance}/etc", "start")
        wait_listening(self.address)
        wait_listening(("127.0.0.1", self.header_port))

    def names(self, address):
        return f"connect from unknown[{address}]",


class Exim(mtas.Exim):
    packages = ["exim4-daemon-heavy"]
    words = ("proxy", "proxy2", "transparent")
    trusts_all_own_addresses = False

    CONF = """
        primary_hostname = @HOST@
        domainlist local_domains = @DOMAINS@
        hostlist relay_from_hosts = <; 127.0.0.1 ; ::1
        daemon_smtp_ports = @PORT@
        local_interfaces = <; 127.0.0.1 ; ::1
        spool_directory = /srv/exim-@PORT@
        log_file_path = syslog
        log_selector = +smtp_connection
        tls_advertise_hosts =
        rfc1413_query_timeout = 0s
        host_lookup =
        keep_environment =
        hosts_proxy = @PROXY@
        acl_smtp_rcpt = rcpt
        begin acl
        rcpt:
          accept hosts = +relay_from_hosts
          accept domains = +local_domains
          deny message = relay not permitted
        begin routers
        all:
          driver = redirect
          data = :blackhole:
        """

    def __init__(self, root):
        super().__init__(root)
        self.header_port = free_port()

    def start(self):
        for port, proxy in ((self.port, ""), (self.header_port, "127.0.0.1")):
            self.root.mkdir(f"/srv/exim-{port}", owner="Debian-exim")
            self.root.write(f"/srv/exim-{port}.conf", text(self.CONF, HOST=HOST, PORT=port, PROXY=proxy,
                                                           DOMAINS=DOMAINS.replace(", ", " : ")))
            daemon = self.root.spawn("exim4", "-C", f"/srv/exim-{port}.conf", "-bdf", "-oP",
                                     f"/srv/exim-{port}.pid")
            wait_listening(("127.0.0.1", port), daemon)

    def names(self, address):
        return f"[{address}]", "rejected RCPT"


class OpenSmtpd(mtas.OpenSmtpd):
    words = ("proxy2", "transparent")
    trusts_all_own_addresses = True     # smtpd.conf(5): "from local"

    CONF = """
        listen on 127.0.0.1 port @PORT@ hostname @HOST@
        listen on ::1 port @PORT@ hostname @HOST@
        listen on 127.0.0.1 port @HEADER@ hostname @HOST@ proxy-v2
        action "store" maildir "/home/@USER@/Maildir"
        action "relay" relay
        match from any for domain { "@HOST@", "example.org" } action "store"
        match from local for any action "relay"
        """

    def __init__(self, root):
        super().__init__(root)
        self.header_port = free_port()

    def start(self):
        self.root.write("/srv/smtpd.conf", text(self.CONF, PORT=self.port, HEADER=self.header_port,
                                                HOST=HOST, USER=USER))
        daemon = self.root.spawn("smtpd", "-d", "-f", "/srv/smtpd.conf")
        wait_listening(self.address, daemon)

    def names(self, address):
        return f"smtp connected address={f'[{address}]' if ':' in address else address} ",


class Sendmail(mtas.Sendmail):
    words = ("transparent",)
    trusts_all_own_addresses = True     # DontProbeInterfaces
    MC = mtas.Sendmail.MC + """
        DAEMON_OPTIONS(`Family=inet6, Name=MTA6, Addr=::1, Port=@PORT@')dnl
        """

    def names(self, address):
        if ":" in address:      # written in full
            address = "IPv6:" + ":".join(f"{int(group, 16):x}" for group in
                                         ipaddress.ip_address(address).exploded.split(":"))
        return f"relay=[{address}]", "reject=5"


class Aiosmtpd(mtas.Aiosmtpd):
    words = ("proxy", "proxy2", "transparent")
    trusts_all_own_addresses = False

    PROGRAM = """
        import asyncio
        import logging
        import sys

        from aiosmtpd.smtp import SMTP

        DOMAINS = sys.argv[3:]

        class Handler:
            async def handle_PROXY(self, server, session, envelope, proxy):
                session.peer = (str(proxy.src_addr), proxy.src_port)
                return True

            async def handle_RCPT(self, server, session, envelope, address, options):
                print(f"mail for {address} from [{session.peer[0]}]", file=sys.stderr, flush=True)
                if session.peer[0] not in ("127.0.0.1", "::1") and address.rpartition("@")[2] not in DOMAINS:
                    return "550 5.7.1 relaying denied"
                envelope.rcpt_tos.append(address)
                return "250 2.1.5 taken"

            async def handle_DATA(self, server, session, envelope):
                return "250 2.0.0 forgotten"

        async def main():
            loop = asyncio.get_running_loop()
            for port, seconds in ((sys.argv[1], None), (sys.argv[2], 5)):
                await loop.create_server(
                    lambda seconds=seconds: SMTP(Handler(), proxy_protocol_timeout=seconds),
                    ["127.0.0.1", "::1"], int(port))
            await asyncio.Event().wait()

        logging.basicConfig()
        asyncio.run(main())
        """

    def __init__(self, root):
        super().__init__(root)
        self.header_port = free_port()

    def start(self):
        self.root.write("/srv/server.py", text(self.PROGRAM))
        daemon = self.root.spawn("/usr/bin/python3", "/srv/server.py", self.port, self.header_port,
                                 *DOMAINS.split(", "))
        for port in (self.port, self.header_port):
            wait_listening(("127.0.0.1", port), daemon)

    def names(self, address):
        return f"mail for {FOREIGN} from [{address}]",


class Courier(mtas.Courier):
    """It trusts what /etc/courier/smtpaccess/default has: this machine, by IPv4 and by IPv6."""
    words = ("transparent",)
    trusts_all_own_addresses = False

    def ports(self):
        return f"127.0.0.1.{self.port},::1.{self.port}"

    def names(self, address):
        return f"relay={address if ':' in address else f'::ffff:{address}'},", f"to=<{FOREIGN}>"


KINDS = [Postfix, Exim, OpenSmtpd, Sendmail, Courier, Aiosmtpd]
ROWS = [(kind, word) for kind in KINDS for word in kind.words]


@pytest.fixture(scope="module")
def networks():
    with netns.Namespace() as server, netns.Namespace() as far:
        server.join(far, (f"{NEAR}/24", f"{FAR}/24"), (f"{NEAR6}/64", f"{FAR6}/64"))
        server.ip("addr", "add", f"{EXTRA}/32", "dev", "lo")
        server.back = LeadBack(server)
        yield server, far


@pytest.fixture(scope="module")
def mta_of(networks, roots):
    """mta_of(kind): that mail server, started once."""
    server, _ = networks
    running = {}

    def get(kind):
        if kind not in running:
            mta = kind(roots(f"identity-{kind.name}", kind.packages))
            server.run(mta.start)
            server.back.port(mta.port)
            running[kind] = mta
        return running[kind]

    return get


@pytest.fixture
def front(networks, tmp_path, pki, mta_of, request):
    """front(kind, word, **options): ehlock before that mail server."""
    server, _ = networks
    running = []

    def start(kind, word, near=NEAR, port=None, **options):
        mta = mta_of(kind)
        request.node.used_roots = [mta.root.name]
        address = (near, server.run(free_port, near))
        accept = None if near == "::" else text_of(address)
        port = port or (mta.header_port if word.startswith("proxy") else mta.port)
        if word == "transparent":   # each client is led to its kind
            options["connect"] = [f"127.0.0.1:{port}", f"[::1]:{port}"]
        proxy = Ehlock.wrap(tmp_path, ("127.0.0.1", port), pki.ecdsa, accept=accept,
                            identity=word, spareWorkers=2, **options)
        proxy.address = address
        running.append(proxy)
        with listening(proxy, server, near):
            server.run(proxy.start)
        return proxy

    yield start
    for proxy in running:
        proxy.stop()


def rcpt(client, address):
    assert client.command(f"MAIL FROM:<{SENDER}>").code == 250
    return client.command(f"RCPT TO:<{address}>").code


def may_relay(client):
    """Whether it relays for this client; its own recipients it takes in any case."""
    assert rcpt(client, OURS) == 250
    client.command("RSET")
    code = rcpt(client, FOREIGN)
    client.quit()
    assert code in (250, 251) or 400 <= code < 600
    return code < 300


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_none_is_an_open_relay(kind, host, front, networks, mta_of):
    """The danger of which the warning warns is real."""
    proxy = front(kind, "none", connect=f"{host}:{mta_of(kind).port}")
    with networks[1].run(Client, proxy.address) as client:
        client.ehlo()
        assert may_relay(client), "this server was to trust 127.0.0.1"
    assert "sees every client as this machine" in proxy.log
    checked = ehlock.run("--check", proxy.config)
    assert checked.returncode == 0 and "open relay" in checked.stdout + checked.stderr


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_local_address(kind, front, networks):
    """An address that is trusted less than 127.0.0.1 is; some trust all addresses of the machine."""
    proxy = front(kind, "none", local=EXTRA)
    with networks[1].run(Client, proxy.address) as client:
        client.ehlo()
        assert may_relay(client) == kind.trusts_all_own_addresses


@pytest.mark.parametrize("near,to,far", PATHS)
@pytest.mark.parametrize("kind,word", ROWS, ids=[f"{kind.name}-{word}" for kind, word in ROWS])
def test_backend_knows_the_client(kind, word, near, to, far, front, networks, mta_of):
    """With a header the backend is reached by IPv4 in any case, with `transparent` as the client comes."""
    mta = mta_of(kind)
    before = len(mta.root.log)
    proxy = front(kind, word, near)
    with networks[1].run(Client, (to, proxy.address[1])) as client:
        client.ehlo()
        assert not may_relay(client)
    wait_until(lambda: says_who(mta, far, before), f"{kind.name} logs {far}")
    assert "open relay" not in proxy.log
    assert proxy.summary()["outcome"] == "done"


@pytest.mark.parametrize("kind,word", ROWS, ids=[f"{kind.name}-{word}" for kind, word in ROWS])
def test_backend_knows_the_client_under_tls(kind, word, front, networks, pki):
    proxy = front(kind, word, implicitTls="yes")
    with networks[1].run(Client.implicit, proxy.address, context(pki)) as client:
        client.ehlo()
        assert not may_relay(client)
    assert (proxy.summary()["outcome"], proxy.summary()["tls"]) == ("done", "TLS1.3")


@pytest.mark.parametrize("kind,word", ROWS, ids=[f"{kind.name}-{word}" for kind, word in ROWS])
@pytest.mark.parametrize("reconnect", ["no", "yes"])
def test_backend_knows_the_client_after_starttls(reconnect, kind, word, front, networks, pki):
    proxy = front(kind, word, reconnect=reconnect)
    with networks[1].run(Client, proxy.address) as client:
        client.ehlo()
        client.starttls(context(pki))
        client.ehlo()  # OpenSMTPD takes one only, and gets a new connection unasked
        assert not may_relay(client)
    assert (proxy.summary()["outcome"], proxy.summary()["tls"]) == ("done", "TLS1.3")


@pytest.mark.parametrize("near,to,far", PATHS)
@pytest.mark.parametrize("word", ["proxy", "proxy2", "transparent"])
def test_postscreen_knows_the_client(word, near, to, far, front, networks, mta_of, pki):
    """And so does the smtpd that it hands the client to."""
    mta = mta_of(Postfix)
    before = len(mta.root.log)
    port = mta.bare_postscreen_port if word == "transparent" else mta.postscreen_port
    networks[0].back.port(mta.bare_postscreen_port)
    proxy = front(Postfix, word, near, port)
    with networks[1].run(Client.secured, (to, proxy.address[1]), context(pki)) as client:
        assert not may_relay(client)

    def says(what):
        return any(what in line for line in list(mta.root.log)[before:])
    wait_until(lambda: says(f"CONNECT from [{far}]:") and says(f"reject: RCPT from unknown[{far}]"),
               f"postscreen and smtpd log {far}")
    assert proxy.summary()["outcome"] == "done"


@pytest.mark.parametrize("word", ["proxy", "proxy2"])
def test_postfix_without_ipv6_does_not_take_the_client(word, front, networks, mta_of):
    mta = mta_of(Postfix)
    before = len(mta.root.log)
    proxy = front(Postfix, word, NEAR6, mta.ipv4_port)
    with networks[1].run(Client, proxy.address) as client:
        assert (client.greeting.code, client.read_to_end()) == (421, b"")
    assert proxy.summary()["reason"] == "backend closed the session with 421"
    wait_until(lambda: any("warning: haproxy read: " in line and "EOF" not in line
                           for line in mta.root.log[before:]), "postfix says that it is the header")


def test_opensmtpd_does_not_understand_version_1(front, networks, mta_of):
    mta = mta_of(OpenSmtpd)
    proxy = front(OpenSmtpd, "proxy")
    with networks[1].run(Client, proxy.address) as client:
        assert (client.greeting.code, client.read_to_end()) == (421, b"")
    assert proxy.summary()["reason"] == "backend closed the connection"
    wait_until(lambda: mta.root.says("invalid signature"), "it says why")


# ---- haproxy in front


HAPROXY = """
    global
        maxconn 100
    defaults
        mode tcp
        timeout connect 5s
        timeout client 60s
        timeout server 60s
    frontend mail
        bind @NEAR@:@PORT@
        bind [@NEAR6@]:@PORT@
        unique-id-format %pid-%ci
        default_backend ehlock
    backend ehlock
        server one 127.0.0.1:@BEHIND@ @HOW@
    """


@pytest.mark.parametrize("how", [
    "send-proxy", "send-proxy-v2",
    "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl,cert-cn,ssl-cipher",
    "send-proxy-v2 check inter 200ms",
], ids=["v1", "v2", "v2-with-everything", "v2-with-health-checks"])
@pytest.mark.parametrize("near,far_address", [(NEAR, FAR), (NEAR6, FAR6)])
def test_haproxy_in_front(near, far_address, how, front, networks, roots, mta_of, pki):
    server, far = networks
    proxy = front(Postfix, "proxy2", "127.0.0.1", acceptProxy="127.0.0.1")

    def of_client(address):
        return [s for s in proxy.summaries() if s["client"].rpartition(":")[0].strip("[]") == address]

    port = server.run(free_port, NEAR)
    root = roots("haproxy", ["haproxy"])
    root.write("/srv/haproxy.cfg", text(HAPROXY, NEAR=NEAR, NEAR6=NEAR6, PORT=port, HOW=how,
                                        BEHIND=proxy.address[1]))
    balancer = server.run(root.spawn, "haproxy", "-db", "-f", "/srv/haproxy.cfg")
    try:
        server.run(wait_listening, (NEAR, port), balancer)
        with far.run(Client.secured, (near, port), context(pki)) as client:
            assert not may_relay(client)
        summary = wait_until(lambda: of_client(far_address), "the session's summary")[0]
        if "check" in how:      # LOCAL
            wait_until(lambda: of_client("127.0.0.1"), "a health check")
    finally:
        balancer.stop()
    assert summary["via"].startswith("127.0.0.1:") and summary["outcome"] == "done"
    assert says_who(mta_of(Postfix), far_address)
