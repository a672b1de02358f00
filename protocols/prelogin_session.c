/* SPDX-License-Identifier: ISC */
#include "protocols/prelogin_session.h"

bool prelogin_is_secured(const struct prelogin *s)
{
    return s->requesting ? s->d->server_tls_active : s->d->tls_active;
}

/* Where TLS is needed, the offer is not hidden: there would be no way to get it. */
bool prelogin_has_tls_to_offer(const struct prelogin *s)
{
    const struct policy *p = s->d->policy;
    return !s->requesting && (p->tls_level == TLS_LEVEL_ENCRYPT ||
                              (p->tls_level == TLS_LEVEL_MAY && !p->hide_starttls));
}

bool prelogin_offers_tls(const struct prelogin *s)
{
    return prelogin_has_tls_to_offer(s) && !s->d->tls_active;
}

bool prelogin_lacks_tls(const struct prelogin *s)
{
    return s->d->policy->tls_level == TLS_LEVEL_ENCRYPT && !prelogin_is_secured(s);
}

bool prelogin_login_withheld(const struct prelogin *s)
{
    const struct policy *p = s->d->policy;
    if (prelogin_is_secured(s) || p->tls_level == TLS_LEVEL_NONE)
        return false;
    return p->tls_level == TLS_LEVEL_ENCRYPT || !p->auth_before_tls;
}
