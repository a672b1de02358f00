# SPDX-License-Identifier: ISC
"""The TLS itself: versions, certificates, resumption, ALPN, endings, stapling."""

import re
import ssl
import subprocess

import pytest
from pki import NAME, Leaf
from smtp_client import Client, Closed, context

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def session_under(proxy, ctx, **more):
    """A short session; gives (version, cipher, certificate names)."""
    with Client.secured(proxy.address, ctx, **more) as client:
        found = (client.tls.version(), client.tls.cipher()[0], client.peer_names)
        client.quit()
    return found


def refused_handshake(proxy, ctx, **more):
    with Client(proxy.address) as client:
        client.ehlo()
        with pytest.raises((ssl.SSLError, Closed)) as caught:
            client.starttls(ctx, **more)
    return str(caught.value)


# -- versions and suites

@pytest.mark.parametrize("version, name", [(V12, "TLSv1.2"), (V13, "TLSv1.3")])
def test_version_is_spoken_and_named_in_the_summary(wrap, backend, pki, version, name):
    proxy = wrap(backend)
    assert session_under(proxy, context(pki, version, version))[0] == name
    summary = proxy.summary()
    assert summary["tls"].replace("v", "") == name.replace("v", "")
    assert summary["cipher"] not in ("", "-")
    assert "25519" in summary["group"]


def test_newest_version_is_preferred(wrap, backend, pki):
    assert session_under(wrap(backend), context(pki))[0] == "TLSv1.3"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_version_is_refused(wrap, backend, pki, version):
    proxy = wrap(backend)
    ctx = context(None, version, version, ciphers="ALL:@SECLEVEL=0")
    assert "version" in refused_handshake(proxy, ctx).lower()
    summary = proxy.summary()
    assert summary["outcome"] != "done" and "version" in summary["reason"].lower()


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256:AES256-GCM-SHA384",     # static RSA
                                     "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384",
                                     "DHE-RSA-AES128-GCM-SHA256", "NULL-SHA256", "AES128-SHA"])
def test_weak_suite_of_tls_1_2_is_refused(wrap, backend, pki, ciphers):
    proxy = wrap(backend, leaf=pki.rsa)
    refused_handshake(proxy, context(None, V12, V12, ciphers=ciphers + ":@SECLEVEL=0"))
    assert proxy.summary()["outcome"] != "done"


@pytest.mark.parametrize("cipher", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
                                    "ECDHE-RSA-CHACHA20-POLY1305"])
def test_good_suite_of_tls_1_2_is_spoken(wrap, backend, pki, cipher):
    ctx = context(pki, V12, V12, ciphers=cipher)
    assert session_under(wrap(backend, leaf=pki.rsa), ctx)[1] == cipher


def test_priority_string_overrides_the_default(wrap, backend, pki):
    proxy = wrap(backend, priority="NORMAL:-VERS-ALL:+VERS-TLS1.2")
    assert session_under(proxy, context(pki))[0] == "TLSv1.2"
    refused_handshake(proxy, context(pki, V13, V13))


def openssl_client(proxy, pki, *args, stdin=b"QUIT\n"):
    host, port = proxy.address
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", "-CAfile",
         str(pki.ca), "-servername", NAME, "-verify_return_error", *map(str, args)],
        input=stdin, capture_output=True, timeout=20)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def test_renegotiation_is_refused_and_harms_nobody_else(wrap, backend, pki):
    proxy = wrap(backend)
    said = openssl_client(proxy, pki, "-tls1_2", stdin=b"R\nNOOP\nQUIT\n")
    assert "no renegotiation" in said.lower() or "error" in said.lower()
    assert said.count("Verify return code") <= 2
    session_under(proxy, context(pki))


def test_secure_renegotiation_and_extended_master_secret_are_offered(wrap, backend, pki):
    said = openssl_client(wrap(backend), pki, "-tls1_2")
    assert "Secure Renegotiation IS supported" in said
    assert re.search(r"Extended master secret: yes", said)
    assert "Compression: NONE" in said


# -- certificates and keys

@pytest.mark.parametrize("leaf", ["ecdsa", "rsa", "ed25519", "pkcs1", "sec1", "combined", "chained"])
@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_key_of_any_kind_and_form_signs_the_handshake(wrap, backend, pki, leaf, version):
    # Verified against the root alone: an intermediate must come with the leaf.
    assert NAME in session_under(wrap(backend, leaf=getattr(pki, leaf)),
                                 context(pki, version, version))[2]


def test_key_inside_the_certificate_file_needs_no_key_option(wrap, backend, pki):
    proxy = wrap(backend, leaf=Leaf(pki.combined.cert, None))
    assert NAME in session_under(proxy, context(pki))[2]


def several(pki, *leaves):
    return {"cert": [leaf.cert for leaf in leaves], "key": [leaf.key for leaf in leaves]}


@pytest.mark.parametrize("asked, expected", [
    ("mail.example.net", "mail.example.net"),
    ("MAIL.Example.NET", "mail.example.net"),
    ("smtp.example.com", "smtp.example.com"),
    ("submission.example.com", "smtp.example.com"),
    ("any.example.edu", "*.example.edu"),
    (NAME, NAME),
])
def test_sni_chooses_the_certificate(wrap, backend, pki, asked, expected):
    proxy = wrap(backend, **several(pki, pki.ecdsa, pki.second, pki.third, pki.wildcard))
    assert expected in session_under(proxy, context(pki), server_hostname=asked)[2]
    assert proxy.summary()["sni"].lower() == asked.lower()


@pytest.mark.parametrize("asked", ["unknown.example.org", "a.b.example.edu", None])
def test_unknown_or_absent_sni_gets_the_first_certificate(wrap, backend, pki, asked):
    proxy = wrap(backend, **several(pki, pki.second, pki.ecdsa, pki.wildcard))
    ctx = context(pki)
    ctx.check_hostname = False
    assert session_under(proxy, ctx, server_hostname=asked)[2] == ["mail.example.net"]
    assert proxy.summary()["sni"] == (asked or "-")


def test_rsa_and_ecdsa_of_one_name_serve_each_client_with_what_it_can(wrap, backend, pki):
    proxy = wrap(backend, **several(pki, pki.ecdsa, pki.rsa, pki.ed25519))
    ecdsa = context(pki, V12, V12, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    rsa = context(pki, V12, V12, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    assert "ECDSA" in session_under(proxy, ecdsa)[1]
    assert "RSA" in session_under(proxy, rsa)[1]
    for algorithms, kind in [("rsa_pss_rsae_sha256", "RSA-PSS"), ("ed25519", "ed25519"),
                             ("ecdsa_secp256r1_sha256", "ECDSA")]:
        said = openssl_client(proxy, pki, "-tls1_3", "-sigalgs",
                              f"{algorithms}:ecdsa_secp384r1_sha384")
        assert re.search(rf"Peer signature type: {kind}", said, re.I), said


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_distrusting_client_leaves_and_the_reason_is_in_words(wrap, backend, pki, version):
    proxy = wrap(backend)
    ctx = context(None, version, version)
    ctx.load_verify_locations(cafile=str(pki.other_ca))
    ctx.verify_mode = ssl.CERT_REQUIRED
    refused_handshake(proxy, ctx)
    summary = proxy.summary()
    assert summary["outcome"] != "done"
    assert re.search(r"certificate|\bCA\b|authority", summary["reason"]), summary


# -- resumption

def tickets_of(client):
    """Read what brings the session tickets, and give the session."""
    client.command("NOOP")
    return client.tls.session


def worker_of(proxy, number):
    lines = [line for line in proxy.lines if " outcome=" in line]
    return re.search(r"ehlock\[(\d+)\]", lines[number - 1]).group(1)


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_session_resumes_across_workers(wrap, backend, pki, version):
    proxy = wrap(backend)
    ctx = context(pki, version, version)
    with Client.secured(proxy.address, ctx) as client:
        assert not client.tls.session_reused
        session = tickets_of(client)
        client.quit()
    assert proxy.summary(1)["resumed"] == "no"
    for number in range(2, 5):
        with Client.secured(proxy.address, ctx, session=session) as client:
            assert client.tls.session_reused
            client.send_message(body=b"resumed\r\n")
            session = tickets_of(client) or session
            client.quit()
        assert proxy.summary(number)["resumed"] == "yes"
    assert len({worker_of(proxy, n) for n in range(1, 5)}) == 4
    assert len(backend.messages) == 3


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_session_resume_no_turns_it_off(wrap, backend, pki, version):
    proxy = wrap(backend, sessionResume=False)
    ctx = context(pki, version, version)
    with Client.secured(proxy.address, ctx) as client:
        session = tickets_of(client)
        client.quit()
    with Client.secured(proxy.address, ctx, session=session) as client:
        assert not client.tls.session_reused
        client.quit()


def test_tls_12_session_does_not_resume_under_another_name(wrap, backend, pki):
    """RFC 6066 §3. In TLS 1.3 this is the client's affair alone (RFC 8446 §4.6.1)."""
    proxy = wrap(backend, **several(pki, pki.ecdsa, pki.second))
    ctx = context(pki, V12, V12)
    with Client.secured(proxy.address, ctx) as client:
        session = tickets_of(client)
        client.quit()
    try:
        with Client.secured(proxy.address, ctx, server_hostname="mail.example.net",
                            session=session) as client:
            assert not client.tls.session_reused
            client.quit()
    except ssl.SSLError:
        pass    # refusing is as good


def test_session_does_not_resume_after_a_restart(wrap, backend, pki):
    ctx = context(pki)
    with Client.secured(wrap(backend).address, ctx) as client:
        session = tickets_of(client)
        client.quit()
    with Client.secured(wrap(backend).address, ctx, session=session) as client:
        assert not client.tls.session_reused
        client.quit()


# -- ALPN

@pytest.mark.parametrize("names", [["h2"], ["http/1.1", "h2"], ["imap"]])
def test_foreign_alpn_name_is_refused(wrap, backend, pki, names):
    proxy = wrap(backend)
    assert "application protocol" in refused_handshake(proxy, context(pki, alpn=names)).lower()
    summary = proxy.summary()
    assert summary["outcome"] != "done" and re.search(r"ALPN|application protocol", summary["reason"])


@pytest.mark.parametrize("names", [["smtp"], ["h2", "smtp"]])
def test_own_alpn_name_is_accepted(wrap, backend, pki, names):
    with Client.secured(wrap(backend).address, context(pki, alpn=names)) as client:
        assert client.tls.selected_alpn_protocol() == "smtp"
        client.quit()


def test_absent_alpn_is_accepted(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        assert client.tls.selected_alpn_protocol() is None
        client.quit()


# -- endings

@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_server_ends_with_close_notify(wrap, backend, pki, version):
    with Client.secured(wrap(backend).address, context(pki, version, version)) as client:
        client.quit()
        assert client.read_to_end() == b"" and client.end == "close_notify"


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_clients_close_notify_is_answered_and_ends_the_backend_connection(wrap, backend, pki, version):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki, version, version)) as client:
        client.close_notify()
        try:
            client.read_to_end()
            assert client.end in ("close_notify", "fin")
        except ssl.SSLError as error:
            assert "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" in str(error)
    assert backend.ended()


def test_truncation_is_told_apart_from_close_notify(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        client.close_notify()
        client.half_close()
        backend.ended(0)
    orderly = proxy.summary(1)
    with Client.secured(proxy.address, context(pki)) as client:
        client.half_close()         # FIN without a word of TLS
        backend.ended(1)
    truncated = proxy.summary(2)
    assert re.search(r"without|truncat", truncated["reason"]), truncated
    assert not re.search(r"without|truncat", orderly["reason"]), orderly


def test_truncation_in_the_message_delivers_nothing(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        client.envelope()
        assert client.command("DATA").code == 354
        client.send(b"text\r\n")
        client.half_close()
        assert backend.ended().messages == []
    assert proxy.summary()["accepted"] == "0"


def test_no_close_notify_is_needed_after_quit(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        client.quit()
    assert proxy.summary()["outcome"] == "done"


def test_tampered_record_ends_the_session(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        record = bytearray(client.encrypt(b"MAIL FROM:<a@example.org>\r\n"))
        record[-1] ^= 1
        client.send_wire(bytes(record))
        with pytest.raises((ssl.SSLError, Closed)):
            client.read_line()
    assert not [c for c in backend.ended().commands if c.startswith(b"MAIL")]
    summary = proxy.summary()
    assert summary["outcome"] == "lost" and summary["reason"]


# -- OCSP

@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_ocsp_response_from_a_file_is_stapled(wrap, backend, pki, version):
    staple = pki.ocsp_response(pki.ecdsa)
    said = openssl_client(wrap(backend, ocspStaple=staple), pki, version, "-status")
    assert "OCSP Response Status: successful" in said
    assert "Cert Status: good" in said


def test_nothing_is_stapled_without_a_file(wrap, backend, pki):
    said = openssl_client(wrap(backend), pki, "-status")
    assert "OCSP response: no response sent" in said


def test_staple_goes_with_its_own_certificate(wrap, backend, pki):
    staples = [pki.ocsp_response(pki.ecdsa), pki.ocsp_response(pki.second)]
    proxy = wrap(backend, **several(pki, pki.ecdsa, pki.second), ocspStaple=staples)
    for leaf in (pki.ecdsa, pki.second):
        serial = subprocess.run(["openssl", "x509", "-in", leaf.cert, "-noout", "-serial"],
                                capture_output=True, text=True).stdout.strip().split("=")[1]
        said = openssl_client(proxy, pki, "-status", "-servername", leaf.names[0])
        assert f"Serial Number: {serial}" in said
