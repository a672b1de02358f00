# SPDX-License-Identifier: ISC
"""An MTA that is left as it is, and whose connections to port 25 anywhere the packet filter redirects.

    here (the MTA, ehlock, the rules of docs/outbound.md) ---with---    host that offers STARTTLS
                                                          ---without--- host that does not

    lan (the MTA) ---lan--- here, a router (ehlock, the other rules) ---with---    ...
                                                                     ---without--- ...

The cables are read along. It is looked for commands and lines of the message on the one, and they are
found on the other.
"""

import shutil

import mtas
import netns
import pytest
from ehlock import Ehlock, global_part, section
from messages import LINES, SENDER, assert_same, lf, message, readable, received_text
from mtas import text
from net import DEADLINE, text_of, wait_until
from outbound import doors, load, page
from sniffer import Sniffer
from tls_server import TlsServer

HOSTS = {"with": {4: "192.0.2.7", 6: "2001:db8:7::7"}, "without": {4: "192.0.2.135", 6: "2001:db8:8::7"}}


def rcpt(host, family):
    return f"joe@{host}{family}.example.net"


def routes():
    """(domain, address) of each host, by IPv4 and by IPv6."""
    return [(f"{host}{family}.example.net", address)
            for host, addresses in HOSTS.items() for family, address in addresses.items()]


class Postfix:
    name = "postfix"
    packages = mtas.Postfix.packages
    added = ("received",)
    lines = LINES
    sent, deferred = "status=sent", "status=deferred"

    def __init__(self, root):
        self.root = root
        self.mta = mtas.Postfix(root)
        self.daemon = None

    def start(self):
        self.root.write("/srv/routes", "".join(
            f"{domain} smtp:[{'ipv6:' if ':' in address else ''}{address}]\n"
            for domain, address in routes()))
        self.mta.configure("""
            mydestination =
            inet_protocols = all
            transport_maps = texthash:/srv/routes
            smtp_tls_security_level = none
            """)
        self.daemon = self.mta.launch()

    def stop(self):
        self.daemon.stop()

    def submit(self, to, data):
        self.root.run("sendmail", "-C", f"{self.mta.instance}/etc", "-i", "-f", SENDER, to, input=data)


class Sendmail:
    """Each message is delivered by a process of its own."""
    name = "sendmail"
    packages = mtas.Sendmail.packages
    added = ("received",)
    lines = [line for line in LINES if len(line) <= 988]     # it breaks what is longer
    sent, deferred = "stat=Sent", "stat=Deferred"

    def __init__(self, root):
        self.root = root
        self.directory = "/var/lib/interop"

    def start(self):
        self.root.mkdir(self.directory)
        self.root.mkdir(f"{self.directory}/mq", mode=0o700)
        self.root.write(f"{self.directory}/aliases", "")
        self.root.write(f"{self.directory}/routes", "".join(
            f"{domain}\tesmtp:[{'IPv6:' if ':' in address else ''}{address}]\n"
            for domain, address in routes()))
        mc = text(mtas.Sendmail.MC, HOST=mtas.HOST, PORT=25, DOMAINS=mtas.HOST).replace(
            "MAILER(local)", f"FEATURE(`mailertable', `text -o -v1 {self.directory}/routes')dnl\n"
            f"define(`confSERVICE_SWITCH_FILE', `{self.directory}/switch')dnl\n"
            "MAILER(local)", 1)
        self.root.write(f"{self.directory}/switch", "hosts files\n")     # no name service is asked
        self.root.write(f"{self.directory}/sm.mc", mc)
        self.root.write(f"{self.directory}/sm.cf",
                        self.root.run("m4", f"{self.directory}/sm.mc").stdout)

    def stop(self):
        pass

    def submit(self, to, data):
        self.root.run("/usr/libexec/sendmail/sendmail", "-C", f"{self.directory}/sm.cf", "-i", "-f",
                      SENDER, to, input=data)


WAYS = [(Postfix, "here"), (Sendmail, "here"), (Postfix, "tproxy"), (Postfix, "redirect"),
        (Sendmail, "redirect")]


class Field:
    def __init__(self, kind, way, root, pki, directory):
        self.directory = directory
        self.here = netns.Namespace()
        self.hosts, self.servers = {}, {}
        for n, (name, addresses) in enumerate(HOSTS.items()):
            self.hosts[name] = netns.Namespace()
            self.here.join(self.hosts[name], (f"192.0.2.{128 * n + 1}/25", f"{addresses[4]}/25"),
                           (f"2001:db8:{7 + n}::1/64", f"{addresses[6]}/64"), cable=name)
            for address in addresses.values():
                server = TlsServer(pki.ecdsa, address=(address, 25)) if name == "with" else TlsServer(
                    None, offers=False, answer=b"502 5.5.1 what?\r\n", address=(address, 25))
                self.hosts[name].run(server.start)
                self.servers[address] = server
        self.place = self.here if way == "here" else self.make_lan()
        self.prepare(way)
        self.mta = kind(root)
        self.place.run(self.mta.start)

    def make_lan(self):
        lan = netns.Namespace()
        self.here.join(lan, ("10.0.0.1/24", "10.0.0.2/24"), ("fd00::1/64", "fd00::2/64"), cable="lan")
        lan.ip("route", "add", "default", "via", "10.0.0.1")
        lan.ip("-6", "route", "add", "default", "via", "fd00::1")
        return lan

    def prepare(self, way):
        """The packet filter here, and where ehlock is to be for it."""
        filters, commands = page()
        load(self.here, filters[("here", "tproxy", "redirect").index(way)])
        for command in commands if way == "tproxy" else ():
            self.here.ip(*command.split()[1:])
        self.accept = doors() if way == "redirect" else ["127.0.0.1:2525", "[::1]:2525"]

    def close(self):
        self.mta.stop()
        for server in self.servers.values():
            server.stop()
        for space in {self.here, self.place, *self.hosts.values()}:
            space.close()

    def start(self, **options):
        proxy = Ehlock(self.directory, global_part() + section(
            "out", client=True, transparent="destination", accept=self.accept,
            protocol="smtp", spareWorkers=2, **options))
        return self.here.run(proxy.start)

    def submit(self, to):
        """Has the MTA send; gives what it says of it in its log."""
        begin = len(self.mta.root.log)
        self.place.run(self.mta.submit, to, lf(message(self.mta.lines)))

        def verdict():
            for line in self.mta.root.log[begin:]:
                if to in line and (self.mta.sent in line or self.mta.deferred in line):
                    return line
            return None

        return wait_until(verdict, f"{self.mta.name} tells what became of it", 2 * DEADLINE)


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0].name}-{way[1]}")
def field(request, roots, pki, tmp_path_factory):
    reason = netns.why_impossible()
    if reason:
        pytest.skip(reason)
    if not shutil.which("nft"):
        pytest.skip("needs nft (nftables)")
    kind, way = request.param
    it = Field(kind, way, roots(f"{kind.name}-{way}", kind.packages), pki,
               tmp_path_factory.mktemp("field"))
    yield it
    it.close()


@pytest.fixture
def start(field, request):
    request.node.used_roots = [field.mta.root.name]
    running = []

    def begin(**options):
        running.append(field.start(**options))
        return running[-1]

    yield begin
    for proxy in running:
        proxy.stop()


@pytest.mark.parametrize("family", [4, 6])
def test_message_goes_under_tls_where_it_can(field, start, family):
    proxy = start()
    to = {name: addresses[family] for name, addresses in HOSTS.items()}
    before = {name: len(field.servers[address].messages) for name, address in to.items()}
    with Sniffer(field.here, "with") as secret, Sniffer(field.here, "without") as clear:
        for number, name in enumerate(to, 1):
            assert field.mta.sent in field.submit(rcpt(name, family))
            proxy.summary(number)
    for name, address in to.items():
        arrived = field.servers[address].messages[before[name]:]
        assert len(arrived) == 1
        assert_same(received_text(arrived[0]), message(field.mta.lines), field.mta.added)
    said = secret.bytes_of(to["with"])
    assert b"STARTTLS" in said and readable(said) == [] and b"joe@" not in said
    assert len(readable(clear.bytes_of(to["without"]))) > 10
    assert [s["server_tls"] for s in proxy.summaries()] == ["TLS1.3", "-"]
    assert [s["backend"] for s in proxy.summaries()] == [text_of((to[name], 25)) for name in to]


@pytest.mark.parametrize("family", [4, 6])
def test_message_stays_in_the_queue_where_a_rule_demands_tls(field, start, family):
    address = HOSTS["without"][family]
    proxy = start(tlsPolicy=f"{address} encrypt")
    before = len(field.servers[address].messages)
    with Sniffer(field.here, "without") as cable:
        assert field.mta.deferred in field.submit(rcpt("without", family))
        summary = proxy.summary()
    said = cable.bytes_of(address)
    assert b"STARTTLS" in said and readable(said) == [] and b"joe@" not in said, said
    assert len(field.servers[address].messages) == before
    assert summary["level"] == "encrypt" and "starttls-not-supported" in summary["reason"], summary
    assert field.mta.sent in field.submit(rcpt("with", family))
