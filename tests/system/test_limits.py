# SPDX-License-Identifier: ISC
"""Every limit: exactly at it, and one over."""

import os
import re
import select
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import ehlock
import net
import pytest
from backend import Backend, ScriptedBackend
from smtp_client import Client, Closed, context


def goodbye_within(client, least, most, start=None):
    """The server ends an otherwise silent connection with 421, in that time; gives the seconds."""
    start = start or time.monotonic()
    rest = client.read_to_end()
    seconds = time.monotonic() - start
    assert b"421 " in rest, rest
    assert client.end in ("fin", "close_notify"), client.end
    assert least <= seconds <= most, seconds


# -- connections

def is_served(address, source=None):
    """True when greeted; the connection is given back, or closed if it was turned away."""
    client = Client(address, source=source)
    if client.greeting.code == 220:
        return client
    assert client.greeting.code == 421, client.greeting
    assert client.read_to_end() == b"" and client.end == "fin"
    client.close()
    return None


def test_max_connections_serves_that_many_and_turns_the_next_away(wrap, backend):
    proxy = wrap(backend, maxConnections=4)
    with ExitStack() as stack:
        held = []
        for _ in range(4):
            client = is_served(proxy.address)
            assert client
            held.append(stack.enter_context(client))
        assert is_served(proxy.address) is None
        # It still lives, and a place that is given back is there for the next.
        held[0].quit()
        held[0].close()
        stack.enter_context(net.wait_until(lambda: is_served(proxy.address), "a place is free"))
        assert is_served(proxy.address) is None
        for client in held[1:]:
            client.quit()


def test_max_connections_per_client_counts_each_address_by_itself(wrap, backend):
    proxy = wrap(backend, maxConnectionsPerClient=2)
    with ExitStack() as stack:
        for source in ("127.0.0.5", "127.0.0.6"):
            first = stack.enter_context(is_served(proxy.address, source))
            stack.enter_context(is_served(proxy.address, source))
            assert is_served(proxy.address, source) is None
        first.quit()
        first.close()
        stack.enter_context(
            net.wait_until(lambda: is_served(proxy.address, "127.0.0.6"), "a place is free"))
        assert is_served(proxy.address, "127.0.0.5") is None


def test_place_of_a_killed_worker_is_given_back(wrap, backend):
    proxy = wrap(backend, maxConnections=1, maxConnectionsPerClient=1)
    for _ in range(3):
        client = net.wait_until(lambda: is_served(proxy.address), "served again")
        with client:
            pid = busy_worker(proxy, backend)
            os.kill(pid, signal.SIGKILL)
            client.read_to_end()


def busy_worker(proxy, backend):
    """The worker that holds the last connection to the backend."""
    local = backend.sessions[-1].sock.getpeername()
    wanted = f"{local[1]:04X}"
    for pid in proxy.workers():
        try:
            table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
            inodes = {row.split()[9] for row in table if row.split()[1].endswith(":" + wanted)}
            for fd in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target in {f"socket:[{inode}]" for inode in inodes}:
                    return pid
        except OSError:
            continue
    raise AssertionError("no worker holds the backend's connection")


# -- sizes

def test_command_line_exactly_at_the_limit_passes_and_one_over_is_500(wrap, backend, pki):
    with Client.secured(wrap(backend, maxCommandLength=600).address, context(pki)) as client:
        at = "NOOP " + "x" * (600 - len("NOOP \r\n"))
        assert client.command(at).code == 250
        assert backend.session().commands[-1] == at.encode()
        assert client.command(at + "y").code == 500
        # Then either the session goes on in step, or it ends in order.
        try:
            assert client.command("NOOP still here").code in (250, 421)
        except Closed as closed:
            assert closed.how == "close_notify"
    assert at.encode() + b"y" not in backend.commands


def test_default_command_line_limit_is_that_of_rfc_4954(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        at = "NOOP " + "x" * (12288 - len("NOOP \r\n"))
        assert client.command(at).code == 250
        assert client.command(at + "y").code == 500


def test_line_without_end_is_told_and_neither_kept_nor_passed_on(wrap, backend):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        worker = busy_worker(proxy, backend)
        for _ in range(256):
            client.send(b"x" * 65536)
        assert client.read_reply().code in (421, 500)
        assert client.read_to_end() == b"" and client.end == "fin"
        peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())
        assert int(peak.group(1)) < (400_000 if ehlock.sanitized() else 20_000), "kB"
    assert proxy.summary()["outcome"] == "refused"
    assert b"x" * 100 not in backend.ended().received


def test_nothing_of_an_overlong_command_becomes_another_command(wrap, backend, pki):
    with Client.secured(wrap(backend, maxCommandLength=600).address, context(pki)) as client:
        client.send(b"NOOP " + b"x" * 595 + b"MAIL FROM:<tail@example.org>\r\n")
        assert client.read_reply().code == 500
    assert not [c for c in backend.ended().commands if b"tail" in c]


def reply_of(size):
    lines = b""
    while size - len(lines) > 600:
        lines += b"250-" + b"r" * 494 + b"\r\n"
    return lines + b"250 " + b"r" * (size - len(lines) - 6) + b"\r\n"


@pytest.mark.parametrize("option, limit", [({"maxReplySize": 2000}, 2000), ({}, 65536)])
def test_reply_exactly_at_the_limit_passes_and_one_over_is_421(wrap, pki, option, limit):
    answers = [reply_of(limit), reply_of(limit + 1)]
    assert [len(answer) for answer in answers] == [limit, limit + 1]
    with Backend(replies={"HELP": lambda peer, line: answers[int(line.split()[1])]}) as backend:
        with Client.secured(wrap(backend, **option).address, context(pki)) as client:
            assert client.command("HELP 0").raw == answers[0]
            reply = client.command("HELP 1")
            assert reply.code in (421, 451)
            assert client.read_to_end() == b"" and client.end == "close_notify"


def test_reply_without_end_is_cut_off(wrap):
    def scene(peer):
        peer.send(b"220 hi\r\n")
        peer.expect(b"EHLO")
        while True:
            peer.send(b"250-more and more and more\r\n" * 1000)

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend).address) as client:
            assert client.command("EHLO x").code in (421, 451)


def test_useless_commands_up_to_the_limit_pass_and_one_more_is_421(wrap, backend):
    proxy = wrap(backend, maxUselessCommands=7)
    with Client(proxy.address) as client:
        assert [client.command("NOOP").code for _ in range(7)] == [250] * 7
        client.quit()
    with Client(proxy.address) as client:
        assert [client.command("NOOP").code for _ in range(7)] == [250] * 7
        client.send_line("NOOP")
        assert b"421 " in client.read_to_end() and client.end == "fin"
    assert proxy.summary(2)["outcome"] == "refused"


@pytest.mark.parametrize("line", ["NOOP", "RSET", "VRFY x", "HELP", "FOO", "EHLO x", "XCLIENT A=b",
                                  "STARTTLS x", "EXPN x", ""])
def test_each_kind_of_useless_command_is_counted(wrap, backend, line):
    with Client(wrap(backend, maxUselessCommands=5).address) as client:
        for _ in range(12):
            if client.command(line).code == 421:
                break
        else:
            pytest.fail("not counted")
        assert client.read_to_end() == b""


def test_messages_set_the_count_of_useless_commands_back(wrap, backend, pki):
    with Client.secured(wrap(backend, maxUselessCommands=5).address, context(pki)) as client:
        for _ in range(10):
            assert client.command("RSET").code == 250
            assert client.command("NOOP").code == 250
            client.send_message()
        client.quit()
    assert len(backend.messages) == 10


# -- times

def test_pretls_time_ends_a_busy_clear_client_and_spares_the_others(wrap, backend, pki):
    proxy = wrap(backend, TIMEOUTpretls=4, spareWorkers=6)
    with ExitStack() as stack:
        secured = stack.enter_context(Client.secured(proxy.address, context(pki)))
        mailing = stack.enter_context(Client(proxy.address))
        mailing.ehlo()
        assert mailing.command("MAIL FROM:<a@example.org>").code == 250
        start = time.monotonic()
        dawdler = stack.enter_context(Client(proxy.address))
        try:
            while True:
                dawdler.send_line("NOOP")
                if dawdler.read_reply().code == 421:
                    break
                assert time.monotonic() - start < 10, "never ended"
                time.sleep(0.1)
        except OSError:
            pytest.fail("reset instead of 421")
        assert 3.5 <= time.monotonic() - start <= 9
        assert dawdler.read_to_end() == b"" and dawdler.end == "fin"
        # More than the limit has passed for these two as well.
        assert secured.command("NOOP").code == 250
        assert mailing.command("NOOP").code == 250
        secured.quit()
        mailing.quit()


def test_silent_client_before_tls_is_ended_by_pretls_time(wrap, backend):
    address, start = wrap(backend, TIMEOUTpretls=1).address, time.monotonic()
    with Client(address) as client:
        goodbye_within(client, 0.7, 6, start)


def test_handshake_time_ends_a_silent_handshake(wrap, backend, pki):
    proxy = wrap(backend, TIMEOUThandshake=1)
    with Client(proxy.address) as client:
        client.ehlo()
        start = time.monotonic()
        assert client.command("STARTTLS").code == 220
        assert client.read_to_end() == b""
        assert 0.7 <= time.monotonic() - start <= 6
    assert proxy.summary()["outcome"] != "done"
    assert backend.ended().messages == []


def test_handshake_time_is_for_the_whole_of_it(wrap, backend):
    """A client that drips one byte at a time gets no more time than a silent one."""
    with Client(wrap(backend, TIMEOUThandshake=1).address) as client:
        client.ehlo()
        start = time.monotonic()
        assert client.command("STARTTLS").code == 220
        hello = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + b"\0" * 200
        for n in range(len(hello)):
            if select.select([client.sock], [], [], 0.1)[0]:
                break       # an alert, or the end
            client.send_wire(hello[n:n + 1])
        assert 0.7 <= time.monotonic() - start <= 6


def test_handshake_slower_than_usual_but_in_time_succeeds(wrap, backend, pki):
    with Client(wrap(backend, TIMEOUThandshake=5).address) as client:
        client.ehlo()
        assert client.command("STARTTLS").code == 220
        time.sleep(0.7)
        client.handshake(context(pki))
        client.ehlo()
        client.quit()


def test_idle_time_ends_a_silent_client_with_421(wrap, backend, pki):
    proxy = wrap(backend, TIMEOUTidle=1)
    with Client.secured(proxy.address, context(pki)) as client:
        goodbye_within(client, 0.7, 6)
    assert proxy.summary()["outcome"] == "lost"
    assert backend.ended()


def test_idle_time_begins_anew_with_each_command(wrap, backend, pki):
    with Client.secured(wrap(backend, TIMEOUTidle=3).address, context(pki)) as client:
        start = time.monotonic()
        while time.monotonic() - start < 4:
            assert client.command("NOOP").code == 250
            time.sleep(0.5)
        client.quit()


def test_idle_time_holds_in_the_middle_of_a_message(wrap, backend, pki):
    with Client.secured(wrap(backend, TIMEOUTidle=1).address, context(pki)) as client:
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b"and then\r\n")
        goodbye_within(client, 0.7, 6)
    assert backend.ended().messages == []


def test_busy_time_lets_a_slow_backend_answer_in_time(wrap):
    def slow(peer, line):
        time.sleep(0.7)
        return b"250 at last\r\n"

    with Backend(replies={"NOOP": slow}) as backend:
        with Client(wrap(backend, TIMEOUTbusy=3).address) as client:
            assert client.command("NOOP").text == "at last"
            client.quit()


def test_busy_time_ends_the_wait_for_a_silent_backend(wrap):
    with ScriptedBackend(lambda peer: (peer.send(b"220 hi\r\n"), peer.read_to_end())) as backend:
        with Client(wrap(backend, TIMEOUTbusy=1).address) as client:
            start = time.monotonic()
            client.send_line("NOOP")
            goodbye_within(client, 0.7, 6, start)


def test_reply_to_the_message_may_take_longer_than_busy_time(wrap, pki):
    """RFC 5321 §4.5.3.2.6: ten minutes after the dot."""
    def slow(peer, line):
        time.sleep(4)
        return b"250 at last\r\n"

    with Backend(replies={".": slow}) as backend:
        with Client.secured(wrap(backend, TIMEOUTbusy=3).address, context(pki)) as client:
            assert client.send_message().text == "at last"
            client.quit()


def test_default_times_are_those_of_the_rfc(tmp_path, pki):
    config = tmp_path / "c.conf"
    config.write_text(ehlock.global_part() + ehlock.section(
        "smtp", accept="127.0.0.1:1", connect="127.0.0.1:2", protocol="smtp", cert=pki.ecdsa.cert,
        key=pki.ecdsa.key))
    shown = ehlock.run("--show-config", config).stdout
    times = {}
    for line in shown.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().lower().startswith("timeout"):
            times[name.strip().lower()] = int(value.split()[0])
    assert times["timeoutidle"] >= 600      # §4.5.3.2: ten minutes at least after DATA
    assert times["timeoutbusy"] >= 300
    assert times["timeoutpretls"] >= 300
