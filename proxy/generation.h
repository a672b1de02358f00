/* SPDX-License-Identifier: ISC
 *
 * What one reading of the configuration is brought to life as: a pool for each service, with its
 * listeners, walls and shared memory, and the keys. A reload makes a new generation beside the old
 * one, and changes nothing before it is complete.
 */
#ifndef PROXY_GENERATION_H
#define PROXY_GENERATION_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config.h"
#include "proxy/keyset.h"
#include "proxy/pool.h"
#include "proxy/programs.h"
#include "proxy/resolver.h"
#include "proxy/route.h"

/* What all generations share; the master's, made before the first. */
struct common {
    struct ticket_key ticket_key;
    int notify_fd;             /* eventfd of all workers */
    int cancel_fd;             /* eventfd; once it is readable all sessions end */
    struct activation *handed; /* sockets that we were started with; borrowed */
    int accuse_fd;             /* see struct keyset_plan */
    bool background;
    bool single;               /* one session is all, and the end of its process the stop */
    struct tls_memory *memory; /* borrowed; NULL: none */
};

struct generation {
    struct config *config; /* owned */
    const struct common *common;
    struct jail jail;
    struct walls keeper_walls;
    struct pool *pools;
    size_t n_pools;
    struct keyset *keys; /* those that new workers get */
    struct spawner_child spawner;
    struct resolver_child resolver;
    struct walls resolver_walls;
    struct route_book *routes; /* NULL: no destination is watched */
    struct generation *next;
};

/* Takes the configuration, which has been read and checked, and does everything but listening.
 * NULL: `error` says why; the configuration is gone as well. */
struct generation *generation_create(struct config *config, const struct common *common,
                                     char *error, size_t error_size);

/* The same in three steps, for a process that serves one session: everything but the keys; a keeper
 * that begins to load them; its report is awaited and the keys are there. False or NULL: `error`
 * says why. */
struct generation *generation_prepare(struct config *config, const struct common *common,
                                      char *error, size_t error_size);
bool generation_begin_keys(struct generation *g, char *error, size_t error_size);
bool generation_finish_keys(struct generation *g, char *error, size_t error_size);

/* Binds what the services listen on; sockets that `old` (or NULL) listens on already are taken
 * over as they are, with the clients that wait there. */
bool generation_listen(struct generation *g, struct generation *old, char *error,
                       size_t error_size);

/* Reads all keys anew, for workers that are forked from here on. The keyset that was current is
 * returned, to be destroyed when its last worker is gone. NULL: nothing has changed, `error` says
 * why. */
struct keyset *generation_renew_keys(struct generation *g, char *error, size_t error_size);

/* Stops listening; nobody is told. */
void generation_close(struct generation *g);

/* Accepts NULL. `wait`: for the keepers' ends. */
void generation_destroy(struct generation *g, bool wait);

#endif
