/* SPDX-License-Identifier: ISC
 *
 * What a session of SMTP or LMTP remembers. Private to smtp*.c.
 */
#ifndef PROTOCOLS_SMTP_SESSION_H
#define PROTOCOLS_SMTP_SESSION_H

#include <stdbool.h>

#include "protocols/protocol.h"
#include "protocols/reply.h"
#include "protocols/smtp_command.h"

enum {
    REPLY_CLOSING = 421,
    GOODBYE_SECONDS = 10,   /* for a last reply to a client that may be gone */
    SKIP_MAX = 1024 * 1024, /* bytes of one endless line before we give up on the client */
};

struct smtp {
    struct dialogue *d;
    bool lmtp;
    struct reply reply, edited;
    struct capabilities told; /* by the last EHLO reply */
    bool greeted;             /* HELO, EHLO or LHLO since the connection or TLS began */
    bool authenticated;
    bool decided;        /* the client has TLS or has begun mail without: pretls_deadline is over */
    unsigned recipients; /* accepted in this transaction; LMTP answers for each (RFC 2033 §4.2) */
    unsigned useless;    /* commands since the last message */
};

/* Serves one command: `line` as it was received, `c` what it says. Both borrow from the client's
 * wire until it is read again. Returns DIALOGUE_GO_ON when the next command may come. */
typedef enum dialogue_end smtp_handler(struct smtp *s, const struct smtp_command *c,
                                       const struct line *line);

#endif
