/* SPDX-License-Identifier: ISC */
#include "proxy/trusts.h"

#include <stdlib.h>
#include <string.h>

#include "certs/trust.h"
#include "protocols/memory.h"
#include "proxy/verifyoptions.h"

struct entry {
    char *ca_file, *ca_path, *crl_file; /* owned; NULL: not given */
    bool system;
    struct trust *trust;
};

struct trusts {
    struct entry *entries;
    size_t count;
};

struct trusts *trusts_create(void)
{
    struct trusts *t = memory_alloc(sizeof *t);
    *t = (struct trusts){0};
    return t;
}

void trusts_destroy(struct trusts *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++) {
        free(t->entries[i].ca_file);
        free(t->entries[i].ca_path);
        free(t->entries[i].crl_file);
        trust_destroy(t->entries[i].trust);
    }
    free(t->entries);
    free(t);
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static char *copy(const char *text)
{
    return text != NULL ? memory_strdup(text) : NULL;
}

const struct trust *trusts_find(struct trusts *t, const char *ca_file, const char *ca_path,
                                const char *crl_file, bool system, char *error, size_t error_size)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct entry *e = &t->entries[i];
        if (same(e->ca_file, ca_file) && same(e->ca_path, ca_path) && same(e->crl_file, crl_file) &&
            e->system == system)
            return e->trust;
    }
    struct trust *trust = verify_read_trust(ca_file, ca_path, crl_file, system, error, error_size);
    if (trust == NULL)
        return NULL;
    t->entries = memory_resize(t->entries, (t->count + 1) * sizeof *t->entries);
    t->entries[t->count++] = (struct entry){.ca_file = copy(ca_file),
                                            .ca_path = copy(ca_path),
                                            .crl_file = copy(crl_file),
                                            .system = system,
                                            .trust = trust};
    return trust;
}
