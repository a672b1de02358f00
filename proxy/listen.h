/* SPDX-License-Identifier: ISC
 *
 * The sockets that clients come to.
 */
#ifndef PROXY_LISTEN_H
#define PROXY_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/activation.h"
#include "proxy/address.h"
#include "proxy/config.h"

enum { LISTENERS_MAX = 32 }; /* addresses of one service */

struct listeners {
    int fds[LISTENERS_MAX];
    struct address addresses[LISTENERS_MAX];
    bool inherited[LISTENERS_MAX]; /* somebody else opened it: its name is not ours to remove */
    size_t count;
    int epoll_fd; /* watches all of them, if there are several or one is inherited; -1 */
};

/* Decides whose each inherited socket is: it goes to the service that it has the name of, in upper
 * or lower case; else to the one whose `accept` has its address. False: `error` names a socket that
 * is not a listening stream socket or is nobody's, and what to write. Looks names of `accept`
 * up. */
bool listeners_share_out(struct activation *a, const struct config *c, char *error,
                         size_t error_size);

/* Takes the inherited sockets of the service (a copy of each descriptor: `a` stays as it is) and
 * binds all its addresses that are not among them. False: `error` says which one failed and why,
 * or that there is none; all that were opened are closed again. */
bool listeners_open(struct listeners *l, const struct service *s, const struct activation *a,
                    char *error, size_t error_size);

/* Closes them; removes the names of Unix sockets that we bound, if `remove_names`. */
void listeners_close(struct listeners *l, bool remove_names);

/* The next client, as a non-blocking descriptor: waits until there is one. -1 and errno (EINTR
 * after a signal, EMFILE, ...). Of several idle processes one is woken. */
int listeners_accept(const struct listeners *l, struct address *client);

#endif
