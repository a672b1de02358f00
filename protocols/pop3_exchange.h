/* SPDX-License-Identifier: ISC
 *
 * One exchange with the backend: a command goes to it, its answer is read into s->reply. Where the
 * end is not DIALOGUE_GO_ON the client has had its last word.
 */
#ifndef PROTOCOLS_POP3_EXCHANGE_H
#define PROTOCOLS_POP3_EXCHANGE_H

#include <stdint.h>

#include "protocols/pop3_session.h"

/* What came when an answer was awaited. */
enum pop3_heard {
    POP3_HEARD_REPLY,
    POP3_HEARD_NONSENSE,    /* what is no answer */
    POP3_HEARD_TOO_MUCH,    /* more than max_reply bytes, or too long a line */
    POP3_HEARD_OUT_OF_TURN, /* something before anything was asked */
    POP3_HEARD_NOTHING,     /* the wire came back with what `why` says */
};

/* An answer is one line; behind "+OK" there may be a list, up to a dot (RFC 1939 §3). */
enum pop3_form { POP3_LINE, POP3_LIST };

/* Reads an answer of at most max_reply bytes. The client is told nothing if none comes. */
enum pop3_heard pop3_hear_reply(struct pop3 *s, enum pop3_form form, int64_t deadline,
                                enum wire_status *why);

/* A command of our own, with its CRLF, and the answer to it. The client is told nothing, either. */
enum pop3_heard pop3_try(struct pop3 *s, const char *command, enum pop3_form form,
                         enum wire_status *why);

/* Ends a session for that: DIALOGUE_LOST. Not for POP3_HEARD_REPLY. */
enum dialogue_end pop3_give_up(struct pop3 *s, enum pop3_heard heard, enum wire_status why);

/* Reads what the backend says unasked: a greeting, or a goodbye. */
enum dialogue_end pop3_read_reply(struct pop3 *s);

/* A command of our own, and one of the client. */
enum dialogue_end pop3_ask(struct pop3 *s, const char *command, enum pop3_form form);
enum dialogue_end pop3_forward(struct pop3 *s, const struct line *line, enum pop3_form form);

/* Puts it to the client. Does not flush. */
enum dialogue_end pop3_pass_reply(struct pop3 *s, const struct reply *r);

/* Reads the backend's greeting, which is for the client, into s->edited. Behind -ERR there is no
 * session: DIALOGUE_DONE, and the client has not heard it yet. */
enum dialogue_end pop3_hear_greeting(struct pop3 *s);

/* Reads it, and passes it on. */
enum dialogue_end pop3_pass_greeting(struct pop3 *s);

/* The same greeting, kept from the client. Where it is not +OK the backend is left, and the client
 * is told to come back: DIALOGUE_REFUSED. */
enum dialogue_end pop3_meet_backend(struct pop3 *s);

/* The backend has spoken, or gone, while nobody asked it: -ERR is its goodbye, and all else cannot
 * be understood. */
enum dialogue_end pop3_hear_backend(struct pop3 *s);

#endif
