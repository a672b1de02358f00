/* SPDX-License-Identifier: ISC
 *
 * One session for one client that is connected already: inetd, xinetd, tcpserver, Accept=yes.
 */
#ifndef PROXY_ONESHOT_H
#define PROXY_ONESHOT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/address.h"
#include "proxy/config.h"

/* Serves the client on descriptor 3, if LISTEN_FDS says so, else on descriptor 0, and returns the
 * exit status: 0 after the session, whatever became of it; 64 when the program was called in a way
 * that cannot work (`file` NULL: with the wrong arguments), 78 when the configuration cannot be
 * used (the client is told, if the protocol has words for it). `service`: which section, or
 * NULL: see oneshot_choose. Nothing is ever written to a descriptor that is the client's but the
 * session itself.
 * Bugs: limits on the number of sessions do not hold, because nobody counts them. */
int oneshot_run(const char *file, const char *service);

/* The service of that name; without a name the only one, or the only one with an `accept` that has
 * the port (or path) of `local`. NULL: `error` says why. */
const struct service *oneshot_choose(const struct config *c, const char *name,
                                     const struct address *local, char *error, size_t error_size);

/* The address that TCPREMOTEIP and TCPREMOTEPORT of a UCSPI environment mean; false when they do
 * not. Either may be NULL. Pure. */
bool oneshot_ucspi_address(const char *ip, const char *port, struct address *out);

#endif
