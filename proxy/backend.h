/* SPDX-License-Identifier: ISC
 *
 * Reaching the other side: TCP or Unix socket, several addresses, failover.
 */
#ifndef PROXY_BACKEND_H
#define PROXY_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "proxy/address.h"
#include "proxy/config.h"

enum { BACKENDS_MAX = 64 }; /* addresses of one service */

struct backends {
    struct address addresses[BACKENDS_MAX];
    size_t count;
    struct address local; /* len 0: any */
    bool any_path;        /* at least one is a Unix socket */
};

/* Looks all names of `connect` (and `local`) up. False: `error` says which and why. */
bool backends_resolve(struct backends *b, const struct service *s, char *error, size_t error_size);

struct transparent;

/* Whose address the backend sees as the source of the connection. */
struct disguise {
    const struct address *client;
    struct transparent *sockets; /* each attempt takes one */
};

/* Connects to the first that answers, beginning with number `first` modulo the count, each within
 * `seconds`. Returns a non-blocking descriptor and sets *chosen; or -1, and `error` has one
 * sentence. `as`: NULL, or the source, and then backends of another family are passed over.
 * `cancel_fd` becoming readable ends it (-1: none). */
int backends_connect(const struct backends *b, const struct disguise *as, unsigned first,
                     unsigned seconds, int cancel_fd, const struct address **chosen, char *error,
                     size_t error_size);

#endif
