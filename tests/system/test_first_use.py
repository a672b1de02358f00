# SPDX-License-Identifier: ISC
"""trustOnFirstUse: the key that a server shows first is its pin, and no other one is trusted after it."""

import os
import re
import threading

import ehlock
import net
import pytest
from ehlock import Ehlock, global_part, section
from net import wait_until
from pki import pin_of
from smtp_client import Client
from starters import Single
from test_client import try_message
from tls_server import TlsServer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into workers")


class Place:
    """A service in front of a server, whose address stays when the certificate does not."""

    def __init__(self, directory, server, name="out", **options):
        self.directory, self.server, self.name, self.options = directory, server, name, options
        self.memory = directory / "servers"
        self.proxy = None
        self.starts = 0

    @property
    def destination(self):
        return f"localhost:{self.server.address[1]}"

    def settings(self, **more):
        return {"client": True, "spareWorkers": 1, "protocol": "smtp", "connect": self.destination,
                "tlsLevel": "fingerprint", "trustOnFirstUse": True, **self.options, **more}

    def start(self):
        self.starts += 1
        self.proxy = Ehlock.wrap(self.directory / str(self.starts), self.server.address, None,
                                 name=self.name, globals_={"tlsMemory": self.memory},
                                 **self.settings())
        return self.proxy.start()

    def text(self):
        return self.memory.read_text() if self.memory.exists() else ""

    def line(self, leaf):
        return re.compile(rf"^{re.escape(self.destination)} pin {pin_of(leaf, key=True)} \d+ "
                          rf"{re.escape(self.name)}$", re.M)

    def wait_written(self, leaf):
        net.wait_until(lambda: self.line(leaf).search(self.text()), f"the pin is written\n{self.text()}")

    def show(self, leaf):
        """From here on the server has this certificate."""
        self.server.context = TlsServer._context(leaf, None, None)

    def is_served(self):
        return try_message(self.proxy.address).code == 220

    def is_refused(self):
        """Told why, and nothing of the client has reached the server."""
        before = len(self.server.sessions)
        greeting = try_message(self.proxy.address)
        net.wait_until(lambda: len(self.server.sessions) > before, "the server was asked")
        session = self.server.sessions[before]
        said = self.server.secret(session)
        return (greeting.code == 421 and "certificate-not-trusted: key is not the one seen first on 20"
                in greeting.text and b"secret" not in session.received
                and said in (b"", b"QUIT\r\n"))


@pytest.fixture
def place(tmp_path, pki):
    """place(**options): a service that has been started, and its server, which shows pki.lonely."""
    made = []

    def make(start=True, **options):
        server = TlsServer(pki.lonely, implicit=bool(options.get("implicitTls")))
        server.start()
        made.append(Place(tmp_path, server, **options))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for one in made:
        if one.proxy:
            one.proxy.stop()
        one.server.stop()


@pytest.fixture(scope="session")
def successor(pki):
    """Another certificate of the key that pki.lonely has: another name, another issuer, expired."""
    return pki.issue("successor", ["other.example.net"], key=pki.lonely.key, expired=True)


# -- what is trusted

def test_first_key_is_told_and_written(place, pki):
    it = place()
    assert it.is_served()
    summary = it.proxy.summary()
    assert (summary["verdict"], summary["verified"]) == ("ok", "first-use")
    assert summary["level"] == "fingerprint"
    it.proxy.wait_log(rf"notice.*service=out server={re.escape(it.destination)} "
                      rf"first-use={pin_of(pki.lonely, key=True)}: ")
    it.wait_written(pki.lonely)
    assert it.is_served()
    assert it.proxy.summary(2)["verified"] == "known-key"
    assert it.proxy.count_log("first-use=") == 1
    wait_until(lambda: len(it.text().splitlines()) == 3, "a comment, the offer, the pin")


def test_new_certificate_of_the_same_key_is_trusted(place, successor):
    it = place()
    assert it.is_served()
    it.show(successor)
    assert it.is_served()
    assert it.proxy.summary(2)["verified"] == "known-key"


@pytest.mark.parametrize("moment", ["at once", "when it is written"])
def test_another_key_is_refused_and_nothing_is_said_to_it(place, pki, moment):
    it = place(spareWorkers=4)
    assert it.is_served()
    if moment == "when it is written":
        it.wait_written(pki.lonely)
    it.show(pki.ecdsa)              # of an authority that everybody here trusts
    assert it.is_refused()
    summary = it.proxy.summary(2)
    assert summary["verdict"] == "key-mismatch" and summary["outcome"] == "refused"
    assert summary["verified"] == ""
    it.proxy.wait_log(rf"err.*is not served: certificate-not-trusted: key is not .*"
                      rf"\({pin_of(pki.lonely, key=True)}\) but {pin_of(pki.ecdsa, key=True)}; if the "
                      rf"server has a new key, take its line .* out of {re.escape(str(it.memory))} and "
                      "reload")
    it.show(pki.lonely)
    assert it.is_served()
    it.wait_written(pki.lonely)
    assert pin_of(pki.ecdsa, key=True) not in it.text()


def test_of_two_first_keys_at_once_one_is_trusted(place, pki):
    it = place(spareWorkers=6)
    leaves = [pki.lonely, pki.ecdsa]
    both = threading.Barrier(2, timeout=net.DEADLINE)
    inner = it.server._secure
    turns = iter(leaves)
    lock = threading.Lock()

    def secure(session):
        with lock:
            leaf = next(turns, None)
            context = TlsServer._context(leaf, None, None) if leaf else it.server.context
        if leaf:
            both.wait()
        session.clear = session.received
        session.sock = context.wrap_socket(session.sock, server_side=True)
        session.tls, session.secret_from = session.sock.version(), len(session.received)

    it.server._secure = secure
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(try_message(it.proxy.address).code))
               for _ in leaves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [220, 421]
    words = sorted((s["verdict"], s["verified"]) for s in (it.proxy.summary(1), it.proxy.summary(2)))
    assert words == [("key-mismatch", ""), ("ok", "first-use")]
    it.server._secure = inner
    it.proxy.wait_log("first-use=")
    first = next(leaf for leaf in leaves
                 if it.proxy.count_log(f"first-use={pin_of(leaf, key=True)}"))
    it.wait_written(first)
    it.show(first)
    assert it.is_served()
    it.show(next(leaf for leaf in leaves if leaf is not first))
    assert it.is_refused()


def test_worker_that_serves_many_sessions_knows_as_well(place, pki):
    it = place(connectionsPerWorker=100)
    assert it.is_served() and it.is_served()
    it.show(pki.ecdsa)
    assert it.is_refused()


def test_tls_from_the_first_byte(place, pki):
    it = place(implicitTls=True)
    assert it.is_served()
    it.show(pki.ecdsa)
    assert try_message(it.proxy.address).code == 421
    it.proxy.wait_log("is not served: .*key is not the one seen first.*take its line")


def test_names_are_compared_where_they_are_asked_for(place, pki):
    it = place(checkHost="mail.example.net")
    assert not it.is_served()
    assert it.proxy.summary()["verdict"] == "name-mismatch"
    assert "first-use" not in it.proxy.log


def test_one_rule_of_the_table_trusts_on_first_use(place, pki):
    it = place(tlsLevel="secure", trustOnFirstUse=None, CAfile=pki.ca,
               tlsPolicy="/^localhost:/ fingerprint trustOnFirstUse=yes")
    assert it.is_served()
    it.show(pki.ecdsa)
    assert it.is_refused()


def test_each_service_sees_its_own_first_key(tmp_path, pki):
    """A service that many can reach must not say what another one trusts."""
    with TlsServer(pki.lonely) as server:
        ports = {name: net.free_port() for name in ("a", "b")}
        it = Place(tmp_path, server)
        text = global_part(tlsMemory=it.memory) + "".join(
            section(name, **it.settings(accept=f"127.0.0.1:{port}")) for name, port in ports.items())
        with Ehlock(tmp_path, text) as proxy:
            assert try_message(("127.0.0.1", ports["a"])).code == 220
            proxy.wait_log("service=a .*first-use=")
            it.show(pki.ecdsa)
            assert try_message(("127.0.0.1", ports["b"])).code == 220
            assert try_message(("127.0.0.1", ports["a"])).code == 421
            proxy.wait_log("service=b .*first-use=")


def test_next_server_is_judged_by_its_own_key(tmp_path, pki):
    """And what is wrong with the first one is told, but not as if nobody had been served."""
    with TlsServer(pki.lonely) as first, TlsServer(pki.second) as second:
        it = Place(tmp_path, first)
        it.memory.write_text(f"{it.destination} pin {pin_of(pki.ecdsa, key=True)} 1700000000 out\n")
        it.options = {"connect": [it.destination, f"localhost:{second.address[1]}"]}
        it.start()
        assert it.is_served()
        summary = it.proxy.summary()
        assert (summary["verdict"], summary["verified"]) == ("ok", "first-use")
        it.proxy.wait_log("is left for another: certificate-not-trusted: key is not the one seen first "
                          "on 2023-11-14 .*; if the server has a new key, take its line")
        it.proxy.wait_log(rf"server=localhost:{second.address[1]} first-use="
                          rf"{pin_of(pki.second, key=True)}")
        assert "is not served" not in it.proxy.log
        second.context = TlsServer._context(pki.ecdsa, None, None)
        greeting = try_message(it.proxy.address)
        assert greeting.code == 421 and "key is not the one seen first on 20" in greeting.text
        it.proxy.wait_log(f"is not served: .*; if the server has a new key, take its line "
                          rf"\(localhost:{second.address[1]} ")
        it.proxy.stop()


# -- what is remembered

def test_restart_keeps_the_key(place, pki):
    it = place()
    assert it.is_served()
    it.proxy.stop()              # within the second that the master takes
    it.wait_written(pki.lonely)
    it.start()
    it.show(pki.ecdsa)
    assert it.is_refused()
    assert it.proxy.summary()["verdict"] == "key-mismatch"
    it.show(pki.lonely)
    assert it.is_served()
    assert it.proxy.summary(2)["verified"] == "known-key"


@pytest.mark.parametrize("moment", ["before", "after", "at once"])
def test_reload_keeps_the_key(place, pki, moment):
    it = place()
    if moment == "before":
        it.proxy.reload()
    assert it.is_served()
    if moment == "after":
        it.wait_written(pki.lonely)
    it.proxy.reload()
    it.show(pki.ecdsa)
    assert it.is_refused()
    assert it.proxy.count_log("first-use=") == 1


def test_session_of_before_a_reload_and_one_of_after_it_have_one_first_key(place, pki):
    """The old one is in the middle of its session, and first to see a key, when all is new."""
    it = place()
    held, go = threading.Event(), threading.Event()
    inner = it.server._secure

    def secure(session):
        held.set()
        assert go.wait(net.DEADLINE)
        inner(session)

    it.server._secure = secure
    codes = []
    old = threading.Thread(target=lambda: codes.append(try_message(it.proxy.address).code))
    old.start()
    assert held.wait(net.DEADLINE)
    it.proxy.reload()
    go.set()
    old.join()
    assert codes == [220]
    it.server._secure = inner
    it.show(pki.ecdsa)
    assert it.is_refused()


def test_line_that_is_taken_out_means_first_use_again(place, pki):
    it = place()
    assert it.is_served()
    it.wait_written(pki.lonely)
    it.memory.write_text(it.line(pki.lonely).sub("# gone", it.text()))
    it.show(pki.ecdsa)
    assert it.is_refused()         # not before the reload
    it.proxy.reload()
    it.proxy.wait_log(rf"service=out server={re.escape(it.destination)} is no longer in "
                      f"{re.escape(str(it.memory))}: the next key that is seen is the first")
    assert it.is_served()
    it.wait_written(pki.ecdsa)
    assert pin_of(pki.lonely, key=True) not in it.text()
    it.show(pki.lonely)
    assert it.is_refused()


def test_line_that_is_taken_out_does_not_come_back_with_something_else(tmp_path, pki):
    with TlsServer(pki.lonely) as server, TlsServer(pki.ecdsa) as other:
        it = Place(tmp_path, server)
        ports = net.free_port(), net.free_port()
        text = global_part(tlsMemory=it.memory) + section(
            "out", **it.settings(accept=f"127.0.0.1:{ports[0]}")) + section(
            "may", client=True, protocol="smtp", tlsLevel="may", spareWorkers=1,
            accept=f"127.0.0.1:{ports[1]}", connect=f"localhost:{other.address[1]}")
        with Ehlock(tmp_path, text):
            assert try_message(("127.0.0.1", ports[0])).code == 220
            it.wait_written(pki.lonely)
            it.memory.write_text(it.line(pki.lonely).sub("# gone", it.text()))
            assert try_message(("127.0.0.1", ports[1])).code == 220
            net.wait_until(lambda: f"localhost:{other.address[1]} yes " in it.text(), "the offer")
            assert not it.line(pki.lonely).search(it.text())


@pytest.mark.parametrize("by_hand", ["hexadecimal", "colons"])
def test_line_may_be_written_by_hand(place, pki, by_hand):
    it = place(start=False)
    digest = pki.digest(pki.lonely, of_key=True)
    if by_hand == "colons":
        digest = ":".join(digest[i:i + 2] for i in range(0, 64, 2)).upper()
    it.memory.write_text(f"{it.destination} pin spki-sha256:{digest} 1700000000 OUT\n")
    it.start()
    assert it.is_served()
    assert it.proxy.summary()["verified"] == "known-key"
    it.show(pki.ecdsa)
    assert "(spki-sha256:" in try_message(it.proxy.address).text
    it.proxy.wait_log("seen first on 2023-11-14 ")


# -- what cannot be remembered

def test_file_that_cannot_be_written_is_told_and_the_key_known_all_the_same(place, pki):
    it = place()
    obstacle = it.memory.parent / "servers.new"
    obstacle.mkdir()
    assert it.is_served()
    it.proxy.wait_log(f"err.*tlsMemory: cannot write {re.escape(str(it.memory))}: .*tried again")
    it.show(pki.ecdsa)
    assert it.is_refused()
    it.proxy.reload()               # what could not be written was not taken out by anybody
    assert it.is_refused()
    obstacle.rmdir()
    it.wait_written(pki.lonely)


@pytest.mark.parametrize("args", [["--check"], []])
def test_file_in_no_directory_is_told_at_start(tmp_path, pki, args):
    with TlsServer(pki.lonely) as server:
        it = Place(tmp_path, server)
        path = tmp_path / "x.conf"
        path.write_text(global_part(tlsMemory=tmp_path / "none" / "servers") + section(
            "out", **it.settings(accept=f"127.0.0.1:{net.free_port()}")))
        done = ehlock.run(*args, path)
    assert done.returncode == 78
    assert "none/servers cannot be written, and trustOnFirstUse has to remember" in done.stderr


def test_file_that_has_become_nonsense_is_not_written_over(place, pki):
    it = place()
    it.memory.write_text("half a li")
    assert it.is_served()
    it.proxy.wait_log(r"err.*servers:1 is not NAME yes\|no SECONDS: mend the line")
    assert it.text() == "half a li"
    it.memory.write_text("")
    it.wait_written(pki.lonely)


@pytest.mark.parametrize("line", [
    "a:1 pin", "a:1 pin x 1 out", "a:1 pin sha256:" + 64 * "0" + " 1 out",
    "a:1 pin spki-sha256:" + 64 * "0" + " 1", "a:1 pin spki-sha256:" + 64 * "0" + " -1 out",
    "a:1 pin spki-sha256:" + 64 * "0" + " 1 out more", "a:1 pin spki-sha256:" + 63 * "0" + " 1 out",
    "good:25 pin spki-sha256:" + 64 * "1" + " 1 Out", "a:1 pin spki-sha256:" + 64 * "0" + " 1 out\0"])
def test_line_that_cannot_be_understood_is_told_at_start(tmp_path, pki, line):
    memory, path = tmp_path / "memory", tmp_path / "x.conf"
    text = f"good:25 pin spki-sha256:{64 * '0'} 1 out\n{line}\n"
    memory.write_text(text)
    path.write_text(global_part(tlsMemory=memory) + section(
        "out", client=True, accept=f"127.0.0.1:{net.free_port()}", protocol="smtp",
        connect="localhost:587", CAfile=pki.ca))
    for args in (["--check"], []):
        done = ehlock.run(*args, path)
        assert done.returncode == 78 and f"{memory}:2 " in done.stderr
    assert memory.read_text() == text


@pytest.mark.parametrize("form", ["{}", "{}\r\n", "\n\n{}\n\n", "# " + 2000 * "x" + "\n{}\n"],
                         ids=["no-end", "crlf", "empty-lines", "long-comment"])
def test_file_may_be_written_with_any_editor(place, pki, form):
    it = place()
    assert it.is_served()
    it.wait_written(pki.lonely)
    it.memory.write_text(form.format(it.text().rstrip("\n")))
    it.proxy.reload()
    assert it.is_served()
    assert it.proxy.summary(2)["verified"] == "known-key"


# -- one session, and the probe

def single(it, name="one.conf"):
    path = it.directory / name
    log = it.directory / f"{name}.log"
    path.write_text(global_part(tlsMemory=it.memory, syslog=False, output=log, foreground=False)
                    + section("out", **it.settings()))
    with Single(path) as process:
        with Client(None, sock=process.sock) as client:
            greeting = client.greeting
            if greeting.code == 220:
                client.quit()
        process.wait()
    return greeting, log.read_text()


def test_single_session_trusts_a_known_key_and_no_other(place, pki):
    it = place()
    assert it.is_served()
    it.wait_written(pki.lonely)
    it.proxy.stop()
    assert single(it)[0].code == 220
    it.show(pki.ecdsa)
    greeting, log = single(it, "other.conf")
    assert greeting.code == 421 and "verdict=key-mismatch" in log
    it.memory.unlink()
    greeting, log = single(it, "unknown.conf")
    assert greeting.code == 421 and "no key has been seen before" in greeting.text
    assert "verdict=key-unknown" in log and "start it without --inetd once" in log
    assert not it.memory.exists()


def test_probe_tells_what_would_come_of_it_and_remembers_nothing(place, pki):
    it = place()

    def probe():
        return ehlock.run("probe", "--config", it.proxy.config, "--service", "out")

    done = probe()
    assert done.returncode == 0 and "no key has been seen before" in done.stdout, done.stdout
    assert "pin" not in it.text()
    assert it.is_served()
    it.wait_written(pki.lonely)
    done = probe()
    assert done.returncode == 0 and "no key has been seen" not in done.stdout, done.stdout
    assert "levels that it satisfies: none may encrypt fingerprint\n" in done.stdout
    assert "highest level fingerprint" in done.stdout
    it.show(pki.ecdsa)
    done = probe()
    assert done.returncode == 1 and "key is not the one seen first" in done.stdout, done.stdout
    assert "highest level fingerprint" not in done.stdout


# -- who can say it

def shared_pages(pid):
    return sum(1 for line in open(f"/proc/{pid}/maps") if " rw-s " in line)


@needs_root
def test_nobody_but_workers_of_the_service_can_say_what_is_first(tmp_path, pki):
    with TlsServer(pki.lonely) as server:
        it = Place(tmp_path, server, name="first")
        port = net.free_port()
        text = global_part(tlsMemory=it.memory) + section(
            "first", **it.settings(accept=f"127.0.0.1:{port}", connectionsPerWorker=9)) + section(
            "second", **it.settings(accept=f"127.0.0.1:{net.free_port()}", trustOnFirstUse=None,
                                    verifyPeer=pin_of(pki.lonely)))
        with Ehlock(tmp_path, text) as proxy:
            net.wait_until(lambda: proxy.workers("first") and proxy.workers("second"), "workers")
            usual = shared_pages(proxy.workers("second")[0])
            assert shared_pages(proxy.workers("first")[0]) == usual + 1
            assert try_message(("127.0.0.1", port)).code == 220
            it.wait_written(pki.lonely)
            # Nor do they any longer, once it is known.
            net.wait_until(lambda: [shared_pages(pid) for pid in proxy.workers("first")] == [usual],
                           "workers that know")
