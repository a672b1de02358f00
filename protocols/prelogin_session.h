/* SPDX-License-Identifier: ISC
 *
 * Protocols of mailboxes up to the login, in lock-step: POP3, ManageSieve. What a session
 * remembers, and what its protocol says in words of its own. Private to the files of these
 * protocols.
 */
#ifndef PROTOCOLS_PRELOGIN_SESSION_H
#define PROTOCOLS_PRELOGIN_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "protocols/answer.h"
#include "protocols/command.h"
#include "protocols/dialogue.h"
#include "protocols/protocol.h"

/* What came when an answer was awaited. */
enum heard {
    HEARD_REPLY,
    HEARD_NONSENSE,    /* what is no answer */
    HEARD_TOO_MUCH,    /* more than max_reply bytes, or too long a line */
    HEARD_OUT_OF_TURN, /* something before anything was asked */
    HEARD_NOTHING,     /* the wire came back with what `why` says */
};

/* An answer is one line, or it has a list of capabilities as well. */
enum form { FORM_LINE, FORM_LIST };

/* How a line of our own to the client begins. */
enum say { SAY_OK, SAY_NO, SAY_TRY_LATER, SAY_NEEDS_TLS, SAY_WORDS };

struct prelogin {
    struct dialogue *d;
    const struct prelogin_words *words;
    bool requesting; /* we ask the server for TLS; else we offer it to the client */
    struct reply reply, edited;
    enum answer status;   /* of `reply` */
    struct reply command; /* where a command is kept that is not left in the client's wire */
    bool upgraded;        /* the client has begun TLS in the middle of the session */
    bool touched;         /* the backend has heard, in clear, what it may remember */
    bool decided;         /* with TLS or in clear: pretls_deadline is over */
    unsigned useless;     /* commands, all of which come before the login */

    /* request: */
    bool choosing;        /* no server has been chosen, so that the client hears nothing yet */
    bool passes_greeting; /* this server greets the client itself */
    unsigned met;         /* servers, this one included */
    char last_word[LAST_WORD_MAX + 1]; /* of the last server, while we are choosing; "": none */
};

/* Serves one command: `line` as it may go to the backend, `c` what it says. Both borrow until the
 * client's wire is read again. Returns DIALOGUE_GO_ON when the next command may come, and
 * DIALOGUE_PUMP when the client has logged in. */
typedef enum dialogue_end prelogin_handler(struct prelogin *s, const struct command *c,
                                           const struct line *line);

enum {
    BEFORE_TLS = 1, /* allowed where TLS is needed and not yet there */
    OWN_GATE = 2,   /* its handler refuses for itself */
    LEAVES = 4,     /* is answered whatever the policy */
};

struct verb {
    const char *name, *step; /* name NULL: the last row, for all others */
    prelogin_handler *handle;
    unsigned flags;
};

/* A protocol. Where a function returns an end that is not DIALOGUE_GO_ON the client has had its
 * last word. */
struct prelogin_words {
    const struct protocol *protocol;
    const char *name; /* "POP3" */
    /* Commands of the protocol, without CRLF, and what cancels a login, likewise. */
    const char *starttls, *quit, *cancel;
    const char *bad_answer; /* what was wrong with the client's answer that was cancelled */
    enum form greeting;
    enum answer goodbye; /* of a backend that nobody has asked */
    const char *prefixes[SAY_WORDS];
    const struct verb *verbs;

    /* Puts a line of our own: prefix, one of those above, and text. Does not flush. */
    enum wire_status (*put)(struct wire *client, const char *prefix, const char *text,
                            int64_t deadline);
    /* Reads the client's next command. A verb that is empty: it has been answered already. */
    enum dialogue_end (*take_command)(struct prelogin *s, int64_t deadline, struct command *c,
                                      struct line *line);
    /* Reads the client's answer to a challenge. `bad`: it is none, and the login is cancelled. */
    enum dialogue_end (*take_answer)(struct prelogin *s, struct line *line, bool *bad);
    /* NULL, or what is wrong with the arguments of the command that names a mechanism of SASL. */
    const char *(*mind_mechanism)(const struct command *c);
    /* Reads an answer into s->reply and s->status. */
    enum heard (*hear)(struct prelogin *s, enum form form, int64_t deadline, enum wire_status *why);
    /* Writes to s->edited what the client may see of the greeting in s->reply. */
    void (*edit_greeting)(struct prelogin *s);
    /* Whether the greeting in s->reply offers XCLIENT. */
    bool (*takes_xclient)(const struct prelogin *s);

    /* Acts that not every protocol has; NULL: nothing to do.
     * The backend has believed XCLIENT: s->edited becomes what it says now. */
    enum dialogue_end (*introduced)(struct prelogin *s);
    /* The client has TLS; `renewed`: s->reply is the greeting of another connection. */
    enum dialogue_end (*upgraded)(struct prelogin *s, bool renewed);
    /* request: the server has TLS, and is whom we want. */
    enum dialogue_end (*secured)(struct prelogin *s);

    /* request: sets d->offered_tls. The greeting is in s->reply. */
    enum dialogue_end (*learn_offer)(struct prelogin *s);
    /* request: greets the client ourselves. */
    enum dialogue_end (*welcome)(struct prelogin *s);
};

/* Whether TLS is on the way that this session is about: the client's, or the server's. */
bool prelogin_is_secured(const struct prelogin *s);

/* Whether TLS is, or would be, ours to offer to the client; and whether it is offered now. */
bool prelogin_has_tls_to_offer(const struct prelogin *s);
bool prelogin_offers_tls(const struct prelogin *s);

/* Whether nothing may be said yet that needs TLS. */
bool prelogin_lacks_tls(const struct prelogin *s);

/* Whether no login is shown or let through: no passwords in clear. */
bool prelogin_login_withheld(const struct prelogin *s);

#endif
