/* SPDX-License-Identifier: ISC */
#include "tests/unit/pki.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include <gnutls/crypto.h>
#include <gnutls/x509-ext.h>

#include "tests/unit/unit.h"

enum { DAY = 24 * 3600 };

static void must(int r, const char *what)
{
    if (r < 0)
        fail_msg("%s: %s", what, gnutls_strerror(r));
}

static gnutls_x509_privkey_t make_key(enum pki_key kind)
{
    gnutls_x509_privkey_t key;
    must(gnutls_x509_privkey_init(&key), "key");
    int r = 0;
    switch (kind) {
    case PKI_P256:
        r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                         GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
        break;
    case PKI_ED25519:
        r = gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 256, 0);
        break;
    case PKI_RSA1024:
        r = gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, 1024, 0);
        break;
    case PKI_RSA2048:
        r = gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, 2048, 0);
        break;
    }
    must(r, "generate");
    return key;
}

static void set_subject(gnutls_x509_crt_t crt, const struct pki_spec *s)
{
    if (s->cn != NULL)
        must(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, s->cn,
                                           (unsigned)strlen(s->cn)),
             "common name");
    if (s->subject_email != NULL)
        must(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_PKCS9_EMAIL, 0, s->subject_email,
                                           (unsigned)strlen(s->subject_email)),
             "email in subject");
}

static void add_name(gnutls_x509_crt_t crt, gnutls_x509_subject_alt_name_t type, const void *data,
                     size_t len)
{
    must(gnutls_x509_crt_set_subject_alt_name(crt, type, data, (unsigned)len, GNUTLS_FSAN_APPEND),
         "subjectAltName");
}

static void set_names(gnutls_x509_crt_t crt, const struct pki_spec *s)
{
    /* the library would not write such a name */
    static const unsigned char with_nul[] = {0x30, 0x07, 0x82, 0x05, 'a', '.', 'b', 0, 'c'};
    unsigned char bytes[16];
    if (s->dns_with_nul)
        must(gnutls_x509_crt_set_extension_by_oid(crt, "2.5.29.17", with_nul, sizeof with_nul, 0),
             "subjectAltName with NUL");
    for (size_t i = 0; i < sizeof s->dns / sizeof *s->dns && s->dns[i] != NULL; i++)
        add_name(crt, GNUTLS_SAN_DNSNAME, s->dns[i], strlen(s->dns[i]));
    if (s->email != NULL)
        add_name(crt, GNUTLS_SAN_RFC822NAME, s->email, strlen(s->email));
    if (s->uri != NULL)
        add_name(crt, GNUTLS_SAN_URI, s->uri, strlen(s->uri));
    for (size_t i = 0; i < sizeof s->ip / sizeof *s->ip && s->ip[i] != NULL; i++) {
        if (inet_pton(AF_INET, s->ip[i], bytes) == 1)
            add_name(crt, GNUTLS_SAN_IPADDRESS, bytes, 4);
        else if (inet_pton(AF_INET6, s->ip[i], bytes) == 1)
            add_name(crt, GNUTLS_SAN_IPADDRESS, bytes, 16);
        else
            fail_msg("%s is no address", s->ip[i]);
    }
}

static void constrain(gnutls_x509_crt_t crt, const struct pki_spec *s)
{
    gnutls_x509_name_constraints_t nc;
    must(gnutls_x509_name_constraints_init(&nc), "name constraints");
    if (s->permitted_dns != NULL) {
        gnutls_datum_t name = {.data = (unsigned char *)(size_t)s->permitted_dns,
                               .size = (unsigned)strlen(s->permitted_dns)};
        must(gnutls_x509_name_constraints_add_permitted(nc, GNUTLS_SAN_DNSNAME, &name), "permit");
    }
    if (s->excluded_dns != NULL) {
        gnutls_datum_t name = {.data = (unsigned char *)(size_t)s->excluded_dns,
                               .size = (unsigned)strlen(s->excluded_dns)};
        must(gnutls_x509_name_constraints_add_excluded(nc, GNUTLS_SAN_DNSNAME, &name), "exclude");
    }
    must(gnutls_x509_crt_set_name_constraints(crt, nc, 1), "set name constraints");
    gnutls_x509_name_constraints_deinit(nc);
}

static void demand_staple(gnutls_x509_crt_t crt)
{
    gnutls_x509_tlsfeatures_t features;
    must(gnutls_x509_tlsfeatures_init(&features), "features");
    must(gnutls_x509_tlsfeatures_add(features, 5), "status_request");
    must(gnutls_x509_crt_set_tlsfeatures(crt, features), "set features");
    gnutls_x509_tlsfeatures_deinit(features);
}

static void set_extensions(gnutls_x509_crt_t crt, const struct pki_spec *s)
{
    must(gnutls_x509_crt_set_basic_constraints(crt, s->ca, s->path_length - 1), "basic");
    must(gnutls_x509_crt_set_key_usage(crt, s->ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
                                                  : GNUTLS_KEY_DIGITAL_SIGNATURE),
         "usage");
    for (size_t i = 0; i < sizeof s->purpose / sizeof *s->purpose && s->purpose[i] != NULL; i++)
        must(gnutls_x509_crt_set_key_purpose_oid(crt, s->purpose[i], 0), "purpose");
    if (s->permitted_dns != NULL || s->excluded_dns != NULL)
        constrain(crt, s);
    if (s->must_staple)
        demand_staple(crt);
    if (s->unknown_critical)
        must(gnutls_x509_crt_set_extension_by_oid(crt, "1.3.6.1.4.1.99999.1", "\x05\x00", 2, 1),
             "extension");
}

static void set_key_ids(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
    unsigned char id[64];
    size_t size = sizeof id;
    must(gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &size), "key id");
    must(gnutls_x509_crt_set_subject_key_id(crt, id, size), "subject key id");
    size = sizeof id;
    if (gnutls_x509_crt_get_key_id(issuer, GNUTLS_KEYID_USE_SHA1, id, &size) == 0)
        must(gnutls_x509_crt_set_authority_key_id(crt, id, size), "authority key id");
}

/* What was made in memory cannot be asked everything. */
static void reread(struct pki_cert *c)
{
    gnutls_datum_t der = pki_der(c);
    gnutls_x509_crt_deinit(c->crt);
    must(gnutls_x509_crt_init(&c->crt), "certificate");
    must(gnutls_x509_crt_import(c->crt, &der, GNUTLS_X509_FMT_DER), "import");
    gnutls_free(der.data);
}

/* Takes the key. */
static struct pki_cert issue(const struct pki_spec *s, gnutls_x509_privkey_t key,
                             const struct pki_cert *issuer, time_t now)
{
    struct pki_cert c = {.key = key};
    unsigned char serial[8];
    bool usual = s->from_days == 0 && s->until_days == 0;
    gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
    serial[0] = 0x11; /* positive, and no zero in front */
    must(gnutls_x509_crt_init(&c.crt), "certificate");
    must(gnutls_x509_crt_set_version(c.crt, 3), "version");
    must(gnutls_x509_crt_set_serial(c.crt, serial, sizeof serial), "serial");
    must(gnutls_x509_crt_set_activation_time(c.crt, now + (usual ? -1 : s->from_days) * DAY),
         "from");
    must(gnutls_x509_crt_set_expiration_time(c.crt, now + (usual ? 90 : s->until_days) * DAY),
         "until");
    must(gnutls_x509_crt_set_key(c.crt, c.key), "set key");
    set_subject(c.crt, s);
    set_names(c.crt, s);
    set_extensions(c.crt, s);
    if (!s->no_key_ids)
        set_key_ids(c.crt, issuer != NULL ? issuer->crt : c.crt);
    must(gnutls_x509_crt_sign2(c.crt, issuer != NULL ? issuer->crt : c.crt,
                               issuer != NULL ? issuer->key : c.key,
                               s->digest != 0 ? s->digest : GNUTLS_DIG_SHA256, 0),
         "sign");
    reread(&c);
    return c;
}

struct pki_cert pki_issue(const struct pki_spec *s, const struct pki_cert *issuer, time_t now)
{
    return issue(s, make_key(s->key), issuer, now);
}

struct pki_cert pki_renew(const struct pki_spec *s, const struct pki_cert *old,
                          const struct pki_cert *issuer, time_t now)
{
    gnutls_x509_privkey_t key;
    must(gnutls_x509_privkey_init(&key), "key");
    must(gnutls_x509_privkey_cpy(key, old->key), "copy of the key");
    return issue(s, key, issuer, now);
}

void pki_free(struct pki_cert *c)
{
    if (c->crt != NULL)
        gnutls_x509_crt_deinit(c->crt);
    if (c->key != NULL)
        gnutls_x509_privkey_deinit(c->key);
    *c = (struct pki_cert){0};
}

gnutls_datum_t pki_der(const struct pki_cert *c)
{
    gnutls_datum_t der = {0};
    must(gnutls_x509_crt_export2(c->crt, GNUTLS_X509_FMT_DER, &der), "export");
    return der;
}

gnutls_datum_t pki_der_altered(const struct pki_cert *c)
{
    char cn[256];
    size_t size = sizeof cn;
    gnutls_datum_t der = pki_der(c);
    must(gnutls_x509_crt_get_dn_by_oid(c->crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, cn, &size),
         "common name");
    unsigned char *at = memmem(der.data, der.size, cn, size);
    assert_non_null(at);
    at[0] ^= 1;
    return der;
}

gnutls_x509_crl_t pki_crl(const struct pki_cert *issuer, const struct pki_cert *revoked,
                          time_t this_update, time_t next_update)
{
    gnutls_x509_crl_t crl, copy;
    gnutls_datum_t der = {0};
    must(gnutls_x509_crl_init(&crl), "CRL");
    must(gnutls_x509_crl_set_version(crl, 2), "version");
    must(gnutls_x509_crl_set_number(crl, "\x01", 1), "number");
    must(gnutls_x509_crl_set_this_update(crl, this_update), "this update");
    must(gnutls_x509_crl_set_next_update(crl, next_update), "next update");
    if (revoked != NULL)
        must(gnutls_x509_crl_set_crt(crl, revoked->crt, this_update), "revoke");
    must(gnutls_x509_crl_sign2(crl, issuer->crt, issuer->key, GNUTLS_DIG_SHA256, 0), "sign CRL");
    /* as in reread */
    must(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_DER, &der), "export CRL");
    must(gnutls_x509_crl_init(&copy), "CRL");
    must(gnutls_x509_crl_import(copy, &der, GNUTLS_X509_FMT_DER), "import CRL");
    gnutls_x509_crl_deinit(crl);
    gnutls_free(der.data);
    return copy;
}

/* ---- files ---- */

static void put(FILE *f, gnutls_datum_t *pem)
{
    assert_int_equal(fwrite(pem->data, 1, pem->size, f), pem->size);
    gnutls_free(pem->data);
}

void pki_write_certs(const char *path, const struct pki_cert *const *certs, bool with_key)
{
    gnutls_datum_t pem = {0};
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; certs[i] != NULL; i++) {
        must(gnutls_x509_crt_export2(certs[i]->crt, GNUTLS_X509_FMT_PEM, &pem), "export");
        put(f, &pem);
    }
    if (with_key) {
        must(gnutls_x509_privkey_export2_pkcs8(certs[0]->key, GNUTLS_X509_FMT_PEM, NULL,
                                               GNUTLS_PKCS_PLAIN, &pem),
             "export key");
        put(f, &pem);
    }
    assert_int_equal(fclose(f), 0);
}

void pki_write_crl(const char *path, gnutls_x509_crl_t crl)
{
    gnutls_datum_t pem = {0};
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    must(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem), "export CRL");
    put(f, &pem);
    assert_int_equal(fclose(f), 0);
}
