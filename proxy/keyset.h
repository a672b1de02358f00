/* SPDX-License-Identifier: ISC
 *
 * The keys of all services as they were read at one moment: certificates, and the keeper processes
 * that hold the private keys to them. When files change a new keyset is made; workers that know
 * the old certificates go on signing with the old keepers until they are gone.
 */
#ifndef PROXY_KEYSET_H
#define PROXY_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "certs/creds.h"
#include "certs/tickets.h"
#include "certs/tls.h"
#include "proxy/config.h"
#include "proxy/destination.h"
#include "proxy/jail.h"
#include "proxy/login.h"

enum { KEEPERS_MAX = 64 };

/* Of one service. */
struct service_keys {
    const struct service *service;     /* borrowed */
    struct creds *creds;               /* empty: no certificate */
    const struct trust *trust;         /* for certificates of clients; NULL: none are asked for */
    struct tls_setup *tls;             /* NULL: no certificate, so no TLS; or client = yes */
    struct destinations *destinations; /* client = yes; NULL: not so */
    struct login *login;               /* as whom we log in there; NULL: we do not */
    int request_fds[2]; /* to the keepers: [0] is the workers' end, [1] the keepers' */
};

/* What a keyset is made from; everything is borrowed for its life. */
struct keyset_plan {
    const struct config *config;
    const struct service *const *services;
    size_t n_services;
    const struct jail *jail;
    const struct walls *walls; /* around a keeper */
    const struct ticket_key *ticket_key;
    bool background; /* keepers leave the terminal */
    int accuse_fd;   /* keepers write the pid_t of a worker there that has gone astray, or their own
                        with a minus: one that nobody knows has shut a socket to them */
};

struct loading;

struct keyset {
    struct keyset_plan plan;
    struct service_keys *services; /* in the order of the pools */
    size_t n_services;
    struct trusts *trusts; /* of all services */
    pid_t keepers[KEEPERS_MAX];
    size_t n_keepers;
    struct loading *loading; /* between begin and finish */
    int stop_fds[2];         /* [1] closed, the keepers end */
    uint64_t stamp;          /* of all files; see keyset_is_stale */
    uint64_t other_stamp;    /* the last different one */
    int64_t not_before;      /* for the master: when one more keeper may be tried */
    unsigned most_keepers;   /* the option, or as many as there are processors */
    unsigned pressure;       /* how often requests were seen waiting; see keyset_feel_pressure */
    bool door_is_shut;       /* no keeper can be asked for a service; see keyset_hear_shut_door */
    struct keyset *next;     /* for the master's list of those that are being given up */
};

/* Has a first keeper load everything. NULL: `error` says why it cannot; nothing is left behind.
 * `plan->services` need not last. */
struct keyset *keyset_begin(const struct keyset_plan *plan, char *error, size_t error_size);

/* The descriptor that the report comes on, between begin and finish. */
int keyset_report_fd(const struct keyset *k);

/* Awaits its report (30 seconds at most), makes what workers need of it, and lets it serve. False:
 * `error` says why, with file and line where one is to blame. */
bool keyset_finish(struct keyset *k, char *error, size_t error_size);

/* Ends the keepers; `wait`: at once, and reaps them. Accepts NULL. */
void keyset_destroy(struct keyset *k, bool wait);

/* One keeper more, with the same keys. False: `error` says why; the files have changed, perhaps. */
bool keyset_add_keeper(struct keyset *k, char *error, size_t error_size);

/* True when `pid` was a keeper of this set; it is then no longer. */
bool keyset_bury(struct keyset *k, pid_t pid);

/* Process `pid` says that a worker has shut the way to it; for others than keepers of this set that
 * means nothing. Keepers of the same sockets would be shut out, too: the set is to be replaced. */
void keyset_hear_shut_door(struct keyset *k, pid_t pid);

/* True while somebody waits for a signature. */
bool keyset_is_asked(const struct keyset *k);

/* To be called now and then: true when requests have been waiting often enough for one more keeper
 * to be worth its while, and there are fewer than the option keepers allows. */
bool keyset_feel_pressure(struct keyset *k);

/* To be called about once a second: true when files are no longer those that were read, and have
 * not changed since the last call, so that nobody is still writing them. */
bool keyset_is_stale(struct keyset *k);

/* One line in the log for each certificate: a warning before it expires. */
void keyset_report(const struct keyset *k);

#endif
