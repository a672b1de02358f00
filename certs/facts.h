/* SPDX-License-Identifier: ISC
 *
 * What one certificate says, for somebody who wants to read it. All texts are printable
 * (describe.h), and all of them were written by somebody else.
 */
#ifndef CERTS_FACTS_H
#define CERTS_FACTS_H

#include <stdbool.h>
#include <time.h>

#include "certs/describe.h"
#include "certs/verify.h"

enum { FACTS_NAMES_MAX = 1024 };

struct certificate_facts {
    char subject[DESCRIBE_MAX], issuer[DESCRIBE_MAX]; /* RFC 4514; "-": empty */
    char names[FACTS_NAMES_MAX];                      /* subjectAltName, else the common name */
    time_t from, until;                               /* -1: cannot be read */
    const char *key;                                  /* "RSA", "EC/ECDSA"; "-" */
    unsigned key_bits;
    const char *signature;                                /* "ECDSA-SHA256"; "-" */
    char sha256[DESCRIBE_HEX], spki_sha256[DESCRIBE_HEX]; /* as pins have them (pin.h) */
};

/* False: it is no certificate (DER). */
bool certificate_facts_read(const struct verify_bytes *der, struct certificate_facts *out);

#endif
