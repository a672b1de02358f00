/* SPDX-License-Identifier: ISC */
#include "certs/facts.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

static const char *or_dash(const char *text)
{
    return text != NULL ? text : "-";
}

static void read_facts(gnutls_x509_crt_t crt, struct certificate_facts *out)
{
    int key = gnutls_x509_crt_get_pk_algorithm(crt, &out->key_bits);
    int signature = gnutls_x509_crt_get_signature_algorithm(crt);
    describe_subject(crt, out->subject, sizeof out->subject);
    describe_issuer(crt, out->issuer, sizeof out->issuer);
    describe_alt_names(crt, out->names, sizeof out->names);
    describe_hash_text(crt, false, out->sha256);
    describe_hash_text(crt, true, out->spki_sha256);
    out->from = gnutls_x509_crt_get_activation_time(crt);
    out->until = gnutls_x509_crt_get_expiration_time(crt);
    out->key = or_dash(key < 0 ? NULL : gnutls_pk_get_name((gnutls_pk_algorithm_t)key));
    out->signature =
        or_dash(signature < 0 ? NULL : gnutls_sign_get_name((gnutls_sign_algorithm_t)signature));
}

bool certificate_facts_read(const struct verify_bytes *der, struct certificate_facts *out)
{
    gnutls_datum_t data = {.data = (unsigned char *)der->data, .size = (unsigned)der->len};
    gnutls_x509_crt_t crt;
    *out = (struct certificate_facts){0};
    if (gnutls_x509_crt_init(&crt) != 0)
        return false;
    bool ok = gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_DER) == 0;
    if (ok)
        read_facts(crt, out);
    gnutls_x509_crt_deinit(crt);
    return ok;
}
