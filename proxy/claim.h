/* SPDX-License-Identifier: ISC
 *
 * A place in memory that the workers of one service share, for one SHA-256: whoever comes first
 * says what it holds, and all others hear it. So two of them that come at the same time with
 * different ones cannot both be the first. The master reads it, and never writes. Bugs: a worker
 * that has been taken over can write what it likes there, until the master has read it and new
 * workers know by themselves (firstuse.h).
 */
#ifndef PROXY_CLAIM_H
#define PROXY_CLAIM_H

#include <stdbool.h>
#include <sys/types.h>

enum { CLAIM_BYTES = 32 };

struct claim;

enum claim_result {
    CLAIM_FIRST,     /* it is ours */
    CLAIM_SAME,      /* somebody was there before, with the same */
    CLAIM_OTHER,     /* with another one */
    CLAIM_UNDECIDED, /* somebody has been about to say it for a second, and has not */
};

/* Shared memory in which nobody has said anything; NULL and errno: there is none. Children that are
 * forked get it only after claim_share. */
struct claim *claim_create(void);
/* Accepts NULL. Children that have it keep it. */
void claim_destroy(struct claim *c);
void claim_share(struct claim *c, bool with_children);

/* A worker: `held` is filled with what is there then, unless it is UNDECIDED. */
enum claim_result claim_make(struct claim *c, const unsigned char wanted[CLAIM_BYTES],
                             unsigned char held[CLAIM_BYTES]);

/* The master: what has been said. False: nothing yet. */
bool claim_read(const struct claim *c, unsigned char held[CLAIM_BYTES]);
/* The master: who is about to say something; 0: nobody. */
pid_t claim_writer(const struct claim *c);
/* The master: if this process was about to say something, it has not. */
void claim_release(struct claim *c, pid_t dead);

#endif
