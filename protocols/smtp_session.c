/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_session.h"

#include <stddef.h>

void smtp_forget_transaction(struct smtp *s)
{
    s->recipients = 0;
    s->traced = false;
    s->utf8 = false;
}

bool smtp_is_secured(const struct smtp *s)
{
    return s->requesting ? s->d->server_tls_active : s->d->tls_active;
}

bool smtp_lacks_tls(const struct smtp *s)
{
    return s->d->policy->tls_level == TLS_LEVEL_ENCRYPT && !smtp_is_secured(s);
}

const char *smtp_lacks_hello(const struct smtp *s)
{
    if (s->greeted)
        return NULL;
    if (s->requesting)
        return "Say EHLO first";
    return s->d->tls_active ? "Say EHLO first: TLS has begun anew" : NULL;
}
