/* SPDX-License-Identifier: ISC */
#include "proxy/master_inner.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "protocols/memory.h"
#include "protocols/wire.h"
#include "proxy/log.h"

enum {
    WORKING_BYTES = 16 * 1024 * 1024, /* for reading a configuration and certificates */
    WAY_MS = 5000,                    /* between two new ways to the keys */
};

/* ---- news ---- */

void master_tell_news(struct master *m)
{
    if (m->news[0] != '\0')
        log_notice("%s", m->news);
    m->news[0] = '\0';
}

/* Who reads that the new is in force must not meet the old any more. */
void master_tell_news_when_true(struct master *m)
{
    if (wire_now() >= m->news_due || !master_has_outdated(m))
        master_tell_news(m);
}

void master_keep_news(struct master *m, const char *format, ...)
{
    va_list ap;
    master_tell_news(m);
    va_start(ap, format);
    vsnprintf(m->news, sizeof m->news, format, ap);
    va_end(ap);
    m->news_due = wire_now() + MASTER_TICK_MS;
}

/* ---- keys ---- */

static void set_keys_ready(struct master *m, bool ready)
{
    for (size_t i = 0; i < m->current->n_pools; i++)
        atomic_store(&m->current->pools[i].stats->keys_ready, ready);
}

bool master_has_memory(char *error, size_t size)
{
    if (memory_is_at_hand(WORKING_BYTES))
        return true;
    snprintf(error, size, "out of memory");
    return false;
}

static bool add_keeper(struct keyset *k, char *error, size_t size)
{
    if (!master_has_memory(error, size))
        return false;
    memory_open_gaps();
    return keyset_add_keeper(k, error, size);
}

/* New certificates for new workers; the old workers keep theirs and end. */
static bool renew_keys(struct master *m, char *error, size_t size)
{
    if (!master_has_memory(error, size))
        return false;
    memory_open_gaps();
    struct keyset *old = generation_renew_keys(m->current, error, size);
    if (old == NULL)
        return false;
    old->next = m->old_keys;
    m->old_keys = old;
    keyset_report(m->current->keys);
    master_keep_spares(m, true);
    master_signal_outdated(m, false);
    return true;
}

/* What fails would fail again at once, for ever. */
static bool may_try_again(struct keyset *k)
{
    if (wire_now() < k->not_before)
        return false;
    k->not_before = wire_now() + MASTER_TICK_MS;
    return true;
}

/* All keepers are dead. One with the same keys goes on for everybody; if the files have changed,
 * or cannot be read, everything is read anew. */
static void replace_keeper(struct master *m)
{
    char error[1024];
    if (!may_try_again(m->current->keys))
        return;
    if (add_keeper(m->current->keys, error, sizeof error) || renew_keys(m, error, sizeof error)) {
        set_keys_ready(m, true);
        log_notice("there is a keeper again");
        return;
    }
    set_keys_ready(m, false);
    log_error("no keeper, so no new TLS sessions: %s", error);
}

/* Certificates and all: workers have the way as a descriptor. Not too often: who has shut it is not
 * known, and keeps the old ones while its session lasts. */
static void open_another_way(struct master *m)
{
    char error[1024];
    if (wire_now() < m->next_way)
        return;
    m->next_way = wire_now() + WAY_MS;
    if (renew_keys(m, error, sizeof error))
        log_notice("there is another way to the keys");
    else
        log_error("there is no other way to the keys: %s", error);
}

void master_look_after_keepers(struct master *m)
{
    char error[1024];
    if (m->current->keys->n_keepers == 0)
        replace_keeper(m);
    else if (m->current->keys->door_is_shut)
        open_another_way(m);
    else if (keyset_feel_pressure(m->current->keys) &&
             !add_keeper(m->current->keys, error, sizeof error))
        log_warn("one keeper more was wanted: %s", error);
}

/* Sessions that began with old certificates may still be in their handshakes. */
static void look_after_old_keys(struct keyset *k)
{
    char error[1024];
    if (k->n_keepers == 0 && keyset_is_asked(k) && may_try_again(k) &&
        !add_keeper(k, error, sizeof error))
        log_error("sessions with the old certificates have no keeper: %s", error);
}

void master_look_after_old_keepers(struct master *m)
{
    for (struct keyset *k = m->old_keys; k != NULL; k = k->next)
        look_after_old_keys(k);
    for (struct generation *g = m->retired; g != NULL; g = g->next)
        look_after_old_keys(g->keys);
}

static void look_for_new_files(struct master *m)
{
    char error[1024];
    if (!keyset_is_stale(m->current->keys))
        return;
    if (renew_keys(m, error, sizeof error))
        master_keep_news(m, "certificates have been read again, because files have changed");
    else
        log_error("certificates have changed and cannot be used, the old ones stay: %s", error);
}

/* ---- the log ---- */

/* Whoever writes to a log that is gone is replaced: the descriptors of a new one are inherited. */
static void replace_writers(struct master *m)
{
    char error[1024];
    m->epoch++;
    programs_reopen_log(m->current);
    resolver_stop(m->current); /* the next one inherits the log */
    for (struct generation *g = m->retired; g != NULL; g = g->next) {
        programs_reopen_log(g);
        resolver_stop(g);
    }
    if (renew_keys(m, error, sizeof error))
        return; /* keepers write as well */
    log_warn("the keepers have no other log: %s", error);
    master_signal_outdated(m, false);
}

void master_reopen_log(struct master *m)
{
    if (log_reopen() == 0)
        replace_writers(m);
    else
        log_error_errno("the log file cannot be opened again");
}

static void look_for_syslog(struct master *m)
{
    if (!log_follow_syslog())
        return;
    replace_writers(m);
    master_keep_news(m, "there is a new syslogd");
}

/* ---- all of it ---- */

static void remember_offers(struct master *m)
{
    for (size_t i = 0; i < m->current->n_pools; i++) {
        const struct pool *p = &m->current->pools[i];
        if (p->backends.redirected)
            continue; /* it would be a list of everybody's servers */
        for (size_t n = 0; p->destinations != NULL && n < p->destinations->count; n++)
            tls_memory_note(&m->tls_memory, p->service->name, p->destinations->items[n].name,
                            stats_take_offer(p->stats, n), time(NULL));
    }
}

static bool is_worker(void *ctx, pid_t pid)
{
    return master_has_worker(ctx, pid);
}

/* Keys are to be known to workers by themselves as soon as may be. */
void master_remember(struct master *m)
{
    char error[128];
    remember_offers(m);
    first_uses_release(&m->tls_memory.firsts, is_worker, m);
    if (tls_memory_learn(&m->tls_memory, time(NULL))) {
        m->epoch++;
        master_signal_outdated(m, false);
    }
    if (m->tls_memory.dirty && master_has_memory(error, sizeof error)) /* or later */
        tls_memory_save(&m->tls_memory);
}

static void renew_ticket_key(struct master *m)
{
    if (wire_now() - m->ticket_born < (int64_t)TICKET_KEY_SECONDS * 1000)
        return;
    m->ticket_born = wire_now();
    if (ticket_key_make(&m->common.ticket_key) != 0)
        return;
    m->epoch++;
    master_signal_outdated(m, false);
}

/* Sessions of old generations may still want a program, or wait for an address. */
void master_keep_helpers(struct master *m)
{
    programs_keep(m->current);
    resolver_keep(m->current);
    for (struct generation *g = m->retired; g != NULL; g = g->next) {
        programs_keep(g);
        resolver_keep(g);
    }
}

/* What is looked after now and then. */
void master_tick(struct master *m)
{
    if (wire_now() < m->tick_due)
        return;
    m->tick_due = wire_now() + MASTER_TICK_MS;
    master_ask_zygotes(m);
    renew_ticket_key(m);
    look_for_new_files(m);
    look_for_syslog(m);
    master_look_after_old_keepers(m);
    master_remember(m);
    master_signal_outdated(m, true);
}
