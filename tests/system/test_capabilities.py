# SPDX-License-Identifier: ISC
"""What of the backend's EHLO reply reaches the public."""

import pytest
from backend import Backend
from smtp_client import Client, context

AROUND = ["SIZE 1000", "8BITMIME"]
ALWAYS_HIDDEN = ["XCLIENT NAME ADDR PORT", "XFORWARD NAME ADDR", "REQUIRETLS", "X_PIPE_CONNECT",
                 "PIPECONNECT", "X_PIPECONNECT", "xclient name", "XFORWARD", "requiretls",
                 "AUTH SCRAM-SHA-256-PLUS", "AUTH SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS"]


def seen(wrap, pki, keywords, **options):
    """The keywords offered in clear (without our STARTTLS) and under TLS."""
    with Backend(keywords=keywords) as backend:
        with Client(wrap(backend, **options).address) as client:
            clear = client.ehlo()
            assert clear.count("STARTTLS") == 1
            clear.remove("STARTTLS")
            client.starttls(context(pki))
            secured = client.ehlo()
            client.quit()
    return clear, secured


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("keyword", ALWAYS_HIDDEN)
def test_keyword_is_hidden_wherever_it_stands(wrap, pki, keyword, position):
    keywords = [*AROUND[:position], keyword, *AROUND[position:]]
    assert seen(wrap, pki, keywords) == (AROUND, AROUND)


@pytest.mark.parametrize("keyword", ["AUTH PLAIN LOGIN", "auth plain", "AUTH=LOGIN", "AUTH=PLAIN LOGIN"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_auth_is_hidden_in_clear_and_seen_under_tls(wrap, pki, keyword, position):
    keywords = [*AROUND[:position], keyword, *AROUND[position:]]
    assert seen(wrap, pki, keywords) == (AROUND, keywords)


def test_auth_is_seen_in_clear_when_allowed(wrap, pki):
    keywords = ["SIZE 1", "AUTH PLAIN LOGIN", "DSN"]
    assert seen(wrap, pki, keywords, authBeforeTls=True) == (keywords, keywords)


@pytest.mark.parametrize("before, after", [
    ("AUTH PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", "AUTH PLAIN SCRAM-SHA-256"),
    ("AUTH SCRAM-SHA-256-PLUS PLAIN", "AUTH PLAIN"),
    ("AUTH PLAIN scram-sha-1-plus LOGIN", "AUTH PLAIN LOGIN"),
    ("AUTH PLUS-X PLAIN", "AUTH PLUS-X PLAIN"),
])
def test_channel_binding_mechanisms_are_taken_out_of_auth(wrap, pki, before, after):
    _, secured = seen(wrap, pki, ["SIZE 1", before, "DSN"])
    assert secured == ["SIZE 1", after, "DSN"]


def test_channel_binding_mechanism_is_taken_out_of_the_old_spelling_too(wrap, pki):
    _, secured = seen(wrap, pki, ["SIZE 1", "AUTH=SCRAM-SHA-1-PLUS LOGIN", "DSN"])
    assert secured in (["SIZE 1", "AUTH=LOGIN", "DSN"], ["SIZE 1", "AUTH LOGIN", "DSN"])


def test_all_keywords_hidden_leaves_a_correct_reply(wrap, pki):
    clear, secured = seen(wrap, pki, ["XCLIENT NAME", "STARTTLS", "REQUIRETLS"])
    assert clear == [] and secured == []


@pytest.mark.parametrize("keyword", ["XCLIENTS", "SIZE 100", "XFORWARDED x", "REQUIRETLSX", "AUTHX",
                                     "STARTTLSX", "CHUNKING", "BINARYMIME", "PIPELINING", "DSN",
                                     "SMTPUTF8", "ETRN", "DELIVERBY 3600", "LIMITS RCPTMAX=100"])
def test_any_other_keyword_passes(wrap, pki, keyword):
    keywords = ["ONE", keyword, "TWO"]
    assert seen(wrap, pki, keywords) == (keywords, keywords)


def test_hide_capability_hides_what_its_pattern_matches(wrap, pki):
    keywords = ["SIZE 1", "CHUNKING", "chunking2", "BINARYMIME", "DSN"]
    left = ["SIZE 1", "chunking2", "DSN"]
    assert seen(wrap, pki, keywords,
                hideCapability=["/^CHUNKING$/i", "/^binarymime/"]) == (left, left)


def test_hide_capability_matches_the_arguments_too(wrap, pki):
    keywords = ["SIZE 1", "LIMITS A=1", "LIMITS B=2", "DSN"]
    left = ["SIZE 1", "LIMITS A=1", "DSN"]
    assert seen(wrap, pki, keywords, hideCapability="/^LIMITS B=/") == (left, left)


@pytest.mark.parametrize("line", ["XCLIENT ADDR=192.0.2.1", "XFORWARD ADDR=192.0.2.1",
                                  "xclient NAME=x", "XCLIENT"])
@pytest.mark.parametrize("secured", [False, True])
def test_xclient_and_xforward_from_a_client_are_550_and_stay_here(wrap, backend, pki, line, secured):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        if secured:
            client.starttls(context(pki))
            client.ehlo()
        assert client.command(line).code == 550
        client.send_message()
        client.quit()
    assert not [c for c in backend.commands if c.upper().startswith((b"XCLIENT", b"XFORWARD"))]


@pytest.mark.parametrize("line", [b" XCLIENT ADDR=192.0.2.1", b"\tXCLIENT ADDR=192.0.2.1",
                                  b"XCLIENT\tADDR=192.0.2.1", b"XCLIENT\0 ADDR=192.0.2.1",
                                  b"\0XCLIENT ADDR=192.0.2.1", b"XCLIENT\x0bADDR=192.0.2.1",
                                  b"\r\r\nXCLIENT ADDR=192.0.2.1", b"NOOP\rXCLIENT ADDR=192.0.2.1",
                                  b"NOOP\nXCLIENT ADDR=192.0.2.1"])
def test_disguised_xclient_does_not_reach_the_backend(wrap, backend, line):
    """Some servers skip blanks before a verb, others end a line at a bare CR or LF or at NUL."""
    with Client(wrap(backend).address) as client:
        client.ehlo()
        client.send_line(line)
        assert client.read_reply().code >= 500
    assert not [c for c in backend.ended().commands if b"XCLIENT" in c]


def test_auth_command_in_clear_is_refused_and_stays_here(wrap):
    with Backend(keywords=["AUTH PLAIN", "ENHANCEDSTATUSCODES"]) as backend:
        with Client(wrap(backend).address) as client:
            client.ehlo()
            assert client.command("AUTH PLAIN AGJvYgBzZWNyZXQ=").raw.startswith(b"530 5.7.0 ")
            client.send_message()
            client.quit()
        assert not [c for c in backend.commands if c.startswith(b"AUTH")]


def test_auth_in_clear_passes_when_allowed(wrap):
    replies = {"AUTH": b"235 2.7.0 ok\r\n"}
    with Backend(keywords=["AUTH PLAIN"], replies=replies) as backend:
        with Client(wrap(backend, authBeforeTls=True).address) as client:
            client.ehlo()
            assert client.command("AUTH PLAIN AGJvYgBzZWNyZXQ=").code == 235
            client.quit()
        assert b"AUTH PLAIN AGJvYgBzZWNyZXQ=" in backend.commands
