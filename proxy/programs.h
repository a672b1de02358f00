/* SPDX-License-Identifier: ISC
 *
 * The master's side of the spawner: one for each generation that has a service with a program.
 */
#ifndef PROXY_PROGRAMS_H
#define PROXY_PROGRAMS_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

struct generation;

struct spawner_child {
    pid_t pid;          /* 0: none */
    int stop_fd;        /* closed, it ends; -1 */
    int64_t not_before; /* wire_now(): when the next one may be started */
};

/* Finds out how the program of every pool is started, and makes the sockets to ask for it. False:
 * `error` says why it cannot be, with file and line. */
bool programs_prepare(struct generation *g, char *error, size_t error_size);

/* Forks a spawner, if a service needs one and there is none. */
void programs_keep(struct generation *g);

/* True when `pid` was the spawner; it is then no longer. */
bool programs_bury(struct generation *g, pid_t pid);

/* It opens the log file again. */
void programs_reopen_log(const struct generation *g);

/* Has it end, which it does when its programs have; `wait`: and waits, some seconds at most. */
void programs_stop(struct generation *g, bool wait);

#endif
