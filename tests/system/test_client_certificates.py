# SPDX-License-Identifier: ISC
"""Certificates of clients: who is served, and who may relay."""

import ssl

import ehlock
import net
import proxy_header
import pytest
from ehlock import Ehlock, global_part, section
from pki import openssl
from proxy_header import HeaderBackend
from smtp_client import Client, Closed, context
from xclient import attributes, xclient_backend

NAME = "alice.example.org"


@pytest.fixture(scope="session")
def leaves(pki):
    return {
        "good": pki.issue("client-good", [NAME, "spare.example.org"], email="alice@example.org",
                          address="192.0.2.7"),
        "common-name": pki.issue("client-cn", ["only.example.org"], alternatives=False),
        "chained": pki.issue("client-chained", [NAME], chained=True),
        "other": pki.issue("client-other", ["bob.example.org"]),
        "expired": pki.issue("client-expired", [NAME], expired=True),
        "foreign": pki.issue("client-foreign", [NAME], foreign=True),
        "server-only": pki.issue("client-server", [NAME], usage="serverAuth"),
        "self-signed": pki.self_signed("client-self", NAME),
        "none": None,
    }


WORDS = {"good": "ok", "chained": "ok", "common-name": "ok", "other": "ok", "expired": "expired",
         "foreign": "unknown-issuer", "server-only": "wrong-purpose", "self-signed": "self-signed",
         "none": "no-certificate"}
BAD = [name for name, word in WORDS.items() if word != "ok"]
GOOD = [name for name, word in WORDS.items() if word == "ok"]


def require(pki, **more):
    return {"verifyClient": "require", "CAfile": pki.ca, "tlsLevel": "encrypt", **more}


def deliver(client):
    client.ehlo()
    client.send_message()
    client.quit()


# ---- require


@pytest.mark.parametrize("implicit", ["no", "yes"])
@pytest.mark.parametrize("name", GOOD)
def test_good_certificate_is_served(name, implicit, backend, wrap, pki, leaves):
    proxy = wrap(backend, implicitTls=implicit, **require(pki))
    begin = Client.implicit if implicit == "yes" else Client.secured
    with begin(proxy.address, context(pki, leaf=leaves[name])) as client:
        deliver(client)
    summary = proxy.summary()
    assert (summary["certificate"], summary["verified"], summary["outcome"]) == ("ok", "no", "done")
    assert len(backend.messages) == 1


@pytest.mark.parametrize("maximum", [None, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("name", BAD)
def test_other_is_refused_everything_but_quit(name, maximum, backend, wrap, pki, leaves):
    """RFC 3207, section 4.1. Nothing that it says under TLS reaches the backend."""
    proxy = wrap(backend, **require(pki))
    top = {"maximum": maximum} if maximum else {}
    with Client(proxy.address) as client:
        client.ehlo()
        client.starttls(context(pki, leaf=leaves[name], **top))
        for line in ("EHLO again.example.org", "HELO x", "NOOP", "RSET", "HELP", "STARTTLS",
                     "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "BDAT 0 LAST", "AUTH PLAIN AAAA",
                     "XCLIENT ADDR=192.0.2.1", "FOO", "VRFY x"):
            reply = client.command(line)
            assert (reply.code, "Command refused" in reply.text) == (554, True), line
        assert client.command("QUIT").code == 221
        assert client.read_to_end() == b""
    summary = proxy.summary()
    assert (summary["certificate"], summary["verified"]) == (WORDS[name], "no")
    assert summary["outcome"] == "refused" and summary["reason"].startswith("client certificate: ")
    assert backend.ended().commands == [b"EHLO client.example.org", b"RSET", b"QUIT"]


@pytest.mark.parametrize("name", ["none", "foreign"])
def test_refused_from_the_first_byte(name, backend, wrap, pki, leaves):
    proxy = wrap(backend, implicitTls="yes", **require(pki))
    with Client.implicit(proxy.address, context(pki, leaf=leaves[name])) as client:
        assert client.command("EHLO x").code == 554
        assert client.command("QUIT").code == 221
    assert backend.ended().commands == [b"QUIT"]


def test_refused_client_that_goes_on_is_sent_away(backend, wrap, pki):
    proxy = wrap(backend, maxUselessCommands=5, **require(pki))
    with Client(proxy.address) as client:
        client.ehlo()
        client.starttls(context(pki))
        assert [client.command("NOOP").code for _ in range(5)] == [554] * 5
        assert client.command("NOOP").code in (554, 421)


def test_refused_client_gets_no_new_connection(backend, wrap, pki):
    proxy = wrap(backend, reconnect="yes", **require(pki))
    with Client(proxy.address) as client:
        client.ehlo()
        client.starttls(context(pki))
        assert client.command("EHLO x").code == 554
        client.command("QUIT")
    assert proxy.summary()["outcome"] == "refused" and len(backend.sessions) == 1


@pytest.mark.parametrize("name", BAD)
def test_without_protocol_no_byte_reaches_the_backend(name, backend, wrap, pki, leaves):
    proxy = wrap(backend, protocol=None, verifyClient="require", CAfile=pki.ca)
    with Client.implicit(proxy.address, context(pki, leaf=leaves[name]), greet=False) as client:
        try:
            client.send(b"EHLO x\r\n")
            assert client.read_to_end() == b""
        except (Closed, OSError):
            pass
    assert proxy.summary()["outcome"] == "refused"
    assert not backend.sessions


def test_without_protocol_a_good_one_is_served(backend, wrap, pki, leaves):
    proxy = wrap(backend, protocol=None, verifyClient="require", CAfile=pki.ca)
    with Client.implicit(proxy.address, context(pki, leaf=leaves["good"])) as client:
        deliver(client)
    assert len(backend.messages) == 1


def test_authorities_are_named_to_the_client(backend, wrap, pki):
    proxy = wrap(backend, implicitTls="yes", **require(pki))
    said = openssl("s_client", "-connect", net.text_of(proxy.address), "-tls1_2", "-ign_eof",
                   stdin=b"QUIT\r\n").decode()
    assert "Acceptable client certificate CA names" in said and "Test Authority" in said


# ---- what is demanded


@pytest.mark.parametrize("options,served", [
    ({"checkHost": [NAME]}, True),
    ({"checkHost": ["carol.example.org", NAME]}, True),
    ({"checkHost": ["carol.example.org"]}, False),
    ({"checkEmail": ["alice@example.org"]}, True),
    ({"checkEmail": ["bob@example.org"]}, False),
    ({"checkIP": ["192.0.2.7"]}, True),
    ({"checkIP": ["192.0.2.8"]}, False),
    ({"checkIP": ["192.0.2.8"], "checkHost": [NAME]}, True),
])
def test_names(options, served, backend, wrap, pki, leaves):
    proxy = wrap(backend, implicitTls="yes", **require(pki, **options))
    with Client.implicit(proxy.address, context(pki, leaf=leaves["good"])) as client:
        assert client.command("EHLO x").code == (250 if served else 554)
        client.command("QUIT")


@pytest.mark.parametrize("kind", ["sha256", "spki-sha256"])
@pytest.mark.parametrize("name,served", [("self-signed", True), ("good", False), ("none", False)])
def test_pins(name, served, kind, backend, wrap, pki, leaves):
    """A pinned certificate needs no authority."""
    digest = pki.digest(leaves["self-signed"], kind.startswith("spki"))
    other = pki.digest(leaves["other"], kind.startswith("spki"))
    proxy = wrap(backend, implicitTls="yes", **require(
        pki, CAfile=None, verifyPeer=[f"{kind}:{other}", f"{kind}:{digest}"]))
    with Client.implicit(proxy.address, context(pki, leaf=leaves[name])) as client:
        assert client.command("EHLO x").code == (250 if served else 554)
        client.command("QUIT")


def test_pin_and_authority_are_both_needed(backend, wrap, pki, leaves):
    pins = [f"sha256:{pki.digest(leaves[name])}" for name in ("good", "foreign")]
    proxy = wrap(backend, implicitTls="yes", **require(pki, verifyPeer=pins))
    for name, code in (("good", 250), ("foreign", 554), ("other", 554)):
        with Client.implicit(proxy.address, context(pki, leaf=leaves[name])) as client:
            assert client.command("EHLO x").code == code, name
            client.command("QUIT")


def test_authorities_in_a_directory(backend, wrap, pki, leaves, tmp_path):
    directory = tmp_path / "authorities"
    directory.mkdir()
    (directory / "one.pem").write_bytes(pki.ca.read_bytes())
    proxy = wrap(backend, implicitTls="yes", **require(pki, CAfile=None, CApath=directory))
    for name, code in (("good", 250), ("foreign", 554)):
        with Client.implicit(proxy.address, context(pki, leaf=leaves[name])) as client:
            assert client.command("EHLO x").code == code
            client.command("QUIT")


def test_revoked(backend, wrap, pki, leaves):
    revoked = pki.issue("client-revoked", [NAME])
    proxy = wrap(backend, implicitTls="yes",
                 **require(pki, CRLfile=pki.crl("client", revoked)))
    for leaf, code, word in ((revoked, 554, "revoked"), (leaves["good"], 250, "ok")):
        with Client.implicit(proxy.address, context(pki, leaf=leaf)) as client:
            assert client.command("EHLO x").code == code
            client.command("QUIT")
    assert {s["certificate"] for s in (proxy.summary(1), proxy.summary(2))} == {"revoked", "ok"}


def test_new_revocation_list_is_noticed(backend, wrap, pki, tmp_path):
    leaf = pki.issue("client-late", [NAME])
    lists = tmp_path / "list.crl"
    lists.write_bytes(pki.crl("before").read_bytes())
    proxy = wrap(backend, implicitTls="yes", connectionsPerWorker=1,
                 **require(pki, CRLfile=lists))

    def code():
        with Client.implicit(proxy.address, context(pki, leaf=leaf)) as client:
            answer = client.command("EHLO x").code
            client.command("QUIT")
            return answer
    assert code() == 250
    new = tmp_path / "new.crl"
    new.write_bytes(pki.crl("after", leaf).read_bytes())
    new.rename(lists)
    net.wait_until(lambda: code() == 554, "the revoked certificate is refused")


@pytest.mark.parametrize("how", ["same", "other-service"])
def test_ticket_does_not_get_round_the_question(how, backend, pki, leaves, tmp_path):
    asks, asks_not = (("127.0.0.1", net.free_port()) for _ in range(2))
    common = {"connect": net.text_of(backend.address), "protocol": "smtp", "cert": pki.ecdsa.cert,
              "key": pki.ecdsa.key, "implicitTls": "yes"}
    text = (global_part() + section("asks", accept=net.text_of(asks), **common, **require(pki))
            + section("not", accept=net.text_of(asks_not), **common))
    with Ehlock(tmp_path, text) as proxy:
        ctx = context(pki, leaf=leaves["good"] if how == "same" else None)
        with Client.implicit(asks if how == "same" else asks_not, ctx) as client:
            client.ehlo()
            client.quit()
            session = client.tls.session
        proxy.summary(1)
        with Client.implicit(asks, ctx, session=session) as client:
            assert client.command("EHLO x").code == (250 if how == "same" else 554)
            client.command("QUIT")
        second = proxy.summary(2)
        assert second["resumed"] == ("yes" if how == "same" else "no")
        assert second["certificate"] == ("ok" if how == "same" else "no-certificate")


# ---- ask


@pytest.mark.parametrize("name", WORDS)
def test_ask_serves_all(name, backend, wrap, pki, leaves):
    proxy = wrap(backend, verifyClient="ask", CAfile=pki.ca, globals_={"debug": "info"})
    with Client.secured(proxy.address, context(pki, leaf=leaves[name])) as client:
        client.send_message()
        client.quit()
    assert len(backend.messages) == 1
    summary = proxy.summary()
    assert (summary["certificate"], summary["verified"], summary["outcome"]) == (WORDS[name], "no", "done")
    if name not in GOOD + ["none"]:
        proxy.wait_log("client certificate: .*")


def test_clear_session_is_not_judged(backend, wrap, pki):
    proxy = wrap(backend, verifyClient="ask", CAfile=pki.ca)
    with Client(proxy.address) as client:
        deliver(client)
    assert "certificate" not in proxy.summary()


def test_nobody_is_asked_by_default(backend, wrap, pki, leaves):
    proxy = wrap(backend, CAfile=pki.ca)
    with Client.secured(proxy.address, context(pki, leaf=leaves["expired"])) as client:
        client.quit()
    assert "certificate" not in proxy.summary() and "verified" not in proxy.summary()


# ---- relayAs


def rules(pki, leaves, **more):
    return {"verifyClient": "ask", "CAfile": pki.ca, "relayAs": [
        f"/^sha256:{pki.digest(leaves['chained'])}$/ by-digest",
        "/^name:alice\\.example\\.org$/ alice"], **more}


@pytest.mark.parametrize("name,login", [("good", "alice"), ("chained", "by-digest"), ("other", None),
                                        ("expired", None), ("foreign", None), ("self-signed", None),
                                        ("none", None)])
@pytest.mark.parametrize("implicit", ["yes", "no"])
def test_xclient_login(implicit, name, login, wrap, pki, leaves):
    with xclient_backend() as backend:
        proxy = wrap(backend, identity="xclient", implicitTls=implicit, trace="yes",
                     **rules(pki, leaves, reconnect="yes" if implicit == "no" else "no"))
        begin = Client.implicit if implicit == "yes" else Client.secured
        with begin(proxy.address, context(pki, leaf=leaves[name])) as client:
            deliver(client)
        last = backend.ended(0 if implicit == "yes" else 1)
        assert attributes(last.commands[1]).get("LOGIN") == login
        if implicit == "no":
            assert "LOGIN" not in attributes(backend.ended(0).commands[1])
        assert (b"verified=" + (login or "").encode() in last.messages[0].body) == bool(login)
        assert proxy.summary()["verified"] == (login or "no")


def test_backend_without_login_is_not_given_the_client_as_nobody(wrap, pki, leaves):
    with xclient_backend("XCLIENT ADDR PORT") as backend:
        proxy = wrap(backend, identity="xclient", implicitTls="yes", **rules(pki, leaves))
        with Client.implicit(proxy.address, context(pki, leaf=leaves["good"])) as client:
            assert client.greeting.code == 421
        proxy.wait_log("LOGIN, which relayAs needs")
        with Client.implicit(proxy.address, context(pki, leaf=leaves["other"])) as client:
            deliver(client)


@pytest.mark.parametrize("name,login", [("good", "alice"), ("other", None), ("expired", None), ("none", None)])
def test_proxy2_name(name, login, wrap, pki, leaves):
    with HeaderBackend(2) as backend:
        proxy = wrap(backend, identity="proxy2", reconnect="yes", **rules(pki, leaves))
        with Client.secured(proxy.address, context(pki, leaf=leaves[name])) as client:
            client.send_message()
            client.quit()
        bits, verify, inner = backend.header(1).ssl
    assert inner.get(proxy_header.SSL_CN) == (login and login.encode())
    assert (bits, verify) == ((7, 0) if login else (1, 1))


@pytest.mark.parametrize("rule,finds", [
    ("/^subject:CN=alice\\.example\\.org$/", True),
    ("/^issuer:CN=Test Authority$/", True),
    ("/^spki-sha256:@SPKI@$/", True),
    ("/^name:ALICE\\.example\\.org$/", True),
    ("/^name:alice@example\\.org$/", True),    # not the first alternative name
    ("/^name:192\\.0\\.2\\.7$/", True),
    ("/^name:spare/", True),
    ("/^name:ALICE\\./i", False),          # i turns "in any case" off, as in Postfix
    ("/^name:bob/", False),
    ("/^sha256:@SPKI@$/", False),
])
def test_what_a_rule_sees(rule, finds, wrap, pki, leaves):
    with xclient_backend() as backend:
        rule = rule.replace("@SPKI@", pki.digest(leaves["good"], True))
        proxy = wrap(backend, identity="xclient", implicitTls="yes", verifyClient="ask",
                     CAfile=pki.ca, relayAs=f"{rule} somebody+1@x")
        with Client.implicit(proxy.address, context(pki, leaf=leaves["good"])) as client:
            client.quit()
        login = attributes(backend.ended().commands[1]).get("LOGIN")
        assert login == ("somebody+2B1@x" if finds else None)     # xtext


@pytest.mark.parametrize("name,verify,relay", [
    ("good", "SUCCESS", True), ("other", "SUCCESS", False), ("expired", "FAILED:expired", False),
    ("none", "NONE", False)])
def test_program(name, verify, relay, wrap, pki, leaves):
    """RELAYCLIENT is there and empty, or not there: qmail-smtpd asks for nothing else."""
    proxy = wrap("unused", connect=None, exec="/usr/bin/env", protocol=None, **rules(pki, leaves))
    with Client.implicit(proxy.address, context(pki, leaf=leaves[name]), greet=False) as client:
        env = dict(line.split("=", 1) for line in client.read_to_end().decode().splitlines())
    assert env["SSL_CLIENT_VERIFY"] == verify
    assert env.get("RELAYCLIENT") == ("" if relay else None)
    good = verify == "SUCCESS"
    assert env.get("SSL_CLIENT_S_DN") == (f"CN={leaves[name].names[0]}" if good else None)
    assert env.get("SSL_CLIENT_I_DN") == ("CN=Test Authority" if good else None)


def test_common_name_counts_where_there_is_no_other(wrap, pki, leaves):
    with xclient_backend() as backend:
        proxy = wrap(backend, identity="xclient", implicitTls="yes", verifyClient="ask", CAfile=pki.ca,
                     relayAs="/^name:only\\.example\\.org$/ only")
        with Client.implicit(proxy.address, context(pki, leaf=leaves["common-name"])) as client:
            client.quit()
        assert attributes(backend.ended().commands[1])["LOGIN"] == "only"


# ---- rules about certificates

ALLOWED = ["/^name:spare\\.example\\.org$/ pass", "/^sha256:/ refuse 550 5.7.1 Not on the list"]


@pytest.mark.parametrize("name,served", [("good", True), ("other", False),
                                         ("expired", True), ("none", True)])     # as `ask` says
@pytest.mark.parametrize("reconnect", ["no", "yes"])
def test_only_listed_certificates_are_served(reconnect, name, served, backend, wrap, pki, leaves):
    proxy = wrap(backend, verifyClient="ask", CAfile=pki.ca, reconnect=reconnect, clientRule=ALLOWED)
    with Client(proxy.address) as client:
        client.ehlo()
        client.starttls(context(pki, leaf=leaves[name]))
        reply = client.command("EHLO again.example.org")
        if served:
            client.send_message()
            client.quit()
        else:
            assert reply.raw == b"550 Not on the list\r\n"
            assert client.read_to_end() == b""
    assert len(backend.messages) == served
    assert b"EHLO again.example.org" in backend.commands or not served
    summary = proxy.summary()
    assert summary["outcome"] == ("done" if served else "refused")
    assert ("refused by the rule at" in summary.get("reason", "")) == (not served)


def test_certificate_is_refused_in_place_of_a_greeting(backend, wrap, pki, leaves):
    proxy = wrap(backend, verifyClient="require", CAfile=pki.ca, implicitTls="yes",
                 clientRule="/^issuer:CN=Test Authority$/ refuse No more")
    with Client.implicit(proxy.address, context(pki, leaf=leaves["good"])) as client:
        assert client.greeting.raw == b"554 5.7.1 No more\r\n"
        assert client.read_to_end() == b""
    with Client.implicit(proxy.address, context(pki, leaf=leaves["chained"])) as client:
        deliver(client)     # another issuer
    assert len(backend.sessions) == 1


def test_certificate_is_refused_without_a_protocol(backend, wrap, pki, leaves):
    proxy = wrap(backend, protocol=None, verifyClient="require", CAfile=pki.ca, implicitTls="yes",
                 clientRule="/^name:bob/ refuse")
    with Client.implicit(proxy.address, context(pki, leaf=leaves["other"]), greet=False) as client:
        assert client.read_to_end() == b""
    assert proxy.summary()["outcome"] == "refused" and not backend.sessions


def test_rule_about_a_certificate_survives_the_next_hello(backend, wrap, pki, leaves):
    proxy = wrap(backend, verifyClient="ask", CAfile=pki.ca,
                 clientRule=["/^name:alice/ hide SIZE", "/^helo:/ hide DSN"])
    with Client.secured(proxy.address, context(pki, leaf=leaves["good"])) as client:
        for _ in range(2):
            told = client.ehlo()
            assert "8BITMIME" in told and not [k for k in told if k.startswith(("SIZE", "DSN"))]
        client.quit()


@pytest.mark.parametrize("key,status,words", [
    ("name:spare.example.org", 0, ["c.conf:8: /^name:spare", "nothing changes"]),
    ("sha256:00", 0, ["c.conf:9: ", "told 550 5.7.1 No after the handshake, 554 with implicitTls"]),
    ("spki-sha256:00", 1, ["no rule of [smtp] matches spki-sha256:00"]),
    ("subject:CN=alice", 0, ["c.conf:10: relayAs = /^subject:CN=alice$/ alice", "known to the backend as alice"]),
    ("subject:CN=al?ce", 1, ["no rule"]),
    ("certificate:x", 64, ["spki-sha256:HEX"]),
])
def test_test_rule(key, status, words, tmp_path, pki):
    path = tmp_path / "c.conf"
    path.write_text(section("smtp", accept="127.0.0.1:2525", connect="127.0.0.1:10025", cert=pki.combined.cert,
                            protocol="smtp", verifyClient="ask", CAfile=pki.ca,
                            clientRule=["/^name:spare/ pass", "/^sha256:/ refuse 550 No"],
                            relayAs=["/^subject:CN=alice$/ alice", "/^subject:CN=al.ce$/ somebody"],
                            identity="xclient", reconnect="yes"))
    done = ehlock.run("--test-rule", path, "smtp", key)
    assert done.returncode == status, done.stderr
    for word in words:
        assert word in done.stdout + done.stderr
