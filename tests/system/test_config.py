# SPDX-License-Identifier: ISC
"""The configuration file: what is accepted, what is refused, and in which words."""

import os
import re

import ehlock
import net
import pytest
from backend import Backend
from ehlock import Ehlock, global_part, section
from smtp_client import Client, context


def check(tmp_path, text, name="test.conf"):
    path = tmp_path / name
    path.write_text(text)
    done = ehlock.run("--check", path)
    return done.returncode, done.stdout + done.stderr, path


def good(pki, **more):
    return {"accept": "127.0.0.1:2525", "connect": "127.0.0.1:10025", "protocol": "smtp",
            "cert": pki.ecdsa.cert, "key": pki.ecdsa.key, **more}


def with_line(pki, line, in_section=True):
    """A good configuration plus one line; gives (text, number of that line)."""
    head = "foreground = yes\n"
    body = section("smtp", **good(pki))
    if in_section:
        text = head + body + line + "\n"
    else:
        text = head + line + "\n" + body
    return text, text.split("\n").index(line) + 1


def test_port_that_begins_with_tls_is_told(tmp_path):
    text = section("out", client=True, accept="127.0.0.1:2525", protocol="smtp",
                   connect="127.0.0.1:465", checkHost="mx.example.org")
    status, said, _ = check(tmp_path, text)
    assert status == 0 and "begin with TLS on port 465: write implicitTls = yes" in said
    assert "begin with TLS" not in check(tmp_path, text + "implicitTls = yes\n")[1]


# -- what is accepted

def test_check_of_a_good_file_is_0_and_binds_nothing(tmp_path, pki):
    port = net.free_port()
    with net.listen(("127.0.0.1", port)):
        status, said, _ = check(tmp_path, section("smtp", **good(pki, accept=f"127.0.0.1:{port}")))
    assert status == 0, said


def test_plain_stunnel_conf_for_smtp_starts_unchanged(tmp_path, pki, backend):
    smtps, starttls = net.free_port(), net.free_port()
    text = f"""; Sample stunnel configuration file for Unix by Michal Trojnara
; **************************************************************************

; It is recommended to drop root privileges if stunnel is started by root
setuid = nobody
setgid = nogroup

; PID file is created inside the chroot jail (if enabled)
pid = {tmp_path}/stunnel.pid

; Debugging stuff (may be useful for troubleshooting)
foreground = yes
debug = info
syslog = no

cert = {pki.combined.cert}

[ssmtp]
accept  = 127.0.0.1:{smtps}
connect = {net.text_of(backend.address)}
TIMEOUTclose = 0

[smtp]
client = no
accept  = 127.0.0.1:{starttls}
connect = {net.text_of(backend.address)}
protocol = smtp
key = {pki.combined.cert}
; vim:ft=dosini
"""
    tmp_path.chmod(0o755)
    with Ehlock(tmp_path, text):
        with Client.implicit(("127.0.0.1", smtps), context(pki)) as client:
            client.ehlo()
            client.send_message(body=b"one\r\n")
            client.quit()
        with Client.secured(("127.0.0.1", starttls), context(pki)) as client:
            client.send_message(body=b"two\r\n")
            client.quit()
    assert [m.body for m in backend.messages] == [b"one\r\n", b"two\r\n"]


@pytest.mark.parametrize("line", [
    "TLSLEVEL = may", "tlslevel=may", "   tlsLevel   =   may   ", "; tlsLevel = nonsense",
    "# tlsLevel = nonsense", "", "\t", "connect = localhost:25", "connect = /run/mta.sock",
    "connect = [::1]:25", "accept = :::2526", "accept = 2527", "accept = [::1]:2528",
    "accept = /tmp/ehlock-test.sock", "hideCapability = /^CHUNKING/i", "failover = rr",
    "TIMEOUTidle = 1200", "implicitTls = auto",
])
def test_line_is_accepted(tmp_path, pki, line):
    text, _ = with_line(pki, line)
    status, said, _ = check(tmp_path, text)
    assert status == 0, said


def test_file_with_crlf_and_without_final_newline_is_accepted(tmp_path, pki):
    text = section("smtp", **good(pki)).rstrip("\n").replace("\n", "\r\n")
    status, said, _ = check(tmp_path, text)
    assert status == 0, said


def test_include_reads_a_directory_of_files_in_order(tmp_path, pki):
    directory = tmp_path / "conf.d"
    directory.mkdir()
    ports = [net.free_port(), net.free_port()]
    with Backend(name="one") as one, Backend(name="two") as two:
        for port, server, name in zip(ports, (one, two), ("10-one.conf", "20-two.conf")):
            (directory / name).write_text(section(name[3:6], **good(
                pki, accept=f"127.0.0.1:{port}", connect=net.text_of(server.address))))
        with Ehlock(tmp_path, global_part(include=directory)):
            for port, name in zip(ports, ("one", "two")):
                with Client(("127.0.0.1", port)) as client:
                    assert client.command("HELO x").text == name
                    client.quit()


def test_error_in_an_included_file_is_named_by_that_file(tmp_path, pki):
    directory = tmp_path / "conf.d"
    directory.mkdir()
    bad = directory / "bad.conf"
    bad.write_text("[x]\naccept = 127.0.0.1:2525\nnonsense = 1\n")
    status, said, _ = check(tmp_path, global_part(include=directory))
    assert status == 78 and f"{bad}:3:" in said


def test_global_part_gives_defaults_to_the_services_after_it(tmp_path, pki, backend):
    port = net.free_port()
    text = (global_part(cert=pki.ecdsa.cert, key=pki.ecdsa.key, tlsLevel="encrypt")
            + section("smtp", accept=f"127.0.0.1:{port}", connect=net.text_of(backend.address),
                      protocol="smtp"))
    with Ehlock(tmp_path, text):
        with Client(("127.0.0.1", port)) as client:
            client.ehlo()
            assert client.command("MAIL FROM:<a@example.org>").code == 530
            client.quit()


# -- show-config

def test_show_config_round_trip_gives_the_same_text(tmp_path, pki):
    text = (global_part(debug="info", TIMEOUTdrain=7)
            + section("one", **good(pki, connect=["127.0.0.1:25", "[::1]:26", "/run/mta"],
                                    accept=["127.0.0.1:2525", "[::1]:2526"], failover="rr",
                                    hideCapability=["/^CHUNKING$/i", "/DSN/"], tlsLevel="encrypt",
                                    bareNewline="normalize", maxConnections=33, TIMEOUTidle=777))
            + section("two", **good(pki, accept="127.0.0.1:2600", protocol="lmtp",
                                    implicitTls="auto", implicitTlsWait=150)))
    first = tmp_path / "first.conf"
    first.write_text(text)
    shown = ehlock.run("--show-config", first)
    assert shown.returncode == 0, shown.stderr
    second = tmp_path / "second.conf"
    second.write_text(shown.stdout)
    again = ehlock.run("--show-config", second)
    assert again.returncode == 0, again.stderr
    assert [line for line in again.stdout.splitlines() if not line.startswith((";", "#"))] == \
        [line for line in shown.stdout.splitlines() if not line.startswith((";", "#"))]
    squeezed = [re.sub(r"\s*=\s*", "=", line.strip()) for line in shown.stdout.splitlines()]
    for wanted in ("maxConnections=33", "TIMEOUTidle=777", "TIMEOUTdrain=7", "failover=rr",
                   "bareNewline=normalize", "implicitTlsWait=150", "[one]", "[two]",
                   "hideCapability=/^CHUNKING$/i", "hideCapability=/DSN/", "connect=/run/mta"):
        assert wanted in squeezed, wanted


def test_help_and_version_are_answered():
    for option in ("--help", "--version"):
        done = ehlock.run(option)
        assert done.returncode == 0 and "ehlock" in (done.stdout + done.stderr).lower()


def test_help_names_every_option_that_show_config_prints(tmp_path, pki):
    config = tmp_path / "c.conf"
    config.write_text(section("smtp", **good(pki)))
    shown = ehlock.run("--show-config", config).stdout
    names = set(re.findall(r"(?m)^\s*(\w+)\s*=", shown))
    told = ehlock.run("--help").stdout
    assert len(names) >= 20
    assert [name for name in names if not re.search(rf"\b{name}\b", told)] == []


# -- what is refused

@pytest.mark.parametrize("line, words", [
    ("nonsense = 1", "nonsense"),
    ("tlsLevel = perhaps", "tlsLevel.*none.*may.*encrypt"),
    ("tlsLevel = may not", "tlsLevel"),
    ("protocol = gopher", "gopher"),
    ("failover = never", "failover.*prio.*rr"),
    ("bareNewline = eat", "bareNewline.*refuse.*normalize.*pass"),
    ("implicitTls = sometimes", "implicitTls.*no.*yes.*auto"),
    ("TIMEOUTidle = soon", "TIMEOUTidle"),
    ("TIMEOUTidle = 10x", "TIMEOUTidle"),
    ("TIMEOUTidle = -1", "TIMEOUTidle"),
    ("TIMEOUTidle = 99999999999999999999", "TIMEOUTidle"),
    ("maxConnections = 0", "maxConnections"),
    ("maxConnections = 4294967297", "maxConnections"),
    ("maxCommandLength = 1", "maxCommandLength"),
    ("spareWorkers = many", "spareWorkers"),
    ("sessionResume = maybe", "sessionResume"),
    ("authBeforeTls = 2", "authBeforeTls"),
    ("accept = 127.0.0.1:99999", "accept.*99999"),
    ("accept = 127.0.0.1:smtp-nonsense", "accept.*smtp-nonsense"),
    ("connect = :", "connect"),
    ("hideCapability = /(/", "hideCapability"),
    ("hideCapability = CHUNKING", "hideCapability"),
    ("hideCapability = /x/q", "hideCapability.*q"),
    ("priority = NORMAL:+NONSENSE", "priority.*NONSENSE"),
    ("local = not an address", "local"),
    ("client = perhaps", "client"),
    ("tlsLevel = secure", "client = yes"),
    ("cert = /nonexistent/cert.pem", "/nonexistent/cert.pem"),
    ("key = /nonexistent/key.pem", "key"),
    ("ocspStaple = /nonexistent/ocsp", "/nonexistent/ocsp"),
    ("CAfile = /nonexistent/ca", "/nonexistent/ca"),
    ("no equals sign", "name = value"),
    ("= value", "option|name"),
    ("[unclosed", r"\[name\]"),
    ("[]", r"\[name\]"),
    ("tlsLevel =", "tlsLevel"),
    ("setuid = nobody", "setuid"),          # of the whole program, not of a service
    ("cert = " + "x" * 5000, "long"),
])
def test_bad_line_is_named_with_file_line_and_remedy(tmp_path, pki, line, words):
    if line.startswith("protocol"):
        text = section("smtp", **good(pki, protocol=None)) + line + "\n"
        number = text.split("\n").index(line) + 1
    else:
        text, number = with_line(pki, line)
    status, said, path = check(tmp_path, text)
    assert status == 78, said
    complaint = [row for row in said.splitlines() if f"{path}:{number}: " in row]
    assert complaint, said
    assert re.search(words, complaint[0].split(f":{number}: ", 1)[1]), said


@pytest.mark.parametrize("line", ["setuid = no-such-user", "setgid = no-such-group",
                                  "foreground = perhaps", "debug = 9", "debug = loud",
                                  "include = /nonexistent/dir", "chroot = /nonexistent/dir",
                                  "TIMEOUTdrain = x"])
def test_bad_global_line_is_named_with_file_and_line(tmp_path, pki, line):
    text, number = with_line(pki, line, in_section=False)
    status, said, path = check(tmp_path, text)
    assert status == 78 and f"{path}:{number}: " in said, said


# What says the same with GnuTLS.
PRIORITY = ["ciphers = HIGH:!aNULL", "ciphersuites = TLS_AES_128_GCM_SHA256", "curves = X25519",
            "sslVersion = TLSv1.2", "sslVersionMin = TLSv1.2", "sslVersionMax = TLSv1.3",
            "securityLevel = 2"]
# Every other option that stunnel 5.75 has.
OTHERS = """
    EGD CAengine CApath CAstore CRLfile CRLpath OCSP OCSPaia OCSPflag OCSPnonce OCSPrequire
    PSKidentity PSKsecrets RNDbytes RNDfile RNDoverwrite TIMEOUTocsp checkEmail checkHost checkIP
    compression config curve delay engine engineCtrl engineDefault engineId engineNum exec execArgs
    fips ident libwrap logId options protocolAuthentication protocolDomain protocolHeader
    protocolHost protocolPassword protocolUsername provider providerParameter pty redirect
    renegotiation requireCert reset retry session sessionCacheSize sessionCacheTimeout sessiond
    setEnv socket stack ticketKeySecret ticketMacSecret transparent verify verifyChain verifyPeer
""".split()


@pytest.mark.parametrize("line", PRIORITY)
def test_tls_option_of_openssl_is_refused_with_the_word_priority(tmp_path, pki, line):
    text, number = with_line(pki, line)
    status, said, path = check(tmp_path, text)
    complaint = next(row for row in said.splitlines() if f"{path}:{number}: " in row)
    assert status == 78 and "priority" in complaint and line.split()[0] in complaint


@pytest.mark.parametrize("name", OTHERS)
def test_other_stunnel_option_is_accepted_or_refused_with_a_remedy(tmp_path, pki, name):
    text, number = with_line(pki, f"{name} = yes")
    status, said, path = check(tmp_path, text)
    if status == 0:
        return
    assert status == 78
    message = next(row for row in said.splitlines() if f"{path}:{number}: " in row)
    message = message.split(f":{number}: ", 1)[1]
    assert message.startswith(name) and "there is no option" not in message, message
    assert len(message.split()) >= 4, message


def test_misspelt_option_is_answered_with_the_right_name(tmp_path, pki):
    text, number = with_line(pki, "tlsLevl = may")
    status, said, path = check(tmp_path, text)
    assert status == 78 and f"{path}:{number}: " in said
    assert "tlsLevl" in said


def test_service_without_accept_is_warned_of_and_does_not_start(tmp_path, pki):
    """A service manager may hand it a socket, which --check cannot know."""
    status, said, path = check(tmp_path, section("smtp", **good(pki, accept=None)))
    assert status == 0 and re.search(rf"{re.escape(str(path))}:\d+: \[smtp\] has no accept", said)
    done = ehlock.run("-f", path)
    assert done.returncode == 78 and "[smtp] needs accept" in done.stderr


@pytest.mark.parametrize("missing", ["connect", "cert"])
def test_service_without_what_it_needs_is_refused(tmp_path, pki, missing):
    options = good(pki, **{missing: None})
    if missing == "cert":
        options["key"] = None
    status, said, path = check(tmp_path, section("smtp", **options))
    assert status == 78 and re.search(rf"{re.escape(str(path))}:\d+: ", said)
    assert missing in said


def test_file_without_any_service_is_refused(tmp_path):
    status, said, _ = check(tmp_path, "foreground = yes\n")
    assert status == 78 and "service" in said


def test_two_services_on_one_address_are_refused(tmp_path, pki):
    status, said, path = check(tmp_path, section("a", **good(pki)) + section("b", **good(pki)))
    assert status == 78 and re.search(rf"{re.escape(str(path))}:\d+: ", said)


def test_two_services_of_one_name_are_refused(tmp_path, pki):
    status, said, path = check(tmp_path, section("a", **good(pki))
                               + section("a", **good(pki, accept="127.0.0.1:2600")))
    assert status == 78 and re.search(rf"{re.escape(str(path))}:\d+: ", said)


def test_missing_file_is_an_error_that_names_it(tmp_path):
    done = ehlock.run("--check", tmp_path / "absent.conf")
    assert done.returncode == 78 and "absent.conf" in done.stderr + done.stdout


@pytest.mark.parametrize("leaf, words", [
    ("mismatched", "match|not the key of"),
    ("encrypted", "encrypt|passphrase|password|decrypt"),
])
def test_certificate_and_key_that_do_not_fit_stop_the_start(tmp_path, pki, leaf, words):
    leaf = getattr(pki, leaf)
    path = tmp_path / "c.conf"
    path.write_text(global_part() + section("smtp", **good(
        pki, accept=f"127.0.0.1:{net.free_port()}", cert=leaf.cert, key=leaf.key)))
    for args in (["--check", path], [path]):
        done = ehlock.run(*args)
        said = done.stdout + done.stderr
        assert done.returncode == 78, said
        assert re.search(words, said, re.I) and re.search(rf"{re.escape(str(path))}:\d+: ", said), said


def test_file_that_is_no_certificate_stops_the_start(tmp_path, pki):
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    status, said, path = check(tmp_path, section("smtp", **good(pki, cert=junk)))
    assert status == 78 and "junk.pem" in said


def test_expired_certificate_is_warned_about_and_served(tmp_path, pki, wrap, backend):
    proxy = wrap(backend, leaf=pki.expired)
    assert re.search(r"expired", proxy.log)
    with Client.secured(proxy.address, context()) as client:
        client.quit()


def test_start_with_a_bad_file_is_78_and_binds_nothing(tmp_path, pki):
    port = net.free_port()
    path = tmp_path / "c.conf"
    path.write_text(global_part() + section("smtp", **good(pki, accept=f"127.0.0.1:{port}"))
                    + section("bad", **good(pki, accept="127.0.0.1:2600", tlsLevel="x")))
    done = ehlock.run(path)
    assert done.returncode == 78 and f"{path}:" in done.stderr
    with pytest.raises(ConnectionRefusedError):
        net.connect(("127.0.0.1", port))


def test_address_in_use_is_told_and_the_start_fails(tmp_path, pki):
    port = net.free_port()
    path = tmp_path / "c.conf"
    path.write_text(global_part() + section("smtp", **good(pki, accept=f"127.0.0.1:{port}")))
    with net.listen(("127.0.0.1", port)):
        done = ehlock.run(path)
    assert done.returncode not in (0, 78) and str(port) in done.stderr
    assert "in use" in done.stderr


def test_all_errors_of_a_file_are_told_at_once(tmp_path, pki):
    text = section("smtp", **good(pki, tlsLevel="x", failover="y")) + "nonsense = 1\n"
    status, said, path = check(tmp_path, text)
    assert status == 78
    assert len([row for row in said.splitlines() if f"{path}:" in row]) == 3, said


def test_show_config_shows_the_path_of_a_key_and_never_the_key(tmp_path, pki):
    path = tmp_path / "c.conf"
    path.write_text(section("smtp", **good(pki)))
    shown = ehlock.run("--show-config", path).stdout
    assert "PRIVATE KEY" not in shown


# -- services and addresses

def test_sni_section_gives_a_certificate_to_another_service(tmp_path, pki, backend):
    """stunnel's way to write several certificates for one port."""
    port = net.free_port()
    text = (global_part()
            + section("smtp", **good(pki, accept=f"127.0.0.1:{port}",
                                     connect=net.text_of(backend.address)))
            + section("net", sni="smtp:*.example.net", cert=pki.second.cert, key=pki.second.key)
            + section("com", sni="smtp:smtp.example.com", cert=pki.third.cert, key=pki.third.key))
    with Ehlock(tmp_path, text):
        for name in ("mx.example.org", "mail.example.net", "smtp.example.com"):
            with Client.secured(("127.0.0.1", port), context(pki), server_hostname=name) as client:
                assert name in client.peer_names
                client.quit()



def test_several_services_and_addresses_of_every_family(tmp_path, pki):
    four, six, other = net.free_port(), net.free_port("::1"), net.free_port()
    path = str(tmp_path / "client.sock")
    with Backend(name="one") as one, Backend(name="two", lmtp=True) as two:
        text = global_part() + section("smtp", **good(
            pki, accept=[f"127.0.0.1:{four}", f"[::1]:{six}", path],
            connect=net.text_of(one.address))) + section("lmtp", **good(
                pki, accept=f"127.0.0.1:{other}", connect=net.text_of(two.address),
                protocol="lmtp"))
        with Ehlock(tmp_path, text) as proxy:
            for n, address in enumerate([("127.0.0.1", four), ("::1", six), path], 1):
                with Client.secured(address, context(pki)) as client:
                    client.send_message(body=str(address).encode() + b"\r\n")
                    client.quit()
                assert proxy.summary(n)["service"] == "smtp"
            with Client.secured(("127.0.0.1", other), context(pki), lmtp=True) as client:
                client.send_message(body=b"lmtp\r\n")
                client.quit()
            assert proxy.summary(4)["service"] == "lmtp"
            assert proxy.summary(2)["client"].startswith("[::1]:")
            assert set(proxy.workers("smtp")).isdisjoint(proxy.workers("lmtp"))
        assert [len(one.messages), len(two.messages)] == [3, 1]
    assert not os.path.exists(path), "the Unix socket is left behind"


def test_stale_unix_socket_is_replaced_at_start(tmp_path, pki, backend):
    path = str(tmp_path / "client.sock")
    net.listen(path).close()        # the file of a server that died
    with Ehlock(tmp_path, global_part() + section("smtp", **good(
            pki, accept=path, connect=net.text_of(backend.address)))):
        with Client(path) as client:
            client.quit()


def test_ordinary_file_in_the_place_of_a_unix_socket_is_never_removed(tmp_path, pki, backend):
    precious, path = tmp_path / "precious", tmp_path / "c.conf"
    precious.write_text("kept")
    path.write_text(global_part() + section("smtp", **good(
        pki, accept=precious, connect=net.text_of(backend.address))))
    done = ehlock.run(path)
    assert done.returncode == 71 and str(precious) in done.stderr, done.stderr
    assert precious.read_text() == "kept"
