# SPDX-License-Identifier: ISC
"""protocol = pop3 (RFC 1939, 2449, 2595, 5034): STLS, what is edited and refused, and the pump behind
the login; and the other side, where the server is asked for TLS."""

import ssl
import threading
import time

import ehlock
import net
import pytest
from backend import ScriptedBackend
from ehlock import Ehlock, global_part, section
from net import text_of
from pki import NAME
from pop3 import CAPABILITIES, PASSWORD, TIMESTAMP, USER, Closed, PopClient, PopServer
from smtp_client import context
from starters import Single

DOWN = "-ERR [SYS/TEMP] "
MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..\r\nbytes \x00\xff\r\nbare \r and \n\r\n.\r\n"


def only_tls(line):
    return line not in ("USER", "SASL PLAIN")


# -- offering TLS

def test_message_is_fetched_after_stls(wrap, pki):
    with PopServer([MESSAGE]) as server:
        proxy = wrap(server, protocol="pop3")
        with PopClient(proxy.address) as client:
            assert client.greeting == "+OK backend ready"
            assert client.capa() == ["STLS", *filter(only_tls, CAPABILITIES)]
            client.stls(context(pki, alpn=["pop3"]))
            assert client.capa() == CAPABILITIES
            client.login()
            assert client.retr(1) == MESSAGE
            client.quit()
            assert client.read_to_end() == b"" and client.end == "close_notify"
        assert server.ended().commands == [b"CAPA", b"CAPA", b"USER joe", b"PASS correct horse",
                                           b"RETR 1", b"QUIT"]
        summary = proxy.summary()
        assert summary["outcome"] == "done" and summary["step"] == "passing bytes"
        assert summary["tls"] == "TLS1.3" and summary["alpn"] == "pop3"
        assert PASSWORD not in proxy.log


def test_message_is_fetched_of_a_program_that_inetd_starts(tmp_path, pki):
    with PopServer([MESSAGE]) as server:
        path = tmp_path / "c.conf"
        path.write_text(global_part() + section("pop3", connect=text_of(server.address), protocol="pop3",
                                                cert=pki.ecdsa.cert, key=pki.ecdsa.key))
        single = Single(path)
        with PopClient.over(single.sock) as client:
            assert "STLS" in client.capa()
            client.stls(context(pki))
            client.login()
            assert client.retr(1) == MESSAGE
            client.quit()
        assert single.wait()[0] == 0


@pytest.mark.parametrize("word", ["yes", "auto"])
def test_tls_from_the_first_byte(wrap, pki, word):
    with PopServer([MESSAGE]) as server:
        proxy = wrap(server, protocol="pop3", implicitTls=word)
        with PopClient.implicit(proxy.address, context(pki)) as client:
            assert client.greeting.encode().endswith(TIMESTAMP)
            assert client.capa() == CAPABILITIES
            assert client.command("APOP joe c4c9334bac560ecc979e58001b3e22fb").startswith("+OK")
            assert client.retr(1) == MESSAGE
            client.quit()


def test_foreign_alpn_is_refused(wrap, pki):
    with PopServer() as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            with pytest.raises((ssl.SSLError, Closed)):
                client.stls(context(pki, alpn=["imap"]))


@pytest.mark.parametrize("command", ["USER joe", "PASS correct horse", "APOP joe c4c9", "AUTH PLAIN"])
@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_no_password_is_taken_in_clear(wrap, level, command):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3", tlsLevel=level)
        with PopClient(proxy.address) as client:
            assert client.command(command) == "-ERR Must issue a STLS command first"
            client.quit()
        assert server.ended().commands == [b"QUIT"]
        assert PASSWORD not in proxy.log


@pytest.mark.parametrize("options", [{"tlsLevel": "none", "cert": None, "key": None},
                                     {"authBeforeTls": "yes"}])
def test_login_in_clear_where_it_is_permitted(wrap, options):
    with PopServer([MESSAGE]) as server:
        with PopClient(wrap(server, protocol="pop3", **options).address) as client:
            assert client.greeting.encode().endswith(TIMESTAMP)
            assert [c for c in client.capa() if c != "STLS"] == CAPABILITIES
            client.login()
            assert client.retr(1) == MESSAGE
            client.quit()


def test_capabilities_are_written_for_a_server_without_them(wrap, pki):
    with PopServer([MESSAGE], capabilities=None) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            assert client.capa() == ["STLS"]
            client.stls(context(pki))
            assert client.capa() == ["USER"]
            client.login()
            assert client.retr(1) == MESSAGE


def test_the_administrator_edits_the_list(wrap, pki):
    with PopServer(capabilities=[*CAPABILITIES, "IMPLEMENTATION Old 1.0"]) as server:
        proxy = wrap(server, protocol="pop3", hideCapability="/^IMPLEMENTATION/",
                     addCapability="EXPIRE NEVER", clientRule="/./ hide UIDL")
        with PopClient(proxy.address) as client:
            client.stls(context(pki))
            assert client.capa() == [c for c in CAPABILITIES if c != "UIDL"] + ["EXPIRE NEVER"]


def test_refused_client_hears_why(wrap):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3", clientRule=["127.0.0.1 refuse 550 Not from here"])
        with PopClient(proxy.address) as client:
            assert client.greeting == "-ERR [SYS/PERM] Not from here"
            assert client.read_to_end() == b""
        assert server.sessions == []


def test_too_many_clients_hear_that_they_may_come_back(wrap):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3", maxConnections=1, spareWorkers=1)
        with PopClient(proxy.address), PopClient(proxy.address) as second:
            assert second.greeting.startswith(DOWN)


def test_without_a_good_certificate_nothing_but_quit(wrap, pki):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3", tlsLevel="encrypt", verifyClient="require",
                     CAfile=pki.ca)
        with PopClient(proxy.address) as client:
            client.stls(context(pki))
            assert client.command("CAPA").startswith("-ERR ")
            assert client.command("USER joe").startswith("-ERR ")
            client.quit()
        assert server.ended().commands == [b"QUIT"]
        assert proxy.summary()["outcome"] == "refused"


# -- nothing said in clear counts

INJECTED = [b"USER mallory\r\n", b"CAPA\r\n", b"QUIT\r\n", b"\r\n", b"U", b"\x16"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("injected", INJECTED)
def test_bytes_behind_stls_break_the_handshake_and_reach_nobody(wrap, pki, injected, together):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3")
        with PopClient(proxy.address) as client:
            client.capa()
            for part in [b"STLS\r\n" + injected] if together else [b"STLS\r\n", injected]:
                client.send(part)
            assert client.read_reply().startswith("+OK")
            if client.buffer:
                rest = client.read_to_end()
                assert rest.startswith(b"\x15\x03") and len(rest) == 7, rest
            else:
                with pytest.raises((ssl.SSLError, Closed)):
                    client.handshake(context(pki))
        assert server.ended().commands == [b"CAPA"]
        assert proxy.summary()["outcome"] != "done"


def test_user_in_clear_is_forgotten_with_the_connection(wrap, pki):
    with PopServer([MESSAGE]) as server:
        with PopClient(wrap(server, protocol="pop3", authBeforeTls="yes").address) as client:
            assert client.command(f"USER {USER}").startswith("+OK")
            client.stls(context(pki))
            assert client.command(f"PASS {PASSWORD}").startswith("-ERR")
            client.login()
            assert client.retr(1) == MESSAGE
        assert server.ended(0).commands == [b"USER joe", b"QUIT"]


def test_answer_behind_user_is_not_the_welcome(wrap, pki):
    """A second answer to USER must not pass for that to PASS, or nobody would be logged in."""
    with PopServer(replies={"USER": b"+OK\r\n+OK injected\r\n"}) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            client.stls(context(pki))
            client.command("USER joe")
            client.send_line("PASS wrong")
            rest = client.read_to_end()
            assert rest.startswith(b"-ERR [SYS/TEMP]") and b"injected" not in rest


def test_xclient_is_not_shown_and_not_taken(wrap, pki):
    greeting = b"+OK [XCLIENT] Dovecot ready.\r\n"
    with PopServer(greeting=greeting, capabilities=["XCLIENT", "TOP"]) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            assert client.greeting == "+OK Dovecot ready."
            assert client.capa() == ["STLS", "TOP"]
            assert client.command("XCLIENT ADDR=192.0.2.7") == "-ERR Not permitted"
            client.stls(context(pki))
            assert client.command("xclient ADDR=192.0.2.7") == "-ERR Not permitted"
        assert server.ended().commands == [b"CAPA"]


# -- the pump

def test_commands_sent_ahead_of_the_login_are_the_pumps(wrap, pki):
    with PopServer([MESSAGE, b"second\r\n"]) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            client.stls(context(pki))
            client.send(f"USER {USER}\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 2\r\nQUIT\r\n".encode())
            assert client.read_to_end() == (b"+OK\r\n+OK welcome\r\n+OK 2 %d\r\n+OK\r\nsecond\r\n.\r\n"
                                            b"+OK bye\r\n" % (len(MESSAGE) + 8))
            assert client.end == "close_notify"


def test_backend_that_talks_on_behind_its_welcome_is_heard(wrap, pki):
    with PopServer(replies={"PASS": b"+OK welcome\r\nmore"}) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            client.stls(context(pki))
            client.send(b"USER a\r\nPASS b\r\nX\r\n")
            server.session()
            while b"what?" not in client.buffer:
                client.buffer += client.receive()
            assert client.buffer == b"+OK\r\n+OK welcome\r\nmore-ERR what?\r\n"


def test_large_mailbox(wrap, pki):
    size = 300_000 if ehlock.sanitized() else 3_000_000
    messages = [bytes([65 + n]) * 70 + b"\r\n" for n in range(8)]
    messages = [m * (size // len(m)) for m in messages]
    with PopServer(messages) as server:
        proxy = wrap(server, protocol="pop3")
        with PopClient(proxy.address) as client:
            client.stls(context(pki))
            client.login()
            for number, message in enumerate(messages, 1):
                assert client.retr(number) == message
            client.quit()
        assert int(proxy.summary()["out"]) > sum(map(len, messages))


def test_client_that_closes_without_notice_is_told_apart(wrap, pki):
    with PopServer([MESSAGE]) as server:
        proxy = wrap(server, protocol="pop3")
        with PopClient(proxy.address) as client:
            client.stls(context(pki))
            client.login()
        assert "close_notify" in proxy.summary()["reason"]
        assert server.ended().end == "fin"


# -- limits

def test_command_line_at_the_limit_and_over(wrap, pki):
    with PopServer() as server:
        with PopClient(wrap(server, protocol="pop3", maxCommandLength=512).address) as client:
            client.stls(context(pki))
            assert client.command("USER " + "x" * 505) == "+OK"
            assert client.command("USER " + "x" * 506) == "-ERR Line too long"
            assert client.command("USER x") == "+OK"


def test_list_at_the_limit_and_over(wrap):
    def capa(size):
        return b"+OK\r\n" + b"x" * (size - 10) + b"\r\n.\r\n"

    answers = {"at": capa(600), "over": capa(601)}
    assert len(answers["at"]) == 600
    for name, answer in answers.items():
        with PopServer(replies={"CAPA": answer}) as server:
            proxy = wrap(server, protocol="pop3", maxReplySize=600)
            with PopClient(proxy.address) as client:
                if name == "at":
                    assert client.capa()[1] == "x" * 590
                    continue
                assert client.command("CAPA").startswith(DOWN)
                assert client.read_to_end() == b"" and client.end == "fin"
            assert "too long" in proxy.summary()["reason"]


def test_passwords_are_not_tried_for_ever(wrap, pki):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3", maxUselessCommands=4)
        with PopClient(proxy.address) as client:
            client.stls(context(pki))
            for _ in range(4):
                assert client.command("PASS x") == "-ERR [AUTH] no"
            assert client.command("PASS x") == "-ERR [AUTH] no"
            assert client.read_to_end().startswith(b"-ERR [SYS/TEMP] ")
        assert proxy.summary()["outcome"] == "refused"
        assert server.ended().commands == [b"PASS x"] * 5


def test_handshakes_at_the_limit_and_one_over(wrap, pki):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3", maxHandshakesRate="1/60")
        with PopClient(proxy.address) as client:
            client.stls(context(pki))
        with PopClient(proxy.address) as client:
            assert client.command("STLS") == "-ERR [SYS/TEMP] TLS is not available at the moment"
            client.quit()
        proxy.wait_log("TLS is refused: more than maxHandshakesRate")


@pytest.mark.parametrize("options,tls", [({"TIMEOUTpretls": 1}, False), ({"TIMEOUTidle": 1}, True)])
def test_silent_client_is_told(wrap, pki, options, tls):
    with PopServer() as server:
        with PopClient(wrap(server, protocol="pop3", **options).address) as client:
            if tls:
                client.stls(context(pki))
            rest = client.read_to_end()
            assert rest.startswith(b"-ERR [SYS/TEMP] ") and b"Timeout" in rest


def test_who_has_begun_tls_has_decided(wrap, pki):
    with PopServer([MESSAGE]) as server:
        with PopClient(wrap(server, protocol="pop3", TIMEOUTpretls=2).address) as client:
            client.stls(context(pki))
            time.sleep(2.2)
            client.login()
            assert client.retr(1) == MESSAGE


# -- a backend in trouble

def test_backend_down(wrap):
    address = ("127.0.0.1", net.free_port())
    with PopClient(wrap(address, protocol="pop3").address) as client:
        assert client.greeting.startswith(DOWN)
        assert client.read_to_end() == b"" and client.end == "fin"


@pytest.mark.parametrize("greeting", [b"", b"220 smtp\r\n", b"+ \r\n", b"+OK without an end"])
def test_backend_that_does_not_greet(wrap, greeting):
    def scene(peer):
        peer.send(greeting)

    with ScriptedBackend(scene) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            assert client.greeting.startswith(DOWN)


@pytest.mark.parametrize("text", ['no" outcome=refused forged="', "no\\"])
def test_backend_cannot_write_pairs_into_the_log(wrap, text):
    with PopServer(greeting=f"-ERR {text}\r\n".encode()) as server:
        proxy = wrap(server, protocol="pop3")
        with PopClient(proxy.address) as client:
            assert client.greeting == f"-ERR {text}"
        summary = proxy.summary()
        assert "forged" not in summary and summary["outcome"] == "done"
        assert summary["reason"].startswith("backend gives no service: -ERR no")


def test_slow_backend_is_given_up(wrap):
    done = threading.Event()

    def capa(session, line):
        done.wait(net.DEADLINE)
        return b"-ERR late\r\n"

    with PopServer(replies={"CAPA": capa}) as server:
        proxy = wrap(server, protocol="pop3", TIMEOUTbusy=1)
        with PopClient(proxy.address) as client:
            assert client.command("CAPA").startswith(DOWN)
            assert client.read_to_end() == b""
        done.set()
        assert proxy.summary()["step"] == "relaying CAPA"


@pytest.mark.parametrize("half", [b"", b"+OK\r\nTOP\r\n", b"+O"])
def test_backend_that_dies_within_an_answer(wrap, half):
    def capa(session, line):
        session.send(half)
        session.reset()
        raise ConnectionError

    with PopServer(replies={"CAPA": capa}) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            assert client.command("CAPA").startswith(DOWN)
            assert client.read_to_end() == b"" and client.end == "fin"


def test_backend_that_has_gone_is_noticed_before_tls(wrap):
    def scene(peer):
        peer.send(b"+OK hi\r\n")

    with ScriptedBackend(scene) as server:
        with PopClient(wrap(server, protocol="pop3").address) as client:
            server.ended()
            try:
                client.send_line("STLS")
            except OSError:
                pass
            assert client.read_to_end().startswith(b"-ERR [SYS/TEMP] ")


def test_stopping_is_told(wrap):
    with PopServer() as server:
        proxy = wrap(server, protocol="pop3", globals_={"TIMEOUTdrain": 0})
        with PopClient(proxy.address) as client:
            proxy.stop()
            assert client.read_to_end().startswith(b"-ERR [SYS/TEMP] ")


# -- the other side: the server is asked for TLS

@pytest.fixture
def fetch(tmp_path, pki):
    """fetch(server, **options) starts a service with client = yes for it."""
    running = []

    def start(server, **options):
        if options.get("tlsLevel") != "may":
            options = {"CAfile": pki.ca, "checkHost": NAME, **options}
        globals_ = {"hostname": "proxy.example.org"}
        proxy = Ehlock.wrap(tmp_path, server.address, None, globals_=globals_, protocol="pop3",
                            client="yes", spareWorkers=2, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()


def test_message_is_fetched_under_tls(fetch, pki):
    with PopServer([MESSAGE], leaf=pki.ecdsa) as server:
        proxy = fetch(server)
        with PopClient(proxy.address) as client:
            assert client.greeting == "+OK proxy.example.org POP3"
            assert client.capa() == CAPABILITIES
            assert client.command("STLS") == "-ERR STLS is not offered"
            client.login()
            assert client.retr(1) == MESSAGE
            client.quit()
            assert client.read_to_end() == b"" and client.end == "fin"
        session = server.ended()
        assert session.clear == b"CAPA\r\nSTLS\r\n" and session.tls == "TLSv1.3"
        assert session.received.startswith(b"CAPA\r\nUSER joe\r\nPASS correct horse\r\nRETR 1\r\n")
        assert proxy.summary()["server_tls"] == "TLS1.3"


def test_server_with_tls_from_the_first_byte_greets_for_itself(fetch, pki):
    with PopServer([MESSAGE], leaf=pki.ecdsa, implicit=True) as server:
        with PopClient(fetch(server, implicitTls="yes").address) as client:
            assert client.greeting.encode().endswith(TIMESTAMP)
            client.login()
            assert client.retr(1) == MESSAGE


DEFECTS = {
    "expired": (lambda pki: {"leaf": pki.expired}, "certificate-expired"),
    "wrong name": (lambda pki: {"leaf": pki.second}, "certificate-host-mismatch"),
    "foreign": (lambda pki: {"leaf": pki.foreign}, "certificate-not-trusted"),
    "stripped": (lambda pki: {}, "starttls-not-supported"),
    "without CAPA": (lambda pki: {"capabilities": None}, "starttls-not-supported"),
    "refusing": (lambda pki: {"leaf": pki.ecdsa, "answer": b"-ERR [SYS/PERM] secret\r\n"},
                 "starttls-not-supported"),
    "talking on": (lambda pki: {"leaf": pki.ecdsa, "answer": b"+OK\r\n+OK injected\r\n"},
                   "validation-failure"),
    "vanishing": (lambda pki: {"leaf": pki.ecdsa, "vanishes": True}, "validation-failure"),
    "no go-ahead": (lambda pki: {"leaf": pki.ecdsa, "answer": b"+ \r\n"}, "out of step"),
    "closed": (lambda pki: {"greeting": b"-ERR [SYS/PERM] secret\r\n"}, "gives no service"),
    "another protocol": (lambda pki: {"greeting": b"220 secret\r\n"}, "out of step"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_nothing_is_said_to_a_server_that_does_not_satisfy(fetch, pki, defect):
    make, word = DEFECTS[defect]
    with PopServer([MESSAGE], **make(pki)) as server:
        proxy = fetch(server)
        with PopClient(proxy.address) as client:
            assert client.greeting.startswith("-ERR [SYS/TEMP] proxy.example.org "), client.greeting
            assert word in client.greeting and "secret" not in client.greeting
            assert client.read_to_end() == b"" and client.end == "fin"
        session = server.ended()
        said = session.clear if session.tls else session.received.partition(b"\x16")[0]
        assert said.replace(b"QUIT\r\n", b"") in (b"", b"CAPA\r\nSTLS\r\n")
        assert not session.tls or session.received in (b"", b"QUIT\r\n")
        assert proxy.summary()["outcome"] in ("refused", "lost")


@pytest.mark.parametrize("hides", [{"offers": False}, {"capabilities": None}])
def test_tls_is_asked_for_though_the_offer_is_hidden(fetch, pki, hides):
    with PopServer([MESSAGE], leaf=pki.ecdsa, **hides) as server:
        with PopClient(fetch(server).address) as client:
            client.login()
            assert client.retr(1) == MESSAGE


def test_opportunistic_and_no_password_in_clear(fetch):
    with PopServer([MESSAGE]) as server:
        with PopClient(fetch(server, tlsLevel="may").address) as client:
            assert client.greeting == "+OK proxy.example.org POP3"
            assert client.capa() == [c for c in CAPABILITIES if only_tls(c)]
            assert client.command("USER joe").startswith("-ERR [SYS/TEMP] No TLS")
            client.quit()
        assert server.ended().commands == [b"CAPA", b"CAPA", b"QUIT"]


@pytest.mark.parametrize("broken", [{"vanishes": True}, {"answer": b"-ERR no\r\n"},
                                    {"answer": b"what?\r\n"}])
@pytest.mark.parametrize("falls_back", [True, False])
def test_fall_back_only_where_it_is_permitted(fetch, pki, broken, falls_back):
    with PopServer([MESSAGE], leaf=pki.ecdsa, **broken) as server:
        proxy = fetch(server, tlsLevel="may", authBeforeTls="yes",
                      fallBack="yes" if falls_back else "no")
        with PopClient(proxy.address) as client:
            if not falls_back:
                assert client.greeting.startswith(DOWN)
                return
            client.login()
            assert client.retr(1) == MESSAGE


@pytest.mark.parametrize("defect", DEFECTS)
def test_next_server_is_asked_while_the_client_has_heard_nothing(fetch, pki, defect):
    make, _ = DEFECTS[defect]
    with PopServer(**make(pki)) as first, PopServer([MESSAGE], leaf=pki.ecdsa) as second:
        proxy = fetch(first, connect=[text_of(first.address), text_of(second.address)])
        with PopClient(proxy.address) as client:
            assert client.greeting == "+OK proxy.example.org POP3"
            client.login()
            assert client.retr(1) == MESSAGE
            client.quit()
        assert PASSWORD.encode() not in first.ended().received
        assert "is left for another" in proxy.log
        done = ehlock.run("probe", "--config", proxy.config, "--service", "smtp")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "; number 2 of 2 would serve, before it: 1 no" in done.stdout.splitlines()[-1]


def test_probe(pki):
    with PopServer(leaf=pki.ecdsa) as server:
        done = ehlock.run("probe", text_of(server.address), "--protocol", "pop3", "--CAfile", pki.ca,
                          "--match", NAME)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "STLS" in done.stdout and "CAPA" in done.stdout
        assert server.ended().commands == [b"CAPA", b"STLS", b"CAPA", b"QUIT"]


def test_probe_of_a_server_without_tls(pki):
    with PopServer() as server:
        done = ehlock.run("probe", text_of(server.address), "--protocol", "pop3", "--CAfile", pki.ca,
                          "--match", NAME)
        assert done.returncode == 1 and "starttls-not-supported" in done.stdout, done.stdout


# -- what is said about options

@pytest.mark.parametrize("lines,wanted", [
    ({"trace": "yes"}, "trace = yes is for services with protocol = smtp or lmtp"),
    ({"identity": "xclient", "accept": "/run/pop3"}, "clients of a Unix socket in accept have none"),
    ({"addCapability": "STLS"}, "promises what only the backend or ehlock itself can keep"),
    ({"addCapability": "SASL PLAIN"}, "promises what only the backend or ehlock itself can keep"),
    ({"clientRule": "/./ add USER"}, "promises what only the backend or ehlock"),
    ({"clientRule": "/./ hide STLS"}, "write noStartTls"),
    ({"relayAs": "spki-sha256:" + 32 * "00:", "identity": "proxy2",
      "verifyClient": "ask"}, "nobody relays by protocol = pop3"),
    ({"client": "yes", "protocolUsername": "joe", "cert": None, "key": None},
     "protocolUsername needs protocol = smtp or lmtp"),
    ({"client": "yes", "connect": "mx:example.org", "cert": None, "key": None},
     "MX records say where mail is handed in"),
    ({"protocol": "pop4"}, "lmtp, managesieve, pop3 and smtp are"),
])
def test_check_says_what_to_write(tmp_path, pki, lines, wanted):
    options = {"accept": 1110, "connect": "127.0.0.1:110", "protocol": "pop3",
               "cert": pki.ecdsa.cert, "key": pki.ecdsa.key, **lines}
    path = tmp_path / "c.conf"
    path.write_text(section("pop3", **options))
    done = ehlock.run("--check", path)
    assert done.returncode == 78 and wanted in done.stdout + done.stderr, done.stderr


def test_check_has_nothing_to_say_about_pop3(tmp_path, pki):
    """Nobody relays by POP3: a backend that takes everybody for this machine is no open relay."""
    path = tmp_path / "c.conf"
    path.write_text(section("pop3", accept="0.0.0.0:1110", connect="127.0.0.1:110", protocol="pop3",
                            cert=pki.ecdsa.cert, key=pki.ecdsa.key))
    done = ehlock.run("--check", path)
    assert done.returncode == 0 and "relay" not in done.stdout + done.stderr
