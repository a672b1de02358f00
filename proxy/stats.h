/* SPDX-License-Identifier: ISC
 *
 * Counters and worker slots in memory that all processes share. One writer a slot (its worker), and
 * everything is readable by everybody at any time. What stands there may be anybody's, if a worker
 * has been taken over: so how many slots there are, and who has which, is not in it.
 */
#ifndef PROXY_STATS_H
#define PROXY_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { STATS_PEER = 64 }; /* bytes of a client's address, with its NUL */

enum slot_state {
    SLOT_FREE,
    SLOT_IDLE,    /* its worker waits for a client */
    SLOT_BUSY,    /* its worker serves one */
    SLOT_LEAVING, /* its worker refuses a client, or has served one */
};

struct slot {
    atomic_int state;
    pid_t pid;
    unsigned char client[16]; /* address_client_key */
    int64_t since;            /* wire_now() at the last change */
    char peer[STATS_PEER];    /* for the list of sessions */
    char own[64];             /* address that a redirected session goes out from; "": it does not */
};

/* client = yes: what the last session has heard of a destination, for tlsmemory.h. */
enum offer { OFFER_UNKNOWN, OFFER_MADE, OFFER_MISSING };
enum { OFFERS_MAX = 64 }; /* BACKENDS_MAX: no service has more destinations */

/* Of one service. */
struct stats {
    atomic_uint idle, busy;          /* workers, as counted by themselves */
    atomic_uint turn;                /* for failover = rr */
    atomic_bool keys_ready;          /* there is a keeper, or will be at once */
    atomic_uint_fast64_t sessions;   /* since the start */
    atomic_uchar offers[OFFERS_MAX]; /* enum offer, by entry of `connect` */
    struct slot slots[];
};

/* A shared mapping with that many slots, all free; NULL and errno when there is none. The number is
 * the caller's to keep. */
struct stats *stats_create(size_t n_slots);
/* Accepts NULL. */
void stats_destroy(struct stats *s, size_t n_slots);

/* Which slots are given away: the master's own memory, which no child has. */
struct ledger;
struct ledger *ledger_create(size_t n_slots);
/* Accepts NULL. */
void ledger_destroy(struct ledger *l);
/* A slot that nobody has; -1: there is none. */
int ledger_take(struct ledger *l);
void ledger_return(struct ledger *l, int slot);

/* Before a fork: the slot is that of a worker that will be idle. */
void stats_open_slot(struct stats *s, int slot);
/* The master after the worker's end, however it came: corrects the counts. */
void stats_worker_dead(struct stats *s, int slot);
/* The client of a slot, printable as far as its worker is honest; "-": none. */
const char *stats_peer(const struct stats *s, int slot, char out[STATS_PEER]);

/* The worker. Returns the session's number among those that are served now, from 1. */
unsigned stats_session_begin(struct stats *s, int slot, const unsigned char client[16],
                             const char *peer);
/* The session is somebody else's than it seemed: a balancer has said whose. */
void stats_session_rename(struct stats *s, int slot, const unsigned char client[16],
                          const char *peer);
/* The session no longer counts: it is not one after all, or it is over. */
void stats_session_leave(struct stats *s, int slot);
void stats_session_end(struct stats *s, int slot, enum slot_state next);

/* A worker: what it has heard; the master: takes that away, and what nobody can say is UNKNOWN. */
void stats_offer(struct stats *s, size_t entry, enum offer offer);
enum offer stats_take_offer(struct stats *s, size_t entry);

/* The session has a connection of its own to where a redirected client was going, from that address
 * (struct address, text); the end of the session ends that too. */
void stats_go_out(struct stats *s, int slot, const char *own);
/* Whether a session that is served goes out from there: then the client with that address is us. */
bool stats_is_own(const struct stats *s, size_t n_slots, const char *client);

/* How many sessions that client has, this one included. */
unsigned stats_count_client(const struct stats *s, size_t n_slots, const unsigned char client[16]);

#endif
