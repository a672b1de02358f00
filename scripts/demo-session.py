#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""One mail through ehlock, told from both ends. Started by scripts/demo."""

import argparse
import difflib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

WAIT = 15  # seconds for anything to happen


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_certificate(directory, name):
    """A self-signed certificate that is its own authority."""
    key, cert = os.path.join(directory, "key.pem"), os.path.join(directory, "cert.pem")
    template = os.path.join(directory, "template")
    with open(template, "w") as f:
        f.write(f"cn = {name}\ndns_name = {name}\nexpiration_days = 2\n"
                "ca\ncert_signing_key\nsigning_key\ntls_www_server\n")
    run = lambda *a: subprocess.run(["certtool", *a], check=True, capture_output=True)
    run("--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", key)
    run("--generate-self-signed", "--load-privkey", key, "--template", template, "--outfile", cert)
    return cert, key


class Recorder:
    """What one end saw: (direction, line), where '>' goes towards the server."""

    def __init__(self):
        self.lines = []
        self.part = {">": b"", "<": b""}
        self.lock = threading.Lock()

    def note(self, text):
        with self.lock:
            self.lines.append(("=", text))

    def data(self, direction, data):
        with self.lock:
            *whole, self.part[direction] = (self.part[direction] + data).split(b"\n")
            for line in whole:
                self.lines.append((direction, line.rstrip(b"\r").decode("latin-1")))


class Tap(threading.Thread):
    """Stands between ehlock and the MTA and writes down what passes."""

    def __init__(self, backend, recorder):
        super().__init__(daemon=True)
        self.backend, self.recorder = backend, recorder
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.backend, WAIT)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            for a, b, direction in ((near, far, ">"), (far, near, "<")):
                threading.Thread(target=self.copy, args=(a, b, direction), daemon=True).start()

    def copy(self, source, sink, direction):
        try:
            while data := source.recv(65536):
                self.recorder.data(direction, data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Client:
    """A mail program with STARTTLS that trusts the demonstration's certificate only."""

    def __init__(self, port, cert, name, recorder):
        self.recorder, self.name = recorder, name
        self.context = ssl.create_default_context(cafile=cert)
        self.sock = socket.create_connection(("127.0.0.1", port), WAIT)
        self.file = self.sock.makefile("rb")

    def reply(self):
        while True:
            line = self.file.readline()
            if not line:
                sys.exit("the server closed the connection")
            self.recorder.data("<", line)
            if line[3:4] != b"-":
                return int(line[:3])

    def say(self, text, want):
        self.recorder.data(">", text.encode() + b"\r\n")
        self.sock.sendall(text.encode() + b"\r\n")
        code = self.reply()
        if code // 100 != want // 100:
            sys.exit(f"{text!r} was answered with {code}")

    def start_tls(self):
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.name)
        self.file = self.sock.makefile("rb")
        version, (cipher, _, bits) = self.sock.version(), self.sock.cipher()
        self.recorder.note(f"{version}, {cipher}, certificate verified")

    def send(self, sender, recipient):
        self.reply()
        self.say("EHLO client.example.net", 250)
        self.say("STARTTLS", 220)
        self.start_tls()
        self.say("EHLO client.example.net", 250)
        self.say(f"MAIL FROM:<{sender}>", 250)
        self.say(f"RCPT TO:<{recipient}>", 250)
        self.say("DATA", 354)
        message = f"From: {sender}\r\nTo: {recipient}\r\nSubject: it was locked\r\n\r\nHello.\r\n."
        self.say(message, 250)
        self.say("QUIT", 221)


def wait_for(process, word, log):
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with open(log) as f:
            if word in f.read():
                return
        time.sleep(0.02)
    sys.exit("ehlock did not start:\n" + open(log).read())


def rows(left, right):
    """Lines that both ends saw stand in one row, the others in a row of their own."""
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for what, i1, i2, j1, j2 in matcher.get_opcodes():
        if what == "equal":
            yield from zip(left[i1:i2], right[j1:j2])
        else:
            yield from ((line, None) for line in left[i1:i2])
            yield from ((None, line) for line in right[j1:j2])


def columns(left, right, width):
    half = (width - 3) // 2
    print(f"{'what the client saw'.ljust(half)} | what the MTA saw")
    print("-" * half + "-+-" + "-" * half)
    for row in rows(left, right):
        cells = [textwrap.wrap(f"{x[0]} {x[1]}", half) or [""] if x else [""] for x in row]
        for k in range(max(map(len, cells))):
            a, b = (c[k] if k < len(c) else "" for c in cells)
            print(f"{a.ljust(half)} | {b}".rstrip())


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--ehlock", required=True, help=argparse.SUPPRESS)
    p.add_argument("--backend", metavar="HOST:PORT", help="a plaintext MTA that runs already")
    p.add_argument("--from", dest="sender", default="alice@example.net", metavar="ADDRESS")
    p.add_argument("--to", default="bob@example.org", metavar="ADDRESS")
    args = p.parse_args()

    name, port = "mail.example.org", free_port()
    client_saw, mta_saw = Recorder(), Recorder()
    started = []
    with tempfile.TemporaryDirectory(prefix="ehlock-demo-") as directory:
        try:
            if args.backend:
                host, _, number = args.backend.rpartition(":")
                backend = (host.strip("[]") or "127.0.0.1", int(number))
            else:
                backend = ("127.0.0.1", free_port())
                started.append(subprocess.Popen(
                    ["/usr/bin/python3", "-m", "aiosmtpd", "-n", "-l", "%s:%d" % backend,
                     "-c", "aiosmtpd.handlers.Sink"], stderr=subprocess.DEVNULL))
                deadline = time.monotonic() + WAIT
                while True:
                    try:
                        socket.create_connection(backend, WAIT).close()
                        break
                    except OSError:
                        if time.monotonic() > deadline:
                            sys.exit("the plaintext MTA did not start")
                        time.sleep(0.05)
            tap = Tap(backend, mta_saw)
            tap.start()
            cert, key = make_certificate(directory, name)
            config, log = os.path.join(directory, "ehlock.conf"), os.path.join(directory, "log")
            lines = (f"[smtp]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{tap.port}\n"
                     f"protocol = smtp\ncert = {cert}\nkey = {key}\n")
            with open(config, "w") as f:
                f.write("syslog = no\n" + lines)
            with open(log, "w") as f:
                ehlock = subprocess.Popen([args.ehlock, "-f", config], stderr=f)
            started.append(ehlock)
            wait_for(ehlock, "ready", log)

            Client(port, cert, name, client_saw).send(args.sender, args.to)
            ehlock.send_signal(signal.SIGTERM)
            ehlock.wait(WAIT)

            print(f"\nThe plaintext MTA: {backend[0]}:{backend[1]}. The configuration of ehlock:\n")
            print(textwrap.indent(lines, "    "))
            columns(client_saw.lines, mta_saw.lines, 118)
            summary = [l for l in open(log) if "outcome=" in l]
            print("\nWhat ehlock wrote into its log:\n")
            print(textwrap.fill(summary[-1].strip() if summary else "nothing!", 118,
                                initial_indent="    ", subsequent_indent="    "))
            return 0 if summary and "outcome=done" in summary[-1] else 1
        finally:
            for process in started:
                process.terminate()
                process.wait(WAIT)


if __name__ == "__main__":
    sys.exit(main())
