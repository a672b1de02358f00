/* SPDX-License-Identifier: ISC
 *
 * Whom the services trust, each set of files read once: the machine's own store has some hundred
 * certificates, and every service with client = yes wants it.
 */
#ifndef PROXY_TRUSTS_H
#define PROXY_TRUSTS_H

#include <stdbool.h>
#include <stddef.h>

struct trust;
struct trusts;

struct trusts *trusts_create(void);
/* And all that it has read. Accepts NULL. */
void trusts_destroy(struct trusts *t);

/* What verify_read_trust makes of these, or has made of the same before. It is borrowed for the
 * life of `t`. NULL: `error` says why. */
const struct trust *trusts_find(struct trusts *t, const char *ca_file, const char *ca_path,
                                const char *crl_file, bool system, char *error, size_t error_size);

#endif
