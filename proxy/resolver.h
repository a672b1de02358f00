/* SPDX-License-Identifier: ISC
 *
 * The resolver: the process that asks the DNS, again and again, where the destinations of the
 * configuration lead, and tells it in the memory of route.h. Nobody asks it anything, so a worker
 * cannot make it look up what the configuration does not name. One for each generation that has a
 * destination to watch.
 */
#ifndef PROXY_RESOLVER_H
#define PROXY_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct generation;

struct resolver_child {
    pid_t pid;          /* 0: none */
    int stop_fd;        /* closed, it ends, at the latest when its question is answered; -1 */
    int64_t not_before; /* wire_now(): when the next one may be started */
};

/* Counts the destinations, makes the memory and the walls. False: `error` says why it cannot be. */
bool resolver_prepare(struct generation *g, char *error, size_t error_size);

/* Forks one, if it is needed and there is none. */
void resolver_keep(struct generation *g);

/* True when `pid` was the resolver; it is then no longer. */
bool resolver_bury(struct generation *g, pid_t pid, int status);

/* Ends it at once. What it has told stays; resolver_keep starts another. */
void resolver_stop(struct generation *g);

#endif
