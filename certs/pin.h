/* SPDX-License-Identifier: ISC
 *
 * A pin: the one certificate, or the one public key, that a peer may have. Pure.
 */
#ifndef CERTS_PIN_H
#define CERTS_PIN_H

#include <stdbool.h>

struct pin {
    bool of_key; /* of the SubjectPublicKeyInfo (RFC 7469 §2.4); otherwise of the certificate */
    unsigned char sha256[32];
};

/* Reads "sha256:DIGEST" (certificate) or "spki-sha256:DIGEST" (public key). DIGEST is 64
 * hexadecimal digits of either case, or the same with a colon after every second one, or base64
 * (44 characters). NULL: `out` is filled. Otherwise a complaint that follows the text well, as in
 * "... is not a pin: it begins neither with ...". */
const char *pin_parse(const char *text, struct pin *out);

#endif
