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

enum { ZYGOTE_BATCH = 32 }; /* workers in one order */

struct zygote_order {
    uint32_t count;
    int32_t slots[ZYGOTE_BATCH]; /* of the workers to be forked */
};

/* What it notes, each as it happens. */
struct zygote_note {
    enum {
        ZYGOTE_DEAD, /* the worker `pid` has ended, with `status` as of waitpid(2) */
        ZYGOTE_BORN, /* the worker `pid` was forked for `slot` */
    } what;
    int32_t slot;
    pid_t pid;
    int32_t status;
};

struct zygote_notes;

/* The master's side. */
struct zygote {
    pid_t pid;                  /* 0: none */
    int fd;                     /* to it; -1: none */
    struct zygote_notes *notes; /* in memory that only the two have; NULL: none */
    unsigned heard;             /* so many of them */
    int status;                 /* how the last one has ended unasked: as of waitpid(2) */
};

/* Whether the workers of this service are forked by one: not if each of them needs something that
 * only root can get. */
bool zygote_is_wanted(const struct pool *pool);

/* Forks it. False and errno: there is none. What it lacks later (a jail that does not close) is
 * logged by itself, and it ends. */
bool zygote_start(struct zygote *z, struct pool *pool, const struct jail *jail);

/* Has it note which of its workers have ended, and then fork. Waits until that is done. `error` is
 * the errno of a fork that failed, or 0. False: it has ended, as `status` says; one that does
 * not answer for ten seconds is ended. Its notes are to be heard in any case: of what it did
 * there is no other trace. (A worker that it has forked, and had no time to note, is asked to end
 * by the kernel.) */
bool zygote_ask(struct zygote *z, const struct zygote_order *order, int *error);

/* The next of its notes; false: that was all. */
bool zygote_hear(struct zygote *z, struct zygote_note *note);

/* Ends it at once, and so asks its workers to end; nobody waits. Accepts one that is not there or
 * has ended: then what was kept of it goes. */
void zygote_end(struct zygote *z);

#endif
