/* SPDX-License-Identifier: ISC
 *
 * A transcript: what a client and a backend say in one session, and what each must hear.
 *
 *   The first line is a sentence that says what is expected and where that is written.
 *   # a remark                        blank lines are remarks too
 *   set NAME VALUE                    an option of ehlock.conf(5), or one of the player's own:
 *                                     keys no (no key can be had), startsWithTls yes,
 *                                     deliver whole (neither byte by byte nor cut),
 *                                     hideKeyword, addCapability WORDS (of one rule),
 *                                     hideStarttls yes, refuse TEXT (to the next command),
 *                                     fallBack yes, untrusted TEXT (why the server is not
 *                                     trusted), serverStartsWithTls yes, newConnection no (the
 *                                     backend cannot be connected to anew), otherServer LEVEL (the
 *                                     next connection is to another server, of that tlsLevel, which
 *                                     is not untrusted), login NAME (the
 *                                     client's certificate is on the list, and TLS is there or
 *                                     comes), unwelcome TEXT (it is not good enough),
 *                                     logIn MECHANISMS (as "joe" with the password "secret"),
 *                                     logInByToken MECHANISMS (with the token "secret"),
 *                                     verified no (the server, though it is not untrusted)
 *   C: text        the client sends text and CRLF       C| text   the same without CRLF
 *   B: text        the backend must hear exactly this   B| text
 *   S: text        the backend sends                    S| text
 *   P: text        the client must hear exactly this    P| text
 *   TLS            the client begins TLS, and it comes about
 *   TLS fails      the client begins TLS, and it does not
 *   TLS garbage    the client sends something else instead of a ClientHello
 *   C-EOF          the client sends no more (under TLS: without close_notify)
 *   C-BYE          the client sends no more and says so with a close_notify
 *   S-EOF          the backend sends no more
 *   S-CLOSE        the backend closes: it hears no more, either
 *   B-EOF, P-EOF   the backend, the client must hear no more
 *   S-HELLO        the backend hears that TLS begins on its side
 *   S-TLS          the same, and it comes about
 *   S-TLS fails    the same, and it does not
 *   S-NEW          the backend's connection must end, and there is another one from here on
 *   STOP           ehlock is told to end
 *   END done|refused|lost             how the dialogue must end; the last line but for
 *   REASON text, STEP text            what must be found in the summary's reason and step;
 *                                     "=text": what they must be
 *   TALLY mail=1 rcpt=2 accepted=1    what must have been counted
 *
 * The client is at 192.0.2.1, port 4444, and came to 192.0.2.2, port 25. Its TLS is TLS1.3
 * with AES-256-GCM, and in a trace header it is always Sun, 06 Nov 1994 08:49:37 +0000.
 *
 * Escapes in text: \r \n \t \0 \\ \xNN, and \(text*count) for a text repeated.
 * Lines of the same peer with nothing in between are sent in one piece. The backend's reply that
 * accepts a message, and no other, holds the word "queued".
 */
#ifndef TESTS_DIALOGUE_TRANSCRIPT_H
#define TESTS_DIALOGUE_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/protocol.h"

/* In the place of a handshake. Short, so that it can be cut at every byte. */
#define CLIENT_HELLO "\x16\x03\x01<hello>\n"
#define SERVER_HELLO "\x16\x03\x03<hello>\n"

struct bytes {
    char *data; /* owned */
    size_t len, size;
};
void bytes_add(struct bytes *b, const void *data, size_t len);
void bytes_free(struct bytes *b);

enum item_kind {
    CLIENT_SENDS,
    CLIENT_HEARS,
    CLIENT_ENDS,
    CLIENT_SAYS_BYE,
    CLIENT_HEARS_END,
    BACKEND_SENDS,
    BACKEND_HEARS,
    BACKEND_ENDS,
    BACKEND_CLOSES_DOWN,
    BACKEND_HEARS_END,
    BACKEND_HAS_TLS,
    BACKEND_IS_NEW,
    TLS_BEGINS,
    TLS_FAILS,
    STOP,
};

struct item {
    enum item_kind kind;
    unsigned line;
    struct bytes text;           /* of what is sent or heard */
    size_t dull_start, dull_end; /* a long repetition, in which one place is like another */
};

struct transcript {
    char *path; /* owned, as all below */
    struct item *items;
    size_t count;
    struct policy policy;
    struct capability_edit edit; /* policy.edits, if there is one */
    char *words[3];              /* what is hidden, added, and said in a refusal; owned */
    char *hostname;
    int64_t pretls_ms;
    bool keys_ready, starts_with_tls, only_whole;
    bool requests; /* ehlock asks the backend for TLS; set by the player, not read */
    bool server_starts_with_tls, new_connection, other_server;
    enum tls_level other_level;
    char *untrusted;         /* NULL: the backend is trusted */
    char *login, *unwelcome; /* NULL: none; of the client, when it has TLS */
    char *mechanisms;        /* by which we log in; NULL: we do not */
    bool by_token, unverified;

    enum dialogue_end end;
    char *reason, *step; /* NULL: any */
    bool has_tally;
    struct tally tally;
};

/* Reads the file; false after a message on standard output when it is no transcript. */
bool transcript_read(struct transcript *t, const char *path);
void transcript_free(struct transcript *t);

/* All that is said in one direction when the session goes as written. */
struct bytes transcript_stream(const struct transcript *t, enum item_kind kind);

#endif
