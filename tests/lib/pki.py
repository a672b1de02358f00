# SPDX-License-Identifier: ISC
"""A public-key infrastructure for tests: one authority, one certificate per purpose or defect.

    pki = Pki(directory)
    pki.ca            path of the authority's certificate, the trust anchor of every client
    pki.ecdsa         Leaf(cert, key, names): P-256, PKCS#8 key, for mx.example.org
    pki.issue(...)    any other leaf
"""

import hashlib
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

NAME = "mx.example.org"


@dataclass
class Leaf:
    """A certificate file (leaf first, then intermediates) and its key file."""

    cert: Path
    key: Path
    names: list = field(default_factory=list)


def openssl(*args, stdin=None):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"openssl {args}: {done.stderr.decode()}")
    return done.stdout


_KINDS = {
    "ecdsa": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ed25519": ["genpkey", "-algorithm", "ED25519"],
}


class Pki:
    def __init__(self, directory):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self._serial = 1000
        self.ca, self.ca_key = self._authority("ca", "Test Authority")
        self._inter_cert, self._inter_key = self._intermediate()

        self.ecdsa = self.issue("ecdsa", [NAME, "localhost"], address="127.0.0.1")
        self.rsa = self.issue("rsa", [NAME, "localhost"], kind="rsa", address="127.0.0.1")
        self.ed25519 = self.issue("ed25519", [NAME, "localhost"], kind="ed25519")
        self.second = self.issue("second", ["mail.example.net"])
        self.third = self.issue("third", ["smtp.example.com", "submission.example.com"])
        self.wildcard = self.issue("wildcard", ["*.example.edu"])
        self.chained = self.issue("chained", [NAME], chained=True)
        self.expired = self.issue("expired", [NAME], expired=True)
        self.mismatched = Leaf(self.ecdsa.cert, self.second.key, self.ecdsa.names)
        self.encrypted = Leaf(self.ecdsa.cert, self._encrypt(self.ecdsa.key), self.ecdsa.names)
        self.pkcs1 = Leaf(self.rsa.cert, self._rewrite("rsa", self.rsa.key), self.rsa.names)
        self.sec1 = Leaf(self.ecdsa.cert, self._rewrite("ec", self.ecdsa.key), self.ecdsa.names)
        self.combined = self._combine(self.ecdsa)
        self.other_ca, self._other_key = self._authority("other-ca", "Foreign Authority")
        self.foreign = self.issue("foreign", [NAME], issuer=(self.other_ca, self._other_key))
        self.lonely = self.self_signed("self-signed", NAME)
        self.numbered = self.issue("numbered", ["elsewhere.example.org"], address="127.0.0.1")

    def _authority(self, stem, name):
        cert, key = self.dir / f"{stem}.pem", self.dir / f"{stem}-key.pem"
        openssl(*_KINDS["ecdsa"], "-out", key)
        openssl("req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", "30",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature", "-out", cert)
        return cert, key

    def _intermediate(self):
        cert, key = self.dir / "inter.pem", self.dir / "inter-key.pem"
        openssl(*_KINDS["ecdsa"], "-out", key)
        self._sign(cert, key, "/CN=Test Intermediate", self.ca, self.ca_key,
                   "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
        return cert, key

    def _sign(self, cert, key, subject, ca, ca_key, extensions, expired=False):
        self._serial += 1
        config = self.dir / f"{cert.stem}.ext"
        config.write_text(extensions)
        request = openssl("req", "-new", "-key", key, "-subj", subject)
        if expired:
            # x509 cannot set dates in the past with this openssl; "ca" can.
            base = self.dir / f"{cert.stem}-db"
            base.mkdir()
            (base / "index").write_text("")
            (base / "serial").write_text(f"{self._serial:04X}\n")
            (base / "ca.cnf").write_text(
                f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index\nserial={base}/serial\n"
                f"new_certs_dir={base}\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                "[p]\ncommonName=optional\n")
            (base / "csr").write_bytes(request)
            openssl("ca", "-batch", "-notext", "-config", base / "ca.cnf", "-cert", ca,
                    "-keyfile", ca_key, "-extfile", config, "-in", base / "csr", "-out", cert,
                    "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
            return
        openssl("x509", "-req", "-days", "20", "-sha256", "-CA", ca, "-CAkey", ca_key,
                "-set_serial", str(self._serial), "-extfile", config, "-out", cert,
                stdin=request)

    def issue(self, stem, names, kind="ecdsa", address=None, chained=False, expired=False,
              issuer=None, email=None, foreign=False, usage="serverAuth,clientAuth",
              alternatives=True, key=None):
        """A new leaf for these names; chained puts an intermediate between it and the authority,
        foreign takes the authority that nobody trusts; without alternatives the first name is the
        common name and nothing else; key is one that is there already."""
        cert = self.dir / f"{stem}.pem"
        if key is None:
            key = self.dir / f"{stem}-key.pem"
            openssl(*_KINDS[kind], "-out", key)
            key.chmod(0o600)
        others = [f"DNS:{name}" for name in names] + ([f"IP:{address}"] if address else [])
        others += [f"email:{email}"] if email else []
        others = [f"subjectAltName={','.join(others)}\n"] if alternatives else []
        extensions = (f"{''.join(others)}basicConstraints=CA:FALSE\n"
                      f"keyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\n")
        ca, ca_key = issuer or ((self._inter_cert, self._inter_key) if chained
                                else (self.ca, self.ca_key))
        if foreign:
            ca, ca_key = self.other_ca, self._other_key
        self._sign(cert, key, f"/CN={names[0]}", ca, ca_key, extensions, expired)
        if chained:
            cert.write_bytes(cert.read_bytes() + self._inter_cert.read_bytes())
        return Leaf(cert, key, list(names))

    def self_signed(self, stem, name):
        """A leaf that vouches for itself alone, as a pinned one may."""
        cert, key = self.dir / f"{stem}.pem", self.dir / f"{stem}-key.pem"
        openssl(*_KINDS["ecdsa"], "-out", key)
        key.chmod(0o600)
        openssl("req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", "20",
                "-addext", "basicConstraints=critical,CA:FALSE", "-out", cert)
        return Leaf(cert, key, [name])

    def crl(self, stem, *revoked):
        """The authority's list (PEM) of these leaves, by its path."""
        base = self.dir / f"{stem}-crl"
        base.mkdir()
        day = time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() - 86400))
        (base / "index").write_text("".join(
            f"R\t491231235959Z\t{day}\t{self.serial(leaf)}\tunknown\t/CN={leaf.names[0]}\n"
            for leaf in revoked))
        (base / "number").write_text("01\n")
        (base / "ca.cnf").write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index\n"
                                     f"crlnumber={base}/number\ndefault_md=sha256\n"
                                     "default_crl_days=30\n")
        out = self.dir / f"{stem}.crl"
        openssl("ca", "-gencrl", "-config", base / "ca.cnf", "-cert", self.ca, "-keyfile",
                self.ca_key, "-out", out)
        return out

    @staticmethod
    def serial(leaf):
        text = openssl("x509", "-in", leaf.cert, "-noout", "-serial").decode().strip()
        return text.split("=")[1]

    @staticmethod
    def digest(leaf, of_key=False):
        """SHA-256 of the certificate, or of its public key, in lower case hexadecimal."""
        if not of_key:
            return hashlib.sha256(openssl("x509", "-in", leaf.cert, "-outform", "DER")).hexdigest()
        key = openssl("x509", "-in", leaf.cert, "-noout", "-pubkey")
        return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", stdin=key)).hexdigest()

    def _encrypt(self, key):
        out = self.dir / "encrypted-key.pem"
        openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:secret", "-out", out)
        return out

    def _rewrite(self, tool, key):
        """The same key in the older form: RSA PRIVATE KEY or EC PRIVATE KEY."""
        out = self.dir / f"{tool}-traditional-key.pem"
        traditional = ["-traditional"] if tool == "rsa" else []
        openssl(tool, "-in", key, *traditional, "-out", out)
        out.chmod(0o600)
        return out

    def _combine(self, leaf):
        out = self.dir / "combined.pem"
        out.write_bytes(leaf.key.read_bytes() + leaf.cert.read_bytes())
        out.chmod(0o600)
        return Leaf(out, out, leaf.names)

    def ocsp_response(self, leaf, status="V"):
        """A signed OCSP response (DER file) that calls the leaf good."""
        serial = self.serial(leaf)
        expires = time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + 20 * 86400))
        index = self.dir / f"{leaf.cert.stem}-index"
        index.write_text(f"{status}\t{expires}\t\t{serial}\tunknown\t/CN={leaf.names[0]}\n")
        out = self.dir / f"{leaf.cert.stem}.ocsp"
        openssl("ocsp", "-index", index, "-CA", self.ca, "-rsigner", self.ca, "-rkey", self.ca_key,
                "-issuer", self.ca, "-cert", leaf.cert, "-ndays", "7", "-respout", out)
        return out


def pin_of(leaf, key=False):
    """The pin of a leaf's certificate, or of its public key, as verifyPeer has it."""
    if key:
        public = openssl("x509", "-in", leaf.cert, "-noout", "-pubkey")
        der = openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
        return "spki-sha256:" + hashlib.sha256(der).hexdigest()
    der = openssl("x509", "-in", leaf.cert, "-outform", "DER")
    return "sha256:" + hashlib.sha256(der).hexdigest()


def private_numbers(key):
    """Every secret number of a key file as big-endian bytes, by openssl's name for it."""
    text = openssl("pkey", "-in", key, "-noout", "-text").decode()
    numbers, name = {}, None
    for line in text.splitlines():
        heading = re.match(r"([A-Za-z0-9]+):", line)
        if heading:
            name = heading.group(1)
            numbers[name] = ""
        elif name and re.fullmatch(r"\s+([0-9a-f]{2}:?)+", line):
            numbers[name] += line.strip()
    secret = ("priv", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient")
    found = {name: bytes.fromhex(digits.replace(":", "")) for name, digits in numbers.items()
             if name in secret and digits}
    # openssl puts a zero octet before a number whose top bit is set.
    return {name: value.lstrip(b"\0") for name, value in found.items()}
