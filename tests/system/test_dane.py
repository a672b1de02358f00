# SPDX-License-Identifier: ISC
"""DANE, MX and names that change, by a DNS that is signed with a key of ours (tests/lib/zones.py)."""

import os
import re
import signal

import ehlock
import net
import pytest
from backend import Backend
from ehlock import Ehlock, global_part, section
from net import wait_until
from smtp_client import Client
from starters import Starter
from test_client import holds_nothing_of_the_client, try_message
from tls_server import TlsServer
from zones import Zones, tlsa_of

NOT_OFFERED = {"offers": False, "answer": b"502 5.5.1 what?\r\n"}


def tlsa(host, port, *data):
    return [f"_{port}._tcp.{host} TLSA {one}" for one in data]


@pytest.fixture(scope="module")
def leaves(pki):
    """Certificates for hosts of our zone; `whole` comes with its authority, as DANE-TA wants it."""
    whole = pki.issue("whole", ["ta.signed.lab", "exchange.signed.lab"], chained=True)
    whole.cert.write_bytes(whole.cert.read_bytes() + pki.ca.read_bytes())
    domain = pki.issue("for-a-domain", ["domain.lab"])
    domain.cert.write_bytes(domain.cert.read_bytes() + pki.ca.read_bytes())
    return {"lonely": pki.lonely, "expired": pki.expired, "whole": whole, "domain": domain,
            "foreign": pki.foreign, "ca": pki.ca}


def dns_globals(zones, **more):
    return {"resolver": zones.address_text, "dnssecAnchor": zones.anchor, **more}


# -- every kind of zone and record, at both levels

# name: (host, certificate, usages, server options, how dane ends, how dane-only ends, tlsa=)
# An end is None (the message passes), or how the sentence in the 421 begins.
CASES = {
    "ee-self-signed": ("ee.signed.lab", "lonely", [(3, 1, 1)], {}, None, None, "used"),
    "ee-whole-certificate": ("e0.signed.lab", "lonely", [(3, 0, 2)], {}, None, None, "used"),
    "ee-expired": ("ex.signed.lab", "expired", [(3, 1, 1)], {}, None, None, "used"),
    "ee-of-another": ("other.signed.lab", "expired", [(3, 1, 1, "lonely")], {},
                      "tlsa-invalid", "tlsa-invalid", "used"),
    "ta": ("ta.signed.lab", "whole", [(2, 1, 1, "ca")], {}, None, None, "used"),
    "ta-of-another-name": ("tb.signed.lab", "whole", [(2, 1, 1, "ca")], {},
                           "certificate-host-mismatch", "certificate-host-mismatch", "used"),
    "alias": ("alias.signed.lab", "lonely", [], {}, None, None, "used"),
    "stripped": ("strip.signed.lab", "lonely", [(3, 1, 1)], NOT_OFFERED,
                 "starttls-not-supported", "starttls-not-supported", "used"),
    "unusable": ("pkix.signed.lab", "foreign", [(1, 1, 1)], {}, None, "dane-required", "unusable"),
    "unusable-and-stripped": ("pkis.signed.lab", "foreign", [(1, 1, 1)], NOT_OFFERED,
                              "starttls-not-supported", "dane-required", "unusable"),
    "none": ("none.signed.lab", "foreign", [], {}, None, "dane-required", "none"),
    "none-and-stripped": ("nons.signed.lab", "foreign", [], NOT_OFFERED,
                          None, "dane-required", "none"),
    "unsigned-zone": ("mx.insecure.lab", "foreign", [(3, 1, 1, "lonely")], {},
                      None, "dane-required", "none"),
    "forged-zone": ("mx.bogus.lab", "lonely", [(3, 1, 1)], {},
                    "dnssec-invalid", "dnssec-invalid", None),
    "forged-records": ("torn.lab", "lonely", [], {}, "dnssec-invalid", "dnssec-invalid", None),
    "no-answer": ("mx.dead.lab", "lonely", [], {}, "dnssec-invalid", "dnssec-invalid", None),
}
LEVELS = ["dane", "dane-only"]


class Field:
    """One program with a service for each case and level, and a server for each case."""

    def __init__(self, directory, leaves):
        self.servers, self.ports, records = {}, {}, []
        services = ""
        for name, (host, leaf, usages, options, *_) in CASES.items():
            server = self.servers[name] = TlsServer(leaves[leaf], **options).start()
            port = server.address[1]
            records += self.records_of(name, host, port, leaf, usages, leaves)
            for level in LEVELS:
                self.ports[name, level] = net.free_port()
                services += section(f"{name}.{level}", tlsLevel=level, connect=f"{host}:{port}",
                                    accept=f"127.0.0.1:{self.ports[name, level]}")
        self.zones = Zones(directory / "dns", records, ttl=60).start()
        self.proxy = Ehlock(directory, global_part(
            **dns_globals(self.zones), protocol="smtp", spareWorkers=1, maxConnections=3,
            client=True, hostname="proxy.example.org") + services).start()

    @staticmethod
    def records_of(name, host, port, leaf, usages, leaves):
        if name == "alias":
            return [f"{host}. CNAME real.signed.lab.", "real.signed.lab. A 127.0.0.1",
                    *tlsa("real.signed.lab.", port, tlsa_of(leaves[leaf]))]
        of = [tlsa_of(leaves[usage[3] if len(usage) > 3 else leaf], *usage[:3])
              for usage in usages]
        return [f"{host}. A 127.0.0.1", *tlsa(f"{host}.", port, *of)]

    def summary(self, service):
        return wait_until(lambda: next((s for s in self.proxy.summaries()
                                        if s["service"] == service), None), f"summary of {service}")

    def stop(self):
        self.proxy.stop()
        self.zones.stop()
        for server in self.servers.values():
            server.stop()


@pytest.fixture(scope="module")
def field(leaves, tmp_path_factory):
    it = Field(tmp_path_factory.mktemp("field"), leaves)
    yield it
    it.stop()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", CASES)
def test_dane(field, name, level):
    server = field.servers[name]
    before = len(server.sessions)
    word = CASES[name][4 + LEVELS.index(level)]
    greeting = try_message(("127.0.0.1", field.ports[name, level]))
    summary = field.summary(f"{name}.{level}")
    sessions = server.sessions[before:]
    if word is None:
        assert greeting.code == 220, greeting
        assert len(sessions[0].messages) == 1
        assert summary["tlsa"] == CASES[name][6] and summary["level"] == level
        assert (summary["server_tls"] != "-") == (name != "none-and-stripped")
        assert summary["verdict"] == ("ok" if summary["tlsa"] == "used" else "none")
        return
    assert greeting.code == 421 and word in greeting.text, greeting
    assert word in summary["reason"]
    for session in sessions:
        wait_until(session.closed.is_set, "the server's session is over")
        assert session.messages == []
        assert holds_nothing_of_the_client(server.in_clear(session) + server.secret(session))
    if word in ("dnssec-invalid", "dane-required"):
        assert sessions == []       # nobody was connected to


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", CASES)
def test_probe_comes_to_the_same_end(field, name, level):
    done = ehlock.run("probe", "--config", field.proxy.config, "--service", f"{name}.{level}")
    word, tlsa_word = CASES[name][4 + LEVELS.index(level)], CASES[name][6]
    last = done.stdout.splitlines()[-1]
    if word is None:
        assert done.returncode == 0 and last.startswith("met: "), done.stdout + done.stderr
        if tlsa_word == "used":
            assert re.search(r"^TLSA: 1 record for \S+\.lab, 1 can be used, and one fits$", done.stdout,
                             re.M)
            assert re.search(r"^levels that it satisfies: .* dane dane-only$", done.stdout, re.M)
        elif name != "none-and-stripped":
            assert re.search(r"^levels that it satisfies: .* dane$", done.stdout, re.M), done.stdout
    else:
        unknown = word in ("dnssec-invalid", "dane-required")
        assert done.returncode == (2 if unknown else 1), done.stdout + done.stderr
        assert word in last and last.startswith("NO ANSWER: " if unknown else "NOT MET: ")
        assert " dane" not in done.stdout.partition("levels that")[2].splitlines()[:1]


def test_what_is_asked_for_and_logged(field):
    for name in ("ee-self-signed", "ee-whole-certificate", "alias", "none", "ta"):
        assert try_message(("127.0.0.1", field.ports[name, "dane"])).code == 220
    sni = {name: [s.sni for s in field.servers[name].sessions if s.tls][0]
           for name in ("ee-self-signed", "alias", "none")}
    assert sni == {"ee-self-signed": "ee.signed.lab", "alias": "real.signed.lab",
                   "none": "none.signed.lab"}
    assert field.summary("ee-self-signed.dane")["verified"] == "tlsa 3 1 1"
    assert field.summary("ee-whole-certificate.dane")["verified"] == "tlsa 3 0 2"
    assert field.summary("ta.dane")["verified"] == "ta.signed.lab"


def resolver_of(proxy):
    found = proxy.resolvers()
    return found[0] if len(found) == 1 else None


def test_resolver_that_dies_is_started_again(field):
    pid = wait_until(lambda: resolver_of(field.proxy), "one resolver")
    os.kill(pid, signal.SIGKILL)
    greeting = try_message(("127.0.0.1", field.ports["ee-self-signed", "dane-only"]))
    assert greeting.code == 220, greeting
    wait_until(lambda: resolver_of(field.proxy) not in (None, pid), "another resolver")
    assert field.proxy.count_log("the resolver ended") == 1


# -- one service at a time

@pytest.fixture
def zones(tmp_path):
    running = []

    def start(*records):
        it = Zones(tmp_path / f"dns{len(running)}", records).start()
        running.append(it)
        return it

    yield start
    for it in running:
        it.stop()


@pytest.fixture
def dial(tmp_path):
    running = []

    def start(zones, connect, **options):
        options = {"spareWorkers": 1, "client": True, "hostname": "proxy.example.org", **options}
        names = ("hostname", "dnssecAnchor")
        globals_ = dns_globals(zones, **{n: options.pop(n) for n in names if n in options})
        proxy = Ehlock.wrap(tmp_path, ("127.0.0.1", 1), None, globals_, connect=connect, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()


def test_records_that_change_are_heeded(zones, dial, leaves):
    with TlsServer(leaves["lonely"]) as server:
        port = server.address[1]
        good = ["mx.lab. A 127.0.0.1", *tlsa("mx.lab.", port, tlsa_of(leaves["lonely"]))]
        bad = ["mx.lab. A 127.0.0.1", *tlsa("mx.lab.", port, tlsa_of(leaves["expired"]))]
        dns = zones(*good)
        proxy = dial(dns, f"mx.lab:{port}", tlsLevel="dane-only")
        assert try_message(proxy.address).code == 220
        dns.change(bad)
        wait_until(lambda: "tlsa-invalid" in try_message(proxy.address).text, "the new record")
        dns.stop()      # what is not good any more is not believed, and not forgotten either
        wait_until(lambda: try_message(proxy.address).code == 421
                   and "tlsa-invalid" not in proxy.summaries()[-1]["reason"], "the record's end")
        assert try_message(proxy.address).code == 421
        dns.start()
        wait_until(lambda: "tlsa-invalid" in try_message(proxy.address).text, "the DNS again")


def no_resolver_is_left():
    return not [p for p in ehlock.processes().values() if "ehlock: resolver" in p[1] and p[0] == 1]


def test_session_of_a_single_process(zones, tmp_path, leaves):
    with TlsServer(leaves["lonely"]) as server:
        port = server.address[1]
        dns = zones("mx.lab. A 127.0.0.1", *tlsa("mx.lab.", port, tlsa_of(leaves["lonely"])))
        config = tmp_path / "one.conf"
        config.write_text(global_part(**dns_globals(dns)) + section(
            "out", client=True, protocol="smtp", accept="127.0.0.1:1", connect=f"mx.lab:{port}",
            tlsLevel="dane-only"))
        with Starter("tcpserver", tmp_path, config) as starter:
            assert try_message(starter.address).code == 220
            assert len(server.ended().messages) == 1
            wait_until(no_resolver_is_left, "the resolver ends with the session")


def test_single_process_that_finds_nothing_leaves_nothing(zones, tmp_path):
    config = tmp_path / "one.conf"
    config.write_text(global_part(**dns_globals(zones("other.lab. A 127.0.0.1"))) + section(
        "out", client=True, protocol="smtp", accept="127.0.0.1:1", connect="mx.lab:25",
        tlsLevel="dane-only"))
    with Starter("tcpserver", tmp_path, config) as starter:
        assert "mx.lab has no address" in try_message(starter.address).text
        wait_until(no_resolver_is_left, "the resolver ends with the session")


# -- MX

def test_exchanges_by_preference_and_by_what_dns_knows_of_them(zones, dial, leaves):
    port = net.free_port()
    with TlsServer(leaves["domain"], address=("127.0.0.3", port)) as third, \
            TlsServer(leaves["lonely"], address=("127.0.0.4", port)) as fourth:
        dns = zones("domain.lab. MX 40 four.lab.", "domain.lab. MX 10 one.lab.",
                    "domain.lab. MX 20 two.lab.", "domain.lab. MX 30 three.lab.",
                    "one.lab. A 127.0.0.1", "two.lab. A 127.0.0.2", "three.lab. A 127.0.0.3",
                    "four.lab. A 127.0.0.4",
                    *tlsa("one.lab.", port, tlsa_of(leaves["domain"])),     # nobody listens
                    *tlsa("three.lab.", port, tlsa_of(leaves["ca"], 2)),     # two.lab: no records
                    *tlsa("four.lab.", port, tlsa_of(leaves["lonely"])))
        proxy = dial(dns, f"mx:domain.lab:{port}", tlsLevel="dane-only")
        assert try_message(proxy.address).code == 220
        summary = proxy.summary()
        # the certificate has the name of the domain, and DANE-TA is content with that
        assert summary["backend"] == f"127.0.0.3:{port}" and summary["verified"] == "domain.lab"
        assert third.ended().sni == "three.lab"
        third.stop()
        assert try_message(proxy.address).code == 220
        assert fourth.ended().sni == "four.lab"


def test_exchanges_that_are_not_signed_prove_nothing(zones, dial, leaves):
    with TlsServer(leaves["foreign"]) as server:
        port = server.address[1]
        dns = zones("insecure.lab. MX 10 mx.lab.", "mx.lab. A 127.0.0.1",
                    *tlsa("mx.lab.", port, tlsa_of(leaves["lonely"])))
        proxy = dial(dns, f"mx:insecure.lab:{port}", tlsLevel="dane")
        assert try_message(proxy.address).code == 220
        assert proxy.summary()["tlsa"] == "none" and server.ended().sni == "mx.lab"
        proxy = dial(dns, f"mx:insecure.lab:{port}", tlsLevel="dane-only")
        assert "dane-required: the MX records of insecure.lab are not signed" \
            in try_message(proxy.address).text


def test_secure_exchange_must_have_the_domains_name(zones, dial, pki, leaves):
    """The name comes from the configuration and never from the DNS."""
    for leaf, code in ((leaves["domain"], 220), (leaves["whole"], 421)):
        with TlsServer(leaf) as server:
            port = server.address[1]
            dns = zones("domain.lab. MX 10 exchange.signed.lab.",
                        "exchange.signed.lab. A 127.0.0.1")
            proxy = dial(dns, f"mx:domain.lab:{port}", CAfile=pki.ca)
            assert try_message(proxy.address).code == code
            assert server.ended().sni == "exchange.signed.lab"


@pytest.mark.parametrize("records, code, text", [
    (["domain.lab. MX 0 ."], 554, "5.1.10"),
    (["other.lab. A 127.0.0.1"], 421, "there is no domain domain.lab"),
    (["domain.lab. MX 10 mx.lab."], 421, "mx.lab has no address"),
])
def test_domain_that_takes_no_mail(zones, dial, records, code, text):
    proxy = dial(zones(*records), "mx:domain.lab", tlsLevel="may")
    with Client(proxy.address) as client:
        assert client.greeting.code == code and text in client.greeting.text, client.greeting
    assert proxy.summary()["backend"] == "-"


def test_domain_without_mx_is_a_host(zones, dial, leaves):
    with TlsServer(leaves["lonely"]) as server:
        port = server.address[1]
        dns = zones("domain.lab. A 127.0.0.1",
                    *tlsa("domain.lab.", port, tlsa_of(leaves["lonely"])))
        proxy = dial(dns, f"mx:domain.lab:{port}", tlsLevel="dane-only")
        assert try_message(proxy.address).code == 220


# -- names that change

def test_delayed_names_are_followed(zones, dial, pki):
    """For a plain backend: absent at the start, then here, then there, and the last place stays
    when the DNS is gone."""
    port = net.free_port()
    dns = zones("other.lab. A 127.0.0.1")
    with Backend(address=("127.0.0.1", port)) as here, Backend(address=("127.0.0.2", port)) as there:
        proxy = dial(dns, [f"plain.lab:{port}"], client=None, delay=True, cert=pki.ecdsa.cert,
                     key=pki.ecdsa.key)
        assert "plain.lab has no address" in try_message(proxy.address).text

        def arrives(place):
            before = len(place.sessions)
            try_message(proxy.address)
            return len(place.sessions) > before

        dns.change(["plain.lab. A 127.0.0.1"])
        wait_until(lambda: arrives(here), "the first address")
        dns.change(["plain.lab. A 127.0.0.2"])
        wait_until(lambda: arrives(there), "the second address")
        dns.stop()
        proxy.wait_log("a lookup failed, what was known stays")
        assert arrives(there)


def test_fixed_and_watched_destinations_stand_side_by_side(zones, dial, leaves):
    port = net.free_port()
    with TlsServer(leaves["lonely"]) as server:
        good = server.address[1]
        dns = zones("mx.lab. A 127.0.0.1", *tlsa("mx.lab.", good, tlsa_of(leaves["lonely"])))
        proxy = dial(dns, [f"127.0.0.1:{port}", f"mx.lab:{good}"], tlsLevel="encrypt",
                     tlsPolicy="/^mx/ dane-only")
        assert try_message(proxy.address).code == 220
        summary = proxy.summary()
        assert summary["level"] == "dane-only" and summary["backend"] == f"127.0.0.1:{good}"


def test_reload_brings_another_resolver(zones, dial, leaves):
    with TlsServer(leaves["lonely"]) as server:
        port = server.address[1]
        dns = zones("mx.lab. A 127.0.0.1", "m2.lab. A 127.0.0.1",
                    *tlsa("m2.lab.", port, tlsa_of(leaves["lonely"])))
        proxy = dial(dns, f"mx.lab:{port}", tlsLevel="dane-only")
        assert "dane-required" in try_message(proxy.address).text
        before = wait_until(lambda: resolver_of(proxy), "one resolver")
        assert "reloaded: 1" in proxy.reload(proxy.text.replace("mx.lab", "m2.lab"))
        assert try_message(proxy.address).code == 220
        wait_until(lambda: resolver_of(proxy) not in (None, before), "one other resolver")


# -- what is told before anything starts

@pytest.mark.parametrize("options, sentence", [
    ({"connect": "mx.lab:25", "tlsLevel": "dane", "dnssecAnchor": "/no/such"}, "dns-root-data"),
    ({"connect": "192.0.2.1:25", "tlsLevel": "dane"}, "no name whose TLSA records"),
    ({"connect": "mx:lab:25", "failover": "rr"}, "exclude each other"),
])
def test_check_tells(tmp_path, options, sentence):
    globals_ = {n: options[n] for n in ("dnssecAnchor",) if n in options}
    options = {n: v for n, v in options.items() if n not in globals_}
    config = tmp_path / "bad.conf"
    config.write_text(global_part(**globals_) + section(
        "out", client=True, protocol="smtp", accept="127.0.0.1:1", **options))
    done = ehlock.run("--check", config)
    assert done.returncode == 78 and sentence in done.stderr, done


def probe_of(dns, tmp_path, *args, **options):
    config = tmp_path / "probe.conf"
    config.write_text(global_part(**dns_globals(dns)) + section(
        "out", client=True, protocol="smtp", accept="127.0.0.1:1", **options))
    done = ehlock.run("probe", "--config", config, "--service", "out", *args)
    wait_until(no_resolver_is_left, "the resolver ends with the probe")
    return done


def test_probe_of_a_domain(zones, tmp_path, leaves):
    port = net.free_port()
    with TlsServer(leaves["lonely"], address=("127.0.0.3", port)), \
            TlsServer(leaves["expired"], address=("127.0.0.4", port)):
        dns = zones("domain.lab. MX 10 one.lab.", "domain.lab. MX 20 two.lab.",
                    "one.lab. A 127.0.0.3", "two.lab. A 127.0.0.4",
                    *tlsa("one.lab.", port, tlsa_of(leaves["lonely"])),
                    *tlsa("two.lab.", port, tlsa_of(leaves["lonely"])))
        options = {"connect": f"mx:domain.lab:{port}", "tlsLevel": "dane"}
        done = probe_of(dns, tmp_path, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "TLSA: 1 record for one.lab, 1 can be used, and one fits" in done.stdout
        done = probe_of(dns, tmp_path, "--all", **options)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "TLSA: 1 record for two.lab, 1 can be used, and none fits" in done.stdout
        assert "tlsa-invalid" in done.stdout.splitlines()[-1]
        done = probe_of(dns, tmp_path, "-6", **options)
        assert done.returncode == 2 and "there is no address of this kind" in done.stdout


def test_probe_goes_on_to_the_next_exchange(zones, tmp_path, leaves):
    """Each by its own records; and what is told is what a session does (test_next_server.py)."""
    port = net.free_port()
    with TlsServer(leaves["expired"], address=("127.0.0.3", port)) as bad, \
            TlsServer(leaves["lonely"], address=("127.0.0.4", port)) as good:
        dns = zones("domain.lab. MX 10 one.lab.", "domain.lab. MX 20 two.lab.",
                    "domain.lab. MX 30 three.lab.",
                    "one.lab. A 127.0.0.3", "two.lab. A 127.0.0.4", "three.lab. A 127.0.0.5",
                    *tlsa("one.lab.", port, tlsa_of(leaves["lonely"])),
                    *tlsa("two.lab.", port, tlsa_of(leaves["lonely"])))
        done = probe_of(dns, tmp_path, connect=f"mx:domain.lab:{port}", tlsLevel="dane")
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(bad.sessions) == len(good.sessions) == 1
    before, behind = done.stdout.split(f"mx:domain.lab:{port} (127.0.0.4:{port})\n")
    assert before.startswith(f"mx:domain.lab:{port} (127.0.0.3:{port})\n")
    assert "TLSA: 1 record for one.lab, 1 can be used, and none fits" in before
    assert "\nNOT MET: " in before and "tlsa-invalid" in before.splitlines()[-2]
    assert "TLSA: 1 record for two.lab, 1 can be used, and one fits" in behind
    assert behind.splitlines()[-1].endswith("; number 2 of 3 would serve, before it: 1 not met")


@pytest.mark.parametrize("records, text", [
    (["domain.lab. MX 0 ."], "the domain takes no mail (null MX)"),
    (["other.lab. A 127.0.0.1"], "there is no domain domain.lab"),
    (["domain.lab. MX 10 mx.lab."], "mx.lab has no address")])
def test_probe_of_a_domain_that_takes_no_mail(zones, tmp_path, records, text):
    done = probe_of(zones(*records), tmp_path, connect="mx:domain.lab", tlsLevel="may")
    assert done.returncode == 2 and done.stdout.startswith(f"NO ANSWER: {text}"), done


def test_check_looks_nothing_up_that_is_watched(tmp_path):
    config = tmp_path / "good.conf"
    config.write_text(section("out", client=True, protocol="smtp", accept="127.0.0.1:1",
                              connect="no-such-name.invalid:25", tlsLevel="dane"))
    done = ehlock.run("--check", config)
    assert done.returncode == 0, done
