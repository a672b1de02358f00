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
    unsigned char entries[BACKENDS_MAX]; /* which entry of `connect` each address is of */
    size_t count;
    struct address local; /* len 0: any */
    bool any_path;        /* at least one is a Unix socket */
};

/* Looks all names of `connect` (and `local`) up. False: `error` says which and why. */
bool backends_resolve(struct backends *b, const struct service *s, char *error, size_t error_size);

/* Connects to the first that answers, beginning with number `first` modulo the count, each within
 * `seconds`. Returns a non-blocking descriptor and sets *chosen; or -1, and `error` has one
 * sentence. `cancel_fd` becoming readable ends it (-1: none). */
int backends_connect(const struct backends *b, unsigned first, unsigned seconds, int cancel_fd,
                     const struct address **chosen, char *error, size_t error_size);

#endif
