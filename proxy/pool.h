/* SPDX-License-Identifier: ISC
 *
 * What all workers of one service share: everything is made before the fork.
 */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "certs/creds.h"
#include "certs/tls.h"
#include "protocols/protocol.h"
#include "proxy/backend.h"
#include "proxy/config.h"
#include "proxy/destination.h"
#include "proxy/jail.h"
#include "proxy/listen.h"
#include "proxy/login.h"
#include "proxy/program.h"
#include "proxy/route.h"
#include "proxy/stats.h"
#include "proxy/tlsmemory.h"
#include "proxy/transparent.h"
#include "proxy/zygote.h"

struct generation;

/* When a worker or zygote was forked, and with what. */
struct birth {
    const struct keyset *keys;
    unsigned epoch; /* the master's, then */
    int64_t time;   /* wire_now() */
};

struct pool {
    struct generation *generation; /* borrowed: the one it belongs to */
    const struct service *service; /* borrowed from the configuration */
    struct policy policy;
    struct backends backends;
    struct program program; /* path NULL: none */
    struct listeners listeners;
    struct stats *stats;
    size_t n_slots; /* of the stats: how many workers there can be at a time */
    struct rates *connections_rate, *handshakes_rate; /* NULL: no limit */
    /* Those of the current keyset, borrowed: */
    struct tls_setup *tls;             /* NULL: no TLS */
    struct destinations *destinations; /* client = yes; NULL: not so */
    struct login *login;               /* as whom we log in there; NULL: we do not */
    const struct tls_memory *memory;   /* borrowed; NULL: none */
    int request_fd;                    /* the workers' end of the socket to the keepers */
    int notify_fd;                     /* eventfd: "fewer idle workers than you may want" */
    int cancel_fd;                     /* readable when sessions have to end now */
    int spawn_fds[2]; /* to the spawner: [0] is the workers' end; -1 without a program */
    /* Waits until the keys are loaded; false: they cannot be, which has been logged. NULL: they
     * are. */
    bool (*await_keys)(void *ctx);
    void *await_ctx;
    struct walls walls;             /* around the workers */
    unsigned max_fds;               /* limit on descriptors; see certs/remotekey.c, ETOOMANYREFS */
    struct transparent transparent; /* the worker's own */
    /* Where the resolver tells what it has found out (waypoint.h): */
    struct route_book *routes; /* borrowed; NULL: nothing in `connect` is watched */
    size_t first_route;        /* the number of the first that is ours */
    struct route *known;       /* the worker's copies; NULL: none yet */
    struct backends *fixed;    /* what was looked up at start, beside `known` */
    /* The master's own: */
    struct zygote zygote;
    struct birth zygote_birth;
    struct ledger *ledger;    /* of the slots; no worker has it */
    unsigned failures;        /* workers that died at once, in a row */
    unsigned zygote_failures; /* the same of zygotes */
    int64_t not_before;       /* no new workers until then */
};

#endif
