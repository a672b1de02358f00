/* SPDX-License-Identifier: ISC
 *
 * One exchange with the backend before the login: a command goes to it, its answer is read into
 * s->reply. Where the end is not DIALOGUE_GO_ON the client has had its last word.
 */
#ifndef PROTOCOLS_PRELOGIN_EXCHANGE_H
#define PROTOCOLS_PRELOGIN_EXCHANGE_H

#include <stdint.h>

#include "protocols/prelogin_session.h"

/* For who reads an answer: takes one more line of it, of at most max_reply bytes together with what
 * is there, into s->reply. `line` borrows from the wire. HEARD_REPLY: it is there. */
enum heard prelogin_hear_line(struct prelogin *s, int64_t deadline, struct line *line,
                              enum wire_status *why);
/* The same for `n` bytes, of any kind. */
enum heard prelogin_hear_bytes(struct prelogin *s, size_t n, int64_t deadline,
                               enum wire_status *why);

/* A command of our own, without CRLF, and the answer to it. The client is told nothing if none
 * comes. */
enum heard prelogin_try(struct prelogin *s, const char *command, enum form form,
                        enum wire_status *why);

/* Ends a session for that: DIALOGUE_LOST. Not for HEARD_REPLY. */
enum dialogue_end prelogin_give_up(struct prelogin *s, enum heard heard, enum wire_status why);

/* Reads what the backend says unasked: a greeting, or a goodbye. */
enum dialogue_end prelogin_read_reply(struct prelogin *s, enum form form);

/* A command of our own, without CRLF. */
enum dialogue_end prelogin_ask(struct prelogin *s, const char *command, enum form form);
/* One of the client, which is complete: if the backend asks for more, DIALOGUE_LOST. */
enum dialogue_end prelogin_forward(struct prelogin *s, const struct line *line, enum form form);
/* A piece of a login: it may. */
enum dialogue_end prelogin_forward_login(struct prelogin *s, const struct line *line);

/* Puts it to the client. Does not flush. */
enum dialogue_end prelogin_pass_reply(struct prelogin *s, const struct reply *r);
/* Puts it to the client, the answer in s->reply or what has become of it. Behind ANSWER_BYE there
 * is no session: DIALOGUE_DONE. */
enum dialogue_end prelogin_pass_answer(struct prelogin *s, const struct reply *r);

/* Reads the backend's greeting, which is for the client, into s->edited. Where it is a refusal
 * there is no session: DIALOGUE_DONE, and the client has not heard it yet. */
enum dialogue_end prelogin_hear_greeting(struct prelogin *s);

/* Reads it, and passes it on. */
enum dialogue_end prelogin_pass_greeting(struct prelogin *s);

/* The same, but it is kept from the client. Where it is a refusal the backend is left, and the
 * client is told to come back: DIALOGUE_REFUSED. */
enum dialogue_end prelogin_meet_backend(struct prelogin *s);

/* The backend has spoken, or gone, while nobody asked it: a goodbye is passed on, and all else
 * cannot be understood. */
enum dialogue_end prelogin_hear_backend(struct prelogin *s);

#endif
