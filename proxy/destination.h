/* SPDX-License-Identifier: ISC
 *
 * The destinations of a service with client = yes, ready for use: what is demanded of each server
 * (demand.h), with the trust read from its files and TLS set up. Made before the fork; what is the
 * same for several destinations is there once.
 */
#ifndef PROXY_DESTINATION_H
#define PROXY_DESTINATION_H

#include <stddef.h>

#include "certs/creds.h"
#include "certs/tls.h"
#include "certs/verify.h"
#include "proxy/config.h"
#include "proxy/demand.h"
#include "proxy/trusts.h"

struct destination {
    const char *name;            /* as in `connect`; NULL: known to each session alone */
    const struct demand *demand; /* borrowed */
    struct tls_setup *tls;       /* NULL: none is asked for */
    const struct trust *trust;   /* that it judges by; NULL: nobody */
    struct verify_rules rules;   /* for levels that verify */
    struct pins pins;            /* those of the rules */
};

struct destinations {
    struct destination *items; /* one for each demand, in their order */
    size_t count;
    struct shared *shared;
};

/* `creds` and `trusts` are borrowed for the life of the whole. NULL: `error` says where and why. */
struct destinations *destinations_create(const struct config *c, const struct service *s,
                                         const struct creds *creds, struct trusts *trusts,
                                         char *error, size_t error_size);
/* Accepts NULL. */
void destinations_destroy(struct destinations *d);

#endif
