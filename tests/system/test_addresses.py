# SPDX-License-Identifier: ISC
"""Several addresses of one name: who is silent is not waited for (RFC 8305); local with them. With
client = yes it is a server with TLS that has them, or the proxy on the way to it."""

import functools
import time

import pytest

import hosts
import net
import netns
from backend import Backend
from ehlock import Ehlock
from pki import NAME as PROVED
from smtp_client import Client
from tls_server import TlsServer
from ways import HttpProxy, SocksProxy

NAME = "several.example.org"
PATIENCE = 60       # TIMEOUTconnect; who waits that long has not raced


class Silent:
    """Listens and lets nobody in: its backlog is full, so the kernel drops what comes."""

    def __init__(self, address):
        self.sock = net.listen(address, backlog=0)
        self.filler = net.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.filler.close()
        self.sock.close()


@pytest.fixture
def here():
    """A network with both families, so that names have addresses of both."""
    reason = hosts.why_impossible() or netns.why_impossible()
    if reason:
        pytest.skip(reason)
    with netns.Namespace() as network:
        network.ip("addr", "add", "192.0.2.77/32", "dev", "lo")
        network.ip("addr", "add", "2001:db8::77/128", "dev", "lo", "nodad")
        yield network


class Plan:
    """A program whose one backend has a name with these addresses."""

    def __init__(self, directory, pki, addresses):
        self.directory, self.pki = directory, pki
        self.command = hosts.command(directory, {NAME: addresses})
        self.order = hosts.order(self.command, NAME)
        assert sorted(self.order) == sorted(addresses)
        self.port = net.free_port()

    def at(self, number):
        return self.order[number], self.port

    def wrap(self, **options):
        proxy = Ehlock.wrap(self.directory, (NAME, self.port), self.pki.ecdsa,
                            **{"spareWorkers": 2, "TIMEOUTconnect": PATIENCE, **options})
        proxy.command = self.command
        return proxy

    def dial(self, **options):
        """The same with client = yes; the server is to prove another name than that of connect."""
        return self.wrap(**{"client": True, "cert": None, "key": None, "CAfile": self.pki.ca,
                            "checkHost": PROVED, **options})


def greet(proxy):
    """Begins a session and ends it; how long the greeting took."""
    began = time.monotonic()
    with Client(proxy.address) as client:
        assert client.greeting.code == 220, client.greeting
        took = time.monotonic() - began
        client.quit()
    return took


def in_network(test):
    """Runs all of a test in the network of `here`."""
    @functools.wraps(test)
    def run(here, **others):
        return here.run(test, here, **others)
    return run


@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.3"], ["::1", "127.0.0.3"]])
@in_network
def test_silent_address_is_not_waited_for(here, addresses, tmp_path, pki):
    plan = Plan(tmp_path, pki, addresses)
    with Silent(plan.at(0)), Backend(address=plan.at(1)) as backend, plan.wrap() as proxy:
        assert greet(proxy) < PATIENCE / 2
        assert proxy.summary()["backend"] == net.text_of(plan.at(1))
        assert len(backend.sessions) == 1


@in_network
def test_first_address_that_answers_is_alone(here, tmp_path, pki):
    plan = Plan(tmp_path, pki, ["127.0.0.2", "127.0.0.3"])
    with Backend(address=plan.at(0)) as first, Backend(address=plan.at(1)) as second, \
            plan.wrap() as proxy:
        greet(proxy)
        assert (len(first.sessions), len(second.sessions)) == (1, 0)


@in_network
def test_each_dead_address_is_told_with_its_reason(here, tmp_path, pki):
    plan = Plan(tmp_path, pki, ["127.0.0.2", "127.0.0.3", "127.0.0.4"])
    with Silent(plan.at(1)), plan.wrap(TIMEOUTconnect=1) as proxy:
        with Client(proxy.address) as client:
            assert client.greeting.code == 421
        assert proxy.summary()["reason"] == "; ".join(
            f"backend {net.text_of(plan.at(n))}: {why}" for n, why in enumerate(
                ["Connection refused", "Connection timed out", "Connection refused"]))


@in_network
def test_entries_of_connect_keep_their_order(here, tmp_path, pki):
    """The second entry is for when the first has failed, however long that takes."""
    plan = Plan(tmp_path, pki, ["127.0.0.2", "127.0.0.3"])
    with Silent(plan.at(0)), Silent(plan.at(1)), Backend() as other:
        with plan.wrap(TIMEOUTconnect=1, connect=[f"{NAME}:{plan.port}",
                                                  net.text_of(other.address)]) as proxy:
            assert greet(proxy) >= 1.25
            assert proxy.summary()["backend"] == net.text_of(other.address)


@in_network
def test_rr_begins_with_each_address_in_turn(here, tmp_path, pki):
    plan = Plan(tmp_path, pki, ["127.0.0.2", "127.0.0.3"])
    with Backend(address=plan.at(0)) as first, Backend(address=plan.at(1)) as second, \
            plan.wrap(failover="rr") as proxy:
        for _ in range(6):
            greet(proxy)
        assert (len(first.sessions), len(second.sessions)) == (3, 3)


class Peering:
    """Remembers from where it was connected to."""

    def serve(self, session):
        session.events["peer"] = session.sock.getpeername()[0]
        super().serve(session)


class PeerBackend(Peering, Backend):
    pass


class PeerServer(Peering, TlsServer):
    pass


SOURCES = pytest.mark.parametrize("local,at,want", [
    ("2001:db8::77", "::1", "2001:db8::77"),
    ("2001:db8::77", "127.0.0.1", "127.0.0.1"),     # the other kind is not bound
    ("192.0.2.77", "::1", "::1"),
    ("192.0.2.77", "127.0.0.1", "192.0.2.77"),
])


@SOURCES
@in_network
def test_local_is_for_addresses_of_its_kind(here, local, at, want, tmp_path, pki):
    plan = Plan(tmp_path, pki, ["::1", "127.0.0.1"])
    with PeerBackend(address=(at, plan.port)) as backend, plan.wrap(local=local) as proxy:
        greet(proxy)
        assert backend.ended().events["peer"] == want


# -- client = yes

@pytest.mark.parametrize("addresses", [["127.0.0.2", "127.0.0.3"], ["::1", "127.0.0.3"]])
@in_network
def test_silent_address_of_a_server_is_not_waited_for(here, addresses, tmp_path, pki):
    plan = Plan(tmp_path, pki, addresses)
    with Silent(plan.at(0)), TlsServer(pki.ecdsa, address=plan.at(1)) as server, plan.dial() as proxy:
        assert greet(proxy) < PATIENCE / 2
        summary = proxy.summary()
        assert summary["backend"] == net.text_of(plan.at(1))
        assert summary["verified"] == PROVED and server.ended().tls


@in_network
def test_address_that_answers_first_and_cannot_be_trusted_is_left_for_the_next(here, tmp_path, pki):
    plan = Plan(tmp_path, pki, ["127.0.0.2", "127.0.0.3"])
    with TlsServer(pki.foreign, address=plan.at(0)) as bad, \
            TlsServer(pki.ecdsa, address=plan.at(1)) as good, plan.dial() as proxy:
        greet(proxy)
        assert proxy.summary()["backend"] == net.text_of(plan.at(1))
        assert bad.secret(bad.ended()) == b"QUIT\r\n" and good.ended().tls


@SOURCES
@in_network
def test_server_is_connected_to_from_local(here, local, at, want, tmp_path, pki):
    plan = Plan(tmp_path, pki, ["::1", "127.0.0.1"])
    with PeerServer(pki.ecdsa, address=(at, plan.port)) as server, plan.dial(local=local) as proxy:
        greet(proxy)
        assert server.ended().events["peer"] == want


class PeerHttpProxy(Peering, HttpProxy):
    pass


class PeerSocksProxy(Peering, SocksProxy):
    pass


@pytest.mark.parametrize("scheme, kind", [("http", PeerHttpProxy), ("socks5", PeerSocksProxy)])
@in_network
def test_proxy_on_the_way_is_connected_to_from_local(here, scheme, kind, tmp_path, pki):
    plan = Plan(tmp_path, pki, ["127.0.0.1"])
    with TlsServer(pki.ecdsa) as server, kind(server.address) as way, \
            plan.dial(local="192.0.2.77", via=f"{scheme}://{net.text_of(way.address)}") as proxy:
        greet(proxy)
        assert way.session().events["peer"] == "192.0.2.77" and server.ended().tls
