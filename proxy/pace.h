/* SPDX-License-Identifier: ISC
 *
 * Whether a client does something more often than its service allows.
 */
#ifndef PROXY_PACE_H
#define PROXY_PACE_H

#include "proxy/pool.h"

/* Asks `rates`, one of the pool's, where NULL is no limit; if the client may, it is counted. A
 * table that is full is told in the log, with the option's name. */
bool pace_is_exceeded(const struct pool *pool, struct rates *rates, const char *option,
                      const struct address *client);

#endif
