/* SPDX-License-Identifier: ISC
 *
 * The certificates of one service, made from what the keeper reports, with keys that sign by
 * asking the keeper. Several certificates: the client's SNI chooses; a name that is on none of
 * them gets the first, because a mail server must not refuse it (RFC 7672 §8.1, RFC 8461 §7.1).
 *
 * A service that is a TLS client has them made the same way, from keys marked for_client
 * (keeper.h), or has none.
 */
#ifndef CERTS_CREDS_H
#define CERTS_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct creds;
struct keeper_door;
struct trust;
struct gnutls_certificate_credentials_st;

/* Reads one whole report of the keeper from `report_fd` (keeper.h) and makes the certificates
 * of `n` groups: creds[g], with the keys behind doors[g] (descriptors are borrowed). True after
 * REPORT_DONE. False: `error` says why, usually in the keeper's own sentence; nothing is left to
 * destroy. Waits at most `seconds`. */
bool creds_read_report(int report_fd, const struct keeper_door *doors, size_t n,
                       struct creds **creds, unsigned seconds, char *error, size_t error_size);
void creds_destroy(struct creds *c);

/* How many certificates there are, and the n-th one's first name and last valid second. */
size_t creds_count(const struct creds *c);
void creds_describe(const struct creds *c, size_t n, char *name, size_t name_size,
                    const char **algorithm, time_t *not_after);

/* True when both have the same certificates in the same order, so that keys fit both. */
bool creds_are_same(const struct creds *a, const struct creds *b);

/* Lets the n-th certificate also answer to names like `pattern` ("*.example.org": any one label in
 * front). Borrowed. */
void creds_set_pattern(struct creds *c, size_t n, const char *pattern);

/* Names the authorities of `trust` to clients that are asked for a certificate, so that they can
 * choose a fitting one. Without this the list sent is empty: any may be chosen. False: out of
 * memory. */
bool creds_announce(struct creds *c, const struct trust *trust);

/* For tls.c: the credentials for a name (NULL or "": none was sent). */
struct gnutls_certificate_credentials_st *creds_pick(const struct creds *c, const char *name);

#endif
