/* SPDX-License-Identifier: ISC
 *
 * Sockets that may have any source address (ip(7), IP_TRANSPARENT), for backends that are to see
 * the client's. The kernel asks for CAP_NET_ADMIN when the option is set and never again. So a
 * worker makes all that its sessions may need before it goes to jail; inside it has no right but
 * these sockets.
 *
 * Bugs: a worker that has been taken over can connect with them in anybody's name.
 */
#ifndef PROXY_TRANSPARENT_H
#define PROXY_TRANSPARENT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/backend.h"

enum { TRANSPARENT_MAX = 2 * BACKENDS_MAX }; /* so that one session can try all, and once more */

struct transparent {
    struct {
        int fd, family;
    } sockets[TRANSPARENT_MAX];
    size_t count;
};

/* How many sessions can be served when each may try all the backends `times` times: at most
 * `sessions`, at least 1. */
unsigned transparent_sessions(const struct backends *b, unsigned times, unsigned sessions);

/* Makes what that many sessions may need. False and errno (EPERM: the right is missing): none is
 * left open. */
bool transparent_open(struct transparent *t, const struct backends *b, unsigned times,
                      unsigned sessions);

/* Closes those that are left; errno is kept. */
void transparent_close(struct transparent *t);

/* A socket of that family, which is the caller's from here on; -1 and errno when none is left. */
int transparent_take(struct transparent *t, int family);

#endif
