# SPDX-License-Identifier: ISC
"""ehlock --inetd: started for one client, by everything that does that."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import ehlock
import net
import pytest
import starters
from ehlock import global_part, parse_pairs, section
from net import wait_until
from smtp_client import Client, context
from starters import Single, Starter
from test_keys import found_in, patterns_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change identities")


@pytest.fixture
def configure(tmp_path, pki, backend):
    """configure(SERVICES as dictionaries by name, options of the program): the file's path."""
    def write(services=None, globals_=None):
        text = global_part(syslog=False, output=tmp_path / "ehlock.log", foreground=False,
                           **(globals_ or {}))
        for name, options in (services or {"smtp": {}}).items():
            text += section(name, **{"connect": net.text_of(backend.address), "protocol": "smtp",
                                     "cert": pki.ecdsa.cert, "key": pki.ecdsa.key, **options})
        path = tmp_path / "c.conf"
        path.write_text(text)
        return path
    return write


def log_of(tmp_path):
    path = tmp_path / "ehlock.log"
    return path.read_text() if path.exists() else ""


def summaries(tmp_path):
    return [parse_pairs(line) for line in log_of(tmp_path).splitlines() if " outcome=" in line]


def family_of(config):
    return [pid for pid, (_, title) in ehlock.processes().items()
            if "ehlock: session" in title or "ehlock: keeper" in title or str(config) in title]


# -- everything that starts it

@pytest.mark.parametrize("kind", starters.NAMES)
def test_message_is_delivered_under_tls(tmp_path, configure, backend, pki, kind):
    if kind == "xinetd" and not starters.xinetd():
        pytest.skip("xinetd is neither installed nor named by EHLOCK_XINETD")
    with Starter(kind, tmp_path, configure()) as starter:
        for number in range(2):
            with Client.secured(starter.address, context(pki)) as client:
                client.send_message(body=b"Subject: x\r\n\r\ntext\r\n")
                client.quit()
                assert client.read_to_end() == b""
                assert client.end == "close_notify"
                mine = client.sock.getsockname()
        wait_until(lambda: len(summaries(tmp_path)) == 2, "two summary lines")
    assert [message.body for message in backend.messages] == [b"Subject: x\r\n\r\ntext\r\n"] * 2
    for summary in summaries(tmp_path):
        assert summary["tls"] == "TLS1.3" and summary["outcome"] == "done"
        assert summary["service"] == "smtp" and summary["accepted"] == "1"
    assert summaries(tmp_path)[1]["client"] == net.text_of(mine)
    # The programs themselves have nothing to say, least of all about us.
    said = (tmp_path / "starter.log").read_text()
    assert "error" not in said.lower() and not re.search(r"Sanitizer|runtime error", said), said


def test_program_as_backend_has_its_time_after_the_session(configure, public_dir):
    script, traces = public_dir / "backend", public_dir / "traces"
    traces.mkdir()
    traces.chmod(0o777)
    script.write_text('#!/bin/sh\nprintf "220 program ESMTP\\r\\n"\ncat >/dev/null\n'
                      f'sleep 4\n: >{traces}/ended\n')
    script.chmod(0o755)
    with Single(configure({"smtp": {"connect": None, "exec": script, "TIMEOUTclose": 20}})) as one:
        client = Client.over(one.sock)
        assert client.greeting.raw == b"220 program ESMTP\r\n"
        client.sock.close()
        one.wait()
    wait_until((traces / "ended").exists, "the program ends by itself")


# -- processes

@needs_root
def test_session_is_jailed_and_the_key_is_in_a_process_of_its_own(configure, pki):
    patterns = patterns_of(pki.ecdsa)
    with Single(configure(globals_={"setuid": "nobody"})) as one:
        client = Client.over(one.sock)
        client.ehlo()
        client.starttls(context(pki))
        client.ehlo()
        session = one.process.pid
        keepers = [pid for pid, (parent, _) in ehlock.processes().items() if parent == session]
        assert len(keepers) == 1
        assert found_in(keepers[0], patterns), "the search does not find what is there"
        assert found_in(session, patterns) == set()
        for pid in (session, keepers[0]):
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.search(r"^Uid:\t(?!0\b)(\d+)\t\1\t\1\t\1$", status, re.M), status
            assert re.search(r"^NoNewPrivs:\t1$", status, re.M)
            assert os.listdir(f"/proc/{pid}/root") == []
        client.quit()
        assert one.wait()[0] == 0
    wait_until(lambda: not set(keepers) & set(ehlock.processes()), "the end of the keeper")


def test_keeper_ends_with_a_session_that_was_killed(configure, pki):
    with Single(configure()) as one:
        client = Client.over(one.sock)
        client.ehlo()
        session = one.process.pid
        keepers = [pid for pid, (parent, _) in ehlock.processes().items() if parent == session]
        assert keepers
        one.process.kill()
        wait_until(lambda: not set(keepers) & set(ehlock.processes()), "the keeper's end")


def test_stop_gives_the_session_its_time_and_then_says_goodbye(configure):
    with Single(configure(globals_={"TIMEOUTdrain": 1})) as one:
        client = Client.over(one.sock)
        client.ehlo()
        one.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert client.command("NOOP").code == 250
        assert client.read_reply().code == 421
        assert time.monotonic() - start > 0.5
        client.close()
        assert one.wait()[0] == 0


def test_stop_without_drain_time_is_goodbye_at_once(configure):
    with Single(configure(globals_={"TIMEOUTdrain": 0})) as one:
        client = Client.over(one.sock)
        one.process.send_signal(signal.SIGTERM)
        assert client.read_reply().code == 421
        client.close()
        assert one.wait()[0] == 0


@pytest.mark.parametrize("end", ["quit", "close", "reset", "nonsense"])
def test_exit_status_is_0_whatever_became_of_the_session(configure, end):
    with Single(configure({"smtp": {"maxUselessCommands": 1}})) as one:
        client = Client.over(one.sock)
        if end == "quit":
            client.quit()
        elif end == "nonsense":
            client.send(b"\0\r\n" * 100)
            client.read_to_end()
        elif end == "reset":
            client.abort()
        client.close()
        assert one.wait()[0] == 0


def test_program_that_ignores_sigchld_can_start_it(configure, pki):
    """A parent's SIG_IGN is inherited, and then nobody can wait for a child."""
    ignoring = ["/bin/sh", "-c", 'trap "" CHLD; exec "$@"', "sh"]
    with Single(configure(), command=ignoring) as one:
        client = Client.over(one.sock)
        client.ehlo()
        client.starttls(context(pki))
        client.ehlo()
        client.quit()
        client.close()
        status, log = one.wait()
        assert status == 0, log


# -- which client, which service

def test_client_of_a_ucspi_environment_is_logged(tmp_path, configure):
    env = {"PROTO": "TCP", "TCPREMOTEIP": "192.0.2.7", "TCPREMOTEPORT": "4711"}
    with Single(configure(), sock=starters.pair(), env=env) as one:
        client = Client.over(one.sock)
        client.quit()
        client.close()
        assert one.wait()[0] == 0
    assert summaries(tmp_path)[0]["client"] == "192.0.2.7:4711"


def test_environment_does_not_override_what_the_connection_says(tmp_path, configure):
    env = {"PROTO": "TCP", "TCPREMOTEIP": "192.0.2.7", "TCPREMOTEPORT": "4711"}
    with Single(configure(), env=env) as one:
        mine = net.text_of(one.sock.getsockname())
        client = Client.over(one.sock)
        client.quit()
        client.close()
        assert one.wait()[0] == 0
    assert summaries(tmp_path)[0]["client"] == mine


def test_unix_socket_is_served(tmp_path, configure, pki):
    with Single(configure(), sock=starters.pair()) as one:
        client = Client.over(one.sock)
        client.ehlo()
        client.starttls(context(pki))
        client.ehlo()
        client.quit()
        client.close()
        assert one.wait()[0] == 0
    assert summaries(tmp_path)[0]["client"] == "unix"


def test_named_service_is_served(tmp_path, configure):
    config = configure({"one": {"accept": 2501}, "two": {"accept": 2502}})
    with Single(config, "TWO") as one:
        client = Client.over(one.sock)
        client.quit()
        client.close()
        assert one.wait()[0] == 0
    assert summaries(tmp_path)[0]["service"] == "two"


def test_service_is_found_by_the_port(tmp_path, configure):
    with net.listen(("127.0.0.1", net.free_port())) as listener:
        mine = net.connect(listener.getsockname())
        inner, _ = listener.accept()
        config = configure({"one": {"accept": 2501}, "two": {"accept": listener.getsockname()[1]}})
        with Single(config, sock=(mine, inner)) as one:
            client = Client.over(one.sock)
            client.quit()
            client.close()
            assert one.wait()[0] == 0
    assert summaries(tmp_path)[0]["service"] == "two"


def test_only_the_keys_of_the_service_are_loaded(tmp_path, configure, pki):
    """The other service's key may be unreadable, or simply take its time."""
    config = configure({"one": {"accept": 2501},
                        "two": {"accept": 2502, "key": tmp_path / "not-there.pem"}})
    with Single(config, "one") as one:
        client = Client.over(one.sock)
        client.ehlo()
        client.starttls(context(pki))
        client.close()
        assert one.wait()[0] == 0


@pytest.mark.parametrize("args,words", [([], "no service has an accept for"),
                                        (["three"], r"there is no service \[three\]")])
def test_service_that_cannot_be_known_is_exit_64(tmp_path, configure, args, words):
    config = configure({"one": {"accept": 2501}, "two": {"accept": 2502}})
    with Single(config, *args, stderr="client") as one:
        assert one.sock.recv(100) == b""
        assert one.wait()[0] == 64
    assert re.search(words, log_of(tmp_path))


# -- what is wrong, and who is told

def test_bad_configuration_is_a_421_and_nothing_else(configure):
    """Standard error is the client's: the complaint must not be there."""
    config = configure({"smtp": {"spareWorkers": 0}}, {"hostname": "mx.example.org"})
    with Single(config, stderr="client") as one:
        client = Client.over(one.sock, greet=False)
        reply = client.read_reply()
        assert reply.code == 421 and "mx.example.org" in reply.text
        assert client.read_to_end() == b""
        client.close()
        assert one.wait()[0] == 78


def test_bad_configuration_is_told_to_standard_error_that_is_not_the_client(configure):
    config = configure({"smtp": {"spareWorkers": 0}})
    with Single(config) as one:
        assert Client.over(one.sock).greeting.code == 421
        status, log = one.wait()
    assert status == 78 and re.search(rf"{re.escape(str(config))}:\d+: spareWorkers", log)


def test_key_that_is_not_there_is_a_421_and_exit_78(tmp_path, configure):
    with Single(configure({"smtp": {"key": tmp_path / "none.pem"}}), stderr="client") as one:
        client = Client.over(one.sock)
        assert client.greeting.code == 421
        client.close()
        assert one.wait()[0] == 78
    assert "none.pem" in log_of(tmp_path)


@pytest.mark.parametrize("options", [{"implicitTls": True}, {"protocol": None}])
def test_client_that_expects_tls_is_not_told_anything_in_clear(configure, options):
    with Single(configure({"smtp": {**options, "spareWorkers": 0}}), stderr="client") as one:
        assert one.sock.recv(100) == b""
        assert one.wait()[0] == 78


def test_configuration_that_is_not_there_closes(tmp_path):
    with Single(tmp_path / "none.conf", stderr="client") as one:
        assert one.sock.recv(100) == b""
        assert one.wait()[0] == 78


def test_wrong_arguments_are_not_shown_to_the_client(configure):
    with Single(configure(), "smtp", "more", stderr="client") as one:
        assert one.sock.recv(100) == b""
        assert one.wait()[0] == 64


def test_warnings_are_not_repeated_for_each_client(tmp_path, configure):
    """An accept for the world is warned of at each start of the daemon."""
    with Single(configure({"smtp": {"accept": 2525}})) as one:
        client = Client.over(one.sock)
        client.quit()
        client.close()
        status, log = one.wait()
    assert status == 0 and "open relay" not in log + log_of(tmp_path)


def test_output_is_never_emptied(tmp_path, configure):
    (tmp_path / "ehlock.log").write_text("before\n")
    with Single(configure(globals_={"log": "overwrite"})) as one:
        client = Client.over(one.sock)
        client.quit()
        client.close()
        assert one.wait()[0] == 0
    assert log_of(tmp_path).startswith("before\n") and len(summaries(tmp_path)) == 1


@pytest.mark.parametrize("what,words", [
    ("pipe", "descriptor 0 is not the connection of a client"),
    ("datagram", "no stream socket"),
    ("listening", "nowait"),
])
def test_descriptor_that_is_no_client_is_exit_64(tmp_path, configure, what, words):
    if what == "pipe":
        stdin = subprocess.PIPE
    elif what == "datagram":
        stdin = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    else:
        stdin = net.listen(("127.0.0.1", 0))
    done = subprocess.run([str(ehlock.program()), "--inetd", str(configure())], stdin=stdin,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=ehlock.environment(), timeout=net.DEADLINE)
    assert done.returncode == 64 and words in done.stderr
    if what != "pipe":
        stdin.close()


def test_client_that_is_gone_already_is_no_error(configure):
    with net.listen(("127.0.0.1", 0)) as listener:
        mine = net.connect(listener.getsockname())
        inner, _ = listener.accept()
        net.reset(mine)
        with Single(configure(), sock=(mine, inner)) as one:
            assert one.wait()[0] == 0


# -- from systemd

def test_connection_on_descriptor_3_is_served(tmp_path, configure, pki):
    listener = net.listen(("127.0.0.1", 0))
    mine = net.connect(listener.getsockname())
    inner, _ = listener.accept()
    listener.close()
    process = subprocess.Popen(
        [*starters.hand_over(inner), str(ehlock.program()), "--inetd", str(configure())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        pass_fds=[inner.fileno()], env=ehlock.environment({"LISTEN_FDS": "1",
                                                           "LISTEN_FDNAMES": "connection"}))
    inner.close()
    client = Client.over(mine)
    client.ehlo()
    client.starttls(context(pki))
    client.ehlo()
    client.quit()
    client.read_to_end()
    client.close()
    _, log = process.communicate(timeout=net.DEADLINE)
    assert process.returncode == 0, log
    assert summaries(tmp_path)[0]["outcome"] == "done"


def test_variables_for_another_process_are_not_believed(configure):
    env = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    with Single(configure(), env=env) as one:
        client = Client.over(one.sock)
        client.quit()
        client.close()
        assert one.wait()[0] == 0


def test_variables_that_make_no_sense_are_exit_64(configure):
    with Single(configure(), env={"LISTEN_PID": "x", "LISTEN_FDS": "1"}) as one:
        assert one.sock.recv(100) == b""
        status, log = one.wait()
    assert status == 64 and "LISTEN_PID" in log
