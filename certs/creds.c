/* SPDX-License-Identifier: ISC */
#include "certs/creds.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "certs/keeper.h"
#include "certs/remotekey.h"
#include "certs/trust.h"

enum { CHAIN_MAX = 16, CREDS_MAX = 64 };

/* One certificate with its chain and key. */
struct identity {
    gnutls_x509_crt_t chain[CHAIN_MAX];
    unsigned n_chain;
    unsigned algorithm, bits;
    unsigned char *ocsp;
    size_t ocsp_len;
    const char *pattern; /* further names, as the configuration has them; NULL: none */
    /* Ready to use: this certificate first, then its twins, which have the same names and a key
     * of another kind; the client's signature algorithms choose among them. */
    gnutls_certificate_credentials_t ready;
};

struct creds {
    struct identity *items;
    size_t count;
    struct keeper_door door;
};

static struct creds *creds_create(const struct keeper_door *door)
{
    struct creds *c = calloc(1, sizeof *c);
    if (c != NULL)
        c->door = *door;
    return c;
}

void creds_destroy(struct creds *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++) {
        struct identity *id = &c->items[i];
        if (id->ready != NULL)
            gnutls_certificate_free_credentials(id->ready);
        for (unsigned n = 0; n < id->n_chain; n++)
            gnutls_x509_crt_deinit(id->chain[n]);
        free(id->ocsp);
    }
    free(c->items);
    free(c);
}

size_t creds_count(const struct creds *c)
{
    return c->count;
}

/* The first name of the leaf: a DNS SAN, else its subject. */
static void first_name(gnutls_x509_crt_t leaf, char *name, size_t size)
{
    size_t n = size;
    if (gnutls_x509_crt_get_subject_alt_name(leaf, 0, name, &n, NULL) == GNUTLS_SAN_DNSNAME)
        return;
    n = size;
    if (gnutls_x509_crt_get_dn(leaf, name, &n) != 0)
        snprintf(name, size, "?");
}

void creds_describe(const struct creds *c, size_t n, char *name, size_t name_size,
                    const char **algorithm, time_t *not_after)
{
    const struct identity *id = &c->items[n];
    first_name(id->chain[0], name, name_size);
    *algorithm = gnutls_pk_get_name((gnutls_pk_algorithm_t)id->algorithm);
    *not_after = gnutls_x509_crt_get_expiration_time(id->chain[0]);
}

bool creds_are_same(const struct creds *a, const struct creds *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!gnutls_x509_crt_equals(a->items[i].chain[0], b->items[i].chain[0]))
            return false;
    return true;
}

/* ---- building ---- */

static int add_identity(gnutls_certificate_credentials_t to, const struct creds *c, size_t i)
{
    const struct identity *id = &c->items[i];
    gnutls_pcert_st pcerts[CHAIN_MAX];
    unsigned n = id->n_chain;
    int r = gnutls_pcert_import_x509_list(pcerts, (gnutls_x509_crt_t *)id->chain, &n, 0);
    if (r != 0)
        return r;
    gnutls_privkey_t key = remotekey_create(&c->door, (uint32_t)i, (int)id->algorithm, id->bits);
    if (key == NULL)
        return GNUTLS_E_MEMORY_ERROR;
    r = gnutls_certificate_set_key(to, NULL, 0, pcerts, (int)n, key); /* takes both */
    if (r < 0) {
        gnutls_privkey_deinit(key);
        return r;
    }
    if (id->ocsp == NULL)
        return 0;
    gnutls_datum_t response = {.data = id->ocsp, .size = (unsigned)id->ocsp_len};
    r = gnutls_certificate_set_ocsp_status_request_mem(to, &response, (unsigned)r,
                                                       GNUTLS_X509_FMT_DER);
    return r < 0 ? r : 0;
}

/* Twins answer for the same names, whatever their order. */
static bool has_all_names_of(gnutls_x509_crt_t a, gnutls_x509_crt_t b)
{
    char name[512];
    size_t size = sizeof name;
    bool any = false;
    for (unsigned i = 0;; i++, size = sizeof name) {
        int type = gnutls_x509_crt_get_subject_alt_name(b, i, name, &size, NULL);
        if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return any;
        if (type != GNUTLS_SAN_DNSNAME)
            continue;
        any = true;
        if (!gnutls_x509_crt_check_hostname2(a, name, 0))
            return false;
    }
}

static bool are_twins(const struct identity *a, const struct identity *b)
{
    return a->algorithm != b->algorithm && has_all_names_of(a->chain[0], b->chain[0]) &&
           has_all_names_of(b->chain[0], a->chain[0]);
}

static int make_ready(struct creds *c, size_t i)
{
    struct identity *id = &c->items[i];
    int r = gnutls_certificate_allocate_credentials(&id->ready);
    if (r != 0)
        return r;
    /* the keeper has compared key and certificate; here it would cost a signature */
    gnutls_certificate_set_flags(id->ready, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
    r = add_identity(id->ready, c, i);
    for (size_t k = 0; r == 0 && k < c->count; k++)
        if (k != i && are_twins(id, &c->items[k]))
            r = add_identity(id->ready, c, k);
    return r;
}

void creds_set_pattern(struct creds *c, size_t n, const char *pattern)
{
    c->items[n].pattern = pattern;
}

bool creds_announce(struct creds *c, const struct trust *trust)
{
    for (size_t i = 0; i < c->count; i++)
        if (gnutls_certificate_set_x509_trust(c->items[i].ready, trust->anchors,
                                              (int)trust->n_anchors) < 0)
            return false;
    return true;
}

static bool fits_pattern(const char *pattern, const char *name)
{
    if (pattern == NULL)
        return false;
    if (pattern[0] != '*' || pattern[1] != '.')
        return strcasecmp(pattern, name) == 0;
    const char *dot = strchr(name, '.');
    return dot != NULL && dot > name && strcasecmp(pattern + 1, dot) == 0;
}

struct gnutls_certificate_credentials_st *creds_pick(const struct creds *c, const char *name)
{
    bool is_asked = name != NULL && name[0] != '\0' && c->count > 1;
    for (size_t i = 0; is_asked && i < c->count; i++)
        if (fits_pattern(c->items[i].pattern, name) ||
            gnutls_x509_crt_check_hostname2(c->items[i].chain[0], name, 0))
            return c->items[i].ready;
    return c->items[0].ready;
}

/* ---- the report ---- */

struct reader {
    int fd;
    int64_t deadline; /* CLOCK_MONOTONIC, milliseconds */
    char *error;
    size_t error_size;
};

static int64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool read_exactly(struct reader *r, void *to, size_t len)
{
    char *p = to;
    while (len > 0) {
        struct pollfd fd = {.fd = r->fd, .events = POLLIN};
        int64_t left = r->deadline - now();
        int ready = poll(&fd, 1, left > 0 ? (int)left : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t n = ready > 0 ? read(r->fd, p, len) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            snprintf(r->error, r->error_size, "the keeper %s while it loaded the keys",
                     ready > 0 ? "died" : "did not answer");
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool take_key(struct creds *c, const struct report_header *h)
{
    if (h->index != c->count || c->count == CREDS_MAX)
        return false;
    struct identity *items = realloc(c->items, (c->count + 1) * sizeof *items);
    if (items == NULL)
        return false;
    c->items = items;
    items[c->count++] = (struct identity){.algorithm = h->algorithm, .bits = h->bits};
    return true;
}

static bool take_cert(struct identity *id, const unsigned char *der, size_t len)
{
    gnutls_datum_t d = {.data = (unsigned char *)der, .size = (unsigned)len};
    if (id->n_chain == CHAIN_MAX || gnutls_x509_crt_init(&id->chain[id->n_chain]) != 0)
        return false;
    id->n_chain++;
    return gnutls_x509_crt_import(id->chain[id->n_chain - 1], &d, GNUTLS_X509_FMT_DER) == 0;
}

static bool take_ocsp(struct identity *id, const unsigned char *der, size_t len)
{
    id->ocsp = malloc(len > 0 ? len : 1);
    if (id->ocsp == NULL)
        return false;
    memcpy(id->ocsp, der, len);
    id->ocsp_len = len;
    return true;
}

/* One record; *done at the last. */
static bool take_record(struct reader *r, struct creds **creds, size_t n, bool *done)
{
    static const char nonsense[] = "the keeper's report makes no sense";
    struct report_header h;
    bool ok = false;
    if (!read_exactly(r, &h, sizeof h))
        return false;
    unsigned char *bytes = h.len <= REPORT_MAX ? malloc(h.len + 1u) : NULL;
    if (bytes == NULL || !read_exactly(r, bytes, h.len)) {
        free(bytes);
        return false;
    }
    bytes[h.len] = '\0';
    struct creds *c = h.group < n ? creds[h.group] : NULL;
    struct identity *id = c != NULL && h.index < c->count ? &c->items[h.index] : NULL;
    switch (h.type) {
    case REPORT_KEY:
        ok = c != NULL && take_key(c, &h);
        break;
    case REPORT_CERT:
        ok = id != NULL && take_cert(id, bytes, h.len);
        break;
    case REPORT_OCSP:
        ok = id != NULL && take_ocsp(id, bytes, h.len);
        break;
    case REPORT_DONE:
        ok = *done = true;
        break;
    case REPORT_ERROR:
        snprintf(r->error, r->error_size, "%s", (char *)bytes);
        free(bytes);
        return false;
    }
    if (!ok)
        snprintf(r->error, r->error_size, "%s", nonsense);
    free(bytes);
    return ok;
}

static bool finish_all(struct creds **creds, size_t n, char *error, size_t error_size)
{
    for (size_t g = 0; g < n; g++) {
        for (size_t i = 0; i < creds[g]->count; i++) {
            int r = make_ready(creds[g], i);
            if (r == 0)
                continue;
            char name[256];
            first_name(creds[g]->items[i].chain[0], name, sizeof name);
            snprintf(error, error_size, "the certificate of %s cannot be used: %s%s", name,
                     gnutls_strerror(r),
                     creds[g]->items[i].ocsp != NULL ? " (is the OCSP response its own?)" : "");
            return false;
        }
    }
    return true;
}

bool creds_read_report(int report_fd, const struct keeper_door *doors, size_t n,
                       struct creds **creds, unsigned seconds, char *error, size_t error_size)
{
    struct reader r = {.fd = report_fd,
                       .deadline = now() + (int64_t)seconds * 1000,
                       .error = error,
                       .error_size = error_size};
    bool ok = true, done = false;
    snprintf(error, error_size, "out of memory");
    for (size_t g = 0; g < n; g++) {
        creds[g] = creds_create(&doors[g]);
        ok = ok && creds[g] != NULL;
    }
    while (ok && !done)
        ok = take_record(&r, creds, n, &done);
    ok = ok && finish_all(creds, n, error, error_size);
    for (size_t g = 0; !ok && g < n; g++) {
        creds_destroy(creds[g]);
        creds[g] = NULL;
    }
    return ok;
}
