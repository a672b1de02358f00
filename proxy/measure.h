/* SPDX-License-Identifier: ISC
 *
 * What a server of a service with client = yes is measured by, whatever is demanded of it: the
 * trust and the name that level secure would take. Made before the jail, as destinations are.
 */
#ifndef PROXY_MEASURE_H
#define PROXY_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

#include "certs/examine.h"
#include "certs/tls.h"
#include "proxy/config.h"
#include "proxy/destination.h"

struct measure {
    const struct trust *trust; /* NULL: nobody, and `no_trust` says why */
    struct trust *own_trust;   /* the same, if the destination has none; NULL */
    char no_trust[512];
    struct verify_rules rules; /* those of the destination */
    const char **hosts;        /* of the rules, if the destination has no names: checkHost, or: */
    char name[256];            /* the host in `connect` */
};

/* One for each destination, in their order; destinations are borrowed. */
struct measure *measures_create(const struct service *s, const struct destinations *d);
void measures_destroy(struct measure *m, size_t n);

/* Whether a server with TLS and these certificates would satisfy the level. */
bool measure_satisfies(const struct examination *e, enum server_level level);
/* The highest that it would satisfy; at least LEVEL_ENCRYPT. */
enum server_level measure_level(const struct examination *e);

#endif
