# SPDX-License-Identifier: ISC
"""Rules about clients: at connecting, at SNI, at EHLO; and what --test-rule says of them."""

import ehlock
import proxy_header
import pytest
from backend import ScriptedBackend
from ehlock import section
from pki import NAME
from smtp_client import Client, context


def refused(client):
    """The whole of a connection on which nothing but a refusal is said."""
    said = client.read_to_end()
    assert client.end in ("fin", "close_notify"), client.end
    return said


# -- at connecting

@pytest.mark.parametrize("rule, said", [
    ("127.0.0.5 refuse", b"554 5.7.1 Access denied\r\n"),
    (r"/^addr:127\.0\.0\.5$/ refuse 550 5.7.25 No name", b"554 5.7.25 No name\r\n"),
    ("127.0.0.0/29 refuse 450 Later", b"421 4.7.1 proxy.example.org Later\r\n"),
])
def test_refused_address_is_told_so_in_place_of_a_greeting(wrap, backend, rule, said):
    proxy = wrap(backend, clientRule=["127.0.0.1 pass", rule],
                 globals_={"hostname": "proxy.example.org"})
    with Client(proxy.address, greet=False, source="127.0.0.5") as client:
        assert refused(client) == said
    summary = proxy.summary()
    assert summary["outcome"] == "refused"
    assert "refused by the rule at" in summary["reason"]
    assert not backend.sessions
    with Client(proxy.address) as client:
        client.ehlo()
        client.quit()


def test_first_match_wins_and_inline_rules_are_before_the_file(wrap, backend, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("# who is who\n127.0.0.5 pass\n\n127.0.0.0/8 refuse\n")
    proxy = wrap(backend, clientRule="127.0.0.6 requireTls", clientRules=rules)
    with Client(proxy.address, greet=False, source="127.0.0.7") as client:
        assert refused(client).startswith(b"554 ")
    assert f"{rules}:4" in proxy.summary()["reason"]
    with Client(proxy.address, source="127.0.0.5") as client:
        client.ehlo()
        client.send_message()
        client.quit()
    with Client(proxy.address, source="127.0.0.6") as client:
        client.ehlo()
        assert client.command("MAIL FROM:<a@example.org>").code == 530
        client.quit()


def test_refused_address_is_told_under_implicit_tls(wrap, pki, backend):
    proxy = wrap(backend, implicitTls="yes", clientRule="127.0.0.5 refuse 550 No")
    with Client.implicit(proxy.address, context(pki), greet=False, source="127.0.0.5") as client:
        assert refused(client) == b"554 5.7.1 No\r\n"
        assert client.end == "close_notify"


def test_address_is_the_one_that_a_balancer_announces(wrap, backend):
    proxy = wrap(backend, acceptProxy="127.0.0.1", clientRule="198.51.100.0/24 refuse")
    with Client(proxy.address, greet=False) as client:
        client.send(proxy_header.v1(("198.51.100.7", 4444)))
        assert refused(client).startswith(b"554 ")
    with Client(proxy.address, greet=False) as client:
        client.send(proxy_header.v1(("203.0.113.7", 4444)))
        assert client.read_reply().code == 220
        client.quit()


def test_service_without_protocol_just_closes(wrap, pki):
    with ScriptedBackend() as backend:
        proxy = wrap(backend, protocol=None, clientRule=f"/^sni:{NAME}$/ refuse")
        with Client.implicit(proxy.address, context(pki), greet=False) as client:
            assert refused(client) == b""
        assert "refused by the rule at" in proxy.summary()["reason"]


def test_require_tls_for_one_address(wrap, pki, backend):
    proxy = wrap(backend, clientRule="127.0.0.5 requireTls")
    with Client(proxy.address, source="127.0.0.5") as client:
        assert "STARTTLS" in client.ehlo()
        assert client.command("MAIL FROM:<a@example.org>").code == 530
        client.starttls(context(pki))
        client.ehlo()
        client.send_message()
        client.quit()
    with Client(proxy.address) as client:
        client.ehlo()
        client.send_message()
        client.quit()
    assert len(backend.messages) == 2


def test_no_starttls_hides_the_offer_and_not_the_need_for_it(wrap, backend):
    backend.keywords = ["AUTH PLAIN", "SIZE 1000"]
    proxy = wrap(backend, clientRule="127.0.0.5 noStartTls")
    with Client(proxy.address, source="127.0.0.5") as client:
        assert client.ehlo() == ["SIZE 1000"]
        assert client.command("STARTTLS").code == 502
        assert client.command("AUTH PLAIN AGEAYg==").code == 530
        client.quit()
    with Client(proxy.address) as client:
        assert client.ehlo() == ["STARTTLS", "SIZE 1000"]
        client.quit()


def test_auth_in_clear_for_one_network(wrap, backend):
    backend.keywords = ["AUTH PLAIN"]
    backend.replies["AUTH"] = b"235 2.7.0 ok\r\n"
    proxy = wrap(backend, clientRule="127.0.0.4/30 authInClear")
    with Client(proxy.address, source="127.0.0.5") as client:
        assert client.ehlo() == ["STARTTLS", "AUTH PLAIN"]
        assert client.command("AUTH PLAIN AGEAYg==").code == 235
        client.quit()
    with Client(proxy.address) as client:
        assert client.ehlo() == ["STARTTLS"]
        client.quit()


def test_rules_hide_and_add_keywords(wrap, backend):
    backend.keywords = ["SIZE 1000", "ETRN", "8BITMIME"]
    proxy = wrap(backend, addCapability=["X-ALL yes", "8bitmime"],
                 clientRule=["127.0.0.5 hide etrn SIZE", "127.0.0.6 add SIZE 5",
                             "127.0.0.7 hide X-ALL", "/^helo:two$/ add X-TWO"])
    seen = {}
    for source in ("127.0.0.5", "127.0.0.6", "127.0.0.7"):
        with Client(proxy.address, source=source) as client:
            seen[source] = client.ehlo()
            client.quit()
    assert seen["127.0.0.5"] == ["STARTTLS", "8BITMIME", "X-ALL yes"]
    assert seen["127.0.0.6"] == ["STARTTLS", "SIZE 1000", "ETRN", "8BITMIME", "X-ALL yes"]
    assert seen["127.0.0.7"] == ["STARTTLS", "SIZE 1000", "ETRN", "8BITMIME"]
    with Client(proxy.address, source="127.0.0.5") as client:
        assert client.ehlo("two") == ["STARTTLS", "8BITMIME", "X-ALL yes", "X-TWO"]
        assert client.ehlo("one") == ["STARTTLS", "8BITMIME", "X-ALL yes"]
        client.quit()


# -- at EHLO

def test_refused_name_is_550_and_never_reaches_the_backend(wrap, backend):
    proxy = wrap(backend, clientRule=r"/^helo:.*\.dyn\./ refuse 550 5.7.1 Use your own server")
    with Client(proxy.address) as client:
        client.send_line("EHLO host1.DYN.example.net  and more")
        assert refused(client) == b"550 Use your own server\r\n"
    assert not backend.ended().commands
    assert proxy.summary()["outcome"] == "refused"
    with Client(proxy.address) as client:
        client.ehlo("mx.example.net")
        assert client.command("HELO a.dyn.example.net").code == 550
        assert refused(client) == b""


def test_name_said_in_clear_counts_no_more_under_tls(wrap, pki, backend):
    backend.keywords = ["SIZE 1000"]
    proxy = wrap(backend, clientRule="/^helo:odd$/ add X-ODD")
    with Client(proxy.address) as client:
        assert client.ehlo("odd") == ["STARTTLS", "SIZE 1000", "X-ODD"]
        client.starttls(context(pki))
        assert client.ehlo("even") == ["SIZE 1000"]
        client.quit()


def test_endless_name_is_matched_to_its_end(wrap, backend):
    proxy = wrap(backend, clientRule=r"/^helo:a+\.bad$/ refuse")
    with Client(proxy.address) as client:
        assert client.command("EHLO " + "a" * 8000 + ".bad").code == 550
        assert refused(client) == b""


def test_pattern_at_its_limit_refuses_and_does_not_grant(wrap, backend):
    backend.keywords = ["AUTH PLAIN"]
    slow = r"/^helo:(a+)*(a+)*(a+)*[bc]d$/"
    name = "a" * 61 + "bxd"
    with Client(wrap(backend, clientRule=f"{slow} refuse").address) as client:
        assert client.command(f"EHLO {name}").code == 550
    with Client(wrap(backend, clientRule=f"{slow} authInClear").address) as client:
        assert client.ehlo(name) == ["STARTTLS"]
        client.quit()


# -- at SNI

def test_refused_sni_is_told_at_the_next_command(wrap, pki, backend):
    proxy = wrap(backend, clientRule=f"/^sni:{NAME}$/ refuse 550 Wrong door")
    with Client(proxy.address) as client:
        client.ehlo()
        client.starttls(context(pki))
        assert client.command("EHLO client.example.org").code == 550
        assert refused(client) == b"" and client.end == "close_notify"
    with Client(proxy.address) as client:
        client.ehlo()
        client.starttls(context(), server_hostname=None)
        client.ehlo()
        client.quit()


def test_refused_sni_is_told_in_place_of_a_greeting(wrap, pki, backend):
    proxy = wrap(backend, implicitTls="yes", clientRule="/^sni:$/ refuse")
    with Client.implicit(proxy.address, context(), server_hostname=None, greet=False) as client:
        assert refused(client) == b"554 5.7.1 Access denied\r\n"
    assert not backend.sessions
    with Client.implicit(proxy.address, context(pki)) as client:
        client.ehlo()
        client.quit()


# -- the log

def test_log_level_is_raised_for_one_client_and_lowered_after_it(wrap, backend):
    proxy = wrap(backend, clientRule="127.0.0.5 log debug", globals_={"debug": "notice"},
                 connectionsPerWorker=100, spareWorkers=1)
    for source in ("127.0.0.5", "127.0.0.6"):
        with Client(proxy.address, source=source) as client:
            client.ehlo("talkative.example.org")
            client.quit()
    proxy.summary(2)
    told = [line for line in proxy.lines if "helo=talkative.example.org" in line]
    assert len(told) == 1 and "client=127.0.0.5:" in told[0]
    assert not [line for line in proxy.lines if "client=127.0.0.6:" in line and "outcome" not in line]


# -- the file, and --test-rule

def config(tmp_path, pki, **more):
    path = tmp_path / "rules.conf"
    path.write_text(section("smtp", **{
        "accept": "127.0.0.1:2525", "connect": "127.0.0.1:10025", "protocol": "smtp",
        "cert": pki.ecdsa.cert, "key": pki.ecdsa.key, **more}))
    return path


def test_bad_rules_are_errors_with_file_and_line(tmp_path, pki):
    rules = tmp_path / "rules"
    rules.write_text("/a/ pass\n/(/ refuse\n\n1.2.3.4/8 refuse\n/a/ shout\n")
    done = ehlock.run("--check", config(tmp_path, pki, clientRules=rules, clientRule="/a pass"))
    assert done.returncode == 78
    said = done.stdout + done.stderr
    for place in (f"{rules}:2: ", f"{rules}:4: ", f"{rules}:5: ", "rules.conf:8: clientRule: "):
        assert place in said, said


@pytest.mark.parametrize("more, words", [
    ({"tlsLevel": "none", "clientRule": "/a/ requireTls"}, "requireTls cannot be with"),
    ({"tlsLevel": "encrypt", "clientRule": "/a/ noStartTls"}, "noStartTls cannot be with"),
    ({"protocol": None, "clientRule": "/a/ hide X"}, "hide means nothing without protocol"),
    ({"addCapability": "STARTTLS"}, "addCapability: "),
    ({"clientRules": "/nonexistent/rules"}, "cannot read /nonexistent/rules"),
])
def test_rule_that_makes_no_sense_is_an_error(tmp_path, pki, more, words):
    done = ehlock.run("--check", config(tmp_path, pki, **more))
    assert done.returncode == 78
    assert words in done.stdout + done.stderr


@pytest.mark.parametrize("key, status, words", [
    ("addr:192.0.2.9", 0, ["rules.conf:7: 192.0.2.0/24 requireTls", "must begin TLS"]),
    ("addr:192.0.3.9", 1, ["no rule of [smtp] matches addr:192.0.3.9"]),
    ("sni:", 0, ["rules.conf:8: ", "told 450 4.7.1 Later"]),
    ("helo:a.dyn.example", 0, ["rules:2: ", "told 550 5.7.1 Access denied"]),
    ("helo:ok.dyn.example", 0, ["rules:1: ", "nothing changes"]),
    ("192.0.2.9", 64, ["a key is written"]),
])
def test_test_rule_says_which_line_matches(tmp_path, pki, key, status, words):
    rules = tmp_path / "rules"
    rules.write_text(r"/^helo:ok\./ pass" "\n" r"/^helo:.*\.dyn\./ refuse" "\n")
    path = config(tmp_path, pki, clientRule=["192.0.2.0/24 requireTls", "/^sni:$/ refuse 450 Later"],
                  clientRules=rules)
    done = ehlock.run("--test-rule", path, "SMTP", key)
    assert done.returncode == status, done.stderr
    for word in words:
        assert word in done.stdout + done.stderr


def test_test_rule_needs_a_service_and_a_key(tmp_path, pki):
    path = config(tmp_path, pki)
    assert ehlock.run("--test-rule", path, "pop3", "sni:x").returncode == 64
    assert ehlock.run("--test-rule", path, "smtp").returncode == 64
    assert ehlock.run("--check", path, "smtp", "sni:x").returncode == 64
