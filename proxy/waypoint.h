/* SPDX-License-Identifier: ISC
 *
 * The way of one session to its destinations: what the resolver has told, as it is when the session
 * begins, becomes the addresses that are tried.
 */
#ifndef PROXY_WAYPOINT_H
#define PROXY_WAYPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/pool.h"

/* Fills pool->backends anew, and pool->known with what is behind it, for a pool with watched
 * destinations; for any other nothing is done. Waits until `deadline` for what the resolver has not
 * found out yet, or anew. A host whose TLSA records cannot be found out, or that has none where the
 * level is dane-only, is left out. WAY_NONE: there is no address to be tried, and `reason` says why
 * in a sentence that begins with a word of RFC 8460 §4.3 where one fits. */
enum way {
    WAY_FOUND,
    WAY_NONE,
    WAY_NULL_MX, /* the only destinations are domains that take no mail (RFC 7505) */
};
enum way waypoint_take(struct pool *pool, int64_t deadline, char *reason, size_t reason_size);

/* The host that address number `i` of pool->backends is of; NULL: of none that was looked up. It is
 * good until the next waypoint_take. */
const struct route_host *waypoint_host(const struct pool *pool, size_t i);
/* The same for a selection of them. */
const struct route_host *waypoint_host_in(const struct pool *pool, const struct backends *b,
                                          size_t i);

#endif
