/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_trace.h"

#include <string.h>

bool smtp_is_traced(const struct smtp *s)
{
    return s->d->policy->trace && !s->requesting;
}

void smtp_trace_hello(struct smtp *s, const struct command *c)
{
    s->extended = strcmp(c->verb, "HELO") != 0;
    s->helo_len = c->args_len < sizeof s->helo ? c->args_len : sizeof s->helo;
    memcpy(s->helo, c->args, s->helo_len);
}

size_t smtp_trace_write(const struct smtp *s, const char *data, size_t len, bool stuffed,
                        char out[TRACE_MAX])
{
    const struct trace_manner manner = {.lmtp = s->lmtp,
                                        .extended = s->extended,
                                        .tls = s->d->tls_active,
                                        .authenticated = s->authenticated,
                                        .utf8 = s->utf8};
    const struct trace t = {.client = s->d->client_facts,
                            .helo = s->helo,
                            .helo_len = s->helo_len,
                            .hostname = s->d->policy->hostname,
                            .protocol = trace_protocol(&manner),
                            .when = s->d->clock(NULL)};
    return trace_write(&t, data, len, stuffed, out);
}
