# SPDX-License-Identifier: ISC
"""STARTTLS as a client sees it, and what the backend sees of it (RFC 3207, RFC 5321)."""

import ssl

import pytest
from backend import KEYWORDS, Backend, ScriptedBackend
from smtp_client import Client, Closed, context


def test_whole_session_under_tls_delivers_message_with_verified_certificate(wrap, backend, pki):
    proxy = wrap(backend)
    with Client.secured(proxy.address, context(pki)) as client:
        client.send_message("alice@example.org", ["bob@example.org", "eve@example.org"],
                            b"Subject: hi\r\n\r\ntext\r\n")
        client.quit()
    message = backend.messages[0]
    assert message.sender == b"FROM:<alice@example.org>"
    assert message.rcpts == [b"TO:<bob@example.org>", b"TO:<eve@example.org>"]
    assert message.body == b"Subject: hi\r\n\r\ntext\r\n"


@pytest.mark.parametrize("greeting", [
    b"220 mail.example.org ESMTP Legacy 1.0; \xe4\xf6\xfc\r\n",
    b"220 x\r\n",
    b"220-mail.example.org ESMTP\r\n220-no spam here\r\n220 really\r\n",
    b"220\r\n",
])
def test_backend_greeting_passes_unchanged(wrap, pki, greeting):
    with Backend(greeting=greeting) as backend:
        with Client(wrap(backend).address) as client:
            assert client.greeting.raw == greeting
            client.quit()


@pytest.mark.parametrize("keywords, expected", [
    ([], ["STARTTLS"]),
    (["SIZE 100"], ["STARTTLS", "SIZE 100"]),
])
def test_short_ehlo_reply_gets_starttls(wrap, keywords, expected):
    with Backend(keywords=keywords) as backend:
        with Client(wrap(backend).address) as client:
            reply = client.command("EHLO client.example.org")
            assert reply.lines == ["backend.example.org greets you", *expected]
            lines = reply.raw.split(b"\r\n")[:-1]
            assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]


def test_starttls_is_inserted_in_the_middle_and_all_other_bytes_stay(wrap):
    keywords = [*KEYWORDS, "X-ODD  two blanks ", "x-lower case=\t"]
    with Backend(keywords=keywords) as backend:
        with Client(wrap(backend).address) as client:
            raw = client.command("EHLO client.example.org").raw
        assert raw.count(b"250-STARTTLS\r\n") == 1
        assert raw.replace(b"250-STARTTLS\r\n", b"") == backend.ehlo_reply()
        assert not raw.startswith(b"250-STARTTLS") and not raw.endswith(b"250-STARTTLS\r\n")


def test_starttls_keyword_is_gone_after_tls(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        assert client.keywords == KEYWORDS


@pytest.mark.parametrize("own", ["STARTTLS", "StartTls", "STARTTLS extra"])
def test_backends_own_starttls_is_never_seen(wrap, pki, own):
    with Backend(keywords=["SIZE 1", own, "8BITMIME"]) as backend:
        with Client(wrap(backend).address) as client:
            assert [k.upper() for k in client.ehlo()].count("STARTTLS") == 1
            client.starttls(context(pki))
            assert client.ehlo() == ["SIZE 1", "8BITMIME"]
            client.quit()
        assert not [c for c in backend.commands if c.upper().startswith(b"STARTTLS")]


@pytest.mark.parametrize("line", ["STARTTLS", "starttls", "StArTtLs"])
def test_starttls_in_any_case_starts_tls(wrap, backend, pki, line):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        assert client.command(line).code == 220
        client.handshake(context(pki))
        client.ehlo()
        client.quit()


def test_backend_is_reset_before_220_and_sees_no_starttls(wrap, backend, pki):
    with Client(wrap(backend).address) as client:
        client.ehlo("one.example.org")
        assert client.command("STARTTLS").code == 220
        # The 220 is here, so the RSET must have been answered already.
        assert backend.session().commands == [b"EHLO one.example.org", b"RSET"]
        client.handshake(context(pki))
        client.ehlo("two.example.org")
        client.quit()
    assert backend.ended().commands == [
        b"EHLO one.example.org", b"RSET", b"EHLO two.example.org", b"QUIT"]


def test_envelope_given_in_clear_is_forgotten_by_tls(wrap, backend, pki):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        client.envelope("clear@example.org", ["forgotten@example.org"])
        client.starttls(context(pki))
        client.ehlo()
        assert client.command("DATA").code == 503
        client.send_message("a@example.org", ["b@example.org"], b"x\r\n")
        client.quit()
    assert [m.rcpts for m in backend.messages] == [[b"TO:<b@example.org>"]]


def test_starttls_with_argument_is_501_and_the_session_goes_on(wrap, backend, pki):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        assert client.command("STARTTLS now").code == 501
        client.starttls(context(pki))
        client.ehlo()
        client.quit()


def test_starttls_under_tls_is_503(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        assert client.command("STARTTLS").code == 503
        client.send_message()
        client.quit()
    assert b"STARTTLS" not in backend.commands


def test_starttls_after_auth_in_clear_is_503(wrap, pki):
    replies = {"AUTH": b"235 2.7.0 welcome\r\n"}
    with Backend(keywords=["AUTH PLAIN", "SIZE 1"], replies=replies) as backend:
        with Client(wrap(backend, authBeforeTls=True).address) as client:
            client.ehlo()
            assert client.command("AUTH PLAIN AGEAYg==").code == 235
            assert client.command("STARTTLS").code == 503
            client.send_message()
            client.quit()


def test_starttls_after_failed_auth_in_clear_still_works(wrap, pki):
    replies = {"AUTH": b"535 5.7.8 wrong\r\n"}
    with Backend(keywords=["AUTH PLAIN", "SIZE 1"], replies=replies) as backend:
        with Client(wrap(backend, authBeforeTls=True).address) as client:
            client.ehlo()
            assert client.command("AUTH PLAIN AGEAYg==").code == 535
            client.starttls(context(pki))
            client.ehlo()
            client.quit()


@pytest.mark.parametrize("refusal", [b"502 5.5.1 no RSET here\r\n", b"451 4.3.0 later\r\n",
                                     b"550-never\r\n550 ever\r\n"])
def test_rset_refused_by_backend_is_454_and_the_session_goes_on_in_clear(wrap, refusal):
    with Backend(replies={"RSET": refusal}) as backend:
        with Client(wrap(backend).address) as client:
            client.ehlo()
            assert client.command("STARTTLS").code == 454
            client.send_message(body=b"in clear\r\n")
            client.quit()
        assert backend.messages[0].body == b"in clear\r\n"


@pytest.mark.parametrize("verb", ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "DATA"])
def test_mail_command_before_ehlo_under_tls_is_503(wrap, backend, pki, verb):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        client.starttls(context(pki))
        assert client.command(verb).code == 503
        client.ehlo()
        client.send_message()
        client.quit()
    assert len(backend.messages) == 1


def test_helo_under_tls_suffices(wrap, backend, pki):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        client.starttls(context(pki))
        assert client.command("HELO old.example.org").code == 250
        client.send_message()
        client.quit()
    assert len(backend.messages) == 1


def test_client_without_tls_delivers_in_clear(wrap, backend):
    with Client(wrap(backend).address) as client:
        client.ehlo()
        client.send_message(body=b"clear\r\n")
        client.quit()
    assert backend.messages[0].body == b"clear\r\n"


def test_helo_only_client_delivers_and_helo_reply_is_untouched(wrap, backend):
    with Client(wrap(backend).address) as client:
        assert client.command("HELO old.example.org").raw == b"250 backend.example.org\r\n"
        client.send_message(body=b"old\r\n")
        client.quit()
    assert backend.messages[0].body == b"old\r\n"


@pytest.mark.parametrize("refusal", [b"502 5.5.1 no EHLO\r\n", b"550-no\r\n550 way\r\n",
                                     b"451 4.3.2 not now\r\n", b"500 what?\r\n"])
def test_ehlo_refused_by_backend_passes_unchanged_and_helo_goes_on(wrap, refusal):
    with Backend(replies={"EHLO": refusal}) as backend:
        with Client(wrap(backend).address) as client:
            assert client.command("EHLO client.example.org").raw == refusal
            assert client.command("HELO client.example.org").code == 250
            client.send_message()
            client.quit()
        assert len(backend.messages) == 1


def test_second_ehlo_in_clear_offers_starttls_again(wrap, backend, pki):
    with Client(wrap(backend).address) as client:
        assert client.ehlo() == client.ehlo()
        client.starttls(context(pki))
        assert client.ehlo() == client.ehlo() == KEYWORDS
        client.quit()


def test_quit_before_tls_gets_221_and_reaches_backend(wrap, backend):
    with Client(wrap(backend).address) as client:
        client.quit()
        assert client.read_to_end() == b"" and client.end == "fin"
    assert backend.ended().commands == [b"QUIT"]


@pytest.mark.parametrize("line", ["NOOP", "HELP", "VRFY bob", "EXPN list", "FOO bar", "ETRN x",
                                  "RSET", "MAILX FROM:<a>", "STARTTLSX", "X"])
def test_other_commands_are_answered_by_the_backend(wrap, line):
    verb = line.split()[0]
    answer = b"250-" + verb.encode() + b" first\r\n250 second\r\n"
    with Backend(replies={verb: answer}) as backend:
        with Client(wrap(backend).address) as client:
            client.ehlo()
            assert client.command(line).raw == answer
            client.quit()
        assert line.encode() in backend.commands


def test_transactions_follow_each_other_in_one_tls_session(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        for number in range(5):
            client.send_message(body=b"%d\r\n" % number)
        assert client.command("RSET").code == 250
        client.send_message(body=b"last\r\n")
        client.quit()
    assert [m.body for m in backend.messages] == [b"0\r\n", b"1\r\n", b"2\r\n", b"3\r\n", b"4\r\n",
                                                 b"last\r\n"]


def test_failed_handshake_ends_the_session_and_the_backend_connection(wrap, backend, pki):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        assert client.command("STARTTLS").code == 220
        client.send_wire(b"EHLO this is not TLS\r\n")
        client.read_to_end()
    assert backend.ended().commands[:2] == [b"EHLO client.example.org", b"RSET"]
    assert not [c for c in backend.ended().commands if b"not TLS" in c]
    assert proxy.summary()["outcome"] != "done"


def test_handshake_that_the_client_breaks_off_is_no_clear_session(wrap, backend, pki):
    proxy = wrap(backend)
    with Client(proxy.address) as client:
        client.ehlo()
        with pytest.raises(ssl.SSLError):
            client.starttls(context(pki), server_hostname="wrong.example.org")
        client.send_wire(b"MAIL FROM:<a@example.org>\r\n")
        with pytest.raises(Closed):
            client.buffer = b""
            client.tls = None
            while client.receive():
                pass
            raise Closed(client.end)
    assert not [c for c in backend.ended().commands if c.startswith(b"MAIL")]


def test_auth_turns_with_334_pass_both_ways(wrap, pki):
    def auth(peer, line):
        assert line == b"AUTH LOGIN"
        peer.send(b"334 VXNlcm5hbWU6\r\n")
        user = peer.read_line()
        peer.send(b"334 UGFzc3dvcmQ6\r\n")
        word = peer.read_line()
        peer.events["auth"] = (user, word)
        return b"235 2.7.0 welcome\r\n"

    with Backend(keywords=["AUTH PLAIN LOGIN", "SIZE 1"], replies={"AUTH": auth}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            assert "AUTH PLAIN LOGIN" in client.keywords
            assert client.command("AUTH LOGIN").raw == b"334 VXNlcm5hbWU6\r\n"
            assert client.command("Ym9i").raw == b"334 UGFzc3dvcmQ6\r\n"
            assert client.command("c2VjcmV0").code == 235
            client.send_message()
            client.quit()
        assert backend.session().events["auth"] == (b"Ym9i\r\n", b"c2VjcmV0\r\n")


@pytest.mark.parametrize("turn", ["STARTTLS", "XCLIENT ADDR=1.2.3.4", "*", "", "QUIT"])
def test_auth_turn_that_looks_like_a_command_is_not_taken_for_one(wrap, pki, turn):
    def auth(peer, line):
        peer.send(b"334 \r\n")
        peer.events["turn"] = peer.read_line()
        return b"501 5.7.0 cancelled\r\n"

    with Backend(keywords=["AUTH LOGIN", "SIZE 1"], replies={"AUTH": auth}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            assert client.command("AUTH LOGIN").code == 334
            assert client.command(turn).code == 501
            client.send_message()
            client.quit()
        assert backend.session().events["turn"] == turn.encode() + b"\r\n"


def test_long_auth_lines_of_rfc_4954_pass(wrap, pki):
    def auth(peer, line):
        peer.send(b"334 " + b"B" * 12000 + b"\r\n")
        peer.events["turn"] = peer.read_line()
        return b"235 2.7.0 ok\r\n"

    with Backend(keywords=["AUTH GSSAPI", "SIZE 1"], replies={"AUTH": auth}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            initial = "A" * (12288 - len("AUTH GSSAPI \r\n"))
            reply = client.command("AUTH GSSAPI " + initial)
            assert reply.raw == b"334 " + b"B" * 12000 + b"\r\n"
            turn = b"C" * (12288 - 2)
            assert client.command(turn).code == 235
            client.quit()
        assert backend.session().events["turn"] == turn + b"\r\n"


def test_backend_that_died_is_noticed_before_220(wrap, pki):
    """Trap 25: the answer to STARTTLS must not promise what the backend can no longer keep."""
    def scene(peer):
        peer.send(b"220 hi\r\n")
        peer.expect(b"EHLO")
        peer.send(b"250-hi\r\n250 SIZE 1\r\n")
        peer.expect(b"RSET")
        peer.close()

    with ScriptedBackend(scene) as backend:
        with Client(wrap(backend).address) as client:
            client.ehlo()
            reply = client.command("STARTTLS")
            assert reply.code in (421, 454)


def test_reply_text_with_any_bytes_passes(wrap, pki):
    odd = b"250 " + bytes(b for b in range(1, 256) if b not in b"\r\n") + b"\r\n"
    with Backend(replies={"NOOP": odd}) as backend:
        with Client.secured(wrap(backend).address, context(pki)) as client:
            assert client.command("NOOP").raw == odd
            client.quit()


def test_command_with_eight_bit_bytes_passes(wrap, backend, pki):
    with Client.secured(wrap(backend).address, context(pki)) as client:
        line = "MAIL FROM:<jürgen@bücher.example> SMTPUTF8"
        assert client.command(line).code == 250
        client.quit()
    assert line.encode() in backend.commands
