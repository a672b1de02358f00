/* SPDX-License-Identifier: ISC */
#include "proxy/destination.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/trust.h"
#include "protocols/memory.h"
#include "proxy/trusts.h"

struct made_setup {
    const char *priority;
    const struct trust *trust;
    struct tls_setup *tls;
};

struct shared {
    struct made_setup *setups;
    size_t n_setups;
};

struct making {
    const struct config *config;
    const struct service *service;
    const struct creds *creds;
    struct trusts *trusts;
    struct shared *shared;
    char *error;
    size_t error_size;
};

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool fail(struct making *m, const struct demand *d, const char *option, const char *reason)
{
    snprintf(m->error, m->error_size, "%s: %s: %s",
             d->where != NULL ? d->where : config_where(m->config, m->service, option), option,
             reason);
    return false;
}

/* ---- trust ---- */

static bool needs_trust(const struct demand *d)
{
    return d->need_ca || d->pinned_by_file;
}

/* *trust is NULL where nobody needs to be trusted. */
static bool find_trust(struct making *m, const struct demand *d, const struct trust **trust)
{
    char reason[512];
    *trust = NULL;
    if (!needs_trust(d))
        return true;
    *trust =
        trusts_find(m->trusts, d->ca_file, d->ca_path, d->crl_file, true, reason, sizeof reason);
    return *trust != NULL ||
           fail(m, d, d->ca_path != NULL && d->ca_file == NULL ? "CApath" : "CAfile", reason);
}

/* ---- TLS ---- */

static bool find_setup(struct making *m, const struct demand *d, const struct trust *trust,
                       struct tls_setup **tls)
{
    struct shared *s = m->shared;
    char reason[256];
    *tls = NULL;
    if (d->level == LEVEL_NONE)
        return true;
    for (size_t i = 0; i < s->n_setups; i++) {
        *tls = s->setups[i].tls;
        if (s->setups[i].trust == trust && same(s->setups[i].priority, d->priority))
            return true;
    }
    const struct tls_params params = {.priority = d->priority, .creds = m->creds, .trust = trust};
    *tls = tls_setup_create(&params, reason, sizeof reason);
    if (*tls == NULL)
        return fail(m, d, "priority", reason);
    s->setups[s->n_setups++] =
        (struct made_setup){.priority = d->priority, .trust = trust, .tls = *tls};
    return true;
}

/* ---- rules ---- */

static bool collect_pins(struct making *m, const struct demand *d, const struct trust *trust,
                         struct pins *out)
{
    struct pin pin;
    for (size_t i = 0; i < d->pins.count; i++)
        pins_add(out, &d->pins.items[i]);
    for (size_t i = 0; d->pinned_by_file && i < trust->n_anchors; i++) {
        if (!trust_pin(trust, i, &pin))
            return fail(m, d, "verifyPeer", "a certificate cannot be hashed");
        pins_add(out, &pin);
    }
    return true;
}

static struct verify_rules rules_of(const struct demand *d, const struct pins *pins)
{
    return (struct verify_rules){.purpose = VERIFY_SERVER,
                                 .need_ca = d->need_ca,
                                 .hosts = (const char *const *)d->hosts.items,
                                 .n_hosts = d->hosts.count,
                                 .emails = (const char *const *)d->emails.items,
                                 .n_emails = d->emails.count,
                                 .addresses = (const char *const *)d->addresses.items,
                                 .n_addresses = d->addresses.count,
                                 .pins = pins->items,
                                 .n_pins = pins->count};
}

/* ---- all ---- */

static bool prepare(struct making *m, struct destination *to)
{
    const struct demand *d = to->demand;
    const struct trust *trust;
    if (!find_trust(m, d, &trust) || !find_setup(m, d, trust, &to->tls) ||
        !collect_pins(m, d, trust, &to->pins))
        return false;
    to->trust = trust;
    to->rules = rules_of(d, &to->pins);
    return true;
}

struct destinations *destinations_create(const struct config *c, const struct service *s,
                                         const struct creds *creds, struct trusts *trusts,
                                         char *error, size_t error_size)
{
    size_t n = s->n_demands;
    struct shared *shared = memory_alloc(sizeof *shared);
    struct destinations *out = memory_alloc(sizeof *out);
    *shared = (struct shared){.setups = memory_alloc((n + 1) * sizeof *shared->setups)};
    *out = (struct destinations){.items = memory_alloc((n + 1) * sizeof *out->items),
                                 .shared = shared};
    struct making m = {.config = c,
                       .service = s,
                       .creds = creds,
                       .trusts = trusts,
                       .shared = shared,
                       .error = error,
                       .error_size = error_size};
    while (out->count < n) {
        struct destination *to = &out->items[out->count];
        *to = (struct destination){.demand = &s->demands[out->count]};
        if (s->redirection != REDIRECTION_DESTINATION)
            to->name = s->connect.items[out->count].text;
        out->count++;
        if (!prepare(&m, to)) {
            destinations_destroy(out);
            return NULL;
        }
    }
    return out;
}

void destinations_destroy(struct destinations *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->shared->n_setups; i++)
        tls_setup_destroy(d->shared->setups[i].tls);
    for (size_t i = 0; i < d->count; i++)
        free(d->items[i].pins.items);
    free(d->shared->setups);
    free(d->shared);
    free(d->items);
    free(d);
}
