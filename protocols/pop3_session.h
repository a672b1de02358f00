/* SPDX-License-Identifier: ISC
 *
 * What a session of POP3 remembers, up to the login. Private to pop3*.c.
 */
#ifndef PROTOCOLS_POP3_SESSION_H
#define PROTOCOLS_POP3_SESSION_H

#include <stdbool.h>

#include "protocols/command.h"
#include "protocols/dialogue.h"
#include "protocols/pop3_reply.h"
#include "protocols/protocol.h"

struct pop3 {
    struct dialogue *d;
    bool requesting; /* we ask the server for TLS; else we offer it to the client */
    struct reply reply, edited;
    enum pop3_status status; /* of `reply` */
    bool upgraded;           /* the client has begun TLS by STLS */
    bool touched;            /* the backend has heard, in clear, what it may remember */
    bool decided;            /* with TLS or in clear: pretls_deadline is over */
    unsigned useless;        /* commands, all of which come before the login */

    /* request: */
    bool choosing;        /* no server has been chosen, so that the client hears nothing yet */
    bool passes_greeting; /* this server greets the client itself */
    unsigned met;         /* servers, this one included */
    char last_word[LAST_WORD_MAX + 1]; /* of the last server, while we are choosing; "": none */
};

/* Whether TLS is on the way that this session is about: the client's, or the server's. */
bool pop3_is_secured(const struct pop3 *s);

/* Whether nothing may be said yet that needs TLS. */
bool pop3_lacks_tls(const struct pop3 *s);

/* Whether no login is shown or let through: RFC 2595 §4, no passwords in clear. */
bool pop3_login_withheld(const struct pop3 *s);

/* Serves one command: `line` as it was received, `c` what it says. Both borrow from the client's
 * wire until it is read again. Returns DIALOGUE_GO_ON when the next command may come, and
 * DIALOGUE_PUMP when the client has logged in. */
typedef enum dialogue_end pop3_handler(struct pop3 *s, const struct command *c,
                                       const struct line *line);

#endif
