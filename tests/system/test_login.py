# SPDX-License-Identifier: ISC
"""protocolUsername: ehlock logs in to the server, and the client need not."""

import base64
import os
import re
import subprocess
from pathlib import Path

import ehlock
import net
import pytest
from ehlock import Ehlock, global_part, section
from net import text_of
from pki import NAME, pin_of
from sasl_server import SaslServer
from smtp_client import Client
from starters import Single
from tls_server import TlsServer

USER, PASSWORD, TOKEN = "joe@example.org", "correct horse = battery, staple", "ya29.tok-EN~+/9=="
STRENGTH = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]
TOKENS = ["OAUTHBEARER", "XOAUTH2"]


@pytest.fixture
def dial(tmp_path, pki):
    """dial(server, **options): a service in front of it that logs in, by a password in a file."""
    running = []

    def start(server, secret=PASSWORD, kind="protocolPasswordFile", **options):
        path = tmp_path / "secret"
        if kind.endswith("File"):
            path.write_text(f"{secret}\n")
            path.chmod(0o600)
        options = {"spareWorkers": 1, "client": True, "CAfile": pki.ca, "protocolUsername": USER,
                   kind: path if kind.endswith("File") else secret, **options}
        proxy = Ehlock.wrap(tmp_path, server.address, None,
                            connect=f"localhost:{server.address[1]}", **options)
        proxy.secret = path
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()
        holds_no_secret(proxy)


def holds_no_secret(proxy):
    for secret in (PASSWORD, TOKEN):
        encoded = base64.b64encode(f"\0{USER}\0{secret}".encode()).decode()
        for words in (secret, base64.b64encode(secret.encode()).decode(), encoded[:40]):
            assert words not in proxy.log


def send(proxy, number=1):
    """One message by a client that knows no AUTH; the keywords it has seen."""
    with Client(proxy.address) as client:
        assert client.greeting.code == 220, client.greeting
        keywords = client.ehlo()
        client.send_message("a@example.org", ["b@example.org"], b"Subject: x\r\n\r\nbody\r\n")
        client.quit()
    return keywords


def refused(proxy, number=1):
    """How the session's reason begins, when the client's is told to come back."""
    with Client(proxy.address) as client:
        assert client.greeting.code == 421, client.greeting
        assert client.greeting.text.startswith("4.7.0 "), client.greeting
        assert client.read_to_end() == b""
    summary = proxy.summary(number)
    assert summary["login"] == "none" and summary["accepted"] == "0", summary
    return summary["reason"]


def server(pki, mechanisms, token=False, **more):
    return SaslServer(pki.ecdsa, mechanisms, user=USER, secret=TOKEN if token else PASSWORD, **more)


# -- every mechanism

@pytest.mark.parametrize("login", [True, False])
def test_process_for_one_session_asks_for_tls_and_logs_in(tmp_path, pki, login):
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    more = {"protocolUsername": USER, "protocolPasswordFile": secret} if login else {}
    with server(pki, "SCRAM-SHA-256") as it:
        config = tmp_path / "c.conf"
        config.write_text(global_part() + section(
            "out", client=True, protocol="smtp", connect=f"localhost:{it.address[1]}", CAfile=pki.ca,
            **more))
        with Single(config, "out") as single:
            client = Client.over(single.sock)
            assert client.greeting.code == 220
            client.ehlo()
            client.quit()
            client.close()
            status, log = single.wait()
        assert status == 0 and "verdict=ok" in log and ("login=SCRAM-SHA-256" in log) == login, log


def test_process_for_one_session_that_cannot_know_whom_to_trust_says_421(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    config = tmp_path / "c.conf"
    config.write_text(global_part() + section("out", client=True, protocol="smtp",
                                              connect="localhost:1", CAfile=empty))
    with Single(config, "out") as single:
        client = Client.over(single.sock)
        assert client.greeting.code == 421
        client.close()
        status, log = single.wait()
    assert status == 78 and f"{config}" in log and "CAfile" in log, log


@pytest.mark.parametrize("mechanism", STRENGTH + TOKENS)
def test_client_without_auth_sends_through_a_server_that_wants_it(dial, pki, mechanism):
    token = mechanism in TOKENS
    with server(pki, mechanism, token) as it:
        proxy = (dial(it, TOKEN, "protocolTokenFile") if token else dial(it))
        assert not [word for word in send(proxy) if "AUTH" in word]
        session = it.ended()
    assert session.events["login"] == mechanism and len(session.messages) == 1
    assert b"AUTH" not in it.in_clear(session).upper()
    summary = proxy.summary()
    assert summary["login"] == mechanism and summary["accepted"] == "1"
    assert summary["verdict"] == "ok"


def test_strongest_that_is_offered_is_taken(dial, pki):
    with server(pki, "LOGIN PLAIN GSSAPI SCRAM-SHA-256-PLUS CRAM-MD5 SCRAM-SHA-1") as it:
        send(dial(it))
        assert it.ended().events["login"] == "SCRAM-SHA-1"


def test_order_of_the_administrator_is_taken(dial, pki):
    with server(pki, " ".join(STRENGTH)) as it:
        send(dial(it, protocolAuthentication="login, Plain"))
        assert it.ended().events["attempts"] == [("LOGIN", False)]


def test_tls_from_the_first_byte(dial, pki):
    with server(pki, "PLAIN", implicit=True) as it:
        proxy = dial(it, implicitTls=True)
        send(proxy)
        assert it.ended().events["login"] == "PLAIN"


def test_password_in_the_configuration(dial, pki):
    with server(pki, "CRAM-MD5") as it:
        proxy = dial(it, kind="protocolPassword")
        send(proxy)
        assert it.ended().events["login"] == "CRAM-MD5"
        proxy.wait_log("protocolPassword: everybody on this machine can read it in .*: chmod o= ")


def test_pinned_server_counts_as_verified(dial, pki):
    with server(pki, "PLAIN") as it:
        proxy = dial(it, tlsLevel="fingerprint", CAfile=None, verifyPeer=pin_of(pki.ecdsa))
        send(proxy)
        assert it.ended().events["login"] == "PLAIN"


def test_token_that_fits_no_command_goes_without_initial_response(dial, pki):
    """Exactly at the 512 bytes, and a base64 group more (RFC 4954, section 4)."""
    start, end = len("AUTH XOAUTH2 \r\n"), len(f"user={USER}\1auth=Bearer \1\1")
    most = (512 - start) // 4 * 3 - end
    for length, initial in ((most, True), (most + 1, False)):
        token = "t" * length
        with SaslServer(pki.ecdsa, "XOAUTH2", user=USER, secret=token) as it:
            proxy = dial(it, token, "protocolTokenFile")
            send(proxy)
            assert it.ended().events["attempts"] == [("XOAUTH2", initial)]


def test_longest_token_and_name_fit(dial, pki):
    user, token = "=" * 255, "t" * 8192
    with SaslServer(pki.ecdsa, "XOAUTH2", user=user, secret=token) as it:
        proxy = dial(it, token, "protocolTokenFile", protocolUsername=user)
        send(proxy)
        assert it.ended().events["login"] == "XOAUTH2"


# -- the client's side of it

def test_auth_of_the_client_is_answered_by_us(dial, pki):
    with server(pki, "PLAIN") as it:
        proxy = dial(it)
        with Client(proxy.address) as client:
            client.ehlo()
            client.send(b"AUTH LOGIN\r\n")
            assert client.read_reply().code == 503
            client.send(b"AUTH PLAIN AGEAYg==\r\n")
            assert client.read_reply().code == 503
            client.quit()
        assert len([c for c in it.ended().commands if c.upper().startswith(b"AUTH")]) == 1


def test_client_that_says_helo_is_served(dial, pki):
    with server(pki, "PLAIN") as it:
        with Client(dial(it).address) as client:
            client.send(b"HELO old.example.org\r\n")
            assert client.read_reply().code == 250
            client.quit()
        assert b"HELO old.example.org" in it.ended().commands


@pytest.mark.parametrize("hello", ["EHLO", "HELO"])
def test_server_that_takes_one_ehlo_is_served_all_the_same(dial, pki, hello):
    def once(session, line):
        if session.events.get("greeted", "not") == session.tls:
            return b"503 5.5.1 Already greeted\r\n"
        session.events["greeted"] = session.tls
        return it._ehlo(session, line)

    with server(pki, "PLAIN", replies={"EHLO": once, "HELO": b"503 5.5.1 Already\r\n"}) as it:
        with Client(dial(it).address) as client:
            client.send(f"{hello} c.example.org\r\n".encode())
            reply = client.read_reply()
            assert reply.code == 250 and "AUTH" not in reply.text and "STARTTLS" not in reply.text
            assert ("SIZE" in reply.text) == (hello == "EHLO")
            client.send_message("a@example.org", ["b@example.org"], b"Subject: x\r\n\r\nbody\r\n")
        assert len(it.ended().messages) == 1


# -- refused

def test_wrong_password_is_421_to_the_client_and_an_error_for_the_administrator(dial, pki):
    with server(pki, "SCRAM-SHA-256 PLAIN") as it:
        proxy = dial(it, "wrong")
        reason = refused(proxy)
        session = it.ended()
    assert reason.startswith("login by SCRAM-SHA-256 was refused: 535 5.7.8 "), reason
    assert len(session.events["attempts"]) == 1, "one attempt, with the strongest"
    assert session.commands[-1] == b"QUIT"
    proxy.wait_log("is not served: login by SCRAM-SHA-256 was refused: 535 .*see protocolUsername")
    assert proxy.summary()["outcome"] == "refused"


def test_error_of_scram_leads_to_the_refusal(dial, pki):
    with server(pki, "SCRAM-SHA-256", quirks=["tells error"]) as it:
        assert refused(dial(it, "wrong")).startswith("login by SCRAM-SHA-256 was refused: 535 ")


@pytest.mark.parametrize("mechanism, excuse", [("XOAUTH2", b""), ("OAUTHBEARER", b"\1")])
def test_refused_token_is_excused_and_told(dial, pki, mechanism, excuse):
    with server(pki, mechanism, token=True) as it:
        proxy = dial(it, "old-token", "protocolTokenFile")
        assert refused(proxy).startswith(f"login by {mechanism} was refused: 535 ")
        assert it.ended().events["excuse"] == excuse


def test_temporary_failure_is_nothing_to_mend(dial, pki):
    with server(pki, "PLAIN", replies={"AUTH": b"454 4.7.0 directory is down\r\n"}) as it:
        proxy = dial(it)
        assert refused(proxy) == "login by PLAIN was refused: 454 4.7.0 directory is down"
    assert proxy.count_log("is not served") == 0


def test_server_without_the_mechanism_is_not_told_a_weaker_one(dial, pki):
    with server(pki, "PLAIN LOGIN") as it:
        proxy = dial(it, protocolAuthentication="SCRAM-SHA-256 CRAM-MD5")
        assert "offers none of the mechanisms that are wanted" in refused(proxy)
        assert "attempts" not in it.ended().events
        proxy.wait_log("is not served: .*protocolAuthentication")


def test_what_is_offered_in_clear_alone_is_never_used(dial, pki):
    with server(pki, "", in_clear="PLAIN LOGIN") as it:
        assert refused(dial(it)) == "server offers no mechanism to log in"
        assert not [c for c in it.ended().commands if c.startswith(b"AUTH")]


@pytest.mark.parametrize("defect", ["expired", "second", "foreign"])
def test_server_that_is_not_verified_hears_no_auth(dial, pki, defect):
    it = SaslServer(getattr(pki, defect), "PLAIN LOGIN", user=USER, secret=PASSWORD)
    with it:
        proxy = dial(it)
        with Client(proxy.address) as client:
            assert client.greeting.code == 421
        session = it.ended()
        assert it.secret(session) == b"QUIT\r\n" and b"AUTH" not in session.received


def test_server_without_starttls_hears_no_auth(dial, pki):
    with server(pki, "PLAIN", in_clear="PLAIN", offers=False, answer=b"502 what\r\n") as it:
        with Client(dial(it).address) as client:
            assert client.greeting.code == 421
        assert b"AUTH" not in it.ended().received


# -- hostile servers

@pytest.mark.parametrize("quirks, why", [
    (["impostor"], "server could not prove that it knows the password"),
    (["trusts anybody"], "server says 235 before the mechanism is complete"),
    (["foreign nonce"], "server sent a challenge that the mechanism does not have"),
])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_server_that_does_not_know_the_password_gets_no_mail(dial, pki, mechanism, quirks, why):
    with server(pki, mechanism, quirks=quirks) as it:
        assert refused(dial(it)) == f"login by {mechanism} was given up: {why}"
        assert not [c for c in it.ended().commands if c.startswith(b"MAIL")]


def test_endless_hashing_is_refused(dial, pki):
    with server(pki, "SCRAM-SHA-256", iterations=4000000000) as it:
        assert "hashed more often than is sensible" in refused(dial(it))


@pytest.mark.parametrize("echo", [
    lambda line: line, lambda line: base64.b64decode(line.split()[2]).replace(b"\0", b" "),
    lambda line: line[:30], lambda line: b"no " + PASSWORD.encode()])
def test_reply_that_repeats_the_password_is_not_logged(dial, pki, echo):
    replies = {"AUTH": lambda session, line: b"535 5.7.8 bad: " + echo(line) + b"\r\n"}
    with server(pki, "PLAIN", replies=replies) as it:
        proxy = dial(it)
        assert refused(proxy) == "login by PLAIN was refused: 535, and words that repeat ours"


# -- files

def test_changed_password_is_picked_up(dial, pki):
    with server(pki, "PLAIN") as it:
        proxy = dial(it, "wrong")
        assert "refused" in refused(proxy)
        fresh = proxy.secret.with_suffix(".new")
        fresh.write_text(PASSWORD)
        fresh.rename(proxy.secret)
        proxy.wait_log("have been read again")
        send(proxy)
        assert it.ended(1).events["login"] == "PLAIN"


def test_file_that_becomes_useless_changes_nothing(dial, pki):
    with server(pki, "PLAIN") as it:
        proxy = dial(it)
        proxy.secret.write_text("")
        proxy.wait_log("the old ones stay: .*protocolPasswordFile: .*secret holds nothing")
        send(proxy)


MAPPING_MAX = 64 * 1024 * 1024      # bytes; what is larger belongs to a sanitizer


def has_in_memory(pid, marker):
    """Whether a process could find it in any memory that it has."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if "r" not in line.split()[1] or end - start > MAPPING_MAX or "[v" in line:
                continue
            try:
                memory.seek(start)
                if marker in memory.read(end - start):
                    return True
            except OSError:
                pass
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to look into processes")
@pytest.mark.parametrize("kind", ["protocolPassword", "protocolPasswordFile"])
def test_nobody_but_workers_of_the_service_has_the_password(tmp_path, pki, kind):
    marker = "hunter-" + os.urandom(8).hex()
    path = tmp_path / "secret"
    path.write_text(marker)
    with server(pki, "PLAIN") as it:
        text = global_part() + section(
            "out", accept=text_of(("127.0.0.1", net.free_port())), client=True, protocol="smtp",
            connect=f"localhost:{it.address[1]}", CAfile=pki.ca, protocolUsername=USER,
            spareWorkers=1, **{kind: path if kind.endswith("File") else marker})
        text += section("in", accept=text_of(("127.0.0.1", net.free_port())), protocol="smtp",
                        connect=text_of(it.address), cert=pki.ecdsa.cert, key=pki.ecdsa.key,
                        spareWorkers=1)
        with Ehlock(tmp_path, text) as proxy:
            net.wait_until(lambda: proxy.workers("in") and proxy.workers("out") and proxy.keepers(),
                           "everybody is there")
            has = {name: has_in_memory(pid, marker.encode()) for name, pid in
                   [("in", proxy.workers("in")[0]), ("out", proxy.workers("out")[0]),
                    ("keeper", proxy.keepers()[0]), ("in's zygote", proxy.zygotes("in")[0])]}
            assert has == {"in": False, "out": True, "keeper": False, "in's zygote": False}


# -- a program that tells a token

# What stands in the file beside it is what it does; each start is a line in another.
TELLER = r'''#!/bin/sh
cd {directory}
echo "$*" >> starts
. ./act
'''


class Teller:
    """A program for protocolTokenProgram, in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory / "teller"
        self.directory.mkdir()
        self.directory.chmod(0o777)
        self.path = self.directory / "teller"
        self.path.write_text(TELLER.format(directory=self.directory))
        self.path.chmod(0o755)
        self.act(f"echo '{TOKEN}'")

    def act(self, script):
        fresh = self.directory / "act.new"
        fresh.write_text(script + "\n")
        fresh.chmod(0o644)
        fresh.rename(self.directory / "act")

    def starts(self):
        path = self.directory / "starts"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def teller(public_dir):
    return Teller(public_dir)


@pytest.fixture
def ask(dial, teller):
    """ask(server, **options): as dial, with the token told by a program."""
    def start(server, words="", **options):
        return dial(server, f"{teller.path} {words}", "protocolTokenProgram", **options)
    return start


@pytest.mark.parametrize("mechanism", TOKENS)
def test_program_tells_the_token(ask, teller, pki, mechanism):
    with server(pki, mechanism, token=True) as it:
        proxy = ask(it, "'two words' \"and \\\" one\"  three")
        send(proxy)
        assert it.ended().events["login"] == mechanism
    assert teller.starts() == ['two words and " one three']
    assert proxy.summary()["login"] == mechanism and proxy.summary()["accepted"] == "1"


def test_program_is_asked_anew_for_each_session(ask, teller, pki):
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it, connectionsPerWorker=10)
        for number in range(3):
            it.secret_text = f"token-{number}".encode()
            teller.act(f"echo token-{number}")
            send(proxy)
            assert it.ended(number).events["login"] == "XOAUTH2"
        assert len(teller.starts()) == 3
    assert proxy.count_log("token-") == 0


def test_program_is_asked_only_when_its_token_will_be_said(ask, teller, pki):
    with server(pki, "PLAIN LOGIN") as it:
        assert "offers none of the mechanisms that are wanted" in refused(ask(it))
    with SaslServer(pki.expired, "XOAUTH2", user=USER, secret=TOKEN) as it:
        with Client(ask(it).address) as client:
            assert client.greeting.code == 421
        assert b"AUTH" not in it.ended().received
    assert teller.starts() == []


def test_token_of_the_longest_length_and_one_byte_more(ask, teller, pki):
    token = "t" * 8192
    with SaslServer(pki.ecdsa, "XOAUTH2", user=USER, secret=token) as it:
        proxy = ask(it)
        teller.act(f"printf '%s\\r\\n' {token}")
        send(proxy)
        assert it.ended().events["login"] == "XOAUTH2"
        teller.act(f"echo {token}t")
        assert refused(proxy, 2) == ("no token: protocolTokenProgram has an output that holds more "
                                     "than 8192 bytes")
    assert "tttttt" not in proxy.log


def test_what_the_program_leaves_behind_is_not_waited_for(ask, teller, pki):
    teller.act(f"sleep 300 & echo $! > left; echo '{TOKEN}'")
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it)
        send(proxy)
    left = int((teller.directory / "left").read_text())
    assert left in ehlock.processes(), "and let be"
    os.kill(left, 9)
    assert proxy.summary()["login"] == "XOAUTH2"


def children_of_spawner(proxy):
    spawners = proxy._titled("spawner")
    return [pid for pid, (parent, _) in ehlock.processes().items() if parent in spawners]


SAYS = f"echo '{TOKEN}'"


@pytest.mark.parametrize("act, why", [
    (f"{SAYS}; exit 3", "ended with status 3"),
    (f"{SAYS}; kill -USR1 $$", "was ended by signal 10"),
    ("exit 0", "has an output that holds nothing, where one line should be"),
    (f"echo; {SAYS}", "has an output that has more than one line"),
    (f"{SAYS}; {SAYS}", "has an output that has more than one line"),
    (f"echo 'Bearer {TOKEN}'", "has an output that has blanks in its line: an access token has none"),
    (f"printf '{TOKEN}\\0\\n'", "has an output that has control characters in its line"),
    (f"yes '{TOKEN}'", "has an output that holds more than 8192 bytes"),
    (f"{SAYS}; exec sleep 300", "did not end in time (TIMEOUTbusy, TIMEOUTpretls)"),
    ("exec cat", "has an output that holds nothing, where one line should be"),   # it has no input
])
def test_without_a_token_the_client_comes_back(ask, teller, pki, act, why):
    teller.act(act)
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it, TIMEOUTbusy=3)
        assert refused(proxy) == f"no token: protocolTokenProgram {why}"
        session = it.ended()
        assert b"AUTH" not in session.received and session.commands[-1] == b"QUIT"
        proxy.wait_log(rf"is not served: no token: .*{re.escape(why)}; run it by hand as its user")
        summary = proxy.summary()
        assert (summary["outcome"], summary["step"]) == ("refused", "taking a token to log in with")
        teller.act(SAYS)
        send(proxy)
        assert proxy.summary(2)["login"] == "XOAUTH2"
    net.wait_until(lambda: not children_of_spawner(proxy), "the program is ended")


def test_program_has_no_longer_than_the_whole_beginning_of_a_session(ask, teller, pki):
    teller.act("exec sleep 300")
    with server(pki, "XOAUTH2", token=True) as it:
        assert refused(ask(it, TIMEOUTpretls=3)).endswith("did not end in time (TIMEOUTbusy, "
                                                          "TIMEOUTpretls)")


@pytest.mark.parametrize("echo", [lambda line: line, lambda line: b"no " + TOKEN.encode()])
def test_reply_that_repeats_the_token_of_a_program_is_not_logged(ask, teller, pki, echo):
    replies = {"AUTH": lambda session, line: b"535 5.7.8 bad: " + echo(line) + b"\r\n"}
    with server(pki, "XOAUTH2", token=True, replies=replies) as it:
        assert refused(ask(it)) == "login by XOAUTH2 was refused: 535, and words that repeat ours"


def test_program_that_disappears_is_told(ask, teller, pki):
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it)
        teller.path.unlink()
        assert refused(proxy) == ("no token: protocolTokenProgram could not be started: No such "
                                  "file or directory")
        proxy.wait_log("the program could not be started: /.*/teller: No such file")


def test_killed_spawner_costs_the_sessions_that_wait_for_it(ask, teller, pki):
    teller.act("exec sleep 300")
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it)
        with net.connect(proxy.address) as sock:
            left = net.wait_until(lambda: children_of_spawner(proxy), "the program runs")
            os.kill(proxy._titled("spawner")[0], 9)
            assert b"421 4.7.0 " in sock.recv(1000)
        os.kill(left[0], 9)
        assert "nobody knows how it ended" in proxy.summary()["reason"]
        teller.act(SAYS)
        proxy.wait_log("the spawner died")
        net.wait_until(lambda: proxy._titled("spawner"), "another spawner")
        send(proxy)


def test_stop_does_not_wait_for_the_program(ask, teller, pki):
    teller.act("exec sleep 300")
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it)
        with net.connect(proxy.address) as sock:
            left = net.wait_until(lambda: children_of_spawner(proxy), "the program runs")
            proxy.stop()
            assert sock.recv(1000).startswith(b"421 4.7.0 ")
        assert left[0] not in ehlock.processes()
    assert proxy.summary()["reason"].endswith("was not waited for: ehlock is stopping")
    assert proxy.count_log("is not served") == 0


def test_program_sees_a_clean_world(ask, teller, pki):
    teller.act("{ tr '\\0' '\\n' < /proc/self/environ; umask; pwd; readlink /proc/self/fd/*; } > world;"
               f" {SAYS}")
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it, execUser="games" if os.geteuid() == 0 else None)
        send(proxy)
    world = (teller.directory / "world").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in world if "=" in line)
    for of_a_shell in ("PWD", "OLDPWD", "SHLVL", "_"):
        variables.pop(of_a_shell, None)
    assert variables.pop("PATH") == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    if os.geteuid() == 0:
        assert variables == {"HOME": "/usr/games", "USER": "games", "LOGNAME": "games"}
    else:
        assert set(variables) <= {"HOME", "USER", "LOGNAME"}
    rest = [line for line in world if "=" not in line]
    assert rest[0] == "0077"
    assert not [line for line in rest[2:] if not line.startswith(("/dev/null", "/proc/", str(teller.directory)))
                and not line.startswith(("pipe:", "socket:"))], rest
    assert rest[2] == "/dev/null", "its standard input"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change identities")
def test_program_has_a_user_of_its_own_who_alone_can_read_what_it_needs(ask, teller, pki):
    refresh = teller.directory / "refresh"
    refresh.write_text(TOKEN)
    os.chown(refresh, 5, 60)    # games
    refresh.chmod(0o400)
    teller.act("id -un > who; cat refresh")
    with server(pki, "XOAUTH2", token=True) as it:
        send(ask(it, execUser="games"))
        assert (teller.directory / "who").read_text() == "games\n"
        (teller.directory / "who").unlink()
        assert refused(ask(it)) == "no token: protocolTokenProgram ended with status 1"
        assert (teller.directory / "who").read_text() == "nobody\n"


def test_reload_takes_another_program(ask, teller, pki):
    with server(pki, "XOAUTH2", token=True) as it:
        proxy = ask(it, "old")
        send(proxy)
        assert "reloaded" in proxy.reload(proxy.text.replace("teller old", "teller new"))
        send(proxy)
        assert teller.starts() == ["old", "new"]
        said = proxy.reload(proxy.text.replace("teller new", "none new"))
        assert "not reloaded" in said
        send(proxy)
        assert teller.starts() == ["old", "new", "new"]


@pytest.mark.parametrize("act, good", [(SAYS, True), ("exit 1", False)])
def test_process_for_one_session_asks_a_program(tmp_path, teller, pki, act, good):
    teller.act(act)
    with server(pki, "XOAUTH2", token=True) as it:
        config = tmp_path / "c.conf"
        config.write_text(global_part() + section(
            "out", client=True, protocol="smtp", connect=f"localhost:{it.address[1]}",
            CAfile=pki.ca, protocolUsername=USER, protocolTokenProgram=teller.path))
        with Single(config, "out") as single:
            client = Client.over(single.sock)
            assert client.greeting.code == (220 if good else 421)
            if good:
                client.ehlo()
                client.quit()
            client.close()
            status, log = single.wait()
    assert status == 0 and f"login={'XOAUTH2' if good else 'none'}" in log, log
    assert TOKEN not in log and ("ended with status 1; run it by hand" in log) != good


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to look into processes")
def test_token_is_wiped_after_the_login(ask, teller, pki):
    marker = "hunter-" + os.urandom(8).hex()
    said = base64.b64encode(f"user={USER}\1auth=Bearer {marker}\1\1".encode())
    teller.act(f"echo {marker}")
    with SaslServer(pki.ecdsa, "XOAUTH2", user=USER, secret=marker) as it:
        proxy = ask(it, connectionsPerWorker=10)
        worker = net.wait_until(lambda: proxy.workers(), "a worker")[0]
        with Client(proxy.address) as client:
            assert client.greeting.code == 220
            everybody = [proxy.pid, *proxy.descendants()]
            assert worker in everybody and len(everybody) >= 4
            for words in (marker.encode(), said[:len(said) - 8]):
                assert [pid for pid in everybody if has_in_memory(pid, words)] == []
            client.ehlo()
            client.quit()
        assert it.ended().events["login"] == "XOAUTH2"


# -- the configuration

BASE = {"accept": "127.0.0.1:2587", "connect": "localhost:587", "client": True,
        "protocol": "smtp", "protocolUsername": "joe"}


def check(tmp_path, args=("--check",), **options):
    path = tmp_path / "c.conf"
    secret = tmp_path / "secret"
    if not secret.exists():
        secret.write_text("secret\n")
        secret.chmod(0o600)
    text = global_part() + section("out", **{**BASE, **options})
    path.write_text(text)
    path.chmod(0o600)
    done = ehlock.run(*args, path)
    lines = {line.split(" = ")[0]: number for number, line in enumerate(text.splitlines(), 1)}
    return done.returncode, done.stdout + done.stderr, lines


@pytest.mark.parametrize("blamed, options, words", [
    ("tlsLevel", {"tlsLevel": "encrypt"}, "write tlsLevel = secure, verify or fingerprint"),
    ("protocolPasswordFile", {"protocolPasswordFile": "/dev/null"}, "/dev/null holds nothing"),
    ("protocolPasswordFile", {"protocolPasswordFile": "/nonexistent"}, "cannot read /nonexistent"),
])
def test_what_makes_no_sense_is_an_error_with_line_and_remedy(tmp_path, blamed, options, words):
    """The rest of them: tests/unit/test_login.c."""
    options = {"protocolPasswordFile": tmp_path / "secret", **options}
    status, said, lines = check(tmp_path, **options)
    assert status == 78 and words in said, said
    assert f"c.conf:{lines[blamed]}: " in said, said


@pytest.mark.parametrize("blamed, options, words", [
    ("protocolTokenProgram", {"protocolTokenProgram": "/nonexistent x"},
     "/nonexistent cannot be started by the user of setuid (see execUser): No such file or directory"),
    ("protocolTokenProgram", {"protocolTokenProgram": "/etc/passwd"}, "Permission denied"),
    ("protocolTokenProgram", {"protocolTokenProgram": "/etc"}, "Is a directory"),
    ("protocolTokenProgram", {"protocolTokenProgram": "bin/true"}, "with its whole path, /..."),
    ("execUser", {"protocolTokenProgram": "/bin/true", "execUser": "no-such-user"},
     'there is no user "no-such-user"'),
])
def test_program_that_cannot_be_run_is_an_error_with_its_line(tmp_path, blamed, options, words):
    status, said, lines = check(tmp_path, **options)
    assert status == 78 and words in said, said
    assert f"c.conf:{lines[blamed]}: {blamed}: " in said, said


def test_program_that_can_be_run_is_shown_as_it_was_written(tmp_path):
    program = "/bin/echo 'a b' \"c\""
    status, said, _ = check(tmp_path, protocolTokenProgram=program)
    assert status == 0, said
    status, said, _ = check(tmp_path, ["--show-config"], protocolTokenProgram=program)
    assert status == 0 and f"protocolTokenProgram = {program}\n" in said
    (tmp_path / "shown.conf").write_text(said)
    again = ehlock.run("--check", tmp_path / "shown.conf")
    assert again.returncode == 0, again.stderr


def test_file_that_everybody_can_read_is_warned_of(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o644)
    status, said, lines = check(tmp_path, protocolPasswordFile=tmp_path / "secret")
    assert status == 0 and f"c.conf:{lines['protocolPasswordFile']}: " in said
    assert f"chmod o= {tmp_path}/secret" in said


def test_show_config_hides_the_password_and_is_not_taken_for_one(tmp_path):
    status, said, _ = check(tmp_path, ["--show-config"], protocolPassword="sesame")
    assert status == 0 and "protocolPassword = (hidden)\n" in said and "sesame" not in said
    (tmp_path / "shown.conf").write_text(said)
    again = ehlock.run("--check", tmp_path / "shown.conf")
    assert again.returncode == 78 and "write that, or name a file" in again.stderr
