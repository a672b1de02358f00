/* SPDX-License-Identifier: ISC */
#include "certs/describe.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

enum { ALT_NAME_MAX = 1024 }; /* bytes; what is longer is no name that could match */

void describe_text(char *out, size_t size, const void *text, size_t len)
{
    const unsigned char *from = text;
    size_t n = len < size ? len : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = from[i] >= ' ' && from[i] < 0x7f && from[i] != '"' && from[i] != '\\'
                     ? (char)from[i]
                     : '?';
    out[n] = '\0';
    if (n < len && n >= 3)
        memcpy(out + n - 3, "...", 3);
}

static void describe_address(char *out, size_t size, const void *bytes, size_t len)
{
    int family = len == 4 ? AF_INET : len == 16 ? AF_INET6 : AF_UNSPEC;
    if (family == AF_UNSPEC || inet_ntop(family, bytes, out, (socklen_t)size) == NULL)
        snprintf(out, size, "?");
}

bool describe_alt_name(struct gnutls_x509_crt_int *crt, unsigned n, char *out, size_t size)
{
    char name[ALT_NAME_MAX];
    size_t len = sizeof name;
    int type = gnutls_x509_crt_get_subject_alt_name(crt, n, name, &len, NULL);
    snprintf(out, size, "%s", "");
    if (type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER)
        return false;
    if (type == GNUTLS_SAN_DNSNAME || type == GNUTLS_SAN_RFC822NAME || type == GNUTLS_SAN_URI)
        describe_text(out, size, name, len);
    else if (type == GNUTLS_SAN_IPADDRESS)
        describe_address(out, size, name, len);
    else
        snprintf(out, size, "?");
    return true;
}

void describe_alt_names(struct gnutls_x509_crt_int *crt, char *out, size_t size)
{
    char name[DESCRIBE_MAX];
    size_t len = 0;
    unsigned n = 0;
    for (; describe_alt_name(crt, n, name, sizeof name); n++) {
        if (len + strlen(name) + sizeof ", ..." > size) {
            snprintf(out + len, size - len, "%s", n > 0 ? ", ..." : "...");
            return;
        }
        len += (size_t)snprintf(out + len, size - len, "%s%s", n > 0 ? ", " : "", name);
    }
    if (n > 0)
        return;
    describe_common_name(crt, out, size);
    if (strcmp(out, "-") == 0)
        snprintf(out, size, "no name");
}

void describe_name(struct gnutls_x509_crt_int *crt, char *out, size_t size)
{
    if (describe_alt_name(crt, 0, out, size))
        return;
    describe_common_name(crt, out, size);
    if (strcmp(out, "-") == 0)
        describe_subject(crt, out, size);
}

void describe_common_name(struct gnutls_x509_crt_int *crt, char *out, size_t size)
{
    char name[ALT_NAME_MAX];
    size_t len = sizeof name;
    int r = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len);
    if (r == 0 && len > 0)
        describe_text(out, size, name, len);
    else
        snprintf(out, size, "-");
}

static void describe_dn(char *out, size_t size, int r, gnutls_datum_t *dn)
{
    if (r == 0 && dn->size > 0)
        describe_text(out, size, dn->data, dn->size);
    else
        snprintf(out, size, "-");
    if (r == 0)
        gnutls_free(dn->data);
}

void describe_subject(struct gnutls_x509_crt_int *crt, char *out, size_t size)
{
    gnutls_datum_t dn = {0};
    describe_dn(out, size, gnutls_x509_crt_get_dn3(crt, &dn, 0), &dn);
}

void describe_issuer(struct gnutls_x509_crt_int *crt, char *out, size_t size)
{
    gnutls_datum_t dn = {0};
    describe_dn(out, size, gnutls_x509_crt_get_issuer_dn3(crt, &dn, 0), &dn);
}

bool describe_hash(struct gnutls_x509_crt_int *crt, bool of_key, unsigned char hash[32])
{
    size_t size = 32;
    int r = of_key ? gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, hash, &size)
                   : gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, hash, &size);
    return r == 0 && size == 32;
}

void describe_hash_text(struct gnutls_x509_crt_int *crt, bool of_key, char out[DESCRIBE_HEX])
{
    unsigned char hash[32];
    if (!describe_hash(crt, of_key, hash)) {
        snprintf(out, DESCRIBE_HEX, "-");
        return;
    }
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}
