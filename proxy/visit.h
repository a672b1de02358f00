/* SPDX-License-Identifier: ISC
 *
 * One session of a service with client = yes without a client: up to the point where a client would
 * be served, from server to server if need be, by the very code of a session (backend.h, turns.h,
 * upstream.h, credentials.h, the protocol's `request`), and then goodbye. In the place of the
 * client is a visitor, who says what the protocol's `visit` says.
 */
#ifndef PROXY_VISIT_H
#define PROXY_VISIT_H

#include "proxy/credentials.h"
#include "proxy/pool.h"
#include "proxy/tap.h"
#include "proxy/turns.h"
#include "proxy/upstream.h"

/* In the order of their gravity, which is that of the exit status. */
enum visit_result {
    VISIT_MET,       /* a client would be served: all that is demanded is there */
    VISIT_NOT_MET,   /* the server has answered, and is not what is demanded */
    VISIT_NO_ANSWER, /* not reached, silent, gone, or not of this protocol */
};

struct visit;

/* Who is told how it goes. */
struct onlooker {
    FILE *dialogue; /* where that is shown; NULL: nowhere */
    /* There is a connection to a server, and nothing has been said on it. */
    void (*arrives)(void *ctx, const struct visit *v);
    /* It has been judged (`result`, `reason`), and will be left for another. */
    void (*moves_on)(void *ctx, const struct visit *v);
    /* Servers on the way to the next one did not answer: one sentence, not yet printable. */
    void (*passes)(void *ctx, const char *why);
    void *ctx;
};

struct visit {
    const struct pool *pool;
    const struct backends *backends; /* all that are tried, in this order */
    const struct onlooker *onlooker;
    struct tap tap;
    struct turns turns;

    enum visit_result result;
    char reason[512]; /* not yet printable; with VISIT_MET it says why something is not as usual */
    const struct address *address; /* that was reached; NULL: none */
    const struct destination *to;  /* what it was; NULL: none was reached */
    struct upstream upstream;      /* its `tls` is there until visit_finish, if TLS came up */
    struct credentials credentials;
    struct policy policy;
    struct dialogue dialogue;
    struct wire client, backend;
    int client_fds[2], backend_fd; /* [0] is the visitor's end; -1: none */
    bool asked, left; /* the visitor was asked for its first words, and has said its last ones */
    enum tls_outcome outcome;
    bool shook_hands; /* `outcome` is set */
};

/* Goes there and comes back; what is known at the end is of the last server that was reached. Each
 * step has the deadlines of the service. Logs in if the pool does. `onlooker` is borrowed. */
void visit_run(struct visit *v, const struct pool *pool, const struct backends *backends,
               const struct onlooker *onlooker);
void visit_finish(struct visit *v);

/* What the server that was reached is called: as it stands in `connect`, or by its address. */
const char *visit_name(const struct visit *v);

#endif
