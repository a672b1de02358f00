/* SPDX-License-Identifier: ISC
 *
 * One connection, top to bottom, and the one line in the log that tells of it.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "proxy/address.h"
#include "proxy/pool.h"

/* Whether a client is served. */
struct admittance {
    struct refusal refusal; /* code 0: it is */
    bool comes_too_often;   /* and is not worth a handshake, in which it could be told */
};

struct admission {
    /* Asked once, as soon as it is known who the client is. */
    struct admittance (*ask)(void *ctx, const struct address *client);
    /* Called once, when all has been said, before the client's connection is closed and the line is
     * in the log: it no longer counts. NULL: nobody counts. */
    void (*leave)(void *ctx);
    void *ctx;
    int slot; /* of the pool's stats: where the session is counted */
};

/* Serves the client on `fd` (taken, non-blocking) to its end. `peer` may be a balancer that says
 * who the client is (acceptProxy). */
void session_run(struct pool *pool, int fd, const struct address *peer,
                 const struct admission *admission);

#endif
