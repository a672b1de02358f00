/* SPDX-License-Identifier: ISC */
#include "proxy/measure.h"

#include <stdlib.h>

#include "certs/trust.h"
#include "protocols/memory.h"
#include "proxy/address.h"
#include "proxy/verifyoptions.h"

/* A level that verifies nobody has read none. */
static void find_trust(struct measure *m, const struct service *s, const struct destination *to)
{
    if (to->trust == NULL)
        m->own_trust = verify_read_trust(s->ca_file, s->ca_path, s->crl_file, true, m->no_trust,
                                         sizeof m->no_trust);
    m->trust = to->trust != NULL ? to->trust : m->own_trust;
}

/* The names that level secure would look for. `destination`: NULL where the client says it. */
static void find_names(struct measure *m, const struct service *s, const char *destination)
{
    struct verify_rules *r = &m->rules;
    size_t n = s->check_host.count;
    m->hosts = memory_alloc((n + 1) * sizeof *m->hosts);
    if (r->n_hosts + r->n_emails + r->n_addresses > 0)
        return;
    for (size_t i = 0; i < n; i++)
        m->hosts[i] = s->check_host.items[i].text;
    m->hosts[n] = m->name;
    r->hosts = m->hosts;
    r->n_hosts = n;
    if (n == 0 && destination != NULL && address_host(destination, m->name, sizeof m->name))
        r->n_hosts = !address_is_literal(m->name);
}

struct measure *measures_create(const struct service *s, const struct destinations *d)
{
    struct measure *all = memory_alloc((d->count + 1) * sizeof *all);
    for (size_t i = 0; i < d->count; i++) {
        struct measure *m = &all[i];
        *m = (struct measure){.rules = d->items[i].rules};
        find_trust(m, s, &d->items[i]);
        find_names(m, s, d->items[i].name);
    }
    return all;
}

void measures_destroy(struct measure *m, size_t n)
{
    for (size_t i = 0; m != NULL && i < n; i++) {
        trust_destroy(m[i].own_trust);
        free(m[i].hosts);
    }
    free(m);
}

static bool nothing_fails(const struct examination *e)
{
    for (enum examined i = 0; i < N_EXAMINED; i++)
        if (e->state[i] == EXAMINED_FAILS)
            return false;
    return true;
}

/* A chain alone proves nothing: there has to be a name, or a pin. */
bool measure_satisfies(const struct examination *e, enum server_level level)
{
    bool pinned = e->state[EXAMINED_PINS] == EXAMINED_PASSES;
    switch (level) {
    case LEVEL_NONE:
    case LEVEL_MAY:
    case LEVEL_ENCRYPT:
        return true;
    case LEVEL_FINGERPRINT:
        return pinned;
    case LEVEL_VERIFY:
    case LEVEL_SECURE:
        return nothing_fails(e) && (pinned || e->state[EXAMINED_NAMES] == EXAMINED_PASSES);
    case LEVEL_DANE:
    case LEVEL_DANE_ONLY:
        break;
    }
    return false;
}

enum server_level measure_level(const struct examination *e)
{
    enum server_level level = LEVEL_SECURE;
    while (!measure_satisfies(e, level))
        level--;
    return level;
}
