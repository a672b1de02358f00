/* SPDX-License-Identifier: ISC */
#include "certs/dane.h"

#include <string.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

enum { SHA256_BYTES = 32, SHA512_BYTES = 64, FIXED_FIELDS = 3 };

bool dane_record_parse(const unsigned char *rdata, size_t len, struct dane_record *out)
{
    if (len <= FIXED_FIELDS)
        return false;
    *out = (struct dane_record){.usage = rdata[0],
                                .selector = rdata[1],
                                .matching = rdata[2],
                                .data = rdata + FIXED_FIELDS,
                                .len = len - FIXED_FIELDS};
    return true;
}

/* ---- records ---- */

static bool is_certificate(const gnutls_datum_t *der)
{
    gnutls_x509_crt_t crt;
    if (gnutls_x509_crt_init(&crt) != 0)
        return false;
    bool ok = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0;
    gnutls_x509_crt_deinit(crt);
    return ok;
}

static bool is_key(const gnutls_datum_t *der)
{
    gnutls_pubkey_t key;
    if (gnutls_pubkey_init(&key) != 0)
        return false;
    bool ok = gnutls_pubkey_import(key, der, GNUTLS_X509_FMT_DER) == 0;
    gnutls_pubkey_deinit(key);
    return ok;
}

bool dane_is_usable(const struct dane_record *r)
{
    const gnutls_datum_t der = {.data = (unsigned char *)r->data, .size = (unsigned)r->len};
    if ((r->usage != DANE_TA && r->usage != DANE_EE) || r->selector > DANE_SPKI)
        return false;
    switch (r->matching) {
    case DANE_FULL:
        return r->selector == DANE_CERT ? is_certificate(&der) : is_key(&der);
    case DANE_SHA256:
        return r->len == SHA256_BYTES;
    case DANE_SHA512:
        return r->len == SHA512_BYTES;
    default:
        return false;
    }
}

size_t dane_count_usable(const struct dane_record *records, size_t n)
{
    size_t usable = 0;
    for (size_t i = 0; i < n; i++)
        usable += dane_is_usable(&records[i]);
    return usable;
}

/* A weaker digest beside a stronger one is there for those who know only that. Data in full is no
 * digest and always counts. */
static bool is_outdone(const struct dane_record *r, const struct dane_record *records, size_t n)
{
    for (size_t i = 0; i < n && r->matching != DANE_FULL; i++)
        if (records[i].usage == r->usage && records[i].selector == r->selector &&
            records[i].matching > r->matching && dane_is_usable(&records[i]))
            return true;
    return false;
}

/* ---- certificates ---- */

/* What the selector means, to be freed with gnutls_free. */
static bool select_part(gnutls_x509_crt_t crt, uint8_t selector, gnutls_datum_t *out)
{
    gnutls_pubkey_t key;
    if (selector == DANE_CERT)
        return gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, out) == 0;
    if (gnutls_pubkey_init(&key) != 0)
        return false;
    bool ok = gnutls_pubkey_import_x509(key, crt, 0) == 0 &&
              gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, out) == 0;
    gnutls_pubkey_deinit(key);
    return ok;
}

static bool matches(const struct dane_record *r, const gnutls_datum_t *part)
{
    unsigned char hash[SHA512_BYTES];
    if (r->matching == DANE_FULL)
        return part->size == r->len && memcmp(part->data, r->data, r->len) == 0;
    gnutls_digest_algorithm_t digest =
        r->matching == DANE_SHA256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512;
    return gnutls_hash_fast(digest, part->data, part->size, hash) == 0 &&
           memcmp(hash, r->data, r->len) == 0;
}

static bool fits(const struct dane_record *r, gnutls_x509_crt_t crt)
{
    gnutls_datum_t part = {0};
    if (!select_part(crt, r->selector, &part))
        return false;
    bool yes = matches(r, &part);
    gnutls_free(part.data);
    return yes;
}

const struct dane_record *dane_find(const struct dane_record *records, size_t n,
                                    enum dane_usage usage, gnutls_x509_crt_t crt)
{
    for (size_t i = 0; i < n; i++)
        if (records[i].usage == usage && dane_is_usable(&records[i]) &&
            !is_outdone(&records[i], records, n) && fits(&records[i], crt))
            return &records[i];
    return NULL;
}
