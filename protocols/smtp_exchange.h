/* SPDX-License-Identifier: ISC
 *
 * One exchange with the backend: a command goes to it, its whole reply is read into s->reply.
 * Where the end is not DIALOGUE_GO_ON the client has had its last word.
 */
#ifndef PROTOCOLS_SMTP_EXCHANGE_H
#define PROTOCOLS_SMTP_EXCHANGE_H

#include <stdint.h>

#include "protocols/smtp_session.h"

/* What came when a reply was awaited. */
enum smtp_heard {
    SMTP_HEARD_REPLY,
    SMTP_HEARD_NONSENSE,    /* what is no reply */
    SMTP_HEARD_TOO_MUCH,    /* more than max_reply bytes, or too long a line */
    SMTP_HEARD_OUT_OF_TURN, /* something before anything was asked */
    SMTP_HEARD_NOTHING,     /* the wire came back with what `why` says */
};

/* Reads a reply of at most max_reply bytes. The client is told nothing if none comes. */
enum smtp_heard smtp_hear_reply(struct smtp *s, int64_t deadline, enum wire_status *why);

/* The reason for the log: `what`, and the first line of s->reply, shortened. */
void smtp_because_of_reply(struct smtp *s, const char *what);

/* A command of our own, with its CRLF, and the reply to it. Unlike below, the client is told
 * nothing if none comes. */
enum smtp_heard smtp_try(struct smtp *s, const char *command, enum wire_status *why);

/* Ends a session for that: DIALOGUE_LOST. Not for SMTP_HEARD_REPLY. */
enum dialogue_end smtp_give_up(struct smtp *s, enum smtp_heard heard, enum wire_status why);

/* Reads a reply of at most max_reply bytes; `seconds` are for all of it. */
enum dialogue_end smtp_read_reply(struct smtp *s, unsigned seconds);

/* Passes the reply on. After a 421 the backend is gone, and so are we (RFC 5321 §3.8):
 * DIALOGUE_DONE. Else it does not flush. */
enum dialogue_end smtp_pass_reply(struct smtp *s, const struct reply *r);

bool smtp_is_success(const struct reply *r);

/* The backend's greeting, whatever it is: 220 of many lines, 554, 421. */
enum dialogue_end smtp_pass_greeting(struct smtp *s);

/* The same greeting, kept from the client. Where it is not 220 the backend is left, and the client
 * is told 421, for it may come back: DIALOGUE_REFUSED. */
enum dialogue_end smtp_meet_backend(struct smtp *s);

/* A command of our own, with its CRLF, and the reply to it. */
enum dialogue_end smtp_ask(struct smtp *s, const char *command);

/* A command of the client, and the reply to it. */
enum dialogue_end smtp_forward(struct smtp *s, const struct line *line);

/* Forwards a command that carries nothing but its line, and passes the reply on. */
enum dialogue_end smtp_relay(struct smtp *s, const struct line *line);

#endif
