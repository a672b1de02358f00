# SPDX-License-Identifier: ISC
"""Real programs that speak on their standard input, started by ehlock for each session.

ehlock runs inside of the program's root here, because that is where the program is.
"""

import poplib
import re

import ehlock
import mtas
import pytest
from messages import HEADER, LINES, SENDER, assert_same, body, message, stuffed
from net import free_port, wait_until
from roots import USER
from smtp_client import Client, context

CLIENT = "127.0.0.77"       # where the tests' clients come from


class Inside:
    """ehlock in a root, with one service whose backend is a program."""

    def __init__(self, root, leaf, **options):
        self.root = root
        self.port = free_port()
        self.first = len(root.log)
        root.path("/srv/ehlock").unlink(missing_ok=True)    # another one may be running
        root.write("/srv/ehlock", ehlock.program().read_bytes(), 0o755)
        root.write("/srv/cert.pem", leaf.cert.read_bytes())
        root.write("/srv/key.pem", leaf.key.read_bytes(), 0o600)
        root.write("/srv/ehlock.conf", ehlock.global_part(syslog=False) + ehlock.section(
            "wrapped", **{"accept": f"127.0.0.1:{self.port}", "cert": "/srv/cert.pem",
                          "key": "/srv/key.pem", "spareWorkers": 2, "TIMEOUTclose": 30, **options}))
        self.daemon = root.spawn("/srv/ehlock", "-f", "/srv/ehlock.conf", env=ehlock.environment())
        self.wait_log(r"ehlock\[\d+\]: notice: ready")

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def lines(self):
        return list(self.root.log)[self.first:]

    def wait_log(self, pattern):
        return wait_until(lambda: next((m for m in (re.search(pattern, line) for line in self.lines())
                                        if m), None), f"log line {pattern!r}\n{self.root.report()}")

    def summary(self):
        line = self.wait_log("ehlock.*outcome=.*").string
        return ehlock.parse_pairs(line)

    def stop(self):
        self.daemon.stop()


@pytest.fixture
def inside(request, pki):
    """inside(root, **options) starts ehlock in a root."""
    running = []

    def start(root, **options):
        request.node.used_roots = [root.name]
        running.append(Inside(root, pki.ecdsa, **options))
        return running[-1]

    yield start
    for proxy in running:
        proxy.stop()


# -- mail programs with -bs

class EximBs(mtas.Exim):
    """Local sessions, those without a client's address, may relay: as Debian has it."""

    CONF = mtas.Exim.CONF.replace("        rcpt:\n", "        rcpt:\n          accept hosts = :\n")
    exec = {"exec": "/usr/sbin/exim4", "execUser": "Debian-exim",
            "execArgs": "exim4 -bs -oMa ${TCPREMOTEIP}.${TCPREMOTEPORT}"
                        " -oMi ${TCPLOCALIP}.${TCPLOCALPORT}"}
    knows_client = True


class PostfixBs(mtas.Postfix):
    """The queue is reached through postdrop, which is set-gid."""

    exec = {"exec": "/usr/sbin/sendmail", "execUser": "nobody",
            "execArgs": f"sendmail -C {mtas.Postfix.instance}/etc -bs"}
    knows_client = False

    def start(self):
        self.root.write("/etc/postfix/main.cf",
                        f"compatibility_level = 3.6\nalternate_config_directories = {self.instance}/etc\n")
        super().start()


class SendmailBs(mtas.Sendmail):
    exec = {"exec": "/usr/libexec/sendmail/sendmail", "execUser": "root",
            "execArgs": "sendmail -C /var/lib/interop/sm.cf -bs"}
    knows_client = False


@pytest.fixture(scope="module", params=[EximBs, PostfixBs, SendmailBs], ids=lambda mta: mta.name)
def mta(request, roots):
    kind = request.param
    running = kind(roots("+".join(kind.packages), kind.packages))
    running.start()
    return running


@pytest.fixture
def proxy(mta, inside):
    mta.clear()
    return inside(mta.root, protocol="smtp", **mta.exec)


def test_message_through_tls_arrives_byte_for_byte(mta, proxy, pki):
    sent = message(None if mta.binary else LINES)
    with Client.secured(proxy.address, context(pki), source=CLIENT) as client:
        client.send_message(SENDER, [mta.rcpt], stuffed(sent))
        client.quit()
    arrived = mta.arrived()[0]
    assert_same(arrived, sent, mta.trace)
    assert (CLIENT.encode() in arrived) == mta.knows_client
    summary = proxy.summary()
    assert (summary["outcome"], summary["tls"], summary["accepted"]) == ("done", "TLS1.3", "1")
    assert summary["backend"] == "exec:" + mta.exec["exec"]
    proxy.wait_log("the program ended with status 0$")


def test_message_without_tls_arrives_byte_for_byte(mta, proxy):
    sent = message(LINES)
    with Client(proxy.address) as client:
        client.ehlo()
        client.send_message(SENDER, [mta.rcpt], stuffed(sent))
        client.quit()
    assert_same(mta.arrived()[0], sent, mta.trace)


def test_several_sessions_at_once_arrive(mta, proxy, pki):
    clients = [Client.secured(proxy.address, context(pki)) for _ in range(5)]
    for number, client in enumerate(clients):
        client.send_message(SENDER, [mta.rcpt], stuffed(HEADER + body([b"number %d" % number])))
    for client in clients:
        client.quit()
        client.close()
    arrived = mta.arrived(5)
    for number in range(5):
        assert sum(one.endswith(b"number %d\r\n" % number) for one in arrived) == 1


def test_client_that_vanishes_leaves_no_program(mta, proxy, pki):
    with Client.secured(proxy.address, context(pki)) as client:
        client.envelope(SENDER, [mta.rcpt])
        client.abort()
    proxy.wait_log(r"the program ended with status \d+$")
    assert mta.files() == []


@pytest.fixture(scope="module")
def exim(roots):
    running = EximBs(roots("+".join(EximBs.packages), EximBs.packages))
    running.start()
    return running


def relay(address, pki):
    """The reply to a recipient elsewhere."""
    with Client.secured(address, context(pki)) as client:
        client.command(f"MAIL FROM:<{SENDER}>")
        reply = client.command("RCPT TO:<somebody@elsewhere.example.net>")
        client.quit()
    return reply.code


@pytest.mark.parametrize("args,want", [(EximBs.exec["execArgs"], 550), ("exim4 -bs", 250)],
                         ids=["told", "not-told"])
def test_client_may_relay_only_if_exim_is_not_told_who_it_is(exim, inside, pki, args, want):
    """A session without an address is a local user's: the trap that -oMa is for."""
    proxy = inside(exim.root, protocol="smtp", **{**EximBs.exec, "execArgs": args})
    assert relay(proxy.address, pki) == want


def test_exim_is_told_of_an_ipv6_client(exim, inside, pki):
    port = free_port("::1")
    proxy = inside(exim.root, protocol="smtp", accept=f"[::1]:{port}", **EximBs.exec)
    assert relay(("::1", port), pki) == 550
    with Client.secured(("::1", port), context(pki)) as client:
        reply = client.command("EHLO here.example.org")
        client.quit()
    assert "[::1]" in reply.lines[0], reply
    proxy.summary()


# -- programs for other protocols: TLS from the first byte

def start_popa3d(roots, inside, **options):
    root = roots("popa3d", ["popa3d"])
    mail = b"From alice@example.org Tue Nov 24 02:49:57 2026\n" + message(LINES).replace(b"\r\n", b"\n")
    root.write(f"/var/mail/{USER}", mail + b"\n", 0o660, f"{USER}:mail")
    root.run("chpasswd", input=f"{USER}:a secret\n".encode())
    return inside(root, exec="/usr/sbin/popa3d", execUser="root", **options)


def fetch_by_poplib(pop):
    pop.user(USER)
    pop.pass_("a secret")
    assert pop.stat()[0] == 1
    _, lines, _ = pop.retr(1)
    assert pop._shortcmd("QUIT").startswith(b"+OK")
    pop.sock.unwrap()               # quit() would close without a close_notify
    pop.close()
    assert b"".join(line + b"\r\n" for line in lines).rstrip().endswith(body(LINES).rstrip())


def nameless(pki):
    """The certificate has a name, and we have an address."""
    ctx = context(pki)
    ctx.check_hostname = False
    return ctx


def test_popa3d_gives_the_mail_out(roots, inside, pki):
    proxy = start_popa3d(roots, inside)
    fetch_by_poplib(poplib.POP3_SSL("127.0.0.1", proxy.port, context=nameless(pki), timeout=20))
    assert proxy.summary()["outcome"] == "done"
    proxy.wait_log("the program ended with status 0$")


def test_popa3d_gives_the_mail_out_after_stls(roots, inside, pki):
    """It knows no CAPA, and poplib no STLS without it."""
    proxy = start_popa3d(roots, inside, protocol="pop3")
    pop = poplib.POP3("127.0.0.1", proxy.port, timeout=20)
    pop.stls(context=nameless(pki))
    fetch_by_poplib(pop)
    assert proxy.summary()["outcome"] == "done"
    proxy.wait_log("the program ended with status 0$")


def test_leafnode_answers(roots, inside, pki):
    name = "news.mylegacy.net"      # it refuses to run under a name that is nobody's
    root = roots("leafnode", ["leafnode"])
    root.run("hostname", name)
    root.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name} news\n")
    # To leafnode everybody who does not come by TCP is 0.0.0.0, and so a stranger.
    root.write("/etc/news/leafnode/config", "server = 127.0.0.1\nexpire = 20\nallowSTRANGERS = 42\n")
    proxy = inside(root, exec="/usr/sbin/leafnode", execUser="news")
    with Client.implicit(proxy.address, context(pki), greet=False) as client:
        assert client.read_line().startswith((b"200 ", b"201 "))
        client.send_line("LIST")
        assert client.read_line().startswith(b"215 ")
        while client.read_line() != b".\r\n":
            pass
        client.send_line("QUIT")
        assert client.read_line().startswith(b"205 ")
        client.read_to_end()
        assert client.end == "close_notify"
    assert proxy.summary()["outcome"] == "done"
