/* SPDX-License-Identifier: ISC */
#include "proxy/stats.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "protocols/wire.h"

static size_t size_for(size_t n_slots)
{
    return sizeof(struct stats) + n_slots * sizeof(struct slot);
}

struct stats *stats_create(size_t n_slots)
{
    struct stats *s =
        mmap(NULL, size_for(n_slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->n_slots = n_slots;
    return s;
}

void stats_destroy(struct stats *s)
{
    if (s != NULL)
        munmap(s, size_for(s->n_slots));
}

int stats_take_slot(struct stats *s)
{
    for (size_t n = 0; n < s->n_slots; n++) {
        size_t i = (s->next_slot + n) % s->n_slots;
        if (atomic_load(&s->slots[i].state) != SLOT_FREE)
            continue;
        s->next_slot = i + 1;
        s->slots[i].since = wire_now();
        s->slots[i].peer[0] = '\0';
        atomic_store(&s->slots[i].state, SLOT_IDLE);
        atomic_fetch_add(&s->idle, 1);
        return (int)i;
    }
    return -1;
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
    if ((size_t)slot < s->next_slot)
        s->next_slot = (size_t)slot;
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

void stats_session_refuse(struct stats *s, int slot)
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

bool stats_is_own(const struct stats *s, const char *client)
{
    for (size_t i = 0; i < s->n_slots; i++)
        if (atomic_load(&s->slots[i].state) == SLOT_BUSY &&
            strncmp(s->slots[i].own, client, sizeof s->slots[i].own) == 0)
            return true;
    return false;
}

unsigned stats_count_client(const struct stats *s, const unsigned char client[16])
{
    unsigned n = 0;
    for (size_t i = 0; i < s->n_slots; i++)
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
