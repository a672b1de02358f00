# SPDX-License-Identifier: ISC
"""ehlock probe: what it says of a server, and its exit status."""

import base64
import os
import re
import ssl
import subprocess
from pathlib import Path

import ehlock
import net
import pytest
from backend import Backend, ScriptedBackend
from ehlock import global_part, section
from net import text_of
from pki import NAME, openssl, pin_of
from sasl_server import SaslServer
from test_login import PASSWORD, TOKEN, USER, Teller
from test_next_server import TROUBLES, has_heard, silent, troubled
from tls_server import GO_AHEAD, TlsServer

MET, NOT_MET, NO_ANSWER, USAGE, CONFIG = 0, 1, 2, 64, 78
PRINTABLE = re.compile(r"[\n -~]*")


@pytest.fixture(autouse=True)
def authority(pki):
    probe.authority = pki.ca


def probe(server, *args, by="localhost", system=False, timeout=net.DEADLINE):
    """Runs it; a server in place of HOST:PORT. Whatever it prints is printable. It trusts the
    authority of the tests, which is also read faster than the system's store."""
    where = f"{by}:{server.address[1]}" if hasattr(server, "address") else server
    if not system and "--config" not in args and "--CAfile" not in args:
        args = (*args, "--CAfile", probe.authority)
    done = ehlock.run("probe", *([where] if where else []), *args, timeout=timeout)
    assert PRINTABLE.fullmatch(done.stdout + done.stderr), ascii(done.stdout + done.stderr)
    return done


def result(done):
    return done.stdout.splitlines()[-1]


def checks(done):
    """check -> (state, why)"""
    return {m[2]: (m[1], m[3]) for m in re.finditer(
        r"^(pass|FAIL|-) +(chain|purpose|validity|names|revocation|staple|pins) +(.*)$",
        done.stdout, re.M)}


def failing(done):
    return {name for name, (state, _) in checks(done).items() if state == "FAIL"}


def levels(done):
    return re.search(r"^levels that it satisfies: (.*)$", done.stdout, re.M)[1].split()


def dialogue(done):
    return [line for line in done.stdout.splitlines() if line[:3] in ("C: ", "S: ", "   ")]


# -- a good server

def test_good_server_is_told_whole(pki):
    with TlsServer(pki.chained) as server:
        done = probe(server, "--match", NAME)
        session = server.ended()
    assert done.returncode == MET, done.stdout + done.stderr
    lines = dialogue(done)
    hello = next(line for line in lines if line.startswith("C: EHLO "))
    tls = lines.index("   (TLS from here)")
    assert lines[:2] == ["S: 220 server.example.org ESMTP secret-greeting", hello]
    assert lines[tls - 3:tls + 2] == ["S: 250 STARTTLS", "C: STARTTLS", "S: 220 2.0.0 ready",
                                      "   (TLS from here)", hello]
    assert lines[-2:] == ["C: QUIT", "S: 221 2.0.0 bye"]
    assert [command.split()[0] for command in session.commands] == [b"EHLO", b"STARTTLS", b"EHLO",
                                                                   b"QUIT"]
    assert session.sni == "localhost"
    assert re.search(r"^TLS: TLS1\.3, cipher \S+, group X25519, ", done.stdout, re.M)
    assert "certificate 2 of 2\n  subject  CN=Test Intermediate\n" in done.stdout
    assert f"  pin      {pin_of(pki.chained)}\n" in done.stdout
    assert f"  pin      {pin_of(pki.chained, True)}\n" in done.stdout
    assert not failing(done) and len(checks(done)) == 7
    assert checks(done)["chain"] == ("pass", "leads to CN=Test Authority, who is trusted")
    assert checks(done)["names"] == ("pass", f"is for {NAME}")
    assert levels(done) == ["none", "may", "encrypt", "verify", "secure"]
    assert result(done).startswith(f"met: localhost:{server.address[1]} (127.0.0.1:")


def test_default_is_secure_with_the_name_of_the_host(pki):
    with TlsServer(pki.ecdsa) as server:
        done = probe(server)
        assert done.returncode == MET and "level secure," in result(done)
        done = probe(server, system=True)   # whose store has nobody of ours
        if Path("/etc/ssl/certs/ca-certificates.crt").exists():
            assert done.returncode == NOT_MET and failing(done) == {"chain"}
        else:
            assert done.returncode == CONFIG and "store of CA certificates" in done.stderr


def test_pins_that_are_printed_can_be_pasted(pki):
    with TlsServer(pki.lonely) as server:
        shown = probe(server, "--level", "encrypt").stdout
        pins = re.findall(r"^  pin +(\S+)$", shown, re.M)
        assert len(pins) == 2
        for pin in pins:
            done = probe(server, "--pin", pin)
            assert done.returncode == MET, done.stdout
            assert "level fingerprint," in result(done)
            assert levels(done)[-1] == "fingerprint"


# -- servers that are not what is demanded

@pytest.mark.parametrize("leaf, fails, word, highest", [
    ("expired", {"validity"}, "certificate-expired", "encrypt"),
    ("second", {"names"}, "certificate-host-mismatch", "encrypt"),
    ("lonely", {"chain", "names"}, "certificate-not-trusted", "encrypt"),
    ("foreign", {"chain"}, "certificate-not-trusted", "encrypt"),
])
def test_defect_has_a_line_of_its_own(pki, leaf, fails, word, highest):
    with TlsServer(getattr(pki, leaf)) as server:
        done = probe(server, "--match", NAME)
        assert done.returncode == NOT_MET
        assert failing(done) == fails
        assert result(done).startswith("NOT MET: ") and f": {word}: " in result(done)
        assert f"highest level {highest}" in result(done)
        assert dialogue(done)[-2:] == ["   (TLS from here)", "C: QUIT"]
        assert server.secret(server.ended()) == b"QUIT\r\n"
        done = probe(server, "--match", NAME, "--level", "encrypt")
        assert done.returncode == MET and failing(done) == fails


def test_all_faults_are_told_at_once(pki):
    leaf = pki.issue("all-faults", ["else.example.org"], expired=True, foreign=True)
    with TlsServer(leaf) as server:
        done = probe(server, "--match", NAME, "--level", "secure", "--pin",
                     pin_of(pki.rsa))
    assert failing(done) == {"chain", "validity", "names", "pins"}


def test_wrong_purpose(pki):
    leaf = pki.issue("for-clients", ["localhost"], usage="clientAuth")
    with TlsServer(leaf) as server:
        done = probe(server)
    assert done.returncode == NOT_MET and failing(done) == {"purpose"}
    assert checks(done)["chain"][0] == "pass"


@pytest.mark.parametrize("level, status", [("encrypt", NOT_MET), ("may", MET), ("none", MET)])
def test_server_without_starttls(pki, level, status):
    with Backend(keywords=["SIZE 1000"], replies={"STARTTLS": b"502 5.5.1 what?\r\n"}) as server:
        done = probe(server, "--level", level)
        assert done.returncode == status
        assert ("C: STARTTLS" in dialogue(done)) == (level == "encrypt")
        assert dialogue(done)[-2:] == (["S: 502 5.5.1 what?", "C: QUIT"] if status else
                                       ["C: QUIT", "S: 221 2.0.0 bye"])
        assert ("starttls-not-supported" in result(done)) == bool(status)
        facts = ", TLS is not asked for" if level == "none" else ", no TLS, highest level may"
        assert f": level {level}{facts}" in result(done)


@pytest.mark.parametrize("trouble, words", [
    ({"answer": b"454 4.7.0 not now\r\n"}, "backend refuses STARTTLS: 454 4.7.0 not now"),
    ({"vanishes": True}, "validation-failure: TLS handshake failed: server closed"),
    ({"answer": GO_AHEAD + b"250 injected\r\n"}, "validation-failure: TLS handshake failed: "),
])
def test_refused_handshake_is_not_met(pki, trouble, words):
    with TlsServer(pki.ecdsa, **trouble) as server:
        done = probe(server)
    assert done.returncode == NOT_MET and words in result(done)
    assert not checks(done)


def test_handshake_that_fails_is_told_where_it_happened(pki):
    with TlsServer(pki.ecdsa, vanishes=True) as server:
        done = probe(server)
    assert dialogue(done)[-1] == "   (the TLS handshake has failed)"


# -- no answer

def test_closed_port():
    done = probe(f"127.0.0.1:{net.free_port()}", "--level", "may")
    assert done.returncode == NO_ANSWER
    assert result(done).startswith("NO ANSWER: ") and "Connection refused" in result(done)


def test_name_that_does_not_exist():
    done = probe("no-such-host.invalid", "--level", "may")
    assert done.returncode == NO_ANSWER and "no-such-host.invalid" in result(done)


SCENES = {
    "silent": lambda peer: peer.read_to_end(),
    "silent-after-greeting": lambda peer: (peer.send(b"220 hi\r\n"), peer.read_to_end()),
    "half-a-greeting": lambda peer: (peer.send(b"220-hi\r\n220"), peer.read_to_end()),
    "silent-in-the-handshake": lambda peer: (
        peer.send(b"220 hi\r\n"), peer.read_line(), peer.send(b"250-hi\r\n250 STARTTLS\r\n"),
        peer.read_line(), peer.send(b"220 go\r\n"), peer.read_to_end()),
}


@pytest.mark.parametrize("scene", SCENES)
def test_silent_server_is_left_at_the_deadline(scene):
    with ScriptedBackend(SCENES[scene]) as server:
        done = probe(server, "--level", "encrypt", "--timeout", 1)
    assert done.returncode == NO_ANSWER and "took too long" in result(done)


@pytest.mark.parametrize("said, words", [
    (b"", "closed the connection"),
    (b"554 5.3.2 no service\r\n", "backend gives no service: 554 5.3.2 no service"),
    (b"+OK POP3 ready\r\n", "not an SMTP reply"),
    (b"x" * 100000, "too long"),
])
def test_what_is_no_answer(said, words):
    with ScriptedBackend(lambda peer: (peer.send(said), said and peer.read_line())) as server:
        done = probe(server, "--level", "encrypt")
    assert done.returncode == NO_ANSWER and words in result(done)
    assert "while reading the backend's greeting" in result(done)


def test_server_that_vanishes_under_tls(pki):
    """TLS was good, and is told; but nobody would be served."""
    def vanish(session, line):
        if session.tls:
            raise ConnectionError("vanished")
        return b"250-hi\r\n250 STARTTLS\r\n"
    with TlsServer(pki.ecdsa, replies={"EHLO": vanish}) as server:
        done = probe(server)
    assert done.returncode == NO_ANSWER and "while relaying EHLO" in result(done)
    assert levels(done)[-1] == "secure" and "highest level secure" in result(done)


def test_one_of_two_addresses_that_is_dead(pki):
    """localhost is ::1 as well on most machines; a destination of two addresses is made certain."""
    dead = net.free_port()
    with TlsServer(pki.ecdsa) as server:
        text = global_part() + section(
            "out", accept=f"127.0.0.1:{net.free_port()}", client=True, protocol="smtp",
            connect=[f"localhost:{dead}", f"localhost:{server.address[1]}"], CAfile=pki.ca)
        path = pki.dir / "two.conf"
        path.write_text(text)
        args = ["--config", path, "--service", "out", "-4"]
        done = probe(None, *args)
        assert done.returncode == MET and f"met: localhost:{server.address[1]} " in result(done)
        done = probe(None, *args, "--all")
        assert done.returncode == NO_ANSWER
        assert [line.split(":")[0] for line in done.stdout.splitlines()
                if re.match(r"(met|NOT MET|NO ANSWER): ", line)] == ["NO ANSWER", "met"]
        assert f"\n127.0.0.1:{server.address[1]}\n" in done.stdout


def test_family(pki):
    with TlsServer(pki.ecdsa) as server:
        done = probe(server, "--match", NAME, "-6", by="127.0.0.1")
        assert done.returncode == NO_ANSWER and "-6" in result(done)
        assert probe(server, "--match", NAME, "-4",
                     by="127.0.0.1").returncode == MET
    with TlsServer(pki.ecdsa, address=("::1", net.free_port("::1"))) as server:
        done = probe(server, "--match", NAME, by="[::1]")
        assert done.returncode == MET and "([::1]:" in result(done)


# -- hostile servers

def test_escape_sequences_do_not_reach_the_terminal(pki):
    evil = "\x1b[2J\x1b]0;x\x07\u009b31m"
    cert, key = pki.dir / "evil.pem", pki.dir / "evil-key.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    openssl("req", "-x509", "-new", "-key", key, "-utf8", "-subj", f"/CN=a{evil}b", "-days",
            "9", "-addext", "subjectAltName=DNS:mx\x1b[2J.example.org", "-out", cert)
    leaf = type(pki.lonely)(cert, key, [])
    with TlsServer(leaf) as server:
        server.greeting = f"220 {evil}\r\n".encode()
        server.replies["QUIT"] = f"221 {evil}\r\n".encode()
        done = probe(server, "--level", "encrypt")      # which looks at every byte
    assert done.returncode == MET
    assert r"S: 220 \x1b[2J\x1b]0;x\x07\xc2\x9b31m" in done.stdout
    assert r"S: 221 \x1b[2J\x1b]0;x\x07\xc2\x9b31m" in done.stdout
    assert "names    mx?[2J.example.org" in done.stdout


def test_words_of_the_server_in_the_result_are_escaped():
    with ScriptedBackend(lambda peer: (peer.send(b"554 \x1b[31mred\x85\r\n"),
                                       peer.read_line())) as server:
        done = probe(server, "--level", "encrypt")
    assert r"554 \x1b[31mred\x85" in result(done)


def test_endless_talk_is_cut(pki):
    def scene(peer):
        peer.send(b"220-" + b"a" * 3000 + b"\r\n" + b"220-b\r\n" * 5000 + b"220 c\r\n")
        peer.read_to_end()
    with ScriptedBackend(scene) as server:
        done = probe(server, "--level", "encrypt", "--timeout", 1)
    assert done.returncode == NO_ANSWER
    assert len(done.stdout) < 8000 and done.stdout.count("(more is not shown)") == 1


def test_answers_in_single_bytes(pki):
    def scene(peer):
        for text in (b"220 hi there\r\n", b"250-hi\r\n250 SIZE\r\n", b"502 no\r\n"):
            for byte in text:
                peer.send(bytes([byte]))
            peer.read_line()
    with ScriptedBackend(scene) as server:
        done = probe(server, "--level", "encrypt")
    assert done.returncode == NOT_MET
    assert dialogue(done)[0] == "S: 220 hi there" and "S: 250-hi" in dialogue(done)


# -- a service of a configuration

def write_config(tmp_path, pki, server, **options):
    path = tmp_path / "services.conf"
    path.write_text(global_part(hostname="proxy.example.org") + section(
        "in", accept=f"127.0.0.1:{net.free_port()}", connect="127.0.0.1:10025", protocol="smtp",
        cert=pki.ecdsa.cert, key=pki.ecdsa.key) + section("out", **{
            "accept": f"127.0.0.1:{net.free_port()}", "client": True, "protocol": "smtp",
            "connect": f"localhost:{server.address[1]}", "CAfile": pki.ca, **options}))
    return path


def test_policy_of_the_service_decides(pki, tmp_path):
    with TlsServer(pki.lonely) as server:
        port = server.address[1]
        path = write_config(tmp_path, pki, server, tlsPolicy=[
            f"/^localhost:{port}$/ encrypt", f"/^127/ fingerprint pin={pin_of(pki.lonely)}",
            f"/^ip6-localhost/ fingerprint pin={pin_of(pki.rsa)}"])
        args = ["--config", path, "--service", "OUT"]
        done = probe(None, *args)
        assert done.returncode == MET and "level encrypt," in result(done), done.stderr
        assert "C: EHLO proxy.example.org" in dialogue(done)
        done = probe(server, *args, by="127.0.0.1")
        assert done.returncode == MET and "level fingerprint," in result(done)
        done = probe(server, *args, by="127.0.0.2")
        assert done.returncode == NO_ANSWER     # nobody listens there; the rule would be the same
        path.write_text(path.read_text().replace(f"/^localhost:{port}$/ encrypt",
                                                 "/^elsewhere/ encrypt"))
        done = probe(None, *args)
        assert done.returncode == NOT_MET and "level secure," in result(done)


def test_version_that_the_server_does_not_have(pki, tmp_path):
    with TlsServer(pki.ecdsa, maximum=ssl.TLSVersion.TLSv1_2) as server:
        path = write_config(tmp_path, pki, server, tlsPolicy="/./ secure minimum=TLS1.3")
        done = probe(None, "--config", path, "--service", "out")
        assert done.returncode == NOT_MET
        assert "TLS handshake failed: server sent the alert" in result(done)


def test_service_shows_its_certificate(pki, tmp_path):
    with TlsServer(pki.ecdsa, client_ca=pki.ca) as server:
        path = write_config(tmp_path, pki, server, cert=pki.second.cert, key=pki.second.key)
        done = probe(None, "--config", path, "--service", "out")
        assert done.returncode == MET, done.stdout + done.stderr
        names = server.ended().peer_certificate["subjectAltName"]
        assert ("DNS", "mail.example.net") in names


def test_fall_back_of_the_service_is_met_in_clear(pki, tmp_path):
    with TlsServer(pki.ecdsa, vanishes=True) as server:
        path = write_config(tmp_path, pki, server, tlsLevel="may", fallBack=True, CAfile=None)
        done = probe(None, "--config", path, "--service", "out")
        assert done.returncode == MET
        assert ", no TLS, highest level may: validation-failure: TLS hand" in result(done)
        lines = dialogue(done)
        assert "   (another connection)" in lines and lines[-1] == "S: 221 2.0.0 bye"
        assert len(server.sessions) == 2


def test_service_with_a_header_sends_one(pki, tmp_path):
    def scene(peer):
        peer.events["header"] = peer.read_line()
        peer.send(b"554 seen\r\n")
        peer.read_line()
    with ScriptedBackend(scene) as server:
        path = write_config(tmp_path, pki, server, identity="proxy")
        probe(None, "--config", path, "--service", "out")
        assert re.fullmatch(rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ %d\r\n" % server.address[1],
                            server.ended().events["header"])


def test_revoked(pki, tmp_path):
    with TlsServer(pki.ecdsa) as server:
        path = write_config(tmp_path, pki, server, CRLfile=pki.crl("probe", pki.ecdsa))
        done = probe(None, "--config", path, "--service", "out")
        assert done.returncode == NOT_MET and failing(done) == {"revocation"}
        path.write_text(path.read_text().replace("probe.crl", "probe-none.crl"))
        pki.crl("probe-none", pki.rsa)
        done = probe(None, "--config", path, "--service", "out")
        assert done.returncode == MET and checks(done)["revocation"][0] == "pass"


# -- TLS from the first byte, and no protocol

def test_implicit_tls(pki):
    with TlsServer(pki.ecdsa, implicit=True) as server:
        done = probe(server, "--implicit-tls")
        assert done.returncode == MET
        assert dialogue(done)[:2] == ["   (TLS from here)",
                                      "S: 220 server.example.org ESMTP secret-greeting"]
        done = probe(server, "--implicit-tls", "--CAfile", pki.other_ca)
        assert done.returncode == NOT_MET and "certificate-not-trusted" in result(done)
        assert server.secret(server.ended(1)) == b""
    with TlsServer(pki.ecdsa) as server:
        done = probe(server, "--implicit-tls")
        assert done.returncode == NOT_MET and "validation-failure" in result(done)


def test_server_of_any_protocol_that_begins_with_tls(pki):
    with TlsServer(pki.ecdsa, implicit=True) as server:
        server.greeting = b"+OK POP3 server ready\r\n"
        done = probe(server, "--protocol", "none")
        assert done.returncode == MET and levels(done)[-1] == "secure"
        assert server.secret(server.ended()) == b""


def test_lmtp(pki):
    with TlsServer(pki.ecdsa, lmtp=True) as server:
        server.replies["LHLO"] = server.replies["EHLO"]
        done = probe(server, "--protocol", "lmtp")
    assert done.returncode == MET
    assert [line[3:7] for line in dialogue(done) if line[:2] == "C:"] == ["LHLO", "STAR", "LHLO",
                                                                          "QUIT"]


def test_unix_socket(pki, public_dir):
    with TlsServer(pki.ecdsa, address=str(public_dir / "socket")) as server:
        done = probe(server.address, "--match", NAME)
        assert done.returncode == MET, done.stdout + done.stderr
        assert result(done).startswith(f"met: {server.address} ({server.address}): ")


# -- several servers

class Several:
    """A service that has these in `connect`, in this order."""

    def __init__(self, directory, pki, servers, **options):
        self.config = directory / "several.conf"
        self.config.write_text(global_part(hostname="proxy.example.org") + section("out", **{
            "accept": "127.0.0.1:1", "client": True, "protocol": "smtp", "CAfile": pki.ca,
            "checkHost": NAME, "connect": [getattr(s, "address", s) if isinstance(s, str) else
                                           text_of(s.address) for s in servers], **options}))

    def probe(self, *args, **more):
        return probe(None, "--config", self.config, "--service", "out", *args, **more)


def results(done):
    """The first word of each result, and where it is of."""
    return re.findall(r"^(met|NOT MET|NO ANSWER): (?:backend )?(\S+?)[ :]*(?: |$)", done.stdout, re.M)


def heading(server):
    return f"{text_of(server.address)} ({text_of(server.address)})\n"


def dead_address():
    return f"127.0.0.1:{net.free_port()}"


@pytest.mark.parametrize("trouble", TROUBLES)
def test_next_server_is_met_where_a_session_would_meet_it(pki, tmp_path, trouble):
    _, _, reason, clear, secret = TROUBLES[trouble]
    with troubled(pki, trouble) as bad, TlsServer(pki.ecdsa) as good:
        done = Several(tmp_path, pki, [bad, good]).probe()
        assert done.returncode == MET, done.stdout + done.stderr
        if clear is not None:
            has_heard(bad, bad.ended(), clear, secret)
        assert [c.split()[0] for c in good.ended().commands] == [b"EHLO", b"STARTTLS", b"EHLO",
                                                                 b"QUIT"]
        assert len(bad.sessions) == len(good.sessions) == 1
        first, second = done.stdout.split("\n\n" + heading(good))
    assert first.startswith(heading(bad))
    word = "NO ANSWER" if trouble in ("ehlo-421", "greeting-421", "greeting-554", "nonsense") \
        else "NOT MET"
    left = first.splitlines()[-1]
    assert left.startswith(f"{word}: {text_of(bad.address)} ") and f": {reason}" in left, left
    count = "1 no answer" if word == "NO ANSWER" else "1 not met"
    assert result(done).startswith(f"met: {text_of(good.address)} ")
    assert result(done).endswith(f"; number 2 of 2 would serve, before it: {count}")
    assert "FAIL" not in second and second.count("\ncertificate 1 of ") == 1
    assert ("FAIL" in first) == (trouble in ("untrusted", "wrong-name", "expired"))


def test_first_server_that_serves_is_the_only_one(pki, tmp_path):
    with TlsServer(pki.ecdsa) as good, TlsServer(pki.expired) as other:
        several = Several(tmp_path, pki, [good, other])
        done = several.probe()
        assert done.returncode == MET and done.stdout.startswith(heading(good))
        assert results(done) == [("met", text_of(good.address))] and " of 2" not in result(done)
        assert len(other.sessions) == 0
        assert several.probe("--all", "--brief").returncode == NOT_MET
        assert len(other.sessions) == 1


@pytest.mark.parametrize("first, second, status, told", [
    ("untrusted", "greeting-554", NO_ANSWER, "1 not met, 1 no answer"),
    ("greeting-554", "untrusted", NOT_MET, "1 not met, 1 no answer"),
    ("expired", "untrusted", NOT_MET, "2 not met"),
    ("nonsense", "greeting-421", NO_ANSWER, "2 no answer"),
    ("vanishing", "refusing", NOT_MET, "2 not met"),
])
def test_if_all_fail_the_last_one_counts(pki, tmp_path, first, second, status, told):
    with troubled(pki, first) as one, troubled(pki, second) as other:
        done = Several(tmp_path, pki, [one, other]).probe()
        assert done.returncode == status
        assert [where for _, where in results(done)] == [text_of(s.address) for s in (one, other)]
    assert result(done).endswith(f"; tried 2 of 2, and none would serve: {told}")


def test_last_of_several_that_was_reached_counts(pki, tmp_path):
    """Its result is told again, behind those that could not be reached."""
    ends = [dead_address(), dead_address()]
    with TlsServer(pki.expired) as bad:
        done = Several(tmp_path, pki, [ends[0], bad, ends[1]]).probe()
        brief = Several(tmp_path, pki, [ends[0], bad, ends[1]]).probe("--brief")
    where = text_of(bad.address)
    assert done.returncode == brief.returncode == NOT_MET
    assert results(done) == [("NO ANSWER", ends[0]), ("NOT MET", where), ("NO ANSWER", ends[1]),
                             ("NOT MET", where)]
    assert done.stdout.count("certificate 1 of 1") == 1
    assert result(done).endswith("; tried 3 of 3, and none would serve: 1 not met, 2 no answer")
    assert result(brief) == result(done) and len(brief.stdout.splitlines()) == 1


def test_nobody_is_there(pki, tmp_path):
    ends = [dead_address(), dead_address()]
    done = Several(tmp_path, pki, ends).probe()
    assert done.returncode == NO_ANSWER and len(done.stdout.splitlines()) == 1
    assert all(f"backend {one}: Connection refused" in done.stdout for one in ends)
    assert result(done).endswith("; tried 2 of 2, and none would serve: 2 no answer")


def test_silent_server_leaves_time_for_the_next(pki, tmp_path):
    with ScriptedBackend(silent) as mute, TlsServer(pki.ecdsa) as good:
        several = Several(tmp_path, pki, [mute, good])
        done = several.probe("--timeout", 3)
        assert done.returncode == MET and "took too long" in done.stdout, done.stdout
        done = several.probe("--timeout", 3, "--brief")
    assert done.returncode == MET and len(done.stdout.splitlines()) == 1
    assert done.stdout.endswith("; number 2 of 2 would serve, before it: 1 no answer\n")


def test_each_server_has_its_own_level(pki, tmp_path):
    with TlsServer(pki.expired) as one, TlsServer(pki.lonely) as other:
        done = Several(tmp_path, pki, [one, other],
                       tlsPolicy=f"/:{other.address[1]}$/ encrypt").probe()
        assert done.returncode == MET and "level encrypt," in result(done)
        assert f"NOT MET: {text_of(one.address)} ({text_of(one.address)}): level secure," in done.stdout


def test_each_server_is_shown_from_its_first_line(pki, tmp_path):
    def talk(peer):
        peer.send(b"220-b\r\n" * 1000 + b"554 c\r\n")
        peer.read_to_end()
    with ScriptedBackend(talk) as bad, TlsServer(pki.ecdsa) as good:
        done = Several(tmp_path, pki, [bad, good]).probe()
    assert done.returncode == MET and done.stdout.count("(more is not shown)") == 1
    assert "S: 220 server.example.org ESMTP secret-greeting" in dialogue(done)


@pytest.mark.parametrize("protocol", ["smtp", None])
def test_next_server_with_tls_from_the_first_byte(pki, tmp_path, protocol):
    with TlsServer(pki.expired, implicit=True) as bad, \
            ScriptedBackend(lambda peer: None) as hasty, TlsServer(pki.ecdsa, implicit=True) as good:
        done = Several(tmp_path, pki, [bad, hasty, good], implicitTls=True, protocol=protocol).probe()
        assert done.returncode == MET, done.stdout
        assert bad.secret(bad.ended()) == b""
    assert result(done).endswith("; number 3 of 3 would serve, before it: 2 not met")
    assert dialogue(done).count("   (TLS from here)") == 2
    assert dialogue(done).count("   (the TLS handshake has failed)") == 1


def test_certificate_of_the_one_that_serves_expires_soon(pki, tmp_path):
    with TlsServer(pki.foreign) as bad, TlsServer(pki.ecdsa) as good:
        done = Several(tmp_path, pki, [bad, good]).probe("--days", 30, "--brief")
    assert done.returncode == NOT_MET and "in 30 days it will be so: " in done.stdout
    assert done.stdout.endswith("; number 2 of 2 would serve, before it: 1 not met\n")


# -- the login of a service

@pytest.fixture
def logs_in(tmp_path, pki):
    """logs_in(server, ...): its service logs in, by a password in a file."""
    def start(*servers, secret=PASSWORD, kind="protocolPasswordFile", **options):
        path = tmp_path / "secret"
        path.write_text(f"{secret}\n")
        path.chmod(0o600)
        return Several(tmp_path, pki, servers,
                       **{"protocolUsername": USER,
                          kind: path if kind.endswith("File") else secret, **options})
    return start


def sasl(pki, mechanisms, token=False, leaf="ecdsa", **more):
    return SaslServer(getattr(pki, leaf), mechanisms, user=USER,
                      secret=TOKEN if token else PASSWORD, **more)


def login(done):
    """What is said of it, once."""
    said, = re.findall(r"^login: (.*)$", done.stdout, re.M)
    return said


def tells_no_secret(done, *secrets):
    """Not as it is, nor in base64, at any of the three places it can begin at there."""
    for secret in (PASSWORD, TOKEN, *secrets):
        words = secret.encode()
        forms = [base64.b64encode(b"\0" * n + words).decode()[(0, 2, 3)[n]:].rstrip("=")[:-1]
                 for n in range(3)]
        for form in (secret, secret[:9], *forms):
            assert form not in done.stdout + done.stderr, form


def auth_lines(session):
    return [c for c in session.commands if c.upper().startswith(b"AUTH")]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2"])
def test_login_that_passes(logs_in, pki, mechanism):
    token = mechanism == "XOAUTH2"
    kind = {"kind": "protocolTokenFile", "secret": TOKEN} if token else {}
    with sasl(pki, mechanism, token) as server:
        done = logs_in(server, **kind).probe("--login")
        session = server.ended()
    assert done.returncode == MET, done.stdout + done.stderr
    assert session.events["login"] == mechanism and session.commands[-1] == b"QUIT"
    assert login(done) == f"pass ({mechanism})" and f", login by {mechanism}" in result(done)
    lines = dialogue(done)
    begin = next(i for i, line in enumerate(lines) if line.startswith("C: AUTH"))
    assert re.fullmatch(rf"C: AUTH {mechanism}( \(not shown\))?", lines[begin])
    shown = "\n".join(lines[begin + 1:lines.index("S: 235 (not shown)") + 1])
    assert re.fullmatch(r"(S: 334( \S+| \(not shown\))\nC: ( \(not shown\))?\n)*S: 235 \(not shown\)",
                        shown), shown
    assert lines[-2:] == ["C: QUIT", "S: 221 (not shown)"]
    tells_no_secret(done)


def test_login_under_tls_from_the_first_byte(logs_in, pki):
    with sasl(pki, "PLAIN", implicit=True) as server:
        service = logs_in(server, implicitTls=True)
        assert login(service.probe("--login")) == "pass (PLAIN)"
        server.secret_text = b"another"
        done = service.probe("--login")
    assert done.returncode == NOT_MET and login(done).startswith("FAIL: login by PLAIN was refused: ")


def test_wrong_password_is_told_with_the_reply_and_tried_once(logs_in, pki):
    refusal = b"535 5.7.8 no,\x1b[2J no\xff\r\n"
    with sasl(pki, "SCRAM-SHA-256 PLAIN", refusal=refusal) as server, \
            sasl(pki, "SCRAM-SHA-256 PLAIN") as other:
        done = logs_in(server, other, secret="wrong-horse").probe("--login")
        assert len(server.ended().events["attempts"]) == 1 and not other.sessions
    assert done.returncode == NOT_MET and not failing(done)
    assert login(done).startswith(
        r"FAIL: login by SCRAM-SHA-256 was refused: 535 5.7.8 no,\x1b[2J no\xff; see protocolUsername")
    assert "highest level secure" in result(done) and r": 535 5.7.8 no,\x1b[2J no\xff" in result(done)
    assert dialogue(done)[-2:] == ["S: 535 (not shown)", "C: QUIT"]
    tells_no_secret(done, "wrong-horse")


def test_temporary_failure_of_a_login(logs_in, pki):
    with sasl(pki, "PLAIN", replies={"AUTH": b"454 4.7.0 directory is down\r\n"}) as server:
        done = logs_in(server).probe("--login")
    assert done.returncode == NOT_MET
    assert login(done) == "FAIL: login by PLAIN was refused: 454 4.7.0 directory is down"


def test_server_that_vanishes_at_the_login(logs_in, pki):
    def vanish(session, line):
        raise ConnectionError("vanished")
    with sasl(pki, "PLAIN", replies={"AUTH": vanish}) as server:
        done = logs_in(server).probe("--login")
    assert done.returncode == NO_ANSWER and login(done).startswith("FAIL: backend ")
    assert "while logging in to the backend" in result(done)


@pytest.mark.parametrize("echo", [
    lambda line: line, lambda line: base64.b64decode(line.split()[2]).replace(b"\0", b" "),
    lambda line: b"no " + PASSWORD.encode()])
@pytest.mark.parametrize("code", [b"535 5.7.8 bad: ", b"535-5.7.8 bad: ", b"", b"235 2.7.0 welcome "])
def test_reply_that_repeats_the_password_is_not_shown(logs_in, pki, echo, code):
    """Nor is what is said later, by whoever knows it by now."""
    def repeat(session, line):
        session.said = b" " + echo(line)
        return code + echo(line) + b"\r\n" + (b"535 " + echo(line) + b"\r\n" if b"-" in code else b"")
    with sasl(pki, "PLAIN", replies={
            "AUTH": repeat, "QUIT": lambda session, line: b"221" + session.said + b"\r\n"}) as server:
        done = logs_in(server).probe("--login")
    assert "C: AUTH PLAIN (not shown)" in dialogue(done)
    assert done.returncode == {b"535": NOT_MET, b"": NO_ANSWER, b"235": MET}[code[:3]], done.stdout
    tells_no_secret(done)


def test_server_without_the_mechanism(logs_in, pki):
    with sasl(pki, "PLAIN LOGIN", in_clear="SCRAM-SHA-256") as server:
        done = logs_in(server, protocolAuthentication="SCRAM-SHA-256 CRAM-MD5").probe("--login")
        assert not auth_lines(server.ended())
    assert done.returncode == NOT_MET
    assert login(done).startswith("FAIL: server offers none of the mechanisms that are wanted, but "
                                  "others: PLAIN LOGIN; protocolAuthentication must name one")


def test_impostor_is_found_out(logs_in, pki):
    with sasl(pki, "SCRAM-SHA-256", quirks=["impostor"]) as server:
        done = logs_in(server).probe("--login")
    assert done.returncode == NOT_MET and "could not prove that it knows the password" in login(done)


@pytest.mark.parametrize("leaf, more", [
    ("expired", {}), ("second", {}), ("foreign", {}), ("expired", {"implicit": True}),
    ("ecdsa", {"offers": False, "answer": b"502 what\r\n"}), ("ecdsa", {"vanishes": True})])
def test_server_that_has_not_passed_never_hears_auth(logs_in, pki, leaf, more):
    with sasl(pki, "PLAIN LOGIN", leaf=leaf, in_clear="PLAIN", **more) as bad:
        done = logs_in(bad, implicitTls=more.get("implicit", False)).probe("--login")
        assert done.returncode == NOT_MET
        assert b"AUTH" not in bad.ended().received and b"AUTH" not in bad.secret(bad.ended())
        assert login(done) == "not tried: no server was good enough for it"
        with sasl(pki, "PLAIN", implicit=bad.implicit) as good:
            done = logs_in(bad, good, implicitTls=bad.implicit).probe("--login")
            assert good.ended().events["login"] == "PLAIN"
        assert b"AUTH" not in bad.ended(1).received and b"AUTH" not in bad.secret(bad.ended(1))
    assert done.returncode == MET and login(done) == "pass (PLAIN)"


def test_level_at_which_the_service_would_not_log_in(logs_in, pki):
    with sasl(pki, "PLAIN", leaf="lonely") as server:
        pinned = {"tlsLevel": "fingerprint", "verifyPeer": pin_of(pki.lonely), "CAfile": None,
                  "checkHost": None}
        assert login(logs_in(server, **pinned).probe("--login")) == "pass (PLAIN)"
        for level in ("none", "may", "encrypt", "dane"):
            done = logs_in(server, tlsLevel=level, CAfile=None, checkHost=None).probe("--login")
            assert done.returncode == CONFIG and "passwords go to servers that are verified" in done.stderr
        assert len(server.sessions) == 1


def test_nobody_logs_in_unasked(logs_in, pki, tmp_path):
    with sasl(pki, "PLAIN") as server:
        service = logs_in(server)
        (tmp_path / "secret").unlink()
        done = service.probe()
        assert done.returncode == MET and login(done) == "not tried; --login tries it", done.stderr
        assert not auth_lines(server.ended())
        assert len(service.probe("--brief").stdout.splitlines()) == 1
        done = service.probe("--login")
    assert done.returncode == CONFIG and done.stdout == ""
    assert re.search(r"several\.conf:\d+: protocolPasswordFile: cannot read \S+: No such file",
                     done.stderr)
    assert len(server.sessions) == 2


def test_service_that_does_not_log_in(pki, tmp_path):
    with sasl(pki, "PLAIN") as server:
        done = Several(tmp_path, pki, [server]).probe("--login")
        assert done.returncode == USAGE and not server.sessions
        assert "[out] does not log in: leave --login out, or write protocolUsername" in done.stderr
        assert "login" not in Several(tmp_path, pki, [server]).probe().stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_user_who_may_not_read_the_secret(pki, public_dir):
    (public_dir / "secret").write_text(PASSWORD)
    (public_dir / "secret").chmod(0o600)
    authority = public_dir / "ca.pem"
    authority.write_text(Path(pki.ca).read_text())
    for path in (authority, public_dir):
        path.chmod(0o755)
    with sasl(pki, "PLAIN") as server:
        service = Several(public_dir, pki, [server], CAfile=authority, protocolUsername=USER,
                          protocolPasswordFile=public_dir / "secret")
        service.config.chmod(0o644)

        def by_nobody(*args):
            return subprocess.run(
                [ehlock.program(), "probe", "--config", service.config, "--service", "out", *args],
                user=65534, group=65534, extra_groups=[], capture_output=True, text=True,
                timeout=net.DEADLINE)
        done = by_nobody()
        assert done.returncode == MET and "login: not tried" in done.stdout, done.stderr
        done = by_nobody("--login")
    assert done.returncode == CONFIG and "Permission denied" in done.stderr
    assert "--login is for who may read the secret: root?" in done.stderr


@pytest.fixture
def teller(public_dir):
    return Teller(public_dir)


def test_token_of_a_program(logs_in, pki, teller):
    with sasl(pki, "XOAUTH2", token=True) as server:
        service = logs_in(server, secret=f"{teller.path} one", kind="protocolTokenProgram")
        done = service.probe()
        assert done.returncode == MET and not teller.starts()
        done = service.probe("--login")
        assert done.returncode == MET and login(done) == "pass (XOAUTH2)", done.stdout + done.stderr
        assert server.ended(1).events["login"] == "XOAUTH2" and teller.starts() == ["one"]
        assert done.stderr == ""
        tells_no_secret(done)
        teller.act(f"echo {TOKEN}; exit 3")
        done = service.probe("--login")
        assert not auth_lines(server.ended(2))
    assert done.returncode == NOT_MET
    assert login(done).startswith(
        "FAIL: no token: protocolTokenProgram ended with status 3; run it by hand as its user")
    tells_no_secret(done)


def test_program_is_not_asked_for_a_server_that_has_not_passed(logs_in, pki, teller):
    with sasl(pki, "XOAUTH2", token=True, leaf="expired") as bad:
        done = logs_in(bad, secret=teller.path, kind="protocolTokenProgram").probe("--login")
    assert done.returncode == NOT_MET and not teller.starts()


# -- monitoring, and the command line

def test_brief_is_one_line(pki):
    with TlsServer(pki.ecdsa) as server:
        done = probe(server, "--brief")
        assert done.returncode == MET
        assert re.fullmatch(r"met: localhost:\d+ \(127\.0\.0\.1:\d+\): level secure, TLS1\.3, "
                            r"\S+, highest level secure, valid until .* UTC, 19 days from now\n",
                            done.stdout)
    done = probe(server, "--brief")
    assert done.returncode == NO_ANSWER and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("days, status", [(18, MET), (21, NOT_MET)])
def test_certificate_that_expires_soon(pki, days, status):
    with TlsServer(pki.ecdsa) as server:
        done = probe(server, "--brief", "--days", days)
        assert done.returncode == status
        assert ("in 21 days it will be so: " in done.stdout) == bool(status)


@pytest.mark.parametrize("args, status, words", [
    ([], USAGE, "which host?"),
    (["a", "b"], USAGE, "usage: "),
    (["a", "--nonsense"], USAGE, "usage: "),
    (["a", "--days", "soon"], USAGE, "usage: "),
    (["a", "--timeout", "0"], USAGE, "--timeout: TIMEOUTconnect must be"),
    (["a", "--match", "x\ntlsLevel = none"], USAGE, "usage: "),
    (["a", "--config", "/etc/x.conf"], USAGE, "belong together"),
    (["a", "--login"], USAGE, "for a service that logs in: write --config FILE"),
    (["a", "--config", "/etc/x.conf", "--service", "s", "--login"], USAGE, "leave HOST out"),
    (["--config", "/etc/x.conf", "--service", "s", "--all", "--login"], USAGE, "leave --all out"),
    (["a", "--config", "/etc/x.conf", "--service", "s", "--level", "may"], USAGE,
     "for the service to say: leave --level out"),
    (["a", "--protocol", "lmtp", "--implicit-tls"], USAGE, "which port?"),
    (["a", "--protocol", "none"], USAGE, "which port?"),
    (["a", "--protocol", "gopher"], USAGE, "gopher"),
    (["a", "--level", "best"], CONFIG, "--level: tlsLevel "),
    (["a", "--pin", "12"], CONFIG, "--pin: verifyPeer: "),
    (["a", "--level", "may", "--pin", "sha256:" + "ab" * 32], CONFIG,
     "--pin: verifyPeer means nothing"),
    (["a", "--level", "may", "--level", "none"], CONFIG, "--level: tlsLevel is given twice"),
    (["192.0.2.1"], CONFIG, "checkHost is --match"),
    (["a", "--CAfile", "/nonexistent/ca.pem"], CONFIG, "--CAfile: CAfile: cannot read"),
    (["--config", "/nonexistent/x.conf", "--service", "s"], CONFIG, "cannot read /nonexistent"),
])
def test_command_that_cannot_be(args, status, words):
    done = ehlock.run("probe", *args)
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stderr and done.stdout == ""


def test_service_that_is_none(pki, tmp_path):
    with Backend() as server:
        path = write_config(tmp_path, pki, server)
        for name in ("in", "nobody"):
            done = probe(None, "--config", path, "--service", name)
            assert done.returncode == USAGE and "no service" in done.stderr


def test_help():
    done = ehlock.run("probe", "--help")
    assert done.returncode == 0 and "--brief" in done.stdout
