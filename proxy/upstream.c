/* SPDX-License-Identifier: ISC */
#include "proxy/upstream.h"

#include <stdio.h>

#include "proxy/handshake.h"
#include "proxy/transport.h"

static enum tls_level level_of(enum server_level level)
{
    switch (level) {
    case LEVEL_NONE:
        return TLS_LEVEL_NONE;
    case LEVEL_MAY:
        return TLS_LEVEL_MAY;
    case LEVEL_ENCRYPT:
    case LEVEL_FINGERPRINT:
    case LEVEL_VERIFY:
    case LEVEL_SECURE:
    case LEVEL_DANE:
    case LEVEL_DANE_ONLY:
        break;
    }
    return TLS_LEVEL_ENCRYPT;
}

void upstream_set(struct upstream *u, const struct destination *to, struct policy *policy)
{
    u->to = to;
    policy->tls_level = level_of(to->demand->level);
    policy->fall_back = to->demand->fall_back;
}

static enum tls_outcome judge(struct upstream *u, char *reason, size_t size)
{
    if (!server_level_verifies(u->to->demand->level))
        return OUTCOME_SECURED;
    u->judged = true;
    if (tls_verify_peer(u->tls, &u->to->rules, &u->verdict))
        return OUTCOME_SECURED;
    snprintf(reason, size, "%s: %s", verdict_result_word(u->verdict.cause), u->verdict.sentence);
    return OUTCOME_UNTRUSTED;
}

bool upstream_is_verified(const struct upstream *u)
{
    return u->secured && u->judged && u->verdict.cause == VERDICT_OK;
}

enum tls_outcome upstream_secure(struct upstream *u, struct wire *backend, int64_t deadline,
                                 char *reason, size_t reason_size)
{
    const char *early;
    char why[320];
    size_t n = wire_buffered(backend, &early);
    int fd = backend->transport.fd;
    u->tls = tls_create_client(u->to->tls, fd, u->to->demand->server_name);
    tls_feed(u->tls, early, n);
    wire_consume(backend, n);
    if (!handshake_run(u->tls, fd, "server", backend->cancel_fd, deadline, why, sizeof why)) {
        snprintf(reason, reason_size, "validation-failure: %s", why);
        return OUTCOME_BROKEN;
    }
    u->secured = true;
    struct transport t = transport_of_tls(u->tls, fd);
    wire_set_transport(backend, &t);
    return judge(u, reason, reason_size);
}

void upstream_bye(struct upstream *u)
{
    if (!u->secured)
        return;
    tls_bye(u->tls);
    (void)tls_flush(u->tls);
}

void upstream_drop(struct upstream *u)
{
    tls_destroy(u->tls);
    u->tls = NULL;
    u->secured = false;
}

void upstream_describe(const struct upstream *u, bool offered, char *out, size_t size)
{
    struct tls_info tls = {.version = "-", .cipher = "-", .group = "-"};
    out[0] = '\0';
    if (u->to == NULL)
        return;
    if (u->secured)
        tls_get_info(u->tls, &tls);
    snprintf(out, size,
             " level=%s offered=%s server_tls=%s server_cipher=%s server_group=%s verdict=%s "
             "verified=\"%s\"",
             server_level_word(u->to->demand->level), offered ? "yes" : "no", tls.version,
             tls.cipher, tls.group, u->judged ? verdict_word(u->verdict.cause) : "none",
             u->judged && u->verdict.cause == VERDICT_OK ? u->verdict.matched : "");
}
