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
#include "proxy/listen.h"
#include "proxy/stats.h"

struct pool {
    const struct service *service; /* borrowed from the configuration */
    struct policy policy;
    struct backends backends;
    struct listeners listeners;
    struct creds *creds;   /* NULL: no certificate */
    struct tls_setup *tls; /* NULL: no TLS */
    struct stats *stats;
    int request_fds[2]; /* to the keeper: [0] is the workers' end, [1] the keeper's */
    int notify_fd;      /* eventfd: "fewer idle workers than you may want" */
    int cancel_fd;      /* readable when sessions have to end now */
    /* Waits until the keys are loaded; false: they cannot be, which has been logged. NULL: they
     * are. */
    bool (*await_keys)(void *ctx);
    void *await_ctx;
    unsigned max_fds; /* limit on descriptors; see certs/remotekey.c, ETOOMANYREFS */
    /* The master's own: */
    unsigned live;      /* workers, idle or not */
    unsigned failures;  /* workers that died at once, in a row */
    int64_t not_before; /* no new workers until then */
};

#endif
