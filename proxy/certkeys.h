/* SPDX-License-Identifier: ISC
 *
 * A client's certificate as the administrator's patterns see it: texts that each begin with what
 * they are. Pure.
 *
 *   sha256:HEX  spki-sha256:HEX  subject:RFC4514  issuer:RFC4514  name:NAME
 *
 * There is a `name:` for each subjectAltName (DNS name, e-mail or IP address, URI), or without any
 * for the common name. Beside others that does not count: a CA that may only issue certificates
 * for some names is not bound by that in the common name (RFC 5280 §4.2.1.10).
 */
#ifndef PROXY_CERTKEYS_H
#define PROXY_CERTKEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "certs/tls.h"

enum {
    CERT_KEY_MAX = 280, /* bytes of one, its NUL included */
    CERT_KEYS_MAX = TLS_PEER_NAMES_MAX + 4,
};

struct cert_key {
    char text[CERT_KEY_MAX];
    /* Otherwise tls.h has shortened it, or replaced what is not ASCII: two certificates might
     * share it, so it must not gain anybody anything. */
    bool whole;
};
struct cert_keys {
    struct cert_key items[CERT_KEYS_MAX];
    size_t count;
};

/* Whether a text of tls.h about a certificate is there, and is all of it. */
bool cert_text_is_whole(const char *text);

/* To be asked only about a certificate that has been judged to be good. None without one. */
void cert_keys_set(struct cert_keys *keys, const struct tls_certificates *c);

/* Whether the text begins as one of these does. */
bool cert_key_is_one(const char *text);

/* The one key that is this text, as --test-rule has it; cut at CERT_KEY_MAX. */
void cert_keys_set_text(struct cert_keys *keys, const char *text);

#endif
