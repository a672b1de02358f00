/* SPDX-License-Identifier: ISC */
#include "proxy/upstream.h"

#include <stdio.h>
#include <string.h>

#include "protocols/dialogue.h"
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

void upstream_set_memory(struct upstream *u, const struct tls_memory *memory, const char *service)
{
    u->memory = memory;
    u->service = service;
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

static void find_remedy(struct upstream *u, enum first_use_asker asker)
{
    const char *file = u->memory != NULL ? u->memory->path : NULL;
    if (u->verdict.cause == VERDICT_KEY_MISMATCH)
        snprintf(u->remedy, sizeof u->remedy,
                 "if the server has a new key, take its line (%.128s ... %.100s) out of %.200s and "
                 "reload",
                 u->to->name, u->service, file != NULL ? file : "the file of tlsMemory");
    else if (asker == FIRST_USE_KNOWS)
        snprintf(u->remedy, sizeof u->remedy,
                 "trustOnFirstUse needs an ehlock that goes on running, to remember what it has "
                 "seen: start it without --inetd once, or write verifyPeer = spki-sha256:DIGEST");
}

/* As those who have a pin: names first, if any are wanted, then the key. */
static bool judge_by_first_use(struct upstream *u)
{
    unsigned char key[CLAIM_BYTES];
    if (!tls_verify_peer(u->tls, &u->to->rules, &u->verdict))
        return false;
    if (!tls_get_peer_key(u->tls, key)) {
        u->verdict = (struct verdict){.cause = VERDICT_UNUSABLE,
                                      .sentence = "the public key cannot be read"};
        return false;
    }
    const struct first_use *known =
        u->memory != NULL ? first_uses_find(&u->memory->firsts, u->service, u->to->name) : NULL;
    enum first_use_asker asker = u->memory != NULL ? u->memory->asker : FIRST_USE_KNOWS;
    if (first_use_judge(known, asker, key, &u->verdict))
        return true;
    find_remedy(u, asker);
    return false;
}

/* Of a server that is only looked at nothing becomes known. */
static void remark(const struct upstream *u, struct dialogue *d)
{
    if (u->to->demand->first_use && u->memory != NULL && u->memory->asker == FIRST_USE_LOOKS &&
        strcmp(u->verdict.matched, "first-use") == 0)
        dialogue_because(d, "no key has been seen before, and a session would trust this one");
}

static bool judge_by_demand(struct upstream *u)
{
    if (u->level == LEVEL_DANE_ONLY)
        return judge_by_records(u);
    if (u->to->demand->first_use)
        return judge_by_first_use(u);
    return tls_verify_peer(u->tls, &u->to->rules, &u->verdict);
}

static enum tls_outcome judge(struct upstream *u, struct dialogue *d)
{
    if (!server_level_verifies(u->level) && u->level != LEVEL_DANE_ONLY)
        return OUTCOME_SECURED;
    u->judged = true;
    if (judge_by_demand(u)) {
        remark(u, d);
        return OUTCOME_SECURED;
    }
    dialogue_because(d, "%s: %s", verdict_result_word(u->verdict.cause), u->verdict.sentence);
    return OUTCOME_UNTRUSTED;
}

bool upstream_is_verified(const struct upstream *u)
{
    return u->secured && u->judged && u->verdict.cause == VERDICT_OK && !u->to->demand->first_use;
}

static enum tls_outcome shake_hands(struct upstream *u, struct dialogue *d, int64_t deadline)
{
    struct wire *backend = d->backend;
    const char *early;
    char why[320];
    size_t n = wire_buffered(backend, &early);
    int fd = backend->transport.fd;
    u->tls = tls_create_client(u->to->tls, fd, server_name(u));
    tls_feed(u->tls, early, n);
    wire_consume(backend, n);
    if (!handshake_run(u->tls, fd, "server", backend->cancel_fd, deadline, why, sizeof why)) {
        dialogue_because(d, "validation-failure: %s", why);
        return OUTCOME_BROKEN;
    }
    u->secured = true;
    struct transport t = transport_of_tls(u->tls, fd);
    wire_set_transport(backend, &t);
    return judge(u, d);
}

enum tls_outcome upstream_secure(struct upstream *u, struct dialogue *d, unsigned seconds)
{
    int64_t deadline = wire_deadline(seconds);
    if (deadline > d->pretls_deadline)
        deadline = d->pretls_deadline;
    enum tls_outcome outcome = shake_hands(u, d, deadline);
    d->server_tls_active = outcome != OUTCOME_BROKEN;
    d->server_verified = outcome == OUTCOME_SECURED && upstream_is_verified(u);
    if (u->remedy[0] != '\0')
        d->remedy = u->remedy;
    return outcome;
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
