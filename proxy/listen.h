/* SPDX-License-Identifier: ISC
 *
 * The sockets that clients come to.
 */
#ifndef PROXY_LISTEN_H
#define PROXY_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/address.h"
#include "proxy/config.h"

enum { LISTENERS_MAX = 32 }; /* addresses of one service */

struct listeners {
    int fds[LISTENERS_MAX];
    struct address addresses[LISTENERS_MAX];
    size_t count;
    int epoll_fd; /* watches all of them, if there are several; -1 */
};

/* Binds all addresses of the service. False: `error` says which one failed and why; all that
 * were bound are closed again. */
bool listeners_open(struct listeners *l, const struct service *s, char *error, size_t error_size);

/* Closes them; removes the names of Unix sockets if `remove_names`. */
void listeners_close(struct listeners *l, bool remove_names);

/* The next client, as a non-blocking descriptor: waits until there is one. -1 and errno (EINTR
 * after a signal, EMFILE, ...). Of several idle processes one is woken. */
int listeners_accept(const struct listeners *l, struct address *client);

#endif
