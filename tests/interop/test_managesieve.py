# SPDX-License-Identifier: ISC
"""protocol = managesieve between real clients, and Dovecot or Cyrus: a script is kept byte for byte, and
the certificate is verified. Then the other way round: a program without TLS, and servers that want it."""

import base64

import ehlock
import mailboxes
import pytest
from ehlock import Ehlock
from mailboxes import PASSWORD
from managesieve import SieveClient, plain
from net import free_port, text_of, wait_until
from pki import NAME
from roots import USER
from smtp_client import context
from starters import listening

SCRIPT = (b'require ["fileinto"];\r\n# a line that is long: ' + 200 * b"x" + b' "quoted\\" {3+}\r\n'
          b'# LOGOUT \xc3\xa4\r\nif header :contains "subject" "x" {\r\n  fileinto "y";\r\n}\r\n')


@pytest.fixture(scope="module")
def server_of(roots, pki):
    """server_of(kind): that server, running in a root of its own until the end of the file."""
    running = {}

    def get(kind):
        if kind not in running:
            server = kind(roots(kind.name, kind.packages))
            server.root.write("/srv/cert.pem", pki.ecdsa.cert.read_bytes())
            server.root.write("/srv/key.pem", pki.ecdsa.key.read_bytes(), 0o600)
            server.start()
            running[kind] = server
        return running[kind]

    return get


@pytest.fixture
def dovecot(server_of):
    return server_of(mailboxes.DovecotSieve)


@pytest.fixture
def secure_dovecot(server_of):
    return server_of(mailboxes.SecureDovecotSieve)


def named(kind):
    return kind.name


@pytest.fixture(params=[mailboxes.DovecotSieve, mailboxes.CyrusSieve], ids=named)
def server(request, server_of):
    return server_of(request.param)


@pytest.fixture(params=[mailboxes.SecureDovecotSieve, mailboxes.SecureCyrusSieve], ids=named)
def secure_server(request, server_of):
    return server_of(request.param)


@pytest.fixture(scope="module")
def clients(roots):
    return roots("sieve-clients", ["sieve-connect", "openssl"])


class SieveConnect:
    """By its own command line. It wants a verified TLS session unless it is told otherwise."""

    def __init__(self, root, port, *more):
        self.root = root
        self.command = ["sieve-connect", "--server", NAME, "--port", str(port), "--user", USER,
                        "--passwordfd", "0", *more]

    def run(self, *more):
        return self.root.run(*self.command, *more, input=f"{PASSWORD}\n".encode(), check=False)

    def upload(self, script):
        self.root.write("/srv/up.sieve", script)
        return self.run("--localsieve", "/srv/up.sieve", "--remotesieve", "kept", "--upload")

    def download(self):
        self.root.run("rm", "-f", "/srv/down.sieve")
        return self.run("--localsieve", "/srv/down.sieve", "--remotesieve", "kept", "--download")

    def downloaded(self):
        path = self.root.path("/srv/down.sieve")
        return path.read_bytes() if path.exists() else None


def verifying(root, ca):
    return ["--tlscafile", root.write("/srv/ca.pem", ca.read_bytes()), "--noclearchan"]


# ---- servers without TLS

def test_sieve_connect_keeps_a_script_byte_for_byte(server, clients, wrap, pki):
    proxy = wrap(server, protocol="managesieve")
    client = SieveConnect(clients, proxy.address[1], *verifying(clients, pki.ca))
    for done in (client.upload(SCRIPT), client.download()):
        assert done.returncode == 0, done.stdout
    assert client.downloaded() == SCRIPT
    proxy.stop()
    assert proxy.summaries()
    for summary in proxy.summaries():
        assert summary["tls"] == "TLS1.3" and summary["step"] == "passing bytes", summary
    assert PASSWORD not in proxy.log


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_sieve_connect_refuses_a_wrong_certificate(dovecot, clients, wrap, pki, wrong):
    proxy = wrap(dovecot, leaf=pki.second if wrong == "name" else None, protocol="managesieve")
    ca = pki.ca if wrong == "name" else pki.other_ca
    done = SieveConnect(clients, proxy.address[1], *verifying(clients, ca)).upload(SCRIPT)
    assert done.returncode != 0, done.stdout
    proxy.stop()
    assert not [s for s in proxy.summaries() if s["step"] == "passing bytes"]


def test_openssl_logs_in_after_starttls(server, clients, wrap, pki):
    proxy = wrap(server, protocol="managesieve")
    words = f'AUTHENTICATE "PLAIN" "{plain(USER, PASSWORD)}"\nCAPABILITY\nLOGOUT\n'
    done = clients.run("openssl", "s_client", "-quiet", "-crlf", "-starttls", "sieve", "-verify_return_error",
                       "-verify_hostname", NAME, "-CAfile", clients.write("/srv/ca.pem", pki.ca.read_bytes()),
                       "-connect", text_of(proxy.address), input=words.encode())
    assert b"\"SIEVE\"" in done.stdout and b'OK "Logout ' in done.stdout, done.stdout
    assert proxy.summary()["tls"] == "TLS1.3"


def test_what_the_public_sees_of_the_server(server, wrap, pki):
    with SieveClient(server.address) as direct:
        own = direct.capabilities
        assert ('"XCLIENT"' in own) == (server.name == "dovecot-sieve") and '"SASL" "PLAIN"' in own
    shown = [line for line in own if line != '"XCLIENT"']
    in_clear = ['"SASL" ""' if line.startswith('"SASL"') else line for line in shown]
    with SieveClient(wrap(server, protocol="managesieve").address) as client:
        assert client.capabilities == client.capability() == [*in_clear, '"STARTTLS"']
        assert client.command('AUTHENTICATE "PLAIN"').startswith("NO (ENCRYPT-NEEDED)")
        client.starttls(context(pki))
        assert client.capabilities == client.capability() == shown
        assert client.command('NOOP "x"').startswith('OK (TAG ')
        client.login(USER, PASSWORD)
        client.put("kept", SCRIPT)
        assert client.get("kept") == SCRIPT
        client.logout()


def test_login_in_several_turns(dovecot, wrap, pki):
    response = plain(USER, PASSWORD)
    proxy = wrap(dovecot, protocol="managesieve")
    with SieveClient(proxy.address) as client:
        client.starttls(context(pki))
        assert client.command('AUTHENTICATE "PLAIN"') == '""'
        assert client.command(f"{{{len(response)}+}}\r\n{response}").startswith("OK")
    with SieveClient(proxy.address) as client:
        client.starttls(context(pki))
        assert client.command('AUTHENTICATE "PLAIN"') == '""'
        assert client.command('"*"') == 'NO "Authentication aborted by client."'
        assert client.command('AUTHENTICATE "NONE" "AGpvZQ=="').startswith("NO")
        client.login(USER, PASSWORD)


def test_server_does_take_a_literal_for_commands(server, wrap, pki):
    """Which is why no line end in a literal is let through before the login."""
    command = b'NOOP "taken for this"\r\n'
    smuggled = b'PUTSCRIPT "x" {%d+}\r\n%s\r\n' % (len(command), command)
    with SieveClient(server.address) as direct:
        direct.send(smuggled)
        assert direct.read_reply().startswith("NO")
        answer = direct.read_reply()
        assert answer.startswith("OK (TAG ") and "taken for this" in answer
    with SieveClient(wrap(server, protocol="managesieve").address) as client:
        client.starttls(context(pki))
        client.send(smuggled)
        assert client.read_reply() == 'NO "Log in first"'
        assert client.command("NOOP").startswith("OK")


def test_dovecot_does_take_an_initial_response_for_a_command(dovecot, wrap, pki):
    """Base64 holds no line end, but has one on either side, so literals become quoted strings."""
    words = b'AUTHENTICATE "" {4+}\r\nNOOP\r\n'
    with SieveClient(dovecot.address) as direct:
        direct.send(words)
        assert direct.read_reply().startswith("NO")
        assert direct.read_reply().startswith('OK "NOOP')
    with SieveClient(wrap(dovecot, protocol="managesieve").address) as client:
        client.starttls(context(pki))
        client.send(words)
        assert client.read_reply() == 'NO "AUTHENTICATE needs a mechanism"'
        assert client.command('NOOP "x"').startswith("OK (TAG ")


def test_server_is_logged_in_to_by_literals(server, wrap, pki):
    response = plain(USER, PASSWORD)
    with SieveClient(wrap(server, protocol="managesieve").address) as client:
        client.starttls(context(pki))
        answer = client.command(f"AUTHENTICATE {{5+}}\r\nPLAIN {{{len(response)}+}}\r\n{response}")
        assert answer.startswith("OK"), answer
        client.logout()


def test_behind_the_login_dovecot_knows_neither_xclient_nor_a_way_back(dovecot, wrap, pki):
    """Behind the login nothing is filtered any more, so it must not be there."""
    with SieveClient(wrap(dovecot, protocol="managesieve").address) as client:
        client.starttls(context(pki))
        client.login(USER, PASSWORD)
        assert client.command("XCLIENT ADDR=192.0.2.7 PORT=25").startswith("NO")
        assert client.command("UNAUTHENTICATE").startswith("NO")


# ---- who is the client

class Here:
    """This machine, as starters wants a network."""

    @staticmethod
    def run(function, *args, **more):
        return function(*args, **more)


@pytest.fixture
def telling(tmp_path, pki):
    """telling(port, near, **options): where ehlock listens, which tells Dovecot who the client is."""
    running = []

    def start(port, near, **options):
        address = (near, free_port(near))
        proxy = Ehlock.wrap(tmp_path, ("127.0.0.1", port), pki.ecdsa, name="sieve", protocol="managesieve",
                            accept=None if near == "::" else text_of(address), spareWorkers=2, **options)
        proxy.address = address
        running.append(proxy)
        with listening(proxy, Here, near, service="sieve"):
            proxy.start()
        return proxy.address[1]

    yield start
    for proxy in running:
        proxy.stop()


# Where it listens, where the client goes and from where: IPv4, IPv6, and IPv4 on a socket of IPv6.
PATHS = [pytest.param("127.0.0.1", "127.0.0.1", "127.0.0.7", id="ipv4"),
         pytest.param("::1", "::1", "::1", id="ipv6"),
         pytest.param("::", "127.0.0.1", "127.0.0.7", id="v4-mapped")]


@pytest.mark.parametrize("word", ["xclient", "proxy", "proxy2"])
@pytest.mark.parametrize("reconnect", ["no", "yes"])
@pytest.mark.parametrize("near,to,source", PATHS)
def test_dovecot_knows_the_client(word, reconnect, near, to, source, dovecot, telling, pki):
    port = telling(dovecot.port if word == "xclient" else dovecot.header_port, near, identity=word,
                   reconnect=reconnect)
    seen = len(dovecot.root.log)
    with SieveClient((to, port), source=source) as client:
        assert '"XCLIENT"' not in client.capabilities
        client.starttls(context(pki))
        client.login(USER, PASSWORD)
        client.put("kept", SCRIPT)
        client.logout()
    wait_until(lambda: any(f"rip={source}," in line and f"user=<{USER}>" in line
                           for line in dovecot.root.log[seen:]), f"dovecot logs {source}")


def test_dovecot_that_does_not_trust_us_serves_nobody(secure_dovecot, wrap):
    proxy = wrap(secure_dovecot, protocol="managesieve", identity="xclient")
    with SieveClient(proxy.address) as client:
        assert client.greeting.startswith("BYE (TRYLATER) ")
    proxy.wait_log("is not served: backend does not offer XCLIENT.*login_trusted_networks")


# ---- a program without TLS, and servers that want it

@pytest.fixture
def towards(tmp_path):
    """towards(port, ca, **options) starts a service with client = yes for that server."""
    running = []

    def start(port, ca, **options):
        proxy = Ehlock.wrap(tmp_path, ("127.0.0.1", port), None, client="yes", protocol="managesieve",
                            CAfile=ca, checkHost=NAME, spareWorkers=2, **options)
        running.append(proxy)
        return proxy.start()

    yield start
    for proxy in running:
        proxy.stop()


def test_sieve_connect_without_tls_reaches_a_server_that_wants_it(secure_server, clients, towards, pki):
    with SieveClient(secure_server.address) as direct:
        assert '"STARTTLS"' in direct.capabilities
    proxy = towards(secure_server.port, pki.ca)
    client = SieveConnect(clients, proxy.address[1], "--notlsverify")
    for done in (client.upload(SCRIPT), client.download()):
        assert done.returncode == 0, done.stdout
    assert client.downloaded() == SCRIPT
    proxy.stop()
    assert proxy.summaries()
    assert all(s["server_tls"] == "TLS1.3" and s["tls"] == "-" for s in proxy.summaries())


def test_dovecot_has_tls_from_the_first_byte(secure_dovecot, clients, towards, pki):
    seen = len(secure_dovecot.root.log)
    proxy = towards(secure_dovecot.secure_port, pki.ca, implicitTls="yes")
    done = SieveConnect(clients, proxy.address[1], "--notlsverify").upload(SCRIPT)
    assert done.returncode == 0, done.stdout
    wait_until(lambda: any(f"Login: user=<{USER}>" in line and ", TLS," in line
                           for line in secure_dovecot.root.log[seen:]), "dovecot logs a login under TLS")


def test_server_that_is_not_trusted_hears_no_password(secure_server, clients, towards, pki):
    proxy = towards(secure_server.port, pki.other_ca)
    done = SieveConnect(clients, proxy.address[1], "--notlsverify").upload(SCRIPT)
    assert done.returncode != 0
    assert "certificate-not-trusted" in proxy.summary()["reason"]


def test_probe(secure_server, pki):
    done = ehlock.run("probe", text_of(secure_server.address), "--protocol", "managesieve", "--CAfile",
                      pki.ca, "--match", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'S: "STARTTLS"' in done.stdout and "C: STARTTLS" in done.stdout
    assert base64.b64encode(PASSWORD.encode()).decode() not in done.stdout
