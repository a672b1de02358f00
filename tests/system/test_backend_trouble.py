# SPDX-License-Identifier: ISC
"""Whatever the backend does, the client gets an SMTP answer and an orderly end, never a reset."""

import socket
import threading
import time

import net
import pytest
from backend import Backend, ScriptedBackend
from smtp_client import Client, context

EHLO_REPLY = b"250-backend.example.org\r\n250-SIZE 1000000\r\n250 CHUNKING\r\n"


def is_farewell(reply):
    """421 or 451 with a sentence."""
    return reply.code in (421, 451) and len(reply.text.split()) >= 3


def assert_farewell(client):
    reply = client.read_reply()
    assert is_farewell(reply), reply
    assert client.read_to_end() == b""
    assert client.end in ("fin", "close_notify"), client.end


def assert_refused(address):
    with Client(address, greet=False) as client:
        assert_farewell(client)


# -- reaching it

def test_backend_that_is_down_is_told_to_the_client(wrap):
    proxy = wrap(("127.0.0.1", net.free_port()))
    assert_refused(proxy.address)
    summary = proxy.summary()
    assert summary["outcome"] not in ("done", "refused") and summary["reason"]


def test_backend_that_is_down_is_told_under_implicit_tls_too(wrap, pki):
    proxy = wrap(("127.0.0.1", net.free_port()), implicitTls="yes")
    client = Client.implicit(proxy.address, context(pki), greet=False)
    with client:
        reply = client.read_reply()
        assert is_farewell(reply)
        assert client.read_to_end() == b"" and client.end == "close_notify"


def test_unix_socket_that_does_not_exist_is_told_to_the_client(wrap, public_dir):
    assert_refused(wrap(str(public_dir / "nobody")).address)


def test_backend_that_does_not_answer_the_connection_costs_timeoutconnect(wrap):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    waiting = []
    try:
        # Fill the queue of connections until the kernel drops a SYN.
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            waiting.append(sock)
        proxy = wrap(address, TIMEOUTconnect=1)
        start = time.monotonic()
        assert_refused(proxy.address)
        assert 0.8 < time.monotonic() - start < 6
    finally:
        for sock in [*waiting, listener]:
            sock.close()


def test_backend_behind_a_unix_socket_is_served(wrap, pki, public_dir):
    with Backend(address=str(public_dir / "mta.sock")) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            client.send_message(body=b"unix\r\n")
            client.quit()
        assert backend.messages[0].body == b"unix\r\n"


def test_backend_on_ipv6_is_served(wrap, pki):
    with Backend(address=("::1", net.free_port("::1"))) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            client.send_message(body=b"six\r\n")
            client.quit()
        assert backend.messages[0].body == b"six\r\n"


def test_failover_prio_takes_the_first_that_works(wrap):
    down = ("127.0.0.1", net.free_port())
    with Backend(name="second") as second, Backend(name="third") as third:
        proxy = wrap(second, failover="prio", connect=[
            net.text_of(a) for a in (down, second.address, third.address)])
        for _ in range(6):
            with Client(proxy.address) as client:
                assert client.command("HELO x").text == "second"
                client.quit()
        assert len(third.sessions) == 0
        proxy.wait_log(rf"notice: .* backend {net.text_of(down)}: Connection refused; "
                       rf"backend={net.text_of(second.address)} is used instead")


def test_failover_rr_spreads_the_sessions(wrap):
    with Backend() as one, Backend() as two, Backend() as three:
        proxy = wrap(one, failover="rr", connect=[
            net.text_of(b.address) for b in (one, two, three)])
        for _ in range(12):
            with Client(proxy.address) as client:
                client.quit()
        assert [len(b.sessions) for b in (one, two, three)] == [4, 4, 4]


def test_failover_rr_skips_the_one_that_is_down(wrap):
    down = ("127.0.0.1", net.free_port())
    with Backend() as one, Backend() as two:
        proxy = wrap(one, failover="rr", connect=[
            net.text_of(a) for a in (one.address, down, two.address)])
        for _ in range(9):
            with Client(proxy.address) as client:
                assert client.greeting.code == 220
                client.quit()
        assert len(one.sessions) + len(two.sessions) == 9
        assert len(one.sessions) >= 3 and len(two.sessions) >= 3


def test_all_backends_down_is_told_once(wrap):
    addresses = [net.text_of(("127.0.0.1", net.free_port())) for _ in range(3)]
    for failover in ("prio", "rr"):
        assert_refused(wrap(("127.0.0.1", 1), connect=addresses, failover=failover).address)


def test_local_sets_the_source_address(wrap):
    with Backend() as backend:
        with Client(wrap(backend, local="127.0.0.77").address) as client:
            assert backend.session().sock.getpeername()[0] == "127.0.0.77"
            client.quit()


# -- its greeting

@pytest.mark.parametrize("greeting", [
    b"554 5.7.1 go away\r\n",
    b"554-no service\r\n554 for you\r\n",
    b"421 4.3.2 too busy\r\n",
    b"450 4.3.2 try later\r\n",
])
def test_refusing_greeting_passes_unchanged(wrap, greeting):
    def scene(peer):
        peer.send(greeting)
        if not greeting.startswith(b"421"):
            peer.expect(b"QUIT")
            peer.send(b"221 bye\r\n")

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend).address) as client:
            assert client.greeting.raw == greeting
            if greeting.startswith(b"421"):
                assert client.read_to_end() == b"" and client.end == "fin"
            else:
                client.quit()


@pytest.mark.parametrize("greeting", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\r\n", b"22 short\r\n", b"220+odd\r\n", b"999 what\r\n",
    b"+OK pop3 here\r\n", b"* OK imap here\r\n", b"SSH-2.0-OpenSSH\r\n", b"\0\0\0\0\r\n",
    b"220-one\r\n250 two\r\n",
])
def test_greeting_that_is_no_smtp_is_told_to_the_client(wrap, greeting):
    with ScriptedBackend(lambda peer: (peer.send(greeting), peer.read_to_end())) as backend:
        proxy = wrap(backend)
        assert_refused(proxy.address)
        assert proxy.summary()["outcome"] != "done"


def test_slow_greeting_arrives_whole(wrap):
    greeting = b"220-slow\r\n220 but sure\r\n"

    def scene(peer):
        for n in range(len(greeting)):
            peer.send(greeting[n:n + 1])
            time.sleep(0.005)
        peer.expect(b"QUIT")
        peer.send(b"221 bye\r\n")

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend).address) as client:
            assert client.greeting.raw == greeting
            client.quit()


# -- silence and closing, at every point of the dialogue

def dialogue_until(point, peer):
    """Play a good server up to (not with) its answer at the named point."""
    if point == "greeting":
        return
    peer.send(b"220 backend.example.org\r\n")
    steps = [("EHLO", EHLO_REPLY), ("NOOP", b"250 ok\r\n"), ("MAIL", b"250 ok\r\n"),
             ("RCPT", b"250 ok\r\n"), ("DATA", b"354 go\r\n"), ("dot", b"250 ok\r\n")]
    for name, reply in steps:
        if name == "dot":
            peer.read_until(b"\r\n.\r\n")
        else:
            line = peer.read_line()
            while line.upper().startswith(b"RSET"):
                peer.send(b"250 ok\r\n")
                line = peer.read_line()
            if line.upper().startswith(b"EHLO") and name == "NOOP":
                peer.send(EHLO_REPLY)
                line = peer.read_line()
        if name == point:
            return
        peer.send(reply)


POINTS = ["greeting", "EHLO", "NOOP", "MAIL", "RCPT", "DATA", "dot"]
PARTS = {"nothing": b"", "half a line": b"25", "half a reply": b"250-first\r\n250-sec"}


def client_until(point, address, ctx):
    """The client's side of it, up to and with the command whose answer will not come."""
    client = Client(address, greet=False)
    if point == "greeting":
        return client
    client.read_reply()
    if point == "EHLO":
        client.send_line("EHLO client.example.org")
        return client
    client.ehlo()
    if ctx:
        client.starttls(ctx)
        client.ehlo()
    for name, line in [("NOOP", "NOOP"), ("MAIL", "MAIL FROM:<a@example.org>"),
                       ("RCPT", "RCPT TO:<b@example.org>"), ("DATA", "DATA"), ("dot", "text\r\n.")]:
        client.send_line(line)
        if name == point:
            return client
        assert client.read_reply().code in (250, 354)
    return client


@pytest.mark.parametrize("secured", [False, True], ids=["clear", "secured"])
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("part", PARTS)
def test_backend_that_closes_mid_reply_is_told_at_every_point(wrap, pki, part, how, secured):
    def scene_for(point):
        def scene(peer):
            dialogue_until(point, peer)
            if PARTS[part]:
                peer.send(PARTS[part])
            peer.close() if how == "close" else peer.reset()
        return scene

    points = [point for point in POINTS if not (secured and point in ("greeting", "EHLO"))]
    with ScriptedBackend(*[scene_for(point) for point in points]) as backend:
        proxy = wrap(backend)
        for number, point in enumerate(points):
            with client_until(point, proxy.address, context(pki) if secured else None) as client:
                assert_farewell(client)
            assert proxy.summary(number + 1)["outcome"] != "done", point


@pytest.mark.parametrize("secured", [False, True], ids=["clear", "secured"])
def test_backend_that_falls_silent_is_told_at_every_point(wrap, pki, secured):
    def scene_for(point):
        def scene(peer):
            dialogue_until(point, peer)
            peer.read_to_end()
        return scene

    # After the dot a server may take ten minutes (RFC 5321 §4.5.3.2.6): no test waits so long.
    points = [point for point in POINTS if point != "dot"
              and not (secured and point in ("greeting", "EHLO"))]
    with ScriptedBackend(*[scene_for(point) for point in points]) as backend:
        proxy = wrap(backend, TIMEOUTbusy=3, spareWorkers=8)
        clients = []
        for number, point in enumerate(points):
            clients.append(client_until(point, proxy.address, context(pki) if secured else None))
            backend.session(number)
        for client in clients:
            with client:
                assert_farewell(client)
    proxy.summary(len(points))
    assert all(summary["outcome"] != "done" for summary in proxy.summaries())


@pytest.mark.parametrize("part", [b"", b"22", b"221-so\r\n"])
def test_quit_gets_221_even_when_the_backend_just_closes(wrap, pki, part):
    def scene(peer):
        peer.send(b"220 hi\r\n")
        peer.expect(b"QUIT")
        if part:
            peer.send(part)
        peer.close()

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend).address) as client:
            client.quit()
            assert client.read_to_end() == b"" and client.end == "fin"


# -- speaking unasked

def greeted(peer):
    peer.send(b"220 hi\r\n")
    peer.expect(b"EHLO")
    peer.send(EHLO_REPLY)


@pytest.mark.parametrize("secured", [False, True], ids=["clear", "secured"])
def test_unsolicited_421_is_passed_on_at_once(wrap, pki, secured):
    def scene(peer):
        greeted(peer)
        if secured:
            peer.expect(b"RSET")
            peer.send(b"250 ok\r\n")
            peer.expect(b"EHLO")
            peer.send(EHLO_REPLY)
        peer.expect(b"NOOP")
        peer.send(b"250 ok\r\n")
        time.sleep(0.1)     # so that the two are not one packet
        peer.send(b"421-4.3.2 going down\r\n421 4.3.2 for good\r\n")
        peer.close()

    with ScriptedBackend(scene) as backend:
        proxy = wrap(backend)
        client = Client(proxy.address)
        with client:
            client.ehlo()
            if secured:
                client.starttls(context(pki))
                client.ehlo()
            assert client.command("NOOP").code == 250
            start = time.monotonic()
            assert client.read_reply().raw == b"421-4.3.2 going down\r\n421 4.3.2 for good\r\n"
            assert client.read_to_end() == b""
            assert client.end == ("close_notify" if secured else "fin")
            assert time.monotonic() - start < 10


def test_backend_that_closes_while_the_client_is_idle_is_told_at_once(wrap):
    def scene(peer):
        greeted(peer)
        peer.close()

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend).address) as client:
            client.ehlo()
            start = time.monotonic()
            assert_farewell(client)
            assert time.monotonic() - start < 10


def test_421_as_the_answer_to_a_command_is_passed_on_and_ends_the_session(wrap, pki):
    with Backend(replies={"MAIL": b"421 4.3.2 closing\r\n"}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            assert client.command("MAIL FROM:<a@example.org>").raw == b"421 4.3.2 closing\r\n"
            assert client.read_to_end() == b"" and client.end == "close_notify"


# -- during the message

@pytest.mark.parametrize("how", ["close", "reset"])
def test_refusal_in_the_middle_of_the_message_reaches_the_client(wrap, pki, how):
    refusal = b"552 5.3.4 message too big for us\r\n"

    def scene(peer):
        dialogue_until("DATA", peer)
        peer.send(b"354 go\r\n")
        peer.read_exactly(10000)
        peer.send(refusal)
        time.sleep(0.05)
        peer.close() if how == "close" else peer.reset()

    with ScriptedBackend(scene) as backend:
        with client_until("DATA", wrap(backend).address, context(pki)) as client:
            assert client.read_reply().code == 354
            for _ in range(200):
                client.send(b"x" * 9998 + b"\r\n")
            client.send(b".\r\n")
            reply = client.read_reply()
            # A reset may take the refusal with it; then the client is told to try again.
            assert reply.raw == refusal or (how == "reset" and is_farewell(reply)), reply
            client.read_to_end()
            assert client.end == "close_notify"


def test_success_said_before_the_end_of_the_message_is_not_believed(wrap, pki):
    """A backend that says 250 and closes in the middle has not got the message."""
    closed = threading.Event()

    def scene(peer):
        dialogue_until("DATA", peer)
        peer.send(b"354 go\r\n")
        peer.read_exactly(1000)
        peer.send(b"250 got it\r\n")
        peer.close()
        closed.set()

    with ScriptedBackend(scene) as backend:
        proxy = wrap(backend)
        with client_until("DATA", proxy.address, context(pki)) as client:
            assert client.read_reply().code == 354
            client.send(b"x" * 9998 + b"\r\n")
            assert closed.wait(net.DEADLINE)    # else it might all be sent before that is said
            for _ in range(300):
                client.send(b"x" * 9998 + b"\r\n")
            client.send(b".\r\n")
            assert is_farewell(client.read_reply())
        assert proxy.summary()["accepted"] == "0"


def test_slow_reader_at_the_backend_gets_the_whole_message(wrap, pki):
    size = 3_000_000

    def scene(peer):
        dialogue_until("DATA", peer)
        peer.send(b"354 go\r\n")
        got = 0
        while got < size:
            got += len(peer.read_exactly(min(300_000, size - got)))
            time.sleep(0.02)
        assert peer.read_until(b"\r\n.\r\n") == b"\r\n.\r\n"
        peer.send(b"250 ok\r\n")
        peer.expect(b"QUIT")
        peer.send(b"221 bye\r\n")

    with ScriptedBackend(scene) as backend:
        with client_until("DATA", wrap(backend).address, context(pki)) as client:
            assert client.read_reply().code == 354
            client.send(b"x" * size + b"\r\n.\r\n")
            assert client.read_reply().code == 250
            client.quit()


@pytest.mark.parametrize("reply", [b"250 but I wanted no data\r\n", b"333 what\r\n"])
def test_odd_answer_to_data_does_not_let_the_body_become_commands(wrap, pki, reply):
    with Backend(replies={"DATA": reply}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            client.envelope()
            answer = client.command("DATA")
            assert answer.code != 354
            if answer.code != 421:  # which is the last word
                client.send_line("NOOP")
                assert client.read_reply().code in (250, 421)
