# SPDX-License-Identifier: ISC
"""How often a client may connect, and begin TLS: exactly at the limit, and one over."""

import os
import signal

import ehlock
import net
import proxy_header
import pytest
from ehlock import section
from smtp_client import Client, Closed, context

# Long enough for no token to come back while a test runs.
SLOWLY = 36000


def is_served(address, source=None):
    with Client(address, source=source) as client:
        if client.greeting.code == 220:
            client.quit()
            return True
        assert client.greeting.raw.startswith(b"421 4.7.0 "), client.greeting
        assert client.read_to_end() == b"" and client.end == "fin"
        return False


def refusal(proxy):
    """The summary of a session that was refused; workers may tell theirs in any order."""
    return net.wait_until(lambda: next((one for one in proxy.summaries()
                                        if one["outcome"] == "refused"), None), "a refused session")


# -- connections

def test_connections_at_the_limit_are_served_and_one_over_is_not(wrap, backend):
    proxy = wrap(backend, maxConnectionsRate=f"3/{SLOWLY}")
    assert [is_served(proxy.address, "127.0.0.5") for _ in range(5)] == [True] * 3 + [False] * 2
    assert [is_served(proxy.address, "127.0.0.6") for _ in range(4)] == [True] * 3 + [False]
    assert refusal(proxy)["reason"] == "Too many connections in a short time, try again later"


def test_connections_come_back_with_time(wrap, backend):
    proxy = wrap(backend, maxConnectionsRate="1/2")
    assert is_served(proxy.address)
    net.wait_until(lambda: is_served(proxy.address), "the count has faded")


def test_announced_addresses_are_counted_and_not_the_balancer(wrap, backend):
    proxy = wrap(backend, acceptProxy="127.0.0.1", maxConnectionsRate=f"2/{SLOWLY}")

    def served(host):
        with Client(proxy.address, greet=False) as client:
            destination = "2001:db8::25" if ":" in host else "192.0.2.200"
            client.send(proxy_header.v1((host, 4444), (destination, 25)))
            return client.read_reply().code == 220

    assert [served("198.51.100.7") for _ in range(3)] == [True, True, False]
    assert [served("198.51.100.8") for _ in range(3)] == [True, True, False]
    assert [served("2001:db8::1"), served("2001:db8::2"), served("2001:db8::3")] == \
        [True, True, False]
    assert served("2001:db8:0:1::1")


def test_client_over_the_rate_gets_no_handshake(wrap, pki, backend):
    proxy = wrap(backend, implicitTls="yes", maxConnectionsRate=f"1/{SLOWLY}")
    with Client.implicit(proxy.address, context(pki)) as client:
        client.quit()
    with pytest.raises(Closed):
        Client.implicit(proxy.address, context(pki))
    assert refusal(proxy)["reason"].startswith("Too many connections in a short time")


def test_killed_worker_leaves_the_count_as_it_is(wrap, backend):
    proxy = wrap(backend, maxConnectionsRate=f"2/{SLOWLY}")
    with Client(proxy.address) as client:
        client.ehlo()
        pid = int(proxy.wait_log(r"\[(\d+)\]: info: .* connected$")[1])
        os.kill(pid, signal.SIGKILL)
        client.read_to_end()
    assert is_served(proxy.address)
    assert not is_served(proxy.address)


# -- handshakes

def test_handshakes_at_the_limit_come_about_and_one_over_is_454(wrap, pki, backend):
    proxy = wrap(backend, maxHandshakesRate=f"2/{SLOWLY}")
    for _ in range(2):
        with Client.secured(proxy.address, context(pki)) as client:
            client.quit()
    with Client(proxy.address) as client:
        client.ehlo()
        for _ in range(2):
            reply = client.command("STARTTLS")
            assert reply.code == 454 and reply.lines[0].startswith("4.7.0 "), reply
        client.send_message()
        client.quit()
    proxy.summary(3)
    assert proxy.log.count("TLS is refused: more than maxHandshakesRate") == 1
    with Client(proxy.address, source="127.0.0.5") as client:
        client.ehlo()
        client.starttls(context(pki))


def test_handshake_over_the_limit_where_tls_is_needed_leaves_no_way(wrap, pki, backend):
    proxy = wrap(backend, tlsLevel="encrypt", maxHandshakesRate=f"1/{SLOWLY}")
    with Client.secured(proxy.address, context(pki)) as client:
        client.quit()
    with Client(proxy.address) as client:
        client.ehlo()
        assert client.command("STARTTLS").code == 454
        assert client.command("MAIL FROM:<a@example.org>").code == 530
        client.quit()


def test_implicit_handshake_over_the_limit_is_closed_before_it(wrap, pki, backend):
    proxy = wrap(backend, implicitTls="yes", maxHandshakesRate=f"1/{SLOWLY}")
    with Client.implicit(proxy.address, context(pki)) as client:
        client.quit()
    with pytest.raises(Closed):
        Client.implicit(proxy.address, context(pki))
    summary = refusal(proxy)
    assert summary["reason"] == "Too many TLS handshakes in a short time"
    assert (summary["tls"], summary["out"]) == ("-", "0")


# -- the options

@pytest.mark.parametrize("option", ["maxConnectionsRate", "maxHandshakesRate"])
@pytest.mark.parametrize("value, good", [
    ("0", True), ("1/1", True), ("10000/86400", True), ("10001/60", False), ("1/86401", False),
    ("5", False), ("5/0", False), ("5/60s", False),
])
def test_rate_is_checked(tmp_path, pki, option, value, good):
    path = tmp_path / "rates.conf"
    path.write_text(section("smtp", accept="127.0.0.1:2525", connect="127.0.0.1:10025",
                            protocol="smtp", cert=pki.ecdsa.cert, key=pki.ecdsa.key,
                            **{option: value}))
    done = ehlock.run("--check", path)
    assert done.returncode == (0 if good else 78), done.stderr
    if not good:
        assert f"rates.conf:7: {option}: \"{value}\" is not N/SECONDS" in done.stdout + done.stderr
