/* SPDX-License-Identifier: ISC
 *
 * A worker's life: jail, accept, session, exit.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include "proxy/jail.h"
#include "proxy/pool.h"

/* In a child of the master, right after the fork. Never returns. `parent` is the parent's process
 * number. */
_Noreturn void worker_main(struct pool *pool, int slot, const struct jail *jail, pid_t parent);

/* The same in a child of the zygote, which is in the jail already. */
_Noreturn void worker_born(struct pool *pool, int slot, pid_t parent);

/* Jails this process for good, as a worker that can fork workers; `fd` is kept. Exits if the jail
 * does not close. SIGTERM ends it. */
void worker_enter_jail_to_fork(struct pool *pool, const struct jail *jail, int fd);

/* What a process needs that serves a single client, its own, without a master. */
struct oneshot {
    int fd;                       /* the client, non-blocking; taken */
    const struct address *client; /* borrowed */
    int report_fd;                /* what await_keys of the pool reads; kept open */
    int stop_fd;                  /* kept open to the end: its closing ends the keeper */
    int spawner_stop_fd;          /* the same for the spawner; -1: none */
    int resolver_stop_fd;         /* the same for the resolver; -1: none */
    int cancel_fd;          /* closed by us, it ends the session: the end of pool->cancel_fd */
    unsigned drain_seconds; /* from SIGTERM to that */
};

/* Jails this process for good, as a worker of the pool; of `o` only the descriptors count, those
 * that are kept. Exits if the jail does not close. */
void worker_enter_jail(struct pool *pool, const struct jail *jail, const struct oneshot *o);

/* Jails this process for good, then serves the client. Exits if the jail does not close. */
void worker_serve_oneshot(struct pool *pool, const struct jail *jail, const struct oneshot *o);

#endif
