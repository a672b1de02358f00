# SPDX-License-Identifier: ISC
"""identity = xclient: the backend is told who the client is before the client is greeted."""

import signal

import pytest

import net
import proxy_header
from backend import Backend, ScriptedBackend
from smtp_client import Client, context
from xclient import AGAIN, OFFER, attributes, xclient_backend

# Without them a backend would go on with the names of this machine.
NAMELESS = dict.fromkeys(("NAME", "REVERSE_NAME", "HELO"), "[UNAVAILABLE]")


@pytest.fixture
def told():
    with xclient_backend() as server:
        yield server


def deliver(client):
    client.ehlo()
    client.send_message()
    client.quit()


def test_client_is_announced_before_it_is_greeted(told, wrap):
    proxy = wrap(told, identity="xclient", globals_={"hostname": "proxy.example.org"})
    with Client(proxy.address, source="127.0.0.5") as client:
        port = client.sock.getsockname()[1]
        assert client.greeting.raw == AGAIN
        assert not [k for k in client.ehlo() if k.startswith("XCLIENT")]
        client.send_message()
        client.quit()
    commands = told.ended().commands
    assert commands[0] == b"EHLO proxy.example.org"
    assert attributes(commands[1]) == {"ADDR": "127.0.0.5", "PORT": str(port), "DESTADDR": "127.0.0.1",
                                       "DESTPORT": str(proxy.address[1]), **NAMELESS}
    assert commands[2] == b"EHLO client.example.org"
    assert len(told.messages) == 1
    assert proxy.summary()["outcome"] == "done"


def test_ipv6_has_its_prefix(told, wrap):
    address = ("::1", net.free_port("::1"))
    wrap(told, identity="xclient", accept=net.text_of(address))
    with Client(address) as client:
        deliver(client)
    seen = attributes(told.ended().commands[1])
    assert (seen["ADDR"], seen["DESTADDR"]) == ("IPV6:::1", "IPV6:::1")


def test_client_of_a_balancer_is_announced(told, wrap):
    proxy = wrap(told, identity="xclient", acceptProxy="127.0.0.1")
    with Client(proxy.address, greet=False) as client:
        client.send_wire(proxy_header.v2(("198.51.100.7", 4444)))
        client.greeting = client.read_reply()
        deliver(client)
    assert attributes(told.ended().commands[1]) == {
        "ADDR": "198.51.100.7", "PORT": "4444", "DESTADDR": "192.0.2.200", "DESTPORT": "25",
        **NAMELESS}


def test_only_what_is_offered_is_said(wrap):
    with xclient_backend("xclient\tname  Addr") as backend:
        proxy = wrap(backend, identity="xclient")
        with Client(proxy.address) as client:
            deliver(client)
        assert backend.ended().commands[1] == b"XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE]"


def test_lmtp(wrap):
    with xclient_backend(lmtp=True) as backend:
        proxy = wrap(backend, identity="xclient", protocol="lmtp")
        with Client(proxy.address, source="127.0.0.5", lmtp=True) as client:
            client.ehlo()
            client.quit()
        commands = backend.ended().commands
        assert commands[0].startswith(b"LHLO ") and attributes(commands[1])["ADDR"] == "127.0.0.5"


def test_greeting_of_many_lines(wrap):
    greeting = b"220-one\r\n220-two\r\n220 three\r\n"
    with Backend(keywords=[OFFER], greeting=greeting, replies={"XCLIENT": greeting}) as backend:
        proxy = wrap(backend, identity="xclient")
        with Client(proxy.address) as client:
            assert client.greeting.raw == greeting
            deliver(client)
        assert len(backend.messages) == 1


def test_starttls_without_a_new_connection(told, wrap, pki):
    proxy = wrap(told, identity="xclient")
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message()
        client.quit()
    assert [c for c in told.ended().commands if c.startswith(b"XCLIENT")] == [told.commands[1]]
    assert len(told.messages) == 1


def test_new_connection_after_starttls_is_told_too(told, wrap, pki):
    proxy = wrap(told, identity="xclient", reconnect="yes")
    with Client.secured(proxy.address, context(pki), source="127.0.0.5") as client:
        client.send_message()
        client.quit()
    first, second = (attributes(told.ended(n).commands[1]) for n in (0, 1))
    assert "PROTO" not in first and second == {**first, "PROTO": "ESMTP"}
    assert told.ended(1).commands[2] == b"EHLO client.example.org"
    assert len(told.ended(1).messages) == 1 and not told.ended(0).messages


def test_client_cannot_say_it_itself(told, wrap, pki):
    proxy = wrap(told, identity="xclient")
    with Client.secured(proxy.address, context(pki)) as client:
        assert client.command("XCLIENT ADDR=192.0.2.1").code == 550
        client.quit()
    assert len([c for c in told.ended().commands if c.startswith(b"XCLIENT")]) == 1


# ---- what goes wrong: never an anonymous session


def not_served(proxy, backend, implicit=None, outcome="lost"):
    """The client hears one 421 and the end; the backend hears nothing of it."""
    client = Client.implicit(proxy.address, implicit) if implicit else Client(proxy.address)
    with client:
        assert client.greeting.code == 421
        assert client.read_to_end() == b""
    summary = proxy.summary()
    assert summary["outcome"] == outcome
    said = [c.split(b" ")[0] for c in backend.commands]
    assert set(said) <= {b"EHLO", b"XCLIENT", b"QUIT"}
    return summary["reason"]


def error_of(proxy):
    return proxy.wait_log(r"service=smtp client=\S+ is not served: .*").group(0)


@pytest.mark.parametrize("offer", ["DSN", "XCLIENTS ADDR", "XFORWARD ADDR", "XCLIENT", "XCLIENT NAME PORT",
                                   "XCLIENT=ADDR"])
def test_not_offered(offer, wrap):
    with xclient_backend(offer) as backend:
        proxy = wrap(backend, identity="xclient")
        not_served(proxy, backend)
        assert "smtpd_authorized_xclient_hosts" in error_of(proxy)
        assert not [c for c in backend.commands if c.startswith(b"XCLIENT")]


@pytest.mark.parametrize("answer", [
    b"501 5.5.4 Bad ADDR syntax\r\n", b"550 5.7.0 insufficient authorization\r\n", b"421 busy\r\n",
    b"250 ok\r\n", b"354 go on\r\n", b"nonsense\r\n", b"", b"220-but\r\n", b"220-but\r\n250 no\r\n",
    b"220-" + b"x" * 20000, b"220-x\r\n" * 20000],
    ids=lambda answer: answer[:24].decode() or "end")
def test_xclient_that_is_not_taken(answer, wrap):
    def scene(peer):
        peer.send(b"220 hello\r\n")
        peer.expect(b"EHLO")
        peer.send(b"250-hello\r\n250 XCLIENT ADDR\r\n")
        peer.expect(b"XCLIENT ADDR=127.0.0.1\r\n")
        peer.send(answer)
        if not answer or answer == b"220-but\r\n":
            return
        while peer.read_line():
            pass
    with ScriptedBackend(scene) as backend:
        proxy = wrap(backend, identity="xclient")
        not_served(proxy, backend)
        assert "inet_protocols" in error_of(proxy)


@pytest.mark.parametrize("greeting", [b"421 busy\r\n", b"554 no\r\n", b"250 odd\r\n", b"nonsense\r\n", b""])
def test_first_greeting_that_is_not_220(greeting, wrap):
    with ScriptedBackend(lambda peer: (peer.send(greeting), peer.read_to_end() if greeting else 0)) as backend:
        proxy = wrap(backend, identity="xclient")
        a_reply = greeting[:1].isdigit()
        not_served(proxy, backend, outcome="refused" if a_reply else "lost")
        assert "is not served" not in proxy.log     # nothing is set up wrongly


def test_backend_that_says_more_than_asked(wrap):
    def scene(peer):
        peer.send(b"220 hello\r\n")
        peer.expect(b"EHLO")
        peer.send(b"250-hello\r\n250 XCLIENT ADDR\r\n220 already\r\n")
        peer.read_to_end()
    with ScriptedBackend(scene) as backend:
        proxy = wrap(backend, identity="xclient")
        assert "out of turn" in not_served(proxy, backend)


def test_implicit_tls_is_not_served_either(wrap, pki):
    with xclient_backend("DSN") as backend:
        proxy = wrap(backend, identity="xclient", implicitTls="yes")
        assert "does not offer XCLIENT" in not_served(proxy, backend, context(pki))


def test_new_connection_that_is_not_told_ends_the_session(wrap, pki):
    """The first was, so the client has been greeted; the second would be an anonymous one."""
    def knows(peer):
        peer.send(b"220 hello\r\n")
        peer.expect(b"EHLO")
        peer.send(b"250-hello\r\n250 XCLIENT ADDR\r\n")
        peer.expect(b"XCLIENT")
        peer.send(b"220 again\r\n")
        peer.expect(b"EHLO")
        peer.send(b"250 hello\r\n")
        peer.read_to_end()

    def knows_not(peer):
        peer.send(b"220 hello\r\n")
        peer.expect(b"EHLO")
        peer.send(b"250 hello\r\n")
        peer.read_to_end()
    with ScriptedBackend(knows, knows_not) as backend:
        proxy = wrap(backend, identity="xclient", reconnect="yes")
        with Client(proxy.address) as client:
            client.ehlo()
            client.starttls(context(pki))
            assert client.read_reply().code == 421
        assert "does not offer XCLIENT" in error_of(proxy)


def test_stop_in_between_is_no_error(wrap):
    def scene(peer):
        peer.send(b"220 hello\r\n")
        peer.expect(b"EHLO")
        peer.read_to_end()
    with ScriptedBackend(scene) as backend:
        proxy = wrap(backend, identity="xclient", globals_={"TIMEOUTdrain": 0})
        with Client(proxy.address, greet=False) as client:
            net.wait_until(lambda: backend.commands, "our EHLO")
            proxy.stop(signal.SIGTERM)
            assert client.read_reply().code == 421
        assert "is not served" not in proxy.log
