/* SPDX-License-Identifier: ISC */
#include "proxy/master_inner.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/log.h"
#include "proxy/worker.h"

/* ---- slots ---- */

/* -1: every slot has its worker. */
static int open_slot(struct pool *p)
{
    int slot = ledger_take(p->ledger);
    if (slot >= 0)
        stats_open_slot(p->stats, slot);
    return slot;
}

/* ---- forking by ourselves ---- */

/* It is written at every fork: a page that children had would be copied, and whom the master forks
 * would keep one of the copies. */
static void grow(struct master *m)
{
    size_t max = 2 * m->max_children + 64;
    struct child *new = memory_alloc_unshared(max * sizeof *new);
    if (m->children != NULL)
        memcpy(new, m->children, m->n_children * sizeof *new);
    memory_free_unshared(m->children, m->max_children * sizeof *new);
    m->children = new;
    m->max_children = max;
}

static struct child *free_place(struct master *m)
{
    size_t i = m->next_place;
    while (i < m->n_children && m->children[i].pid != 0)
        i++;
    if (i == m->max_children)
        grow(m);
    if (i == m->n_children)
        m->n_children++;
    m->next_place = i + 1;
    return &m->children[i];
}

/* What only workers of this service have. */
static void share_secrets(struct pool *p, bool with_children)
{
    login_share(p->login, with_children);
    via_share(p->backends.via, with_children);
    first_uses_share(&p->memory->firsts, p->service->name, with_children);
}

static struct birth birth_now(const struct master *m)
{
    return (struct birth){.keys = m->current->keys, .epoch = m->epoch, .time = wire_now()};
}

static void enter_worker(struct master *m, struct pool *p, pid_t pid, int slot)
{
    p->stats->slots[slot].pid = pid;
    *free_place(m) = (struct child){.pid = pid, .slot = slot, .pool = p, .birth = birth_now(m)};
}

/* errno says why it could not be done now. */
static void put_off(struct pool *p)
{
    log_error_errno("service=%s fork", p->service->name);
    p->not_before = wire_now() + MASTER_TICK_MS;
}

static bool fork_worker(struct master *m, struct pool *p)
{
    pid_t self = getpid();
    int slot = open_slot(p);
    if (slot < 0)
        return false;
    share_secrets(p, true);
    pid_t pid = fork();
    if (pid == 0)
        worker_main(p, slot, &p->generation->jail, self);
    share_secrets(p, false);
    if (pid > 0) {
        enter_worker(m, p, pid, slot);
        return true;
    }
    put_off(p);
    master_close_slot(p, slot);
    return false;
}

/* ---- the zygotes ---- */

/* What it was forked with is what its workers have. */
static bool is_up_to_date(const struct master *m, const struct pool *p)
{
    return !master_is_outdated(m, p, &p->zygote_birth);
}

static bool have_zygote(struct master *m, struct pool *p)
{
    if (p->zygote.pid > 0 && is_up_to_date(m, p))
        return true;
    zygote_end(&p->zygote);
    p->zygote_birth = birth_now(m);
    share_secrets(p, true);
    bool ok = zygote_start(&p->zygote, p, &p->generation->jail);
    share_secrets(p, false);
    if (!ok)
        put_off(p);
    return ok;
}

/* Takes a slot off an order that has got its worker. */
static void fulfil(struct zygote_order *order, int slot)
{
    for (uint32_t i = 0; i < order->count; i++)
        if (order->slots[i] == slot)
            order->slots[i] = order->slots[--order->count];
}

/* What is left of the order was not done. `error`: why a fork has failed; 0: none has. False: the
 * zygote has ended. */
static bool ask_zygote(struct master *m, struct pool *p, struct zygote_order *order, int *error)
{
    const pid_t pid = p->zygote.pid;
    struct zygote_note note;
    bool ok = zygote_ask(&p->zygote, order, error);
    while (zygote_hear(&p->zygote, &note)) {
        if (note.what == ZYGOTE_DEAD) {
            (void)master_bury_worker(m, note.pid, note.status);
        } else {
            enter_worker(m, p, note.pid, note.slot);
            fulfil(order, note.slot);
        }
    }
    if (ok)
        return true;
    zygote_end(&p->zygote);
    master_bury_zygote(p, pid, p->zygote.status);
    return false;
}

/* Those of its workers that have ended. */
static void ask_for_the_dead(struct master *m, struct pool *p)
{
    struct zygote_order nothing = {0};
    int error;
    if (p->zygote.pid > 0)
        (void)ask_zygote(m, p, &nothing, &error);
}

static void take_slots(struct pool *p, unsigned n, struct zygote_order *order)
{
    int slot;
    while (order->count < n && order->count < ZYGOTE_BATCH && (slot = open_slot(p)) >= 0)
        order->slots[order->count++] = slot;
}

/* Slots may be those of workers that have ended and of whom nobody has heard yet. */
static void take_all_slots(struct master *m, struct pool *p, unsigned n, struct zygote_order *order)
{
    take_slots(p, n, order);
    if (order->count < n && order->count < ZYGOTE_BATCH) {
        ask_for_the_dead(m, p);
        take_slots(p, n, order);
    }
    m->short_of_slots = m->short_of_slots || (order->count < n && order->count < ZYGOTE_BATCH);
}

/* Returns how many workers are there now that were not; 0: no more can be had now. */
static unsigned order_workers(struct master *m, struct pool *p, unsigned n)
{
    struct zygote_order order = {0};
    if (!have_zygote(m, p))
        return 0;
    take_all_slots(m, p, n, &order);
    unsigned wanted = order.count;
    int error = 0;
    bool ok = wanted > 0 && p->zygote.pid > 0 && ask_zygote(m, p, &order, &error);
    if (error != 0) {
        errno = error;
        put_off(p);
    }
    for (uint32_t i = 0; i < order.count; i++)
        master_close_slot(p, order.slots[i]);
    return ok ? wanted - order.count : 0;
}

void master_ask_zygotes(struct master *m)
{
    for (size_t i = 0; i < m->current->n_pools; i++)
        ask_for_the_dead(m, &m->current->pools[i]);
}

void master_end_outdated_zygotes(const struct master *m)
{
    for (size_t i = 0; i < m->current->n_pools; i++)
        if (!is_up_to_date(m, &m->current->pools[i]))
            zygote_end(&m->current->pools[i].zygote);
}

/* ---- spare workers ---- */

/* Whoever is killed between two instructions of stats.c is taken off a count it was not yet on. */
static unsigned count_idle(const struct pool *p)
{
    unsigned idle = atomic_load(&p->stats->idle);
    return idle <= p->n_slots ? idle : 0;
}

/* Several forks in a row disturb one session in a few, instead of each one a little: nothing is
 * done while more than half of the spare workers are there, unless there is nothing else to do.
 * Clients can take workers as fast as they are forked: the dead and the signals must have their
 * turn, too. */
static void keep_spares(struct master *m, struct pool *p, bool calm)
{
    unsigned spare = (unsigned)p->service->spare_workers, idle, more = 1;
    if (!calm && count_idle(p) > spare / 2)
        return;
    for (unsigned n = 0; n < spare && more > 0; n += more) {
        if ((idle = count_idle(p)) >= spare || wire_now() < p->not_before)
            return;
        more = zygote_is_wanted(p) ? order_workers(m, p, spare - idle) : fork_worker(m, p);
    }
}

void master_keep_spares(struct master *m, bool calm)
{
    memory_close_gaps();
    m->short_of_slots = false;
    for (size_t i = 0; !m->draining && i < m->current->n_pools; i++)
        keep_spares(m, &m->current->pools[i], calm);
}
