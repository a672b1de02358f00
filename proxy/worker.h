/* SPDX-License-Identifier: ISC
 *
 * A worker's life: jail, accept, session, exit.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include "proxy/jail.h"
#include "proxy/pool.h"

/* In the child, right after the fork. Never returns. `master` is the parent's process number. */
_Noreturn void worker_main(struct pool *pool, int slot, const struct jail *jail, pid_t master);

#endif
