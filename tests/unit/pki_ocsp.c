/* SPDX-License-Identifier: ISC
 *
 * OCSP responses (RFC 6960 §4.2.1): GnuTLS reads them and cannot make them.
 */
#include "tests/unit/pki.h"

#include <stdlib.h>

#include <gnutls/crypto.h>

#include "tests/unit/unit.h"

enum {
    SEQUENCE = 0x30,
    OCTETS = 0x04,
    BITS = 0x03,
    INTEGER = 0x02,
    ENUMERATED = 0x0a,
    TIME = 0x18,
    SHA1_LEN = 20
};

/* DER is written from its end to its beginning, because a length stands before what it counts. */
struct der {
    unsigned char bytes[4096];
    size_t start;
};

static void put(struct der *d, const void *bytes, size_t len)
{
    assert_true(len <= d->start);
    d->start -= len;
    memcpy(d->bytes + d->start, bytes, len);
}

/* Makes everything that was put since `end` the content of one element. */
static void wrap(struct der *d, unsigned char tag, size_t end)
{
    size_t len = end - d->start;
    unsigned char header[4] = {tag, 0x82, (unsigned char)(len >> 8), (unsigned char)len};
    if (len < 128) {
        header[1] = (unsigned char)len;
        put(d, header, 2);
    } else if (len < 256) {
        header[1] = 0x81;
        header[2] = (unsigned char)len;
        put(d, header, 3);
    } else {
        put(d, header, 4);
    }
}

static void put_element(struct der *d, unsigned char tag, const void *bytes, size_t len)
{
    size_t end = d->start;
    put(d, bytes, len);
    wrap(d, tag, end);
}

static void put_time(struct der *d, time_t t)
{
    char text[32];
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t len = strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &tm);
    put_element(d, TIME, text, len);
}

/* The name of the issuer, and the bits of its public key, hashed. */
static void put_issuer(struct der *d, const struct pki_cert *issuer)
{
    static const unsigned char sha1[] = {0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e,
                                         0x03, 0x02, 0x1a, 0x05, 0x00};
    unsigned char hash[SHA1_LEN];
    gnutls_datum_t name = {0}, x = {0}, y = {0};
    unsigned char point[65] = {0x04};
    gnutls_ecc_curve_t curve;
    gnutls_x509_crt_get_pk_ecc_raw(issuer->crt, &curve, &x, &y);
    /* leading zeros are left out or one too many is there */
    size_t x_skip = x.size > 32 ? x.size - 32 : 0, y_skip = y.size > 32 ? y.size - 32 : 0;
    memcpy(point + 1 + 32 - (x.size - x_skip), x.data + x_skip, x.size - x_skip);
    memcpy(point + 33 + 32 - (y.size - y_skip), y.data + y_skip, y.size - y_skip);
    gnutls_hash_fast(GNUTLS_DIG_SHA1, point, sizeof point, hash);
    put_element(d, OCTETS, hash, sizeof hash);
    gnutls_free(x.data);
    gnutls_free(y.data);
    gnutls_x509_crt_get_raw_dn(issuer->crt, &name);
    gnutls_hash_fast(GNUTLS_DIG_SHA1, name.data, name.size, hash);
    put_element(d, OCTETS, hash, sizeof hash);
    gnutls_free(name.data);
    put(d, sha1, sizeof sha1);
}

static void put_single(struct der *d, const struct pki_cert *crt, const struct pki_cert *issuer,
                       bool revoked, time_t this_update, time_t next_update)
{
    unsigned char serial[32];
    size_t serial_len = sizeof serial, end = d->start;
    if (next_update != 0) {
        put_time(d, next_update);
        wrap(d, 0xa0, end);
    }
    put_time(d, this_update);
    size_t status_end = d->start;
    if (revoked)
        put_time(d, this_update);
    wrap(d, revoked ? 0xa1 : 0x80, status_end);
    size_t id_end = d->start;
    gnutls_x509_crt_get_serial(crt->crt, serial, &serial_len);
    put_element(d, INTEGER, serial, serial_len);
    put_issuer(d, issuer);
    wrap(d, SEQUENCE, id_end);
    wrap(d, SEQUENCE, end);
}

static void put_signature(struct der *d, const unsigned char *data, size_t len,
                          const struct pki_cert *signer)
{
    static const unsigned char ecdsa_sha256[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                                 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
    gnutls_privkey_t key;
    gnutls_datum_t text = {.data = (unsigned char *)(size_t)data, .size = (unsigned)len};
    gnutls_datum_t signature = {0};
    gnutls_privkey_init(&key);
    gnutls_privkey_import_x509(key, signer->key, 0);
    assert_int_equal(gnutls_privkey_sign_data(key, GNUTLS_DIG_SHA256, 0, &text, &signature), 0);
    gnutls_privkey_deinit(key);
    size_t end = d->start;
    put(d, signature.data, signature.size);
    put(d, "\0", 1);
    wrap(d, BITS, end);
    put(d, ecdsa_sha256, sizeof ecdsa_sha256);
    gnutls_free(signature.data);
}

gnutls_datum_t pki_ocsp(const struct pki_cert *crt, const struct pki_cert *issuer,
                        const struct pki_cert *signer, bool revoked, time_t this_update,
                        time_t next_update)
{
    static const unsigned char basic[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x05,
                                          0x05, 0x07, 0x30, 0x01, 0x01};
    struct der data = {.start = sizeof data.bytes}, d = {.start = sizeof d.bytes};
    gnutls_datum_t name = {0}, out;

    put_single(&data, crt, issuer, revoked, this_update, next_update);
    wrap(&data, SEQUENCE, sizeof data.bytes);
    put_time(&data, this_update);
    size_t end = data.start;
    gnutls_x509_crt_get_raw_dn(issuer->crt, &name);
    put(&data, name.data, name.size);
    gnutls_free(name.data);
    wrap(&data, 0xa1, end); /* responder: by name */
    wrap(&data, SEQUENCE, sizeof data.bytes);

    size_t len = sizeof data.bytes - data.start;
    put_signature(&d, data.bytes + data.start, len, signer);
    put(&d, data.bytes + data.start, len);
    wrap(&d, SEQUENCE, sizeof d.bytes);
    wrap(&d, OCTETS, sizeof d.bytes);
    put(&d, basic, sizeof basic);
    wrap(&d, SEQUENCE, sizeof d.bytes);
    wrap(&d, 0xa0, sizeof d.bytes);
    put_element(&d, ENUMERATED, "\0", 1);
    wrap(&d, SEQUENCE, sizeof d.bytes);
    out.size = (unsigned)(sizeof d.bytes - d.start);
    out.data = gnutls_malloc(out.size);
    memcpy(out.data, d.bytes + d.start, out.size);
    return out;
}
