/* SPDX-License-Identifier: ISC
 *
 * The process that forks the workers of one service. It enters their jail once, before any of them
 * is there, so that they are born in it: a fork then costs what a fork costs, and no descent. It
 * reads nothing from a client or a backend, and nothing at all but the master's orders.
 *
 * Its workers are its children, so it hears of their ends, and tells the master when it is asked.
 * When it ends, the kernel sends them SIGTERM, and they become the master's children.
 */
#ifndef PROXY_ZYGOTE_H
#define PROXY_ZYGOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/jail.h"

struct pool;

/* The master's side. */
struct zygote {
    pid_t pid; /* 0: none */
    int fd;    /* to it; -1: none */
    int64_t born;
};

enum { ZYGOTE_BATCH = 32 }; /* workers in one order, deaths in one answer */

struct zygote_order {
    uint32_t count;
    int32_t slots[ZYGOTE_BATCH]; /* of the workers to be forked */
};

struct zygote_answer {
    int32_t error;   /* errno of the fork that failed, the last one that was tried; 0 */
    uint32_t n_born; /* workers for the first so many slots */
    uint32_t n_dead; /* ZYGOTE_BATCH: there may be more, ask again */
    pid_t born[ZYGOTE_BATCH];
    struct {
        pid_t pid;
        int32_t status; /* as of waitpid(2) */
    } dead[ZYGOTE_BATCH];
};

/* Whether the workers of this service are forked by one: not if each of them needs something that
 * only root can get. */
bool zygote_is_wanted(const struct pool *pool);

/* Forks it. False and errno: there is none. What it lacks later (a jail that does not close) is
 * logged by itself, and it ends. */
bool zygote_start(struct zygote *z, struct pool *pool, const struct jail *jail);

/* Hears of those of its workers that have ended, then has workers forked: `order` with a count of
 * 0 only asks. Waits for the answer. False: it has ended, or does not answer for ten seconds and is
 * ended: `status` is how (waitpid(2)), and what became of the order is unknown. */
bool zygote_ask(struct zygote *z, const struct zygote_order *order, struct zygote_answer *answer,
                int *status);

/* Ends it at once, and so asks its workers to end; nobody waits. Accepts one that is not there. */
void zygote_end(struct zygote *z);

#endif
