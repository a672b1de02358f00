/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_session.h"

bool pop3_is_secured(const struct pop3 *s)
{
    return s->requesting ? s->d->server_tls_active : s->d->tls_active;
}

bool pop3_lacks_tls(const struct pop3 *s)
{
    return s->d->policy->tls_level == TLS_LEVEL_ENCRYPT && !pop3_is_secured(s);
}

bool pop3_login_withheld(const struct pop3 *s)
{
    const struct policy *p = s->d->policy;
    if (pop3_is_secured(s) || p->tls_level == TLS_LEVEL_NONE)
        return false;
    return p->tls_level == TLS_LEVEL_ENCRYPT || !p->auth_before_tls;
}
