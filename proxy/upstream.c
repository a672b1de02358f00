/* SPDX-License-Identifier: ISC */
#include "proxy/upstream.h"

#include <stdio.h>

#include "proxy/handshake.h"
#include "proxy/nexthop.h"
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

/* What is demanded of this very host: LEVEL_DANE_ONLY where records judge it. */
static enum server_level settle(struct upstream *u)
{
    enum server_level level = u->to->demand->level;
    size_t usable = 0;
    u->n_records = 0;
    if (!server_level_is_dane(level))
        return level;
    if (u->host == NULL || u->host->dane != HOST_DANE_FOUND)
        return LEVEL_MAY;
    u->n_records = route_records(u->host, u->records, &usable);
    return usable > 0 ? LEVEL_DANE_ONLY : LEVEL_ENCRYPT;
}

void upstream_set(struct upstream *u, const struct destination *to, const struct route_host *host,
                  struct policy *policy)
{
    u->to = to;
    u->host = host;
    u->level = settle(u);
    policy->tls_level = level_of(u->level);
    policy->fall_back = to->demand->fall_back;
}

/* SNI: the TLSA base domain where records judge (RFC 7672 §8.1). */
static const char *server_name(const struct upstream *u)
{
    if (u->level == LEVEL_DANE_ONLY)
        return u->host->base;
    if (u->to->demand->server_name != NULL || u->host == NULL)
        return u->to->demand->server_name;
    return u->host->name;
}

/* The names that a certificate may have (RFC 7672 §3.2.2): of the records, of the host, and of the
 * domain whose mail it takes. */
static bool judge_by_records(struct upstream *u)
{
    char domain[NEXTHOP_NAME] = "";
    const char *const names[] = {u->host->base, u->host->name, domain};
    (void)nexthop_host(u->to->name, domain, sizeof domain);
    const struct verify_rules rules = {.purpose = VERIFY_SERVER,
                                       .hosts = names,
                                       .n_hosts = sizeof names / sizeof *names,
                                       .records = u->records,
                                       .n_records = u->n_records};
    return tls_verify_peer(u->tls, &rules, &u->verdict);
}

static enum tls_outcome judge(struct upstream *u, char *reason, size_t size)
{
    bool by_records = u->level == LEVEL_DANE_ONLY;
    if (!server_level_verifies(u->level) && !by_records)
        return OUTCOME_SECURED;
    u->judged = true;
    if (by_records ? judge_by_records(u) : tls_verify_peer(u->tls, &u->to->rules, &u->verdict))
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
    u->tls = tls_create_client(u->to->tls, fd, server_name(u));
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

static const char *tlsa_word(const struct upstream *u)
{
    if (!server_level_is_dane(u->to->demand->level))
        return "";
    return u->level == LEVEL_DANE_ONLY ? " tlsa=used"
           : u->level == LEVEL_ENCRYPT ? " tlsa=unusable"
                                       : " tlsa=none";
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
             " level=%s%s offered=%s server_tls=%s server_cipher=%s server_group=%s verdict=%s "
             "verified=\"%s\"",
             server_level_word(u->to->demand->level), tlsa_word(u), offered ? "yes" : "no",
             tls.version, tls.cipher, tls.group,
             u->judged ? verdict_word(u->verdict.cause) : "none",
             u->judged && u->verdict.cause == VERDICT_OK ? u->verdict.matched : "");
}
