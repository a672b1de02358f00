/* SPDX-License-Identifier: ISC
 *
 * As whom one session logs in to its server, with the token that a program may have told it.
 */
#ifndef PROXY_CREDENTIALS_H
#define PROXY_CREDENTIALS_H

#include <stdbool.h>

#include "protocols/protocol.h"
#include "proxy/environment.h"
#include "proxy/pool.h"
#include "proxy/secret.h"

struct credentials {
    struct sasl_login login; /* what dialogue.login points to: first the pool's own */
    struct secret *token;    /* its secret, if a program has told it; NULL */
};

/* The `take_secret` of struct dialogue: the program of the pool's service is asked for a token, at
 * the latest until d->pretls_deadline. `facts`: the client, for the log. */
bool credentials_take_token(struct credentials *c, const struct pool *pool,
                            const struct session_facts *facts, struct dialogue *d);

/* Its `drop_secret`: the token is wiped, if there is one. */
void credentials_drop_token(struct credentials *c);

#endif
