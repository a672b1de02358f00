/* SPDX-License-Identifier: ISC */
#include "proxy/stats.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "protocols/memory.h"
#include "protocols/wire.h"

static size_t size_for(size_t n_slots)
{
    return sizeof(struct stats) + n_slots * sizeof(struct slot);
}

struct stats *stats_create(size_t n_slots)
{
    struct stats *s =
        mmap(NULL, size_for(n_slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return s != MAP_FAILED ? s : NULL;
}

void stats_destroy(struct stats *s, size_t n_slots)
{
    if (s != NULL)
        munmap(s, size_for(n_slots));
}

/* ---- who has which slot ---- */

struct ledger {
    size_t n_slots, first_free; /* none before it is free */
    bool taken[];
};

static size_t ledger_size(size_t n_slots)
{
    return sizeof(struct ledger) + n_slots * sizeof(bool);
}

struct ledger *ledger_create(size_t n_slots)
{
    struct ledger *l = memory_alloc_unshared(ledger_size(n_slots));
    l->n_slots = n_slots;
    return l;
}

void ledger_destroy(struct ledger *l)
{
    if (l != NULL)
        memory_free_unshared(l, ledger_size(l->n_slots));
}

int ledger_take(struct ledger *l)
{
    size_t i = l->first_free;
    while (i < l->n_slots && l->taken[i])
        i++;
    l->first_free = i;
    if (i == l->n_slots)
        return -1;
    l->taken[i] = true;
    return (int)i;
}

void ledger_return(struct ledger *l, int slot)
{
    l->taken[slot] = false;
    if ((size_t)slot < l->first_free)
        l->first_free = (size_t)slot;
}

/* ---- the slots ---- */

void stats_open_slot(struct stats *s, int slot)
{
    struct slot *own = &s->slots[slot];
    own->since = wire_now();
    own->peer[0] = '\0';
    if (atomic_exchange(&own->state, SLOT_IDLE) != SLOT_IDLE)
        atomic_fetch_add(&s->idle, 1);
}

/* Leaves a state and corrects its count: the exchange makes sure that this happens once. */
static void leave(struct stats *s, int slot, enum slot_state next)
{
    int old = atomic_exchange(&s->slots[slot].state, (int)next);
    if (old == SLOT_IDLE)
        atomic_fetch_sub(&s->idle, 1);
    else if (old == SLOT_BUSY)
        atomic_fetch_sub(&s->busy, 1);
}

void stats_worker_dead(struct stats *s, int slot)
{
    leave(s, slot, SLOT_FREE);
}

const char *stats_peer(const struct stats *s, int slot, char out[STATS_PEER])
{
    memcpy(out, s->slots[slot].peer, STATS_PEER);
    out[STATS_PEER - 1] = '\0';
    return out[0] != '\0' ? out : "-";
}

static void name_client(struct slot *own, const unsigned char client[16], const char *peer)
{
    memcpy(own->client, client, sizeof own->client);
    snprintf(own->peer, sizeof own->peer, "%s", peer);
}

/* Of two sessions of one client that are renamed at the same time, at least the one that counts
 * last sees the other: both write first. */
void stats_session_rename(struct stats *s, int slot, const unsigned char client[16],
                          const char *peer)
{
    name_client(&s->slots[slot], client, peer);
    atomic_thread_fence(memory_order_seq_cst);
}

unsigned stats_session_begin(struct stats *s, int slot, const unsigned char client[16],
                             const char *peer)
{
    struct slot *own = &s->slots[slot];
    name_client(own, client, peer);
    own->own[0] = '\0';
    own->since = wire_now();
    leave(s, slot, SLOT_BUSY);
    atomic_fetch_add(&s->sessions, 1);
    return atomic_fetch_add(&s->busy, 1) + 1;
}

void stats_session_leave(struct stats *s, int slot)
{
    leave(s, slot, SLOT_LEAVING);
}

void stats_session_end(struct stats *s, int slot, enum slot_state next)
{
    s->slots[slot].since = wire_now();
    leave(s, slot, next);
    if (next == SLOT_IDLE)
        atomic_fetch_add(&s->idle, 1);
}

void stats_go_out(struct stats *s, int slot, const char *own)
{
    snprintf(s->slots[slot].own, sizeof s->slots[slot].own, "%s", own);
    atomic_thread_fence(memory_order_seq_cst);
}

bool stats_is_own(const struct stats *s, size_t n_slots, const char *client)
{
    for (size_t i = 0; i < n_slots; i++)
        if (atomic_load(&s->slots[i].state) == SLOT_BUSY &&
            strncmp(s->slots[i].own, client, sizeof s->slots[i].own) == 0)
            return true;
    return false;
}

unsigned stats_count_client(const struct stats *s, size_t n_slots, const unsigned char client[16])
{
    unsigned n = 0;
    for (size_t i = 0; i < n_slots; i++)
        if (atomic_load(&s->slots[i].state) == SLOT_BUSY &&
            memcmp(s->slots[i].client, client, 16) == 0)
            n++;
    return n;
}

void stats_offer(struct stats *s, size_t entry, enum offer offer)
{
    if (entry < OFFERS_MAX)
        atomic_store(&s->offers[entry], (unsigned char)offer);
}

enum offer stats_take_offer(struct stats *s, size_t entry)
{
    if (entry >= OFFERS_MAX)
        return OFFER_UNKNOWN;
    unsigned char said = atomic_exchange(&s->offers[entry], (unsigned char)OFFER_UNKNOWN);
    return said == OFFER_MADE || said == OFFER_MISSING ? (enum offer)said : OFFER_UNKNOWN;
}
