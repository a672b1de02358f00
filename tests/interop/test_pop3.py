# SPDX-License-Identifier: ISC
"""protocol = pop3 between real clients and real servers: a message is fetched byte for byte, and the
certificate is verified. Then the other way round: programs without TLS, and a server that wants it."""

import base64

import ehlock
import fetchers
import mailboxes
import pytest
from clients import CLEAR, HOSTNAME, IMPLICIT, STARTTLS
from ehlock import Ehlock
from fetchers import Errand
from mailboxes import PASSWORD
from messages import assert_same, message, short
from net import free_port, text_of, wait_until
from pki import NAME
from pop3 import PopClient
from roots import USER
from smtp_client import context

MESSAGE = message()


@pytest.fixture(scope="module")
def server_of(roots, pki):
    """server_of(kind): that POP3 server, running in a root of its own until the end of the file."""
    running = {}

    def get(kind):
        if kind not in running:
            server = kind(roots(kind.name, kind.packages))
            server.root.write("/srv/cert.pem", pki.ecdsa.cert.read_bytes())
            server.root.write("/srv/key.pem", pki.ecdsa.key.read_bytes(), 0o600)
            server.start()
            running[kind] = server
        running[kind].put(MESSAGE)
        return running[kind]

    return get


@pytest.fixture
def fetch(request, roots, pki, fetchers_root):
    """fetch(kind, way, port): what the client says and has."""
    def run(kind, way, port, ca=None):
        request.node.used_roots = [fetchers_root.name]
        file = fetchers_root.write("/srv/ca.pem", (ca or pki.ca).read_bytes())
        return kind(fetchers_root).fetch(Errand(port, way, file))

    return run


@pytest.fixture(scope="module")
def fetchers_root(roots):
    return roots("fetchers", fetchers.PACKAGES)


def pairs(kinds_of):
    return [pytest.param(kind, what, id=f"{kind.name}-{what}")
            for kind in fetchers.ALL for what in kinds_of(kind)]


# ---- servers without TLS

@pytest.mark.parametrize("server_kind", mailboxes.ALL, ids=lambda kind: kind.name)
@pytest.mark.parametrize("kind,way", pairs(lambda kind: [w for w in kind.ways if w != CLEAR]))
def test_message_is_fetched_byte_for_byte(kind, way, server_kind, server_of, fetch, wrap):
    server = server_of(server_kind)
    proxy = wrap(server, protocol="pop3", implicitTls=way == IMPLICIT)
    done = fetch(kind, way, proxy.address[1])
    assert done.ok and done.message, done.output
    assert_same(done.message, MESSAGE, kind.added)
    proxy.stop()
    assert proxy.summaries()
    # Some come twice, or go without a goodbye; what counts is that no login was in clear.
    for summary in proxy.summaries():
        assert summary["tls"] == "TLS1.3" or summary["step"] != "passing bytes", summary
    assert PASSWORD not in proxy.log


@pytest.mark.parametrize("kind,check", pairs(lambda kind: kind.verifies))
def test_verifying_client_refuses(kind, check, server_of, fetch, wrap, pki):
    """So that "verified" is known to be true: a certificate of another name, or of an authority that
    the client does not trust, and otherwise the same command."""
    server = server_of(mailboxes.Dovecot)
    way = kind.ways[0]
    proxy = wrap(server, leaf=pki.second if check == HOSTNAME else None, protocol="pop3",
                 implicitTls=way == IMPLICIT)
    done = fetch(kind, way, proxy.address[1], ca=pki.ca if check == HOSTNAME else pki.other_ca)
    assert not done.message, done.output
    proxy.stop()
    assert not [s for s in proxy.summaries() if s["step"] == "passing bytes"]


@pytest.mark.parametrize("server_kind", mailboxes.ALL, ids=lambda kind: kind.name)
def test_what_the_public_sees_of_the_server(server_kind, server_of, wrap, pki):
    server = server_of(server_kind)
    with PopClient(server.address) as direct:
        assert ("[XCLIENT]" in direct.greeting) == server_kind.shows_xclient
        own = direct.capa() if server_kind.has_capa else None
    with PopClient(wrap(server, protocol="pop3").address) as client:
        assert "XCLIENT" not in client.greeting and "<" not in client.greeting
        shown = client.capa()
        assert shown[0] == "STLS" and "USER" not in shown
        assert not [line for line in shown if line.startswith("SASL")]
        assert client.command(f"USER {USER}").startswith("-ERR")
        client.stls(context(pki))
        # Without CAPA there is still a list when TLS is there: fetchmail wants one.
        assert client.capa() == [line for line in own or ["USER"] if line != "STLS"]
        client.login(password=PASSWORD)
        assert client.retr(1) == MESSAGE
        client.quit()


def test_login_by_auth(server_of, wrap, pki):
    server = server_of(mailboxes.Dovecot)
    plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    with PopClient(wrap(server, protocol="pop3").address) as client:
        client.stls(context(pki))
        assert client.command("AUTH PLAIN").startswith("+")
        assert client.command("*").startswith("-ERR")
        assert client.command("AUTH PLAIN " + plain).startswith("+OK")
        assert client.retr(1) == MESSAGE


def test_xclient_after_the_login_is_nothing_to_dovecot(server_of, wrap, pki):
    """Behind the login nothing is filtered any more, so it must not be there."""
    server = server_of(mailboxes.Dovecot)
    with PopClient(wrap(server, protocol="pop3").address) as client:
        client.stls(context(pki))
        client.login(password=PASSWORD)
        assert client.command("XCLIENT ADDR=192.0.2.7 PORT=25").startswith("-ERR")
        assert client.command("STLS").startswith("-ERR")


# ---- who is the client

@pytest.mark.parametrize("word", ["xclient", "proxy", "proxy2"])
@pytest.mark.parametrize("reconnect", ["no", "yes"])
@pytest.mark.parametrize("source", ["127.0.0.7", "::1"])
def test_dovecot_knows_the_client(word, reconnect, source, server_of, wrap, pki):
    server = server_of(mailboxes.Dovecot)
    port = server.port if word == "xclient" else server.header_port
    near = "::1" if source == "::1" else "127.0.0.1"
    address = (near, free_port(near))
    wrap(server, protocol="pop3", identity=word, reconnect=reconnect,
         connect=f"127.0.0.1:{port}", accept=text_of(address))
    seen = len(server.root.log)
    with PopClient(address, source=source) as client:
        assert "XCLIENT" not in client.greeting
        client.stls(context(pki))
        client.login(password=PASSWORD)
        assert client.retr(1) == MESSAGE
        client.quit()
    wait_until(lambda: any(f"rip={source}," in line for line in server.root.log[seen:]),
               f"dovecot logs {source}")


def test_dovecot_that_does_not_trust_us_serves_nobody(server_of, wrap):
    server = server_of(mailboxes.SecureDovecot)
    proxy = wrap(server, protocol="pop3", identity="xclient")
    with PopClient(proxy.address) as client:
        assert client.greeting.startswith("-ERR [SYS/TEMP] ")
    proxy.wait_log("is not served: backend does not offer XCLIENT.*login_trusted_networks")


# ---- programs without TLS, and a server that wants it

@pytest.mark.parametrize("implicit", [False, True], ids=["stls", "implicit"])
@pytest.mark.parametrize("kind", [kind for kind in fetchers.ALL if CLEAR in kind.ways],
                         ids=lambda kind: kind.name)
def test_program_without_tls_fetches_from_a_server_with_it(kind, implicit, server_of, fetch, tmp_path,
                                                           pki):
    server = server_of(mailboxes.SecureDovecot)
    port = server.secure_port if implicit else server.port
    with Ehlock.wrap(tmp_path, ("127.0.0.1", port), None, client="yes", protocol="pop3",
                     CAfile=pki.ca, checkHost=NAME, implicitTls=implicit, spareWorkers=2) as proxy:
        done = fetch(kind, CLEAR, proxy.address[1])
        assert done.ok and done.message, done.output
        assert_same(done.message, MESSAGE, kind.added)
        proxy.stop()
        assert proxy.summaries()
        assert all(s["server_tls"] == "TLS1.3" for s in proxy.summaries())


def test_server_that_is_not_trusted_hears_no_password(server_of, fetch, tmp_path, pki):
    server = server_of(mailboxes.SecureDovecot)
    with Ehlock.wrap(tmp_path, server.address, None, client="yes", protocol="pop3",
                     CAfile=pki.other_ca, checkHost=NAME, spareWorkers=2) as proxy:
        done = fetch(fetchers.Curl, CLEAR, proxy.address[1])
        assert not done.ok and not done.message
        assert "certificate-not-trusted" in proxy.summary()["reason"]


def test_probe_of_dovecot(server_of, pki):
    server = server_of(mailboxes.SecureDovecot)
    done = ehlock.run("probe", text_of(server.address), "--protocol", "pop3", "--CAfile", pki.ca,
                      "--match", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "S: +OK" in done.stdout and "C: STLS" in done.stdout


def test_several_messages_in_one_session(server_of, wrap, pki):
    server = server_of(mailboxes.Courier)
    messages = [short(number) for number in range(20)]
    server.put(*messages)
    with PopClient(wrap(server, protocol="pop3").address) as client:
        client.stls(context(pki))
        client.login(password=PASSWORD)
        assert sorted(client.retr(n + 1) for n in range(20)) == sorted(messages)
        client.quit()
