/* SPDX-License-Identifier: ISC
 *
 * A certificate authority for tests, without files: certificates, revocation lists and OCSP
 * responses, each with the one defect that a test is about.
 */
#ifndef TESTS_PKI_H
#define TESTS_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

enum pki_key { PKI_P256, PKI_ED25519, PKI_RSA1024, PKI_RSA2048 };

/* Everything that is left out is as it should be. */
struct pki_spec {
    const char *cn; /* common name; NULL: none */
    const char *subject_email;
    const char *dns[4], *email, *uri, *ip[2]; /* subjectAltName */
    bool dns_with_nul;                        /* the one DNS name is "a.b", NUL, "c" */
    const char *purpose[2];                   /* extended key usage, OIDs; none: any */
    bool ca;
    int path_length; /* 0: no limit; n: a limit of n - 1 */
    const char *permitted_dns, *excluded_dns;
    bool must_staple, unknown_critical, no_key_ids;
    enum pki_key key;
    gnutls_digest_algorithm_t digest; /* 0: SHA-256 */
    int from_days, until_days;        /* from now; both 0: yesterday until in 90 days */
};

struct pki_cert {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
};

/* Signed by `issuer`, NULL: by itself; dates are relative to `now`. Fails the test when it cannot.
 */
struct pki_cert pki_issue(const struct pki_spec *spec, const struct pki_cert *issuer, time_t now);
/* The same with the key of `old` instead of a new one. */
struct pki_cert pki_renew(const struct pki_spec *spec, const struct pki_cert *old,
                          const struct pki_cert *issuer, time_t now);
void pki_free(struct pki_cert *c);

/* DER, to be freed with gnutls_free. */
gnutls_datum_t pki_der(const struct pki_cert *c);
/* The same with one letter of its common name changed after it was signed. */
gnutls_datum_t pki_der_altered(const struct pki_cert *c);

/* A revocation list of `issuer`, which revokes `revoked` unless that is NULL. */
gnutls_x509_crl_t pki_crl(const struct pki_cert *issuer, const struct pki_cert *revoked,
                          time_t this_update, time_t next_update);

/* Writes PEM to a file: certificates (NULL ends them), and the key of the first one if wanted. */
void pki_write_certs(const char *path, const struct pki_cert *const *certs, bool with_key);
void pki_write_crl(const char *path, gnutls_x509_crl_t crl);

/* An OCSP response about `crt` signed by `signer` in the name of `issuer`. next_update 0: has none.
 * DER, to be freed with gnutls_free. */
gnutls_datum_t pki_ocsp(const struct pki_cert *crt, const struct pki_cert *issuer,
                        const struct pki_cert *signer, bool revoked, time_t this_update,
                        time_t next_update);

#endif
