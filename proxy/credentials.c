/* SPDX-License-Identifier: ISC */
#include "proxy/credentials.h"

#include <stdio.h>

#include "proxy/token.h"

void credentials_drop_token(struct credentials *c)
{
    if (c->token == NULL)
        return;
    secret_destroy(c->token);
    c->token = NULL;
    c->login.secret = NULL;
}

static bool is_stopping(const struct pool *p)
{
    struct pollfd nothing[1];
    return wire_poll(nothing, 0, p->cancel_fd, wire_now()) == WIRE_CANCELLED;
}

bool credentials_take_token(struct credentials *c, const struct pool *pool,
                            const struct session_facts *facts, struct dialogue *d)
{
    static const char remedy[] =
        "run it by hand as its user (execUser) and without a terminal: it must print the token as "
        "its only line, and end with status 0";
    char why[160];
    struct token_request r = {.request_fd = pool->spawn_fds[0],
                              .facts = facts,
                              .deadline = wire_deadline((unsigned)pool->service->timeout_busy),
                              .cancel_fd = pool->cancel_fd};
    if (r.deadline > d->pretls_deadline)
        r.deadline = d->pretls_deadline;
    credentials_drop_token(c);
    c->token = token_fetch(&r, why, sizeof why);
    if (c->token == NULL) {
        snprintf(d->reason, sizeof d->reason, "no token: protocolTokenProgram %s", why);
        d->remedy = is_stopping(pool) ? NULL : remedy;
        return false;
    }
    c->login.secret = secret_text(c->token);
    return true;
}
