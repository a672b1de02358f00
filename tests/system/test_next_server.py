# SPDX-License-Identifier: ISC
"""client = yes: a server that fails is left for the next one, as long as the client has heard nothing."""

import re
import signal
import socket
import threading
from contextlib import ExitStack

import net
import pytest
from backend import ScriptedBackend
from ehlock import Ehlock
from net import text_of, wait_until
from pki import NAME
from smtp_client import Client
from test_client import EchoServer, holds_nothing_of_the_client, talk, try_message
from test_dane import dns_globals, tlsa
from tls_server import TlsServer
from ways import HttpProxy
from zones import Zones, tlsa_of

EHLO = rb"EHLO proxy\.example\.org\r\n"


@pytest.fixture
def dial(tmp_path, pki):
    """dial(servers, **options): a service that has them in `connect`, in this order."""
    running = []

    def start(servers, globals_=None, **options):
        options = {"spareWorkers": 1, "client": True, "CAfile": pki.ca, "checkHost": NAME,
                   "connect": [text_of(server.address) for server in servers], **options}
        globals_ = {"hostname": "proxy.example.org", **(globals_ or {})}
        proxy = Ehlock.wrap(tmp_path, ("127.0.0.1", 1), None, globals_, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()


def left(proxy):
    """(address, reason) of each server that was left for another."""
    return re.findall(r"backend=(\S+) is left for another: (.*) \(step ", proxy.log)


def has_heard(server, session, clear, secret=b""):
    """In clear (a pattern), and under TLS."""
    assert re.fullmatch(clear, server.in_clear(session)), server.in_clear(session)
    assert server.secret(session) == secret


def silent(peer):
    peer.read_to_end()


# -- one that fails, and one that does not

TROUBLES = {
    "untrusted": ("foreign", {}, "certificate-not-trusted", EHLO + rb"STARTTLS\r\n", b"QUIT\r\n"),
    "wrong-name": ("second", {}, "certificate-host-mismatch", EHLO + rb"STARTTLS\r\n", b"QUIT\r\n"),
    "expired": ("expired", {}, "certificate-expired", EHLO + rb"STARTTLS\r\n", b"QUIT\r\n"),
    "refusing": ("ecdsa", {"answer": b"454 4.7.0 not now\r\n"}, "starttls-not-supported",
                 EHLO + rb"STARTTLS\r\nQUIT\r\n", b""),
    "stripped": ("ecdsa", {"offers": False, "answer": b"502 5.5.1 what?\r\n"},
                 "starttls-not-supported", EHLO + rb"STARTTLS\r\nQUIT\r\n", b""),
    "vanishing": ("ecdsa", {"vanishes": True}, "validation-failure", None, b""),
    "ehlo-421": ("ecdsa", {"replies": {"EHLO": b"421 4.3.2 busy\r\n"}},
                 "backend refuses our EHLO or HELO: 421 4.3.2 busy", EHLO + rb"(QUIT\r\n)?", b""),
    "greeting-421": ("ecdsa", {"greeting": b"421 4.3.2 busy\r\n"},
                     "backend gives no service: 421 4.3.2 busy", rb"QUIT\r\n", b""),
    "greeting-554": ("ecdsa", {"greeting": b"554 5.3.2 none\r\n"},
                     "backend gives no service: 554 5.3.2 none", rb"QUIT\r\n", b""),
    "nonsense": ("ecdsa", {"greeting": b"SSH-2.0-OpenSSH\r\n"}, "backend sent what is not an SMTP", rb"",
                 b""),
}


def troubled(pki, trouble):
    leaf, options, *_ = TROUBLES[trouble]
    options = dict(options)
    greeting = options.pop("greeting", None)
    server = TlsServer(getattr(pki, leaf), **options)
    server.greeting = greeting or server.greeting
    return server


@pytest.mark.parametrize("trouble", TROUBLES)
def test_mail_arrives_at_the_next(dial, pki, trouble):
    _, _, reason, clear, secret = TROUBLES[trouble]
    with troubled(pki, trouble) as bad, TlsServer(pki.ecdsa) as good:
        proxy = dial([bad, good])
        greeting = try_message(proxy.address)
        assert greeting.code == 220 and greeting.text.startswith("proxy.example.org ")
        assert len(good.ended().messages) == 1 and good.ended().tls
        session, summary = bad.ended(), proxy.summary()
        if clear is not None:
            has_heard(bad, session, clear, secret)
        assert holds_nothing_of_the_client(session.received)
        assert len(bad.sessions) == len(good.sessions) == 1
    assert summary["backend"] == text_of(good.address) and summary["outcome"] == "done"
    assert summary["verdict"] == "ok" and summary["verified"] == NAME and "reason" not in summary
    (address, said), = left(proxy)
    assert address == text_of(bad.address) and said.startswith(reason)


def test_server_that_does_not_greet_leaves_time_for_the_next(dial, pki):
    with ScriptedBackend(silent) as mute, TlsServer(pki.ecdsa) as good:
        proxy = dial([mute, good], TIMEOUTpretls=10)
        assert try_message(proxy.address).code == 220
        assert mute.ended().received == b"" and len(good.ended().messages) == 1
        summary = proxy.summary()
    assert summary["backend"] == text_of(good.address)
    assert 5 <= float(summary["seconds"]) < 10
    assert left(proxy) == [(text_of(mute.address), "backend took too long")]


def test_all_are_silent_and_the_time_is_that_of_one(dial, pki):
    with ScriptedBackend(silent) as one, ScriptedBackend(silent) as two, \
            ScriptedBackend(silent) as three:
        proxy = dial([one, two, three], TIMEOUTpretls=8)
        with Client(proxy.address) as client:
            assert client.greeting.code == 421
        summary = proxy.summary()
        assert 7.5 <= float(summary["seconds"]) < 16    # not 24
        assert [len(server.sessions) for server in (one, two, three)] == [1, 1, 1]
    assert summary["backend"] == text_of(three.address)


# -- all of them fail

def test_the_client_hears_of_the_last(dial, pki):
    with TlsServer(pki.expired) as one, troubled(pki, "greeting-554") as two, \
            TlsServer(pki.second) as three:
        proxy = dial([one, two, three])
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "certificate-host-mismatch" in greeting.text
        summary = proxy.summary()
        assert [len(server.sessions) for server in (one, two, three)] == [1, 1, 1]
        for server in (one, two, three):
            assert holds_nothing_of_the_client(server.ended().received)
    assert summary["backend"] == text_of(three.address) and summary["outcome"] == "refused"
    assert summary["reason"].startswith("certificate-host-mismatch")
    assert [address for address, _ in left(proxy)] == [text_of(one.address), text_of(two.address)]


def test_one_that_cannot_be_reached_changes_nothing(dial, pki):
    with TlsServer(pki.expired) as bad:
        dead = f"127.0.0.1:{net.free_port()}"
        proxy = dial([], connect=[text_of(bad.address), dead])
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "certificate-expired" in greeting.text
        summary = proxy.summary()
        assert summary["backend"] == text_of(bad.address)
        assert summary["verdict"] == "expired" and summary["server_tls"].startswith("TLS1.")
        assert summary["step"] == "TLS handshake with the backend"
        proxy.wait_log(f"no other server can be reached: backend {dead}: Connection refused")
        assert len(bad.sessions) == 1


@pytest.mark.parametrize("first, second, greeting", [
    ("greeting-554", "greeting-554", "554 5.3.2 none"),
    ("greeting-554", "greeting-421", "421 4.3.2 busy"),
    ("greeting-421", "greeting-554", "421 4.7.5 proxy.example.org backend gives no service: 554 5.3.2"),
    ("greeting-554", None, "421 4.7.5 proxy.example.org backend gives no service: 554 5.3.2")])
def test_mail_is_refused_for_good_only_if_all_servers_do_that(dial, pki, first, second, greeting):
    """Of servers that greet for themselves: others might take it at another time."""
    dead = TlsServer(pki.ecdsa)     # never started
    with troubled(pki, first) as one:
        two = troubled(pki, second).start() if second else dead
        proxy = dial([one, two], tlsLevel="none", CAfile=None, checkHost=None)
        with Client(proxy.address) as client:
            assert f"{client.greeting.code} {client.greeting.text}".startswith(greeting)
        assert one.ended().commands == [b"QUIT"]
        if second:
            two.stop()


def test_refusal_in_a_greeting_is_told_behind_another_failure(dial, pki):
    with TlsServer(pki.expired) as one, troubled(pki, "greeting-554") as two:
        dead = f"127.0.0.1:{net.free_port()}"
        proxy = dial([], connect=[text_of(one.address), text_of(two.address), dead],
                     tlsPolicy=f"/:{two.address[1]}$/ none")
        with Client(proxy.address) as client:
            assert client.greeting.code == 421 and "554 5.3.2 none" in client.greeting.text
        summary = proxy.summary()
    assert summary["backend"] == text_of(two.address) and summary["level"] == "none"
    assert summary["server_tls"] == "-" and summary["verdict"] == "none"
    assert summary["offered"] == "no"


def test_level_none_goes_on_too(dial, pki):
    with troubled(pki, "greeting-421") as bad, TlsServer(pki.ecdsa) as good:
        proxy = dial([bad, good], tlsLevel="none", CAfile=None, checkHost=None)
        greeting = try_message(proxy.address)
        assert greeting.code == 220 and "secret-greeting" in greeting.text
        assert len(good.ended().messages) == 1


# -- each has its own level

def test_each_entry_has_its_own_policy(dial, pki):
    with TlsServer(pki.lonely) as one, TlsServer(pki.lonely) as two:
        proxy = dial([one, two], tlsPolicy=f"/:{two.address[1]}$/ encrypt")
        assert try_message(proxy.address).code == 220
        summary = proxy.summary()
        assert summary["level"] == "encrypt" and summary["verdict"] == "none"
        assert len(two.ended().messages) == 1 and two.ended().tls and not one.messages


@pytest.mark.parametrize("trouble", ["greeting-421", "ehlo-421", "vanishing"])
def test_a_low_level_is_not_inherited(dial, pki, trouble):
    """The first may be served in clear, and falls back; the second never."""
    with troubled(pki, trouble) as low, TlsServer(pki.ecdsa, offers=False,
                                                  answer=b"502 5.5.1 what?\r\n") as high:
        if trouble == "vanishing":      # in clear it gives no service
            def serve(session, plain=low.serve):
                low.greeting = b"421 4.3.2 busy\r\n" if session.number else low.greeting
                plain(session)
            low.serve = serve
        proxy = dial([low, high], tlsPolicy=f"/:{low.address[1]}$/ may fallBack=yes")
        greeting = try_message(proxy.address)
        assert greeting.code == 421 and "starttls-not-supported" in greeting.text
        summary = proxy.summary()
        has_heard(high, high.ended(), EHLO + rb"STARTTLS\r\nQUIT\r\n")
        # falling back comes first, on the same server
        assert len(low.sessions) == (2 if trouble == "vanishing" else 1) and len(high.sessions) == 1
    assert summary["level"] == "secure" and summary["backend"] == text_of(high.address)


def test_falling_back_comes_before_the_next(dial, pki):
    with TlsServer(pki.ecdsa, vanishes=True) as one, TlsServer(pki.ecdsa) as two:
        proxy = dial([one, two], tlsLevel="may", fallBack=True, CAfile=None, checkHost=None)
        assert try_message(proxy.address).code == 220
        proxy.summary()
        assert len(one.sessions) == 2 and len(one.messages) == 1 and not two.sessions


def test_falling_back_has_its_time_and_leaves_some(dial, pki):
    """Silent at STARTTLS, and silent in clear; there is time for the next all the same."""
    def scene(peer):
        if peer.number == 0:
            peer.send(b"220 one ESMTP\r\n")
            peer.expect(b"EHLO")
            peer.send(b"250-one\r\n250 STARTTLS\r\n")
        peer.read_to_end()

    with ScriptedBackend(scene) as one, TlsServer(pki.ecdsa) as two:
        proxy = dial([one, two], tlsLevel="may", fallBack=True, CAfile=None, checkHost=None,
                     TIMEOUTpretls=8)
        assert try_message(proxy.address).code == 220
        assert 6 <= float(proxy.summary()["seconds"]) < 8
        assert len(one.sessions) == 2 and two.ended().tls and len(two.messages) == 1


def test_falling_back_never_leads_to_another_server(dial, pki):
    """Where the first cannot be reached in clear, the next begins as any server does: with TLS."""
    with TlsServer(pki.ecdsa) as one, TlsServer(pki.ecdsa) as two:
        def refuse(session, line):
            one.listener.shutdown(socket.SHUT_RDWR)
            return b"421 4.3.2 busy\r\n"

        one.replies["STARTTLS"] = refuse
        proxy = dial([one, two], tlsLevel="may", fallBack=True, CAfile=None, checkHost=None)
        assert try_message(proxy.address).code == 220
        proxy.summary()
        assert len(one.sessions) == 1 and len(two.messages) == 1 and two.ended().tls


# -- order

def test_round_robin_goes_round_from_where_it_begins(dial, pki):
    with TlsServer(pki.ecdsa) as one, TlsServer(pki.expired) as bad, TlsServer(pki.ecdsa) as three:
        proxy = dial([one, bad, three], failover="rr")
        for begins_with in range(3):
            assert try_message(proxy.address).code == 220
            assert proxy.summary(begins_with + 1)["backend"] == \
                text_of((one, three, three)[begins_with].address)
        assert [len(server.sessions) for server in (one, bad, three)] == [1, 1, 2]


def test_session_begins_anew_in_a_worker_that_has_served(dial, pki):
    with TlsServer(pki.expired) as bad, TlsServer(pki.ecdsa) as good:
        proxy = dial([bad, good], connectionsPerWorker=5, maxConnections=2)
        for number in range(1, 6):      # more than there are workers
            assert try_message(proxy.address).code == 220
            proxy.summary(number)
        assert len(bad.sessions) == len(good.sessions) == 5


def test_many_may_be_asked_with_a_certificate(dial, pki):
    """Each handshake takes a signature: so many are no attack on the key."""
    with ExitStack() as stack:
        servers = [stack.enter_context(TlsServer(leaf, client_ca=pki.ca))
                   for leaf in [pki.expired] * 9 + [pki.ecdsa]]
        proxy = dial(servers, cert=pki.ecdsa.cert, key=pki.ecdsa.key, TIMEOUTpretls=60)
        assert try_message(proxy.address).code == 220
        assert proxy.summary()["backend"] == text_of(servers[-1].address)
        assert [len(server.sessions) for server in servers] == [1] * 10


def test_server_that_is_left_is_remembered_too(dial, pki, tmp_path):
    memory = tmp_path / "memory"
    with TlsServer(pki.ecdsa) as one, TlsServer(pki.ecdsa) as two:
        proxy = dial([one, two], {"tlsMemory": memory})
        assert try_message(proxy.address).code == 220
        wait_until(lambda: memory.exists() and text_of(one.address) in memory.read_text(),
                   "the server is remembered")
        one.offers, one.replies["STARTTLS"] = False, b"502 5.5.1 what?\r\n"
        assert try_message(proxy.address).code == 220
        proxy.wait_log(f"server={text_of(one.address)} has offered TLS .* no longer does")
        assert [len(server.messages) for server in (one, two)] == [1, 1]


# -- addresses and hosts that the DNS names

def test_next_address_of_the_same_name(dial, pki, tmp_path):
    port = net.free_port()
    with TlsServer(pki.expired, address=("127.0.0.2", port)) as bad, \
            TlsServer(pki.ecdsa, address=("127.0.0.3", port)) as good, \
            Zones(tmp_path / "dns", ["two.lab. A 127.0.0.2", "two.lab. A 127.0.0.3"]) as dns:
        proxy = dial([], dns_globals(dns), connect=f"two.lab:{port}", delay=True)
        for _ in range(3):      # whichever comes first
            assert try_message(proxy.address).code == 220
        proxy.summary(3)
        assert len(good.messages) == 3 and not bad.messages


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_next_exchange_by_its_own_records(dial, pki, tmp_path, level):
    """RFC 7672 §2.2: the first does not match its record, and the second does."""
    port = net.free_port()
    with TlsServer(pki.expired, address=("127.0.0.1", port)) as bad, \
            TlsServer(pki.lonely, address=("127.0.0.2", port)) as good, \
            Zones(tmp_path / "dns", [
                "domain.lab. MX 10 one.lab.", "domain.lab. MX 20 two.lab.",
                "one.lab. A 127.0.0.1", "two.lab. A 127.0.0.2",
                *tlsa("one.lab.", port, tlsa_of(pki.foreign)),
                *tlsa("two.lab.", port, tlsa_of(pki.lonely))]) as dns:
        proxy = dial([], dns_globals(dns), connect=f"mx:domain.lab:{port}", tlsLevel=level,
                     CAfile=None, checkHost=None)
        assert try_message(proxy.address).code == 220
        summary = proxy.summary()
        has_heard(bad, bad.ended(), EHLO + rb"STARTTLS\r\n", b"QUIT\r\n")
        assert bad.ended().sni == "one.lab" and good.ended().sni == "two.lab"
        assert len(good.messages) == 1
    assert summary["tlsa"] == "used" and summary["verdict"] == "ok"
    assert left(proxy)[0][1].startswith("tlsa-invalid")


def test_exchange_with_records_is_not_served_like_one_without(dial, pki, tmp_path):
    """The first has no records and may be served in clear; the second has, and is not."""
    port = net.free_port()
    low = troubled(pki, "greeting-421")
    low.address = ("127.0.0.1", port)
    with low, TlsServer(pki.lonely, offers=False, answer=b"502 5.5.1 what?\r\n",
                        address=("127.0.0.2", port)) as high, \
            Zones(tmp_path / "dns", [
                "domain.lab. MX 10 one.lab.", "domain.lab. MX 20 two.lab.",
                "one.lab. A 127.0.0.1", "two.lab. A 127.0.0.2",
                *tlsa("two.lab.", port, tlsa_of(pki.lonely))]) as dns:
        proxy = dial([], dns_globals(dns), connect=f"mx:domain.lab:{port}", tlsLevel="dane",
                     CAfile=None, checkHost=None)
        assert "starttls-not-supported" in try_message(proxy.address).text
        has_heard(high, high.ended(), EHLO + rb"STARTTLS\r\nQUIT\r\n")
        assert low.ended().commands == [b"QUIT"] and proxy.summary()["tlsa"] == "used"


# -- other ways

def test_through_a_proxy(dial, pki):
    with TlsServer(pki.expired) as bad, TlsServer(pki.ecdsa) as good:
        places = {"bad.example.net": bad.address, "good.example.net": good.address}
        with HttpProxy(lambda target: places[target[0]]) as way:
            proxy = dial([], connect=["bad.example.net:25", "good.example.net:25"],
                         via=f"http://{text_of(way.address)}")
            assert try_message(proxy.address).code == 220
            assert len(good.ended().messages) == 1
            has_heard(bad, bad.ended(), EHLO + rb"STARTTLS\r\n", b"QUIT\r\n")
            assert [s.events["target"][0] for s in way.sessions] == list(places)
    assert proxy.summary()["backend"] == "good.example.net:25"


@pytest.mark.parametrize("leaf, word", [("expired", "certificate-expired"), (None, None)])
def test_tls_from_the_first_byte(dial, pki, leaf, word):
    first = TlsServer(pki.expired, implicit=True) if leaf else troubled(pki, "greeting-421")
    with first as bad, TlsServer(pki.ecdsa, implicit=True) as good:
        proxy = dial([bad, good], implicitTls=True)
        assert try_message(proxy.address).code == 220
        assert len(good.ended().messages) == 1
        assert bad.secret(bad.ended()) == b""
    assert proxy.summary()["verdict"] == "ok"
    assert left(proxy)[0][1].startswith(word or "validation-failure")


def test_greeting_under_tls_from_the_first_byte(dial, pki):
    """The first is whom we want, and gives no service; the next is not, and the one behind is."""
    with TlsServer(pki.ecdsa, implicit=True) as busy, TlsServer(pki.expired, implicit=True) as bad, \
            TlsServer(pki.ecdsa, implicit=True) as good:
        busy.greeting = b"421 4.3.2 busy\r\n"
        proxy = dial([busy, bad, good], implicitTls=True)
        assert "secret-greeting" in try_message(proxy.address).text
        assert len(good.ended().messages) == 1
        assert busy.secret(busy.ended()) == b"QUIT\r\n" and bad.secret(bad.ended()) == b""
    assert [reason[:12] for _, reason in left(proxy)] == ["backend give", "certificate-"]


def test_without_a_protocol(dial, pki):
    with EchoServer(pki.expired) as bad, EchoServer(pki.ecdsa) as good:
        proxy = dial([bad, good], protocol=None)
        assert talk(proxy.address, b"a\0b\nend\n") == b"you said a\0b\nend\n"
        assert bad.ended().received == b""
    assert proxy.summary()["backend"] == text_of(good.address)


# -- no next one

def test_login_that_is_refused_is_not_tried_elsewhere(dial, pki, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    secret.chmod(0o600)
    replies = {"AUTH": b"535 5.7.8 wrong\r\n"}
    with TlsServer(pki.ecdsa, keywords=["AUTH PLAIN"], replies=replies) as one, \
            TlsServer(pki.ecdsa, keywords=["AUTH PLAIN"]) as two:
        proxy = dial([one, two], protocolUsername="joe", protocolPasswordFile=secret)
        with Client(proxy.address) as client:
            assert client.greeting.code == 421
        assert proxy.summary()["backend"] == text_of(one.address)
        assert one.ended().commands[-1] == b"QUIT" and not two.sessions


def test_client_that_is_served_stays_where_it_is(dial, pki):
    with TlsServer(pki.ecdsa, replies={"MAIL": b"421 4.3.2 going down\r\n"}) as one, \
            TlsServer(pki.ecdsa) as two:
        proxy = dial([one, two])
        with Client(proxy.address) as client:
            client.ehlo()
            client.send(b"MAIL FROM:<a@example.org>\r\n")
            assert client.read_reply().code == 421
        proxy.summary()
        assert len(one.sessions) == 1 and not two.sessions


def test_single_server_is_asked_once(dial, pki):
    with TlsServer(pki.expired) as bad:
        proxy = dial([bad])
        assert try_message(proxy.address).code == 421
        proxy.summary()
        assert len(bad.sessions) == 1 and left(proxy) == []


def test_same_server_twice_is_asked_twice_and_no_more(dial, pki):
    """Each address has one turn; an entry that is written twice is two."""
    with TlsServer(pki.expired) as bad:
        proxy = dial([bad, bad])
        assert try_message(proxy.address).code == 421
        proxy.summary()
        assert len(bad.sessions) == 2


def test_stopping_does_not_go_on(dial, pki):
    with ScriptedBackend(silent) as mute, TlsServer(pki.ecdsa) as good:
        proxy = dial([mute, good], {"TIMEOUTdrain": 1})
        sock = net.connect(proxy.address)
        mute.session()
        proxy.process.send_signal(signal.SIGTERM)
        assert sock.recv(1000).startswith(b"421 4.3.2 ")
        sock.close()
        assert proxy.summary()["reason"] == "backend was cut off because ehlock is stopping"
        mute.ended()
        assert not good.sessions and left(proxy) == []


@pytest.mark.parametrize("ends", ["closes", "resets"])
def test_client_that_is_gone_needs_no_next_server(dial, pki, ends):
    gone = threading.Event()

    def scene(peer):
        gone.wait(net.DEADLINE)
        peer.send(b"421 4.3.2 busy\r\n")
        peer.read_to_end()

    with ScriptedBackend(scene) as slow, TlsServer(pki.ecdsa) as good:
        proxy = dial([slow, good])
        sock = net.connect(proxy.address)
        slow.session()
        if ends == "resets":
            net.reset(sock)
        else:
            sock.close()
        gone.set()
        assert proxy.summary()["outcome"] == "refused"
        slow.ended()
        assert not good.sessions and left(proxy) == []


@pytest.mark.parametrize("header", [b"", b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\n"])
def test_client_that_talks_early_and_ends_is_not_gone(dial, pki, header):
    """printf ... | nc: all is said before anybody listens, and nothing will follow."""
    words = header + b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n" \
            b"Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    with TlsServer(pki.expired) as bad, TlsServer(pki.ecdsa) as good:
        proxy = dial([bad, good], acceptProxy="127.0.0.1" if header else None)
        sock = net.connect(proxy.address)
        sock.sendall(words)
        sock.shutdown(socket.SHUT_WR)
        heard = b""
        while data := sock.recv(65536):
            heard += data
        sock.close()
        assert heard.endswith(b"221 2.0.0 bye\r\n"), heard
        assert len(good.ended().messages) == 1
        has_heard(bad, bad.ended(), EHLO + rb"STARTTLS\r\n", b"QUIT\r\n")
