# SPDX-License-Identifier: ISC
"""A DNS of our own on loopback: a root zone signed with a key of ours, served by nsd.

    with Zones(directory, records) as zones:
        proxy globals: resolver=zones.address_text, dnssecAnchor=zones.anchor
        zones.change(records)      # signed and served anew

`records` are lines of a zone file with absolute names. Whatever they name is signed, but for

    insecure.lab.     delegated without a key (what is in it is not signed)
    bogus.lab.        delegated with a key, and not signed
    dead.lab.         delegated, and nobody serves it
"""

import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

import net

APART = ("insecure.lab.", "bogus.lab.", "_tcp.torn.lab.", "dead.lab.")


def tlsa_of(leaf, usage=3, selector=1, matching=1):
    """The data of a TLSA record for a certificate file, its first certificate; without ehlock."""
    openssl = ["openssl", "x509", "-in", str(leaf.cert if hasattr(leaf, "cert") else leaf)]
    if selector == 0:
        der = subprocess.run([*openssl, "-outform", "DER"], capture_output=True, check=True).stdout
    else:
        pem = subprocess.run([*openssl, "-noout", "-pubkey"], capture_output=True,
                             check=True).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem,
                             capture_output=True, check=True).stdout
    data = {0: lambda d: d, 1: lambda d: hashlib.sha256(d).digest(),
            2: lambda d: hashlib.sha512(d).digest()}[matching](der)
    return f"{usage} {selector} {matching} {data.hex()}"


class Zones:
    def __init__(self, directory, records, ttl=1):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = net.free_port()
        self.records = list(records)
        self.ttl = ttl      # seconds; the resolver holds nothing for less than one
        self.process = None
        self.serial = 0
        self.keys = [self._key("-k"), self._key()]
        self.anchor = self.dir / "anchor.key"
        shutil.copy(f"{self.keys[0]}.key", self.anchor)
        self.anchor.chmod(0o644)

    @property
    def address_text(self):
        return f"127.0.0.1:{self.port}"

    def _key(self, *options):
        made = subprocess.run(["ldns-keygen", *options, "-a", "ECDSAP256SHA256", "."],
                              cwd=self.dir, capture_output=True, text=True, check=True)
        return self.dir / made.stdout.strip()

    # -- zone files

    @staticmethod
    def _zone_of(record):
        owner = record.split()[0].lower()
        for zone in APART:
            if owner == zone or owner.endswith("." + zone):
                return zone
        return "."

    def _head(self, zone):
        return (f"$TTL {self.ttl}\n{zone} SOA ns.lab. root.lab. {self.serial} 3600 600 86400 {self.ttl}\n"
                f"{zone} NS ns.lab.\n")

    def _write(self, zone, lines):
        path = self.dir / (zone.strip(".") or "root")
        path.write_text(self._head(zone) + "".join(f"{line}\n" for line in lines))
        return path

    def _sign(self):
        self.serial += 1
        delegations = [f"{zone} NS ns.lab." for zone in APART]
        delegations += ["ns.lab. A 127.0.0.1", *(f"{zone} DS 4711 13 2 {'ab' * 32}" for zone in APART[1:3])]
        own = [r for r in self.records if self._zone_of(r) == "."]
        root = self._write(".", own + delegations)
        subprocess.run(["ldns-signzone", "-o", ".", "-f", f"{root}.signed", root, *self.keys],
                       check=True, capture_output=True)
        for zone in APART[:3]:
            self._write(zone, [r for r in self.records if self._zone_of(r) == zone])

    # -- the server

    def _configure(self):
        path = self.dir / "nsd.conf"
        zones = [(".", "root.signed"), ("insecure.lab.", "insecure.lab"),
                 ("bogus.lab.", "bogus.lab"), ("dead.lab.", "no-such-file"),
                 ("_tcp.torn.lab.", "_tcp.torn.lab")]
        path.write_text(
            f'server:\n ip-address: 127.0.0.1@{self.port}\n username: ""\n chroot: ""\n'
            f' zonesdir: "{self.dir}"\n pidfile: "{self.dir}/nsd.pid"\n database: ""\n'
            f' xfrdfile: ""\n xfrdir: "{self.dir}"\n zonelistfile: "{self.dir}/zone.list"\n'
            f' logfile: "{self.dir}/nsd.log"\n server-count: 1\n xfrd-reload-timeout: 0\n'
            ' do-ip6: no\nremote-control:\n control-enable: no\n'
            + "".join(f'zone:\n name: "{name}"\n zonefile: "{file}"\n' for name, file in zones))
        return path

    def start(self):
        self._sign()
        self.process = subprocess.Popen(["nsd", "-d", "-c", self._configure()],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        self._wait_served()
        return self

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(net.DEADLINE)
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def change(self, records):
        self.records = list(records)
        self._sign()
        self.process.send_signal(signal.SIGHUP)
        self._wait_served()

    def _wait_served(self):
        net.wait_until(lambda: self._served_serial() == self.serial,
                       f"nsd serves the zone\n{self._log()}")

    def _log(self):
        path = self.dir / "nsd.log"
        return path.read_text() if path.exists() else ""

    def _served_serial(self):
        """Of the root's SOA record, asked for in plain DNS; None: no answer."""
        query = struct.pack(">6H", os.getpid() & 0xffff, 0, 1, 0, 0, 0) + b"\0" + b"\0\6\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.3)
            try:
                sock.sendto(query, ("127.0.0.1", self.port))
                answer = sock.recv(4096)
            except OSError:
                return None
        if struct.unpack(">H", answer[6:8])[0] == 0:
            return None
        # the five numbers of the first answer's SOA come last in it: find its RDATA
        at = 12 + 1 + 4                      # header, question
        at += 1 if answer[at] == 0 else 2    # the owner, perhaps a pointer
        length = struct.unpack(">H", answer[at + 8:at + 10])[0]
        return struct.unpack(">I", answer[at + 10 + length - 20:at + 10 + length - 16])[0]
