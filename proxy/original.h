/* SPDX-License-Identifier: ISC
 *
 * Where a redirected connection was going: transparent = destination. The packet filter has brought
 * it here, by REDIRECT (then its connection table knows, SO_ORIGINAL_DST) or by TPROXY (then the
 * address of our end is the one that was meant).
 *
 * Of such a service `connect` has entries *:PORT only: the ports that may be gone to. They are the
 * addresses of its struct backends, with 0.0.0.0 for the host, so that the walls around workers are
 * those of any other service.
 */
#ifndef PROXY_ORIGINAL_H
#define PROXY_ORIGINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/address.h"
#include "proxy/backend.h"
#include "proxy/config.h"
#include "proxy/listen.h"

/* Fills `b` with the ports. False: `error` says which entry and why. */
bool original_ports(struct backends *b, const struct service *s, char *error, size_t error_size);

/* Lets them be given connections to any address (ip(7), IP_TRANSPARENT), as TPROXY needs it. The
 * kernel asks for CAP_NET_ADMIN; without, REDIRECT works all the same. False and errno: not so. */
bool original_listen(const struct listeners *l);

/* Where the accepted connection was going: `fd`, whose own end has the address `local`. False, and
 * `reason` has a sentence: nowhere that we may go. It came to us directly, which would end in a
 * circle; or it is a loopback address; or the port is not one of `b`. With `l` empty (a single
 * session) only REDIRECT counts.
 * Bugs: TPROXY to all addresses of a machine and to the port that was meant looks like coming
 * directly. */
bool original_find(int fd, const struct address *local, const struct backends *b,
                   const struct listeners *l, struct address *out, char *reason,
                   size_t reason_size);

/* Whether such a service may go to that address at all. False: as above. */
bool original_may_go(const struct backends *b, const struct address *to, char *reason,
                     size_t reason_size);

/* As backends_connect, to that address alone; `own` is filled with the address we go out from.
 * Never to this machine: a mail server here would take the client for one of ours, and relay for
 * it. Bugs: with the option `local` it is not noticed. */
int original_connect(const struct backends *b, const struct address *to, unsigned seconds,
                     int cancel_fd, struct address *own, char *error, size_t error_size);

#endif
