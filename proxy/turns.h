/* SPDX-License-Identifier: ISC
 *
 * client = yes: whose turn it is. A session goes on with the next server as long as its client has
 * heard nothing (RFC 5321 §5.1), and each address has one turn. Pure.
 */
#ifndef PROXY_TURNS_H
#define PROXY_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#include "protocols/protocol.h"
#include "proxy/backend.h"

enum {
    /* A client waits five minutes for its greeting (RFC 5321 §4.5.3.2.1); one is for the way. */
    TURNS_MS = 4 * 60 * 1000,
    TURN_LEAST_MS = 500, /* with less time left nobody else has a turn */
};

struct turns {
    bool used[BACKENDS_MAX]; /* has had its turn, or cannot be reached; see struct attempt */
    bool moved;              /* it is not the first server's turn any more */
    int64_t pretls_deadline; /* that of the session */
    int64_t until;           /* no turn begins later, and none but the last ends later */
};

/* `began`, `pretls_deadline`: of the session (wire.h). */
void turns_begin(struct turns *t, int64_t began, int64_t pretls_deadline);

/* Whether anybody else is to have a turn at the time `now`. */
bool turns_are_left(const struct turns *t, const struct backends *b, int64_t now);

/* When the turn that begins `now` is over: half of what is left is for the others, if there are
 * any. A single server, and one that took longer to be reached than all may take, has the whole
 * time of the session. */
int64_t turns_deadline(const struct turns *t, const struct backends *b, int64_t now);

/* Until when the first server may take to be reached: several have one time together, also those
 * that do not answer. */
int64_t turns_first_deadline(const struct turns *t, const struct backends *b);

/* The turn of the server that has just been reached begins: its dialogue is told how long it is,
 * and whether there are others. */
void turns_take(const struct turns *t, const struct backends *b, struct dialogue *d);

/* Before the next one is connected to. */
void turns_move(struct turns *t);

/* Leaves out all but number `n`: what `used` is for a second connection to the same server. */
void turns_only(bool used[BACKENDS_MAX], size_t n);

#endif
