/* SPDX-License-Identifier: ISC */
#include "proxy/master_inner.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/log.h"

enum {
    AT_ONCE_MS = 500 + MASTER_TICK_MS, /* a worker that fails sooner after its fork (and it may be
                                          heard of a tick later) ... */
    BACKOFF_MAX_MS = 8000,             /* ... slows forking down, to this at the most */
};

/* ---- burying ---- */

/* Who fails at once would be replaced at once, for ever. */
static void slow_down(struct pool *p, unsigned *failures, const struct birth *birth, bool failed)
{
    if (!failed || wire_now() - birth->time > AT_ONCE_MS) {
        *failures = 0;
        return;
    }
    int64_t pause = 100LL << (*failures < 7 ? *failures : 7);
    ++*failures;
    if (*failures < 3)
        return;
    p->not_before = wire_now() + (pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS);
    log_error("service=%s workers fail at once: the next is started in %lld ms", p->service->name,
              (long long)(pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS));
}

void master_close_slot(struct pool *p, int slot)
{
    stats_worker_dead(p->stats, slot);
    ledger_return(p->ledger, slot);
}

static void bury_worker(struct master *m, struct child *c, int status)
{
    struct pool *p = c->pool;
    bool crashed = WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM;
    bool failed = crashed || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
    char peer[STATS_PEER];
    if (crashed)
        log_error("service=%s client=%s worker %d was killed by signal %d (%s)", p->service->name,
                  stats_peer(p->stats, c->slot, peer), (int)c->pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else if (failed)
        log_error("service=%s client=%s worker %d ended with status %d", p->service->name,
                  stats_peer(p->stats, c->slot, peer), (int)c->pid, WEXITSTATUS(status));
    slow_down(p, &p->failures, &c->birth, failed);
    master_close_slot(p, c->slot);
    first_uses_bury(&p->memory->firsts, c->pid);
    c->pid = 0;
    size_t place = (size_t)(c - m->children);
    if (place < m->next_place)
        m->next_place = place;
}

static struct child *find_child(struct master *m, pid_t pid)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (pid > 0 && m->children[i].pid == pid)
            return &m->children[i];
    return NULL;
}

bool master_bury_worker(struct master *m, pid_t pid, int status)
{
    struct child *c = find_child(m, pid);
    if (c != NULL)
        bury_worker(m, c, status);
    return c != NULL;
}

/* Takes it from the keyset it belongs to. False: one that had been told to end. */
static bool forget_keeper(struct master *m, pid_t pid)
{
    bool found = keyset_bury(m->current->keys, pid);
    for (struct keyset *k = m->old_keys; k != NULL && !found; k = k->next)
        found = keyset_bury(k, pid);
    for (struct generation *g = m->retired; g != NULL && !found; g = g->next)
        found = keyset_bury(g->keys, pid);
    return found;
}

static bool forget_resolver(struct master *m, pid_t pid, int status)
{
    bool found = resolver_bury(m->current, pid, status);
    for (struct generation *g = m->retired; g != NULL && !found; g = g->next)
        found = resolver_bury(g, pid, status);
    return found;
}

static bool forget_spawner(struct master *m, pid_t pid)
{
    bool found = programs_bury(m->current, pid);
    for (struct generation *g = m->retired; g != NULL && !found; g = g->next)
        found = programs_bury(g, pid);
    return found;
}

static void bury_keeper(struct master *m, pid_t pid, int status)
{
    if (forget_spawner(m, pid) || forget_resolver(m, pid, status) || !forget_keeper(m, pid))
        return;
    if (WIFSIGNALED(status))
        log_error("keeper %d was killed by signal %d (%s)", (int)pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else
        log_error("keeper %d ended with status %d", (int)pid, WEXITSTATUS(status));
}

/* Its workers are ours now, and have been asked to end. */
void master_bury_zygote(struct pool *p, pid_t pid, int status)
{
    if (WIFSIGNALED(status))
        log_error("service=%s zygote %d was killed by signal %d (%s)", p->service->name, (int)pid,
                  WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        log_error("service=%s zygote %d ended with status %d", p->service->name, (int)pid,
                  WEXITSTATUS(status));
    slow_down(p, &p->zygote_failures, &p->zygote_birth, true);
}

static bool forget_zygote(struct master *m, pid_t pid, int status)
{
    for (size_t i = 0; i < m->current->n_pools; i++) {
        struct pool *p = &m->current->pools[i];
        if (p->zygote.pid != pid)
            continue;
        p->zygote.pid = 0;
        zygote_end(&p->zygote);
        master_bury_zygote(p, pid, status);
        return true;
    }
    return false;
}

void master_reap(struct master *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (!master_bury_worker(m, pid, status) && !forget_zygote(m, pid, status))
            bury_keeper(m, pid, status);
    }
    while (m->n_children > 0 && m->children[m->n_children - 1].pid == 0)
        m->n_children--;
}

/* A keeper tells of a worker that asked for what nobody may ask for, or of itself. */
void master_hear_accusations(struct master *m)
{
    char peer[STATS_PEER];
    pid_t pid;
    while (read(m->accuse_end, &pid, sizeof pid) == sizeof pid) {
        if (pid < 0)
            keyset_hear_shut_door(m->current->keys, -pid);
        const struct child *c = find_child(m, pid);
        if (c == NULL)
            continue;
        log_error("service=%s client=%s worker %d has gone astray and is ended",
                  c->pool->service->name, stats_peer(c->pool->stats, c->slot, peer), (int)pid);
        kill(pid, SIGKILL);
    }
}

bool master_has_worker(struct master *m, pid_t pid)
{
    return find_child(m, pid) != NULL;
}

bool master_has_workers(const struct master *m, const struct generation *g,
                        const struct keyset *keys)
{
    for (size_t i = 0; i < m->n_children; i++) {
        const struct child *c = &m->children[i];
        if (c->pid > 0 && (g == NULL || c->pool->generation == g) &&
            (keys == NULL || c->birth.keys == keys))
            return true;
    }
    return false;
}

/* ---- signalling ---- */

static bool is_idle(const struct child *c)
{
    return atomic_load(&c->pool->stats->slots[c->slot].state) == SLOT_IDLE;
}

void master_signal_all(const struct master *m, int signal)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (m->children[i].pid > 0)
            kill(m->children[i].pid, signal);
}

bool master_is_outdated(const struct master *m, const struct pool *p, const struct birth *birth)
{
    return p->generation != m->current || birth->keys != m->current->keys ||
           birth->epoch != m->epoch;
}

static bool is_outdated(const struct master *m, const struct child *c)
{
    return master_is_outdated(m, c->pool, &c->birth);
}

/* Those that wait for a client end, the others when their session has ended. */
void master_signal_outdated(const struct master *m, bool only_idle)
{
    master_end_outdated_zygotes(m);
    for (size_t i = 0; i < m->n_children; i++) {
        const struct child *c = &m->children[i];
        if (c->pid > 0 && is_outdated(m, c) && (!only_idle || is_idle(c)))
            kill(c->pid, SIGTERM);
    }
}

void master_signal_idle(const struct master *m)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (m->children[i].pid > 0 && is_idle(&m->children[i]))
            kill(m->children[i].pid, SIGTERM);
}

/* A worker that has been told to end may have got a client in the same moment. */
bool master_has_outdated(const struct master *m)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (m->children[i].pid > 0 && is_outdated(m, &m->children[i]) && is_idle(&m->children[i]))
            return true;
    return false;
}
