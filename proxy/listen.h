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
    bool owns_name[LISTENERS_MAX]; /* of a Unix socket: it is removed with the socket */
    bool shared[LISTENERS_MAX];    /* a service manager has it too */
    size_t count;
    int epoll_fd; /* watches all of them, if there are several or one is shared; -1 */
};

/* Sockets that are there already. Borrowed. */
struct listener_sources {
    const struct activation *handed; /* over to us at the start */
    struct listeners *const *old;    /* those of the configuration before */
    size_t n_old;
};

/* Decides whose each inherited socket is: it goes to the service that it has the name of, in upper
 * or lower case; else to the one whose `accept` has its address. False: `error` names a socket that
 * is not a listening stream socket or is nobody's, and what to write. Looks names of `accept`
 * up. */
bool listeners_share_out(struct activation *a, const struct config *c, char *error,
                         size_t error_size);

/* Takes the inherited sockets of the service and binds all its addresses that are not among them;
 * one that is among the old listeners is not bound again but shared, so that no client that waits
 * there is lost. Descriptors are copied. An address that is taken is tried for two seconds, unless
 * there are old listeners. False: `error` says which one failed and why, or that
 * there is none; all that were opened are closed again, and the old ones
 * are as they were. */
bool listeners_open(struct listeners *l, const struct service *s,
                    const struct listener_sources *from, char *error, size_t error_size);

/* The names of shared Unix sockets go with us from here on. */
void listeners_take_names(struct listeners *l, const struct listener_sources *from);

/* Accepting waits in accept(2) on one listener, but in epoll_wait(2) for several, and a socket that
 * is shared knows only one way: to be called when the old listeners are given up. Their workers may
 * see EAGAIN from here on. */
void listeners_set_blocking(const struct listeners *l);

/* Closes them and removes the names of our Unix sockets. */
void listeners_close(struct listeners *l);

/* The next client, as a non-blocking descriptor: waits until there is one. -1 and errno (EINTR
 * after a signal, EMFILE, EAGAIN, ...). Of several idle processes one is woken. */
int listeners_accept(const struct listeners *l, struct address *client);

#endif
