# SPDX-License-Identifier: ISC
"""protocol = managesieve (RFC 5804): STARTTLS, what is edited and refused, literals, and the pump behind
the login; and the other side, where the server is asked for TLS."""

import ssl

import ehlock
import net
import pytest
from backend import ScriptedBackend
from ehlock import Ehlock, global_part, section
from managesieve import CAPABILITIES, PASSWORD, Closed, SieveClient, SieveServer, plain
from net import text_of
from pki import NAME
from smtp_client import context
from starters import Single

DOWN = "BYE (TRYLATER) "
SCRIPT = b'require "fileinto";\r\n# \x00\xff\r\nLOGOUT\r\nbare \r and \n{3+}\r\n'
IN_CLEAR = ['"SASL" ""' if line.startswith('"SASL"') else line for line in CAPABILITIES]


# -- offering TLS

def test_script_is_kept_after_starttls(wrap, pki):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve")
        with SieveClient(proxy.address) as client:
            assert client.greeting == 'OK "ready"'
            assert client.capabilities == [*IN_CLEAR, '"STARTTLS"']
            assert client.capability() == [*IN_CLEAR, '"STARTTLS"']
            client.starttls(context(pki, alpn=["managesieve"]))
            assert client.capabilities == CAPABILITIES
            assert client.command('NOOP "STARTTLS-RESYNC-CAPA"').startswith("OK (TAG {20}")
            client.login()
            client.put("x", SCRIPT)
            assert client.get("x") == SCRIPT
            client.logout()
            assert client.read_to_end() == b"" and client.end == "close_notify"
        assert server.scripts == {b'"x"': SCRIPT}
        verbs = [command.split(b" ")[0] for command in server.ended().commands]
        assert verbs == [b"CAPABILITY", b"CAPABILITY", b"NOOP", b"AUTHENTICATE", b"PUTSCRIPT",
                         b"GETSCRIPT", b"LOGOUT"]
        summary = proxy.summary()
        assert summary["outcome"] == "done" and summary["step"] == "passing bytes"
        assert summary["tls"] == "TLS1.3" and summary["alpn"] == "managesieve"
        assert PASSWORD not in proxy.log and plain() not in proxy.log


def test_script_is_kept_by_a_program_that_inetd_starts(tmp_path, pki):
    with SieveServer() as server:
        path = tmp_path / "c.conf"
        path.write_text(global_part() + section(
            "sieve", connect=text_of(server.address), protocol="managesieve", cert=pki.ecdsa.cert,
            key=pki.ecdsa.key))
        single = Single(path)
        with SieveClient.over(single.sock) as client:
            client.starttls(context(pki))
            client.login()
            client.put("x", SCRIPT)
            client.logout()
        assert single.wait()[0] == 0
        assert server.scripts == {b'"x"': SCRIPT}


@pytest.mark.parametrize("word", ["yes", "auto"])
def test_tls_from_the_first_byte(wrap, pki, word):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", implicitTls=word)
        with SieveClient.implicit(proxy.address, context(pki)) as client:
            assert client.capabilities == CAPABILITIES
            client.login()
            client.put("x", SCRIPT)
            assert client.get("x") == SCRIPT
            client.logout()


def test_who_waits_is_greeted_in_clear(wrap, pki):
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve", implicitTls="auto").address) as client:
            assert '"STARTTLS"' in client.capabilities
            client.starttls(context(pki))
            client.login()


def test_foreign_alpn_is_refused(wrap, pki):
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            with pytest.raises((ssl.SSLError, Closed)):
                client.starttls(context(pki, alpn=["imap"]))


@pytest.mark.parametrize("command", [f'AUTHENTICATE "PLAIN" "{plain()}"', 'AUTHENTICATE "LOGIN"',
                                     'AUTHENTICATE {5+}\r\nPLAIN {4+}\r\nAGpv'])
@pytest.mark.parametrize("level", ["may", "encrypt"])
def test_no_password_is_taken_in_clear(wrap, level, command):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", tlsLevel=level)
        with SieveClient(proxy.address) as client:
            assert client.command(command) == ('NO (ENCRYPT-NEEDED) '
                                               '"Must issue a STARTTLS command first"')
            client.logout()
        assert server.ended().commands == [b"LOGOUT"]
        assert plain() not in proxy.log


@pytest.mark.parametrize("options", [{"tlsLevel": "none", "cert": None, "key": None},
                                     {"authBeforeTls": "yes"}])
def test_login_in_clear_where_it_is_permitted(wrap, options):
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve", **options).address) as client:
            assert [c for c in client.capabilities if c != '"STARTTLS"'] == CAPABILITIES
            client.login()
            client.put("x", SCRIPT)
            assert client.get("x") == SCRIPT


def test_the_administrator_edits_the_list(wrap, pki):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", hideCapability="/^IMPLEMENTATION /",
                     addCapability="MAXREDIRECTS 4", clientRule="/./ hide VERSION")
        with SieveClient(proxy.address) as client:
            client.starttls(context(pki))
            assert client.capabilities == [*CAPABILITIES[1:3], '"MAXREDIRECTS" "4"']


def test_refused_client_hears_why(wrap):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve",
                     clientRule=['127.0.0.1 refuse 550 Not "from" here'])
        with SieveClient(proxy.address) as client:
            assert client.greeting == 'BYE "Not \\"from\\" here"'
            assert client.read_to_end() == b""
        assert server.sessions == []


def test_too_many_clients_hear_that_they_may_come_back(wrap):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", maxConnections=1, spareWorkers=1)
        with SieveClient(proxy.address), SieveClient(proxy.address) as second:
            assert second.greeting.startswith(DOWN)


def test_without_a_good_certificate_nothing_but_logout(wrap, pki):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", tlsLevel="encrypt", verifyClient="require",
                     CAfile=pki.ca)
        with SieveClient(proxy.address) as client:
            client.starttls(context(pki))
            assert client.command("CAPABILITY").startswith("NO ")
            assert client.command(f'AUTHENTICATE "PLAIN" "{plain()}"').startswith("NO ")
            client.logout()
        assert server.ended().commands == [b"CAPABILITY", b"LOGOUT"]
        assert proxy.summary()["outcome"] == "refused"


# -- nothing said in clear counts

INJECTED = [b'AUTHENTICATE "PLAIN" "AGFiYw=="\r\n', b"CAPABILITY\r\n", b"NOOP {9+}\r\n", b"\r\n", b"\x16"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("injected", INJECTED)
def test_bytes_behind_starttls_break_the_handshake_and_reach_nobody(wrap, pki, injected, together):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve")
        with SieveClient(proxy.address) as client:
            client.capability()
            for part in [b"STARTTLS\r\n" + injected] if together else [b"STARTTLS\r\n", injected]:
                client.send(part)
            assert client.read_reply().startswith("OK")
            if client.buffer:
                rest = client.read_to_end()
                assert rest.startswith(b"\x15\x03") and len(rest) == 7, rest
            else:
                with pytest.raises((ssl.SSLError, Closed)):
                    client.handshake(context(pki))
        assert server.ended().commands == [b"CAPABILITY"]
        assert proxy.summary()["outcome"] != "done"


def test_attempt_in_clear_is_forgotten_with_the_connection(wrap, pki):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", authBeforeTls="yes")
        with SieveClient(proxy.address) as client:
            assert client.command('AUTHENTICATE "PLAIN" "AGFiYw=="').startswith("NO")
            client.starttls(context(pki))
            assert client.capabilities == CAPABILITIES
            client.login()
        assert server.ended(0).commands == [b'AUTHENTICATE "PLAIN" "AGFiYw=="', b"LOGOUT"]
        assert len(server.sessions) == 2


# -- literals

SMUGGLED = b"\r\nXCLIENT ADDR=192.0.2.7\r\n"


@pytest.mark.parametrize("command", [b'NOOP', b'AUTHENTICATE "NONE"', b"AUTHENTICATE", b"CAPABILITY",
                                     b"LOGOUT", b'PUTSCRIPT "x"', b"STARTTLS", b"FOO"])
def test_command_in_a_literal_reaches_nobody(wrap, pki, command):
    """Dovecot takes the literal of a command that it does not know for commands."""
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            client.starttls(context(pki))
            client.send(b"%s {%d+}\r\n%s\r\n" % (command, len(SMUGGLED), SMUGGLED))
            assert client.read_reply().startswith("NO ")
            assert client.command("NOOP") == "OK"
        assert server.ended().commands == [b"CAPABILITY", b"NOOP"]


@pytest.mark.parametrize("answer", [b"{26+}\r\n" + SMUGGLED, b"XCLIENT ADDR=192.0.2.7"])
def test_command_in_an_answer_reaches_nobody(wrap, pki, answer):
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            client.starttls(context(pki))
            assert client.command('AUTHENTICATE "PLAIN"') == '""'
            client.send(answer + b"\r\n")
            assert client.read_reply() == 'NO "Authentication data is not base64"'
        assert server.ended().commands == [b"CAPABILITY", b'AUTHENTICATE "PLAIN"', b'"*"']


@pytest.mark.parametrize("line", [b"NOOP {26}", b'NOOP "{26+}', b"NOOP {026+}", b"NOOP{26+}", b"NOOP {26+} ",
                                  b"NOOP ({26+}", b"NOOP {4294967322+}"])
def test_line_that_ends_nowhere_ends_the_session(wrap, pki, line):
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            client.starttls(context(pki))
            client.send(line + b"\r\n" + SMUGGLED)
            assert client.read_reply() == 'BYE "Syntax error"'
            assert client.read_to_end() == b""
        assert server.ended().commands == [b"CAPABILITY"]


def test_xclient_is_not_shown_and_not_taken(wrap, pki):
    with SieveServer(capabilities=['"XCLIENT"', '"VERSION" "1.0"']) as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            assert client.capabilities == ['"VERSION" "1.0"', '"STARTTLS"']
            assert client.command("XCLIENT ADDR=192.0.2.7") == 'NO "Not permitted"'
            client.starttls(context(pki))
            assert client.command("xclient ADDR=192.0.2.7") == 'NO "Not permitted"'
        assert server.ended().commands == [b"CAPABILITY"]


# -- the pump

def test_commands_sent_ahead_of_the_login_are_the_pumps(wrap, pki):
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            client.starttls(context(pki))
            client.send(b'AUTHENTICATE "PLAIN" "%s"\r\nPUTSCRIPT "x" {3+}\r\n\r\n.\r\nGETSCRIPT "x"\r\n'
                        b'LOGOUT\r\n' % plain().encode())
            assert client.read_to_end() == (b'OK "welcome"\r\nOK\r\n{3}\r\n\r\n.\r\nOK\r\nOK "bye"\r\n')
            assert client.end == "close_notify"


def test_large_script(wrap, pki):
    script = b"# comment\r\n" * (20_000 if ehlock.sanitized() else 200_000)
    with SieveServer() as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            client.starttls(context(pki))
            client.login()
            client.put("x", script)
            assert client.get("x") == script


# -- limits

def test_command_at_the_limit_and_over(wrap, pki):
    with SieveServer() as server:
        address = wrap(server, protocol="managesieve", maxCommandLength=512).address
        for size, wanted in [(497, "OK"), (498, 'BYE "Command too long"'), (10**8, 'BYE "Command')]:
            with SieveClient(address) as client:
                client.send(b"NOOP {%d+}\r\n%s\r\n" % (size, b"x" * min(size, 498)))
                assert client.read_reply().startswith(wanted)
        assert server.ended(1).commands == [] and server.ended(2).commands == []


def test_list_at_the_limit_and_over(wrap):
    for size in (600, 601):
        line = '"SIEVE" "' + "x" * (size - 16) + '"'
        greeting = f"{line}\r\nOK\r\n".encode()
        assert len(greeting) == size
        with SieveServer(greeting=greeting) as server:
            proxy = wrap(server, protocol="managesieve", maxReplySize=600)
            with SieveClient(proxy.address) as client:
                assert client.greeting.startswith("OK" if size == 600 else DOWN)
                assert size == 601 or client.capabilities == [line, '"STARTTLS"']


def test_passwords_are_not_tried_for_ever(wrap, pki):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", maxUselessCommands=2)
        with SieveClient(proxy.address) as client:
            client.starttls(context(pki))
            for _ in range(3):
                assert client.command('AUTHENTICATE "PLAIN" "AA=="') == 'NO "wrong"'
            assert client.read_to_end().startswith(DOWN.encode())
        assert proxy.summary()["outcome"] == "refused"


# -- a backend in trouble

def test_backend_down(wrap):
    address = ("127.0.0.1", net.free_port())
    with SieveClient(wrap(address, protocol="managesieve").address) as client:
        assert client.greeting.startswith(DOWN)
        assert client.read_to_end() == b"" and client.end == "fin"


@pytest.mark.parametrize("greeting", [b"", b"220 smtp\r\n", b"+OK pop3\r\n", b'"SASL" "PLAIN"\r\nOK',
                                      b"OK {9}\r\nx"])
def test_backend_that_does_not_greet(wrap, greeting):
    def scene(peer):
        peer.send(greeting)

    with ScriptedBackend(scene) as server:
        with SieveClient(wrap(server, protocol="managesieve").address) as client:
            assert client.greeting.startswith(DOWN)


def test_stopping_is_told(wrap):
    with SieveServer() as server:
        proxy = wrap(server, protocol="managesieve", globals_={"TIMEOUTdrain": 0})
        with SieveClient(proxy.address) as client:
            proxy.stop()
            assert client.read_to_end().startswith(DOWN.encode())


# -- who is the client

def test_xclient_tells_who_the_client_is(wrap, pki):
    def believes(session, line):
        session.events["told"] = True
        return b'OK "Updated"\r\n'

    def capability(session, line):
        assert session.events.get("told")
        return b'"SASL" "PLAIN"\r\n"XCLIENT"\r\nOK\r\n'

    with SieveServer(capabilities=['"XCLIENT"'], replies={"XCLIENT": believes,
                                                          "CAPABILITY": capability}) as server:
        proxy = wrap(server, protocol="managesieve", identity="xclient")
        with SieveClient(proxy.address) as client:
            assert client.capabilities == ['"SASL" ""', '"STARTTLS"']
            client.starttls(context(pki))
            assert client.capabilities == ['"SASL" "PLAIN"']
            client.login()
            port = client.sock.getsockname()[1]
        assert server.ended().commands[0] == f"XCLIENT ADDR=127.0.0.1 PORT={port}".encode()


@pytest.mark.parametrize("options", [{"capabilities": CAPABILITIES},
                                     {"replies": {"XCLIENT": b'NO "who are you?"\r\n'}}])
def test_backend_that_does_not_believe_serves_nobody(wrap, options):
    with SieveServer(**{"capabilities": ['"XCLIENT"'], **options}) as server:
        proxy = wrap(server, protocol="managesieve", identity="xclient")
        with SieveClient(proxy.address) as client:
            assert client.greeting.startswith(DOWN)
        assert server.ended().commands[-1] == b"LOGOUT"
        proxy.wait_log("is not served: backend .* XCLIENT.*login_trusted_networks")


# -- the other side: the server is asked for TLS

@pytest.fixture
def fetch(tmp_path, pki):
    """fetch(server, **options) starts a service with client = yes for it."""
    running = []

    def start(server, **options):
        if options.get("tlsLevel") != "may":
            options = {"CAfile": pki.ca, "checkHost": NAME, **options}
        proxy = Ehlock.wrap(tmp_path, server.address, None, globals_={"hostname": "proxy.example.org"},
                            protocol="managesieve", client="yes", spareWorkers=2, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()


def test_script_is_kept_under_tls(fetch, pki):
    with SieveServer(leaf=pki.ecdsa) as server:
        proxy = fetch(server)
        with SieveClient(proxy.address) as client:
            assert client.greeting == 'OK "TLS"' and client.capabilities == CAPABILITIES
            assert client.command("STARTTLS") == 'NO "STARTTLS is not offered"'
            client.login()
            client.put("x", SCRIPT)
            assert client.get("x") == SCRIPT
            client.logout()
            assert client.read_to_end() == b"" and client.end == "fin"
        session = server.ended()
        assert session.clear == b"STARTTLS\r\n" and session.tls == "TLSv1.3"
        assert session.received.startswith(b'AUTHENTICATE "PLAIN" ')
        assert proxy.summary()["server_tls"] == "TLS1.3"


def test_server_with_tls_from_the_first_byte_greets_for_itself(fetch, pki):
    with SieveServer(leaf=pki.ecdsa, implicit=True) as server:
        with SieveClient(fetch(server, implicitTls="yes").address) as client:
            assert client.greeting == 'OK "ready"' and client.capabilities == CAPABILITIES
            client.login()


DEFECTS = {
    "expired": (lambda pki: {"leaf": pki.expired}, "certificate-expired"),
    "wrong name": (lambda pki: {"leaf": pki.second}, "certificate-host-mismatch"),
    "foreign": (lambda pki: {"leaf": pki.foreign}, "certificate-not-trusted"),
    "stripped": (lambda pki: {}, "starttls-not-supported"),
    "refusing": (lambda pki: {"leaf": pki.ecdsa, "answer": b'NO "secret"\r\n'},
                 "starttls-not-supported"),
    "talking on": (lambda pki: {"leaf": pki.ecdsa, "answer": b'OK\r\n"SASL" "secret"\r\n'},
                   "validation-failure"),
    "vanishing": (lambda pki: {"leaf": pki.ecdsa, "vanishes": True}, "validation-failure"),
    "no go-ahead": (lambda pki: {"leaf": pki.ecdsa, "answer": b'"secret"\r\n'}, "out of step"),
    "silent": (lambda pki: {"leaf": pki.ecdsa, "silent": True}, "not available"),
    "closed": (lambda pki: {"greeting": b'BYE "secret"\r\n'}, "gives no service"),
    "another protocol": (lambda pki: {"greeting": b"220 secret\r\n"}, "out of step"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_nothing_is_said_to_a_server_that_does_not_satisfy(fetch, pki, defect):
    make, word = DEFECTS[defect]
    with SieveServer(**make(pki)) as server:
        proxy = fetch(server, TIMEOUTpretls=4)
        with SieveClient(proxy.address) as client:
            assert client.greeting.startswith(DOWN + '"proxy.example.org '), client.greeting
            assert word in client.greeting and "secret" not in client.greeting
            assert client.lines == [] and client.read_to_end() == b"" and client.end == "fin"
        session = server.ended()
        said = session.clear if session.tls else session.received.partition(b"\x16")[0]
        assert said.replace(b"LOGOUT\r\n", b"") in (b"", b"STARTTLS\r\n")
        assert not session.tls or session.received in (b"", b"LOGOUT\r\n")
        assert proxy.summary()["outcome"] in ("refused", "lost")


def test_tls_is_asked_for_though_the_offer_is_hidden(fetch, pki):
    with SieveServer(leaf=pki.ecdsa, offers=False) as server:
        with SieveClient(fetch(server).address) as client:
            client.login()


def test_opportunistic_and_no_password_in_clear(fetch):
    with SieveServer() as server:
        with SieveClient(fetch(server, tlsLevel="may").address) as client:
            assert client.capabilities == IN_CLEAR
            assert client.command('AUTHENTICATE "PLAIN"').startswith("NO (TRYLATER) \"No TLS")
            client.logout()
        assert server.ended().commands == [b"LOGOUT"]


@pytest.mark.parametrize("broken", [{"vanishes": True}, {"answer": b"NO\r\n"}, {"answer": b"BYE\r\n"}])
@pytest.mark.parametrize("falls_back", [True, False])
def test_fall_back_only_where_it_is_permitted(fetch, pki, broken, falls_back):
    with SieveServer(leaf=pki.ecdsa, **broken) as server:
        proxy = fetch(server, tlsLevel="may", authBeforeTls="yes",
                      fallBack="yes" if falls_back else "no")
        with SieveClient(proxy.address) as client:
            if not falls_back:
                assert client.greeting.startswith(DOWN)
                return
            assert client.capabilities == CAPABILITIES
            client.login()


@pytest.mark.parametrize("defect", DEFECTS)
def test_next_server_is_asked_while_the_client_has_heard_nothing(fetch, pki, defect):
    make, _ = DEFECTS[defect]
    with SieveServer(**make(pki)) as first, SieveServer(leaf=pki.ecdsa) as second:
        proxy = fetch(first, connect=[text_of(first.address), text_of(second.address)],
                      TIMEOUTpretls=4)
        with SieveClient(proxy.address) as client:
            assert client.capabilities == CAPABILITIES
            client.login()
            client.logout()
        assert plain().encode() not in first.ended().received
        assert "is left for another" in proxy.log
        done = ehlock.run("probe", "--config", proxy.config, "--service", "smtp")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "; number 2 of 2 would serve, before it: 1 no" in done.stdout.splitlines()[-1]


def test_probe(pki):
    with SieveServer(leaf=pki.ecdsa) as server:
        done = ehlock.run("probe", text_of(server.address), "--protocol", "managesieve", "--CAfile",
                          pki.ca, "--match", NAME)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "C: STARTTLS" in done.stdout and 'S: "STARTTLS"' in done.stdout
        assert server.ended().commands == [b"STARTTLS", b"LOGOUT"]


def test_probe_of_a_server_without_tls(pki):
    with SieveServer() as server:
        done = ehlock.run("probe", text_of(server.address), "--protocol", "managesieve", "--CAfile",
                          pki.ca, "--match", NAME)
        assert done.returncode == 1 and "starttls-not-supported" in done.stdout, done.stdout


# -- what is said about options

@pytest.mark.parametrize("lines,wanted", [
    ({"trace": "yes"}, "trace = yes is for services with protocol = smtp or lmtp"),
    ({"identity": "xclient", "accept": "/run/sieve"}, "clients of a Unix socket in accept have none"),
    ({"addCapability": "STARTTLS"}, "promises what only the backend or ehlock itself can keep"),
    ({"clientRule": "/./ add SASL PLAIN"}, "promises what only the backend or ehlock"),
    ({"clientRule": "/./ hide STARTTLS"}, "write noStartTls"),
    ({"relayAs": "spki-sha256:" + 32 * "00:", "identity": "proxy2",
      "verifyClient": "ask"}, "nobody relays by protocol = managesieve"),
    ({"client": "yes", "protocolUsername": "joe", "cert": None, "key": None},
     "protocolUsername needs protocol = smtp or lmtp"),
    ({"client": "yes", "connect": "mx:example.org", "cert": None, "key": None},
     "MX records say where mail is handed in"),
    ({"protocol": "sieve"}, "lmtp, managesieve, pop3 and smtp are"),
])
def test_check_says_what_to_write(tmp_path, pki, lines, wanted):
    options = {"accept": 1419, "connect": "127.0.0.1:4190", "protocol": "managesieve",
               "cert": pki.ecdsa.cert, "key": pki.ecdsa.key, **lines}
    path = tmp_path / "c.conf"
    path.write_text(section("sieve", **options))
    done = ehlock.run("--check", path)
    assert done.returncode == 78 and wanted in done.stdout + done.stderr, done.stderr


def test_check_has_nothing_to_say_about_managesieve(tmp_path, pki):
    path = tmp_path / "c.conf"
    path.write_text(section("sieve", accept="0.0.0.0:4190", connect="127.0.0.1:4191",
                            protocol="managesieve", cert=pki.ecdsa.cert, key=pki.ecdsa.key))
    done = ehlock.run("--check", path)
    assert done.returncode == 0 and "relay" not in done.stdout + done.stderr
