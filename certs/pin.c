/* SPDX-License-Identifier: ISC */
#include "certs/pin.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include <gnutls/gnutls.h>

enum { HASH = 32, HEX_LEN = 64, COLON_LEN = 95, BASE64_LEN = 44 };

/* -1: none. Not isxdigit: its answer depends on the locale. */
static int digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
    return c != '\0' && at != NULL ? (int)(at - digits) : -1;
}

/* `step` characters from one byte to the next. */
static bool from_hex(const char *text, size_t step, unsigned char *out)
{
    for (size_t i = 0; i < HASH; i++) {
        int high = digit(text[i * step]), low = digit(text[i * step + 1]);
        if (high < 0 || low < 0 || (step == 3 && i + 1 < HASH && text[i * step + 2] != ':'))
            return false;
        out[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}

static bool from_base64(const char *text, unsigned char *out)
{
    gnutls_datum_t in = {.data = (unsigned char *)text, .size = BASE64_LEN}, bytes = {0};
    if (gnutls_base64_decode2(&in, &bytes) != 0)
        return false;
    bool ok = bytes.size == HASH;
    if (ok)
        memcpy(out, bytes.data, HASH);
    gnutls_free(bytes.data);
    return ok;
}

const char *pin_parse(const char *text, struct pin *out)
{
    static const char of_cert[] = "sha256:", of_key[] = "spki-sha256:";
    if (strncasecmp(text, of_cert, sizeof of_cert - 1) == 0) {
        out->of_key = false;
        text += sizeof of_cert - 1;
    } else if (strncasecmp(text, of_key, sizeof of_key - 1) == 0) {
        out->of_key = true;
        text += sizeof of_key - 1;
    } else {
        return "it begins neither with sha256: (certificate) nor with spki-sha256: (public key)";
    }
    size_t len = strlen(text);
    if ((len == HEX_LEN && from_hex(text, 2, out->sha256)) ||
        (len == COLON_LEN && from_hex(text, 3, out->sha256)) ||
        (len == BASE64_LEN && from_base64(text, out->sha256)))
        return NULL;
    return "a SHA-256 has 64 hexadecimal digits, with or without colons, or 44 characters of "
           "base64";
}
