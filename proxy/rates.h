/* SPDX-License-Identifier: ISC
 *
 * How often a client may do something: N times in so many seconds, counted in memory that all
 * processes share. Each client has a bucket with N tokens, which fills in those seconds; what is
 * done takes one. So N times at once are good and the next is not, until SECONDS/N have passed.
 *
 * There are no locks: a bucket is one word, changed by compare-and-exchange, so a process that dies
 * at any instruction leaves what it has done or has not done, and nothing in between. A bucket that
 * is full again is the same as none, and its word is free for any client, so nothing has to be
 * swept.
 *
 * A word that is not free is never taken from its client: many addresses cannot push out the counts
 * of others. They can fill the table. Then clients that are not in it go uncounted
 * (RATES_UNCOUNTED) until words are free. Where a client's word may be depends on a secret, so that
 * nobody can aim; to keep the table filled takes about RATES_WORDS * N / SECONDS new addresses a
 * second.
 *
 * Bugs: two clients of about a million are taken for one. A client whose word becomes free in the
 * same millisecond in which two processes look for it may be counted in two words, and do one thing
 * too many.
 */
#ifndef PROXY_RATES_H
#define PROXY_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RATES_WORDS = 32768, /* clients that can be counted at a time; a few less when they collide */
    RATE_COUNT_MAX = 10000,
    RATE_SECONDS_MAX = 86400,
};

struct rate {
    unsigned count, seconds; /* count 0: no limit */
};

/* Reads N/SECONDS, or 0 for no limit. NULL, or what is wrong. */
const char *rate_parse(const char *text, struct rate *out);

struct rates; /* opaque */

/* A shared mapping in which nothing has been counted; NULL and errno when there is none. */
struct rates *rates_create(const struct rate *rate);
void rates_destroy(struct rates *r);

enum rates_verdict {
    RATES_GOOD,
    RATES_OVER,      /* and nothing was taken */
    RATES_UNCOUNTED, /* there is no room; good as well */
};

/* Takes a token of the client with that address_client_key. `now`: wire_now(). */
enum rates_verdict rates_take(struct rates *r, const unsigned char client[16], int64_t now);

/* Of all processes that ask at about the same time, one is told true: it may log that the table is
 * full. Once in RATES_TELL_SECONDS. */
enum { RATES_TELL_SECONDS = 60 };
bool rates_may_tell(struct rates *r, int64_t now);

#endif
