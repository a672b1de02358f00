/* SPDX-License-Identifier: ISC */
#include "certs/names.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

enum { HOST_MAX = 255, ALT_NAME_MAX = 1024 };

/* ---- texts ---- */

/* 4 or 16 bytes, or 0: no address. */
static size_t parse_address(const char *text, unsigned char bytes[16])
{
    char bare[INET6_ADDRSTRLEN];
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '.')
        len--;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len >= sizeof bare)
        return 0;
    memcpy(bare, text, len);
    bare[len] = '\0';
    if (inet_pton(AF_INET, bare, bytes) == 1)
        return 4;
    return inet_pton(AF_INET6, bare, bytes) == 1 ? 16 : 0;
}

bool names_is_address(const char *text)
{
    unsigned char bytes[16];
    return parse_address(text, bytes) > 0 || strchr(text, ':') != NULL;
}

/* The ASCII form of a DNS name, without the dot at its end. */
static bool to_ascii(const char *name, size_t len, char out[HOST_MAX + 1])
{
    gnutls_datum_t mapped = {0};
    if (len > 0 && name[len - 1] == '.')
        len--;
    if (len == 0 || gnutls_idna_map(name, (unsigned)len, &mapped, 0) != 0)
        return false;
    bool fits = mapped.size <= HOST_MAX;
    if (fits)
        snprintf(out, HOST_MAX + 1, "%s", (const char *)mapped.data);
    gnutls_free(mapped.data);
    return fits;
}

static bool is_wildcard(const char *pattern, size_t len)
{
    if (len < 2 || pattern[0] != '*' || pattern[1] != '.')
        return false;
    const char *base = pattern + 2;
    const char *dot = memchr(base, '.', len - 2);
    return dot != NULL && dot > base && dot + 1 < pattern + len;
}

bool names_pattern_fits(const char *pattern, size_t len, const char *host)
{
    if (len == 0 || len > HOST_MAX)
        return false;
    if (is_wildcard(pattern, len)) {
        const char *rest = strchr(host, '.');
        if (rest == NULL || rest == host)
            return false;
        host = rest;
        pattern++;
        len--;
    }
    return memchr(pattern, '*', len) == NULL && strlen(host) == len &&
           strncasecmp(pattern, host, len) == 0;
}

/* ---- certificates ---- */

/* Fills `name` with the n-th subjectAltName. Its type, or -1: there are no more. One that is too
 * long has no length. */
static int alt_name(gnutls_x509_crt_t crt, unsigned n, char name[ALT_NAME_MAX], size_t *len)
{
    *len = ALT_NAME_MAX;
    int type = gnutls_x509_crt_get_subject_alt_name(crt, n, name, len, NULL);
    if (type >= 0)
        return type;
    *len = 0;
    return type == GNUTLS_E_SHORT_MEMORY_BUFFER ? GNUTLS_SAN_OTHERNAME : -1;
}

bool names_have_host(struct gnutls_x509_crt_int *crt, const char *host)
{
    char name[ALT_NAME_MAX], ascii[HOST_MAX + 1];
    size_t len;
    int type;
    if (names_is_address(host))
        return names_have_address(crt, host);
    if (!to_ascii(host, strlen(host), ascii))
        return false;
    for (unsigned n = 0; (type = alt_name(crt, n, name, &len)) >= 0; n++)
        if (type == GNUTLS_SAN_DNSNAME && names_pattern_fits(name, len, ascii))
            return true;
    return false;
}

bool names_have_address(struct gnutls_x509_crt_int *crt, const char *address)
{
    char name[ALT_NAME_MAX];
    unsigned char wanted[16];
    size_t len, wanted_len = parse_address(address, wanted);
    int type;
    if (wanted_len == 0)
        return false;
    for (unsigned n = 0; (type = alt_name(crt, n, name, &len)) >= 0; n++)
        if (type == GNUTLS_SAN_IPADDRESS && len == wanted_len && memcmp(name, wanted, len) == 0)
            return true;
    return false;
}

static bool same_email(const char *a, size_t a_len, const char *b, size_t b_len)
{
    const char *a_at = memrchr(a, '@', a_len), *b_at = memrchr(b, '@', b_len);
    char a_host[HOST_MAX + 1], b_host[HOST_MAX + 1];
    if (a_at == NULL || b_at == NULL || a_at == a || a_at - a != b_at - b ||
        memchr(a, '\0', a_len) != NULL || memcmp(a, b, (size_t)(a_at - a)) != 0)
        return false;
    return to_ascii(a_at + 1, a_len - (size_t)(a_at - a) - 1, a_host) &&
           to_ascii(b_at + 1, b_len - (size_t)(b_at - b) - 1, b_host) &&
           strcasecmp(a_host, b_host) == 0;
}

bool names_have_email(struct gnutls_x509_crt_int *crt, const char *email)
{
    char name[ALT_NAME_MAX];
    size_t len;
    int type;
    for (unsigned n = 0; (type = alt_name(crt, n, name, &len)) >= 0; n++)
        if (type == GNUTLS_SAN_RFC822NAME && same_email(name, len, email, strlen(email)))
            return true;
    return false;
}
