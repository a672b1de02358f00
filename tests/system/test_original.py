# SPDX-License-Identifier: ISC
"""transparent = destination: connections that the packet filter redirects, in three networks.

    lan (an MTA's machine) ---lan--- router (ehlock, and an MTA of its own) ---wan--- world (servers)

The rules and commands are those of docs/outbound.md, as they stand there.
"""

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

import ehlock
import net
import netns
import pytest
from ehlock import Ehlock, global_part, section
from outbound import doors, load, page, unload, worker_user
from pki import NAME
from smtp_client import Client
from sniffer import Sniffer
from starters import Single, listening
from tls_server import TlsServer

WITH, WITHOUT, BROKEN, OTHER, CLOSED = "7", "8", "9", "10", "11"     # hosts of the world
MESSAGE = b"Subject: secret-subject\r\n\r\nsecret-body\r\n"


def host(number, family):
    return f"192.0.2.{number}" if family == 4 else f"2001:db8::{number}"


class World:
    """The networks, with ehlock as the page has it, and servers on both kinds of addresses."""

    def __init__(self, directory, pki):
        self.lan, self.router, self.world = (netns.Namespace() for _ in range(3))
        self.router.join(self.lan, ("10.0.0.1/24", "10.0.0.2/24"), ("fd00::1/64", "fd00::2/64"),
                         cable="lan")
        self.router.join(self.world, ("192.0.2.1/24", "192.0.2.7/24"),
                         ("2001:db8::1/64", "2001:db8::7/64"), cable="wan")
        self.lan.ip("route", "add", "default", "via", "10.0.0.1")
        self.lan.ip("-6", "route", "add", "default", "via", "fd00::1")
        for number in (WITHOUT, BROKEN, OTHER, CLOSED):
            self.world.ip("addr", "add", host(number, 4) + "/24", "dev", "wan")
            self.world.ip("addr", "add", host(number, 6) + "/64", "dev", "wan", "nodad")
        self.servers = {}
        for family in (4, 6):
            self.serve(WITH, family, pki.ecdsa)
            self.serve(WITHOUT, family, pki.ecdsa, offers=False, answer=b"502 5.5.1 what?\r\n")
            self.serve(BROKEN, family, pki.ecdsa, vanishes=True)
            self.serve(OTHER, family, pki.foreign)
            self.serve(OTHER, family, pki.ecdsa, port=26)
        self.filters, commands = page()
        for command in commands:
            self.router.ip(*command.split()[1:])
        for rules in self.filters[:2]:
            load(self.router, rules)
        self.accept = ["127.0.0.1:2525", "[::1]:2525"]
        self.directory, self.ca = directory, pki.ca

    @contextlib.contextmanager
    def redirecting(self, rules=None):
        """Around: REDIRECT instead of TPROXY for connections of the lan."""
        before = self.accept
        self.accept = doors()
        unload(self.router, "inet", "ehlock")
        load(self.router, rules or self.filters[2])
        try:
            yield
        finally:
            unload(self.router, "inet", "ehlock")
            for rules in self.filters[:2]:
                load(self.router, rules)
            self.accept = before

    def serve(self, number, family, leaf, port=25, **more):
        server = TlsServer(leaf, address=(host(number, family), port), **more)
        self.world.run(server.start)
        self.servers[number, family, port] = server

    def configured(self, globals_=None, more="", **options):
        settings = {"client": True, "transparent": "destination", "protocol": "smtp",
                    "accept": self.accept, "CAfile": self.ca,
                    "spareWorkers": 2, "tlsPolicy": f"203.0.113.1 secure match={NAME}", **options}
        return (global_part(hostname="proxy.example.org", **(globals_ or {})) +
                section("out", **settings) + more)

    def close(self):
        for server in self.servers.values():
            server.stop()
        for space in (self.lan, self.router, self.world):
            space.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory, pki):
    reason = netns.why_impossible()
    if reason:
        pytest.skip(reason)
    if not shutil.which("nft"):
        pytest.skip("needs nft (nftables)")
    it = World(tmp_path_factory.mktemp("original"), pki)
    yield it
    it.close()


@pytest.fixture
def start(world):
    """start(**options) starts ehlock on the router."""
    running = []

    def begin(**options):
        proxy = Ehlock(world.directory, world.configured(**options))
        running.append(proxy)
        return world.router.run(proxy.start)

    yield begin
    for proxy in running:
        proxy.stop()


def send(place, address):
    """A message to whom the address belongs, as an MTA in that network; gives the greeting."""
    with place.run(Client, address) as client:
        if client.greeting.code == 220:
            client.ehlo()
            client.send_message("secret-sender@example.org", ["secret-rcpt@example.org"], MESSAGE)
            client.quit()
        return client.greeting


def count(server):
    return len(server.messages)


# A connection of the machine itself is redirected by REDIRECT, one of its network by TPROXY, or by
# REDIRECT as well.
@pytest.fixture(params=["router", "lan-tproxy", "lan-redirect"])
def place(world, request):
    if request.param != "lan-redirect":
        yield world.router if request.param == "router" else world.lan
        return
    with world.redirecting():
        yield world.lan


@pytest.fixture
def redirecting(world):
    with world.redirecting():
        yield


@pytest.mark.parametrize("family", [4, 6])
def test_tls_is_used_where_it_is_offered(world, place, start, family):
    proxy = start()
    to = host(WITH, family)
    server = world.servers[WITH, family, 25]
    before = len(server.sessions)
    with Sniffer(world.router, "wan") as cable:
        assert send(place, (to, 25)).code == 220
        summary = proxy.summary()
    assert server.ended(before).messages[0].body == MESSAGE
    said = cable.bytes_of(to)
    assert b"STARTTLS" in said and b"secret-s" not in said and b"secret-b" not in said, said
    assert summary["backend"] == net.text_of((to, 25)) and summary["level"] == "may"
    assert summary["offered"] == "yes" and summary["server_tls"] == "TLS1.3", summary


@pytest.mark.parametrize("family", [4, 6])
def test_mail_goes_in_clear_where_it_is_not(world, place, start, family):
    proxy = start()
    to = host(WITHOUT, family)
    server = world.servers[WITHOUT, family, 25]
    before = len(server.sessions)
    with Sniffer(world.router, "wan") as cable:
        assert send(place, (to, 25)).code == 220
        summary = proxy.summary()
    assert server.ended(before).messages[0].body == MESSAGE
    assert b"secret-body" in cable.bytes_of(to)     # so the cable can be read
    assert summary["offered"] == "no" and summary["server_tls"] == "-", summary


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("rule", ["ADDRESS", "NETWORK", "/^ADDRESS$/", "/^BRACKETS:25$/"])
def test_rule_for_the_address_demands_tls(world, start, rule, family):
    to = host(WITHOUT, family)
    text = rule.replace("ADDRESS", re.escape(to) if rule[0] == "/" else to)
    text = text.replace("NETWORK", "192.0.2.8/31" if family == 4 else "2001:db8::8/127")
    text = text.replace("BRACKETS", re.escape(net.text_of((to, 1))[:-2]))
    proxy = start(tlsPolicy=f"{text} encrypt")
    server = world.servers[WITHOUT, family, 25]
    before = count(server)
    with Sniffer(world.router, "wan") as cable:
        greeting = send(world.router, (to, 25))
        assert proxy.summary()["level"] == "encrypt"
    assert greeting.code == 421 and "starttls-not-supported" in greeting.text, greeting
    assert count(server) == before and b"secret-" not in cable.bytes_of(to).replace(
        b"secret-greeting", b"")
    # Others are still sent to as before.
    assert send(world.router, (host(WITH, family), 25)).code == 220
    assert proxy.summary(2)["level"] == "may"


@pytest.mark.parametrize("family", [4, 6])
def test_rules_hold_for_everybodys_connections(world, place, start, family):
    """The same three rules, whoever connects and however the connection was led here."""
    proxy = start(tlsPolicy=[f"{host(WITHOUT, family)} encrypt", f"{host(WITH, family)} secure match={NAME}",
                             f"{host(OTHER, family)} secure match={NAME}"])
    before = {number: count(world.servers[number, family, 25]) for number in (WITHOUT, WITH, OTHER)}
    with Sniffer(world.router, "wan") as cable:
        greeting = send(place, (host(WITHOUT, family), 25))
        assert proxy.summary(1)["level"] == "encrypt"
        assert greeting.code == 421 and "starttls-not-supported" in greeting.text, greeting
        greeting = send(place, (host(OTHER, family), 25))
        assert greeting.code == 421 and "certificate-not-trusted" in greeting.text, greeting
        assert send(place, (host(WITH, family), 25)).code == 220
        summary = proxy.summary(3)
    assert (summary["level"], summary["verified"]) == ("secure", NAME), summary
    for number, more in ((WITHOUT, 0), (OTHER, 0), (WITH, 1)):
        assert count(world.servers[number, family, 25]) == before[number] + more
        said = cable.bytes_of(host(number, family)).replace(b"secret-greeting", b"")
        assert b"EHLO" in said and b"secret-" not in said, said


def test_rule_gives_the_name_that_is_verified(world, start):
    rules = [f"{host(WITH, 4)} secure match={NAME}", f"{host(OTHER, 4)} secure match={NAME}",
             f"{host(WITH, 6)} secure match=mail.example.net"]
    proxy = start(tlsPolicy=rules)
    assert send(world.router, (host(WITH, 4), 25)).code == 220
    summary = proxy.summary(1)
    assert summary["level"] == "secure" and summary["verified"] == NAME, summary
    assert world.servers[WITH, 4, 25].sessions[-1].sni == NAME
    greeting = send(world.router, (host(OTHER, 4), 25))
    assert greeting.code == 421 and "certificate-not-trusted" in greeting.text, greeting
    greeting = send(world.router, (host(WITH, 6), 25))
    assert greeting.code == 421 and "certificate-host-mismatch" in greeting.text, greeting
    assert count(world.servers[OTHER, 4, 25]) == 0


def test_broken_tls_falls_back_on_a_fresh_connection_only_if_it_may(world, start):
    to, server = (host(BROKEN, 4), 25), world.servers[BROKEN, 4, 25]
    proxy = start(fallBack=True, tlsPolicy=f"{host(BROKEN, 6)} may fallBack=no")
    before = len(server.sessions)
    assert send(world.router, to).code == 220
    assert server.ended(before).messages == [] and len(server.ended(before + 1).messages) == 1
    assert proxy.summary()["backend"] == net.text_of(to)
    greeting = send(world.router, (host(BROKEN, 6), 25))
    assert greeting.code == 421 and "validation-failure" in greeting.text, greeting
    assert count(world.servers[BROKEN, 6, 25]) == 0


@pytest.mark.parametrize("address", [("127.0.0.1", 2525), ("::1", 2525)])
def test_connection_to_ehlock_itself_is_refused(world, start, address):
    proxy = start()
    greeting = send(world.router, address)
    assert greeting.code == 421 and "connected to directly" in greeting.text, greeting
    summary = proxy.summary()
    assert summary["outcome"] == "refused" and "connected to directly" in summary["reason"]
    assert summary["backend"] == "-"


def test_others_cannot_connect_to_ehlock_itself(world, redirecting, start):
    """Where REDIRECT on a router leads is open to its network: there is nothing to be had."""
    proxy = start()
    for number, address in enumerate((("10.0.0.1", 2525), ("fd00::1", 2525)), 1):
        greeting = send(world.lan, address)
        assert greeting.code == 421 and "connected to directly" in greeting.text, greeting
        assert proxy.summary(number)["backend"] == "-"


def goes_on(world, family, proxy):
    """Whether a connection of the lan arrives, with TLS."""
    to = host(WITH, family)
    assert send(world.lan, (to, 25)).code == 220
    summary = net.wait_until(lambda: [s for s in proxy.summaries() if s["backend"] == net.text_of((to, 25))],
                             "the session's summary")[0]
    assert summary["server_tls"] == "TLS1.3" and "::ffff:" not in proxy.log, summary


@pytest.mark.parametrize("family", [4, 6])
def test_redirect_on_a_router_leads_to_all_its_addresses(world, redirecting, start, family):
    goes_on(world, family, start(accept=["2525", ":::2525"]))


@pytest.mark.parametrize("family", [4, 6])
def test_redirect_on_a_router_leads_to_an_inherited_dual_stack_socket(world, redirecting, family):
    proxy = Ehlock(world.directory, world.configured(accept=None))
    with listening(proxy, world.router, "::", "out", 2525):
        world.router.run(proxy.start)
    try:
        goes_on(world, family, proxy)
    finally:
        proxy.stop()


@pytest.mark.parametrize("family,more", [(4, "10.0.0.9/24"), (6, "fd00::9/64")])
def test_redirect_on_a_router_leads_to_its_first_address(world, redirecting, start, family, more):
    """The first one that ip(8) shows."""
    world.router.ip("addr", "add", more, "dev", "lan", *["nodad"] * (family == 6))
    try:
        shown = world.router.ip("-o", f"-{family}", "address", "show", "dev", "lan")
        own = [net.text_of((address, 2525)) for address in re.findall(r" inet6? ([^/ ]+)", shown)]
        proxy = start(accept=own[1])
        with pytest.raises(ConnectionRefusedError):
            send(world.lan, (host(WITH, family), 25))
        proxy.stop()
        goes_on(world, family, start(accept=own[0]))
    finally:
        world.router.ip("addr", "del", more, "dev", "lan")


def test_redirect_on_a_router_needs_no_rights(world, redirecting):
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        proxy = Ehlock(directory, world.configured(CAfile=None, tlsPolicy=None), command=[
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        world.router.run(proxy.start)
        try:
            for family in (4, 6):
                goes_on(world, family, proxy)
            assert "only REDIRECT can bring connections" in proxy.log
        finally:
            proxy.stop()


def test_filter_that_redirects_ehlock_itself_makes_no_circle(world, start):
    rules = ('table inet circle { chain output { type nat hook output priority -101; '
             'tcp dport 25 redirect to :2525\n}\n}\n')
    load(world.router, rules)
    try:
        proxy = start(maxConnections=40)
        for family in (4, 6):
            before = len(proxy.summaries())
            assert send(world.router, (host(WITH, family), 25)).code == 421
            proxy.wait_log(rf'outcome=refused .*reason="\[?{host(WITH, family)}\]?:25: this is our own')
            # Some that are too fast to be recognized may come between.
            assert len(proxy.summaries()) - before < 20
    finally:
        unload(world.router, "inet", "circle")


def test_other_ports_are_those_of_connect(world, start):
    """A filter that redirects more than was meant leads nowhere: the workers cannot go there."""
    rules = ('table ip more { chain output { type nat hook output priority -101; oifname "wan" meta '
             f'skuid != "{worker_user()}" tcp dport 26 redirect to :2525\n}}\n}}\n')
    load(world.router, rules)
    to = (host(OTHER, 4), 26)
    try:
        proxy = start()
        greeting = send(world.router, to)
        assert greeting.code == 421 and "a port that connect does not have" in greeting.text
        assert proxy.summary()["outcome"] == "refused"
        assert count(world.servers[OTHER, 4, 26]) == 0
        proxy.stop()
        proxy = start(connect=["*:25", "*:26"])
        assert send(world.router, to).code == 220
        assert proxy.summary()["server_tls"] == "TLS1.3"
    finally:
        unload(world.router, "ip", "more")


def test_connection_to_this_very_machine_does_not_become_one_of_ours(world, start):
    """A server here may relay for this machine: a client must not be taken for it."""
    rules = ('table inet every { chain output { type nat hook output priority -101; meta '
             f'skuid != "{worker_user()}" tcp dport 25 redirect to :2525\n}}\n}}\n')
    proxy = start()
    for own in ("10.0.0.1", "fd00::1", "127.0.0.1", "::1"):
        server = world.router.run(TlsServer(None, offers=False, address=(own, 25)).start)
        load(world.router, rules)
        greeting = send(world.router, (own, 25))
        unload(world.router, "inet", "every")
        assert greeting.code == 421, greeting
        proxy.wait_log(rf'outcome=.* mail=0 .*[" \[]{own}\]?:25 is this machine itself"')
        if own in ("10.0.0.1", "fd00::1"):      # with the rules of the page the client is itself
            before = len(server.sessions)
            with world.lan.run(Client, (own, 25)) as client:
                peer = server.session(before).sock.getpeername()
                assert peer[:2] == client.sock.getsockname()[:2]
        assert b"MAIL" not in b"".join(server.commands)
        server.stop()


@pytest.mark.parametrize("own", ["10.0.0.1", "fd00::1", "192.0.2.1", "2001:db8::1"])
def test_router_itself_is_left_alone_or_refused(world, redirecting, start, own):
    """With the rule of the page the client is itself; without `fib` it is refused."""
    proxy = start()
    server = world.router.run(TlsServer(None, offers=False, address=(own, 25)).start)
    try:
        with world.lan.run(Client, (own, 25)) as client:
            assert server.session(0).sock.getpeername()[:2] == client.sock.getsockname()[:2]
        with world.redirecting(world.filters[2].replace("fib daddr type != local", "")):
            greeting = send(world.lan, (own, 25))
            assert greeting.code == 421
            assert "is this machine itself" in proxy.summary()["reason"]
    finally:
        server.stop()
    assert b"MAIL" not in b"".join(server.commands)


def test_host_that_answers_nobody_is_told_as_421(world, start):
    proxy = start()
    greeting = send(world.router, (host(CLOSED, 4), 25))
    assert greeting.code == 421 and "cannot be reached" in greeting.text
    summary = proxy.summary()
    assert summary["backend"] == f"{host(CLOSED, 4)}:25" and "refused" in summary["reason"], summary


def test_memory_of_offers_is_not_of_these_servers(world, start, tmp_path):
    memory = tmp_path / "memory"
    named = net.text_of((host(OTHER, 4), 26))
    proxy = start(globals_={"tlsMemory": memory}, more=section(
        "named", client=True, accept="127.0.0.1:2626", protocol="smtp", spareWorkers=1,
        connect=named, tlsLevel="may"))
    assert send(world.router, (host(WITH, 4), 25)).code == 220
    assert proxy.summary()["offered"] == "yes"
    assert send(world.router, ("127.0.0.1", 2626)).code == 220
    net.wait_until(lambda: memory.exists() and f"{named} yes" in memory.read_text(), "it is told")
    assert len(memory.read_text().splitlines()) == 2, memory.read_text()


def test_single_session_goes_where_its_connection_was_going(world, tmp_path):
    """ehlock --inetd: by REDIRECT, which the kernel remembers of the connection."""
    config = tmp_path / "ehlock.conf"
    config.write_text(world.configured(accept=[]))
    listener = world.router.run(net.listen, ("127.0.0.1", 2525))
    sock = world.router.run(net.connect, (host(WITH, 4), 25))
    inner, _ = listener.accept()
    listener.close()
    server = world.servers[WITH, 4, 25]
    before = len(server.sessions)
    with world.router.run(Single, config, sock=(sock, inner)) as single:
        client = Client.over(sock)
        client.ehlo()
        client.send_message("secret-sender@example.org", ["secret-rcpt@example.org"], MESSAGE)
        client.quit()
        status, log = single.wait()
    assert status == 0 and "server_tls=TLS1.3" in log, log
    assert server.ended(before).messages[0].body == MESSAGE


def probe(world, tmp_path, *args, **options):
    config = tmp_path / "ehlock.conf"
    config.write_text(world.configured(accept=[], **options))
    return world.router.run(ehlock.run, "probe", "--config", config, "--service", "out", *args)


@pytest.mark.parametrize("family", [4, 6])
def test_probe_goes_where_a_client_says(world, tmp_path, family):
    """By the rules for the address, and with the name that they give."""
    rules = [f"{host(WITH, family)} secure match={NAME}", f"{host(WITHOUT, family)} encrypt"]
    where = net.text_of((host(WITH, family), 25))
    server = world.servers[WITH, family, 25]
    done = probe(world, tmp_path, host(WITH, family), tlsPolicy=rules)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"met: {where} ({where}): level secure, TLS1.3")
    assert server.sessions[-1].sni == NAME
    done = probe(world, tmp_path, net.text_of((host(WITHOUT, family), 25)), tlsPolicy=rules)
    assert done.returncode == 1 and "level encrypt, no TLS" in done.stdout, done.stdout
    done = probe(world, tmp_path, host(OTHER, family), tlsPolicy=rules)
    assert done.returncode == 0 and "level may, TLS1.3" in done.stdout, done.stdout


def test_probe_falls_back_where_the_service_would(world, tmp_path):
    server = world.servers[BROKEN, 4, 25]
    before = len(server.sessions)
    done = probe(world, tmp_path, host(BROKEN, 4), fallBack=True)
    assert done.returncode == 0 and "   (another connection)\n" in done.stdout, done.stdout
    assert len(server.sessions) == before + 2
    done = probe(world, tmp_path, host(BROKEN, 4), fallBack=True,
                 tlsPolicy=f"{host(BROKEN, 4)} may fallBack=no")
    assert done.returncode == 1 and "validation-failure" in done.stdout, done.stdout


@pytest.mark.parametrize("where, status, words", [
    (None, 64, "which host? with transparent = destination it is the client who says"),
    ("10.0.0.1", 2, "10.0.0.1:25 is this machine itself"),
    ("127.0.0.1", 2, "127.0.0.1:25 is this machine itself"),
    ("192.0.2.10:26", 2, "192.0.2.10:26 is on a port that connect does not have"),
    (host(CLOSED, 4), 2, "Connection refused"),
])
def test_probe_goes_nowhere_else(world, tmp_path, where, status, words):
    server = world.router.run(TlsServer(None, offers=False, address=("10.0.0.1", 25)).start)
    try:
        done = probe(world, tmp_path, *([where] if where else []))
    finally:
        server.stop()
    assert done.returncode == status and words in done.stdout + done.stderr, done
    assert b"EHLO" not in b"".join(server.commands)
