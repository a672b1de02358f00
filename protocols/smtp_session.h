/* SPDX-License-Identifier: ISC
 *
 * What a session of SMTP or LMTP remembers. Private to smtp*.c.
 */
#ifndef PROTOCOLS_SMTP_SESSION_H
#define PROTOCOLS_SMTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/dialogue.h"
#include "protocols/protocol.h"
#include "protocols/reply.h"
#include "protocols/smtp_command.h"
#include "protocols/trace.h"

enum {
    REPLY_CLOSING = 421,
};

/* What a client is told in a 421. */
struct last_word {
    const char *enhanced; /* NULL: nothing yet */
    char text[LAST_WORD_MAX + 1];
};

struct smtp {
    struct dialogue *d;
    bool lmtp;
    bool requesting; /* we ask the server for TLS; else we offer it to the client */
    struct reply reply, edited;
    struct reply own_hello;   /* the answer to our EHLO, if we have logged in; code 0: none */
    struct capabilities told; /* by the last EHLO reply */
    bool greeted;             /* HELO, EHLO or LHLO since the connection or TLS began */
    bool greeted_in_clear; /* the backend knows a hello of ours, or from before the client's TLS */
    bool authenticated;
    bool decided; /* with TLS or in clear: pretls_deadline is over */
    /* request: no server has been chosen, so that the client hears nothing yet */
    bool choosing;
    bool passes_greeting; /* request: this server greets the client itself */
    bool chosen;          /* request: this one or none, for it has been asked to let us log in */
    bool may_come_back;   /* request: not every server so far has refused for good */
    unsigned met;         /* request: servers, this one included */
    struct last_word last_word; /* of the last server, while we are choosing */
    unsigned recipients; /* accepted in this transaction; LMTP answers for each (RFC 2033 §4.2) */
    unsigned useless;    /* commands since the last message */

    /* For the trace header: */
    char helo[TRACE_HELO_MAX]; /* how the client calls itself, without NUL at the end */
    size_t helo_len;
    bool extended; /* that was EHLO or LHLO */
    bool utf8;     /* MAIL of this transaction asked for SMTPUTF8 (RFC 6531) */
    bool traced;   /* the backend has accepted a chunk of this message, and the header with it */
};

/* Whether TLS is on the way that this session is about: the client's, or the server's. */
bool smtp_is_secured(const struct smtp *s);

/* The transaction is over, or begins. */
void smtp_forget_transaction(struct smtp *s);

/* Whether nothing may be said yet that needs TLS (RFC 3207 §4). */
bool smtp_lacks_tls(const struct smtp *s);

/* NULL, or a sentence that asks for EHLO: the backend knows nothing of this client, since what was
 * said in clear is forgotten (RFC 3207 §4.2). */
const char *smtp_lacks_hello(const struct smtp *s);

/* Serves one command: `line` as it was received, `c` what it says. Both borrow from the client's
 * wire until it is read again. Returns DIALOGUE_GO_ON when the next command may come. */
typedef enum dialogue_end smtp_handler(struct smtp *s, const struct command *c,
                                       const struct line *line);

#endif
