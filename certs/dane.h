/* SPDX-License-Identifier: ISC
 *
 * TLSA records and certificates (RFC 6698, RFC 7671, RFC 7672 §3.1). That the records are true, and
 * whose they are, has been found out before. Pure.
 */
#ifndef CERTS_DANE_H
#define CERTS_DANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gnutls_x509_crt_int;

enum dane_usage { DANE_PKIX_TA, DANE_PKIX_EE, DANE_TA, DANE_EE };
enum dane_selector { DANE_CERT, DANE_SPKI };
enum dane_matching { DANE_FULL, DANE_SHA256, DANE_SHA512 };

/* One record. The bytes are borrowed. */
struct dane_record {
    uint8_t usage, selector, matching;
    const unsigned char *data;
    size_t len;
};

/* The four fields of a record's RDATA (RFC 6698 §2.1). False: it is too short to have them. */
bool dane_record_parse(const unsigned char *rdata, size_t len, struct dane_record *out);

/* Whether a mail server can be judged by it: DANE-TA or DANE-EE, a selector and a matching type
 * that are known, and data that such a record can have. PKIX-TA and PKIX-EE are of no use for
 * SMTP (RFC 7672 §3.1.3). */
bool dane_is_usable(const struct dane_record *r);
size_t dane_count_usable(const struct dane_record *records, size_t n);

/* The first record of that usage that the certificate fits, or NULL. Of several digests for the
 * same usage and selector only the strongest counts (RFC 7671 §9). */
const struct dane_record *dane_find(const struct dane_record *records, size_t n,
                                    enum dane_usage usage, struct gnutls_x509_crt_int *crt);

#endif
