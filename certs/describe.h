/* SPDX-License-Identifier: ISC
 *
 * What a certificate says of itself, in words that can be logged: printable ASCII, every other byte
 * is a '?', and what does not fit ends in "...". A certificate is a peer's text until it has been
 * judged, and afterwards it is still a text that somebody else wrote.
 */
#ifndef CERTS_DESCRIBE_H
#define CERTS_DESCRIBE_H

#include <stdbool.h>
#include <stddef.h>

struct gnutls_x509_crt_int;

enum {
    DESCRIBE_MAX = 256, /* room for a name of any length that is used here, with its NUL */
    DESCRIBE_HEX = 65,  /* a SHA-256 in lower case hexadecimal, with its NUL */
};

/* A printable copy of `len` bytes, always with a NUL. */
void describe_text(char *out, size_t size, const void *text, size_t len);

/* The n-th subjectAltName (DNS name, e-mail or IP address, URI; "?" for other kinds). False: there
 * are no more; `out` is "". */
bool describe_alt_name(struct gnutls_x509_crt_int *crt, unsigned n, char *out, size_t size);

/* All of them, separated by ", "; without any the subject's common name; "no name" without both. */
void describe_alt_names(struct gnutls_x509_crt_int *crt, char *out, size_t size);

/* The first subjectAltName, else the common name, else the whole subject. */
void describe_name(struct gnutls_x509_crt_int *crt, char *out, size_t size);

/* The subject's common name; the subject and the issuer (RFC 4514). "-" when there is none. */
void describe_common_name(struct gnutls_x509_crt_int *crt, char *out, size_t size);
void describe_subject(struct gnutls_x509_crt_int *crt, char *out, size_t size);
void describe_issuer(struct gnutls_x509_crt_int *crt, char *out, size_t size);

/* SHA-256 of the certificate, and of its SubjectPublicKeyInfo (RFC 7469 §2.4): 32 bytes. False:
 * the library cannot. */
bool describe_hash(struct gnutls_x509_crt_int *crt, bool of_key, unsigned char hash[32]);
/* The same in hexadecimal; "-" when the library cannot. */
void describe_hash_text(struct gnutls_x509_crt_int *crt, bool of_key, char out[DESCRIBE_HEX]);

#endif
