/* SPDX-License-Identifier: ISC
 *
 * One connection, top to bottom, and the one line in the log that tells of it.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "proxy/address.h"
#include "proxy/pool.h"

/* Serves the client on `fd` (taken, non-blocking) to its end. `refusal`: what to tell it instead
 * of serving it, or NULL. */
void session_run(struct pool *pool, int fd, const struct address *client, const char *refusal);

#endif
