/* SPDX-License-Identifier: ISC
 *
 * What DNS says about one destination: MX, addresses, TLSA (RFC 5321 §5.1, RFC 7505, RFC 7672 §2).
 * Pure but for the questions it asks.
 */
#ifndef PROXY_DISCOVER_H
#define PROXY_DISCOVER_H

#include "proxy/dns.h"
#include "proxy/nexthop.h"
#include "proxy/route.h"

/* Who is asked. */
struct asker {
    void (*ask)(void *ctx, const char *name, enum dns_type type, struct dns_answer *out);
    void (*finish)(struct dns_answer *a);
    void *ctx;
};

enum {
    DISCOVER_TTL_MIN = 1, /* seconds that an answer is held at the least, whatever its TTL */
    DISCOVER_TTL_MAX = 3600,
};

/* Fills all of `out` but good_until. Returns for how many seconds it holds, from TTL_MIN to
 * TTL_MAX. `dane`: TLSA records are asked for.
 * Bugs: where a name is an alias, and only some of its CNAMEs are signed, records are looked for at
 * the name itself and at no step between (RFC 7672 §2.2.2). Does not see that an MX host is this
 * very machine. */
unsigned discover(const struct nexthop *to, bool dane, const struct asker *asker,
                  struct route *out);

#endif
