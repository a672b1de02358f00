/* SPDX-License-Identifier: ISC
 *
 * A connection to the first of several TCP addresses of one host that answers (RFC 8305, "happy
 * eyeballs"): the next one is tried while the earlier ones are still silent.
 */
#ifndef PROXY_DIAL_H
#define PROXY_DIAL_H

#include <stddef.h>
#include <stdint.h>

#include "protocols/wire.h"
#include "proxy/address.h"

enum {
    DIAL_MAX = 64,       /* addresses */
    DIAL_DELAY_MS = 250, /* without an answer, and the next one starts (RFC 8305 §8) */
};

struct dial {
    const struct address *to[DIAL_MAX]; /* in the order in which they are tried; borrowed */
    size_t count;
    unsigned seconds; /* for each of them */
    int64_t deadline; /* for all; WIRE_FOREVER: none */
    int cancel_fd;    /* becoming readable ends it; -1: none */
    /* Makes a socket of that family that does not block, bound if it has to be: a descriptor, or -1
     * and errno. */
    int (*open)(void *ctx, int family);
    void *ctx;
    /* Set by dial_run: errno of each that has failed, ECANCELED of those that were going on when it
     * was cancelled, 0 of all others. */
    int errors[DIAL_MAX];
};

/* Puts `count` addresses into their order: beginning with number `first`, round to the one before
 * it, and the two families alternating as long as there are both (RFC 8305 §4). */
void dial_order(struct dial *d, const struct address *addresses, size_t count, size_t first);

/* A connected, non-blocking descriptor, and *winner is its number in `to`; -1: none answered, see
 * `errors`. All others are closed. */
int dial_run(struct dial *d, size_t *winner);

#endif
