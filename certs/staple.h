/* SPDX-License-Identifier: ISC
 *
 * Stapled OCSP responses (RFC 6960, RFC 6066 §8) and the certificates that demand one (RFC 7633).
 */
#ifndef CERTS_STAPLE_H
#define CERTS_STAPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct gnutls_x509_crt_int;

enum staple_state {
    STAPLE_USELESS, /* none, damaged, for another certificate, not the issuer's, or too old */
    STAPLE_GOOD,
    STAPLE_REVOKED, /* says so about `crt`, and is the issuer's, of any age */
};

/* What a response (DER; len 0: none came) says of `crt`, which `issuer` has issued. `why`
 * continues a sentence ("it is too old") unless the state is STAPLE_GOOD. A response without
 * a next update is good for three days, as in GnuTLS. */
enum staple_state staple_judge(const unsigned char *data, size_t len,
                               struct gnutls_x509_crt_int *crt, struct gnutls_x509_crt_int *issuer,
                               time_t now, char *why, size_t why_size);

/* True when the certificate has the TLS feature status_request ("must-staple"). */
bool staple_is_must(struct gnutls_x509_crt_int *crt);

#endif
