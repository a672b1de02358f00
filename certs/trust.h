/* SPDX-License-Identifier: ISC
 *
 * Whom a service trusts: certificates of authorities (or of peers themselves), and lists of what
 * these have revoked. Made before the fork and before the jail; later nothing is read from files.
 */
#ifndef CERTS_TRUST_H
#define CERTS_TRUST_H

#include <stdbool.h>
#include <stddef.h>

struct pin;
struct gnutls_x509_trust_list_st;
struct gnutls_x509_crt_int;
struct gnutls_x509_crl_int;

/* Where they are. Strings are borrowed during trust_create. */
struct trust_sources {
    const char *const *ca_files; /* PEM with any number of certificates, or DER with one */
    size_t n_ca_files;
    const char *const *ca_dirs; /* every file in them that holds a PEM certificate */
    size_t n_ca_dirs;
    const char *const *crl_files; /* PEM with any number of lists, or DER with one */
    size_t n_crl_files;
    bool system; /* the machine's own store as well */
};

/* Read by the other files of this room, written by trust.c only. A certificate is in it once. */
struct trust {
    struct gnutls_x509_trust_list_st *list; /* of all anchors */
    struct gnutls_x509_crt_int **anchors;
    size_t n_anchors;
    struct gnutls_x509_crl_int **crls;
    size_t n_crls;
};

/* Reads everything. Without sources nobody is trusted. NULL: `error` says which file and why. A
 * file in a directory without a PEM certificate is skipped, a directory without any is an error. */
struct trust *trust_create(const struct trust_sources *sources, char *error, size_t error_size);
void trust_destroy(struct trust *t);

/* The n-th of the anchors as a pin of its certificate. False: the library cannot hash it. */
bool trust_pin(const struct trust *t, size_t n, struct pin *out);

#endif
