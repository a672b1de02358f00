/* SPDX-License-Identifier: ISC
 *
 * The story of a session up to the login, in the words of its protocol: one command is read,
 * forwarded, its whole answer read, edited if need be and sent back, before the next command is
 * taken from the client's buffer. Behind the login nothing can be edited and nothing has to be
 * understood: bytes are passed.
 *
 * The acts of it are in files of their own: prelogin_client.c waits for the client,
 * prelogin_exchange.c asks the backend, prelogin_say.c says what we say ourselves, prelogin_login.c
 * serves SASL.
 *
 * There are two stories, and they differ in how they begin. Mostly we offer TLS to the client; the
 * backend behind us has none. The other way round (prelogin_request.c) the client has none, and we
 * have asked the backend for TLS before the client says its first word.
 *
 * Nothing said in clear counts after TLS. What the client's wire still holds behind the line that
 * asks for TLS belongs to the handshake. There is no command that would make a backend forget a
 * user or an attempt to log in: one that has heard such a thing in clear is left for another
 * connection.
 */
#ifndef PROTOCOLS_PRELOGIN_H
#define PROTOCOLS_PRELOGIN_H

#include "protocols/prelogin_session.h"

/* The `serve` and `request` of struct protocol. */
enum dialogue_end prelogin_serve(struct dialogue *d, const struct prelogin_words *words);
enum dialogue_end prelogin_request(struct dialogue *d, const struct prelogin_words *words);

/* Commands that these protocols have in common. The upgrade to TLS: */
prelogin_handler prelogin_do_starttls;
/* The client leaves, and gets its OK even from a backend that is gone, or says something else. */
prelogin_handler prelogin_do_quit;
/* Dovecot's XCLIENT; commands for after the login; all others. */
prelogin_handler prelogin_do_forbidden, prelogin_do_too_early, prelogin_do_unknown;

#endif
